//! Losses.

mod classes;

use std::sync::OnceLock;

use smallvec::smallvec;

use self::classes::{Classes, along_classes, same_dtype, weight_of_classes};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::{Kind, kind, layers};
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::sizes::keepdim;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// What becomes of the losses of single elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// They stay.
    None,
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum over the size of the first dimension: the mean of samples; PyTorch has it for `kl_div`.
    BatchMean,
}

impl Reduction {
    /// Applies it to a tensor of losses.
    pub(crate) fn apply(self, losses: &Tensor) -> Result<Tensor> {
        match self {
            Self::None => Ok(losses.clone()),
            Self::Mean => losses.mean(()),
            Self::Sum => losses.sum(()),
            Self::BatchMean => losses.sum(())?.div(losses.shape().first().map_or(1.0, |&n| n as f64)),
        }
    }
}

/// How [`cross_entropy`] weighs and reduces. All classes count alike and the mean is taken by default.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyOptions<'a> {
    /// A weight per class.
    pub weight: Option<&'a Tensor>,
    /// The class index of elements that do not count, −100 by default.
    pub ignore_index: i64,
    /// The mean (over the weights of what counts) by default.
    pub reduction: Reduction,
    /// How much of each target is spread evenly over all classes, from 0 (the default) to 1.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyOptions<'_> {
    fn default() -> Self {
        Self { weight: None, ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
    }
}

/// log Σ eˣ − x at the target, per element: the cross entropy of class indices.
#[derive(Debug, Default)]
struct CrossEntropy {
    /// Each row's greatest logit and logarithm of the sum under it, once they are known; of logits `[N, C]` only.
    logs: OnceLock<Tensor>,
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        if x[0].dim() == 2 {
            let (losses, logs) = layers::cross_entropy(self.name(), x[0], x[1])?;
            let _ = self.logs.set(logs);
            return Ok(losses);
        }
        x[0].log_softmax(1)?.gather(1, x[1])?.neg()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (x, target) = (saved.input(0)?, saved.input(1)?);
        if let (false, Some(logs)) = (is_grad_enabled(), self.logs.get()) {
            let gradient = layers::cross_entropy_backward(self.name(), &x, &target, logs, grad)?;
            return Ok(smallvec![Some(gradient), None]);
        }
        let difference =
            x.softmax(1)?.scatter_add(1, &target, &Tensor::full(target.shape(), -1, x.dtype())?)?;
        Ok(smallvec![Some(difference.mul(grad)?), None])
    }
}

/// The cross entropy of logits `[N, C, …]` (or `[C]`) and targets: class indices `[N, …]`, or probabilities of the
/// input's shape and dtype.
///
/// # Errors
///
/// If shapes or dtypes do not fit, a class index is out of range, or `label_smoothing` lies outside [0, 1].
///
/// ```
/// use sconce::{Tensor, functional};
/// let logits = Tensor::from_vec(vec![0.0f32, 0.0], [1, 2])?;
/// let target = Tensor::from_vec(vec![1i64], [1])?;
/// let loss = functional::cross_entropy(&logits, &target, Default::default())?;
/// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn cross_entropy(input: &Tensor, target: &Tensor, options: CrossEntropyOptions<'_>) -> Result<Tensor> {
    const OP: &str = "cross_entropy";
    let smoothing = options.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::argument(format!("{OP}: label_smoothing {smoothing} must lie in [0, 1]")));
    }
    if target.dtype().is_floating_point() {
        if options.ignore_index >= 0 {
            return Err(Error::argument(format!(
                "{OP}: ignore_index {} needs class indices as target, found probabilities",
                options.ignore_index
            )));
        }
        return of_probabilities(input, target, options);
    }
    same_dtype(OP, input, options.weight)?;
    let classes = Classes::new(OP, input, target, options.ignore_index)?;
    let weights = classes.weights(OP, options.weight)?;
    let weighted =
        |losses: Tensor, weights: Option<&Tensor>| weights.map_or(Ok(losses.clone()), |w| losses.mul(w));
    let x = &classes.input;
    if smoothing == 0.0 {
        let losses = apply(CrossEntropy::default(), &[x, &classes.target])?;
        return classes.reduce(&weighted(losses, weights.as_ref())?, weights.as_ref(), options.reduction);
    }
    let logs = x.log_softmax(1)?;
    let picked = weighted(logs.gather(1, &classes.target)?, weights.as_ref())?;
    let spread = match options.weight {
        Some(w) => logs.mul(&along_classes(&weight_of_classes(OP, w, x.shape())?, x.dim())?)?,
        None => logs,
    };
    let spread = weighted(spread.sum(keepdim(1))?, classes.counts())?;
    let losses = picked.mul(smoothing - 1.0)?.sub(&spread.mul(smoothing / x.shape()[1] as f64)?)?;
    classes.reduce(&losses, weights.as_ref(), options.reduction)
}

