//! Softmax and log-softmax along the middle of adjacent `[outer, dim, inner]` arrays, and their gradients.

use std::mem::MaybeUninit;

use crate::isa::versions;
use crate::par::{self, Shared};
use crate::{Float, lanes};

/// Elements per task.
const GRAIN: usize = 8 * 1024;
/// Neighbouring columns that are computed together, at most: few if there are few.
const NARROW: usize = 64;
const WIDE: usize = 512;
/// How many rows ahead of the one in use a strip asks for memory, where it goes row by row.
const NEXT: usize = 4;
/// Neighbouring exponentials that are summed apart.
const BLOCK: usize = 64;
/// Exponentials that are kept at a time where they are no result.
const KEPT: usize = 1024;
/// Rows of a strip that are summed before the sum joins those before.
const ROWS: usize = 8;

/// Which of the two functions is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftmaxKind {
    /// `exp(x) / Σ exp(x)`.
    Softmax,
    /// Its logarithm.
    LogSoftmax,
}

/// Computes softmax or log-softmax of `x` along `dim`.
///
/// ```
/// use sconce_kernels::{SoftmaxKind, softmax};
/// let (x, mut y) = ([0f32, 0., 0., 0.], [0f32; 4]);
/// // SAFETY: two rows of two.
/// unsafe { softmax(SoftmaxKind::Softmax, 2, 2, 1, x.as_ptr(), y.as_mut_ptr()) };
/// assert_eq!(y, [0.5; 4]);
/// ```
///
/// # Safety
/// `x` and `y` are valid for `outer · dim · inner` elements from any thread and do not overlap.
pub unsafe fn softmax<T: Float>(
    kind: SoftmaxKind,
    outer: usize,
    dim: usize,
    inner: usize,
    x: *const T,
    y: *mut T,
) {
    let (x, y) = (Shared(x.cast_mut()), Shared(y));
    each(outer, dim, inner, |at, n| {
        // SAFETY: the columns `at..at + n` of the caller's arrays, written by this task alone.
        unsafe {
            let (x, y) = (x.get().add(at).cast_const(), y.get().add(at));
            match inner {
                1 => row(kind, dim, x, y),
                2..=NARROW => strip::<T, NARROW>(kind, dim, inner, n, x, y),
                _ => strip::<T, WIDE>(kind, dim, inner, n, x, y),
            }
        }
    });
}

/// Computes the gradient of [`softmax`]'s input from its result `y` and the gradient of the result.
///
/// # Safety
/// The arrays are valid for `outer · dim · inner` elements from any thread, and `grad_x` overlaps no other.
pub unsafe fn softmax_backward<T: Float>(
    kind: SoftmaxKind,
    outer: usize,
    dim: usize,
    inner: usize,
    y: *const T,
    grad: *const T,
    grad_x: *mut T,
) {
    let (y, grad, grad_x) = (Shared(y.cast_mut()), Shared(grad.cast_mut()), Shared(grad_x));
    each(outer, dim, inner, |at, n| {
        // SAFETY: the columns `at..at + n` of the caller's arrays, written by this task alone.
        unsafe {
            let (y, grad) = (y.get().add(at).cast_const(), grad.get().add(at).cast_const());
            let grad_x = grad_x.get().add(at);
            match inner {
                1 => row_backward(kind, dim, y, grad, grad_x),
                2..=NARROW => strip_backward::<T, NARROW>(kind, dim, inner, n, y, grad, grad_x),
                _ => strip_backward::<T, WIDE>(kind, dim, inner, n, y, grad, grad_x),
            }
        }
    });
}

/// Calls `work(offset, columns)` for all strips of neighbouring columns.
fn each(outer: usize, dim: usize, inner: usize, work: impl Fn(usize, usize) + Sync) {
    if dim == 0 || inner == 0 {
        return;
    }
    let strip = if inner <= NARROW { NARROW } else { WIDE };
    let strips = inner.div_ceil(strip);
    let grain = (GRAIN / (dim * inner.min(strip))).max(1);
    par::for_ranges(outer * strips, grain, |from, to| {
        for i in from..to {
            let (o, s) = (i / strips, i % strips * strip);
            work(o * dim * inner + s, strip.min(inner - s));
        }
    });
}

