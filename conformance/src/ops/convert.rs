//! Copies, conversions and reading of elements.

use sconce::{Category, DType, Tensor};

use super::{in_place, rows};
use crate::args::dtype_of;
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Entry] = rows! {
    "clone" => |a| a.input()?.copy()?;
    "contiguous" => |a| a.input()?.contiguous()?;
    "detach" => |a| a.input()?.detach();
    "copy_" => |a| {
        let src = a.tensor("src")?;
        in_place(a, |x| x.copy_(src))?
    };
    "to" => |a| to(a)?;
    "double" => |a| a.input()?.to(DType::F64)?;
    "float" => |a| a.input()?.to(DType::F32)?;
    "half" => |a| a.input()?.to(DType::F16)?;
    "bfloat16" => |a| a.input()?.to(DType::BF16)?;
    "long" => |a| a.input()?.to(DType::I64)?;
    "int" => |a| a.input()?.to(DType::I32)?;
    "short" => |a| a.input()?.to(DType::I16)?;
    "char" => |a| a.input()?.to(DType::I8)?;
    "byte" => |a| a.input()?.to(DType::U8)?;
    "bool" => |a| a.input()?.to(DType::Bool)?;
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
    Ok(if copy { result.copy()? } else { result })
}

fn item(x: &Tensor) -> Result<Val, Stop> {
    Ok(match x.dtype().category() {
        Category::Bool => Value::Bool(x.item()? != 0.0),
        Category::Integer => Value::Int(x.item_i64()?.into()),
        _ => Value::Float(x.item()?),
    })
}