fn of_probabilities(input: &Tensor, target: &Tensor, options: CrossEntropyOptions<'_>) -> Result<Tensor> {
    const OP: &str = "cross_entropy";
    float_dtype(OP, input)?;
    if input.shape() != target.shape() || input.dim() == 0 {
        return Err(Error::shape(format!(
            "{OP}: probabilities of shape {:?} for an input of shape {:?}",
            target.shape(),
            input.shape()
        )));
    }
    let dim = isize::from(input.dim() > 1);
    let classes = input.shape()[dim as usize];
    let target = match options.label_smoothing {
        0.0 => target.clone(),
        s => target.mul(1.0 - s)?.add(s / classes as f64)?,
    };
    let mut products = input.log_softmax(dim)?.mul(&target)?;
    if let Some(weight) = options.weight {
        let shape = if input.dim() == 1 { &[1, classes][..] } else { input.shape() };
        let weight = weight_of_classes(OP, weight, shape)?;
        let weight = if input.dim() == 1 { weight } else { along_classes(&weight, input.dim())? };
        products = products.mul(&weight)?;
    }
    let count = input.numel() / classes.max(1);
    match options.reduction {
        Reduction::None => products.sum(dim)?.neg(),
        Reduction::Sum => products.sum(())?.neg(),
        Reduction::Mean => products.sum(())?.div(-(count as f64)),
        Reduction::BatchMean => products.sum(())?.div(-(input.shape()[0] as f64)),
    }
}

/// The negative of the log probabilities `[N, C, …]` (or `[C]`) at class indices `[N, …]`, weighted by class.
///
/// # Errors
///
/// If shapes or dtypes do not fit, or a class index is out of range and not `ignore_index`.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, nll_loss}};
/// let logs = Tensor::from_vec(vec![-0.5f32, -1.0], [1, 2])?;
/// let target = Tensor::from_vec(vec![1i64], [1])?;
/// assert_eq!(nll_loss(&logs, &target, None, -100, Reduction::Mean)?.item()?, 1.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn nll_loss(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    ignore_index: i64,
    reduction: Reduction,
) -> Result<Tensor> {
    const OP: &str = "nll_loss";
    same_dtype(OP, input, weight)?;
    let classes = Classes::new(OP, input, target, ignore_index)?;
    let weights = classes.weights(OP, weight)?;
    let picked = classes.input.gather(1, &classes.target)?;
    let losses = match &weights {
        Some(weights) => picked.mul(&weights.neg()?)?,
        None => picked.neg()?,
    };
    classes.reduce(&losses, weights.as_ref(), reduction)
}

/// The losses times `weight`, which has the shape of the input.
fn weighed(op: &str, input: &Tensor, losses: Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
    let Some(weight) = weight else { return Ok(losses) };
    if weight.shape() != input.shape() {
        return Err(Error::shape(format!(
            "{op}: weights of shape {:?} for an input of shape {:?}",
            weight.shape(),
            input.shape()
        )));
    }
    losses.mul(weight)
}

/// The same reduced, where the mean is over the weights.
fn weighed_mean(
    op: &str,
    input: &Tensor,
    losses: Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let losses = weighed(op, input, losses, weight)?;
    match (weight, reduction) {
        (Some(weight), Reduction::Mean) => losses.sum(())?.div(&weight.sum(())?),
        _ => reduction.apply(&losses),
    }
}

/// The squared difference, times `weight` if there is one; the mean is then divided by the sum of the weights.
///
/// # Errors
///
/// If the shapes do not broadcast, or the weights have another shape than the input.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, mse_loss}};
/// let (x, y) = (Tensor::from_vec(vec![1.0f32, 5.0], [2])?, Tensor::from_vec(vec![1.0f32, 3.0], [2])?);
/// assert_eq!(mse_loss(&x, &y, None, Reduction::Mean)?.item()?, 2.0);
/// let weight = Tensor::from_vec(vec![1.0f32, 3.0], [2])?;
/// assert_eq!(mse_loss(&x, &y, Some(&weight), Reduction::Mean)?.item()?, 3.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn mse_loss(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    weighed_mean("mse_loss", input, input.sub(target)?.square()?, weight, reduction)
}

/// The absolute difference, times `weight` if there is one; the mean is then divided by the sum of the weights.
///
/// # Errors
///
/// If the shapes do not broadcast, or the weights have another shape than the input.
pub fn l1_loss(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    weighed_mean("l1_loss", input, input.sub(target)?.abs()?, weight, reduction)
}

