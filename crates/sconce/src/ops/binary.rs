//! Elementwise operations of two tensors, or of a tensor and a number: a table of formulas.
//!
//! A row of [`binary!`] is like one of [`unary!`](super::unary): `forward` over floats, `int` over integers (without
//! it they become float32, or are refused with `floats: true`), and one derivative per operand, from the gradient and
//! both operands. With `other: tensor` the second operand cannot be a number, as in PyTorch, and with `same_dtype: true`
//! both must have one dtype. With `other: special` the methods are written out below the table.

use std::fmt::Debug;

use sconce_kernels::{Float, Inlined, Rows};
use smallvec::smallvec;

use super::driver::{self, Kind, kind};
use super::real::{Num, Real, Tape};
use crate::autograd::{Grads, Op, Saved, Saves, apply, apply_inplace, is_grad_enabled};
use crate::tensor::dtype::Category;
use crate::tensor::layout::broadcast_beyond;
use crate::tensor::promote::Promotion;
use crate::tensor::scalar::{Operand, Scalar};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// What a row of the table says.
pub(super) trait Formula: Debug + Copy + Send + Sync + 'static {
    const NAME: &'static str;
    const INT: bool;
    /// Whether it takes two bools, as `a + b` and `a * b` do (or, and).
    const BOOL: bool;
    /// Whether an integer 0 is refused as second operand.
    const DIVIDES: bool;
    /// Whether integers and bools are refused.
    const FLOATS: bool;
    /// Whether both tensors must have one dtype.
    const SAME: bool;

    /// What the gradient of each operand reads.
    fn saves(&self, needs: &[bool]) -> Saves;
    fn forward<R: Real>(&self, x: R, y: R) -> R;
    fn int(&self, x: i64, y: i64) -> i64;
    fn grad_x<R: Real>(&self, g: R, x: R, y: R) -> R;
    fn grad_y<R: Real>(&self, g: R, x: R, y: R) -> R;
}

/// A formula's value, as kernels call it.
#[derive(Clone, Copy)]
struct Forward<F>(F);

impl<T: Float, F: Formula> Inlined<T, 2> for Forward<F> {
    #[inline(always)]
    fn call<const FUSED: bool>(&self, [x, y]: [T; 2]) -> T {
        self.0.forward(Num::<T, FUSED>(x), Num(y)).0
    }
}

/// A formula's gradient for the first operand, from that of the output and both operands.
#[derive(Clone, Copy)]
struct First<F>(F);

impl<T: Float, F: Formula> Inlined<T, 3> for First<F> {
    #[inline(always)]
    fn call<const FUSED: bool>(&self, [g, x, y]: [T; 3]) -> T {
        self.0.grad_x(Num::<T, FUSED>(g), Num(x), Num(y)).0
    }
}

/// The same for the second one.
#[derive(Clone, Copy)]
struct Second<F>(F);

impl<T: Float, F: Formula> Inlined<T, 3> for Second<F> {
    #[inline(always)]
    fn call<const FUSED: bool>(&self, [g, x, y]: [T; 3]) -> T {
        self.0.grad_y(Num::<T, FUSED>(g), Num(x), Num(y)).0
    }
}

#[derive(Debug)]
struct Binary<F> {
    formula: F,
    dtype: DType,
}

impl<F: Formula> Binary<F> {
    fn new(formula: F, promoted: DType) -> Result<Self> {
        let dtype = match promoted.category() {
            Category::Float => promoted,
            Category::Bool if F::INT && !F::BOOL => {
                return Err(Error::dtype(format!("{}: not implemented for bool", F::NAME)));
            }
            _ if F::INT => promoted,
            category if F::FLOATS || category == Category::Complex => {
                return Err(Error::dtype(format!("{}: not implemented for {promoted}", F::NAME)));
            }
            _ => DType::F32,
        };
        Ok(Self { formula, dtype })
    }
}

impl<F: Formula> Binary<F> {
    fn check_divisor(dtype: DType, y: &Tensor) -> Result<()> {
        if F::DIVIDES && !dtype.is_floating_point() && y.eq(0)?.any(())?.item()? != 0.0 {
            return Err(Error::argument(format!("{}: division of an integer by 0", F::NAME)));
        }
        Ok(())
    }
}

