//! Resilient backpropagation: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning".

use super::options::{check_non_negative, counter, descent, options, zeros};
use super::rule::{Rule, invalid};
use super::state::Value;
use crate::nn::Buffer;
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Resilient backpropagation; PyTorch's `Rprop`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Rprop {
    /// The size of the first step; 0.01.
    pub lr: f64,
    /// What a step's size is multiplied by where the gradient's sign changed, and where it did not; (0.5, 1.2).
    pub etas: (f64, f64),
    /// The least and greatest size; (1e-6, 50).
    pub step_sizes: (f64, f64),
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: (0.5, 1.2), step_sizes: (1e-6, 50.0), maximize: false }
    }
}

/// What [`Rprop`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct RpropState {
    /// The number of updates; float32.
    pub step: Buffer,
    /// The last gradient.
    pub prev: Buffer,
    /// The size of the next step.
    pub step_size: Buffer,
}

impl Rule for Rprop {
    type State = RpropState;

    const NAME: &'static str = "Rprop";

    const FOREIGN: &'static [(&'static str, Value)] = &[
        ("foreach", Value::None),
        ("differentiable", Value::Bool(false)),
        ("capturable", Value::Bool(false)),
    ];

    options!(lr, etas, step_sizes, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr);
        if !(0.0 < self.etas.0 && self.etas.0 < 1.0 && 1.0 < self.etas.1) {
            return Err(invalid(Self::NAME, "etas", self.etas, "between 0 and 1, and more than 1"));
        }
        Ok(())
    }

    fn init(&self, p: &Tensor) -> Result<RpropState> {
        let step_size = Buffer::new(&p.detach().full_like(self.lr)?);
        Ok(RpropState { step: counter()?, prev: zeros(p)?, step_size })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut RpropState) -> Result<()> {
        state.step.add_(1)?;
        let grad = descent(p, grad, self.maximize, 0.0)?;
        let product = grad.mul(&state.prev)?;
        let (turned, kept) = (product.lt(0)?, product.gt(0)?);
        let factor = product.ones_like()?.masked_fill(&kept, self.etas.1)?;
        state.step_size.mul_(&factor.masked_fill(&turned, self.etas.0)?)?;
        state.step_size.clamp_(self.step_sizes.0, self.step_sizes.1)?;
        // Where the sign changed, one step is left out.
        let grad = grad.masked_fill(&turned, 0)?;
        p.addcmul_(&grad.sign()?, &state.step_size, -1)?;
        state.prev.copy_(&grad)
    }
}
