//! Copies with a part replaced, sliding windows, and turns.

use std::ops::Range;

use smallvec::smallvec;

use super::registry::{OpInfo, Sample};
use super::view::{AsStrided, Geometry, view};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::layout::{Layout, checked_numel, wrap_dim};
use crate::tensor::sizes::{DimsArg, Sizes};
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// Windows of a dimension, as a new last one.
#[derive(Debug)]
struct Unfold {
    dim: usize,
    size: usize,
    step: usize,
}

impl Op for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].unfold(self.dim as isize, self.size, self.step)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let shape = saved.shape(0)?;
        let gradient = Tensor::zeros(shape.as_slice(), grad.dtype())?;
        for k in 0..self.size {
            let part = grad.select(-1, k as isize)?;
            if shape.is_empty() {
                gradient.add_(&part)?;
                continue;
            }
            let end = k + part.shape()[self.dim].saturating_sub(1) * self.step + 1;
            gradient.slice(self.dim as isize, k as isize, end as isize, self.step)?.add_(&part)?;
        }
        Ok(smallvec![Some(gradient)])
    }
}

/// A copy of the first input in which a strided view holds the second.
#[derive(Debug)]
struct AsStridedScatter {
    geometry: Geometry,
}

impl Op for AsStridedScatter {
    fn name(&self) -> &'static str {
        "as_strided_scatter"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        AsStrided::scatter(x[0], x[1], &self.geometry)?.copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let part = AsStrided::gradient_of_view(grad, &self.geometry)?;
        // PyTorch's formula, which keeps what it should drop.
        let whole = AsStrided::scatter(&grad.zeros_like()?, &part, &self.geometry)?;
        Ok(smallvec![Some(whole), Some(part)])
    }
}

impl Tensor {
    /// A copy whose part that `pick` picks is replaced by `source`, of just its shape.
    fn with_part(
        &self,
        op: &str,
        source: &Tensor,
        pick: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let out = self.copy()?;
        let part = pick(&out).map_err(|e| e.context(op.to_owned()))?;
        if part.shape() != source.shape() {
            return Err(Error::shape(format!(
                "{op}: expected a source of shape {:?}, found {:?}",
                part.shape(),
                source.shape()
            )));
        }
        part.copy_(source)?;
        Ok(out)
    }

