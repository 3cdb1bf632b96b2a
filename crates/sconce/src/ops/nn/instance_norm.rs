//! Normalisation of instances and over neighbouring channels, and of vectors.

use super::pad::zeros_around;
use crate::ops::nn::norm::{RunningStats, batch_norm};
use crate::ops::nn::pool2d::{AvgPool2dOptions, avg_pool2d};
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::sizes::keepdim;
use crate::tensor::{Dims, Tensor};
use crate::{Context, Error, Result, no_grad};

/// Normalises each channel of each sample of `[N, C, …]`, then scales it by `weight` and shifts it by `bias`.
///
/// With `use_input_stats` mean and variance are the sample's, and running ones move towards their means over the samples
/// by the part `momentum`; otherwise the running ones are used.
///
/// # Errors
///
/// As [`batch_norm`].
///
/// ```
/// use sconce::{Tensor, functional::instance_norm};
/// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [2, 1, 2])?;
/// let y = instance_norm(&x, None, None, None, true, 0.1, 1e-12)?;
/// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn instance_norm(
    input: &Tensor,
    running: Option<RunningStats<'_>>,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    use_input_stats: bool,
    momentum: f64,
    eps: f64,
) -> Result<Tensor> {
    const OP: &str = "instance_norm";
    if input.dim() < 2 {
        return Err(Error::shape(format!("{OP}: needs [N, C, …], found shape {:?}", input.shape())));
    }
    let (n, c) = (input.shape()[0], input.shape()[1]);
    let fits = |t: Option<&Tensor>| t.is_none_or(|t| t.shape() == [c]);
    if !fits(weight) || !fits(bias) || !fits(running.map(|r| r.mean)) || !fits(running.map(|r| r.var)) {
        return Err(Error::shape(format!(
            "{OP}: {c} channels, but weight {:?}, bias {:?} and running mean {:?}",
            weight.map(Tensor::shape),
            bias.map(Tensor::shape),
            running.map(|r| r.mean.shape())
        )));
    }
    // A batch of one sample with all channels: each of them is normalised apart.
    let mut shape = Dims::from_slice(input.shape());
    shape[0] = 1;
    shape[1] = n * c;
    let repeated = |t: Option<&Tensor>| t.map(|t| t.repeat([n])).transpose();
    let (weight, bias) = (repeated(weight)?, repeated(bias)?);
    let stats =
        running.map(|r| -> Result<_> { Ok((r.mean.repeat([n])?, r.var.repeat([n])?)) }).transpose()?;
    let stats = stats.as_ref().map(|(mean, var)| RunningStats { mean, var });
    let x = input.reshape(shape.as_slice())?;
    let y = batch_norm(&x, stats, weight.as_ref(), bias.as_ref(), use_input_stats, momentum, eps)
        .context(|| OP)?;
    if let (Some(running), Some(stats), true) = (running, stats, use_input_stats && n > 0) {
        no_grad(|| {
            running.mean.copy_(&stats.mean.reshape([n, c])?.mean(0)?)?;
            running.var.copy_(&stats.var.reshape([n, c])?.mean(0)?)
        })?;
    }
    y.reshape(input.shape())
}

/// Divides by (k + alpha · the mean square over `size` neighbouring channels) to the power `beta`; `[N, C, …]`.
///
/// PyTorch's defaults are alpha 1e-4, beta 0.75 and k 1.
///
/// # Errors
///
/// If there are fewer than three dimensions, or `size` is 0.
///
/// ```
/// use sconce::{Tensor, functional::local_response_norm};
/// let x = Tensor::from_vec(vec![1.0f32, 2.0], [1, 2, 1])?;
/// assert_eq!(local_response_norm(&x, 1, 1.0, 1.0, 0.0)?.to_vec::<f32>()?, [1.0, 0.5]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn local_response_norm(input: &Tensor, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
    const OP: &str = "local_response_norm";
    if input.dim() < 3 || size == 0 {
        return Err(Error::shape(format!(
            "{OP}: needs [N, C, …] of at least 3 dimensions and a size of at least 1, found {:?} and {size}",
            input.shape()
        )));
    }
    if input.numel() == 0 {
        return Ok(input.clone());
    }
    let mean = mean_squares(input, size / 2, (size - 1) / 2).context(|| OP)?;
    input.div(&mean.mul(alpha)?.add(k)?.pow(beta)?)
}

