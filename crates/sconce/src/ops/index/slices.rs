//! One index per slice of a dimension.

use smallvec::smallvec;

use super::elements::{Around, add_at, move_elements, sum_at};
use super::{checked, index, same_dtype};
use crate::autograd::{Grads, Op, Saved, Saves, apply, apply_inplace, is_grad_enabled};
use crate::ops::driver;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::wrap_dim;
use crate::tensor::scalar::Operand;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct IndexSelect {
    pub(super) dim: usize,
}

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::lines::take_slices("index_select", x[0], self.dim, x[1])
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (shape, index) = (saved.shape(0)?, saved.input(1)?);
        if !is_grad_enabled() {
            return Ok(smallvec![Some(sum_at("index_select", &shape, self.dim, &index, grad)?), None]);
        }
        let zeros = Tensor::zeros(shape.as_slice(), grad.dtype())?;
        let gradient = apply(IndexAdd { dim: self.dim }, &[&zeros, &index, grad])?;
        Ok(smallvec![Some(gradient), None])
    }
}

#[derive(Debug)]
pub(super) struct IndexAdd {
    pub(super) dim: usize,
}

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        add_at("index_add", x[0], self.dim, x[1], x[2])
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        Saves::input(1).when(needs[2])
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let from = if saved.needs(2) {
            Some(apply(IndexSelect { dim: self.dim }, &[grad, &saved.input(1)?])?)
        } else {
            None
        };
        Ok(smallvec![Some(grad.clone()), None, from])
    }
}

#[derive(Debug)]
struct IndexCopy {
    dim: usize,
}

impl Op for IndexCopy {
    fn name(&self) -> &'static str {
        "index_copy"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let Around { n, inner, .. } = Around::new(x[0].shape(), self.dim);
        let (k, bytes) = (x[1].numel(), inner * x[0].dtype().size());
        move_elements("index_copy", x[2], x[1], x[0].shape(), Some(x[0]), |from, to, index| {
            if from.is_empty() {
                return;
            }
            for (from, to) in from.chunks_exact(k * bytes).zip(to.chunks_exact_mut(n * bytes)) {
                for (from, &index) in from.chunks_exact(bytes).zip(index) {
                    to[index as usize * bytes..][..bytes].copy_from_slice(from);
                }
            }
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let index = saved.input(1)?;
        let x = if saved.needs(0) { Some(grad.index_fill(self.dim as isize, &index, 0)?) } else { None };
        let from =
            if saved.needs(2) { Some(apply(IndexSelect { dim: self.dim }, &[grad, &index])?) } else { None };
        Ok(smallvec![x, None, from])
    }
}

/// The vector of indices of an operation on whole slices, and its dimension.
pub(super) fn per_slice(op: &str, x: &Tensor, dim: isize, index: &Tensor) -> Result<(usize, Tensor)> {
    let d = wrap_dim(op, dim, x.dim())?;
    if index.dim() > 1 {
        return Err(Error::shape(format!(
            "{op}: the index must be a vector, found shape {:?}",
            index.shape()
        )));
    }
    let size = x.shape().get(d).copied().unwrap_or(1);
    let index = if index.dim() == 1 { index.clone() } else { index.reshape([1])? };
    Ok((d, checked(op, &index, size)?))
}

/// Refuses slices that do not fit `x` with the size of `index` in one dimension, or another dtype.
pub(super) fn check_slices(op: &str, x: &Tensor, dim: usize, index: &Tensor, from: &Tensor) -> Result<()> {
    let mut expected = Dims::from_slice(x.shape());
    if let Some(size) = expected.get_mut(dim) {
        *size = index.numel();
    }
    let fits = from.shape() == expected.as_slice() || from.dim() == 0 && index.numel() == 1 && x.dim() <= 1;
    if !fits {
        return Err(Error::shape(format!(
            "{op}: expected a source of shape {expected:?}, found {:?}",
            from.shape()
        )));
    }
    same_dtype(op, x, from)
}

impl Tensor {
    /// The slices of a dimension at a vector of indices.
    ///
    /// # Errors
    ///
    /// If an index is out of range or no integer, or the index is no vector.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let rows = Tensor::from_vec(vec![1i64, 1, 0], [3])?;
    /// assert_eq!(x.index_select(0, &rows)?.to_vec::<f32>()?, [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn index_select(&self, dim: isize, index: &Tensor) -> Result<Tensor> {
        let (d, index) = per_slice("index_select", self, dim, index)?;
        if self.dim() == 0 {
            if index.numel() != 1 {
                return Err(Error::shape(format!(
                    "index_select: {} indices into a tensor without dimensions",
                    index.numel()
                )));
            }
            return self.copy();
        }
        apply(IndexSelect { dim: d }, &[self, &index])
    }

