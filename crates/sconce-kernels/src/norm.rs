//! Batch and layer normalisation of adjacent arrays, and their gradients.
//!
//! Means and variances take two passes; rows are summed in lanes of the element type, rows among themselves in `f64`.

use crate::isa::versions;
use crate::par::{self, Shared};
use crate::{Float, lanes};

/// Elements per task.
const GRAIN: usize = 16 * 1024;
/// Parts that the rows of a layer norm's parameter gradients are cut into, at most; fixes the order of summation.
const PARTS: usize = 16;
/// Elements that are summed in the element type before `f64` takes over.
const PIECE: usize = 4096;

/// The sizes of a batch norm: `[n, c, l]`, normalised per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNorm {
    /// Size of the batch.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Elements of a channel of one sample.
    pub l: usize,
}

impl BatchNorm {
    /// Calls `work(channel)` for all channels.
    fn channels(&self, work: impl Fn(usize) + Sync) {
        let grain = (GRAIN / (self.n * self.l).max(1)).max(1);
        par::for_ranges(self.c, grain, |from, to| (from..to).for_each(&work));
    }

    /// Calls `work(channel, offset)` for all channels of all samples.
    fn rows(&self, work: impl Fn(usize, usize) + Sync) {
        let grain = (GRAIN / self.l.max(1)).max(1);
        par::for_ranges(self.n * self.c, grain, |from, to| {
            (from..to).for_each(|row| work(row % self.c, row * self.l));
        });
    }
}

/// Computes each channel's mean and biased variance.
///
/// ```
/// use sconce_kernels::{BatchNorm, batch_norm_stats};
/// let (x, mut mean, mut var) = ([1f32, 3., 10., 10.], [0f32; 2], [0f32; 2]);
/// // SAFETY: one sample of two channels of two elements.
/// unsafe { batch_norm_stats(BatchNorm { n: 1, c: 2, l: 2 }, x.as_ptr(), mean.as_mut_ptr(), var.as_mut_ptr()) };
/// assert_eq!((mean, var), ([2., 10.], [1., 0.]));
/// ```
///
/// # Safety
/// `x` is valid for `n · c · l` elements, `mean` and `var` for `c`, from any thread; they do not overlap.
pub unsafe fn batch_norm_stats<T: Float>(size: BatchNorm, x: *const T, mean: *mut T, var: *mut T) {
    let BatchNorm { n, c, l } = size;
    let (x, mean, var) = (Shared(x.cast_mut()), Shared(mean), Shared(var));
    let count = (n * l) as f64;
    size.channels(|channel| {
        // SAFETY: one channel of the caller's arrays.
        unsafe {
            let x = x.get().add(channel * l).cast_const();
            let m = sum_rows(n, l, c * l, x) / count;
            let v = squares_rows(n, l, c * l, x, T::from_f64(m), [x, x]) / count;
            // What rounding the mean to `T` took away.
            let shift = m - T::from_f64(m).to_f64();
            *mean.get().add(channel) = T::from_f64(m);
            let v = v - shift * shift;
            *var.get().add(channel) = T::from_f64(if v < 0.0 { 0.0 } else { v });
        }
    });
}

versions! {
    /// # Safety
    /// `x` has `rows` rows of `l` elements, `step` apart.
    unsafe fn sum_rows[T: Float][T](rows: usize, l: usize, step: usize, x: *const T) -> f64 = sum_rows_body
}

#[inline(always)]
unsafe fn sum_rows_body<T: Float>(rows: usize, l: usize, step: usize, x: *const T) -> f64 {
    let mut total = 0.0;
    for r in 0..rows {
        for from in (0..l).step_by(PIECE) {
            let x = x.wrapping_add(r * step + from);
            // SAFETY: in the caller's row.
            total += lanes::sum(PIECE.min(l - from), |i| unsafe { *x.add(i) }).to_f64();
        }
    }
    total
}

versions! {
    /// # Safety
    /// `x` has `rows` rows of `l` elements, `step` apart.
    unsafe fn squares_rows[T: Float][T](
        rows: usize, l: usize, step: usize, x: *const T, mean: T, ahead: [*const T; 2],
    ) -> f64 = squares_rows_body
}

#[inline(always)]
unsafe fn squares_rows_body<T: Float>(
    rows: usize,
    l: usize,
    step: usize,
    x: *const T,
    mean: T,
    ahead: [*const T; 2],
) -> f64 {
    let mut total = 0.0;
    for r in 0..rows {
        for from in (0..l).step_by(PIECE) {
            let x = x.wrapping_add(r * step + from);
            let square = |i| {
                // SAFETY: in the caller's row.
                let d = unsafe { *x.add(i) } - mean;
                d * d
            };
            total +=
                lanes::sum_ahead(PIECE.min(l - from), square, ahead.map(|p| p.wrapping_add(from))).to_f64();
        }
    }
    total
}

