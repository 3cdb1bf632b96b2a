//! Pooling over windows of planes.

use std::sync::{Arc, OnceLock};

use sconce_kernels::{Divisor, Pool2d};
use smallvec::smallvec;

use super::conv::batched;
use super::driver::layers;
use super::integer_windows::{average, greatest, is_integer, only_int64};
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// The windows of a pooling; each pair is rows, columns.
///
/// ```
/// use sconce::functional::MaxPool2dOptions;
/// let windows = MaxPool2dOptions::new([2, 2]);
/// assert_eq!(windows.stride, [2, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2dOptions {
    /// The size of a window.
    pub kernel_size: [usize; 2],
    /// The step from one window to the next, its size by default.
    pub stride: [usize; 2],
    /// How far windows may reach over each edge, at most half their size; not by default.
    pub padding: [usize; 2],
    /// The distance between a window's elements, 1 by default.
    pub dilation: [usize; 2],
    /// Whether a last window may run over the edge; not by default.
    pub ceil_mode: bool,
}

impl MaxPool2dOptions {
    /// Adjacent windows of a size.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        Self { kernel_size, stride: kernel_size, padding: [0, 0], dilation: [1, 1], ceil_mode: false }
    }
}

/// The windows of [`avg_pool2d`]; each pair is rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2dOptions {
    /// The size of a window.
    pub kernel_size: [usize; 2],
    /// The step from one window to the next, its size by default.
    pub stride: [usize; 2],
    /// How far windows may reach over each edge, at most half their size; not by default.
    pub padding: [usize; 2],
    /// Whether a last window may run over the edge; not by default.
    pub ceil_mode: bool,
    /// Whether zeros of the padding count in the average, as they do by default.
    pub count_include_pad: bool,
    /// What to divide by instead of the number of elements.
    pub divisor_override: Option<i64>,
}

impl AvgPool2dOptions {
    /// Adjacent windows of a size.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0, 0],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }
}

/// The sizes of a pooling of `[…, H, W]`, and the shape of its result.
fn geometry(op: &str, x: &Tensor, options: MaxPool2dOptions) -> Result<(Pool2d, Dims)> {
    if !is_integer(op, x)? {
        float_dtype(op, x)?;
    }
    let MaxPool2dOptions { kernel_size, stride, padding, dilation, ceil_mode } = options;
    let rank = x.dim();
    if !matches!(rank, 3 | 4) || x.shape()[rank - 3..].contains(&0) {
        return Err(Error::shape(format!(
            "{op}: needs [N, C, H, W] or [C, H, W], found shape {:?}",
            x.shape()
        )));
    }
    let zero = [kernel_size, stride, dilation].iter().flatten().any(|&n| n == 0);
    if zero || (0..2).any(|i| padding[i] > kernel_size[i] / 2) {
        return Err(Error::argument(format!(
            "{op}: kernel_size {kernel_size:?}, stride {stride:?} and dilation {dilation:?} must be positive, and padding \
             {padding:?} at most half the kernel_size"
        )));
    }
    let size = |i: usize| {
        let len = x.shape()[rank - 2 + i];
        let span = dilation[i].checked_mul(kernel_size[i] - 1)?.checked_add(1)?;
        let room = len.checked_add(2 * padding[i])?.checked_sub(span)?;
        let mut n = if ceil_mode { room.div_ceil(stride[i]) } else { room / stride[i] } + 1;
        // A window that starts beyond the input and its padding is none.
        if ceil_mode && (n - 1) * stride[i] >= len + padding[i] {
            n -= 1;
        }
        Some(n)
    };
    let (Some(oh), Some(ow)) = (size(0), size(1)) else {
        return Err(Error::shape(format!(
            "{op}: a window of {kernel_size:?} with dilation {dilation:?} exceeds {:?} with padding {padding:?}",
            x.shape()
        )));
    };
    let pair = |p: [usize; 2]| (p[0], p[1]);
    let pool = Pool2d {
        planes: x.shape()[..rank - 2].iter().product(),
        h: x.shape()[rank - 2],
        w: x.shape()[rank - 1],
        oh,
        ow,
        kernel: pair(kernel_size),
        stride: pair(stride),
        padding: pair(padding),
        dilation: pair(dilation),
    };
    let mut shape = Dims::from_slice(&x.shape()[..rank - 2]);
    shape.extend_from_slice(&[oh, ow]);
    Ok((pool, shape))
}

