//! Limits on gradients.

use super::parameters::Parameters;
use crate::ops::driver::optim::sum_squares;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result, no_grad};

/// How [`clip_grad_norm_`] measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipOptions {
    /// The order of the norm, infinity included; 2.
    pub norm_type: f64,
    /// Whether a norm that is NaN or infinite is an error; false, as in PyTorch, where it makes all gradients NaN or 0.
    pub error_if_nonfinite: bool,
}

impl Default for ClipOptions {
    fn default() -> Self {
        Self { norm_type: 2.0, error_if_nonfinite: false }
    }
}

/// Scales all gradients so that their norm, taken over all parameters together, is at most `max_norm`; returns the
/// norm before.
///
/// # Errors
///
/// If the norm is not finite and the options forbid it; if a gradient's dtype is not floating point.
///
/// ```
/// use sconce::Tensor;
/// use sconce::optim::{ClipOptions, clip_grad_norm_};
///
/// let x = Tensor::from_vec(vec![0.0f32; 2], [2])?.requires_grad_(true)?;
/// x.set_grad(Some(Tensor::from_vec(vec![3.0f32, 4.0], [2])?))?;
/// assert_eq!(clip_grad_norm_(vec![x.clone()], 1.0, ClipOptions::default())?, 5.0);
/// let clipped = x.grad().unwrap().to_vec::<f32>()?;
/// assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn clip_grad_norm_(parameters: impl Parameters, max_norm: f64, options: ClipOptions) -> Result<f64> {
    let order = options.norm_type;
    let grads = gradients(parameters);
    if grads.is_empty() {
        return Ok(0.0);
    }
    let mut total = Norm::new(order);
    for (_, grad) in &grads {
        total.add(norm(grad, order)?);
    }
    let total = total.value();
    if options.error_if_nonfinite && !total.is_finite() {
        let of = |(name, grad): &(String, Tensor)| match norm(grad, order) {
            Ok(norm) if norm.is_finite() => None,
            _ => Some(format!(", of which `{name}` has a part")),
        };
        let part = grads.iter().find_map(of).unwrap_or_default();
        return Err(Error::argument(format!(
            "clip_grad_norm_: the norm of order {order} of all gradients is {total}{part}"
        )));
    }
    let scale = max_norm / (total + 1e-6);
    // `min` would turn NaN into 1.
    let scale = if scale > 1.0 { 1.0 } else { scale };
    no_grad(|| grads.iter().try_for_each(|(_, grad)| grad.mul_(scale)))?;
    Ok(total)
}

/// Limits every element of all gradients to [−`clip_value`, `clip_value`]; NaN stays.
///
/// # Errors
///
/// If `clip_value` is negative or NaN, or an operation fails.
pub fn clip_grad_value_(parameters: impl Parameters, clip_value: f64) -> Result<()> {
    if clip_value.is_nan() || clip_value < 0.0 {
        return Err(Error::argument(format!(
            "clip_grad_value_: expected a value of at least 0, found {clip_value}"
        )));
    }
    no_grad(|| {
        gradients(parameters).iter().try_for_each(|(_, grad)| {
            let limit = Tensor::full((), clip_value, grad.dtype())?;
            grad.copy_(&grad.minimum(&limit)?.maximum(&limit.neg()?)?)
        })
    })
}

fn gradients(parameters: impl Parameters) -> Vec<(String, Tensor)> {
    let named = parameters.named().into_iter();
    named.filter_map(|mut p| Some((p.names.swap_remove(0), p.tensor.grad()?))).collect()
}

/// The norm of numbers, one after another; also that of the norms of parts.
struct Norm {
    order: f64,
    sum: f64,
}

impl Norm {
    fn new(order: f64) -> Self {
        Self { order, sum: if order == f64::NEG_INFINITY { f64::INFINITY } else { 0.0 } }
    }

    fn add(&mut self, x: f64) {
        let x = x.abs();
        self.sum = match self.order {
            order if order == f64::INFINITY => keep_nan(self.sum, x, f64::max),
            order if order == f64::NEG_INFINITY => keep_nan(self.sum, x, f64::min),
            0.0 => self.sum + f64::from(x != 0.0),
            1.0 => self.sum + x,
            2.0 => self.sum + x * x,
            order => self.sum + x.powf(order),
        };
    }

    fn value(&self) -> f64 {
        match self.order {
            order if order.is_infinite() => self.sum,
            0.0 | 1.0 => self.sum,
            2.0 => self.sum.sqrt(),
            order => self.sum.powf(1.0 / order),
        }
    }
}

fn keep_nan(a: f64, b: f64, of: fn(f64, f64) -> f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { of(a, b) }
}

/// The norm of a gradient, summed in float64 and rounded to the gradient's dtype, as in PyTorch.
fn norm(grad: &Tensor, order: f64) -> Result<f64> {
    if !grad.dtype().is_floating_point() {
        return Err(Error::dtype(format!("clip_grad_norm_: a gradient is {}", grad.dtype())));
    }
    let exact = match grad.dtype() {
        DType::F32 | DType::F64 if order == 2.0 => sum_squares("clip_grad_norm_", grad)?.sqrt(),
        DType::F64 => grad.with_slice(|x: &[f64]| norm_of(x, order, |x| x))?,
        DType::F32 => grad.with_slice(|x: &[f32]| norm_of(x, order, f64::from))?,
        _ => grad.to(DType::F32)?.with_slice(|x: &[f32]| norm_of(x, order, f64::from))?,
    };
    Tensor::full((), exact, grad.dtype())?.item()
}

fn norm_of<T: Copy>(x: &[T], order: f64, to: fn(T) -> f64) -> f64 {
    let mut norm = Norm::new(order);
    x.iter().for_each(|&x| norm.add(to(x)));
    norm.value()
}
