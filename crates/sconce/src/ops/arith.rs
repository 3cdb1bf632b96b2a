//! Elementwise arithmetic that is put together from other operations, and that of integers.

use smallvec::smallvec;

use super::binary::number_dtype;
use super::driver::{self, Kind, kind};
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, apply};
use crate::tensor::dtype::Category;
use crate::tensor::layout::broadcast;
use crate::tensor::promote::Promotion;
use crate::tensor::scalar::{Operand, Scalar};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// An operation of integers, and of bools if `bools`.
fn integers(
    op: &'static str,
    x: &Tensor,
    other: Operand<'_>,
    bools: bool,
    f: impl Fn(i64, i64) -> i64 + Sync + Copy,
) -> Result<Tensor> {
    let dtype = Promotion::new().tensor(x).operand(&other).dtype();
    if kind(op, dtype)? != Kind::I64 || dtype == DType::Bool && !bools {
        return Err(Error::dtype(format!("{op}: not implemented for {dtype}")));
    }
    let y = match other {
        Operand::Tensor(y) => y.clone(),
        number => number.tensor(number_dtype(dtype))?,
    };
    let shape = broadcast(op, x.shape(), y.shape())?;
    driver::map::<i64, 2>(op, &shape, dtype, [x, &y], move |[x, y]| f(x, y))
}

/// Halves in float32, so that what is made of them is rounded once, at the end.
fn wide(x: &Tensor) -> Result<Tensor> {
    if matches!(x.dtype(), DType::F16 | DType::BF16) { x.to(DType::F32) } else { Ok(x.clone()) }
}

/// The dtype of a result of three tensors.
fn combined(x: &Tensor, a: &Tensor, b: &Tensor) -> DType {
    Promotion::new().tensor(x).tensor(a).tensor(b).dtype()
}

/// Writes a result over the first operand, if it fits.
fn over(op: &str, x: &Tensor, result: &Tensor) -> Result<()> {
    if result.dtype().category() > x.dtype().category() || result.shape() != x.shape() {
        return Err(Error::shape(format!(
            "{op}: the result of shape {:?} and dtype {} does not fit {:?} of {}",
            result.shape(),
            result.dtype(),
            x.shape(),
            x.dtype()
        )));
    }
    x.copy_(result)
}

macro_rules! integer_ops {
    (of tensors $($(#[$doc:meta])* $name:ident, $inplace:ident, $bools:literal, |$x:ident, $y:ident| $f:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// If the dtypes are not integers, or the shapes do not broadcast.
                pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                    integers(stringify!($name), self, other.into(), $bools, |$x, $y| $f)
                }

                #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") in place.")]
                ///
                /// # Errors
                ///
                /// As out of place; also if the result does not fit this tensor.
                pub fn $inplace(&self, other: &Tensor) -> Result<()> {
                    over(concat!(stringify!($name), "_"), self, &self.$name(other)?)
                }
            )*
        }
    };
    ($($(#[$doc:meta])* $name:ident, $inplace:ident, $bools:literal, |$x:ident, $y:ident| $f:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// If the dtypes are not integers (or, for logic, bool), or the shapes do not broadcast.
                pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                    integers(stringify!($name), self, other.into(), $bools, |$x, $y| $f)
                }

                #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") in place.")]
                ///
                /// # Errors
                ///
                /// As out of place; also if the result does not fit this tensor.
                pub fn $inplace<'a>(&self, other: impl Into<Operand<'a>>) -> Result<()> {
                    over(concat!(stringify!($name), "_"), self, &self.$name(other)?)
                }
            )*
        }
    };
}

integer_ops! {
    /// The bits that both have.
    bitwise_and, bitwise_and_, true, |x, y| x & y;
    /// The bits that either has.
    bitwise_or, bitwise_or_, true, |x, y| x | y;
    /// The bits that exactly one has.
    bitwise_xor, bitwise_xor_, true, |x, y| x ^ y;
}

integer_ops! { of tensors
    /// The greatest common divisor; 0 of zeros.
    gcd, gcd_, false, |x, y| gcd(x, y);
    /// The least common multiple; 0 with 0.
    lcm, lcm_, false, |x, y| if x == 0 || y == 0 { 0 } else { (x / gcd(x, y)).wrapping_mul(y).wrapping_abs() };
}

fn gcd(x: i64, y: i64) -> i64 {
    let (mut x, mut y) = (x, y);
    while y != 0 {
        (x, y) = (y, x.wrapping_rem(y));
    }
    x.wrapping_abs()
}

/// Between a start and an end, by a weight.
#[derive(Debug)]
struct Lerp;

