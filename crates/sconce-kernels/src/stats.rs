//! Statistics and histograms of raw elements, in one pass each.
//!
//! A piece of a few thousand elements is converted to `f32` or `f64` and stays in the cache while its extremes, sum and
//! squares about its own first number are taken in lanes; pieces are merged as in Chan's formula, in `f64`. Files can
//! be streamed: take the statistics of each part and [`Stats::merge`] them in order.

use crate::compute::{Compute, Rect, load};
use crate::isa::versions;
use crate::par::{self, Shared};
use crate::{Elem, Real, lanes};
use std::mem::MaybeUninit;

/// Elements of a piece.
const PIECE: usize = 4096;
/// Tables that a task of a histogram counts in.
const TABLES: usize = 4;
/// Histograms of more bins look for the place of each element instead of comparing it with every edge.
const MOST_EDGES: usize = 32;
/// Elements per task; fixes the order of merging.
const CHUNK: usize = 64 * PIECE;

/// Statistics of a number of elements.
///
/// NaN and infinities are counted, and left out of everything else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Elements in all.
    pub count: u64,
    /// Elements that are NaN.
    pub nan: u64,
    /// Elements that are plus infinity.
    pub pos_inf: u64,
    /// Elements that are minus infinity.
    pub neg_inf: u64,
    /// Elements that are 0, of either sign.
    pub zeros: u64,
    /// Least finite element; plus infinity of nothing.
    pub min: f64,
    /// Greatest finite element; minus infinity of nothing.
    pub max: f64,
    /// Mean of the finite elements.
    pub mean: f64,
    /// Sum of the squared distances of the finite elements from their mean.
    pub m2: f64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            count: 0,
            nan: 0,
            pos_inf: 0,
            neg_inf: 0,
            zeros: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
            m2: 0.0,
        }
    }
}

impl Stats {
    /// Computes the statistics of the elements in `bytes`, little-endian and without gaps; a last part of an element
    /// is left out. The bytes need no alignment.
    ///
    /// ```
    /// use sconce_kernels::{Elem, Stats};
    /// let bytes: Vec<u8> = [1f32, 3., f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    /// let stats = Stats::of(Elem::F32, &bytes);
    /// assert_eq!((stats.count, stats.nan, stats.mean, stats.std(0)), (3, 1, 2.0, 1.0));
    /// ```
    pub fn of(elem: Elem, bytes: &[u8]) -> Self {
        let n = bytes.len() / elem.size();
        let chunks = n.div_ceil(CHUNK);
        let mut parts = vec![Self::default(); chunks];
        let shared = Shared(parts.as_mut_ptr());
        par::for_ranges(chunks, 1, |from, to| {
            for chunk in from..to {
                let end = ((chunk + 1) * CHUNK).min(n);
                let part = Self::chunk(elem, &bytes[chunk * CHUNK * elem.size()..end * elem.size()]);
                // SAFETY: each task writes its own parts.
                unsafe { *shared.get().add(chunk) = part };
            }
        });
        parts.into_iter().fold(Self::default(), Self::merge)
    }

    fn chunk(elem: Elem, bytes: &[u8]) -> Self {
        bytes.chunks(PIECE * elem.size()).fold(Self::default(), |all, bytes| {
            let part =
                if is_narrow(elem) { piece::<f32, 16>(elem, bytes) } else { piece::<f64, 16>(elem, bytes) };
            all.merge(part)
        })
    }

    /// Joins the statistics of two parts.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let (a, b) = (self.finite() as f64, other.finite() as f64);
        let delta = other.mean - self.mean;
        let n = a + b;
        let (mean, m2) = if n == 0.0 {
            (0.0, 0.0)
        } else if a == 0.0 {
            (other.mean, other.m2)
        } else {
            (self.mean + delta * (b / n), self.m2 + other.m2 + delta * delta * (a * (b / n)))
        };
        Self {
            count: self.count + other.count,
            nan: self.nan + other.nan,
            pos_inf: self.pos_inf + other.pos_inf,
            neg_inf: self.neg_inf + other.neg_inf,
            zeros: self.zeros + other.zeros,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean,
            m2,
        }
    }

    /// Returns the number of elements that are neither NaN nor infinite.
    pub fn finite(&self) -> u64 {
        self.count - self.nan - self.pos_inf - self.neg_inf
    }

    /// Returns the sum of the finite elements.
    pub fn sum(&self) -> f64 {
        self.mean * self.finite() as f64
    }

    /// Returns the standard deviation of the finite elements; `correction` 0 is the population's, 1 PyTorch's default.
    ///
    /// NaN if there are not more elements than the correction.
    pub fn std(&self, correction: u64) -> f64 {
        match self.finite().checked_sub(correction) {
            Some(n) if n > 0 => (self.m2 / n as f64).sqrt(),
            _ => f64::NAN,
        }
    }

    /// Returns the square root of the sum of the squares of the finite elements.
    pub fn norm(&self) -> f64 {
        (self.m2 + self.mean * self.mean * self.finite() as f64).sqrt()
    }

    /// Returns the greatest absolute value of the finite elements, 0 of nothing.
    pub fn abs_max(&self) -> f64 {
        if self.finite() == 0 { 0.0 } else { self.max.abs().max(self.min.abs()) }
    }
}