/// Computes `y = (x - mean) · invstd · weight + bias` per channel.
///
/// # Safety
/// `x` and `y` are valid for `n · c · l` elements, the others for `c`, from any thread; `y` overlaps no other.
pub unsafe fn batch_norm<T: Float>(
    size: BatchNorm,
    x: *const T,
    mean: *const T,
    invstd: *const T,
    weight: Option<*const T>,
    bias: Option<*const T>,
    y: *mut T,
) {
    let [x, mean, invstd] = [x, mean, invstd].map(|p| Shared(p.cast_mut()));
    let (weight, bias) = (optional(weight), optional(bias));
    let y = Shared(y);
    size.rows(|channel, at| {
        // SAFETY: one channel of one sample of the caller's arrays.
        unsafe {
            let scale = *invstd.get().add(channel) * or(weight, channel, T::ONE);
            let shift = or(bias, channel, T::ZERO) - *mean.get().add(channel) * scale;
            affine(size.l, x.get().add(at), scale, shift, y.get().add(at));
        }
    });
}

fn optional<T>(p: Option<*const T>) -> Shared<T> {
    Shared(p.map_or(std::ptr::null_mut(), |p| p.cast_mut()))
}

/// Element `i`, or `default` if there is no array.
unsafe fn or<T: Float>(p: Shared<T>, i: usize, default: T) -> T {
    // SAFETY: the caller's array, if there is one.
    if p.get().is_null() { default } else { unsafe { *p.get().add(i) } }
}

versions! {
    /// `y = x · scale + shift`.
    ///
    /// # Safety
    /// `x` and `y` have `n` elements and do not overlap.
    unsafe fn affine[T: Float][T](n: usize, x: *const T, scale: T, shift: T, y: *mut T) = affine_body
}

#[inline(always)]
unsafe fn affine_body<T: Float>(n: usize, x: *const T, scale: T, shift: T, y: *mut T) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe { *y.add(i) = *x.add(i) * scale + shift };
    }
}

/// The arrays that [`batch_norm_backward`] writes, each if wanted.
#[derive(Clone, Copy, Debug)]
pub struct NormGrads<T> {
    /// Gradient of the input.
    pub x: Option<*mut T>,
    /// Gradient of the weight.
    pub weight: Option<*mut T>,
    /// Gradient of the bias.
    pub bias: Option<*mut T>,
}

/// Computes the gradients of [`batch_norm`].
///
/// If `train` is true, mean and variance are functions of `x` (those of [`batch_norm_stats`]), else constants.
///
/// # Safety
/// `x`, `grad` and `grads.x` are valid for `n · c · l` elements, the others for `c`, from any thread; what is written
/// overlaps nothing else.
#[allow(clippy::too_many_arguments)]
pub unsafe fn batch_norm_backward<T: Float>(
    size: BatchNorm,
    x: *const T,
    grad: *const T,
    mean: *const T,
    invstd: *const T,
    weight: Option<*const T>,
    train: bool,
    grads: NormGrads<T>,
) {
    let BatchNorm { n, c, l } = size;
    let [x, grad, mean, invstd] = [x, grad, mean, invstd].map(|p| Shared(p.cast_mut()));
    let weight = optional(weight);
    let [grad_x, grad_weight, grad_bias] =
        [grads.x, grads.weight, grads.bias].map(|p| Shared(p.unwrap_or(std::ptr::null_mut())));
    let count = (n * l) as f64;
    size.channels(|channel| {
        // SAFETY: one channel of the caller's arrays.
        unsafe {
            let (m, s) = (*mean.get().add(channel), *invstd.get().add(channel));
            let at = channel * l;
            let (x, grad) = (x.get().add(at).cast_const(), grad.get().add(at).cast_const());
            let (sum, dot) = grad_sums(n, l, c * l, x, grad, m);
            if !grad_weight.get().is_null() {
                *grad_weight.get().add(channel) = T::from_f64(dot * s.to_f64());
            }
            if !grad_bias.get().is_null() {
                *grad_bias.get().add(channel) = T::from_f64(sum);
            }
            if grad_x.get().is_null() {
                return;
            }
            let scale = s * or(weight, channel, T::ONE);
            let (a, b) = if train {
                (T::from_f64(sum / count), T::from_f64(dot * s.to_f64() * s.to_f64() / count))
            } else {
                (T::ZERO, T::ZERO)
            };
            for r in 0..n {
                let row = r * c * l;
                grad_row(l, x.add(row), grad.add(row), m, a, b, scale, grad_x.get().add(at + row));
            }
        }
    });
}

