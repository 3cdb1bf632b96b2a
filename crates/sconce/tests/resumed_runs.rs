//! Runs that go on where others stopped, PyTorch's too: `tests/oracle/continue.py` begins them, this test goes on, and the
//! script ends them.
//!
//! With `SCONCE_CONTINUE` set to the script's folder its checkpoints are read and written; otherwise each run begins here,
//! and is compared with one that was not interrupted.

use std::path::{Path, PathBuf};

use sconce::checkpoint::{Builder, Checkpoint, Store};
use sconce::functional::{self, CrossEntropyOptions};
use sconce::io::NodeId;
use sconce::nn::{BatchNorm1d, Linear, Sequential, StateDict, Strictness, Tanh};
use sconce::optim::schedule::{
    ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, OneCycleLR, PlateauMode, SchedulerState, StepLR,
};
use sconce::optim::*;
use sconce::prelude::*;
use sconce::{Result, manual_seed};

const STEPS: usize = 4;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Step,
    Cosine,
    Sequential,
    Chained,
    OneCycle,
    Plateau,
    None,
}

/// As in the script.
fn scheduler(kind: Kind) -> Result<Option<Scheduler>> {
    Ok(Some(match kind {
        Kind::Step => Scheduler::new(StepLR { step_size: 2, gamma: 0.5 }),
        Kind::Cosine => Scheduler::new(CosineAnnealingLR { t_max: 10, eta_min: 0.0 }),
        Kind::Sequential => Scheduler::sequential(
            vec![
                Scheduler::new(LinearLR { start_factor: 0.5, total_iters: 2, ..LinearLR::default() }),
                Scheduler::new(ExponentialLR { gamma: 0.9 }),
            ],
            vec![6],
        )?,
        Kind::Chained => Scheduler::chained(vec![
            Scheduler::new(ConstantLR { factor: 0.5, total_iters: 5 }),
            Scheduler::new(ExponentialLR { gamma: 0.9 }),
        ])?,
        Kind::OneCycle => Scheduler::new(OneCycleLR::new(0.1, 14)),
        Kind::Plateau | Kind::None => return Ok(None),
    }))
}

fn model() -> Result<Sequential> {
    Ok(Sequential::new().add(Linear::new(64, 16)?).add(Tanh).add(Linear::new(16, 10)?))
}

struct Run {
    model: Sequential,
    x: Tensor,
    y: Tensor,
    losses: Vec<f64>,
}

impl Run {
    fn loss(&self) -> Result<Tensor> {
        functional::cross_entropy(&self.model.forward(&self.x)?, &self.y, CrossEntropyOptions::default())
    }

    /// A new run, of numbers that are made here.
    fn begin() -> Result<Self> {
        manual_seed(0);
        let model = model()?;
        let x = Tensor::rand([32, 64], DType::F32)?;
        let y = Tensor::from_vec((0..32).map(|i| i % 10).collect::<Vec<i64>>(), [32])?;
        Ok(Self { model, x, y, losses: Vec::new() })
    }

    fn read(saved: &Checkpoint) -> Result<Self> {
        let model = model()?;
        model.load_state_dict(&saved.get::<StateDict>("model")?, Strictness::Strict)?;
        Ok(Self { model, x: saved.get("x")?, y: saved.get("y")?, losses: saved.get("losses")? })
    }

    fn write(&self) -> Result<Checkpoint> {
        let mut saved = Checkpoint::new();
        saved.insert("model", self.model.state_dict())?;
        saved.insert("x", &self.x)?;
        saved.insert("y", &self.y)?;
        saved.insert("losses", &self.losses)?;
        Ok(saved)
    }
}

/// Goes on with a run, or begins one, for some steps; returns what it saved and the losses.
fn go_on<R: Rule>(
    saved: Option<&Checkpoint>,
    selector: &str,
    rule: R,
    kind: Kind,
    steps: usize,
) -> Result<(Checkpoint, Vec<f64>)> {
    let mut run = saved.map_or_else(Run::begin, Run::read)?;
    let mut optimizer = Optimizer::new(run.model.selected_parameters(selector)?, rule)?;
    let mut scheduler = scheduler(kind)?.map(|s| s.start(&mut optimizer)).transpose()?;
    let mut plateau = ReduceLROnPlateau {
        factor: 0.5,
        patience: 1,
        threshold: schedule::Threshold::Absolute(0.2),
        ..Default::default()
    };
    if let Some(saved) = saved {
        optimizer.load_state_dict(&saved.get::<OptimizerState>("optimizer")?)?;
        match &mut scheduler {
            Some(scheduler) => scheduler.load_state(&saved.get::<SchedulerState>("scheduler")?)?,
            None if kind == Kind::Plateau => plateau = saved.get("scheduler")?,
            None => {}
        }
        assert!(plateau.mode == PlateauMode::Min);
    }
    for _ in 0..steps {
        optimizer.zero_grad();
        let loss = run.loss()?;
        loss.backward()?;
        optimizer.step()?;
        run.losses.push(loss.item()?);
        match &mut scheduler {
            Some(scheduler) => scheduler.step(&mut optimizer)?,
            None if kind == Kind::Plateau => plateau.step(loss.item()?, &mut optimizer)?,
            None => {}
        }
    }
    let mut saved = run.write()?;
    saved.insert("optimizer", optimizer.state_dict()?)?;
    match &scheduler {
        Some(scheduler) => saved.insert("scheduler", scheduler.state())?,
        None if kind == Kind::Plateau => saved.insert("scheduler", plateau)?,
        None => {}
    }
    Ok((saved, run.losses))
}

