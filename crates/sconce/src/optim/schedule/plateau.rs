//! Rates that fall when nothing gets better.

use super::{Groups, check_count, invalid, of_group};
use crate::Result;

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlateauMode {
    /// Down, as a loss.
    #[default]
    Min,
    /// Up, as an accuracy.
    Max,
}

/// What counts as better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// A change by this part of the best value.
    Relative(f64),
    /// A change by this much.
    Absolute(f64),
}

/// Lowers the rates when a metric has not got better for some time; PyTorch's `ReduceLROnPlateau`.
///
/// ```
/// use sconce::nn::Linear;
/// use sconce::optim::{Optimizer, ReduceLROnPlateau, Sgd};
/// let mut optimizer = Optimizer::new(&Linear::new(2, 1)?, Sgd { lr: 1.0, ..Sgd::default() })?;
/// let mut scheduler = ReduceLROnPlateau { patience: 1, ..Default::default() };
/// for loss in [1.0, 1.0, 1.0] {
///     scheduler.step(loss, &mut optimizer)?;
/// }
/// assert_eq!(optimizer.lr(), 0.1);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceLROnPlateau {
    /// Which way the metric gets better; down.
    pub mode: PlateauMode,
    /// What rates are multiplied by; 0.1. Less than 1.
    pub factor: f64,
    /// How many steps may pass without anything better; 10.
    pub patience: usize,
    /// What counts as better; a ten thousandth of the best.
    pub threshold: Threshold,
    /// How many steps after a change do not count; 0.
    pub cooldown: usize,
    /// The least rates, of each group or of all; 0.
    pub min_lr: Vec<f64>,
    /// The least change; 1e-8.
    pub eps: f64,
    /// The best value so far; none.
    pub best: Option<f64>,
    /// How many steps have passed without anything better; 0.
    pub num_bad_epochs: usize,
    /// How many steps do not count yet; 0.
    pub cooldown_counter: usize,
}

impl Default for ReduceLROnPlateau {
    fn default() -> Self {
        Self {
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: Threshold::Relative(1e-4),
            cooldown: 0,
            min_lr: vec![0.0],
            eps: 1e-8,
            best: None,
            num_bad_epochs: 0,
            cooldown_counter: 0,
        }
    }
}

impl ReduceLROnPlateau {
    /// Looks at the metric after an epoch, and lowers the rates if it is time.
    ///
    /// # Errors
    ///
    /// If the factor is not less than 1, or `min_lr` is neither one number nor one for each group.
    pub fn step(&mut self, metric: f64, optimizer: &mut dyn Groups) -> Result<()> {
        if !(self.factor < 1.0) {
            return Err(invalid("ReduceLROnPlateau", "factor", self.factor, "less than 1"));
        }
        check_count("ReduceLROnPlateau", "min_lr", &self.min_lr, optimizer)?;
        let worst = match self.mode {
            PlateauMode::Min => f64::INFINITY,
            PlateauMode::Max => f64::NEG_INFINITY,
        };
        if self.is_better(metric, self.best.unwrap_or(worst)) {
            self.best = Some(metric);
            self.num_bad_epochs = 0;
        } else {
            self.num_bad_epochs += 1;
        }
        if self.cooldown_counter > 0 {
            self.cooldown_counter -= 1;
            self.num_bad_epochs = 0;
        }
        if self.num_bad_epochs > self.patience {
            for group in 0..optimizer.count() {
                let old = optimizer.lr(group);
                let new = (old * self.factor).max(of_group(&self.min_lr, group));
                if old - new > self.eps {
                    optimizer.set_lr(group, new);
                }
            }
            self.cooldown_counter = self.cooldown;
            self.num_bad_epochs = 0;
        }
        Ok(())
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        match (self.mode, self.threshold) {
            (PlateauMode::Min, Threshold::Relative(part)) => metric < best * (1.0 - part),
            (PlateauMode::Min, Threshold::Absolute(change)) => metric < best - change,
            (PlateauMode::Max, Threshold::Relative(part)) => metric > best * (part + 1.0),
            (PlateauMode::Max, Threshold::Absolute(change)) => metric > best + change,
        }
    }
}
