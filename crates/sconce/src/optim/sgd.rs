//! Stochastic gradient descent.

use super::options::{check_non_negative, options};
use super::rule::{Rule, invalid};
use super::state::Value;
use crate::nn::{Buffer, StateDict};
use crate::ops::driver::optim as fused;
use crate::tensor::Tensor;
use crate::{Error, Module, Result};

/// Stochastic gradient descent, with momentum; PyTorch's `SGD`, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate; 0.001.
    pub lr: f64,
    /// The share of the last step that is repeated; 0.
    pub momentum: f64,
    /// The share of the gradient that momentum leaves out; 0.
    pub dampening: f64,
    /// The share of the parameter that is added to its gradient; 0.
    pub weight_decay: f64,
    /// Whether momentum looks ahead; false.
    pub nesterov: bool,
    /// Whether to ascend instead; false.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

/// What [`Sgd`] keeps of a parameter.
#[derive(Debug, Default, Module)]
pub struct SgdState {
    /// The running sum of gradients; from the first step with momentum on.
    pub momentum_buffer: Option<Buffer>,
}

impl Rule for Sgd {
    type State = SgdState;

    const NAME: &'static str = "SGD";

    const FOREIGN: &'static [(&'static str, Value)] =
        &[("foreach", Value::None), ("differentiable", Value::Bool(false)), ("fused", Value::None)];

    options!(lr, momentum, dampening, weight_decay, nesterov, maximize);

    fn validate(&self) -> Result<()> {
        check_non_negative!(self: lr, momentum, weight_decay);
        if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
            let found = (self.momentum, self.dampening);
            return Err(invalid(
                Self::NAME,
                "(momentum, dampening)",
                found,
                "(more than 0, 0) with nesterov",
            ));
        }
        Ok(())
    }

    fn init(&self, _: &Tensor) -> Result<SgdState> {
        Ok(SgdState::default())
    }

    fn restore(&self, p: &Tensor, saved: &StateDict) -> Result<SgdState> {
        if let Some(name) = saved.names().find(|name| *name != "momentum_buffer") {
            return Err(Error::load(format!("unexpected `{name}`")));
        }
        let Ok(buffer) = saved.get("momentum_buffer") else { return Ok(SgdState::default()) };
        if buffer.shape() != p.shape() {
            return Err(Error::load(format!(
                "momentum_buffer: expected shape {:?}, found {:?}",
                p.shape(),
                buffer.shape()
            )));
        }
        let own = p.zeros_like()?;
        own.copy_(buffer)?;
        Ok(SgdState { momentum_buffer: Some(Buffer::new(&own)) })
    }

    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut SgdState) -> Result<()> {
        if self.update_fused(p, grad, state)? {
            return Ok(());
        }
        let mut grad = if self.maximize { grad.neg()? } else { grad.clone() };
        if self.weight_decay != 0.0 {
            grad = grad.add(&p.mul(self.weight_decay)?)?;
        }
        if self.momentum != 0.0 {
            let buffer = match &state.momentum_buffer {
                Some(buffer) => {
                    buffer.mul_(self.momentum)?;
                    buffer.add_(&grad.mul(1.0 - self.dampening)?)?;
                    buffer
                }
                None => state.momentum_buffer.insert(Buffer::new(&Tensor::copy(&grad)?)),
            };
            grad =
                if self.nesterov { grad.add(&buffer.mul(self.momentum)?)? } else { buffer.tensor().clone() };
        }
        p.sub_(&grad.mul(self.lr)?)
    }
}

impl Sgd {
    /// The update as one pass over the parameter; false, and nothing done, if its tensors do not allow one.
    fn update_fused(&self, p: &Tensor, grad: &Tensor, state: &mut SgdState) -> Result<bool> {
        if !fused::fits(&[p, grad]) {
            return Ok(false);
        }
        let first = state.momentum_buffer.is_none();
        let momentum = match &state.momentum_buffer {
            _ if self.momentum == 0.0 => None,
            Some(buffer) => Some(buffer.tensor().clone()),
            None => Some(p.zeros_like()?),
        };
        if momentum.as_ref().is_some_and(|buffer| !fused::fits(&[p, grad, buffer])) {
            return Ok(false);
        }
        let hyper = sconce_kernels::Sgd {
            lr: self.lr,
            momentum: self.momentum,
            dampening: self.dampening,
            weight_decay: self.weight_decay,
            nesterov: self.nesterov,
            maximize: self.maximize,
            first,
        };
        fused::sgd(Self::NAME, hyper, p, grad, momentum.as_ref())?;
        if let (true, Some(buffer)) = (first, &momentum) {
            state.momentum_buffer = Some(Buffer::new(buffer));
        }
        Ok(true)
    }
}
