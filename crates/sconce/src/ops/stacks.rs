//! Joining and splitting along the dimensions that names stand for, grids and combinations.

use std::borrow::Borrow;

use super::registry::{OpInfo, Sample};
use crate::tensor::layout::broadcast;
use crate::tensor::promote::promote_types;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// `tensor_split` makes no more parts than this that have no elements.
const MAX_SECTIONS: usize = 1 << 20;

impl Tensor {
    /// The tensor with at least one dimension.
    ///
    /// # Errors
    ///
    /// None of its own.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::scalar(1.0f32);
    /// assert_eq!(x.atleast_1d()?.shape(), [1]);
    /// assert_eq!(x.atleast_2d()?.shape(), [1, 1]);
    /// assert_eq!(Tensor::from_vec(vec![1i64, 2], [2])?.atleast_3d()?.shape(), [1, 2, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn atleast_1d(&self) -> Result<Tensor> {
        if self.dim() == 0 { self.reshape([1]) } else { Ok(self.clone()) }
    }

    /// The tensor with at least two dimensions; a vector becomes a row.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub fn atleast_2d(&self) -> Result<Tensor> {
        match self.dim() {
            0 => self.reshape([1, 1]),
            1 => self.unsqueeze(0),
            _ => Ok(self.clone()),
        }
    }

    /// The tensor with at least three dimensions; a vector becomes `[1, n, 1]`, a matrix `[m, n, 1]`.
    ///
    /// # Errors
    ///
    /// None of its own.
    pub fn atleast_3d(&self) -> Result<Tensor> {
        match self.dim() {
            0 => self.reshape([1, 1, 1]),
            1 => self.unsqueeze(0)?.unsqueeze(-1),
            2 => self.unsqueeze(-1),
            _ => Ok(self.clone()),
        }
    }

    /// Tensors side by side: vectors along dimension 0, others along dimension 1.
    ///
    /// # Errors
    ///
    /// As [`cat`](Self::cat).
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1i64, 2], [2])?;
    /// assert_eq!(Tensor::hstack(&[&x, &x])?.shape(), [4]);
    /// assert_eq!(Tensor::vstack(&[&x, &x])?.shape(), [2, 2]);
    /// assert_eq!(Tensor::dstack(&[&x, &x])?.shape(), [1, 2, 2]);
    /// assert_eq!(Tensor::column_stack(&[&x, &x])?.to_vec::<i64>()?, [1, 1, 2, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn hstack(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        let parts = each("hstack", tensors, Self::atleast_1d)?;
        Self::cat(&parts, if parts[0].dim() == 1 { 0 } else { 1 })
    }

    /// Tensors below each other along dimension 0; vectors become rows.
    ///
    /// # Errors
    ///
    /// As [`cat`](Self::cat).
    pub fn vstack(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        Self::cat(&each("vstack", tensors, Self::atleast_2d)?, 0)
    }

    /// Tensors behind each other along dimension 2.
    ///
    /// # Errors
    ///
    /// As [`cat`](Self::cat).
    pub fn dstack(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        Self::cat(&each("dstack", tensors, Self::atleast_3d)?, 2)
    }

    /// Tensors side by side along dimension 1; vectors become columns.
    ///
    /// # Errors
    ///
    /// As [`cat`](Self::cat).
    pub fn column_stack(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        let column = |t: &Tensor| if t.dim() <= 1 { t.reshape([t.numel(), 1]) } else { Ok(t.clone()) };
        Self::cat(&each("column_stack", tensors, column)?, 1)
    }

    /// Matrices along the diagonal of a larger one, zeros elsewhere; vectors count as rows.
    ///
    /// # Errors
    ///
    /// If a tensor has more than two dimensions, or a dtype is only stored.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1i64, 2], [2])?;
    /// let y = Tensor::block_diag(&[&x, &Tensor::scalar(3i64)])?;
    /// assert_eq!(y.to_vec::<i64>()?, [1, 2, 0, 0, 0, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn block_diag(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        let mut blocks = Vec::with_capacity(tensors.len());
        let mut dtype = None;
        for t in tensors {
            let t: &Tensor = t.borrow();
            if t.dim() > 2 {
                return Err(Error::shape(format!(
                    "block_diag: takes at most 2 dimensions, found shape {:?}",
                    t.shape()
                )));
            }
            dtype = Some(dtype.map_or(t.dtype(), |d| promote_types(d, t.dtype())));
            blocks.push(t.atleast_2d()?);
        }
        let Some(dtype) = dtype else { return Self::zeros([1, 0], DType::F32) };
        let size = |d: usize| blocks.iter().map(|b| b.shape()[d]).sum::<usize>();
        let out = Self::zeros([size(0), size(1)], dtype)?;
        let (mut row, mut column) = (0, 0);
        for block in &blocks {
            let (m, n) = (block.shape()[0], block.shape()[1]);
            out.narrow(0, row, m)?.narrow(1, column, n)?.copy_(block)?;
            row += m as isize;
            column += n as isize;
        }
        Ok(out)
    }

    /// Each vector repeated along the dimensions of the others: views of one shape.
    ///
    /// With `xy` the first two dimensions are those of the second and the first vector, as for a plane's points;
    /// PyTorch's `indexing="xy"`.
    ///
    /// # Errors
    ///
    /// If there are none, one has more than one dimension, or the dtypes differ.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let (x, y) = (Tensor::from_vec(vec![1i64, 2], [2])?, Tensor::from_vec(vec![3i64, 4, 5], [3])?);
    /// let grids = Tensor::meshgrid(&[&x, &y], false)?;
    /// assert_eq!(grids[0].to_vec::<i64>()?, [1, 1, 1, 2, 2, 2]);
    /// assert_eq!(grids[1].to_vec::<i64>()?, [3, 4, 5, 3, 4, 5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn meshgrid(tensors: &[impl Borrow<Tensor>], xy: bool) -> Result<Vec<Tensor>> {
        const OP: &str = "meshgrid";
        let mut parts = each(OP, tensors, |t| match t.dim() {
            0 => t.reshape([1]),
            1 => Ok(t.clone()),
            _ => Err(Error::shape(format!("{OP}: needs vectors, found shape {:?}", t.shape()))),
        })?;
        if let Some(other) = parts.iter().find(|t| t.dtype() != parts[0].dtype()) {
            return Err(Error::dtype(format!(
                "{OP}: dtypes differ: {} and {}",
                parts[0].dtype(),
                other.dtype()
            )));
        }
        let swapped = xy && parts.len() >= 2;
        if swapped {
            parts.swap(0, 1);
        }
        let shape: Dims = parts.iter().map(Tensor::numel).collect();
        let mut grids = Vec::with_capacity(parts.len());
        for (i, part) in parts.iter().enumerate() {
            let mut apart = Dims::from_elem(1, parts.len());
            apart[i] = part.numel();
            grids.push(part.view(apart.as_slice())?.expand(shape.as_slice())?);
        }
        if swapped {
            grids.swap(0, 1);
        }
        Ok(grids)
    }

    /// All tuples of one element of each vector, one per row; a single vector as it is.
    ///
    /// # Errors
    ///
    /// If there are none, one is no vector, or the dtypes differ.
    pub fn cartesian_prod(tensors: &[impl Borrow<Tensor>]) -> Result<Tensor> {
        let parts = each("cartesian_prod", tensors, |t| match t.dim() {
            1 => Ok(t.clone()),
            _ => Err(Error::shape(format!("cartesian_prod: needs vectors, found shape {:?}", t.shape()))),
        })?;
        if let [one] = &parts[..] {
            return Ok(one.clone());
        }
        let grids = Self::meshgrid(&parts, false).map_err(|e| e.context("cartesian_prod"))?;
        let columns = grids.iter().map(|g| g.reshape([-1])).collect::<Result<Vec<_>>>()?;
        Self::stack(&columns, 1)
    }

    /// All choices of `r` elements of a vector in order, one per row; with repetitions if `with_replacement`.
    ///
    /// # Errors
    ///
    /// If it is no vector, or there are more choices than can be addressed.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3], [3])?;
    /// assert_eq!(x.combinations(2, false)?.to_vec::<i64>()?, [1, 2, 1, 3, 2, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn combinations(&self, r: usize, with_replacement: bool) -> Result<Tensor> {
        const OP: &str = "combinations";
        if self.dim() != 1 {
            return Err(Error::shape(format!("{OP}: needs a vector, found shape {:?}", self.shape())));
        }
        if r == 0 {
            return self.narrow(0, 0, 0)?.copy();
        }
        let n = self.numel();
        let of = if with_replacement { n.checked_add(r - 1) } else { Some(n) };
        let count = if n == 0 { Some(0) } else { of.and_then(|of| choices(of, r)) };
        let Some(total) = count.and_then(|c| c.checked_mul(r)).filter(|&t| t <= 1 << 40) else {
            return Err(Error::argument(format!("{OP}: {r} of {n} elements are too many choices")));
        };
        if total == 0 {
            return self.narrow(0, 0, 0)?.copy()?.reshape([0, r]);
        }
        let mut positions: Vec<i64> = Vec::new();
        positions
            .try_reserve_exact(total)
            .map_err(|e| Error::argument(format!("{OP}: cannot allocate {total} indices")).with_source(e))?;
        let step = usize::from(!with_replacement);
        let mut choice: Vec<usize> = (0..r).map(|i| i * step).collect();
        while positions.len() < total {
            positions.extend(choice.iter().map(|&i| i as i64));
            // The last place that can still move on, and the least that may follow it.
            let Some(place) = (0..r).rev().find(|&p| choice[p] + 1 + (r - 1 - p) * step < n) else { break };
            let next = choice[place] + 1;
            choice.iter_mut().skip(place).enumerate().for_each(|(i, c)| *c = next + i * step);
        }
        let positions = Self::from_vec(positions, [total])?;
        self.index_select(0, &positions)?.reshape([total / r, r])
    }

    /// Tensors expanded to the shape that they all broadcast to.
    ///
    /// # Errors
    ///
    /// If they do not broadcast.
    pub fn broadcast_tensors(tensors: &[impl Borrow<Tensor>]) -> Result<Vec<Tensor>> {
        let shapes: Vec<&[usize]> = tensors.iter().map(|t| t.borrow().shape()).collect();
        let shape = broadcast_shapes(&shapes).map_err(|e| e.context("broadcast_tensors"))?;
        tensors.iter().map(|t| t.borrow().expand(shape.as_slice())).collect()
    }

    /// Views of parts of a dimension: a number of nearly equal ones, the first larger by one where it does not divide,
    /// or those between indices, which are clamped as those of a slice.
    ///
    /// # Errors
    ///
    /// If there are no parts or the dimension does not exist.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4, 5], [5])?;
    /// assert_eq!(x.tensor_split(2, 0)?[0].to_vec::<i64>()?, [1, 2, 3]);
    /// assert_eq!(x.tensor_split([1, 4], 0)?[1].to_vec::<i64>()?, [2, 3, 4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn tensor_split(&self, sections: impl Into<Sections>, dim: isize) -> Result<Vec<Tensor>> {
        let size = self.size(dim).map_err(|e| e.context("tensor_split"))?;
        match sections.into() {
            Sections::Count(0) => Err(Error::argument("tensor_split: needs at least one section, found 0")),
            Sections::Count(sections) if sections > size.max(MAX_SECTIONS) => Err(Error::argument(format!(
                "tensor_split: {sections} sections of a dimension of size {size}; at most {MAX_SECTIONS} are made"
            ))),
            Sections::Count(sections) => {
                let (least, larger) = (size / sections, size % sections);
                let mut start = 0;
                (0..sections)
                    .map(|i| {
                        let n = least + usize::from(i < larger);
                        start += n;
                        self.narrow(dim, (start - n) as isize, n)
                    })
                    .collect()
            }
            Sections::At(indices) => {
                let mut start = 0;
                let ends = indices.into_iter().chain([isize::MAX]);
                ends.map(|end| self.slice(dim, std::mem::replace(&mut start, end), end, 1)).collect()
            }
        }
    }

    /// Views of parts side by side: of dimension 0 of a vector, of dimension 1 otherwise.
    ///
    /// # Errors
    ///
    /// If there is no dimension, or a number of sections does not divide it.
    pub fn hsplit(&self, sections: impl Into<Sections>) -> Result<Vec<Tensor>> {
        self.split_evenly("hsplit", sections.into(), 1, if self.dim() == 1 { 0 } else { 1 })
    }

    /// Views of parts below each other: of dimension 0.
    ///
    /// # Errors
    ///
    /// If there are fewer than two dimensions, or a number of sections does not divide the first.
    pub fn vsplit(&self, sections: impl Into<Sections>) -> Result<Vec<Tensor>> {
        self.split_evenly("vsplit", sections.into(), 2, 0)
    }

    /// Views of parts behind each other: of dimension 2.
    ///
    /// # Errors
    ///
    /// If there are fewer than three dimensions, or a number of sections does not divide the third.
    pub fn dsplit(&self, sections: impl Into<Sections>) -> Result<Vec<Tensor>> {
        self.split_evenly("dsplit", sections.into(), 3, 2)
    }

    fn split_evenly(
        &self,
        op: &'static str,
        sections: Sections,
        rank: usize,
        dim: isize,
    ) -> Result<Vec<Tensor>> {
        if self.dim() < rank {
            return Err(Error::shape(format!(
                "{op}: needs at least {rank} dimensions, found shape {:?}",
                self.shape()
            )));
        }
        let size = self.size(dim)?;
        if let Sections::Count(n) = sections
            && (n == 0 || size % n != 0)
        {
            return Err(Error::argument(format!(
                "{op}: {n} sections do not divide dimension {dim} of size {size}"
            )));
        }
        self.tensor_split(sections, dim).map_err(|e| e.context(op))
    }
}

