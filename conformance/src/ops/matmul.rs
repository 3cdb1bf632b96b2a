//! Matrix products.

use super::rows;
use crate::registry::Entry;
use crate::tensors::Val;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "matmul" => |a| a.input()?.matmul(a.tensor("other")?)?;
    "__rmatmul__" => |a| a.tensor("other")?.matmul(a.input()?)?;
    "mm" => |a| a.input()?.mm(a.tensor("mat2")?)?;
    "bmm" => |a| a.input()?.bmm(a.tensor("mat2")?)?;
    "mv" => |a| a.input()?.mv(a.tensor("vec")?)?;
    "dot" => |a| a.input()?.dot(a.tensor("tensor")?)?;
    "outer" => |a| a.input()?.outer(a.tensor("vec2")?)?;
    "addmm" => |a| {
        let (beta, alpha) = (a.scalar("beta")?, a.scalar("alpha")?);
        a.input()?.addmm(a.tensor("mat1")?, a.tensor("mat2")?, beta, alpha)?
    };
    "baddbmm" => |a| {
        let (beta, alpha) = (a.scalar("beta")?, a.scalar("alpha")?);
        a.input()?.baddbmm(a.tensor("batch1")?, a.tensor("batch2")?, beta, alpha)?
    };
    "addmv" => |a| {
        let (beta, alpha) = (a.scalar("beta")?, a.scalar("alpha")?);
        a.input()?.addmv(a.tensor("mat")?, a.tensor("vec")?, beta, alpha)?
    };
};
