//! Two-dimensional convolution on adjacent `[N, C, H, W]` arrays.
//!
//! All three products run on the micro-kernels of [`gemm`](crate::gemm()). The input of a strip of output rows is
//! copied once with its padding; from there the patches of a block of output positions are packed in the layout the
//! micro-kernel reads, so that scratch memory stays in the second-level cache whatever the image. The gradient of the
//! input is the same convolution with the kernel turned around and zeros between the gradient's elements; the gradient
//! of the weight reads the padded input in place. Small images, and the gradient of a strided convolution's input, go
//! by way of a matrix of patches instead.

mod columns;
mod forward;
mod weight;

use crate::Real;
use crate::par::{self, Shared};
use crate::reduce::{Reduction, reduce};
use crate::{Dst, Src};

/// The sizes of a convolution: `[n, c_in, h, w]` with a weight `[c_out, c_in / groups, kernel.0, kernel.1]`.
///
/// ```
/// let conv = sconce_kernels::Conv2d {
///     n: 1, c_in: 3, h: 28, w: 28, c_out: 16, kernel: (3, 3),
///     stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1,
/// };
/// assert_eq!(conv.output(), Some((26, 26)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Images.
    pub n: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Rows of an input image.
    pub h: usize,
    /// Columns of an input image.
    pub w: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Steps of the kernel down and across.
    pub stride: (usize, usize),
    /// Zeros added above and below, left and right.
    pub padding: (usize, usize),
    /// Distances between the kernel's elements.
    pub dilation: (usize, usize),
    /// Groups of channels that are convolved apart.
    pub groups: usize,
}

impl Conv2d {
    /// Rows and columns of an output image, or `None` if the kernel is larger than the padded input.
    pub fn output(&self) -> Option<(usize, usize)> {
        let size = |len: usize, k: usize, stride: usize, pad: usize, dilation: usize| {
            let span = dilation.checked_mul(k.checked_sub(1)?)?.checked_add(1)?;
            Some(len.checked_add(pad.checked_mul(2)?)?.checked_sub(span)?.checked_div(stride)? + 1)
        };
        Some((
            size(self.h, self.kernel.0, self.stride.0, self.padding.0, self.dilation.0)?,
            size(self.w, self.kernel.1, self.stride.1, self.padding.1, self.dilation.1)?,
        ))
    }

    /// Counts the elements of scratch memory that a task takes for its padded rows, in the most demanding of the three
    /// products, or `None` if there is no output or the number overflows. It grows with padding, stride and dilation,
    /// not only with the arrays.
    pub fn scratch(&self) -> Option<usize> {
        let output = self.output()?;
        let strip = |channels: usize, out: (usize, usize), stride: (usize, usize), positions: usize| {
            let rows = (positions / out.1.max(1)).clamp(1, out.0.max(1));
            let reach = |n: usize, stride: usize, k: usize, dilation: usize| {
                let last = n.saturating_sub(1).checked_mul(stride)?;
                last.checked_add((k - 1).checked_mul(dilation)?)?.checked_add(1)
            };
            let height = reach(rows, stride.0, self.kernel.0, self.dilation.0)?;
            let width = reach(out.1, stride.1, self.kernel.1, self.dilation.1)?;
            channels.checked_mul(height)?.checked_mul(width)
        };
        let of_weight = strip(self.c_in_group(), output, self.stride, weight::POSITIONS)?;
        let images = weight::together(output).min(self.n.max(1));
        let of_input = strip(self.c_out_group(), (self.h, self.w), (1, 1), forward::POSITIONS)?;
        Some(of_weight.checked_mul(images)?.max(of_input))
    }

    fn c_in_group(&self) -> usize {
        self.c_in / self.groups.max(1)
    }

    fn c_out_group(&self) -> usize {
        self.c_out / self.groups.max(1)
    }

    fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }
}

/// Where a convolution's patches are in a source image; see [`Strip`].
#[derive(Clone, Copy)]
struct Patches {
    /// Channels of a group of the source.
    channels: usize,
    /// Rows and columns of the source.
    source: (usize, usize),
    /// Zeros before the source; fewer than 0 crops it.
    before: (isize, isize),
    /// Distance that the source's elements are spread to, with zeros between them.
    spread: (usize, usize),
    kernel: (usize, usize),
    dilation: (usize, usize),
    stride: (usize, usize),
    /// Rows and columns of the result.
    output: (usize, usize),
}

impl Patches {
    /// Elements of a patch.
    fn depth(&self) -> usize {
        self.channels * self.kernel.0 * self.kernel.1
    }

