//! Putting tensors together and taking them apart.

use std::borrow::Borrow;

use smallvec::SmallVec;

use super::driver;
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::layout::wrap_dim;
use crate::tensor::promote::promote_types;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// So many views of nothing are made at most: where there are elements, they are the limit.
const MAX_EMPTY_CHUNKS: usize = 1 << 20;

#[derive(Debug)]
struct Cat {
    dim: usize,
    shape: Dims,
    dtype: DType,
    /// The inputs' sizes along `dim`.
    sizes: Dims,
    /// How many vectors without elements come after them, which have no part in the output.
    left_out: usize,
}

impl Op for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::cat("cat", &x[..self.sizes.len()], self.dim, &self.shape, self.dtype)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let mut start = 0;
        let mut grads = Grads::new();
        for (i, &size) in self.sizes.iter().enumerate() {
            let part = if saved.needs(i) { Some(grad.narrow(self.dim as isize, start, size)?) } else { None };
            grads.push(part);
            start += size as isize;
        }
        // Vectors without elements that were left out.
        let left_out = || Tensor::zeros([0], grad.dtype()).map(Some);
        for i in self.sizes.len()..self.sizes.len() + self.left_out {
            grads.push(if saved.needs(i) { left_out()? } else { None });
        }
        Ok(grads)
    }
}

