//! Adamax: Kingma and Ba, "Adam: a method for stochastic optimization", section 7.

use super::options::{check_betas, check_non_negative, counter, descent, options, zeros};
use super::rule::Rule;
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Adam by the infinity norm; PyTorch's, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Adamax {
    /// The learning rate; 0.002.
    pub lr: f64,
    /// How much of the running mean of gradients and of their running maximum is kept; (0.9, 0.999).
    pub betas: (f64, f64),
    /// What is added to the size of a gradient; 1e-8.
    pub eps: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

/// What [`Adamax`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct AdamaxState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The running mean of gradients.
    pub exp_avg: Buffer,
    /// The running maximum of their sizes.
    pub exp_inf: Buffer,
}

impl Rule for Adamax {
    type State = AdamaxState;

    const NAME: &'static str = "Adamax";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("foreach", Value::None),
        ("differentiable", Value::Bool(false)),
        ("capturable", Value::Bool(false)),
    ];

    options!(lr, betas, eps, weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, eps, weight_decay);
        check_betas(Self::NAME, self.betas)
    }

    fn init(&self, p: &Tensor) -> Result<AdamaxState> {
        Ok(AdamaxState { step: counter()?, exp_avg: zeros(p)?, exp_inf: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut AdamaxState) -> Result<()> {
        state.step.add_(1)?;
        let grad = descent(p, grad, self.maximize, self.weight_decay)?;
        state.exp_avg.lerp_(&grad, 1.0 - self.betas.0)?;
        state.exp_inf.mul_(self.betas.1)?;
        state.exp_inf.copy_(&state.exp_inf.maximum(&grad.abs()?.add(self.eps)?)?)?;
        let rate = self.lr / (1.0 - self.betas.0.powf(state.step.item()?));
        p.addcdiv_(&state.exp_avg, &state.exp_inf, -rate)
    }
}
