//! Adam, and Adam with decoupled weight decay.

use super::options::{check_betas, check_non_negative, counter, options, zeros};
use super::rule::Rule;
use super::state::Value;
use crate::nn::Buffer;
use crate::ops::driver::optim::{self as fused, Moments};
use crate::tensor::Tensor;
use crate::{Module, Result};

/// What [`Adam`] and [`AdamW`] keep of a parameter.
#[derive(Debug, Module)]
pub struct AdamState {
    /// The number of updates; float32, as in PyTorch.
    pub step: Buffer,
    /// The running mean of gradients.
    pub exp_avg: Buffer,
    /// The running mean of squared gradients.
    pub exp_avg_sq: Buffer,
    /// The greatest `exp_avg_sq` so far; with `amsgrad` only.
    pub max_exp_avg_sq: Option<Buffer>,
}

/// Declares one of the two, which differ in a default and in what weight decay does:
///
/// ```text
/// pub struct Adam { pub lr: f64, … }
/// impl Default for Adam { … }
/// impl Rule for Adam { … }          over the functions below
/// ```
macro_rules! adam {
    ($(#[$doc:meta])* $type:ident, $name:literal, decay: $decay:literal, decoupled: $decoupled:literal, $decay_doc:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $type {
            /// The learning rate; 0.001.
            pub lr: f64,
            /// How much of the running means of gradients and of their squares is kept; (0.9, 0.999).
            pub betas: (f64, f64),
            /// What is added to the denominator; 1e-8.
            pub eps: f64,
            #[doc = $decay_doc]
            pub weight_decay: f64,
            /// Whether to divide by the greatest mean of squares so far; false.
            pub amsgrad: bool,
            /// Whether to ascend instead; false.
            pub maximize: bool,
            #[doc = concat!("Whether weight decay is kept apart from the gradient; ", stringify!($decoupled), ".")]
            pub decoupled_weight_decay: bool,
        }

        impl Default for $type {
            fn default() -> Self {
                Self {
                    lr: 1e-3,
                    betas: (0.9, 0.999),
                    eps: 1e-8,
                    weight_decay: $decay,
                    amsgrad: false,
                    maximize: false,
                    decoupled_weight_decay: $decoupled,
                }
            }
        }

        impl Rule for $type {
            type State = AdamState;

            const NAME: &'static str = $name;

            const FOREIGN: &'static [(&'static str, Value)] = &[
                ("foreach", Value::None),
                ("capturable", Value::Bool(false)),
                ("differentiable", Value::Bool(false)),
                ("fused", Value::None),
            ];

            options!(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay);

            fn validate(&self) -> Result<()> {
                check_non_negative!(self: lr, eps, weight_decay);
                check_betas(Self::NAME, self.betas)
            }

            fn init(&self, p: &Tensor) -> Result<AdamState> {
                Ok(AdamState {
                    step: counter()?,
                    exp_avg: zeros(p)?,
                    exp_avg_sq: zeros(p)?,
                    max_exp_avg_sq: if self.amsgrad { Some(zeros(p)?) } else { None },
                })
            }

            fn update(&self, p: &Tensor, grad: &Tensor, state: &mut AdamState) -> Result<()> {
                if self.amsgrad && state.max_exp_avg_sq.is_none() {
                    state.max_exp_avg_sq = Some(Buffer::new(&p.zeros_like()?));
                }
                let hyper = sconce_kernels::Adam {
                    lr: self.lr,
                    betas: self.betas,
                    eps: self.eps,
                    weight_decay: self.weight_decay,
                    decoupled: self.decoupled_weight_decay,
                    maximize: self.maximize,
                    step: 0,
                };
                if update_fused(Self::NAME, hyper, self.amsgrad, p, grad, state)? {
                    return Ok(());
                }
                let mut grad = if self.maximize { grad.neg()? } else { grad.clone() };
                if self.weight_decay != 0.0 {
                    if self.decoupled_weight_decay {
                        p.mul_(1.0 - self.lr * self.weight_decay)?;
                    } else {
                        grad = grad.add(&p.mul(self.weight_decay)?)?;
                    }
                }
                let denominator = moments(&grad, state, self.betas, self.amsgrad)?;
                let step = state.step.item()?;
                let scale = (1.0 - self.betas.1.powf(step)).sqrt();
                let size = self.lr / (1.0 - self.betas.0.powf(step));
                denominator.sqrt_()?;
                denominator.div_(scale)?;
                denominator.add_(self.eps)?;
                p.sub_(&state.exp_avg.mul(size)?.div(&denominator)?)
            }
        }
    };
}

adam! {
    /// Adam (Kingma and Ba 2015); PyTorch's, with its defaults. Weight decay is added to the gradient.
    Adam, "Adam", decay: 0.0, decoupled: false, "The share of the parameter that is added to its gradient; 0."
}

adam! {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019); PyTorch's, with its defaults.
    AdamW, "AdamW", decay: 0.01, decoupled: true,
    "The share of the parameter, times `lr`, that a step takes away; 0.01."
}

/// The update as one pass over the parameter; false, and nothing done, if its tensors do not allow one.
fn update_fused(
    op: &str,
    hyper: sconce_kernels::Adam,
    amsgrad: bool,
    p: &Tensor,
    grad: &Tensor,
    state: &AdamState,
) -> Result<bool> {
    let moments = Moments {
        exp_avg: &state.exp_avg,
        exp_avg_sq: &state.exp_avg_sq,
        max_exp_avg_sq: state.max_exp_avg_sq.as_deref().filter(|_| amsgrad),
    };
    let mut all = moments.with(p);
    all.push(grad);
    if !fused::fits(&all) {
        return Ok(false);
    }
    let step = state.step.item()? + 1.0;
    fused::adam(op, sconce_kernels::Adam { step: step as u64, ..hyper }, p, grad, moments)?;
    state.step.add_(1)?;
    Ok(true)
}

/// Counts the step, moves the running means, and gives a copy of the mean of squares to divide by.
fn moments(grad: &Tensor, state: &AdamState, betas: (f64, f64), amsgrad: bool) -> Result<Tensor> {
    state.step.add_(1)?;
    state.exp_avg.add_(&grad.sub(&state.exp_avg)?.mul(1.0 - betas.0)?)?;
    state.exp_avg_sq.mul_(betas.1)?;
    state.exp_avg_sq.add_(&grad.mul(grad)?.mul(1.0 - betas.1)?)?;
    match &state.max_exp_avg_sq {
        Some(greatest) if amsgrad => {
            greatest.copy_(&greatest.maximum(&state.exp_avg_sq)?)?;
            Tensor::copy(greatest)
        }
        _ => Tensor::copy(&state.exp_avg_sq),
    }
}
