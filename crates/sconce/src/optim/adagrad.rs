//! Adagrad: Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization".

use super::options::{check_non_negative, counter, descent, options};
use super::rule::Rule;
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Adagrad; PyTorch's, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Adagrad {
    /// The learning rate; 0.01.
    pub lr: f64,
    /// How fast the rate falls with the number of steps; 0.
    pub lr_decay: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// What the sums of squares start from; 0.
    pub initial_accumulator_value: f64,
    /// What is added to the denominator; 1e-10.
    pub eps: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            maximize: false,
        }
    }
}

/// What [`Adagrad`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct AdagradState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The sum of squared gradients.
    pub sum: Buffer,
}

impl Rule for Adagrad {
    type State = AdagradState;

    const NAME: &'static str = "Adagrad";

    const FOREIGN: &'static [(&'static str, Value)] =
        &[("foreach", Value::None), ("differentiable", Value::Bool(false)), ("fused", Value::None)];

    /// PyTorch makes the sums with the optimiser, not with the first gradient.
    const EAGER: bool = true;

    options!(lr, lr_decay, eps, weight_decay, initial_accumulator_value, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, lr_decay, weight_decay, initial_accumulator_value, eps);
        Ok(())
    }

    fn init(&self, p: &Tensor) -> Result<AdagradState> {
        let sum = Buffer::new(&p.detach().full_like(self.initial_accumulator_value)?);
        Ok(AdagradState { step: counter()?, sum })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut AdagradState) -> Result<()> {
        state.step.add_(1)?;
        let grad = descent(p, grad, self.maximize, self.weight_decay)?;
        let rate = self.lr / (1.0 + (state.step.item()? - 1.0) * self.lr_decay);
        state.sum.addcmul_(&grad, &grad, 1)?;
        p.addcdiv_(&grad, &state.sum.sqrt()?.add(self.eps)?, -rate)
    }
}
