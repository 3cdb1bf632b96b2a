//! Elementwise operations of one tensor: a table of formulas.
//!
//! A row of [`unary!`] gives the method, its in-place form, the operation, the kernels of every dtype, the derivative
//! (fused, and differentiable again) and the entry for the generic tests:
//!
//! ```text
//! /// Exponential.
//! exp Exp, exp_ (…parameters…) {
//!     forward: |x| x.exp(),                 over floats; generic, see `real.rs`
//!     int: |x: i64| …,                      optional; without it integers become float32, as in PyTorch
//!     backward: |g, x, y| g * y,            gradient of the input, from that of the output, input and output
//!     saves: OUTPUT,                        what `backward` reads
//!     ints: Refuse,                         optional; what becomes of integers otherwise, and of bools
//!     bools: Same,
//!     periodic: true,                       optional; that sines, cosines or tangents are in it
//!     requires: p > 0.0, "p must be …",     optional; what the parameters must fulfil
//!     domain: (-3.0, 3.0),                  where the generic tests draw inputs
//! }
//! ```

use std::fmt::Debug;

use sconce_kernels::{Float, Inlined, Rows};
use smallvec::smallvec;

use super::driver::{self, Kind, kind};
use super::real::{Num, Real, Tape};
use super::special::Special;
use crate::autograd::{Grads, Op, Saved, Saves, is_grad_enabled};
use crate::tensor::dtype::Category;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// What a formula makes of a dtype that is not floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discrete {
    /// It is computed in float32.
    Float32,
    /// The integer formula keeps it.
    Same,
    /// The integer formula is computed in int64.
    Int64,
    /// It is refused.
    Refuse,
}

/// What a row of the table says.
pub(super) trait Formula: Debug + Copy + Send + Sync + 'static {
    const NAME: &'static str;
    const SAVES: Saves;
    const INTS: Discrete;
    const BOOLS: Discrete;
    /// Whether sines, cosines or tangents are in it.
    const PERIODIC: bool = false;

    /// Refuses parameters that the formula is not made for.
    fn check(&self) -> Result<()>;
    fn forward<R: Real>(&self, x: R) -> R;
    fn int(&self, x: i64) -> i64;
    fn backward<R: Real>(&self, g: R, x: R, y: R) -> R;
}

/// A formula's value, as kernels call it.
#[derive(Clone, Copy)]
struct Forward<F>(F);

impl<T: Float, F: Formula> Inlined<T, 1> for Forward<F> {
    const PERIODIC: bool = F::PERIODIC;

    #[inline(always)]
    fn call<const FUSED: bool>(&self, [x]: [T; 1]) -> T {
        self.0.forward(Num::<T, FUSED>(x)).0
    }
}

/// A formula's gradient, from that of the output, input and output.
#[derive(Clone, Copy)]
struct Backward<F>(F);

impl<T: Float, F: Formula> Inlined<T, 3> for Backward<F> {
    const PERIODIC: bool = F::PERIODIC;

    #[inline(always)]
    fn call<const FUSED: bool>(&self, [g, x, y]: [T; 3]) -> T {
        self.0.backward(Num::<T, FUSED>(g), Num(x), Num(y)).0
    }
}

#[derive(Debug)]
pub(super) struct Unary<F>(pub(super) F);

impl<F: Formula> Unary<F> {
    /// Whether the derivative is more than a choice between constants.
    fn varies(&self) -> Result<bool> {
        let x = Tensor::ones((), DType::F64)?.requires_grad_(true)?;
        let tape = Tape::default();
        let gradient = self.0.backward(tape.put(&x.detach()), tape.put(&x), tape.put(&x));
        Ok(tape.finish(gradient)?.requires_grad())
    }

