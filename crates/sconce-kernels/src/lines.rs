//! Operations along the lines of adjacent `[outer, n, inner]` arrays: order, running sums, and turning around.

use crate::Elem;
use crate::compute::Stored;
use crate::isa::versions;
use crate::par::{self, Shared};

/// Elements per task.
pub(crate) const GRAIN: usize = 16 * 1024;
/// Elements from which one line is worth sorting on several threads.
const LONG: usize = 1 << 16;
/// Elements of a line that are compared with the least ones found so far, one after the other.
const BLOCK: usize = 64;
/// Neighbouring lines that are summed together.
const STRIP: usize = 64;
/// Adjacent lines that are summed together, each sum waiting for the one before it.
const TOGETHER: usize = 4;

/// The sizes of an array around one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Product of the sizes before it.
    pub outer: usize,
    /// Its size: the elements of a line.
    pub n: usize,
    /// Product of the sizes after it: the distance of a line's elements.
    pub inner: usize,
}

impl Lines {
    /// How many there are.
    fn count(&self) -> usize {
        self.outer * self.inner
    }

    /// The place of the first element of a line, in an array whose lines have `n` elements.
    fn start(&self, line: usize, n: usize) -> usize {
        line / self.inner * n * self.inner + line % self.inner
    }
}

/// Writes for each line the places of its `k` least (or greatest) elements, in order: `[outer, k, inner]`. Equal elements
/// stay in order; NaN is the greatest.
///
/// ```
/// use sconce_kernels::{Elem, Lines, order};
/// let (x, mut places) = ([3f32, 1., 2.], [0i64; 2]);
/// let lines = Lines { outer: 1, n: 3, inner: 1 };
/// // SAFETY: the arrays have these sizes.
/// unsafe { order(lines, Elem::F32, x.as_ptr().cast(), 2, true, places.as_mut_ptr()) };
/// assert_eq!(places, [0, 2]);
/// ```
///
/// # Safety
/// `x` is valid for `outer · n · inner` elements from any thread, `places` for `outer · k · inner`, and they do not
/// overlap; `k <= n`.
pub unsafe fn order(lines: Lines, elem: Elem, x: *const u8, k: usize, descending: bool, places: *mut i64) {
    // SAFETY: the caller's contract.
    unsafe {
        match elem {
            Elem::F32 => by_key(lines, x, k, descending, places, |v: f32| single_key(v)),
            Elem::F16 => by_key(lines, x, k, descending, places, |v: half::f16| single_key(v.to_f32())),
            Elem::BF16 => by_key(lines, x, k, descending, places, |v: half::bf16| single_key(v.to_f32())),
            Elem::F64 => by_wide_key(lines, x, k, descending, places, double_key),
            Elem::I64 => by_wide_key(lines, x, k, descending, places, |v: i64| v as u64 ^ 1 << 63),
            Elem::I32 => by_key(lines, x, k, descending, places, integer_key::<i32>),
            Elem::I16 => by_key(lines, x, k, descending, places, integer_key::<i16>),
            Elem::I8 => by_key(lines, x, k, descending, places, integer_key::<i8>),
            Elem::U8 => by_key(lines, x, k, descending, places, integer_key::<u8>),
            Elem::Bool => by_key(lines, x, k, descending, places, integer_key::<crate::compute::Bool>),
        }
    }
}

/// A number whose order as an integer is that of the float: NaN last, both zeros equal.
#[inline(always)]
fn single_key(v: f32) -> u32 {
    let bits = (v + 0.0).to_bits();
    // All bits of what is negative are turned, the first one of the rest: half of all signs would be guessed wrong.
    let key = bits ^ ((bits as i32 >> 31) as u32 | 1 << 31);
    if v.is_nan() { u32::MAX } else { key }
}

#[inline(always)]
fn double_key(v: f64) -> u64 {
    let bits = (v + 0.0).to_bits();
    let key = bits ^ ((bits as i64 >> 63) as u64 | 1 << 63);
    if v.is_nan() { u64::MAX } else { key }
}

