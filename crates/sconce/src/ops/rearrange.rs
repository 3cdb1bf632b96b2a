//! Other orders, repetitions, diagonals and triangles.

use smallvec::{SmallVec, smallvec};

use super::driver;
use super::registry::{OpInfo, Sample};
use super::view::view;
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::layout::{Layout, wrap_dim};
use crate::tensor::sizes::Sizes;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

#[derive(Debug)]
struct Flip {
    dims: SmallVec<[usize; 6]>,
}

impl Op for Flip {
    fn name(&self) -> &'static str {
        "flip"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::lines::flip("flip", x[0], &self.dims)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(grad.flip(self.dims.as_slice())?)])
    }
}

#[derive(Debug)]
struct Diagonal {
    offset: isize,
    dims: [isize; 2],
}

impl Op for Diagonal {
    fn name(&self) -> &'static str {
        "diagonal"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].diagonal(self.offset, self.dims[0], self.dims[1])
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let gradient = Tensor::zeros(saved.shape(0)?.as_slice(), grad.dtype())?;
        gradient.diagonal(self.offset, self.dims[0], self.dims[1])?.copy_(grad)?;
        Ok(smallvec![Some(gradient)])
    }
}

/// Distinct dimensions of a tensor.
fn distinct(op: &str, dims: &[isize], rank: usize) -> Result<SmallVec<[usize; 6]>> {
    let mut out = SmallVec::new();
    for &d in dims {
        let d = wrap_dim(op, d, rank)?;
        if out.contains(&d) {
            return Err(Error::index(format!("{op}: dimension {d} is named more than once in {dims:?}")));
        }
        out.push(d);
    }
    Ok(out)
}

