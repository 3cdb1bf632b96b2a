//! Functions that layers are made of, with PyTorch's names: `torch.nn.functional`.

pub use crate::ops::index::{EmbeddingOptions, embedding};
pub use crate::ops::matmul::linear;