/// Whether `f32` serves: it is exact for the elements and, of bytes, for the squares that a lane sums of a piece.
fn is_narrow(elem: Elem) -> bool {
    matches!(elem, Elem::F32 | Elem::F16 | Elem::BF16 | Elem::U8 | Elem::I8 | Elem::Bool)
}

/// At most [`PIECE`] elements as `T`: the bytes themselves, or converted in `block`.
fn read<'a, T: Compute>(elem: Elem, bytes: &'a [u8], block: &'a mut [MaybeUninit<T>; PIECE]) -> &'a [T] {
    let n = (bytes.len() / elem.size()).min(PIECE);
    let rect = Rect { rows: 1, cols: n, row: 0, col: 1 };
    let aligned = bytes.as_ptr().align_offset(elem.size()) == 0;
    if aligned && elem == T::ELEM {
        // SAFETY: `n` aligned numbers of type `T`, of which any bits are one.
        return unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), n) };
    }
    let to = block.as_mut_ptr().cast::<T>();
    if aligned {
        // SAFETY: `n` aligned elements, and room for as many.
        unsafe { load(to, bytes.as_ptr(), elem, rect) };
    } else {
        let mut copy = [const { MaybeUninit::<u64>::uninit() }; PIECE];
        // SAFETY: as above, by way of an aligned copy; an element has at most 8 bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_mut_ptr().cast::<u8>(), n * elem.size());
            load(to, copy.as_ptr().cast(), elem, rect);
        }
    }
    // SAFETY: `n` elements of the block were written.
    unsafe { std::slice::from_raw_parts(to, n) }
}

fn piece<T: Real, const LANES: usize>(elem: Elem, bytes: &[u8]) -> Stats {
    let mut block = [const { MaybeUninit::uninit() }; PIECE];
    let x = read::<T>(elem, bytes, &mut block);
    let n = x.len();
    // SAFETY: any slice will do.
    let mut part = unsafe { finite::<T, LANES>(x.as_ptr(), n) };
    if part.m2.is_finite() {
        return part;
    }
    // Something is not finite: count it, and take the statistics of the rest, in `f64` in case squares overflowed.
    part = Stats { count: n as u64, ..Stats::default() };
    let mut rest = [0f64; PIECE];
    let mut kept = 0;
    for v in x.iter().map(|v| v.to_f64()) {
        if v.is_nan() {
            part.nan += 1;
        } else if v == f64::INFINITY {
            part.pos_inf += 1;
        } else if v == f64::NEG_INFINITY {
            part.neg_inf += 1;
        } else {
            rest[kept] = v;
            kept += 1;
        }
    }
    // SAFETY: `kept` elements are filled.
    let kept = unsafe { finite::<f64, 16>(rest.as_ptr(), kept) };
    Stats { zeros: kept.zeros, min: kept.min, max: kept.max, mean: kept.mean, m2: kept.m2, ..part }
}

versions! {
    /// The statistics of `n` elements if all are finite; otherwise `m2` is not.
    ///
    /// # Safety
    /// `x` has `n` elements.
    unsafe fn finite[T: Real, const LANES: usize][T, LANES](x: *const T, n: usize) -> Stats = finite_body
}

