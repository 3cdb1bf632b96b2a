//! CPU kernels over strided views of plain elements.
//!
//! This crate knows element types, pointers, shapes and strides; it knows no tensor, no autograd and no locks. Its
//! functions are `unsafe`: the caller vouches for the memory. The `sconce` crate does that in one file.

mod attention;
mod compute;
mod conv;
mod copy;
mod elem;
mod gemm;
mod index;
mod isa;
mod lanes;
mod lines;
mod lstm;
mod map;
mod math;
mod norm;
mod optim;
mod par;
mod plan;
mod pool;
mod reduce;
pub mod rng;
mod softmax;
mod stats;

pub use attention::{Attention, AttentionGrads, Mask, attention, attention_backward};
pub use compute::Compute;
pub use conv::{Conv2d, conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight};
pub use copy::{Scalar, copy, copy_past_caches, fill};
pub use elem::{Dst, Elem, Src};
pub use gemm::{Operand, Output, Real, batched, dot, gemm, gemm_i64};
pub use index::{count_flags, gather, places, scatter_add, take_slices};
pub use isa::{Isa, isa};
pub use lines::{Lines, Running, cumsum, flip, order};
pub use lstm::{Lstm, LstmGrads, lstm, lstm_backward};
pub use map::{FLAT, Flat, Inlined, Rows, map, map_flat};
pub use math::Float;
pub use norm::{
    BatchNorm, NormGrads, batch_norm, batch_norm_backward, batch_norm_stats, layer_norm, layer_norm_backward,
};
pub use optim::{Adam, AdamTensors, Sgd, SgdTensors, adam, sgd, sum_squares};
pub use par::{set_threads, threads};
pub use pool::{Divisor, Pool2d, avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};
pub use reduce::{Fold, Reduction, fold, reduce};
pub use softmax::{SoftmaxKind, cross_entropy, cross_entropy_backward, softmax, softmax_backward};
pub use stats::{Stats, histogram};
