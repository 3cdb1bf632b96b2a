//! Parts of floating point numbers, powers of two, and properties of numbers.

use smallvec::smallvec;

use super::driver::{self, Kind, kind};
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::dtype::Category;
use crate::tensor::layout::broadcast;
use crate::tensor::promote::Promotion;
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// x = m · 2ᵉ with ½ ≤ |m| < 1.
fn split(x: f64) -> (f64, i64) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (mantissa, exponent) = libm::frexp(x);
    (mantissa, exponent.into())
}

#[derive(Debug)]
struct Mantissa;

impl Op for Mantissa {
    fn name(&self) -> &'static str {
        "frexp"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::map::<f64, 1>("frexp", x[0].shape(), x[0].dtype(), [x[0]], |[x]| split(x).0)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let exponent = exponents(&saved.input(0)?.detach(), grad.dtype())?;
        Ok(smallvec![Some(grad.mul(&exponent.neg()?.exp2()?)?)])
    }
}

fn exponents(x: &Tensor, dtype: DType) -> Result<Tensor> {
    driver::map::<f64, 1>("frexp", x.shape(), dtype, [x], |[x]| split(x).1 as f64)
}

/// The number next to x on the way to y.
#[derive(Debug)]
struct NextAfter {
    dtype: DType,
}

macro_rules! next_after {
    ($x:expr, $y:expr, $T:ty, $Bits:ty) => {{
        let (x, y): ($T, $T) = ($x, $y);
        let zero = <$T>::from_bits(0);
        if x != x || y != y {
            <$T>::NAN
        } else if x == y {
            y
        } else if x == zero {
            // The least number, with the sign of y.
            let least = <$T>::from_bits(1);
            if y > zero { least } else { -least }
        } else {
            let bits: $Bits = x.to_bits();
            <$T>::from_bits(if (x > zero) == (y > x) { bits + 1 } else { bits - 1 })
        }
    }};
}

impl Op for NextAfter {
    fn name(&self) -> &'static str {
        "nextafter"
    }

    #[allow(clippy::eq_op, reason = "NaN is what differs from itself")]
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        use half::{bf16, f16};
        let shape = broadcast("nextafter", x[0].shape(), x[1].shape())?;
        let (name, dtype, inputs) = ("nextafter", self.dtype, [x[0], x[1]]);
        match dtype {
            DType::F64 => {
                driver::map::<f64, 2>(name, &shape, dtype, inputs, |[x, y]| next_after!(x, y, f64, u64))
            }
            DType::F32 => {
                driver::map::<f32, 2>(name, &shape, dtype, inputs, |[x, y]| next_after!(x, y, f32, u32))
            }
            DType::F16 => driver::map::<f32, 2>(name, &shape, dtype, inputs, |[x, y]| {
                next_after!(f16::from_f32(x), f16::from_f32(y), f16, u16).to_f32()
            }),
            _ => driver::map::<f32, 2>(name, &shape, dtype, inputs, |[x, y]| {
                next_after!(bf16::from_f32(x), bf16::from_f32(y), bf16, u16).to_f32()
            }),
        }
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        // It moves with x, and where both are equal with neither.
        let equal = saved.input(0)?.detach().eq(&saved.input(1)?.detach())?;
        let x = if saved.needs(0) { Some(grad.masked_fill(&equal, 0)?) } else { None };
        let y = if saved.needs(1) { Some(grad.zeros_like()?) } else { None };
        Ok(smallvec![x, y])
    }
}

/// The angle of real numbers: 0 or π; its gradient is 0.
#[derive(Debug)]
struct Angle {
    dtype: DType,
}

impl Op for Angle {
    fn name(&self) -> &'static str {
        "angle"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::map::<f64, 1>("angle", x[0].shape(), self.dtype, [x[0]], |[x]| {
            if x.is_nan() {
                x
            } else if x < 0.0 {
                std::f64::consts::PI
            } else {
                0.0
            }
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(grad.zeros_like()?)])
    }
}

