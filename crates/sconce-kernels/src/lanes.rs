//! Sums and maxima in several lanes, for loops that are fused with other work.
//!
//! There are so many lanes that the compiler keeps a loop over them and vectorises it; short inputs take fewer.
#![allow(clippy::needless_range_loop)]

use crate::Real;

const MANY: usize = 64;
const FEW: usize = 8;

/// `f(0) + … + f(n - 1)`, in lanes.
#[inline(always)]
pub(crate) fn sum<T: Real>(n: usize, f: impl Fn(usize) -> T) -> T {
    let add = |a: T, b: T| a + b;
    if n < MANY { fold::<T, FEW>(n, T::ZERO, f, add) } else { fold::<T, MANY>(n, T::ZERO, f, add) }
}

/// [`sum`], which meanwhile asks for the `n` elements at each of `ahead`, which are read soon.
#[inline(always)]
pub(crate) fn sum_ahead<T: Real, const N: usize>(
    n: usize,
    f: impl Fn(usize) -> T,
    ahead: [*const T; N],
) -> T {
    let whole = n / MANY * MANY;
    let mut lanes = [T::ZERO; MANY];
    for from in (0..whole).step_by(MANY) {
        for ahead in ahead {
            prefetch(MANY, ahead.wrapping_add(from));
        }
        for l in 0..MANY {
            lanes[l] += f(from + l);
        }
    }
    fold::<T, FEW>(MANY, T::ZERO, |l| lanes[l], |a, b| a + b) + sum(n - whole, |i| f(whole + i))
}

/// How far ahead of the elements in use a loop over adjacent rows of `n` asks for memory: in the rows to come, as long as
/// they stay in the cache.
#[inline(always)]
pub(crate) fn ahead(n: usize) -> usize {
    if n <= 4096 { n.max(2048) } else { 0 }
}

/// Asks for `n` elements that are read soon; the address may be any.
#[inline(always)]
pub(crate) fn prefetch<T>(n: usize, at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
    for line in 0..(n * size_of::<T>()).div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction has no effect on the program, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(64 * line)) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(feature = "portable"), not(miri))))]
    let _ = (n, at);
}

/// The greatest of `f(0)`, …, `f(n - 1)` and minus infinity; NaN may be passed over.
#[inline(always)]
pub(crate) fn max<T: Real>(n: usize, f: impl Fn(usize) -> T) -> T {
    let greater = |a: T, b: T| if b > a { b } else { a };
    if n < MANY {
        fold::<T, FEW>(n, T::NEG_INFINITY, f, greater)
    } else {
        fold::<T, MANY>(n, T::NEG_INFINITY, f, greater)
    }
}

#[inline(always)]
fn fold<T: Real, const LANES: usize>(
    n: usize,
    init: T,
    f: impl Fn(usize) -> T,
    join: impl Fn(T, T) -> T,
) -> T {
    let mut lanes = [init; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for l in 0..LANES {
            lanes[l] = join(lanes[l], f(i + l));
        }
        i += LANES;
    }
    for i in whole..n {
        lanes[i - whole] = join(lanes[i - whole], f(i));
    }
    for width in [32, 16, 8, 4, 2, 1] {
        if 2 * width <= LANES {
            for l in 0..width {
                lanes[l] = join(lanes[l], lanes[l + width]);
            }
        }
    }
    lanes[0]
}
