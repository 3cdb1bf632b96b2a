//! What the calls in a checkpoint's pickle mean.

use super::build::{Builder, Found, expected};
use super::globals::Storage;
use crate::error::{Context, Error, Result};
use crate::io::encoding::Encoding;
use crate::io::entry::{Entry, Quantizer, contiguous_strides};
use crate::io::limits::{MAX_QUANTIZER_NUMBERS, MAX_REBUILD_DEPTH};
use crate::io::pickle::{Call, Object, Ref};
use crate::io::tree::{Object as Described, Sparse, Value};
use crate::tensor::dtype::DType;

impl<'a> Builder<'a> {
    /// The value of a call of `name`.
    pub(super) fn call(&mut self, name: &str, call: &'a Call) -> Result<Value> {
        let arguments = self.items(call.arguments)?;
        if let Some(found) = self.tensor(name, arguments, 0)? {
            self.tensors.push(found);
            return Ok(Value::Tensor(self.tensors.len() - 1));
        }
        if let Some(value) = self.numpy(name, call)? {
            return Ok(value);
        }
        Ok(match (name, arguments) {
            ("_codecs.encode" | "builtins.bytes", _) => Value::Bytes(self.bytes_of(name, arguments)?),
            ("builtins.bytearray", []) => Value::ByteArray(Vec::new()),
            ("builtins.bytearray", [bytes]) => Value::ByteArray(self.bytes(*bytes)?),
            ("builtins.set", []) => Value::Set(Vec::new()),
            ("builtins.set", [items]) => {
                let items = self.items(*items)?;
                Value::Set(self.nodes(items))
            }
            ("builtins.complex", [re, im]) => Value::Complex(self.float(*re)?, self.float(*im)?),
            ("torch.Size", [sizes]) => {
                Value::Size(self.items(*sizes)?.iter().map(|&r| self.int(r)).collect::<Result<_>>()?)
            }
            ("torch.device", [kind]) => Value::Device(self.text(*kind)?.to_owned()),
            ("torch.device", [kind, index]) => {
                Value::Device(format!("{}:{}", self.text(*kind)?, self.int(*index)?))
            }
            ("torch.serialization._get_layout", [layout]) => Value::Constant(self.text(*layout)?.to_owned()),
            ("torch._utils._rebuild_sparse_tensor", [layout, data]) => self.sparse(*layout, *data)?,
            ("torch.jit._pickle.restore_type_tag", [value, _])
                if !matches!(self.pickle.get(*value), Object::Call(_)) =>
            {
                self.value(*value)?
            }
            (list, [items]) if list.starts_with("torch.jit._pickle.build_") => {
                let items = self.items(*items)?;
                Value::List(self.nodes(items))
            }
            _ => Value::Object(Box::new(Described {
                class: name.to_owned(),
                arguments: Some(self.node(call.arguments)),
                state: call.state.map(|state| self.node(state)),
            })),
        })
    }

    /// The dense tensor that a call rebuilds; `None` if the call is of another kind.
    fn tensor(&mut self, name: &str, arguments: &'a [Ref], depth: usize) -> Result<Option<Found>> {
        if depth > MAX_REBUILD_DEPTH {
            return Err(Error::format(format!("tensors wrapped more than {MAX_REBUILD_DEPTH} times")));
        }
        let (function, arguments) = match (name, arguments) {
            ("torch._tensor._rebuild_from_type_v2", [function, _, arguments, _]) => {
                let Object::Global(function) = self.pickle.get(*function) else {
                    return Err(expected("a function", self.pickle.get(*function)));
                };
                let inner = self.items(*arguments)?;
                return self.tensor(self.pickle.global(*function), inner, depth + 1);
            }
            ("torch.nn.parameter.Parameter" | "torch.nn.parameter.Buffer", [data, rest @ ..]) => {
                let parameter = name.ends_with("Parameter");
                let requires_grad = rest.first().map_or(Ok(parameter), |&r| self.flag(r))?;
                return self.wrapped(*data, parameter, requires_grad, depth).map(Some);
            }
            _ => match name.strip_prefix("torch._utils.") {
                Some(function) => (function, arguments),
                None => return Ok(None),
            },
        };
        match (function, arguments) {
            ("_rebuild_parameter", [data, requires_grad, _])
            | ("_rebuild_parameter_with_state", [data, requires_grad, _, _]) => {
                let requires_grad = self.flag(*requires_grad)?;
                self.wrapped(*data, true, requires_grad, depth).map(Some)
            }
            ("_rebuild_tensor", [storage, offset, size, stride]) => {
                self.view(*storage, *offset, *size, *stride, None).map(Some)
            }
            ("_rebuild_tensor_v2", [storage, offset, size, stride, requires_grad, _, rest @ ..])
                if rest.len() < 2 =>
            {
                let mut found = self.view(*storage, *offset, *size, *stride, None)?;
                found.entry.requires_grad = self.flag(*requires_grad)?;
                self.marks(&mut found.entry, rest)?;
                Ok(Some(found))
            }
            ("_rebuild_tensor_v3", [storage, offset, size, stride, requires_grad, _, dtype, rest @ ..])
                if rest.len() < 2 =>
            {
                let dtype = self.dtype(*dtype)?;
                let mut found = self.view(*storage, *offset, *size, *stride, Some(dtype))?;
                found.entry.requires_grad = self.flag(*requires_grad)?;
                self.marks(&mut found.entry, rest)?;
                Ok(Some(found))
            }
            ("_rebuild_qtensor", [storage, offset, size, stride, parameters, requires_grad, _]) => {
                let mut found = self.view(*storage, *offset, *size, *stride, None)?;
                found.entry.requires_grad = self.flag(*requires_grad)?;
                found.entry.quantizer = Some(Box::new(self.quantizer(*parameters, &found.entry.shape)?));
                Ok(Some(found))
            }
            (function, arguments)
                if function.starts_with("_rebuild_tensor") || function.starts_with("_rebuild_param") =>
            {
                Err(Error::format(format!("{} arguments", arguments.len())))
            }
            _ => Ok(None),
        }
    }

