//! The gradient of the weight.

use super::{Conv2d, Patches, Real, Shared, Strip, par, zero};
use crate::gemm::kernel::{MR_MAX, Tile, pack, tile};
use crate::gemm::{Mat, MatMut, scratch};

/// Parts that the batch is cut into, at most; fixes the order of summation.
const PARTS: usize = 16;
/// Elements of all parts' sums, about, at most.
const SUMS: usize = 2_600_000;
/// Output positions of a strip, about.
pub(super) const POSITIONS: usize = 1024;
/// Multiply-adds per task.
const GRAIN: usize = 1 << 20;
/// Narrower output rows are copied together, so that the micro-kernel runs along all positions of a strip.
const NARROW: usize = 24;
/// Rows of the sums per task.
const ROWS: usize = 48;
/// Rows and columns of the sums that are turned together.
const BLOCK: usize = 16;
/// Sums per task of adding up the parts.
const SUMMED: usize = 1 << 15;

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
    let together = together(output);
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
                let (source_len, grad_len) = (ci * conv.h * conv.w, co * output.0 * output.1);
                let mut image = images.0;
                while image < images.1 {
                    let count = together.min(images.1 - image);
                    let index = image * conv.groups + group;
                    let images = Images {
                        count,
                        source: input.get().add(index * source_len),
                        source_step: conv.groups * source_len,
                        grad: grad_out.get().add(index * grad_len),
                        grad_step: conv.groups * grad_len,
                    };
                    image_sums(&patches, &images, co, k, sums, width);
                    image += count;
                }
            }
        }
    });
    let (sums, to) = (&sums, Shared(grad_weight));
    let blocks = depth.div_ceil(BLOCK);
    par::for_ranges(conv.groups * blocks, (SUMMED / (BLOCK * co * parts).max(1)).max(1), |first, last| {
        for task in first..last {
            let (group, k0) = (task / blocks, task % blocks * BLOCK);
            let rows = BLOCK.min(depth - k0);
            for o0 in (0..co).step_by(BLOCK) {
                let cols = BLOCK.min(co - o0);
                let mut block = [[T::ZERO; BLOCK]; BLOCK];
                for part in 0..parts {
                    for (k, row) in block.iter_mut().enumerate().take(rows) {
                        let at = part * per_part + (group * depth + k0 + k) * width + o0;
                        row.iter_mut().zip(&sums[at..at + cols]).for_each(|(sum, &x)| *sum += x);
                    }
                }
                for o in 0..cols {
                    for k in 0..rows {
                        // SAFETY: an element of the weight's gradient, which this task alone writes.
                        unsafe { *to.get().add((group * co + o0 + o) * depth + k0 + k) = block[k][o] };
                    }
                }
            }
        }
    });
}

/// How many small images are summed together, so that sums are not written for a few products each.
pub(super) fn together(output: (usize, usize)) -> usize {
    if output.1 < NARROW { (POSITIONS / 2 / (output.0 * output.1).max(1)).max(1) } else { 1 }
}

/// Images that are summed together: more than one only if a strip holds each of them whole.
struct Images<T> {
    count: usize,
    source: *const T,
    source_step: usize,
    grad: *const T,
    grad_step: usize,
}

/// Adds some images' part to rows `k.0..k.1` of the sums.
unsafe fn image_sums<T: Real>(
    patches: &Patches,
    images: &Images<T>,
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
    let count = images.count;
    let strip_len = Strip::<T>::len(patches, rows).next_multiple_of(16);
    let grad_len = width * count * rows * ow;
    let patch_len = if narrow { mr * count * rows * ow } else { 0 };
    scratch(|buffer| {
        let padded = buffer.get::<T>(count * strip_len + grad_len + patch_len);
        let grads = padded.wrapping_add(count * strip_len);
        let lines = grads.wrapping_add(grad_len);
        for first in (0..oh).step_by(rows) {
            let rows = rows.min(oh - first);
            let positions = rows * ow;
            let all = count * positions;
            let strip_of = |image: usize| {
                let source = images.source.wrapping_add(image * images.source_step);
                // SAFETY: the buffer holds a strip per image.
                unsafe { Strip::new(*patches, source, padded.wrapping_add(image * strip_len), first, rows) }
            };
            // SAFETY: the buffer holds the strips, their gradients in panels of `nr` channels, and `mr` lines of
            // patches.
            unsafe {
                let strip = strip_of(0);
                for image in 0..count {
                    if image > 0 {
                        strip_of(image);
                    }
                    let grad = images.grad.add(image * images.grad_step + first * ow);
                    for o in (0..co).step_by(nr) {
                        let from = Mat { ptr: grad.add(o * oh * ow), row: (oh * ow) as isize, col: 1 };
                        let to = grads.add(o * all + image * positions * nr);
                        pack(to, from, nr.min(co - o), positions, nr);
                    }
                }
                for i in (k.0..k.1).step_by(mr) {
                    let m = mr.min(k.1 - i);
                    let mut a = [strip.ptr; MR_MAX];
                    for (l, a) in a.iter_mut().enumerate().take(m) {
                        let line = strip.ptr.add(strip.tap(i + l));
                        *a = line;
                        if narrow {
                            let to = lines.add(l * all);
                            for image in 0..count {
                                for y in 0..rows {
                                    let to = to.add(image * positions + y * ow);
                                    let from = line.add(image * strip_len + strip.place(y, 0));
                                    copy_line(to, from, patches.stride.1, ow);
                                }
                            }
                            *a = to;
                        }
                    }
                    for o in (0..width).step_by(nr) {
                        let b = grads.add(o * all);
                        let c = MatMut { ptr: sums.add(i * width + o), row: width as isize, col: 1 };
                        let mut t = Tile {
                            rows: m,
                            cols: nr,
                            k: all,
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
