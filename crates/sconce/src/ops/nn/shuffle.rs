//! Rearrangements of channels and windows: pixel and channel shuffles, unfold and fold, one-hot vectors.

use super::pad::zeros_around;
use crate::ops::create::collect;
use crate::ops::driver::layers::wide;
use crate::ops::nn::conv2d::batched;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result};

fn refuse(op: &str, factor: usize, x: &Tensor) -> Error {
    Error::shape(format!("{op}: a factor of {factor} does not fit shape {:?}", x.shape()))
}

/// The last three sizes, if there are as many.
fn image(x: &Tensor) -> Option<[usize; 3]> {
    x.shape().last_chunk::<3>().copied()
}

/// A permutation of the last dimensions, given from the first of them.
fn permute_last(x: &Tensor, last: &[usize]) -> Result<Tensor> {
    let lead = x.dim() - last.len();
    let order: Dims = (0..lead).chain(last.iter().map(|d| d + lead)).collect();
    x.permute(order.as_slice())
}

fn with_last(x: &Tensor, dropped: usize, last: &[usize]) -> Dims {
    let mut shape = Dims::from_slice(&x.shape()[..x.dim() - dropped]);
    shape.extend_from_slice(last);
    shape
}

/// Channels as pixels: `[…, C r², H, W]` becomes `[…, C, H r, W r]`.
///
/// # Errors
///
/// If r² does not divide the channels.
///
/// ```
/// use sconce::{DType, Tensor, functional::pixel_shuffle};
/// let x = Tensor::arange(0, 4, 1, DType::F32)?.view([1, 4, 1, 1])?;
/// assert_eq!(pixel_shuffle(&x, 2)?.shape(), [1, 1, 2, 2]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn pixel_shuffle(input: &Tensor, upscale_factor: usize) -> Result<Tensor> {
    let r = upscale_factor;
    let divides = |c: usize| r > 0 && r.checked_mul(r).is_some_and(|square| c.is_multiple_of(square));
    let Some([c, h, w]) = image(input).filter(|s| divides(s[0])) else {
        return Err(refuse("pixel_shuffle", r, input));
    };
    let split = input.reshape(with_last(input, 3, &[c / (r * r), r, r, h, w]).as_slice())?;
    permute_last(&split, &[0, 3, 1, 4, 2])?
        .reshape(with_last(input, 3, &[c / (r * r), h * r, w * r]).as_slice())
}

/// Pixels as channels: `[…, C, H r, W r]` becomes `[…, C r², H, W]`.
///
/// # Errors
///
/// If r does not divide height and width.
pub fn pixel_unshuffle(input: &Tensor, downscale_factor: usize) -> Result<Tensor> {
    let r = downscale_factor;
    let Some([c, h, w]) = image(input).filter(|s| r > 0 && s[1] % r == 0 && s[2] % r == 0) else {
        return Err(refuse("pixel_unshuffle", r, input));
    };
    let split = input.reshape(with_last(input, 3, &[c, h / r, r, w / r, r]).as_slice())?;
    permute_last(&split, &[0, 2, 4, 1, 3])?
        .reshape(with_last(input, 3, &[c * r * r, h / r, w / r]).as_slice())
}

/// Takes the channels (dimension 1) of `groups` groups in turn.
///
/// # Errors
///
/// If there are fewer than three dimensions, or the groups do not divide the channels.
///
/// ```
/// use sconce::{Tensor, functional::channel_shuffle};
/// let x = Tensor::from_vec(vec![0.0f32, 1.0, 2.0, 3.0], [1, 4, 1])?;
/// assert_eq!(channel_shuffle(&x, 2)?.to_vec::<f32>()?, [0.0, 2.0, 1.0, 3.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn channel_shuffle(input: &Tensor, groups: usize) -> Result<Tensor> {
    if input.dim() < 3 || groups == 0 || !input.shape()[1].is_multiple_of(groups) {
        return Err(Error::shape(format!(
            "channel_shuffle: {groups} groups do not fit shape {:?}",
            input.shape()
        )));
    }
    let mut split = Dims::from_slice(input.shape());
    split[1] /= groups;
    split.insert(1, groups);
    input.reshape(split.as_slice())?.transpose(1, 2)?.reshape(input.shape())
}

