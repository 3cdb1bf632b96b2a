//! Adadelta: Zeiler, "ADADELTA: an adaptive learning rate method".

use super::options::{check_non_negative, counter, descent, options, zeros};
use super::rule::{Rule, invalid};
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Adadelta; PyTorch's, with its defaults.
///
/// ```
/// use sconce::nn::Linear;
/// use sconce::optim::{Adadelta, Optimizer};
/// let optimizer = Optimizer::new(&Linear::new(2, 1)?, Adadelta { rho: 0.95, ..Default::default() })?;
/// assert_eq!(optimizer.lr(), 1.0);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Adadelta {
    /// The learning rate; 1.
    pub lr: f64,
    /// How much of the running means of squares is kept; 0.9.
    pub rho: f64,
    /// What is added under the roots; 1e-6.
    pub eps: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

/// What [`Adadelta`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct AdadeltaState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The running mean of squared gradients.
    pub square_avg: Buffer,
    /// The running mean of squared updates.
    pub acc_delta: Buffer,
}

impl Rule for Adadelta {
    type State = AdadeltaState;

    const NAME: &'static str = "Adadelta";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("foreach", Value::None),
        ("capturable", Value::Bool(false)),
        ("differentiable", Value::Bool(false)),
    ];

    options!(lr, rho, eps, weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, eps, weight_decay);
        if !(0.0..=1.0).contains(&self.rho) {
            return Err(invalid(Self::NAME, "rho", self.rho, "at least 0 and at most 1"));
        }
        Ok(())
    }

    fn init(&self, p: &Tensor) -> Result<AdadeltaState> {
        Ok(AdadeltaState { step: counter()?, square_avg: zeros(p)?, acc_delta: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut AdadeltaState) -> Result<()> {
        state.step.add_(1)?;
        let grad = descent(p, grad, self.maximize, self.weight_decay)?;
        state.square_avg.mul_(self.rho)?;
        state.square_avg.addcmul_(&grad, &grad, 1.0 - self.rho)?;
        let spread = state.square_avg.add(self.eps)?.sqrt()?;
        let delta = state.acc_delta.add(self.eps)?.sqrt()?.div(&spread)?.mul(&grad)?;
        state.acc_delta.mul_(self.rho)?;
        state.acc_delta.addcmul_(&delta, &delta, 1.0 - self.rho)?;
        p.sub_(&delta.mul(self.lr)?)
    }
}