    /// Columns of a padded row that some patch reads.
    fn padded_width(&self) -> usize {
        (self.output.1 - 1) * self.stride.1 + (self.kernel.1 - 1) * self.dilation.1 + 1
    }

    /// Padded rows that `rows` rows of the output read.
    fn padded_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.stride.0 + (self.kernel.0 - 1) * self.dilation.0 + 1
    }
}

/// The padded source of some output rows: patch element `(c, i, j)` of output `(y, x)` is at
/// `base(c, i, j) + y · row_step + x · stride`.
struct Strip<T> {
    ptr: *const T,
    plane: usize,
    width: usize,
    patches: Patches,
}

impl<T: Real> Strip<T> {
    /// Elements of scratch memory for a strip of `rows` output rows.
    fn len(patches: &Patches, rows: usize) -> usize {
        patches.channels * patches.padded_rows(rows) * patches.padded_width()
    }

    /// Copies what output rows `first..first + rows` read of `source`, the first channel of a group.
    ///
    /// # Safety
    /// `source` is valid for the group's channels, `to` for [`Strip::len`] elements.
    unsafe fn new(patches: Patches, source: *const T, to: *mut T, first: usize, rows: usize) -> Self {
        let (height, width) = (patches.padded_rows(rows), patches.padded_width());
        let (h, w) = patches.source;
        let plane = height * width;
        let (spread_y, spread_x) = patches.spread;
        for c in 0..patches.channels {
            for r in 0..height {
                let to = to.wrapping_add(c * plane + r * width);
                let y = (first * patches.stride.0 + r) as isize - patches.before.0;
                let inside = y >= 0 && (y as usize).is_multiple_of(spread_y) && (y as usize / spread_y) < h;
                // SAFETY: row `r` of the strip and, if it is inside, row `y` of the source, in bounds.
                unsafe {
                    if !inside {
                        zero(to, width);
                        continue;
                    }
                    let from = source.add((c * h + y as usize / spread_y) * w);
                    let left = patches.before.1;
                    if spread_x == 1 {
                        let start = left.clamp(0, width as isize) as usize;
                        let skip = (-left).max(0) as usize;
                        let n = w.saturating_sub(skip).min(width - start);
                        zero(to, start);
                        std::ptr::copy_nonoverlapping(from.wrapping_add(skip), to.add(start), n);
                        zero(to.add(start + n), width - start - n);
                    } else {
                        for x in 0..width {
                            let s = x as isize - left;
                            let hit = s >= 0
                                && (s as usize).is_multiple_of(spread_x)
                                && (s as usize / spread_x) < w;
                            *to.add(x) = if hit { *from.add(s as usize / spread_x) } else { T::ZERO };
                        }
                    }
                }
            }
        }
        Self { ptr: to, plane, width, patches }
    }

    /// Offset of patch element `k`, counted in the order of the weight.
    fn tap(&self, k: usize) -> usize {
        let (kh, kw) = self.patches.kernel;
        let (c, i, j) = (k / (kh * kw), k / kw % kh, k % kw);
        c * self.plane + i * self.patches.dilation.0 * self.width + j * self.patches.dilation.1
    }

    /// Offset of the patch of output `(y, x)`, counted from the strip's first row.
    fn place(&self, y: usize, x: usize) -> usize {
        y * self.patches.stride.0 * self.width + x * self.patches.stride.1
    }
}

/// Sets `n` elements to 0.
unsafe fn zero<T: Real>(to: *mut T, n: usize) {
    // SAFETY: all bits 0 is the number 0; the caller's elements.
    unsafe { std::ptr::write_bytes(to, 0, n) }
}

/// Computes the convolution of `input` with `weight`, plus `bias` per channel.
///
/// The output is `[n, c_out, rows, columns]` with the sizes of [`Conv2d::output`].
///
/// ```
/// use sconce_kernels::{Conv2d, conv2d};
/// let conv = Conv2d {
///     n: 1, c_in: 1, h: 2, w: 3, c_out: 1, kernel: (1, 2),
///     stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1,
/// };
/// let (x, w, mut y) = ([1f32, 2., 3., 4., 5., 6.], [10f32, 1.], [0f32; 4]);
/// // SAFETY: the arrays have the sizes above.
/// unsafe { conv2d(&conv, x.as_ptr(), w.as_ptr(), None, y.as_mut_ptr()) };
/// assert_eq!(y, [12., 23., 45., 56.]);
/// ```
///
/// # Safety
/// - `groups` divides `c_in` and `c_out`, and is not 0; `stride` and `dilation` are not 0.
/// - The pointers are valid for the elements of their arrays, from any thread, and `out` overlaps no input.
pub unsafe fn conv2d<T: Real>(
    conv: &Conv2d,
    input: *const T,
    weight: *const T,
    bias: Option<*const T>,
    out: *mut T,
) {
    let Some(output) = conv.output() else { return };
    if columns::pays(conv, false) {
        // SAFETY: the caller's contract.
        return unsafe { columns::forward(conv, input, weight, bias, out) };
    }
    let patches = Patches {
        channels: conv.c_in_group(),
        source: (conv.h, conv.w),
        before: (conv.padding.0 as isize, conv.padding.1 as isize),
        spread: (1, 1),
        kernel: conv.kernel,
        dilation: conv.dilation,
        stride: conv.stride,
        output,
    };
    // SAFETY: the caller's contract.
    unsafe { forward::run(conv.n, conv.groups, conv.c_out_group(), patches, input, weight, bias, out) }
}

