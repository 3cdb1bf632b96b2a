//! Learning rates that change from step to step; PyTorch's `torch.optim.lr_scheduler`.
//!
//! A [`Schedule`] is a formula for the rate of one group; a [`Scheduler`] counts the steps and sets the rates. Most
//! formulas go from the last rate to the next, as in PyTorch, so that several can work on one optimiser.
//!
//! ```
//! use sconce::nn::Linear;
//! use sconce::optim::schedule::{ExponentialLR, LinearLR};
//! use sconce::optim::{Optimizer, Scheduler, Sgd};
//!
//! let mut optimizer = Optimizer::new(&Linear::new(2, 1)?, Sgd { lr: 0.1, ..Sgd::default() })?;
//! let warm_up = Scheduler::new(LinearLR { start_factor: 0.5, total_iters: 2, ..LinearLR::default() });
//! let decay = Scheduler::new(ExponentialLR { gamma: 0.9 });
//! let mut scheduler = Scheduler::sequential(vec![warm_up, decay], vec![3])?.start(&mut optimizer)?;
//!
//! let mut rates = vec![optimizer.lr()];
//! for _ in 0..4 {
//!     optimizer.step()?;
//!     scheduler.step(&mut optimizer)?;
//!     rates.push(optimizer.lr());
//! }
//! let rounded: Vec<f64> = rates.iter().map(|lr| (lr * 1e6).round() / 1e6).collect();
//! assert_eq!(rounded, [0.05, 0.075, 0.1, 0.1, 0.09]);
//! # Ok::<(), sconce::Error>(())
//! ```

mod cosine;
mod cyclic;
mod decay;
mod plateau;

use std::fmt::Debug;

use super::optimizer::Optimizer;
use super::rule::Rule;
use super::state::Value;
use crate::{Error, Result};

pub use cosine::{CosineAnnealingLR, CosineAnnealingWarmRestarts, SWALR};
pub use cyclic::{Anneal, CyclicLR, CyclicMode, OneCycleLR};
pub use decay::{
    ConstantLR, ExponentialLR, Factor, LambdaLR, LinearLR, MultiStepLR, MultiplicativeLR, PolynomialLR,
    StepLR,
};
pub use plateau::{PlateauMode, ReduceLROnPlateau, Threshold};

/// The groups of an optimiser, as a schedule sees them.
pub trait Groups {
    /// How many there are.
    fn count(&self) -> usize;

    /// The rate of a group.
    fn lr(&self, group: usize) -> f64;

    /// Sets the rate of a group.
    fn set_lr(&mut self, group: usize, lr: f64);

    /// The rate that schedules start from, if there was a schedule.
    fn initial_lr(&self, group: usize) -> Option<f64>;

    /// Sets the rate that schedules start from.
    fn set_initial_lr(&mut self, group: usize, lr: f64);

    /// The momentum of a group, or the first of its betas.
    fn momentum(&self, group: usize) -> Option<f64>;

    /// Sets the momentum of a group, or the first of its betas.
    ///
    /// # Errors
    ///
    /// If its rule has neither.
    fn set_momentum(&mut self, group: usize, momentum: f64) -> Result<()>;
}

/// What PyTorch calls the rate that schedules start from, also in a checkpoint.
const INITIAL: &str = "initial_lr";

impl<R: Rule> Groups for Optimizer<R> {
    fn count(&self) -> usize {
        self.groups().len()
    }

    fn lr(&self, group: usize) -> f64 {
        self.groups()[group].rule.lr()
    }

    fn set_lr(&mut self, group: usize, lr: f64) {
        self.groups_mut()[group].rule.set_lr(lr);
    }

    fn initial_lr(&self, group: usize) -> Option<f64> {
        self.groups()[group].other(INITIAL).and_then(|value| value.number().ok())
    }

    fn set_initial_lr(&mut self, group: usize, lr: f64) {
        self.groups_mut()[group].set_other(INITIAL, Value::Float(lr));
    }

