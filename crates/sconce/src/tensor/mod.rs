//! The tensor.
pub mod dtype;
