//! Two-dimensional pooling of adjacent planes, and its gradients.

use crate::Real;
use crate::isa::versions;
use crate::par::{self, Shared};

/// Elements of the output per task.
const GRAIN: usize = 8 * 1024;

/// The sizes of a pooling: `planes` planes of `[h, w]` become planes of `[oh, ow]`.
///
/// The output's size is given, so that the caller decides how it is rounded; windows may run over the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Planes: samples times channels.
    pub planes: usize,
    /// Rows of an input plane.
    pub h: usize,
    /// Columns of an input plane.
    pub w: usize,
    /// Rows of an output plane.
    pub oh: usize,
    /// Columns of an output plane.
    pub ow: usize,
    /// Rows and columns of the window.
    pub kernel: (usize, usize),
    /// Steps of the window down and across.
    pub stride: (usize, usize),
    /// Rows above and columns left of the input where windows start.
    pub padding: (usize, usize),
    /// Distances between the window's elements; averages take 1.
    pub dilation: (usize, usize),
}

impl Pool2d {
    /// Gives the rows of the input that the windows of output row `oy` see: the first, and how many there are,
    /// `dilation` apart.
    pub fn rows(&self, oy: usize) -> (usize, usize) {
        inside(oy, self.stride.0, self.padding.0, self.kernel.0, self.dilation.0, self.h)
    }

    /// Gives the columns of the input that the windows of output column `ox` see, as [`rows`](Self::rows).
    pub fn columns(&self, ox: usize) -> (usize, usize) {
        inside(ox, self.stride.1, self.padding.1, self.kernel.1, self.dilation.1, self.w)
    }

    /// Counts the elements of a window inside the padded input, for [`Divisor::Padded`]; without dilation.
    pub fn padded_area(&self, oy: usize, ox: usize) -> f64 {
        let rows = inside_padded(oy, self.stride.0, self.padding.0, self.kernel.0, self.h);
        rows as f64 * inside_padded(ox, self.stride.1, self.padding.1, self.kernel.1, self.w) as f64
    }

    /// Collects the columns of windows of which some output sees an element, so that huge windows cost no more than the
    /// input's own columns.
    fn used_taps(&self) -> Vec<usize> {
        let mut taps = Vec::new();
        let mut end = 0;
        // Later windows see earlier columns of theirs.
        for ox in (0..self.ow).rev() {
            let first = self.padding.1.saturating_sub(ox * self.stride.1).div_ceil(self.dilation.1);
            let (_, n) = self.columns(ox);
            taps.extend(first.max(end)..(first + n).max(end));
            end = end.max(first + n);
        }
        taps
    }

    fn planes(&self, work: impl Fn(usize) + Sync) {
        // Of a window, only what is inside the input is visited.
        let window = self.kernel.0.min(self.h) * self.kernel.1.min(self.w);
        let area = (self.oh * self.ow).saturating_mul(window).max(1);
        par::for_ranges(self.planes, (4 * GRAIN / area).max(1), |from, to| (from..to).for_each(&work));
    }
}

/// The indices `start, start + step, …` of a window that are inside `0..len`: the first and how many.
#[inline(always)]
fn inside(at: usize, stride: usize, padding: usize, k: usize, step: usize, len: usize) -> (usize, usize) {
    let start = at * stride;
    let skip = padding.saturating_sub(start).div_ceil(step);
    let first = start + skip * step - padding.min(start + skip * step);
    let room = if first < len { (len - first).div_ceil(step) } else { 0 };
    (first, k.saturating_sub(skip).min(room))
}

