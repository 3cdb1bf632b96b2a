//! The library's schedules of learning rates, by PyTorch's names. To support one, add a line to [`scheduler`].

use std::sync::Arc;

use sconce::Tensor;
use sconce::optim::schedule::{
    Anneal, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, CyclicMode, ExponentialLR,
    Factor, Groups, LambdaLR, LinearLR, MultiStepLR, MultiplicativeLR, OneCycleLR, PlateauMode, PolynomialLR,
    ReduceLROnPlateau, SWALR, Scheduler, StepLR, Threshold,
};
use sconce::optim::{Optimizer, Sgd};
use serde_json::Value as Json;

use crate::case::{Case, array_of, str_of};
use crate::compare::close_f64;
use crate::expression::Expression;
use crate::outcome::{At, Stop, unsupported, wrong};

/// Runs a case of kind `scheduler`.
pub(crate) fn run(case: &Case) -> Result<(), Stop> {
    let number = |json: &Json| json.as_f64().ok_or_else(|| Stop::Wrong(format!("not a number: {json}")));
    let momentum = number(&case.json["momentum"])?;
    let mut optimizer: Option<Optimizer<Sgd>> = None;
    for lr in array_of(&case.json, "initial_lr")? {
        let rule = Sgd { lr: number(lr)?, momentum, ..Sgd::default() };
        let parameter = Tensor::zeros([1], sconce::DType::F32)?.requires_grad_(true)?;
        match &mut optimizer {
            Some(optimizer) => optimizer.add_param_group(vec![parameter], |r| *r = rule)?,
            None => optimizer = Some(Optimizer::new(vec![parameter], rule)?),
        }
    }
    let Some(mut optimizer) = optimizer else { return wrong("no groups".into()) };
    let description = &case.json["scheduler"];
    if str_of(description, "class")? == "ReduceLROnPlateau" {
        let mut scheduler = plateau(&Options::of(description, PLATEAU)?)?;
        check(case, &optimizer, 0)?;
        for (i, metric) in array_of(&case.json, "metrics")?.iter().enumerate() {
            scheduler.step(number(metric)?, &mut optimizer)?;
            check(case, &optimizer, i + 1)?;
        }
        return Ok(());
    }
    let mut scheduler = scheduler(description)?.start(&mut optimizer)?;
    check(case, &optimizer, 0)?;
    for i in 1..array_of(&case.json, "lrs")?.len() {
        scheduler.step(&mut optimizer)?;
        check(case, &optimizer, i)?;
    }
    Ok(())
}

fn check(case: &Case, optimizer: &Optimizer<Sgd>, step: usize) -> Result<(), Stop> {
    for (field, value) in [
        ("lrs", Groups::lr as fn(&Optimizer<Sgd>, usize) -> f64),
        ("momenta", |o, g| Groups::momentum(o, g).unwrap_or(f64::NAN)),
    ] {
        let Some(expected) = case.json[field].get(step).and_then(Json::as_array) else { continue };
        for (group, expected) in expected.iter().enumerate() {
            let (found, expected) = (value(optimizer, group), expected.as_f64().unwrap_or(f64::NAN));
            if !close_f64(found, expected, Some([1e-9, 0.0])) {
                return wrong(format!(
                    "{field} {found} of group {group} after {step} steps, expected {expected}"
                ));
            }
        }
    }
    Ok(())
}

/// The options of a scheduler, by name.
struct Options<'a>(Vec<(&'static str, &'a Json)>);

