//! Activations.

use super::layer::Layer;
use super::leaf::{Mode, Param, settings};
use super::place::named;
use crate::functional::{self, Gelu};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

settings!(Gelu);

/// Declares layers without options:
///
/// ```text
/// pub struct Sigmoid;
/// impl Layer for Sigmoid { … }
/// ```
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident: |$x:ident| $forward:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Module)]
            pub struct $name;

            impl Layer for $name {
                fn forward(&self, $x: &Tensor) -> Result<Tensor> {
                    $forward
                }
            }
        )*
    };
}

/// Declares layers whose options are public fields with a default:
///
/// ```text
/// pub struct ELU { pub alpha: f64 }
/// impl Default for ELU { … }
/// impl Layer for ELU { … }
/// ```
macro_rules! with_options {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty = $default:expr),+ $(,)? }:
        |$x:ident| $forward:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Module)]
            pub struct $name {
                $($(#[$about])* pub $field: $type,)+
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $($field: $default),+ }
                }
            }

            impl Layer for $name {
                fn forward(&self, $x: &Tensor) -> Result<Tensor> {
                    let Self { $($field),+ } = *self;
                    $forward
                }
            }
        )*
    };
}

plain! {
    /// max(x, 0), elementwise; PyTorch's `ReLU`.
    ReLU: |x| x.relu();
    /// 1 / (1 + e⁻ˣ); PyTorch's `Sigmoid`.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// use sconce::nn::{Layer, Sigmoid};
    /// assert_eq!(Sigmoid.forward(&Tensor::zeros([1], DType::F32)?)?.item()?, 0.5);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    Sigmoid: |x| x.sigmoid();
    /// The logarithm of the sigmoid; PyTorch's `LogSigmoid`.
    LogSigmoid: |x| x.logsigmoid();
    /// The hyperbolic tangent; PyTorch's `Tanh`.
    Tanh: |x| x.tanh();
    /// x − tanh x; PyTorch's `Tanhshrink`.
    Tanhshrink: |x| x.tanhshrink();
    /// x clipped to [0, 6]; PyTorch's `ReLU6`.
    ReLU6: |x| x.relu6();
    /// The scaled exponential linear unit; PyTorch's `SELU`.
    SELU: |x| x.selu();
    /// x · sigmoid(x); PyTorch's `SiLU`.
    SiLU: |x| x.silu();
    /// x · tanh(log(1 + eˣ)); PyTorch's `Mish`.
    Mish: |x| x.mish();
    /// x / 6 + 1 / 2, clipped to [0, 1]; PyTorch's `Hardsigmoid`.
    Hardsigmoid: |x| x.hardsigmoid();
    /// x · hardsigmoid(x); PyTorch's `Hardswish`.
    Hardswish: |x| x.hardswish();
    /// x / (1 + |x|); PyTorch's `Softsign`.
    Softsign: |x| x.softsign();
    /// The softmax over the channels of `[N, C, H, W]` or `[C, H, W]`; PyTorch's `Softmax2d`.
    Softmax2d: |x| {
        if !(3..=4).contains(&x.dim()) {
            return Err(Error::shape(format!(
                "Softmax2d: needs [N, C, H, W] or [C, H, W], found shape {:?}",
                x.shape()
            )));
        }
        x.softmax(-3)
    };
}

with_options! {
    /// The Gaussian error linear unit; PyTorch's `GELU`.
    ///
    /// ```
    /// use sconce::functional::Gelu;
    /// use sconce::nn::{GELU, Layer};
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32], [1])?;
    /// assert!((GELU::default().forward(&x)?.item()? - 0.8413447).abs() < 1e-6);
    /// assert!((GELU { approximate: Gelu::Tanh }.forward(&x)?.item()? - 0.841192).abs() < 1e-6);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    GELU {
        /// How it is computed; exactly.
        approximate: Gelu = Gelu::Exact,
    }: |x| x.gelu(approximate);
    /// x where positive, otherwise x times a slope; PyTorch's `LeakyReLU`.
    LeakyReLU {
        /// The slope; 0.01.
        negative_slope: f64 = 0.01,
    }: |x| x.leaky_relu(negative_slope);
    /// x above 0, `alpha` (eˣ − 1) below; PyTorch's `ELU`.
    ELU {
        /// The greatest distance below 0; 1.
        alpha: f64 = 1.0,
    }: |x| x.elu(alpha);
    /// x above 0, `alpha` (e^(x / `alpha`) − 1) below; PyTorch's `CELU`.
    CELU {
        /// The greatest distance below 0; 1. Not 0.
        alpha: f64 = 1.0,
    }: |x| x.celu(alpha);
    /// log(1 + e^(`beta` x)) / `beta`; PyTorch's `Softplus`.
    Softplus {
        /// How sharp the bend is; 1.
        beta: f64 = 1.0,
        /// Where `beta` x exceeds this, x itself; 20.
        threshold: f64 = 20.0,
    }: |x| x.softplus(beta, threshold);
    /// x outside [−`lambd`, `lambd`], otherwise 0; PyTorch's `Hardshrink`.
    Hardshrink {
        /// The bound; 0.5.
        lambd: f64 = 0.5,
    }: |x| x.hardshrink(lambd);
    /// x brought nearer to 0 by `lambd`; PyTorch's `Softshrink`.
    Softshrink {
        /// By how much; 0.5. Not negative.
        lambd: f64 = 0.5,
    }: |x| {
        if !(lambd >= 0.0) {
            return Err(Error::argument(format!("Softshrink: lambd must not be negative, found {lambd}")));
        }
        x.softshrink(lambd)
    };
    /// x clipped to an interval; PyTorch's `Hardtanh`.
    Hardtanh {
        /// The least value; −1.
        min_val: f64 = -1.0,
        /// The greatest value; 1.
        max_val: f64 = 1.0,
    }: |x| {
        if !(min_val <= max_val) {
            return Err(Error::argument(format!("Hardtanh: min_val {min_val} exceeds max_val {max_val}")));
        }
        x.hardtanh(min_val, max_val)
    };
    /// x where it exceeds a threshold, otherwise a value; PyTorch's `Threshold`.
    Threshold {
        /// The threshold.
        threshold: f64 = 0.0,
        /// What stands for the others.
        value: f64 = 0.0,
    }: |x| x.threshold(threshold, value);
    /// The first half along a dimension times the sigmoid of the second; PyTorch's `GLU`.
    GLU {
        /// The dimension; −1.
        dim: isize = -1,
    }: |x| x.glu(dim);
    /// eˣ / Σ eˣ along a dimension; PyTorch's `Softmax`.
    Softmax {
        /// The dimension; −1.
        dim: isize = -1,
    }: |x| x.softmax(dim);
    /// The softmax of −x; PyTorch's `Softmin`.
    Softmin {
        /// The dimension; −1.
        dim: isize = -1,
    }: |x| x.softmin(dim);
    /// The logarithm of the softmax; PyTorch's `LogSoftmax`.
    LogSoftmax {
        /// The dimension; −1.
        dim: isize = -1,
    }: |x| x.log_softmax(dim);
    /// x where positive, otherwise x times a slope that in training is drawn; PyTorch's `RReLU`.
    RReLU {
        /// The least slope; 1/8.
        lower: f64 = 1.0 / 8.0,
        /// The greatest slope; 1/3.
        upper: f64 = 1.0 / 3.0,
        /// Whether slopes are drawn.
        mode: Mode = Mode::Train,
    }: |x| x.rrelu(lower, upper, mode.is_train());
}