/// Computes the gradient of [`conv2d`]'s input from the one of its output.
///
/// # Safety
/// As for [`conv2d`].
pub unsafe fn conv2d_backward_input<T: Real>(
    conv: &Conv2d,
    grad_out: *const T,
    weight: *const T,
    grad_input: *mut T,
) {
    let (ci, co, taps) = (conv.c_in_group(), conv.c_out_group(), conv.taps());
    let Some(output) = conv.output() else {
        // SAFETY: the caller's contract.
        return unsafe { zero(grad_input, conv.n * conv.c_in * conv.h * conv.w) };
    };
    if conv.h * conv.w == 0 {
        return;
    }
    if columns::pays(conv, true) {
        // SAFETY: the caller's contract.
        return unsafe { columns::backward_input(conv, grad_out, weight, grad_input) };
    }
    // `turned[g][i][o][k] = weight[g][o][i][taps - 1 - k]`.
    let mut turned = vec![T::ZERO; conv.c_out * ci * taps];
    let (from, to) = (Shared(weight.cast_mut()), Shared(turned.as_mut_ptr()));
    par::for_ranges(conv.groups * ci, ((1 << 15) / (co * taps).max(1)).max(1), |first, last| {
        for row in first..last {
            let (g, i) = (row / ci, row % ci);
            for o in 0..co {
                for k in 0..taps {
                    // SAFETY: elements of the weight and of row `row`, which this task alone writes.
                    unsafe {
                        *to.get().add((row * co + o) * taps + k) =
                            *from.get().add(((g * co + o) * ci + i) * taps + taps - 1 - k);
                    }
                }
            }
        }
    });
    let span = |k: usize, d: usize, p: usize| ((k - 1) * d) as isize - p as isize;
    let patches = Patches {
        channels: co,
        source: output,
        before: (
            span(conv.kernel.0, conv.dilation.0, conv.padding.0),
            span(conv.kernel.1, conv.dilation.1, conv.padding.1),
        ),
        spread: conv.stride,
        kernel: conv.kernel,
        dilation: conv.dilation,
        stride: (1, 1),
        output: (conv.h, conv.w),
    };
    // SAFETY: the caller's contract; the turned weight has the layout of this convolution's.
    unsafe { forward::run(conv.n, conv.groups, ci, patches, grad_out, turned.as_ptr(), None, grad_input) }
}

/// Computes the gradient of [`conv2d`]'s weight from its input and the gradient of its output.
///
/// # Safety
/// As for [`conv2d`].
pub unsafe fn conv2d_backward_weight<T: Real>(
    conv: &Conv2d,
    grad_out: *const T,
    input: *const T,
    grad_weight: *mut T,
) {
    // SAFETY: the caller's contract.
    unsafe {
        if columns::pays(conv, false) {
            columns::backward_weight(conv, grad_out, input, grad_weight);
        } else {
            weight::run(conv, grad_out, input, grad_weight);
        }
    }
}

/// Computes the gradient of [`conv2d`]'s bias from the one of its output.
///
/// # Safety
/// As for [`conv2d`].
pub unsafe fn conv2d_backward_bias<T: Real>(conv: &Conv2d, grad_out: *const T, grad_bias: *mut T) {
    let (oh, ow) = conv.output().unwrap_or((0, 0));
    let area = oh * ow;
    let src = Src { ptr: grad_out.cast(), elem: T::ELEM, strides: &[area, conv.c_out * area, 1] };
    let out = Dst { ptr: grad_bias.cast(), elem: T::ELEM, strides: &[1] };
    // SAFETY: the caller's contract.
    unsafe { reduce(Reduction::Sum, &[conv.c_out], &[conv.n, area], out, src) }
}
