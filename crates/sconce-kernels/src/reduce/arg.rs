//! Where the greatest or least elements are, of adjacent floats: extremes in vectors first, then their place.
#![allow(clippy::needless_range_loop)]

use crate::isa::versions;
use crate::par::{self, Shared};
use crate::{Dst, Elem, Real, Src, lanes};

/// Elements of a line that one task takes.
const CHUNK: usize = 1 << 16;
/// Elements whose extreme is found before its place.
const BLOCK: usize = 1024;
/// Extremes that are found side by side.
const LANES: usize = 64;
/// How many rows ahead of the one in use neighbouring lines ask for memory.
const AHEAD: usize = 4;
/// Neighbouring lines that no two tasks share.
const STRIP: usize = 64;
/// The most neighbouring lines that are walked together.
const WIDE: usize = 8 * STRIP;

/// The lines of an adjacent `[outer, n, inner]` array.
struct Lines {
    outer: usize,
    n: usize,
    inner: usize,
}

impl Lines {
    /// `None` if the array is not like that, or too long for 32 bits.
    fn new(outer: &[usize], reduced: &[usize], strides: &[usize]) -> Option<Self> {
        let (outside, along) = strides.split_at(outer.len());
        let adjacent = |shape: &[usize], strides: &[usize], mut step: usize| {
            for (&n, &stride) in shape.iter().zip(strides).rev() {
                if n != 1 && stride != step {
                    return None;
                }
                step *= n;
            }
            Some(step)
        };
        // The dimensions of `outer` with smaller strides come after the reduced ones.
        let inner_step = *along.last()?;
        let split = outside.iter().position(|&s| s < inner_step).unwrap_or(outer.len());
        let inner = adjacent(&outer[split..], &outside[split..], 1)?;
        let size = adjacent(reduced, along, inner)?;
        adjacent(&outer[..split], &outside[..split], size)?;
        let n = size / inner.max(1);
        let lines = Self { outer: outer[..split].iter().product(), n, inner };
        (size > 0 && lines.outer > 0 && u32::try_from(n).is_ok()).then_some(lines)
    }
}

/// Whether `a` comes before `b`: a NaN, or a greater number (a less one unless `greatest`).
#[inline(always)]
fn beats<T: Real>(greatest: bool, a: T, b: T) -> bool {
    (if greatest { a > b } else { a < b }) | (a.is_nan() & !b.is_nan())
}

/// Writes the index of the first greatest (or least) element of each line, or of the first NaN. Returns false, and writes
/// nothing, where the arrays are not adjacent, of type `T` and of `i64`.
///
/// # Safety
/// As for [`reduce`](crate::reduce()).
pub(super) unsafe fn arg<T: Real>(
    greatest: bool,
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
) -> bool {
    let Some(lines) = Lines::new(outer, reduced, src.strides) else { return false };
    let mut step = 1;
    for (&n, &stride) in outer.iter().zip(out.strides).rev() {
        if n != 1 && stride != step {
            return false;
        }
        step *= n;
    }
    if src.elem != T::ELEM || out.elem != Elem::I64 {
        return false;
    }
    let (x, to) = (Shared(src.ptr.cast_mut().cast::<T>()), Shared(out.ptr.cast::<i64>()));
    let Lines { outer, n, inner } = lines;
    if inner > 1 {
        let strips = inner.div_ceil(STRIP);
        par::for_ranges(outer * strips, (CHUNK / (n * inner.min(STRIP))).max(1), |mut strip, until| {
            while strip < until {
                let (o, first) = (strip / strips, strip % strips);
                let count = (strips - first).min(until - strip).min(WIDE / STRIP);
                let first = first * STRIP;
                // SAFETY: neighbouring lines, whose results this task alone writes.
                unsafe {
                    let (x, to) = (x.get().add(o * n * inner + first), to.get().add(o * inner + first));
                    down(greatest, n, inner, (count * STRIP).min(inner - first), x, to);
                }
                strip += count;
            }
        });
        return true;
    }
    let chunks = n.div_ceil(CHUNK);
    if chunks == 1 {
        par::for_ranges(outer, (CHUNK / n).max(1), |from, until| {
            for o in from..until {
                // SAFETY: a line, whose result this task alone writes.
                unsafe { *to.get().add(o) = along(greatest, n, x.get().add(o * n)) as i64 };
            }
        });
        return true;
    }
    let mut places = vec![0usize; outer * chunks];
    let shared = Shared(places.as_mut_ptr());
    par::for_each(outer * chunks, |task| {
        let from = task % chunks * CHUNK;
        // SAFETY: a part of a line, and its own place.
        unsafe {
            let x = x.get().add(task / chunks * n + from);
            *shared.get().add(task) = from + along(greatest, CHUNK.min(n - from), x);
        }
    });
    for (o, places) in places.chunks_exact(chunks).enumerate() {
        // SAFETY: elements and the result of line `o`.
        unsafe {
            let at = |i: usize| *x.get().add(o * n + i);
            let first =
                places[1..].iter().fold(places[0], |a, &b| if beats(greatest, at(b), at(a)) { b } else { a });
            *to.get().add(o) = first as i64;
        }
    }
    true
}

