//! NumPy's scalars and arrays, as checkpoints of training loops hold them.

use super::build::{Builder, expected};
use crate::error::{Error, Result};
use crate::io::encoding::Encoding;
use crate::io::gather::swap_bytes;
use crate::io::pickle::{Call, Object, Ref};
use crate::io::tree::{Object as Described, Value};
use crate::tensor::dtype::DType;

impl<'a> Builder<'a> {
    /// The value of a call of NumPy's; `None` if it is not.
    pub(super) fn numpy(&mut self, name: &str, call: &'a Call) -> Result<Option<Value>> {
        let arguments = self.items(call.arguments)?;
        Ok(Some(match (name, arguments) {
            ("numpy._core.multiarray.scalar" | "numpy.core.multiarray.scalar", [dtype, bytes]) => {
                let (dtype, big) = self.numpy_dtype(*dtype)?;
                let mut bytes = self.bytes(*bytes)?;
                if bytes.len() != dtype.size() {
                    return Err(Error::format(format!("{} bytes for a {dtype}", bytes.len())));
                }
                if big {
                    swap_bytes(&mut bytes, Encoding::Plain(dtype).number_size());
                }
                scalar(dtype, &bytes)?
            }
            ("numpy._core.multiarray._reconstruct" | "numpy.core.multiarray._reconstruct", _) => {
                let state = call.state.ok_or_else(|| Error::format("an array without a state"))?;
                let [_, shape, dtype, fortran, bytes] = *self.items(state)? else {
                    return Err(Error::format("an array's state must have five parts"));
                };
                let (dtype, big) = self.numpy_dtype(dtype)?;
                let encoding = Encoding::Plain(dtype);
                let mut bytes = self.bytes(bytes)?;
                // The archive turns every number when its file is big-endian; an array has an order of its own.
                if big != self.archive.is_big_endian() {
                    swap_bytes(&mut bytes, encoding.number_size());
                }
                let (shape, fortran) = (self.sizes(shape)?, self.flag(fortran)?);
                self.held(encoding, shape, fortran, bytes)
            }
            ("numpy.dtype", [..]) => {
                let state = call.state.map(|state| self.node(state));
                Value::Object(Box::new(Described {
                    class: name.to_owned(),
                    arguments: Some(self.node(call.arguments)),
                    state,
                }))
            }
            _ => return Ok(None),
        }))
    }

    /// The dtype that a `numpy.dtype` object is, and whether it is big-endian.
    fn numpy_dtype(&self, object: Ref) -> Result<(DType, bool)> {
        let Object::Call(call) = self.pickle.get(object) else {
            return Err(expected("a numpy dtype", self.pickle.get(object)));
        };
        let code = match (self.pickle.global(call.callee), self.items(call.arguments)?) {
            ("numpy.dtype", [code, ..]) => self.text(*code)?,
            (name, _) => return Err(Error::format(format!("{name} is no numpy dtype"))),
        };
        let order = match call.state {
            Some(state) => self.items(state)?.get(1).map(|&r| self.text(r)).transpose()?.unwrap_or("<"),
            None => "<",
        };
        let dtype = match code {
            "b1" => DType::Bool,
            "i1" => DType::I8,
            "i2" => DType::I16,
            "i4" => DType::I32,
            "i8" => DType::I64,
            "u1" => DType::U8,
            "u2" => DType::U16,
            "u4" => DType::U32,
            "u8" => DType::U64,
            "f2" => DType::F16,
            "f4" => DType::F32,
            "f8" => DType::F64,
            "c8" => DType::C64,
            "c16" => DType::C128,
            other => return Err(Error::unsupported(format!("a numpy array of {other:?}"))),
        };
        Ok((dtype, order == ">"))
    }
}

/// The value of a scalar's little-endian bytes.
fn scalar(dtype: DType, bytes: &[u8]) -> Result<Value> {
    let mut wide = [0; 8];
    wide[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    let unsigned = u64::from_le_bytes(wide);
    let shift = 64 - 8 * bytes.len().min(8);
    let signed = (unsigned << shift) as i64 >> shift;
    Ok(match dtype {
        DType::Bool => Value::Bool(unsigned != 0),
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => Value::Int(signed),
        DType::U8 | DType::U16 | DType::U32 => Value::Int(unsigned as i64),
        DType::U64 => match i64::try_from(unsigned) {
            Ok(i) => Value::Int(i),
            Err(_) => Value::BigInt([&wide[..], &[0]].concat()),
        },
        DType::F64 => Value::Float(f64::from_bits(unsigned)),
        DType::F32 => Value::Float(f32::from_bits(unsigned as u32).into()),
        DType::F16 => Value::Float(half::f16::from_bits(unsigned as u16).to_f64()),
        other => return Err(Error::unsupported(format!("a numpy scalar of {other}"))),
    })
}
