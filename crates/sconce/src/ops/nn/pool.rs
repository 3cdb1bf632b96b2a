//! Pooling in one and three dimensions, by that in two; adaptive, power-average and fractional pooling; unpooling.

use super::along::Sparse;
use crate::ops::pool::{
    AvgPool1dOptions, AvgPool2dOptions, AvgPool3dOptions, AvgPoolOptions, MaxPool1dOptions, MaxPool2dOptions,
    MaxPool3dOptions, MaxPoolOptions, avg_pool2d, max_pool2d_with_indices,
};
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result};

/// Refuses inputs of other than `spatial` dimensions, one of channels and perhaps one of samples.
fn check_rank(op: &str, x: &Tensor, spatial: usize) -> Result<()> {
    if (spatial + 1..=spatial + 2).contains(&x.dim()) {
        return Ok(());
    }
    let names = &["L", "H, W", "D, H, W"][spatial - 1];
    Err(Error::shape(format!("{op}: needs [N, C, {names}] or [C, {names}], found shape {:?}", x.shape())))
}

/// The greatest element of each window of `[N, C, L]` or `[C, L]`, with its index.
///
/// # Errors
///
/// As [`max_pool2d`](crate::functional::max_pool2d).
pub fn max_pool1d_with_indices(input: &Tensor, options: MaxPool1dOptions) -> Result<(Tensor, Tensor)> {
    const OP: &str = "max_pool1d";
    check_rank(OP, input, 1)?;
    let MaxPoolOptions { kernel_size, stride, padding, dilation, ceil_mode } = options;
    let windows = MaxPool2dOptions {
        kernel_size: [1, kernel_size[0]],
        stride: [1, stride[0]],
        padding: [0, padding[0]],
        dilation: [1, dilation[0]],
        ceil_mode,
    };
    let (values, indices) = max_pool2d_with_indices(&input.unsqueeze(-2)?, windows).context(|| OP)?;
    Ok((values.squeeze(-2)?, indices.squeeze(-2)?))
}

/// The greatest element of each window of `[N, C, L]` or `[C, L]`.
///
/// # Errors
///
/// As [`max_pool2d`](crate::functional::max_pool2d).
///
/// ```
/// use sconce::{Tensor, functional::{MaxPool1dOptions, max_pool1d}};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0, 4.0], [1, 4])?;
/// assert_eq!(max_pool1d(&x, MaxPool1dOptions::new([2]))?.to_vec::<f32>()?, [5.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn max_pool1d(input: &Tensor, options: MaxPool1dOptions) -> Result<Tensor> {
    Ok(max_pool1d_with_indices(input, options)?.0)
}

/// The greatest element of each window of `[N, C, D, H, W]` or `[C, D, H, W]`, with its index in its flattened volume.
///
/// # Errors
///
/// As [`max_pool2d`](crate::functional::max_pool2d).
pub fn max_pool3d_with_indices(input: &Tensor, options: MaxPool3dOptions) -> Result<(Tensor, Tensor)> {
    const OP: &str = "max_pool3d";
    check_rank(OP, input, 3)?;
    let MaxPoolOptions { kernel_size, stride, padding, dilation, ceil_mode } = options;
    let last = |[_, rows, columns]: [usize; 3]| [rows, columns];
    let of_planes = MaxPool2dOptions {
        kernel_size: last(kernel_size),
        stride: last(stride),
        padding: last(padding),
        dilation: last(dilation),
        ceil_mode,
    };
    let across = MaxPool2dOptions {
        kernel_size: [kernel_size[0], 1],
        stride: [stride[0], 1],
        padding: [padding[0], 0],
        dilation: [dilation[0], 1],
        ceil_mode,
    };
    greatest_of_volumes(
        input,
        |planes| max_pool2d_with_indices(planes, of_planes).context(|| OP),
        |rows| max_pool2d_with_indices(rows, across).context(|| OP),
    )
}

