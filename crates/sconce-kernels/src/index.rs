//! Moves and sums of elements by index, along the lines of adjacent arrays; and the places of what is not 0.

use crate::isa::versions;
use crate::lines::{GRAIN, Lines, with_size};
use crate::par::{self, Shared};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Neighbouring lines that no two tasks share.
const STRIP: usize = 64;
/// Flags that are counted together.
const FLAGS: usize = 4 * GRAIN;
/// Flags whose places are collected before they are written.
const BLOCK: usize = 512;

/// Copies slices: slice `j` of each group of lines of the result is slice `index[j]` of the source; elements have `size`
/// bytes. Returns whether all indices are less than `n` and not negative; else the result is not complete.
///
/// # Safety
/// `from` is valid for `lines` from any thread, `to` for `outer · index.len() · inner` elements, and they do not overlap.
pub unsafe fn take_slices(lines: Lines, size: usize, index: &[i64], from: *const u8, to: *mut u8) -> bool {
    let Lines { outer, n, inner } = lines;
    let (k, bytes) = (index.len(), inner * size);
    if bytes <= 16 && bytes.is_power_of_two() {
        // SAFETY: the caller's contract: slices are elements.
        return unsafe { elements(Lines { outer, n, inner: 1 }, bytes, k, index, from, to) };
    }
    let (from, to, wrong) = (Shared(from.cast_mut()), Shared(to), AtomicBool::new(false));
    par::for_ranges(outer * k, (4 * GRAIN / bytes.max(1)).max(1), |first, last| {
        for r in first..last {
            let i = index[r % k] as usize;
            if i >= n {
                wrong.store(true, Relaxed);
                continue;
            }
            let source = r / k * n + i;
            // SAFETY: a slice of each; this task alone writes slice `r`.
            unsafe {
                std::ptr::copy_nonoverlapping(from.get().add(source * bytes), to.get().add(r * bytes), bytes);
            }
        }
    });
    !wrong.into_inner()
}

/// Copies elements of `size` bytes, a power of two up to 16: `to[o, j, i] = from[o, index[o, j, i], i]`, with `k` elements
/// in a line of `to`. Returns as [`take_slices`] does.
///
/// # Safety
/// As for [`take_slices`]; `to` has an element for each index.
pub unsafe fn gather(
    lines: Lines,
    size: usize,
    k: usize,
    index: &[i64],
    from: *const u8,
    to: *mut u8,
) -> bool {
    assert_eq!(index.len(), lines.outer * k * lines.inner, "an index for each element");
    // SAFETY: the caller's contract.
    unsafe { elements(lines, size, k, index, from, to) }
}

/// [`gather`], or with one index for each of the `k` elements of every line, which are adjacent then.
unsafe fn elements(lines: Lines, size: usize, k: usize, index: &[i64], from: *const u8, to: *mut u8) -> bool {
    let Lines { outer, n, inner } = lines;
    let total = outer * k * inner;
    let (from, to, wrong) = (Shared(from.cast_mut()), Shared(to), AtomicBool::new(false));
    // A line of adjacent elements is a row; else what is adjacent of the lines is.
    let (width, per_group) = if inner == 1 { (k, 1) } else { (inner, k) };
    with_size!(size, U => par::for_ranges(total, GRAIN, |first, last| {
        let mut at = first;
        while at < last {
            let (row, col) = (at / width, at % width);
            let end = last.min(at - col + width);
            let first_index = if index.len() == total { at } else { col };
            let index = &index[first_index..first_index + end - at];
            // SAFETY: this part of a row of the result, which this task alone writes, from lines of the source.
            let valid = unsafe {
                let from = from.get().cast::<U>().add(row / per_group * n * inner);
                let (from, step) = if inner == 1 { (from, 1) } else { (from.add(col), inner) };
                picked::<U>(index, n, step, from, to.get().cast::<U>().add(at))
            };
            if !valid {
                wrong.store(true, Relaxed);
            }
            at = end;
        }
    }));
    !wrong.into_inner()
}

