//! Normalisation of layers, groups and instances.

use super::form::realised;
use super::init;
use super::layer::Layer;
use super::leaf::{Buffer, Mode, Param};
use super::place::named;
use crate::functional::{self, RunningStats};
use crate::ops::nn::instance_norm::cross_map_lrn;
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

/// A parameter of one value, if it is wanted.
fn filled(wanted: bool, shape: &[usize], value: f64, dtype: DType) -> Result<Option<Param>> {
    if !wanted {
        return Ok(None);
    }
    let parameter = Param::new(&Tensor::empty(shape, dtype)?)?;
    init::constant_(&parameter, value)?;
    Ok(Some(parameter))
}

/// The options of [`LayerNorm`] and [`GroupNorm`].
#[derive(Clone, Debug, PartialEq)]
pub struct NormConfig {
    /// What is added to the variance; 1e-5.
    pub eps: f64,
    /// Whether there are a weight and a bias; true.
    pub affine: bool,
    /// Whether, with `affine`, there is a bias; true.
    pub bias: bool,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for NormConfig {
    fn default() -> Self {
        Self { eps: 1e-5, affine: true, bias: true, dtype: DType::F32 }
    }
}

/// Normalises over the last dimensions; PyTorch's `LayerNorm`.
///
/// ```
/// use sconce::nn::{Layer, LayerNorm};
/// use sconce::Tensor;
/// let x = Tensor::from_vec(vec![1.0f32, 3.0], [1, 2])?;
/// let y = LayerNorm::new(2usize)?.forward(&x)?.to_vec::<f32>()?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct LayerNorm {
    /// The scale, of the normalised shape; starts as 1.
    pub weight: Option<Param>,
    /// What is added, of the normalised shape; starts as 0.
    pub bias: Option<Param>,
    normalized_shape: Vec<usize>,
    eps: f64,
}

/// The shape of the last dimensions: one size, or several.
pub trait Shape {
    /// The sizes.
    fn shape(self) -> Vec<usize>;
}

impl Shape for usize {
    fn shape(self) -> Vec<usize> {
        vec![self]
    }
}

impl Shape for Vec<usize> {
    fn shape(self) -> Vec<usize> {
        self
    }
}

impl Shape for &[usize] {
    fn shape(self) -> Vec<usize> {
        self.to_vec()
    }
}

impl<const N: usize> Shape for [usize; N] {
    fn shape(self) -> Vec<usize> {
        self.to_vec()
    }
}

impl LayerNorm {
    /// Makes a layer with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(normalized_shape: impl Shape) -> Result<Self> {
        Self::with(normalized_shape, NormConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point, or there is not enough memory.
    pub fn with(normalized_shape: impl Shape, config: NormConfig) -> Result<Self> {
        let shape = normalized_shape.shape();
        Ok(Self {
            weight: filled(config.affine, &shape, 1.0, config.dtype)?,
            bias: filled(config.affine && config.bias, &shape, 0.0, config.dtype)?,
            normalized_shape: shape,
            eps: config.eps,
        })
    }
}

impl Layer for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let compute = || {
            let this = realised(self, [self.weight.as_ref(), self.bias.as_ref()])?;
            let (weight, bias) = (this.weight.as_deref(), this.bias.as_deref());
            functional::layer_norm(x, &self.normalized_shape, weight, bias, self.eps)
        };
        named(compute(), self.weight.as_ref())
    }
}

/// Divides by the root of the mean square over the last dimensions; PyTorch's `RMSNorm`.
///
/// ```
/// use sconce::nn::{Layer, RMSNorm};
/// use sconce::Tensor;
/// let x = Tensor::from_vec(vec![3.0f32, -3.0], [1, 2])?;
/// let y = RMSNorm::new(2usize)?.forward(&x)?.to_vec::<f32>()?;
/// assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] + 1.0).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct RMSNorm {
    /// The scale, of the normalised shape; starts as 1.
    pub weight: Option<Param>,
    normalized_shape: Vec<usize>,
    eps: Option<f64>,
}

impl RMSNorm {
    /// Makes a layer with PyTorch's defaults: a weight, and the dtype's epsilon.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(normalized_shape: impl Shape) -> Result<Self> {
        Self::with(normalized_shape, None, true, DType::F32)
    }

    /// Makes a layer with what is added to the mean square, with a weight or without.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point, or there is not enough memory.
    pub fn with(
        normalized_shape: impl Shape,
        eps: Option<f64>,
        elementwise_affine: bool,
        dtype: DType,
    ) -> Result<Self> {
        let shape = normalized_shape.shape();
        let weight = filled(elementwise_affine, &shape, 1.0, dtype)?;
        Ok(Self { weight, normalized_shape: shape, eps })
    }
}

impl Layer for RMSNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let compute = || {
            let this = realised(self, [self.weight.as_ref()])?;
            functional::rms_norm(x, &self.normalized_shape, this.weight.as_deref(), self.eps)
        };
        named(compute(), self.weight.as_ref())
    }
}

