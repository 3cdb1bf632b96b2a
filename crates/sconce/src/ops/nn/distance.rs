//! Distances, similarities, and losses of them.

use crate::ops::nn::loss::Reduction;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::Tensor;
use crate::tensor::promote::promote_types;
use crate::tensor::sizes::keepdim;
use crate::{Context, Error, Result};

/// The cosine of the angle between vectors along a dimension; norms are at least `eps`, in PyTorch by default 1e-8.
///
/// # Errors
///
/// If the shapes do not broadcast, the dimension does not exist, or no dtype is floating point.
///
/// ```
/// use sconce::{Tensor, functional::cosine_similarity};
/// let (x, y) = (Tensor::from_vec(vec![3.0f32, 4.0], [2])?, Tensor::from_vec(vec![4.0f32, 3.0], [2])?);
/// assert!((cosine_similarity(&x, &y, 0, 1e-8)?.item()? - 0.96).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn cosine_similarity(x1: &Tensor, x2: &Tensor, dim: isize, eps: f64) -> Result<Tensor> {
    const OP: &str = "cosine_similarity";
    let dtype = promote_types(x1.dtype(), x2.dtype());
    let (x1, x2) = (x1.to(dtype)?, x2.to(dtype)?);
    float_dtype(OP, &x1)?;
    // Broadcast first: the dimension is that of the result.
    let both = x1.detach().add(&x2.detach()).context(|| OP)?;
    let unit = |x: &Tensor| {
        let x = x.expand(both.shape())?;
        let norm = x.norm(2.0, keepdim(dim)).context(|| OP)?;
        // Gradients flow as if there were no least norm, as in PyTorch.
        let lifted = norm.detach().clamp_min(eps)?.sub(&norm.detach())?;
        x.div(&norm.add(&lifted)?)
    };
    unit(&x1)?.mul(&unit(&x2)?)?.sum(dim)
}

/// The p-norm of the difference of vectors along the last dimension, to which `eps` is added; in PyTorch p is 2 and
/// `eps` 1e-6 by default.
///
/// # Errors
///
/// If the shapes do not broadcast.
///
/// ```
/// use sconce::{Tensor, functional::pairwise_distance};
/// let (x, y) = (Tensor::from_vec(vec![3.0f32, 4.0], [1, 2])?, Tensor::from_vec(vec![0.0f32, 0.0], [1, 2])?);
/// assert_eq!(pairwise_distance(&x, &y, 2.0, 0.0, false)?.to_vec::<f32>()?, [5.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn pairwise_distance(x1: &Tensor, x2: &Tensor, p: f64, eps: f64, keep: bool) -> Result<Tensor> {
    let difference = x1.sub(x2).context(|| "pairwise_distance")?.add(eps)?;
    if keep { difference.norm(p, keepdim(-1)) } else { difference.norm(p, -1) }
}

/// The p-norms of the differences of all pairs of rows: (0, 1), (0, 2), …, (1, 2), ….
///
/// # Errors
///
/// If the input is no matrix or p is negative.
///
/// ```
/// use sconce::{Tensor, functional::pdist};
/// let x = Tensor::from_vec(vec![0.0f32, 3.0, 7.0], [3, 1])?;
/// assert_eq!(pdist(&x, 2.0)?.to_vec::<f32>()?, [3.0, 7.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn pdist(input: &Tensor, p: f64) -> Result<Tensor> {
    const OP: &str = "pdist";
    if input.dim() != 2 {
        return Err(Error::shape(format!("{OP}: needs a matrix, found shape {:?}", input.shape())));
    }
    if p.is_nan() || p < 0.0 {
        return Err(Error::argument(format!("{OP}: p must not be negative, found {p}")));
    }
    float_dtype(OP, input)?;
    let n = input.shape()[0];
    let pairs = || (0..n as i64).flat_map(|i| (i + 1..n as i64).map(move |j| (i, j)));
    let (first, second): (Vec<i64>, Vec<i64>) = pairs().unzip();
    let count = first.len();
    let rows = |index: Vec<i64>| input.index_select(0, &Tensor::from_vec(index, [count])?);
    rows(first)?.sub(&rows(second)?)?.norm(p, 1)
}

