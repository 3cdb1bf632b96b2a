//! How one parameter is updated.

use std::fmt::Debug;

use super::state::Value;
use crate::nn::{Module, ModuleExt, StateDict, Strictness};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// How one parameter is updated: the options of a group, and the arithmetic.
///
/// An optimiser of one's own is a struct of options, a `#[derive(Module)]` struct of buffers, and this:
///
/// ```
/// use sconce::nn::{Buffer, Linear, ModuleExt};
/// use sconce::optim::{Optimizer, Rule, Value};
/// use sconce::prelude::*;
/// use sconce::Result;
///
/// /// Steps by the sign of the gradient.
/// #[derive(Clone, Debug)]
/// struct SignSgd {
///     lr: f64,
/// }
///
/// #[derive(Module)]
/// struct NoState;
///
/// impl Rule for SignSgd {
///     type State = NoState;
///     const NAME: &'static str = "SignSgd";
///
///     fn lr(&self) -> f64 {
///         self.lr
///     }
///
///     fn set_lr(&mut self, lr: f64) {
///         self.lr = lr;
///     }
///
///     fn options(&self) -> Vec<(&'static str, Value)> {
///         vec![("lr", self.lr.into())]
///     }
///
///     fn set_option(&mut self, name: &str, value: &Value) -> Result<bool> {
///         if name == "lr" {
///             self.lr = value.number()?;
///         }
///         Ok(name == "lr")
///     }
///
///     fn init(&self, _: &Tensor) -> Result<NoState> {
///         Ok(NoState)
///     }
///
///     fn update(&self, p: &Tensor, grad: &Tensor, _: &mut NoState) -> Result<()> {
///         p.sub_(&grad.sign()?.mul(self.lr)?)
///     }
/// }
///
/// let layer = Linear::new(2, 1)?;
/// let before = layer.weight.to_vec::<f32>()?;
/// layer.weight.set_grad(Some(layer.weight.ones_like()?))?;
/// Optimizer::new(&layer, SignSgd { lr: 0.5 })?.step()?;
/// assert_eq!(layer.weight.to_vec::<f32>()?[0], before[0] - 0.5);
/// # Ok::<(), sconce::Error>(())
/// ```
pub trait Rule: Clone + Debug + Send + Sync {
    /// What is kept per parameter from step to step; its buffers are what a checkpoint holds.
    type State: Module;

    /// The name, for messages.
    const NAME: &'static str;

    /// Options that PyTorch writes and that mean nothing here, written as they stand.
    const FOREIGN: &'static [(&'static str, Value)] = &[];

    /// Whether the state of a parameter is made with the optimiser rather than at the first update.
    const EAGER: bool = false;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate.
    fn set_lr(&mut self, lr: f64);

    /// The options under PyTorch's names.
    fn options(&self) -> Vec<(&'static str, Value)>;

    /// Sets an option by PyTorch's name; whether there is one of that name.
    ///
    /// # Errors
    ///
    /// If the value is of the wrong kind.
    fn set_option(&mut self, name: &str, value: &Value) -> Result<bool>;

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// If one is outside its range.
    fn validate(&self) -> Result<()> {
        non_negative(Self::NAME, "lr", self.lr())
    }

    /// Checks that the rule is meant for a parameter.
    ///
    /// # Errors
    ///
    /// If it is not.
    fn accepts(&self, _p: &Tensor) -> Result<()> {
        Ok(())
    }

    /// The state of a parameter before its first update.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    fn init(&self, p: &Tensor) -> Result<Self::State>;

    /// The state of a parameter from a checkpoint.
    ///
    /// # Errors
    ///
    /// If the tensors are not those of a state.
    fn restore(&self, p: &Tensor, saved: &StateDict) -> Result<Self::State> {
        let state = self.init(p)?;
        if !(saved.is_empty() && state.state_dict().is_empty()) {
            state.load_state_dict(saved, Strictness::Strict)?;
        }
        Ok(state)
    }

    /// Updates a parameter with its gradient. Nothing is recorded meanwhile.
    ///
    /// # Errors
    ///
    /// If an operation fails.
    fn update(&self, p: &Tensor, grad: &Tensor, state: &mut Self::State) -> Result<()>;
}

pub(super) fn non_negative(rule: &str, option: &str, value: f64) -> Result<()> {
    if value >= 0.0 { Ok(()) } else { Err(invalid(rule, option, value, "at least 0")) }
}

pub(super) fn invalid(rule: &str, option: &str, found: impl Debug, expected: &str) -> Error {
    Error::argument(format!("{rule}: {option} must be {expected}, found {found:?}"))
}
