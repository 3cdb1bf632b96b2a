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
