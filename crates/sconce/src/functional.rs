//! Functions that layers are made of, with PyTorch's names: `torch.nn.functional`.
//!
//! What is a method of tensors in PyTorch (`relu`, `softmax`, …) is a method of [`Tensor`](crate::Tensor) here.

pub use crate::ops::activation::Gelu;
pub use crate::ops::index::{EmbeddingOptions, embedding};
pub use crate::ops::loss::{
    CrossEntropyOptions, Reduction, binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy,
    dropout, huber_loss, kl_div, l1_loss, mse_loss, nll_loss, smooth_l1_loss,
};
pub use crate::ops::matmul::linear;
