//! Padding.

use smallvec::smallvec;

use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::create::collect;
use crate::ops::nn::conv2d::ConvOptions;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::scalar::Scalar;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// What [`pad`] puts around a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A number.
    Constant(Scalar),
    /// The tensor mirrored at its edge, which is not repeated.
    Reflect,
    /// Its edge.
    Replicate,
    /// Its opposite side.
    Circular,
}

impl Default for PadMode {
    /// Zeros.
    fn default() -> Self {
        Self::Constant(Scalar::Int(0))
    }
}

/// A constant around a tensor: for each dimension, how much before and after it; what is negative cuts off.
#[derive(Debug)]
struct ConstantPad {
    pads: Vec<(isize, isize)>,
    value: Scalar,
}

impl ConstantPad {
    fn shape(&self, x: &Tensor) -> Option<Dims> {
        let size = |(&n, &(before, after)): (&usize, &(isize, isize))| {
            usize::try_from(isize::try_from(n).ok()?.checked_add(before)?.checked_add(after)?).ok()
        };
        x.shape().iter().zip(&self.pads).map(size).collect()
    }
}

impl Op for ConstantPad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let shape = self.shape(x[0]).ok_or_else(|| misfit(x[0], &self.pads))?;
        let out = Tensor::full(shape.as_slice(), self.value, x[0].dtype())?;
        let (mut target, mut source) = (out.clone(), x[0].clone());
        for (dim, &(before, after)) in self.pads.iter().enumerate() {
            let kept = x[0].shape()[dim] as isize + before.min(0) + after.min(0);
            let Ok(kept) = usize::try_from(kept) else { return Ok(out) };
            target = target.narrow(dim as isize, before.max(0), kept)?;
            source = source.narrow(dim as isize, -before.min(0), kept)?;
        }
        target.copy_(&source)?;
        drop(target);
        Ok(out)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let pads = self.pads.iter().map(|&(before, after)| (-before, -after)).collect();
        Ok(smallvec![Some(apply(Self { pads, value: Scalar::Int(0) }, &[grad])?)])
    }
}

fn misfit(x: &Tensor, pads: &[(isize, isize)]) -> Error {
    Error::shape(format!("pad: padding {pads:?} does not fit shape {:?}", x.shape()))
}

/// Zeros around the last dimensions; for the inside of other operations.
pub(super) fn zeros_around(x: &Tensor, pads: &[(usize, usize)]) -> Result<Tensor> {
    if pads.iter().all(|&p| p == (0, 0)) {
        return Ok(x.clone());
    }
    let mut all = vec![(0, 0); x.dim() - pads.len()];
    // What does not fit is refused with the sum that it makes.
    let signed = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    all.extend(pads.iter().map(|&(before, after)| (signed(before), signed(after))));
    apply(ConstantPad { pads: all, value: Scalar::Int(0) }, &[x])
}

/// Pads the last dimensions: `padding` has two numbers per dimension, before and after, from the last one backwards.
///
/// Negative numbers cut off. What is not constant pads the last one, two or three of a tensor with one or two more.
///
/// # Errors
///
/// If the numbers are odd in number or too many, nothing would be left, or more is mirrored or repeated than there is.
///
/// ```
/// use sconce::Tensor;
/// use sconce::functional::{PadMode, pad};
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [1, 3])?;
/// assert_eq!(pad(&x, &[1, 0], PadMode::Constant(9.into()))?.to_vec::<f32>()?, [9.0, 1.0, 2.0, 3.0]);
/// assert_eq!(pad(&x, &[2, 1], PadMode::Reflect)?.to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
/// assert_eq!(pad(&x, &[-1, 1], PadMode::Replicate)?.to_vec::<f32>()?, [2.0, 3.0, 3.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn pad(input: &Tensor, padding: &[isize], mode: PadMode) -> Result<Tensor> {
    let rank = input.dim();
    if !padding.len().is_multiple_of(2) || padding.len() / 2 > rank {
        return Err(Error::argument(format!(
            "pad: needs two numbers for each of at most {rank} dimensions, found {padding:?}"
        )));
    }
    let mut pads = vec![(0, 0); rank];
    for (i, pair) in padding.chunks_exact(2).enumerate() {
        pads[rank - 1 - i] = (pair[0], pair[1]);
    }
    let PadMode::Constant(value) = mode else { return gathered(input, &pads, padding.len() / 2, mode) };
    let op = ConstantPad { pads, value };
    match op.shape(input) {
        Some(_) => apply(op, &[input]),
        None => Err(misfit(input, &op.pads)),
    }
}

