//! Views and other changes of shape.

use sconce::Tensor;

use super::rows;
use crate::outcome::{Stop, unsupported};
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
    "narrow" => |a| a.input()?.narrow(a.dim("dim")?, a.dim("start")?, a.size("length")?)?;
    "select" => |a| a.input()?.select(a.dim("dim")?, a.dim("index")?)?;
    "slice" => |a| {
        let start = a.opt("start", Call::dim)?.unwrap_or(0);
        let end = a.opt("end", Call::dim)?.unwrap_or(isize::MAX);
        a.input()?.slice(a.dim("dim")?, start, end, a.size("step")?)?
    };
    "__getitem__" => |a| item(a)?;
    "squeeze" => |a| a.input()?.squeeze(a.dims("dim")?)?;
    "unsqueeze" => |a| a.input()?.unsqueeze(a.dim("dim")?)?;
    "as_strided" => |a| {
        let offset = a.opt("storage_offset", Call::size)?;
        let x = a.input()?;
        x.as_strided(a.ints("size")?, a.ints("stride")?, offset.unwrap_or(x.storage_offset()))?
    };
};

/// `x[key]` for a key of ints, slices, `None` and `...`: a chain of selections and slices.
fn item(a: &Call) -> Result<Tensor, Stop> {
    let x = a.input()?;
    let key = a.value("key");
    let parts = if let Value::Tuple(parts) = key { parts.as_slice() } else { std::slice::from_ref(key) };
    let taken = parts.iter().filter(|p| matches!(p, Value::Int(_) | Value::Slice(_))).count();
    // A view of the whole, where nothing else makes one.
    let mut out = x.expand(x.shape())?;
    let mut dim = 0isize;
    for part in parts {
        match part {
            Value::None => {
                out = out.unsqueeze(dim)?;
                dim += 1;
            }
            Value::Ellipsis => dim += x.dim().saturating_sub(taken) as isize,
            Value::Int(i) => out = out.select(dim, *i as isize)?,
            Value::Slice(bounds) => {
                let [start, stop, step] = &**bounds;
                let bound = |value: &Val, default: isize| match value {
                    Value::None => Ok(default),
                    Value::Int(i) => Ok(*i as isize),
                    other => unsupported(format!("a slice bound that is {}", other.kind())),
                };
                let Ok(step) = usize::try_from(bound(step, 1)?) else {
                    return unsupported("a negative step: it is unsigned here".into());
                };
                out = out.slice(dim, bound(start, 0)?, bound(stop, isize::MAX)?, step)?;
                dim += 1;
            }
            other => return unsupported(format!("an index that is {}", other.kind())),
        }
    }
    Ok(out)
}
