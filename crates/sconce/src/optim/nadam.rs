//! NAdam: Dozat, "Incorporating Nesterov momentum into Adam".

use super::options::{check_betas, check_non_negative, counter, descent, options, zeros};
use super::rule::Rule;
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::{DType, Tensor};
use crate::{Module, Result};

/// Adam with Nesterov momentum; PyTorch's `NAdam`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct NAdam {
    /// The learning rate; 0.002.
    pub lr: f64,
    /// How much of the running means of gradients and of their squares is kept; (0.9, 0.999).
    pub betas: (f64, f64),
    /// What is added to the denominator; 1e-8.
    pub eps: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// How fast momentum grows to its full size; 0.004.
    pub momentum_decay: f64,
    /// Whether weight decay is taken from the parameter instead, times `lr`; false.
    pub decoupled_weight_decay: bool,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

/// What [`NAdam`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct NAdamState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The product of all momenta so far; float32.
    pub mu_product: Buffer,
    /// The running mean of gradients.
    pub exp_avg: Buffer,
    /// The running mean of squared gradients.
    pub exp_avg_sq: Buffer,
}

impl Rule for NAdam {
    type State = NAdamState;

    const NAME: &'static str = "NAdam";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("foreach", Value::None),
        ("capturable", Value::Bool(false)),
        ("differentiable", Value::Bool(false)),
    ];

    options!(lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, eps, weight_decay, momentum_decay);
        check_betas(Self::NAME, self.betas)
    }

    fn init(&self, p: &Tensor) -> Result<NAdamState> {
        let mu_product = Buffer::new(&Tensor::ones((), DType::F32)?);
        Ok(NAdamState { step: counter()?, mu_product, exp_avg: zeros(p)?, exp_avg_sq: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut NAdamState) -> Result<()> {
        state.step.add_(1)?;
        let step = state.step.item()?;
        let coupled = if self.decoupled_weight_decay { 0.0 } else { self.weight_decay };
        let grad = descent(p, grad, self.maximize, coupled)?;
        if self.decoupled_weight_decay && self.weight_decay != 0.0 {
            p.mul_(1.0 - self.lr * self.weight_decay)?;
        }
        let momentum = |step: f64| self.betas.0 * (1.0 - 0.5 * 0.96f64.powf(step * self.momentum_decay));
        let (mu, next) = (momentum(step), momentum(step + 1.0));
        state.mu_product.mul_(mu)?;
        let product = state.mu_product.item()?;
        state.exp_avg.lerp_(&grad, 1.0 - self.betas.0)?;
        state.exp_avg_sq.mul_(self.betas.1)?;
        state.exp_avg_sq.addcmul_(&grad, &grad, 1.0 - self.betas.1)?;
        let denominator = state.exp_avg_sq.div(1.0 - self.betas.1.powf(step))?.sqrt()?.add(self.eps)?;
        p.addcdiv_(&grad, &denominator, -self.lr * (1.0 - mu) / (1.0 - product))?;
        p.addcdiv_(&state.exp_avg, &denominator, -self.lr * next / (1.0 - product * next))
    }
}
