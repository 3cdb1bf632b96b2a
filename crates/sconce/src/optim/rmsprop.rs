//! RMSprop: Hinton, lecture 6 of "Neural networks for machine learning".

use super::options::{check_non_negative, counter, descent, options, zeros};
use super::rule::Rule;
use super::state::Value;
use crate::nn::{Buffer, ModuleExt, StateDict, Strictness};
use crate::tensor::Tensor;
use crate::{Module, Result};

/// RMSprop; PyTorch's, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsProp {
    /// The learning rate; 0.01.
    pub lr: f64,
    /// How much of the running mean of squared gradients is kept; 0.99.
    pub alpha: f64,
    /// What is added to the denominator; 1e-8.
    pub eps: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// The share of the last step that is repeated; 0.
    pub momentum: f64,
    /// Whether to divide by the deviation from the mean gradient; false.
    pub centered: bool,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
            maximize: false,
        }
    }
}

/// What [`RmsProp`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct RmsPropState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The running mean of squared gradients.
    pub square_avg: Buffer,
    /// The running sum of steps; with momentum only.
    pub momentum_buffer: Option<Buffer>,
    /// The running mean of gradients; with `centered` only.
    pub grad_avg: Option<Buffer>,
}

impl Rule for RmsProp {
    type State = RmsPropState;

    const NAME: &'static str = "RMSprop";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("capturable", Value::Bool(false)),
        ("foreach", Value::None),
        ("differentiable", Value::Bool(false)),
    ];

    options!(lr, momentum, alpha, eps, centered, weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, eps, momentum, weight_decay, alpha);
        Ok(())
    }

    fn init(&self, p: &Tensor) -> Result<RmsPropState> {
        Ok(RmsPropState {
            step: counter()?,
            square_avg: zeros(p)?,
            momentum_buffer: if self.momentum > 0.0 { Some(zeros(p)?) } else { None },
            grad_avg: if self.centered { Some(zeros(p)?) } else { None },
        })
    }

    fn restore(&self, p: &Tensor, saved: &StateDict) -> Result<RmsPropState> {
        // Buffers of options that were on when it was saved.
        let wanted = |name: &str| if saved.get(name).is_ok() { zeros(p).map(Some) } else { Ok(None) };
        let state = RmsPropState {
            step: counter()?,
            square_avg: zeros(p)?,
            momentum_buffer: wanted("momentum_buffer")?,
            grad_avg: wanted("grad_avg")?,
        };
        state.load_state_dict(saved, Strictness::Strict)?;
        Ok(state)
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut RmsPropState) -> Result<()> {
        state.step.add_(1)?;
        let grad = descent(p, grad, self.maximize, self.weight_decay)?;
        state.square_avg.mul_(self.alpha)?;
        state.square_avg.addcmul_(&grad, &grad, 1.0 - self.alpha)?;
        let spread = if self.centered {
            if state.grad_avg.is_none() {
                state.grad_avg = Some(zeros(p)?);
            }
            match &state.grad_avg {
                Some(mean) => {
                    mean.lerp_(&grad, 1.0 - self.alpha)?;
                    state.square_avg.addcmul(mean, mean, -1)?.sqrt()?
                }
                None => state.square_avg.sqrt()?,
            }
        } else {
            state.square_avg.sqrt()?
        };
        let spread = spread.add(self.eps)?;
        if self.momentum > 0.0 {
            if state.momentum_buffer.is_none() {
                state.momentum_buffer = Some(zeros(p)?);
            }
            if let Some(buffer) = &state.momentum_buffer {
                buffer.mul_(self.momentum)?;
                buffer.addcdiv_(&grad, &spread, 1)?;
                return p.sub_(&buffer.mul(self.lr)?);
            }
        }
        p.addcdiv_(&grad, &spread, -self.lr)
    }
}
