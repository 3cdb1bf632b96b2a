//! Fully connected layers.

use super::init::{self, Fan, Nonlinearity};
use super::layer::Layer;
use super::leaf::Param;
use super::place::named;
use crate::functional;
use crate::tensor::{DType, Tensor};
use crate::{Module, Result};

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
#[derive(Debug, Module)]
pub struct Linear {
    /// The matrix, `[out_features, in_features]`.
    pub weight: Param,
    /// What is added, `[out_features]`.
    pub bias: Option<Param>,
    in_features: usize,
    out_features: usize,
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
        Ok(Linear { weight, bias, in_features, out_features })
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
        named(functional::linear(x, &self.weight, self.bias.as_deref()), Some(&self.weight))
    }
}
