//! Picking and placing elements by index.

use sconce::functional::{self, EmbeddingOptions};
use sconce::{DType, Index, Operand, Reduce, Result, Tensor};

use super::{in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

type Outcome<T> = std::result::Result<T, Stop>;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "gather" => |a| a.input()?.gather(a.dim("dim")?, a.tensor("index")?)?;
    "scatter" => |a| match scatter_reduction(a)? {
        None => a.input()?.scatter(a.dim("dim")?, a.tensor("index")?, scattered(a)?)?,
        Some(reduce) => {
            let source = source(a)?;
            a.input()?.scatter_reduce(a.dim("dim")?, a.tensor("index")?, &source, reduce, true)?
        }
    };
    "scatter_reduce" => |a| {
        let reduce = reduction(a)?;
        let include_self = a.bool("include_self")?;
        a.input()?.scatter_reduce(a.dim("dim")?, a.tensor("index")?, a.tensor("src")?, reduce, include_self)?
    };
    "scatter_reduce_" => |a| {
        let (dim, index, source) = (a.dim("dim")?, a.tensor("index")?, a.tensor("src")?);
        let (reduce, include_self) = (reduction(a)?, a.bool("include_self")?);
        in_place(a, |x| x.scatter_reduce_(dim, index, source, reduce, include_self))?
    };
    "index_reduce" => |a| {
        let (reduce, include_self) = (reduction(a)?, a.bool("include_self")?);
        a.input()?.index_reduce(a.dim("dim")?, a.tensor("index")?, a.tensor("source")?, reduce, include_self)?
    };
    "index_reduce_" => |a| {
        let (dim, index, source) = (a.dim("dim")?, a.tensor("index")?, a.tensor("source")?);
        let (reduce, include_self) = (reduction(a)?, a.bool("include_self")?);
        in_place(a, |x| x.index_reduce_(dim, index, source, reduce, include_self))?
    };
    "__getitem__" => |a| a.input()?.get(key(a.value("key"))?)?;
    "index_put" => |a| {
        let indices = positions(a)?;
        a.input()?.index_put(&indices, a.tensor("values")?, a.bool("accumulate")?)?
    };
    "index_put_" => |a| {
        let (indices, values, accumulate) = (positions(a)?, a.tensor("values")?, a.bool("accumulate")?);
        in_place(a, |x| x.index_put_(&indices, values, accumulate))?
    };
    "put" => |a| a.input()?.put(a.tensor("index")?, a.tensor("source")?, a.bool("accumulate")?)?;
    "put_" => |a| {
        let (index, source, accumulate) = (a.tensor("index")?, a.tensor("source")?, a.bool("accumulate")?);
        in_place(a, |x| x.put_(index, source, accumulate))?
    };
    "masked_scatter" => |a| a.input()?.masked_scatter(a.tensor("mask")?, a.tensor("source")?)?;
    "masked_scatter_" => |a| {
        let (mask, source) = (a.tensor("mask")?, a.tensor("source")?);
        in_place(a, |x| x.masked_scatter_(mask, source))?
    };
    "nonzero_static" => |a| a.input()?.nonzero_static(a.size("size")?, a.int("fill_value")?)?;
    "scatter_" => |a| {
        let (dim, index) = (a.dim("dim")?, a.tensor("index")?);
        match scatter_reduction(a)? {
            None => {
                let source = scattered(a)?;
                in_place(a, |x| x.scatter_(dim, index, source))?
            }
            Some(reduce) => {
                let source = source(a)?;
                in_place(a, |x| x.scatter_reduce_(dim, index, &source, reduce, true))?
            }
        }
    };
    "scatter_add" => |a| a.input()?.scatter_add(a.dim("dim")?, a.tensor("index")?, a.tensor("src")?)?;
    "scatter_add_" => |a| placed(a, "src", Tensor::scatter_add_)?;
    "index_select" => |a| a.input()?.index_select(a.dim("dim")?, a.tensor("index")?)?;
    "index_add" => |a| a.input()?.index_add(a.dim("dim")?, a.tensor("index")?, &scaled(a, "source")?)?;
    "index_add_" => |a| {
        let (dim, index, source) = (a.dim("dim")?, a.tensor("index")?, scaled(a, "source")?);
        in_place(a, |x| x.index_add_(dim, index, &source))?
    };
    "index_copy" => |a| a.input()?.index_copy(a.dim("dim")?, a.tensor("index")?, a.tensor("source")?)?;
    "index_copy_" => |a| placed(a, "source", Tensor::index_copy_)?;
    "index_fill" => |a| a.input()?.index_fill(a.dim("dim")?, a.tensor("index")?, a.operand("value")?)?;
    "index_fill_" => |a| {
        let (dim, index, value) = (a.dim("dim")?, a.tensor("index")?, a.operand("value")?);
        in_place(a, |x| x.index_fill_(dim, index, value))?
    };
    "argwhere" => |a| a.input()?.nonzero()?;
    "nonzero" => |a| match a.opt("as_tuple", Call::bool)? {
        Some(true) => Val::from(a.input()?.nonzero_tuple()?),
        _ => a.input()?.nonzero()?.into(),
    };
    "masked_select" => |a| a.input()?.masked_select(a.tensor("mask")?)?;
    "take_along_dim" => |a| a.input()?.take_along_dim(a.tensor("indices")?, a.opt("dim", Call::dim)?)?;
    "take" => |a| a.input()?.take(a.tensor("index")?)?;
    "nn.functional.embedding" => |a| functional::embedding(a.input()?, a.tensor("weight")?, EmbeddingOptions {
        padding_idx: a.opt("padding_idx", Call::dim)?,
        max_norm: a.opt("max_norm", Call::float)?,
        norm_type: a.float("norm_type")?,
        scale_grad_by_freq: a.bool("scale_grad_by_freq")?,
    })?;
};

