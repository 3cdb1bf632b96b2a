//! PyTorch's model of modules and parameters in pure Rust, with PyTorch's names, defaults and numbers.
//!
//! A model is a plain struct; what it holds can be listed, edited, frozen, trained, saved and loaded by name:
//!
//! ```
//! use sconce::nn::{Conv2d, Linear};
//! use sconce::optim::{Optimizer, Sgd};
//! use sconce::prelude::*;
//!
//! #[derive(Module)]
//! struct Net {
//!     conv: Conv2d,
//!     fc: Linear,
//! }
//!
//! let net = Net { conv: Conv2d::new(3, 4, 3)?, fc: Linear::new(4 * 6 * 6, 2)? };
//! let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]);
//!
//! net.freeze("conv.**")?;
//! let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.1, ..Sgd::default() })?;
//! let x = Tensor::randn([1, 3, 8, 8], DType::F32)?;
//! let y = net.fc.forward(&net.conv.forward(&x)?.view([-1, 4 * 6 * 6])?)?;
//! y.sum(())?.backward()?;
//! optimizer.step()?;
//! assert!(net.conv.weight.grad().is_none() && net.fc.weight.grad().is_some());
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! | to … | read |
//! |---|---|
//! | inspect, freeze, prune, watch, export a model's parameters | [`guide`] |
//! | compute with tensors | [`Tensor`], [`functional`], [`autograd`] |
//! | define a model | [`Module`](trait@Module), [`nn`] |
//! | pick parameters by path and kind | [`select`] |
//! | train | [`optim`] |
//! | open, save and convert files | [`io`], [`checkpoint`] |
//! | edit and prune them | [`compress`] |
//! | judge them | [`stats`], [`anomaly`], [`compare`], [`merge`], [`verify`] |

extern crate self as sconce;

pub mod anomaly;
pub mod autograd;
pub mod checkpoint;
pub mod compare;
pub mod compress;
mod error;
pub mod functional;
pub mod guide;
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
pub use tensor::{Dims, PrintOptions, Tensor, dlpack, memory};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
