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

    /// The value as a count.
    ///
    /// # Errors
    ///
    /// If it is no integer from 0 to 2³² − 1.
    pub fn count(&self) -> Result<u32> {
        match self {
            Self::Int(i) => {
                u32::try_from(*i).map_err(|_| Error::load(format!("expected a count, found {i}")))
            }
            other => Err(Error::load(format!("expected a count, found {other:?}"))),
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

/// What kinds of fields a rule's options may be: how each is written, and how it is read.
macro_rules! option_kinds {
    ($($type:ty: $write:expr, $read:expr;)+) => {
        $(impl From<$type> for Value {
            fn from(x: $type) -> Self {
                let write: fn($type) -> Self = $write;
                write(x)
            }
        }

        impl TryFrom<&Value> for $type {
            type Error = Error;

            fn try_from(value: &Value) -> Result<Self> {
                let read: fn(&Value) -> Result<Self> = $read;
                read(value)
            }
        })+
    };
}

option_kinds! {
    f64: Value::Float, Value::number;
    bool: Value::Bool, Value::flag;
    u32: |n| Value::Int(n.into()), Value::count;
    (f64, f64): |(a, b)| Value::Tuple(vec![a.into(), b.into()]), Value::pair;
    (f64, f64, f64): |(a, b, c)| Value::Tuple(vec![a.into(), b.into(), c.into()]), |value| match value {
        Value::Tuple(items) if items.len() == 3 => {
            Ok((items[0].number()?, items[1].number()?, items[2].number()?))
        }
        other => Err(Error::load(format!("expected three numbers, found {other:?}"))),
    };
    (Option<f64>, f64): |(a, b)| Value::Tuple(vec![a.map_or(Value::None, Value::Float), b.into()]), |value| match value {
        Value::Tuple(items) if items.len() == 2 && items[0] == Value::None => Ok((None, items[1].number()?)),
        other => other.pair().map(|(a, b)| (Some(a), b)),
    };
}

/// A state's tensors, copied: a state that is kept must not go on with the training.
pub(super) fn copied(state: StateDict) -> Result<StateDict> {
    state.into_iter().map(|(name, tensor)| Ok((name, Tensor::copy(&tensor)?))).collect()
}
