//! Dropout of whole channels, and dropout that keeps mean and variance.

use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

fn check(op: &str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::argument(format!("{op}: the probability {p} must lie in [0, 1]")))
}

/// A tensor of ones and zeros, 1 with probability 1 − p, drawn per sample and channel.
fn kept_channels(op: &str, x: &Tensor, p: f64) -> Result<Tensor> {
    if x.dim() < 2 {
        return Err(Error::shape(format!("{op}: needs [N, C, …], found shape {:?}", x.shape())));
    }
    let mut shape = Dims::from_elem(1, x.dim());
    shape[0] = x.shape()[0];
    shape[1] = x.shape()[1];
    let kept = Tensor::zeros(shape.as_slice(), float_dtype(op, x)?)?;
    kept.bernoulli_(1.0 - p)?;
    Ok(kept)
}

/// Zeroes whole channels of `[N, C, …]` with probability `p` and divides the others by 1 − p; the input itself unless
/// training.
fn channels(op: &str, x: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    check(op, p)?;
    if !training || p == 0.0 || x.numel() == 0 {
        return Ok(x.clone());
    }
    if p == 1.0 {
        return x.mul(&x.detach().zeros_like()?);
    }
    let kept = kept_channels(op, x, p)?;
    kept.div_(1.0 - p)?;
    x.mul(&kept)
}

/// [`channels`] of an input that may lack the dimension of samples.
fn spatial(op: &str, x: &Tensor, p: f64, training: bool, rank: usize) -> Result<Tensor> {
    if !(rank - 1..=rank).contains(&x.dim()) {
        return Err(Error::shape(format!(
            "{op}: needs {} or {rank} dimensions, found shape {:?}",
            rank - 1,
            x.shape()
        )));
    }
    if x.dim() == rank {
        return channels(op, x, p, training);
    }
    channels(op, &x.unsqueeze(0)?, p, training)?.squeeze(0)
}

/// Zeroes whole channels of `[N, C, L]` or `[C, L]`, as [`dropout2d`] does.
///
/// # Errors
///
/// As there.
pub fn dropout1d(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    spatial("dropout1d", input, p, training, 3)
}

/// Zeroes whole channels of `[N, C, …]` with probability `p` and divides the others by 1 − p; the input itself unless
/// training.
///
/// As in PyTorch the first dimension is always that of samples: of `[C, H, W]` it is rows that are dropped.
///
/// # Errors
///
/// If `p` lies outside [0, 1], or the shape or dtype does not fit.
///
/// ```
/// use sconce::{DType, Tensor, functional::dropout2d};
/// let y = dropout2d(&Tensor::ones([2, 8, 3, 3], DType::F32)?, 0.5, true)?;
/// for channel in y.to_vec::<f32>()?.chunks(9) {
///     assert!(channel == [0.0; 9] || channel == [2.0; 9]);
/// }
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn dropout2d(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    channels("dropout2d", input, p, training)
}

/// Zeroes whole channels of `[N, C, D, H, W]` or `[C, D, H, W]`, as [`dropout2d`] does.
///
/// # Errors
///
/// As there.
pub fn dropout3d(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    spatial("dropout3d", input, p, training, 5)
}

/// Sets elements to the least value of SELU with probability `p`, and rescales so that mean and variance stay; the
/// input itself unless training.
///
/// # Errors
///
/// As [`dropout2d`].
///
/// ```
/// use sconce::{DType, Tensor, functional::alpha_dropout};
/// let x = Tensor::randn([100], DType::F32)?;
/// assert!(alpha_dropout(&x, 0.3, false)?.is(&x));
/// assert_eq!(alpha_dropout(&x, 0.3, true)?.shape(), [100]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn alpha_dropout(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    const OP: &str = "alpha_dropout";
    alpha(OP, input, p, training, |x| {
        let kept = Tensor::zeros(x.shape(), float_dtype(OP, x)?)?;
        kept.bernoulli_(1.0 - p)?;
        Ok(kept)
    })
}

/// [`alpha_dropout`] of whole channels.
///
/// # Errors
///
/// As there.
pub fn feature_alpha_dropout(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    const OP: &str = "feature_alpha_dropout";
    alpha(OP, input, p, training, |x| kept_channels(OP, x, p))
}

fn alpha(
    op: &str,
    x: &Tensor,
    p: f64,
    training: bool,
    draw: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    /// The scale of SELU times its slope.
    const ALPHA: f64 = 1.758_099_340_847_376_6;
    check(op, p)?;
    if !training || p == 0.0 || x.numel() == 0 {
        return Ok(x.clone());
    }
    if p == 1.0 {
        return x.mul(&x.detach().zeros_like()?);
    }
    let kept = draw(x)?;
    let a = 1.0 / ((ALPHA * ALPHA * p + 1.0) * (1.0 - p)).sqrt();
    let shift = kept.sub(1.0)?.mul(ALPHA * a)?.add(ALPHA * a * p)?;
    x.mul(&kept.mul(a)?)?.add(&shift)
}

/// For the generic tests; in training they would have to be repeatable.
pub(in crate::ops) static DROPOUTS: &[OpInfo] = &[OpInfo {
    name: "alpha_dropout",
    samples: || {
        vec![Sample::new(&[(&[2, 3, 4], (-2.0, 2.0))], |x| {
            crate::random::fork_rng(|| {
                crate::random::manual_seed(1);
                alpha_dropout(&x[0], 0.4, true)
            })
        })]
    },
}];
