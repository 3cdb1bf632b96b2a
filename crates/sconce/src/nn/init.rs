//! Initial values of parameters; PyTorch's `torch.nn.init`, with its numbers.
//!
//! Every function fills a tensor in place without recording. Bounds and deviations are computed in float64, in
//! PyTorch's order, so that after [`manual_seed`](crate::manual_seed) the values are PyTorch's bit for bit.

mod matrix;

pub(super) use matrix::orthonormal_columns;
pub use matrix::{orthogonal_, sparse_};

use crate::tensor::{DType, Tensor};
use crate::{Error, Result, no_grad};

/// Which side of a layer a deviation is to be kept even across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// The inputs: the forward pass.
    #[default]
    In,
    /// The outputs: the backward pass.
    Out,
}

/// The function that follows a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None: gain 1.
    Linear,
    /// Gain 1.
    Sigmoid,
    /// Gain 5/3.
    Tanh,
    /// Gain √2.
    Relu,
    /// Gain √(2 / (1 + slope²)).
    LeakyRelu(f64),
    /// Gain 3/4.
    Selu,
}

impl Default for Nonlinearity {
    /// Leaky ReLU of slope 0, PyTorch's default.
    fn default() -> Self {
        Self::LeakyRelu(0.0)
    }
}

/// The factor by which a nonlinearity wants the deviation of weights scaled.
///
/// ```
/// use sconce::nn::init::{Nonlinearity, calculate_gain};
/// assert_eq!(calculate_gain(Nonlinearity::LeakyRelu(1.0)), 1.0);
/// ```
pub fn calculate_gain(nonlinearity: Nonlinearity) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => 2f64.sqrt(),
        Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
        Nonlinearity::Selu => 0.75,
    }
}

/// How many inputs and outputs each element of a weight `[out, in, …]` connects: `(fan_in, fan_out)`.
///
/// # Errors
///
/// If there are fewer than two dimensions.
///
/// ```
/// use sconce::{DType, Tensor, nn::init::fans};
/// assert_eq!(fans(&Tensor::zeros([8, 3, 5, 5], DType::F32)?)?, (75, 200));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn fans(weight: &Tensor) -> Result<(usize, usize)> {
    match weight.shape() {
        [out, inputs, area @ ..] => {
            let area: usize = area.iter().product();
            Ok((inputs * area, out * area))
        }
        shape => Err(Error::shape(format!(
            "fans: a weight needs at least 2 dimensions to have fan in and fan out, found {shape:?}"
        ))),
    }
}

/// Fills with U(a, b).
///
/// # Errors
///
/// As [`Tensor::uniform_`].
pub fn uniform_(tensor: &Tensor, a: f64, b: f64) -> Result<()> {
    no_grad(|| tensor.uniform_(a, b))
}

/// Fills with N(mean, std²).
///
/// # Errors
///
/// As [`Tensor::normal_`].
pub fn normal_(tensor: &Tensor, mean: f64, std: f64) -> Result<()> {
    no_grad(|| tensor.normal_(mean, std))
}

/// Fills with a value.
///
/// # Errors
///
/// As [`Tensor::fill_`].
pub fn constant_(tensor: &Tensor, value: f64) -> Result<()> {
    no_grad(|| tensor.fill_(value))
}

/// Fills with 1.
///
/// # Errors
///
/// As [`Tensor::fill_`].
pub fn ones_(tensor: &Tensor) -> Result<()> {
    constant_(tensor, 1.0)
}

/// Fills with 0.
///
/// # Errors
///
/// As [`Tensor::fill_`].
pub fn zeros_(tensor: &Tensor) -> Result<()> {
    constant_(tensor, 0.0)
}