/// The greatest elements over planes, then over the planes that are left: windows of volumes are products of windows.
fn greatest_of_volumes(
    input: &Tensor,
    of_planes: impl FnOnce(&Tensor) -> Result<(Tensor, Tensor)>,
    across: impl FnOnce(&Tensor) -> Result<(Tensor, Tensor)>,
) -> Result<(Tensor, Tensor)> {
    let rank = input.dim();
    let lead = &input.shape()[..rank - 3];
    let [depth, h, w] = [1, 2, 3].map(|i| input.shape()[rank - 4 + i]);
    let outer: usize = lead.iter().product();
    let (values, within) = of_planes(&input.reshape([outer * depth, 1, h, w])?)?;
    let (oh, ow) = (values.shape()[2], values.shape()[3]);
    let (values, which) = across(&values.reshape([outer, 1, depth, oh * ow])?)?;
    let planes = values.shape()[2];
    let flat = which.reshape([outer, planes * oh * ow])?;
    let within = within.reshape([outer, depth * oh * ow])?.gather(1, &flat)?;
    let indices = flat.floor_divide((oh * ow).max(1) as i64)?.mul((h * w) as i64)?.add(&within)?;
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(&[planes, oh, ow]);
    Ok((values.reshape(shape.as_slice())?, indices.reshape(shape.as_slice())?))
}

/// The greatest element of each window of `[N, C, D, H, W]` or `[C, D, H, W]`.
///
/// # Errors
///
/// As [`max_pool2d`](crate::functional::max_pool2d).
///
/// ```
/// use sconce::{DType, Tensor, functional::{MaxPool3dOptions, max_pool3d}};
/// let x = Tensor::arange(0, 8, 1, DType::F32)?.view([1, 2, 2, 2])?;
/// assert_eq!(max_pool3d(&x, MaxPool3dOptions::new([2, 2, 2]))?.item()?, 7.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn max_pool3d(input: &Tensor, options: MaxPool3dOptions) -> Result<Tensor> {
    Ok(max_pool3d_with_indices(input, options)?.0)
}

/// The average of each window of `[N, C, L]` or `[C, L]`.
///
/// # Errors
///
/// As [`avg_pool2d`].
///
/// ```
/// use sconce::{Tensor, functional::{AvgPool1dOptions, avg_pool1d}};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0, 4.0], [1, 4])?;
/// assert_eq!(avg_pool1d(&x, AvgPool1dOptions::new([2]))?.to_vec::<f32>()?, [3.0, 3.5]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn avg_pool1d(input: &Tensor, options: AvgPool1dOptions) -> Result<Tensor> {
    const OP: &str = "avg_pool1d";
    check_rank(OP, input, 1)?;
    let windows = AvgPool2dOptions {
        kernel_size: [1, options.kernel_size[0]],
        stride: [1, options.stride[0]],
        padding: [0, options.padding[0]],
        ceil_mode: options.ceil_mode,
        count_include_pad: options.count_include_pad,
        divisor_override: options.divisor_override,
    };
    avg_pool2d(&input.unsqueeze(-2)?, windows).context(|| OP)?.squeeze(-2)
}

/// The average of each window of `[N, C, D, H, W]` or `[C, D, H, W]`.
///
/// # Errors
///
/// As [`avg_pool2d`].
///
/// ```
/// use sconce::{DType, Tensor, functional::{AvgPool3dOptions, avg_pool3d}};
/// let x = Tensor::arange(0, 8, 1, DType::F32)?.view([1, 2, 2, 2])?;
/// assert_eq!(avg_pool3d(&x, AvgPool3dOptions::new([2, 2, 2]))?.item()?, 3.5);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn avg_pool3d(input: &Tensor, options: AvgPool3dOptions) -> Result<Tensor> {
    const OP: &str = "avg_pool3d";
    check_rank(OP, input, 3)?;
    if input.dtype().category() == Category::Integer {
        return avg_pool3d(&input.to(DType::F64)?, options)?.trunc()?.to(input.dtype());
    }
    // The number of elements of a window is that of its planes times that of a plane: an average of averages.
    let AvgPoolOptions { kernel_size: k, stride: s, padding: p, ceil_mode, count_include_pad, .. } = options;
    let plane = AvgPool2dOptions {
        kernel_size: [k[1], k[2]],
        stride: [s[1], s[2]],
        padding: [p[1], p[2]],
        ceil_mode,
        count_include_pad,
        divisor_override: options.divisor_override.map(|_| 1),
    };
    let across = AvgPool2dOptions {
        kernel_size: [k[0], 1],
        stride: [s[0], 1],
        padding: [p[0], 0],
        ceil_mode,
        count_include_pad,
        divisor_override: options.divisor_override,
    };
    let rank = input.dim();
    let lead = &input.shape()[..rank - 3];
    let [depth, h, w] = [1, 2, 3].map(|i| input.shape()[rank - 4 + i]);
    let outer: usize = lead.iter().product();
    let y = avg_pool2d(&input.reshape([outer * depth, 1, h, w])?, plane).context(|| OP)?;
    let (oh, ow) = (y.shape()[2], y.shape()[3]);
    let y = avg_pool2d(&y.reshape([outer, 1, depth, oh * ow])?, across).context(|| OP)?;
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(&[y.shape()[2], oh, ow]);
    y.reshape(shape.as_slice())
}

