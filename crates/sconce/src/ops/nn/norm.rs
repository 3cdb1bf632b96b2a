//! Normalisation of batches, layers and groups.

use std::sync::OnceLock;

use smallvec::{SmallVec, smallvec};

use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::layers;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::sizes::keepdim;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// Which of two optional parameters follow the input in a list of inputs.
#[derive(Clone, Copy, Debug)]
struct Parameters {
    weight: bool,
    bias: bool,
}

impl Parameters {
    fn of(weight: Option<&Tensor>, bias: Option<&Tensor>) -> Self {
        Self { weight: weight.is_some(), bias: bias.is_some() }
    }

    fn weight(self) -> Option<usize> {
        self.weight.then_some(1)
    }

    fn bias(self) -> Option<usize> {
        self.bias.then_some(1 + usize::from(self.weight))
    }

    fn pick<'a>(self, inputs: &[&'a Tensor]) -> (Option<&'a Tensor>, Option<&'a Tensor>) {
        (self.weight().map(|i| inputs[i]), self.bias().map(|i| inputs[i]))
    }

    /// The input, and the weight that its gradient reads.
    fn saves(self, needs: &[bool]) -> Saves {
        let weight = self.weight().map_or(Saves::NONE, Saves::input);
        Saves::input(0).and(weight.when(needs[0]))
    }

    fn saved_weight(self, saved: &Saved<'_>) -> Result<Option<Tensor>> {
        self.weight().filter(|_| saved.needs(0)).map(|i| saved.input(i)).transpose()
    }

    fn wanted(self, saved: &Saved<'_>) -> [bool; 3] {
        let needs = |i: Option<usize>| i.is_some_and(|i| saved.needs(i));
        [saved.needs(0), needs(self.weight()), needs(self.bias())]
    }

    /// The gradients in the order of the inputs.
    fn grads(self, [x, weight, bias]: [Option<Tensor>; 3]) -> Grads {
        let mut grads: Grads = smallvec![x];
        grads.extend(self.weight.then_some(weight));
        grads.extend(self.bias.then_some(bias));
        grads
    }
}

/// The gradients of a normalisation as recorded operations, so that they can be differentiated again.
///
/// `over` are the dimensions that were normalised, `params` those that parameters are shared over. `stats` are mean and
/// reciprocal deviation where they are constants.
#[derive(Clone, Copy)]
struct Recorded<'a> {
    over: &'a [usize],
    params: &'a [usize],
    eps: f64,
    stats: Option<(&'a Tensor, &'a Tensor)>,
}

impl Recorded<'_> {
    /// `weight` broadcasts with `x`.
    fn grads(
        self,
        x: &Tensor,
        grad: &Tensor,
        weight: Option<&Tensor>,
        wanted: [bool; 3],
    ) -> Result<[Option<Tensor>; 3]> {
        let over = || keepdim(self.over);
        let (centred, scale) = match self.stats {
            Some((mean, scale)) => (x.sub(mean)?, scale.clone()),
            None => {
                let centred = x.sub(&x.mean(over())?)?;
                let scale = centred.square()?.mean(over())?.add(self.eps)?.rsqrt()?;
                (centred, scale)
            }
        };
        let normal = centred.mul(&scale)?;
        let weighted = weight.map_or(Ok(grad.clone()), |w| grad.mul(w))?;
        let of_x = if !wanted[0] {
            None
        } else if self.stats.is_some() {
            Some(weighted.mul(&scale)?)
        } else {
            let along = normal.mul(&weighted.mul(&normal)?.mean(over())?)?;
            Some(weighted.sub(&weighted.mean(over())?)?.sub(&along)?.mul(&scale)?)
        };
        let shared = |t: &Tensor| if self.params.is_empty() { Ok(t.clone()) } else { t.sum(self.params) };
        let of_weight = if wanted[1] { Some(shared(&grad.mul(&normal)?)?) } else { None };
        let of_bias = if wanted[2] { Some(shared(grad)?) } else { None };
        Ok([of_x, of_weight, of_bias])
    }
}

