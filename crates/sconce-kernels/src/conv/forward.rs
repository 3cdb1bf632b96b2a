//! The forward product, also used for the gradient of the input.

use super::{Patches, Real, Shared, Strip, par};
use crate::gemm::kernel::{Tile, tile, tile_rows};
use crate::gemm::{Mat, MatMut, scratch};
use crate::isa::versions;

/// Output positions of a strip, about.
pub(super) const POSITIONS: usize = 512;
/// Depth of a packed block.
const KC: usize = 256;
/// Multiply-adds per task.
const GRAIN: usize = 1 << 20;

/// `out[n][g·co + o][y][x] = bias[…] + Σ weight[g·co + o][k] · patch[n][g][y][x][k]`.
///
/// # Safety
/// As for `conv2d`.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn run<T: Real>(
    n: usize,
    groups: usize,
    co: usize,
    patches: Patches,
    input: *const T,
    weight: *const T,
    bias: Option<*const T>,
    out: *mut T,
) {
    let (oh, ow) = patches.output;
    if n * groups * co * oh * ow == 0 {
        return;
    }
    let depth = patches.depth();
    let rows = (POSITIONS / ow).clamp(1, oh);
    let strips = oh.div_ceil(rows);
    let work = co * depth * rows * ow;
    let (input, weight, out) = (Shared(input.cast_mut()), Shared(weight.cast_mut()), Shared(out));
    let bias = Shared(bias.map_or(std::ptr::null_mut(), |b| b.cast_mut()));
    par::for_ranges(n * groups * strips, (GRAIN / work.max(1)).max(1), |from, to| {
        for task in from..to {
            let (image, strip) = (task / strips, task % strips);
            let group = image % groups;
            let first = strip * rows;
            // SAFETY: a strip of the caller's arrays; this task alone writes its output rows.
            unsafe {
                let source = input.get().add(image * patches.channels * patches.source.0 * patches.source.1);
                let block = Block {
                    patches,
                    source,
                    weight: weight.get().add(group * co * depth),
                    bias: (!bias.get().is_null()).then(|| bias.get().add(group * co).cast_const()),
                    out: out.get().add(image * co * oh * ow + first * ow),
                    co,
                    first,
                    rows: rows.min(oh - first),
                };
                block.run();
            }
        }
    });
}

/// One strip of one image and group.
struct Block<T> {
    patches: Patches,
    source: *const T,
    weight: *const T,
    bias: Option<*const T>,
    out: *mut T,
    co: usize,
    first: usize,
    rows: usize,
}

impl<T: Real> Block<T> {
    unsafe fn run(&self) {
        let kernel = T::kernel();
        let (mr, nr) = (kernel.mr, kernel.nr);
        let (oh, ow) = self.patches.output;
        let depth = self.patches.depth();
        let positions = self.rows * ow;
        let panels = positions.div_ceil(nr);
        let strip_len = Strip::<T>::len(&self.patches, self.rows).next_multiple_of(16);
        scratch(|buffer| {
            let padded = buffer.get::<T>(strip_len + panels * nr * depth.min(KC));
            let packed = padded.wrapping_add(strip_len);
            // SAFETY: the buffer holds the strip and the panels; the rest is the caller's contract.
            unsafe {
                let strip = Strip::new(self.patches, self.source, padded, self.first, self.rows);
                for o in 0..self.co {
                    let value = self.bias.map_or(T::ZERO, |b| *b.add(o));
                    std::slice::from_raw_parts_mut(self.out.add(o * oh * ow), positions).fill(value);
                }
                for k0 in (0..depth).step_by(KC) {
                    let kc = KC.min(depth - k0);
                    self.pack(&strip, packed, k0, kc, nr);
                    for panel in 0..panels {
                        let p = panel * nr;
                        for o in (0..self.co).step_by(mr) {
                            let m = mr.min(self.co - o);
                            let a = Mat { ptr: self.weight.add(o * depth + k0), row: depth as isize, col: 1 };
                            let c = MatMut {
                                ptr: self.out.add(o * oh * ow + p),
                                row: (oh * ow) as isize,
                                col: 1,
                            };
                            let t = Tile {
                                rows: m,
                                cols: nr.min(positions - p),
                                k: kc,
                                a: tile_rows(a, m),
                                a_col: 1,
                                b: packed.add(panel * nr * kc),
                                b_row: nr as isize,
                                alpha: T::ONE,
                                beta: T::ONE,
                                c,
                            };
                            tile(&kernel, &t);
                        }
                    }
                }
            }
        });
    }