/// Where window `i` of `windows` over `len` elements starts and ends.
pub(super) fn adaptive_window(len: usize, windows: usize, i: usize) -> (usize, usize) {
    (i * len / windows, ((i + 1) * len).div_ceil(windows))
}

fn check_adaptive(op: &str, x: &Tensor, spatial: usize) -> Result<()> {
    check_rank(op, x, spatial)?;
    let rank = x.dim();
    if x.shape()[rank - spatial - 1..].contains(&0) {
        return Err(Error::shape(format!(
            "{op}: an empty window: only samples may be none, found {:?}",
            x.shape()
        )));
    }
    Ok(())
}

/// The averages of nearly equal windows, for any number of dimensions.
pub(super) fn adaptive_avg_pool(op: &'static str, input: &Tensor, output_size: &[usize]) -> Result<Tensor> {
    let spatial = output_size.len();
    check_adaptive(op, input, spatial)?;
    float_dtype(op, input)?;
    let mut y = input.clone();
    for (i, &to) in output_size.iter().enumerate() {
        let dim = input.dim() - spatial + i;
        let from = input.shape()[dim];
        if from != to {
            y = Sparse::averages(from, to).apply(op, &y, dim)?;
        }
    }
    if y.is(input) { input.copy() } else { Ok(y) }
}

/// The averages of as many nearly equal windows of `[N, C, L]` or `[C, L]` as the output is to have elements.
///
/// # Errors
///
/// If the shape does not fit, or the dtype is not floating point.
///
/// ```
/// use sconce::{Tensor, functional::adaptive_avg_pool1d};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0], [1, 3])?;
/// assert_eq!(adaptive_avg_pool1d(&x, 2)?.to_vec::<f32>()?, [3.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool1d(input: &Tensor, output_size: usize) -> Result<Tensor> {
    adaptive_avg_pool("adaptive_avg_pool1d", input, &[output_size])
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
/// assert_eq!(adaptive_avg_pool2d(&x, [3, 1])?.shape(), [2, 3, 3, 1]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool2d(input: &Tensor, output_size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d";
    let rank = input.dim();
    if (3..=4).contains(&rank) {
        let (h, w) = (input.shape()[rank - 2], input.shape()[rank - 1]);
        let [oh, ow] = output_size;
        if h * w > 0 && oh * ow > 0 && h % oh == 0 && w % ow == 0 {
            return avg_pool2d(input, AvgPool2dOptions::new([h / oh, w / ow])).context(|| OP);
        }
    }
    adaptive_avg_pool(OP, input, &output_size)
}

/// The averages of as many nearly equal windows as the output is to have planes, rows and columns.
///
/// # Errors
///
/// If the input is not `[N, C, D, H, W]` or `[C, D, H, W]`, or not of a floating point dtype.
///
/// ```
/// use sconce::{DType, Tensor, functional::adaptive_avg_pool3d};
/// let x = Tensor::ones([2, 3, 4, 7, 5], DType::F32)?;
/// assert_eq!(adaptive_avg_pool3d(&x, [2, 3, 1])?.shape(), [2, 3, 2, 3, 1]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool3d(input: &Tensor, output_size: [usize; 3]) -> Result<Tensor> {
    adaptive_avg_pool("adaptive_avg_pool3d", input, &output_size)
}

