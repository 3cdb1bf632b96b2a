//! Complex tensors, which are only stored, as pairs of real numbers and back.

use smallvec::smallvec;

use super::driver::layers::wide;
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::tensor::layout::{Layout, broadcast};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// The dtype of a complex number's parts, and the complex dtype of real parts.
pub(super) fn parts_of(dtype: DType) -> Option<DType> {
    match dtype {
        DType::C32 => Some(DType::F16),
        DType::C64 => Some(DType::F32),
        DType::C128 => Some(DType::F64),
        _ => None,
    }
}

fn complex_of(dtype: DType) -> Option<DType> {
    [DType::C32, DType::C64, DType::C128].into_iter().find(|&c| parts_of(c) == Some(dtype))
}

/// The layout of pairs that complex numbers lie in.
fn pairs(x: &Tensor) -> Layout {
    let mut layout = x.layout().clone();
    layout.strides.iter_mut().for_each(|s| *s *= 2);
    layout.offset *= 2;
    layout.shape.push(2);
    layout.strides.push(1);
    layout
}

/// The layout of complex numbers in pairs, if they lie as such.
fn joined(x: &Tensor) -> Option<Layout> {
    let (Some((2, shape)), Some((1, strides))) = (x.shape().split_last(), x.strides().split_last()) else {
        return None;
    };
    let (shape, mut strides) = (Dims::from_slice(shape), Dims::from_slice(strides));
    let even = x.storage_offset().is_multiple_of(2) && strides.iter().all(|s| s.is_multiple_of(2));
    strides.iter_mut().for_each(|s| *s /= 2);
    even.then_some(Layout { shape, strides, offset: x.storage_offset() / 2 })
}

#[derive(Debug)]
struct AsReal;

impl Op for AsReal {
    fn name(&self) -> &'static str {
        "view_as_real"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let parts = parts_of(x[0].dtype()).ok_or_else(|| not_complex(x[0]))?;
        x[0].alias(pairs(x[0]), parts).copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(apply(AsComplex, &[grad])?)])
    }
}

#[derive(Debug)]
struct AsComplex;

impl Op for AsComplex {
    fn name(&self) -> &'static str {
        "view_as_complex"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let wrong = || Error::shape(format!("view_as_complex: no pairs of floats: {:?}", x[0].shape()));
        let dtype = complex_of(x[0].dtype()).ok_or_else(wrong)?;
        let dense = x[0].detach().copy()?;
        let layout = joined(&dense).ok_or_else(wrong)?;
        Ok(dense.alias(layout, dtype))
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(apply(AsReal, &[grad])?)])
    }
}

fn not_complex(x: &Tensor) -> Error {
    Error::dtype(format!("view_as_real: needs a complex dtype, found {}", x.dtype()))
}

impl Tensor {
    /// The real and imaginary parts of a complex tensor, as a new last dimension of size 2. PyTorch's `view_as_real`.
    ///
    /// It shares the memory of this tensor; where a gradient flows it is a copy.
    ///
    /// # Errors
    ///
    /// If the dtype is not complex.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let z = Tensor::complex(&Tensor::scalar(1.0f32), &Tensor::scalar(2.0f32))?;
    /// assert_eq!(z.view_as_real()?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn view_as_real(&self) -> Result<Tensor> {
        let parts = parts_of(self.dtype()).ok_or_else(|| not_complex(self))?;
        if self.requires_grad() && is_grad_enabled() {
            return apply(AsReal, &[self]);
        }
        Ok(self.alias(pairs(self), parts))
    }

    /// The complex numbers whose real and imaginary parts are in the last dimension, of size 2. PyTorch's
    /// `view_as_complex`.
    ///
    /// It shares the memory of this tensor; where a gradient flows it is a copy.
    ///
    /// # Errors
    ///
    /// If the dtype is not float16, float32 or float64, the last dimension is not of size 2, or pairs do not lie together.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let z = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?.view_as_complex()?;
    /// assert_eq!((z.shape(), z.dtype()), (&[2][..], DType::C64));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn view_as_complex(&self) -> Result<Tensor> {
        const OP: &str = "view_as_complex";
        let Some(dtype) = complex_of(self.dtype()) else {
            return Err(Error::dtype(format!(
                "{OP}: needs float16, float32 or float64, found {}",
                self.dtype()
            )));
        };
        let Some(layout) = joined(self) else {
            return Err(Error::shape(format!(
                "{OP}: needs a last dimension of size 2 and stride 1 and other strides that are even, found shape {:?}, \
                 strides {:?} and offset {}",
                self.shape(),
                self.strides(),
                self.storage_offset()
            )));
        };
        if self.requires_grad() && is_grad_enabled() {
            return apply(AsComplex, &[self]);
        }
        Ok(self.alias(layout, dtype))
    }

    /// Complex numbers of real and imaginary parts, which broadcast; PyTorch's `torch.complex`.
    ///
    /// # Errors
    ///
    /// If the dtypes differ or are not float16, float32 or float64, or the shapes do not broadcast.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let z = Tensor::complex(&Tensor::scalar(1.0f64), &Tensor::zeros([3], DType::F64)?)?;
    /// assert_eq!((z.shape(), z.dtype()), (&[3][..], DType::C128));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn complex(real: &Tensor, imag: &Tensor) -> Result<Tensor> {
        const OP: &str = "complex";
        if real.dtype() != imag.dtype() || complex_of(real.dtype()).is_none() {
            return Err(Error::dtype(format!(
                "{OP}: needs two tensors of float16, float32 or float64, found {} and {}",
                real.dtype(),
                imag.dtype()
            )));
        }
        let shape = broadcast(OP, real.shape(), imag.shape())?;
        let parts = [real.expand(shape.as_slice())?, imag.expand(shape.as_slice())?];
        Tensor::stack(&parts, -1)?.view_as_complex()
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(super) static COMPLEX: &[OpInfo] = &[OpInfo {
    name: "complex",
    samples: || {
        vec![Sample::new(&[(&[2, 3], D), (&[3], D)], |x| {
            // bfloat16 has no complex dtype.
            let wide = wide(x[0].dtype());
            Tensor::complex(&x[0].to(wide)?, &x[1].to(wide)?)?.view_as_real()?.to(x[0].dtype())
        })]
    },
}];
