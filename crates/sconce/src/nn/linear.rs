//! Fully connected layers.

use super::form::realised;
use super::init::{self, Fan, Nonlinearity};
use super::layer::Layer;
use super::leaf::{Param, Size};
use super::place::named;
use crate::functional;
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

/// y = x Wᵀ + b; PyTorch's `Linear`.
///
/// `weight` is `[out_features, in_features]`, `bias` `[out_features]`; both start as in PyTorch.
///
/// ```
/// use sconce::nn::{Layer, Linear, LinearConfig};
/// use sconce::{DType, Tensor};
///
/// let layer = Linear::new(4, 3)?;
/// assert_eq!(layer.forward(&Tensor::zeros([2, 4], DType::F32)?)?.shape(), [2, 3]);
///
/// let layer = LinearConfig { bias: false, ..Default::default() }.build(4, 3)?;
/// assert!(layer.bias.is_none());
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Linear {
    /// The matrix, `[out_features, in_features]`.
    pub weight: Param,
    /// What is added, `[out_features]`.
    pub bias: Option<Param>,
    in_features: Size,
    out_features: Size,
}

/// The options of a [`Linear`].
#[derive(Clone, Debug, PartialEq)]
pub struct LinearConfig {
    /// Whether there is a bias; true.
    pub bias: bool,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { bias: true, dtype: DType::F32 }
    }
}

impl LinearConfig {
    /// Makes a layer from `in_features` to `out_features`.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point, or there is not enough memory.
    pub fn build(self, in_features: usize, out_features: usize) -> Result<Linear> {
        let weight = Param::new(&Tensor::empty([out_features, in_features], self.dtype)?)?;
        let bias =
            if self.bias { Some(Param::new(&Tensor::empty([out_features], self.dtype)?)?) } else { None };
        init_like_pytorch(&weight, bias.as_ref())?;
        Ok(Linear { weight, bias, in_features: Size(in_features), out_features: Size(out_features) })
    }
}

/// The initial values of linear and convolution layers.
pub(super) fn init_like_pytorch(weight: &Param, bias: Option<&Param>) -> Result<()> {
    init::kaiming_uniform_(weight, Fan::In, Nonlinearity::LeakyRelu(5f64.sqrt()))?;
    let (fan_in, _) = init::fans(weight)?;
    match bias {
        Some(bias) => {
            let bound = if fan_in > 0 { 1.0 / (fan_in as f64).sqrt() } else { 0.0 };
            init::uniform_(bias, -bound, bound)
        }
        None => Ok(()),
    }
}

impl Linear {
    /// Makes a layer with PyTorch's defaults; [`LinearConfig`] has the options.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(in_features: usize, out_features: usize) -> Result<Self> {
        LinearConfig::default().build(in_features, out_features)
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let compute = || {
            let this = realised(self, [Some(&self.weight), self.bias.as_ref()])?;
            functional::linear(x, &this.weight, this.bias.as_deref())
        };
        named(compute(), Some(&self.weight))
    }
}

/// y = x₁ᵀ A x₂ + b for each output; PyTorch's `Bilinear`.
///
/// ```
/// use sconce::nn::Bilinear;
/// use sconce::{DType, Tensor};
/// let layer = Bilinear::new(2, 3, 4)?;
/// let (x, y) = (Tensor::zeros([5, 2], DType::F32)?, Tensor::zeros([5, 3], DType::F32)?);
/// assert_eq!(layer.forward(&x, &y)?.shape(), [5, 4]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Bilinear {
    /// The matrices, `[out_features, in1_features, in2_features]`.
    pub weight: Param,
    /// What is added, `[out_features]`.
    pub bias: Option<Param>,
    in1_features: usize,
    in2_features: usize,
    out_features: usize,
}

impl Bilinear {
    /// Makes a layer with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn new(in1_features: usize, in2_features: usize, out_features: usize) -> Result<Self> {
        Self::with(in1_features, in2_features, out_features, LinearConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If `in1_features` is 0, the dtype is not floating point, or there is not enough memory.
    pub fn with(
        in1_features: usize,
        in2_features: usize,
        out_features: usize,
        config: LinearConfig,
    ) -> Result<Self> {
        if in1_features == 0 {
            return Err(Error::argument("Bilinear: in1_features must not be 0"));
        }
        let shape = [out_features, in1_features, in2_features];
        let weight = Param::new(&Tensor::empty(shape, config.dtype)?)?;
        let bias =
            if config.bias { Some(Param::new(&Tensor::empty([out_features], config.dtype)?)?) } else { None };
        let bound = 1.0 / (in1_features as f64).sqrt();
        init::uniform_(&weight, -bound, bound)?;
        if let Some(bias) = &bias {
            init::uniform_(bias, -bound, bound)?;
        }
        Ok(Self { weight, bias, in1_features, in2_features, out_features })
    }

    /// Computes the output.
    ///
    /// # Errors
    ///
    /// If the inputs do not fit the layer.
    pub fn forward(&self, input1: &Tensor, input2: &Tensor) -> Result<Tensor> {
        let compute = || {
            let this = realised(self, [Some(&self.weight), self.bias.as_ref()])?;
            functional::bilinear(input1, input2, &this.weight, this.bias.as_deref())
        };
        named(compute(), Some(&self.weight))
    }
}
