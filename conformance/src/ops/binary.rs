//! Arithmetic of two tensors, or of a tensor and a number.

use sconce::{Operand, Scalar, Tensor, result_type};

use super::{in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "add" => |a| match alpha(a)? {
        None => either(a, |x, y| x.add(y))?,
        Some(alpha) => left(a, "input", "other")?.add_scaled(a.operand("other")?, alpha)?,
    };
    "add_" => |a| {
        let alpha = alpha(a)?;
        changed_by(a, "other", |x, y| match alpha {
            None => x.add_(y),
            Some(alpha) => x.add_scaled_(y, alpha),
        })?
    };
    "sub" => |a| match (alpha(a)?, a.value("input")) {
        (None, Value::Tensor(x)) => x.sub(a.operand("other")?)?,
        (None, _) => left(a, "input", "other")?.sub(a.operand("other")?)?,
        (Some(alpha), _) => left(a, "input", "other")?.sub_scaled(a.operand("other")?, alpha)?,
    };
    "sub_" => |a| {
        let alpha = alpha(a)?;
        changed_by(a, "other", |x, y| match alpha {
            None => x.sub_(y),
            Some(alpha) => x.sub_scaled_(y, alpha),
        })?
    };
    "mul" => |a| either(a, |x, y| x.mul(y))?;
    "mul_" => |a| changed_by(a, "other", |x, y| x.mul_(y))?;
    "div" | "true_divide" => |a| divide(a)?;
    "div_" | "true_divide_" => |a| match a.opt("rounding_mode", |a, n| a.str(n).map(str::to_owned))?.as_deref() {
        None => changed_by(a, "other", |x, y| x.div_(y))?,
        Some("floor") => changed_by(a, "other", |x, y| x.floor_divide_(y))?,
        Some("trunc") => changed_by(a, "other", |x, y| x.trunc_divide_(y))?,
        Some(other) => return unsupported(format!("rounding_mode = {other:?}")),
    };
    "float_power" => |a| match a.value("input") {
        Value::Tensor(x) => x.float_power(a.operand("exponent")?)?,
        _ => a.tensor("exponent")?.float_rpower(a.scalar("input")?)?,
    };
    "float_power_" => |a| changed_by(a, "exponent", |x, y| x.float_power_(y))?;
    "ldexp" => |a| a.input()?.ldexp(a.tensor("other")?)?;
    "ldexp_" => |a| changed_by_tensor(a, "other", Tensor::ldexp_)?;
    "nextafter" => |a| a.input()?.nextafter(a.tensor("other")?)?;
    "nextafter_" => |a| changed_by_tensor(a, "other", Tensor::nextafter_)?;
    "igamma" => |a| a.input()?.igamma(a.tensor("other")?)?;
    "igamma_" => |a| changed_by_tensor(a, "other", Tensor::igamma_)?;
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
    "remainder" => |a| number_left(a)?.remainder(a.operand("other")?)?;
    "remainder_" => |a| changed_by(a, "other", |x, y| x.remainder_(y))?;
    "hypot" => |a| a.input()?.hypot(a.tensor("other")?)?;
    "hypot_" => |a| changed_by_tensor(a, "other", Tensor::hypot_)?;
    "copysign" => |a| a.input()?.copysign(a.operand("other")?)?;
    "copysign_" => |a| changed_by(a, "other", |x, y| x.copysign_(y))?;
    "logaddexp" => |a| a.input()?.logaddexp(a.tensor("other")?)?;
    "logaddexp_" => |a| changed_by_tensor(a, "other", Tensor::logaddexp_)?;
    "logaddexp2" => |a| a.input()?.logaddexp2(a.tensor("other")?)?;
    "logaddexp2_" => |a| changed_by_tensor(a, "other", Tensor::logaddexp2_)?;
    "xlogy" => |a| number_left(a)?.xlogy(a.operand("other")?)?;
    "xlogy_" => |a| changed_by(a, "other", |x, y| x.xlogy_(y))?;
    "fmax" => |a| a.input()?.fmax(a.tensor("other")?)?;
    "fmax_" => |a| changed_by_tensor(a, "other", Tensor::fmax_)?;
    "fmin" => |a| a.input()?.fmin(a.tensor("other")?)?;
    "fmin_" => |a| changed_by_tensor(a, "other", Tensor::fmin_)?;
    "floor_divide" => |a| left(a, "input", "other")?.floor_divide(a.operand("other")?)?;
    "floor_divide_" => |a| changed_by(a, "other", |x, y| x.floor_divide_(y))?;
    "bitwise_and" => |a| number_left(a)?.bitwise_and(a.operand("other")?)?;
    "bitwise_and_" => |a| changed_by(a, "other", |x, y| x.bitwise_and_(y))?;
    "bitwise_or" => |a| number_left(a)?.bitwise_or(a.operand("other")?)?;
    "bitwise_or_" => |a| changed_by(a, "other", |x, y| x.bitwise_or_(y))?;
    "bitwise_xor" => |a| number_left(a)?.bitwise_xor(a.operand("other")?)?;
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
    "bitwise_left_shift" => |a| number_left(a)?.bitwise_left_shift(a.operand("other")?)?;
    "bitwise_right_shift" => |a| number_left(a)?.bitwise_right_shift(a.operand("other")?)?;
    "bitwise_left_shift_" => |a| changed_by(a, "other", |x, y| x.bitwise_left_shift_(y))?;
    "bitwise_right_shift_" => |a| changed_by(a, "other", |x, y| x.bitwise_right_shift_(y))?;
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
        (Value::Tensor(x), _) => left(a, "other", "input")?.remainder(x)?,
        (_, Value::Tensor(y)) => y.remainder(a.scalar("input")?)?,
        _ => return unsupported("two numbers".into()),
    };
    "__rand__" => |a| a.input()?.bitwise_and(a.operand("other")?)?;
    "__ror__" => |a| a.input()?.bitwise_or(a.operand("other")?)?;
    "__rxor__" => |a| a.input()?.bitwise_xor(a.operand("other")?)?;
    "rsub" => |a| match alpha(a)? {
        None => reversed(a, |y, x| y.sub(x), |x, n| x.rsub(n))?,
        Some(alpha) => left(a, "other", "input")?.sub_scaled(a.input()?, alpha)?,
    };
    "__radd__" => |a| reversed(a, |y, x| y.add(x), |x, n| x.add(n))?;
    "__rmul__" => |a| reversed(a, |y, x| y.mul(x), |x, n| x.mul(n))?;
    "__rsub__" => |a| reversed(a, |y, x| y.sub(x), |x, n| x.rsub(n))?;
    "__rdiv__" => |a| reversed(a, |y, x| y.div(x), |x, n| x.rdiv(n))?;
    "__rpow__" => |a| match a.value("input") {
        Value::Tensor(_) => reversed(a, |y, x| y.pow(x), |x, n| x.rpow(n))?,
        // A number's own method: `(2).__rpow__(x)` is `x ** 2`.
        _ => a.tensor("other")?.pow(a.scalar("input")?)?,
    };
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
    let (x, other) = (left(a, "input", "other")?, a.operand("other")?);
    Ok(match mode.as_deref() {
        None => x.div(other)?,
        Some("floor") => x.floor_divide(other)?,
        Some("trunc") => x.trunc_divide(other)?,
        Some(other) => return unsupported(format!("rounding_mode = {other:?}")),
    })
}