/// The greatest element of each of nearly equal windows of `[planes, 1, H, W]`, with its index in its plane.
fn adaptive_max_of_planes(op: &str, x: &Tensor, [oh, ow]: [usize; 2]) -> Result<(Tensor, Tensor)> {
    let (planes, h, w) = (x.shape()[0], x.shape()[2], x.shape()[3]);
    let values = x.detach().to(DType::F64)?.contiguous()?;
    let indices = values.with_slice(|x: &[f64]| {
        crate::ops::driver::build(op, &[planes, oh * ow], |out: &mut [i64]| {
            for (at, out) in out.iter_mut().enumerate() {
                let plane = &x[at / (oh * ow) * h * w..][..h * w];
                let rows = adaptive_window(h, oh, at / ow % oh);
                let columns = adaptive_window(w, ow, at % ow);
                let mut best = rows.0 * w + columns.0;
                for r in rows.0..rows.1 {
                    for i in r * w + columns.0..r * w + columns.1 {
                        if plane[i] > plane[best] || plane[i].is_nan() {
                            best = i;
                        }
                    }
                }
                *out = best as i64;
            }
            Ok(())
        })
    })??;
    let values = x.reshape([planes, h * w])?.gather(1, &indices)?;
    let shape = [planes, 1, oh, ow];
    Ok((values.reshape(shape)?, indices.reshape(shape)?))
}

/// The greatest elements of as many nearly equal windows of `[N, C, L]` or `[C, L]` as the output is to have elements,
/// with their indices.
///
/// # Errors
///
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_max_pool1d_with_indices(input: &Tensor, output_size: usize) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool1d";
    check_adaptive(OP, input, 1)?;
    let (values, indices) = adaptive_max(OP, &input.unsqueeze(-2)?, [1, output_size])?;
    Ok((values.squeeze(-2)?, indices.squeeze(-2)?))
}

/// The greatest elements of as many nearly equal windows as the output is to have rows and columns, with their indices
/// in their flattened planes.
///
/// # Errors
///
/// As [`adaptive_avg_pool2d`].
pub fn adaptive_max_pool2d_with_indices(input: &Tensor, output_size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool2d";
    check_adaptive(OP, input, 2)?;
    adaptive_max(OP, input, output_size)
}

fn adaptive_max(op: &str, input: &Tensor, output_size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    float_dtype(op, input)?;
    let rank = input.dim();
    let lead = &input.shape()[..rank - 2];
    let planes: usize = lead.iter().product();
    let flat = input.reshape([planes, 1, input.shape()[rank - 2], input.shape()[rank - 1]])?;
    let (values, indices) = adaptive_max_of_planes(op, &flat, output_size)?;
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(&output_size);
    Ok((values.reshape(shape.as_slice())?, indices.reshape(shape.as_slice())?))
}

/// The greatest elements of as many nearly equal windows as the output is to have planes, rows and columns, with their
/// indices in their flattened volumes.
///
/// # Errors
///
/// As [`adaptive_avg_pool3d`].
pub fn adaptive_max_pool3d_with_indices(input: &Tensor, output_size: [usize; 3]) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool3d";
    check_adaptive(OP, input, 3)?;
    float_dtype(OP, input)?;
    let [planes, rows, columns] = output_size;
    greatest_of_volumes(
        input,
        |x| adaptive_max_of_planes(OP, x, [rows, columns]),
        |x| adaptive_max_of_planes(OP, x, [planes, rows * columns]),
    )
}

/// The power average of each window: (Σ xᵖ)^(1/p) over windows in one, two or three dimensions.
///
/// An infinite `norm_type` takes the greatest |x|, −∞ the least.
///
/// # Errors
///
/// As [`avg_pool2d`].
///
/// ```
/// use sconce::{Tensor, functional::{LpPoolOptions, lp_pool}};
/// let x = Tensor::from_vec(vec![3.0f32, 4.0], [1, 2])?;
/// assert_eq!(lp_pool(&x, LpPoolOptions::new(2.0, [2]))?.item()?, 5.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn lp_pool<const N: usize>(input: &Tensor, options: LpPoolOptions<N>) -> Result<Tensor> {
    let LpPoolOptions { norm_type, kernel_size, stride, ceil_mode } = options;
    if norm_type.is_infinite() {
        let windows = MaxPoolOptions { stride, ceil_mode, ..MaxPoolOptions::new(kernel_size) };
        let sizes = input.abs()?;
        return if norm_type > 0.0 {
            max_pool(&sizes, windows)
        } else {
            max_pool(&sizes.neg()?, windows)?.neg()
        };
    }
    let windows = AvgPoolOptions { stride, ceil_mode, ..AvgPoolOptions::new(kernel_size) };
    let count: usize = kernel_size.iter().product();
    let mean = avg_pool(&input.pow(norm_type)?, windows)?;
    mean.sign()?.mul(&mean.abs()?.relu()?)?.mul(count as f64)?.pow(1.0 / norm_type)
}