impl Tensor {
    /// Tensors behind each other along an existing dimension; PyTorch's `torch.cat`.
    ///
    /// They have one shape but for that dimension; vectors without elements are left out, as in PyTorch. The result has
    /// the promoted dtype.
    ///
    /// # Errors
    ///
    /// If there are none, the shapes differ elsewhere, the dimension does not exist, or a dtype is only stored.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let (x, y) = (Tensor::from_vec(vec![1i64, 2], [2])?, Tensor::from_vec(vec![3i64], [1])?);
    /// assert_eq!(Tensor::cat(&[x, y], 0)?.to_vec::<i64>()?, [1, 2, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn cat(tensors: &[impl Borrow<Tensor>], dim: isize) -> Result<Tensor> {
        let all = || tensors.iter().map(Borrow::<Tensor>::borrow);
        let Some(dtype) = all().map(Tensor::dtype).reduce(promote_types) else {
            return Err(Error::argument("cat: no tensors"));
        };
        let mut parts: SmallVec<[&Tensor; 4]> = all().filter(|t| t.shape() != [0]).collect();
        if parts.is_empty() {
            parts = all().collect();
        }
        let Some(first) = parts.first() else { return Err(Error::argument("cat: no tensors")) };
        if first.dim() == 0 {
            return Err(Error::shape("cat: tensors without dimensions; stack them"));
        }
        let d = wrap_dim("cat", dim, first.dim())?;
        let mut shape = Dims::from_slice(first.shape());
        shape[d] = 0;
        for t in &parts {
            let fits =
                t.dim() == first.dim() && (0..t.dim()).all(|i| i == d || t.shape()[i] == first.shape()[i]);
            if !fits {
                return Err(Error::shape(format!(
                    "cat: shapes {:?} and {:?} differ in more than dimension {d}",
                    first.shape(),
                    t.shape()
                )));
            }
            shape[d] += t.shape()[d];
        }
        let sizes: Dims = parts.iter().map(|t| t.shape()[d]).collect();
        let left_out = tensors.len() - sizes.len();
        if left_out > 0 {
            parts.extend(all().filter(|t| t.shape() == [0]));
        }
        apply(Cat { dim: d, shape, dtype, sizes, left_out }, &parts)
    }

    /// Tensors of one shape along a new dimension; PyTorch's `torch.stack`.
    ///
    /// # Errors
    ///
    /// If there are none, the shapes differ, or the dimension is out of range.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1i64, 2], [2])?;
    /// assert_eq!(Tensor::stack(&[&x, &x], 1)?.to_vec::<i64>()?, [1, 1, 2, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn stack(tensors: &[impl Borrow<Tensor>], dim: isize) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(tensors.len());
        for t in tensors {
            let (first, t): (&Tensor, &Tensor) = (tensors[0].borrow(), t.borrow());
            if t.shape() != first.shape() {
                return Err(Error::shape(format!(
                    "stack: shapes {:?} and {:?} differ",
                    first.shape(),
                    t.shape()
                )));
            }
            parts.push(t.unsqueeze(dim)?);
        }
        if parts.is_empty() {
            return Err(Error::argument("stack: no tensors"));
        }
        Tensor::cat(&parts, dim).map_err(|e| e.context("stack"))
    }

    /// Views of parts of a dimension, each of `split_size` but for a smaller last one.
    ///
    /// # Errors
    ///
    /// If the size is 0 and the dimension's is not, or the dimension does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4, 5], [5])?;
    /// let parts = x.split(2, 0)?;
    /// assert_eq!(parts.len(), 3);
    /// assert_eq!(parts[2].to_vec::<i64>()?, [5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn split(&self, split_size: usize, dim: isize) -> Result<Vec<Tensor>> {
        let size = self.size(dim)?;
        if split_size == 0 && size > 0 {
            return Err(Error::argument("split: the size must be positive, found 0"));
        }
        let parts = size.div_ceil(split_size.max(1)).max(1);
        (0..parts)
            .map(|i| {
                let start = i * split_size;
                self.narrow(dim, start as isize, split_size.min(size - start))
            })
            .collect()
    }

    /// Views of parts of a dimension of these sizes.
    ///
    /// # Errors
    ///
    /// If the sizes do not add up to the dimension's, or it does not exist.
    pub fn split_with_sizes(&self, sizes: &[usize], dim: isize) -> Result<Vec<Tensor>> {
        let size = self.size(dim)?;
        let total = sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
        if total != Some(size) {
            return Err(Error::shape(format!("split: sizes {sizes:?} do not add up to {size}")));
        }
        let mut start = 0;
        sizes
            .iter()
            .map(|&n| {
                start += n;
                self.narrow(dim, (start - n) as isize, n)
            })
            .collect()
    }

    /// Views of at most `chunks` parts of a dimension, all but the last of one size; exactly so many of a dimension of
    /// size 0, as in PyTorch.
    ///
    /// # Errors
    ///
    /// If `chunks` is 0, the dimension does not exist, or it has size 0 and `chunks` exceeds 1048576.
    pub fn chunk(&self, chunks: usize, dim: isize) -> Result<Vec<Tensor>> {
        if chunks == 0 {
            return Err(Error::argument("chunk: needs at least one chunk, found 0"));
        }
        let size = self.size(dim)?;
        if size == 0 {
            if chunks > MAX_EMPTY_CHUNKS {
                return Err(Error::argument(format!(
                    "chunk: {chunks} chunks of a dimension of size 0; at most {MAX_EMPTY_CHUNKS} are made"
                )));
            }
            return (0..chunks).map(|_| self.narrow(dim, 0, 0)).collect();
        }
        self.split(size.div_ceil(chunks), dim)
    }

    /// Views of each index of a dimension, which is dropped.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist.
    pub fn unbind(&self, dim: isize) -> Result<Vec<Tensor>> {
        (0..self.size(dim)?).map(|i| self.select(dim, i as isize)).collect()
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(crate) static JOINS: &[OpInfo] = &[
    OpInfo {
        name: "cat",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[2, 1], D), (&[2, 2], D)], |x| Tensor::cat(x, -1))],
    },
    OpInfo {
        name: "stack",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D)], |x| Tensor::stack(x, 1))],
    },
    OpInfo {
        name: "split",
        samples: || {
            vec![
                Sample::new(&[(&[2, 5], D)], |x| product_of_ends(&x[0].split(3, 1)?[..])),
                Sample::new(&[(&[2, 5], D)], |x| product_of_ends(&x[0].split_with_sizes(&[2, 1, 2], 1)?)),
            ]
        },
    },
    OpInfo {
        name: "chunk",
        samples: || vec![Sample::new(&[(&[2, 4], D)], |x| product_of_ends(&x[0].chunk(2, 1)?))],
    },
    OpInfo {
        name: "unbind",
        samples: || vec![Sample::new(&[(&[2, 4], D)], |x| product_of_ends(&x[0].unbind(0)?))],
    },
];

/// The product of the first elements of the first and the last part.
fn product_of_ends(parts: &[Tensor]) -> Result<Tensor> {
    match parts {
        [first, .., last] => first.narrow(-1, 0, 1)?.mul(&last.narrow(-1, 0, 1)?),
        _ => Err(Error::shape("fewer than two parts")),
    }
}
