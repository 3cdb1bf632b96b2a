//! Copies, conversions and fills.

use smallvec::smallvec;

use super::driver;
use super::registry::{OpInfo, Sample};
use crate::Result;
use crate::autograd::{Grads, Op, Saved, Saves, apply, apply_inplace};
use crate::tensor::scalar::Scalar;
use crate::tensor::{DType, Tensor};

/// A row-major copy in a dtype; the engine converts the gradient back.
#[derive(Debug)]
struct To {
    dtype: DType,
}

impl Op for To {
    fn name(&self) -> &'static str {
        "to"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        converted(x[0], self.dtype)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(grad.clone())])
    }
}

/// The integers with a sign of the size of those without one that are only stored.
fn signed(dtype: DType) -> Option<DType> {
    match dtype {
        DType::U16 => Some(DType::I16),
        DType::U32 => Some(DType::I32),
        DType::U64 => Some(DType::I64),
        _ => None,
    }
}

/// A copy in a dtype; integers without a sign that are only stored go by way of int64.
fn converted(x: &Tensor, dtype: DType) -> Result<Tensor> {
    const UPPER: f64 = 9_223_372_036_854_775_808.0; // 2⁶³
    let copy = |x: &Tensor, dtype| driver::copy("to", x, dtype);
    if x.dtype() == dtype {
        return copy(x, dtype);
    }
    if let Some(bits) = signed(x.dtype()) {
        let wide = copy(&x.alias(x.layout().clone(), bits), DType::I64)?;
        return match x.dtype() {
            DType::U16 => converted(&wide.bitwise_and(0xffff)?, dtype),
            DType::U32 => converted(&wide.bitwise_and(0xffff_ffff_i64)?, dtype),
            _ if dtype.is_floating_point() => {
                // A sign that counts for 2⁶³ instead of −2⁶³; two halves, so that the sum is rounded once.
                let half = |x: Tensor| copy(&x.bitwise_and(0xffff_ffff_i64)?, DType::F64);
                let high = half(wide.bitwise_right_shift(32)?)?.mul(4_294_967_296.0)?;
                copy(&high.add(&half(wide)?)?, dtype)
            }
            _ => converted(&wide, dtype),
        };
    }
    let Some(bits) = signed(dtype) else { return copy(x, dtype) };
    let wide = if dtype == DType::U64 && x.dtype().is_floating_point() {
        let x = copy(x, DType::F64)?;
        let upper = x.ge(UPPER)?;
        let low = copy(&x.sub(&copy(&upper, DType::F64)?.mul(UPPER)?)?, DType::I64)?;
        low.add(&copy(&upper, DType::I64)?.mul(i64::MIN)?)?
    } else {
        copy(x, DType::I64)?
    };
    let wrapped = copy(&wide, bits)?;
    Ok(wrapped.alias(wrapped.layout().clone(), dtype))
}

/// The second input, over the first.
#[derive(Debug)]
struct CopyFrom;

impl Op for CopyFrom {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let out = x[0].zeros_like()?;
        driver::copy_into("copy", &out, x[1])?;
        Ok(out)
    }

    fn cpu_into(&self, x: &[&Tensor], out: &Tensor) -> Result<()> {
        driver::copy_into("copy_", out, x[1])
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let old = if saved.needs(0) { Some(grad.zeros_like()?) } else { None };
        Ok(smallvec![old, Some(grad.clone())])
    }
}

/// A value over the input.
#[derive(Debug)]
struct Fill {
    value: Scalar,
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::full("fill", x[0].shape(), self.value, x[0].dtype())
    }

    fn cpu_into(&self, _: &[&Tensor], out: &Tensor) -> Result<()> {
        driver::fill("fill_", out, self.value)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(grad.zeros_like()?)])
    }
}

impl Tensor {
    /// A row-major copy with memory of its own, with a gradient; PyTorch's `clone` (in Rust, `clone` copies the handle).
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2], DType::F32)?;
    /// let y = x.copy()?;
    /// y.fill_(1)?;
    /// assert_eq!(x.to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn copy(&self) -> Result<Tensor> {
        apply(To { dtype: self.dtype() }, &[self])
    }

    /// A [`copy`](Self::copy) whose elements lie in the order of this tensor's: with the same strides where it fills its
    /// memory without gaps. What PyTorch's `clone()` does; a tensor that holds elements several times is copied row-major.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::F32)?.t()?;
    /// assert_eq!(x.copy_in_order()?.strides(), [1, 3]);
    /// assert_eq!(x.copy()?.strides(), [2, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn copy_in_order(&self) -> Result<Tensor> {
        if self.is_contiguous() || self.layout().overlaps_itself() {
            return self.copy();
        }
        let mut order: Vec<usize> = (0..self.dim()).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(self.strides()[d]));
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &d)| back[d] = at);
        self.permute(order)?.copy()?.permute(back)
    }

    /// The tensor in another dtype; itself if it has that dtype already.
    ///
    /// Floats become integers by truncation, everything that is not 0 becomes true.
    ///
    /// # Errors
    ///
    /// If one of two different dtypes is only stored, and is not uint16, uint32 or uint64.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::from_vec(vec![1.9f32, -1.9], [2])?;
    /// assert_eq!(x.to(DType::I64)?.to_vec::<i64>()?, [1, -1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn to(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() { Ok(self.clone()) } else { apply(To { dtype }, &[self]) }
    }

    /// Copies another tensor's values over this one's, broadcast and converted.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, a dtype is only stored, or the tensor may not be changed while recording.
    pub fn copy_(&self, from: &Tensor) -> Result<()> {
        if self.is(from) {
            return Ok(());
        }
        apply_inplace(CopyFrom, self, &[from])
    }

    /// Sets every element to a value; also where a dimension repeats its elements.
    ///
    /// # Errors
    ///
    /// If the dtype cannot hold the value or is only stored, or the tensor may not be changed while recording.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2], DType::U8)?;
    /// x.fill_(-1)?;
    /// assert_eq!(x.to_vec::<u8>()?, [255, 255]);
    /// assert!(x.fill_(300).is_err());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn fill_(&self, value: impl Into<Scalar>) -> Result<()> {
        let value = value.into();
        value.check_fits("fill_", self.dtype())?;
        // One of the elements that a dimension of stride 0 repeats stands for all of them.
        let repeated = |d: &usize| self.strides()[*d] == 0 && self.shape()[*d] > 1;
        match (0..self.dim()).find(repeated) {
            Some(d) => self.narrow(d as isize, 0, 1)?.fill_(value),
            None => apply_inplace(Fill { value }, self, &[]),
        }
    }

    /// Sets every element to 0.
    ///
    /// # Errors
    ///
    /// As [`fill_`](Self::fill_).
    pub fn zero_(&self) -> Result<()> {
        self.fill_(0)
    }
}

/// For the generic tests.
pub(crate) static COPIES: &[OpInfo] = &[
    OpInfo { name: "clone", samples: || vec![Sample::new(&[(&[2, 3, 4], (-3.0, 3.0))], |x| x[0].copy())] },
    OpInfo {
        name: "copy",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3], (-3.0, 3.0)), (&[3], (-3.0, 3.0))], |x| {
                    let y = x[0].mul(2.0)?;
                    y.copy_(&x[1])?;
                    y.mul(&x[0])
                })
                .with_inplace(|x| {
                    let old = x[0].copy()?;
                    x[0].copy_(&x[1])?;
                    x[0].mul_(&old)
                }),
            ]
        },
    },
];