/// Computes the greatest element of each window, and its index in its input plane.
///
/// NaN is greater than anything; of equal elements the first counts. A window without an element of the input gives
/// minus infinity and an index of the plane.
///
/// ```
/// use sconce_kernels::{Pool2d, max_pool2d};
/// let pool = Pool2d {
///     planes: 1, h: 2, w: 2, oh: 1, ow: 1, kernel: (2, 2), stride: (2, 2), padding: (0, 0), dilation: (1, 1),
/// };
/// let (x, mut y, mut at) = ([1f32, 5., 3., 5.], [0f32], [0i64]);
/// // SAFETY: the arrays have the sizes above.
/// unsafe { max_pool2d(&pool, x.as_ptr(), y.as_mut_ptr(), at.as_mut_ptr()) };
/// assert_eq!((y, at), ([5.], [1]));
/// ```
///
/// # Safety
/// `stride` and `dilation` are not 0. `x` is valid for `planes · h · w` elements, `y` and `indices` for
/// `planes · oh · ow`, from any thread; they do not overlap.
pub unsafe fn max_pool2d<T: Real>(pool: &Pool2d, x: *const T, y: *mut T, indices: *mut i64) {
    let p = *pool;
    let (x, y, indices) = (Shared(x.cast_mut()), Shared(y), Shared(indices));
    let first: Vec<_> =
        (0..p.ow).map(|ox| p.columns(ox)).map(|(column, n)| if n > 0 { column } else { 0 }).collect();
    // For each column of the window, the outputs for which it is inside the input.
    let taps: Vec<_> = p
        .used_taps()
        .into_iter()
        .map(|j| {
            let (offset, step) = (j * p.dilation.1, p.stride.1);
            let from = p.padding.1.saturating_sub(offset).div_ceil(step);
            (
                j,
                from,
                (p.w + p.padding.1)
                    .saturating_sub(offset)
                    .div_ceil(step)
                    .clamp(from, p.ow.max(from))
                    .min(p.ow),
            )
        })
        .collect();
    p.planes(|plane| {
        // SAFETY: one plane of the caller's arrays.
        unsafe {
            let x = x.get().add(plane * p.h * p.w).cast_const();
            for oy in 0..p.oh {
                let at = plane * p.oh * p.ow + oy * p.ow;
                let y = std::slice::from_raw_parts_mut(y.get().add(at), p.ow);
                let indices = std::slice::from_raw_parts_mut(indices.get().add(at), p.ow);
                let (row, rows) = p.rows(oy);
                let row = if rows > 0 { row } else { 0 };
                y.fill(T::NEG_INFINITY);
                for (index, column) in indices.iter_mut().zip(&first) {
                    *index = (row * p.w + column) as i64;
                }
                for i in 0..rows {
                    for &(j, from, to) in &taps {
                        if from < to {
                            let start = (row + i * p.dilation.0) * p.w + j * p.dilation.1 + from * p.stride.1;
                            let index = start - p.padding.1;
                            max_row(x, index, p.stride.1, &mut y[from..to], &mut indices[from..to]);
                        }
                    }
                }
            }
        }
    });
}

versions! {
    /// Lets element `index + i · step` of `x` compete with `best[i]`.
    ///
    /// # Safety
    /// These elements are valid.
    unsafe fn max_row[T: Real][T](
        x: *const T, index: usize, step: usize, best: &mut [T], at: &mut [i64],
    ) = max_row_body
}

#[inline(always)]
unsafe fn max_row_body<T: Real>(x: *const T, index: usize, step: usize, best: &mut [T], at: &mut [i64]) {
    let n = best.len();
    let at = &mut at[..n];
    for i in 0..n {
        let index = index + i * step;
        // SAFETY: the caller's contract.
        let v = unsafe { *x.add(index) };
        let better = (v > best[i]) | v.is_nan();
        best[i] = if better { v } else { best[i] };
        at[i] = if better { index as i64 } else { at[i] };
    }
}