    /// A copy with one index of a dimension replaced by `source`.
    ///
    /// # Errors
    ///
    /// If the dimension or index does not exist, or the shapes do not fit.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2, 2], DType::I64)?;
    /// let y = x.select_scatter(&Tensor::from_vec(vec![1i64, 2], [2])?, 0, 1)?;
    /// assert_eq!(y.to_vec::<i64>()?, [0, 0, 1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn select_scatter(&self, source: &Tensor, dim: isize, index: isize) -> Result<Tensor> {
        self.with_part("select_scatter", source, |x| x.select(dim, index))
    }

    /// A copy with a slice of a dimension, as [`slice`](Self::slice) takes it, replaced by `source`.
    ///
    /// # Errors
    ///
    /// As [`slice`](Self::slice); also if the shapes do not fit.
    pub fn slice_scatter(
        &self,
        source: &Tensor,
        dim: isize,
        start: isize,
        end: isize,
        step: usize,
    ) -> Result<Tensor> {
        self.with_part("slice_scatter", source, |x| x.slice(dim, start, end, step))
    }

    /// A copy with a [`diagonal`](Self::diagonal) replaced by `source`.
    ///
    /// # Errors
    ///
    /// As [`diagonal`](Self::diagonal); also if the shapes do not fit.
    pub fn diagonal_scatter(
        &self,
        source: &Tensor,
        offset: isize,
        dim1: isize,
        dim2: isize,
    ) -> Result<Tensor> {
        self.with_part("diagonal_scatter", source, |x| x.diagonal(offset, dim1, dim2))
    }

    /// A copy with the elements that [`as_strided`](Self::as_strided) sees replaced by `source`.
    ///
    /// Strides and offset are those of this tensor in its own memory, which must hold everything that they reach.
    ///
    /// The gradient of this tensor is PyTorch 2.13's: that of the elements that were *replaced*, and 0 for those that stay.
    /// For the derivative copy `source` into an [`as_strided`](Self::as_strided) view of a copy of this tensor.
    ///
    /// # Errors
    ///
    /// As [`as_strided`](Self::as_strided); also if the shapes do not fit or the view overlaps itself.
    pub fn as_strided_scatter(
        &self,
        source: &Tensor,
        shape: impl Sizes,
        strides: impl Sizes,
        offset: usize,
    ) -> Result<Tensor> {
        const OP: &str = "as_strided_scatter";
        let (shape, strides) = (shape.sizes(), strides.sizes());
        let picked = self.as_strided(shape.as_slice(), strides.as_slice(), offset)?;
        if picked.shape() != source.shape() {
            return Err(Error::shape(format!(
                "{OP}: expected a source of shape {:?}, found {:?}",
                picked.shape(),
                source.shape()
            )));
        }
        apply(AsStridedScatter { geometry: Geometry::of(&picked, self) }, &[self, source])
    }

    /// A view of all windows of `size` elements of a dimension, `step` apart, as a new last dimension.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist, is shorter than `size`, or the step is 0.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4, 5], [5])?;
    /// assert_eq!(x.unfold(0, 3, 2)?.to_vec::<i64>()?, [1, 2, 3, 3, 4, 5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn unfold(&self, dim: isize, size: usize, step: usize) -> Result<Tensor> {
        const OP: &str = "unfold";
        let d = wrap_dim(OP, dim, self.dim())?;
        let n = self.shape().get(d).copied().unwrap_or(1);
        if size > n || step == 0 {
            return Err(Error::argument(format!(
                "{OP}: windows of {size} with step {step} in dimension {dim} of shape {:?}: the size must not exceed it \
                 and the step must be positive",
                self.shape()
            )));
        }
        let (mut shape, mut strides) = (Dims::from_slice(self.shape()), Dims::from_slice(self.strides()));
        if self.dim() > 0 {
            shape[d] = (n - size) / step + 1;
            strides[d] = strides[d].saturating_mul(step);
        }
        shape.push(size);
        strides.push(self.strides().get(d).copied().unwrap_or(1));
        let layout = Layout { shape, strides, offset: self.storage_offset() };
        Ok(view(self, layout, Unfold { dim: d, size, step }))
    }

    /// A copy turned by `k` quarter turns in the plane of two dimensions, from the first towards the second.
    ///
    /// # Errors
    ///
    /// If the dimensions are not two different ones of the tensor.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4], [2, 2])?;
    /// assert_eq!(x.rot90(1, [0, 1])?.to_vec::<i64>()?, [2, 4, 1, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn rot90(&self, k: i64, dims: impl Sizes) -> Result<Tensor> {
        const OP: &str = "rot90";
        let [first, second] = dims.sizes()[..] else {
            return Err(Error::argument(format!(
                "{OP}: needs two dimensions to turn in, found {:?}",
                dims.sizes()
            )));
        };
        if self.dim() < 2 {
            return Err(Error::shape(format!("{OP}: needs two dimensions, found shape {:?}", self.shape())));
        }
        let (a, b) = (wrap_dim(OP, first, self.dim())?, wrap_dim(OP, second, self.dim())?);
        if a == b {
            return Err(Error::index(format!("{OP}: dimensions {first} and {second} are one")));
        }
        match k.rem_euclid(4) {
            1 => self.flip(b)?.transpose(a as isize, b as isize),
            2 => self.flip([a, b]),
            3 => self.flip(a)?.transpose(a as isize, b as isize),
            _ => self.copy(),
        }
    }

    /// A copy in which the middle of each dimension, or of those named, comes first: where a Fourier transform has frequency
    /// 0. PyTorch's `fft.fftshift`.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![0i64, 1, 2, -2, -1], [5])?;
    /// assert_eq!(x.fftshift(())?.to_vec::<i64>()?, [-2, -1, 0, 1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn fftshift(&self, dims: impl DimsArg) -> Result<Tensor> {
        let dims = match dims.dims() {
            Some(dims) => dims,
            None => (0..self.dim() as isize).collect(),
        };
        if dims.is_empty() {
            return self.copy();
        }
        let sizes = dims.iter().map(|&d| self.size(d)).collect::<Result<Vec<_>>>()?;
        let shifts: Vec<usize> = sizes.iter().map(|n| n / 2).collect();
        self.roll(shifts, &dims[..]).map_err(|e| e.context("fftshift"))
    }

    /// A copy with dimension 1 reversed.
    ///
    /// # Errors
    ///
    /// If there are fewer than two dimensions.
    pub fn fliplr(&self) -> Result<Tensor> {
        if self.dim() < 2 {
            return Err(Error::shape(format!(
                "fliplr: needs two dimensions, found shape {:?}",
                self.shape()
            )));
        }
        self.flip(1)
    }

    /// A copy with dimension 0 reversed.
    ///
    /// # Errors
    ///
    /// If there is no dimension.
    pub fn flipud(&self) -> Result<Tensor> {
        if self.dim() < 1 {
            return Err(Error::shape("flipud: needs a dimension, found shape []"));
        }
        self.flip(0)
    }

    /// The matrix with all elements on a diagonal; those of a tensor of several dimensions in row-major order.
    ///
    /// # Errors
    ///
    /// If it has too many elements.
    pub fn diagflat(&self, offset: isize) -> Result<Tensor> {
        self.reshape([-1])?.diag_embed(offset, 0, 1)
    }

    /// The last two dimensions exchanged; PyTorch's `mT`.
    ///
    /// # Errors
    ///
    /// If there are fewer than two dimensions.
    pub fn mt(&self) -> Result<Tensor> {
        if self.dim() < 2 {
            return Err(Error::shape(format!("mT: needs two dimensions, found shape {:?}", self.shape())));
        }
        self.transpose(-2, -1)
    }

    /// The rows and columns of a matrix's lower triangle, row by row; int64 `[2, n]`.
    ///
    /// # Errors
    ///
    /// If there are too many.
    ///
    /// ```
    /// use sconce::Tensor;
    /// assert_eq!(Tensor::tril_indices(2, 2, 0)?.to_vec::<i64>()?, [0, 1, 1, 0, 0, 1]);
    /// assert_eq!(Tensor::triu_indices(2, 2, 1)?.to_vec::<i64>()?, [0, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn tril_indices(rows: usize, columns: usize, offset: isize) -> Result<Tensor> {
        checked_numel(&[rows, columns])?;
        let rows = rows as isize;
        triangle("tril_indices", offset.saturating_neg().clamp(0, rows)..rows, |i| {
            0..i.saturating_add(offset).saturating_add(1).clamp(0, columns as isize)
        })
    }

    /// The rows and columns of a matrix's upper triangle, row by row; int64 `[2, n]`.
    ///
    /// # Errors
    ///
    /// If there are too many.
    pub fn triu_indices(rows: usize, columns: usize, offset: isize) -> Result<Tensor> {
        checked_numel(&[rows, columns])?;
        let (rows, columns) = (rows as isize, columns as isize);
        triangle("triu_indices", 0..columns.saturating_sub(offset).clamp(0, rows), |i| {
            i.saturating_add(offset).clamp(0, columns)..columns
        })
    }
}