/// A vector per channel, broadcasting with `[N, C, …]`.
fn along_channels(t: &Tensor, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1isize; rank];
    shape[1] = -1;
    t.reshape(shape)
}

#[derive(Debug)]
struct BatchNorm {
    mean: Tensor,
    /// 1 / √(variance + eps).
    scale: Tensor,
    eps: f64,
    training: bool,
    parameters: Parameters,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (weight, bias) = self.parameters.pick(x);
        layers::batch_norm("batch_norm", x[0], (&self.mean, &self.scale), weight, bias)
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        self.parameters.saves(needs)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (x, weight) = (saved.input(0)?, self.parameters.saved_weight(saved)?);
        let wanted = self.parameters.wanted(saved);
        let grads = if is_grad_enabled() {
            let rank = x.dim();
            let along = |t: &Tensor| along_channels(t, rank);
            let (mean, scale) = (along(&self.mean)?, along(&self.scale)?);
            let over: Vec<usize> = (0..rank).filter(|&d| d != 1).collect();
            let stats = (!self.training).then_some((&mean, &scale));
            let weight = weight.as_ref().map(along).transpose()?;
            Recorded { over: &over, params: &over, eps: self.eps, stats }.grads(
                &x,
                grad,
                weight.as_ref(),
                wanted,
            )?
        } else {
            let stats = (&self.mean, &self.scale);
            layers::batch_norm_backward(
                "batch_norm",
                &x,
                grad,
                stats,
                weight.as_ref(),
                self.training,
                wanted,
            )?
        };
        Ok(self.parameters.grads(grads))
    }
}

/// What [`batch_norm`] keeps of the batches it has seen.
#[derive(Clone, Copy, Debug)]
pub struct RunningStats<'a> {
    /// The mean of each channel.
    pub mean: &'a Tensor,
    /// The variance of each channel.
    pub var: &'a Tensor,
}

/// Normalises each channel of `[N, C, …]`, then scales it by `weight` and shifts it by `bias`.
///
/// In training mean and (biased) variance are those of the batch, and the running ones move towards them (towards the
/// unbiased variance) by the part `momentum`, PyTorch's default being 0.1; otherwise the running ones are used.
/// `eps`, by default 1e-5, is added to the variance.
///
/// # Errors
///
/// If shapes or dtypes do not fit; if in training there is a single value per channel or `eps` is not positive; if outside it
/// there are no running statistics.
///
/// ```
/// use sconce::{DType, Tensor, functional::{RunningStats, batch_norm}};
/// let x = Tensor::from_vec(vec![1.0f32, 3.0], [2, 1])?;
/// let (mean, var) = (Tensor::zeros([1], DType::F32)?, Tensor::ones([1], DType::F32)?);
/// let running = RunningStats { mean: &mean, var: &var };
/// let y = batch_norm(&x, Some(running), None, None, true, 0.1, 1e-12)?;
/// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0]);
/// assert_eq!((mean.to_vec::<f32>()?[0], var.to_vec::<f32>()?[0]), (0.2, 1.1));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn batch_norm(
    input: &Tensor,
    running: Option<RunningStats<'_>>,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    training: bool,
    momentum: f64,
    eps: f64,
) -> Result<Tensor> {
    const OP: &str = "batch_norm";
    float_dtype(OP, input)?;
    if input.dim() < 2 && input.shape() != [0] {
        return Err(Error::shape(format!("{OP}: needs [N, C, …], found shape {:?}", input.shape())));
    }
    if training && !(eps > 0.0) {
        return Err(Error::argument(format!("{OP}: eps must be positive in training, found {eps}")));
    }
    // An empty vector has no channels, as in PyTorch.
    let channels = input.shape().get(1).copied().unwrap_or(0);
    let all = [
        ("weight", weight),
        ("bias", bias),
        ("running mean", running.map(|r| r.mean)),
        ("running variance", running.map(|r| r.var)),
    ];
    for (name, t) in all {
        if let Some(t) = t
            && t.shape() != [channels]
        {
            return Err(Error::shape(format!(
                "{OP}: {channels} channels, but {name} of shape {:?}",
                t.shape()
            )));
        }
    }
    if input.numel() == 0 {
        return apply(Empty(Parameters::of(weight, bias)), &present([Some(input), weight, bias]));
    }
    let count = input.numel() / channels;
    let wide = layers::wide(input.dtype());
    let (mean, var) = if training {
        if count == 1 {
            return Err(Error::shape(format!(
                "{OP}: needs more than one value per channel in training, found shape {:?}",
                input.shape()
            )));
        }
        let (mean, var) = layers::batch_norm_stats(OP, input)?;
        if let Some(running) = running {
            crate::no_grad(|| {
                move_towards(running.mean, &mean, momentum)?;
                move_towards(running.var, &var.mul(count as f64 / (count as f64 - 1.0))?, momentum)
            })?;
        }
        (mean, var)
    } else {
        let Some(running) = running else {
            return Err(Error::argument(format!("{OP}: needs running statistics outside training")));
        };
        // Copies: what a later batch changes is not what this one was normalised with.
        (running.mean.detach().copy()?.to(wide)?, running.var.detach().copy()?.to(wide)?)
    };
    let scale = var.add(eps)?.rsqrt()?;
    let op = BatchNorm { mean, scale, eps, training, parameters: Parameters::of(weight, bias) };
    apply(op, &present([Some(input), weight, bias]))
}