versions! {
    /// # Safety
    /// `x` and `y` have `n` elements and do not overlap.
    unsafe fn row[T: Float][T](kind: SoftmaxKind, n: usize, x: *const T, y: *mut T) = row_body, fused
}

#[inline(always)]
unsafe fn row_body<T: Float>(kind: SoftmaxKind, n: usize, x: *const T, y: *mut T, fused: bool) {
    // SAFETY: `i < n` throughout.
    unsafe {
        let max = lanes::max(n, |i| *x.add(i));
        match kind {
            SoftmaxKind::Softmax => {
                let scale = T::ONE / exps(n, x, max, y, fused);
                for i in 0..n {
                    *y.add(i) = *y.add(i) * scale;
                }
            }
            SoftmaxKind::LogSoftmax => {
                // Through the output, whose memory arrives meanwhile.
                let log = (exps(n, x, max, y, fused) * (T::ONE / T::EXP_SCALE)).log(fused);
                for i in 0..n {
                    *y.add(i) = *x.add(i) - max - log;
                }
            }
        }
    }
}

/// Writes `e = exp(x - max)`, times [`Float::EXP_SCALE`], and returns the sum.
#[inline(always)]
unsafe fn exps<T: Float>(n: usize, x: *const T, max: T, e: *mut T, fused: bool) -> T {
    let mut sums = [T::ZERO; BLOCK];
    let (whole, ahead) = (n / BLOCK * BLOCK, x.wrapping_add(lanes::ahead(n)));
    // SAFETY: indices below `n`.
    unsafe {
        for from in (0..whole).step_by(BLOCK) {
            // Two loops: one that also sums is not made of vectors.
            for i in from..from + BLOCK {
                *e.add(i) = (*x.add(i) - max).exp_scaled(fused);
            }
            for l in 0..BLOCK {
                sums[l] += *e.add(from + l);
            }
            lanes::prefetch(BLOCK, ahead.wrapping_add(from));
        }
        for i in whole..n {
            *e.add(i) = (*x.add(i) - max).exp_scaled(fused);
        }
        lanes::sum(BLOCK, |l| sums[l]) + lanes::sum(n - whole, |i| *e.add(whole + i))
    }
}

versions! {
    /// # Safety
    /// The arrays have `n` elements, and `gx` overlaps no other.
    unsafe fn row_backward[T: Float][T](
        kind: SoftmaxKind, n: usize, y: *const T, g: *const T, gx: *mut T,
    ) = row_backward_body, fused
}

#[inline(always)]
unsafe fn row_backward_body<T: Float>(
    kind: SoftmaxKind,
    n: usize,
    y: *const T,
    g: *const T,
    gx: *mut T,
    fused: bool,
) {
    let next = [y, g, gx.cast_const()].map(|p| p.wrapping_add(lanes::ahead(n)));
    // SAFETY: `i < n` throughout.
    unsafe {
        match kind {
            SoftmaxKind::Softmax => {
                let dot = lanes::sum_ahead(n, |i| *g.add(i) * *y.add(i), next);
                for i in 0..n {
                    *gx.add(i) = *y.add(i) * (*g.add(i) - dot);
                }
            }
            SoftmaxKind::LogSoftmax => {
                let sum = lanes::sum_ahead(n, |i| *g.add(i), next);
                for i in 0..n {
                    *gx.add(i) = *g.add(i) - (*y.add(i)).exp_down(fused) * sum;
                }
            }
        }
    }
}

versions! {
    /// # Safety
    /// `x` and `y` have `dim` rows of `n <= W` elements, `step` apart, and do not overlap.
    unsafe fn strip[T: Float, const W: usize][T, W](
        kind: SoftmaxKind, dim: usize, step: usize, n: usize, x: *const T, y: *mut T,
    ) = strip_body, fused
}

