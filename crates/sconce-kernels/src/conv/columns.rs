//! Products by way of matrices of patches: of small images several at once, so that the weight is not read again for a
//! few positions each; and the gradient of a strided convolution's input, without the zeros between its elements.

use super::{Conv2d, Real, Shared, par, zero};
use crate::gemm::{Mat, MatMut, Product, Scratch, product, with_scratch};
use std::cell::RefCell;

/// Elements of a matrix, of patches or of results, at most; unless one image needs more.
const COLUMNS: usize = 1 << 21;
/// Output positions of an image that is small.
const SMALL: usize = 64;
/// Elements per task of a copy.
const GRAIN: usize = 1 << 15;

thread_local! {
    /// The matrices; the products have buffers of their own.
    static BUFFER: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Whether products of this convolution are for this file: small, or one whose input's gradient would be mostly zeros.
pub(super) fn pays(conv: &Conv2d, input_gradient: bool) -> bool {
    let Some((oh, ow)) = conv.output() else { return false };
    let area = oh * ow;
    let strided = input_gradient && conv.stride != (1, 1);
    let size = (conv.c_in * conv.taps()).checked_mul(area);
    conv.groups == 1
        && size.is_some_and(|n| n > 0 && n <= COLUMNS)
        && conv.n * conv.c_out * conv.h * conv.w > 0
        && (area <= SMALL || strided)
}

/// The sizes of one round: so many images, each of `area` positions with patches of `depth` elements.
#[derive(Clone, Copy)]
struct Round {
    conv: Conv2d,
    images: usize,
    area: usize,
    width: usize,
    depth: usize,
}

impl Round {
    /// Calls `work(first, round)` for all images, some at a time.
    fn each(conv: &Conv2d, mut work: impl FnMut(usize, Round)) {
        let (oh, ow) = conv.output().unwrap_or((0, 0));
        let (area, depth) = (oh * ow, conv.c_in * conv.taps());
        let most = (COLUMNS / (area * depth.max(conv.c_out))).max(1);
        let rounds = conv.n.div_ceil(most);
        for r in 0..rounds {
            let (from, to) = (conv.n * r / rounds, conv.n * (r + 1) / rounds);
            work(from, Round { conv: *conv, images: to - from, area, width: ow, depth });
        }
    }

    /// Positions of all images: the columns of the matrices.
    fn positions(&self) -> usize {
        self.images * self.area
    }

    /// The most images of a round.
    fn most(conv: &Conv2d) -> Round {
        let mut most = None;
        Self::each(conv, |_, round| {
            if most.is_none_or(|m: Round| m.images < round.images) {
                most = Some(round);
            }
        });
        most.expect("a convolution of images")
    }

    /// Calls `run(row, column, n, step)` for runs of positions of image `image` in row `k` of the matrix whose elements are
    /// in the image: those from `column` on, where `row` is the place of the first in the image.
    #[inline(always)]
    fn runs(&self, k: usize, mut run: impl FnMut(usize, usize, usize)) {
        let conv = &self.conv;
        let (c, tap) = (k / conv.taps(), k % conv.taps());
        let (i, j) = (tap / conv.kernel.1 * conv.dilation.0, tap % conv.kernel.1 * conv.dilation.1);
        // Positions whose element lies within the image, across.
        let from = conv.padding.1.saturating_sub(j).div_ceil(conv.stride.1).min(self.width);
        let to = (conv.w + conv.padding.1).saturating_sub(j).div_ceil(conv.stride.1).min(self.width);
        for y in 0..self.area / self.width {
            let row = y * conv.stride.0 + i;
            if row < conv.padding.0 || row - conv.padding.0 >= conv.h || from >= to {
                continue;
            }
            let place =
                (c * conv.h + row - conv.padding.0) * conv.w + from * conv.stride.1 + j - conv.padding.1;
            run(place, y * self.width + from, to - from);
        }
    }

    /// Fills the matrix of patches, `depth` rows of all positions, from adjacent images.
    ///
    /// # Safety
    /// `input` is valid for the images, `to` for the matrix.
    unsafe fn gather<T: Real>(&self, input: *const T, to: *mut T) {
        let (round, input, to) = (*self, Shared(input.cast_mut()), Shared(to));
        let (positions, step) = (self.positions(), self.conv.stride.1);
        par::for_ranges(self.depth, (GRAIN / positions).max(1), |first, last| {
            for k in first..last {
                // SAFETY: row `k` of the matrix, which this task alone writes; runs are within an image.
                unsafe {
                    let row = to.get().add(k * positions);
                    zero(row, positions);
                    for image in 0..round.images {
                        let from = input.get().add(image * round.conv.c_in * round.conv.h * round.conv.w);
                        let row = row.add(image * round.area);
                        round.runs(k, |place, column, n| {
                            if step == 1 {
                                std::ptr::copy_nonoverlapping(from.add(place), row.add(column), n);
                            } else {
                                for x in 0..n {
                                    *row.add(column + x) = *from.add(place + x * step);
                                }
                            }
                        });
                    }
                }
            }
        });
    }

    /// Adds the matrix up into adjacent images, which are written.
    ///
    /// # Safety
    /// As for [`gather`](Self::gather).
    unsafe fn scatter<T: Real>(&self, from: *const T, images: *mut T) {
        let (round, from, images) = (*self, Shared(from.cast_mut()), Shared(images));
        let (positions, step, taps) = (self.positions(), self.conv.stride.1, self.conv.taps());
        let plane = self.conv.h * self.conv.w;
        let planes = self.images * self.conv.c_in;
        par::for_ranges(planes, (GRAIN / (plane + taps * self.area)).max(1), |first, last| {
            for p in first..last {
                let (image, c) = (p / round.conv.c_in, p % round.conv.c_in);
                // SAFETY: channel `c` of an image, which this task alone writes; runs are within an image.
                unsafe {
                    let to = images.get().add(image * round.conv.c_in * plane);
                    zero(to.add(c * plane), plane);
                    for k in c * taps..(c + 1) * taps {
                        let row = from.get().add(k * positions + image * round.area);
                        round.runs(k, |place, column, n| {
                            for x in 0..n {
                                *to.add(place + x * step) += *row.add(column + x);
                            }
                        });
                    }
                }
            }
        });
    }

    /// Copies between `[image][channel][position]` and `[channel][image][position]`, adding a number per channel.
    ///
    /// # Safety
    /// Both are valid for all output positions and channels, `bias` for the channels.
    unsafe fn turn<T: Real>(&self, from: *const T, to: *mut T, by_image: bool, bias: Option<*const T>) {
        let (images, area, channels) = (self.images, self.area, self.conv.c_out);
        let (from, to) = (Shared(from.cast_mut()), Shared(to));
        let bias = Shared(bias.map_or(std::ptr::null_mut(), |b| b.cast_mut()));
        par::for_ranges(images * channels, (GRAIN / area).max(1), |first, last| {
            for r in first..last {
                // Row `r` of what is written.
                let (a, b) = if by_image { (r / channels, r % channels) } else { (r % images, r / images) };
                let read = if by_image { b * images + a } else { a * channels + b };
                // SAFETY: a row of each; this task alone writes its rows.
                unsafe {
                    let add = if bias.get().is_null() { T::ZERO } else { *bias.get().add(b) };
                    let (from, to) = (from.get().add(read * area), to.get().add(r * area));
                    for p in 0..area {
                        *to.add(p) = *from.add(p) + add;
                    }
                }
            }
        });
    }
}

fn rows<T>(ptr: *const T, width: usize) -> Mat<T> {
    Mat { ptr, row: width as isize, col: 1 }
}

/// `c = a · b`, plus what `c` is if `more`, with `(m, n, k)` as for a product and rows of `c` adjacent.
unsafe fn multiply<T: Real>((m, n, k): (usize, usize, usize), a: Mat<T>, b: Mat<T>, more: bool, c: *mut T) {
    let beta = if more { T::ONE } else { T::ZERO };
    let c = MatMut { ptr: c, row: n as isize, col: 1 };
    // SAFETY: the caller's contract.
    unsafe { product(Product { m, n, k, alpha: T::ONE, a, b, beta, c }, true) }
}

/// The convolution.
///
/// # Safety
/// As for `conv2d`; [`pays`] holds.
pub(super) unsafe fn forward<T: Real>(
    conv: &Conv2d,
    input: *const T,
    weight: *const T,
    bias: Option<*const T>,
    out: *mut T,
) {
    let most = Round::most(conv);
    let (matrix, results) = (most.depth * most.positions(), conv.c_out * most.positions());
    with_scratch(&BUFFER, |buffer| {
        let columns = buffer.get::<T>(matrix + results);
        let result = columns.wrapping_add(matrix);
        Round::each(conv, |first, round| {
            let n = round.positions();
            // SAFETY: these images of the caller's arrays; the buffer has room for both matrices of a round.
            unsafe {
                round.gather(input.add(first * conv.c_in * conv.h * conv.w), columns);
                multiply(
                    (conv.c_out, n, round.depth),
                    rows(weight, round.depth),
                    rows(columns, n),
                    false,
                    result,
                );
                round.turn(result, out.add(first * conv.c_out * round.area), true, bias);
            }
        });
    });
}

/// The gradient of the input.
///
/// # Safety
/// As for `conv2d_backward_input`; [`pays`] holds.
pub(super) unsafe fn backward_input<T: Real>(
    conv: &Conv2d,
    grad_out: *const T,
    weight: *const T,
    grad_input: *mut T,
) {
    let most = Round::most(conv);
    let (matrix, grads) = (most.depth * most.positions(), conv.c_out * most.positions());
    with_scratch(&BUFFER, |buffer| {
        let columns = buffer.get::<T>(matrix + grads);
        let grad = columns.wrapping_add(matrix);
        Round::each(conv, |first, round| {
            let (n, depth) = (round.positions(), round.depth);
            // SAFETY: as in `forward`.
            unsafe {
                round.turn(grad_out.add(first * conv.c_out * round.area), grad, false, None);
                multiply((depth, n, conv.c_out), rows(weight, depth).t(), rows(grad, n), false, columns);
                round.scatter(columns, grad_input.add(first * conv.c_in * conv.h * conv.w));
            }
        });
    });
}

/// The gradient of the weight.
///
/// # Safety
/// As for `conv2d_backward_weight`; [`pays`] holds.
pub(super) unsafe fn backward_weight<T: Real>(
    conv: &Conv2d,
    grad_out: *const T,
    input: *const T,
    grad_weight: *mut T,
) {
    let most = Round::most(conv);
    let (matrix, grads) = (most.depth * most.positions(), conv.c_out * most.positions());
    with_scratch(&BUFFER, |buffer| {
        let columns = buffer.get::<T>(matrix + grads);
        let grad = columns.wrapping_add(matrix);
        Round::each(conv, |first, round| {
            let (n, depth) = (round.positions(), round.depth);
            // SAFETY: as in `forward`.
            unsafe {
                round.gather(input.add(first * conv.c_in * conv.h * conv.w), columns);
                round.turn(grad_out.add(first * conv.c_out * round.area), grad, false, None);
                multiply((conv.c_out, depth, n), rows(grad, n), rows(columns, n).t(), first > 0, grad_weight);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_output_channels_do_not_make_the_scratch_memory_large() {
        let conv = Conv2d {
            n: 1 << 20,
            c_in: 1,
            c_out: 1 << 14,
            h: 2,
            w: 2,
            kernel: (1, 1),
            stride: (1, 1),
            padding: (0, 0),
            dilation: (1, 1),
            groups: 1,
        };
        assert!(pays(&conv, false));
        let most = Round::most(&conv);
        assert!(conv.c_out * most.positions() <= COLUMNS, "{} images at a time", most.images);
        assert_eq!(most.images, 32);
    }
}
