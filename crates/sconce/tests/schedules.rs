//! Schedules that are used wrongly: what the errors say.

use std::sync::Arc;

use sconce::nn::Linear;
use sconce::optim::schedule::{
    ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR, Factor, LambdaLR,
    LinearLR, OneCycleLR, ReduceLROnPlateau, SWALR, Schedule, StepLR,
};
use sconce::optim::{Adagrad, Optimizer, Rule, Scheduler, Sgd};
use sconce::{ErrorKind, Result};

fn optimizer() -> Result<Optimizer<Sgd>> {
    Optimizer::new(&Linear::new(2, 2)?, Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() })
}

/// Two groups.
fn grouped() -> Result<Optimizer<Sgd>> {
    optimizer()?.group("bias", |rule| rule.lr = 0.2)
}

/// The start of a schedule, and `steps` steps.
fn run<R: Rule>(
    optimizer: Result<Optimizer<R>>,
    schedule: impl Schedule + 'static,
    steps: usize,
) -> Result<()> {
    let mut optimizer = optimizer?;
    let mut scheduler = Scheduler::new(schedule).start(&mut optimizer)?;
    (0..steps).try_for_each(|_| scheduler.step(&mut optimizer))
}

fn step_lr() -> Scheduler {
    Scheduler::new(StepLR::new(3))
}

#[test]
fn options_outside_their_range() {
    let adagrad = || Optimizer::new(&Linear::new(2, 2)?, Adagrad::default());
    let cyclic = || CyclicLR { step_size_up: 4, ..CyclicLR::new(0.1, 1.0) };
    let one = || OneCycleLR::new(1.0, 4);
    let momenta = (vec![0.8, 0.8], vec![0.9]);
    let two = Factor::each(vec![Arc::new(|_| 1.0), Arc::new(|_| 0.5)]);
    let table: Vec<(Result<()>, &str)> = vec![
        (run(optimizer(), StepLR::new(0), 0), "StepLR: step_size must be positive, found 0"),
        (
            run(optimizer(), ConstantLR { factor: 1.5, total_iters: 2 }, 0),
            "ConstantLR: factor must be between 0 and 1, found 1.5",
        ),
        (
            run(optimizer(), LinearLR { start_factor: 0.0, ..LinearLR::default() }, 0),
            "LinearLR: start_factor must be greater than 0 and at most 1, found 0.0",
        ),
        (
            run(optimizer(), LinearLR { end_factor: -0.5, ..LinearLR::default() }, 0),
            "LinearLR: end_factor must be between 0 and 1, found -0.5",
        ),
        (
            run(optimizer(), CosineAnnealingLR::new(0), 0),
            "CosineAnnealingLR: t_max must be positive, found 0",
        ),
        (
            run(
                optimizer(),
                CosineAnnealingWarmRestarts { t_mult: 0, ..CosineAnnealingWarmRestarts::new(3) },
                0,
            ),
            "CosineAnnealingWarmRestarts: t_mult must be at least 1, found 0",
        ),
        (
            run(grouped(), SWALR { swa_lr: vec![0.1; 3], ..SWALR::new(0.1) }, 0),
            "SWALR: swa_lr must be one number, or one for each of 2 groups, found [0.1, 0.1, 0.1]",
        ),
        (
            run(optimizer(), CyclicLR { step_size_up: 0, ..cyclic() }, 0),
            "CyclicLR: step_size_up must be positive, found 0",
        ),
        (
            run(optimizer(), CyclicLR { momentum: Some(momenta), ..cyclic() }, 0),
            "CyclicLR: base_momentum must be one number, or one for each of 1 groups, found [0.8, 0.8]",
        ),
        (
            run(adagrad(), cyclic(), 0),
            "CyclicLR: the optimiser has neither momentum nor betas; set the schedule's momentum to None",
        ),
        (
            run(optimizer(), OneCycleLR { total_steps: 0, ..one() }, 0),
            "OneCycleLR: total_steps must be positive, found 0",
        ),
        (
            run(optimizer(), OneCycleLR { pct_start: 1.5, ..one() }, 0),
            "OneCycleLR: pct_start must be between 0 and 1, found 1.5",
        ),
        (
            run(optimizer(), OneCycleLR { div_factor: 0.0, ..one() }, 0),
            "OneCycleLR: div_factor must be positive, found 0.0",
        ),
        (
            run(optimizer(), OneCycleLR { final_div_factor: f64::NAN, ..one() }, 0),
            "OneCycleLR: final_div_factor must be positive, found NaN",
        ),
        (
            run(optimizer(), one(), 5),
            "OneCycleLR: step 5 of a schedule of 4 steps: make total_steps the number of all steps",
        ),
        (
            run(optimizer(), LambdaLR { lr_lambda: two }, 0),
            "LambdaLR: 2 functions for 1 groups: give one for all, or one for each",
        ),
        (
            run(optimizer(), LambdaLR { lr_lambda: Factor::new(|step| 1.0 / (2.0 - step as f64)) }, 3),
            "LambdaLR: the rate of group 0 would be inf after step 2, it was 0.1",
        ),
        (
            run(optimizer(), ExponentialLR { gamma: f64::NAN }, 1),
            "ExponentialLR: the rate of group 0 would be NaN after step 1, it was 0.1",
        ),
        (
            ReduceLROnPlateau { factor: 1.0, ..Default::default() }.step(1.0, &mut optimizer().unwrap()),
            "ReduceLROnPlateau: factor must be less than 1, found 1.0",
        ),
        (
            ReduceLROnPlateau { min_lr: vec![0.1, 0.2], ..Default::default() }
                .step(1.0, &mut optimizer().unwrap()),
            "ReduceLROnPlateau: min_lr must be one number, or one for each of 1 groups, found [0.1, 0.2]",
        ),
    ];
    for (result, message) in table {
        let error = result.expect_err(message);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Argument, message));
    }
}

