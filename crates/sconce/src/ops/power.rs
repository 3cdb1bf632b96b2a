//! Powers: by a small whole number, which is a product, and by any other number or tensor.

use super::binary::{BOTH, binary, run, run_inplace, run_reversed};
use super::real::Real;
use super::unary::{self, Discrete, Unary};
use crate::Result;
use crate::autograd::{Saves, apply, apply_inplace};
use crate::tensor::dtype::Category;
use crate::tensor::scalar::{Operand, Scalar};
use crate::tensor::{DType, Tensor};

binary! {
    static POWERS;

    pow Pow, pow_ {
        other: special,
        forward: |x, y| x.pow(y),
        int: |x, y| integer_power(x, y),
        bool: false,
        grad_x: |g, x, y| R::select(y.equal(y.constant(0.0)), g * 0.0, g * (y * x.pow(y - 1.0))), BOTH,
        grad_y: |g, x, y| {
            let zero = x.constant(0.0);
            // 0 to a power that is not negative does not change with the power.
            let g_log = g * (x.pow(y) * x.ln());
            let flat = R::select(y.ge(zero), zero, g_log);
            R::select(x.equal(zero), flat, g_log)
        }, BOTH,
        domain: (0.5, 3.0),
    }
}

/// A power of floats whose exponent is a small whole number: products, as in PyTorch.
#[derive(Clone, Copy, Debug)]
struct WholePower(i32);

impl WholePower {
    fn of(x: &Tensor, exponent: &Operand<'_>) -> Option<Self> {
        let Operand::Scalar(exponent @ (Scalar::Int(_) | Scalar::Float(_))) = exponent else { return None };
        let whole = (-2..=3).find(|&n| f64::from(n) == exponent.to_f64())?;
        (x.dtype().category() == Category::Float).then_some(Self(whole))
    }

    #[inline(always)]
    fn power<R: Real>(x: R, exponent: i32) -> R {
        match exponent {
            0 => x.constant(1.0),
            1 => x,
            2 => x * x,
            3 => x * x * x,
            -1 => x.recip(),
            -2 => (x * x).recip(),
            _ => (x * x * x).recip(),
        }
    }
}

impl unary::Formula for WholePower {
    const NAME: &'static str = "pow";
    const SAVES: Saves = Saves::INPUTS;
    const INTS: Discrete = Discrete::Refuse;
    const BOOLS: Discrete = Discrete::Refuse;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    #[inline(always)]
    fn forward<R: Real>(&self, x: R) -> R {
        Self::power(x, self.0)
    }

    fn int(&self, x: i64) -> i64 {
        x
    }

    #[inline(always)]
    fn backward<R: Real>(&self, g: R, x: R, _y: R) -> R {
        g * (Self::power(x, self.0 - 1) * f64::from(self.0))
    }
}

/// xʸ, wrapping.
fn integer_power(x: i64, y: i64) -> i64 {
    match u64::try_from(y) {
        Ok(mut exponent) => {
            let (mut base, mut power) = (x, 1i64);
            while exponent > 0 {
                if exponent & 1 == 1 {
                    power = power.wrapping_mul(base);
                }
                base = base.wrapping_mul(base);
                exponent >>= 1;
            }
            power
        }
        Err(_) => match x {
            1 => 1,
            -1 => {
                if y % 2 == 0 {
                    1
                } else {
                    -1
                }
            }
            _ => 0,
        },
    }
}

impl Tensor {
    /// The power; an integer to a negative power is 0 unless the base is ±1.
    ///
    /// The operands broadcast and promote as in PyTorch. The number 0.5 gives the root, so that of −∞ is NaN.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast, or the dtypes are not supported: bools have only a bool that is a number as exponent.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![4.0f32, f32::NEG_INFINITY], [2])?;
    /// assert_eq!(x.pow(2)?.to_vec::<f32>()?, [16.0, f32::INFINITY]);
    /// assert!(x.pow(0.5)?.to_vec::<f32>()?[1].is_nan());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn pow<'a>(&self, exponent: impl Into<Operand<'a>>) -> Result<Tensor> {
        let exponent = exponent.into();
        if let Some(power) = WholePower::of(self, &exponent) {
            return apply(Unary(power), &[self]);
        }
        match exponent {
            Operand::Scalar(Scalar::Float(0.5)) => self.sqrt(),
            Operand::Scalar(Scalar::Bool(true)) if self.dtype() == DType::Bool => self.copy(),
            Operand::Scalar(Scalar::Bool(false)) if self.dtype() == DType::Bool => self.ones_like(),
            exponent => run(Pow, self, exponent),
        }
    }

    /// [`pow`](Self::pow) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be changed while
    /// recording.
    pub fn pow_<'a>(&self, exponent: impl Into<Operand<'a>>) -> Result<()> {
        let exponent = exponent.into();
        if let Some(power) = WholePower::of(self, &exponent) {
            return apply_inplace(Unary(power), self, &[]);
        }
        match exponent {
            Operand::Scalar(Scalar::Float(0.5)) => self.sqrt_(),
            Operand::Scalar(Scalar::Bool(exponent)) if self.dtype() == DType::Bool => {
                self.copy_(&self.pow(exponent)?)
            }
            exponent => run_inplace(Pow, self, exponent),
        }
    }

    /// `number` to the power of this tensor.
    ///
    /// # Errors
    ///
    /// As [`pow`](Self::pow).
    pub fn rpow(&self, number: impl Into<Scalar>) -> Result<Tensor> {
        run_reversed(Pow, number.into(), self)
    }
}
