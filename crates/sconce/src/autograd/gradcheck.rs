//! Derivatives checked against finite differences.

use super::{Backward, enable_grad, grad, no_grad};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// Tolerances of [`gradcheck`] and [`gradgradcheck`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradCheck {
    /// Half the distance between the two points of a difference. Default: 1e-6.
    pub eps: f64,
    /// Absolute tolerance between the analytic and the numerical value. Default: 1e-5.
    pub atol: f64,
    /// Tolerance relative to the numerical value. Default: 1e-3.
    pub rtol: f64,
    /// By how much two backward passes over the same graph may differ. Default: 0.
    pub nondet_tol: f64,
}

impl Default for GradCheck {
    fn default() -> Self {
        Self { eps: 1e-6, atol: 1e-5, rtol: 1e-3, nondet_tol: 0.0 }
    }
}

/// Checks the gradients of a function against central differences; PyTorch's `torch.autograd.gradcheck`.
///
/// Every element of every input that requires grad is moved by ± `eps`, in place (and back). The change of the output,
/// weighted with a random cotangent, must be what a backward pass from that cotangent gives; an input that gets no
/// gradient must not matter. A second pass over the same graph must give the same gradients. No `.grad` is touched.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::{GradCheck, gradcheck};
///
/// let x = Tensor::from_vec(vec![0.5f64, 1.0, 2.0], [3])?.requires_grad_(true)?;
/// gradcheck(&|x| x[0].log()?.mul(&x[0]), &[x.clone()], GradCheck::default())?;
/// let error = gradcheck(&|x| x[0].mul(&x[0].detach()), &[x], GradCheck::default()).unwrap_err();
/// assert!(error.to_string().starts_with("gradcheck: input 0 [3], element 0: analytic "));
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// At the first difference beyond `atol + rtol · |numerical|`, naming the input, the element and both values; if no
/// input requires grad, one that does is not float64 or overlaps itself, or the function fails.
pub fn gradcheck(f: &dyn Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor], how: GradCheck) -> Result<()> {
    check("gradcheck", &|x| f(x).map(|y| vec![y]), inputs, how)
}

/// Checks second derivatives: [`gradcheck`] of the backward pass of a function; PyTorch's
/// `torch.autograd.gradgradcheck`.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::{GradCheck, gradgradcheck};
///
/// let x = Tensor::from_vec(vec![0.5f64, 1.0, 2.0], [3])?.requires_grad_(true)?;
/// gradgradcheck(&|x| x[0].exp()?.mul(&x[0]), &[x], GradCheck::default())?;
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// As [`gradcheck`]; the last input is the cotangent.
pub fn gradgradcheck(
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    how: GradCheck,
) -> Result<()> {
    const NAME: &str = "gradgradcheck";
    let output = enable_grad(|| f(inputs)).context(|| NAME)?;
    let cotangent = random(&output, inputs.len() as u64)?.requires_grad_(true)?;
    let backward = |x: &[Tensor]| -> Result<Vec<Tensor>> {
        let (cotangent, x) = x.split_last().expect("the cotangent is the last input");
        let wanted: Vec<&Tensor> = x.iter().filter(|t| t.requires_grad()).collect();
        let how = Backward { create_graph: true, ..Backward::default() };
        let grads = grad(&[(&f(x)?, Some(cotangent))], &wanted, how)?;
        Ok(grads.into_iter().flatten().collect())
    };
    let with_cotangent: Vec<Tensor> = inputs.iter().cloned().chain([cotangent]).collect();
    check(NAME, &backward, &with_cotangent, how)
}

fn check(
    name: &str,
    f: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[Tensor],
    how: GradCheck,
) -> Result<()> {
    let checked = checked_inputs(name, inputs)?;
    let run = || enable_grad(|| f(inputs)).context(|| name);

    let outputs = run()?;
    let cotangents = outputs
        .iter()
        .enumerate()
        .map(|(i, y)| random(y, i as u64).context(|| name))
        .collect::<Result<Vec<_>>>()?;
    let analytic = analytic(name, &outputs, &cotangents, inputs, &checked, how.nondet_tol)?;
    let weights = values(&cotangents)?;

    for (&i, gradient) in checked.iter().zip(&analytic) {
        let input = &inputs[i];
        for (position, &analytic) in gradient.iter().enumerate() {
            let element = element(input, position)?;
            let x = element.item()?;
            let at = |x: f64| no_grad(|| element.fill_(x));
            // The values are read at once: an output may be the very input that moves.
            let values_at = |x: f64| at(x).and_then(|()| run()).and_then(|y| values(&y));
            let (above, below) = (values_at(x + how.eps), values_at(x - how.eps));
            at(x)?;
            let numerical = slope(name, &above?, &below?, &weights)? / (2.0 * how.eps);
            let near = (analytic - numerical).abs() <= how.atol + how.rtol * numerical.abs();
            if !near {
                return Err(Error::autograd(format!(
                    "{name}: input {i} {:?}, element {position}: analytic {analytic}, numerical {numerical}",
                    input.shape(),
                )));
            }
        }
    }
    Ok(())
}