#[derive(Debug)]
struct MaxPool2d {
    pool: Pool2d,
    shape: Dims,
    /// Where the greatest elements were, once that is known.
    indices: Arc<OnceLock<Tensor>>,
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (values, indices) = layers::max_pool2d("max_pool2d", &self.pool, x[0], &self.shape)?;
        let _ = self.indices.set(indices);
        Ok(values)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let indices =
            self.indices.get().ok_or_else(|| Error::autograd("max_pool2d: backward before forward"))?;
        let op = MaxPool2dBackward { pool: self.pool, indices: indices.clone(), shape: saved.shape(0)? };
        Ok(smallvec![Some(saved.piecewise_constant(apply(op, &[grad])?))])
    }
}

#[derive(Debug)]
struct MaxPool2dBackward {
    pool: Pool2d,
    indices: Tensor,
    shape: Dims,
}

impl Op for MaxPool2dBackward {
    fn name(&self) -> &'static str {
        "max_pool2d_backward"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        layers::max_pool2d_backward("max_pool2d_backward", &self.pool, x[0], &self.indices, &self.shape)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let picked = grad.flatten(-2, -1)?.gather(-1, &self.indices.flatten(-2, -1)?)?;
        Ok(smallvec![Some(picked.reshape(self.indices.shape())?)])
    }
}

/// The greatest element of each window of `[N, C, H, W]` or `[C, H, W]`.
///
/// # Errors
///
/// If the shape does not fit, the dtype is not floating point, a window exceeds the padded input, or a size is 0.
///
/// ```
/// use sconce::{Tensor, functional::{MaxPool2dOptions, max_pool2d}};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// assert_eq!(max_pool2d(&x, MaxPool2dOptions::new([2, 2]))?.item()?, 5.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn max_pool2d(input: &Tensor, options: MaxPool2dOptions) -> Result<Tensor> {
    Ok(max_pool2d_with_indices(input, options)?.0)
}

/// [`max_pool2d`], with the index of each greatest element in its flattened plane; int64.
///
/// # Errors
///
/// As [`max_pool2d`].
pub fn max_pool2d_with_indices(input: &Tensor, options: MaxPool2dOptions) -> Result<(Tensor, Tensor)> {
    let (pool, shape) = geometry("max_pool2d", input, options)?;
    if is_integer("max_pool2d", input)? {
        return greatest(input, &pool, &shape);
    }
    let indices = Arc::new(OnceLock::new());
    let values = apply(MaxPool2d { pool, shape, indices: indices.clone() }, &[input])?;
    let indices = indices.get().ok_or_else(|| Error::autograd("max_pool2d: did not run"))?;
    Ok((values, indices.clone()))
}

/// The average of windows, or the gradient of its input: each is the derivative of the other.
#[derive(Debug)]
struct AvgPool2d {
    pool: Pool2d,
    divisor: Divisor,
    /// Of the input, and of the windows' averages.
    shapes: [Dims; 2],
    backward: bool,
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let shape = &self.shapes[usize::from(!self.backward)];
        layers::avg_pool2d("avg_pool2d", &self.pool, self.divisor, x[0], shape, self.backward)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let shapes = self.shapes.clone();
        let op = Self { pool: self.pool, divisor: self.divisor, shapes, backward: !self.backward };
        let gradient = apply(op, &[grad])?;
        Ok(smallvec![Some(if self.backward { gradient } else { saved.piecewise_constant(gradient) })])
    }
}

/// The average of each window of `[N, C, H, W]` or `[C, H, W]`.
///
/// # Errors
///
/// As [`max_pool2d`]; also if `divisor_override` is 0.
///
/// ```
/// use sconce::{Tensor, functional::{AvgPool2dOptions, avg_pool2d}};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0, 3.0], [1, 1, 2, 2])?;
/// assert_eq!(avg_pool2d(&x, AvgPool2dOptions::new([2, 2]))?.item()?, 3.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn avg_pool2d(input: &Tensor, options: AvgPool2dOptions) -> Result<Tensor> {
    let AvgPool2dOptions { kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override } =
        options;
    let options = MaxPool2dOptions { kernel_size, stride, padding, dilation: [1, 1], ceil_mode };
    let (pool, shape) = geometry("avg_pool2d", input, options)?;
    let divisor = match divisor_override {
        Some(0) => return Err(Error::argument("avg_pool2d: divisor_override must not be 0")),
        Some(n) => Divisor::Fixed(n),
        None if count_include_pad => Divisor::Padded,
        None => Divisor::Inside,
    };
    if is_integer("avg_pool2d", input)? {
        only_int64("avg_pool2d", input)?;
        return average(input, &pool, divisor, &shape);
    }
    apply(
        AvgPool2d { pool, divisor, shapes: [Dims::from_slice(input.shape()), shape], backward: false },
        &[input],
    )
}

