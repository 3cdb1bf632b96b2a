//! Rates that follow a cosine: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts".

use std::f64::consts::PI;

use super::cyclic::Anneal;
use super::{At, Groups, Schedule, check_count, invalid, of_group};
use crate::Result;

/// Half a cosine from the first rate to the least, and back; PyTorch's `CosineAnnealingLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealingLR {
    /// The number of steps to the least rate; PyTorch's `T_max`.
    pub t_max: usize,
    /// The least rate; 0.
    pub eta_min: f64,
}

impl CosineAnnealingLR {
    /// Makes a schedule that falls to 0.
    pub fn new(t_max: usize) -> Self {
        Self { t_max, eta_min: 0.0 }
    }
}

impl Schedule for CosineAnnealingLR {
    fn name(&self) -> &'static str {
        "CosineAnnealingLR"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        if self.t_max == 0 {
            return Err(invalid(self.name(), "t_max", self.t_max, "positive"));
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        if at.initial || at.epoch == 0 {
            return Ok(at.lr);
        }
        let t = self.t_max as f64;
        if (at.epoch as i64 - 1 - self.t_max as i64) % (2 * self.t_max as i64) == 0 {
            return Ok(at.lr + (at.base - self.eta_min) * (1.0 - (PI / t).cos()) / 2.0);
        }
        let height = |epoch: usize| 1.0 + (PI * epoch as f64 / t).cos();
        Ok(height(at.epoch) / height(at.epoch - 1) * (at.lr - self.eta_min) + self.eta_min)
    }

    fn closed_form(&self, at: At) -> Option<f64> {
        let height = 1.0 + (PI * at.epoch as f64 / self.t_max as f64).cos();
        Some(self.eta_min + (at.base - self.eta_min) * height / 2.0)
    }
}

/// Half a cosine from the first rate to the least, again and again; PyTorch's `CosineAnnealingWarmRestarts`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealingWarmRestarts {
    /// The number of steps to the first restart; PyTorch's `T_0`.
    pub t_0: usize,
    /// By how much the time to each next restart is longer; 1. PyTorch's `T_mult`.
    pub t_mult: usize,
    /// The least rate; 0.
    pub eta_min: f64,
}

impl CosineAnnealingWarmRestarts {
    /// Makes a schedule of equal periods that fall to 0.
    pub fn new(t_0: usize) -> Self {
        Self { t_0, t_mult: 1, eta_min: 0.0 }
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    fn name(&self) -> &'static str {
        "CosineAnnealingWarmRestarts"
    }

    fn prepare(&mut self, _: &mut dyn Groups) -> Result<()> {
        if self.t_0 == 0 {
            return Err(invalid(self.name(), "t_0", self.t_0, "positive"));
        }
        if self.t_mult == 0 {
            return Err(invalid(self.name(), "t_mult", self.t_mult, "at least 1"));
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        let (mut passed, mut period) = (at.epoch, self.t_0);
        if self.t_mult == 1 {
            passed %= period;
        } else {
            while passed >= period {
                passed -= period;
                period = period.saturating_mul(self.t_mult);
            }
        }
        let height = 1.0 + (PI * passed as f64 / period as f64).cos();
        Ok(self.eta_min + (at.base - self.eta_min) * height / 2.0)
    }
}

/// From the rate as it is to a constant one, for averaging weights; PyTorch's `SWALR`.
#[derive(Clone, Debug, PartialEq)]
pub struct SWALR {
    /// The rates in the end, of each group or of all.
    pub swa_lr: Vec<f64>,
    /// The number of steps to it; 10.
    pub anneal_epochs: usize,
    /// The way to it; a cosine.
    pub anneal: Anneal,
}

impl SWALR {
    /// Makes a schedule with PyTorch's defaults.
    pub fn new(swa_lr: f64) -> Self {
        Self { swa_lr: vec![swa_lr], anneal_epochs: 10, anneal: Anneal::Cos }
    }

    /// How much of the way lies behind.
    fn part(&self, step: f64) -> f64 {
        let t = (step / self.anneal_epochs.max(1) as f64).clamp(0.0, 1.0);
        match self.anneal {
            Anneal::Cos => (1.0 - (PI * t).cos()) / 2.0,
            Anneal::Linear => t,
        }
    }
}

impl Schedule for SWALR {
    fn name(&self) -> &'static str {
        "SWALR"
    }

    fn prepare(&mut self, groups: &mut dyn Groups) -> Result<()> {
        check_count(self.name(), "swa_lr", &self.swa_lr, groups)
    }

    fn rate(&self, at: At) -> Result<f64> {
        let step = if self.anneal_epochs == 0 { at.epoch.max(1) } else { at.epoch } as f64;
        let (before, now) = (self.part(step - 1.0), self.part(step));
        // The rate that another schedule may have changed meanwhile, without this one's part.
        let last = of_group(&self.swa_lr, at.group);
        let other = if before == 1.0 { last } else { (at.lr - before * last) / (1.0 - before) };
        Ok(last * now + other * (1.0 - now))
    }
}
