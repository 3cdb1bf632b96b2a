//! Plain numbers as operands.

use sconce_kernels::Scalar as Kernel;

use super::dtype::Category;
use super::{DType, Tensor};
use crate::{Error, Result};

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

    /// Refuses a number that a dtype cannot hold, where it is to become an element: PyTorch's `overflows`.
    ///
    /// A negative integer fits an unsigned dtype if its magnitude does; everything fits bool.
    pub(crate) fn check_fits(self, op: &str, dtype: DType) -> Result<()> {
        let (low, high) = match dtype {
            DType::U8 => (0, i64::from(u8::MAX)),
            DType::I8 => (i8::MIN.into(), i8::MAX.into()),
            DType::I16 => (i16::MIN.into(), i16::MAX.into()),
            DType::I32 => (i32::MIN.into(), i32::MAX.into()),
            DType::I64 => (i64::MIN, i64::MAX),
            _ => (0, 0),
        };
        let greatest = match dtype {
            DType::F32 => f64::from(f32::MAX),
            DType::F16 => 65504.0,
            DType::BF16 => half::bf16::MAX.to_f64(),
            _ => f64::MAX,
        };
        let fits = match (dtype.category(), self) {
            (Category::Integer, Self::Int(i)) => {
                let unsigned = low == 0 && high > 0;
                i <= high && (if unsigned { i.checked_neg().is_some_and(|n| n <= high) } else { i >= low })
            }
            // Beyond 2⁵³ the bound is rounded up: 2⁶³ itself does not fit.
            (Category::Integer, Self::Float(x)) if dtype == DType::I64 => x >= low as f64 && x < high as f64,
            (Category::Integer, Self::Float(x)) if high > 0 => x >= low as f64 && x <= high as f64,
            (Category::Float, Self::Float(x)) => !x.is_finite() || x.abs() <= greatest,
            (Category::Float, Self::Int(i)) => (i as f64).abs() <= greatest,
            _ => true,
        };
        if fits { Ok(()) } else { Err(Error::argument(format!("{op}: {self:?} does not fit {dtype}"))) }
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
    /// The operand as a tensor to be written into one of dtype `dtype`: a number that it cannot hold is refused.
    pub(crate) fn element(&self, op: &str, dtype: DType) -> Result<Tensor> {
        if let Self::Scalar(s) = self {
            s.check_fits(op, dtype)?;
        }
        self.tensor(dtype)
    }

    /// The operand as a tensor; a number becomes one of no dimensions and of dtype `dtype`.
    pub(crate) fn tensor(&self, dtype: DType) -> Result<Tensor> {
        match *self {
            Self::Tensor(t) => Ok(t.clone()),
            Self::Scalar(s) => Tensor::number(s, dtype),
        }
    }
}
