//! Reductions.

use sconce::{Tensor, keepdim};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// Calls a method over the dimensions `dim`, which stay if `keepdim` says so.
macro_rules! over {
    ($a:ident, $method:ident $(, $arg:expr)*) => {{
        let (x, dims) = ($a.input()?, $a.dims("dim")?);
        if keeps($a)? { x.$method($($arg,)* keepdim(dims))? } else { x.$method($($arg,)* dims)? }
    }};
}

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "sum" => |a| over!(a, sum);
    "mean" => |a| over!(a, mean);
    "prod" => |a| over!(a, prod);
    "amax" => |a| over!(a, amax);
    "amin" => |a| over!(a, amin);
    "aminmax" => |a| over!(a, aminmax);
    "any" => |a| over!(a, any);
    "all" => |a| over!(a, all);
    "argmax" => |a| over!(a, argmax);
    "argmin" => |a| over!(a, argmin);
    "count_nonzero" => |a| over!(a, count_nonzero);
    "logsumexp" => |a| over!(a, logsumexp);
    "max" => |a| match (a.has("other"), a.has("dim")) {
        (true, _) => a.input()?.maximum(a.tensor("other")?)?.into(),
        (_, true) => Val::from(over!(a, max_dim)),
        _ => a.input()?.max()?.into(),
    };
    "min" => |a| match (a.has("other"), a.has("dim")) {
        (true, _) => a.input()?.minimum(a.tensor("other")?)?.into(),
        (_, true) => Val::from(over!(a, min_dim)),
        _ => a.input()?.min()?.into(),
    };
    "var" => |a| moment(a, |x, dims, c| x.var(dims, c), |x, dims, c| x.var(keepdim(dims), c))?;
    "std" => |a| moment(a, |x, dims, c| x.std(dims, c), |x, dims, c| x.std(keepdim(dims), c))?;
    "norm" | "linalg.vector_norm" => |a| over!(a, norm, order(a)?);
    "sum_to_size" => |a| a.input()?.sum_to_size(a.ints("size")?)?;
};

type Dims = Option<Vec<i64>>;

fn keeps(a: &Call) -> Result<bool, Stop> {
    Ok(a.opt("keepdim", Call::bool)?.unwrap_or(false))
}

fn moment(
    a: &Call,
    dropped: impl FnOnce(&Tensor, Dims, f64) -> sconce::Result<Tensor>,
    kept: impl FnOnce(&Tensor, Dims, f64) -> sconce::Result<Tensor>,
) -> Result<Tensor, Stop> {
    let correction = match a.opt("unbiased", Call::bool)? {
        Some(unbiased) => f64::from(u8::from(unbiased)),
        None => a.opt("correction", Call::float)?.unwrap_or(1.0),
    };
    let (x, dims) = (a.input()?, a.dims("dim")?);
    Ok(if keeps(a)? { kept(x, dims, correction)? } else { dropped(x, dims, correction)? })
}

/// The order of a vector norm.
fn order(a: &Call) -> Result<f64, Stop> {
    let name = if a.has("ord") { "ord" } else { "p" };
    match a.value(name) {
        Value::Str(p) if p == "fro" => Ok(2.0),
        Value::Str(p) => unsupported(format!("norm {p:?}")),
        _ => a.float(name),
    }
}