/// Half the squared difference over `beta` where the difference is less than `beta`, else the difference less `beta`/2.
///
/// # Errors
///
/// If the shapes do not broadcast or `beta` is negative.
pub fn smooth_l1_loss(input: &Tensor, target: &Tensor, reduction: Reduction, beta: f64) -> Result<Tensor> {
    if beta.is_nan() || beta < 0.0 {
        return Err(Error::argument(format!("smooth_l1_loss: beta {beta} must not be negative")));
    }
    if beta == 0.0 {
        return l1_loss(input, target, None, reduction);
    }
    let distance = input.sub(target)?.abs()?;
    let near = distance.square()?.mul(0.5 / beta)?;
    reduction.apply(&near.where_(&distance.detach().lt(beta)?, &distance.sub(0.5 * beta)?)?)
}

/// Half the squared difference where that is at most `delta`, beyond it `delta` times (the difference less `delta`/2);
/// times `weight` if there is one, which the mean is not divided by.
///
/// # Errors
///
/// If the shapes do not broadcast, the weights have another shape than the input, or `delta` is not positive.
pub fn huber_loss(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
    delta: f64,
) -> Result<Tensor> {
    if delta.is_nan() || delta <= 0.0 {
        return Err(Error::argument(format!("huber_loss: delta {delta} must be positive")));
    }
    let distance = input.sub(target)?.abs()?;
    let near = distance.square()?.mul(0.5)?;
    let far = distance.sub(0.5 * delta)?.mul(delta)?;
    let losses = near.where_(&distance.detach().le(delta)?, &far)?;
    reduction.apply(&weighed("huber_loss", input, losses, weight)?)
}

fn same_shape(op: &str, input: &Tensor, target: &Tensor) -> Result<()> {
    if input.shape() == target.shape() {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{op}: a target of shape {:?} for an input of shape {:?}",
        target.shape(),
        input.shape()
    )))
}

/// The binary cross entropy of probabilities; logarithms are at least −100, as in PyTorch.
///
/// # Errors
///
/// If the shapes differ or a probability lies outside [0, 1].
pub fn binary_cross_entropy(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    const OP: &str = "binary_cross_entropy";
    same_shape(OP, input, target)?;
    let x = input.detach();
    if x.ge(0)?.logical_and(&x.le(1)?)?.all(())?.item()? == 0.0 {
        return Err(Error::argument(format!("{OP}: every probability must lie in [0, 1]")));
    }
    let losses = apply(BinaryCrossEntropy, &[input, target])?;
    let losses = weight.map_or(Ok(losses.clone()), |w| losses.mul(w))?;
    reduction.apply(&losses)
}

/// The binary cross entropy of probabilities, per element.
#[derive(Debug)]
struct BinaryCrossEntropy;

impl Op for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        "binary_cross_entropy"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let log = |p: &Tensor| p.log()?.maximum(-100.0);
        let one_minus = |t: &Tensor| t.rsub(1.0);
        let (x, target) = (x[0], x[1]);
        target.mul(&log(x)?)?.add(&one_minus(target)?.mul(&log(&one_minus(x)?)?)?)?.neg()
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (x, target) = (saved.input(0)?, saved.input(1)?);
        let of_input = if saved.needs(0) {
            let slope = x.rsub(1.0)?.mul(&x)?.maximum(1e-12)?;
            Some(grad.mul(&x.sub(&target)?)?.div(&slope)?)
        } else {
            None
        };
        let of_target = if saved.needs(1) {
            let logs = x.rsub(1.0)?.log()?.maximum(-100.0)?.sub(&x.log()?.maximum(-100.0)?)?;
            Some(grad.mul(&logs)?)
        } else {
            None
        };
        Ok(smallvec![of_input, of_target])
    }
}

/// The binary cross entropy of logits: stable where the sigmoid followed by a logarithm is not.
///
/// # Errors
///
/// If the shapes differ or a weight does not broadcast.
pub fn binary_cross_entropy_with_logits(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    pos_weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    same_shape("binary_cross_entropy_with_logits", input, target)?;
    if matches!(input.dtype(), DType::F16 | DType::BF16) && target.dtype() == input.dtype() {
        // Rounded once.
        let wide = |t: &Tensor| t.to(DType::F32);
        let (weight, pos_weight) = (weight.map(wide).transpose()?, pos_weight.map(wide).transpose()?);
        let (x, y) = (wide(input)?, wide(target)?);
        let loss = binary_cross_entropy_with_logits(&x, &y, weight.as_ref(), pos_weight.as_ref(), reduction)?;
        return loss.to(input.dtype());
    }
    let log_sigmoid = input.logsigmoid()?;
    let negatives = target.rsub(1.0)?.mul(input)?;
    let losses = match pos_weight {
        Some(w) => {
            let scale = w.sub(1.0)?.mul(target)?.add(1.0)?;
            negatives.sub(&scale.mul(&log_sigmoid)?)?
        }
        None => negatives.sub(&log_sigmoid)?,
    };
    let losses = weight.map_or(Ok(losses.clone()), |w| losses.mul(w))?;
    reduction.apply(&losses)
}