versions! {
    /// `Σ g` and `Σ g · (x - mean)`.
    ///
    /// # Safety
    /// The arrays have `rows` rows of `l` elements, `step` apart.
    unsafe fn grad_sums[T: Float][T](
        rows: usize, l: usize, step: usize, x: *const T, g: *const T, mean: T,
    ) -> (f64, f64) = grad_sums_body
}

#[inline(always)]
unsafe fn grad_sums_body<T: Float>(
    rows: usize,
    l: usize,
    step: usize,
    x: *const T,
    g: *const T,
    mean: T,
) -> (f64, f64) {
    let (mut sum, mut dot) = (0.0, 0.0);
    for r in 0..rows {
        for from in (0..l).step_by(PIECE) {
            let (x, g) = (x.wrapping_add(r * step + from), g.wrapping_add(r * step + from));
            let n = PIECE.min(l - from);
            // SAFETY: in the caller's rows.
            unsafe {
                sum += lanes::sum(n, |i| *g.add(i)).to_f64();
                dot += lanes::sum(n, |i| *g.add(i) * (*x.add(i) - mean)).to_f64();
            }
        }
    }
    (sum, dot)
}

versions! {
    /// `gx = (g - a - (x - mean) · b) · scale`.
    ///
    /// # Safety
    /// The arrays have `n` elements, and `gx` overlaps no other.
    #[allow(clippy::too_many_arguments)]
    unsafe fn grad_row[T: Float][T](
        n: usize, x: *const T, g: *const T, mean: T, a: T, b: T, scale: T, gx: *mut T,
    ) = grad_row_body
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn grad_row_body<T: Float>(
    n: usize,
    x: *const T,
    g: *const T,
    mean: T,
    a: T,
    b: T,
    scale: T,
    gx: *mut T,
) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe { *gx.add(i) = (*g.add(i) - a - (*x.add(i) - mean) * b) * scale };
    }
}

/// Normalises each of `rows` rows of `cols` elements, then scales and shifts per column.
///
/// Writes the rows' means and reciprocal standard deviations, which the gradient needs.
///
/// # Safety
/// `x` and `y` are valid for `rows · cols` elements, `weight` and `bias` for `cols`, `mean` and `rstd` for `rows`, from
/// any thread; what is written overlaps nothing else.
#[allow(clippy::too_many_arguments)]
pub unsafe fn layer_norm<T: Float>(
    rows: usize,
    cols: usize,
    x: *const T,
    weight: Option<*const T>,
    bias: Option<*const T>,
    eps: f64,
    y: *mut T,
    mean: *mut T,
    rstd: *mut T,
) {
    let x = Shared(x.cast_mut());
    let (weight, bias) = (optional(weight), optional(bias));
    let [y, mean, rstd] = [y, mean, rstd].map(Shared);
    par::for_ranges(rows, (GRAIN / cols.max(1)).max(1), |from, to| {
        for r in from..to {
            // SAFETY: one row of the caller's arrays.
            unsafe {
                let (x, y) = (x.get().add(r * cols).cast_const(), y.get().add(r * cols));
                let (m, s) = layer_row(cols, x, eps, weight.get(), bias.get(), y);
                *mean.get().add(r) = m;
                *rstd.get().add(r) = s;
            }
        }
    });
}

versions! {
    /// Normalises a row and returns its mean and reciprocal standard deviation.
    ///
    /// # Safety
    /// The arrays that are not null have `n` elements, and `y` overlaps no other.
    unsafe fn layer_row[T: Float][T](
        n: usize, x: *const T, eps: f64, weight: *const T, bias: *const T, y: *mut T,
    ) -> (T, T) = layer_row_body
}

#[inline(always)]
unsafe fn layer_row_body<T: Float>(
    n: usize,
    x: *const T,
    eps: f64,
    weight: *const T,
    bias: *const T,
    y: *mut T,
) -> (T, T) {
    // SAFETY: `i < n` throughout.
    unsafe {
        let ahead = [x, y.cast_const()].map(|p| p.wrapping_add(lanes::ahead(n)));
        let mean = T::from_f64(sum_rows_body(1, n, 0, x) / n as f64);
        let var = squares_rows_body(1, n, 0, x, mean, ahead) / n as f64;
        let rstd = T::from_f64(1.0 / (var + eps).sqrt());
        let hat = |i: usize| (*x.add(i) - mean) * rstd;
        match (weight.is_null(), bias.is_null()) {
            (true, true) => (0..n).for_each(|i| *y.add(i) = hat(i)),
            (true, false) => (0..n).for_each(|i| *y.add(i) = hat(i) + *bias.add(i)),
            (false, true) => (0..n).for_each(|i| *y.add(i) = hat(i) * *weight.add(i)),
            (false, false) => (0..n).for_each(|i| *y.add(i) = hat(i) * *weight.add(i) + *bias.add(i)),
        }
        (mean, rstd)
    }
}

