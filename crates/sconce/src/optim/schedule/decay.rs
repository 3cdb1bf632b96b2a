//! Rates that fall by factors.

use std::fmt;
use std::sync::Arc;

use super::{At, Groups, Schedule, invalid};
use crate::{Error, Result};

/// A factor as a function of the number of steps: one for all groups, or one per group.
#[derive(Clone)]
pub struct Factor(Vec<Arc<dyn Fn(usize) -> f64 + Send + Sync>>);

impl Factor {
    /// One function for all groups.
    pub fn new(function: impl Fn(usize) -> f64 + Send + Sync + 'static) -> Self {
        Self(vec![Arc::new(function)])
    }

    /// One function per group.
    pub fn each(functions: Vec<Arc<dyn Fn(usize) -> f64 + Send + Sync>>) -> Self {
        Self(functions)
    }

    fn at(&self, at: At) -> f64 {
        let function = if self.0.len() == 1 { self.0.first() } else { self.0.get(at.group) };
        function.map_or(1.0, |function| function(at.epoch))
    }

    fn check(&self, schedule: &str, groups: &dyn Groups) -> Result<()> {
        if self.0.len() == 1 || self.0.len() == groups.count() {
            return Ok(());
        }
        Err(Error::argument(format!(
            "{schedule}: {} functions for {} groups: give one for all, or one for each",
            self.0.len(),
            groups.count()
        )))
    }
}

impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Factor of {} functions", self.0.len())
    }
}

/// The first rate times a function of the number of steps; PyTorch's `LambdaLR`.
#[derive(Clone, Debug)]
pub struct LambdaLR {
    /// The function.
    pub lr_lambda: Factor,
}

impl Schedule for LambdaLR {
    fn name(&self) -> &'static str {
        "LambdaLR"
    }

    fn prepare(&mut self, groups: &mut dyn Groups) -> Result<()> {
        self.lr_lambda.check(self.name(), groups)
    }

    fn rate(&self, at: At) -> Result<f64> {
        Ok(at.base * self.lr_lambda.at(at))
    }
}

/// The last rate times a function of the number of steps; PyTorch's `MultiplicativeLR`.
#[derive(Clone, Debug)]
pub struct MultiplicativeLR {
    /// The function.
    pub lr_lambda: Factor,
}

impl Schedule for MultiplicativeLR {
    fn name(&self) -> &'static str {
        "MultiplicativeLR"
    }

    fn prepare(&mut self, groups: &mut dyn Groups) -> Result<()> {
        self.lr_lambda.check(self.name(), groups)
    }

    fn rate(&self, at: At) -> Result<f64> {
        Ok(if at.initial { at.lr } else { at.lr * self.lr_lambda.at(at) })
    }
}

/// Times `gamma` every `step_size` steps; PyTorch's `StepLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLR {
    /// The number of steps between two changes.
    pub step_size: usize,
    /// The factor; 0.1.
    pub gamma: f64,
}

impl StepLR {
    /// Makes a schedule with PyTorch's factor.
    pub fn new(step_size: usize) -> Self {
        Self { step_size, gamma: 0.1 }
    }
}

impl Schedule for StepLR {
    fn name(&self) -> &'static str {
        "StepLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        if self.step_size == 0 {
            return Err(invalid(self.name(), "step_size", self.step_size, "positive"));
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        let changes = at.epoch > 0 && at.epoch.is_multiple_of(self.step_size);
        Ok(if changes { at.lr * self.gamma } else { at.lr })
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        Some(at.base * self.gamma.powf((at.epoch / self.step_size) as f64))
    }
}

/// Times `gamma` at each milestone; PyTorch's `MultiStepLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStepLR {
    /// The numbers of steps at which the rate changes; one that is there twice counts twice.
    pub milestones: Vec<usize>,
    /// The factor; 0.1.
    pub gamma: f64,
}

impl MultiStepLR {
    /// Makes a schedule with PyTorch's factor.
    pub fn new(milestones: Vec<usize>) -> Self {
        Self { milestones, gamma: 0.1 }
    }
}