    /// The tensor that an object names by a persistent id.
    fn outside_tensor(&self, object: Ref) -> Result<Option<Found>> {
        match self.pickle.get(object) {
            Object::Persistent(id) => self.outside.tensor(self.pickle.get(*id)),
            _ => Ok(None),
        }
    }

    /// A tensor inside a parameter or buffer.
    fn wrapped(&mut self, data: Ref, parameter: bool, requires_grad: bool, depth: usize) -> Result<Found> {
        let mut found = match self.pickle.get(data) {
            Object::Call(call) => {
                let name = self.pickle.global(call.callee);
                let arguments = self.items(call.arguments)?;
                self.tensor(name, arguments, depth + 1)?
                    .ok_or_else(|| Error::unsupported(format!("a parameter made by {name}")))?
            }
            other => self.outside_tensor(data)?.ok_or_else(|| expected("a tensor", other))?,
        };
        found.entry.parameter = parameter;
        found.entry.requires_grad = requires_grad;
        Ok(found)
    }

    fn view(
        &mut self,
        storage: Ref,
        offset: Ref,
        size: Ref,
        stride: Ref,
        dtype: Option<Encoding>,
    ) -> Result<Found> {
        let located = self.storage(storage)?;
        let encoding = match (dtype, located.elements) {
            (Some(dtype), _) => dtype,
            (None, Storage::Typed(encoding)) => encoding,
            (None, Storage::Untyped) => return Err(Error::format("a tensor without a dtype")),
        };
        let offset = self.size(offset).context(|| "storage offset")?;
        let shape = self.sizes(size).context(|| "size")?;
        let strides = self.sizes(stride).context(|| "stride")?;
        let mut entry = Entry::new("", encoding, shape).with_view(strides, offset);
        if let Some(part) = located.part {
            // What a view may reach is less than what the storage holds.
            let numel = part.len() as u64;
            entry.check(encoding.bytes_for(numel).unwrap_or(numel))?;
            entry.offset += part.start;
        }
        Ok(Found { entry, storage: located.index })
    }

    /// The bits that make a tensor's values differ from its bytes.
    fn marks(&self, entry: &mut Entry, metadata: &[Ref]) -> Result<()> {
        let Some(&metadata) = metadata.first() else { return Ok(()) };
        let dict = match self.pickle.get(metadata) {
            Object::None => return Ok(()),
            Object::Dict(dict) => dict,
            other => return Err(expected("a dict", other)),
        };
        for &(key, set) in &dict.items {
            let set = self.flag(set)?;
            let dtype = entry.encoding.dtype();
            match self.text(key)? {
                "conj" if !set => {}
                "neg" if !set => {}
                "conj" if dtype.is_some_and(|d| d.category() == crate::Category::Complex) => {
                    entry.conjugate = true
                }
                "neg" if dtype.is_some_and(|d| d.category() >= crate::Category::Float && d.size() > 1) => {
                    entry.negative = true;
                }
                other => {
                    let name = entry.encoding.name();
                    return Err(Error::unsupported(format!("the mark {other:?} on a tensor of {name}")));
                }
            }
        }
        Ok(())
    }

    fn quantizer(&mut self, parameters: Ref, shape: &[usize]) -> Result<Quantizer> {
        let parameters = self.items(parameters)?;
        let scheme = match parameters.first().map(|&r| self.pickle.get(r)) {
            Some(Object::Global(index)) => self.pickle.global(*index),
            _ => return Err(Error::format("a quantiser without a scheme")),
        };
        match (scheme, parameters) {
            ("torch.per_tensor_affine", [_, scale, zero_point]) => {
                Ok(Quantizer::PerTensor { scale: self.float(*scale)?, zero_point: self.int(*zero_point)? })
            }
            (
                "torch.per_channel_affine" | "torch.per_channel_affine_float_qparams",
                [_, scales, zero_points, axis],
            ) => {
                let axis = self.size(*axis)?;
                let channels =
                    *shape.get(axis).ok_or_else(|| Error::format(format!("axis {axis} of {shape:?}")))?;
                let scales = self.numbers(*scales, channels).context(|| "scales")?;
                let zero_points = self.numbers(*zero_points, channels).context(|| "zero points")?;
                Ok(Quantizer::PerChannel { scales, zero_points, axis })
            }
            _ => Err(Error::unsupported(format!("a tensor quantised by {scheme}"))),
        }
    }

