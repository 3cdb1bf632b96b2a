//! Operations: each with its method, forward, derivative and samples in one place.

pub(crate) mod binary;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod driver;
mod float;
mod operators;
pub(crate) mod real;
pub(crate) mod reduce;
pub mod registry;
pub(crate) mod unary;
pub(crate) mod view;