impl<F: Formula> Op for Binary<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (f, dtype) = (self.formula, self.dtype);
        let (x, y) = (inputs[0], inputs[1]);
        let broadcast = broadcast_beyond(F::NAME, x.shape(), y.shape())?;
        let shape = broadcast.as_deref().unwrap_or(x.shape());
        Self::check_divisor(dtype, y)?;
        match kind(F::NAME, dtype)? {
            Kind::F32 => {
                driver::map_rows::<f32, 2>(F::NAME, shape, dtype, [x, y], Rows::inlined(&Forward(f)))
            }
            Kind::F64 => {
                driver::map_rows::<f64, 2>(F::NAME, shape, dtype, [x, y], Rows::inlined(&Forward(f)))
            }
            Kind::I64 => driver::map::<i64, 2>(F::NAME, shape, dtype, [x, y], move |[x, y]| f.int(x, y)),
        }
    }

    fn cpu_into(&self, inputs: &[&Tensor], out: &Tensor) -> Result<()> {
        let f = self.formula;
        let (x, y) = (inputs[0], inputs[1]);
        if self.dtype.category() > out.dtype().category() {
            return Err(Error::dtype(format!(
                "{}_: the result is {}, which a {} tensor cannot hold",
                F::NAME,
                self.dtype,
                out.dtype()
            )));
        }
        let broadcast = broadcast_beyond(F::NAME, x.shape(), y.shape())?;
        driver::check_writable(F::NAME, out, broadcast.as_deref().unwrap_or(x.shape()))?;
        Self::check_divisor(self.dtype, y)?;
        match kind(F::NAME, self.dtype)? {
            Kind::F32 => driver::map_rows_into::<f32, 2>(F::NAME, out, [x, y], Rows::inlined(&Forward(f))),
            Kind::F64 => driver::map_rows_into::<f64, 2>(F::NAME, out, [x, y], Rows::inlined(&Forward(f))),
            Kind::I64 => driver::map_into::<i64, 2>(F::NAME, out, [x, y], move |[x, y]| f.int(x, y)),
        }
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        self.formula.saves(needs)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let f = self.formula;
        let needs = [saved.needs(0), saved.needs(1)];
        let saves = f.saves(&needs);
        // What the formulas do not read is stood in for by the gradient.
        let x = if saves.names(0) { saved.input(0)? } else { grad.clone() };
        let y = if saves.names(1) { saved.input(1)? } else { grad.clone() };
        if is_grad_enabled() {
            let tape = Tape::default();
            let (g, x, y) = (tape.put(grad), tape.put(&x), tape.put(&y));
            let grad_x = if needs[0] { Some(tape.finish(f.grad_x(g, x, y))?) } else { None };
            let grad_y = if needs[1] { Some(tape.finish(f.grad_y(g, x, y))?) } else { None };
            return Ok(smallvec![grad_x, grad_y]);
        }
        if saves == Saves::NONE {
            return self.linear(grad, needs);
        }
        let inputs = [grad, &x, &y];
        let (shape, dtype) = (grad.shape(), grad.dtype());
        let double = kind(F::NAME, dtype)? == Kind::F64;
        let one = |first: bool| match (first, double) {
            (true, false) => {
                driver::map_rows::<f32, 3>(F::NAME, shape, dtype, inputs, Rows::inlined(&First(f)))
            }
            (true, true) => {
                driver::map_rows::<f64, 3>(F::NAME, shape, dtype, inputs, Rows::inlined(&First(f)))
            }
            (false, false) => {
                driver::map_rows::<f32, 3>(F::NAME, shape, dtype, inputs, Rows::inlined(&Second(f)))
            }
            (false, true) => {
                driver::map_rows::<f64, 3>(F::NAME, shape, dtype, inputs, Rows::inlined(&Second(f)))
            }
        };
        let grad_x = if needs[0] { Some(one(true)?) } else { None };
        let grad_y = if needs[1] { Some(one(false)?) } else { None };
        Ok(smallvec![grad_x, grad_y])
    }
}

