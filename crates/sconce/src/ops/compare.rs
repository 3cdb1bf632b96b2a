//! Comparisons and logic: results are bool and carry no gradient.

use super::binary::number_dtype;
use super::driver::{self, Kind, kind};
use super::real::{Num, Real};
use crate::tensor::dtype::Category;
use crate::tensor::layout::{broadcast, broadcast_beyond};
use crate::tensor::promote::{Promotion, promote_types};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Compares in the promoted dtype; the closures give 1 or 0.
fn compare(
    op: &'static str,
    x: &Tensor,
    other: Operand<'_>,
    f32: impl Fn(f32, f32) -> bool + Sync + Copy,
    f64: impl Fn(f64, f64) -> bool + Sync + Copy,
    i64: impl Fn(i64, i64) -> bool + Sync + Copy,
) -> Result<Tensor> {
    let dtype = Promotion::of(x, &other);
    let number;
    let y = match other {
        Operand::Tensor(y) => y,
        other => {
            number = other.tensor(number_dtype(dtype))?;
            &number
        }
    };
    let broadcast = broadcast_beyond(op, x.shape(), y.shape())?;
    let shape = broadcast.as_deref().unwrap_or(x.shape());
    let inputs = [x, y];
    match kind(op, dtype)? {
        Kind::F32 => driver::map::<f32, 2>(op, shape, DType::Bool, inputs, move |[x, y]| {
            f32::from(u8::from(f32(x, y)))
        }),
        Kind::F64 => driver::map::<f64, 2>(op, shape, DType::Bool, inputs, move |[x, y]| {
            f64::from(u8::from(f64(x, y)))
        }),
        Kind::I64 => {
            driver::map::<i64, 2>(op, shape, DType::Bool, inputs, move |[x, y]| i64::from(i64(x, y)))
        }
    }
}

/// Tests each element; integers give `int`.
fn test(
    op: &'static str,
    x: &Tensor,
    float: impl Fn(f64) -> bool + Sync + Copy,
    int: bool,
) -> Result<Tensor> {
    match kind(op, x.dtype())? {
        Kind::I64 => Tensor::full(x.shape(), int, DType::Bool),
        _ => driver::map::<f64, 1>(op, x.shape(), DType::Bool, [x], move |[x]| f64::from(u8::from(float(x)))),
    }
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $op:tt;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// The operands broadcast and promote; the result is bool.
                ///
                /// # Errors
                ///
                /// If the shapes do not broadcast, or a dtype is only stored.
                pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                    compare(stringify!($name), self, other.into(), |x, y| x $op y, |x, y| x $op y, |x, y| x $op y)
                }
            )*
        }
    };
}

comparisons! {
    /// Where this equals the other.
    eq ==;
    /// Where this differs from the other; NaN differs from everything.
    ne !=;
    /// Where this is less.
    lt <;
    /// Where this is less or equal.
    le <=;
    /// Where this is greater.
    gt >;
    /// Where this is greater or equal.
    ge >=;
}

macro_rules! logic {
    ($($(#[$doc:meta])* $name:ident |$x:ident, $y:ident| $f:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// What is not 0 counts as true; the result is bool.
                ///
                /// # Errors
                ///
                /// If the shapes do not broadcast, or a dtype is only stored.
                pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                    compare(
                        stringify!($name), self, other.into(),
                        |x, y| { let ($x, $y) = (x != 0.0, y != 0.0); $f },
                        |x, y| { let ($x, $y) = (x != 0.0, y != 0.0); $f },
                        |x, y| { let ($x, $y) = (x != 0, y != 0); $f },
                    )
                }
            )*
        }
    };
}

logic! {
    /// Where both are true.
    logical_and |x, y| x & y;
    /// Where one or both are true.
    logical_or |x, y| x | y;
    /// Where exactly one is true.
    logical_xor |x, y| x ^ y;
}

