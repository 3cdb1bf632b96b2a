//! Reductions over any set of dimensions.
//!
//! The elements that make one result are cut, by position, into leaves, and leaves into chunks. Within a leaf several
//! lanes accumulate side by side; leaves and chunks are merged like a cascade, so rounding errors grow far slower than
//! with one running sum. Chunks are what threads take. The cut depends on the sizes only, and so does the result.
//!
//! If memory is adjacent along a dimension that stays, lanes are neighbouring results instead, and rows of them are
//! accumulated leaf by leaf.

mod arg;
mod fold;

pub use fold::{Fold, fold};

use crate::{Compute, Dst, Elem, Src};

/// What [`reduce`] computes of the elements that make one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// Sum; 0 of nothing.
    Sum,
    /// Sum divided by the number of elements; NaN of nothing.
    Mean,
    /// Product; 1 of nothing.
    Prod,
    /// Greatest element, NaN if there is one.
    Max,
    /// Least element, NaN if there is one.
    Min,
    /// Whether any element is not 0; NaN is not 0.
    Any,
    /// Whether no element is 0.
    All,
    /// Index of the first greatest element, or of the first NaN; counts row-major over the reduced dimensions.
    ArgMax,
    /// Index of the first least element, or of the first NaN.
    ArgMin,
    /// Sum of the squares.
    SumSquares,
    /// Sum of the absolute values.
    SumAbs,
}

/// Reduces `src` over `reduced`, the trailing part of its strides, for each index of `outer`.
///
/// `src.strides` has one stride per dimension of `outer` followed by one per dimension of `reduced`; `out.strides` one
/// per dimension of `outer`. Any element type becomes any other, as in [`copy`](crate::copy): sums, products and means
/// are computed in the compute type of `out`, the rest in the one of `src`. An index goes to an integer `out`.
///
/// ```
/// use sconce_kernels::{Dst, Elem, Reduction, Src, reduce};
/// let (a, mut sums) = ([1f32, 2., 3., 4., 5., 6.], [0f32; 3]);
/// let src = Src { ptr: a.as_ptr().cast(), elem: Elem::F32, strides: &[1, 3] };
/// let out = Dst { ptr: sums.as_mut_ptr().cast(), elem: Elem::F32, strides: &[1] };
/// // SAFETY: the views describe the arrays above: columns of a 2 × 3 matrix.
/// unsafe { reduce(Reduction::Sum, &[3], &[2], out, src) };
/// assert_eq!(sums, [5., 7., 9.]);
/// ```
///
/// # Safety
/// - Every index of `outer` and `reduced` is valid to read in `src`, and of `outer` to write in `out`, aligned for
///   their element types, from any thread during the call.
/// - No two indices share an element of `out`, and `out` is disjoint from `src`.
pub unsafe fn reduce(kind: Reduction, outer: &[usize], reduced: &[usize], out: Dst<'_>, src: Src<'_>) {
    use Reduction::*;
    let elem = match kind {
        Sum | Mean | Prod | SumSquares | SumAbs => out.elem,
        _ => src.elem,
    };
    // SAFETY: the caller's contract.
    unsafe {
        match elem {
            Elem::F64 => float::<f64>(kind, outer, reduced, out, src),
            Elem::F32 | Elem::F16 | Elem::BF16 => float::<f32>(kind, outer, reduced, out, src),
            _ => integer(kind, outer, reduced, out, src),
        }
    }
}

unsafe fn float<T: crate::Real>(
    kind: Reduction,
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
) {
    let same = |a: T| a;
    let infinity = -T::NEG_INFINITY;
    let count = T::from_f64(reduced.iter().product::<usize>() as f64);
    let add = |a: T, b: T| a + b;
    let nan = |x: T| x.is_nan();
    macro_rules! run {
        ($init:expr, $step:expr, $merge:expr, $finish:expr) => {
            fold(
                outer,
                reduced,
                out,
                src,
                Fold { ordered: false, init: $init, step: $step, merge: $merge, finish: $finish },
            )
        };
    }
    // SAFETY: the caller's contract.
    unsafe {
        match kind {
            Reduction::Sum => run!(T::ZERO, |a, x, _| a + x, add, same),
            Reduction::Mean => run!(T::ZERO, |a, x, _| a + x, add, |a| a / count),
            Reduction::Prod => run!(T::ONE, |a: T, x: T, _| a * x, |a: T, b: T| a * b, same),
            Reduction::SumSquares => run!(T::ZERO, |a: T, x: T, _| a + x * x, add, same),
            Reduction::SumAbs => run!(T::ZERO, |a, x: T, _| a + if x < T::ZERO { -x } else { x }, add, same),
            Reduction::Max => {
                let max = |a: T, x: T| if (x > a) | nan(x) { x } else { a };
                run!(T::NEG_INFINITY, |a, x, _| max(a, x), max, same)
            }
            Reduction::Min => {
                let min = |a: T, x: T| if (x < a) | nan(x) { x } else { a };
                run!(infinity, |a, x, _| min(a, x), min, same)
            }
            Reduction::Any => truth::<T>(true, outer, reduced, out, src),
            Reduction::All => truth::<T>(false, outer, reduced, out, src),
            Reduction::ArgMax | Reduction::ArgMin
                if arg::arg::<T>(kind == Reduction::ArgMax, outer, reduced, out, src) => {}
            Reduction::ArgMax => {
                arg::<T>(T::NEG_INFINITY, |x, y| (x > y) | (nan(x) & !nan(y)), outer, reduced, out, src)
            }
            Reduction::ArgMin => {
                arg::<T>(infinity, |x, y| (x < y) | (nan(x) & !nan(y)), outer, reduced, out, src)
            }
        }
    }
}

