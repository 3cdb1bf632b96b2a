//! Selecting, gathering and scattering by tensors of indices.

use smallvec::smallvec;

use super::driver::{self, Kind, kind};
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply, apply_inplace};
use crate::tensor::dtype::{Category, Element};
use crate::tensor::layout::{broadcast, wrap_dim};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// A shape seen as `[outer, n, inner]` around one dimension.
#[derive(Clone, Copy)]
struct Around {
    outer: usize,
    n: usize,
    inner: usize,
}

impl Around {
    fn new(shape: &[usize], dim: usize) -> Self {
        let at = |range: &[usize]| range.iter().product();
        Self {
            outer: at(&shape[..dim.min(shape.len())]),
            n: shape.get(dim).copied().unwrap_or(1),
            inner: at(shape.get(dim + 1..).unwrap_or(&[])),
        }
    }
}

/// Indices as row-major int64, all below `size`.
pub(super) fn checked(op: &str, index: &Tensor, size: usize) -> Result<Tensor> {
    if !matches!(index.dtype(), DType::I64 | DType::I32) {
        return Err(Error::dtype(format!("{op}: indices must be int64 or int32, found {}", index.dtype())));
    }
    let index = index.to(DType::I64)?.contiguous()?;
    let wrong = index.with_slice(|i: &[i64]| i.iter().copied().find(|&i| i < 0 || i as usize >= size))?;
    match wrong {
        Some(i) => Err(Error::index(format!("{op}: index {i} is out of range for size {size}"))),
        None => Ok(index),
    }
}

/// Runs a function that is generic over the size of an element.
macro_rules! by_size {
    ($size:expr, $f:ident($($arg:expr),*)) => {
        match $size {
            1 => $f::<1>($($arg),*),
            2 => $f::<2>($($arg),*),
            4 => $f::<4>($($arg),*),
            8 => $f::<8>($($arg),*),
            _ => $f::<16>($($arg),*),
        }
    };
}

/// `to[o, j, i] = from[o, index[o, j, i], i]`.
fn gather_elements<const S: usize>(from: &[u8], to: &mut [u8], index: &[i64], x: Around, k: usize) {
    let (from, to) = (from.as_chunks::<S>().0, to.as_chunks_mut::<S>().0);
    let Around { n, inner, .. } = x;
    let plane = (k * inner).max(1);
    for (o, (to, index)) in to.chunks_exact_mut(plane).zip(index.chunks_exact(plane)).enumerate() {
        let from = &from[o * n * inner..];
        for (at, (to, &index)) in to.iter_mut().zip(index).enumerate() {
            *to = from[index as usize * inner + at % inner];
        }
    }
}

/// `to[o, index[o, j, i], i] = from[o, j, i]`.
fn scatter_elements<const S: usize>(from: &[u8], to: &mut [u8], index: &[i64], x: Around, k: usize) {
    let (from, to) = (from.as_chunks::<S>().0, to.as_chunks_mut::<S>().0);
    let Around { n, inner, .. } = x;
    let plane = (k * inner).max(1);
    for (o, (from, index)) in from.chunks_exact(plane).zip(index.chunks_exact(plane)).enumerate() {
        let to = &mut to[o * n * inner..];
        for (at, (from, &index)) in from.iter().zip(index).enumerate() {
            to[index as usize * inner + at % inner] = *from;
        }
    }
}

/// `out[o, index[o, j, i], i] += from[o, j, i]`, or with `index[j]` where there is one for each `j`.
fn add_elements<T: Copy>(
    from: &[T],
    out: &mut [T],
    index: &[i64],
    x: Around,
    k: usize,
    add: impl Fn(T, T) -> T,
) {
    let Around { n, inner, .. } = x;
    let plane = (k * inner).max(1);
    let one_per_slice = index.len() == k && from.len() != k;
    for (o, from) in from.chunks_exact(plane).enumerate() {
        let out = &mut out[o * n * inner..];
        if one_per_slice {
            for (from, &index) in from.chunks_exact(inner).zip(index) {
                let out = &mut out[index as usize * inner..][..inner];
                out.iter_mut().zip(from).for_each(|(a, &b)| *a = add(*a, b));
            }
        } else {
            let index = &index[o * plane..];
            for (at, (&from, &index)) in from.iter().zip(index).enumerate() {
                let a = &mut out[index as usize * inner + at % inner];
                *a = add(*a, from);
            }
        }
    }
}

