//! The tables of functions, by family.

mod activation;
mod binary;
mod compare;
mod conv;
mod convert;
mod create;
mod fourier;
mod index;
mod init;
mod join;
mod linalg;
pub(crate) mod loss;
mod matmul;
mod norm;
pub(crate) mod pool;
mod random;
mod rearrange;
mod reduce;
mod scan;
pub(crate) mod spatial;
mod unary;
mod view;

use sconce::Tensor;

use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// Every table.
pub(crate) const TABLES: &[&[Entry]] = &[
    activation::TABLE,
    activation::OTHERS,
    binary::TABLE,
    compare::TABLE,
    conv::TABLE,
    convert::TABLE,
    create::TABLE,
    fourier::TABLE,
    index::TABLE,
    init::TABLE,
    join::TABLE,
    linalg::TABLE,
    loss::TABLE,
    matmul::TABLE,
    norm::TABLE,
    pool::TABLE,
    random::TABLE,
    rearrange::TABLE,
    reduce::TABLE,
    scan::TABLE,
    spatial::TABLE,
    unary::TABLE,
    view::TABLE,
];

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

/// Changes a handle of the first argument, which may get another shape, and returns it.
fn becoming(a: &Call, f: impl FnOnce(&mut Tensor) -> sconce::Result<()>) -> Result<Val, Stop> {
    let mut input = a.input()?.clone();
    f(&mut input)?;
    Ok(input.into())
}

/// Changes the first argument in place and returns it, as PyTorch's in-place methods do.
fn in_place(a: &Call, f: impl FnOnce(&Tensor) -> sconce::Result<()>) -> Result<Val, Stop> {
    let input = a.input()?;
    f(input)?;
    Ok(input.into())
}