/// Where [`Tensor::tensor_split`] splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sections {
    /// So many parts.
    Count(usize),
    /// Before these indices.
    At(Vec<isize>),
}

impl From<usize> for Sections {
    fn from(n: usize) -> Self {
        Self::Count(n)
    }
}

impl From<Vec<isize>> for Sections {
    fn from(indices: Vec<isize>) -> Self {
        Self::At(indices)
    }
}

impl<const N: usize> From<[isize; N]> for Sections {
    fn from(indices: [isize; N]) -> Self {
        Self::At(indices.to_vec())
    }
}

/// The number of choices of r of n, unless it overflows.
fn choices(n: usize, r: usize) -> Option<usize> {
    if r > n {
        return Some(0);
    }
    let r = r.min(n - r);
    (0..r).try_fold(1usize, |c, i| Some(c.checked_mul(n - i)? / (i + 1)))
}

/// The shape that all these broadcast to; PyTorch's `torch.broadcast_shapes`.
///
/// # Errors
///
/// If they do not broadcast.
///
/// ```
/// assert_eq!(sconce::broadcast_shapes(&[&[2, 1], &[3]])?.as_slice(), [2, 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn broadcast_shapes(shapes: &[&[usize]]) -> Result<Dims> {
    shapes.iter().try_fold(Dims::new(), |all, shape| broadcast("broadcast_shapes", &all, shape))
}

