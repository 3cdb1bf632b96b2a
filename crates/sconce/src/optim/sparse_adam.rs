//! Adam for gradients that most rows have no part in.

use super::options::{check_betas, counter, options, zeros};
use super::rule::{Rule, invalid};
use crate::nn::Buffer;
use crate::tensor::{DType, Tensor};
use crate::{Module, Result};

/// Adam that leaves rows without a gradient as they are, their running means included; PyTorch's `SparseAdam`, with its
/// defaults. Meant for embeddings, of which a batch uses few rows.
///
/// PyTorch takes sparse gradients, which list rows. Gradients are dense here, and a row of zeros counts as not listed.
///
/// ```
/// use sconce::nn::Embedding;
/// use sconce::optim::{Optimizer, SparseAdam};
/// use sconce::Tensor;
///
/// let embedding = Embedding::new(3, 2)?;
/// let before = embedding.weight.to_vec::<f32>()?;
/// let mut optimizer = Optimizer::new(&embedding, SparseAdam { lr: 0.5, ..SparseAdam::default() })?;
/// embedding.weight.set_grad(Some(Tensor::from_vec(vec![0.0f32, 0.0, 1.0, 1.0, 0.0, 0.0], [3, 2])?))?;
/// optimizer.step()?;
/// let after = embedding.weight.to_vec::<f32>()?;
/// assert_eq!(after[..2], before[..2]);
/// assert!((before[2] - after[2] - 0.5).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SparseAdam {
    /// The learning rate; 0.001.
    pub lr: f64,
    /// How much of the running means of gradients and of their squares is kept; (0.9, 0.999).
    pub betas: (f64, f64),
    /// What is added to the denominator; 1e-8.
    pub eps: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for SparseAdam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, maximize: false }
    }
}

/// What [`SparseAdam`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct SparseAdamState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The running mean of gradients.
    pub exp_avg: Buffer,
    /// The running mean of squared gradients.
    pub exp_avg_sq: Buffer,
}

impl Rule for SparseAdam {
    type State = SparseAdamState;

    const NAME: &'static str = "SparseAdam";

    options!(lr, betas, eps, maximize);

    fn validate(&self) -> Result<()> {
        for (option, value) in [("lr", self.lr), ("eps", self.eps)] {
            if value.is_nan() || value <= 0.0 {
                return Err(invalid(Self::NAME, option, value, "more than 0"));
            }
        }
        check_betas(Self::NAME, self.betas)
    }

    fn init(&self, p: &Tensor) -> Result<SparseAdamState> {
        Ok(SparseAdamState { step: counter()?, exp_avg: zeros(p)?, exp_avg_sq: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut SparseAdamState) -> Result<()> {
        state.step.add_(1)?;
        let rows = used_rows(grad)?;
        let pick = |t: &Tensor| t.index_select(0, &rows);
        let grad = if self.maximize { pick(grad)?.neg()? } else { pick(grad)? };
        let (mean, square) = (pick(&state.exp_avg)?, pick(&state.exp_avg_sq)?);
        mean.lerp_(&grad, 1.0 - self.betas.0)?;
        square.lerp_(&grad.mul(&grad)?, 1.0 - self.betas.1)?;
        state.exp_avg.index_copy_(0, &rows, &mean)?;
        state.exp_avg_sq.index_copy_(0, &rows, &square)?;
        let step = state.step.item()?;
        let size = self.lr * (1.0 - self.betas.1.powf(step)).sqrt() / (1.0 - self.betas.0.powf(step));
        p.index_add_(0, &rows, &mean.div(&square.sqrt()?.add(self.eps)?)?.mul(-size)?)
    }
}

/// The indices along the first dimension with a gradient that is not 0.
fn used_rows(grad: &Tensor) -> Result<Tensor> {
    let used = grad.ne(0)?;
    let rows = *used.shape().first().unwrap_or(&1);
    if rows == 0 {
        return Tensor::zeros([0], DType::I64);
    }
    used.reshape([rows as isize, -1])?.any(1)?.nonzero()?.reshape([-1])
}
