//! Products with a vector, and dot products, at memory bandwidth.

use super::Product;
use super::kernel::Real;
use crate::isa::versions;
use crate::par::{self, Shared};

/// Elements of the matrix per task.
const GRAIN: usize = 128 * 1024;
/// Partial sums of a dot product; enough to hide the latency of adds.
const LANES: usize = 32;

/// Returns the sum of `a[i · a_step] · b[i · b_step]` over `i < n`, summed in several lanes.
///
/// ```
/// let a = [1f32, 2., 3.];
/// // SAFETY: both pointers are valid for three elements.
/// assert_eq!(unsafe { sconce_kernels::dot(3, a.as_ptr(), 1, a.as_ptr(), 1) }, 14.0);
/// ```
///
/// # Safety
/// Every element is valid to read.
pub unsafe fn dot<T: Real>(n: usize, a: *const T, a_step: isize, b: *const T, b_step: isize) -> T {
    let mut sum = T::ZERO;
    // Long vectors are summed in pieces of fixed size, which bounds the rounding error.
    for from in (0..n).step_by(4096) {
        let n = 4096.min(n - from);
        let at = |p: *const T, step: isize| p.wrapping_offset(from as isize * step);
        // SAFETY: the caller's contract.
        sum += unsafe { dot_piece(n, at(a, a_step), a_step, at(b, b_step), b_step) };
    }
    sum
}

versions! {
    /// # Safety
    /// As for [`dot`].
    unsafe fn dot_piece[T: Real][T](n: usize, a: *const T, a_step: isize, b: *const T, b_step: isize) -> T = dot_body
}

#[inline(always)]
unsafe fn dot_body<T: Real>(n: usize, a: *const T, a_step: isize, b: *const T, b_step: isize) -> T {
    let mut lanes = [T::ZERO; LANES];
    if a_step == 1 && b_step == 1 {
        // SAFETY: `n` adjacent elements each.
        let (a, b) = unsafe { (std::slice::from_raw_parts(a, n), std::slice::from_raw_parts(b, n)) };
        let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (a_rest, b_rest) = (a.remainder(), b.remainder());
        for (a, b) in a.zip(b) {
            for l in 0..LANES {
                lanes[l] += a[l] * b[l];
            }
        }
        for (l, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            lanes[l] += a * b;
        }
    } else {
        for i in 0..n {
            // SAFETY: element `i` of each.
            unsafe {
                lanes[i % 8] += *a.offset(i as isize * a_step) * *b.offset(i as isize * b_step);
            }
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            let upper = lanes[l + width];
            lanes[l] += upper;
        }
        width /= 2;
    }
    lanes[0]
}

/// A product with `m == 1` or `n == 1`.
///
/// # Safety
/// As for `gemm`.
pub(super) unsafe fn vector<T: Real>(p: Product<T>, parallel: bool) {
    // As a row vector times a matrix.
    let p = if p.m == 1 { p } else { p.t() };
    let grain = if parallel { (GRAIN / p.k).max(1) } else { p.n };
    let shared = Shared((&raw const p).cast_mut());
    if p.b.row == 1 || p.b.col != 1 {
        par::for_ranges(p.n, grain, |from, to| {
            // SAFETY: `p` outlives the call; columns `from..to` are this task's.
            unsafe {
                let p = *shared.get();
                for j in from..to {
                    let v = p.alpha * dot(p.k, p.a.ptr, p.a.col, p.b.at(0, j), p.b.row);
                    let c = p.c.at(0, j);
                    *c = if p.beta == T::ZERO { v } else { v + p.beta * *c };
                }
            }
        });
    } else {
        let strips = p.n.div_ceil(STRIP);
        par::for_ranges(strips, grain.div_ceil(STRIP), |from, to| {
            for strip in from..to {
                // SAFETY: `p` outlives the call; the strip is this task's.
                unsafe {
                    let p = *shared.get();
                    let j = strip * STRIP;
                    let n = STRIP.min(p.n - j);
                    let mut sums = [T::ZERO; STRIP];
                    axpys(n, p.k, p.a.ptr, p.a.col, p.b.at(0, j), p.b.row, &mut sums);
                    for (i, &s) in sums[..n].iter().enumerate() {
                        let (v, c) = (p.alpha * s, p.c.at(0, j + i));
                        *c = if p.beta == T::ZERO { v } else { v + p.beta * *c };
                    }
                }
            }
        });
    }
}

/// Columns whose sums are kept in the first-level cache.
const STRIP: usize = 512;

versions! {
    /// `sums[j] += Σ a[p] · b[p][j]`, the rows of `b` adjacent.
    ///
    /// # Safety
    /// `a` has `k` elements, `b` `k` rows of `n`; `n <= STRIP`.
    unsafe fn axpys[T: Real][T](
        n: usize, k: usize, a: *const T, a_step: isize, b: *const T, b_row: isize, sums: &mut [T; STRIP],
    ) = axpys_body
}

#[inline(always)]
unsafe fn axpys_body<T: Real>(
    n: usize,
    k: usize,
    a: *const T,
    a_step: isize,
    b: *const T,
    b_row: isize,
    sums: &mut [T; STRIP],
) {
    let sums = &mut sums[..n];
    let mut p = 0;
    // SAFETY: element `p` of `a` and row `p` of `b`, for `p < k`.
    unsafe {
        let x = |p: usize| *a.wrapping_offset(p as isize * a_step);
        let row = |p: usize| std::slice::from_raw_parts(b.wrapping_offset(p as isize * b_row), n);
        while p + 4 <= k {
            let (x0, x1, x2, x3) = (x(p), x(p + 1), x(p + 2), x(p + 3));
            let (b0, b1, b2, b3) = (row(p), row(p + 1), row(p + 2), row(p + 3));
            for j in 0..n {
                sums[j] = ((sums[j] + x0 * b0[j]) + x1 * b1[j]) + (x2 * b2[j] + x3 * b3[j]);
            }
            p += 4;
        }
        while p < k {
            let (x, b) = (x(p), row(p));
            for j in 0..n {
                sums[j] += x * b[j];
            }
            p += 1;
        }
    }
}
