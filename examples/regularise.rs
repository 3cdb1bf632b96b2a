//! The same network on the UCI digits, regularised in five ways: decay of some groups, penalties, a limit on norms,
//! orthogonality.
//!
//! `cargo run --release --example regularise`

#[path = "common/digits.rs"]
mod data;

use data::{Digits, STEPS, cross_entropy};
use sconce::nn::{BatchNorm1d, Linear, ReLU, Sequential};
use sconce::optim::{AdamW, Optimizer, Penalty, max_norm_};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

#[derive(Clone, Copy, PartialEq)]
enum How {
    Nothing,
    Decay,
    Add(Penalty),
    MaxNorm(f64),
}

/// Trains a network; returns it and its accuracy.
fn fit(data: &Digits, how: How) -> Result<(Sequential, f64)> {
    manual_seed(0);
    let mut net = Sequential::new()
        .add(Linear::new(64, 48)?)
        .add(BatchNorm1d::new(48)?)
        .add(ReLU)
        .add(Linear::new(48, 10)?);
    let weight_decay = if how == How::Decay { 0.2 } else { 0.0 };
    // No decay for biases and norms, in one line.
    let mut optimizer = Optimizer::new(&net, AdamW { lr: 3e-3, weight_decay, ..AdamW::default() })?
        .group("** & ndim<2", |rule| rule.weight_decay = 0.0)?;
    let weights = net.selected_parameters("**.weight & ndim==2")?;
    if let How::MaxNorm(max) = how {
        let weights = weights.clone();
        optimizer.register_step_post_hook(move |_| max_norm_(weights.clone(), max, 0));
    }
    for step in 0..10 * STEPS {
        let (x, y) = data.batch(step)?;
        optimizer.zero_grad();
        let loss = cross_entropy(&net.forward(&x)?, &y)?;
        match how {
            How::Add(penalty) => loss.add(&penalty.of(weights.clone())?)?.backward()?,
            _ => loss.backward()?,
        }
        optimizer.step()?;
    }
    net.eval();
    let accuracy = data.accuracy(|x| net.forward(x))?;
    Ok((net, accuracy))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?;
    let ways = [
        ("nothing", How::Nothing),
        ("weight decay 0.2", How::Decay),
        ("L1 1e-4", How::Add(Penalty::L1(1e-4))),
        ("elastic 1e-4", How::Add(Penalty::Elastic { l1: 1e-4, l2: 1e-4 })),
        ("orthogonal 1e-2", How::Add(Penalty::Orthogonal(1e-2))),
        ("rows of norm 0.6 at most", How::MaxNorm(0.6)),
    ];
    println!("{:24} {:>8}  {:>8}  {:>12}  {:>10}", "", "accuracy", "norm", "near 0", "W·Wᵀ − 1");
    for (name, how) in ways {
        let (net, accuracy) = fit(&data, how)?;
        let weight = net.get_parameter("0.weight")?.detach();
        let near: f64 = weight.abs()?.lt(1e-3)?.to(DType::F64)?.mean(())?.item()?;
        let row = weight.norm(2.0, 1)?.amax(())?.item()?;
        let gram = weight.matmul(&weight.t()?)?.sub(&Tensor::eye(48, DType::F32)?)?;
        let off = gram.norm(2.0, ())?.item()?;
        println!("{name:24} {accuracy:6.2} %  {row:8.3}  {:10.1} %  {off:10.3}", 100.0 * near);
    }
    Ok(())
}