/// Padding by elements of the tensor itself: an index per dimension.
fn gathered(input: &Tensor, pads: &[(isize, isize)], dims: usize, mode: PadMode) -> Result<Tensor> {
    let rank = input.dim();
    if !(1..=3).contains(&dims) || !(dims + 1..=dims + 2).contains(&rank) {
        return Err(Error::shape(format!(
            "pad: {mode:?} pads the last 1, 2 or 3 dimensions of a tensor with one or two more, found shape {:?} and \
             {dims} dimensions to pad",
            input.shape()
        )));
    }
    let mut y = input.clone();
    for (dim, &(before, after)) in pads.iter().enumerate() {
        let n = input.shape()[dim] as isize;
        let total = n.checked_add(before).and_then(|t| t.checked_add(after)).filter(|&t| t > 0);
        // A circle is closed after what is negative has been cut off.
        let (start, kept) =
            (before.min(0).saturating_neg(), n.saturating_add(before.min(0)).saturating_add(after.min(0)));
        let most = match mode {
            PadMode::Reflect => n - 1,
            PadMode::Circular => kept,
            _ if n == 0 => 0,
            _ => isize::MAX,
        };
        if dim >= rank - dims && (total.is_none() || before > most || after > most) {
            return Err(misfit(input, pads));
        }
        if (before, after) == (0, 0) {
            continue;
        }
        let source = |i: isize| match mode {
            PadMode::Reflect if i < 0 => -i,
            PadMode::Reflect if i >= n => 2 * (n - 1) - i,
            PadMode::Circular => start + (i - start).rem_euclid(kept.max(1)),
            _ => i.clamp(0, n - 1),
        };
        let total = total.unwrap_or(0) as usize;
        let index = collect("pad", total, |at| source((at as isize).saturating_sub(before)) as i64)?;
        y = y.index_select(dim as isize, &index)?;
    }
    if y.is(input) { input.copy() } else { Ok(y) }
}

/// Pads with zeros so that a convolution of stride 1 keeps the size: of an odd number the greater half goes behind.
/// PyTorch's `padding="same"`.
///
/// # Errors
///
/// If the input has too few dimensions.
///
/// ```
/// use sconce::{DType, Tensor, functional};
/// let x = Tensor::ones([1, 1, 5], DType::F32)?;
/// assert_eq!(functional::pad_same(&x, [4], [1])?.shape(), [1, 1, 8]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn pad_same<const N: usize>(
    input: &Tensor,
    kernel_size: [usize; N],
    dilation: [usize; N],
) -> Result<Tensor> {
    if input.dim() < N {
        return Err(Error::shape(format!(
            "pad_same: {N} dimensions to pad of an input of shape {:?}",
            input.shape()
        )));
    }
    let mut pads = [(0, 0); N];
    for (i, pad) in pads.iter_mut().enumerate() {
        let total = dilation[i].saturating_mul(kernel_size[i].saturating_sub(1));
        *pad = (total / 2, total - total / 2);
    }
    zeros_around(input, &pads)
}

/// [`pad_same`] for a convolution with a weight and options, whose padding does not count.
///
/// # Errors
///
/// As [`pad_same`]; also if the weight has not two dimensions more than are padded, or a stride is not 1: the size could
/// not be kept.
///
/// ```
/// use sconce::{DType, Tensor, functional::{ConvOptions, pad_same_for}};
/// let (x, weight) = (Tensor::ones([1, 1, 5], DType::F32)?, Tensor::ones([1, 1, 4], DType::F32)?);
/// assert_eq!(pad_same_for(&x, &weight, &ConvOptions::<1>::default())?.shape(), [1, 1, 8]);
/// assert!(pad_same_for(&x, &weight, &ConvOptions { stride: [2], ..Default::default() }).is_err());
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn pad_same_for<const N: usize>(
    input: &Tensor,
    weight: &Tensor,
    options: &ConvOptions<N>,
) -> Result<Tensor> {
    if options.stride != [1; N] {
        return Err(Error::argument(format!(
            "pad_same: the size cannot be kept with a stride of {:?}, expected 1",
            options.stride
        )));
    }
    let kernel = weight.shape().get(2..).and_then(|kernel| <[usize; N]>::try_from(kernel).ok());
    let Some(kernel) = kernel else {
        return Err(Error::shape(format!(
            "pad_same: needs a weight of {} dimensions, found shape {:?}",
            N + 2,
            weight.shape()
        )));
    };
    pad_same(input, kernel, options.dilation)
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static PADS: &[OpInfo] = &[OpInfo {
    name: "pad",
    samples: || {
        let sample = |padding: &'static [isize], mode: PadMode| {
            Sample::new(&[(&[2, 3, 4], D)], move |x| pad(&x[0], padding, mode))
        };
        vec![
            sample(&[1, 2, -1, 1], PadMode::Constant(0.5.into())),
            sample(&[3, 1], PadMode::Reflect),
            sample(&[-1, 1, 2, 0], PadMode::Replicate),
            sample(&[3, -1, 1, 3], PadMode::Circular),
        ]
    },
}];
