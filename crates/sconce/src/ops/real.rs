//! Numbers that formulas are written over: plain floats, or tensors when a derivative is itself recorded.
//!
//! A formula generic over [`Real`] is written once and used twice. Over [`Num`] it is inlined into a kernel and runs as
//! one fused pass; over [`Expr`] it is a chain of recorded tensor operations, which can be differentiated again.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use sconce_kernels::Float;

use super::special::{Special, Special2};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Arithmetic that formulas may use. Comparisons give masks for [`select`](Real::select): no branches on values.
pub(crate) trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
{
    type Mask: Copy;

    /// A constant.
    fn constant(self, value: f64) -> Self;
    fn exp(self) -> Self;
    fn expm1(self) -> Self;
    fn ln(self) -> Self;
    fn log1p(self) -> Self;
    fn log2(self) -> Self;
    fn log10(self) -> Self;
    fn exp2(self) -> Self;
    /// A formula that calls this, `cos` or `tan` is `periodic`.
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn erfc(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    /// −1, 0 or 1; 0 for NaN.
    fn sign(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn round(self) -> Self;
    fn sigmoid(self) -> Self;
    fn pow(self, exponent: Self) -> Self;
    /// A function that is computed in double precision.
    fn special(self, f: Special) -> Self;
    fn special2(self, other: Self, f: Special2) -> Self;
    fn gt(self, other: Self) -> Self::Mask;
    fn ge(self, other: Self) -> Self::Mask;
    fn equal(self, other: Self) -> Self::Mask;
    /// `yes` where the mask holds, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// 1 / self.
    fn recip(self) -> Self {
        self.constant(1.0) / self
    }

    /// 0 where the mask holds, this elsewhere.
    fn unless(self, mask: Self::Mask) -> Self {
        Self::select(mask, self.constant(0.0), self)
    }

    /// `value` where this lies outside [−`bound`, `bound`], 0 within; NaN is outside.
    fn unless_within(self, bound: f64, value: Self) -> Self {
        value.unless_both(self.ge(self.constant(-bound)), self.constant(bound).ge(self))
    }

    /// 0 where both masks hold, this elsewhere.
    fn unless_both(self, first: Self::Mask, second: Self::Mask) -> Self {
        let zero = self.constant(0.0);
        Self::select(first, Self::select(second, zero, self), self)
    }

    /// This where the mask holds, 0 elsewhere.
    fn masked(self, mask: Self::Mask) -> Self {
        Self::select(mask, self, self.constant(0.0))
    }
}

/// A plain float. `FUSED` says that the machine adds a product in one instruction; sines, cosines and tangents are then NaN
/// of arguments that are too large for the fast ones, and their elements are computed again without.
#[derive(Clone, Copy)]
pub(crate) struct Num<T, const FUSED: bool>(pub(crate) T);

macro_rules! num_binary {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl<T: Float, const FUSED: bool> $trait for Num<T, FUSED> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Num(self.0 $op other.0)
            }
        }
        impl<T: Float, const FUSED: bool> $trait<f64> for Num<T, FUSED> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self {
                Num(self.0 $op T::from_f64(other))
            }
        }
    )*};
}

num_binary!(Add add +, Sub sub -, Mul mul *, Div div /);

impl<T: Float, const FUSED: bool> Neg for Num<T, FUSED> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Num(-self.0)
    }
}

macro_rules! num_unary {
    ($($f:ident),*; $($fused:ident),*; $($periodic:ident $near:ident),*) => {
        $(
            #[inline(always)]
            fn $f(self) -> Self {
                Num(self.0.$f())
            }
        )*
        $(
            #[inline(always)]
            fn $fused(self) -> Self {
                Num(self.0.$fused(FUSED))
            }
        )*
        $(
            #[inline(always)]
            fn $periodic(self) -> Self {
                Num(if FUSED { self.0.$near() } else { self.0.$periodic() })
            }
        )*
    };
}

impl<T: Float, const FUSED: bool> Real for Num<T, FUSED> {
    type Mask = bool;

    #[inline(always)]
    fn constant(self, value: f64) -> Self {
        Num(T::from_f64(value))
    }

    num_unary!(
        erfc, sqrt, abs, floor, ceil, trunc;
        exp, exp2, expm1, log1p, log2, log10, tanh, erf, sigmoid;
        sin sin_near, cos cos_near, tan tan_near
    );

    #[inline(always)]
    fn ln(self) -> Self {
        Num(self.0.log(FUSED))
    }

    #[inline(always)]
    fn round(self) -> Self {
        Num(self.0.round_even())
    }

    #[inline(always)]
    fn special(self, f: Special) -> Self {
        Num(T::from_f64(f.compute(self.0.to_f64(), |x| T::from_f64(x).to_f64())))
    }