unsafe fn integer(kind: Reduction, outer: &[usize], reduced: &[usize], out: Dst<'_>, src: Src<'_>) {
    let same = |a: i64| a;
    let add = |a: i64, b: i64| a.wrapping_add(b);
    let count = reduced.iter().product::<usize>() as f64;
    macro_rules! run {
        ($init:expr, $step:expr, $merge:expr, $finish:expr) => {
            fold(
                outer,
                reduced,
                out,
                src,
                Fold { ordered: false, init: $init, step: $step, merge: $merge, finish: $finish },
            )
        };
    }
    // SAFETY: the caller's contract.
    unsafe {
        match kind {
            Reduction::Sum => run!(0, move |a, x, _| add(a, x), add, same),
            Reduction::Mean => run!(0, move |a, x, _| add(a, x), add, |a| a as f64 / count),
            Reduction::Prod => run!(1, |a: i64, x, _| a.wrapping_mul(x), |a: i64, b| a.wrapping_mul(b), same),
            Reduction::SumSquares => run!(0, move |a, x: i64, _| add(a, x.wrapping_mul(x)), add, same),
            Reduction::SumAbs => run!(0, move |a, x: i64, _| add(a, x.wrapping_abs()), add, same),
            Reduction::Max => run!(i64::MIN, |a: i64, x, _| a.max(x), |a: i64, b| a.max(b), same),
            Reduction::Min => run!(i64::MAX, |a: i64, x, _| a.min(x), |a: i64, b| a.min(b), same),
            Reduction::Any => truth::<i64>(true, outer, reduced, out, src),
            Reduction::All => truth::<i64>(false, outer, reduced, out, src),
            Reduction::ArgMax => arg::<i64>(i64::MIN, |x, y| x > y, outer, reduced, out, src),
            Reduction::ArgMin => arg::<i64>(i64::MAX, |x, y| x < y, outer, reduced, out, src),
        }
    }
}

/// Whether any element is not 0, or whether all are.
unsafe fn truth<T: Compute>(any: bool, outer: &[usize], reduced: &[usize], out: Dst<'_>, src: Src<'_>) {
    let zero = T::default();
    // SAFETY: the caller's contract.
    unsafe {
        if any {
            let fold_any = Fold {
                ordered: false,
                init: 0u32,
                step: |a, x: T, _| a | (x != zero) as u32,
                merge: |a, b| a | b,
                finish: |a| a as i64,
            };
            fold(outer, reduced, out, src, fold_any);
        } else {
            let fold_all = Fold {
                ordered: false,
                init: 1u32,
                step: |a, x: T, _| a & (x != zero) as u32,
                merge: |a, b| a & b,
                finish: |a| a as i64,
            };
            fold(outer, reduced, out, src, fold_all);
        }
    }
}

/// The first index whose element no other beats.
unsafe fn arg<T: Compute>(
    worst: T,
    beats: impl Fn(T, T) -> bool + Copy + Sync,
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
) {
    let better = move |a: (T, usize), b: (T, usize)| {
        if beats(b.0, a.0) | (!beats(a.0, b.0) & (b.1 < a.1)) { b } else { a }
    };
    let first = Fold {
        ordered: true,
        init: (worst, usize::MAX),
        step: move |a, x: T, i| better(a, (x, i)),
        merge: better,
        finish: |a: (T, usize)| a.1 as i64,
    };
    // SAFETY: the caller's contract.
    unsafe { fold(outer, reduced, out, src, first) }
}
