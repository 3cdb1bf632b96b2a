//! The tables of functions, by family.

mod binary;
mod compare;
mod convert;
mod create;
mod unary;
mod view;

use sconce::Tensor;

use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// Every table.
pub(crate) const TABLES: &[&[Entry]] =
    &[binary::TABLE, compare::TABLE, convert::TABLE, create::TABLE, unary::TABLE, view::TABLE];

/// Rows of a table: names, and a closure from the arguments to the result.
///
/// `"exp" | "exp1" => |a| a.input()?.exp()?;` becomes
/// `Entry { names: &["exp", "exp1"], run: |a| Ok(Val::from(a.input()?.exp()?)) }`.
macro_rules! rows {
    ($($($name:literal)|+ => |$a:ident| $body:expr;)*) => {
        &[$(Entry { names: &[$($name),+], run: |$a| Ok(Val::from($body)) }),*]
    };
}
use rows;

/// Changes the first argument in place and returns it, as PyTorch's in-place methods do.
fn in_place(a: &Call, f: impl FnOnce(&Tensor) -> sconce::Result<()>) -> Result<Val, Stop> {
    let input = a.input()?;
    f(input)?;
    Ok(input.into())
}
