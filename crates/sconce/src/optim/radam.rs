//! RAdam: Liu et al., "On the variance of the adaptive learning rate and beyond".

use super::options::{check_betas, check_non_negative, counter, descent, options, zeros};
use super::rule::Rule;
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Adam that warms up by the variance of its rate; PyTorch's `RAdam`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct RAdam {
    /// The learning rate; 0.001.
    pub lr: f64,
    /// How much of the running means of gradients and of their squares is kept; (0.9, 0.999).
    pub betas: (f64, f64),
    /// What is added to the denominator; 1e-8.
    pub eps: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// Whether weight decay is taken from the parameter instead, times `lr`; false.
    pub decoupled_weight_decay: bool,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

/// What [`RAdam`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct RAdamState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The running mean of gradients.
    pub exp_avg: Buffer,
    /// The running mean of squared gradients.
    pub exp_avg_sq: Buffer,
}

impl Rule for RAdam {
    type State = RAdamState;

    const NAME: &'static str = "RAdam";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("foreach", Value::None),
        ("capturable", Value::Bool(false)),
        ("differentiable", Value::Bool(false)),
    ];

    options!(lr, betas, eps, weight_decay, decoupled_weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, eps, weight_decay);
        check_betas(Self::NAME, self.betas)
    }

    fn init(&self, p: &Tensor) -> Result<RAdamState> {
        Ok(RAdamState { step: counter()?, exp_avg: zeros(p)?, exp_avg_sq: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut RAdamState) -> Result<()> {
        state.step.add_(1)?;
        let step = state.step.item()?;
        let coupled = if self.decoupled_weight_decay { 0.0 } else { self.weight_decay };
        let grad = descent(p, grad, self.maximize, coupled)?;
        if self.decoupled_weight_decay && self.weight_decay != 0.0 {
            p.mul_(1.0 - self.lr * self.weight_decay)?;
        }
        state.exp_avg.lerp_(&grad, 1.0 - self.betas.0)?;
        state.exp_avg_sq.mul_(self.betas.1)?;
        state.exp_avg_sq.addcmul_(&grad, &grad, 1.0 - self.betas.1)?;
        let correction = 1.0 - self.betas.1.powf(step);
        let mean = state.exp_avg.div(1.0 - self.betas.0.powf(step))?.mul(self.lr)?;
        // The length of a simple moving average with the same centre of mass: its limit, and now.
        let limit = 2.0 / (1.0 - self.betas.1) - 1.0;
        let length = limit - 2.0 * step * self.betas.1.powf(step) / correction;
        if length <= 5.0 {
            return p.sub_(&mean);
        }
        let rectified =
            ((length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length)).sqrt();
        let denominator = state.exp_avg_sq.sqrt()?.add(self.eps)?;
        p.addcdiv_(&mean, &denominator, -correction.sqrt() * rectified)
    }
}
