//! Views and other changes of shape.

use sconce::Tensor;

use super::{becoming, rows};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "view" => |a| a.input()?.view(a.ints("size")?)?;
    "view_as" => |a| a.input()?.view(a.tensor("other")?.shape())?;
    "reshape" => |a| a.input()?.reshape(a.ints("shape")?)?;
    "reshape_as" => |a| a.input()?.reshape(a.tensor("other")?.shape())?;
    "flatten" => |a| a.input()?.flatten(a.dim("start_dim")?, a.dim("end_dim")?)?;
    "unflatten" => |a| a.input()?.unflatten(a.dim("dim")?, a.ints("sizes")?)?;
    "permute" => |a| a.input()?.permute(a.ints("dims")?)?;
    "transpose" => |a| a.input()?.transpose(a.dim("dim0")?, a.dim("dim1")?)?;
    "t" => |a| a.input()?.t()?;
    "expand" => |a| a.input()?.expand(a.ints("size")?)?;
    "broadcast_to" => |a| a.input()?.expand(a.ints("size")?)?;
    "expand_as" => |a| a.input()?.expand(a.tensor("other")?.shape())?;
    "narrow" => |a| {
        let start = match a.value("start") {
            Value::Tensor(t) => t.item_index()?,
            _ => a.dim("start")?,
        };
        a.input()?.narrow(a.dim("dim")?, start, a.size("length")?)?
    };
    "select" => |a| a.input()?.select(a.dim("dim")?, a.dim("index")?)?;
    "slice" => |a| {
        let start = a.opt("start", Call::dim)?.unwrap_or(0);
        let end = a.opt("end", Call::dim)?.unwrap_or(isize::MAX);
        a.input()?.slice(a.dim("dim")?, start, end, a.size("step")?)?
    };
    "squeeze" => |a| a.input()?.squeeze(a.dims("dim")?)?;
    "unsqueeze" => |a| a.input()?.unsqueeze(a.dim("dim")?)?;
    "squeeze_" => |a| {
        let dims = a.dims("dim")?;
        becoming(a, |x| x.squeeze_(dims))?
    };
    "unsqueeze_" => |a| {
        let dim = a.dim("dim")?;
        becoming(a, |x| x.unsqueeze_(dim))?
    };
    "transpose_" => |a| {
        let (first, second) = (a.dim("dim0")?, a.dim("dim1")?);
        becoming(a, |x| x.transpose_(first, second))?
    };
    "t_" => |a| becoming(a, Tensor::t_)?;
    "as_strided_" => |a| {
        let (size, stride, offset) = (a.ints("size")?, a.ints("stride")?, a.opt("storage_offset", Call::size)?);
        let offset = offset.unwrap_or(a.input()?.storage_offset());
        becoming(a, |x| x.as_strided_(size, stride, offset))?
    };
    "resize_" => |a| {
        let size = a.ints(if a.has("size") { "size" } else { "shape" })?;
        becoming(a, |x| x.resize_(size))?
    };
    "as_strided" => |a| {
        let offset = a.opt("storage_offset", Call::size)?;
        let x = a.input()?;
        x.as_strided(a.ints("size")?, a.ints("stride")?, offset.unwrap_or(x.storage_offset()))?
    };
};
