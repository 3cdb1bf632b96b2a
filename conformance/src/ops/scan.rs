//! Running sums and extremes, and everything that sorts.

use sconce::{DType, Interpolation, Tensor, Unique, keepdim};

use super::{in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// Calls a method along the dimension `dim`, which stays if `keepdim` says so.
macro_rules! along {
    ($a:ident, $method:ident $(, $arg:expr)*) => {{
        let (x, dim) = ($a.input()?, $a.dim("dim")?);
        if $a.bool("keepdim")? { x.$method($($arg,)* keepdim(dim))? } else { x.$method($($arg,)* dim)? }
    }};
}

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "cumsum" => |a| converted(a)?.cumsum(a.dim("dim")?).and_then(|y| to_asked(a, y))?;
    "cumprod" => |a| converted(a)?.cumprod(a.dim("dim")?).and_then(|y| to_asked(a, y))?;
    "cumsum_" => |a| {
        let (dim, dtype) = (a.dim("dim")?, a.opt("dtype", Call::dtype)?);
        if dtype.is_some_and(|d| d != a.input().map_or(d, Tensor::dtype)) {
            return unsupported("another dtype in place".into());
        }
        in_place(a, |x| x.cumsum_(dim))?
    };
    "cumprod_" => |a| {
        let (dim, dtype) = (a.dim("dim")?, a.opt("dtype", Call::dtype)?);
        if dtype.is_some_and(|d| d != a.input().map_or(d, Tensor::dtype)) {
            return unsupported("another dtype in place".into());
        }
        in_place(a, |x| x.cumprod_(dim))?
    };
    "logcumsumexp" => |a| a.input()?.logcumsumexp(a.dim("dim")?)?;
    "kthvalue" => |a| along!(a, kthvalue, a.size("k")?);
    "mode" => |a| along!(a, mode);
    "median" => |a| match a.has("dim") {
        true => Val::from(along!(a, median_dim)),
        false => a.input()?.median()?.into(),
    };
    "nanmedian" => |a| match a.has("dim") {
        true => Val::from(along!(a, nanmedian_dim)),
        false => a.input()?.nanmedian()?.into(),
    };
    "quantile" => |a| {
        let (x, q, dims, how) = (a.input()?, a.operand("q")?, a.dims("dim")?, interpolation(a)?);
        if a.bool("keepdim")? { x.quantile(q, keepdim(dims), how)? } else { x.quantile(q, dims, how)? }
    };
    "nanquantile" => |a| {
        let (x, q, dims, how) = (a.input()?, a.operand("q")?, a.dims("dim")?, interpolation(a)?);
        if a.bool("keepdim")? { x.nanquantile(q, keepdim(dims), how)? } else { x.nanquantile(q, dims, how)? }
    };
    "searchsorted" => |a| {
        let right = match a.opt("side", |a, n| a.str(n).map(str::to_owned))?.as_deref() {
            None => a.bool("right")?,
            Some("right") => true,
            Some("left") => false,
            Some(other) => return unsupported(format!("side = {other:?}")),
        };
        let sequence = a.tensor("sorted_sequence")?;
        let at = sequence.searchsorted(a.operand("input")?, right, a.opt_tensor("sorter")?)?;
        at.to(places(a)?)?
    };
    "bucketize" => |a| {
        let (right, boundaries) = (a.bool("right")?, a.tensor("boundaries")?);
        match a.value("input") {
            Value::Tensor(x) => x.bucketize(boundaries, right)?.to(places(a)?)?,
            _ => boundaries.searchsorted(a.scalar("input")?, right, None)?.to(places(a)?)?,
        }
    };
    "isin" => |a| {
        // Duplicates do no harm.
        a.value("assume_unique");
        let name = if a.has("element") { "element" } else { "elements" };
        let elements = match a.value(name) {
            Value::Tensor(t) => t.clone(),
            _ => { let s = a.scalar(name)?; Tensor::full((), s, s.dtype())? }
        };
        let found = elements.isin(a.operand(if a.has("test_element") { "test_element" } else { "test_elements" })?)?;
        if a.bool("invert")? { found.logical_not()? } else { found }
    };
    "unique" => |a| {
        // They are sorted in any case.
        a.value("sorted");
        found(a, a.input()?.unique(a.opt("dim", Call::dim)?)?)?
    };
    "unique_consecutive" => |a| found(a, a.input()?.unique_consecutive(a.opt("dim", Call::dim)?)?)?;
    "histc" => |a| a.input()?.histc(a.size("bins")?, a.float("min")?, a.float("max")?)?;
    "histogram" => |a| {
        let (x, weight, density) = (a.input()?, a.opt_tensor("weight")?, a.bool("density")?);
        let edges = match (a.value("bins"), a.opt("range", floats)?) {
            (Value::Tensor(edges), _) => edges.clone(),
            (_, None) => x.histogram_edges(a.size("bins")?, None)?,
            (_, Some(range)) => match range[..] {
                [low, high] => x.histogram_edges(a.size("bins")?, Some((low, high)))?,
                _ => return unsupported("a range that is not two numbers".into()),
            },
        };
        (x.histogram(&edges, weight, density)?, edges)
    };
    "unravel_index" => |a| Val::Tuple(
        a.tensor("indices")?.unravel_index(a.ints("shape")?)?.into_iter().map(Val::from).collect()
    );
    "bincount" => |a| a.input()?.bincount(a.opt_tensor("weights")?, a.size("minlength")?)?;
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

fn interpolation(a: &Call) -> Result<Interpolation, Stop> {
    a.word("interpolation")
}

/// The dtype of places.
fn places(a: &Call) -> Result<DType, Stop> {
    Ok(if a.bool("out_int32")? { DType::I32 } else { DType::I64 })
}

/// What `unique` was asked for.
fn found(a: &Call, unique: Unique) -> Result<Val, Stop> {
    let mut all = vec![unique.values.into()];
    if a.bool("return_inverse")? {
        all.push(unique.inverse.into());
    }
    if a.bool("return_counts")? {
        all.push(unique.counts.into());
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Val::Tuple(all) })
}

fn floats(a: &Call, name: &str) -> Result<Vec<f64>, Stop> {
    let number = |v: &Val| v.as_f64().map_or_else(|| unsupported(format!("{name} has {}", v.kind())), Ok);
    a.value(name).items().unwrap_or_default().iter().map(number).collect()
}
