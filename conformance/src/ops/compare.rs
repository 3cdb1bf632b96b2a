//! Comparisons, tests and selection by a mask.

use sconce::{Operand, Result, Tensor};

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "eq" => |a| pair(a, |x, y| x.eq(y))?;
    "ne" => |a| pair(a, |x, y| x.ne(y))?;
    "lt" => |a| pair(a, |x, y| x.lt(y))?;
    "le" => |a| pair(a, |x, y| x.le(y))?;
    "gt" => |a| pair(a, |x, y| x.gt(y))?;
    "ge" => |a| pair(a, |x, y| x.ge(y))?;
    "logical_and" => |a| a.input()?.logical_and(a.tensor("other")?)?;
    "logical_or" => |a| a.input()?.logical_or(a.tensor("other")?)?;
    "logical_xor" => |a| a.input()?.logical_xor(a.tensor("other")?)?;
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
    "where" => |a| a.input()?.where_(a.tensor("condition")?, a.operand("other")?)?;
    "masked_fill" => |a| a.input()?.masked_fill(a.tensor("mask")?, a.operand("value")?)?;
    "masked_fill_" => |a| {
        let (mask, value) = (a.tensor("mask")?, a.operand("value")?);
        in_place(a, |x| x.masked_fill_(mask, value))?
    };
};

fn pair(a: &Call, f: impl FnOnce(&Tensor, Operand<'_>) -> Result<Tensor>) -> Result<Tensor, Stop> {
    let (first, second) = if a.has("a") { ("a", "b") } else { ("input", "other") };
    Ok(f(a.tensor(first)?, a.operand(second)?)?)
}