    #[inline(always)]
    fn special2(self, other: Self, f: Special2) -> Self {
        Num(T::from_f64(f.compute(self.0.to_f64(), other.0.to_f64())))
    }

    #[inline(always)]
    fn sign(self) -> Self {
        let one = |holds: bool| if holds { T::from_f64(1.0) } else { T::from_f64(0.0) };
        Num(one(self.0 > T::from_f64(0.0)) - one(self.0 < T::from_f64(0.0)))
    }

    #[inline(always)]
    fn pow(self, exponent: Self) -> Self {
        Num(self.0.pow(exponent.0, FUSED))
    }

    #[inline(always)]
    fn gt(self, other: Self) -> bool {
        self.0 > other.0
    }

    #[inline(always)]
    fn ge(self, other: Self) -> bool {
        self.0 >= other.0
    }

    #[inline(always)]
    fn equal(self, other: Self) -> bool {
        self.0 == other.0
    }

    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }
}

/// The tensors of a formula under evaluation. The first error stays; what follows it is skipped.
#[derive(Default)]
pub(crate) struct Tape {
    state: RefCell<(Vec<Tensor>, Option<Error>)>,
}

/// A tensor on a tape.
#[derive(Clone, Copy)]
pub(crate) struct Expr<'t> {
    tape: &'t Tape,
    index: usize,
}

impl Tape {
    /// Puts a tensor on the tape.
    pub(crate) fn put(&self, tensor: &Tensor) -> Expr<'_> {
        self.push(Ok(tensor.clone()), tensor)
    }

    /// Takes the value of a formula off the tape.
    pub(crate) fn finish(&self, expr: Expr<'_>) -> Result<Tensor> {
        let mut state = self.state.borrow_mut();
        match state.1.take() {
            Some(error) => Err(error),
            None => Ok(state.0[expr.index].clone()),
        }
    }

    fn push(&self, result: Result<Tensor>, otherwise: &Tensor) -> Expr<'_> {
        let mut state = self.state.borrow_mut();
        let tensor = match result {
            Ok(tensor) => tensor,
            Err(error) => {
                state.1.get_or_insert(error);
                otherwise.clone()
            }
        };
        state.0.push(tensor);
        Expr { tape: self, index: state.0.len() - 1 }
    }
}

impl<'t> Expr<'t> {
    fn tensor(self) -> Tensor {
        self.tape.state.borrow().0[self.index].clone()
    }

    fn map(self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Self {
        let x = self.tensor();
        self.tape.push(f(&x), &x)
    }

    fn zip(self, other: Self, f: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>) -> Self {
        let (x, y) = (self.tensor(), other.tensor());
        self.tape.push(f(&x, &y), &x)
    }
}

macro_rules! expr_binary {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait for Expr<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.zip(other, |x, y| x.$method(y))
            }
        }
        impl $trait<f64> for Expr<'_> {
            type Output = Self;
            fn $method(self, other: f64) -> Self {
                self.map(|x| x.$method(other))
            }
        }
    )*};
}

expr_binary!(Add add, Sub sub, Mul mul, Div div);

impl Neg for Expr<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.map(Tensor::neg)
    }
}

macro_rules! expr_unary {
    ($($f:ident $method:ident),*) => {$(
        fn $f(self) -> Self {
            self.map(Tensor::$method)
        }
    )*};
}

impl<'t> Real for Expr<'t> {
    type Mask = Expr<'t>;

    fn constant(self, value: f64) -> Self {
        self.map(|x| Tensor::number(value.into(), x.dtype()))
    }

    expr_unary!(
        exp exp, exp2 exp2, expm1 expm1, ln log, log1p log1p, log2 log2, log10 log10, sin sin, cos cos, tan tan, tanh tanh, erf erf, erfc erfc, sqrt sqrt, abs abs, sign sign, floor floor, ceil ceil, trunc trunc, round round, sigmoid sigmoid
    );

    fn pow(self, exponent: Self) -> Self {
        self.zip(exponent, |x, y| x.pow(y))
    }

    fn special(self, f: Special) -> Self {
        self.map(|x| f.tensor(x))
    }

    fn special2(self, other: Self, f: Special2) -> Self {
        self.zip(other, |x, y| f.tensor(x, y))
    }

    fn gt(self, other: Self) -> Self {
        self.zip(other, |x, y| x.gt(y))
    }

    fn ge(self, other: Self) -> Self {
        self.zip(other, |x, y| x.ge(y))
    }

    fn equal(self, other: Self) -> Self {
        self.zip(other, |x, y| x.eq(y))
    }

    fn select(mask: Self, yes: Self, no: Self) -> Self {
        let (mask, yes, no) = (mask.tensor(), yes, no);
        yes.zip(no, |yes, no| yes.where_(&mask, no))
    }
}
