//! New tensors.

use sconce::{DType, Scalar, Tensor};

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "zeros" => |a| Tensor::zeros(a.ints("size")?, a.dtype_or(DType::F32)?)?;
    "ones" => |a| Tensor::ones(a.ints("size")?, a.dtype_or(DType::F32)?)?;
    "empty" => |a| Tensor::empty(a.ints("size")?, a.dtype_or(DType::F32)?)?.requires_grad_(wants_grad(a)?)?;
    "full" => |a| {
        let value = a.scalar("fill_value")?;
        Tensor::full(a.ints("size")?, value, a.dtype_or(value.dtype())?)?
    };
    "scalar_tensor" => |a| {
        let none: [usize; 0] = [];
        Tensor::full(none, a.scalar("s")?, a.dtype_or(DType::F32)?)?.requires_grad_(wants_grad(a)?)?
    };
    "zeros_like" => |a| Tensor::zeros(a.input()?.shape(), a.dtype_or(a.input()?.dtype())?)?;
    "ones_like" => |a| Tensor::ones(a.input()?.shape(), a.dtype_or(a.input()?.dtype())?)?;
    "empty_like" => |a| Tensor::empty(a.input()?.shape(), a.dtype_or(a.input()?.dtype())?)?;
    "full_like" => |a| {
        Tensor::full(a.input()?.shape(), a.scalar("fill_value")?, a.dtype_or(a.input()?.dtype())?)?
    };
    "new_zeros" => |a| Tensor::zeros(a.ints("size")?, a.dtype_or(a.input()?.dtype())?)?;
    "new_ones" => |a| Tensor::ones(a.ints("size")?, a.dtype_or(a.input()?.dtype())?)?;
    "new_empty" => |a| Tensor::empty(a.ints("size")?, a.dtype_or(a.input()?.dtype())?)?;
    "new_full" => |a| {
        Tensor::full(a.ints("size")?, a.scalar("fill_value")?, a.dtype_or(a.input()?.dtype())?)?
    };
    "arange" => |a| arange(a)?;
    "eye" => |a| {
        let n = a.size("n")?;
        let m = if a.has("m") { a.size("m")? } else { n };
        Tensor::eye_of(n, m, a.dtype_or(DType::F32)?)?.requires_grad_(wants_grad(a)?)?
    };
    "linspace" => |a| {
        let (start, end) = (number(a, "start")?, number(a, "end")?);
        Tensor::linspace(start, end, a.size("steps")?, a.dtype_or(DType::F32)?)?
    };
    "logspace" => |a| {
        let (start, end) = (number(a, "start")?, number(a, "end")?);
        Tensor::logspace(start, end, a.size("steps")?, a.float("base")?, a.dtype_or(DType::F32)?)?
    };
    "fill" => |a| a.input()?.fill(a.operand("value")?)?;
    "fill_" => |a| {
        let value = a.scalar("value")?;
        in_place(a, |x| x.fill_(value))?
    };
    "zero_" => |a| in_place(a, |x| x.zero_())?;
};

/// A number, which may be a tensor without dimensions.
fn number(a: &Call, name: &str) -> Result<Scalar, Stop> {
    match a.value(name) {
        Value::Tensor(t) if t.dim() > 0 => {
            Err(sconce::Error::shape(format!("{name} must have no dimensions, found {:?}", t.shape())).into())
        }
        Value::Tensor(t) if t.dtype().is_floating_point() => Ok(Scalar::Float(t.item()?)),
        Value::Tensor(t) => Ok(Scalar::Int(t.item_i64()?)),
        _ => a.scalar(name),
    }
}

fn wants_grad(a: &Call) -> Result<bool, Stop> {
    Ok(a.opt("requires_grad", Call::bool)?.unwrap_or(false))
}

fn arange(a: &Call) -> Result<Tensor, Stop> {
    let start = a.opt("start", Call::scalar)?.unwrap_or(Scalar::Int(0));
    let end = a.scalar("end")?;
    let step = a.opt("step", Call::scalar)?.unwrap_or(Scalar::Int(1));
    let floats = [start, end, step].iter().any(|s| matches!(s, Scalar::Float(_)));
    Ok(Tensor::arange(start, end, step, a.dtype_or(if floats { DType::F32 } else { DType::I64 })?)?)
}
