//! Rates that rise and fall: Smith, "Cyclical learning rates for training neural networks" and "Super-convergence".

use std::f64::consts::PI;

use super::{At, Groups, Schedule, check_count, invalid, of_group};
use crate::{Error, Result};

/// The way from one rate to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

impl Anneal {
    fn between(self, start: f64, end: f64, part: f64) -> f64 {
        match self {
            Self::Cos => end + (start - end) / 2.0 * (1.0 + (PI * part).cos()),
            Self::Linear => (end - start) * part + start,
        }
    }
}

/// How the height of a [`CyclicLR`] changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum CyclicMode {
    /// Not at all.
    #[default]
    Triangular,
    /// It is halved with each cycle.
    Triangular2,
    /// It is multiplied with a factor at each step.
    ExpRange(f64),
}

/// Up and down between two rates; PyTorch's `CyclicLR`. Momentum goes the other way.
#[derive(Clone, Debug, PartialEq)]
pub struct CyclicLR {
    /// The least rates, of each group or of all.
    pub base_lr: Vec<f64>,
    /// The greatest rates, of each group or of all.
    pub max_lr: Vec<f64>,
    /// The number of steps up; 2000.
    pub step_size_up: usize,
    /// The number of steps down; as many as up.
    pub step_size_down: Option<usize>,
    /// How the height changes; not at all.
    pub mode: CyclicMode,
    /// The least and greatest momentum, of each group or of all, (0.8, 0.9), or nothing to leave it alone.
    pub momentum: Option<(Vec<f64>, Vec<f64>)>,
}

impl CyclicLR {
    /// Makes a schedule with PyTorch's defaults.
    pub fn new(base_lr: f64, max_lr: f64) -> Self {
        Self {
            base_lr: vec![base_lr],
            max_lr: vec![max_lr],
            step_size_up: 2000,
            step_size_down: None,
            mode: CyclicMode::Triangular,
            momentum: Some((vec![0.8], vec![0.9])),
        }
    }

    /// Where in the cycle a step is, from 0 to 1 and back to 0, times the height.
    fn height(&self, epoch: usize) -> f64 {
        let up = self.step_size_up as f64;
        let total = up + self.step_size_down.map_or(up, |down| down as f64);
        let (epoch, ratio) = (epoch as f64, up / total);
        let cycle = (1.0 + epoch / total).floor();
        let x = 1.0 + epoch / total - cycle;
        let part = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        part * match self.mode {
            CyclicMode::Triangular => 1.0,
            CyclicMode::Triangular2 => 1.0 / 2f64.powf(cycle - 1.0),
            CyclicMode::ExpRange(gamma) => gamma.powf(epoch),
        }
    }
}

fn check_momentum(schedule: &str, groups: &dyn Groups) -> Result<()> {
    if (0..groups.count()).all(|group| groups.momentum(group).is_some()) {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{schedule}: the optimiser has neither momentum nor betas; set the schedule's momentum to None"
    )))
}

impl Schedule for CyclicLR {
    fn name(&self) -> &'static str {
        "CyclicLR"
    }

    fn prepare(&mut self, groups: &mut dyn Groups) -> Result<()> {
        check_count(self.name(), "base_lr", &self.base_lr, groups)?;
        check_count(self.name(), "max_lr", &self.max_lr, groups)?;
        if self.step_size_up == 0 {
            return Err(invalid(self.name(), "step_size_up", self.step_size_up, "positive"));
        }
        if let Some((base, max)) = &self.momentum {
            check_momentum(self.name(), groups)?;
            check_count(self.name(), "base_momentum", base, groups)?;
            check_count(self.name(), "max_momentum", max, groups)?;
        }
        for group in 0..groups.count() {
            groups.set_lr(group, of_group(&self.base_lr, group));
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        let (low, high) = (of_group(&self.base_lr, at.group), of_group(&self.max_lr, at.group));
        Ok(low + (high - low) * self.height(at.epoch))
    }

    fn momentum(&self, at: At) -> Option<f64> {
        let (low, high) = self.momentum.as_ref()?;
        let (low, high) = (of_group(low, at.group), of_group(high, at.group));
        Some(high - (high - low) * self.height(at.epoch))
    }
}

