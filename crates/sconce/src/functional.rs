//! Functions that layers are made of, with PyTorch's names: `torch.nn.functional`.
//!
//! What is a method of tensors in PyTorch (`relu`, `softmax`, …) is a method of [`Tensor`](crate::Tensor) here.

pub use crate::ops::activation::Gelu;
pub use crate::ops::index::{EmbeddingOptions, embedding};
pub use crate::ops::matmul::linear;
pub use crate::ops::nn::adaptive::{
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices, adaptive_max_pool3d_with_indices,
};
pub use crate::ops::nn::attention::{AttentionOptions, bilinear, scaled_dot_product_attention};
pub use crate::ops::nn::bag::{BagMode, EmbeddingBagOptions, embedding_bag};
pub use crate::ops::nn::conv::{conv_transpose1d, conv_transpose3d, conv1d, conv3d};
pub use crate::ops::nn::conv2d::{
    Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvOptions, ConvTranspose1dOptions, ConvTranspose2dOptions,
    ConvTranspose3dOptions, ConvTransposeOptions, conv_transpose2d, conv2d,
};
pub use crate::ops::nn::ctc::{CtcOptions, ctc_loss};
pub use crate::ops::nn::distance::{
    TripletOptions, cosine_embedding_loss, cosine_similarity, pairwise_distance, pdist, triplet_margin_loss,
    triplet_margin_with_distance_loss,
};
pub use crate::ops::nn::dropout::{alpha_dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout};
pub use crate::ops::nn::grid::{GridMode, GridOptions, GridPadding, affine_grid, grid_sample};
pub use crate::ops::nn::instance_norm::{instance_norm, local_response_norm, normalize};
pub use crate::ops::nn::loss::{
    CrossEntropyOptions, Reduction, binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy,
    dropout, huber_loss, kl_div, l1_loss, mse_loss, nll_loss, smooth_l1_loss,
};
pub use crate::ops::nn::margin::{
    PoissonOptions, gaussian_nll_loss, hinge_embedding_loss, linear_cross_entropy, margin_ranking_loss,
    multi_margin_loss, multilabel_margin_loss, multilabel_soft_margin_loss, poisson_nll_loss,
    soft_margin_loss,
};
pub use crate::ops::nn::norm::{RunningStats, batch_norm, group_norm, layer_norm, rms_norm};
pub use crate::ops::nn::pad::{PadMode, pad, pad_same, pad_same_for};
pub use crate::ops::nn::pool::{
    LpPoolOptions, avg_pool1d, avg_pool3d, lp_pool, max_pool1d, max_pool1d_with_indices, max_pool3d,
    max_pool3d_with_indices,
};
pub use crate::ops::nn::pool2d::{
    AvgPool1dOptions, AvgPool2dOptions, AvgPool3dOptions, AvgPoolOptions, MaxPool1dOptions, MaxPool2dOptions,
    MaxPool3dOptions, MaxPoolOptions, avg_pool2d, max_pool2d, max_pool2d_with_indices,
};
pub use crate::ops::nn::resize::{InterpolateMode, InterpolateOptions, Resize, interpolate};
pub use crate::ops::nn::shuffle::{
    UnfoldOptions, channel_shuffle, fold, one_hot, pixel_shuffle, pixel_unshuffle, unfold,
};
pub use crate::ops::nn::unpool::{fractional_max_pool, max_unpool, unpooled_size};