/// `to[i]` becomes element `index[i]` of one line, if `step` is 1; else of line `i` of neighbouring ones. Writes nothing and
/// returns false if an index is not less than `n`.
///
/// Not compiled for more than every machine has: instructions that gather vectors are slower than loads on many.
///
/// # Safety
/// The lines from `from` on have `n` elements, `step` apart, `to` has one for each index; they do not overlap.
unsafe fn picked<U: Copy>(index: &[i64], n: usize, step: usize, from: *const U, to: *mut U) -> bool {
    // SAFETY: it needs none.
    if !unsafe { all_below(index, n) } {
        return false;
    }
    for (i, &index) in index.iter().enumerate() {
        let place = if step == 1 { index as usize } else { index as usize * step + i };
        // SAFETY: `index < n`, and there is an element for each.
        unsafe { to.add(i).write_unaligned(from.add(place).read_unaligned()) };
    }
    true
}

versions! {
    /// Whether indices are less than `n` and not negative.
    ///
    /// # Safety
    /// None is needed.
    unsafe fn all_below[][](index: &[i64], n: usize) -> bool = all_below_body
}

#[inline(always)]
unsafe fn all_below_body(index: &[i64], n: usize) -> bool {
    index.iter().fold(true, |valid, &i| valid & ((i as usize) < n))
}

/// Adds elements at indices: `to[o, index[o, j, i], i] = add(…, from[o, j, i])` for `j` from 0 to `k - 1`, where `to`
/// begins as `start` or as 0; with `index[j]` if there is one for each `j`. Returns as [`take_slices`] does.
///
/// ```
/// use sconce_kernels::{Lines, scatter_add};
/// let (x, mut y) = ([1f32, 2., 4.], [0f32; 2]);
/// let lines = Lines { outer: 1, n: 2, inner: 1 };
/// // SAFETY: the arrays have these sizes.
/// unsafe { scatter_add(lines, 3, &[1, 0, 1], x.as_ptr(), None, y.as_mut_ptr(), |a, b| a + b) };
/// assert_eq!(y, [2., 5.]);
/// ```
///
/// # Safety
/// `to` and `start` are valid for `lines` from any thread, `from` for `outer · k · inner` elements; `to` overlaps neither.
/// Zeros are a value of `T`.
pub unsafe fn scatter_add<T: Copy + Send + Sync>(
    lines: Lines,
    k: usize,
    index: &[i64],
    from: *const T,
    start: Option<*const T>,
    to: *mut T,
    add: impl Fn(T, T) -> T + Sync,
) -> bool {
    let Lines { outer, n, inner } = lines;
    let per_slice = index.len() == k;
    assert!(per_slice || index.len() == outer * k * inner, "an index for each element or slice");
    let (from, start) = (Shared(from.cast_mut()), start.map(|start| Shared(start.cast_mut())));
    let (to, wrong) = (Shared(to), AtomicBool::new(false));
    let strips = inner.div_ceil(STRIP);
    let grain = GRAIN / ((n + k) * inner.min(STRIP)).max(1);
    par::for_ranges(outer * strips, grain.max(1), |mut strip, last| {
        while strip < last {
            let (o, first) = (strip / strips, strip % strips);
            let end = strips.min(first + last - strip);
            let (col, cols) = (first * STRIP, inner.min(end * STRIP) - first * STRIP);
            // SAFETY: `cols` neighbouring lines of each array, which this task alone writes.
            let valid = unsafe {
                let (base, to) = (o * n * inner + col, to.get().add(o * n * inner + col));
                let (rows, width) = if inner == 1 { (1, n) } else { (n, cols) };
                for row in (0..rows).map(|row| row * inner) {
                    match start {
                        Some(start) => {
                            to.add(row).copy_from_nonoverlapping(start.get().add(base + row), width);
                        }
                        None => to.add(row).write_bytes(0, width),
                    }
                }
                let (rows, width) = if inner == 1 { (1, k) } else { (k, cols) };
                (0..rows).fold(true, |valid, j| {
                    let at = (o * k + j) * inner + col;
                    let from = std::slice::from_raw_parts(from.get().add(at).cast_const(), width);
                    let index = match per_slice {
                        true if inner > 1 => return valid & add_slice(index[j], n, inner, from, to, &add),
                        true => index,
                        false => &index[at..at + width],
                    };
                    valid & add_elements(index, n, inner, from, to, &add)
                })
            };
            if !valid {
                wrong.store(true, Relaxed);
            }
            strip += end - first;
        }
    });
    !wrong.into_inner()
}