#[inline(always)]
unsafe fn finite_body<T: Real, const LANES: usize>(x: *const T, n: usize) -> Stats {
    if n == 0 {
        return Stats::default();
    }
    // SAFETY: at least one element.
    let pivot = unsafe { *x };
    // Each lane is a number per statistic, so that one pass over the elements is enough; as many lanes as leave all
    // statistics in registers.
    let mut max = [T::NEG_INFINITY; LANES];
    let mut low = [T::NEG_INFINITY; LANES];
    let (mut zeros, mut sum, mut squares) = ([T::ZERO; LANES], [T::ZERO; LANES], [T::ZERO; LANES]);
    let whole = n / LANES * LANES;
    let mut take = |l: usize, v: T| {
        max[l] = if v > max[l] { v } else { max[l] };
        low[l] = if -v > low[l] { -v } else { low[l] };
        zeros[l] += if v == T::ZERO { T::ONE } else { T::ZERO };
        // Distances from a number among the elements do not cancel when all are far from 0.
        let d = v - pivot;
        sum[l] += d;
        squares[l] += d * d;
    };
    for i in (0..whole).step_by(LANES) {
        for l in 0..LANES {
            // SAFETY: `i + l < whole <= n`.
            take(l, unsafe { *x.add(i + l) });
        }
    }
    for i in whole..n {
        // SAFETY: `i < n`.
        take(i - whole, unsafe { *x.add(i) });
    }
    let sum = lanes::sum(LANES, |l| sum[l]).to_f64();
    let squares = lanes::sum(LANES, |l| squares[l]).to_f64();
    let shift = sum / n as f64;
    let m2 = squares - sum * shift;
    Stats {
        count: n as u64,
        zeros: lanes::sum(LANES, |l| zeros[l]).to_f64() as u64,
        min: -lanes::max(LANES, |l| low[l]).to_f64(),
        max: lanes::max(LANES, |l| max[l]).to_f64(),
        mean: pivot.to_f64() + shift,
        m2: if m2 < 0.0 { 0.0 } else { m2 },
        ..Stats::default()
    }
}

/// Counts the finite elements of `bytes` in `bins` equal parts of `min..=max`, adding to `counts`.
///
/// Elements outside the range are left out; the last part includes `max`. If `min == max` all its elements are in the
/// middle part.
///
/// ```
/// use sconce_kernels::{Elem, histogram};
/// let mut counts = [0u64; 3];
/// histogram(Elem::U8, &[0, 1, 2, 3, 3, 9], 0.0, 3.0, &mut counts);
/// assert_eq!(counts, [1, 1, 3]);
/// ```
pub fn histogram(elem: Elem, bytes: &[u8], min: f64, max: f64, counts: &mut [u64]) {
    let n = bytes.len() / elem.size();
    let bins = counts.len();
    if bins == 0 || min.is_nan() || max.is_nan() || min > max {
        return;
    }
    let chunks = n.div_ceil(CHUNK);
    let total = std::sync::Mutex::new(counts);
    let edges: Vec<f64> = if bins <= MOST_EDGES && min < max {
        // The ends are weighted, so that the width of the range cannot overflow.
        let part = |k: usize| k as f64 / bins as f64;
        (0..bins).map(|k| (min * (1.0 - part(k)) + max * part(k)).clamp(min, max)).chain([max]).collect()
    } else {
        Vec::new()
    };
    par::for_ranges(chunks, 1, |from, to| {
        // Tables side by side, since equal elements in a row would wait for each other.
        let mut own = vec![0u64; TABLES * (bins + 1)];
        let end = (to * CHUNK).min(n) * elem.size();
        for bytes in bytes[from * CHUNK * elem.size()..end].chunks(PIECE * elem.size()) {
            match (is_narrow(elem), edges.is_empty()) {
                (true, true) => count::<f32>(elem, bytes, min, max, bins, &mut own),
                (false, true) => count::<f64>(elem, bytes, min, max, bins, &mut own),
                (true, false) => compare::<f32>(elem, bytes, &edges, &mut own),
                (false, false) => compare::<f64>(elem, bytes, &edges, &mut own),
            }
        }
        let mut total = total.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for table in own.chunks(bins + 1) {
            for (t, o) in total.iter_mut().zip(table) {
                *t += o;
            }
        }
    });
}

/// Counts a piece by comparing all of it with one edge after another: two instructions for many elements at once,
/// which beats finding the place of each element while the edges are few.
fn compare<T: Real>(elem: Elem, bytes: &[u8], edges: &[f64], counts: &mut [u64]) {
    let mut block = [const { MaybeUninit::uninit() }; PIECE];
    let x = read::<T>(elem, bytes, &mut block);
    let [inner @ .., max] = edges else { return };
    // SAFETY: any slice will do.
    let mut above = unsafe { beyond(x.as_ptr(), x.len(), T::from_f64(*max)) };
    for (count, &edge) in counts.iter_mut().zip(inner).rev() {
        // SAFETY: as above.
        let here = unsafe { from_on(x.as_ptr(), x.len(), T::from_f64(edge)) };
        *count += here - above.min(here);
        above = here;
    }
}

