//! Picking and placing elements by index.

use sconce::functional::{self, EmbeddingOptions};
use sconce::{Operand, Result, Tensor};

use super::{in_place, rows};
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "gather" => |a| a.input()?.gather(a.dim("dim")?, a.tensor("index")?)?;
    "scatter" => |a| a.input()?.scatter(a.dim("dim")?, a.tensor("index")?, scattered(a)?)?;
    "scatter_" => |a| {
        let (dim, index, source) = (a.dim("dim")?, a.tensor("index")?, scattered(a)?);
        in_place(a, |x| x.scatter_(dim, index, source))?
    };
    "scatter_add" => |a| a.input()?.scatter_add(a.dim("dim")?, a.tensor("index")?, a.tensor("src")?)?;
    "scatter_add_" => |a| placed(a, "src", Tensor::scatter_add_)?;
    "index_select" => |a| a.input()?.index_select(a.dim("dim")?, a.tensor("index")?)?;
    "index_add" => |a| a.input()?.index_add(a.dim("dim")?, a.tensor("index")?, a.tensor("source")?)?;
    "index_add_" => |a| placed(a, "source", Tensor::index_add_)?;
    "index_copy" => |a| a.input()?.index_copy(a.dim("dim")?, a.tensor("index")?, a.tensor("source")?)?;
    "index_copy_" => |a| placed(a, "source", Tensor::index_copy_)?;
    "index_fill" => |a| a.input()?.index_fill(a.dim("dim")?, a.tensor("index")?, a.operand("value")?)?;
    "index_fill_" => |a| {
        let (dim, index, value) = (a.dim("dim")?, a.tensor("index")?, a.operand("value")?);
        in_place(a, |x| x.index_fill_(dim, index, value))?
    };
    "nonzero" | "argwhere" => |a| a.input()?.nonzero()?;
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

fn placed(
    a: &Call,
    source: &str,
    f: impl FnOnce(&Tensor, isize, &Tensor, &Tensor) -> Result<()>,
) -> Result<Val, Stop> {
    let (dim, index, source) = (a.dim("dim")?, a.tensor("index")?, a.tensor(source)?);
    in_place(a, |x| f(x, dim, index, source))
}
