//! Loops that move and add elements by index, over row-major memory.

use crate::Result;
use crate::ops::driver::{self, Kind, kind};
use crate::tensor::Tensor;
use crate::tensor::dtype::Element;

/// A shape seen as `[…, n, inner]` around one dimension.
#[derive(Clone, Copy)]
pub(super) struct Around {
    pub(super) n: usize,
    pub(super) inner: usize,
}

impl Around {
    pub(super) fn new(shape: &[usize], dim: usize) -> Self {
        Self {
            n: shape.get(dim).copied().unwrap_or(1),
            inner: shape.get(dim + 1..).unwrap_or(&[]).iter().product(),
        }
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

pub(super) use by_size;

/// Calls `f(place, at)` for each index of one plane, `[k, inner]`, with where it leads and its own place.
#[inline(always)]
fn each_place(index: &[i64], inner: usize, mut f: impl FnMut(usize, usize)) {
    if inner == 1 {
        index.iter().enumerate().for_each(|(at, &i)| f(i as usize, at));
        return;
    }
    for (j, index) in index.chunks_exact(inner.max(1)).enumerate() {
        index.iter().enumerate().for_each(|(i, &to)| f(to as usize * inner + i, j * inner + i));
    }
}

/// `to[o, index[o, j, i], i] = from[o, j, i]`.
pub(super) fn scatter_elements<const S: usize>(
    from: &[u8],
    to: &mut [u8],
    index: &[i64],
    x: Around,
    k: usize,
) {
    let (from, to) = (from.as_chunks::<S>().0, to.as_chunks_mut::<S>().0);
    let Around { n, inner, .. } = x;
    let plane = (k * inner).max(1);
    for (o, (from, index)) in from.chunks_exact(plane).zip(index.chunks_exact(plane)).enumerate() {
        let to = &mut to[o * n * inner..];
        each_place(index, inner, |place, at| to[place] = from[at]);
    }
}

/// A copy of `x` with `from` added at indices: one per element of `from`, or one per slice along `dim`.
pub(super) fn add_at(op: &str, x: &Tensor, dim: usize, index: &Tensor, from: &Tensor) -> Result<Tensor> {
    added(op, x.shape(), Some(x), dim, index, from)
}

/// Zeros of a shape, with `from` added at indices as in [`add_at`].
pub(super) fn sum_at(op: &str, shape: &[usize], dim: usize, index: &Tensor, from: &Tensor) -> Result<Tensor> {
    added(op, shape, None, dim, index, from)
}

fn added(
    op: &str,
    shape: &[usize],
    x: Option<&Tensor>,
    dim: usize,
    index: &Tensor,
    from: &Tensor,
) -> Result<Tensor> {
    fn run<T: Element>(
        op: &str,
        (shape, x): (&[usize], Option<&Tensor>),
        dim: usize,
        index: &Tensor,
        from: &Tensor,
        add: impl Fn(T, T) -> T + Sync,
    ) -> Result<Tensor> {
        let start = x.map(|x| x.detach().to(T::DTYPE)).transpose()?;
        driver::lines::scatter_add(op, (shape, start.as_ref()), dim, index, &from.detach().to(T::DTYPE)?, add)
    }
    let (start, dtype) = ((shape, x), x.map_or(from.dtype(), Tensor::dtype));
    match kind(op, dtype)? {
        Kind::F32 => run::<f32>(op, start, dim, index, from, |a, b| a + b),
        Kind::F64 => run::<f64>(op, start, dim, index, from, |a, b| a + b),
        Kind::I64 => run::<i64>(op, start, dim, index, from, i64::wrapping_add),
    }?
    .to(dtype)
}

/// Moves elements of any dtype by a function of the input's, the output's and the indices' memory. The output starts as
/// a copy of `start`, or as zeros.
pub(super) fn move_elements(
    op: &str,
    from: &Tensor,
    index: &Tensor,
    shape: &[usize],
    start: Option<&Tensor>,
    f: impl FnOnce(&[u8], &mut [u8], &[i64]),
) -> Result<Tensor> {
    let from = from.dense()?;
    let start = start.map(Tensor::dense).transpose()?;
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

/// A copy of the first of three tensors, in the compute type `T`, with the elements of the third combined with those at
/// the indices that the second has for each of them. With `start` what is met begins at that value instead of its own.
pub(super) fn combine_at<T: Element>(
    op: &str,
    [x, index, from]: [&Tensor; 3],
    (around, k): (Around, usize),
    start: Option<T>,
    combine: impl Fn(T, T) -> T,
) -> Result<Tensor> {
    let (old, from) = (x.detach().to(T::DTYPE)?, from.detach().to(T::DTYPE)?.contiguous()?);
    old.with_slice(|old: &[T]| {
        from.with_slice(|from: &[T]| {
            index.with_slice(|index: &[i64]| {
                driver::build(op, x.shape(), |out: &mut [T]| {
                    out.copy_from_slice(old);
                    let Around { n, inner, .. } = around;
                    let plane = (k * inner).max(1);
                    let mut each = |f: &mut dyn FnMut(&mut T, T)| {
                        for (o, (from, index)) in
                            from.chunks_exact(plane).zip(index.chunks_exact(plane)).enumerate()
                        {
                            let out = &mut out[o * n * inner..];
                            each_place(index, inner, |place, at| f(&mut out[place], from[at]));
                        }
                    };
                    if let Some(start) = start {
                        each(&mut |out, _| *out = start);
                    }
                    each(&mut |out, from| *out = combine(*out, from));
                    Ok(())
                })
            })
        })
    })???
}