fn present(inputs: [Option<&Tensor>; 3]) -> SmallVec<[&Tensor; 3]> {
    inputs.into_iter().flatten().collect()
}

/// A batch of nothing: running statistics stay as they are, and parameters have a gradient of 0.
#[derive(Debug)]
struct Empty(Parameters);

impl Op for Empty {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].zeros_like()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let wanted = self.0.wanted(saved);
        let inputs = [Some(0), self.0.weight(), self.0.bias()];
        let zeros = |k: usize| match inputs[k] {
            Some(i) if wanted[k] => Tensor::zeros(saved.shape(i)?.as_slice(), grad.dtype()).map(Some),
            _ => Ok(None),
        };
        Ok(self.0.grads([zeros(0)?, zeros(1)?, zeros(2)?]))
    }
}

/// `running += part · (value − running)`.
fn move_towards(running: &Tensor, value: &Tensor, part: f64) -> Result<()> {
    running.mul_(1.0 - part)?;
    running.add_(&value.mul(part)?.to(running.dtype())?)
}

#[derive(Debug)]
struct LayerNorm {
    cols: usize,
    eps: f64,
    parameters: Parameters,
    /// Means and reciprocal deviations of the rows, once they are known.
    stats: OnceLock<(Tensor, Tensor)>,
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (weight, bias) = self.parameters.pick(x);
        let (y, mean, rstd) = layers::layer_norm("layer_norm", x[0], self.cols, weight, bias, self.eps)?;
        let _ = self.stats.set((mean, rstd));
        Ok(y)
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        self.parameters.saves(needs)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (x, weight) = (saved.input(0)?, self.parameters.saved_weight(saved)?);
        let wanted = self.parameters.wanted(saved);
        let grads = if is_grad_enabled() {
            let mut size = 1;
            let rows = x
                .shape()
                .iter()
                .rev()
                .take_while(|&&n| (size < self.cols).then(|| size *= n).is_some())
                .count();
            let rows = x.dim() - rows;
            let (over, params): (Vec<usize>, Vec<usize>) = ((rows..x.dim()).collect(), (0..rows).collect());
            Recorded { over: &over, params: &params, eps: self.eps, stats: None }.grads(
                &x,
                grad,
                weight.as_ref(),
                wanted,
            )?
        } else {
            let (mean, rstd) =
                self.stats.get().ok_or_else(|| Error::autograd("layer_norm: backward before forward"))?;
            let stats = (mean, rstd);
            let [x, of_weight, of_bias] = layers::layer_norm_backward(
                "layer_norm",
                &x,
                grad,
                self.cols,
                stats,
                weight.as_ref(),
                wanted,
            )?;
            [
                x,
                self.like_parameter(of_weight, saved, self.parameters.weight())?,
                self.like_parameter(of_bias, saved, self.parameters.bias())?,
            ]
        };
        Ok(self.parameters.grads(grads))
    }
}