/// Fills with U(−√3·s, √3·s) for s = gain / √fan (He et al. 2015).
///
/// # Errors
///
/// If there are fewer than two dimensions, or as [`Tensor::uniform_`].
///
/// ```
/// use sconce::nn::init::{Fan, Nonlinearity, kaiming_uniform_};
/// use sconce::{DType, Tensor, manual_seed};
///
/// manual_seed(0);
/// let weight = Tensor::zeros([1, 2], DType::F32)?;
/// kaiming_uniform_(&weight, Fan::In, Nonlinearity::LeakyRelu(5f64.sqrt()))?;
/// assert_eq!(weight.to_vec::<f32>()?, [-0.005293981, 0.3793229]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn kaiming_uniform_(tensor: &Tensor, fan: Fan, nonlinearity: Nonlinearity) -> Result<()> {
    if tensor.numel() == 0 {
        return Ok(());
    }
    let bound = 3f64.sqrt() * kaiming_deviation(tensor, fan, nonlinearity)?;
    uniform_(tensor, -bound, bound)
}

/// Fills with N(0, s²) for s = gain / √fan (He et al. 2015).
///
/// # Errors
///
/// If there are fewer than two dimensions, or as [`Tensor::normal_`].
pub fn kaiming_normal_(tensor: &Tensor, fan: Fan, nonlinearity: Nonlinearity) -> Result<()> {
    if tensor.numel() == 0 {
        return Ok(());
    }
    normal_(tensor, 0.0, kaiming_deviation(tensor, fan, nonlinearity)?)
}

fn kaiming_deviation(tensor: &Tensor, fan: Fan, nonlinearity: Nonlinearity) -> Result<f64> {
    let (fan_in, fan_out) = fans(tensor)?;
    let fan = match fan {
        Fan::In => fan_in,
        Fan::Out => fan_out,
    };
    Ok(calculate_gain(nonlinearity) / (fan as f64).sqrt())
}

/// Fills with U(−√3·s, √3·s) for s = gain · √(2 / (fan in + fan out)) (Glorot and Bengio 2010).
///
/// # Errors
///
/// If there are fewer than two dimensions, or as [`Tensor::uniform_`].
pub fn xavier_uniform_(tensor: &Tensor, gain: f64) -> Result<()> {
    let bound = 3f64.sqrt() * xavier_deviation(tensor, gain)?;
    if tensor.numel() == 0 { Ok(()) } else { uniform_(tensor, -bound, bound) }
}

/// Fills with N(0, s²) for s = gain · √(2 / (fan in + fan out)) (Glorot and Bengio 2010).
///
/// # Errors
///
/// If there are fewer than two dimensions, or as [`Tensor::normal_`].
pub fn xavier_normal_(tensor: &Tensor, gain: f64) -> Result<()> {
    let std = xavier_deviation(tensor, gain)?;
    if tensor.numel() == 0 { Ok(()) } else { normal_(tensor, 0.0, std) }
}

fn xavier_deviation(tensor: &Tensor, gain: f64) -> Result<f64> {
    let (fan_in, fan_out) = fans(tensor)?;
    Ok(gain * (2.0 / (fan_in + fan_out) as f64).sqrt())
}

/// After so many drafts of a whole tensor something is wrong with the bounds.
const DRAFTS: usize = 100_000;

/// Fills with N(mean, std²) restricted to [a, b].
///
/// # Errors
///
/// If `std` is not positive or `a` is greater than `b`; if [a, b] is so far out that drawing would not end; as
/// [`Tensor::normal_`].
pub fn trunc_normal_(tensor: &Tensor, mean: f64, std: f64, a: f64, b: f64) -> Result<()> {
    let sound = std > 0.0 && std.is_finite() && mean.is_finite() && a <= b;
    if !sound {
        return Err(Error::argument(format!(
            "trunc_normal_: expected std > 0 and a <= b, found mean {mean}, std {std}, a {a}, b {b}"
        )));
    }
    let below = |x: f64| -> Result<f64> {
        Ok((1.0 + Tensor::scalar((x - mean) / std / 2f64.sqrt()).erf()?.item()?) / 2.0)
    };
    no_grad(|| {
        if below(b)? - below(a)? > 0.3 {
            redraw_outside(tensor, mean, std, a, b)
        } else {
            reject_by_density(tensor, mean, std, a, b)
        }
    })
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to(DType::F64)?.to_vec()
}

