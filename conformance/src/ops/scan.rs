//! Running sums and extremes, and everything that sorts.

use sconce::Tensor;

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "cumsum" => |a| converted(a)?.cumsum(a.dim("dim")?).and_then(|y| to_asked(a, y))?;
    "cumprod" => |a| converted(a)?.cumprod(a.dim("dim")?).and_then(|y| to_asked(a, y))?;
    "cumsum_" => |a| {
        let dim = a.dim("dim")?;
        in_place(a, |x| x.cumsum_(dim))?
    };
    "cumprod_" => |a| {
        let dim = a.dim("dim")?;
        in_place(a, |x| x.cumprod_(dim))?
    };
    "cummax" => |a| a.input()?.cummax(a.dim("dim")?)?;
    "cummin" => |a| a.input()?.cummin(a.dim("dim")?)?;
    "sort" => |a| {
        // Sorting is stable in any case.
        a.value("stable");
        let descending = a.bool(if a.has("reverse") { "reverse" } else { "descending" })?;
        a.input()?.sort(a.opt("dim", Call::dim)?.unwrap_or(-1), descending)?
    };
    "msort" => |a| a.input()?.sort(0, false)?.0;
    "argsort" => |a| {
        a.value("stable");
        a.input()?.argsort(a.dim("dim")?, a.bool("descending")?)?
    };
    "topk" => |a| {
        // The elements are in order in any case.
        a.value("sorted");
        a.input()?.topk(a.size("k")?, a.dim("dim")?, a.bool("largest")?)?
    };
};

/// The input in the dtype asked for.
fn converted(a: &Call) -> Result<Tensor, Stop> {
    let x = a.input()?;
    Ok(x.to(a.dtype_or(x.dtype())?)?)
}

/// A result in the dtype asked for.
fn to_asked(a: &Call, y: Tensor) -> sconce::Result<Tensor> {
    match a.dtype_or(y.dtype()) {
        Ok(dtype) => y.to(dtype),
        Err(_) => Ok(y),
    }
}
