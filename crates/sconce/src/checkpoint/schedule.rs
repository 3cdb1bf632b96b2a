//! The states of schedulers and of a scaler, as PyTorch's `state_dict()` of each has them.

use super::item::{Builder, Restore, Store};
use super::optimizer::{index, number};
use super::view::View;
use crate::io::NodeId;
use crate::optim::schedule::{PlateauMode, SchedulerState, Threshold};
use crate::optim::{GradScaler, ReduceLROnPlateau};
use crate::{Error, Result};

/// What PyTorch's schedulers write, as far as it is not an option: `last_epoch`, `base_lrs`, `_last_lr`, and the states of
/// parts as `_schedulers`.
impl Store for SchedulerState {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let mut items = vec![
            ("last_epoch", to.put("last_epoch", self.last_epoch)?),
            ("_step_count", to.put("_step_count", self.last_epoch + 1)?),
            ("base_lrs", to.put("base_lrs", self.base_lrs.as_slice())?),
            ("_last_lr", to.put("_last_lr", self.last_lr.as_slice())?),
        ];
        if !self.parts.is_empty() {
            items.push(("_schedulers", to.put("_schedulers", self.parts.as_slice())?));
        }
        Ok(to.tree().dict(items))
    }
}

impl Restore for SchedulerState {
    fn restore(from: &View<'_>) -> Result<Self> {
        let numbers = |key: &str| -> Result<Vec<f64>> {
            from.find(key)?.map_or_else(|| from.get(key), |list| list.list()?.iter().map(number).collect())
        };
        let parts = from.find("_schedulers")?;
        let parts: Vec<Self> = parts.map_or(Ok(Vec::new()), |parts| parts.restore())?;
        // PyTorch's schedulers of several keep no first rates of their own, and its chain no count either.
        let base_lrs = match (parts.first(), from.find("base_lrs")?) {
            (Some(first), None) => first.base_lrs.clone(),
            _ => numbers("base_lrs")?,
        };
        let last_epoch = match (parts.first(), from.find("last_epoch")?) {
            (Some(first), None) => first.last_epoch,
            _ => from.get("last_epoch")?,
        };
        Ok(Self { last_epoch, base_lrs, last_lr: numbers("_last_lr")?, parts })
    }
}

/// Options and all, as PyTorch writes them.
impl Store for ReduceLROnPlateau {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let (mode, worst) = match self.mode {
            PlateauMode::Min => ("min", f64::INFINITY),
            PlateauMode::Max => ("max", f64::NEG_INFINITY),
        };
        let (threshold_mode, threshold) = match self.threshold {
            Threshold::Relative(part) => ("rel", part),
            Threshold::Absolute(change) => ("abs", change),
        };
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let items = [
            ("mode", to.put("mode", mode)?),
            ("factor", to.put("factor", self.factor)?),
            ("patience", to.put("patience", count(self.patience))?),
            ("threshold", to.put("threshold", threshold)?),
            ("threshold_mode", to.put("threshold_mode", threshold_mode)?),
            ("cooldown", to.put("cooldown", count(self.cooldown))?),
            ("eps", to.put("eps", self.eps)?),
            ("best", to.put("best", self.best.unwrap_or(worst))?),
            ("num_bad_epochs", to.put("num_bad_epochs", count(self.num_bad_epochs))?),
            ("cooldown_counter", to.put("cooldown_counter", count(self.cooldown_counter))?),
            ("min_lrs", to.put("min_lrs", self.min_lr.as_slice())?),
        ];
        Ok(to.tree().dict(items))
    }
}

impl Restore for ReduceLROnPlateau {
    fn restore(from: &View<'_>) -> Result<Self> {
        let get = |key: &str| {
            from.find(key)?.ok_or_else(|| Error::load(format!("no key `{key}`")).context(from.path()))
        };
        let float = |key: &str| number(&get(key)?);
        let count = |key: &str| index(&get(key)?);
        let threshold = float("threshold")?;
        let (mode, threshold_mode) = (get("mode")?, get("threshold_mode")?);
        Ok(Self {
            mode: match mode.restore::<String>()?.as_str() {
                "min" => PlateauMode::Min,
                "max" => PlateauMode::Max,
                _ => return Err(mode.expected("min or max")),
            },
            factor: float("factor")?,
            patience: count("patience")?,
            threshold: match threshold_mode.restore::<String>()?.as_str() {
                "rel" => Threshold::Relative(threshold),
                "abs" => Threshold::Absolute(threshold),
                _ => return Err(threshold_mode.expected("rel or abs")),
            },
            cooldown: count("cooldown")?,
            min_lr: get("min_lrs")?.list()?.iter().map(number).collect::<Result<_>>()?,
            eps: float("eps")?,
            best: Some(float("best")?).filter(|best| best.is_finite()),
            num_bad_epochs: count("num_bad_epochs")?,
            cooldown_counter: count("cooldown_counter")?,
        })
    }
}

/// PyTorch's `scaler.state_dict()`. The optimisers that were unscaled since the last update are no part of it.
impl Store for GradScaler {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let items = [
            ("scale", to.put("scale", self.get_scale())?),
            ("growth_factor", to.put("growth_factor", self.growth_factor)?),
            ("backoff_factor", to.put("backoff_factor", self.backoff_factor)?),
            ("growth_interval", to.put("growth_interval", i64::from(self.growth_interval))?),
            ("_growth_tracker", to.put("_growth_tracker", i64::from(self.growth_tracker))?),
        ];
        Ok(to.tree().dict(items))
    }
}

impl Restore for GradScaler {
    fn restore(from: &View<'_>) -> Result<Self> {
        let count = |key: &str| {
            let found: i64 = from.get(key)?;
            let error = |_| Error::load(format!("`{key}` must not be {found}")).context(from.path());
            u32::try_from(found).map_err(error)
        };
        let mut scaler = Self::new(from.get("scale")?);
        scaler.growth_factor = from.get("growth_factor")?;
        scaler.backoff_factor = from.get("backoff_factor")?;
        scaler.growth_interval = count("growth_interval")?;
        scaler.growth_tracker = count("_growth_tracker")?;
        Ok(scaler)
    }
}
