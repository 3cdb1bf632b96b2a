//! Convolutions in one and three dimensions, by those in two.

use super::pad::zeros_around;
use crate::ops::create::collect;
use crate::ops::nn::conv2d::{
    Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvTranspose1dOptions, ConvTranspose2dOptions,
    ConvTranspose3dOptions, batched, conv_transpose2d, conv2d,
};
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::Tensor;
use crate::tensor::layout::checked_numel;
use crate::{Context, Error, Result};

/// Refuses inputs of other than `rank` dimensions (or one less, without a batch).
fn check_rank(op: &str, input: &Tensor, weight: &Tensor, rank: usize) -> Result<()> {
    if (rank - 1..=rank).contains(&input.dim()) && weight.dim() == rank {
        return Ok(());
    }
    let form = if rank == 3 { "[N, C, L] or [C, L]" } else { "[N, C, D, H, W] or [C, D, H, W]" };
    Err(Error::shape(format!(
        "{op}: needs an input {form} and a weight of {rank} dimensions, found {:?} and {:?}",
        input.shape(),
        weight.shape()
    )))
}

/// The convolution of `[N, C, L]` or `[C, L]` with a weight `[out, C / groups, l]`.
///
/// # Errors
///
/// As [`conv2d`].
///
/// ```
/// use sconce::{Tensor, functional::conv1d};
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 4.0], [1, 1, 3])?;
/// let weight = Tensor::from_vec(vec![-1.0f32, 1.0], [1, 1, 2])?;
/// assert_eq!(conv1d(&x, &weight, None, Default::default())?.to_vec::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn conv1d(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: Conv1dOptions,
) -> Result<Tensor> {
    check_rank("conv1d", input, weight, 3)?;
    let Conv1dOptions { stride: [stride], padding: [padding], dilation: [dilation], groups } = options;
    let wide = Conv2dOptions { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups };
    conv2d(&input.unsqueeze(-2)?, &weight.unsqueeze(-2)?, bias, wide).context(|| "conv1d")?.squeeze(-2)
}

/// The transposed convolution of `[N, C, L]` or `[C, L]` with a weight `[C, out / groups, l]`.
///
/// # Errors
///
/// As [`conv_transpose2d`].
///
/// ```
/// use sconce::{Tensor, functional::conv_transpose1d};
/// let x = Tensor::from_vec(vec![1.0f32, 2.0], [1, 1, 2])?;
/// let weight = Tensor::from_vec(vec![1.0f32, 10.0], [1, 1, 2])?;
/// assert_eq!(conv_transpose1d(&x, &weight, None, Default::default())?.to_vec::<f32>()?, [1.0, 12.0, 20.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn conv_transpose1d(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvTranspose1dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose1d";
    check_rank(OP, input, weight, 3)?;
    let wide = ConvTranspose2dOptions {
        stride: [1, options.stride[0]],
        padding: [0, options.padding[0]],
        output_padding: [0, options.output_padding[0]],
        dilation: [1, options.dilation[0]],
        groups: options.groups,
    };
    conv_transpose2d(&input.unsqueeze(-2)?, &weight.unsqueeze(-2)?, bias, wide).context(|| OP)?.squeeze(-2)
}

/// The last two of three numbers.
fn plane([_, rows, columns]: [usize; 3]) -> [usize; 2] {
    [rows, columns]
}