/// Normalises groups of channels of each sample of `[N, C, …]`; PyTorch's `GroupNorm`.
///
/// ```
/// use sconce::nn::{GroupNorm, Layer};
/// use sconce::{DType, Tensor};
/// let x = Tensor::randn([2, 6, 4], DType::F32)?;
/// assert!(GroupNorm::new(3, 6)?.forward(&x)?.mean(())?.item()?.abs() < 1e-5);
/// assert!(GroupNorm::new(4, 6).is_err());
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct GroupNorm {
    /// The scale of each channel; starts as 1.
    pub weight: Option<Param>,
    /// What is added to each channel; starts as 0.
    pub bias: Option<Param>,
    num_groups: usize,
    num_channels: usize,
    eps: f64,
}

impl GroupNorm {
    /// Makes a layer with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn new(num_groups: usize, num_channels: usize) -> Result<Self> {
        Self::with(num_groups, num_channels, NormConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If the groups do not divide the channels, or the dtype is not floating point.
    pub fn with(num_groups: usize, num_channels: usize, config: NormConfig) -> Result<Self> {
        if num_groups == 0 || !num_channels.is_multiple_of(num_groups) {
            return Err(Error::argument(format!(
                "GroupNorm: {num_groups} groups do not divide {num_channels} channels"
            )));
        }
        Ok(Self {
            weight: filled(config.affine, &[num_channels], 1.0, config.dtype)?,
            bias: filled(config.affine && config.bias, &[num_channels], 0.0, config.dtype)?,
            num_groups,
            num_channels,
            eps: config.eps,
        })
    }
}

impl Layer for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let compute = || {
            let this = realised(self, [self.weight.as_ref(), self.bias.as_ref()])?;
            functional::group_norm(x, self.num_groups, this.weight.as_deref(), this.bias.as_deref(), self.eps)
        };
        named(compute(), self.weight.as_ref())
    }
}

/// Normalises over neighbouring channels of `[N, C, …]`; PyTorch's `LocalResponseNorm`.
#[derive(Clone, Copy, Debug, Module)]
pub struct LocalResponseNorm {
    /// The number of channels.
    pub size: usize,
    /// The factor of the mean square; 1e-4.
    pub alpha: f64,
    /// The power of the divisor; 0.75.
    pub beta: f64,
    /// What is added to the divisor; 1.
    pub k: f64,
}

impl LocalResponseNorm {
    /// Makes a layer with PyTorch's defaults; the options are its fields.
    pub fn new(size: usize) -> Self {
        Self { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl Layer for LocalResponseNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::local_response_norm(x, self.size, self.alpha, self.beta, self.k)
    }
}

/// Normalises over neighbouring channels of `[N, C, H, W]`; PyTorch's `CrossMapLRN2d`.
///
/// y = x · (k + alpha / size · s)^−beta, where s sums the squares of each channel and of (size − 1) / 2, rounded down, on
/// either side. As in PyTorch the first channel stays in the sum of all channels after that, which is why
/// [`LocalResponseNorm`] is another layer. The gradient is that of this formula; PyTorch's leaves the first channel out,
/// takes a window of even size for one more than it is, and fails for a size of 1.
///
/// ```
/// use sconce::nn::{CrossMapLRN2d, Layer};
/// use sconce::Tensor;
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [1, 3, 1, 1])?;
/// let norm = CrossMapLRN2d { alpha: 1.0, beta: 1.0, k: 0.0, ..CrossMapLRN2d::new(1) };
/// // 1 / 1, 2 / (4 + 1), 3 / (9 + 1)
/// assert_eq!(norm.forward(&x)?.to_vec::<f32>()?, [1.0, 2.0 / 5.0, 3.0 / 10.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Module)]
pub struct CrossMapLRN2d {
    /// The number of channels.
    pub size: usize,
    /// The factor of the mean square; 1e-4.
    pub alpha: f64,
    /// The power of the divisor; 0.75.
    pub beta: f64,
    /// What is added to the divisor; 1.
    pub k: f64,
}

impl CrossMapLRN2d {
    /// Makes a layer with PyTorch's defaults; the options are its fields.
    pub fn new(size: usize) -> Self {
        Self { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl Layer for CrossMapLRN2d {
    /// # Errors
    ///
    /// If the input has not four dimensions, or the size is 0.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        cross_map_lrn(x, self.size, self.alpha, self.beta, self.k)
    }
}

/// The options of [`InstanceNorm1d`], [`InstanceNorm2d`] and [`InstanceNorm3d`].
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceNormConfig {
    /// What is added to the variance; 1e-5.
    pub eps: f64,
    /// How much of a batch goes into the running statistics; 0.1. `None` for the mean of all batches.
    pub momentum: Option<f64>,
    /// Whether there are a weight and a bias; false.
    pub affine: bool,
    /// Whether, with `affine`, there is a bias; true.
    pub bias: bool,
    /// Whether there are running statistics, for evaluation; false.
    pub track_running_stats: bool,
    /// The dtype of parameters and statistics; float32.
    pub dtype: DType,
}

impl Default for InstanceNormConfig {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: Some(0.1),
            affine: false,
            bias: true,
            track_running_stats: false,
            dtype: DType::F32,
        }
    }
}