/// A copy of `x` with `from` added at indices: one per element of `from`, or one per slice along `dim`.
fn add_at(op: &str, x: &Tensor, dim: usize, index: &Tensor, from: &Tensor) -> Result<Tensor> {
    let around = Around::new(x.shape(), dim);
    let k = from.shape().get(dim).copied().unwrap_or(1);
    fn run<T: Element>(
        op: &str,
        x: &Tensor,
        index: &Tensor,
        from: &Tensor,
        add: impl FnOnce(&[T], &mut [T], &[i64]),
    ) -> Result<Tensor> {
        let (start, from) = (x.detach().to(T::DTYPE)?, from.detach().to(T::DTYPE)?.contiguous()?);
        start
            .with_slice(|start: &[T]| {
                from.with_slice(|from: &[T]| {
                    index.with_slice(|index: &[i64]| {
                        driver::build(op, x.shape(), |out: &mut [T]| {
                            out.copy_from_slice(start);
                            add(from, out, index);
                            Ok(())
                        })
                    })
                })
            })????
            .to(x.dtype())
    }
    match kind(op, x.dtype())? {
        Kind::F32 => run::<f32>(op, x, index, from, |from, out, index| {
            add_elements(from, out, index, around, k, |a, b| a + b);
        }),
        Kind::F64 => run::<f64>(op, x, index, from, |from, out, index| {
            add_elements(from, out, index, around, k, |a, b| a + b);
        }),
        Kind::I64 => run::<i64>(op, x, index, from, |from, out, index| {
            add_elements(from, out, index, around, k, i64::wrapping_add);
        }),
    }
}

/// Moves elements of any dtype by a function of the input's, the output's and the indices' memory. The output starts as
/// a copy of `start`, or as zeros.
fn move_elements(
    op: &str,
    from: &Tensor,
    index: &Tensor,
    shape: &[usize],
    start: Option<&Tensor>,
    f: impl FnOnce(&[u8], &mut [u8], &[i64]),
) -> Result<Tensor> {
    let from = from.detach().contiguous()?;
    let start = start.map(|t| t.detach().contiguous()).transpose()?;
    driver::with_bytes(op, &from, |from_bytes| {
        index.with_slice(|index: &[i64]| {
            driver::build_bytes(op, shape, from.dtype(), |out| {
                if let Some(start) = &start {
                    driver::with_bytes(op, start, |start| out.copy_from_slice(start))?;
                }
                f(from_bytes, out, index);
                Ok(())
            })
        })
    })??
}