/// The windows of [`lp_pool`], in one, two or three dimensions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LpPoolOptions<const N: usize> {
    /// The power.
    pub norm_type: f64,
    /// The size of a window.
    pub kernel_size: [usize; N],
    /// The step from one window to the next, its size by default.
    pub stride: [usize; N],
    /// Whether a last window may run over the edge; not by default.
    pub ceil_mode: bool,
}

impl<const N: usize> LpPoolOptions<N> {
    /// Adjacent windows of a size.
    pub fn new(norm_type: f64, kernel_size: [usize; N]) -> Self {
        Self { norm_type, kernel_size, stride: kernel_size, ceil_mode: false }
    }
}

/// As many numbers as there are, of those given.
fn resized<const N: usize, const M: usize>(numbers: [usize; N]) -> [usize; M] {
    std::array::from_fn(|i| numbers.get(i).copied().unwrap_or_default())
}

fn max_pool<const N: usize>(x: &Tensor, o: MaxPoolOptions<N>) -> Result<Tensor> {
    fn with<const N: usize, const M: usize>(o: MaxPoolOptions<N>) -> MaxPoolOptions<M> {
        MaxPoolOptions {
            kernel_size: resized(o.kernel_size),
            stride: resized(o.stride),
            padding: resized(o.padding),
            dilation: resized(o.dilation),
            ceil_mode: o.ceil_mode,
        }
    }
    match N {
        1 => max_pool1d(x, with(o)),
        2 => Ok(max_pool2d_with_indices(x, with(o))?.0),
        3 => max_pool3d(x, with(o)),
        n => Err(Error::argument(format!("pooling: windows have 1, 2 or 3 dimensions, found {n}"))),
    }
}

fn avg_pool<const N: usize>(x: &Tensor, o: AvgPoolOptions<N>) -> Result<Tensor> {
    fn with<const N: usize, const M: usize>(o: AvgPoolOptions<N>) -> AvgPoolOptions<M> {
        AvgPoolOptions {
            kernel_size: resized(o.kernel_size),
            stride: resized(o.stride),
            padding: resized(o.padding),
            ceil_mode: o.ceil_mode,
            count_include_pad: o.count_include_pad,
            divisor_override: o.divisor_override,
        }
    }
    match N {
        1 => avg_pool1d(x, with(o)),
        2 => avg_pool2d(x, with(o)),
        3 => avg_pool3d(x, with(o)),
        n => Err(Error::argument(format!("pooling: windows have 1, 2 or 3 dimensions, found {n}"))),
    }
}

