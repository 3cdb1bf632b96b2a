//! Pooling in one and three dimensions, by that in two; power averages.

use crate::ops::nn::pool2d::{
    AvgPool1dOptions, AvgPool2dOptions, AvgPool3dOptions, AvgPoolOptions, MaxPool1dOptions, MaxPool2dOptions,
    MaxPool3dOptions, MaxPoolOptions, avg_pool2d, max_pool2d_with_indices,
};
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result};

/// Refuses inputs of other than `spatial` dimensions, one of channels and perhaps one of samples.
pub(super) fn check_rank(op: &str, x: &Tensor, spatial: usize) -> Result<()> {
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
    if input.shape()[input.dim() - 4..].contains(&0) {
        return Err(Error::shape(format!("{OP}: only samples may be none, found shape {:?}", input.shape())));
    }
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
pub(super) fn greatest_of_volumes(
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
    if input.shape()[input.dim() - 4..].contains(&0) {
        return Err(Error::shape(format!("{OP}: only samples may be none, found shape {:?}", input.shape())));
    }
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
    let count = checked_numel(&kernel_size)?;
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
        name: "lp_pool2d",
        samples: || {
            let domain = (0.5, 2.0);
            vec![Sample::new(&[(&[2, 4, 5], domain)], |x| lp_pool(&x[0], LpPoolOptions::new(1.5, [2, 2])))]
        },
    },
];