impl Op for Lerp {
    fn name(&self) -> &'static str {
        "lerp"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (start, end, weight) = (x[0], x[1], x[2]);
        let difference = end.sub(start)?;
        // From the nearer end, so that it is met exactly.
        let from_start = start.add(&difference.mul(weight)?)?;
        let from_end = end.sub(&difference.mul(&weight.rsub(1.0)?)?)?;
        from_start.where_(&weight.abs()?.lt(0.5)?, &from_end)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (start, end, weight) = (saved.input(0)?, saved.input(1)?, saved.input(2)?);
        let of_start = if saved.needs(0) { Some(grad.mul(&weight.rsub(1.0)?)?) } else { None };
        let of_end = if saved.needs(1) { Some(grad.mul(&weight)?) } else { None };
        let of_weight = if saved.needs(2) { Some(grad.mul(&end.sub(&start)?)?) } else { None };
        Ok(smallvec![of_start, of_end, of_weight])
    }
}

/// Bits of an integer dtype.
fn bits(dtype: DType) -> i64 {
    8 * dtype.size() as i64
}

impl Tensor {
    /// Every bit turned over; bools negated.
    ///
    /// # Errors
    ///
    /// If the dtype is not an integer or bool.
    pub fn bitwise_not(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool {
            return self.logical_not();
        }
        self.bitwise_xor(-1i64)
    }

