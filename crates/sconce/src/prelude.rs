//! What most programs need: `use sconce::prelude::*`.

pub use crate::nn::{Layer, ModuleExt};
pub use crate::{DType, Module, Tensor, no_grad};
