//! One index per element: gathering and scattering.

use smallvec::smallvec;

use super::elements::{Around, add_at, by_size, move_elements, scatter_elements, sum_at};
use super::{checked, index, integers, same_dtype};
use crate::autograd::{Grads, Op, Saved, Saves, apply, apply_inplace, is_grad_enabled};
use crate::ops::driver;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::layout::{broadcast, wrap_dim};
use crate::tensor::scalar::Operand;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

#[derive(Debug)]
struct Gather {
    dim: usize,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::lines::gather("gather", x[0], self.dim, x[1])
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (shape, mut index, mut grad) = (saved.shape(0)?, saved.input(1)?, grad.clone());
        if index.dim() < shape.len() {
            (index, grad) = (index.unsqueeze(self.dim as isize)?, grad.unsqueeze(self.dim as isize)?);
        }
        if !is_grad_enabled() {
            return Ok(smallvec![Some(sum_at("gather", &shape, self.dim, &index, &grad)?), None]);
        }
        let zeros = Tensor::zeros(shape.as_slice(), grad.dtype())?;
        let gradient = apply(ScatterAdd { dim: self.dim }, &[&zeros, &index, &grad])?;
        Ok(smallvec![Some(gradient), None])
    }
}

#[derive(Debug)]
struct ScatterAdd {
    dim: usize,
}

impl Op for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        add_at("scatter_add", x[0], self.dim, x[1], x[2])
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        Saves::input(1).when(needs[2])
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let from = if saved.needs(2) {
            Some(apply(Gather { dim: self.dim }, &[grad, &saved.input(1)?])?)
        } else {
            None
        };
        Ok(smallvec![Some(grad.clone()), None, from])
    }
}

#[derive(Debug)]
struct Scatter {
    dim: usize,
}

impl Op for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let around = Around::new(x[0].shape(), self.dim);
        let k = x[1].shape().get(self.dim).copied().unwrap_or(1);
        let size = x[0].dtype().size();
        move_elements("scatter", x[2], x[1], x[0].shape(), Some(x[0]), |from, to, index| {
            by_size!(size, scatter_elements(from, to, index, around, k));
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let index = saved.input(1)?;
        let x = if saved.needs(0) {
            let zeros = Tensor::zeros(index.shape(), grad.dtype())?;
            Some(apply(Scatter { dim: self.dim }, &[grad, &index, &zeros])?)
        } else {
            None
        };
        let from =
            if saved.needs(2) { Some(apply(Gather { dim: self.dim }, &[grad, &index])?) } else { None };
        Ok(smallvec![x, None, from])
    }
}

/// What a call with one index per element comes down to: the dimension and the checked indices.
pub(super) fn per_element(op: &str, x: &Tensor, dim: isize, index: &Tensor) -> Result<(usize, Tensor)> {
    let (d, index) = unchecked(op, x, dim, index)?;
    let size = x.shape().get(d).copied().unwrap_or(1);
    Ok((d, checked(op, &index, size)?))
}

/// The same where the kernel checks the indices.
fn unchecked(op: &str, x: &Tensor, dim: isize, index: &Tensor) -> Result<(usize, Tensor)> {
    let d = wrap_dim(op, dim, x.dim())?;
    if index.numel() > 0 && x.dim().max(1) != index.dim().max(1) {
        return Err(Error::shape(format!(
            "{op}: the index of shape {:?} must have as many dimensions as {:?}",
            index.shape(),
            x.shape()
        )));
    }
    Ok((d, integers(op, index)?))
}

/// The leading part of `t` of the size of `index` in each dimension but `except`.
pub(super) fn leading(op: &str, t: &Tensor, index: &Tensor, except: Option<usize>) -> Result<Tensor> {
    let mut part = t.clone();
    for d in 0..t.dim() {
        let size = index.shape().get(d).copied().unwrap_or(1);
        if Some(d) == except || size == t.shape()[d] {
            continue;
        }
        if size > t.shape()[d] {
            return Err(Error::shape(format!(
                "{op}: the index of shape {:?} exceeds {:?} in dimension {d}",
                index.shape(),
                t.shape()
            )));
        }
        part = part.narrow(d as isize, 0, size)?;
    }
    Ok(part)
}

/// The elements of a tensor at places along a dimension that an operation has found: of the tensor's shape but for that
/// dimension, or without it.
pub(in crate::ops) fn at_places(x: &Tensor, dim: usize, places: &Tensor) -> Result<Tensor> {
    if places.numel() == 0 {
        return x.gather(dim as isize, places);
    }
    apply(Gather { dim }, &[x, places])
}

