//! Losses with margins, and likelihoods of distributions.

use crate::ops::driver::build;
use crate::ops::nn::loss::{CrossEntropyOptions, Reduction, cross_entropy};
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// By how much −target · (input1 − input2) + `margin` exceeds 0; the target is 1 or −1.
///
/// # Errors
///
/// If the numbers of dimensions differ or the shapes do not broadcast.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, margin_ranking_loss}};
/// let at = |x: f32| Tensor::from_vec(vec![x], [1]);
/// let loss = margin_ranking_loss(&at(1.0)?, &at(3.0)?, &at(1.0)?, 0.5, Reduction::Mean)?;
/// assert_eq!(loss.item()?, 2.5);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn margin_ranking_loss(
    input1: &Tensor,
    input2: &Tensor,
    target: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    if input1.dim() != input2.dim() || input1.dim() != target.dim() {
        return Err(Error::shape(format!(
            "margin_ranking_loss: inputs {:?} and {:?} and target {:?} differ in their numbers of dimensions",
            input1.shape(),
            input2.shape(),
            target.shape()
        )));
    }
    let losses = target.neg()?.mul(&input1.sub(input2)?)?.add(margin)?.clamp_min(0)?;
    reduction.apply(&losses)
}

/// The input where the target is 1, and what `margin` exceeds it by where it is −1.
///
/// # Errors
///
/// If the shapes do not broadcast.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, hinge_embedding_loss}};
/// let x = Tensor::from_vec(vec![0.25f32, 0.25], [2])?;
/// let target = Tensor::from_vec(vec![1.0f32, -1.0], [2])?;
/// let losses = hinge_embedding_loss(&x, &target, 1.0, Reduction::None)?;
/// assert_eq!(losses.to_vec::<f32>()?, [0.25, 0.75]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn hinge_embedding_loss(
    input: &Tensor,
    target: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    let far = input.rsub(margin)?.clamp_min(0)?.where_(&target.ne(1)?, 0)?;
    let near = input.where_(&target.ne(-1)?, 0)?;
    reduction.apply(&far.add(&near)?)
}

/// log(1 + e^(−target · input)).
///
/// # Errors
///
/// If the shapes do not broadcast.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, soft_margin_loss}};
/// let (x, y) = (Tensor::from_vec(vec![0.0f32], [1])?, Tensor::from_vec(vec![1.0f32], [1])?);
/// assert!((soft_margin_loss(&x, &y, Reduction::Mean)?.item()? - 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn soft_margin_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    reduction.apply(&target.neg()?.mul(input)?.exp()?.log1p()?)
}

/// By how much other classes come within `margin` of the target's, to the power `p` (1 or 2): the mean over classes.
///
/// The input is `[N, C]` with class indices `[N]`, or `[C]` with one.
///
/// # Errors
///
/// If shapes or dtypes do not fit, an index is out of range, or `p` is neither 1 nor 2.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, multi_margin_loss}};
/// let x = Tensor::from_vec(vec![0.5f32, 1.0], [1, 2])?;
/// let target = Tensor::from_vec(vec![0i64], [1])?;
/// assert_eq!(multi_margin_loss(&x, &target, 1, 1.0, None, Reduction::Mean)?.item()?, 0.75);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn multi_margin_loss(
    input: &Tensor,
    target: &Tensor,
    p: u32,
    margin: f64,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    const OP: &str = "multi_margin_loss";
    float_dtype(OP, input)?;
    if p != 1 && p != 2 {
        return Err(Error::argument(format!("{OP}: p must be 1 or 2, found {p}")));
    }
    let rank = input.dim();
    let samples = if rank == 2 { input.shape()[0] } else { 1 };
    let classes = input.shape().last().copied().unwrap_or(1);
    let fits = rank <= 2
        && classes > 0
        && target.dim() <= 1
        && target.numel() == samples
        && weight.is_none_or(|w| w.shape() == [classes]);
    if !fits {
        return Err(Error::shape(format!(
            "{OP}: input {:?}, target {:?} and weight {:?} do not fit each other",
            input.shape(),
            target.shape(),
            weight.map(Tensor::shape)
        )));
    }
    if target.dtype() != DType::I64 {
        return Err(Error::dtype(format!("{OP}: class indices must be int64, found {}", target.dtype())));
    }
    let x = input.reshape([samples, classes])?;
    let index = target.reshape([samples, 1])?;
    let own = x.gather(1, &index).context(|| OP)?;
    let mut losses = x.sub(&own)?.add(margin)?.relu()?;
    if p == 2 {
        losses = losses.square()?;
    }
    if let Some(weight) = weight {
        losses = losses.mul(&weight.index_select(0, &index.reshape([-1])?)?.unsqueeze(1)?)?;
    }
    let others = losses.detach().ones_like()?.scatter(1, &index, 0)?;
    let losses = losses.mul(&others)?.sum(1)?.div(classes as f64)?;
    // A vector's loss has the shape of its target, which may have a dimension of size 1.
    let losses = if rank == 2 { losses } else { losses.reshape(target.shape())? };
    reduction.apply(&losses)
}