/// The convolution of `[N, C, D, H, W]` or `[C, D, H, W]` with a weight `[out, C / groups, d, h, w]`.
///
/// # Errors
///
/// As [`conv2d`].
///
/// ```
/// use sconce::{DType, Tensor, functional::conv3d};
/// let x = Tensor::ones([1, 2, 3, 4, 5], DType::F32)?;
/// let weight = Tensor::ones([4, 2, 2, 2, 2], DType::F32)?;
/// let y = conv3d(&x, &weight, None, Default::default())?;
/// assert_eq!(y.shape(), [1, 4, 2, 3, 4]);
/// assert_eq!(y.amax(())?.item()?, 16.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn conv3d(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: Conv3dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv3d";
    check_rank(OP, input, weight, 5)?;
    let ([stride, ..], [padding, ..], [dilation, ..]) = (options.stride, options.padding, options.dilation);
    if stride == 0 || dilation == 0 {
        return Err(Error::argument(format!(
            "{OP}: stride {:?} and dilation {:?} must be positive",
            options.stride, options.dilation
        )));
    }
    batched(input, 5, |x| {
        let kernel = weight.shape()[2];
        let span = kernel.checked_sub(1).and_then(|k| k.checked_mul(dilation));
        let depth = padding.checked_mul(2).and_then(|p| p.checked_add(x.shape()[2]));
        let room = depth.zip(span).and_then(|(depth, span)| depth.checked_sub(span + 1));
        let Some(room) = room else {
            return Err(Error::shape(format!(
                "{OP}: the kernel of weight {:?} with dilation {:?} exceeds the input {:?} with padding {:?}",
                weight.shape(),
                options.dilation,
                input.shape(),
                options.padding
            )));
        };
        let x = zeros_around(x, &[(padding, padding), (0, 0), (0, 0)])?;
        // Each window of planes becomes a sample of its own, its planes become channels.
        let planes = room / stride + 1;
        let index = collect(OP, checked_numel(&[planes, kernel])?, |at| {
            (at / kernel * stride + at % kernel * dilation) as i64
        })?;
        let windows = x.index_select(2, &index)?;
        let [n, c, _, h, w] = sizes(&x)?;
        let windows = windows
            .reshape([n, c, planes, kernel, h, w])?
            .permute([0, 2, 1, 3, 4, 5])?
            .reshape([n * planes, c * kernel, h, w])?;
        let [out, channels, _, kh, kw] = sizes(weight)?;
        let flat = Conv2dOptions {
            stride: plane(options.stride),
            padding: plane(options.padding),
            dilation: plane(options.dilation),
            groups: options.groups,
        };
        let weight = weight.reshape([out, channels * kernel, kh, kw])?;
        let y = conv2d(&windows, &weight, bias, flat).context(|| OP)?;
        let (h, w) = (y.shape()[2], y.shape()[3]);
        y.reshape([n, planes, out, h, w])?.permute([0, 2, 1, 3, 4])?.contiguous()
    })
}

fn sizes(t: &Tensor) -> Result<[usize; 5]> {
    t.shape().try_into().map_err(|_| Error::shape(format!("expected 5 dimensions, found {:?}", t.shape())))
}