#[derive(Debug)]
struct Gather {
    dim: usize,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let around = Around::new(x[0].shape(), self.dim);
        let k = x[1].shape().get(self.dim).copied().unwrap_or(1);
        let size = x[0].dtype().size();
        move_elements("gather", x[0], x[1], x[1].shape(), None, |from, to, index| {
            by_size!(size, gather_elements(from, to, index, around, k));
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let zeros = Tensor::zeros(saved.shape(0)?.as_slice(), grad.dtype())?;
        let gradient = apply(ScatterAdd { dim: self.dim }, &[&zeros, &saved.input(1)?, grad])?;
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

#[derive(Debug)]
struct IndexSelect {
    dim: usize,
}

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let Around { n, inner, .. } = Around::new(x[0].shape(), self.dim);
        let k = x[1].numel();
        let mut shape = Dims::from_slice(x[0].shape());
        if let Some(size) = shape.get_mut(self.dim) {
            *size = k;
        }
        let bytes = inner * x[0].dtype().size();
        move_elements("index_select", x[0], x[1], &shape, None, |from, to, index| {
            if to.is_empty() {
                return;
            }
            for (from, to) in from.chunks_exact(n * bytes).zip(to.chunks_exact_mut(k * bytes)) {
                for (to, &index) in to.chunks_exact_mut(bytes).zip(index) {
                    to.copy_from_slice(&from[index as usize * bytes..][..bytes]);
                }
            }
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let zeros = Tensor::zeros(saved.shape(0)?.as_slice(), grad.dtype())?;
        let gradient = apply(IndexAdd { dim: self.dim }, &[&zeros, &saved.input(1)?, grad])?;
        Ok(smallvec![Some(gradient), None])
    }
}

#[derive(Debug)]
struct IndexAdd {
    dim: usize,
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

/// What a call with one index per element comes down to: the dimension and the checked indices.
fn per_element(op: &str, x: &Tensor, dim: isize, index: &Tensor) -> Result<(usize, Tensor)> {
    let d = wrap_dim(op, dim, x.dim())?;
    if index.numel() > 0 && x.dim().max(1) != index.dim().max(1) {
        return Err(Error::shape(format!(
            "{op}: the index of shape {:?} must have as many dimensions as {:?}",
            index.shape(),
            x.shape()
        )));
    }
    let size = x.shape().get(d).copied().unwrap_or(1);
    Ok((d, checked(op, index, size)?))
}

/// The leading part of `t` of the size of `index` in each dimension but `except`.
fn leading(op: &str, t: &Tensor, index: &Tensor, except: Option<usize>) -> Result<Tensor> {
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

/// The vector of indices of an operation on whole slices, and its dimension.
fn per_slice(op: &str, x: &Tensor, dim: isize, index: &Tensor) -> Result<(usize, Tensor)> {
    let d = wrap_dim(op, dim, x.dim())?;
    if index.dim() > 1 {
        return Err(Error::shape(format!(
            "{op}: the index must be a vector, found shape {:?}",
            index.shape()
        )));
    }
    let size = x.shape().get(d).copied().unwrap_or(1);
    Ok((d, checked(op, &index.reshape([-1])?, size)?))
}

/// Refuses slices that do not fit `x` with the size of `index` in one dimension, or another dtype.
fn check_slices(op: &str, x: &Tensor, dim: usize, index: &Tensor, from: &Tensor) -> Result<()> {
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

fn same_dtype(op: &str, x: &Tensor, from: &Tensor) -> Result<()> {
    if x.dtype() == from.dtype() {
        return Ok(());
    }
    Err(Error::dtype(format!("{op}: a source of dtype {} for a tensor of dtype {}", from.dtype(), x.dtype())))
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
        let (d, index) = per_element("gather", self, dim, index)?;
        if index.numel() == 0 {
            return Tensor::zeros(index.shape(), self.dtype());
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
        let (d, index) = per_element("scatter_add", self, dim, index)?;
        let Some(source) = scattered("scatter_add", self, &index, source.into())? else { return self.copy() };
        self.with_leading(d, &index, |part| apply(ScatterAdd { dim: d }, &[part, &index, &source]))
    }

    /// [`scatter_add`](Self::scatter_add) in place.
    ///
    /// # Errors
    ///
    /// As [`scatter_`](Self::scatter_).
    pub fn scatter_add_(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<()> {
        let (d, index) = per_element("scatter_add_", self, dim, index)?;
        let Some(source) = scattered("scatter_add_", self, &index, source.into())? else { return Ok(()) };
        apply_inplace(
            ScatterAdd { dim: d },
            &leading("scatter_add_", self, &index, Some(d))?,
            &[&index, &source],
        )
    }

    /// Applies a function to the part of this tensor that an index covers; the rest stays.
    fn with_leading(
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
        let flags = self.detach().to(DType::Bool)?;
        let positions: Vec<i64> = flags.with_slice(|x: &[bool]| {
            let mut positions = Vec::new();
            for (flat, _) in x.iter().enumerate().filter(|(_, x)| **x) {
                let start = positions.len();
                let mut rest = flat;
                for &n in self.shape().iter().rev() {
                    positions.push((rest % n) as i64);
                    rest /= n;
                }
                positions[start..].reverse();
            }
            positions
        })?;
        let count = if self.dim() == 0 {
            self.numel() * usize::from(flags.item()? != 0.0)
        } else {
            positions.len() / self.dim()
        };
        Tensor::from_vec(positions, [count, self.dim()])
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
        let positions = mask.expand(shape.as_slice())?.reshape([-1])?.nonzero()?.squeeze(1)?;
        self.expand(shape.as_slice())?.reshape([-1])?.index_select(0, &positions)
    }

    /// The elements at indices along a dimension, both broadcast in the others; `None`: of the flattened tensors.
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather); also if the shapes do not broadcast.
    pub fn take_along_dim(&self, indices: &Tensor, dim: Option<isize>) -> Result<Tensor> {
        const OP: &str = "take_along_dim";
        let Some(dim) = dim else {
            return self.reshape([-1])?.gather(0, &indices.reshape([-1])?);
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
        x.gather(dim, &indices.expand(shape.as_slice())?)
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
            number.tensor(x.dtype())?.expand(index.shape())?
        }
    };
    Ok(Some(source.reshape(index.shape())?))
}

/// How [`embedding`] treats some of its rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingOptions {
    /// The row that gets no gradient; none by default. A negative one counts from the end.
    pub padding_idx: Option<isize>,
    /// Rows that are looked up are first scaled, in place, to at most this norm; not by default.
    pub max_norm: Option<f64>,
    /// The p of that norm, 2 by default.
    pub norm_type: f64,
    /// Whether a row's gradient is divided by how often it was looked up; not by default.
    pub scale_grad_by_freq: bool,
}

impl Default for EmbeddingOptions {
    fn default() -> Self {
        Self { padding_idx: None, max_norm: None, norm_type: 2.0, scale_grad_by_freq: false }
    }
}

#[derive(Debug)]
struct Embedding {
    padding: Option<usize>,
    by_frequency: bool,
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        IndexSelect { dim: 0 }.cpu(x)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (index, shape) = (saved.input(1)?, saved.shape(0)?);
        let zeros = Tensor::zeros(shape.as_slice(), grad.dtype())?;
        let mut gradient = apply(IndexAdd { dim: 0 }, &[&zeros, &index, grad])?;
        if self.by_frequency {
            let ones = Tensor::ones([index.numel(), 1], grad.dtype())?;
            let count = Tensor::zeros([shape[0], 1], grad.dtype())?.index_add(0, &index, &ones)?;
            gradient = gradient.div(&count.maximum(1)?)?;
        }
        if let Some(row) = self.padding {
            gradient = gradient.index_fill(0, &Tensor::from_vec(vec![row as i64], [1])?, 0)?;
        }
        Ok(smallvec![Some(gradient), None])
    }
}

/// The rows of `weight`, `[count, features]`, at indices of any shape: `[…, features]`.
///
/// # Errors
///
/// If an index or the padding index is out of range, indices are no integers, or the weight is no matrix.
///
/// ```
/// use sconce::{Tensor, functional};
/// let weight = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let tokens = Tensor::from_vec(vec![1i64, 0, 1], [3])?;
/// let y = functional::embedding(&tokens, &weight, Default::default())?;
/// assert_eq!(y.to_vec::<f32>()?, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn embedding(indices: &Tensor, weight: &Tensor, options: EmbeddingOptions) -> Result<Tensor> {
    const OP: &str = "embedding";
    if weight.dim() != 2 {
        return Err(Error::shape(format!(
            "{OP}: the weight must be a matrix, found shape {:?}",
            weight.shape()
        )));
    }
    let rows = weight.shape()[0];
    let padding = match options.padding_idx {
        Some(i) if i < -(rows as isize) || i >= rows as isize => {
            return Err(Error::index(format!("{OP}: padding_idx {i} is out of range for {rows} rows")));
        }
        Some(i) => Some(if i < 0 { i + rows as isize } else { i } as usize),
        None => None,
    };
    let index = checked(OP, &indices.reshape([-1])?, rows)?;
    if let Some(most) = options.max_norm {
        crate::no_grad(|| renormalise(weight, &index, most, options.norm_type))?;
    }
    let op = Embedding { padding, by_frequency: options.scale_grad_by_freq };
    let mut shape = Dims::from_slice(indices.shape());
    shape.push(weight.shape()[1]);
    apply(op, &[weight, &index])?.reshape(shape.as_slice())
}

/// Scales the rows at indices to at most a norm, in place.
fn renormalise(weight: &Tensor, index: &Tensor, most: f64, p: f64) -> Result<()> {
    let mut rows = index.to_vec::<i64>()?;
    rows.sort_unstable();
    rows.dedup();
    for row in rows {
        let row = weight.select(0, row as isize)?;
        let norm = row.norm(p, ())?.item()?;
        if norm > most {
            row.mul_(most / (norm + 1e-7))?;
        }
    }
    Ok(())
}

const D: (f64, f64) = (-2.0, 2.0);

fn index(values: &[i64], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(values, shape)
}

/// For the generic tests.
pub(crate) static INDEXING: &[OpInfo] = &[
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
    OpInfo {
        name: "masked_select",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4], D)], |x| {
                let mask = Tensor::from_vec(vec![true, false, true], [3, 1])?;
                x[0].masked_select(&mask)
            })]
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
    OpInfo {
        name: "embedding",
        samples: || {
            vec![
                Sample::new(&[(&[3, 2], D)], |x| {
                    embedding(&index(&[2, 0, 2, 1], &[2, 2])?, &x[0], EmbeddingOptions::default())
                }),
                Sample::new(&[(&[3, 2], D)], |x| {
                    let options = EmbeddingOptions { scale_grad_by_freq: true, ..Default::default() };
                    embedding(&index(&[2, 0, 2, 1], &[4])?, &x[0], options)
                })
                // The gradient is scaled, so it is not the derivative.
                .without_gradient(),
            ]
        },
    },
];
