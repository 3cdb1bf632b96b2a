//! Copies, conversions and reading of elements.

use sconce::{Category, DType, Tensor};

use super::{in_place, rows};
use crate::args::dtype_of;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "clone" => |a| match a.value("memory_format") {
        Value::MemoryFormat(f) if f != "preserve_format" => in_format(a, a.input()?.copy()?)?,
        _ => a.input()?.copy_in_order()?,
    };
    "contiguous" => |a| match a.value("memory_format") {
        Value::MemoryFormat(f) if f.starts_with("channels_last") => in_format(a, a.input()?.clone())?,
        _ => a.input()?.contiguous()?,
    };
    "detach" => |a| a.input()?.detach();
    "copy_" => |a| {
        let src = a.tensor("src")?;
        in_place(a, |x| x.copy_(src))?
    };
    "to" => |a| to(a)?;
    "double" => |a| in_format(a, a.input()?.to(DType::F64)?)?;
    "float" => |a| in_format(a, a.input()?.to(DType::F32)?)?;
    "half" => |a| in_format(a, a.input()?.to(DType::F16)?)?;
    "bfloat16" => |a| in_format(a, a.input()?.to(DType::BF16)?)?;
    "long" => |a| in_format(a, a.input()?.to(DType::I64)?)?;
    "int" => |a| in_format(a, a.input()?.to(DType::I32)?)?;
    "short" => |a| in_format(a, a.input()?.to(DType::I16)?)?;
    "char" => |a| in_format(a, a.input()?.to(DType::I8)?)?;
    "byte" => |a| in_format(a, a.input()?.to(DType::U8)?)?;
    "bool" => |a| in_format(a, a.input()?.to(DType::Bool)?)?;
    "item" => |a| item(a.input()?)?;
};

fn to(a: &Call) -> Result<Tensor, Stop> {
    let x = a.input()?;
    let dtype = match (a.value("dtype"), a.value("other")) {
        (Value::DType(name), _) => dtype_of(name)?,
        (_, Value::Tensor(other)) => other.dtype(),
        _ => x.dtype(),
    };
    let result = x.to(dtype)?;
    let copy = matches!(a.value("copy"), Value::Bool(true)) && result.is(x);
    in_format(a, if copy { result.copy()? } else { result })
}

/// A tensor whose channels lie next to each other in memory, if that is asked for: what its views make of a copy.
fn in_format(a: &Call, x: Tensor) -> Result<Tensor, Stop> {
    let ordered = |there: &[usize], back: &[usize]| -> Result<Tensor, Stop> {
        let channels_last = x.permute(there)?;
        Ok(if channels_last.is_contiguous() { x.clone() } else { channels_last.copy()?.permute(back)? })
    };
    match (a.value("memory_format"), x.dim()) {
        (Value::MemoryFormat(f), 4) if f == "channels_last" => ordered(&[0, 2, 3, 1], &[0, 3, 1, 2]),
        (Value::MemoryFormat(f), 5) if f == "channels_last_3d" => ordered(&[0, 2, 3, 4, 1], &[0, 4, 1, 2, 3]),
        (Value::MemoryFormat(f), _) if f.starts_with("channels_last") => {
            unsupported(format!("memory_format {f} of shape {:?}", x.shape()))
        }
        _ => Ok(x),
    }
}

fn item(x: &Tensor) -> Result<Val, Stop> {
    Ok(match x.dtype().category() {
        Category::Bool => Value::Bool(x.item()? != 0.0),
        Category::Integer => Value::Int(x.item_i64()?.into()),
        _ => Value::Float(x.item()?),
    })
}
