//! Gradient checkpointing: the same numbers as without it, in less memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sconce::autograd::{self, Backward, GradCheck, checkpoint, gradcheck, gradgradcheck};
use sconce::functional::dropout;
use sconce::nn::{Layer, Linear};
use sconce::{DType, Result, Tensor, memory, no_grad};

const KEEP: Backward = Backward { retain_graph: true, create_graph: false };
const TWICE: Backward = Backward { retain_graph: false, create_graph: true };

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()]).unwrap().requires_grad_(true).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.detach().to(DType::F64).unwrap().to_vec().unwrap()
}

#[track_caller]
fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

type Function = fn(&[Tensor]) -> Result<Tensor>;

/// Functions of two vectors: what saves inputs, outputs, leaves, views, numbers drawn, and edits in place.
const FUNCTIONS: &[(&str, Function)] = &[
    ("chain", |x| x[0].exp()?.sin()?.mul(&x[1])?.tanh()),
    ("leaf only", |x| x[0].mul(&x[1])),
    ("linear", |x| x[0].mul(2.0)?.add(&x[1])),
    ("used twice", |x| {
        let y = x[0].sigmoid()?;
        y.mul(&y)?.add(&y.mul(&x[1])?)
    }),
    ("dropout", |x| dropout(&x[0].exp()?, 0.5, true)?.mul(&x[1])),
    ("random", |x| x[0].exp()?.mul(&Tensor::rand([4], DType::F64)?)?.mul(&x[1].exp()?)),
    ("views", |x| {
        let y = x[0].exp()?.view([2, 2])?.t()?.copy()?.view([4])?;
        y.narrow(0, 1, 2)?.mul(&x[1].narrow(0, 0, 2)?)?.sin()
    }),
    ("in place", |x| {
        let y = x[0].mul(&x[1])?;
        y.narrow(0, 0, 2)?.mul_(&x[1].narrow(0, 2, 2)?)?;
        y.exp_()?;
        y.mul(&x[1])
    }),
    ("no grad inside", |x| {
        let y = no_grad(|| x[0].exp())?;
        x[1].mul(&y)?.sin()
    }),
    ("unused part", |x| {
        let _ = x[0].exp()?.sin()?;
        x[0].cos()?.mul(&x[1])
    }),
    ("nested", |x| {
        let y = x[0].exp()?;
        let inner = checkpoint(|x| x[0].sin()?.mul(&x[1])?.exp(), &[&y, &x[1]])?;
        checkpoint(|x| checkpoint(|x| x[0].exp()?.tanh(), &[&x[0].sin()?])?.mul(&x[1]), &[&inner, &y])
    }),
    ("a gradient inside", |x| {
        let y = x[0].exp()?.mul(&x[1].sin()?)?;
        let slope = autograd::grad(&[(&y.sum(())?, None)], &[&x[0]], TWICE)?;
        slope[0].as_ref().expect("a gradient").mul(&y)?.sin()
    }),
];

/// The outputs and the gradients of both inputs after one backward, and after another of the first's gradients.
fn run(f: Function, with_checkpoint: bool, steps: usize) -> Vec<Vec<f64>> {
    sconce::fork_rng(|| {
        sconce::manual_seed(5);
        let (x, w) = (leaf(&[0.5, -1.0, 1.5, 0.25]), leaf(&[1.0, 2.0, -0.5, 0.75]));
        // Neither a leaf nor unseen.
        let (mut h, v) = (x.mul(0.5).unwrap(), w.mul(1.0).unwrap());
        for _ in 0..steps {
            let y = if with_checkpoint { checkpoint(f, &[&h, &v]) } else { f(&[h.clone(), v.clone()]) };
            let y = y.unwrap();
            h = if y.numel() == 4 { y } else { Tensor::cat(&[&y, &y], 0).unwrap() };
        }
        let after = Tensor::rand([1], DType::F64).unwrap();
        let loss = h.sum(()).unwrap();
        let mut found = vec![values(&loss), values(&after)];
        let mut add = |grads: Vec<Option<Tensor>>| found.extend(grads.iter().flatten().map(values));
        add(autograd::grad(&[(&loss, None)], &[&x, &w], KEEP).unwrap());
        let first = autograd::grad(&[(&loss, None)], &[&x, &w], TWICE).unwrap();
        for slope in first.iter().flatten().map(|g| g.sin().unwrap().sum(()).unwrap()) {
            if slope.requires_grad() {
                add(autograd::grad(&[(&slope, None)], &[&x, &w], KEEP).unwrap());
            }
        }
        loss.backward().unwrap();
        add(vec![x.grad(), w.grad()]);
        found
    })
}