fn integer_key<S: Stored>(v: S) -> u32 {
    v.to_i64() as i32 as u32 ^ 1 << 31
}

/// Orders by keys of 32 bits, each beside its place in one integer.
unsafe fn by_key<S: Stored>(
    lines: Lines,
    x: *const u8,
    k: usize,
    descending: bool,
    places: *mut i64,
    key: impl Fn(S) -> u32 + Sync,
) {
    // SAFETY: the caller's contract.
    unsafe {
        if u32::try_from(lines.n).is_err() {
            return by_wide_key(lines, x, k, descending, places, |v: S| u64::from(key(v)) << 32);
        }
        let flip = if descending { u32::MAX } else { 0 };
        let pair = |v: S, i: usize| u64::from(key(v) ^ flip) << 32 | i as u64;
        arranged(lines, x, k, places, pair, |pair| (pair as u32).into());
    }
}

/// The same with keys of 64 bits.
unsafe fn by_wide_key<S: Stored>(
    lines: Lines,
    x: *const u8,
    k: usize,
    descending: bool,
    places: *mut i64,
    key: impl Fn(S) -> u64 + Sync,
) {
    let flip = if descending { u64::MAX } else { 0 };
    let pair = |v: S, i: usize| u128::from(key(v) ^ flip) << 64 | i as u128;
    // SAFETY: the caller's contract.
    unsafe { arranged(lines, x, k, places, pair, |pair| pair as i64) }
}

/// Orders pairs of key and place, which are all different: any way of sorting gives one result.
unsafe fn arranged<S: Stored, P: Ord + Copy + Default + Send>(
    lines: Lines,
    x: *const u8,
    k: usize,
    places: *mut i64,
    pair: impl Fn(S, usize) -> P + Sync,
    place: impl Fn(P) -> i64 + Sync,
) {
    let (n, inner) = (lines.n, lines.inner);
    if k == 0 {
        return;
    }
    let (x, places) = (Shared(x.cast_mut().cast::<S>()), Shared(places));
    let one = |line: usize, pairs: &mut Vec<P>, parallel: bool| {
        let (from, to) = (lines.start(line, n), lines.start(line, k));
        // SAFETY: elements of this line, of which there are `n`.
        let pairs_from = |first, to: &mut [P]| unsafe { fill(&pair, first, inner, x.get().add(from), to) };
        least(n, k, pairs_from, pairs);
        if parallel {
            rayon::slice::ParallelSliceMut::par_sort_unstable(&mut pairs[..k]);
        } else {
            pairs[..k].sort_unstable();
        }
        for (i, &pair) in pairs[..k].iter().enumerate() {
            // SAFETY: the places of this line, which one task writes.
            unsafe { *places.get().add(to + i * inner) = place(pair) };
        }
    };
    if n >= LONG && lines.count() < par::threads() && par::whole_pool() {
        (0..lines.count()).for_each(|line| one(line, &mut Vec::new(), true));
        return;
    }
    par::for_ranges(lines.count(), (GRAIN / n).max(1), |from, to| {
        let mut pairs = Vec::new();
        (from..to).for_each(|line| one(line, &mut pairs, false));
    });
}

versions! {
    /// Makes the pairs of the elements from `first` on, which are `step` apart.
    ///
    /// # Safety
    /// `x` points to the element 0 of a line that has those.
    unsafe fn fill[S: Stored, P, F: Fn(S, usize) -> P][S, P, F](
        pair: &F, first: usize, step: usize, x: *const S, to: &mut [P],
    ) = fill_body
}

#[inline(always)]
unsafe fn fill_body<S: Stored, P, F: Fn(S, usize) -> P>(
    pair: &F,
    first: usize,
    step: usize,
    x: *const S,
    to: &mut [P],
) {
    for (i, to) in (first..).zip(to) {
        // SAFETY: element `i` of the line.
        *to = pair(unsafe { *x.add(if step == 1 { i } else { i * step }) }, i);
    }
}

