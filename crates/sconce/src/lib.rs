//! PyTorch's model of modules and parameters in pure Rust.

mod error;
pub mod io;
mod tensor;

pub use error::{Context, Error, ErrorKind, Result};
pub use tensor::dtype::{Category, DType, Element};