    /// Packs patch elements `k0..k0 + kc` of all positions into panels of `nr` positions.
    unsafe fn pack(&self, strip: &Strip<T>, to: *mut T, k0: usize, kc: usize, nr: usize) {
        let ow = self.patches.output.1;
        let positions = self.rows * ow;
        let mut taps = [0; KC];
        for (i, tap) in taps.iter_mut().enumerate().take(kc) {
            *tap = strip.tap(k0 + i);
        }
        let mut p = 0;
        while p < positions {
            let (panel, lane) = (p / nr, p % nr);
            let (y, x) = (p / ow, p % ow);
            // A run of positions that are neighbours in the row and the panel.
            let n = (nr - lane).min(ow - x);
            let from = strip.ptr.wrapping_add(strip.place(y, x));
            let to = to.wrapping_add(panel * nr * kc + lane);
            // SAFETY: the taps of positions in the strip; the panel has room for all lanes.
            unsafe { pack_run(to, nr, from, self.patches.stride.1, &taps[..kc], n) };
            p += n;
        }
        let rest = positions.next_multiple_of(nr) - positions;
        if rest > 0 {
            let to = to.wrapping_add(positions / nr * nr * kc + nr - rest);
            for k in 0..kc {
                // SAFETY: the unused lanes of the last panel.
                unsafe { super::zero(to.add(k * nr), rest) };
            }
        }
    }
}

versions! {
    /// `to[k · to_step + i] = from[taps[k] + i · step]` for `i < n`.
    ///
    /// # Safety
    /// All of these elements are valid, and those of `to` and `from` do not overlap.
    unsafe fn pack_run[T: Real][T](
        to: *mut T, to_step: usize, from: *const T, step: usize, taps: &[usize], n: usize,
    ) = pack_run_body
}

#[inline(always)]
unsafe fn pack_run_body<T: Real>(
    to: *mut T,
    to_step: usize,
    from: *const T,
    step: usize,
    taps: &[usize],
    n: usize,
) {
    // SAFETY: the caller's contract.
    unsafe {
        match (n, step) {
            (16..=32, 1) => pack_ends::<T, 16, 1>(to, to_step, from, taps, n),
            (8..16, 1) => pack_ends::<T, 8, 1>(to, to_step, from, taps, n),
            (4..8, 1) => pack_ends::<T, 4, 1>(to, to_step, from, taps, n),
            (2..4, 1) => pack_ends::<T, 2, 1>(to, to_step, from, taps, n),
            (16..=32, 2) => pack_ends::<T, 16, 2>(to, to_step, from, taps, n),
            (8..16, 2) => pack_ends::<T, 8, 2>(to, to_step, from, taps, n),
            (4..8, 2) => pack_ends::<T, 4, 2>(to, to_step, from, taps, n),
            _ => {
                for (k, &tap) in taps.iter().enumerate() {
                    for i in 0..n {
                        *to.add(k * to_step + i) = *from.add(tap + i * step);
                    }
                }
            }
        }
    }
}

/// Copies runs of `N..=2 * N` elements, `STEP` apart, as their first and last `N`, which may overlap.
#[inline(always)]
unsafe fn pack_ends<T: Real, const N: usize, const STEP: usize>(
    to: *mut T,
    to_step: usize,
    from: *const T,
    taps: &[usize],
    n: usize,
) {
    for (k, &tap) in taps.iter().enumerate() {
        for at in [0, n - N] {
            // SAFETY: the caller's contract.
            unsafe {
                let (to, from) = (to.add(k * to_step + at), from.add(tap + STEP * at));
                if STEP == 1 {
                    std::ptr::copy_nonoverlapping(from, to, N);
                    continue;
                }
                let mut run = [T::ZERO; N];
                for (i, x) in run.iter_mut().enumerate() {
                    *x = *from.add(STEP * i);
                }
                std::ptr::copy_nonoverlapping(run.as_ptr(), to, N);
            }
        }
    }
}