    fn momentum(&self, group: usize) -> Option<f64> {
        self.groups()[group].rule.options().into_iter().find_map(|(name, value)| match name {
            "momentum" => value.number().ok(),
            "betas" => value.pair().ok().map(|betas| betas.0),
            _ => None,
        })
    }

    fn set_momentum(&mut self, group: usize, momentum: f64) -> Result<()> {
        let rule = &mut self.groups_mut()[group].rule;
        for (name, value) in rule.options() {
            let new = match name {
                "momentum" => Value::Float(momentum),
                "betas" => Value::from((momentum, value.pair()?.1)),
                _ => continue,
            };
            return rule.set_option(name, &new).map(drop);
        }
        Err(Error::argument(format!("{}: has neither momentum nor betas to schedule", R::NAME)))
    }
}

/// Where a schedule is, for one group.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The number of steps taken.
    pub epoch: usize,
    /// The group.
    pub group: usize,
    /// The group's rate now.
    pub lr: f64,
    /// The rate that it started from.
    pub base: f64,
    /// Whether this is the start, where a recursive formula leaves the rate as it is.
    pub initial: bool,
}

/// A formula for the rate of one group.
pub trait Schedule: Debug + Send + Sync {
    /// The name, for messages.
    fn name(&self) -> &'static str;

    /// Checks the options, and changes groups, before the start.
    ///
    /// # Errors
    ///
    /// If an option is outside its range, or the groups do not have what the schedule needs.
    fn prepare(&mut self, groups: &mut dyn Groups) -> Result<()>;

    /// The rate after the step that [`At`] describes.
    ///
    /// # Errors
    ///
    /// If there are no more steps.
    fn rate(&self, at: At) -> Result<f64>;

    /// The same rate from the number of steps alone, if there is a formula.
    fn closed_form(&self, _at: At) -> Option<f64> {
        None
    }

    /// The momentum after that step, for schedules that set it.
    fn momentum(&self, _at: At) -> Option<f64> {
        None
    }
}

/// What a scheduler remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerState {
    /// The number of steps taken.
    pub last_epoch: i64,
    /// The rates that groups started from.
    pub base_lrs: Vec<f64>,
    /// The rates that it set last.
    pub last_lr: Vec<f64>,
    /// The states of parts.
    pub parts: Vec<SchedulerState>,
}

#[derive(Debug)]
enum Kind {
    One(Box<dyn Schedule>),
    /// One after the other.
    Sequential(Vec<Scheduler>, Vec<usize>),
    /// All at each step.
    Chained(Vec<Scheduler>),
}

/// Sets the rates of an optimiser's groups after each step (or epoch), by one schedule or by several.
#[derive(Debug)]
pub struct Scheduler {
    kind: Kind,
    epoch: i64,
    base: Vec<f64>,
    last: Vec<f64>,
}

impl Scheduler {
    /// Makes a scheduler of one schedule.
    pub fn new(schedule: impl Schedule + 'static) -> Self {
        Self { kind: Kind::One(Box::new(schedule)), epoch: -1, base: Vec::new(), last: Vec::new() }
    }

