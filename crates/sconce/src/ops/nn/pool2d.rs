//! Pooling over windows of planes.

use std::sync::{Arc, OnceLock};

use sconce_kernels::{Divisor, Pool2d};
use smallvec::smallvec;

use super::integer_windows::{average, greatest, is_integer, only_int64};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::layers;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// The windows of a pooling in `N` dimensions; the last number is that of the last dimension.
///
/// ```
/// use sconce::functional::MaxPool2dOptions;
/// let windows = MaxPool2dOptions::new([2, 2]);
/// assert_eq!(windows.stride, [2, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPoolOptions<const N: usize> {
    /// The size of a window.
    pub kernel_size: [usize; N],
    /// The step from one window to the next, its size by default.
    pub stride: [usize; N],
    /// How far windows may reach over each edge, at most half their size; not by default.
    pub padding: [usize; N],
    /// The distance between a window's elements, 1 by default.
    pub dilation: [usize; N],
    /// Whether a last window may run over the edge; not by default.
    pub ceil_mode: bool,
}

impl<const N: usize> MaxPoolOptions<N> {
    /// Adjacent windows of a size.
    pub fn new(kernel_size: [usize; N]) -> Self {
        Self { kernel_size, stride: kernel_size, padding: [0; N], dilation: [1; N], ceil_mode: false }
    }
}

/// The windows of [`max_pool1d`](crate::functional::max_pool1d).
pub type MaxPool1dOptions = MaxPoolOptions<1>;
/// The windows of [`max_pool2d`]: rows, columns.
pub type MaxPool2dOptions = MaxPoolOptions<2>;
/// The windows of [`max_pool3d`](crate::functional::max_pool3d): planes, rows, columns.
pub type MaxPool3dOptions = MaxPoolOptions<3>;

/// The windows of an averaging in `N` dimensions; the last number is that of the last dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPoolOptions<const N: usize> {
    /// The size of a window.
    pub kernel_size: [usize; N],
    /// The step from one window to the next, its size by default.
    pub stride: [usize; N],
    /// How far windows may reach over each edge, at most half their size; not by default.
    pub padding: [usize; N],
    /// Whether a last window may run over the edge; not by default.
    pub ceil_mode: bool,
    /// Whether zeros of the padding count in the average, as they do by default.
    pub count_include_pad: bool,
    /// What to divide by instead of the number of elements.
    pub divisor_override: Option<i64>,
}

impl<const N: usize> AvgPoolOptions<N> {
    /// Adjacent windows of a size.
    pub fn new(kernel_size: [usize; N]) -> Self {
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0; N],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }
}

/// The windows of [`avg_pool1d`](crate::functional::avg_pool1d).
pub type AvgPool1dOptions = AvgPoolOptions<1>;
/// The windows of [`avg_pool2d`]: rows, columns.
pub type AvgPool2dOptions = AvgPoolOptions<2>;
/// The windows of [`avg_pool3d`](crate::functional::avg_pool3d): planes, rows, columns.
pub type AvgPool3dOptions = AvgPoolOptions<3>;

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
        // Below 0 where the first window is cut short, which only `ceil_mode` allows.
        let room = i64::try_from(len + 2 * padding[i]).ok()? - i64::try_from(span).ok()?;
        let step = i64::try_from(stride[i]).ok()?;
        let last =
            if ceil_mode { room.checked_add(step - 1)?.div_euclid(step) } else { room.div_euclid(step) };
        let mut n = usize::try_from(last + 1).ok().filter(|&n| n > 0)?;
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
    if input.dtype().category() == Category::Integer {
        let (values, indices) = max_pool2d_with_indices(&input.to(DType::F64)?, options)?;
        return Ok((values.to(input.dtype())?, indices));
    }
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

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static POOLS: &[OpInfo] = &[
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
];