#[test]
fn numbers_are_those_without_a_checkpoint() {
    for (name, f) in FUNCTIONS {
        for steps in [1, 3] {
            assert_eq!(run(*f, true, steps), run(*f, false, steps), "{name}, {steps} times");
        }
    }
}

#[test]
fn derivatives_are_right_to_the_second_order() {
    let (_, nested) = FUNCTIONS[FUNCTIONS.len() - 2];
    let f = |x: &[Tensor]| checkpoint(nested, &[&x[0], &x[1]]);
    let inputs = [leaf(&[0.5, -1.0]), leaf(&[1.0, 2.0])];
    gradcheck(&f, &inputs, GradCheck::default()).unwrap();
    gradgradcheck(&f, &inputs, GradCheck::default()).unwrap();
}

#[test]
fn captured_parameters_get_their_gradient() {
    let layers: Vec<Linear> = (0..3).map(|_| Linear::new(4, 4).unwrap()).collect();
    let x = Tensor::randn([2, 4], DType::F32).unwrap();
    let gradients = |with_checkpoint: bool| -> Vec<Vec<f64>> {
        let mut h = x.clone();
        for layer in &layers {
            let block = layer.clone();
            let f = move |x: &[Tensor]| block.forward(&x[0])?.tanh();
            h = if with_checkpoint { checkpoint(f, &[&h]) } else { f(&[h]) }.unwrap();
        }
        h.sum(()).unwrap().backward().unwrap();
        let parameters = layers.iter().flat_map(|l| [&l.weight, l.bias.as_ref().unwrap()]);
        parameters
            .map(|p| {
                let g = values(&p.grad().unwrap());
                p.zero_grad();
                g
            })
            .collect()
    };
    assert_eq!(gradients(true), gradients(false));
}

#[test]
fn the_function_runs_again_once_per_backward() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let f = move |x: &[Tensor]| {
        counter.fetch_add(1, Ordering::Relaxed);
        x[0].exp()?.sin()?.exp()
    };
    let x = leaf(&[0.5]);
    let y = checkpoint(f, &[&x]).unwrap();
    for expected in 2..4 {
        y.backward_with(None, KEEP).unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), expected);
    }
    y.backward().unwrap();
    assert!(message(y.backward()).contains("a second time"));
    assert_eq!(runs.load(Ordering::Relaxed), 4);
    assert_eq!(Arc::strong_count(&runs), 1, "the function goes when nobody needs it");
    // Nothing to differentiate, or nothing recorded: once.
    let counter = runs.clone();
    let f = move |x: &[Tensor]| {
        counter.fetch_add(1, Ordering::Relaxed);
        x[0].exp()
    };
    assert!(!no_grad(|| checkpoint(f, &[&x])).unwrap().requires_grad());
    assert_eq!(runs.load(Ordering::Relaxed), 5);
}

#[test]
fn what_changed_since_is_an_error() {
    let x = leaf(&[0.5, 1.0]);
    let h = x.mul(2.0).unwrap();
    let y = checkpoint(|x| x[0].exp()?.sin(), &[&h]).unwrap().sum(()).unwrap();
    h.add_(1.0).unwrap();
    let found = message(y.backward());
    assert!(found.starts_with("backward of sin: checkpoint: input 0 [2] was at version"), "{found}");

    let w = leaf(&[0.5, 1.0]);
    let captured = w.clone();
    let y = checkpoint(move |x| x[0].exp()?.mul(&captured), &[&x]).unwrap().sum(()).unwrap();
    no_grad(|| w.add_(1.0)).unwrap();
    let found = message(y.backward());
    assert!(found.contains("mul: its input 1 [2] was saved for backward at version"), "{found}");
}

