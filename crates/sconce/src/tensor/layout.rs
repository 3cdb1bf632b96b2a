//! Shapes, strides and offsets.

use smallvec::SmallVec;

use super::dims::{Dims, INLINE};
use crate::{Error, Result};

/// Where the elements of a tensor lie in its storage; everything counts in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Dims,
    pub(crate) strides: Dims,
    pub(crate) offset: usize,
}

impl Layout {
    /// The row-major layout of a shape; an error if the number of elements overflows.
    pub(crate) fn contiguous(shape: &[usize]) -> Result<Self> {
        checked_numel(shape)?;
        Ok(Self::row_major(shape))
    }

    /// The row-major layout of a shape whose number of elements was checked.
    #[inline(always)]
    pub(crate) fn row_major(shape: &[usize]) -> Self {
        Self { shape: Dims::from_slice(shape), strides: contiguous_strides(shape), offset: 0 }
    }

    pub(crate) fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn is_contiguous(&self) -> bool {
        is_contiguous(&self.shape, &self.strides)
    }

    /// One past the highest storage index used; 0 without elements.
    pub(crate) fn end(&self) -> usize {
        if self.numel() == 0 {
            return 0;
        }
        let last: usize = self.shape.iter().zip(&self.strides).map(|(&n, &s)| (n - 1) * s).sum();
        self.offset + last + 1
    }

    /// Whether two indices may share an element.
    ///
    /// Exact for layouts made by views of a dense tensor; like PyTorch's `is_non_overlapping_and_dense`-based test it
    /// may call an exotic `as_strided` layout overlapping that is not.
    pub(crate) fn overlaps_itself(&self) -> bool {
        if self.is_contiguous() || self.numel() <= 1 {
            return false;
        }
        let mut dims: SmallVec<[(usize, usize); 6]> =
            self.strides.iter().zip(&self.shape).filter(|(_, n)| **n > 1).map(|(&s, &n)| (s, n)).collect();
        dims.sort_unstable();
        let mut reach = 0;
        for (stride, size) in dims {
            if stride <= reach {
                return true;
            }
            reach += stride * (size - 1);
        }
        false
    }

    /// Whether every element between the first and the last is used exactly once.
    pub(crate) fn is_dense(&self) -> bool {
        self.is_contiguous()
            || !self.overlaps_itself() && self.end() - self.offset.min(self.end()) == self.numel()
    }
}

pub(crate) fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&n, &s) in shape.iter().zip(strides).rev() {
        if n == 0 {
            return true;
        }
        if n != 1 {
            if s != expected {
                return shape.contains(&0);
            }
            expected *= n;
        }
    }
    true
}

/// Whether the strides are exactly those of [`contiguous_strides`], also where a dimension of size 1 makes them moot.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&n, &s)| {
        let matches = s == expected;
        expected *= n.max(1);
        matches
    })
}