/// Two passes: greatest elements and sums below them, which shrink when a greater element comes; then the results.
#[inline(always)]
unsafe fn strip_body<T: Float, const W: usize>(
    kind: SoftmaxKind,
    dim: usize,
    step: usize,
    n: usize,
    x: *const T,
    y: *mut T,
    fused: bool,
) {
    let (mut max, mut sum) = ([T::NEG_INFINITY; W], [T::ZERO; W]);
    // SAFETY: `r < dim` and `i < n` throughout.
    unsafe {
        for from in (0..dim).step_by(ROWS) {
            let rows = from..dim.min(from + ROWS);
            let mut now = max;
            for r in rows.clone().step_by(2) {
                let other = (r + 1).min(dim - 1);
                for (i, now) in now.iter_mut().enumerate().take(n) {
                    // Of two rows: the greater of one and of what is there would be a masked store, which is slow.
                    let (v, w) = (*x.add(r * step + i), *x.add(other * step + i));
                    let v = if v > *now { v } else { *now };
                    *now = if w > v { w } else { v };
                }
            }
            // Of nothing but minus infinity so far the differences would be NaN.
            let base = now.map(|max| if max == T::NEG_INFINITY { T::ZERO } else { max });
            let mut part = [T::ZERO; W];
            for r in rows {
                lanes::prefetch(n, x.wrapping_add((r + ROWS) * step));
                for i in 0..n {
                    part[i] += (*x.add(r * step + i) - base[i]).exp_scaled(fused);
                }
            }
            for i in 0..n {
                let shrink = if now[i] > max[i] { (max[i] - now[i]).exp_down(fused) } else { T::ONE };
                sum[i] = sum[i] * shrink + part[i];
            }
            max = now;
        }
        let softmax = kind == SoftmaxKind::Softmax;
        for s in &mut sum[..n] {
            *s = if softmax { T::ONE / *s } else { (*s * (T::ONE / T::EXP_SCALE)).log(fused) };
        }
        for r in 0..dim {
            lanes::prefetch(n, x.wrapping_add((r + NEXT) * step));
            lanes::prefetch(n, y.wrapping_add((r + NEXT) * step));
            for i in 0..n {
                let (x, y) = (*x.add(r * step + i), y.add(r * step + i));
                *y = if softmax { (x - max[i]).exp_scaled(fused) * sum[i] } else { x - max[i] - sum[i] };
            }
        }
    }
}

