//! Connectionist temporal classification: Graves et al., "Connectionist temporal classification" (2006).

use std::sync::OnceLock;

use smallvec::smallvec;

use crate::autograd::{Grads, Op, Saved, apply};
use crate::ops::driver::build;
use crate::ops::nn::loss::Reduction;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// The options of [`ctc_loss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtcOptions {
    /// The class that stands for nothing; 0.
    pub blank: usize,
    /// What becomes of the losses; the mean of each over its target's length.
    pub reduction: Reduction,
    /// Whether an infinite loss (an input too short for its target) counts as 0, with a gradient of 0; false.
    pub zero_infinity: bool,
}

/// −log p(target) per sample, over all alignments with blanks in between.
#[derive(Debug)]
struct Ctc {
    /// Per sample: the target's classes, and the number of time steps that count.
    samples: Vec<(Vec<usize>, usize)>,
    blank: usize,
    /// log α per sample, `[T, 2 · target + 1]`, once known; and the losses.
    forward: OnceLock<(Vec<Vec<f64>>, Vec<f64>)>,
}

fn add_logs(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

impl Ctc {
    /// The class at a place of a target with blanks around each element.
    fn class(&self, target: &[usize], place: usize) -> usize {
        if place.is_multiple_of(2) { self.blank } else { target[place / 2] }
    }

    /// Whether an alignment may go from the place two before to this one: over a blank between different classes.
    fn skips(&self, target: &[usize], place: usize) -> bool {
        place % 2 == 1 && place >= 2 && target[place / 2] != target[place / 2 - 1]
    }

    fn alpha(&self, target: &[usize], steps: usize, log: impl Fn(usize, usize) -> f64) -> (Vec<f64>, f64) {
        let width = 2 * target.len() + 1;
        let mut alpha = vec![f64::NEG_INFINITY; steps * width];
        if steps == 0 {
            return (alpha, if target.is_empty() { 0.0 } else { f64::INFINITY });
        }
        for place in 0..width.min(2) {
            alpha[place] = log(0, self.class(target, place));
        }
        for t in 1..steps {
            for place in 0..width {
                let before = &alpha[(t - 1) * width..][..width];
                let mut sum = before[place];
                if place >= 1 {
                    sum = add_logs(sum, before[place - 1]);
                }
                if self.skips(target, place) {
                    sum = add_logs(sum, before[place - 2]);
                }
                alpha[t * width + place] = sum + log(t, self.class(target, place));
            }
        }
        let last = &alpha[(steps - 1) * width..];
        let total = if width > 1 { add_logs(last[width - 1], last[width - 2]) } else { last[0] };
        (alpha, -total)
    }

    /// Whether no alignment of a sample has a probability: then its loss is infinite.
    fn is_impossible(&self, sample: usize) -> bool {
        self.forward.get().is_some_and(|(_, losses)| losses[sample] == f64::INFINITY)
    }

    /// The gradient of one sample's loss, added to `out[t][class]`.
    fn gradient(
        &self,
        sample: usize,
        scale: f64,
        log: impl Fn(usize, usize) -> f64,
        mut add: impl FnMut(usize, usize, f64),
    ) {
        let Some((alphas, losses)) = self.forward.get() else { return };
        let ((target, steps), alpha, loss) = (&self.samples[sample], &alphas[sample], losses[sample]);
        let width = 2 * target.len() + 1;
        let mut beta = vec![f64::NEG_INFINITY; width];
        for t in (0..*steps).rev() {
            let after = beta.clone();
            for place in 0..width {
                let mut sum = if t + 1 == *steps {
                    if place + 2 >= width { 0.0 } else { f64::NEG_INFINITY }
                } else {
                    let mut sum = after[place];
                    if place + 1 < width {
                        sum = add_logs(sum, after[place + 1]);
                    }
                    if place + 2 < width && self.skips(target, place + 2) {
                        sum = add_logs(sum, after[place + 2]);
                    }
                    sum
                };
                // The part of all alignments that pass here.
                let part = alpha[t * width + place] + sum + loss;
                let class = self.class(target, place);
                if part != f64::NEG_INFINITY {
                    add(t, class, -scale * part.exp());
                }
                sum += log(t, class);
                beta[place] = sum;
            }
        }
    }
}

impl Op for Ctc {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (batch, classes) = (x[0].shape()[1], x[0].shape()[2]);
        let logs = x[0].to(DType::F64)?.contiguous()?;
        let (alphas, losses): (Vec<_>, Vec<_>) = logs.with_slice(|x: &[f64]| {
            let samples = self.samples.iter().enumerate();
            samples
                .map(|(n, (target, steps))| {
                    self.alpha(target, *steps, |t, class| x[(t * batch + n) * classes + class])
                })
                .unzip()
        })?;
        let out = Tensor::from_vec(losses.clone(), [batch])?.to(x[0].dtype())?;
        let _ = self.forward.set((alphas, losses));
        Ok(out)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        if crate::autograd::is_grad_enabled() && grad.requires_grad() {
            return Err(Error::autograd("ctc_loss: has no second derivative"));
        }
        let x = saved.input(0)?;
        let (batch, classes) = (x.shape()[1], x.shape()[2]);
        let logs = x.detach().to(DType::F64)?.contiguous()?;
        let scales = grad.detach().to(DType::F64)?.to_vec::<f64>()?;
        let gradient = logs.with_slice(|x: &[f64]| {
            build("ctc_loss", &[logs.shape()[0], batch, classes], |out: &mut [f64]| {
                for (n, &scale) in scales.iter().enumerate() {
                    let at = |t: usize, class: usize| (t * batch + n) * classes + class;
                    if self.is_impossible(n) {
                        // No alignment has a share in the loss: NaN, unless the loss does not count.
                        for t in 0..if scale == 0.0 { 0 } else { self.samples[n].1 } {
                            out[at(t, 0)..][..classes].fill(f64::NAN);
                        }
                        continue;
                    }
                    // PyTorch's gradient is that of the logits before the log softmax: the probability is in it.
                    if scale != 0.0 {
                        for t in 0..self.samples[n].1 {
                            for class in 0..classes {
                                out[at(t, class)] += scale * x[at(t, class)].exp();
                            }
                        }
                    }
                    self.gradient(n, scale, |t, c| x[at(t, c)], |t, c, part| out[at(t, c)] += part);
                }
                Ok(())
            })
        })??;
        Ok(smallvec![Some(gradient.to(x.dtype())?)])
    }
}

