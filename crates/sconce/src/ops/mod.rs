//! Operations: each with its method, forward, derivative and samples in one place.

mod axes;
pub(crate) mod binary;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod driver;
mod float;
pub(crate) mod index;
pub(crate) mod matmul;
pub(crate) mod moments;
mod operators;
pub(crate) mod real;
pub(crate) mod reduce;
pub mod registry;
pub(crate) mod unary;
pub(crate) mod view;

/// All operations with samples, by file.
pub static OPS: &[&[registry::OpInfo]] = &[
    unary::UNARY,
    binary::BINARY,
    view::VIEWS,
    copy::COPIES,
    reduce::REDUCTIONS,
    moments::MOMENTS,
    matmul::PRODUCTS,
    index::INDEXING,
];