/// The averages of as many nearly equal windows as the output is to have rows and columns.
///
/// # Errors
///
/// If the input is not `[N, C, H, W]` or `[C, H, W]`, or not of a floating point dtype.
///
/// ```
/// use sconce::{DType, Tensor, functional::adaptive_avg_pool2d};
/// let x = Tensor::ones([2, 3, 7, 5], DType::F32)?;
/// assert_eq!(adaptive_avg_pool2d(&x, [1, 1])?.shape(), [2, 3, 1, 1]);
/// assert_eq!(adaptive_avg_pool2d(&x, [3, 2])?.to_vec::<f32>()?, [1.0; 36]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool2d(input: &Tensor, output_size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d";
    let dtype = float_dtype(OP, input)?;
    let rank = input.dim();
    if !matches!(rank, 3 | 4) || input.shape()[rank - 3..].contains(&0) {
        return Err(Error::shape(format!(
            "{OP}: needs [N, C, H, W] or [C, H, W], found shape {:?}",
            input.shape()
        )));
    }
    let (h, w) = (input.shape()[rank - 2], input.shape()[rank - 1]);
    let [oh, ow] = output_size;
    if oh > 0 && ow > 0 && h % oh == 0 && w % ow == 0 {
        return avg_pool2d(input, AvgPool2dOptions::new([h / oh, w / ow]));
    }
    // Windows differ in size: each is a row of weights.
    let wide = layers::wide(dtype);
    let rows = averages(h, oh)?.to(wide)?;
    let columns = averages(w, ow)?.to(wide)?;
    rows.matmul(&input.to(wide)?)?.matmul(&columns.t()?)?.to(dtype)
}

/// A matrix `[windows, len]` whose rows average the windows of an adaptive pooling.
fn averages(len: usize, windows: usize) -> Result<Tensor> {
    let mut weights = vec![0f64; crate::tensor::layout::checked_numel(&[windows, len])?];
    for (i, row) in weights.chunks_exact_mut(len.max(1)).enumerate() {
        let (start, end) = (i * len / windows, ((i + 1) * len).div_ceil(windows));
        row[start..end].fill(1.0 / (end - start) as f64);
    }
    Tensor::from_vec(weights, [windows, len])
}

/// The greatest element of each window of `[N, C, L]` or `[C, L]`, with its index; see [`max_pool2d_with_indices`].
///
/// # Errors
///
/// As [`max_pool2d`].
pub fn max_pool1d_with_indices(
    input: &Tensor,
    kernel_size: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil_mode: bool,
) -> Result<(Tensor, Tensor)> {
    float_dtype("max_pool1d", input)?;
    let windows = MaxPool2dOptions {
        kernel_size: [1, kernel_size],
        stride: [1, stride],
        padding: [0, padding],
        dilation: [1, dilation],
        ceil_mode,
    };
    let (values, indices) = max_pool2d_with_indices(&plane("max_pool1d", input)?, windows)
        .map_err(|e| e.context("max_pool1d"))?;
    Ok((values.squeeze(-2)?, indices.squeeze(-2)?))
}

/// The greatest element of each window of `[N, C, L]` or `[C, L]`.
///
/// # Errors
///
/// As [`max_pool2d`].
pub fn max_pool1d(
    input: &Tensor,
    kernel_size: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil_mode: bool,
) -> Result<Tensor> {
    Ok(max_pool1d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)?.0)
}