/// 1 − cos of the inputs where the target is 1, and what the cosine exceeds `margin` by where it is −1.
///
/// Inputs are `[N, D]` with a target `[N]`, or `[D]` with a scalar.
///
/// # Errors
///
/// If the shapes do not fit.
///
/// ```
/// use sconce::{Tensor, functional::{Reduction, cosine_embedding_loss}};
/// let x = Tensor::from_vec(vec![3.0f32, 4.0], [1, 2])?;
/// let target = Tensor::from_vec(vec![-1.0f32], [1])?;
/// assert_eq!(cosine_embedding_loss(&x, &x, &target, 0.25, Reduction::Mean)?.item()?, 0.75);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn cosine_embedding_loss(
    input1: &Tensor,
    input2: &Tensor,
    target: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    const OP: &str = "cosine_embedding_loss";
    const EPS: f64 = 1e-12;
    let rank = target.dim();
    if rank > 1 || input1.dim() != rank + 1 || input2.dim() != rank + 1 {
        return Err(Error::shape(format!(
            "{OP}: needs inputs [N, D] with a target [N], or [D] with a scalar, found {:?}, {:?} and {:?}",
            input1.shape(),
            input2.shape(),
            target.shape()
        )));
    }
    let dim = rank as isize;
    let dot = |x: &Tensor, y: &Tensor| x.mul(y)?.sum(dim);
    let lengths = dot(input1, input1)?.add(EPS)?.mul(&dot(input2, input2)?.add(EPS)?)?.sqrt()?;
    let cosine = dot(input1, input2).context(|| OP)?.div(&lengths)?;
    let near = cosine.rsub(1.0)?;
    let far = cosine.sub(margin)?.clamp_min(0)?;
    let losses = near.where_(&target.eq(1)?, 0)?.add(&far.where_(&target.eq(-1)?, 0)?)?;
    reduction.apply(&losses)
}

/// The options of [`triplet_margin_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripletOptions {
    /// How much further the negative is to be than the positive; 1.
    pub margin: f64,
    /// The p of the distance; 2.
    pub p: f64,
    /// What is added to differences; 1e-6.
    pub eps: f64,
    /// Whether the distance of positive and negative counts if it is less than that of anchor and negative; false.
    pub swap: bool,
    /// What becomes of the losses; their mean.
    pub reduction: Reduction,
}

impl Default for TripletOptions {
    fn default() -> Self {
        Self { margin: 1.0, p: 2.0, eps: 1e-6, swap: false, reduction: Reduction::Mean }
    }
}

/// By how much the distance of anchor and positive, and a margin, exceed that of anchor and negative.
///
/// # Errors
///
/// If the numbers of dimensions differ, the shapes do not broadcast, or the margin is not positive.
///
/// ```
/// use sconce::{Tensor, functional::triplet_margin_loss};
/// let at = |x: f32| Tensor::from_vec(vec![x], [1, 1]);
/// let loss = triplet_margin_loss(&at(0.0)?, &at(2.0)?, &at(5.0)?, Default::default())?;
/// assert_eq!(loss.item()?, 0.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn triplet_margin_loss(
    anchor: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    options: TripletOptions,
) -> Result<Tensor> {
    let TripletOptions { p, eps, .. } = options;
    triplet_margin_with_distance_loss(anchor, positive, negative, options, |x, y| {
        pairwise_distance(x, y, p, eps, false)
    })
}

/// [`triplet_margin_loss`] with a distance of one's own; `p` and `eps` mean nothing then.
///
/// # Errors
///
/// As there, and as the distance.
pub fn triplet_margin_with_distance_loss(
    anchor: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    options: TripletOptions,
    distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    const OP: &str = "triplet_margin_loss";
    if !(options.margin > 0.0) {
        return Err(Error::argument(format!("{OP}: the margin must be positive, found {}", options.margin)));
    }
    if anchor.dim() != positive.dim() || anchor.dim() != negative.dim() {
        return Err(Error::shape(format!(
            "{OP}: anchor {:?}, positive {:?} and negative {:?} differ in their numbers of dimensions",
            anchor.shape(),
            positive.shape(),
            negative.shape()
        )));
    }
    let near = distance(anchor, positive).context(|| OP)?;
    let mut far = distance(anchor, negative).context(|| OP)?;
    if options.swap {
        far = far.minimum(&distance(positive, negative).context(|| OP)?)?;
    }
    options.reduction.apply(&near.sub(&far)?.add(options.margin)?.clamp_min(0)?)
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static DISTANCES: &[OpInfo] = &[
    OpInfo {
        name: "cosine_similarity",
        samples: || {
            vec![Sample::new(&[(&[2, 4], D), (&[3, 1, 4], D)], |x| cosine_similarity(&x[0], &x[1], -1, 1e-8))]
        },
    },
    OpInfo {
        name: "pairwise_distance",
        samples: || {
            vec![Sample::new(&[(&[2, 4], D), (&[4], D)], |x| {
                pairwise_distance(&x[0], &x[1], 3.0, 1e-6, true)
            })]
        },
    },
    OpInfo { name: "pdist", samples: || vec![Sample::new(&[(&[3, 2], D)], |x| pdist(&x[0], 2.0))] },
    OpInfo {
        name: "cosine_embedding_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D)], |x| {
                let target = Tensor::from_vec(vec![1i64, -1], [2])?;
                cosine_embedding_loss(&x[0], &x[1], &target, -0.5, Reduction::Sum)
            })]
        },
    },
    OpInfo {
        name: "triplet_margin_loss",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 3], D), (&[2, 3], D)], |x| {
                let options = TripletOptions { margin: 4.0, swap: true, ..Default::default() };
                triplet_margin_loss(&x[0], &x[1], &x[2], options)
            })]
        },
    },
];