impl Tensor {
    /// The elements at indices along a dimension: `out[i][j] = self[index[i][j]][j]` for dimension 0.
    ///
    /// The index has as many dimensions as this tensor, and is nowhere larger but along `dim`.
    ///
    /// # Errors
    ///
    /// If an index is out of range (they do not count from the end), is no integer, or the shapes do not fit.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let index = Tensor::from_vec(vec![0i64, 0, 1, 0], [2, 2])?;
    /// assert_eq!(x.gather(1, &index)?.to_vec::<f32>()?, [1.0, 1.0, 4.0, 3.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Tensor> {
        let (d, index) = unchecked("gather", self, dim, index)?;
        if index.numel() == 0 {
            return self.reshape([-1])?.narrow(0, 0, 0)?.copy()?.reshape(index.shape());
        }
        apply(Gather { dim: d }, &[&leading("gather", self, &index, Some(d))?, &index])
    }

    /// A copy with the elements of `source`, or a number, at indices along a dimension.
    ///
    /// Which of several values for one place stays is not defined. The index may be smaller than both.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather); also if the dtypes differ.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let index = Tensor::from_vec(vec![2i64, 0], [1, 2])?;
    /// let x = Tensor::zeros([1, 3], DType::F32)?.scatter(1, &index, 5.0)?;
    /// assert_eq!(x.to_vec::<f32>()?, [5.0, 0.0, 5.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn scatter<'a>(&self, dim: isize, index: &Tensor, source: impl Into<Operand<'a>>) -> Result<Tensor> {
        let (d, index) = per_element("scatter", self, dim, index)?;
        let Some(source) = scattered("scatter", self, &index, source.into())? else { return self.copy() };
        self.with_leading(d, &index, |part| apply(Scatter { dim: d }, &[part, &index, &source]))
    }

    /// [`scatter`](Self::scatter) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the tensor may not be changed while recording.
    pub fn scatter_<'a>(&self, dim: isize, index: &Tensor, source: impl Into<Operand<'a>>) -> Result<()> {
        let (d, index) = per_element("scatter_", self, dim, index)?;
        let Some(source) = scattered("scatter_", self, &index, source.into())? else { return Ok(()) };
        apply_inplace(Scatter { dim: d }, &leading("scatter_", self, &index, Some(d))?, &[&index, &source])
    }

    /// A copy with the elements of `source` added at indices along a dimension.
    ///
    /// # Errors
    ///
    /// As [`scatter`](Self::scatter).
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let index = Tensor::from_vec(vec![0i64, 0, 1], [3])?;
    /// let x = Tensor::zeros([2], DType::F32)?;
    /// assert_eq!(x.scatter_add(0, &index, &Tensor::ones([3], DType::F32)?)?.to_vec::<f32>()?, [2.0, 1.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn scatter_add(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let (d, index) = unchecked("scatter_add", self, dim, index)?;
        let Some(source) = scattered("scatter_add", self, &index, source.into())? else { return self.copy() };
        self.with_leading(d, &index, |part| apply(ScatterAdd { dim: d }, &[part, &index, &source]))
    }

    /// [`scatter_add`](Self::scatter_add) in place.
    ///
    /// # Errors
    ///
    /// As [`scatter_`](Self::scatter_).
    pub fn scatter_add_(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<()> {
        let (d, index) = unchecked("scatter_add_", self, dim, index)?;
        let Some(source) = scattered("scatter_add_", self, &index, source.into())? else { return Ok(()) };
        apply_inplace(
            ScatterAdd { dim: d },
            &leading("scatter_add_", self, &index, Some(d))?,
            &[&index, &source],
        )
    }

    /// Applies a function to the part of this tensor that an index covers; the rest stays.
    pub(super) fn with_leading(
        &self,
        dim: usize,
        index: &Tensor,
        f: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let part = leading("scatter", self, index, Some(dim))?;
        if part.shape() == self.shape() {
            return f(self);
        }
        let out = self.copy()?;
        leading("scatter", &out, index, Some(dim))?.copy_(&f(&part)?)?;
        Ok(out)
    }

    /// The elements at indices along a dimension, both broadcast in the others; `None`: of the flattened tensors.
    /// Negative indices count from the end.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather); also if the shapes do not broadcast.
    pub fn take_along_dim(&self, indices: &Tensor, dim: Option<isize>) -> Result<Tensor> {
        const OP: &str = "take_along_dim";
        let Some(dim) = dim else {
            return self.reshape([-1])?.take_along_dim(&indices.reshape([-1])?, Some(0));
        };
        if self.dim() != indices.dim() {
            return Err(Error::shape(format!(
                "{OP}: indices of shape {:?} must have as many dimensions as {:?}",
                indices.shape(),
                self.shape()
            )));
        }
        let d = wrap_dim(OP, dim, self.dim())?;
        let (mut a, mut b) = (Dims::from_slice(self.shape()), Dims::from_slice(indices.shape()));
        let (Some(n), Some(k)) = (a.get(d).copied(), b.get(d).copied()) else {
            return self.gather(0, indices);
        };
        (a[d], b[d]) = (1, 1);
        let mut shape = broadcast(OP, &a, &b)?;
        shape[d] = n;
        let x = self.expand(shape.as_slice())?;
        shape[d] = k;
        let wrapped = indices.where_(&indices.ge(0)?, &indices.add(n as i64)?)?;
        x.gather(dim, &wrapped.expand(shape.as_slice())?)
    }

    /// The elements of the flattened tensor at indices, which may count from the end, in their shape.
    ///
    /// # Errors
    ///
    /// If an index is out of range or no integer.
    pub fn take(&self, index: &Tensor) -> Result<Tensor> {
        let n = self.numel() as i64;
        let wrapped = index.where_(&index.ge(0)?, &index.add(n)?)?;
        let picked = self.reshape([-1])?.index_select(0, &wrapped.reshape([-1])?);
        picked.map_err(|e| e.context("take"))?.reshape(index.shape())
    }
}

