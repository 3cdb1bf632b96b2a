//! CPU kernels over strided views of plain elements.
//!
//! This crate knows element types, pointers, shapes and strides; it knows no tensor, no autograd and no locks. Its
//! functions are `unsafe`: the caller vouches for the memory. The `sconce` crate does that in one file.

mod elem;
pub mod rng;

pub use elem::{Dst, Elem, Src};