/// Computes the gradient of [`max_pool2d`]'s input: each output's gradient is added where its element was.
///
/// # Safety
/// As for [`max_pool2d`], and each index is inside its plane.
pub unsafe fn max_pool2d_backward<T: Real>(
    pool: &Pool2d,
    grad: *const T,
    indices: *const i64,
    grad_x: *mut T,
) {
    let p = *pool;
    let (grad, indices, grad_x) = (Shared(grad.cast_mut()), Shared(indices.cast_mut()), Shared(grad_x));
    p.planes(|plane| {
        // SAFETY: one plane of the caller's arrays; the indices are inside it.
        unsafe {
            let to = std::slice::from_raw_parts_mut(grad_x.get().add(plane * p.h * p.w), p.h * p.w);
            to.fill(T::ZERO);
            for o in plane * p.oh * p.ow..(plane + 1) * p.oh * p.ow {
                *to.as_mut_ptr().add(*indices.get().add(o) as usize) += *grad.get().add(o);
            }
        }
    });
}

/// What the sum of a window is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// The elements of the window inside the padded input.
    Padded,
    /// The elements of the window inside the input.
    Inside,
    /// This number.
    Fixed(i64),
}

/// How many elements of a window without dilation are inside the padded input.
#[inline(always)]
fn inside_padded(at: usize, stride: usize, padding: usize, k: usize, len: usize) -> usize {
    let start = at * stride;
    start.saturating_add(k).min(len + 2 * padding).saturating_sub(start)
}

/// Computes the average of each window.
///
/// # Safety
/// `stride` is not 0. `x` is valid for `planes · h · w` elements, `y` for `planes · oh · ow`, from any thread; they do
/// not overlap.
pub unsafe fn avg_pool2d<T: Real>(pool: &Pool2d, divisor: Divisor, x: *const T, y: *mut T) {
    let p = *pool;
    let (x, y) = (Shared(x.cast_mut()), Shared(y));
    p.planes(|plane| {
        // SAFETY: one plane of the caller's arrays.
        unsafe {
            let (x, y) = (x.get().add(plane * p.h * p.w), y.get().add(plane * p.oh * p.ow));
            windows(&p, divisor, |o, corner, (ny, nx), count| {
                let mut sum = T::ZERO;
                for i in 0..ny {
                    for j in 0..nx {
                        sum += *x.add(corner + i * p.w + j);
                    }
                }
                *y.add(o) = sum / T::from_f64(count);
            });
        }
    });
}

/// Computes the gradient of [`avg_pool2d`]'s input.
///
/// # Safety
/// As for [`avg_pool2d`].
pub unsafe fn avg_pool2d_backward<T: Real>(pool: &Pool2d, divisor: Divisor, grad: *const T, grad_x: *mut T) {
    let p = *pool;
    let (grad, grad_x) = (Shared(grad.cast_mut()), Shared(grad_x));
    p.planes(|plane| {
        // SAFETY: one plane of the caller's arrays.
        unsafe {
            let to = grad_x.get().add(plane * p.h * p.w);
            std::slice::from_raw_parts_mut(to, p.h * p.w).fill(T::ZERO);
            let grad = grad.get().add(plane * p.oh * p.ow);
            windows(&p, divisor, |o, corner, (ny, nx), count| {
                let share = *grad.add(o) / T::from_f64(count);
                for i in 0..ny {
                    for j in 0..nx {
                        *to.add(corner + i * p.w + j) += share;
                    }
                }
            });
        }
    });
}

/// Calls `visit(output, corner, (rows, columns), divisor)` for each window of a plane.
#[inline(always)]
fn windows(p: &Pool2d, divisor: Divisor, mut visit: impl FnMut(usize, usize, (usize, usize), f64)) {
    let columns: Vec<_> = (0..p.ow).map(|ox| p.columns(ox)).collect();
    for oy in 0..p.oh {
        let (y0, ny) = p.rows(oy);
        for (ox, &(x0, nx)) in columns.iter().enumerate() {
            let count = match divisor {
                Divisor::Padded => p.padded_area(oy, ox),
                Divisor::Inside => (ny * nx) as f64,
                Divisor::Fixed(n) => n as f64,
            };
            visit(oy * p.ow + ox, y0 * p.w + x0, (ny, nx), count);
        }
    }
}