impl<F: Formula> Binary<F> {
    /// The gradients of a formula that reads neither operand: those of `+` and `-` are the gradient itself or a
    /// multiple, so nothing is computed where it passes through unchanged.
    fn linear(&self, grad: &Tensor, needs: [bool; 2]) -> Result<Grads> {
        let f = self.formula;
        let scale = |factor: f64| if factor == 1.0 { Ok(grad.clone()) } else { grad.mul(factor) };
        let factor_x = f.grad_x(Num::<_, false>(1.0f64), Num(0.0), Num(0.0)).0;
        let factor_y = f.grad_y(Num::<_, false>(1.0f64), Num(0.0), Num(0.0)).0;
        let grad_x = if needs[0] { Some(scale(factor_x)?) } else { None };
        let grad_y = if needs[1] { Some(scale(factor_y)?) } else { None };
        Ok(smallvec![grad_x, grad_y])
    }
}

/// The dtype in which a number enters a computation: its value is not rounded to a half type first, but it wraps to
/// integers.
pub(super) fn number_dtype(computed: DType) -> DType {
    match computed {
        DType::F16 | DType::BF16 => DType::F32,
        DType::Bool => DType::I64,
        // The operation refuses it, by its own name.
        dtype if dtype.elem().is_none() => DType::F32,
        dtype => dtype,
    }
}

/// Refuses two dtypes where the formula takes one.
fn check_dtypes<F: Formula>(x: &Tensor, other: &Operand<'_>) -> Result<()> {
    match other {
        Operand::Tensor(y) if F::SAME && x.dtype() != y.dtype() => {
            Err(Error::dtype(format!("{}: dtypes differ: {} and {}", F::NAME, x.dtype(), y.dtype())))
        }
        _ => Ok(()),
    }
}

pub(super) fn run<F: Formula>(formula: F, x: &Tensor, other: Operand<'_>) -> Result<Tensor> {
    check_dtypes::<F>(x, &other)?;
    let op = Binary::new(formula, Promotion::of(x, &other))?;
    match other {
        Operand::Tensor(y) => apply(op, &[x, y]),
        number => {
            let y = number.tensor(number_dtype(op.dtype))?;
            apply(op, &[x, &y])
        }
    }
}

pub(super) fn run_reversed<F: Formula>(formula: F, number: Scalar, y: &Tensor) -> Result<Tensor> {
    let op = Binary::new(formula, Promotion::new().tensor(y).operand(&Operand::Scalar(number)).dtype())?;
    let x = Operand::Scalar(number).tensor(number_dtype(op.dtype))?;
    apply(op, &[&x, y])
}

pub(super) fn run_inplace<F: Formula>(formula: F, x: &Tensor, other: Operand<'_>) -> Result<()> {
    check_dtypes::<F>(x, &other)?;
    let op = Binary::new(formula, Promotion::of(x, &other))?;
    match other {
        Operand::Tensor(y) => apply_inplace(op, x, &[y]),
        number => {
            let y = number.tensor(number_dtype(op.dtype))?;
            apply_inplace(op, x, &[&y])
        }
    }
}