/// The transposed convolution of `[N, C, D, H, W]` or `[C, D, H, W]` with a weight `[C, out / groups, d, h, w]`.
///
/// # Errors
///
/// As [`conv_transpose2d`].
///
/// ```
/// use sconce::{DType, Tensor, functional::{ConvTranspose3dOptions, conv_transpose3d}};
/// let x = Tensor::ones([1, 2, 2, 2, 2], DType::F32)?;
/// let weight = Tensor::ones([2, 3, 2, 2, 2], DType::F32)?;
/// let options = ConvTranspose3dOptions { stride: [2, 2, 2], ..Default::default() };
/// assert_eq!(conv_transpose3d(&x, &weight, None, options)?.shape(), [1, 3, 4, 4, 4]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn conv_transpose3d(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvTranspose3dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose3d";
    check_rank(OP, input, weight, 5)?;
    let ([stride, ..], [padding, ..], [dilation, ..]) = (options.stride, options.padding, options.dilation);
    let extra = options.output_padding[0];
    if stride == 0 || dilation == 0 || options.groups == 0 || extra >= stride && extra >= dilation {
        return Err(Error::argument(format!(
            "{OP}: stride {:?}, dilation {:?} and groups {} must be positive, and output_padding {:?} less than stride \
             or dilation",
            options.stride, options.dilation, options.groups, options.output_padding
        )));
    }
    batched(input, 5, |x| {
        let ([n, c, planes, h, w], [_, out, kernel, kh, kw]) = (sizes(x)?, sizes(weight)?);
        let whole = planes
            .checked_sub(1)
            .and_then(|p| p.checked_mul(stride))
            .zip(kernel.checked_sub(1).and_then(|k| k.checked_mul(dilation)))
            .and_then(|(reach, span)| reach.checked_add(span)?.checked_add(1));
        let size = whole.and_then(|whole| (whole + extra).checked_sub(padding.checked_mul(2)?));
        let (Some(whole), Some(size), true) = (whole, size, c == weight.shape()[0]) else {
            return Err(Error::shape(format!(
                "{OP}: input {:?} and weight {:?} do not fit each other with padding {:?}",
                input.shape(),
                weight.shape(),
                options.padding
            )));
        };
        // Each plane is a sample of its own; the planes that a kernel makes of it are channels, added up at the end.
        let samples = x.permute([0, 2, 1, 3, 4])?.reshape([n * planes, c, h, w])?;
        let flat = ConvTranspose2dOptions {
            stride: plane(options.stride),
            padding: plane(options.padding),
            output_padding: plane(options.output_padding),
            dilation: plane(options.dilation),
            groups: options.groups,
        };
        let flat_weight = weight.reshape([c, out * kernel, kh, kw])?;
        let y = conv_transpose2d(&samples, &flat_weight, None, flat).context(|| OP)?;
        let (channels, h, w) = (out * options.groups, y.shape()[2], y.shape()[3]);
        let y = y.reshape([n, planes, channels, kernel, h, w])?.permute([0, 2, 1, 3, 4, 5])?.reshape([
            n,
            channels,
            planes * kernel,
            h,
            w,
        ])?;
        let index =
            collect(OP, planes * kernel, |at| (at / kernel * stride + at % kernel * dilation) as i64)?;
        let all = Tensor::zeros([n, channels, whole.max(padding + size), h, w], x.dtype())?;
        let y = all.index_add(2, &index, &y)?;
        let y = y.narrow(2, padding as isize, size)?;
        match bias {
            Some(bias) if bias.shape() != [channels] => Err(Error::shape(format!(
                "{OP}: {channels} channels, but a bias of shape {:?}",
                bias.shape()
            ))),
            Some(bias) => y.add(&bias.reshape([channels, 1, 1, 1])?),
            None => y.contiguous(),
        }
    })
}

const D: (f64, f64) = (-1.0, 1.0);

/// For the generic tests.
pub(in crate::ops) static CONVOLUTIONS: &[OpInfo] = &[
    OpInfo {
        name: "conv1d",
        samples: || {
            vec![Sample::new(&[(&[2, 2, 5], D), (&[3, 2, 2], D), (&[3], D)], |x| {
                let options = Conv1dOptions { stride: [2], padding: [1], ..Default::default() };
                conv1d(&x[0], &x[1], Some(&x[2]), options)
            })]
        },
    },
    OpInfo {
        name: "conv3d",
        samples: || {
            vec![Sample::new(&[(&[1, 2, 4, 3, 3], D), (&[2, 1, 2, 2, 1], D), (&[2], D)], |x| {
                let options =
                    Conv3dOptions { stride: [2, 1, 1], padding: [1, 0, 1], dilation: [2, 1, 1], groups: 2 };
                conv3d(&x[0], &x[1], Some(&x[2]), options)
            })]
        },
    },
    OpInfo {
        name: "conv_transpose1d",
        samples: || {
            vec![Sample::new(&[(&[2, 2, 3], D), (&[2, 2, 2], D), (&[2], D)], |x| {
                let options = ConvTranspose1dOptions { stride: [2], ..Default::default() };
                conv_transpose1d(&x[0], &x[1], Some(&x[2]), options)
            })]
        },
    },
    OpInfo {
        name: "conv_transpose3d",
        samples: || {
            vec![Sample::new(&[(&[1, 2, 2, 2, 2], D), (&[2, 1, 2, 2, 1], D), (&[2], D)], |x| {
                let options = ConvTranspose3dOptions {
                    stride: [2, 1, 1],
                    padding: [1, 0, 0],
                    output_padding: [1, 0, 0],
                    dilation: [2, 1, 1],
                    groups: 2,
                };
                conv_transpose3d(&x[0], &x[1], Some(&x[2]), options)
            })]
        },
    },
];
