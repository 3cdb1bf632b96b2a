//! Batch normalisation.

use super::form::realised;
use super::init;
use super::layer::Layer;
use super::leaf::{Buffer, Mode, Param, Size, leaves};
use super::module::{Leaf, LeafMut};
use super::place::named;
use crate::functional::{self, RunningStats};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result, no_grad};

/// The options of [`BatchNorm1d`], [`BatchNorm2d`] and [`BatchNorm3d`].
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// What is added to the variance; 1e-5.
    pub eps: f64,
    /// How much of a batch goes into the running statistics; 0.1. `None` for the mean of all batches.
    pub momentum: Option<f64>,
    /// Whether there are a weight and a bias; true.
    pub affine: bool,
    /// Whether, with `affine`, there is a bias; true.
    pub bias: bool,
    /// Whether there are running statistics, for evaluation; true.
    pub track_running_stats: bool,
    /// The dtype of parameters and statistics; float32.
    pub dtype: DType,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            bias: true,
            track_running_stats: true,
            dtype: DType::F32,
        }
    }
}

/// The momentum of a layer, which averaging over batches sets aside for a while.
#[derive(Clone, Copy, Debug)]
struct Momentum(Option<f64>);

leaves! {
    Momentum, "Momentum", self => self.0.as_ref().map_or(Leaf::Absent, |m| Leaf::Setting(m)), Some(LeafMut::Momentum(&mut self.0));
}

/// What all layers hold, in PyTorch's order.
struct Parts {
    weight: Option<Param>,
    bias: Option<Param>,
    running_mean: Option<Buffer>,
    running_var: Option<Buffer>,
    num_batches_tracked: Option<Buffer>,
}

impl BatchNormConfig {
    fn parts(&self, num_features: usize) -> Result<Parts> {
        let parameter = |wanted: bool, value: f64| -> Result<Option<Param>> {
            if !wanted {
                return Ok(None);
            }
            let parameter = Param::new(&Tensor::empty([num_features], self.dtype)?)?;
            init::constant_(&parameter, value)?;
            Ok(Some(parameter))
        };
        let buffer = |value: f64| -> Result<Option<Buffer>> {
            let tracked = self.track_running_stats;
            let new = || Tensor::full([num_features], value, self.dtype).map(|t| Buffer::new(&t));
            tracked.then(new).transpose()
        };
        let count = || Tensor::zeros((), DType::I64).map(|t| Buffer::new(&t));
        Ok(Parts {
            weight: parameter(self.affine, 1.0)?,
            bias: parameter(self.affine && self.bias, 0.0)?,
            running_mean: buffer(0.0)?,
            running_var: buffer(1.0)?,
            num_batches_tracked: self.track_running_stats.then(count).transpose()?,
        })
    }
}

/// Declares a layer, the same for all but the number of dimensions of its input:
///
/// ```text
/// pub struct BatchNorm2d { pub weight: Option<Param>, … }
/// impl BatchNorm2d { pub fn new …, pub fn with … }
/// impl Layer for BatchNorm2d { … }
/// ```
macro_rules! batch_norm {
    ($(#[$doc:meta])* $type:ident, $name:literal, $dims:pat, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        pub struct $type {
            /// The scale of each channel, `[num_features]`; starts as 1.
            pub weight: Option<Param>,
            /// What is added to each channel, `[num_features]`; starts as 0.
            pub bias: Option<Param>,
            /// The running mean of each channel, `[num_features]`; starts as 0.
            pub running_mean: Option<Buffer>,
            /// The running unbiased variance of each channel, `[num_features]`; starts as 1.
            pub running_var: Option<Buffer>,
            /// The number of batches in the running statistics; int64.
            pub num_batches_tracked: Option<Buffer>,
            /// Whether the statistics are those of the batch (and go into the running ones) or the running ones.
            pub mode: Mode,
            num_features: Size,
            eps: f64,
            momentum: Momentum,
        }

        impl $type {
            /// Makes a layer with PyTorch's defaults.
            ///
            /// # Errors
            ///
            /// If there is not enough memory.
            pub fn new(num_features: usize) -> Result<Self> {
                Self::with(num_features, BatchNormConfig::default())
            }

            /// Makes a layer with options.
            ///
            /// # Errors
            ///
            /// If the dtype is not floating point, or there is not enough memory.
            pub fn with(num_features: usize, config: BatchNormConfig) -> Result<Self> {
                let Parts { weight, bias, running_mean, running_var, num_batches_tracked } =
                    config.parts(num_features)?;
                Ok(Self {
                    weight,
                    bias,
                    running_mean,
                    running_var,
                    num_batches_tracked,
                    mode: Mode::Train,
                    num_features: Size(num_features),
                    eps: config.eps,
                    momentum: Momentum(config.momentum),
                })
            }

            fn compute(&self, x: &Tensor) -> Result<Tensor> {
                let shape = x.shape();
                if !matches!(shape.len(), $dims) || shape.get(1) != Some(&self.num_features.0) {
                    return Err(Error::shape(format!(
                        concat!($name, ": expected {} with {} channels, found {:?}"),
                        $expected, self.num_features.0, shape
                    )));
                }
                let tracked = if self.mode.is_train() { self.num_batches_tracked.as_ref() } else { None };
                let momentum = match (self.momentum.0, tracked) {
                    (Some(momentum), _) => momentum,
                    (None, Some(batches)) => 1.0 / (batches.item_i64()? + 1) as f64,
                    (None, None) => 0.0,
                };
                let running = match (&self.running_mean, &self.running_var) {
                    (Some(mean), Some(var)) => Some(RunningStats { mean, var }),
                    _ => None,
                };
                let this = realised(self, [self.weight.as_ref(), self.bias.as_ref()])?;
                let y = functional::batch_norm(
                    x,
                    running,
                    this.weight.as_deref(),
                    this.bias.as_deref(),
                    self.mode.is_train() || running.is_none(),
                    momentum,
                    self.eps,
                )?;
                if let Some(batches) = tracked {
                    no_grad(|| batches.add_(1))?;
                }
                Ok(y)
            }
        }

        impl Layer for $type {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                named(self.compute(x), self.weight.as_ref())
            }
        }
    };
}

batch_norm! {
    /// Batch normalisation over `[batch, channels]` or `[batch, channels, length]`; PyTorch's `BatchNorm1d`.
    BatchNorm1d, "BatchNorm1d", 2 | 3, "2 or 3 dimensions"
}

batch_norm! {
    /// Batch normalisation over `[batch, channels, height, width]`; PyTorch's `BatchNorm2d`.
    ///
    /// ```
    /// use sconce::nn::{BatchNorm2d, BatchNormConfig, Layer};
    /// use sconce::prelude::*;
    ///
    /// let mut norm = BatchNorm2d::with(2, BatchNormConfig { momentum: Some(1.0), ..Default::default() })?;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [1, 2, 2, 1])?;
    /// norm.forward(&x)?;
    /// assert_eq!(norm.running_mean.as_ref().unwrap().to_vec::<f32>()?, [2.0, 20.0]);
    /// norm.eval();
    /// assert_eq!(norm.forward(&x)?.shape(), [1, 2, 2, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    BatchNorm2d, "BatchNorm2d", 4, "4 dimensions"
}

batch_norm! {
    /// Batch normalisation over `[batch, channels, depth, height, width]`; PyTorch's `BatchNorm3d`.
    BatchNorm3d, "BatchNorm3d", 5, "5 dimensions"
}