impl Tensor {
    /// Where this is 0 or false.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn logical_not(&self) -> Result<Tensor> {
        self.eq(0)
    }

    /// Where the element is not a number.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn isnan(&self) -> Result<Tensor> {
        test("isnan", self, f64::is_nan, false)
    }

    /// Where the element is infinite.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn isinf(&self) -> Result<Tensor> {
        test("isinf", self, f64::is_infinite, false)
    }

    /// Where the element is neither infinite nor NaN.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    pub fn isfinite(&self) -> Result<Tensor> {
        test("isfinite", self, f64::is_finite, true)
    }

    /// Whether both have the same shape and, elementwise, the same values.
    ///
    /// # Errors
    ///
    /// If a dtype is only stored.
    pub fn equal(&self, other: &Tensor) -> Result<bool> {
        Ok(self.shape() == other.shape() && self.detach().eq(&other.detach())?.all(())?.item()? != 0.0)
    }

    /// Whether both agree within `atol + rtol · |other|` elementwise; NaN agrees with NaN if `equal_nan`.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast, or a dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::scalar(1.0f32);
    /// assert!(x.allclose(&sconce::Tensor::scalar(1.000001f32), 1e-5, 1e-8, false)?);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<bool> {
        Ok(self.isclose(other, rtol, atol, equal_nan)?.all(())?.item()? != 0.0)
    }

    /// Where both agree within `atol + rtol · |other|`; NaN agrees with NaN if `equal_nan`.
    ///
    /// # Errors
    ///
    /// If the dtypes differ, the shapes do not broadcast, or a dtype is only stored.
    pub fn isclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<Tensor> {
        if self.dtype() != other.dtype() {
            return Err(Error::dtype(format!(
                "isclose: dtypes differ: {} and {}",
                self.dtype(),
                other.dtype()
            )));
        }
        if !(rtol >= 0.0 && atol >= 0.0) {
            return Err(Error::argument(format!(
                "isclose: rtol {rtol} and atol {atol} must not be negative"
            )));
        }
        let shape = broadcast("isclose", self.shape(), other.shape())?;
        kind("isclose", self.dtype())?;
        driver::map::<f64, 2>("isclose", &shape, DType::Bool, [self, other], move |[x, y]| {
            let near = y.is_finite() && (x - y).abs() <= atol + rtol * y.abs();
            f64::from(u8::from(x == y || near || (equal_nan && x.is_nan() && y.is_nan())))
        })
    }
}

/// The elements of `yes` where a condition holds, those of `no` elsewhere.
#[derive(Debug)]
pub(super) struct Where {
    dtype: DType,
}

impl crate::autograd::Op for Where {
    fn name(&self) -> &'static str {
        "where"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let shape = broadcast("where", x[0].shape(), x[1].shape())?;
        let shape = broadcast("where", &shape, x[2].shape())?;
        let inputs = [x[0], x[1], x[2]];
        match kind("where", self.dtype)? {
            Kind::F32 => driver::map::<f32, 3>("where", &shape, self.dtype, inputs, |[m, y, n]| {
                f32::select_if(m != 0.0, y, n)
            }),
            Kind::F64 => driver::map::<f64, 3>("where", &shape, self.dtype, inputs, |[m, y, n]| {
                f64::select_if(m != 0.0, y, n)
            }),
            Kind::I64 => {
                driver::map::<i64, 3>(
                    "where",
                    &shape,
                    self.dtype,
                    inputs,
                    |[m, y, n]| if m != 0 { y } else { n },
                )
            }
        }
    }

    fn saves(&self, _: &[bool]) -> crate::autograd::Saves {
        crate::autograd::Saves::input(0)
    }

    fn backward(&self, saved: &crate::autograd::Saved<'_>, grad: &Tensor) -> Result<crate::autograd::Grads> {
        let mask = saved.input(0)?;
        let zero = Tensor::zeros((), grad.dtype())?;
        let yes = if saved.needs(1) { Some(grad.where_(&mask, &zero)?) } else { None };
        let no = if saved.needs(2) { Some(zero.where_(&mask, grad)?) } else { None };
        Ok(smallvec::smallvec![None, yes, no])
    }
}