/// Equality of shapes, which are too short for a call of `memcmp`.
#[inline(always)]
pub(crate) fn same(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

/// Row-major strides; as in PyTorch, a dimension of size 0 counts as 1.
#[inline(always)]
pub(crate) fn contiguous_strides(shape: &[usize]) -> Dims {
    if shape.len() <= INLINE {
        let size = |d: usize| shape.get(d).map_or(1, |&n| n.max(1));
        // What is beyond the last dimension counts as 1.
        let fifth = size(5);
        let fourth = fifth * size(4);
        let third = fourth * size(3);
        let second = third * size(2);
        return Dims::from_inline([second * size(1), second, third, fourth, fifth, 1], shape.len());
    }
    long_strides(shape)
}

#[cold]
fn long_strides(shape: &[usize]) -> Dims {
    let mut strides = Dims::from_elem(1, shape.len());
    for d in (0..shape.len().saturating_sub(1)).rev() {
        strides[d] = strides[d + 1] * shape[d + 1].max(1);
    }
    strides
}

/// The number of elements, or an error when it, or the row-major strides, do not fit `isize`.
#[inline]
pub(crate) fn checked_numel(shape: &[usize]) -> Result<usize> {
    let span = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    match span {
        Some(n) if n <= isize::MAX as usize / 16 => Ok(shape.iter().product()),
        _ => Err(too_many(shape)),
    }
}

#[cold]
fn too_many(shape: &[usize]) -> Error {
    Error::shape(format!("shape {shape:?} has too many elements"))
}

/// Turns a dimension that may count from the end into an index; `op` names the caller.
#[inline]
pub(crate) fn wrap_dim(op: &str, dim: isize, rank: usize) -> Result<usize> {
    // A 0-d tensor takes dim 0 and -1, as in PyTorch.
    let n = rank.max(1) as isize;
    if dim < -n || dim >= n {
        return Err(no_such_dim(op, dim, n));
    }
    Ok(if dim < 0 { dim + n } else { dim } as usize)
}

#[cold]
fn no_such_dim(op: &str, dim: isize, n: isize) -> Error {
    Error::index(format!("{op}: dimension {dim} is out of range [{}, {}]", -n, n - 1))
}

/// The shape that `a` and `b` broadcast to, if it is not `a`, as it mostly is.
#[inline]
pub(crate) fn broadcast_beyond(op: &str, a: &[usize], b: &[usize]) -> Result<Option<Dims>> {
    if b.is_empty() || same(a, b) { Ok(None) } else { broadcast(op, a, b).map(Some) }
}

/// The shape that `a` and `b` broadcast to.
pub(crate) fn broadcast(op: &str, a: &[usize], b: &[usize]) -> Result<Dims> {
    if same(a, b) {
        return Ok(Dims::from_slice(a));
    }
    let rank = a.len().max(b.len());
    let mut out = Dims::from_elem(1, rank);
    for i in 0..rank {
        let x = if i + a.len() >= rank { a[i + a.len() - rank] } else { 1 };
        let y = if i + b.len() >= rank { b[i + b.len() - rank] } else { 1 };
        out[i] = match (x, y) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return Err(Error::shape(format!("{op}: shapes {a:?} and {b:?} do not broadcast"))),
        };
    }
    Ok(out)
}

/// Strides that repeat a view over a larger shape; the shapes must broadcast.
pub(crate) fn broadcast_strides(shape: &[usize], strides: &[usize], to: &[usize]) -> Dims {
    let lead = to.len() - shape.len();
    let mut out = Dims::from_elem(0, to.len());
    for i in 0..shape.len() {
        out[lead + i] = if shape[i] == 1 && to[lead + i] != 1 { 0 } else { strides[i] };
    }
    out
}

/// Strides for seeing a layout under another shape without a copy, if there are any (PyTorch's `computeStride`).
pub(crate) fn view_strides(layout: &Layout, shape: &[usize]) -> Option<Dims> {
    let (old, strides) = (&layout.shape, &layout.strides);
    if same(old, shape) {
        return Some(strides.clone());
    }
    if layout.numel() == 0 || is_row_major(old, strides) {
        return Some(contiguous_strides(shape));
    }
    let mut out = Dims::from_elem(0, shape.len());
    let mut view_d = shape.len() as isize - 1;
    let (mut base, mut tensor_numel, mut view_numel) = (strides.last().copied().unwrap_or(1), 1, 1);
    for d in (0..old.len()).rev() {
        tensor_numel *= old[d];
        let chunk_ends = d == 0 || (old[d - 1] != 1 && strides[d - 1] != tensor_numel * base);
        if chunk_ends {
            while view_d >= 0 && (view_numel < tensor_numel || shape[view_d as usize] == 1) {
                out[view_d as usize] = view_numel * base;
                view_numel *= shape[view_d as usize];
                view_d -= 1;
            }
            if view_numel != tensor_numel {
                return None;
            }
            if d > 0 {
                base = strides[d - 1];
                (tensor_numel, view_numel) = (1, 1);
            }
        }
    }
    if old.is_empty() {
        // A single element under a shape of ones.
        out.iter_mut().for_each(|s| *s = 1);
        return Some(out);
    }
    (view_d == -1).then_some(out)
}

