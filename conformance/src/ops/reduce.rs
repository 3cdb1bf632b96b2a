//! Reductions.

use sconce::{MatrixNorm, Tensor, keepdim};

use super::{in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// Calls a method over the dimensions `dim`, which stay if `keepdim` says so.
macro_rules! over {
    ($a:ident, $method:ident $(, $arg:expr)*) => { over!($a, $a.input()?, $method $(, $arg)*) };
    ($a:ident, $input:expr, $method:ident $(, $arg:expr)*) => {{
        let (x, dims) = ($input, $a.dims("dim")?);
        if keeps($a)? { x.$method($($arg,)* keepdim(dims))? } else { x.$method($($arg,)* dims)? }
    }};
}

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "sum" => |a| in_asked(a, over!(a, asked(a)?, sum))?;
    "mean" => |a| in_asked(a, over!(a, asked(a)?, mean))?;
    "prod" => |a| in_asked(a, over!(a, asked(a)?, prod))?;
    "nansum" => |a| in_asked(a, over!(a, asked(a)?, nansum))?;
    "nanmean" => |a| in_asked(a, over!(a, asked(a)?, nanmean))?;
    "var_mean" => |a| moment(a, |x, dims, c| x.var_mean(dims, c), |x, dims, c| x.var_mean(keepdim(dims), c))?;
    "std_mean" => |a| moment(a, |x, dims, c| x.std_mean(dims, c), |x, dims, c| x.std_mean(keepdim(dims), c))?;
    "cov" => |a| a.input()?.cov(a.int("correction")?, a.opt_tensor("fweights")?, a.opt_tensor("aweights")?)?;
    "corrcoef" => |a| a.input()?.corrcoef()?;
    "diff" => |a| {
        a.input()?.diff(a.size("n")?, a.dim("dim")?, a.opt_tensor("prepend")?, a.opt_tensor("append")?)?
    };
    "trapezoid" => |a| match a.has("x") {
        true => a.tensor("y")?.trapezoid_at(a.tensor("x")?, a.dim("dim")?)?,
        false => a.tensor("y")?.trapezoid(a.scalar("dx")?, a.dim("dim")?)?,
    };
    "cumulative_trapezoid" => |a| match a.has("x") {
        true => a.tensor("y")?.cumulative_trapezoid_at(a.tensor("x")?, a.dim("dim")?)?,
        false => a.tensor("y")?.cumulative_trapezoid(a.scalar("dx")?, a.dim("dim")?)?,
    };
    "dist" => |a| a.input()?.dist(a.tensor("other")?, a.float("p")?)?;
    "cdist" => |a| {
        // How it is computed is up to the library.
        a.value("compute_mode");
        a.tensor("x1")?.cdist(a.tensor("x2")?, a.float("p")?)?
    };
    "renorm" => |a| a.input()?.renorm(a.float("p")?, a.dim("dim")?, a.float("maxnorm")?)?;
    "renorm_" => |a| {
        let (p, dim, maxnorm) = (a.float("p")?, a.dim("dim")?, a.float("maxnorm")?);
        in_place(a, |x| x.renorm_(p, dim, maxnorm))?
    };
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
    "norm" => |a| match a.value("p") {
        Value::Str(p) if p == "nuc" => nuclear(a)?,
        _ => over!(a, asked(a)?, norm, order(a)?),
    };
    "linalg.vector_norm" => |a| over!(a, asked(a)?, norm, order(a)?);
    "sum_to_size" => |a| a.input()?.sum_to_size(a.ints("size")?)?;
};

type Dims = Option<Vec<i64>>;

fn keeps(a: &Call) -> Result<bool, Stop> {
    Ok(a.opt("keepdim", Call::bool)?.unwrap_or(false))
}

/// The input in the dtype asked for.
fn asked(a: &Call) -> Result<Tensor, Stop> {
    let x = a.input()?;
    Ok(x.to(a.dtype_or(x.dtype())?)?)
}

/// A result in the dtype asked for.
fn in_asked(a: &Call, y: Tensor) -> Result<Tensor, Stop> {
    Ok(y.to(a.dtype_or(y.dtype())?)?)
}

fn moment<T>(
    a: &Call,
    dropped: impl FnOnce(&Tensor, Dims, f64) -> sconce::Result<T>,
    kept: impl FnOnce(&Tensor, Dims, f64) -> sconce::Result<T>,
) -> Result<T, Stop> {
    let correction = match a.opt("unbiased", Call::bool)? {
        Some(unbiased) => f64::from(u8::from(unbiased)),
        None => a.opt("correction", Call::float)?.unwrap_or(1.0),
    };
    let (x, dims) = (a.input()?, a.dims("dim")?);
    Ok(if keeps(a)? { kept(x, dims, correction)? } else { dropped(x, dims, correction)? })
}

/// The nuclear norm of a matrix.
fn nuclear(a: &Call) -> Result<Tensor, Stop> {
    let dims = match a.dims("dim")?.as_deref() {
        None => [0, 1],
        Some([rows, columns]) => [*rows as isize, *columns as isize],
        Some(other) => return unsupported(format!("dim = {other:?}: a matrix has two dimensions here")),
    };
    Ok(asked(a)?.matrix_norm(MatrixNorm::Nuclear, dims, keeps(a)?)?)
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