#[test]
fn schedulers_in_the_wrong_order() -> Result<()> {
    let mut single = optimizer()?;
    let started = || step_lr().start(&mut optimizer()?);
    let mut of_one = started()?;
    let mut grouped = grouped()?;
    let mut of_two = step_lr().start(&mut grouped)?;
    let state = of_one.state();
    let resumed = || -> Result<Scheduler> {
        let mut scheduler = step_lr();
        scheduler.load_state(&state)?;
        Ok(scheduler)
    };
    let table: Vec<(Result<()>, &str)> = vec![
        (step_lr().step(&mut single), "Scheduler: start it with the optimiser before the first step"),
        (
            started()?.start(&mut single).map(drop),
            "Scheduler: has begun already, and is at step 0: make another one to begin anew",
        ),
        (
            resumed()?.start(&mut single).map(drop),
            "Scheduler: has begun already, and is at step 0: make another one to begin anew",
        ),
        (
            Scheduler::sequential(vec![step_lr(), started()?], vec![2]).map(drop),
            "SequentialLR: scheduler 1 has begun already: start the whole instead of its parts",
        ),
        (
            Scheduler::chained(vec![started()?]).map(drop),
            "ChainedScheduler: scheduler 0 has begun already: start the whole instead of its parts",
        ),
        (
            Scheduler::sequential(vec![step_lr(), step_lr()], vec![]).map(drop),
            "SequentialLR: needs one milestone between each two schedulers, found 2 schedulers and []",
        ),
        (
            Scheduler::sequential(vec![step_lr(), step_lr(), step_lr()], vec![4, 4]).map(drop),
            "SequentialLR: milestones must rise, found [4, 4]",
        ),
        (Scheduler::chained(vec![]).map(drop), "ChainedScheduler: needs at least one scheduler"),
        (
            resumed()?.step(&mut grouped),
            "Scheduler: was started with 1 groups, the optimiser has 2: add groups before the start",
        ),
        (of_two.load_state(&state), "Scheduler: a state of 0 parts and 1 groups for one of 0 and 2"),
    ];
    for (result, message) in table {
        assert_eq!(result.expect_err(message).to_string(), message);
    }
    // A scheduler that goes on from a state needs no start.
    resumed()?.step(&mut single)?;
    of_one.step(&mut single)
}