/// The places of each row's range of columns, of rows that have some.
fn triangle(op: &str, rows: Range<isize>, columns: impl Fn(isize) -> Range<isize>) -> Result<Tensor> {
    let mut at = Vec::new();
    let mut reserve = |n: usize| {
        at.try_reserve_exact(2 * n)
            .map_err(|e| Error::argument(format!("{op}: cannot allocate {n} indices")).with_source(e))
    };
    // At least one each: so that more rows than fit are not even counted.
    reserve(rows.len())?;
    let n: usize = rows.clone().map(|i| columns(i).len()).sum();
    reserve(n)?;
    for i in rows.clone() {
        at.extend(columns(i).map(|_| i as i64));
    }
    for i in rows {
        at.extend(columns(i).map(|j| j as i64));
    }
    Tensor::from_vec(at, [2, n])
}

const D: (f64, f64) = (-2.0, 2.0);

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], D)], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static EMBEDS: &[OpInfo] = &[
    OpInfo {
        name: "select_scatter",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[2], D)], |x| x[0].select_scatter(&x[1], 1, -1))],
    },
    OpInfo {
        name: "slice_scatter",
        samples: || {
            vec![Sample::new(&[(&[2, 5], D), (&[2, 2], D)], |x| x[0].slice_scatter(&x[1], 1, 1, 4, 2))]
        },
    },
    OpInfo {
        name: "diagonal_scatter",
        samples: || vec![Sample::new(&[(&[3, 3], D), (&[2], D)], |x| x[0].diagonal_scatter(&x[1], 1, 0, 1))],
    },
    OpInfo {
        name: "as_strided_scatter",
        samples: || {
            // Only the source: the other gradient is not the derivative.
            vec![Sample::new(&[(&[2, 2], D)], |x| {
                Tensor::zeros([3, 3], x[0].dtype())?.as_strided_scatter(&x[0], [2, 2], [3, 2], 1)
            })]
        },
    },
    OpInfo {
        name: "unfold",
        samples: || vec![sample(|x| x.unfold(1, 2, 1)), sample(|x| x.unfold(-1, 2, 2))],
    },
    OpInfo {
        name: "rot90",
        samples: || vec![sample(|x| x.rot90(1, [0, 2])), sample(|x| x.rot90(-1, [0, 1]))],
    },
    OpInfo { name: "fftshift", samples: || vec![sample(|x| x.fftshift(()))] },
    OpInfo { name: "fliplr", samples: || vec![sample(Tensor::fliplr)] },
    OpInfo { name: "flipud", samples: || vec![sample(Tensor::flipud)] },
    OpInfo { name: "diagflat", samples: || vec![sample(|x| x.diagflat(-1))] },
    OpInfo { name: "mT", samples: || vec![sample(Tensor::mt)] },
];