impl Schedule for MultiStepLR {
    fn name(&self) -> &'static str {
        "MultiStepLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        let times = self.milestones.iter().filter(|&&m| m == at.epoch).count();
        Ok(at.lr * self.gamma.powf(times as f64))
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        let times = self.milestones.iter().filter(|&&m| m <= at.epoch).count();
        Some(at.base * self.gamma.powf(times as f64))
    }
}

/// A smaller rate for the first steps; PyTorch's `ConstantLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstantLR {
    /// The factor; 1/3.
    pub factor: f64,
    /// The number of steps; 5.
    pub total_iters: usize,
}

impl Default for ConstantLR {
    fn default() -> Self {
        Self { factor: 1.0 / 3.0, total_iters: 5 }
    }
}

impl Schedule for ConstantLR {
    fn name(&self) -> &'static str {
        "ConstantLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        if !(0.0..=1.0).contains(&self.factor) {
            return Err(invalid(self.name(), "factor", self.factor, "between 0 and 1"));
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        Ok(match at.epoch {
            0 => at.lr * self.factor,
            epoch if epoch == self.total_iters => at.lr * (1.0 / self.factor),
            _ => at.lr,
        })
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        Some(if at.epoch >= self.total_iters { at.base } else { at.base * self.factor })
    }
}

/// From one factor to another in equal steps; PyTorch's `LinearLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearLR {
    /// The first factor; 1/3.
    pub start_factor: f64,
    /// The last factor; 1.
    pub end_factor: f64,
    /// The number of steps between the two; 5.
    pub total_iters: usize,
}

impl Default for LinearLR {
    fn default() -> Self {
        Self { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

impl Schedule for LinearLR {
    fn name(&self) -> &'static str {
        "LinearLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        if !(self.start_factor > 0.0 && self.start_factor <= 1.0) {
            return Err(invalid(
                self.name(),
                "start_factor",
                self.start_factor,
                "greater than 0 and at most 1",
            ));
        }
        if !(0.0..=1.0).contains(&self.end_factor) {
            return Err(invalid(self.name(), "end_factor", self.end_factor, "between 0 and 1"));
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        if at.epoch == 0 {
            return Ok(at.lr * self.start_factor);
        }
        if at.initial || at.epoch > self.total_iters {
            return Ok(at.lr);
        }
        let rise = self.end_factor - self.start_factor;
        let before = self.total_iters as f64 * self.start_factor + (at.epoch - 1) as f64 * rise;
        Ok(at.lr * (1.0 + rise / before))
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        let part = at.epoch.min(self.total_iters) as f64 / self.total_iters as f64;
        Some(at.base * (self.start_factor + (self.end_factor - self.start_factor) * part))
    }
}

/// Times `gamma` at each step; PyTorch's `ExponentialLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialLR {
    /// The factor.
    pub gamma: f64,
}

impl Schedule for ExponentialLR {
    fn name(&self) -> &'static str {
        "ExponentialLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        Ok(if at.initial { at.lr } else { at.lr * self.gamma })
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        Some(at.base * self.gamma.powf(at.epoch as f64))
    }
}

/// Falls to 0 as a power of what is left of the steps; PyTorch's `PolynomialLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolynomialLR {
    /// The number of steps; 5.
    pub total_iters: usize,
    /// The power; 1.
    pub power: f64,
}

impl Default for PolynomialLR {
    fn default() -> Self {
        Self { total_iters: 5, power: 1.0 }
    }
}

impl Schedule for PolynomialLR {
    fn name(&self) -> &'static str {
        "PolynomialLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        if at.initial || at.epoch == 0 || at.epoch > self.total_iters {
            return Ok(at.lr);
        }
        let left = |epoch: usize| 1.0 - epoch as f64 / self.total_iters as f64;
        Ok(at.lr * (left(at.epoch) / left(at.epoch - 1)).powf(self.power))
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        let left = 1.0 - at.epoch.min(self.total_iters) as f64 / self.total_iters as f64;
        Some(at.base * left.powf(self.power))
    }
}