/// A function of each tensor of a list that is not empty.
fn each(
    op: &str,
    tensors: &[impl Borrow<Tensor>],
    f: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    if tensors.is_empty() {
        return Err(Error::argument(format!("{op}: no tensors")));
    }
    tensors.iter().map(|t| f(t.borrow())).collect()
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(crate) static STACKS: &[OpInfo] = &[
    OpInfo { name: "hstack", samples: || vec![Sample::new(&[(&[2, 3], D), (&[2, 1], D)], Tensor::hstack)] },
    OpInfo { name: "vstack", samples: || vec![Sample::new(&[(&[2, 3], D), (&[3], D)], Tensor::vstack)] },
    OpInfo { name: "dstack", samples: || vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D)], Tensor::dstack)] },
    OpInfo {
        name: "column_stack",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[2], D)], Tensor::column_stack)],
    },
    OpInfo {
        name: "block_diag",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[2], D)], Tensor::block_diag)],
    },
    OpInfo {
        name: "meshgrid",
        samples: || {
            vec![Sample::new(&[(&[2], D), (&[3], D)], |x| {
                let grids = Tensor::meshgrid(x, true)?;
                grids[0].mul(&grids[1])
            })]
        },
    },
    OpInfo {
        name: "cartesian_prod",
        samples: || vec![Sample::new(&[(&[2], D), (&[3], D)], Tensor::cartesian_prod)],
    },
    OpInfo {
        name: "combinations",
        samples: || {
            vec![
                Sample::new(&[(&[4], D)], |x| x[0].combinations(3, false)),
                Sample::new(&[(&[3], D)], |x| x[0].combinations(2, true)),
            ]
        },
    },
    OpInfo {
        name: "tensor_split",
        samples: || vec![Sample::new(&[(&[2, 5], D)], |x| Ok(x[0].tensor_split(3, 1)?.swap_remove(0)))],
    },
    OpInfo {
        name: "broadcast_tensors",
        samples: || {
            vec![Sample::new(&[(&[2, 1], D), (&[3], D)], |x| {
                let both = Tensor::broadcast_tensors(x)?;
                both[0].mul(&both[1])
            })]
        },
    },
];
