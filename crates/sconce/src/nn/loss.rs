//! Losses as modules.

use super::leaf::{Buffer, settings};
use crate::functional::{self, CrossEntropyOptions, Reduction};
use crate::tensor::Tensor;
use crate::{Module, Result};

settings!(Reduction);

/// Cross entropy of scores `[batch, classes, …]` and classes or probabilities; PyTorch's `CrossEntropyLoss`.
///
/// ```
/// use sconce::nn::CrossEntropyLoss;
/// use sconce::{DType, Tensor};
///
/// let scores = Tensor::zeros([2, 4], DType::F32)?;
/// let classes = Tensor::from_vec(vec![0i64, 3], [2])?;
/// let loss = CrossEntropyLoss::default().forward(&scores, &classes)?;
/// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Debug, Module)]
pub struct CrossEntropyLoss {
    /// A weight per class; none.
    pub weight: Option<Buffer>,
    /// The class whose samples do not count; −100.
    pub ignore_index: i64,
    /// What becomes of the losses of the samples; their mean.
    pub reduction: Reduction,
    /// How much of each target is spread evenly over all classes; 0.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyLoss {
    fn default() -> Self {
        Self { weight: None, ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
    }
}

impl CrossEntropyLoss {
    /// Computes the loss.
    ///
    /// # Errors
    ///
    /// As [`functional::cross_entropy`].
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let options = CrossEntropyOptions {
            weight: self.weight.as_deref(),
            ignore_index: self.ignore_index,
            reduction: self.reduction,
            label_smoothing: self.label_smoothing,
        };
        functional::cross_entropy(input, target, options)
    }
}

/// The squared difference; PyTorch's `MSELoss`.
///
/// ```
/// use sconce::Tensor;
/// use sconce::nn::MSELoss;
/// let (x, y) = (Tensor::from_vec(vec![1.0f32, 2.0], [2])?, Tensor::from_vec(vec![1.0f32, 4.0], [2])?);
/// assert_eq!(MSELoss::default().forward(&x, &y)?.item()?, 2.0);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Default, Module)]
pub struct MSELoss {
    /// What becomes of the elements; their mean.
    pub reduction: Reduction,
}

impl MSELoss {
    /// Computes the loss.
    ///
    /// # Errors
    ///
    /// As [`functional::mse_loss`].
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        functional::mse_loss(input, target, self.reduction)
    }
}
