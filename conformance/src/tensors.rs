//! Between the corpus's arrays and the library's tensors.

use std::cell::RefCell;
use std::collections::HashMap;

use sconce::{DType, Tensor};
use serde_json::Value as Json;

use crate::case::{Case, View, args_of, kwargs_of};
use crate::compare::{compare, compare_meta, is_zero};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::store::{Array, unsigned};
use crate::value::{Ref, Value};

/// A value of a call.
pub(crate) type Val = Value<Tensor>;

/// A tensor of an array's elements.
pub(crate) fn to_tensor(array: &Array) -> Result<Tensor, Stop> {
    Ok(Tensor::from_bytes(&array.bytes, array.dtype, &array.shape[..])?)
}

/// The elements of a tensor.
pub(crate) fn to_array(tensor: &Tensor) -> Result<Array, Stop> {
    Ok(Array { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), bytes: tensor.to_bytes()? })
}

/// Whether tensors carry a dtype but do not compute in it.
pub(crate) fn is_stored_only(dtype: DType) -> bool {
    use DType::*;
    !matches!(dtype, F64 | F32 | F16 | BF16 | I64 | I32 | I16 | I8 | U8 | Bool)
}

/// The tensors of a case, each made once: one name is one tensor object.
pub(crate) struct Inputs<'a> {
    case: &'a Case,
    made: RefCell<HashMap<String, Tensor>>,
}

impl<'a> Inputs<'a> {
    /// The tensors of a case, made when they are asked for.
    pub(crate) fn new(case: &'a Case) -> Self {
        Self { case, made: RefCell::default() }
    }

    /// The tensor of a name.
    ///
    /// An error of the library here is a failure of the case, also where the case expects an error of the call.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor, Stop> {
        if let Some(tensor) = self.made.borrow().get(name) {
            return Ok(tensor.clone());
        }
        let tensor = self.make(name).or_else(|stop| match stop {
            Stop::Refused(error) if is_stored_only(self.case.array(name)?.dtype) => {
                unsupported(format!("input {name}, whose dtype is only stored: {error}"))
            }
            Stop::Refused(error) => wrong(format!("input {name}: error: {error}")),
            stop => Err(stop.at(format!("input {name}"))),
        })?;
        self.made.borrow_mut().insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn make(&self, name: &str) -> Result<Tensor, Stop> {
        let entry = self.case.entry(name)?;
        let mut tensor = to_tensor(&self.case.array(name)?)?;
        if let Some(View { shape, strides, offset }) = &entry.view {
            // A leaf that only looks like a view: detached from the storage's own tensor.
            tensor = tensor.as_strided(&shape[..], &strides[..], *offset)?.detach();
        }
        if entry.requires_grad { Ok(tensor.requires_grad_(true)?) } else { Ok(tensor) }
    }

    /// A value with its tensors in place.
    pub(crate) fn value(&self, value: &Value<Ref>) -> Result<Val, Stop> {
        value.resolve(&mut |r| match r {
            Ref::Tensor(name) => Ok(Value::Tensor(self.tensor(name)?)),
            Ref::Sparse(parts) => Ok(Value::Tensor(self.dense(parts)?)),
            Ref::Var(name) | Ref::Param(name) => wrong(format!("{name:?} outside a program")),
            Ref::Module(_) => unsupported("a module as an argument".into()),
        })
    }

    /// The dense tensor of a sparse one in coordinates, of which repeated ones add up.
    fn dense(&self, parts: &Json) -> Result<Tensor, Stop> {
        let part = |name: &str| match self.value(&Value::parse(&parts[name])?)? {
            Value::Tensor(t) => Ok(t),
            other => wrong(format!("the {name} of a sparse tensor are {}", other.kind())),
        };
        let (indices, values) = (part("indices")?, part("values")?);
        let size = unsigned(&parts["size"]).ok_or_else(|| Stop::Wrong("malformed size".into()))?;
        let dense = Tensor::zeros(&size[..], values.dtype())?;
        let &[sparse, _] = indices.shape() else { return wrong("the indices are no matrix".into()) };
        let places =
            (0..sparse).map(|d| indices.select(0, d as isize)).collect::<sconce::Result<Vec<_>>>()?;
        // A position over all sparse dimensions, to add whole rows at once.
        let mut row = Tensor::zeros([values.shape()[0]], DType::I64)?;
        for (place, &length) in places.iter().zip(&size) {
            row = row.mul(length as i64)?.add(place)?;
        }
        let rows: usize = size[..sparse].iter().product();
        let flat = dense.reshape([rows as isize, -1])?;
        flat.index_add_(0, &row, &values.reshape([values.shape()[0] as isize, -1])?)?;
        Ok(flat.reshape(&size[..])?)
    }