/// Puts each value back where a maximum was found, zeros elsewhere; the last `N` dimensions get `output_size`.
///
/// `indices` are those of a maximum pooling in flattened planes; PyTorch's `max_unpool1d`, `2d` and `3d`.
///
/// # Errors
///
/// If shapes differ, or an index lies outside the output.
///
/// ```
/// use sconce::Tensor;
/// use sconce::functional::{MaxPool1dOptions, max_pool1d_with_indices, max_unpool};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0, 2.0], [1, 4])?;
/// let (values, indices) = max_pool1d_with_indices(&x, MaxPool1dOptions::new([2]))?;
/// assert_eq!(max_unpool(&values, &indices, [4])?.to_vec::<f32>()?, [0.0, 5.0, 3.0, 0.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn max_unpool<const N: usize>(
    input: &Tensor,
    indices: &Tensor,
    output_size: [usize; N],
) -> Result<Tensor> {
    const OP: &str = "max_unpool";
    let rank = input.dim();
    if input.shape() != indices.shape() || N == 0 || !(N + 1..=N + 2).contains(&rank) {
        return Err(Error::shape(format!(
            "{OP}: needs values and indices of one shape with {} or {} dimensions, found {:?} and {:?}",
            N + 1,
            N + 2,
            input.shape(),
            indices.shape()
        )));
    }
    if indices.dtype() != DType::I64 {
        return Err(Error::dtype(format!("{OP}: indices must be int64, found {}", indices.dtype())));
    }
    let lead = &input.shape()[..rank - N];
    let (outer, plane) = (lead.iter().product::<usize>(), output_size.iter().product::<usize>());
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(&output_size);
    let inner: usize = input.shape()[rank - N..].iter().product();
    let zeros = Tensor::zeros([outer, plane], input.dtype())?;
    let flat = [outer, inner];
    zeros.scatter(1, &indices.reshape(flat)?, &input.reshape(flat)?).context(|| OP)?.reshape(shape.as_slice())
}

/// The sizes that [`max_unpool`] gives by default: those whose pooling with these windows has the sizes `pooled`.
///
/// ```
/// use sconce::functional::unpooled_size;
/// assert_eq!(unpooled_size([3], [2], [2], [0]), [6]);
/// ```
pub fn unpooled_size<const N: usize>(
    pooled: [usize; N],
    kernel_size: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
) -> [usize; N] {
    std::array::from_fn(|i| {
        let reach = pooled[i].saturating_sub(1) * stride[i] + kernel_size[i];
        reach.saturating_sub(2 * padding[i])
    })
}

/// The greatest element of windows that start at random, with indices: Graham, "Fractional max-pooling".
///
/// `samples` in [0, 1), `[N, C, dimensions]`, say where the windows of each plane start; without them they are drawn.
///
/// # Errors
///
/// If shapes do not fit, or an output size exceeds the input's less the window's, plus 1.
///
/// ```
/// use sconce::{DType, Tensor, functional::fractional_max_pool};
/// let x = Tensor::arange(0, 25, 1, DType::F32)?.view([1, 1, 5, 5])?;
/// let (y, indices) = fractional_max_pool(&x, [2, 2], [3, 3], None)?;
/// assert_eq!(y.shape(), [1, 1, 3, 3]);
/// assert_eq!(y.flatten(0, -1)?.to_vec::<f32>()?[8], 24.0);
/// assert_eq!(indices.flatten(0, -1)?.to_vec::<i64>()?[8], 24);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn fractional_max_pool<const N: usize>(
    input: &Tensor,
    kernel_size: [usize; N],
    output_size: [usize; N],
    samples: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "fractional_max_pool";
    float_dtype(OP, input)?;
    if !(2..=3).contains(&N) {
        return Err(Error::argument(format!("{OP}: windows have 2 or 3 dimensions, found {N}")));
    }
    check_rank(OP, input, N)?;
    let rank = input.dim();
    let sizes: [usize; N] = std::array::from_fn(|i| input.shape()[rank - N + i]);
    let fits = |i: usize| {
        kernel_size[i] > 0 && output_size[i] > 0 && output_size[i] + kernel_size[i] <= sizes[i] + 1
    };
    if !(0..N).all(fits) {
        return Err(Error::shape(format!(
            "{OP}: {output_size:?} windows of {kernel_size:?} do not fit an input of shape {:?}",
            input.shape()
        )));
    }
    let (batch, channels) = (if rank == N + 2 { input.shape()[0] } else { 1 }, input.shape()[rank - N - 1]);
    let samples = match samples {
        Some(samples) => samples.clone(),
        None => Tensor::rand([batch, channels, N], input.dtype())?,
    };
    if samples.shape() != [batch, channels, N] {
        return Err(Error::shape(format!(
            "{OP}: needs samples of shape {:?}, found {:?}",
            [batch, channels, N],
            samples.shape()
        )));
    }
    let samples = samples.detach().to(DType::F64)?.to_vec::<f64>()?;
    let starts = |sample: f64, i: usize| -> Vec<usize> {
        let (n, k, out) = (sizes[i], kernel_size[i], output_size[i]);
        let alpha = if out > 1 { (n - k) as f64 / (out - 1) as f64 } else { 0.0 };
        let start = |j: usize| ((j as f64 + sample) * alpha) as usize - (sample * alpha) as usize;
        (0..out).map(|j| if j + 1 == out { n - k } else { start(j).min(n - k) }).collect()
    };
    let (volume, windows) = (sizes.iter().product::<usize>(), output_size.iter().product::<usize>());
    let planes = batch * channels;
    let values = input.detach().to(DType::F64)?.contiguous()?;
    let indices = values.with_slice(|x: &[f64]| {
        crate::ops::driver::build(OP, &[planes, windows], |out: &mut [i64]| {
            for (plane, out) in out.chunks_exact_mut(windows).enumerate() {
                let x = &x[plane * volume..][..volume];
                // Samples run from the last dimension to the first.
                let starts: Vec<Vec<usize>> =
                    (0..N).map(|i| starts(samples[plane * N + N - 1 - i], i)).collect();
                for (at, out) in out.iter_mut().enumerate() {
                    *out = greatest(x, &sizes, &kernel_size, &output_size, &starts, at) as i64;
                }
            }
            Ok(())
        })
    })??;
    let mut shape = Dims::from_slice(&input.shape()[..rank - N]);
    shape.extend_from_slice(&output_size);
    let values = input.reshape([planes, volume])?.gather(1, &indices)?;
    Ok((values.reshape(shape.as_slice())?, indices.reshape(shape.as_slice())?))
}