fn scattered(a: &Call) -> Result<Operand<'_>, Stop> {
    if a.has("src") { Ok(Operand::Tensor(a.tensor("src")?)) } else { a.operand("value") }
}

/// The reduction of a call.
fn reduction(a: &Call) -> Outcome<Reduce> {
    a.word("reduce")
}

/// That of `scatter`, if there is one.
fn scatter_reduction(a: &Call) -> Outcome<Option<Reduce>> {
    a.opt("reduce", |a, _| reduction(a))
}

/// What `scatter` combines: a tensor, or a number for every place.
fn source(a: &Call) -> Outcome<Tensor> {
    Ok(match scattered(a)? {
        Operand::Tensor(t) => t.clone(),
        Operand::Scalar(s) => Tensor::full(a.tensor("index")?.shape(), s, a.input()?.dtype())?,
    })
}

/// A source times `alpha`.
fn scaled(a: &Call, name: &str) -> Outcome<Tensor> {
    let (source, alpha) = (a.tensor(name)?, a.scalar("alpha")?);
    Ok(if alpha.to_f64() == 1.0 { source.clone() } else { source.mul(alpha)?.to(source.dtype())? })
}

/// The parts of a key.
fn key(value: &Val) -> Outcome<Vec<Index>> {
    let parts = if let Value::Tuple(parts) = value { parts.as_slice() } else { std::slice::from_ref(value) };
    parts.iter().map(part).collect()
}

fn part(value: &Val) -> Outcome<Index> {
    let bound = |value: &Val| match value {
        Value::None => Ok(None),
        Value::Int(i) => Ok(Some(*i as isize)),
        Value::Tensor(t) => Ok(Some(t.item_i64()? as isize)),
        other => unsupported(format!("a slice bound that is {}", other.kind())),
    };
    Ok(match value {
        Value::None => Index::NewAxis,
        Value::Ellipsis => Index::Ellipsis,
        Value::Int(i) => Index::At(*i as isize),
        Value::Bool(b) => Index::from(*b),
        Value::Tensor(t) => Index::from(t),
        Value::Slice(bounds) => {
            let [start, stop, step] = &**bounds;
            Index::Slice(bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1))
        }
        Value::List(_) => Index::Tensor(list(value)?),
        other => return unsupported(format!("an index that is {}", other.kind())),
    })
}

/// A list of numbers, or of lists, as a tensor.
fn list(value: &Val) -> Outcome<Tensor> {
    Ok(match value {
        Value::Int(i) => Tensor::scalar(*i as i64),
        Value::Bool(b) => Tensor::scalar(*b),
        Value::Tensor(t) => t.clone(),
        Value::List(items) | Value::Tuple(items) if items.is_empty() => Tensor::zeros([0], DType::I64)?,
        Value::List(items) | Value::Tuple(items) => {
            Tensor::stack(&items.iter().map(list).collect::<Outcome<Vec<_>>>()?, 0)?
        }
        other => return unsupported(format!("an index that is {}", other.kind())),
    })
}

/// The indices of `index_put`.
fn positions(a: &Call) -> Outcome<Vec<Option<Tensor>>> {
    let items = a.value("indices").items().unwrap_or_default();
    let position = |item: &Val| match item {
        Value::None => Ok(None),
        Value::Tensor(t) => Ok(Some(t.clone())),
        other => unsupported(format!("an index that is {}", other.kind())),
    };
    items.iter().map(position).collect()
}

fn placed(
    a: &Call,
    source: &str,
    f: impl FnOnce(&Tensor, isize, &Tensor, &Tensor) -> Result<()>,
) -> Result<Val, Stop> {
    let (dim, index, source) = (a.dim("dim")?, a.tensor("index")?, a.tensor(source)?);
    in_place(a, |x| f(x, dim, index, source))
}