versions! {
    /// The index of the first extreme, or of the first NaN.
    ///
    /// # Safety
    /// `x` has `n > 0` elements.
    unsafe fn along[T: Real][T](greatest: bool, n: usize, x: *const T) -> usize = along_body
}

#[inline(always)]
unsafe fn along_body<T: Real>(greatest: bool, n: usize, x: *const T) -> usize {
    // SAFETY: `n` elements.
    let x = unsafe { std::slice::from_raw_parts(x, n) };
    if greatest { first::<T, true>(x) } else { first::<T, false>(x) }
}

#[inline(always)]
fn first<T: Real, const GREATEST: bool>(x: &[T]) -> usize {
    let (mut best, mut block) = (x[0], 0);
    for (b, part) in x.chunks(BLOCK).enumerate() {
        let most = extreme::<T, GREATEST>(part);
        if b == 0 || beats(GREATEST, most, best) {
            (best, block) = (most, b);
        }
    }
    let (from, nan) = (block * BLOCK, best.is_nan());
    let same = |v: &T| (*v == best) | (nan & v.is_nan());
    let part = &x[from..x.len().min(from + BLOCK)];
    let group = part.chunks(LANES).position(|group| group.iter().fold(false, |any, v| any | same(v)));
    let from = from + group.unwrap_or(0) * LANES;
    from + x[from..].iter().position(same).unwrap_or(0)
}

/// The greatest (or least) of at least one element; NaN if there is one.
#[inline(always)]
fn extreme<T: Real, const GREATEST: bool>(x: &[T]) -> T {
    let further = |a: T, v: T| {
        let further = if GREATEST { v > a } else { v < a };
        if further | v.is_nan() { v } else { a }
    };
    let mut lanes = [x[0]; LANES];
    let (groups, rest) = x.as_chunks::<LANES>();
    for group in groups {
        lanes::prefetch(LANES, group.as_ptr().wrapping_add(BLOCK));
        for l in 0..LANES {
            lanes[l] = further(lanes[l], group[l]);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = further(*lane, v);
    }
    for width in [32, 16, 8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] = further(lanes[l], lanes[l + width]);
        }
    }
    lanes[0]
}

versions! {
    /// The same for `cols <= WIDE` neighbouring lines.
    ///
    /// # Safety
    /// `x` has `n > 0` rows of `cols` elements, `step` apart, `to` has `cols`.
    unsafe fn down[T: Real][T](
        greatest: bool, n: usize, step: usize, cols: usize, x: *const T, to: *mut i64,
    ) = down_body
}

#[inline(always)]
unsafe fn down_body<T: Real>(greatest: bool, n: usize, step: usize, cols: usize, x: *const T, to: *mut i64) {
    if greatest {
        // SAFETY: the caller's contract.
        unsafe { walk::<T, true>(n, step, cols, x, to) }
    } else {
        // SAFETY: the caller's contract.
        unsafe { walk::<T, false>(n, step, cols, x, to) }
    }
}

#[inline(always)]
unsafe fn walk<T: Real, const GREATEST: bool>(n: usize, step: usize, cols: usize, x: *const T, to: *mut i64) {
    let (mut best, mut places) = ([T::ZERO; WIDE], [0u32; WIDE]);
    // SAFETY: rows of the caller's array.
    unsafe {
        best[..cols].copy_from_slice(std::slice::from_raw_parts(x, cols));
        for r in 1..n {
            let row = std::slice::from_raw_parts(x.add(r * step), cols);
            lanes::prefetch(cols, row.as_ptr().wrapping_add(AHEAD * step));
            for ((best, place), &v) in best[..cols].iter_mut().zip(&mut places[..cols]).zip(row) {
                let better = beats(GREATEST, v, *best);
                *best = if better { v } else { *best };
                *place = if better { r as u32 } else { *place };
            }
        }
        for (c, &place) in places[..cols].iter().enumerate() {
            *to.add(c) = place.into();
        }
    }
}