trait SelectIf {
    fn select_if(mask: bool, yes: Self, no: Self) -> Self;
}

macro_rules! select_if {
    ($($t:ty),*) => {
        $(impl SelectIf for $t {
            #[inline(always)]
            fn select_if(mask: bool, yes: Self, no: Self) -> Self {
                Num::<_, false>::select(mask, Num(yes), Num(no)).0
            }
        })*
    };
}

select_if!(f32, f64);

impl Tensor {
    /// This tensor's elements where the bool `mask` holds, those of `other` elsewhere; PyTorch's `where(mask, self, other)`.
    ///
    /// # Errors
    ///
    /// If the mask is not bool, or the shapes do not broadcast.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, -2.0], [2])?;
    /// assert_eq!(x.where_(&x.gt(0)?, 0.0)?.to_vec::<f32>()?, [1.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn where_<'a>(&self, mask: &Tensor, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        if mask.dtype() != DType::Bool {
            return Err(Error::dtype(format!("where: the condition must be bool, found {}", mask.dtype())));
        }
        let other = other.into();
        let dtype = Promotion::of(self, &other);
        if dtype.category() == Category::Complex {
            return Err(Error::dtype(format!("where: not implemented for {dtype}")));
        }
        let other = other.tensor(promote_types(dtype, dtype))?;
        crate::autograd::apply(Where { dtype }, &[mask, self, &other])
    }

    /// A copy with `value` where the bool `mask` holds.
    ///
    /// # Errors
    ///
    /// If the mask is not bool, or does not broadcast with this tensor.
    pub fn masked_fill<'a>(&self, mask: &Tensor, value: impl Into<Operand<'a>>) -> Result<Tensor> {
        let value = value.into().element("masked_fill", self.dtype())?.to(self.dtype())?;
        if value.dim() > 0 {
            return Err(Error::shape(format!(
                "masked_fill: the value must have no dimensions, found {:?}",
                value.shape()
            )));
        }
        if mask.dtype() != DType::Bool {
            return Err(Error::dtype(format!("masked_fill: the mask must be bool, found {}", mask.dtype())));
        }
        value.where_(mask, self)
    }

    /// [`masked_fill`](Self::masked_fill) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the mask does not broadcast to this shape, or the tensor may not be changed while
    /// recording.
    pub fn masked_fill_<'a>(&self, mask: &Tensor, value: impl Into<Operand<'a>>) -> Result<()> {
        if mask.dtype() != DType::Bool {
            return Err(Error::dtype(format!("masked_fill_: the mask must be bool, found {}", mask.dtype())));
        }
        let value = value.into().element("masked_fill_", self.dtype())?.to(self.dtype())?;
        let keep = mask.logical_not()?;
        crate::autograd::apply_inplace(KeepWhere { dtype: self.dtype() }, self, &[&keep, &value])
    }
}

/// The first input where the mask holds, the value elsewhere: `where` with the operand order of an in-place form.
#[derive(Debug)]
struct KeepWhere {
    dtype: DType,
}

impl crate::autograd::Op for KeepWhere {
    fn name(&self) -> &'static str {
        "masked_fill"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        Where { dtype: self.dtype }.cpu(&[x[1], x[0], x[2]])
    }

    fn saves(&self, _: &[bool]) -> crate::autograd::Saves {
        crate::autograd::Saves::input(1)
    }

    fn backward(&self, saved: &crate::autograd::Saved<'_>, grad: &Tensor) -> Result<crate::autograd::Grads> {
        let keep = saved.input(1)?;
        let zero = Tensor::zeros((), grad.dtype())?;
        let kept = if saved.needs(0) { Some(grad.where_(&keep, &zero)?) } else { None };
        let value = if saved.needs(2) { Some(zero.where_(&keep, grad)?) } else { None };
        Ok(smallvec::smallvec![kept, None, value])
    }
}