impl Tensor {
    /// A copy with the order of these dimensions reversed.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist or is named twice.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3], [3])?;
    /// assert_eq!(x.flip(0)?.to_vec::<i64>()?, [3, 2, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn flip(&self, dims: impl Sizes) -> Result<Tensor> {
        let mut dims = distinct("flip", &dims.sizes(), self.dim())?;
        if self.dim() == 0 {
            dims.clear();
        }
        apply(Flip { dims }, &[self])
    }

    /// A copy in which elements are moved by `shifts` along `dims`, and what leaves at the end comes back in front.
    /// Without dimensions the flattened tensor is rolled.
    ///
    /// # Errors
    ///
    /// If there are not as many shifts as dimensions, or one does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3], [3])?;
    /// assert_eq!(x.roll(1, 0)?.to_vec::<i64>()?, [3, 1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn roll(&self, shifts: impl Sizes, dims: impl Sizes) -> Result<Tensor> {
        let (shifts, dims) = (shifts.sizes(), dims.sizes());
        if dims.is_empty() && shifts.len() == 1 {
            return self.reshape([-1])?.roll(shifts[0], 0)?.reshape(self.shape());
        }
        if shifts.len() != dims.len() || shifts.is_empty() {
            return Err(Error::argument(format!(
                "roll: shifts {shifts:?} and dimensions {dims:?} are not as many"
            )));
        }
        let mut y = self.clone();
        for (&shift, &dim) in shifts.iter().zip(&dims) {
            let size = y.size(dim)?;
            if size > 0 {
                let moved = shift.rem_euclid(size as isize) as usize;
                let (front, back) =
                    (y.narrow(dim, (size - moved) as isize, moved)?, y.narrow(dim, 0, size - moved)?);
                y = Tensor::cat(&[front, back], dim)?;
            }
        }
        Ok(y)
    }

    /// A copy repeated so many times along each dimension; more numbers than dimensions add leading ones.
    ///
    /// # Errors
    ///
    /// If there are fewer numbers than dimensions, or one is negative.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2], [2])?;
    /// assert_eq!(x.repeat([2, 2])?.to_vec::<i64>()?, [1, 2, 1, 2, 1, 2, 1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn repeat(&self, repeats: impl Sizes) -> Result<Tensor> {
        let repeats = repeats.sizes();
        if repeats.len() < self.dim() || repeats.iter().any(|&n| n < 0) {
            return Err(Error::argument(format!(
                "repeat: {repeats:?} must be a number that is not negative for each dimension of {:?}",
                self.shape()
            )));
        }
        let lead = repeats.len() - self.dim();
        let (mut apart, mut spread, mut merged) = (Dims::new(), Dims::new(), Dims::new());
        for (i, &n) in repeats.iter().enumerate() {
            let size = if i < lead { 1 } else { self.shape()[i - lead] };
            let total = size.checked_mul(n as usize);
            apart.extend_from_slice(&[1, size]);
            spread.extend_from_slice(&[n as usize, size]);
            merged.push(total.ok_or_else(|| Error::shape(format!("repeat: {repeats:?} is too much")))?);
        }
        let y = self.reshape(apart.as_slice())?.expand(spread.as_slice())?.reshape(merged.as_slice())?;
        if y.shares_storage(self) { y.copy() } else { Ok(y) }
    }

    /// [`repeat`](Self::repeat) where fewer numbers than dimensions mean the last ones.
    ///
    /// # Errors
    ///
    /// If a number is negative.
    pub fn tile(&self, repeats: impl Sizes) -> Result<Tensor> {
        let mut repeats = repeats.sizes();
        while repeats.len() < self.dim() {
            repeats.insert(0, 1);
        }
        self.repeat(repeats.as_slice())
    }

    /// Each index of a dimension `repeats` times in a row; without a dimension, of the flattened tensor.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2], [2])?;
    /// assert_eq!(x.repeat_interleave(2, None)?.to_vec::<i64>()?, [1, 1, 2, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn repeat_interleave(&self, repeats: usize, dim: Option<isize>) -> Result<Tensor> {
        let Some(dim) = dim else { return self.reshape([-1])?.repeat_interleave(repeats, Some(0)) };
        let size = self.size(dim)?;
        let d = wrap_dim("repeat_interleave", dim, self.dim())?;
        let (mut spread, mut merged) = (Dims::from_slice(self.shape()), Dims::from_slice(self.shape()));
        spread.insert(d + 1, repeats);
        merged[d] = size
            .checked_mul(repeats)
            .ok_or_else(|| Error::shape(format!("repeat_interleave: {repeats} repetitions are too many")))?;
        let y = self.unsqueeze(d as isize + 1)?.expand(spread.as_slice())?.reshape(merged.as_slice())?;
        if y.shares_storage(self) { y.copy() } else { Ok(y) }
    }

    /// Index i of a dimension `repeats[i]` times in a row; without a dimension, of the flattened tensor.
    ///
    /// A single number of repetitions holds for all.
    ///
    /// # Errors
    ///
    /// If the repetitions are no vector of int64 or int32, one is negative, or there are not as many as indices.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2], [2])?;
    /// let repeats = sconce::Tensor::from_vec(vec![3i64, 1], [2])?;
    /// assert_eq!(x.repeat_interleave_each(&repeats, Some(0))?.to_vec::<i64>()?, [1, 1, 1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn repeat_interleave_each(&self, repeats: &Tensor, dim: Option<isize>) -> Result<Tensor> {
        const OP: &str = "repeat_interleave";
        let Some(dim) = dim else { return self.reshape([-1])?.repeat_interleave_each(repeats, Some(0)) };
        let x = if self.dim() == 0 { self.reshape([1])? } else { self.clone() };
        let size = x.size(dim)?;
        let repeats = match repeats.numel() {
            1 => repeats.reshape([1])?.expand([size])?,
            _ => repeats.clone(),
        };
        if repeats.shape() != [size] {
            return Err(Error::shape(format!(
                "{OP}: repetitions of shape {:?} for dimension {dim} of size {size}",
                repeats.shape()
            )));
        }
        x.index_select(dim, &repeats.repeats_to_indices()?)
    }

    /// Each position of a vector as often as its element says; PyTorch's `repeat_interleave(repeats)`.
    ///
    /// # Errors
    ///
    /// If it is no vector of int64 or int32, or an element is negative.
    pub fn repeats_to_indices(&self) -> Result<Tensor> {
        const OP: &str = "repeat_interleave";
        if self.dim() != 1 || !matches!(self.dtype(), DType::I64 | DType::I32) {
            return Err(Error::argument(format!(
                "{OP}: repetitions must be a vector of int64 or int32, found {} of shape {:?}",
                self.dtype(),
                self.shape()
            )));
        }
        let counts = self.to(DType::I64)?.to_vec::<i64>()?;
        let total = counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(usize::try_from(n).ok()?));
        let Some(total) = total.filter(|&n| n < 1 << 40) else {
            return Err(Error::argument(format!("{OP}: repetitions must not be negative or too many")));
        };
        let indices = driver::build(OP, &[total], |out: &mut [i64]| {
            let each = counts.iter().enumerate();
            let places = each.flat_map(|(i, &n)| std::iter::repeat_n(i as i64, n as usize));
            out.iter_mut().zip(places).for_each(|(out, i)| *out = i);
            Ok(())
        })?;
        indices.to(self.dtype())
    }

    /// A copy of matrices with 0 above the `diagonal` (0 is the main one, positive ones lie above).
    ///
    /// # Errors
    ///
    /// If there are fewer than two dimensions.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::ones([2, 2], DType::F32)?.tril(0)?.to_vec::<f32>()?, [1.0, 0.0, 1.0, 1.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn tril(&self, diagonal: isize) -> Result<Tensor> {
        self.masked_fill(&self.triangle("tril", move |i, j| j.saturating_sub(i) > diagonal)?, 0)
    }

    /// A copy of matrices with 0 below the `diagonal`.
    ///
    /// # Errors
    ///
    /// As [`tril`](Self::tril).
    pub fn triu(&self, diagonal: isize) -> Result<Tensor> {
        self.masked_fill(&self.triangle("triu", move |i, j| j.saturating_sub(i) < diagonal)?, 0)
    }

    /// Where a condition on row and column holds, for the last two dimensions.
    fn triangle(&self, op: &str, holds: impl Fn(isize, isize) -> bool) -> Result<Tensor> {
        let [.., rows, columns] = *self.shape() else {
            return Err(Error::shape(format!("{op}: needs two dimensions, found shape {:?}", self.shape())));
        };
        driver::build(op, &[rows, columns], |mask: &mut [bool]| {
            for (i, row) in mask.chunks_exact_mut(columns.max(1)).enumerate() {
                for (j, mask) in row.iter_mut().enumerate() {
                    *mask = holds(i as isize, j as isize);
                }
            }
            Ok(())
        })
    }

    /// A view of a diagonal of two dimensions, as a new last one; positive offsets lie above the main diagonal.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist or both are one.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4], [2, 2])?;
    /// assert_eq!(x.diagonal(0, 0, 1)?.to_vec::<i64>()?, [1, 4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn diagonal(&self, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        const OP: &str = "diagonal";
        if self.dim() < 2 {
            return Err(Error::shape(format!("{OP}: needs two dimensions, found shape {:?}", self.shape())));
        }
        let (a, b) = (wrap_dim(OP, dim1, self.dim())?, wrap_dim(OP, dim2, self.dim())?);
        if a == b {
            return Err(Error::index(format!("{OP}: dimensions {dim1} and {dim2} are one")));
        }
        let (down, right) = (offset.min(0).unsigned_abs(), offset.max(0).unsigned_abs());
        let n = self.shape()[a].saturating_sub(down).min(self.shape()[b].saturating_sub(right));
        let mut shape = Dims::new();
        let mut strides = Dims::new();
        for d in (0..self.dim()).filter(|&d| d != a && d != b) {
            shape.push(self.shape()[d]);
            strides.push(self.strides()[d]);
        }
        shape.push(n);
        strides.push(self.strides()[a] + self.strides()[b]);
        let start = if n == 0 { 0 } else { down * self.strides()[a] + right * self.strides()[b] };
        let layout = Layout { shape, strides, offset: self.storage_offset() + start };
        Ok(view(self, layout, Diagonal { offset, dims: [a as isize, b as isize] }))
    }

    /// The matrix with a vector on a diagonal, or the diagonal of a matrix.
    ///
    /// # Errors
    ///
    /// If it is neither a vector nor a matrix.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2], [2])?;
    /// assert_eq!(x.diag(0)?.to_vec::<i64>()?, [1, 0, 0, 2]);
    /// assert_eq!(x.diag(1)?.diag(1)?.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn diag(&self, diagonal: isize) -> Result<Tensor> {
        match self.dim() {
            1 => self.diag_embed(diagonal, 0, 1),
            2 => self.diagonal(diagonal, 0, 1)?.copy(),
            _ => Err(Error::shape(format!("diag: needs a vector or matrix, found shape {:?}", self.shape()))),
        }
    }

    /// The last dimension as a diagonal of two new dimensions, zeros elsewhere.
    ///
    /// # Errors
    ///
    /// If there is no dimension, or the new ones are out of range or one.
    pub fn diag_embed(&self, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        const OP: &str = "diag_embed";
        let (a, b) = (wrap_dim(OP, dim1, self.dim() + 1)?, wrap_dim(OP, dim2, self.dim() + 1)?);
        let Some((&last, rest)) = self.shape().split_last() else {
            return Err(Error::shape("diag_embed: a tensor without dimensions"));
        };
        if a == b {
            return Err(Error::index(format!("{OP}: dimensions {dim1} and {dim2} are one")));
        }
        let n = last + offset.unsigned_abs();
        let mut shape = Dims::from_slice(rest);
        shape.insert(a.min(b), n);
        shape.insert(a.max(b), n);
        let out = Tensor::zeros(shape.as_slice(), self.dtype())?;
        out.diagonal(offset, dim1, dim2)?.copy_(self)?;
        Ok(out)
    }

    /// The sum of the main diagonal of a matrix.
    ///
    /// # Errors
    ///
    /// If it is no matrix.
    pub fn trace(&self) -> Result<Tensor> {
        if self.dim() != 2 {
            return Err(Error::shape(format!("trace: needs a matrix, found shape {:?}", self.shape())));
        }
        self.diagonal(0, 0, 1)?.sum(())
    }

    /// A view with some dimensions moved to other places, the rest in order.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist, is named twice, or there are not as many places.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3, 4], DType::F32)?.movedim(0, -1)?.shape(), [3, 4, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn movedim(&self, source: impl Sizes, destination: impl Sizes) -> Result<Tensor> {
        const OP: &str = "movedim";
        let from = distinct(OP, &source.sizes(), self.dim())?;
        let to = distinct(OP, &destination.sizes(), self.dim())?;
        if from.len() != to.len() {
            return Err(Error::argument(format!("{OP}: {} dimensions to {} places", from.len(), to.len())));
        }
        if self.dim() == 0 {
            return self.view(());
        }
        let mut rest = (0..self.dim()).filter(|d| !from.contains(d));
        let mut order = Vec::with_capacity(self.dim());
        for place in 0..self.dim() {
            order.extend(match to.iter().position(|&t| t == place) {
                Some(i) => Some(from[i]),
                None => rest.next(),
            });
        }
        self.permute(order.as_slice())
    }
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (-2.0, 2.0))], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static REARRANGEMENTS: &[OpInfo] = &[
    OpInfo { name: "flip", samples: || vec![sample(|x| x.flip([0, -1]))] },
    OpInfo { name: "roll", samples: || vec![sample(|x| x.roll([1, -6], [0, 2])), sample(|x| x.roll(5, ()))] },
    OpInfo { name: "repeat", samples: || vec![sample(|x| x.repeat([2, 1, 3, 1]))] },
    OpInfo { name: "tile", samples: || vec![sample(|x| x.tile([2, 1]))] },
    OpInfo {
        name: "repeat_interleave",
        samples: || {
            vec![sample(|x| x.repeat_interleave(2, Some(1))), sample(|x| x.repeat_interleave(3, None))]
        },
    },
    OpInfo { name: "tril", samples: || vec![sample(|x| x.tril(-1)), sample(|x| x.tril(1))] },
    OpInfo { name: "triu", samples: || vec![sample(|x| x.triu(-1)), sample(|x| x.triu(1))] },
    OpInfo {
        name: "diagonal",
        samples: || vec![sample(|x| x.diagonal(1, 0, -1)), sample(|x| x.diagonal(-1, 1, 2))],
    },
    OpInfo {
        name: "diag",
        samples: || {
            vec![
                Sample::new(&[(&[4], (-2.0, 2.0))], |x| x[0].diag(-1)),
                Sample::new(&[(&[3, 4], (-2.0, 2.0))], |x| x[0].diag(1)),
            ]
        },
    },
    OpInfo { name: "diag_embed", samples: || vec![sample(|x| x.diag_embed(1, 0, 2))] },
    OpInfo { name: "trace", samples: || vec![Sample::new(&[(&[3, 4], (-2.0, 2.0))], |x| x[0].trace())] },
    OpInfo { name: "movedim", samples: || vec![sample(|x| x.movedim([0, 1], [2, 0]))] },
];
