//! Arithmetic of two tensors, or of a tensor and a number.

use sconce::{Operand, Scalar, Tensor};

use super::{in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "add" => |a| either(a, |x, y| x.add(y))?;
    "add_" => |a| changed_by(a, "other", |x, y| x.add_(y))?;
    "sub" => |a| a.input()?.sub(a.operand("other")?)?;
    "sub_" => |a| changed_by(a, "other", |x, y| x.sub_(y))?;
    "mul" => |a| either(a, |x, y| x.mul(y))?;
    "mul_" => |a| changed_by(a, "other", |x, y| x.mul_(y))?;
    "div" | "true_divide" => |a| divide(a)?;
    "div_" | "true_divide_" => |a| match a.opt("rounding_mode", |a, n| a.str(n).map(str::to_owned))?.as_deref() {
        None => changed_by(a, "other", |x, y| x.div_(y))?,
        Some("floor") => changed_by(a, "other", |x, y| x.floor_divide_(y))?,
        Some("trunc") => changed_by(a, "other", |x, y| x.trunc_divide_(y))?,
        Some(other) => return unsupported(format!("rounding_mode = {other:?}")),
    };
    "pow" => |a| match a.value("input") {
        Value::Tensor(x) => x.pow(a.operand("exponent")?)?,
        _ => a.tensor("exponent")?.rpow(a.scalar("input")?)?,
    };
    "pow_" => |a| changed_by(a, "exponent", |x, y| x.pow_(y))?;
    "maximum" => |a| a.input()?.maximum(a.tensor("other")?)?;
    "minimum" => |a| a.input()?.minimum(a.tensor("other")?)?;
    "atan2" => |a| a.input()?.atan2(a.tensor("other")?)?;
    "atan2_" => |a| changed_by_tensor(a, "other", Tensor::atan2_)?;
    "fmod" => |a| a.input()?.fmod(a.operand("other")?)?;
    "fmod_" => |a| changed_by(a, "other", |x, y| x.fmod_(y))?;
    "remainder" => |a| a.input()?.remainder(a.operand("other")?)?;
    "remainder_" => |a| changed_by(a, "other", |x, y| x.remainder_(y))?;
    "hypot" => |a| a.input()?.hypot(a.tensor("other")?)?;
    "hypot_" => |a| changed_by_tensor(a, "other", Tensor::hypot_)?;
    "copysign" => |a| a.input()?.copysign(a.operand("other")?)?;
    "copysign_" => |a| changed_by(a, "other", |x, y| x.copysign_(y))?;
    "logaddexp" => |a| a.input()?.logaddexp(a.tensor("other")?)?;
    "logaddexp_" => |a| changed_by_tensor(a, "other", Tensor::logaddexp_)?;
    "logaddexp2" => |a| a.input()?.logaddexp2(a.tensor("other")?)?;
    "logaddexp2_" => |a| changed_by_tensor(a, "other", Tensor::logaddexp2_)?;
    "xlogy" => |a| a.input()?.xlogy(a.operand("other")?)?;
    "xlogy_" => |a| changed_by(a, "other", |x, y| x.xlogy_(y))?;
    "fmax" => |a| a.input()?.fmax(a.tensor("other")?)?;
    "fmax_" => |a| changed_by_tensor(a, "other", Tensor::fmax_)?;
    "fmin" => |a| a.input()?.fmin(a.tensor("other")?)?;
    "fmin_" => |a| changed_by_tensor(a, "other", Tensor::fmin_)?;
    "floor_divide" => |a| a.input()?.floor_divide(a.operand("other")?)?;
    "floor_divide_" => |a| changed_by(a, "other", |x, y| x.floor_divide_(y))?;
    "bitwise_and" => |a| a.input()?.bitwise_and(a.operand("other")?)?;
    "bitwise_and_" => |a| changed_by(a, "other", |x, y| x.bitwise_and_(y))?;
    "bitwise_or" => |a| a.input()?.bitwise_or(a.operand("other")?)?;
    "bitwise_or_" => |a| changed_by(a, "other", |x, y| x.bitwise_or_(y))?;
    "bitwise_xor" => |a| a.input()?.bitwise_xor(a.operand("other")?)?;
    "bitwise_xor_" => |a| changed_by(a, "other", |x, y| x.bitwise_xor_(y))?;
    "gcd" => |a| a.input()?.gcd(a.tensor("other")?)?;
    "gcd_" => |a| changed_by_tensor(a, "other", Tensor::gcd_)?;
    "lcm" => |a| a.input()?.lcm(a.tensor("other")?)?;
    "lcm_" => |a| changed_by_tensor(a, "other", Tensor::lcm_)?;
    "heaviside" => |a| a.input()?.heaviside(a.tensor("values")?)?;
    "heaviside_" => |a| changed_by_tensor(a, "values", Tensor::heaviside_)?;
    "clamp_min" => |a| a.input()?.clamp_min(a.operand("min")?)?;
    "clamp_min_" => |a| changed_by(a, "min", |x, y| x.clamp_min_(y))?;
    "clamp_max" => |a| a.input()?.clamp_max(a.operand("max")?)?;
    "clamp_max_" => |a| changed_by(a, "max", |x, y| x.clamp_max_(y))?;
    "bitwise_left_shift" => |a| a.input()?.bitwise_left_shift(a.operand("other")?)?;
    "bitwise_right_shift" => |a| a.input()?.bitwise_right_shift(a.operand("other")?)?;
    "lerp" => |a| a.input()?.lerp(a.tensor("end")?, a.operand("weight")?)?;
    "lerp_" => |a| {
        let (end, weight) = (a.tensor("end")?, a.operand("weight")?);
        in_place(a, |x| x.lerp_(end, weight))?
    };
    "addcmul" => |a| a.input()?.addcmul(a.tensor("tensor1")?, a.tensor("tensor2")?, a.scalar("value")?)?;
    "addcdiv" => |a| a.input()?.addcdiv(a.tensor("tensor1")?, a.tensor("tensor2")?, a.scalar("value")?)?;
    "addcmul_" => |a| {
        let (first, second, value) = (a.tensor("tensor1")?, a.tensor("tensor2")?, a.scalar("value")?);
        in_place(a, |x| x.addcmul_(first, second, value))?
    };
    "addcdiv_" => |a| {
        let (first, second, value) = (a.tensor("tensor1")?, a.tensor("tensor2")?, a.scalar("value")?);
        in_place(a, |x| x.addcdiv_(first, second, value))?
    };
    "__rmod__" => |a| match (a.value("input"), a.value("other")) {
        (Value::Tensor(x), Value::Tensor(y)) => y.remainder(x)?,
        _ => return unsupported("a number as the left operand".into()),
    };
    "__rand__" => |a| a.input()?.bitwise_and(a.operand("other")?)?;
    "__ror__" => |a| a.input()?.bitwise_or(a.operand("other")?)?;
    "__rxor__" => |a| a.input()?.bitwise_xor(a.operand("other")?)?;
    "rsub" => |a| reversed(a, |y, x| y.sub(x), |x, n| x.rsub(n))?;
    "__radd__" => |a| reversed(a, |y, x| y.add(x), |x, n| x.add(n))?;
    "__rmul__" => |a| reversed(a, |y, x| y.mul(x), |x, n| x.mul(n))?;
    "__rsub__" => |a| reversed(a, |y, x| y.sub(x), |x, n| x.rsub(n))?;
    "__rdiv__" => |a| reversed(a, |y, x| y.div(x), |x, n| x.rdiv(n))?;
    "__rpow__" => |a| reversed(a, |y, x| y.pow(x), |x, n| x.rpow(n))?;
};