/// By how much classes that are no targets come within 1 of those that are: the mean over classes.
///
/// The target has the input's shape, `[N, C]` or `[C]`: class indices up to the first −1.
///
/// # Errors
///
/// If shapes or dtypes do not fit, or an index is out of range.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, multilabel_margin_loss}};
/// let x = Tensor::from_vec(vec![0.1f32, 0.2, 0.4, 0.8], [1, 4])?;
/// let target = Tensor::from_vec(vec![3i64, 0, -1, 1], [1, 4])?;
/// assert!((multilabel_margin_loss(&x, &target, Reduction::Mean)?.item()? - 0.85).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn multilabel_margin_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    const OP: &str = "multilabel_margin_loss";
    let dtype = float_dtype(OP, input)?;
    if input.dim() > 2 || target.shape() != input.shape() || input.shape().last() == Some(&0) {
        return Err(Error::shape(format!(
            "{OP}: needs an input and a target of one shape, [N, C] or [C], found {:?} and {:?}",
            input.shape(),
            target.shape()
        )));
    }
    if target.dtype() != DType::I64 {
        return Err(Error::dtype(format!("{OP}: class indices must be int64, found {}", target.dtype())));
    }
    let classes = input.shape().last().copied().unwrap_or(1);
    let samples = input.numel() / classes;
    let listed = target.to_vec::<i64>()?;
    // How often each class is a target.
    let counts = build(OP, &[samples, classes], |counts: &mut [f64]| {
        for (row, listed) in counts.chunks_exact_mut(classes).zip(listed.chunks_exact(classes)) {
            for &class in listed.iter().take_while(|&&class| class != -1) {
                let slot = usize::try_from(class).ok().and_then(|class| row.get_mut(class));
                let slot = slot.ok_or_else(|| {
                    Error::index(format!("{OP}: class {class} is out of range for {classes}"))
                })?;
                *slot += 1.0;
            }
        }
        Ok(())
    })?;
    let counts = counts.to(dtype)?;
    let others = counts.eq(0)?.to(dtype)?;
    let x = input.reshape([samples, classes])?;
    let closer = x.unsqueeze(1)?.sub(&x.unsqueeze(2)?)?.add(1.0)?.relu()?;
    let losses = closer.mul(&counts.unsqueeze(2)?)?.mul(&others.unsqueeze(1)?)?.sum([1, 2])?;
    let losses = losses.div(classes as f64)?;
    let losses = if input.dim() == 2 { losses } else { losses.reshape(())? };
    reduction.apply(&losses)
}

/// The binary cross entropy of logits with as many targets, averaged over the last dimension, that of classes.
///
/// # Errors
///
/// If the shapes do not broadcast or there is no dimension.
///
/// ```
/// use sconce::{DType, Tensor, functional::{Reduction, multilabel_soft_margin_loss}};
/// let (x, y) = (Tensor::zeros([2, 3], DType::F32)?, Tensor::ones([2, 3], DType::F32)?);
/// let loss = multilabel_soft_margin_loss(&x, &y, None, Reduction::Mean)?;
/// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn multilabel_soft_margin_loss(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let Some(&classes) = input.shape().last() else {
        return Err(Error::shape(
            "multilabel_soft_margin_loss: needs a dimension of classes, found a scalar",
        ));
    };
    let (yes, no) = (input.logsigmoid()?, input.neg()?.logsigmoid()?);
    let logs = target.mul(&yes)?.add(&target.rsub(1.0)?.mul(&no)?)?.neg()?;
    let logs = weight.map_or(Ok(logs.clone()), |w| logs.mul(w))?;
    reduction.apply(&logs.sum(-1)?.div(classes as f64)?)
}