/// The number that the second operand is to be multiplied with, if it is not 1.
fn alpha(a: &Call) -> Result<Option<Scalar>, Stop> {
    let alpha = a.scalar("alpha")?;
    Ok((alpha != Scalar::Int(1)).then_some(alpha))
}

/// The left operand, which may be a number before a tensor.
fn number_left(a: &Call) -> Result<Tensor, Stop> {
    match (a.value("input"), a.value("other")) {
        (Value::Tensor(x), _) => Ok(x.clone()),
        (_, Value::Tensor(_)) => left(a, "input", "other"),
        _ => unsupported("two numbers: one is a tensor here".into()),
    }
}

/// The left operand; a number becomes a tensor of the dtype in which both are computed.
fn left(a: &Call, name: &str, other: &str) -> Result<Tensor, Stop> {
    if let Value::Tensor(x) = a.value(name) {
        return Ok(x.clone());
    }
    let number = a.scalar(name)?;
    Ok(Tensor::full((), number, result_type(a.operand(other)?, number))?)
}

/// A commutative operation, whose number may come first.
fn either(a: &Call, f: impl FnOnce(&Tensor, Operand<'_>) -> sconce::Result<Tensor>) -> Result<Tensor, Stop> {
    match a.value("input") {
        Value::Tensor(x) => Ok(f(x, a.operand("other")?)?),
        _ => match a.value("other") {
            Value::Tensor(y) => Ok(f(y, a.operand("input")?)?),
            _ => Ok(f(&left(a, "input", "other")?, a.operand("other")?)?),
        },
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
        _ => return unsupported("a number as the left operand".into()),
    })
}
