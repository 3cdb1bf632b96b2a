//! Plain numbers as operands.

use sconce_kernels::Scalar as Kernel;

use super::{DType, Tensor};
use crate::Result;

/// A Python-like number: an operand whose dtype yields to that of any tensor of its category.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `float`.
    Float(f64),
    /// `int`.
    Int(i64),
    /// `bool`.
    Bool(bool),
}

impl Scalar {
    /// The number as a float.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Float(x) => x,
            Self::Int(i) => i as f64,
            Self::Bool(b) => f64::from(u8::from(b)),
        }
    }

    /// The dtype of a tensor made of this number alone: float32, int64 or bool.
    pub fn dtype(self) -> DType {
        match self {
            Self::Float(_) => DType::F32,
            Self::Int(_) => DType::I64,
            Self::Bool(_) => DType::Bool,
        }
    }

    pub(crate) fn kernel(self) -> Kernel {
        match self {
            Self::Float(x) => Kernel::Float(x),
            Self::Int(i) => Kernel::Int(i),
            Self::Bool(b) => Kernel::Bool(b),
        }
    }
}

macro_rules! from {
    ($($t:ty => $v:ident as $to:ty),*) => {
        $(impl From<$t> for Scalar {
            fn from(x: $t) -> Self {
                Self::$v(x as $to)
            }
        })*
    };
}

from!(f64 => Float as f64, f32 => Float as f64, i64 => Int as i64, i32 => Int as i64, i16 => Int as i64, i8 => Int as i64,
      u8 => Int as i64, u32 => Int as i64, bool => Bool as bool);

/// The second operand of an operation: a tensor or a number.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A number.
    Scalar(Scalar),
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    fn from(t: &'a Tensor) -> Self {
        Self::Tensor(t)
    }
}

impl<S: Into<Scalar>> From<S> for Operand<'_> {
    fn from(s: S) -> Self {
        Self::Scalar(s.into())
    }
}

impl Operand<'_> {
    /// The operand as a tensor; a number becomes one of no dimensions and of dtype `dtype`.
    pub(crate) fn tensor(&self, dtype: DType) -> Result<Tensor> {
        match *self {
            Self::Tensor(t) => Ok(t.clone()),
            Self::Scalar(s) => Tensor::full((), s, dtype),
        }
    }
}