fn changed_by(
    a: &Call,
    name: &str,
    f: impl FnOnce(&Tensor, Operand<'_>) -> sconce::Result<()>,
) -> Result<Val, Stop> {
    let other = a.operand(name)?;
    in_place(a, |x| f(x, other))
}

fn changed_by_tensor(
    a: &Call,
    name: &str,
    f: impl FnOnce(&Tensor, &Tensor) -> sconce::Result<()>,
) -> Result<Val, Stop> {
    let other = a.tensor(name)?;
    in_place(a, |x| f(x, other))
}

fn divide(a: &Call) -> Result<Tensor, Stop> {
    let mode = a.opt("rounding_mode", |a, name| a.str(name).map(str::to_owned))?;
    let Value::Tensor(x) = a.value("input") else {
        return match mode {
            None => Ok(a.tensor("other")?.rdiv(a.scalar("input")?)?),
            Some(_) => unsupported("a number as the left operand".into()),
        };
    };
    let other = a.operand("other")?;
    Ok(match mode.as_deref() {
        None => x.div(other)?,
        Some("floor") => x.floor_divide(other)?,
        Some("trunc") => x.trunc_divide(other)?,
        Some(other) => return unsupported(format!("rounding_mode = {other:?}")),
    })
}

/// A commutative operation, whose number may come first.
fn either(a: &Call, f: impl FnOnce(&Tensor, Operand<'_>) -> sconce::Result<Tensor>) -> Result<Tensor, Stop> {
    match a.value("input") {
        Value::Tensor(x) => Ok(f(x, a.operand("other")?)?),
        _ => Ok(f(a.tensor("other")?, a.operand("input")?)?),
    }
}

/// `other · input`, for two tensors and for a number before a tensor.
fn reversed(
    a: &Call,
    tensors: impl FnOnce(&Tensor, &Tensor) -> sconce::Result<Tensor>,
    number: impl FnOnce(&Tensor, Scalar) -> sconce::Result<Tensor>,
) -> Result<Tensor, Stop> {
    Ok(match (a.value("input"), a.value("other")) {
        (Value::Tensor(x), Value::Tensor(y)) => tensors(y, x)?,
        (Value::Tensor(x), _) => number(x, a.scalar("other")?)?,
        // A number's own method: `(2).__rpow__(x)` is `x ** 2`.
        _ => return unsupported("a number as the left operand".into()),
    })
}
