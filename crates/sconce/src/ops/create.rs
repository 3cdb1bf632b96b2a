//! New tensors.

use half::{bf16, f16};

use super::driver;
use crate::tensor::dtype::{Category, Element};
use crate::tensor::layout::{Layout, checked_numel};
use crate::tensor::scalar::Scalar;
use crate::tensor::sizes::Sizes;
use crate::tensor::storage::Storage;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// A requested shape without negative sizes, of a size that can be addressed.
fn shape_of(op: &str, sizes: &impl Sizes) -> Result<Dims> {
    let sizes = sizes.sizes();
    let shape = sizes
        .iter()
        .map(|&n| {
            usize::try_from(n).map_err(|_| Error::shape(format!("{op}: negative size in shape {sizes:?}")))
        })
        .collect::<Result<Dims>>()?;
    checked_numel(&shape)?;
    Ok(shape)
}

/// The row-major layout of a shape that so many elements fill.
fn row_major(op: &str, shape: &impl Sizes, elements: usize) -> Result<Layout> {
    let shape = shape_of(op, shape)?;
    let layout = Layout::contiguous(&shape)?;
    if layout.numel() != elements {
        return Err(Error::shape(format!("{op}: {elements} elements do not fill shape {shape:?}")));
    }
    Ok(layout)
}

/// A tensor of `n` computed elements; an error instead of an abort if there is no memory for them.
pub(super) fn collect<T: Element>(op: &str, n: usize, element: impl Fn(usize) -> T) -> Result<Tensor> {
    let mut elements = Vec::new();
    elements
        .try_reserve_exact(n)
        .map_err(|e| Error::argument(format!("{op}: cannot allocate {n} elements")).with_source(e))?;
    elements.extend((0..n).map(element));
    Tensor::from_vec(elements, [n])
}