    /// Makes one of several, each of which takes over at a milestone; PyTorch's `SequentialLR`.
    ///
    /// # Errors
    ///
    /// If there are none, or not one milestone less than schedulers, milestones do not rise, or a scheduler has begun.
    pub fn sequential(parts: Vec<Scheduler>, milestones: Vec<usize>) -> Result<Self> {
        if parts.is_empty() || milestones.len() + 1 != parts.len() {
            return Err(Error::argument(format!(
                "SequentialLR: needs one milestone between each two schedulers, found {} schedulers and {milestones:?}",
                parts.len()
            )));
        }
        if milestones.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::argument(format!("SequentialLR: milestones must rise, found {milestones:?}")));
        }
        check_parts("SequentialLR", &parts)?;
        Ok(Self { kind: Kind::Sequential(parts, milestones), epoch: -1, base: Vec::new(), last: Vec::new() })
    }

    /// Makes one of several that all work at each step; PyTorch's `ChainedScheduler`.
    ///
    /// # Errors
    ///
    /// If there are none, or one has begun.
    pub fn chained(parts: Vec<Scheduler>) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::argument("ChainedScheduler: needs at least one scheduler"));
        }
        check_parts("ChainedScheduler", &parts)?;
        Ok(Self { kind: Kind::Chained(parts), epoch: -1, base: Vec::new(), last: Vec::new() })
    }

    /// Sets the rates that the schedule starts with.
    ///
    /// # Errors
    ///
    /// If an option is outside its range, the groups do not have what a schedule needs, or the scheduler has begun.
    pub fn start(mut self, optimizer: &mut dyn Groups) -> Result<Self> {
        if self.has_begun() {
            return Err(Error::argument(format!(
                "Scheduler: has begun already, and is at step {}: make another one to begin anew",
                self.epoch
            )));
        }
        self.begin(optimizer)?;
        Ok(self)
    }

    /// Whether it was started, or goes on from a state.
    fn has_begun(&self) -> bool {
        !self.base.is_empty()
    }

    fn begin(&mut self, groups: &mut dyn Groups) -> Result<()> {
        if let Kind::One(schedule) = &mut self.kind {
            schedule.prepare(groups)?;
        }
        let count = groups.count();
        for group in 0..count {
            if groups.initial_lr(group).is_none() {
                groups.set_initial_lr(group, groups.lr(group));
            }
        }
        self.base = (0..count).map(|g| groups.initial_lr(g).unwrap_or_else(|| groups.lr(g))).collect();
        let result = match &mut self.kind {
            Kind::One(_) => self.first(groups),
            Kind::Sequential(parts, _) => {
                parts.iter_mut().try_for_each(|part| part.begin(groups))?;
                for (group, &lr) in self.base.iter().enumerate() {
                    groups.set_lr(group, lr);
                }
                // Only the first part has begun.
                parts.iter_mut().for_each(Self::undo);
                self.epoch = 0;
                parts[0].first(groups)
            }
            Kind::Chained(parts) => {
                self.epoch = 0;
                parts.iter_mut().try_for_each(|part| part.begin(groups))
            }
        };
        self.note(groups);
        result
    }

    /// Remembers the rates as they are.
    fn note(&mut self, groups: &dyn Groups) {
        self.last = (0..groups.count()).map(|group| groups.lr(group)).collect();
    }

    fn undo(&mut self) {
        match &mut self.kind {
            Kind::One(_) => self.epoch -= 1,
            Kind::Sequential(parts, _) | Kind::Chained(parts) => parts.iter_mut().for_each(Self::undo),
        }
    }

    /// The step that comes before all others.
    fn first(&mut self, groups: &mut dyn Groups) -> Result<()> {
        match &mut self.kind {
            Kind::One(_) => {
                self.epoch += 1;
                self.set(groups, true, false)
            }
            Kind::Sequential(parts, _) => parts[0].first(groups),
            Kind::Chained(parts) => parts.iter_mut().try_for_each(|part| part.first(groups)),
        }
    }

    /// Sets the rates after a step of the optimiser.
    ///
    /// # Errors
    ///
    /// If the scheduler was not started with an optimiser of as many groups, its schedule has no more steps, or a rate is
    /// not finite.
    pub fn step(&mut self, optimizer: &mut dyn Groups) -> Result<()> {
        if !self.has_begun() {
            return Err(Error::argument("Scheduler: start it with the optimiser before the first step"));
        }
        if self.base.len() != optimizer.count() {
            return Err(Error::argument(format!(
                "Scheduler: was started with {} groups, the optimiser has {}: add groups before the start",
                self.base.len(),
                optimizer.count()
            )));
        }
        self.epoch += 1;
        let epoch = self.epoch;
        let result = match &mut self.kind {
            Kind::One(_) => self.set(optimizer, false, false),
            Kind::Chained(parts) => parts.iter_mut().try_for_each(|part| part.step(optimizer)),
            Kind::Sequential(parts, milestones) => {
                let part = milestones.partition_point(|&m| m as i64 <= epoch);
                let begins = part > 0 && milestones[part - 1] as i64 == epoch;
                let part = &mut parts[part];
                if begins {
                    part.epoch = 0;
                    part.set(optimizer, false, true)
                } else {
                    part.step(optimizer)
                }
            }
        };
        self.note(optimizer);
        result
    }

    fn set(&mut self, groups: &mut dyn Groups, initial: bool, closed: bool) -> Result<()> {
        let Kind::One(schedule) = &self.kind else { return self.first(groups) };
        let at = |group: usize, groups: &dyn Groups| At {
            epoch: usize::try_from(self.epoch).unwrap_or(0),
            group,
            lr: groups.lr(group),
            base: self.base[group],
            initial,
        };
        for group in 0..self.base.len() {
            let at = at(group, groups);
            let closed = if closed { schedule.closed_form(at) } else { None };
            let lr = closed.map_or_else(|| schedule.rate(at), Ok)?;
            if !lr.is_finite() {
                return Err(Error::argument(format!(
                    "{}: the rate of group {group} would be {lr} after step {}, it was {}",
                    schedule.name(),
                    at.epoch,
                    at.lr
                )));
            }
            groups.set_lr(group, lr);
            if let Some(momentum) = schedule.momentum(at) {
                groups.set_momentum(group, momentum)?;
            }
        }
        Ok(())
    }

    /// The number of steps taken.
    pub fn last_epoch(&self) -> i64 {
        self.epoch
    }

    /// What the scheduler remembers; the rates themselves are part of the optimiser's state.
    pub fn state(&self) -> SchedulerState {
        let parts = match &self.kind {
            Kind::One(_) => Vec::new(),
            Kind::Sequential(parts, _) | Kind::Chained(parts) => parts.iter().map(Self::state).collect(),
        };
        SchedulerState {
            last_epoch: self.epoch,
            base_lrs: self.base.clone(),
            last_lr: self.last.clone(),
            parts,
        }
    }

    /// Goes on from what another scheduler of the same kind remembered; it need not be started then.
    ///
    /// # Errors
    ///
    /// If the states of parts differ in number, or the rates in that of groups.
    pub fn load_state(&mut self, state: &SchedulerState) -> Result<()> {
        let parts: &mut [Scheduler] = match &mut self.kind {
            Kind::One(_) => &mut [],
            Kind::Sequential(parts, _) | Kind::Chained(parts) => parts,
        };
        if parts.len() != state.parts.len()
            || !self.base.is_empty() && self.base.len() != state.base_lrs.len()
        {
            return Err(Error::load(format!(
                "Scheduler: a state of {} parts and {} groups for one of {} and {}",
                state.parts.len(),
                state.base_lrs.len(),
                parts.len(),
                self.base.len()
            )));
        }
        for (part, state) in parts.iter_mut().zip(&state.parts) {
            part.load_state(state)?;
        }
        self.epoch = state.last_epoch;
        self.base.clone_from(&state.base_lrs);
        self.last.clone_from(&state.last_lr);
        Ok(())
    }
}

/// Parts are started together with the whole.
fn check_parts(schedule: &str, parts: &[Scheduler]) -> Result<()> {
    match parts.iter().position(Scheduler::has_begun) {
        Some(i) => Err(Error::argument(format!(
            "{schedule}: scheduler {i} has begun already: start the whole instead of its parts"
        ))),
        None => Ok(()),
    }
}

/// An option outside its range.
fn invalid(schedule: &str, option: &str, found: impl Debug, expected: &str) -> Error {
    Error::argument(format!("{schedule}: {option} must be {expected}, found {found:?}"))
}

/// One number for all groups, or one for each.
fn of_group(numbers: &[f64], group: usize) -> f64 {
    if numbers.len() == 1 { numbers[0] } else { numbers.get(group).copied().unwrap_or(f64::NAN) }
}

fn check_count(schedule: &str, option: &str, numbers: &[f64], groups: &dyn Groups) -> Result<()> {
    if numbers.len() == 1 || numbers.len() == groups.count() {
        return Ok(());
    }
    Err(invalid(
        schedule,
        option,
        numbers,
        &format!("one number, or one for each of {} groups", groups.count()),
    ))
}