    /// The values of a small tensor: one for each channel.
    fn numbers(&mut self, tensor: Ref, channels: usize) -> Result<Vec<f64>> {
        let mut found = self.wrapped(tensor, false, false, 0)?;
        if found.entry.shape != [channels] {
            let shape = &found.entry.shape;
            return Err(Error::format(format!("shape {shape:?}, expected [{channels}]")));
        }
        self.quantizer_numbers += channels;
        if self.quantizer_numbers > MAX_QUANTIZER_NUMBERS || !found.entry.is_contiguous() {
            return Err(Error::unsupported(format!(
                "strided numbers, or more than {MAX_QUANTIZER_NUMBERS} of them in the file"
            )));
        }
        found.entry.storage = found.storage;
        let bytes = self.archive.read(&found.entry)?;
        match found.entry.encoding.dtype() {
            Some(DType::F64) => Ok(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
            Some(DType::F32) => {
                Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect())
            }
            Some(DType::I64) => {
                Ok(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect())
            }
            _ => Err(Error::unsupported(format!("numbers of {}", found.entry.encoding.name()))),
        }
    }

    fn sparse(&mut self, layout: Ref, data: Ref) -> Result<Value> {
        let layout = match self.pickle.get(layout) {
            Object::Call(call) if self.pickle.global(call.callee) == "torch.serialization._get_layout" => {
                self.items(call.arguments)?.first().map(|&name| self.text(name)).transpose()?
            }
            Object::Global(index) => Some(self.pickle.global(*index)),
            _ => None,
        };
        let layout = layout.and_then(|name| name.strip_prefix("torch.")).unwrap_or_default();
        let parts: &[&'static str] = match layout {
            "sparse_coo" => &["indices", "values"],
            "sparse_csr" | "sparse_bsr" => &["crow_indices", "col_indices", "values"],
            "sparse_csc" | "sparse_bsc" => &["ccol_indices", "row_indices", "values"],
            other => return Err(Error::unsupported(format!("a tensor of layout {other:?}"))),
        };
        let data = self.items(data)?;
        let Some((tensors, [shape, ..])) = data.split_at_checked(parts.len()) else {
            return Err(Error::format(format!("a sparse tensor of {} parts", data.len())));
        };
        let shape = self.sizes(*shape)?;
        let parts = parts.iter().copied().zip(self.nodes(tensors)).collect();
        Ok(Value::Sparse(Box::new(Sparse { layout: layout.to_owned(), shape, parts })))
    }

    /// The bytes that an object is, or that it encodes.
    pub(super) fn bytes(&self, object: Ref) -> Result<Vec<u8>> {
        match self.pickle.get(object) {
            Object::Bytes(bytes) | Object::ByteArray(bytes) => Ok(bytes.to_vec()),
            Object::Call(call) => self.bytes_of(self.pickle.global(call.callee), self.items(call.arguments)?),
            other => Err(expected("bytes", other)),
        }
    }

    fn bytes_of(&self, name: &str, arguments: &[Ref]) -> Result<Vec<u8>> {
        match (name, arguments) {
            ("builtins.bytes", []) => Ok(Vec::new()),
            ("_codecs.encode", [text, encoding]) => {
                let encoding = self.text(*encoding)?;
                if !matches!(encoding, "latin1" | "latin-1") {
                    return Err(Error::unsupported(format!("bytes encoded as {encoding:?}")));
                }
                let text = self.text(*text)?.chars();
                text.map(|c| {
                    u8::try_from(u32::from(c)).map_err(|_| Error::format(format!("{c:?} is no byte")))
                })
                .collect()
            }
            _ => Err(Error::format(format!("{name} of {} arguments does not give bytes", arguments.len()))),
        }
    }

    /// A tensor of bytes that the pickle itself holds.
    pub(super) fn held(
        &mut self,
        encoding: Encoding,
        shape: Vec<usize>,
        fortran: bool,
        bytes: Vec<u8>,
    ) -> Value {
        let mut entry = Entry::new("", encoding, shape);
        if fortran {
            let reversed: Vec<usize> = entry.shape.iter().rev().copied().collect();
            entry.strides = contiguous_strides(&reversed);
            entry.strides.reverse();
        }
        let storage = self.archive.add_storage(std::sync::Arc::new(bytes));
        self.tensors.push(Found { entry, storage });
        Value::Array(self.tensors.len() - 1)
    }
}