impl LayerNorm {
    /// A vector in the shape of the parameter that it is the gradient of.
    fn like_parameter(
        &self,
        grad: Option<Tensor>,
        saved: &Saved<'_>,
        input: Option<usize>,
    ) -> Result<Option<Tensor>> {
        match (grad, input) {
            (Some(grad), Some(i)) => grad.reshape(saved.shape(i)?.as_slice()).map(Some),
            _ => Ok(None),
        }
    }
}

/// Normalises over the last dimensions, `normalized_shape`, then scales by `weight` and shifts by `bias` of that shape.
/// `eps`, by default 1e-5 in PyTorch, is added to the variance.
///
/// # Errors
///
/// If the input's last dimensions or a parameter do not have that shape, or the dtype is not floating point.
///
/// ```
/// use sconce::{Tensor, functional::layer_norm};
/// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 10.0], [2, 2])?;
/// assert_eq!(layer_norm(&x, &[2], None, None, 1e-12)?.to_vec::<f32>()?, [-1.0, 1.0, 0.0, 0.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn layer_norm(
    input: &Tensor,
    normalized_shape: &[usize],
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    float_dtype(OP, input)?;
    let fits = |t: Option<&Tensor>| t.is_none_or(|t| t.shape() == normalized_shape);
    if normalized_shape.is_empty()
        || !input.shape().ends_with(normalized_shape)
        || !fits(weight)
        || !fits(bias)
    {
        return Err(Error::shape(format!(
            "{OP}: normalized_shape {normalized_shape:?} does not fit input {:?}, weight {:?} and bias {:?}",
            input.shape(),
            weight.map(Tensor::shape),
            bias.map(Tensor::shape)
        )));
    }
    let cols: usize = normalized_shape.iter().product();
    if cols == 0 {
        return input.copy();
    }
    let op = LayerNorm { cols, eps, parameters: Parameters::of(weight, bias), stats: OnceLock::new() };
    apply(op, &present([Some(input), weight, bias]))
}

/// Normalises each of `num_groups` groups of channels of each sample of `[N, C, …]`, then scales and shifts by channel.
///
/// # Errors
///
/// If the groups do not divide the channels, or a parameter is no vector with an element per channel.
///
/// ```
/// use sconce::{DType, Tensor, functional::group_norm};
/// let x = Tensor::arange(0, 8, 1, DType::F32)?.view([1, 4, 2])?;
/// let y = group_norm(&x, 2, None, None, 1e-5)?;
/// assert!(y.sum([1, 2])?.item()?.abs() < 1e-5);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn group_norm(
    input: &Tensor,
    num_groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    const OP: &str = "group_norm";
    let channels = input.shape().get(1).copied().unwrap_or(0);
    let fits = |t: Option<&Tensor>| t.is_none_or(|t| t.shape() == [channels]);
    if input.dim() < 2 || num_groups == 0 || channels % num_groups != 0 || !fits(weight) || !fits(bias) {
        return Err(Error::shape(format!(
            "{OP}: {num_groups} groups do not fit input {:?}, weight {:?} and bias {:?}",
            input.shape(),
            weight.map(Tensor::shape),
            bias.map(Tensor::shape)
        )));
    }
    let size = input.numel().checked_div(input.shape()[0] * num_groups).unwrap_or(0);
    let dtype = float_dtype(OP, input)?;
    let input = &input.to(layers::wide(dtype))?;
    let mut y = if size == 0 {
        input.clone()
    } else {
        let groups = input.reshape([input.shape()[0] * num_groups, size])?;
        layer_norm(&groups, &[size], None, None, eps).map_err(|e| e.context(OP))?.reshape(input.shape())?
    };
    if let Some(weight) = weight {
        y = y.mul(&along_channels(weight, input.dim())?)?;
    }
    if let Some(bias) = bias {
        y = y.add(&along_channels(bias, input.dim())?)?;
    }
    y.to(dtype)
}

