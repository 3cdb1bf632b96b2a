//! Averaged stochastic gradient descent: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging".

use super::options::{check_non_negative, counter, descent, options, zeros};
use super::rule::Rule;
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::{DType, Tensor};
use crate::{Module, Result};

/// Averaged stochastic gradient descent; PyTorch's `ASGD`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Asgd {
    /// The learning rate; 0.01.
    pub lr: f64,
    /// How much of the parameter a step takes away, times the rate; 1e-4.
    pub lambd: f64,
    /// The power by which the rate falls; 0.75.
    pub alpha: f64,
    /// The step from which on parameters are averaged; 1e6.
    pub t0: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Asgd {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

/// What [`Asgd`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct AsgdState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The rate of the next step; float32.
    pub eta: Buffer,
    /// The part of the next parameter in the average; float32.
    pub mu: Buffer,
    /// The average.
    pub ax: Buffer,
}

impl Rule for Asgd {
    type State = AsgdState;

    const NAME: &'static str = "ASGD";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("foreach", Value::None),
        ("differentiable", Value::Bool(false)),
        ("capturable", Value::Bool(false)),
    ];

    options!(lr, lambd, alpha, t0, weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, weight_decay);
        Ok(())
    }

    fn init(&self, p: &Tensor) -> Result<AsgdState> {
        let number = |x: f64| Tensor::full((), x, DType::F32).map(|t| Buffer::new(&t));
        Ok(AsgdState { step: counter()?, eta: number(self.lr)?, mu: number(1.0)?, ax: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut AsgdState) -> Result<()> {
        state.step.add_(1)?;
        let grad = descent(p, grad, self.maximize, self.weight_decay)?;
        let eta = state.eta.item()?;
        p.mul_(1.0 - self.lambd * eta)?;
        p.sub_(&grad.mul(eta)?)?;
        let mu = state.mu.item()?;
        if mu == 1.0 {
            state.ax.copy_(p)?;
        } else {
            state.ax.add_(&p.sub(&state.ax)?.mul(mu)?)?;
        }
        let step = state.step.item()?;
        state.eta.fill_(self.lr / (1.0 + self.lambd * self.lr * step).powf(self.alpha))?;
        state.mu.fill_(1.0 / (step - self.t0).max(1.0))
    }
}