    /// A copy with the slices of `source` added to those of a dimension at a vector of indices.
    ///
    /// # Errors
    ///
    /// As [`index_select`](Self::index_select); also if shapes or dtypes do not fit.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let rows = Tensor::from_vec(vec![1i64, 1], [2])?;
    /// let x = Tensor::zeros([2, 2], DType::F32)?.index_add(0, &rows, &Tensor::ones([2, 2], DType::F32)?)?;
    /// assert_eq!(x.to_vec::<f32>()?, [0.0, 0.0, 2.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn index_add(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let (d, index) = per_slice("index_add", self, dim, index)?;
        check_slices("index_add", self, d, &index, source)?;
        apply(IndexAdd { dim: d }, &[self, &index, source])
    }

    /// [`index_add`](Self::index_add) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the tensor may not be changed while recording.
    pub fn index_add_(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<()> {
        let (d, index) = per_slice("index_add_", self, dim, index)?;
        check_slices("index_add_", self, d, &index, source)?;
        apply_inplace(IndexAdd { dim: d }, self, &[&index, source])
    }

    /// A copy with the slices of a dimension at a vector of indices replaced by those of `source`.
    ///
    /// # Errors
    ///
    /// As [`index_add`](Self::index_add).
    pub fn index_copy(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let (d, index) = per_slice("index_copy", self, dim, index)?;
        check_slices("index_copy", self, d, &index, source)?;
        apply(IndexCopy { dim: d }, &[self, &index, source])
    }

    /// [`index_copy`](Self::index_copy) in place.
    ///
    /// # Errors
    ///
    /// As [`index_add_`](Self::index_add_).
    pub fn index_copy_(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<()> {
        let (d, index) = per_slice("index_copy_", self, dim, index)?;
        check_slices("index_copy_", self, d, &index, source)?;
        apply_inplace(IndexCopy { dim: d }, self, &[&index, source])
    }

    /// A copy with one value in the slices of a dimension at a vector of indices.
    ///
    /// # Errors
    ///
    /// As [`index_select`](Self::index_select); also if the value is a tensor with dimensions.
    pub fn index_fill<'a>(
        &self,
        dim: isize,
        index: &Tensor,
        value: impl Into<Operand<'a>>,
    ) -> Result<Tensor> {
        self.masked_fill(&self.slice_mask("index_fill", dim, index)?, value)
    }

    /// [`index_fill`](Self::index_fill) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the tensor may not be changed while recording.
    pub fn index_fill_<'a>(&self, dim: isize, index: &Tensor, value: impl Into<Operand<'a>>) -> Result<()> {
        self.masked_fill_(&self.slice_mask("index_fill_", dim, index)?, value)
    }

    /// A bool mask, broadcasting to this shape, of the slices at indices.
    fn slice_mask(&self, op: &str, dim: isize, index: &Tensor) -> Result<Tensor> {
        let (d, index) = per_slice(op, self, dim, index)?;
        let mut shape = Dims::from_elem(1, self.dim());
        if let Some(size) = shape.get_mut(d) {
            *size = self.shape()[d];
        }
        index.with_slice(|index: &[i64]| {
            driver::build(op, &shape, |mask: &mut [bool]| {
                index.iter().for_each(|&i| mask[i as usize] = true);
                Ok(())
            })
        })?
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static SLICES: &[OpInfo] = &[
    OpInfo {
        name: "index_select",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4], D)], |x| x[0].index_select(1, &index(&[2, 0, 2, 2], &[4])?))]
        },
    },
    OpInfo {
        name: "index_add",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4], D), (&[2, 2, 4], D)], |x| {
                    x[0].index_add(1, &index(&[2, 2], &[2])?, &x[1])
                })
                .with_inplace(|x| x[0].index_add_(1, &index(&[2, 2], &[2])?, &x[1])),
            ]
        },
    },
    OpInfo {
        name: "index_copy",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4], D), (&[2, 2, 4], D)], |x| {
                    x[0].index_copy(1, &index(&[2, 0], &[2])?, &x[1])
                })
                .with_inplace(|x| x[0].index_copy_(1, &index(&[2, 0], &[2])?, &x[1])),
            ]
        },
    },
    OpInfo {
        name: "index_fill",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4], D)], |x| x[0].index_fill(2, &index(&[3, 0], &[2])?, 7.0))
                    .with_inplace(|x| x[0].index_fill_(2, &index(&[3, 0], &[2])?, 7.0)),
            ]
        },
    },
];
