//! PyTorch's model of modules and parameters in pure Rust.

extern crate self as sconce;

pub mod autograd;
mod error;
pub mod ops;
mod random;
pub mod io;
mod tensor;

pub use autograd::{enable_grad, is_grad_enabled, no_grad, set_grad_enabled};
pub use error::{Context, Error, ErrorKind, Result};
pub use random::{fork_rng, get_rng_state, initial_seed, manual_seed, set_rng_state};
pub use tensor::dtype::{Category, DType, Element};
pub use tensor::promote::{promote_types, result_type};
pub use tensor::scalar::{Operand, Scalar};
pub use tensor::sizes::{DimsArg, Sizes};
pub use tensor::{Dims, Tensor, memory};