/// x where positive, otherwise x times a learned weight; PyTorch's `PReLU`.
///
/// ```
/// use sconce::nn::{Layer, PReLU};
/// use sconce::Tensor;
/// let x = Tensor::from_vec(vec![-4.0f32, 4.0], [2])?;
/// assert_eq!(PReLU::new()?.forward(&x)?.to_vec::<f32>()?, [-1.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct PReLU {
    /// The slopes below 0: one, or one per channel.
    pub weight: Param,
    num_parameters: usize,
}

impl PReLU {
    /// Makes a layer with one slope, which starts as 0.25.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new() -> Result<Self> {
        Self::with(1, 0.25, DType::F32)
    }

    /// Makes a layer with several slopes, one per channel, of a dtype and first value.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    pub fn with(num_parameters: usize, init: f64, dtype: DType) -> Result<Self> {
        let weight = Param::new(&Tensor::full([num_parameters], init, dtype)?)?;
        Ok(Self { weight, num_parameters })
    }
}

impl Layer for PReLU {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        named(self.weight.value().and_then(|weight| x.prelu(&weight)), Some(&self.weight))
    }
}

/// Declares dropout layers:
///
/// ```text
/// pub struct Dropout { p: f64, pub mode: Mode }
/// impl Default for Dropout { … }
/// impl Dropout { pub fn new … }
/// impl Layer for Dropout { … }
/// ```
macro_rules! dropouts {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $function:path;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                p: f64,
                /// Whether anything is dropped.
                pub mode: Mode,
            }

            impl Default for $name {
                /// Drops every second.
                fn default() -> Self {
                    Self { p: 0.5, mode: Mode::Train }
                }
            }

            impl $name {
                /// Makes a layer that drops with probability `p`.
                ///
                /// # Errors
                ///
                /// If `p` does not lie in [0, 1].
                pub fn new(p: f64) -> Result<Self> {
                    if !(0.0..=1.0).contains(&p) {
                        return Err(Error::argument(format!(
                            concat!($text, ": the probability {} must lie in [0, 1]"),
                            p
                        )));
                    }
                    Ok(Self { p, mode: Mode::Train })
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    $function(x, self.p, self.mode.is_train())
                }
            }
        )*
    };
}

dropouts! {
    /// In training, zeroes elements at random and scales the others to keep the mean; PyTorch's `Dropout`.
    ///
    /// ```
    /// use sconce::nn::{Dropout, Layer};
    /// use sconce::prelude::*;
    /// let mut dropout = Dropout::new(0.5)?;
    /// let x = Tensor::ones([100], DType::F32)?;
    /// assert!(dropout.forward(&x)?.to_vec::<f32>()?.iter().all(|&x| x == 0.0 || x == 2.0));
    /// dropout.eval();
    /// assert_eq!(dropout.forward(&x)?.to_vec::<f32>()?, [1.0; 100]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    Dropout, "Dropout", functional::dropout;
    /// In training, zeroes whole channels of `[N, C, L]` or `[C, L]`; PyTorch's `Dropout1d`.
    Dropout1d, "Dropout1d", functional::dropout1d;
    /// In training, zeroes whole channels of `[N, C, H, W]`; PyTorch's `Dropout2d`.
    Dropout2d, "Dropout2d", functional::dropout2d;
    /// In training, zeroes whole channels of `[N, C, D, H, W]` or `[C, D, H, W]`; PyTorch's `Dropout3d`.
    Dropout3d, "Dropout3d", functional::dropout3d;
    /// In training, drops elements so that mean and variance stay; PyTorch's `AlphaDropout`.
    AlphaDropout, "AlphaDropout", functional::alpha_dropout;
    /// In training, drops whole channels so that mean and variance stay; PyTorch's `FeatureAlphaDropout`.
    FeatureAlphaDropout, "FeatureAlphaDropout", functional::feature_alpha_dropout;
}