/// The windows of [`unfold`] and [`fold`]: rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfoldOptions {
    /// The size of a window.
    pub kernel_size: [usize; 2],
    /// The distance between a window's elements, 1 by default.
    pub dilation: [usize; 2],
    /// Zeros on each side, none by default.
    pub padding: [usize; 2],
    /// The step from one window to the next, 1 by default.
    pub stride: [usize; 2],
}

impl UnfoldOptions {
    /// All windows of a size.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        Self { kernel_size, dilation: [1, 1], padding: [0, 0], stride: [1, 1] }
    }

    /// How many windows fit in a size, per dimension.
    fn windows(&self, op: &str, size: [usize; 2]) -> Result<[usize; 2]> {
        let positive = [self.kernel_size, self.dilation, self.stride].iter().flatten().all(|&n| n > 0);
        let count = |i: usize| {
            let span = self.dilation[i].checked_mul(self.kernel_size[i] - 1)?.checked_add(1)?;
            let room = size[i].checked_add(self.padding[i].checked_mul(2)?)?.checked_sub(span)?;
            Some(room / self.stride[i] + 1)
        };
        match positive.then(|| count(0).zip(count(1))).flatten() {
            Some((rows, columns)) => {
                checked_numel(&self.kernel_size)?;
                checked_numel(&[rows, columns])?;
                Ok([rows, columns])
            }
            None => Err(Error::shape(format!("{op}: no window of {self:?} fits a size of {size:?}"))),
        }
    }

    /// For each element of a window and each window, where in the padded dimension that is.
    fn places(&self, i: usize, windows: usize) -> Result<Tensor> {
        let (stride, dilation) = (self.stride[i], self.dilation[i]);
        let n = checked_numel(&[self.kernel_size[i], windows])?;
        collect("unfold", n, |at| (at % windows * stride + at / windows * dilation) as i64)
    }

    fn pads(&self) -> [(usize, usize); 2] {
        self.padding.map(|p| (p, p))
    }
}

/// The windows of `[N, C, H, W]` or `[C, H, W]` as columns: `[N, C · window, windows]`.
///
/// # Errors
///
/// If the shape does not fit, or no window fits.
///
/// ```
/// use sconce::{DType, Tensor, functional::{UnfoldOptions, unfold}};
/// let x = Tensor::arange(0, 6, 1, DType::F32)?.view([1, 1, 2, 3])?;
/// let y = unfold(&x, UnfoldOptions::new([2, 2]))?;
/// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 5.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn unfold(input: &Tensor, options: UnfoldOptions) -> Result<Tensor> {
    const OP: &str = "unfold";
    let Some([c, h, w]) = image(input).filter(|s| input.dim() <= 4 && !s.contains(&0)) else {
        return Err(Error::shape(format!(
            "{OP}: needs [N, C, H, W] or [C, H, W], found shape {:?}",
            input.shape()
        )));
    };
    let [oh, ow] = options.windows(OP, [h, w])?;
    let [kh, kw] = options.kernel_size;
    batched(input, 4, |x| {
        zeros_around(x, &options.pads())?
            .index_select(2, &options.places(0, oh)?)?
            .index_select(3, &options.places(1, ow)?)?
            .reshape([x.shape()[0], c, kh, oh, kw, ow])?
            .permute([0, 1, 2, 4, 3, 5])?
            .reshape([x.shape()[0], c * kh * kw, oh * ow])
    })
}