    /// The positional arguments of a call.
    pub(crate) fn args(&self, json: &Json) -> Result<Vec<Val>, Stop> {
        args_of(json, "args")?.iter().map(|v| self.value(v)).collect()
    }

    /// The named arguments of a call.
    pub(crate) fn kwargs(&self, json: &Json, field: &str) -> Result<Vec<(String, Val)>, Stop> {
        kwargs_of(json, field)?.iter().map(|(k, v)| Ok((k.clone(), self.value(v)?))).collect()
    }

    /// Compares a result with the recorded one.
    pub(crate) fn check(&self, actual: &Val, expected: &Value<Ref>, meta: bool) -> Result<(), Stop> {
        match (actual, expected) {
            (Value::Tensor(t), Value::Tensor(Ref::Tensor(name))) => self.check_tensor(t, name, meta),
            (Value::List(a) | Value::Tuple(a), Value::List(e) | Value::Tuple(e)) => {
                if a.len() != e.len() {
                    return wrong(format!("{} values, expected {}", a.len(), e.len()));
                }
                a.iter().zip(e).enumerate().try_for_each(|(i, (a, e))| self.check(a, e, meta).at(i))
            }
            (Value::None, Value::None) => Ok(()),
            (Value::Bool(a), Value::Bool(e)) if a == e => Ok(()),
            (Value::Int(a), Value::Int(e)) if a == e => Ok(()),
            (Value::Float(a), Value::Float(e)) if a == e || a.is_nan() && e.is_nan() => Ok(()),
            (Value::Str(a), Value::Str(e)) if a == e => Ok(()),
            _ => wrong(format!("{actual:?}, expected {expected:?}")),
        }
    }

    /// Compares a tensor with the recorded one of a name, and where it should lie.
    pub(crate) fn check_tensor(&self, actual: &Tensor, name: &str, meta: bool) -> Result<(), Stop> {
        let entry = self.case.entry(name)?;
        let (array, expected) = (to_array(actual)?, self.case.array(name)?);
        if meta {
            return Ok(compare_meta(&array, &expected)?);
        }
        compare(&array, &expected, entry.tolerance)?;
        let Some(base) = &entry.view_of else { return Ok(()) };
        if !actual.shares_storage(&self.tensor(base)?) {
            return wrong(format!("does not share memory with {base}"));
        }
        let Some(view) = entry.view.as_ref().filter(|_| actual.numel() > 0) else { return Ok(()) };
        let real = |strides: &[usize]| {
            strides.iter().zip(actual.shape()).filter(|(_, d)| **d != 1).map(|(s, _)| *s).collect::<Vec<_>>()
        };
        if real(actual.strides()) != real(&view.strides) || actual.storage_offset() != view.offset {
            return wrong(format!(
                "strides {:?} and offset {}, expected {:?} and {}",
                actual.strides(),
                actual.storage_offset(),
                view.strides,
                view.offset
            ));
        }
        Ok(())
    }

    /// Compares a gradient with the recorded one; where PyTorch has none, zeros are as good.
    pub(crate) fn check_gradient(&self, actual: Option<&Tensor>, expected: &Json) -> Result<(), Stop> {
        match (actual, Value::parse(expected)?) {
            (None, Value::None) => Ok(()),
            (Some(t), Value::None) if is_zero(&to_array(t)?) => Ok(()),
            (Some(_), Value::None) => wrong("a gradient that is not zero, expected none".into()),
            (Some(t), Value::Tensor(Ref::Tensor(name))) => self.check_tensor(t, &name, false),
            (None, Value::Tensor(Ref::Tensor(_))) => wrong("no gradient".into()),
            (_, value) => wrong(format!("a gradient cannot be {}", value.kind())),
        }
    }
}
