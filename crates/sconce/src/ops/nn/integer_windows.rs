//! Convolutions and pooling of integers: exact, with wrapping sums as in PyTorch, and without gradients.
//!
//! Convolutions are put together from one strided view of the padded input, whose last dimensions are those of a
//! window; pooling visits what each window sees of the input.

use sconce_kernels::{Divisor, Pool2d};

use crate::ops::driver::build;
use crate::tensor::dtype::Category;
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// So many elements the copy of every padded input may have.
const PADDED: usize = 1 << 26;

/// How windows lie in the last dimensions of an input: one number per dimension.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub(super) kernel: Dims,
    pub(super) stride: Dims,
    pub(super) padding: Dims,
    pub(super) dilation: Dims,
    /// How many there are.
    pub(super) count: Dims,
}

impl Windows {
    /// How much of a padded dimension the windows reach over.
    fn reach(&self, i: usize) -> usize {
        let (last, span) = (self.count[i].saturating_sub(1), self.kernel[i].saturating_sub(1));
        let last = last.saturating_mul(self.stride[i]);
        last.saturating_add(span.saturating_mul(self.dilation[i])).saturating_add(1)
    }

    /// The windows of `[…, D…]` as a view `[…, count…, kernel…]` of a copy that is padded with 0.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let spatial = self.kernel.len();
        let lead = x.dim() - spatial;
        let mut shape = Dims::from_slice(x.shape());
        for i in 0..spatial {
            shape[lead + i] = x.shape()[lead + i].saturating_add(self.padding[i]).max(self.reach(i));
        }
        check_padded(&shape, x.numel())?;
        let padded = Tensor::zeros(shape.as_slice(), x.dtype())?;
        let mut inside = padded.clone();
        for i in 0..spatial {
            inside = inside.narrow((lead + i) as isize, self.padding[i] as isize, x.shape()[lead + i])?;
        }
        inside.copy_(&x.detach())?;
        let (mut sizes, mut strides) =
            (Dims::from_slice(&shape[..lead]), Dims::from_slice(&padded.strides()[..lead]));
        for i in 0..spatial {
            sizes.push(self.count[i]);
            strides.push(padded.strides()[lead + i] * self.stride[i]);
        }
        for i in 0..spatial {
            sizes.push(self.kernel[i]);
            strides.push(padded.strides()[lead + i] * self.dilation[i]);
        }
        padded.as_strided(sizes.as_slice(), strides.as_slice(), 0)
    }
}

/// Refuses a padded copy that is far larger than what it is made for.
fn check_padded(shape: &[usize], elements: usize) -> Result<()> {
    if checked_numel(shape)? <= elements.saturating_mul(8).max(PADDED) {
        return Ok(());
    }
    Err(Error::argument(format!(
        "a padded copy of shape {shape:?} for {elements} elements: padding, stride or dilation is too large"
    )))
}

/// Whether an input of integers is to be computed here; bools are refused.
pub(super) fn is_integer(op: &str, x: &Tensor) -> Result<bool> {
    match x.dtype().category() {
        Category::Integer => Ok(true),
        Category::Bool => Err(Error::dtype(format!("{op}: not implemented for bool"))),
        _ => Ok(false),
    }
}

/// Refuses integers that PyTorch does not compute either.
pub(super) fn only_int64(op: &str, x: &Tensor) -> Result<()> {
    if x.dtype() == DType::I64 {
        return Ok(());
    }
    Err(Error::dtype(format!("{op}: needs a floating point dtype or int64, found {}", x.dtype())))
}

/// The convolution of `[N, C, D…]` with `[out, C / groups, K…]`, without bias.
pub(super) fn convolve(x: &Tensor, weight: &Tensor, windows: &Windows, groups: usize) -> Result<Tensor> {
    let spatial = windows.kernel.len();
    let (n, out) = (x.shape()[0], weight.shape()[0]);
    let taps: usize = weight.shape()[1..].iter().product();
    let places: usize = windows.count.iter().product();
    // [N, C, count…, kernel…] to [N, groups, C / groups · kernel, count].
    let mut order: Vec<usize> = vec![0, 1];
    order.extend(2 + spatial..2 + 2 * spatial);
    order.extend(2..2 + spatial);
    let columns = windows.of(x)?.permute(order.as_slice())?.reshape([n, groups, taps, places])?;
    let rows = weight.detach().reshape([1, groups, out / groups.max(1), taps])?;
    let mut shape = Dims::from_slice(&[n, out]);
    shape.extend_from_slice(&windows.count);
    rows.matmul(&columns)?.reshape(shape.as_slice())
}

