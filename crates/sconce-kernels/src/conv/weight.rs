//! The gradient of the weight.

use super::{Conv2d, Patches, Real, Shared, Strip, par, zero};
use crate::gemm::kernel::{MR_MAX, Tile, pack, tile};
use crate::gemm::{Mat, MatMut, scratch};

/// Parts that the batch is cut into, at most; fixes the order of summation.
const PARTS: usize = 16;
/// Elements of all parts' sums, about, at most.
const SUMS: usize = 4 << 20;
/// Output positions of a strip, about.
const POSITIONS: usize = 1024;
/// Multiply-adds per task.
const GRAIN: usize = 1 << 20;
/// Narrower output rows are copied together, so that the micro-kernel runs along all positions of a strip.
const NARROW: usize = 24;
/// Rows of the sums per task.
const ROWS: usize = 48;

/// `grad_weight[g·co + o][k] = Σ grad_out[n][g·co + o][p] · patch[n][g][p][k]`.
///
/// # Safety
/// As for `conv2d_backward_weight`.
pub(super) unsafe fn run<T: Real>(conv: &Conv2d, grad_out: *const T, input: *const T, grad_weight: *mut T) {
    let (ci, co) = (conv.c_in_group(), conv.c_out_group());
    let depth = ci * conv.taps();
    let total = conv.c_out * depth;
    let output = conv.output().filter(|o| o.0 * o.1 * conv.n > 0);
    let Some(output) = output else {
        // SAFETY: the caller's contract.
        return unsafe { zero(grad_weight, total) };
    };
    if total == 0 {
        return;
    }
    let patches = Patches {
        channels: ci,
        source: (conv.h, conv.w),
        before: (conv.padding.0 as isize, conv.padding.1 as isize),
        spread: (1, 1),
        kernel: conv.kernel,
        dilation: conv.dilation,
        stride: conv.stride,
        output,
    };
    let nr = T::kernel().nr;
    let width = co.next_multiple_of(nr);
    // Sums are `[part][group][depth][width]`, output channels innermost.
    let per_part = conv.groups * depth * width;
    let parts = conv.n.min(PARTS).min((SUMS / per_part).max(1));
    let mut sums = vec![T::ZERO; parts * per_part];
    let bands = depth.div_ceil(ROWS);
    let work = conv.n.div_ceil(parts) * ROWS.min(depth) * width * output.0 * output.1;
    let (grad_out, input, all) =
        (Shared(grad_out.cast_mut()), Shared(input.cast_mut()), Shared(sums.as_mut_ptr()));
    // Without threads a band is all of the depth: the gradient is packed once.
    let bands = if parts > 1 { 1 } else { bands };
    par::for_ranges(parts * conv.groups * bands, (GRAIN / work.max(1)).max(1), |from, to| {
        for task in from..to {
            let (part, rest) = (task / (conv.groups * bands), task % (conv.groups * bands));
            let (group, band) = (rest / bands, rest % bands);
            let k = if bands == 1 { (0, depth) } else { (band * ROWS, (band * ROWS + ROWS).min(depth)) };
            let images = (conv.n * part / parts, conv.n * (part + 1) / parts);
            // SAFETY: arrays of the caller; this task alone writes its rows of sums.
            unsafe {
                let sums = all.get().add(part * per_part + group * depth * width);
                for image in images.0..images.1 {
                    let index = image * conv.groups + group;
                    let source = input.get().add(index * ci * conv.h * conv.w);
                    let grad = grad_out.get().add(index * co * output.0 * output.1);
                    image_sums(&patches, source, grad, co, k, sums, width);
                }
            }
        }
    });
    for (index, group) in (0..conv.groups).map(|g| (g * depth * width, g)) {
        for o in 0..co {
            for k in 0..depth {
                let sum = (0..parts)
                    .map(|part| sums[part * per_part + index + k * width + o])
                    .reduce(|a, b| a + b)
                    .unwrap_or(T::ZERO);
                // SAFETY: an element of the weight's gradient.
                unsafe { *grad_weight.add((group * co + o) * depth + k) = sum };
            }
        }
    }
}

/// Adds one image's part to rows `k.0..k.1` of the sums.
unsafe fn image_sums<T: Real>(
    patches: &Patches,
    source: *const T,
    grad: *const T,
    co: usize,
    k: (usize, usize),
    sums: *mut T,
    width: usize,
) {
    let kernel = T::kernel();
    let (mr, nr) = (kernel.mr, kernel.nr);
    let (oh, ow) = patches.output;
    let rows = (POSITIONS / ow).clamp(1, oh);
    let narrow = ow < NARROW;
    let strip_len = Strip::<T>::len(patches, rows).next_multiple_of(16);
    let grad_len = width * rows * ow;
    let patch_len = if narrow { mr * rows * ow } else { 0 };
    scratch(|buffer| {
        let padded = buffer.get::<T>(strip_len + grad_len + patch_len);
        let (grads, lines) = (padded.wrapping_add(strip_len), padded.wrapping_add(strip_len + grad_len));
        for first in (0..oh).step_by(rows) {
            let rows = rows.min(oh - first);
            let positions = rows * ow;
            // SAFETY: the buffer holds a strip, its gradient in panels of `nr` channels, and `mr` lines of patches.
            unsafe {
                let strip = Strip::new(*patches, source, padded, first, rows);
                let from = Mat { ptr: grad.add(first * ow), row: (oh * ow) as isize, col: 1 };
                pack(grads, from, co, positions, nr);
                for i in (k.0..k.1).step_by(mr) {
                    let m = mr.min(k.1 - i);
                    let mut a = [strip.ptr; MR_MAX];
                    for (l, a) in a.iter_mut().enumerate().take(m) {
                        let line = strip.ptr.add(strip.tap(i + l));
                        *a = line;
                        if narrow {
                            let to = lines.add(l * positions);
                            for y in 0..rows {
                                copy_line(to.add(y * ow), line.add(strip.place(y, 0)), patches.stride.1, ow);
                            }
                            *a = to;
                        }
                    }
                    for o in (0..width).step_by(nr) {
                        let b = grads.add(o * positions);
                        let c = MatMut { ptr: sums.add(i * width + o), row: width as isize, col: 1 };
                        let mut t = Tile {
                            rows: m,
                            cols: nr,
                            k: positions,
                            a,
                            a_col: 1,
                            b,
                            b_row: nr as isize,
                            alpha: T::ONE,
                            beta: T::ONE,
                            c,
                        };
                        if narrow {
                            tile(&kernel, &t);
                            continue;
                        }
                        (t.k, t.a_col) = (ow, patches.stride.1 as isize);
                        for y in 0..rows {
                            t.a = a.map(|line| line.wrapping_add(strip.place(y, 0)));
                            t.b = b.add(y * ow * nr);
                            tile(&kernel, &t);
                        }
                    }
                }
            }
        }
    });
}

/// `to[x] = from[x · step]` for `x < n`.
#[inline(always)]
unsafe fn copy_line<T: Real>(to: *mut T, from: *const T, step: usize, n: usize) {
    // SAFETY: the caller's elements.
    unsafe {
        if step == 1 {
            let mut x = 0;
            while x + 4 <= n {
                to.add(x).cast::<[T; 4]>().write(from.add(x).cast::<[T; 4]>().read());
                x += 4;
            }
            while x < n {
                *to.add(x) = *from.add(x);
                x += 1;
            }
        } else {
            for x in 0..n {
                *to.add(x) = *from.add(x * step);
            }
        }
    }
}