    /// The dtype of the result.
    fn dtype(op: &str, x: &Tensor) -> Result<DType> {
        let rule = match x.dtype().category() {
            Category::Float => return Ok(x.dtype()),
            Category::Integer => F::INTS,
            Category::Bool => F::BOOLS,
            Category::Complex => Discrete::Refuse,
        };
        match rule {
            Discrete::Float32 => Ok(DType::F32),
            Discrete::Same => Ok(x.dtype()),
            Discrete::Int64 => Ok(DType::I64),
            Discrete::Refuse => Err(Error::dtype(format!("{op}: not implemented for {}", x.dtype()))),
        }
    }
}

impl<F: Formula> Op for Unary<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let (f, x) = (self.0, inputs[0]);
        let dtype = Self::dtype(F::NAME, x)?;
        match kind(F::NAME, dtype)? {
            Kind::F32 => {
                driver::map_rows::<f32, 1>(F::NAME, x.shape(), dtype, [x], Rows::inlined(&Forward(f)))
            }
            Kind::F64 => {
                driver::map_rows::<f64, 1>(F::NAME, x.shape(), dtype, [x], Rows::inlined(&Forward(f)))
            }
            Kind::I64 => driver::map::<i64, 1>(F::NAME, x.shape(), dtype, [x], move |[x]| f.int(x)),
        }
    }

    fn cpu_into(&self, inputs: &[&Tensor], out: &Tensor) -> Result<()> {
        let (f, x) = (self.0, inputs[0]);
        let dtype = Self::dtype(F::NAME, x)?;
        if dtype != out.dtype() {
            return Err(Error::dtype(format!(
                "{}_: the result is {dtype}, which a {} tensor cannot hold",
                F::NAME,
                out.dtype()
            )));
        }
        match kind(F::NAME, out.dtype())? {
            Kind::F32 => driver::map_rows_into::<f32, 1>(F::NAME, out, [x], Rows::inlined(&Forward(f))),
            Kind::F64 => driver::map_rows_into::<f64, 1>(F::NAME, out, [x], Rows::inlined(&Forward(f))),
            Kind::I64 => driver::map_into::<i64, 1>(F::NAME, out, [x], move |[x]| f.int(x)),
        }
    }

    fn saves(&self, _needs: &[bool]) -> Saves {
        F::SAVES
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let f = self.0;
        // What the formula does not read is stood in for by the gradient.
        let x = if F::SAVES.names(0) { saved.input(0)? } else { grad.clone() };
        let y = if F::SAVES.output() { saved.output()? } else { grad.clone() };
        if is_grad_enabled() {
            let tape = Tape::default();
            let gradient = f.backward(tape.put(grad), tape.put(&x), tape.put(&y));
            let gradient = tape.finish(gradient)?;
            let constant = F::SAVES != Saves::NONE && !self.varies()?;
            return Ok(smallvec![Some(if constant { saved.piecewise_constant(gradient) } else { gradient })]);
        }
        let inputs = [grad, &x, &y];
        let (shape, dtype) = (grad.shape(), grad.dtype());
        let gradient = match kind(F::NAME, dtype)? {
            Kind::F64 => {
                driver::map_rows::<f64, 3>(F::NAME, shape, dtype, inputs, Rows::inlined(&Backward(f)))
            }
            _ => driver::map_rows::<f32, 3>(F::NAME, shape, dtype, inputs, Rows::inlined(&Backward(f))),
        };
        Ok(smallvec![Some(gradient?)])
    }
}

