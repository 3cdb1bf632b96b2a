//! Places that tensors of indices pick: gathering and putting by positions in several dimensions at once.

use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::broadcast;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// Which elements of a tensor are picked: the dimensions that positions pick of are seen as one, the first.
pub(super) struct Places {
    op: &'static str,
    /// The dimensions that are picked of, then the others.
    order: Vec<usize>,
    /// The sizes of the others.
    rest: Dims,
    /// The shape of the positions.
    picked: Dims,
    /// Positions in the merged first dimension; a vector.
    positions: Tensor,
    /// Before which of the other dimensions the positions' shape lies in the result.
    before: usize,
}

/// Indices as one tensor of positions per dimension: masks are replaced by the positions where they are true.
fn expanded(op: &str, x: &Tensor, indices: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
    let mut all: Vec<Option<Tensor>> = Vec::new();
    for index in indices {
        match index {
            None => all.push(None),
            Some(t) if matches!(t.dtype(), DType::Bool | DType::U8) => {
                let sizes = x.shape().get(all.len()..all.len() + t.dim());
                if sizes != Some(t.shape()) {
                    return Err(Error::index(format!(
                        "{op}: the mask of shape {:?} at dimension {} does not fit {:?}",
                        t.shape(),
                        all.len(),
                        x.shape()
                    )));
                }
                let positions = t.nonzero()?;
                for d in 0..t.dim() {
                    all.push(Some(positions.select(1, d as isize)?));
                }
            }
            Some(t) if matches!(t.dtype(), DType::I64 | DType::I32 | DType::I16 | DType::I8) => {
                all.push(Some(t.detach().to(DType::I64)?));
            }
            Some(t) if t.numel() == 0 && t.shape() == [0] => all.push(Some(Tensor::zeros([0], DType::I64)?)),
            Some(t) => {
                return Err(Error::dtype(format!(
                    "{op}: indices must be integers or bool, found {}",
                    t.dtype()
                )));
            }
        }
    }
    if all.len() > x.dim() {
        return Err(Error::index(format!(
            "{op}: {} indices for a tensor of shape {:?}",
            all.len(),
            x.shape()
        )));
    }
    all.resize(x.dim(), None);
    Ok(all)
}

impl Places {
    /// The places that indices of the first dimensions pick; at least one is there.
    pub(super) fn new(op: &'static str, x: &Tensor, indices: &[Option<Tensor>]) -> Result<Self> {
        let indices = expanded(op, x, indices)?;
        let mut picked = Dims::new();
        for t in indices.iter().flatten() {
            picked = broadcast(op, &picked, t.shape())?;
        }
        let of: Vec<usize> = (0..x.dim()).filter(|&d| indices[d].is_some()).collect();
        let others: Vec<usize> = (0..x.dim()).filter(|&d| indices[d].is_none()).collect();
        let neighbours = of.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let before = if neighbours { of.first().copied().unwrap_or(0) } else { 0 };
        let mut positions = Tensor::zeros(picked.as_slice(), DType::I64)?;
        for (d, index) in indices.iter().enumerate() {
            let Some(index) = index else { continue };
            let size = x.shape()[d] as i64;
            let wrong =
                index.with_slice(|i: &[i64]| i.iter().copied().find(|i| !(-size..size).contains(i)))?;
            // Nothing is read where the indices broadcast to nothing.
            if let (Some(i), true) = (wrong, positions.numel() > 0) {
                return Err(Error::index(format!(
                    "{op}: index {i} is out of range for dimension {d} of shape {:?}",
                    x.shape()
                )));
            }
            let wrapped = index.where_(&index.ge(0)?, &index.add(size)?)?;
            positions = positions.mul(size)?.add(&wrapped)?;
        }
        let rest = others.iter().map(|&d| x.shape()[d]).collect();
        let order = of.into_iter().chain(others).collect();
        Ok(Self { op, order, rest, picked, positions: positions.reshape([-1])?, before })
    }

    /// The tensor with the dimensions that are picked of merged in front.
    fn merged(&self, x: &Tensor) -> Result<Tensor> {
        let moved = x.permute(self.order.as_slice())?;
        let n: usize = moved.shape()[..x.dim() - self.rest.len()].iter().product();
        let mut shape = Dims::from_slice(&[n]);
        shape.extend_from_slice(&self.rest);
        moved.reshape(shape.as_slice())
    }

    /// The order that brings the positions' dimensions from the front to their place in the result.
    fn placed(&self) -> Vec<usize> {
        let k = self.picked.len();
        let front = k..k + self.before;
        front.chain(0..k).chain(k + self.before..k + self.rest.len()).collect()
    }

    /// What is picked.
    pub(super) fn take(&self, x: &Tensor) -> Result<Tensor> {
        let taken = self.merged(x)?.index_select(0, &self.positions).map_err(|e| e.context(self.op))?;
        let mut shape = self.picked.clone();
        shape.extend_from_slice(&self.rest);
        taken.reshape(shape.as_slice())?.permute(self.placed())
    }