    /// This times 2 to the power of the other; 0 if that shifts everything out, or by a negative number.
    ///
    /// # Errors
    ///
    /// If a dtype is not an integer, or the shapes do not broadcast.
    pub fn bitwise_left_shift<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        let other = other.into();
        let bits = bits(Promotion::new().tensor(self).operand(&other).dtype());
        integers("bitwise_left_shift", self, other, false, move |x, y| {
            if (0..bits).contains(&y) { x.wrapping_shl(y as u32) } else { 0 }
        })
    }

    /// This divided by 2 to the power of the other, rounded down; a shift that is too far or negative shifts all out.
    ///
    /// # Errors
    ///
    /// As [`bitwise_left_shift`](Self::bitwise_left_shift).
    pub fn bitwise_right_shift<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        let other = other.into();
        let bits = bits(Promotion::new().tensor(self).operand(&other).dtype());
        integers("bitwise_right_shift", self, other, false, move |x, y| {
            x >> if (0..bits).contains(&y) { y } else { 63 }
        })
    }

    /// `self + weight · (end − self)`.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast or the dtypes differ, that of a tensor of weights too.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let (x, y) = (Tensor::scalar(1.0f32), Tensor::scalar(5.0f32));
    /// assert_eq!(x.lerp(&y, 0.25)?.item()?, 2.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn lerp<'a>(&self, end: &Tensor, weight: impl Into<Operand<'a>>) -> Result<Tensor> {
        if self.dtype() != end.dtype() {
            return Err(Error::dtype(format!("lerp: dtypes differ: {} and {}", self.dtype(), end.dtype())));
        }
        let weight = weight.into();
        if let Operand::Tensor(weight) = weight
            && weight.dtype() != self.dtype()
        {
            return Err(Error::dtype(format!("lerp: weights of {} for {}", weight.dtype(), self.dtype())));
        }
        let half = matches!(self.dtype(), DType::F16 | DType::BF16);
        let weight = weight.tensor(if half { DType::F32 } else { self.dtype() })?;
        // Rounded once.
        apply(Lerp, &[&wide(self)?, &wide(end)?, &wide(&weight)?])?.to(self.dtype())
    }

    /// `self + alpha · other`; PyTorch's `add(other, alpha=…)`.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); also if `alpha` is a float where the operands are integers, or a bool where they are not.
    ///
    /// ```
    /// let x = sconce::Tensor::scalar(2i64);
    /// assert_eq!(x.add_scaled(&x, 3)?.item_i64()?, 8);
    /// assert_eq!(x.sub_scaled(1, 3)?.item_i64()?, -1);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn add_scaled<'a>(&self, other: impl Into<Operand<'a>>, alpha: impl Into<Scalar>) -> Result<Tensor> {
        let other = other.into();
        match scaled_operand("add", Promotion::of(self, &other), other, alpha.into())? {
            Scaled::Tensor(t) => self.add(&t),
            Scaled::Number(n) => self.add(n),
        }
    }

    /// `self - alpha · other`; PyTorch's `sub(other, alpha=…)`.
    ///
    /// # Errors
    ///
    /// As [`add_scaled`](Self::add_scaled).
    pub fn sub_scaled<'a>(&self, other: impl Into<Operand<'a>>, alpha: impl Into<Scalar>) -> Result<Tensor> {
        let other = other.into();
        match scaled_operand("sub", Promotion::of(self, &other), other, alpha.into())? {
            Scaled::Tensor(t) => self.sub(&t),
            Scaled::Number(n) => self.sub(n),
        }
    }

    /// `self + value · a · b`.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast, or `value` is a float where everything else is an integer.
    ///
    /// ```
    /// let x = sconce::Tensor::scalar(2.0f32);
    /// assert_eq!(x.addcmul(&x, &x, 0.5)?.item()?, 4.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        let value = value.into();
        let dtype = combined(self, a, b);
        let product = wide(a)?.mul(&wide(b)?)?;
        if product.dtype().category() < Category::Float && matches!(value, Scalar::Float(_)) {
            return Err(Error::dtype(format!("addcmul: value {value:?} for integers")));
        }
        wide(self)?.add(&scaled(&product, value)?)?.to(dtype)
    }

    /// `self + value · a / b`.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast or the dtypes are integers.
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        if [a, b].iter().all(|t| !t.dtype().is_floating_point()) {
            return Err(Error::dtype(format!("addcdiv: not implemented for {} / {}", a.dtype(), b.dtype())));
        }
        let dtype = combined(self, a, b);
        wide(self)?.add(&scaled(&wide(a)?.div(&wide(b)?)?, value.into())?)?.to(dtype)
    }

    /// [`addcmul`](Self::addcmul) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the result does not fit this tensor, or it may not be changed while recording.
    pub fn addcmul_(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<()> {
        self.add_(&scaled(&wide(a)?.mul(&wide(b)?)?, value.into())?)
    }

    /// [`addcdiv`](Self::addcdiv) in place.
    ///
    /// # Errors
    ///
    /// As [`addcmul_`](Self::addcmul_).
    pub fn addcdiv_(&self, a: &Tensor, b: &Tensor, value: impl Into<Scalar>) -> Result<()> {
        self.add_(&scaled(&wide(a)?.div(&wide(b)?)?, value.into())?)
    }

    /// [`lerp`](Self::lerp) in place.
    ///
    /// # Errors
    ///
    /// As [`addcmul_`](Self::addcmul_).
    pub fn lerp_<'a>(&self, end: &Tensor, weight: impl Into<Operand<'a>>) -> Result<()> {
        let weight = weight.into();
        if matches!(self.dtype(), DType::F16 | DType::BF16) {
            return over("lerp_", self, &self.lerp(end, weight)?);
        }
        let weight = weight.tensor(self.dtype())?;
        self.add_(&end.sub(self)?.mul(&weight)?)
    }

    /// NaN replaced by `nan`, and infinities by numbers: by default the greatest and the least of the dtype.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![f32::NAN, f32::INFINITY, 2.0], [3])?;
    /// assert_eq!(x.nan_to_num(0.0, None, None)?.to_vec::<f32>()?, [0.0, f32::MAX, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn nan_to_num(&self, nan: f64, posinf: Option<f64>, neginf: Option<f64>) -> Result<Tensor> {
        if !self.dtype().is_floating_point() {
            return self.copy();
        }
        let greatest = match self.dtype() {
            DType::F64 => f64::MAX,
            DType::F16 => 65504.0,
            DType::BF16 => half::bf16::MAX.to_f64(),
            _ => f64::from(f32::MAX),
        };
        let x = self.detach();
        self.masked_fill(&x.isnan()?, nan)?
            .masked_fill(&x.eq(f64::INFINITY)?, posinf.unwrap_or(greatest))?
            .masked_fill(&x.eq(f64::NEG_INFINITY)?, neginf.unwrap_or(-greatest))
    }

    /// [`sign`](Self::sign); PyTorch tells them apart for complex numbers.
    ///
    /// # Errors
    ///
    /// As [`sign`](Self::sign).
    pub fn sgn(&self) -> Result<Tensor> {
        self.sign()
    }

    /// The tensor itself; an error for bool, as in PyTorch.
    ///
    /// # Errors
    ///
    /// If the dtype is bool.
    pub fn positive(&self) -> Result<Tensor> {
        if self.dtype() == DType::Bool {
            return Err(Error::dtype("positive: not implemented for bool"));
        }
        Ok(self.clone())
    }

    /// Where the sign bit is set: negative numbers, −0 and some NaNs.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn signbit(&self) -> Result<Tensor> {
        match kind("signbit", self.dtype())? {
            Kind::I64 => self.detach().lt(0),
            _ => driver::map::<f64, 1>("signbit", self.shape(), DType::Bool, [self], |[x]| {
                f64::from(u8::from(x.is_sign_negative()))
            }),
        }
    }
}

/// An operand times a number.
enum Scaled {
    Tensor(Tensor),
    Number(Scalar),
}