impl Tensor {
    /// A tensor of zeros.
    ///
    /// # Errors
    ///
    /// If a size is negative, their product overflows or there is not that much memory.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2, 2], DType::I64)?;
    /// assert_eq!(x.to_vec::<i64>()?, [0; 4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn zeros(shape: impl Sizes, dtype: DType) -> Result<Self> {
        let layout = Layout::contiguous(&shape_of("zeros", &shape)?)?;
        let storage = Storage::try_zeroed("zeros", layout.numel() * dtype.size())?;
        Ok(Self::new(storage, layout, dtype))
    }

    /// A tensor of ones.
    ///
    /// # Errors
    ///
    /// As [`zeros`](Self::zeros); also for dtypes that are only stored.
    pub fn ones(shape: impl Sizes, dtype: DType) -> Result<Self> {
        Self::full(shape, 1, dtype)
    }

    /// A tensor with one value everywhere, converted to `dtype`.
    ///
    /// # Errors
    ///
    /// As [`ones`](Self::ones); also if the dtype cannot hold the value.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::full([2], 2.5, DType::F64)?.to_vec::<f64>()?, [2.5, 2.5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn full(shape: impl Sizes, value: impl Into<Scalar>, dtype: DType) -> Result<Self> {
        let value = value.into();
        value.check_fits("full", dtype)?;
        driver::full("full", &shape_of("full", &shape)?, value, dtype)
    }

    /// A number as an operand: what its dtype cannot hold becomes infinite or wraps.
    pub(crate) fn number(value: Scalar, dtype: DType) -> Result<Self> {
        match (value, dtype) {
            (Scalar::Float(x), DType::F32) => Ok(Self::scalar(x as f32)),
            (Scalar::Float(x), DType::F64) => Ok(Self::scalar(x)),
            (Scalar::Int(i), DType::F32) => Ok(Self::scalar(i as f32)),
            (Scalar::Int(i), DType::I64) => Ok(Self::scalar(i)),
            _ => driver::full("full", &[], value, dtype),
        }
    }

    /// A tensor whose values do not matter. They are zero, unlike PyTorch's.
    ///
    /// # Errors
    ///
    /// As [`zeros`](Self::zeros).
    pub fn empty(shape: impl Sizes, dtype: DType) -> Result<Self> {
        Self::zeros(shape, dtype)
    }

    /// A tensor of zeros with this one's shape and dtype.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::zeros(self.shape(), self.dtype())
    }

    /// A tensor of ones with this one's shape and dtype.
    ///
    /// # Errors
    ///
    /// As [`ones`](Self::ones).
    pub fn ones_like(&self) -> Result<Self> {
        Self::ones(self.shape(), self.dtype())
    }

    /// A tensor of one value with this one's shape and dtype.
    ///
    /// # Errors
    ///
    /// As [`ones`](Self::ones).
    pub fn full_like(&self, value: impl Into<Scalar>) -> Result<Self> {
        Self::full(self.shape(), value, self.dtype())
    }

    /// The numbers `start`, `start + step`, … below `end` (above it for a negative step).
    ///
    /// # Errors
    ///
    /// If `step` is 0 or leads away from `end`, or a bound is not finite.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::arange(0, 10, 3, DType::I64)?.to_vec::<i64>()?, [0, 3, 6, 9]);
    /// assert_eq!(Tensor::arange(1, 0, -0.5, DType::F32)?.to_vec::<f32>()?, [1.0, 0.5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn arange(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        step: impl Into<Scalar>,
        dtype: DType,
    ) -> Result<Self> {
        let (start, end, step) = (start.into(), end.into(), step.into());
        let wrong = |what: &str| {
            Error::argument(format!("arange: {what}: start {start:?}, end {end:?}, step {step:?}"))
        };
        let (s, e, d) = (start.to_f64(), end.to_f64(), step.to_f64());
        if d == 0.0 || !d.is_finite() || !s.is_finite() || !e.is_finite() {
            return Err(wrong("bounds must be finite and the step must not be 0"));
        }
        if (e - s) * d < 0.0 {
            return Err(wrong("the step leads away from the end"));
        }
        if dtype.category() == Category::Integer {
            // As in PyTorch bounds of integers are cut to integers, but only int64 counts its elements by them.
            let [s, e, d] = [start, end, step].map(|bound| match bound {
                Scalar::Int(i) => i128::from(i),
                other => i128::from(other.to_f64() as i64),
            });
            if d == 0 || dtype == DType::I64 && (e - s) * d < 0 {
                return Err(wrong("as integers the step is 0 or leads away from the end"));
            }
            let floats = [start, end, step].iter().any(|bound| matches!(bound, Scalar::Float(_)));
            let n = match dtype {
                DType::I64 => (e - s + d - d.signum()) / d,
                _ if floats => ((end.to_f64() - start.to_f64()) / step.to_f64()).ceil() as i128,
                _ => (e - s + d - d.signum()) / d,
            };
            let n = usize::try_from(n.max(0)).map_err(|_| wrong("too many elements"))?;
            checked_numel(&[n])?;
            return collect("arange", n, |i| (s + i as i128 * d) as i64)?.to(dtype);
        }
        let n = ((e - s) / d).ceil();
        if n >= (1u64 << 48) as f64 {
            return Err(wrong("too many elements"));
        }
        collect("arange", n as usize, |i| s + i as f64 * d)?.to(dtype)
    }

    /// `steps` numbers at equal distances from `start` to `end`, both included.
    ///
    /// # Errors
    ///
    /// If there is not that much memory, or the dtype is bool or only stored.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::linspace(0, 1, 3, DType::F32)?.to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// assert_eq!(Tensor::linspace(0, 5, 3, DType::I64)?.to_vec::<i64>()?, [0, 2, 5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn linspace(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        steps: usize,
        dtype: DType,
    ) -> Result<Self> {
        match dtype {
            DType::F16 => {
                Self::spaced_halves(start.into(), end.into(), steps, dtype, |x| f16::from_f32(x).to_f32())
            }
            DType::BF16 => {
                Self::spaced_halves(start.into(), end.into(), steps, dtype, |x| bf16::from_f32(x).to_f32())
            }
            _ => Self::spaced("linspace", start.into(), end.into(), steps, dtype, |x| x),
        }
    }

    /// `base` to the powers of `steps` numbers at equal distances from `start` to `end`; PyTorch's default base is 10.
    ///
    /// # Errors
    ///
    /// As [`linspace`](Self::linspace).
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::logspace(0, 2, 3, 10.0, DType::F64)?.to_vec::<f64>()?, [1.0, 10.0, 100.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn logspace(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        steps: usize,
        base: f64,
        dtype: DType,
    ) -> Result<Self> {
        let start = start.into();
        if steps == 1 && dtype.is_floating_point() {
            // The exponent is not rounded to the dtype first.
            return Self::number(Scalar::Float(base.powf(start.to_f64())), dtype)?.reshape([1]);
        }
        Self::spaced("logspace", start, end.into(), steps, dtype, move |x| base.powf(x))
    }

    /// `linspace` of a half type, in which PyTorch rounds every intermediate result to it.
    fn spaced_halves(
        start: Scalar,
        end: Scalar,
        steps: usize,
        dtype: DType,
        round: fn(f32) -> f32,
    ) -> Result<Self> {
        const OP: &str = "linspace";
        checked_numel(&[steps])?;
        let bound = |s: Scalar| -> Result<f32> {
            s.check_fits(OP, dtype)?;
            Ok(round(s.to_f64() as f32))
        };
        let (start, end) = (bound(start)?, bound(end)?);
        let step = round(round(end - start) / round(steps.saturating_sub(1).max(1) as f32));
        let at = |i: usize| {
            if i < steps / 2 || steps == 1 {
                round(start + round(step * round(i as f32)))
            } else {
                round(end - round(step * round((steps - 1 - i) as f32)))
            }
        };
        collect(OP, steps, at)?.to(dtype)
    }

    fn spaced(
        op: &str,
        start: Scalar,
        end: Scalar,
        steps: usize,
        dtype: DType,
        f: impl Fn(f64) -> f64,
    ) -> Result<Self> {
        if dtype == DType::Bool {
            return Err(Error::dtype(format!("{op}: not implemented for bool")));
        }
        // Bounds are those of the dtype; the distance is that of floats.
        let bound = |s: Scalar| {
            s.check_fits(op, dtype)?;
            Self::number(s, dtype)?.item()
        };
        checked_numel(&[steps])?;
        let (start, end) = (bound(start)?, bound(end)?);
        let step = (end - start) / steps.saturating_sub(1).max(1) as f64;
        let half = steps / 2;
        let at = |i: usize| {
            if i < half || steps == 1 { start + step * i as f64 } else { end - step * (steps - 1 - i) as f64 }
        };
        collect(op, steps, |i| f(at(i)))?.to(dtype)
    }

    /// The identity matrix of `n` rows and columns.
    ///
    /// # Errors
    ///
    /// If `n * n` overflows, or for dtypes that are only stored.
    pub fn eye(n: usize, dtype: DType) -> Result<Self> {
        Self::eye_of(n, n, dtype)
    }

    /// A matrix of `n` rows and `m` columns with ones on its diagonal; PyTorch's `eye(n, m)`.
    ///
    /// # Errors
    ///
    /// If `n * m` overflows, or for dtypes that are only stored.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::eye_of(2, 3, DType::I64)?.to_vec::<i64>()?, [1, 0, 0, 0, 1, 0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn eye_of(n: usize, m: usize, dtype: DType) -> Result<Self> {
        let out = Self::zeros([n, m], dtype)?;
        let k = n.min(m);
        if k > 0 {
            out.as_strided([k], [m + 1], 0)?.fill_(1)?;
        }
        Ok(out)
    }

    /// A tensor with the elements of a vector, in row-major order, in the vector's memory.
    ///
    /// # Errors
    ///
    /// If the shape does not hold that many elements.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1i64, 2, 3, 4], [2, 2])?;
    /// assert_eq!(x.shape(), [2, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn from_vec<T: Element>(elements: Vec<T>, shape: impl Sizes) -> Result<Self> {
        let layout = row_major("from_vec", &shape, elements.len())?;
        Ok(Self::new(Storage::from_vec("from_vec", elements)?, layout, T::DTYPE))
    }

    /// A tensor with a copy of a slice, in row-major order.
    ///
    /// # Errors
    ///
    /// If the shape does not hold that many elements.
    pub fn from_slice<T: Element>(elements: &[T], shape: impl Sizes) -> Result<Self> {
        let layout = row_major("from_slice", &shape, elements.len())?;
        Ok(Self::new(Storage::from_elements("from_slice", elements)?, layout, T::DTYPE))
    }

    /// A tensor of no dimensions.
    ///
    /// ```
    /// assert_eq!(sconce::Tensor::scalar(2.5f32).item()?, 2.5);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn scalar<T: Element>(value: T) -> Self {
        let storage = Storage::from_elements("scalar", &[value]).expect("one element is kept inline");
        Self::new(storage, Layout::row_major(&[]), T::DTYPE)
    }

    /// A tensor with these little-endian bytes, in row-major order. Bytes of dtype bool become 0 or 1.
    ///
    /// # Errors
    ///
    /// If their number does not fit the shape and dtype.
    pub fn from_bytes(bytes: &[u8], dtype: DType, shape: impl Sizes) -> Result<Self> {
        let shape = shape_of("from_bytes", &shape)?;
        let layout = Layout::contiguous(&shape)?;
        if layout.numel() * dtype.size() != bytes.len() {
            return Err(Error::shape(format!(
                "from_bytes: {} bytes do not fill shape {shape:?} of {dtype}",
                bytes.len()
            )));
        }
        let storage = Storage::from_bytes("from_bytes", bytes, |elements| {
            if dtype == DType::Bool {
                elements.iter_mut().for_each(|b| *b = u8::from(*b != 0));
            }
            if cfg!(target_endian = "big") {
                let part =
                    if dtype.category() == Category::Complex { dtype.size() / 2 } else { dtype.size() };
                elements.chunks_exact_mut(part).for_each(<[u8]>::reverse);
            }
        })?;
        Ok(Self::new(storage, layout, dtype))
    }
}