impl Tensor {
    /// Mantissas of magnitude from ½ to below 1, and the exponents of 2, int32, whose product this is.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    ///
    /// ```
    /// let (mantissa, exponent) = sconce::Tensor::scalar(10.0f32).frexp()?;
    /// assert_eq!((mantissa.item()?, exponent.item_i64()?), (0.625, 4));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn frexp(&self) -> Result<(Tensor, Tensor)> {
        float_dtype("frexp", self)?;
        Ok((apply(Mantissa, &[self])?, exponents(&self.detach(), DType::I32)?))
    }

    /// This times 2 to the power of the other; integers become float32.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast or a dtype is only stored.
    ///
    /// ```
    /// use sconce::Tensor;
    /// assert_eq!(Tensor::scalar(3.0f32).ldexp(&Tensor::scalar(2i64))?.item()?, 12.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn ldexp(&self, other: &Tensor) -> Result<Tensor> {
        self.mul(&other.rpow(2.0)?)
    }

    /// [`pow`](Self::pow) in float64, whatever the dtypes.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast or a dtype is only stored.
    pub fn float_power<'a>(&self, exponent: impl Into<Operand<'a>>) -> Result<Tensor> {
        let base = self.to(DType::F64)?;
        match exponent.into() {
            Operand::Tensor(t) => base.pow(&t.to(DType::F64)?),
            number => base.pow(number),
        }
    }

    /// A number to the power of this tensor, in float64.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn float_rpower(&self, base: impl Into<crate::Scalar>) -> Result<Tensor> {
        self.to(DType::F64)?.rpow(base.into())
    }

    /// The number next to each element on the way to the other's; its gradient is this tensor's, but 0 of equal ones.
    ///
    /// # Errors
    ///
    /// If neither dtype is floating point or the shapes do not broadcast.
    pub fn nextafter(&self, other: &Tensor) -> Result<Tensor> {
        let dtype = Promotion::of(self, &other.into());
        if kind("nextafter", dtype)? == Kind::I64 {
            return Err(Error::dtype(format!("nextafter: needs a floating point dtype, found {dtype}")));
        }
        apply(NextAfter { dtype }, &[self, other])
    }

    /// Where the element is infinite and positive.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn isposinf(&self) -> Result<Tensor> {
        self.is_value("isposinf", f64::INFINITY)
    }

    /// Where the element is infinite and negative.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn isneginf(&self) -> Result<Tensor> {
        self.is_value("isneginf", f64::NEG_INFINITY)
    }

    fn is_value(&self, op: &str, value: f64) -> Result<Tensor> {
        if kind(op, self.dtype())? == Kind::I64 {
            return Tensor::zeros(self.shape(), DType::Bool);
        }
        self.detach().eq(value)
    }

    /// Where the element has no imaginary part: everywhere.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn isreal(&self) -> Result<Tensor> {
        kind("isreal", self.dtype())?;
        Tensor::full(self.shape(), true, DType::Bool)
    }

    /// The angle of real numbers in the plane: π below 0, else 0; integers become float32. The gradient is 0.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn angle(&self) -> Result<Tensor> {
        kind("angle", self.dtype())?;
        let dtype = if self.dtype().is_floating_point() { self.dtype() } else { DType::F32 };
        apply(Angle { dtype }, &[self])
    }

    /// The nearest number of so many decimals (tens, hundreds, … for negative ones), ties to even; the gradient is 0.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point and `decimals` is not 0.
    ///
    /// ```
    /// let x = sconce::Tensor::scalar(3.14159f64);
    /// assert_eq!(x.round_decimals(2)?.item()?, 3.14);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn round_decimals(&self, decimals: i32) -> Result<Tensor> {
        if decimals == 0 {
            return self.round();
        }
        if self.dtype().category() != Category::Float {
            return Err(Error::dtype(format!("round: decimals of {}: needs floating point", self.dtype())));
        }
        apply(RoundDecimals { decimals }, &[self])
    }

    /// A copy with every element set to a number, or to a tensor without dimensions.
    ///
    /// # Errors
    ///
    /// If the dtype cannot hold the value.
    pub fn fill<'a>(&self, value: impl Into<Operand<'a>>) -> Result<Tensor> {
        let value = value.into().element("fill", self.dtype())?;
        if value.dim() > 0 {
            return Err(Error::shape(format!(
                "fill: the value must have no dimensions, found {:?}",
                value.shape()
            )));
        }
        let out = self.copy()?;
        out.copy_(&value)?;
        Ok(out)
    }
}

#[derive(Debug)]
struct RoundDecimals {
    decimals: i32,
}

impl Op for RoundDecimals {
    fn name(&self) -> &'static str {
        "round"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (shape, dtype) = (x[0].shape(), x[0].dtype());
        let scale = 10f64.powi(self.decimals.saturating_abs());
        let up = self.decimals > 0;
        match kind("round", dtype)? {
            Kind::F64 => driver::map::<f64, 1>("round", shape, dtype, [x[0]], move |[x]| {
                if up { (x * scale).round_ties_even() / scale } else { (x / scale).round_ties_even() * scale }
            }),
            _ => {
                let scale = scale as f32;
                driver::map::<f32, 1>("round", shape, dtype, [x[0]], move |[x]| {
                    if up {
                        (x * scale).round_ties_even() / scale
                    } else {
                        (x / scale).round_ties_even() * scale
                    }
                })
            }
        }
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(grad.zeros_like()?)])
    }
}

const D: (f64, f64) = (0.6, 0.9);

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], D)], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static PARTS: &[OpInfo] = &[
    OpInfo { name: "frexp", samples: || vec![sample(|x| Ok(x.frexp()?.0))] },
    OpInfo {
        name: "ldexp",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[3], D)], |x| x[0].ldexp(&x[1]))],
    },
    OpInfo { name: "nextafter", samples: || vec![sample(|x| x.nextafter(&x.neg()?))] },
    OpInfo { name: "isposinf", samples: || vec![sample(Tensor::isposinf).without_gradient()] },
    OpInfo { name: "isneginf", samples: || vec![sample(Tensor::isneginf).without_gradient()] },
    OpInfo { name: "isreal", samples: || vec![sample(Tensor::isreal).without_gradient()] },
    OpInfo { name: "angle", samples: || vec![sample(Tensor::angle)] },
    OpInfo { name: "fill", samples: || vec![sample(|x| x.fill(&x.mean(())?))] },
];