/// The average of each window of `[N, C, L]` or `[C, L]`.
///
/// # Errors
///
/// As [`avg_pool2d`].
pub fn avg_pool1d(
    input: &Tensor,
    kernel_size: usize,
    stride: usize,
    padding: usize,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Result<Tensor> {
    let windows = AvgPool2dOptions {
        kernel_size: [1, kernel_size],
        stride: [1, stride],
        padding: [0, padding],
        ceil_mode,
        count_include_pad,
        divisor_override: None,
    };
    avg_pool2d(&plane("avg_pool1d", input)?, windows).map_err(|e| e.context("avg_pool1d"))?.squeeze(-2)
}

/// The averages of as many nearly equal windows of `[N, C, L]` or `[C, L]` as the output is to have elements.
///
/// # Errors
///
/// As [`adaptive_avg_pool2d`].
pub fn adaptive_avg_pool1d(input: &Tensor, output_size: usize) -> Result<Tensor> {
    let y = adaptive_avg_pool2d(&plane("adaptive_avg_pool1d", input)?, [1, output_size]);
    y.map_err(|e| e.context("adaptive_avg_pool1d"))?.squeeze(-2)
}

/// A line of elements seen as a plane of one row.
fn plane(op: &str, x: &Tensor) -> Result<Tensor> {
    if !matches!(x.dim(), 2 | 3) {
        return Err(Error::shape(format!("{op}: needs [N, C, L] or [C, L], found shape {:?}", x.shape())));
    }
    x.unsqueeze(-2)
}

/// The greatest elements of as many nearly equal windows as the output is to have rows and columns, with their indices.
///
/// # Errors
///
/// As [`adaptive_avg_pool2d`].
pub fn adaptive_max_pool2d_with_indices(input: &Tensor, output_size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool2d";
    float_dtype(OP, input)?;
    let rank = input.dim();
    if !matches!(rank, 3 | 4) || input.shape()[rank - 3..].contains(&0) {
        return Err(Error::shape(format!(
            "{OP}: needs [N, C, H, W] or [C, H, W], found shape {:?}",
            input.shape()
        )));
    }
    let indices = crate::no_grad(|| greatest_of_windows(input, output_size))?;
    let values = batched(input, 4, |x| {
        let flat = indices.reshape([x.shape()[0], x.shape()[1], output_size[0] * output_size[1]])?;
        let mut shape = Dims::from_slice(&x.shape()[..2]);
        shape.extend_from_slice(&output_size);
        x.flatten(-2, -1)?.gather(-1, &flat)?.reshape(shape.as_slice())
    })?;
    Ok((values, indices))
}

fn greatest_of_windows(input: &Tensor, [oh, ow]: [usize; 2]) -> Result<Tensor> {
    let rank = input.dim();
    let (h, w) = (input.shape()[rank - 2], input.shape()[rank - 1]);
    let mut shape = Dims::from_slice(&input.shape()[..rank - 2]);
    shape.extend_from_slice(&[oh, ow]);
    let values = input.detach().to(DType::F64)?.contiguous()?;
    values.with_slice(|x: &[f64]| {
        super::driver::build("adaptive_max_pool2d", &shape, |out: &mut [i64]| {
            let windows = |len: usize, n: usize, i: usize| (i * len / n, ((i + 1) * len).div_ceil(n));
            for (at, out) in out.iter_mut().enumerate() {
                let plane = &x[at / (oh * ow) * h * w..][..h * w];
                let (rows, columns) = (windows(h, oh, at / ow % oh), windows(w, ow, at % ow));
                let mut best = rows.0 * w + columns.0;
                for r in rows.0..rows.1 {
                    for c in columns.0..columns.1 {
                        let i = r * w + c;
                        if plane[i] > plane[best] || plane[i].is_nan() && !plane[best].is_nan() {
                            best = i;
                        }
                    }
                }
                *out = best as i64;
            }
            Ok(())
        })
    })?
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(crate) static POOLS: &[OpInfo] = &[
    OpInfo {
        name: "max_pool2d",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4, 5], D)], |x| max_pool2d(&x[0], MaxPool2dOptions::new([2, 2]))),
                Sample::new(&[(&[3, 5, 6], D)], |x| {
                    let options = MaxPool2dOptions {
                        kernel_size: [3, 2],
                        stride: [2, 1],
                        padding: [1, 1],
                        dilation: [1, 2],
                        ceil_mode: true,
                    };
                    max_pool2d(&x[0], options)
                }),
            ]
        },
    },
    OpInfo {
        name: "max_pool1d",
        samples: || vec![Sample::new(&[(&[2, 3, 7], D)], |x| max_pool1d(&x[0], 3, 2, 1, 1, false))],
    },
    OpInfo {
        name: "avg_pool2d",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4, 5], D)], |x| avg_pool2d(&x[0], AvgPool2dOptions::new([2, 2]))),
                Sample::new(&[(&[3, 5, 6], D)], |x| {
                    let options = AvgPool2dOptions {
                        stride: [2, 1],
                        padding: [1, 1],
                        ceil_mode: true,
                        count_include_pad: false,
                        ..AvgPool2dOptions::new([3, 2])
                    };
                    avg_pool2d(&x[0], options)
                }),
            ]
        },
    },
    OpInfo {
        name: "avg_pool1d",
        samples: || vec![Sample::new(&[(&[2, 3, 7], D)], |x| avg_pool1d(&x[0], 3, 2, 1, true, true))],
    },
    OpInfo {
        name: "adaptive_avg_pool2d",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4, 6], D)], |x| adaptive_avg_pool2d(&x[0], [2, 3])),
                Sample::new(&[(&[2, 5, 7], D)], |x| adaptive_avg_pool2d(&x[0], [3, 2])),
            ]
        },
    },
    OpInfo {
        name: "adaptive_max_pool2d",
        samples: || {
            vec![Sample::new(&[(&[2, 5, 7], D)], |x| Ok(adaptive_max_pool2d_with_indices(&x[0], [3, 2])?.0))]
        },
    },
];