#[test]
fn a_function_that_changes_its_mind_is_an_error() {
    let (x, calls) = (leaf(&[0.5, 1.0]), Arc::new(AtomicUsize::new(0)));
    type Changing = fn(usize, &Tensor) -> Result<Tensor>;
    let table: &[(Changing, &str)] = &[
        (
            |call, x| if call == 0 { x.exp()?.sin() } else { x.exp()?.cos() },
            "operation 1 that saves something was sin of float64 [2] in the first run and is cos of float64 [2]",
        ),
        (
            |call, x| if call == 0 { x.exp()?.sin() } else { x.exp() },
            "operation 1 that saves something was sin of float64 [2] in the first run and is none",
        ),
        (
            |call, x| if call == 0 { x.exp() } else { x.exp()?.sin() },
            "operation 1 that saves something was none in the first run and is sin",
        ),
        (
            |call, x| if call == 0 { x.exp()?.sin() } else { x.exp()?.narrow(0, 0, 1)?.sin() },
            "and is sin of float64 [1]",
        ),
        (
            |call, x| if call == 0 { x.exp() } else { Err(sconce::Error::argument("enough")) },
            "checkpoint: enough",
        ),
    ];
    for (f, expected) in table {
        calls.store(0, Ordering::Relaxed);
        let counter = calls.clone();
        let f = *f;
        let y = checkpoint(move |x| f(counter.fetch_add(1, Ordering::Relaxed), &x[0]), &[&x]).unwrap();
        let found = message(y.sum(()).unwrap().backward());
        assert!(found.contains(expected), "{found}\nlacks\n{expected}");
    }
}

#[test]
fn a_failed_or_panicking_run_leaves_no_trace() {
    let x = leaf(&[0.5]);
    assert!(checkpoint(|x| x[0].view([7]), &[&x]).is_err());
    let panics = std::panic::catch_unwind(|| {
        checkpoint(|_| -> Result<Tensor> { panic!("on purpose") }, &[&leaf(&[1.0])])
    });
    assert!(panics.is_err());
    // Were a checkpoint still active, this would have to run a function again.
    let y = x.exp().unwrap().sin().unwrap();
    y.backward().unwrap();
    assert_eq!(x.grad().unwrap().item().unwrap(), 0.5f64.exp().cos() * 0.5f64.exp());
}

#[test]
fn it_takes_less_memory() {
    const LAYERS: usize = 16;
    const BYTES: usize = 256 * 256 * 4;
    let peak = |with_checkpoint: bool| {
        let x = Tensor::randn([256, 256], DType::F32).unwrap().requires_grad_(true).unwrap();
        memory::reset_peak();
        let before = memory::stats().in_use;
        let mut h = x.clone();
        for _ in 0..LAYERS {
            let f = |x: &[Tensor]| x[0].sin()?.exp()?.tanh()?.sigmoid();
            h = if with_checkpoint { checkpoint(f, &[&h]) } else { f(&[h]) }.unwrap();
        }
        let forward = (memory::stats().in_use - before) / BYTES;
        h.sum(()).unwrap().backward().unwrap();
        drop(h);
        assert_eq!(memory::stats().in_use - before, BYTES, "the gradient is left");
        (forward, (memory::stats().peak - before) / BYTES)
    };
    // A layer saves its input and what exp and tanh give, or its input alone; the first input is there anyway, and the last
    // output is held here.
    assert_eq!(peak(false).0, 3 * LAYERS);
    assert_eq!(peak(true).0, LAYERS);
    let (without, with) = (peak(false).1, peak(true).1);
    assert!(without >= 3 * LAYERS && with <= LAYERS + 8, "{without} and {with} tensors at most");
}