/// `alpha · other` for an operation in a dtype.
fn scaled_operand(op: &str, dtype: DType, other: Operand<'_>, alpha: Scalar) -> Result<Scaled> {
    let wrong = match (dtype.category(), alpha) {
        (Category::Bool | Category::Integer, Scalar::Float(_)) => true,
        (category, Scalar::Bool(_)) => category != Category::Bool,
        _ => false,
    };
    if wrong {
        return Err(Error::argument(format!("{op}: alpha {alpha:?} for operands of {dtype}")));
    }
    Ok(match (other, alpha) {
        (Operand::Tensor(t), alpha) => Scaled::Tensor(scaled(t, alpha)?.to(t.dtype())?),
        (Operand::Scalar(Scalar::Bool(x)), Scalar::Bool(y)) => Scaled::Number(Scalar::Bool(x & y)),
        (Operand::Scalar(Scalar::Int(x)), Scalar::Int(y)) => Scaled::Number(Scalar::Int(x.wrapping_mul(y))),
        (Operand::Scalar(x), y) => Scaled::Number(Scalar::Float(x.to_f64() * y.to_f64())),
    })
}

fn scaled(t: &Tensor, value: Scalar) -> Result<Tensor> {
    if value.to_f64() == 1.0 { Ok(t.clone()) } else { t.mul(value) }
}

const D: (f64, f64) = (0.5, 2.0);

/// A call of integers, which the floats of the generic tests are made.
fn of_integers(call: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Vec<Sample> {
    let domain = (1.0, 20.0);
    vec![
        Sample::new(&[(&[2, 3, 4], domain), (&[3, 1], domain)], move |x| {
            call(&x[0].detach().to(DType::I64)?, &x[1].detach().to(DType::I64)?)
        })
        .without_gradient(),
    ]
}

/// For the generic tests.
pub(crate) static ARITHMETIC: &[OpInfo] = &[
    OpInfo { name: "bitwise_and", samples: || of_integers(|x, y| x.bitwise_and(y)) },
    OpInfo { name: "bitwise_or", samples: || of_integers(|x, y| x.bitwise_or(y)) },
    OpInfo { name: "bitwise_xor", samples: || of_integers(|x, y| x.bitwise_xor(y)) },
    OpInfo { name: "bitwise_not", samples: || of_integers(|x, _| x.bitwise_not()) },
    OpInfo { name: "bitwise_left_shift", samples: || of_integers(|x, y| x.bitwise_left_shift(y)) },
    OpInfo { name: "bitwise_right_shift", samples: || of_integers(|x, y| x.bitwise_right_shift(y)) },
    OpInfo { name: "gcd", samples: || of_integers(Tensor::gcd) },
    OpInfo { name: "lcm", samples: || of_integers(Tensor::lcm) },
    OpInfo {
        name: "signbit",
        samples: || vec![Sample::new(&[(&[2, 3, 4], (-2.0, 2.0))], |x| x[0].signbit()).without_gradient()],
    },
    OpInfo {
        name: "lerp",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3], D), (&[2, 3], D)], |x| x[0].lerp(&x[1], 0.3))
                    .with_inplace(|x| x[0].lerp_(&x[1], 0.3)),
                Sample::new(&[(&[2, 3], D), (&[3], D), (&[2, 1], (0.1, 0.4))], |x| x[0].lerp(&x[1], &x[2])),
            ]
        },
    },
    OpInfo {
        name: "addcmul",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3], D), (&[3], D), (&[2, 1], D)], |x| x[0].addcmul(&x[1], &x[2], 0.5))
                    .with_inplace(|x| x[0].addcmul_(&x[1], &x[2], 0.5)),
            ]
        },
    },
    OpInfo {
        name: "addcdiv",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3], D), (&[3], D), (&[2, 1], D)], |x| x[0].addcdiv(&x[1], &x[2], 0.5))
                    .with_inplace(|x| x[0].addcdiv_(&x[1], &x[2], 0.5)),
            ]
        },
    },
    OpInfo {
        name: "clamp",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3], (-3.0, 3.0))], |x| x[0].clamp(-1.0, 1.5))
                    .with_inplace(|x| x[0].clamp_(-1.0, 1.5)),
            ]
        },
    },
    OpInfo {
        name: "nan_to_num",
        samples: || vec![Sample::new(&[(&[2, 3], D)], |x| x[0].nan_to_num(0.0, None, None))],
    },
    OpInfo {
        name: "prelu",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 2], (-3.0, 3.0)), (&[3], D)], |x| x[0].prelu(&x[1])),
                Sample::new(&[(&[4], (-3.0, 3.0)), (&[1], D)], |x| x[0].prelu(&x[1])),
            ]
        },
    },
];