macro_rules! binary {
    (static $table:ident; $(
        $(#[$doc:meta])*
        $name:ident $op:ident, $inplace:ident {
            $(other: $other:ident,)?
            $(floats: $floats:literal,)?
            $(same_dtype: $same:literal,)?
            forward: |$x:ident, $y:ident| $forward:expr,
            $(int: |$i:ident, $j:ident| $int:expr,)?
            bool: $bool:literal,
            $(divides: $divides:literal,)?
            grad_x: |$gx:ident, $xx:ident, $yx:ident| $grad_x:expr, $reads_x:expr,
            grad_y: |$gy:ident, $xy:ident, $yy:ident| $grad_y:expr, $reads_y:expr,
            domain: ($low:expr, $high:expr),
        }
    )*) => {
        $(
            #[derive(Clone, Copy, Debug)]
            struct $op;

            #[allow(unused_variables, reason = "a formula reads what it needs")]
            impl $crate::ops::binary::Formula for $op {
                const NAME: &'static str = stringify!($name);
                const INT: bool = $crate::ops::binary::binary!(@has $($i)?);
                const BOOL: bool = $bool;
                const DIVIDES: bool = false $(|| $divides)?;
                const FLOATS: bool = false $(|| $floats)?;
                const SAME: bool = false $(|| $same)?;

                fn saves(&self, needs: &[bool]) -> $crate::autograd::Saves {
                    let (x, y) = ($crate::autograd::Saves::input(0), $crate::autograd::Saves::input(1));
                    ($reads_x)(x, y).when(needs[0]).and(($reads_y)(x, y).when(needs[1]))
                }

                #[inline(always)]
                fn forward<R: $crate::ops::real::Real>(&self, $x: R, $y: R) -> R {
                    $forward
                }

                #[inline(always)]
                fn int(&self, x: i64, y: i64) -> i64 {
                    $crate::ops::binary::binary!(@int x y $(, |$i, $j| $int)?)
                }

                #[inline(always)]
                fn grad_x<R: $crate::ops::real::Real>(&self, $gx: R, $xx: R, $yx: R) -> R {
                    $grad_x
                }

                #[inline(always)]
                fn grad_y<R: $crate::ops::real::Real>(&self, $gy: R, $xy: R, $yy: R) -> R {
                    $grad_y
                }
            }

            $crate::ops::binary::binary!(@methods ($($other)?) [$(#[$doc])*] $name $op $inplace);
        )*

        /// The rows of the table, for the generic tests.
        pub(crate) static $table: &[$crate::ops::registry::OpInfo] = &[$(
            $crate::ops::registry::OpInfo {
                name: stringify!($name),
                samples: || $crate::ops::binary::binary!(@samples ($($other)?) $name $inplace $low, $high),
            },
        )*];
    };
    (@samples () $name:ident $inplace:ident $low:expr, $high:expr) => {
        vec![
            $crate::ops::registry::Sample::binary(($low, $high), |x, y| x.$name(y), |x, y| x.$inplace(y)),
            $crate::ops::registry::Sample::unary(($low, $high), |x| x.$name(1.5), |x| x.$inplace(1.5)),
        ]
    };
    (@samples (special) $($row:tt)*) => {
        $crate::ops::binary::binary!(@samples () $($row)*)
    };
    (@samples (tensor) $name:ident $inplace:ident $low:expr, $high:expr) => {
        vec![$crate::ops::registry::Sample::binary(($low, $high), |x, y| x.$name(y), |x, y| x.$inplace(y))]
    };
    (@methods () [$(#[$doc:meta])*] $name:ident $op:ident $inplace:ident) => {
        impl $crate::Tensor {
            $(#[$doc])*
            ///
            /// The operands broadcast and promote as in PyTorch.
            ///
            /// # Errors
            ///
            /// If the shapes do not broadcast, or the dtypes are not supported.
            pub fn $name<'a>(&self, other: impl Into<$crate::Operand<'a>>) -> $crate::Result<$crate::Tensor> {
                $crate::ops::binary::run($op, self, other.into())
            }

            #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") in place.")]
            ///
            /// # Errors
            ///
            /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be
            /// changed while recording.
            pub fn $inplace<'a>(&self, other: impl Into<$crate::Operand<'a>>) -> $crate::Result<()> {
                $crate::ops::binary::run_inplace($op, self, other.into())
            }
        }
    };
    (@methods (tensor) [$(#[$doc:meta])*] $name:ident $op:ident $inplace:ident) => {
        impl $crate::Tensor {
            $(#[$doc])*
            ///
            /// The operands broadcast and promote as in PyTorch.
            ///
            /// # Errors
            ///
            /// If the shapes do not broadcast, or the dtypes are not supported.
            pub fn $name(&self, other: &$crate::Tensor) -> $crate::Result<$crate::Tensor> {
                $crate::ops::binary::run($op, self, other.into())
            }

            #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") in place.")]
            ///
            /// # Errors
            ///
            /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be
            /// changed while recording.
            pub fn $inplace(&self, other: &$crate::Tensor) -> $crate::Result<()> {
                $crate::ops::binary::run_inplace($op, self, other.into())
            }
        }
    };
    (@methods (special) $($row:tt)*) => {};
    (@has) => { false };
    (@has $i:ident) => { true };
    (@int $x:ident $y:ident) => { $x };
    (@int $x:ident $y:ident, |$i:ident, $j:ident| $int:expr) => {{ let ($i, $j) = ($x, $y); $int }};
}

pub(super) use binary;

/// What a derivative reads, by name.
pub(super) const NEITHER: fn(Saves, Saves) -> Saves = |_, _| Saves::NONE;
pub(super) const X: fn(Saves, Saves) -> Saves = |x, _| x;
pub(super) const Y: fn(Saves, Saves) -> Saves = |_, y| y;
pub(super) const BOTH: fn(Saves, Saves) -> Saves = |x, y| x.and(y);

binary! {
    static BINARY;

    /// The sum.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0], [2, 1])?;
    /// let y = Tensor::from_vec(vec![10.0f32, 20.0], [2])?;
    /// assert_eq!(x.add(&y)?.to_vec::<f32>()?, [11.0, 21.0, 12.0, 22.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    add Add, add_ {
        forward: |x, y| x + y,
        int: |x, y| x.wrapping_add(y),
        bool: true,
        grad_x: |g, x, y| g, NEITHER,
        grad_y: |g, x, y| g, NEITHER,
        domain: (-3.0, 3.0),
    }

    /// The difference.
    sub Sub, sub_ {
        forward: |x, y| x - y,
        int: |x, y| x.wrapping_sub(y),
        bool: false,
        grad_x: |g, x, y| g, NEITHER,
        grad_y: |g, x, y| -g, NEITHER,
        domain: (-3.0, 3.0),
    }

    /// The product.
    mul Mul, mul_ {
        forward: |x, y| x * y,
        int: |x, y| x.wrapping_mul(y),
        bool: true,
        grad_x: |g, x, y| g * y, Y,
        grad_y: |g, x, y| g * x, X,
        domain: (-3.0, 3.0),
    }

    /// The quotient; integers are divided as floats.
    div Div, div_ {
        forward: |x, y| x / y,
        bool: false,
        grad_x: |g, x, y| g / y, Y,
        grad_y: |g, x, y| -g * ((x / y) / y), BOTH,
        domain: (0.5, 3.0),
    }

    /// The greater of both, NaN if either is; a tie shares the gradient.
    maximum Maximum, maximum_ {
        forward: |x, y| R::select(x.gt(y), x, R::select(y.ge(x), y, x + y)),
        int: |x, y| x.max(y),
        bool: true,
        grad_x: |g, x, y| R::select(x.equal(y), g * 0.5, g).unless(y.gt(x)), BOTH,
        grad_y: |g, x, y| R::select(x.equal(y), g * 0.5, g).unless(x.gt(y)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// The smaller of both, NaN if either is; a tie shares the gradient.
    minimum Minimum, minimum_ {
        forward: |x, y| R::select(y.gt(x), x, R::select(x.ge(y), y, x + y)),
        int: |x, y| x.min(y),
        bool: true,
        grad_x: |g, x, y| R::select(x.equal(y), g * 0.5, g).unless(x.gt(y)), BOTH,
        grad_y: |g, x, y| R::select(x.equal(y), g * 0.5, g).unless(y.gt(x)), BOTH,
        domain: (-3.0, 3.0),
    }
}

impl Tensor {
    /// `number - self`; PyTorch's `rsub`.
    ///
    /// # Errors
    ///
    /// As [`sub`](Self::sub).
    pub fn rsub(&self, number: impl Into<Scalar>) -> Result<Tensor> {
        run_reversed(Sub, number.into(), self)
    }

    /// `number / self`.
    ///
    /// # Errors
    ///
    /// As [`div`](Self::div).
    pub fn rdiv(&self, number: impl Into<Scalar>) -> Result<Tensor> {
        run_reversed(Div, number.into(), self)
    }
}