/// The loss of sequences of log probabilities `[T, N, C]` (or `[T, C]`) for shorter sequences of classes, over all ways
/// to align the two.
///
/// `targets` is `[N, S]` with `target_lengths` counting from the left, or all targets behind each other. As in PyTorch
/// the gradient is meant for inputs that a log softmax made: it has the sum of the probabilities in it.
///
/// # Errors
///
/// If shapes, lengths or classes do not fit, or the blank is a target.
///
/// ```
/// use sconce::{DType, Tensor, functional::ctc_loss};
/// // Two steps, a blank and one class: it may stand first, last or twice.
/// let logs = Tensor::full([2, 1, 2], 0.5f32.ln(), DType::F32)?;
/// let target = Tensor::from_vec(vec![1i64], [1, 1])?;
/// let loss = ctc_loss(&logs, &target, &[2], &[1], Default::default())?;
/// assert!((loss.item()? + 0.75f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn ctc_loss(
    log_probs: &Tensor,
    targets: &Tensor,
    input_lengths: &[usize],
    target_lengths: &[usize],
    options: CtcOptions,
) -> Result<Tensor> {
    const OP: &str = "ctc_loss";
    let dtype = float_dtype(OP, log_probs)?;
    let batched = log_probs.dim() == 3;
    if !batched && log_probs.dim() != 2 {
        return Err(Error::shape(format!(
            "{OP}: needs [T, N, C] or [T, C], found shape {:?}",
            log_probs.shape()
        )));
    }
    let x = if batched { log_probs.clone() } else { log_probs.unsqueeze(1)? };
    let [steps, batch, classes] = [0, 1, 2].map(|i| x.shape()[i]);
    if input_lengths.len() != batch || target_lengths.len() != batch {
        return Err(Error::argument(format!(
            "{OP}: {} input and {} target lengths for {batch} samples",
            input_lengths.len(),
            target_lengths.len()
        )));
    }
    if let Some(n) = input_lengths.iter().find(|&&n| n > steps) {
        return Err(Error::argument(format!("{OP}: an input length of {n} with {steps} steps")));
    }
    if options.blank >= classes {
        return Err(Error::argument(format!(
            "{OP}: the blank {} is none of {classes} classes",
            options.blank
        )));
    }
    let listed = targets.to(DType::I64)?.to_vec::<i64>()?;
    let total: usize = target_lengths.iter().sum();
    let rows = targets.dim() == 2;
    let width = if rows { targets.shape()[1] } else { 0 };
    let fits = if rows {
        targets.shape()[0] == batch && target_lengths.iter().all(|&n| n <= width)
    } else {
        targets.dim() <= 1 && (listed.len() == total || !batched && listed.len() >= total)
    };
    if !fits {
        return Err(Error::shape(format!(
            "{OP}: targets of shape {:?} do not fit the target lengths {target_lengths:?}",
            targets.shape()
        )));
    }
    let mut start = 0;
    let mut samples = Vec::with_capacity(batch);
    for (n, (&len, &steps)) in target_lengths.iter().zip(input_lengths).enumerate() {
        let from = if rows { n * width } else { start };
        start += len;
        let target = listed[from..from + len].iter().map(|&class| match usize::try_from(class) {
            Ok(class) if class < classes && class != options.blank => Ok(class),
            _ => Err(Error::index(format!(
                "{OP}: the target {class} of sample {n} is none of {classes} classes, or the blank"
            ))),
        });
        samples.push((target.collect::<Result<Vec<_>>>()?, steps));
    }
    let op = Ctc { samples, blank: options.blank, forward: OnceLock::new() };
    let mut losses = apply(op, &[&x])?;
    if options.zero_infinity {
        let infinite = losses.detach().eq(f64::INFINITY)?;
        losses = losses.masked_fill(&infinite, 0)?;
    }
    match options.reduction {
        Reduction::Mean => {
            let lengths: Vec<f64> = target_lengths.iter().map(|&n| n.max(1) as f64).collect();
            losses.div(&Tensor::from_vec(lengths, [batch])?.to(dtype)?)?.mean(())
        }
        Reduction::None if !batched => losses.squeeze(0),
        reduction => reduction.apply(&losses),
    }
}

/// For the generic tests: of log softmaxes, since the gradient is theirs.
pub(in crate::ops) static CTC: &[OpInfo] = &[OpInfo {
    name: "ctc_loss",
    samples: || {
        vec![
            Sample::new(&[(&[4, 2, 3], (-2.0, 2.0))], |x| {
                let targets = Tensor::from_vec(vec![1i64, 2, 2, 0], [2, 2])?;
                ctc_loss(&x[0].log_softmax(2)?, &targets, &[4, 3], &[2, 1], CtcOptions::default())
            })
            // The first derivative only; it is checked against PyTorch's.
            .without_gradient(),
        ]
    },
}];