/// The mean square over each channel and so many before and after it, of which those that are missing count as 0.
fn mean_squares(input: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    let (n, c) = (input.shape()[0], input.shape()[1]);
    let rest = input.numel() / (n * c);
    let squares = input.mul(input)?.reshape([n, 1, c, rest])?;
    let squares = zeros_around(&squares, &[(before, after), (0, 0)])?;
    let windows = AvgPool2dOptions { stride: [1, 1], ..AvgPool2dOptions::new([before + 1 + after, 1]) };
    avg_pool2d(&squares, windows)?.reshape(input.shape())
}

/// The values of [`CrossMapLRN2d`](crate::nn::CrossMapLRN2d), which says where they differ from
/// [`local_response_norm`].
pub(crate) fn cross_map_lrn(input: &Tensor, size: usize, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
    const OP: &str = "CrossMapLRN2d";
    if input.dim() != 4 || size == 0 {
        return Err(Error::shape(format!(
            "{OP}: needs [N, C, H, W] and a size of at least 1, found {:?} and {size}",
            input.shape()
        )));
    }
    if input.numel() == 0 {
        return Ok(input.clone());
    }
    let (channels, reach) = (input.shape()[1], size.div_ceil(2));
    let mean = mean_squares(input, reach - 1, reach - 1).context(|| OP)?;
    let mut sums = mean.mul((2 * reach - 1) as f64)?;
    if channels > reach {
        let first = input.narrow(1, 0, 1)?.square()?;
        let late = sums.narrow(1, reach as isize, channels - reach)?.add(&first)?;
        sums = Tensor::cat(&[&sums.narrow(1, 0, reach)?, &late], 1)?;
    }
    input.mul(&sums.mul(alpha / size as f64)?.add(k)?.pow(-beta)?)
}

/// Divides by the p-norm along dimensions, or by `eps` where that is more. PyTorch's defaults are 2, dimension 1, 1e-12.
///
/// # Errors
///
/// If a dimension does not exist or the dtype is not floating point.
///
/// ```
/// use sconce::{Tensor, functional::normalize};
/// let x = Tensor::from_vec(vec![3.0f32, 4.0], [1, 2])?;
/// assert_eq!(normalize(&x, 2.0, 1, 1e-12)?.to_vec::<f32>()?, [0.6, 0.8]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn normalize(
    input: &Tensor,
    p: f64,
    dim: impl crate::tensor::sizes::DimsArg,
    eps: f64,
) -> Result<Tensor> {
    input.div(&input.norm(p, keepdim(dim)).context(|| "normalize")?.clamp_min(eps)?)
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static NORMS: &[OpInfo] = &[
    OpInfo {
        name: "instance_norm",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4], D), (&[3], D), (&[3], D)], |x| {
                instance_norm(&x[0], None, Some(&x[1]), Some(&x[2]), true, 0.1, 1e-5)
            })]
        },
    },
    OpInfo {
        name: "local_response_norm",
        samples: || vec![Sample::new(&[(&[2, 4, 3], D)], |x| local_response_norm(&x[0], 3, 0.3, 0.75, 1.0))],
    },
    OpInfo {
        name: "CrossMapLRN2d",
        samples: || {
            let shapes: &[(&[usize], _)] = &[(&[2, 5, 1, 2], D)];
            [1, 2, 3]
                .map(|size| Sample::new(shapes, move |x| cross_map_lrn(&x[0], size, 0.3, 0.75, 1.0)))
                .into()
        },
    },
    OpInfo {
        name: "normalize",
        samples: || vec![Sample::new(&[(&[2, 4, 3], D)], |x| normalize(&x[0], 2.0, 1, 1e-12))],
    },
];