/// Puts the `k` least of `n` pairs, which are all different, first; what is greater than `k` of those before it is not
/// kept. `fill(first, to)` makes the pairs from `first` on.
#[inline(always)]
fn least<P: Ord + Copy + Default>(n: usize, k: usize, fill: impl Fn(usize, &mut [P]), kept: &mut Vec<P>) {
    let room = (2 * k + BLOCK).min(n);
    kept.resize(room, P::default());
    fill(0, kept);
    if k == n {
        return;
    }
    let (mut len, mut at) = (room, room);
    loop {
        let (_, &mut bound, _) = kept[..len].select_nth_unstable(k - 1);
        if at == n {
            return;
        }
        len = k;
        while at < n && len + BLOCK <= room {
            let count = BLOCK.min(n - at);
            let from = len;
            fill(at, &mut kept[from..from + count]);
            for i in from..from + count {
                kept[len] = kept[i];
                len += usize::from(kept[len] < bound);
            }
            at += count;
        }
    }
}

/// A type of running sums: floats are summed in double precision.
pub trait Running: Stored {
    #[doc(hidden)]
    type Sum: Copy + Default;
    #[doc(hidden)]
    fn add(sum: Self::Sum, x: Self) -> Self::Sum;
    #[doc(hidden)]
    fn round(sum: Self::Sum) -> Self;
}

macro_rules! running {
    ($($t:ty, $sum:ty, |$a:ident, $b:ident| $add:expr;)*) => {$(
        impl Running for $t {
            type Sum = $sum;
            #[inline(always)]
            fn add($a: $sum, $b: $t) -> $sum {
                $add
            }
            #[inline(always)]
            fn round(sum: $sum) -> $t {
                sum as $t
            }
        }
    )*};
}

running! {
    f32, f64, |a, b| a + f64::from(b);
    f64, f64, |a, b| a + b;
    i64, i64, |a, b| a.wrapping_add(b);
}

/// Computes the running sums of each line, from its end if `backwards`.
///
/// ```
/// use sconce_kernels::{Lines, cumsum};
/// let (x, mut y) = ([1f32, 2., 4.], [0f32; 3]);
/// // SAFETY: both have three elements.
/// unsafe { cumsum(Lines { outer: 1, n: 3, inner: 1 }, false, x.as_ptr(), y.as_mut_ptr()) };
/// assert_eq!(y, [1., 3., 7.]);
/// ```
///
/// # Safety
/// Both are valid for all elements from any thread and do not overlap.
pub unsafe fn cumsum<T: Running>(lines: Lines, backwards: bool, x: *const T, y: *mut T) {
    let Lines { outer, n, inner } = lines;
    if n == 0 {
        return;
    }
    let (x, y) = (Shared(x.cast_mut()), Shared(y));
    if inner == 1 {
        let groups = outer.div_ceil(TOGETHER);
        par::for_ranges(groups, (GRAIN / (TOGETHER * n)).max(1), |from, to| {
            for group in from..to {
                let (line, count) = (group * TOGETHER, TOGETHER.min(outer - group * TOGETHER));
                // SAFETY: these lines, which this task alone writes.
                unsafe {
                    let (x, y) = (x.get().add(line * n).cast_const(), y.get().add(line * n));
                    match count {
                        TOGETHER => adjacent::<T, TOGETHER>(n, backwards, x, y),
                        _ => (0..count)
                            .for_each(|l| adjacent::<T, 1>(n, backwards, x.add(l * n), y.add(l * n))),
                    }
                }
            }
        });
        return;
    }
    let strips = inner.div_ceil(STRIP);
    let grain = (GRAIN / (n * inner.min(STRIP)).max(1)).max(1);
    par::for_ranges(outer * strips, grain, |from, to| {
        for task in from..to {
            let (o, first) = (task / strips, task % strips * STRIP);
            let at = o * n * inner + first;
            // SAFETY: neighbouring lines, which this task alone writes.
            unsafe {
                strip(n, inner, STRIP.min(inner - first), backwards, x.get().add(at), y.get().add(at));
            }
        }
    });
}