fn lbfgs(
    saved: Option<&Checkpoint>,
    line_search: LineSearch,
    steps: usize,
) -> Result<(Checkpoint, Vec<f64>)> {
    let mut run = saved.map_or_else(Run::begin, Run::read)?;
    let config = LbfgsConfig { lr: 0.2, max_iter: 2, history_size: 6, line_search, ..LbfgsConfig::default() };
    let mut optimizer = Lbfgs::new(&run.model, config)?;
    if let Some(saved) = saved {
        optimizer.load_state_dict(&saved.get::<LbfgsState>("optimizer")?)?;
    }
    for _ in 0..steps {
        let loss = optimizer.step(|| run.loss())?;
        run.losses.push(loss);
    }
    let mut saved = run.write()?;
    saved.insert("optimizer", optimizer.state_dict()?)?;
    Ok((saved, run.losses))
}

type Go = Box<dyn Fn(Option<&Checkpoint>, usize) -> Result<(Checkpoint, Vec<f64>)>>;

fn runs() -> Vec<(&'static str, Go)> {
    fn with<R: Rule + 'static>(
        name: &'static str,
        selector: &'static str,
        rule: R,
        kind: Kind,
    ) -> (&'static str, Go) {
        (name, Box::new(move |saved, steps| go_on(saved, selector, rule.clone(), kind, steps)))
    }
    // What is not PyTorch's default comes from the checkpoint, or stays here for both parts of a run.
    vec![
        with("Adadelta", "**", Adadelta::default(), Kind::Step),
        with("Adafactor", "**", Adafactor::default(), Kind::None),
        with("Adagrad", "**", Adagrad::default(), Kind::Step),
        with("Adam", "**", Adam::default(), Kind::Cosine),
        with("AdamW", "**", AdamW::default(), Kind::Sequential),
        with("Adamax", "**", Adamax::default(), Kind::Step),
        with("ASGD", "**", Asgd::default(), Kind::None),
        with("Muon", "**.weight", Muon::default(), Kind::None),
        with("NAdam", "**", NAdam::default(), Kind::Chained),
        with("RAdam", "**", RAdam::default(), Kind::None),
        with("RMSprop", "**", RmsProp::default(), Kind::Plateau),
        with("Rprop", "**", Rprop::default(), Kind::None),
        with("SGD", "**", Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() }, Kind::OneCycle),
        with("SparseAdam", "**", SparseAdam::default(), Kind::None),
        ("LBFGS", Box::new(|saved, steps| lbfgs(saved, LineSearch::Fixed, steps))),
        ("LBFGS_strong_wolfe", Box::new(|saved, steps| lbfgs(saved, LineSearch::StrongWolfe, steps))),
    ]
}

#[test]
fn runs_go_on_from_checkpoints() -> Result<()> {
    let folder = std::env::var_os("SCONCE_CONTINUE").map(PathBuf::from);
    let own = std::env::temp_dir().join(format!("sconce-continue-{}.pt", std::process::id()));
    for (name, go) in runs() {
        let run = |from: &Path, to: &Path| -> Result<Vec<f64>> {
            let (saved, losses) = go(Some(&Checkpoint::load(from)?), STEPS)?;
            saved.save(to)?;
            Ok(losses)
        };
        match &folder {
            Some(folder) => {
                run(&folder.join(format!("{name}.begun.pt")), &folder.join(format!("{name}.continued.pt")))
                    .map_err(|error| error.context(name))?;
            }
            None => {
                let (_, whole) = go(None, 2 * STEPS)?;
                go(None, STEPS)?.0.save(&own)?;
                let parts = run(&own, &own)?;
                assert_eq!(whole, parts, "{name}");
                assert!(whole[0] > whole[2 * STEPS - 1], "{name}: {whole:?}");
            }
        }
    }
    if folder.is_none() {
        std::fs::remove_file(own)?;
    }
    Ok(())
}

/// The state of a scheduler with one key left out, or under another name.
struct Without(&'static str);

impl Store for Without {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let key = |key| if key == self.0 { "other" } else { key };
        let items = [
            (key("last_epoch"), to.put("last_epoch", 3i64)?),
            (key("base_lrs"), to.put("base_lrs", [0.1].as_slice())?),
            (key("_last_lr"), to.put("_last_lr", [0.1].as_slice())?),
        ];
        Ok(to.tree().dict(items))
    }
}

#[test]
fn what_is_no_state_is_an_error() -> Result<()> {
    let mut saved = Checkpoint::new();
    saved.insert("whole", Without(""))?;
    assert_eq!(saved.get::<SchedulerState>("whole")?.last_epoch, 3);
    for key in ["last_epoch", "base_lrs", "_last_lr"] {
        saved.insert(key, Without(key))?;
        let error = saved.get::<SchedulerState>(key).unwrap_err();
        assert_eq!(error.to_string(), format!("{key}: no key `{key}`"));
    }
    // Not one of random numbers: the other test counts on theirs.
    saved.insert("model", BatchNorm1d::new(4)?.state_dict())?;
    assert_eq!(saved.get::<SchedulerState>("model").unwrap_err().to_string(), "model: no key `base_lrs`");
    assert_eq!(saved.get::<GradScaler>("model").unwrap_err().to_string(), "model: no key `scale`");

    let mut scaler = GradScaler::new(8.0);
    (scaler.growth_interval, scaler.growth_tracker, scaler.growth_factor) = (7, 3, 4.0);
    saved.insert("scaler", &scaler)?;
    assert_eq!(saved.get::<GradScaler>("scaler")?, scaler);
    Ok(())
}