/// Divides by the root of the mean square over the last dimensions, `normalized_shape`, then scales by `weight`.
///
/// # Errors
///
/// As [`layer_norm`].
///
/// ```
/// use sconce::{Tensor, functional::rms_norm};
/// let x = Tensor::from_vec(vec![3.0f32, -3.0], [2])?;
/// assert_eq!(rms_norm(&x, &[2], None, Some(0.0))?.to_vec::<f32>()?, [1.0, -1.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn rms_norm(
    input: &Tensor,
    normalized_shape: &[usize],
    weight: Option<&Tensor>,
    eps: Option<f64>,
) -> Result<Tensor> {
    const OP: &str = "rms_norm";
    let dtype = float_dtype(OP, input)?;
    let fits = weight.is_none_or(|t| t.shape() == normalized_shape);
    if normalized_shape.is_empty() || !input.shape().ends_with(normalized_shape) || !fits {
        return Err(Error::shape(format!(
            "{OP}: normalized_shape {normalized_shape:?} does not fit input {:?} and weight {:?}",
            input.shape(),
            weight.map(Tensor::shape)
        )));
    }
    let wide = layers::wide(dtype);
    let eps = eps.unwrap_or(if wide == crate::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) });
    let dims: Dims = (input.dim() - normalized_shape.len()..input.dim()).collect();
    let x = input.to(wide)?;
    let y = x.mul(&x.square()?.mean(keepdim(dims.as_slice()))?.add(eps)?.rsqrt()?)?;
    weight.map_or(Ok(y.clone()), |weight| y.mul(weight))?.to(dtype)
}

const D: (f64, f64) = (-2.0, 2.0);

fn stats(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = Tensor::from_vec(vec![0.1, -0.2, 0.3], [3])?.to(x.dtype())?;
    Ok((mean, Tensor::from_vec(vec![0.5, 1.5, 2.0], [3])?.to(x.dtype())?))
}

/// For the generic tests.
pub(in crate::ops) static NORMALISATIONS: &[OpInfo] = &[
    OpInfo {
        name: "batch_norm",
        samples: || {
            let shapes: &[(&[usize], _)] = &[(&[4, 3, 2], D), (&[3], D), (&[3], D)];
            vec![
                Sample::new(shapes, |x| batch_norm(&x[0], None, Some(&x[1]), Some(&x[2]), true, 0.1, 1e-5)),
                Sample::new(shapes, |x| {
                    let (mean, var) = stats(&x[0])?;
                    let running = RunningStats { mean: &mean, var: &var };
                    batch_norm(&x[0], Some(running), Some(&x[1]), Some(&x[2]), false, 0.1, 1e-5)
                }),
                Sample::new(&shapes[..1], |x| batch_norm(&x[0], None, None, None, true, 0.1, 1e-5)),
            ]
        },
    },
    OpInfo {
        name: "layer_norm",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4], D), (&[3, 4], D), (&[3, 4], D)], |x| {
                    layer_norm(&x[0], &[3, 4], Some(&x[1]), Some(&x[2]), 1e-5)
                }),
                Sample::new(&[(&[5, 4], D)], |x| layer_norm(&x[0], &[4], None, None, 1e-5)),
            ]
        },
    },
    OpInfo {
        name: "group_norm",
        samples: || {
            vec![Sample::new(&[(&[2, 4, 3], D), (&[4], D), (&[4], D)], |x| {
                group_norm(&x[0], 2, Some(&x[1]), Some(&x[2]), 1e-5)
            })]
        },
    },
    OpInfo {
        name: "rms_norm",
        samples: || {
            vec![Sample::new(&[(&[2, 4], D), (&[4], D)], |x| rms_norm(&x[0], &[4], Some(&x[1]), Some(1e-5)))]
        },
    },
];