    /// A copy with values, broadcast to what is picked, put there or added.
    pub(super) fn put(&self, x: &Tensor, values: &Tensor, accumulate: bool) -> Result<Tensor> {
        let mut front = self.picked.clone();
        front.extend_from_slice(&self.rest);
        let placed = self.placed();
        let shape: Dims = placed.iter().map(|&d| front[d]).collect();
        let mut values = values.clone();
        while values.dim() > shape.len() && values.shape()[0] == 1 {
            values = values.squeeze(0)?;
        }
        let misfit = |e: Error| e.context(format!("{}: values do not broadcast to {shape:?}", self.op));
        let values = values.expand(shape.as_slice()).map_err(misfit)?.permute(inverse(&placed))?;
        let mut slices = Dims::from_slice(&[self.positions.numel()]);
        slices.extend_from_slice(&self.rest);
        let values = values.reshape(slices.as_slice())?;
        let merged = self.merged(x)?;
        let changed = if accumulate {
            merged.index_add(0, &self.positions, &values)?
        } else {
            merged.index_copy(0, &self.positions, &values)?
        };
        let moved: Dims = self.order.iter().map(|&d| x.shape()[d]).collect();
        changed.reshape(moved.as_slice())?.permute(inverse(&self.order))
    }
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (i, &d) in order.iter().enumerate() {
        inverse[d] = i;
    }
    inverse
}

impl Tensor {
    /// A copy with the elements of the flattened tensor at indices, which may count from the end, set to those of
    /// `source`, or increased by them if `accumulate`.
    ///
    /// # Errors
    ///
    /// If an index is out of range or no integer, the dtypes differ, or there are not as many elements as indices.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let at = Tensor::from_vec(vec![3i64, 0], [2])?;
    /// let x = Tensor::zeros([2, 2], DType::I64)?.put(&at, &Tensor::from_vec(vec![5i64, 6], [2])?, false)?;
    /// assert_eq!(x.to_vec::<i64>()?, [6, 0, 0, 5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn put(&self, index: &Tensor, source: &Tensor, accumulate: bool) -> Result<Tensor> {
        const OP: &str = "put";
        super::same_dtype(OP, self, source)?;
        if index.numel() != source.numel() {
            return Err(Error::shape(format!(
                "{OP}: a source of shape {:?} must have as many elements as the index {:?}",
                source.shape(),
                index.shape()
            )));
        }
        if !matches!(index.dtype(), DType::I64 | DType::I32) {
            return Err(Error::dtype(format!(
                "{OP}: indices must be int64 or int32, found {}",
                index.dtype()
            )));
        }
        let flat = self.reshape([-1])?;
        let places = Places::new(OP, &flat, &[Some(index.reshape([-1])?)])?;
        places.put(&flat, &source.reshape([-1])?, accumulate)?.reshape(self.shape())
    }

    /// A copy with the elements where a bool mask holds replaced by the first of `source`, in row-major order.
    ///
    /// # Errors
    ///
    /// If the mask is not bool, the shapes do not broadcast, the dtypes differ, or the source has too few elements.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1i64, 2, 3], [3])?;
    /// let y = x.masked_scatter(&x.ne(2)?, &Tensor::from_vec(vec![7i64, 8, 9], [3])?)?;
    /// assert_eq!(y.to_vec::<i64>()?, [7, 2, 8]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Result<Tensor> {
        const OP: &str = "masked_scatter";
        super::same_dtype(OP, self, source)?;
        if mask.dtype() != DType::Bool {
            return Err(Error::dtype(format!("{OP}: the mask must be bool, found {}", mask.dtype())));
        }
        let shape = broadcast(OP, self.shape(), mask.shape())?;
        let positions = mask.expand(shape.as_slice())?.reshape([-1])?.nonzero()?.squeeze(1)?;
        let count = positions.numel();
        if source.numel() < count {
            return Err(Error::shape(format!(
                "{OP}: a source of {} elements for {count} places",
                source.numel()
            )));
        }
        let first = source.reshape([-1])?.narrow(0, 0, count)?;
        let flat = self.expand(shape.as_slice())?.reshape([-1])?;
        flat.index_copy(0, &positions, &first)?.reshape(shape.as_slice())
    }

    /// The positions of the elements that are not 0: one vector per dimension.
    ///
    /// # Errors
    ///
    /// As [`nonzero`](Self::nonzero).
    pub fn nonzero_tuple(&self) -> Result<Vec<Tensor>> {
        self.atleast_1d()?.nonzero()?.unbind(1)
    }

    /// The first `size` positions of elements that are not 0, filled up with rows of `fill`; int64 `[size, rank]`.
    ///
    /// # Errors
    ///
    /// As [`nonzero`](Self::nonzero).
    pub fn nonzero_static(&self, size: usize, fill: i64) -> Result<Tensor> {
        let found = self.nonzero()?;
        let out = Tensor::full([size, self.dim()], fill, DType::I64)?;
        let n = size.min(found.shape()[0]);
        out.narrow(0, 0, n)?.copy_(&found.narrow(0, 0, n)?)?;
        Ok(out)
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static PLACES: &[OpInfo] = &[
    OpInfo {
        name: "put",
        samples: || {
            let index = || Tensor::from_vec(vec![-1i64, 0, 4], [3]);
            vec![
                Sample::new(&[(&[2, 3], D), (&[3], D)], move |x| {
                    x[0].put(&index()?.narrow(0, 0, 2)?, &x[1].narrow(0, 1, 2)?, false)
                }),
                Sample::new(&[(&[2, 3], D), (&[3], D)], move |x| x[0].put(&index()?, &x[1], true))
                    .with_inplace(move |x| x[0].put_(&index()?, &x[1], true)),
            ]
        },
    },
    OpInfo {
        name: "masked_scatter",
        samples: || {
            let mask = || Tensor::from_vec(vec![true, false, true], [3]);
            vec![
                Sample::new(&[(&[2, 3], D), (&[5], D)], move |x| x[0].masked_scatter(&mask()?, &x[1]))
                    .with_inplace(move |x| x[0].masked_scatter_(&mask()?, &x[1])),
            ]
        },
    },
];