impl<'a> Options<'a> {
    fn of(description: &'a Json, names: &[&'static str]) -> Result<Self, Stop> {
        let args = description["args"].as_array().into_iter().flatten();
        let mut found: Vec<_> = names.iter().copied().zip(args).collect();
        for (name, value) in description["kwargs"].as_object().into_iter().flatten() {
            match names.iter().find(|known| *known == name) {
                Some(known) => found.push((known, value)),
                None => return unsupported(format!("option {name}")),
            }
        }
        Ok(Self(found))
    }

    fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| *value).filter(|v| !v.is_null())
    }

    fn read<T>(&self, name: &str, read: impl Fn(&'a Json) -> Option<T>) -> Result<Option<T>, Stop> {
        match self.get(name) {
            Some(json) => match read(json) {
                Some(value) => Ok(Some(value)),
                None => unsupported(format!("{name} = {json}")),
            },
            None => Ok(None),
        }
    }

    fn float(&self, name: &str, default: f64) -> Result<f64, Stop> {
        Ok(self.read(name, Json::as_f64)?.unwrap_or(default))
    }

    fn size(&self, name: &str) -> Result<Option<usize>, Stop> {
        self.read(name, |json| json.as_u64().map(|n| n as usize))
    }

    fn needed(&self, name: &str) -> Result<usize, Stop> {
        self.size(name)?.ok_or_else(|| Stop::Unsupported(format!("{name} is left out")))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Stop> {
        Ok(self.read(name, Json::as_bool)?.unwrap_or(default))
    }

    fn text(&self, name: &str, default: &'a str) -> Result<&'a str, Stop> {
        Ok(self.read(name, Json::as_str)?.unwrap_or(default))
    }

    /// One number for all groups, or several.
    fn floats(&self, name: &str) -> Result<Vec<f64>, Stop> {
        let read = |json: &Json| match json.as_array() {
            Some(items) => items.iter().map(Json::as_f64).collect(),
            None => json.as_f64().map(|x| vec![x]),
        };
        self.read(name, read)?.ok_or_else(|| Stop::Unsupported(format!("{name} is left out")))
    }

    fn floats_or(&self, name: &str, default: f64) -> Result<Vec<f64>, Stop> {
        if self.get(name).is_some() { self.floats(name) } else { Ok(vec![default]) }
    }

    fn factor(&self) -> Result<Factor, Stop> {
        let Some(given) = self.get("lr_lambda") else { return unsupported("no lr_lambda".into()) };
        let one = |json: &Json| -> Result<Arc<dyn Fn(usize) -> f64 + Send + Sync>, Stop> {
            let expression = Expression::parse(str_of(json, "lambda")?)?;
            Ok(Arc::new(move |epoch| expression.value(epoch as f64)))
        };
        match given.as_array() {
            Some(items) => Ok(Factor::each(items.iter().map(one).collect::<Result<_, _>>()?)),
            None => Ok(Factor::each(vec![one(given)?])),
        }
    }

    fn anneal(&self) -> Result<Anneal, Stop> {
        match self.text("anneal_strategy", "cos")? {
            "cos" => Ok(Anneal::Cos),
            "linear" => Ok(Anneal::Linear),
            other => unsupported(format!("anneal_strategy {other:?}")),
        }
    }
}

/// The scheduler of a description.
fn scheduler(json: &Json) -> Result<Scheduler, Stop> {
    let class = str_of(json, "class")?;
    let with = |names: &[&'static str]| Options::of(json, names);
    Ok(match class {
        "LambdaLR" => Scheduler::new(LambdaLR { lr_lambda: with(&["lr_lambda"])?.factor()? }),
        "MultiplicativeLR" => Scheduler::new(MultiplicativeLR { lr_lambda: with(&["lr_lambda"])?.factor()? }),
        "StepLR" => {
            let o = with(&["step_size", "gamma"])?;
            Scheduler::new(StepLR { step_size: o.needed("step_size")?, gamma: o.float("gamma", 0.1)? })
        }
        "MultiStepLR" => {
            let o = with(&["milestones", "gamma"])?;
            let milestones = o.floats("milestones")?.into_iter().map(|m| m as usize).collect();
            Scheduler::new(MultiStepLR { milestones, gamma: o.float("gamma", 0.1)? })
        }
        "ConstantLR" => {
            let o = with(&["factor", "total_iters"])?;
            let total_iters = o.size("total_iters")?.unwrap_or(5);
            Scheduler::new(ConstantLR { factor: o.float("factor", 1.0 / 3.0)?, total_iters })
        }
        "LinearLR" => {
            let o = with(&["start_factor", "end_factor", "total_iters"])?;
            Scheduler::new(LinearLR {
                start_factor: o.float("start_factor", 1.0 / 3.0)?,
                end_factor: o.float("end_factor", 1.0)?,
                total_iters: o.size("total_iters")?.unwrap_or(5),
            })
        }
        "ExponentialLR" => {
            Scheduler::new(ExponentialLR { gamma: with(&["gamma"])?.float("gamma", f64::NAN)? })
        }
        "PolynomialLR" => {
            let o = with(&["total_iters", "power"])?;
            let total_iters = o.size("total_iters")?.unwrap_or(5);
            Scheduler::new(PolynomialLR { total_iters, power: o.float("power", 1.0)? })
        }
        "CosineAnnealingLR" => {
            let o = with(&["T_max", "eta_min"])?;
            Scheduler::new(CosineAnnealingLR { t_max: o.needed("T_max")?, eta_min: o.float("eta_min", 0.0)? })
        }
        "CosineAnnealingWarmRestarts" => {
            let o = with(&["T_0", "T_mult", "eta_min"])?;
            Scheduler::new(CosineAnnealingWarmRestarts {
                t_0: o.needed("T_0")?,
                t_mult: o.size("T_mult")?.unwrap_or(1),
                eta_min: o.float("eta_min", 0.0)?,
            })
        }
        "CyclicLR" => Scheduler::new(cyclic(&with(CYCLIC)?)?),
        "OneCycleLR" => Scheduler::new(one_cycle(&with(ONE_CYCLE)?)?),
        "SWALR" => {
            let o = with(&["swa_lr", "anneal_epochs", "anneal_strategy"])?;
            Scheduler::new(SWALR {
                swa_lr: o.floats("swa_lr")?,
                anneal_epochs: o.size("anneal_epochs")?.unwrap_or(10),
                anneal: o.anneal()?,
            })
        }
        "SequentialLR" => {
            let o = with(&["schedulers", "milestones"])?;
            let milestones = o.floats("milestones")?.into_iter().map(|m| m as usize).collect();
            Scheduler::sequential(parts(&o)?, milestones)?
        }
        "ChainedScheduler" => Scheduler::chained(parts(&with(&["schedulers"])?)?)?,
        _ => return unsupported(format!("no scheduler {class}")),
    })
}

fn parts(o: &Options<'_>) -> Result<Vec<Scheduler>, Stop> {
    let items = o.get("schedulers").and_then(Json::as_array);
    items.into_iter().flatten().map(|json| scheduler(json).at("a part")).collect()
}

const CYCLIC: &[&str] = &[
    "base_lr",
    "max_lr",
    "step_size_up",
    "step_size_down",
    "mode",
    "gamma",
    "scale_fn",
    "scale_mode",
    "cycle_momentum",
    "base_momentum",
    "max_momentum",
];

fn cyclic(o: &Options<'_>) -> Result<CyclicLR, Stop> {
    let momentum = (o.floats_or("base_momentum", 0.8)?, o.floats_or("max_momentum", 0.9)?);
    Ok(CyclicLR {
        base_lr: o.floats("base_lr")?,
        max_lr: o.floats("max_lr")?,
        step_size_up: o.size("step_size_up")?.unwrap_or(2000),
        step_size_down: o.size("step_size_down")?,
        mode: match o.text("mode", "triangular")? {
            "triangular" => CyclicMode::Triangular,
            "triangular2" => CyclicMode::Triangular2,
            "exp_range" => CyclicMode::ExpRange(o.float("gamma", 1.0)?),
            other => return unsupported(format!("mode {other:?}")),
        },
        momentum: o.flag("cycle_momentum", true)?.then_some(momentum),
    })
}

const ONE_CYCLE: &[&str] = &[
    "max_lr",
    "total_steps",
    "epochs",
    "steps_per_epoch",
    "pct_start",
    "anneal_strategy",
    "cycle_momentum",
    "base_momentum",
    "max_momentum",
    "div_factor",
    "final_div_factor",
    "three_phase",
];

fn one_cycle(o: &Options<'_>) -> Result<OneCycleLR, Stop> {
    let total_steps = match o.size("total_steps")? {
        Some(steps) => steps,
        None => o.needed("epochs")? * o.needed("steps_per_epoch")?,
    };
    let momentum = (o.floats_or("base_momentum", 0.85)?, o.floats_or("max_momentum", 0.95)?);
    Ok(OneCycleLR {
        max_lr: o.floats("max_lr")?,
        total_steps,
        pct_start: o.float("pct_start", 0.3)?,
        anneal: o.anneal()?,
        momentum: o.flag("cycle_momentum", true)?.then_some(momentum),
        div_factor: o.float("div_factor", 25.0)?,
        final_div_factor: o.float("final_div_factor", 1e4)?,
        three_phase: o.flag("three_phase", false)?,
    })
}

const PLATEAU: &[&str] =
    &["mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps"];

fn plateau(o: &Options<'_>) -> Result<ReduceLROnPlateau, Stop> {
    let threshold = o.float("threshold", 1e-4)?;
    Ok(ReduceLROnPlateau {
        mode: match o.text("mode", "min")? {
            "min" => PlateauMode::Min,
            "max" => PlateauMode::Max,
            other => return unsupported(format!("mode {other:?}")),
        },
        factor: o.float("factor", 0.1)?,
        patience: o.size("patience")?.unwrap_or(10),
        threshold: match o.text("threshold_mode", "rel")? {
            "rel" => Threshold::Relative(threshold),
            "abs" => Threshold::Absolute(threshold),
            other => return unsupported(format!("threshold_mode {other:?}")),
        },
        cooldown: o.size("cooldown")?.unwrap_or(0),
        min_lr: o.floats_or("min_lr", 0.0)?,
        eps: o.float("eps", 1e-8)?,
        ..Default::default()
    })
}
