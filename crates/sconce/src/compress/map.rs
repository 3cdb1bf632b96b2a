//! Elementwise maps that keep the dtype: the same operations on a live tensor and on bytes of a file.

use crate::autograd::no_grad;
use crate::io::swap_bytes;
use crate::tensor::scalar::Scalar;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// A function of one element.
#[derive(Clone, Debug)]
pub(super) enum Map {
    Scale(Scalar),
    Add(Scalar),
    Clamp {
        min: Option<Scalar>,
        max: Option<Scalar>,
    },
    NanToNum {
        nan: f64,
        posinf: Option<f64>,
        neginf: Option<f64>,
    },
    /// Reverses the bytes of numbers of this size.
    Swap(usize),
}

impl Map {
    /// Applies it to a tensor, in place.
    pub(super) fn apply_(&self, x: &Tensor) -> Result<()> {
        match self {
            Self::Scale(factor) => x.mul_(*factor),
            Self::Add(term) => x.add_(*term),
            Self::Clamp { min, max } => {
                min.map_or(Ok(()), |min| x.clamp_min_(min))?;
                max.map_or(Ok(()), |max| x.clamp_max_(max))
            }
            Self::NanToNum { nan, posinf, neginf } => x.copy_(&x.nan_to_num(*nan, *posinf, *neginf)?),
            Self::Swap(_) => Err(Error::unsupported("byte orders are a matter of files")),
        }
    }

    /// Applies it to whole elements in little-endian bytes.
    pub(super) fn apply(&self, dtype: DType, bytes: &mut [u8]) -> Result<()> {
        if let Self::Swap(size) = self {
            swap_bytes(bytes, *size);
            return Ok(());
        }
        let x = Tensor::from_bytes(bytes, dtype, [bytes.len() / dtype.size()])?;
        no_grad(|| self.apply_(&x))?;
        bytes.copy_from_slice(&x.to_bytes()?);
        Ok(())
    }

    /// Fails if elements of a dtype cannot be mapped.
    pub(super) fn check(&self, dtype: DType) -> Result<()> {
        self.apply(dtype, &mut vec![0; dtype.size()])
    }
}