/// The index of the greatest element of window `at`.
fn greatest(
    x: &[f64],
    sizes: &[usize],
    kernel: &[usize],
    windows: &[usize],
    starts: &[Vec<usize>],
    at: usize,
) -> usize {
    let mut corner = vec![0; sizes.len()];
    let mut rest = at;
    for d in (0..sizes.len()).rev() {
        corner[d] = starts[d][rest % windows[d]];
        rest /= windows[d];
    }
    let place = |mut element: usize| {
        let (mut index, mut stride) = (0, 1);
        for d in (0..sizes.len()).rev() {
            index += (corner[d] + element % kernel[d]) * stride;
            stride *= sizes[d];
            element /= kernel[d];
        }
        index
    };
    let mut best = place(0);
    for i in (1..kernel.iter().product()).map(place) {
        if x[i] > x[best] || x[i].is_nan() {
            best = i;
        }
    }
    best
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static POOLS: &[OpInfo] = &[
    OpInfo {
        name: "max_pool1d",
        samples: || {
            let options = MaxPool1dOptions { stride: [2], padding: [1], ..MaxPoolOptions::new([3]) };
            vec![Sample::new(&[(&[2, 3, 7], D)], move |x| max_pool1d(&x[0], options))]
        },
    },
    OpInfo {
        name: "max_pool3d",
        samples: || {
            let options = MaxPool3dOptions { stride: [1, 2, 1], ..MaxPoolOptions::new([2, 2, 3]) };
            vec![Sample::new(&[(&[2, 3, 4, 3], D)], move |x| max_pool3d(&x[0], options))]
        },
    },
    OpInfo {
        name: "avg_pool1d",
        samples: || {
            let options = AvgPool1dOptions { ceil_mode: true, ..AvgPoolOptions::new([3]) };
            vec![Sample::new(&[(&[2, 3, 7], D)], move |x| avg_pool1d(&x[0], options))]
        },
    },
    OpInfo {
        name: "avg_pool3d",
        samples: || {
            let options = AvgPool3dOptions { padding: [1, 0, 1], ..AvgPoolOptions::new([2, 2, 3]) };
            vec![Sample::new(&[(&[2, 3, 4, 3], D)], move |x| avg_pool3d(&x[0], options))]
        },
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
    OpInfo {
        name: "adaptive_max_pool3d",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4, 3], D)], |x| {
                Ok(adaptive_max_pool3d_with_indices(&x[0], [2, 3, 2])?.0)
            })]
        },
    },
    OpInfo {
        name: "lp_pool2d",
        samples: || {
            let domain = (0.5, 2.0);
            vec![Sample::new(&[(&[2, 4, 5], domain)], |x| lp_pool(&x[0], LpPoolOptions::new(1.5, [2, 2])))]
        },
    },
];
