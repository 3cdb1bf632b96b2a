//! Sums and maxima in several lanes, for loops that are fused with other work.

use crate::Real;

const LANES: usize = 16;

/// `f(0) + … + f(n - 1)`, in lanes.
#[inline(always)]
pub(crate) fn sum<T: Real>(n: usize, f: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += f(i + l);
        }
        i += LANES;
    }
    for (l, i) in (whole..n).enumerate() {
        lanes[l] += f(i);
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

/// The greatest of `f(0)`, …, `f(n - 1)` and minus infinity; NaN may be passed over.
#[inline(always)]
pub(crate) fn max<T: Real>(n: usize, f: impl Fn(usize) -> T) -> T {
    let greater = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::NEG_INFINITY; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane = greater(*lane, f(i + l));
        }
        i += LANES;
    }
    for (l, i) in (whole..n).enumerate() {
        lanes[l] = greater(lanes[l], f(i));
    }
    lanes.into_iter().fold(T::NEG_INFINITY, greater)
}
