//! Positions and elements that a condition picks.

use super::slices::IndexSelect;
use crate::autograd::apply;
use crate::ops::driver;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::broadcast;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

impl Tensor {
    /// The positions of the elements that are not 0, one per row; int64 `[count, rank]`.
    ///
    /// # Errors
    ///
    /// If the dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![0.0f32, 2.0, 3.0, 0.0], [2, 2])?;
    /// assert_eq!(x.nonzero()?.to_vec::<i64>()?, [0, 1, 1, 0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn nonzero(&self) -> Result<Tensor> {
        let flat = driver::lines::places("nonzero", &self.detach().to(DType::Bool)?)?;
        let (count, rank) = (flat.numel(), self.dim());
        if rank == 1 {
            return flat.reshape([count, 1]);
        }
        flat.with_slice(|flat: &[i64]| {
            driver::build("nonzero", &[count, rank], |out: &mut [i64]| {
                for (&at, position) in flat.iter().zip(out.chunks_exact_mut(rank.max(1))) {
                    let mut rest = at as usize;
                    for (to, &n) in position.iter_mut().zip(self.shape()).rev() {
                        *to = (rest % n) as i64;
                        rest /= n;
                    }
                }
                Ok(())
            })
        })?
    }

    /// The elements where a bool mask holds, in row-major order; both broadcast.
    ///
    /// # Errors
    ///
    /// If the mask is not bool, or the shapes do not broadcast.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, -2.0, 3.0], [3])?;
    /// assert_eq!(x.masked_select(&x.gt(0)?)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        if mask.dtype() != DType::Bool {
            return Err(Error::dtype(format!(
                "masked_select: the mask must be bool, found {}",
                mask.dtype()
            )));
        }
        let shape = broadcast("masked_select", self.shape(), mask.shape())?;
        let places = driver::lines::places("masked_select", &mask.expand(shape.as_slice())?)?;
        apply(IndexSelect { dim: 0 }, &[&self.expand(shape.as_slice())?.reshape([-1])?, &places])
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static MASKS: &[OpInfo] = &[OpInfo {
    name: "masked_select",
    samples: || {
        vec![Sample::new(&[(&[2, 3, 4], D)], |x| {
            let mask = Tensor::from_vec(vec![true, false, true], [3, 1])?;
            x[0].masked_select(&mask)
        })]
    },
}];
