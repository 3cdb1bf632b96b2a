//! Comparisons, tests and selection by a mask.

use sconce::{Operand, Result, Tensor};

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "eq" => |a| pair(a, |x, y| x.eq(y))?;
    "eq_" => |a| changed(a, |x, y| x.eq_(y))?;
    "ne" => |a| pair(a, |x, y| x.ne(y))?;
    "ne_" => |a| changed(a, |x, y| x.ne_(y))?;
    "lt" => |a| pair(a, |x, y| x.lt(y))?;
    "lt_" => |a| changed(a, |x, y| x.lt_(y))?;
    "le" => |a| pair(a, |x, y| x.le(y))?;
    "le_" => |a| changed(a, |x, y| x.le_(y))?;
    "gt" => |a| pair(a, |x, y| x.gt(y))?;
    "gt_" => |a| changed(a, |x, y| x.gt_(y))?;
    "ge" => |a| pair(a, |x, y| x.ge(y))?;
    "ge_" => |a| changed(a, |x, y| x.ge_(y))?;
    "logical_and" => |a| a.input()?.logical_and(a.tensor("other")?)?;
    "logical_and_" => |a| {
        let other = a.tensor("other")?;
        in_place(a, |x| x.logical_and_(other))?
    };
    "logical_or" => |a| a.input()?.logical_or(a.tensor("other")?)?;
    "logical_or_" => |a| {
        let other = a.tensor("other")?;
        in_place(a, |x| x.logical_or_(other))?
    };
    "logical_xor" => |a| a.input()?.logical_xor(a.tensor("other")?)?;
    "logical_xor_" => |a| {
        let other = a.tensor("other")?;
        in_place(a, |x| x.logical_xor_(other))?
    };
    "logical_not" => |a| a.input()?.logical_not()?;
    "isnan" => |a| a.input()?.isnan()?;
    "isinf" => |a| a.input()?.isinf()?;
    "isfinite" => |a| a.input()?.isfinite()?;
    "equal" => |a| a.input()?.equal(a.tensor("other")?)?;
    "isclose" => |a| a.input()?.isclose(
        a.tensor("other")?, a.float("rtol")?, a.float("atol")?, a.bool("equal_nan")?,
    )?;
    "allclose" => |a| a.input()?.allclose(
        a.tensor("other")?, a.float("rtol")?, a.float("atol")?, a.bool("equal_nan")?,
    )?;
    "where" => |a| {
        let (mask, other) = (a.tensor("condition")?, a.operand("other")?);
        match (a.operand("input")?, other) {
            (Operand::Tensor(x), _) => x.where_(mask, other)?,
            (number, Operand::Tensor(y)) => y.where_(&mask.logical_not()?, number)?,
            (Operand::Scalar(s), _) => Tensor::full((), s, s.dtype())?.where_(mask, other)?,
        }
    };
    "masked_fill" => |a| a.input()?.masked_fill(a.tensor("mask")?, a.operand("value")?)?;
    "masked_fill_" => |a| {
        let (mask, value) = (a.tensor("mask")?, a.operand("value")?);
        in_place(a, |x| x.masked_fill_(mask, value))?
    };
};

fn changed(a: &Call, f: impl FnOnce(&Tensor, Operand<'_>) -> Result<()>) -> std::result::Result<Val, Stop> {
    let other = a.operand("other")?;
    in_place(a, |x| f(x, other))
}

fn pair(a: &Call, f: impl FnOnce(&Tensor, Operand<'_>) -> Result<Tensor>) -> Result<Tensor, Stop> {
    let (first, second) = if a.has("a") { ("a", "b") } else { ("input", "other") };
    Ok(f(a.tensor(first)?, a.operand(second)?)?)
}