/// Replaces the one `-1` in a requested shape.
pub(crate) fn infer_shape(op: &str, requested: &[isize], numel: usize) -> Result<Dims> {
    let wrong = || Error::shape(format!("{op}: shape {requested:?} does not hold {numel} elements"));
    let mut inferred = None;
    let mut known = 1usize;
    for (i, &n) in requested.iter().enumerate() {
        match n {
            -1 if inferred.is_some() => {
                return Err(Error::shape(format!("{op}: only one size of {requested:?} can be inferred")));
            }
            -1 => inferred = Some(i),
            n if n < 0 => return Err(Error::shape(format!("{op}: shape {requested:?} has a negative size"))),
            n => known = known.checked_mul(n as usize).ok_or_else(wrong)?,
        }
    }
    let mut out: Dims = requested.iter().map(|&n| n.max(0) as usize).collect();
    match inferred {
        Some(i) => {
            if known == 0 {
                return Err(Error::shape(format!(
                    "{op}: the size -1 of {requested:?} is ambiguous: {numel} elements"
                )));
            }
            if !numel.is_multiple_of(known) {
                return Err(wrong());
            }
            out[i] = numel / known;
        }
        None if known != numel => return Err(wrong()),
        None => {}
    }
    checked_numel(&out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[usize], strides: &[usize]) -> Layout {
        Layout { shape: Dims::from_slice(shape), strides: Dims::from_slice(strides), offset: 0 }
    }

    #[test]
    fn views_without_a_copy() {
        type Case<'a> = (&'a [usize], &'a [usize], &'a [usize], Option<&'a [usize]>);
        let cases: &[Case] = &[
            (&[2, 3], &[3, 1], &[6], Some(&[1])),
            (&[2, 3], &[1, 2], &[6], None),
            (&[2, 3], &[1, 2], &[2, 3, 1], Some(&[1, 2, 2])),
            (&[4, 6], &[12, 1], &[4, 2, 3], Some(&[12, 3, 1])),
            (&[4, 6], &[12, 1], &[24], None),
            (&[], &[], &[1, 1], Some(&[1, 1])),
            (&[1], &[5], &[], Some(&[])),
            (&[0, 3], &[3, 1], &[3, 0], Some(&[1, 1])),
            (&[3, 4], &[0, 1], &[3, 2, 2], Some(&[0, 2, 1])),
            (&[3, 4], &[0, 1], &[12], None),
        ];
        for &(shape, strides, to, want) in cases {
            let found = view_strides(&layout(shape, strides), to);
            assert_eq!(found.as_ref().map(Dims::as_slice), want, "{shape:?} {strides:?} as {to:?}");
        }
    }

    #[test]
    fn self_overlap() {
        assert!(!layout(&[2, 3], &[3, 1]).overlaps_itself());
        assert!(!layout(&[2, 3], &[1, 2]).overlaps_itself());
        assert!(layout(&[2, 3], &[0, 1]).overlaps_itself());
        assert!(layout(&[2, 3], &[1, 1]).overlaps_itself());
        assert!(!layout(&[1, 3], &[0, 1]).overlaps_itself());
    }

    #[test]
    fn broadcasting() {
        assert_eq!(broadcast("t", &[4, 1], &[3]).unwrap().as_slice(), [4, 3]);
        assert_eq!(broadcast("t", &[], &[3]).unwrap().as_slice(), [3]);
        assert_eq!(broadcast("t", &[0], &[1]).unwrap().as_slice(), [0]);
        assert!(broadcast("t", &[2], &[3]).is_err());
    }
}
