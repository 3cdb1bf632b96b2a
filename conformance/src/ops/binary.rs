//! Arithmetic of two tensors, or of a tensor and a number.

use sconce::{Operand, Result, Scalar, Tensor};

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "add" => |a| a.input()?.add(a.operand("other")?)?;
    "add_" => |a| changed_by(a, "other", |x, y| x.add_(y))?;
    "sub" => |a| a.input()?.sub(a.operand("other")?)?;
    "sub_" => |a| changed_by(a, "other", |x, y| x.sub_(y))?;
    "mul" => |a| a.input()?.mul(a.operand("other")?)?;
    "mul_" => |a| changed_by(a, "other", |x, y| x.mul_(y))?;
    "div" | "true_divide" => |a| match a.value("input") {
        Value::Tensor(x) => x.div(a.operand("other")?)?,
        _ => a.tensor("other")?.rdiv(a.scalar("input")?)?,
    };
    "div_" | "true_divide_" => |a| changed_by(a, "other", |x, y| x.div_(y))?;
    "pow" => |a| match a.value("input") {
        Value::Tensor(x) => x.pow(a.operand("exponent")?)?,
        _ => a.tensor("exponent")?.rpow(a.scalar("input")?)?,
    };
    "pow_" => |a| changed_by(a, "exponent", |x, y| x.pow_(y))?;
    "maximum" => |a| a.input()?.maximum(a.tensor("other")?)?;
    "minimum" => |a| a.input()?.minimum(a.tensor("other")?)?;
    "rsub" => |a| reversed(a, |y, x| y.sub(x), |x, n| x.rsub(n))?;
    "__radd__" => |a| reversed(a, |y, x| y.add(x), |x, n| x.add(n))?;
    "__rmul__" => |a| reversed(a, |y, x| y.mul(x), |x, n| x.mul(n))?;
    "__rsub__" => |a| reversed(a, |y, x| y.sub(x), |x, n| x.rsub(n))?;
    "__rdiv__" => |a| reversed(a, |y, x| y.div(x), |x, n| x.rdiv(n))?;
    "__rpow__" => |a| reversed(a, |y, x| y.pow(x), |x, n| x.rpow(n))?;
};

fn changed_by(a: &Call, name: &str, f: impl FnOnce(&Tensor, Operand<'_>) -> Result<()>) -> Result<Val, Stop> {
    let other = a.operand(name)?;
    in_place(a, |x| f(x, other))
}

/// `other · input`, for two tensors and for a number before a tensor.
fn reversed(
    a: &Call,
    tensors: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
    number: impl FnOnce(&Tensor, Scalar) -> Result<Tensor>,
) -> Result<Tensor, Stop> {
    Ok(match (a.value("input"), a.value("other")) {
        (Value::Tensor(x), Value::Tensor(y)) => tensors(y, x)?,
        (Value::Tensor(x), _) => number(x, a.scalar("other")?)?,
        // A number's own method: `(2).__rpow__(x)` is `x ** 2`.
        _ => return crate::outcome::unsupported("a number as the left operand".into()),
    })
}
