//! Layers without parameters.

use super::layer::Layer;
use super::leaf::Mode;
use crate::functional;
use crate::tensor::Tensor;
use crate::{Error, Module, Result};

/// max(x, 0), elementwise; PyTorch's `ReLU`.
#[derive(Clone, Copy, Debug, Default, Module)]
pub struct ReLU;

impl Layer for ReLU {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.relu()
    }
}

/// Its input; PyTorch's `Identity`.
#[derive(Clone, Copy, Debug, Default, Module)]
pub struct Identity;

impl Layer for Identity {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
}

/// Several dimensions as one; PyTorch's `Flatten`.
///
/// ```
/// use sconce::nn::{Flatten, Layer};
/// use sconce::{DType, Tensor};
/// let x = Tensor::zeros([2, 3, 4, 5], DType::F32)?;
/// assert_eq!(Flatten::default().forward(&x)?.shape(), [2, 60]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Module)]
pub struct Flatten {
    /// The first dimension; 1.
    pub start_dim: isize,
    /// The last dimension; −1.
    pub end_dim: isize,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { start_dim: 1, end_dim: -1 }
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.flatten(self.start_dim, self.end_dim)
    }
}

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
#[derive(Clone, Debug, Module)]
pub struct Dropout {
    p: f64,
    /// Whether anything is zeroed.
    pub mode: Mode,
}

impl Default for Dropout {
    /// Zeroes every second element.
    fn default() -> Self {
        Self { p: 0.5, mode: Mode::Train }
    }
}

impl Dropout {
    /// Makes a layer that zeroes elements with probability `p`.
    ///
    /// # Errors
    ///
    /// If `p` does not lie in [0, 1].
    pub fn new(p: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument(format!("Dropout: the probability {p} must lie in [0, 1]")));
        }
        Ok(Self { p, mode: Mode::Train })
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::dropout(x, self.p, self.mode.is_train())
    }
}