/// Adds adjacent elements to what `to` has of slice `index`, if there is such a one among `n`.
///
/// # Safety
/// The slices from `to` on are `step` apart and have an element for each of `from`.
#[inline(always)]
unsafe fn add_slice<T: Copy>(
    index: i64,
    n: usize,
    step: usize,
    from: &[T],
    to: *mut T,
    add: impl Fn(T, T) -> T,
) -> bool {
    let valid = (index as usize) < n;
    if valid {
        // SAFETY: the caller's contract.
        let to = unsafe { std::slice::from_raw_parts_mut(to.add(index as usize * step), from.len()) };
        to.iter_mut().zip(from).for_each(|(a, &b)| *a = add(*a, b));
    }
    valid
}

/// Adds each of `from` to the element at its index of one line, if `step` is 1; else of its own one of neighbouring lines.
///
/// # Safety
/// The lines from `to` on have `n` elements, `step` apart; there is an index for each of `from`.
#[inline(always)]
unsafe fn add_elements<T: Copy>(
    index: &[i64],
    n: usize,
    step: usize,
    from: &[T],
    to: *mut T,
    add: impl Fn(T, T) -> T,
) -> bool {
    let mut valid = true;
    for (i, (&index, &x)) in index.iter().zip(from).enumerate() {
        if (index as usize) < n {
            let place = if step == 1 { index as usize } else { index as usize * step + i };
            // SAFETY: the element at a checked index.
            unsafe { *to.add(place) = add(*to.add(place), x) };
        } else {
            valid = false;
        }
    }
    valid
}

/// How many bytes are not 0, of each so many that [`places`] takes together.
pub fn count_flags(flags: &[u8]) -> Vec<usize> {
    let mut counts = vec![0; flags.len().div_ceil(FLAGS)];
    let shared = Shared(counts.as_mut_ptr());
    par::for_each(counts.len(), |task| {
        let flags = &flags[task * FLAGS..flags.len().min((task + 1) * FLAGS)];
        // SAFETY: the count of this task.
        unsafe { *shared.get().add(task) = count(flags) };
    });
    counts
}

versions! {
    /// # Safety
    /// None is needed.
    unsafe fn count[][](flags: &[u8]) -> usize = count_body
}

#[inline(always)]
unsafe fn count_body(flags: &[u8]) -> usize {
    // Few enough for a byte to count them.
    flags.chunks(255).map(|part| usize::from(part.iter().fold(0, |n, &flag| n + u8::from(flag != 0)))).sum()
}

/// Writes where bytes are not 0, in order; `counts` are those of [`count_flags`].
///
/// ```
/// use sconce_kernels::{count_flags, places};
/// let (flags, mut at) = ([0, 1, 1, 0, 1], [0i64; 3]);
/// // SAFETY: three of the flags are not 0.
/// unsafe { places(&flags, &count_flags(&flags), at.as_mut_ptr()) };
/// assert_eq!(at, [1, 2, 4]);
/// ```
///
/// # Safety
/// `to` is valid for so many elements from any thread.
pub unsafe fn places(flags: &[u8], counts: &[usize], to: *mut i64) {
    let before = |total: &mut usize, n: &usize| Some(std::mem::replace(total, *total + n));
    let starts: Vec<usize> = counts.iter().scan(0, before).collect();
    let to = Shared(to);
    par::for_each(starts.len(), |task| {
        let (from, mut done) = (task * FLAGS, starts[task]);
        let flags = &flags[from..flags.len().min(from + FLAGS)];
        let mut found = [0i64; BLOCK];
        for (block, flags) in flags.chunks(BLOCK).enumerate() {
            let (first, mut len) = ((from + block * BLOCK) as i64, 0);
            for (i, &flag) in flags.iter().enumerate() {
                found[len] = first + i as i64;
                len += usize::from(flag != 0);
            }
            // SAFETY: places of this task, as many as were counted.
            unsafe { to.get().add(done).copy_from_nonoverlapping(found.as_ptr(), len) };
            done += len;
        }
    });
}