/// Up to a greatest rate and down to nearly nothing, once; PyTorch's `OneCycleLR`. Momentum goes the other way.
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycleLR {
    /// The greatest rates, of each group or of all.
    pub max_lr: Vec<f64>,
    /// The number of steps.
    pub total_steps: usize,
    /// The part of the steps that goes up; 0.3.
    pub pct_start: f64,
    /// The way from one rate to another; half a cosine.
    pub anneal: Anneal,
    /// The least and greatest momentum, of each group or of all, (0.85, 0.95), or nothing to leave it alone.
    pub momentum: Option<(Vec<f64>, Vec<f64>)>,
    /// What the greatest rate is divided by at the start; 25.
    pub div_factor: f64,
    /// What the rate at the start is divided by in the end; 1e4.
    pub final_div_factor: f64,
    /// Whether the way down ends at the first rate, and a third phase leads from there to the least; false.
    pub three_phase: bool,
}

impl OneCycleLR {
    /// Makes a schedule with PyTorch's defaults.
    pub fn new(max_lr: f64, total_steps: usize) -> Self {
        Self {
            max_lr: vec![max_lr],
            total_steps,
            pct_start: 0.3,
            anneal: Anneal::Cos,
            momentum: Some((vec![0.85], vec![0.95])),
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    /// Where each phase ends, and which of the first, greatest and last value leads to it.
    fn phases(&self) -> Vec<(f64, [usize; 2], [usize; 2])> {
        let (steps, up) = (self.total_steps as f64, self.pct_start * self.total_steps as f64);
        const FIRST: usize = 0;
        const GREATEST: usize = 1;
        const LAST: usize = 2;
        // Of momenta, the first is the greater.
        if self.three_phase {
            vec![
                (up - 1.0, [FIRST, GREATEST], [0, 1]),
                (2.0 * up - 2.0, [GREATEST, FIRST], [1, 0]),
                (steps - 1.0, [FIRST, LAST], [0, 0]),
            ]
        } else {
            vec![(up - 1.0, [FIRST, GREATEST], [0, 1]), (steps - 1.0, [GREATEST, LAST], [1, 0])]
        }
    }

    /// The phase that a step is in, and how much of it lies behind.
    fn place(&self, epoch: usize) -> (usize, f64) {
        let (phases, step) = (self.phases(), epoch as f64);
        let mut start = 0.0;
        for (i, (end, ..)) in phases.iter().enumerate() {
            if step <= *end || i + 1 == phases.len() {
                return (i, (step - start) / (end - start));
            }
            start = *end;
        }
        (0, 0.0)
    }
}

impl Schedule for OneCycleLR {
    fn name(&self) -> &'static str {
        "OneCycleLR"
    }

    fn prepare(&mut self, groups: &mut dyn Groups) -> Result<()> {
        check_count(self.name(), "max_lr", &self.max_lr, groups)?;
        if self.total_steps == 0 {
            return Err(invalid(self.name(), "total_steps", self.total_steps, "positive"));
        }
        if !(0.0..=1.0).contains(&self.pct_start) {
            return Err(invalid(self.name(), "pct_start", self.pct_start, "between 0 and 1"));
        }
        for (option, factor) in [("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)]
        {
            if !(factor > 0.0) {
                return Err(invalid(self.name(), option, factor, "positive"));
            }
        }
        if let Some((base, max)) = &self.momentum {
            check_momentum(self.name(), groups)?;
            check_count(self.name(), "base_momentum", base, groups)?;
            check_count(self.name(), "max_momentum", max, groups)?;
        }
        for group in 0..groups.count() {
            let first = of_group(&self.max_lr, group) / self.div_factor;
            groups.set_lr(group, first);
            groups.set_initial_lr(group, first);
        }
        Ok(())
    }

    fn rate(&self, at: At) -> Result<f64> {
        if at.epoch > self.total_steps {
            return Err(Error::argument(format!(
                "OneCycleLR: step {} of a schedule of {} steps: make total_steps the number of all steps",
                at.epoch, self.total_steps
            )));
        }
        let greatest = of_group(&self.max_lr, at.group);
        let first = greatest / self.div_factor;
        let values = [first, greatest, first / self.final_div_factor];
        let (phase, part) = self.place(at.epoch);
        let [from, to] = self.phases()[phase].1;
        Ok(self.anneal.between(values[from], values[to], part))
    }

    fn momentum(&self, at: At) -> Option<f64> {
        let (low, high) = self.momentum.as_ref()?;
        let values = [of_group(high, at.group), of_group(low, at.group)];
        let (phase, part) = self.place(at.epoch);
        let [from, to] = self.phases()[phase].2;
        Some(self.anneal.between(values[from], values[to], part))
    }
}
