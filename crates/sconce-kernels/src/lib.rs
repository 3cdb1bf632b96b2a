//! CPU kernels over strided views of plain elements.
//!
//! This crate knows element types, pointers, shapes and strides; it knows no tensor, no autograd and no locks. Its
//! functions are `unsafe`: the caller vouches for the memory. The `sconce` crate does that in one file.

mod compute;
mod copy;
mod elem;
mod gemm;
mod isa;
mod map;
mod par;
mod plan;
pub mod rng;
mod reduce;

pub use compute::Compute;
pub use copy::{Scalar, copy, fill};
pub use elem::{Dst, Elem, Src};
pub use gemm::{Operand, Output, Real, batched, dot, gemm, gemm_i64};
pub use isa::{Isa, isa};
pub use map::map;
pub use par::{set_threads, threads};
pub use reduce::{Fold, Reduction, fold, reduce};
