//! PyTorch's model of modules and parameters in pure Rust.

extern crate self as sconce;

pub mod anomaly;
pub mod autograd;
pub mod checkpoint;
pub mod compare;
pub mod compress;
mod error;
pub mod functional;
pub mod io;
pub mod merge;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod prelude;
mod random;
pub mod select;
pub mod stats;
mod tensor;
pub mod verify;

pub use autograd::{enable_grad, is_grad_enabled, no_grad, set_grad_enabled};
pub use error::{Context, Error, ErrorKind, Result};
pub use nn::Module;
pub use ops::{
    FftNorm, Index, Interpolation, Key, LeastSquares, LstsqDriver, MatrixNorm, Reduce, Sections, Unique,
    broadcast_shapes,
};
pub use random::{fork_rng, get_rng_state, initial_seed, manual_seed, set_rng_state};
pub use sconce_derive::Module;
pub use tensor::dtype::{Category, DType, Element};
pub use tensor::promote::{promote_types, result_type};
pub use tensor::scalar::{Operand, Scalar};
pub use tensor::sizes::{DimsArg, Keepdim, Sizes, keepdim, sizes_from, sizes_of};
pub use tensor::{Dims, Tensor, memory};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