versions! {
    /// # Safety
    /// The arrays have `dim` rows of `n <= W` elements, `step` apart, and `gx` overlaps no other.
    unsafe fn strip_backward[T: Float, const W: usize][T, W](
        kind: SoftmaxKind, dim: usize, step: usize, n: usize, y: *const T, g: *const T, gx: *mut T,
    ) = strip_backward_body, fused
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn strip_backward_body<T: Float, const W: usize>(
    kind: SoftmaxKind,
    dim: usize,
    step: usize,
    n: usize,
    y: *const T,
    g: *const T,
    gx: *mut T,
    fused: bool,
) {
    let mut sum = [T::ZERO; W];
    let softmax = kind == SoftmaxKind::Softmax;
    // SAFETY: `r < dim` and `i < n` throughout.
    unsafe {
        for from in (0..dim).step_by(ROWS) {
            let mut part = [T::ZERO; W];
            for r in from..dim.min(from + ROWS) {
                lanes::prefetch(n, y.wrapping_add((r + NEXT) * step));
                lanes::prefetch(n, g.wrapping_add((r + NEXT) * step));
                for (i, part) in part.iter_mut().enumerate().take(n) {
                    let at = r * step + i;
                    *part += if softmax { *g.add(at) * *y.add(at) } else { *g.add(at) };
                }
            }
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
        for r in 0..dim {
            lanes::prefetch(n, y.wrapping_add((r + NEXT) * step));
            lanes::prefetch(n, g.wrapping_add((r + NEXT) * step));
            lanes::prefetch(n, gx.wrapping_add((r + NEXT) * step));
            for (i, &sum) in sum.iter().enumerate().take(n) {
                let at = r * step + i;
                let (g, y) = (*g.add(at), *y.add(at));
                *gx.add(at) = if softmax { y * (g - sum) } else { g - y.exp_down(fused) * sum };
            }
        }
    }
}

/// Computes `log Σ exp(x) - x[target]` of each row, and for [`cross_entropy_backward`] the row's greatest element and
/// `log Σ exp(x - greatest)`: apart, because their sum would round the second away where the first is large.
///
/// ```
/// let (x, mut loss, mut logs) = ([1e8f32, 1e8], [0f32], [0f32; 2]);
/// // SAFETY: one row of two.
/// unsafe { sconce_kernels::cross_entropy(1, 2, x.as_ptr(), &[1], loss.as_mut_ptr(), logs.as_mut_ptr()) };
/// assert_eq!((loss, logs), ([2f32.ln()], [1e8, 2f32.ln()]));
/// ```
///
/// # Safety
/// `x` is valid for `rows · cols` elements from any thread, `losses` for `rows` and `logs` for twice as many, which overlap
/// nothing else. There is a target for each row, not negative and less than `cols`.
pub unsafe fn cross_entropy<T: Float>(
    rows: usize,
    cols: usize,
    x: *const T,
    targets: &[i64],
    losses: *mut T,
    logs: *mut T,
) {
    assert_eq!(targets.len(), rows, "a target for each row");
    let [x, losses, logs] = [x.cast_mut(), losses, logs].map(Shared);
    par::for_ranges(rows, (GRAIN / cols.max(1)).max(1), |from, to| {
        for r in from..to {
            // SAFETY: row `r`, whose results this task alone writes.
            unsafe {
                let x = x.get().add(r * cols);
                let (base, log) = log_sum(cols, x);
                *logs.get().add(2 * r) = base;
                *logs.get().add(2 * r + 1) = log;
                *losses.get().add(r) = log - (*x.add(targets[r] as usize) - base);
            }
        }
    });
}

versions! {
    /// The greatest element, and the logarithm of the sum of the exponentials of what the elements are above it.
    ///
    /// # Safety
    /// `x` has `n` elements.
    unsafe fn log_sum[T: Float][T](n: usize, x: *const T) -> (T, T) = log_sum_body, fused
}

#[inline(always)]
unsafe fn log_sum_body<T: Float>(n: usize, x: *const T, fused: bool) -> (T, T) {
    let (mut block, mut sum) = ([const { MaybeUninit::<T>::uninit() }; KEPT], T::ZERO);
    // SAFETY: indices below `n`; of the block that many elements are written before they are read.
    unsafe {
        let max = lanes::max(n, |i| *x.add(i));
        // Of nothing but minus infinity the differences would be NaN.
        let base = if max == T::NEG_INFINITY { T::ZERO } else { max };
        for from in (0..n).step_by(KEPT) {
            sum += exps(KEPT.min(n - from), x.add(from), base, block.as_mut_ptr().cast(), fused);
        }
        (base, (sum * (T::ONE / T::EXP_SCALE)).log(fused))
    }
}

/// Computes the gradient of [`cross_entropy`]'s input from the gradient of each row's loss.
///
/// # Safety
/// As for [`cross_entropy`]; `grad` is valid for `rows` elements, `grad_x` for `rows · cols`, and overlaps nothing else.
pub unsafe fn cross_entropy_backward<T: Float>(
    rows: usize,
    cols: usize,
    x: *const T,
    targets: &[i64],
    logs: *const T,
    grad: *const T,
    grad_x: *mut T,
) {
    assert_eq!(targets.len(), rows, "a target for each row");
    let [x, logs, grad, grad_x] = [x.cast_mut(), logs.cast_mut(), grad.cast_mut(), grad_x].map(Shared);
    par::for_ranges(rows, (GRAIN / cols.max(1)).max(1), |from, to| {
        for r in from..to {
            // SAFETY: row `r`, whose gradient this task alone writes.
            unsafe {
                let (g, to) = (*grad.get().add(r), grad_x.get().add(r * cols));
                let (base, log) = (*logs.get().add(2 * r), *logs.get().add(2 * r + 1));
                weighted(cols, x.get().add(r * cols), base, log, g, to);
                let target = to.add(targets[r] as usize);
                *target = *target - g;
            }
        }
    });
}

versions! {
    /// `to[i] = exp(x[i] - base - log) * factor`.
    ///
    /// # Safety
    /// Both have `n` elements and do not overlap.
    unsafe fn weighted[T: Float][T](
        n: usize, x: *const T, base: T, log: T, factor: T, to: *mut T,
    ) = weighted_body, fused
}

#[inline(always)]
unsafe fn weighted_body<T: Float>(
    n: usize,
    x: *const T,
    base: T,
    log: T,
    factor: T,
    to: *mut T,
    fused: bool,
) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe { *to.add(i) = (*x.add(i) - base - log).exp_down(fused) * factor };
    }
}
