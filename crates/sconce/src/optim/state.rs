//! What an optimiser remembers, as PyTorch writes it.

use crate::nn::StateDict;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// The state of an optimiser, in the structure of PyTorch's `optimizer.state_dict()`.
#[derive(Clone, Debug, Default)]
pub struct OptimizerState {
    /// Per parameter, by its number: its buffers by name. Parameters that were never updated are not there.
    pub state: Vec<(usize, StateDict)>,
    /// The groups.
    pub param_groups: Vec<GroupState>,
}

/// The options of a group and the numbers of its parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupState {
    /// The options by name, without `params`.
    pub options: Vec<(String, Value)>,
    /// The numbers of the parameters, counted over all groups.
    pub params: Vec<usize>,
}

impl GroupState {
    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// A tuple or a list.
    Tuple(Vec<Value>),
}

impl Value {
    /// The value as a number.
    ///
    /// # Errors
    ///
    /// If it is none.
    ///
    /// ```
    /// use sconce::optim::Value;
    /// assert_eq!(Value::Int(3).number()?, 3.0);
    /// assert!(Value::None.number().is_err());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn number(&self) -> Result<f64> {
        match self {
            Self::Int(i) => Ok(*i as f64),
            Self::Float(x) => Ok(*x),
            other => Err(Error::load(format!("expected a number, found {other:?}"))),
        }
    }

    /// The value as a flag.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn flag(&self) -> Result<bool> {
        match self {
            Self::Bool(b) => Ok(*b),
            other => Err(Error::load(format!("expected true or false, found {other:?}"))),
        }
    }

    /// The value as a pair of numbers.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn pair(&self) -> Result<(f64, f64)> {
        match self {
            Self::Tuple(items) if items.len() == 2 => Ok((items[0].number()?, items[1].number()?)),
            other => Err(Error::load(format!("expected two numbers, found {other:?}"))),
        }
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<(f64, f64)> for Value {
    fn from((a, b): (f64, f64)) -> Self {
        Self::Tuple(vec![a.into(), b.into()])
    }
}

/// A state's tensors, copied: a state that is kept must not go on with the training.
pub(super) fn copied(state: StateDict) -> Result<StateDict> {
    state.into_iter().map(|(name, tensor)| Ok((name, Tensor::copy(&tensor)?))).collect()
}