/// What is scattered, cut to the index's shape; `None` if the index is empty.
fn scattered(op: &str, x: &Tensor, index: &Tensor, source: Operand<'_>) -> Result<Option<Tensor>> {
    if index.numel() == 0 {
        return Ok(None);
    }
    let source = match source {
        Operand::Tensor(source) => {
            same_dtype(op, x, source)?;
            if source.dim().max(1) != index.dim().max(1) {
                return Err(Error::shape(format!(
                    "{op}: a source of shape {:?} must have as many dimensions as the index {:?}",
                    source.shape(),
                    index.shape()
                )));
            }
            leading(op, source, index, None)?
        }
        number => {
            if x.dtype().category() == Category::Complex {
                return Err(Error::dtype(format!("{op}: not implemented for {}", x.dtype())));
            }
            number.element(op, x.dtype())?.expand(index.shape())?
        }
    };
    Ok(Some(source.reshape(index.shape())?))
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static GATHERS: &[OpInfo] = &[
    OpInfo {
        name: "gather",
        samples: || {
            vec![
                Sample::new(&[(&[3, 4], D)], |x| x[0].gather(1, &index(&[0, 3, 3, 1, 2, 2], &[3, 2])?)),
                Sample::new(&[(&[3, 4], D)], |x| x[0].gather(0, &index(&[0, 2, 2, 1, 1, 1], &[3, 2])?)),
            ]
        },
    },
    OpInfo {
        name: "scatter",
        samples: || {
            vec![
                Sample::new(&[(&[3, 4], D), (&[2, 2], D)], |x| {
                    x[0].scatter(1, &index(&[0, 3, 1, 2], &[2, 2])?, &x[1])
                })
                .with_inplace(|x| x[0].scatter_(1, &index(&[0, 3, 1, 2], &[2, 2])?, &x[1])),
                Sample::new(&[(&[3, 4], D)], |x| x[0].scatter(0, &index(&[0, 2, 1, 1], &[1, 4])?, 2.5)),
            ]
        },
    },
    OpInfo {
        name: "scatter_add",
        samples: || {
            vec![
                Sample::new(&[(&[3, 4], D), (&[3, 3], D)], |x| {
                    x[0].scatter_add(0, &index(&[0, 2, 2, 1, 2, 0], &[2, 3])?, &x[1])
                })
                .with_inplace(|x| x[0].scatter_add_(0, &index(&[0, 2, 2, 1, 2, 0], &[2, 3])?, &x[1])),
            ]
        },
    },
    OpInfo {
        name: "take_along_dim",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4], D)], |x| {
                x[0].take_along_dim(&index(&[2, 0], &[2, 1, 1])?, Some(1))
            })]
        },
    },
    OpInfo {
        name: "take",
        samples: || vec![Sample::new(&[(&[2, 3], D)], |x| x[0].take(&index(&[-1, 0, 4, 0], &[2, 2])?))],
    },
];
