//! Putting tensors together and taking them apart.

use sconce::{Sections, Tensor, broadcast_shapes};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "cat" => |a| Tensor::cat(&a.tensors("tensors")?, a.dim("dim")?)?;
    "stack" => |a| Tensor::stack(&a.tensors("tensors")?, a.dim("dim")?)?;
    "hstack" => |a| Tensor::hstack(&a.tensors("tensors")?)?;
    "vstack" => |a| Tensor::vstack(&a.tensors("tensors")?)?;
    "dstack" => |a| Tensor::dstack(&a.tensors("tensors")?)?;
    "column_stack" => |a| Tensor::column_stack(&a.tensors("tensors")?)?;
    "block_diag" => |a| Tensor::block_diag(&a.tensors("tensors")?)?;
    "cartesian_prod" => |a| Tensor::cartesian_prod(&a.tensors("tensors")?)?;
    "combinations" => |a| a.input()?.combinations(a.size("r")?, a.bool("with_replacement")?)?;
    "meshgrid" => |a| {
        let xy = match a.opt("indexing", |a, n| a.str(n).map(str::to_owned))?.as_deref() {
            None | Some("ij") => false,
            Some("xy") => true,
            Some(other) => return unsupported(format!("indexing = {other:?}")),
        };
        Tensor::meshgrid(&a.tensors("tensors")?, xy)?
    };
    "broadcast_tensors" => |a| Tensor::broadcast_tensors(&a.tensors("tensors")?)?;
    "broadcast_shapes" => |a| {
        let shapes = a.value("shapes").items().unwrap_or_default();
        let shapes = shapes.iter().map(sizes).collect::<Result<Vec<_>, _>>()?;
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        Val::List(broadcast_shapes(&shapes)?.iter().map(|&n| Value::Int(n as i128)).collect())
    };
    "atleast_1d" => |a| each(a, Tensor::atleast_1d)?;
    "atleast_2d" => |a| each(a, Tensor::atleast_2d)?;
    "atleast_3d" => |a| each(a, Tensor::atleast_3d)?;
    "split" => |a| {
        let (x, dim) = (a.tensor("tensor")?, a.dim("dim")?);
        match a.value("split_size_or_sections").items() {
            Some(_) => x.split_with_sizes(&a.sizes("split_size_or_sections")?, dim)?,
            None => x.split(a.size("split_size_or_sections")?, dim)?,
        }
    };
    "split_with_sizes" => |a| a.input()?.split_with_sizes(&a.sizes("split_sizes")?, a.dim("dim")?)?;
    "chunk" => |a| a.input()?.chunk(a.size("chunks")?, a.dim("dim")?)?;
    "unbind" => |a| a.input()?.unbind(a.dim("dim")?)?;
    "tensor_split" => |a| a.input()?.tensor_split(sections(a)?, a.dim("dim")?)?;
    "hsplit" => |a| a.input()?.hsplit(sections(a)?)?;
    "vsplit" => |a| a.input()?.vsplit(sections(a)?)?;
    "dsplit" => |a| a.input()?.dsplit(sections(a)?)?;
};

fn sizes(value: &Val) -> Result<Vec<usize>, Stop> {
    let size = |value: &Val| match value {
        Value::Int(n) => {
            usize::try_from(*n).or_else(|_| unsupported(format!("a size of {n}: it is unsigned here")))
        }
        other => unsupported(format!("a size that is {}", other.kind())),
    };
    value.items().unwrap_or(std::slice::from_ref(value)).iter().map(size).collect()
}

fn each(a: &Call, f: fn(&Tensor) -> sconce::Result<Tensor>) -> Result<Val, Stop> {
    if let Value::Tensor(t) = a.value("tensors") {
        return Ok(f(t)?.into());
    }
    let results = a.tensors("tensors")?.iter().map(f).collect::<sconce::Result<Vec<_>>>()?;
    Ok(match <[Tensor; 1]>::try_from(results) {
        Ok([one]) => one.into(),
        Err(several) => several.into(),
    })
}

/// A number of sections or indices, either of which may be a tensor.
fn sections(a: &Call) -> Result<Sections, Stop> {
    let name = ["sections", "indices", "tensor_indices_or_sections"].into_iter().find(|n| a.has(n));
    let name = name.unwrap_or("sections");
    let indices = match a.value(name) {
        Value::Tensor(t) if t.dim() == 0 => {
            let [n] = sconce::sizes_of(name, t.item_i64()?)?;
            return Ok(Sections::Count(n));
        }
        Value::Tensor(t) => t.to_vec::<i64>()?,
        value if value.items().is_none() => return Ok(Sections::Count(a.size(name)?)),
        _ => a.ints(name)?,
    };
    Ok(Sections::At(indices.into_iter().map(|i| i as isize).collect()))
}
