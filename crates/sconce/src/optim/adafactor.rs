//! Adafactor: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost".

use super::options::{check_non_negative, counter, options, zeros};
use super::rule::{Rule, invalid, non_negative};
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::sizes::keepdim;
use crate::tensor::{DType, Tensor};
use crate::{Module, Result};

/// Adam with the memory of rows and columns; PyTorch's `Adafactor`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Adafactor {
    /// The learning rate; 0.01.
    pub lr: f64,
    /// The power by which the running means come to keep all; −0.8.
    pub beta2_decay: f64,
    /// The least variance's root (the dtype's epsilon where left out), and the least size of a parameter; (none, 0.001).
    pub eps: (Option<f64>, f64),
    /// Where the size of an update is clipped; 1.
    pub d: f64,
    /// The share of the parameter, times `lr`, that a step takes away; 0.
    pub weight_decay: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self { lr: 1e-2, beta2_decay: -0.8, eps: (None, 1e-3), d: 1.0, weight_decay: 0.0, maximize: false }
    }
}

/// What [`Adafactor`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct AdafactorState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The running mean of squared gradients of each row; for matrices.
    pub row_var: Option<Buffer>,
    /// The running mean of squared gradients of each column; for matrices.
    pub col_var: Option<Buffer>,
    /// The running mean of squared gradients; for vectors.
    pub variance: Option<Buffer>,
}

impl Rule for Adafactor {
    type State = AdafactorState;

    const NAME: &'static str = "Adafactor";

    const FOREIGN: &'static [(&'static str, Value)] = &[("foreach", Value::None)];

    options!(lr, beta2_decay, eps, d, weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, weight_decay);
        non_negative(Self::NAME, "eps", self.eps.0.unwrap_or(0.0))?;
        non_negative(Self::NAME, "eps", self.eps.1)?;
        if !(self.beta2_decay <= 0.0) {
            return Err(invalid(Self::NAME, "beta2_decay", self.beta2_decay, "at most 0"));
        }
        if !(self.d >= 1.0) {
            return Err(invalid(Self::NAME, "d", self.d, "at least 1"));
        }
        Ok(())
    }

    fn init(&self, p: &Tensor) -> Result<AdafactorState> {
        let step = counter()?;
        let rank = p.dim();
        if rank < 2 {
            return Ok(AdafactorState { step, row_var: None, col_var: None, variance: Some(zeros(p)?) });
        }
        let without = |dim: usize| -> Result<Option<Buffer>> {
            let mut shape = p.shape().to_vec();
            shape[dim] = 1;
            Ok(Some(Buffer::new(&Tensor::zeros(shape, p.dtype())?)))
        };
        let (row_var, col_var) = (without(rank - 1)?, without(rank - 2)?);
        Ok(AdafactorState { step, row_var, col_var, variance: None })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut AdafactorState) -> Result<()> {
        let grad = if self.maximize { grad.neg()? } else { grad.clone() };
        let least = self.eps.0.unwrap_or_else(|| epsilon(p.dtype()));
        state.step.add_(1)?;
        let step = state.step.item()?;
        let part = step.powf(self.beta2_decay);
        let rho = self.lr.min(1.0 / step.sqrt());
        let size = |t: &Tensor| -> Result<f64> { Ok(t.norm(2.0, ())?.item()? / (t.numel() as f64).sqrt()) };
        let alpha = self.eps.1.max(size(p)?) * rho;
        if self.weight_decay != 0.0 {
            p.mul_(1.0 - self.lr * self.weight_decay)?;
        }
        let estimate = match (&state.row_var, &state.col_var, &state.variance) {
            (Some(rows), Some(columns), _) => {
                let mean = |dim: isize| grad.norm(2.0, keepdim(dim))?.square()?.div(grad.size(dim)? as f64);
                rows.lerp_(&mean(-1)?, part)?;
                columns.lerp_(&mean(-2)?, part)?;
                rows.matmul(columns)?.div(&rows.mean(keepdim(-2))?.clamp_min(least)?)?
            }
            (_, _, Some(variance)) => {
                variance.lerp_(&grad.square()?, part)?;
                variance.tensor().clone()
            }
            _ => grad.square()?,
        };
        let update = estimate.clamp_min(least * least)?.rsqrt()?.mul(&grad)?;
        let denominator = (size(&update)? / self.d).max(1.0);
        p.sub_(&update.mul(alpha / denominator)?)
    }
}

/// The distance from 1 to the next number.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => f64::from(f32::EPSILON),
    }
}
