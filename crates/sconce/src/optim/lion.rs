//! Lion: Chen et al., "Symbolic discovery of optimization algorithms".

use super::options::{check_betas, check_non_negative, options, zeros};
use super::rule::Rule;
use crate::nn::Buffer;
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Steps of one size, by the sign of a running mean. PyTorch has none; defaults and names are those of the paper.
///
/// ```
/// use sconce::Tensor;
/// use sconce::optim::{Lion, Optimizer};
///
/// let x = Tensor::from_vec(vec![1.0f64, 1.0], [2])?.requires_grad_(true)?;
/// let mut optimizer = Optimizer::new(vec![x.clone()], Lion { lr: 0.25, ..Lion::default() })?;
/// x.set_grad(Some(Tensor::from_vec(vec![3.0, -0.1], [2])?))?;
/// optimizer.step()?;
/// assert_eq!(x.to_vec::<f64>()?, [0.75, 1.25]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Lion {
    /// The learning rate; 1e-4.
    pub lr: f64,
    /// How much of the running mean is in what a step goes by, and how much of it is kept; (0.9, 0.99).
    pub betas: (f64, f64),
    /// The share of the parameter, times `lr`, that a step takes away; 0.
    pub weight_decay: f64,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 0.0, maximize: false }
    }
}

/// What [`Lion`] keeps of a parameter.
#[derive(Debug, Module)]
pub struct LionState {
    /// The running mean of gradients.
    pub exp_avg: Buffer,
}

impl Rule for Lion {
    type State = LionState;

    const NAME: &'static str = "Lion";

    options!(lr, betas, weight_decay, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, weight_decay);
        check_betas(Self::NAME, self.betas)
    }

    fn init(&self, p: &Tensor) -> Result<LionState> {
        Ok(LionState { exp_avg: zeros(p)? })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut LionState) -> Result<()> {
        let grad = if self.maximize { grad.neg()? } else { grad.clone() };
        let direction = state.exp_avg.lerp(&grad, 1.0 - self.betas.0)?.sign()?;
        if self.weight_decay != 0.0 {
            p.mul_(1.0 - self.lr * self.weight_decay)?;
        }
        p.sub_(&direction.mul(self.lr)?)?;
        state.exp_avg.lerp_(&grad, 1.0 - self.betas.1)
    }
}