/// Computes the gradients of [`layer_norm`] from its input, the gradient of its result, and what it wrote.
///
/// # Safety
/// `x`, `grad` and `grads.x` are valid for `rows · cols` elements, `weight` and the other gradients for `cols`, `mean`
/// and `rstd` for `rows`, from any thread; what is written overlaps nothing else.
#[allow(clippy::too_many_arguments)]
pub unsafe fn layer_norm_backward<T: Float>(
    rows: usize,
    cols: usize,
    x: *const T,
    grad: *const T,
    mean: *const T,
    rstd: *const T,
    weight: Option<*const T>,
    grads: NormGrads<T>,
) {
    let [x, grad, mean, rstd] = [x, grad, mean, rstd].map(|p| Shared(p.cast_mut()));
    let weight = optional(weight);
    let row = |r: usize| {
        // SAFETY: row `r` of the caller's arrays.
        unsafe {
            let at = r * cols;
            (
                x.get().add(at).cast_const(),
                grad.get().add(at).cast_const(),
                *mean.get().add(r),
                *rstd.get().add(r),
            )
        }
    };
    let grad_x = Shared(grads.x.unwrap_or(std::ptr::null_mut()));
    let summed = grads.weight.is_some() || grads.bias.is_some();
    let parts = rows.clamp(1, PARTS);
    let mut sums = vec![T::ZERO; if summed { parts * 2 * cols } else { 0 }];
    let sums_ptr = Shared(if summed { sums.as_mut_ptr() } else { std::ptr::null_mut() });
    par::for_ranges(parts, (GRAIN * parts / (rows * cols).max(1)).max(1), |from, to| {
        for part in from..to {
            for r in rows * part / parts..rows * (part + 1) / parts {
                let (x, g, m, s) = row(r);
                let at = |p: *mut T, n: usize| if p.is_null() { p } else { p.wrapping_add(n) };
                let sums = at(sums_ptr.get(), part * 2 * cols);
                // SAFETY: row `r` of the caller's arrays, and this part's sums.
                unsafe { layer_grad_row(cols, x, g, m, s, weight.get(), at(grad_x.get(), r * cols), sums) };
            }
        }
    });
    if !summed {
        return;
    }
    for (to, offset) in [(grads.weight, 0), (grads.bias, cols)] {
        let Some(to) = to else { continue };
        for i in 0..cols {
            let sum = (0..parts)
                .map(|part| sums[part * 2 * cols + offset + i])
                .reduce(|a, b| a + b)
                .unwrap_or(T::ZERO);
            // SAFETY: the caller's array.
            unsafe { *to.add(i) = sum };
        }
    }
}

versions! {
    /// Writes the gradient of a row, and adds `g · hat` and, `n` elements on, `g` to the sums; each unless null.
    ///
    /// # Safety
    /// The arrays that are not null have `n` elements, `sums` twice as many; what is written overlaps nothing else.
    #[allow(clippy::too_many_arguments)]
    unsafe fn layer_grad_row[T: Float][T](
        n: usize, x: *const T, g: *const T, mean: T, rstd: T, weight: *const T, gx: *mut T, sums: *mut T,
    ) = layer_grad_row_body
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn layer_grad_row_body<T: Float>(
    n: usize,
    x: *const T,
    g: *const T,
    mean: T,
    rstd: T,
    weight: *const T,
    gx: *mut T,
    sums: *mut T,
) {
    // SAFETY: `i < n` throughout.
    unsafe {
        let hat = |i: usize| (*x.add(i) - mean) * rstd;
        if !sums.is_null() {
            for i in 0..n {
                *sums.add(i) += *g.add(i) * hat(i);
            }
            for i in 0..n {
                *sums.add(n + i) += *g.add(i);
            }
        }
        if gx.is_null() {
            return;
        }
        let plain = weight.is_null();
        let gw = |i: usize| if plain { *g.add(i) } else { *g.add(i) * *weight.add(i) };
        let (count, ahead) = (T::from_f64(n as f64), lanes::ahead(n));
        let a = lanes::sum_ahead(n, gw, [g.wrapping_add(ahead), gx.wrapping_add(ahead)]) / count;
        let b = lanes::sum_ahead(n, |i| gw(i) * hat(i), [x.wrapping_add(ahead)]) / count;
        for i in 0..n {
            *gx.add(i) = rstd * (gw(i) - a - hat(i) * b);
        }
    }
}
