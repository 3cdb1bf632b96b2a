//! Matrix products.

use sconce::{Scalar, Tensor};

use super::{becoming, in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "matmul" => |a| a.input()?.matmul(a.tensor("other")?)?;
    "__rmatmul__" => |a| a.tensor("other")?.matmul(a.input()?)?;
    "mm" => |a| a.input()?.mm(a.tensor("mat2")?)?;
    "bmm" => |a| a.input()?.bmm(a.tensor("mat2")?)?;
    "mv" => |a| a.input()?.mv(a.tensor("vec")?)?;
    "dot" => |a| a.input()?.dot(a.tensor("tensor")?)?;
    "outer" => |a| a.input()?.outer(a.tensor("vec2")?)?;
    "addmm" => |a| added(a, "mat1", "mat2", |x, y, z, b, c| x.addmm(y, z, b, c))?;
    "addmm_" => |a| added_in_place(a, "mat1", "mat2", |x, y, z, b, c| x.addmm_(y, z, b, c))?;
    "baddbmm" => |a| added(a, "batch1", "batch2", |x, y, z, b, c| x.baddbmm(y, z, b, c))?;
    "baddbmm_" => |a| added_in_place(a, "batch1", "batch2", |x, y, z, b, c| x.baddbmm_(y, z, b, c))?;
    "addbmm" => |a| added(a, "batch1", "batch2", |x, y, z, b, c| x.addbmm(y, z, b, c))?;
    "addbmm_" => |a| {
        let (beta, alpha) = (a.scalar("beta")?, a.scalar("alpha")?);
        let (first, second) = (a.tensor("batch1")?, a.tensor("batch2")?);
        becoming(a, |x| x.addbmm_(first, second, beta, alpha))?
    };
    "addmv" => |a| added(a, "mat", "vec", |x, y, z, b, c| x.addmv(y, z, b, c))?;
    "addmv_" => |a| added_in_place(a, "mat", "vec", |x, y, z, b, c| x.addmv_(y, z, b, c))?;
    "addr" => |a| added(a, "vec1", "vec2", |x, y, z, b, c| x.addr(y, z, b, c))?;
    "addr_" => |a| added_in_place(a, "vec1", "vec2", |x, y, z, b, c| x.addr_(y, z, b, c))?;
    "einsum" => |a| match a.value("args").items() {
        Some([Value::Str(equation), rest @ ..]) => {
            let items = match rest {
                [inner @ (Value::List(_) | Value::Tuple(_))] => inner.items().unwrap_or_default(),
                items => items,
            };
            let operands = items.iter().map(|v| match v {
                Value::Tensor(t) => Ok(t.clone()),
                other => unsupported(format!("an operand that is {}", other.kind())),
            });
            Tensor::einsum(equation, &operands.collect::<Result<Vec<_>, _>>()?)?
        }
        _ => return unsupported("operands with lists of indices".into()),
    };
    "tensordot" => |a| {
        let (x, y) = (a.tensor("a")?, a.tensor("b")?);
        match a.value("dims") {
            Value::Int(n) => {
                let n = *n as isize;
                if n < 0 || n as usize > x.dim() {
                    return unsupported(format!("dims = {n}: dimensions are listed here"));
                }
                x.tensordot(y, (x.dim() as isize - n..x.dim() as isize).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>())?
            }
            dims => {
                let lists = dims.items().unwrap_or_default().iter().map(list).collect::<Result<Vec<_>, _>>()?;
                let [of_x, of_y] = lists.as_slice() else { return unsupported("dims that are not two lists".into()) };
                x.tensordot(y, of_x, of_y)?
            }
        }
    };
    "inner" => |a| a.input()?.inner(a.tensor("other")?)?;
    "vdot" => |a| a.input()?.dot(a.tensor("other")?)?;
    "linalg.vecdot" => |a| a.tensor("x")?.vecdot(a.tensor("y")?, a.dim("dim")?)?;
    "kron" => |a| a.input()?.kron(a.tensor("other")?)?;
    "linalg.cross" => |a| a.input()?.cross(a.tensor("other")?, a.dim("dim")?)?;
    "cross" => |a| {
        // By default the first dimension of three elements.
        let (x, dim) = (a.input()?, a.opt("dim", Call::dim)?);
        let first = x.shape().iter().position(|&n| n == 3).unwrap_or(0) as isize;
        x.cross(a.tensor("other")?, dim.unwrap_or(first))?
    };
    "linalg.multi_dot" => |a| Tensor::multi_dot(&a.tensors("tensors")?)?;
};

fn list(value: &Val) -> Result<Vec<isize>, Stop> {
    let items = value.items().unwrap_or(std::slice::from_ref(value));
    let dim = |v: &Val| match v {
        Value::Int(i) => Ok(*i as isize),
        other => unsupported(format!("a dimension that is {}", other.kind())),
    };
    items.iter().map(dim).collect()
}

fn added(
    a: &Call,
    first: &str,
    second: &str,
    f: impl FnOnce(&Tensor, &Tensor, &Tensor, Scalar, Scalar) -> sconce::Result<Tensor>,
) -> Result<Tensor, Stop> {
    let (beta, alpha) = (a.scalar("beta")?, a.scalar("alpha")?);
    Ok(f(a.input()?, a.tensor(first)?, a.tensor(second)?, beta, alpha)?)
}

fn added_in_place(
    a: &Call,
    first: &str,
    second: &str,
    f: impl FnOnce(&Tensor, &Tensor, &Tensor, Scalar, Scalar) -> sconce::Result<()>,
) -> Result<Val, Stop> {
    let (beta, alpha) = (a.scalar("beta")?, a.scalar("alpha")?);
    let (first, second) = (a.tensor(first)?, a.tensor(second)?);
    in_place(a, |x| f(x, first, second, beta, alpha))
}
