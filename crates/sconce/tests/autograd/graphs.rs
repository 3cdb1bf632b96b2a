//! Graphs: what they keep alive, and those that are long, wide, or dropped late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sconce::autograd::{self, Grads, Op, Saved, Saves};
use sconce::{DType, Result, Tensor};

use crate::{TWICE, grad, leaf, message, ones, values};

/// `x · scale`, counting how many of it are alive.
#[derive(Debug)]
struct Scale {
    scale: f64,
    alive: Arc<AtomicUsize>,
    saves: Saves,
}

impl Scale {
    fn new(scale: f64, alive: &Arc<AtomicUsize>, saves: Saves) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { scale, alive: alive.clone(), saves }
    }
}

impl Drop for Scale {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].mul(self.scale)
    }
    fn saves(&self, _: &[bool]) -> Saves {
        self.saves
    }
    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        if self.saves == Saves::OUTPUT {
            saved.output()?;
        }
        Ok([Some(grad.mul(self.scale)?)].into_iter().collect())
    }
}

#[test]
fn graphs_are_freed_whatever_they_saved() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = || alive.load(Ordering::Relaxed);
    let x = leaf(&[1.0, 2.0]);
    for saves in [Saves::NONE, Saves::INPUTS, Saves::OUTPUT, Saves::INPUTS.and(Saves::OUTPUT)] {
        // Without a backward, with one, and in place.
        drop(autograd::apply(Scale::new(2.0, &alive, saves), &[&x]).unwrap());
        let y = autograd::apply(Scale::new(2.0, &alive, saves), &[&x]).unwrap();
        ones(&y).unwrap();
        autograd::apply_inplace(Scale::new(2.0, &alive, saves), &y, &[]).unwrap();
        autograd::apply_inplace(Scale::new(2.0, &alive, saves), &y.select(0, 0).unwrap(), &[]).unwrap();
        assert_eq!(count(), 3, "{saves:?}");
        drop(y);
        assert_eq!(count(), 0, "{saves:?}");
    }
    // A part of a tensor computed from another part of it: the saved view must not keep the tensor alive.
    let state = Tensor::ones([3], DType::F64).unwrap();
    for i in 1..3 {
        let before = state.select(0, i - 1).unwrap();
        let next = autograd::apply(
            Scale::new(2.0, &alive, Saves::INPUTS),
            &[&before.mul(&x.select(0, 0).unwrap()).unwrap()],
        );
        state.select(0, i).unwrap().copy_(&next.unwrap()).unwrap();
    }
    assert_eq!((values(&state), count()), (vec![1.0, 2.0, 4.0], 2));
    drop(state);
    assert_eq!(count(), 0);
    // Backward frees what it went through, and with it the operations that only those kept.
    let y = autograd::apply(Scale::new(2.0, &alive, Saves::OUTPUT), &[&x]).unwrap();
    let g = autograd::grad(&[(&y, Some(&y.detach()))], &[&x], TWICE).unwrap();
    drop((y, g));
    assert_eq!(count(), 0);
}

#[test]
fn detach_in_place_makes_a_leaf() {
    let x = leaf(&[2.0, 3.0]);
    let alive = Arc::new(AtomicUsize::new(0));
    let y = autograd::apply(Scale::new(2.0, &alive, Saves::BOTH), &[&x]).unwrap();
    y.retain_grad().unwrap();
    let z = y.mul(&y).unwrap();
    y.detach_().unwrap();
    assert!(y.is_leaf() && !y.requires_grad() && y.grad_fn().is_none());
    // What was computed from it keeps the old history.
    ones(&z).unwrap();
    assert_eq!((grad(&x).unwrap(), grad(&y)), (vec![16.0, 24.0], None));
    drop(z);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "the history is freed");
    y.requires_grad_(true).unwrap();
    y.mul(3.0).unwrap().sum(()).unwrap().backward().unwrap();
    assert_eq!((grad(&y).unwrap(), grad(&x).unwrap()), (vec![3.0, 3.0], vec![16.0, 24.0]));
    y.detach_().unwrap();
    assert!(!y.requires_grad() && y.grad().is_some());
    let view = x.mul(1.0).unwrap();
    let found = message(view.view([2, 1]).unwrap().detach_());
    assert!(found.starts_with("detach_: [2, 1] is a view of [2]"), "{found}");
}

/// A chain this long, walked or dropped by recursion, would overflow the small stack below many times over.
const CHAIN: usize = if cfg!(miri) { 300 } else { 200_000 };

fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 << 10).spawn(f).unwrap().join().unwrap();
}

#[test]
fn long_chains_need_no_stack() {
    on_a_small_stack(|| {
        let x = leaf(&[1.0]);
        let mut y = x.clone();
        for _ in 0..CHAIN {
            y = y.add(1.0).unwrap();
        }
        drop(y.clone());
        y.backward().unwrap();
        assert_eq!(grad(&x).unwrap(), [1.0]);
        drop(y);
        // Dropped without a backward, with everything that it saved.
        let mut y = x.mul(1.0).unwrap();
        for _ in 0..CHAIN {
            y = y.mul(&y).unwrap();
        }
        drop(y);
        // Edits in place.
        let y = x.mul(1.0).unwrap();
        for _ in 0..CHAIN {
            y.add_(1.0).unwrap();
        }
        y.backward().unwrap();
    });
}

#[test]
fn a_graph_in_a_thread_local_value_is_dropped_without_stack() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Tensor>> = const { std::cell::RefCell::new(None) };
    }
    on_a_small_stack(|| {
        let mut y = leaf(&[1.0]);
        for _ in 0..CHAIN {
            y = y.add(1.0).unwrap();
        }
        KEPT.set(Some(y));
    });
}

#[test]
fn wide_graphs_are_walked_once_per_node() {
    // 2^40 paths.
    let x = leaf(&[1.0]);
    let mut y = x.clone();
    for _ in 0..40 {
        y = y.add(&y).unwrap();
    }
    y.backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [(1u64 << 40) as f64]);
}