/// `L` lines of `n` adjacent elements, one behind the other.
unsafe fn adjacent<T: Running, const L: usize>(n: usize, backwards: bool, x: *const T, y: *mut T) {
    let mut sums = [T::Sum::default(); L];
    for i in 0..n {
        let i = if backwards { n - 1 - i } else { i };
        for (l, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `l < L` and `i < n`.
            unsafe {
                *sum = T::add(*sum, *x.add(l * n + i));
                *y.add(l * n + i) = T::round(*sum);
            }
        }
    }
}

versions! {
    /// # Safety
    /// Both have `n` rows of `cols <= STRIP` elements, `inner` apart, and do not overlap.
    unsafe fn strip[T: Running][T](
        n: usize, inner: usize, cols: usize, backwards: bool, x: *const T, y: *mut T,
    ) = strip_body
}

#[inline(always)]
unsafe fn strip_body<T: Running>(
    n: usize,
    inner: usize,
    cols: usize,
    backwards: bool,
    x: *const T,
    y: *mut T,
) {
    let mut sums = [T::Sum::default(); STRIP];
    for i in 0..n {
        let at = if backwards { n - 1 - i } else { i } * inner;
        for (c, sum) in sums.iter_mut().enumerate().take(cols) {
            // SAFETY: `c < cols` and `i < n`.
            unsafe {
                *sum = T::add(*sum, *x.add(at + c));
                *y.add(at + c) = T::round(*sum);
            }
        }
    }
}

/// Runs a block with `$U` set to an unsigned integer of `$size` bytes.
macro_rules! with_size {
    ($size:expr, $U:ident => $block:expr) => {
        match $size {
            1 => {
                type $U = u8;
                $block
            }
            2 => {
                type $U = u16;
                $block
            }
            4 => {
                type $U = u32;
                $block
            }
            8 => {
                type $U = u64;
                $block
            }
            _ => {
                type $U = u128;
                $block
            }
        }
    };
}
pub(crate) use with_size;

/// Copies an adjacent array with some dimensions turned around.
///
/// # Safety
/// Both arrays have the shape, of elements of `size` bytes aligned to it up to 8, are valid from any thread and do not
/// overlap; `turned` has an element for each dimension.
pub unsafe fn flip(shape: &[usize], turned: &[bool], size: usize, from: *const u8, to: *mut u8) {
    assert_eq!(shape.len(), turned.len(), "an element for each dimension");
    let (cols, reverse) = (shape.last().copied().unwrap_or(1), turned.last() == Some(&true));
    let outer = &shape[..shape.len().saturating_sub(1)];
    let rows: usize = outer.iter().product();
    let (from, to) = (Shared(from.cast_mut()), Shared(to));
    par::for_ranges(rows, (GRAIN / cols.max(1)).max(1), |first, last| {
        for r in first..last {
            let (mut rest, mut source, mut step) = (r, 0, 1);
            for (d, &n) in outer.iter().enumerate().rev() {
                let i = rest % n;
                source += if turned[d] { n - 1 - i } else { i } * step;
                rest /= n;
                step *= n;
            }
            // SAFETY: a row of each; this task alone writes row `r`.
            unsafe {
                let (from, to) = (from.get().add(source * cols * size), to.get().add(r * cols * size));
                if reverse {
                    with_size!(size, U => reversed::<U>(cols, from.cast(), to.cast()));
                } else {
                    std::ptr::copy_nonoverlapping(from, to, cols * size);
                }
            }
        }
    });
}

versions! {
    /// # Safety
    /// Both have `n` elements and do not overlap.
    unsafe fn reversed[U: Copy][U](n: usize, from: *const U, to: *mut U) = reversed_body
}

#[inline(always)]
unsafe fn reversed_body<U: Copy>(n: usize, from: *const U, to: *mut U) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe { to.add(i).write_unaligned(from.add(n - 1 - i).read_unaligned()) };
    }
}