macro_rules! unary {
    (static $table:ident; $(
        $(#[$doc:meta])*
        $name:ident $op:ident, $inplace:ident ($($param:ident: $ty:ty = $sample:expr),*) {
            forward: |$x:ident| $forward:expr,
            $(int: |$i:ident| $int:expr,)?
            backward: |$g:ident, $bx:ident, $by:ident| $backward:expr,
            saves: $saves:ident,
            $(ints: $ints:ident,)?
            $(bools: $bools:ident,)?
            $(periodic: $periodic:literal,)?
            $(requires: $condition:expr, $requirement:literal,)?
            domain: ($low:expr, $high:expr),
        }
    )*) => {
        $(
            #[derive(Clone, Copy, Debug)]
            struct $op {
                $($param: $ty,)*
            }

            impl $crate::ops::unary::Formula for $op {
                const NAME: &'static str = stringify!($name);
                const SAVES: $crate::autograd::Saves = $crate::autograd::Saves::$saves;
                const INTS: $crate::ops::unary::Discrete =
                    $crate::ops::unary::unary!(@ints ($($ints)?) ($($i)?));
                const BOOLS: $crate::ops::unary::Discrete =
                    $crate::ops::unary::unary!(@bools ($($bools)?) ($($ints)?) ($($i)?));
                $(const PERIODIC: bool = $periodic;)?

                fn check(&self) -> $crate::Result<()> {
                    #[allow(unused_variables, reason = "few formulas require anything")]
                    let Self { $($param),* } = *self;
                    let holds = true $(&& $condition)?;
                    if holds {
                        return Ok(());
                    }
                    let requirement = concat!($($requirement)?);
                    Err($crate::Error::argument(format!("{}: {requirement}, found {self:?}", Self::NAME)))
                }

                #[inline(always)]
                fn forward<R: $crate::ops::real::Real>(&self, $x: R) -> R {
                    let Self { $($param),* } = *self;
                    $forward
                }

                #[inline(always)]
                fn int(&self, x: i64) -> i64 {
                    #[allow(unused_variables, reason = "not every integer formula reads every parameter")]
                    let Self { $($param),* } = *self;
                    $crate::ops::unary::unary!(@int x $(, |$i| $int)?)
                }

                #[inline(always)]
                #[allow(unused_variables, reason = "a formula reads what it needs")]
                fn backward<R: $crate::ops::real::Real>(&self, $g: R, $bx: R, $by: R) -> R {
                    let Self { $($param),* } = *self;
                    $backward
                }
            }

            impl $crate::Tensor {
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// If the dtype is not supported.
                pub fn $name(&self $(, $param: $ty)*) -> $crate::Result<$crate::Tensor> {
                    let formula = $op { $($param),* };
                    $crate::ops::unary::Formula::check(&formula)?;
                    $crate::autograd::apply($crate::ops::unary::Unary(formula), &[self])
                }

                #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") in place.")]
                ///
                /// # Errors
                ///
                /// If the dtype cannot hold the result, or the tensor may not be changed while recording.
                pub fn $inplace(&self $(, $param: $ty)*) -> $crate::Result<()> {
                    let formula = $op { $($param),* };
                    $crate::ops::unary::Formula::check(&formula)?;
                    $crate::autograd::apply_inplace($crate::ops::unary::Unary(formula), self, &[])
                }
            }
        )*

        /// The rows of the table, for the generic tests.
        pub(crate) static $table: &[$crate::ops::registry::OpInfo] = &[$(
            $crate::ops::registry::OpInfo {
                name: stringify!($name),
                samples: || vec![$crate::ops::registry::Sample::unary(($low, $high), |x| x.$name($($sample),*), |x| x.$inplace($($sample),*))],
            },
        )*];
    };
    (@ints () ()) => { $crate::ops::unary::Discrete::Float32 };
    (@ints () ($i:ident)) => { $crate::ops::unary::Discrete::Same };
    (@ints ($ints:ident) ($($i:ident)?)) => { $crate::ops::unary::Discrete::$ints };
    (@bools () () ()) => { $crate::ops::unary::Discrete::Float32 };
    (@bools () ($ints:ident) ()) => { $crate::ops::unary::Discrete::$ints };
    (@bools () ($($ints:ident)?) ($i:ident)) => { $crate::ops::unary::Discrete::Refuse };
    (@bools ($bools:ident) ($($ints:ident)?) ($($i:ident)?)) => { $crate::ops::unary::Discrete::$bools };
    (@int $x:ident) => { $x };
    (@int $x:ident, |$i:ident| $int:expr) => {{ let $i = $x; $int }};
}

pub(super) use unary;

unary! {
    static UNARY;

    /// The negative, elementwise.
    neg Neg, neg_ () {
        forward: |x| -x,
        int: |x| x.wrapping_neg(),
        backward: |g, x, y| -g,
        saves: NONE,
        domain: (-3.0, 3.0),
    }

    /// The absolute value; its gradient at 0 is 0.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-2.0f32, 0.0], [2])?;
    /// assert_eq!(x.abs()?.to_vec::<f32>()?, [2.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    abs Abs, abs_ () {
        forward: |x| x.abs(),
        int: |x| x.wrapping_abs(),
        backward: |g, x, y| g * x.sign(),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// −1, 0 or 1; the gradient is 0.
    sign Sign, sign_ () {
        forward: |x| x.sign(),
        int: |x| x.signum(),
        backward: |g, x, y| g * 0.0,
        saves: NONE,
        bools: Same,
        domain: (0.5, 3.0),
    }

    /// The square; bools become int64.
    square Square, square_ () {
        forward: |x| x * x,
        int: |x| x.wrapping_mul(x),
        backward: |g, x, y| g * (x * 2.0),
        saves: INPUTS,
        bools: Int64,
        domain: (-3.0, 3.0),
    }

    /// eˣ.
    exp Exp, exp_ () {
        forward: |x| x.exp(),
        backward: |g, x, y| g * y,
        saves: OUTPUT,
        domain: (-3.0, 3.0),
    }

    /// 2ˣ.
    exp2 Exp2, exp2_ () {
        forward: |x| x.exp2(),
        backward: |g, x, y| g * y * std::f64::consts::LN_2,
        saves: OUTPUT,
        domain: (-3.0, 3.0),
    }

    /// eˣ − 1, exact near 0.
    expm1 Expm1, expm1_ () {
        forward: |x| x.expm1(),
        backward: |g, x, y| g * (y + 1.0),
        saves: OUTPUT,
        domain: (-3.0, 3.0),
    }

    /// The natural logarithm.
    log Log, log_ () {
        forward: |x| x.ln(),
        backward: |g, x, y| g / x,
        saves: INPUTS,
        domain: (0.2, 3.0),
    }

    /// log(1 + x), exact near 0.
    log1p Log1p, log1p_ () {
        forward: |x| x.log1p(),
        backward: |g, x, y| g / (x + 1.0),
        saves: INPUTS,
        domain: (-0.8, 3.0),
    }

    /// The logarithm to base 2.
    log2 Log2, log2_ () {
        forward: |x| x.log2(),
        backward: |g, x, y| g / (x * std::f64::consts::LN_2),
        saves: INPUTS,
        domain: (0.2, 3.0),
    }

    /// The logarithm to base 10.
    log10 Log10, log10_ () {
        forward: |x| x.log10(),
        backward: |g, x, y| g / (x * std::f64::consts::LN_10),
        saves: INPUTS,
        domain: (0.2, 3.0),
    }

    /// The square root.
    sqrt Sqrt, sqrt_ () {
        forward: |x| x.sqrt(),
        backward: |g, x, y| g / (y * 2.0),
        saves: OUTPUT,
        domain: (0.2, 3.0),
    }

    /// 1 / √x.
    rsqrt Rsqrt, rsqrt_ () {
        forward: |x| x.sqrt().recip(),
        backward: |g, x, y| g * (y * y * y) * -0.5,
        saves: OUTPUT,
        domain: (0.2, 3.0),
    }

    /// 1 / x.
    reciprocal Reciprocal, reciprocal_ () {
        forward: |x| x.recip(),
        backward: |g, x, y| -g * (y * y),
        saves: OUTPUT,
        domain: (0.2, 3.0),
    }

    /// The sine of radians.
    sin Sin, sin_ () {
        forward: |x| x.sin(),
        backward: |g, x, y| g * x.cos(),
        saves: INPUTS,
        periodic: true,
        domain: (-3.0, 3.0),
    }

    /// The cosine of radians.
    cos Cos, cos_ () {
        forward: |x| x.cos(),
        backward: |g, x, y| -g * x.sin(),
        saves: INPUTS,
        periodic: true,
        domain: (-3.0, 3.0),
    }

    /// The tangent of radians.
    tan Tan, tan_ () {
        forward: |x| x.tan(),
        backward: |g, x, y| g * (y * y + 1.0),
        saves: OUTPUT,
        periodic: true,
        domain: (-1.0, 1.0),
    }

    /// The hyperbolic sine.
    sinh Sinh, sinh_ () {
        forward: |x| x.special(Special::Sinh),
        backward: |g, x, y| g * x.special(Special::Cosh),
        saves: INPUTS,
        domain: (-2.0, 2.0),
    }

    /// The hyperbolic cosine.
    cosh Cosh, cosh_ () {
        forward: |x| x.special(Special::Cosh),
        backward: |g, x, y| g * x.special(Special::Sinh),
        saves: INPUTS,
        domain: (-2.0, 2.0),
    }

    /// The hyperbolic tangent.
    tanh Tanh, tanh_ () {
        forward: |x| x.tanh(),
        backward: |g, x, y| g * (-(y * y) + 1.0),
        saves: OUTPUT,
        domain: (-3.0, 3.0),
    }

    /// The logistic function 1 / (1 + e⁻ˣ).
    sigmoid Sigmoid, sigmoid_ () {
        forward: |x| x.sigmoid(),
        backward: |g, x, y| g * (y * (-y + 1.0)),
        saves: OUTPUT,
        domain: (-3.0, 3.0),
    }

    /// The error function.
    erf Erf, erf_ () {
        forward: |x| x.erf(),
        backward: |g, x, y| g * ((-(x * x)).exp() * std::f64::consts::FRAC_2_SQRT_PI),
        saves: INPUTS,
        domain: (-2.0, 2.0),
    }

    /// max(x, 0); its gradient at 0 is 0, and NaN stays NaN.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-2.0f32, 3.0], [2])?;
    /// assert_eq!(x.relu()?.to_vec::<f32>()?, [0.0, 3.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    relu Relu, relu_ () {
        forward: |x| R::select(x.constant(0.0).ge(x), x.constant(0.0), x),
        int: |x| x.max(0),
        backward: |g, x, y| g.unless(y.constant(0.0).ge(y)),
        saves: OUTPUT,
        domain: (-3.0, 3.0),
    }

    /// x where positive, otherwise `negative_slope` · x.
    leaky_relu LeakyRelu, leaky_relu_ (negative_slope: f64 = 0.1) {
        forward: |x| R::select(x.gt(x.constant(0.0)), x, x * negative_slope),
        backward: |g, x, y| R::select(x.gt(x.constant(0.0)), g, g * negative_slope),
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x · sigmoid(x), also called swish.
    silu Silu, silu_ () {
        forward: |x| x * x.sigmoid(),
        backward: |g, x, y| {
            let s = x.sigmoid();
            g * (s * (x * (-s + 1.0) + 1.0))
        },
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// The greatest integer not above; the gradient is 0.
    floor Floor, floor_ () {
        forward: |x| x.floor(),
        int: |x| x,
        backward: |g, x, y| g * 0.0,
        saves: NONE,
        domain: (0.1, 0.9),
    }

    /// The least integer not below; the gradient is 0.
    ceil Ceil, ceil_ () {
        forward: |x| x.ceil(),
        int: |x| x,
        backward: |g, x, y| g * 0.0,
        saves: NONE,
        domain: (0.1, 0.9),
    }

    /// The integer towards zero; the gradient is 0.
    trunc Trunc, trunc_ () {
        forward: |x| x.trunc(),
        int: |x| x,
        backward: |g, x, y| g * 0.0,
        saves: NONE,
        domain: (0.1, 0.9),
    }

    /// The nearest integer, ties to even; the gradient is 0.
    round Round, round_ () {
        forward: |x| x.round(),
        int: |x| x,
        backward: |g, x, y| g * 0.0,
        saves: NONE,
        domain: (0.1, 0.4),
    }
}
