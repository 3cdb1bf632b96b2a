//! Losses that are scaled, so that gradients of half precision do not vanish.

use super::optimizer::Optimizer;
use super::rule::Rule;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result, no_grad};

/// Scales a loss up, gradients down again, and leaves out steps whose gradients overflowed; PyTorch's `GradScaler`.
///
/// Meant for parameters of float32 behind a computation in float16: bfloat16 has float32's range and needs none. There is no
/// autocast: products of half types are computed in float32, so that it would take more time, not less.
///
/// ```
/// use sconce::nn::{Layer, Linear};
/// use sconce::optim::{GradScaler, Optimizer, Sgd};
/// use sconce::prelude::*;
/// use sconce::DType;
///
/// let layer = Linear::new(2, 1)?;
/// let mut optimizer = Optimizer::new(&layer, Sgd::default())?;
/// let x = Tensor::ones([64, 2], DType::F32)?;
/// let loss = || layer.forward(&x)?.to(DType::F16)?.to(DType::F32)?.mul(1e-6)?.mean(());
///
/// // In float16 these gradients are 0.
/// loss()?.backward()?;
/// assert_eq!(layer.weight.grad().unwrap().to_vec::<f32>()?, [0.0; 2]);
///
/// let mut scaler = GradScaler::default();
/// optimizer.zero_grad();
/// scaler.scale(&loss()?)?.backward()?;
/// assert!(scaler.step(&mut optimizer)?);
/// scaler.update();
/// assert!(layer.weight.grad().unwrap().to_vec::<f32>()?[0] > 0.9e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GradScaler {
    scale: f64,
    /// What the scale grows by; 2.
    pub growth_factor: f64,
    /// What it is multiplied by when gradients overflowed; 0.5.
    pub backoff_factor: f64,
    /// After how many steps without an overflow it grows; 2000.
    pub growth_interval: u32,
    /// How many steps without an overflow there were since the scale changed, or an overflow.
    pub growth_tracker: u32,
    /// Optimisers since the last update: by the identity of the first parameter.
    stages: Vec<(usize, Stage)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stage {
    overflowed: bool,
    stepped: bool,
}

impl Default for GradScaler {
    fn default() -> Self {
        Self::new(65536.0)
    }
}

impl GradScaler {
    /// Makes one that begins with a scale; that of the default is 65536.
    pub fn new(scale: f64) -> Self {
        Self {
            scale,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            growth_tracker: 0,
            stages: Vec::new(),
        }
    }

    /// The scale.
    pub fn get_scale(&self) -> f64 {
        self.scale
    }

    /// A loss times the scale.
    ///
    /// # Errors
    ///
    /// As [`mul`](Tensor::mul).
    pub fn scale(&self, loss: &Tensor) -> Result<Tensor> {
        loss.mul(self.scale)
    }

    /// Divides the gradients of an optimiser by the scale, for what looks at them before the step, such as clipping;
    /// whether all are finite.
    ///
    /// # Errors
    ///
    /// If that was done since the last update, or a gradient is float16: divided, it would vanish all the same.
    pub fn unscale_<R: Rule>(&mut self, optimizer: &Optimizer<R>) -> Result<bool> {
        let identity = identity(optimizer);
        if let Some(stage) = self.stage(identity) {
            let done = if stage.stepped { "after a step" } else { "a second time" };
            return Err(Error::argument(format!("GradScaler: unscale_ {done}: call update first")));
        }
        let half = |(_, t): &(&str, &Tensor)| t.dtype() == DType::F16 && t.grad().is_some();
        if let Some((name, _)) = parameters(optimizer).find(half) {
            return Err(Error::dtype(format!(
                "GradScaler: the gradient of `{name}` is float16, where it vanishes when it is divided: keep the parameters \
                 in float32"
            )));
        }
        let inverse = 1.0 / self.scale;
        let mut overflowed = false;
        no_grad(|| {
            for grad in parameters(optimizer).filter_map(|(_, tensor)| tensor.grad()) {
                grad.mul_(inverse)?;
                overflowed |= grad.isfinite()?.all(())?.item()? == 0.0;
            }
            Ok::<_, Error>(())
        })?;
        self.stages.push((identity, Stage { overflowed, stepped: false }));
        Ok(!overflowed)
    }

    /// Divides the gradients by the scale, unless that was done, and steps if all are finite; whether it did.
    ///
    /// # Errors
    ///
    /// If there was a step since the last update, or the step fails.
    pub fn step<R: Rule>(&mut self, optimizer: &mut Optimizer<R>) -> Result<bool> {
        let identity = identity(optimizer);
        if self.stage(identity).is_none() {
            self.unscale_(optimizer)?;
        }
        let stage = self.stage(identity).expect("unscaling made it");
        if stage.stepped {
            return Err(Error::argument("GradScaler: a second step: call update first"));
        }
        stage.stepped = true;
        if stage.overflowed {
            return Ok(false);
        }
        optimizer.step().map(|()| true)
    }

    /// Changes the scale after the steps of an iteration: down if gradients overflowed, up after many without.
    pub fn update(&mut self) {
        if self.stages.iter().any(|(_, stage)| stage.overflowed) {
            self.scale *= self.backoff_factor;
            self.growth_tracker = 0;
        } else if !self.stages.is_empty() {
            self.growth_tracker += 1;
            if self.growth_tracker >= self.growth_interval {
                self.growth_tracker = 0;
                // As in PyTorch, the scale stays finite in float32.
                let grown = self.scale * self.growth_factor;
                self.scale = if grown <= f64::from(f32::MAX) { grown } else { self.scale };
            }
        }
        self.stages.clear();
    }

    /// How far an optimiser is since the last update.
    fn stage(&mut self, identity: usize) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|(id, _)| *id == identity).map(|(_, stage)| stage)
    }
}

/// The names and parameters of all groups.
fn parameters<R: Rule>(optimizer: &Optimizer<R>) -> impl Iterator<Item = (&str, &Tensor)> {
    optimizer.groups().iter().flat_map(|group| group.parameters())
}

/// What tells an optimiser from others: its first parameter, which no other steps.
fn identity<R: Rule>(optimizer: &Optimizer<R>) -> usize {
    parameters(optimizer).next().expect("an optimiser has parameters").1.id()
}