/// The Kullback–Leibler divergence of log probabilities from target probabilities (or their logarithms), elementwise.
/// The mean is that over all elements, as in PyTorch.
///
/// # Errors
///
/// If the shapes do not broadcast.
pub fn kl_div(input: &Tensor, target: &Tensor, reduction: Reduction, log_target: bool) -> Result<Tensor> {
    let losses = if log_target {
        target.exp()?.mul(&target.sub(input)?)?
    } else {
        target.xlogy(target)?.sub(&target.mul(input)?)?
    };
    reduction.apply(&losses)
}

/// The input with elements zeroed with probability `p` and the others divided by 1 − p; itself unless training.
///
/// # Errors
///
/// If `p` lies outside [0, 1] or, in training, the dtype is not floating point.
///
/// ```
/// use sconce::{DType, Tensor, functional};
/// sconce::manual_seed(0);
/// let y = functional::dropout(&Tensor::ones([1000], DType::F32)?, 0.5, true)?;
/// assert!(y.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn dropout(input: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::argument(format!("dropout: the probability {p} must lie in [0, 1]")));
    }
    if !training || p == 0.0 || input.numel() == 0 {
        return Ok(input.clone());
    }
    if input.dtype().category() != Category::Float || kind("dropout", input.dtype())? == Kind::I64 {
        return Err(Error::dtype(format!("dropout: needs a floating point dtype, found {}", input.dtype())));
    }
    let kept = input.detach().zeros_like()?;
    if p < 1.0 {
        kept.bernoulli_(1.0 - p)?;
        kept.div_(1.0 - p)?;
    }
    input.mul(&kept)
}

const D: (f64, f64) = (-2.0, 2.0);

fn labels() -> Result<Tensor> {
    Tensor::from_vec(vec![0i64, 2, -100, 1], [2, 2])
}

fn class_weights(x: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(vec![0.5, 1.0, 2.0], [3])?.to(x.dtype())
}

fn pair(call: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3], D), (&[2, 3], (0.1, 0.9))], move |x| call(&x[0], &x[1]))
}

/// For the generic tests.
pub(in crate::ops) static LOSSES: &[OpInfo] = &[
    OpInfo {
        name: "cross_entropy",
        samples: || {
            let shape: &[(&[usize], _)] = &[(&[2, 3, 2], D)];
            let mut samples =
                vec![Sample::new(shape, |x| cross_entropy(&x[0], &labels()?, Default::default()))];
            for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                samples.push(Sample::new(shape, move |x| {
                    let weight = class_weights(&x[0])?;
                    let options = CrossEntropyOptions {
                        weight: Some(&weight),
                        label_smoothing: 0.1,
                        reduction,
                        ..Default::default()
                    };
                    cross_entropy(&x[0], &labels()?, options)
                }));
            }
            samples.push(pair(|x, y| cross_entropy(x, y, Default::default())));
            samples
        },
    },
    OpInfo {
        name: "nll_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 2], D)], |x| {
                nll_loss(&x[0], &labels()?, Some(&class_weights(&x[0])?), -100, Reduction::Mean)
            })]
        },
    },
    OpInfo { name: "mse_loss", samples: || vec![pair(|x, y| mse_loss(x, y, None, Reduction::Mean))] },
    OpInfo { name: "l1_loss", samples: || vec![pair(|x, y| l1_loss(x, y, Some(y), Reduction::Sum))] },
    OpInfo {
        name: "smooth_l1_loss",
        samples: || vec![pair(|x, y| smooth_l1_loss(x, y, Reduction::Mean, 0.7))],
    },
    OpInfo {
        name: "huber_loss",
        samples: || vec![pair(|x, y| huber_loss(x, y, None, Reduction::None, 0.7))],
    },
    OpInfo {
        name: "binary_cross_entropy",
        samples: || {
            let shapes: &[(&[usize], _)] = &[(&[2, 3], (0.1, 0.9)), (&[2, 3], (0.1, 0.9))];
            vec![Sample::new(shapes, |x| binary_cross_entropy(&x[0], &x[1], None, Reduction::Mean))]
        },
    },
    OpInfo {
        name: "binary_cross_entropy_with_logits",
        samples: || {
            vec![pair(|x, y| {
                let weight = class_weights(x)?;
                binary_cross_entropy_with_logits(x, y, Some(&weight), Some(&weight), Reduction::Mean)
            })]
        },
    },
    OpInfo { name: "kl_div", samples: || vec![pair(|x, y| kl_div(x, y, Reduction::Mean, false))] },
];