versions! {
    /// How many of `n` elements are `edge` or more.
    ///
    /// # Safety
    /// `x` has `n` elements, at most [`PIECE`].
    unsafe fn from_on[T: Real][T](x: *const T, n: usize, edge: T) -> u64 = from_on_body
}

#[inline(always)]
unsafe fn from_on_body<T: Real>(x: *const T, n: usize, edge: T) -> u64 {
    // SAFETY: `i < n`. Up to `PIECE` ones are exact.
    lanes::sum(n, |i| if unsafe { *x.add(i) } >= edge { T::ONE } else { T::ZERO }).to_f64() as u64
}

versions! {
    /// How many of `n` elements are more than `edge`.
    ///
    /// # Safety
    /// `x` has `n` elements, at most [`PIECE`].
    unsafe fn beyond[T: Real][T](x: *const T, n: usize, edge: T) -> u64 = beyond_body
}

#[inline(always)]
unsafe fn beyond_body<T: Real>(x: *const T, n: usize, edge: T) -> u64 {
    // SAFETY: as above.
    lanes::sum(n, |i| if unsafe { *x.add(i) } > edge { T::ONE } else { T::ZERO }).to_f64() as u64
}

/// Counts a piece in tables of `bins + 1` counts, the last of each for what is out of range.
fn count<T: Real>(elem: Elem, bytes: &[u8], min: f64, max: f64, bins: usize, counts: &mut [u64]) {
    let mut block = [const { MaybeUninit::uninit() }; PIECE];
    let x = read::<T>(elem, bytes, &mut block);
    let n = x.len();
    let mut places = [const { MaybeUninit::<u32>::uninit() }; PIECE];
    let to = places.as_mut_ptr().cast::<u32>();
    // SAFETY: both have room for `n` elements, all of which are written before the slice of them is made.
    let places = unsafe {
        place::<T>(x.as_ptr(), n, min, max, bins, to);
        std::slice::from_raw_parts(to, n)
    };
    let (first, rest) = counts.split_at_mut(bins + 1);
    let (second, rest) = rest.split_at_mut(bins + 1);
    let (third, fourth) = rest.split_at_mut(bins + 1);
    let fourth = &mut fourth[..bins + 1];
    let at = |p: u32| (p as usize).min(bins);
    let (fours, rest) = places.as_chunks::<TABLES>();
    for &[a, b, c, d] in fours {
        first[at(a)] += 1;
        second[at(b)] += 1;
        third[at(c)] += 1;
        fourth[at(d)] += 1;
    }
    rest.iter().for_each(|&p| first[at(p)] += 1);
}

versions! {
    /// The bin of each element, `bins` for what is in none.
    ///
    /// # Safety
    /// `x` and `to` have `n` elements.
    unsafe fn place[T: Real][T](x: *const T, n: usize, min: f64, max: f64, bins: usize, to: *mut u32) = place_body
}

#[inline(always)]
unsafe fn place_body<T: Real>(x: *const T, n: usize, min: f64, max: f64, bins: usize, to: *mut u32) {
    // Halves of the numbers, so that the width of the range cannot overflow.
    let (least, width) = (min * 0.5, max * 0.5 - min * 0.5);
    let scale = if width > 0.0 { bins as f64 / width } else { 0.0 };
    let first = if width > 0.0 { 0.0 } else { (bins / 2) as f64 };
    let number = |bin: usize| bin.min(i32::MAX as usize) as f64;
    let (last, outside) = (number(bins - 1), number(bins));
    for i in 0..n {
        // SAFETY: `i < n`, and the bin is a number from 0 to `outside`: what is none is not more than `first`.
        unsafe {
            let v = (*x.add(i)).to_f64();
            let bin = (v * 0.5 - least) * scale;
            let bin = if bin > first { bin } else { first };
            let bin = if bin < last { bin } else { last };
            let bin = if (v >= min) & (v <= max) { bin } else { outside };
            *to.add(i) = bin.to_int_unchecked::<i32>() as u32;
        }
    }
}