fn put(tensor: &Tensor, values: Vec<f64>) -> Result<()> {
    tensor.copy_(&Tensor::from_vec(values, tensor.shape())?)
}

fn endless() -> Error {
    Error::argument(format!("trunc_normal_: no end after {DRAFTS} drafts; the interval is too far out"))
}

/// Draws normals, and again those that lie outside.
fn redraw_outside(tensor: &Tensor, mean: f64, std: f64, a: f64, b: f64) -> Result<()> {
    let rounded = |x: f64| Tensor::full((), x, tensor.dtype())?.item();
    let (low, high) = (rounded(a)?, rounded(b)?);
    tensor.normal_(mean, std)?;
    let mut drawn = values(tensor)?;
    for _ in 0..DRAFTS {
        let outside: Vec<usize> = (0..drawn.len()).filter(|&i| drawn[i] < low || drawn[i] > high).collect();
        if outside.is_empty() {
            return put(tensor, drawn);
        }
        let draft = tensor.zeros_like()?;
        draft.normal_(mean, std)?;
        let draft = values(&draft)?;
        outside.into_iter().for_each(|i| drawn[i] = draft[i]);
    }
    Err(endless())
}

/// Draws uniforms, and again those that the density refuses.
fn reject_by_density(tensor: &Tensor, mean: f64, std: f64, a: f64, b: f64) -> Result<()> {
    let peak = -0.5 * ((mean.min(b).max(a) - mean) / std).powi(2);
    let mut drawn = vec![0.0; tensor.numel()];
    let mut pending: Vec<usize> = (0..drawn.len()).collect();
    let (candidates, chance) = (tensor.zeros_like()?, tensor.zeros_like()?);
    for _ in 0..DRAFTS {
        candidates.uniform_(a, b)?;
        chance.uniform_(0.0, 1.0)?;
        let distance = candidates.sub(mean)?.div(std)?;
        let density = values(&distance.mul(&distance)?.mul(-0.5)?.sub(peak)?)?;
        let (draft, chance) = (values(&candidates)?, values(&chance.log()?)?);
        pending.iter().for_each(|&i| drawn[i] = draft[i]);
        pending.retain(|&i| chance[i] > density[i]);
        if pending.is_empty() {
            return put(tensor, drawn);
        }
    }
    Err(endless())
}

/// Fills with the identity matrix, also where the matrix is not square.
///
/// # Errors
///
/// If there are not two dimensions, or as [`Tensor::fill_`].
pub fn eye_(tensor: &Tensor) -> Result<()> {
    let &[rows, columns] = tensor.shape() else {
        return Err(Error::shape(format!("eye_: expected 2 dimensions, found {:?}", tensor.shape())));
    };
    no_grad(|| {
        tensor.zero_()?;
        (0..rows.min(columns)).try_for_each(|i| tensor.select(0, i as isize)?.select(0, i as isize)?.fill_(1))
    })
}

/// Fills the weight of a convolution so that it passes on as many channels as it can, in each group.
///
/// # Errors
///
/// If there are not 3, 4 or 5 dimensions, the groups do not divide the first, or as [`Tensor::fill_`].
pub fn dirac_(tensor: &Tensor, groups: usize) -> Result<()> {
    let shape = tensor.shape();
    if !(3..=5).contains(&shape.len()) || groups == 0 || !shape[0].is_multiple_of(groups) {
        return Err(Error::shape(format!(
            "dirac_: expected 3, 4 or 5 dimensions, the first divisible by {groups} groups, found {shape:?}"
        )));
    }
    let per_group = shape[0] / groups;
    no_grad(|| {
        tensor.zero_()?;
        for out in 0..shape[0] {
            let input = out % per_group;
            if input < shape[1] {
                let mut at = tensor.select(0, out as isize)?.select(0, input as isize)?;
                for &n in &shape[2..] {
                    at = at.select(0, (n / 2) as isize)?;
                }
                at.fill_(1)?;
            }
        }
        Ok(())
    })
}