/// The options of [`poisson_nll_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoissonOptions {
    /// Whether the input is the logarithm of the rate; true.
    pub log_input: bool,
    /// Whether the target's term is added, by Stirling's formula; false.
    pub full: bool,
    /// What is added to a rate before its logarithm is taken; 1e-8.
    pub eps: f64,
    /// What becomes of the losses; their mean.
    pub reduction: Reduction,
}

impl Default for PoissonOptions {
    fn default() -> Self {
        Self { log_input: true, full: false, eps: 1e-8, reduction: Reduction::Mean }
    }
}

/// The negative log likelihood of counts under Poisson distributions.
///
/// # Errors
///
/// If the shapes do not broadcast.
///
/// ```
/// use sconce::{Tensor, functional::poisson_nll_loss};
/// let (x, y) = (Tensor::from_vec(vec![0.0f32], [1])?, Tensor::from_vec(vec![3.0f32], [1])?);
/// assert_eq!(poisson_nll_loss(&x, &y, Default::default())?.item()?, 1.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn poisson_nll_loss(input: &Tensor, target: &Tensor, options: PoissonOptions) -> Result<Tensor> {
    let mut losses = if options.log_input {
        input.exp()?.sub(&target.mul(input)?)?
    } else {
        input.sub(&target.mul(&input.add(options.eps)?.log()?)?)?
    };
    if options.full {
        let half = target.mul(2.0 * std::f64::consts::PI)?.log()?.mul(0.5)?;
        let stirling = target.mul(&target.log()?)?.sub(target)?.add(&half)?;
        losses = losses.add(&stirling.masked_fill(&target.le(1)?, 0)?)?;
    }
    options.reduction.apply(&losses)
}

/// The negative log likelihood of targets under normal distributions of mean `input` and variance `var`.
///
/// `var` has the input's shape, or lacks its last dimension, or has size 1 in one; it is at least `eps`, by default 1e-6.
/// `full` adds the constant term.
///
/// # Errors
///
/// If a variance is negative, or its shape does not fit.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, gaussian_nll_loss}};
/// let (x, y) = (Tensor::from_vec(vec![1.0f32], [1])?, Tensor::from_vec(vec![3.0f32], [1])?);
/// assert_eq!(gaussian_nll_loss(&x, &y, 1.0, false, 1e-6, Reduction::Mean)?.item()?, 2.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn gaussian_nll_loss<'a>(
    input: &Tensor,
    target: &Tensor,
    var: impl Into<Operand<'a>>,
    full: bool,
    eps: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    const OP: &str = "gaussian_nll_loss";
    let var = match var.into() {
        Operand::Tensor(var) => var.clone(),
        Operand::Scalar(var) => input.detach().full_like(var)?,
    };
    if var.detach().lt(0)?.any(())?.item()? != 0.0 {
        return Err(Error::argument(format!("{OP}: a variance is negative")));
    }
    let differ = |(a, b): &(&usize, &usize)| a != b;
    let shape = input.shape();
    let var = if var.shape() == shape {
        var
    } else if shape.split_last().is_some_and(|(_, lead)| lead == var.shape()) {
        var.unsqueeze(-1)?
    } else if var.dim() == input.dim()
        && shape.iter().zip(var.shape()).filter(differ).map(|(_, &b)| b).sum::<usize>() == 1
    {
        var
    } else {
        return Err(Error::shape(format!(
            "{OP}: a variance of shape {:?} for an input of shape {shape:?}",
            var.shape()
        )));
    };
    // Gradients flow as if there were no least variance, as in PyTorch.
    let lifted = var.detach().clamp_min(eps)?.sub(&var.detach())?;
    let var = var.add(&lifted)?;
    let mut losses = var.log()?.add(&input.sub(target)?.square()?.div(&var)?)?.mul(0.5)?;
    if full {
        losses = losses.add(0.5 * (2.0 * std::f64::consts::PI).ln())?;
    }
    reduction.apply(&losses)
}

