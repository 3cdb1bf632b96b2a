//! Functions that layers are made of, with PyTorch's names: `torch.nn.functional`.
//!
//! What is a method of tensors in PyTorch (`relu`, `softmax`, …) is a method of [`Tensor`](crate::Tensor) here.

pub use crate::ops::activation::Gelu;
pub use crate::ops::conv::{
    Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions, conv_transpose2d, conv1d, conv2d,
};
pub use crate::ops::index::{EmbeddingOptions, embedding};
pub use crate::ops::loss::{
    CrossEntropyOptions, Reduction, binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy,
    dropout, huber_loss, kl_div, l1_loss, mse_loss, nll_loss, smooth_l1_loss,
};
pub use crate::ops::matmul::linear;
pub use crate::ops::norm::{RunningStats, batch_norm, group_norm, layer_norm, rms_norm};
pub use crate::ops::pool::{
    AvgPool2dOptions, MaxPool2dOptions, adaptive_avg_pool1d, adaptive_avg_pool2d,
    adaptive_max_pool2d_with_indices, avg_pool1d, avg_pool2d, max_pool1d, max_pool1d_with_indices,
    max_pool2d, max_pool2d_with_indices,
};