/// The transposed convolution of `[N, C, D…]` with `[C, out / groups, K…]`, without bias: the convolution of an input
/// with zeros between its elements with the kernel turned round. `windows` are those of the convolution that it
/// transposes, `size` is that of the result.
pub(super) fn convolve_transposed(
    x: &Tensor,
    weight: &Tensor,
    windows: &Windows,
    groups: usize,
    size: &[usize],
) -> Result<Tensor> {
    let spatial = size.len();
    let (n, channels, out) = (x.shape()[0], x.shape()[1], weight.shape()[1] * groups);
    let Windows { kernel, stride, padding, dilation, .. } = windows;
    let span = |i: usize| (kernel[i] - 1) * dilation[i];
    let mut shape = Dims::from_slice(&[n, channels]);
    shape.extend((0..spatial).map(|i| size[i].saturating_add(padding[i]).saturating_add(span(i))));
    check_padded(
        &shape,
        size.iter().fold(n * channels.max(out), |n, &d| n.saturating_mul(d)).max(x.numel()),
    )?;
    let spread = Tensor::zeros(shape.as_slice(), x.dtype())?;
    let (mut places, mut given) = (spread.clone(), x.detach());
    for i in 0..spatial {
        let d = 2 + i as isize;
        // What lies beyond the result is cut off.
        let fit = given.shape()[2 + i].min((size[i] + padding[i]).div_ceil(stride[i]));
        given = given.narrow(d, 0, fit)?;
        places = places.slice(d, span(i) as isize, isize::MAX, stride[i])?.narrow(d, 0, fit)?;
    }
    places.copy_(&given)?;
    let mut cut = spread;
    for (i, &start) in padding.iter().enumerate() {
        cut = cut.narrow(2 + i as isize, start as isize, size[i] + span(i))?;
    }
    let turned = weight.detach().flip((2..2 + spatial).collect::<Vec<_>>())?;
    let mut parts = Dims::from_slice(&[groups, channels / groups, out / groups]);
    parts.extend_from_slice(kernel);
    let mut merged = Dims::from_slice(&[out, channels / groups]);
    merged.extend_from_slice(kernel);
    let turned = turned.reshape(parts.as_slice())?.transpose(1, 2)?.reshape(merged.as_slice())?;
    let steps = Windows {
        stride: Dims::from_elem(1, spatial),
        padding: Dims::from_elem(0, spatial),
        count: Dims::from_slice(size),
        ..windows.clone()
    };
    convolve(&cut, &turned, &steps, groups)
}

/// The greatest element of each window of `[…, H, W]`, and its index in the flattened plane.
pub(super) fn greatest(x: &Tensor, pool: &Pool2d, shape: &[usize]) -> Result<(Tensor, Tensor)> {
    let indices = each_window("max_pool2d", x, pool, shape, |plane, (row, rows), (column, columns), _| {
        let places = (0..rows).flat_map(|i| {
            let start = (row + i * pool.dilation.0) * pool.w + column;
            (0..columns).map(move |j| start + j * pool.dilation.1)
        });
        // Of equal ones the first.
        places.reduce(|best, at| if plane[at] > plane[best] { at } else { best }).unwrap_or(0) as i64
    })?;
    let planes = x.detach().flatten(-2, -1)?;
    Ok((planes.gather(-1, &indices.flatten(-2, -1)?)?.reshape(shape)?, indices))
}

/// The average of each window of `[…, H, W]`, rounded towards 0.
pub(super) fn average(x: &Tensor, pool: &Pool2d, divisor: Divisor, shape: &[usize]) -> Result<Tensor> {
    each_window("avg_pool2d", x, pool, shape, |plane, (row, rows), (column, columns), padded| {
        let rows_of = (row..row + rows).map(|r| &plane[r * pool.w + column..][..columns]);
        let sum = rows_of.flatten().fold(0i64, |sum, &v| sum.wrapping_add(v));
        let count = match divisor {
            Divisor::Fixed(n) => n,
            Divisor::Padded => padded as i64,
            Divisor::Inside => (rows * columns) as i64,
        };
        sum.wrapping_div(if count == 0 { 1 } else { count })
    })
}

/// Calls a function with a plane, the rows and columns of it that a window sees, each as the first and how many, and
/// the number of elements in the input and its padding; its results are int64 and have the given shape.
fn each_window(
    op: &str,
    x: &Tensor,
    pool: &Pool2d,
    shape: &[usize],
    f: impl Fn(&[i64], (usize, usize), (usize, usize), f64) -> i64,
) -> Result<Tensor> {
    let columns: Vec<_> = (0..pool.ow).map(|ox| pool.columns(ox)).collect();
    let size = pool.h * pool.w;
    x.detach().to(DType::I64)?.contiguous()?.with_slice(|x: &[i64]| {
        build(op, shape, |out: &mut [i64]| {
            for (line, out) in out.chunks_exact_mut(pool.ow.max(1)).enumerate() {
                let (plane, oy) = (&x[line / pool.oh * size..][..size], line % pool.oh);
                let rows = pool.rows(oy);
                for (ox, out) in out.iter_mut().enumerate() {
                    *out = f(plane, rows, columns[ox], pool.padded_area(oy, ox));
                }
            }
            Ok(())
        })
    })?
}