/// The cross entropy of the logits that a linear layer makes: of `[N, in]` (or `[in]`) and a weight
/// `[classes, …, in]`, with targets `[N, …]`.
///
/// # Errors
///
/// If shapes do not fit; otherwise as [`cross_entropy`].
///
/// ```
/// use sconce::{DType, Tensor, functional::linear_cross_entropy};
/// let (x, weight) = (Tensor::ones([2, 3], DType::F32)?, Tensor::ones([4, 3], DType::F32)?);
/// let target = Tensor::from_vec(vec![0i64, 3], [2])?;
/// let loss = linear_cross_entropy(&x, &weight, None, &target, Default::default())?;
/// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn linear_cross_entropy(
    input: &Tensor,
    linear_weight: &Tensor,
    linear_bias: Option<&Tensor>,
    target: &Tensor,
    options: CrossEntropyOptions<'_>,
) -> Result<Tensor> {
    const OP: &str = "linear_cross_entropy";
    let shape = linear_weight.shape();
    let lead = &shape[..shape.len().saturating_sub(1)];
    let fits = shape.len() >= 2
        && (1..=2).contains(&input.dim())
        && input.shape().last() == shape.last()
        && (shape.len() == 2 || input.dim() == 2)
        && linear_bias.is_none_or(|b| b.shape() == lead);
    if !fits {
        return Err(Error::shape(format!(
            "{OP}: input {:?}, weight {shape:?} and bias {:?} do not fit each other",
            input.shape(),
            linear_bias.map(Tensor::shape)
        )));
    }
    let outputs: usize = lead.iter().product();
    let weight = linear_weight.reshape([outputs, shape[shape.len() - 1]])?;
    let bias = linear_bias.map(|b| b.reshape([outputs])).transpose()?;
    let logits = crate::ops::matmul::linear(input, &weight, bias.as_ref()).context(|| OP)?;
    let mut whole = crate::tensor::Dims::from_slice(&input.shape()[..input.dim() - 1]);
    whole.extend_from_slice(lead);
    cross_entropy(&logits.reshape(whole.as_slice())?, target, options).context(|| OP)
}

const D: (f64, f64) = (-2.0, 2.0);

fn signs() -> Result<Tensor> {
    Tensor::from_vec(vec![1i64, -1, 1, -1, -1, 1], [2, 3])
}

/// For the generic tests.
pub(in crate::ops) static MARGINS: &[OpInfo] = &[
    OpInfo {
        name: "margin_ranking_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D)], |x| {
                margin_ranking_loss(&x[0], &x[1], &signs()?, 0.5, Reduction::Mean)
            })]
        },
    },
    OpInfo {
        name: "hinge_embedding_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D)], |x| {
                hinge_embedding_loss(&x[0], &signs()?, 0.7, Reduction::Sum)
            })]
        },
    },
    OpInfo {
        name: "soft_margin_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D)], |x| soft_margin_loss(&x[0], &signs()?, Reduction::Mean))]
        },
    },
    OpInfo {
        name: "multi_margin_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D)], |x| {
                let target = Tensor::from_vec(vec![2i64, 0], [2])?;
                multi_margin_loss(&x[0], &target, 2, 1.0, None, Reduction::None)
            })]
        },
    },
    OpInfo {
        name: "multilabel_margin_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D)], |x| {
                let target = Tensor::from_vec(vec![2i64, -1, 0, 1, 0, -1], [2, 3])?;
                multilabel_margin_loss(&x[0], &target, Reduction::Mean)
            })]
        },
    },
    OpInfo {
        name: "multilabel_soft_margin_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D), (&[3], D)], |x| {
                multilabel_soft_margin_loss(&x[0], &x[1], Some(&x[2]), Reduction::Mean)
            })]
        },
    },
    OpInfo {
        name: "poisson_nll_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 3], (1.5, 3.0))], |x| {
                poisson_nll_loss(&x[0], &x[1], PoissonOptions { full: true, ..Default::default() })
            })]
        },
    },
    OpInfo {
        name: "gaussian_nll_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D), (&[2], (0.5, 2.0))], |x| {
                gaussian_nll_loss(&x[0], &x[1], &x[2], true, 1e-6, Reduction::Mean)
            })]
        },
    },
];