/// The numbers of the inputs whose gradients are checked.
fn checked_inputs(name: &str, inputs: &[Tensor]) -> Result<Vec<usize>> {
    let checked: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].requires_grad()).collect();
    if checked.is_empty() {
        return Err(Error::autograd(format!("{name}: no input requires grad")));
    }
    for &i in &checked {
        let input = &inputs[i];
        if input.dtype() != DType::F64 {
            return Err(Error::dtype(format!(
                "{name}: input {i} is {}; differences need float64",
                input.dtype()
            )));
        }
        if input.layout().overlaps_itself() {
            return Err(Error::argument(format!(
                "{name}: input {i} of shape {:?} and strides {:?} refers to one element more than once",
                input.shape(),
                input.strides()
            )));
        }
    }
    Ok(checked)
}

/// The gradients of the checked inputs by backward passes: zeros where there is none.
fn analytic(
    name: &str,
    outputs: &[Tensor],
    cotangents: &[Tensor],
    inputs: &[Tensor],
    checked: &[usize],
    nondet_tol: f64,
) -> Result<Vec<Vec<f64>>> {
    let zeros = |i: &usize| vec![0.0; inputs[*i].numel()];
    let roots: Vec<(&Tensor, Option<&Tensor>)> = outputs
        .iter()
        .zip(cotangents)
        .filter(|(y, _)| y.requires_grad())
        .map(|(y, cotangent)| (y, Some(cotangent)))
        .collect();
    if roots.is_empty() {
        return Ok(checked.iter().map(zeros).collect());
    }
    let wanted: Vec<&Tensor> = checked.iter().map(|&i| &inputs[i]).collect();
    let how = Backward { retain_graph: true, ..Backward::default() };
    let pass = || -> Result<Vec<Vec<f64>>> {
        let grads = grad(&roots, &wanted, how).context(|| name)?;
        checked.iter().zip(grads).map(|(i, g)| g.map_or_else(|| Ok(zeros(i)), |g| g.to_vec())).collect()
    };
    let (first, second) = (pass()?, pass()?);
    for ((i, a), b) in checked.iter().zip(&first).zip(&second) {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a - b).abs() <= nondet_tol;
        if let Some(position) = a.iter().zip(b).position(|(&a, &b)| !same(a, b)) {
            return Err(Error::autograd(format!(
                "{name}: input {i} {:?}, element {position}: one backward gives {}, a second {}",
                inputs[*i].shape(),
                a[position],
                b[position]
            )));
        }
    }
    Ok(first)
}

/// The sum of the outputs' differences, each times its weight.
fn slope(name: &str, above: &[Vec<f64>], below: &[Vec<f64>], weights: &[Vec<f64>]) -> Result<f64> {
    let lengths = |list: &[Vec<f64>]| list.iter().map(Vec::len).collect::<Vec<_>>();
    if lengths(above) != lengths(weights) || lengths(below) != lengths(weights) {
        return Err(Error::shape(format!("{name}: the function's outputs change shape with its inputs")));
    }
    let each = above.iter().flatten().zip(below.iter().flatten()).zip(weights.iter().flatten());
    Ok(each.map(|((a, b), w)| (a - b) * w).sum())
}

fn values(tensors: &[Tensor]) -> Result<Vec<Vec<f64>>> {
    tensors.iter().map(Tensor::to_vec).collect()
}

/// One element of a tensor, in row-major order, as a view outside any history.
fn element(tensor: &Tensor, position: usize) -> Result<Tensor> {
    let (mut rest, mut offset) = (position, tensor.storage_offset());
    for (&size, &stride) in tensor.shape().iter().zip(tensor.strides()).rev() {
        offset += rest % size * stride;
        rest /= size;
    }
    tensor.detach().as_strided((), (), offset)
}

/// A cotangent for an output: magnitudes between 0.5 and 1.5 of either sign, the same in every run.
fn random(output: &Tensor, seed: u64) -> Result<Tensor> {
    if output.dtype() != DType::F64 {
        return Err(Error::dtype(format!("the output is {}; differences need float64", output.dtype())));
    }
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        let magnitude = 0.5 + (2.0 * unit).fract();
        if unit < 0.5 { -magnitude } else { magnitude }
    };
    Tensor::from_vec((0..output.numel()).map(|_| next()).collect(), output.shape())
}
