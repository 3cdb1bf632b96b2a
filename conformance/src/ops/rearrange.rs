//! Other orders, repetitions, diagonals, triangles, and copies with a part replaced.

use sconce::{DType, Tensor};

use super::{in_place, rows};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "flip" => |a| a.input()?.flip(a.ints("dims")?)?;
    "fft.fftshift" => |a| a.input()?.fftshift(a.dims("dim")?)?;
    "fliplr" => |a| a.input()?.fliplr()?;
    "flipud" => |a| a.input()?.flipud()?;
    "roll" => |a| a.input()?.roll(a.ints("shifts")?, a.ints("dims")?)?;
    "rot90" => |a| a.input()?.rot90(a.int("k")?, a.ints("dims")?)?;
    "repeat" => |a| a.input()?.repeat(a.ints("repeats")?)?;
    "tile" => |a| a.input()?.tile(a.ints("dims")?)?;
    "repeat_interleave" => |a| {
        if !a.has("input") {
            return Ok(a.tensor("repeats")?.repeats_to_indices()?.into());
        }
        // The size is computed in any case.
        a.value("output_size");
        let dim = a.opt("dim", Call::dim)?;
        match a.value("repeats") {
            Value::Tensor(t) => a.input()?.repeat_interleave_each(t, dim)?,
            _ => a.input()?.repeat_interleave(a.size("repeats")?, dim)?,
        }
    };
    "tril" => |a| a.input()?.tril(a.dim("diagonal")?)?;
    "triu" => |a| a.input()?.triu(a.dim("diagonal")?)?;
    "tril_" => |a| {
        let diagonal = a.dim("diagonal")?;
        in_place(a, |x| x.tril_(diagonal))?
    };
    "triu_" => |a| {
        let diagonal = a.dim("diagonal")?;
        in_place(a, |x| x.triu_(diagonal))?
    };
    "tril_indices" => |a| {
        Tensor::tril_indices(a.size("row")?, a.size("col")?, a.dim("offset")?)?.to(indices(a)?)?
    };
    "triu_indices" => |a| {
        Tensor::triu_indices(a.size("row")?, a.size("col")?, a.dim("offset")?)?.to(indices(a)?)?
    };
    "diag" => |a| a.input()?.diag(a.dim("diagonal")?)?;
    "diagonal" => |a| a.input()?.diagonal(a.dim("offset")?, a.dim("dim1")?, a.dim("dim2")?)?;
    "linalg.diagonal" => |a| a.tensor("A")?.diagonal(a.dim("offset")?, a.dim("dim1")?, a.dim("dim2")?)?;
    "diag_embed" => |a| a.input()?.diag_embed(a.dim("offset")?, a.dim("dim1")?, a.dim("dim2")?)?;
    "diagflat" => |a| a.input()?.diagflat(a.dim("offset")?)?;
    "trace" => |a| a.input()?.trace()?;
    "movedim" => |a| a.input()?.movedim(a.ints("source")?, a.ints("destination")?)?;
    "unfold" => |a| a.input()?.unfold(a.dim("dimension")?, a.size("size")?, a.size("step")?)?;
    "ravel" => |a| a.input()?.contiguous()?.view([-1])?;
    "T" => |a| {
        let x = a.input()?;
        x.permute((0..x.dim()).rev().collect::<Vec<_>>())?
    };
    "mT" => |a| a.input()?.mt()?;
    "select_scatter" => |a| a.input()?.select_scatter(a.tensor("src")?, a.dim("dim")?, a.dim("index")?)?;
    "slice_scatter" => |a| {
        let start = a.opt("start", Call::dim)?.unwrap_or(0);
        let end = a.opt("end", Call::dim)?.unwrap_or(isize::MAX);
        a.input()?.slice_scatter(a.tensor("src")?, a.dim("dim")?, start, end, a.size("step")?)?
    };
    "diagonal_scatter" => |a| {
        a.input()?.diagonal_scatter(a.tensor("src")?, a.dim("offset")?, a.dim("dim1")?, a.dim("dim2")?)?
    };
    "as_strided_scatter" => |a| {
        let (x, offset) = (a.input()?, a.opt("storage_offset", Call::size)?);
        let offset = offset.unwrap_or(x.storage_offset());
        x.as_strided_scatter(a.tensor("src")?, a.ints("size")?, a.ints("stride")?, offset)?
    };
};

/// The dtype of indices: the signatures write int64 as the number of its dtype.
fn indices(a: &Call) -> Result<DType, crate::outcome::Stop> {
    match a.value("dtype") {
        Value::DType(_) => a.dtype("dtype"),
        _ => Ok(DType::I64),
    }
}