/// Adds up windows where they lie: `[N, C · window, windows]` (or without N) becomes `[N, C, H, W]`.
///
/// # Errors
///
/// If the shape is not that of the windows of `output_size`.
///
/// ```
/// use sconce::{DType, Tensor, functional::{UnfoldOptions, fold}};
/// let windows = Tensor::ones([1, 4, 2], DType::F32)?;
/// let y = fold(&windows, [2, 3], UnfoldOptions::new([2, 2]))?;
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn fold(input: &Tensor, output_size: [usize; 2], options: UnfoldOptions) -> Result<Tensor> {
    const OP: &str = "fold";
    let [oh, ow] = options.windows(OP, output_size)?;
    let [kh, kw] = options.kernel_size;
    let sizes = input.shape().last_chunk::<2>().copied();
    let fits = |[rows, columns]: &[usize; 2]| rows % (kh * kw) == 0 && *columns == oh * ow;
    let Some([rows, _]) = sizes.filter(fits).filter(|_| input.dim() <= 3) else {
        return Err(Error::shape(format!(
            "{OP}: needs [N, C · {kh} · {kw}, {oh} · {ow}], found shape {:?}",
            input.shape()
        )));
    };
    let c = rows / (kh * kw);
    let padded = [0, 1].map(|i| output_size[i] + 2 * options.padding[i]);
    let one = |x: &Tensor| {
        let n = x.shape()[0];
        let windows = x.reshape([n, c, kh, kw, oh, ow])?.permute([0, 1, 2, 4, 3, 5])?.reshape([
            n,
            c,
            kh * oh,
            kw * ow,
        ])?;
        let rows = Tensor::zeros([n, c, padded[0], kw * ow], x.dtype())?;
        let rows = rows.index_add(2, &options.places(0, oh)?, &windows)?;
        let all = Tensor::zeros([n, c, padded[0], padded[1]], x.dtype())?;
        all.index_add(3, &options.places(1, ow)?, &rows)?
            .narrow(2, options.padding[0] as isize, output_size[0])?
            .narrow(3, options.padding[1] as isize, output_size[1])?
            .contiguous()
    };
    // Sums of many windows are rounded once.
    let x = input.to(wide(input.dtype()))?;
    let y = if input.dim() == 3 { one(&x)? } else { one(&x.unsqueeze(0)?)?.squeeze(0)? };
    y.to(input.dtype())
}

/// A vector of zeros with a 1 at each class index: int64 `[…]` becomes `[…, num_classes]`.
///
/// Without `num_classes` there are as many as the greatest index needs.
///
/// # Errors
///
/// If the indices are not int64 or one is out of range, or there is none to count the classes by.
///
/// ```
/// use sconce::{Tensor, functional::one_hot};
/// let x = Tensor::from_vec(vec![2i64, 0], [2])?;
/// assert_eq!(one_hot(&x, None)?.to_vec::<i64>()?, [0, 0, 1, 1, 0, 0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn one_hot(input: &Tensor, num_classes: Option<usize>) -> Result<Tensor> {
    const OP: &str = "one_hot";
    if input.dtype() != DType::I64 {
        return Err(Error::dtype(format!("{OP}: class indices must be int64, found {}", input.dtype())));
    }
    let classes = match num_classes {
        Some(n) => n,
        None if input.numel() == 0 => {
            return Err(Error::argument(format!("{OP}: no indices to count the classes by")));
        }
        None => usize::try_from(input.amax(())?.item_i64()?).unwrap_or_default() + 1,
    };
    if classes == 0 {
        return Err(Error::argument(format!("{OP}: the number of classes must be positive")));
    }
    let mut shape = Dims::from_slice(input.shape());
    shape.push(classes);
    Tensor::zeros(shape.as_slice(), DType::I64)?.scatter(-1, &input.unsqueeze(-1)?, 1).context(|| OP)
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static SHUFFLES: &[OpInfo] = &[
    OpInfo {
        name: "pixel_shuffle",
        samples: || vec![Sample::new(&[(&[2, 8, 2, 3], D)], |x| pixel_shuffle(&x[0], 2))],
    },
    OpInfo {
        name: "pixel_unshuffle",
        samples: || vec![Sample::new(&[(&[2, 1, 4, 6], D)], |x| pixel_unshuffle(&x[0], 2))],
    },
    OpInfo {
        name: "channel_shuffle",
        samples: || vec![Sample::new(&[(&[2, 6, 2], D)], |x| channel_shuffle(&x[0], 3))],
    },
    OpInfo {
        name: "im2col",
        samples: || {
            let options = UnfoldOptions {
                dilation: [1, 2],
                padding: [1, 0],
                stride: [2, 1],
                ..UnfoldOptions::new([2, 2])
            };
            vec![Sample::new(&[(&[2, 2, 3, 4], D)], move |x| unfold(&x[0], options))]
        },
    },
    OpInfo {
        name: "col2im",
        samples: || {
            let options = UnfoldOptions { padding: [1, 0], stride: [2, 1], ..UnfoldOptions::new([2, 2]) };
            vec![Sample::new(&[(&[2, 8, 6], D)], move |x| fold(&x[0], [3, 4], options))]
        },
    },
];
