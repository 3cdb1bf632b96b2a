//! Operations on four elements, whose cost is everything but the arithmetic.

use std::hint::black_box;

use sconce::{Result, Tensor};

use super::{Line, Options, Peer};
use crate::measure::Call;
use crate::table::Floor;

fn four() -> Result<Tensor> {
    Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [4])
}

fn call<R: 'static>(x: Tensor, y: Tensor, f: fn(&Tensor, &Tensor) -> Result<R>) -> Result<Call> {
    Ok(Box::new(move || {
        black_box(f(black_box(&x), black_box(&y))?);
        Ok(())
    }))
}

fn add(_: &Options) -> Result<Call> {
    call(four()?, four()?, |x, y| x.add(y))
}

fn add_recorded(_: &Options) -> Result<Call> {
    call(four()?.requires_grad_(true)?, four()?, |x, y| x.add(y))
}

fn add_in_place(_: &Options) -> Result<Call> {
    call(four()?, four()?, |x, y| x.add_(y))
}

fn clone(_: &Options) -> Result<Call> {
    call(four()?, four()?, |x, _| Ok(x.clone()))
}

fn view(_: &Options) -> Result<Call> {
    call(four()?, four()?, |x, _| x.view([2, 2]))
}

pub(super) fn lines() -> Vec<Line> {
    let at_most = |ns: f64| Floor::Seconds(ns * 1e-9);
    [
        Line::new("4 elements: add", add, Peer::Torch("add"), at_most(100.0)),
        Line::new("4 elements: add, recorded", add_recorded, Peer::Torch("add recorded"), at_most(150.0)),
        Line::new("4 elements: add_", add_in_place, Peer::Torch("add_"), Floor::None),
        Line::new("4 elements: view", view, Peer::Torch("view"), Floor::None),
        Line::new("clone and drop a handle", clone, Peer::None, at_most(15.0)),
    ]
    .into_iter()
    .map(|line| Line { one_thread: true, ..line })
    .collect()
}