/// Declares a layer, the same for all but the number of dimensions of its input:
///
/// ```text
/// pub struct InstanceNorm2d { pub weight: Option<Param>, … }
/// impl InstanceNorm2d { pub fn new …, pub fn with … }
/// impl Layer for InstanceNorm2d { … }
/// ```
macro_rules! instance_norm {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The scale of each channel; starts as 1.
                pub weight: Option<Param>,
                /// What is added to each channel; starts as 0.
                pub bias: Option<Param>,
                /// The running mean of each channel; starts as 0.
                pub running_mean: Option<Buffer>,
                /// The running unbiased variance of each channel; starts as 1.
                pub running_var: Option<Buffer>,
                /// The number of batches; int64. As in PyTorch it stays 0.
                pub num_batches_tracked: Option<Buffer>,
                /// Whether running statistics, if there are any, move or are used.
                pub mode: Mode,
                num_features: usize,
                eps: f64,
                momentum: Option<f64>,
            }

            impl $name {
                /// Makes a layer with PyTorch's defaults.
                ///
                /// # Errors
                ///
                /// If there is not enough memory.
                pub fn new(num_features: usize) -> Result<Self> {
                    Self::with(num_features, InstanceNormConfig::default())
                }

                /// Makes a layer with options.
                ///
                /// # Errors
                ///
                /// If the dtype is not floating point, or there is not enough memory.
                pub fn with(num_features: usize, config: InstanceNormConfig) -> Result<Self> {
                    let InstanceNormConfig { eps, momentum, affine, bias, track_running_stats, dtype } =
                        config;
                    let buffer = |value: f64| -> Result<Option<Buffer>> {
                        let new = || Tensor::full([num_features], value, dtype).map(|t| Buffer::new(&t));
                        track_running_stats.then(new).transpose()
                    };
                    let count = || Tensor::zeros((), DType::I64).map(|t| Buffer::new(&t));
                    Ok(Self {
                        weight: filled(affine, &[num_features], 1.0, dtype)?,
                        bias: filled(affine && bias, &[num_features], 0.0, dtype)?,
                        running_mean: buffer(0.0)?,
                        running_var: buffer(1.0)?,
                        num_batches_tracked: track_running_stats.then(count).transpose()?,
                        mode: Mode::Train,
                        num_features,
                        eps,
                        momentum,
                    })
                }

                fn compute(&self, x: &Tensor) -> Result<Tensor> {
                    if !($dims + 1..=$dims + 2).contains(&x.dim()) {
                        return Err(Error::shape(format!(
                            concat!($text, ": needs {} or {} dimensions, found shape {:?}"),
                            $dims + 1,
                            $dims + 2,
                            x.shape()
                        )));
                    }
                    let batched = x.dim() == $dims + 2;
                    let x = if batched { x.clone() } else { x.unsqueeze(0)? };
                    // Without parameters, other numbers of channels are let pass, as in PyTorch.
                    if x.shape()[1] != self.num_features && self.weight.is_some() {
                        return Err(Error::shape(format!(
                            concat!($text, ": expected {} channels, found shape {:?}"),
                            self.num_features,
                            x.shape()
                        )));
                    }
                    let running = match (&self.running_mean, &self.running_var) {
                        (Some(mean), Some(var)) => Some(RunningStats { mean, var }),
                        _ => None,
                    };
                    let this = realised(self, [self.weight.as_ref(), self.bias.as_ref()])?;
                    let y = functional::instance_norm(
                        &x,
                        running,
                        this.weight.as_deref(),
                        this.bias.as_deref(),
                        self.mode.is_train() || running.is_none(),
                        self.momentum.unwrap_or(0.0),
                        self.eps,
                    )?;
                    if batched { Ok(y) } else { y.squeeze(0) }
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    named(self.compute(x), self.weight.as_ref())
                }
            }
        )*
    };
}

instance_norm! {
    /// Normalises each channel of each sample of `[N, C, L]` or `[C, L]`; PyTorch's `InstanceNorm1d`.
    InstanceNorm1d, "InstanceNorm1d", 1;
    /// Normalises each channel of each sample of `[N, C, H, W]` or `[C, H, W]`; PyTorch's `InstanceNorm2d`.
    ///
    /// ```
    /// use sconce::nn::{InstanceNorm2d, Layer};
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::randn([2, 3, 4, 4], DType::F32)?;
    /// assert!(InstanceNorm2d::new(3)?.forward(&x)?.mean(())?.item()?.abs() < 1e-5);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    InstanceNorm2d, "InstanceNorm2d", 2;
    /// Normalises each channel of each sample of `[N, C, D, H, W]` or `[C, D, H, W]`; PyTorch's `InstanceNorm3d`.
    InstanceNorm3d, "InstanceNorm3d", 3;
}
