//! Trains features on the digits 0 to 4, and moves them to 5 to 9 under a new head: what is frozen, what moves all the
//! same, and an audit that proves it.
//!
//! `cargo run --release --example transfer`

#[path = "common/digits.rs"]
mod data;

use data::{BATCH, Digits, TRAIN, accuracy, cross_entropy};
use sconce::nn::{BatchNorm1d, Linear, ReLU, Sequential, StateDict};
use sconce::optim::{Optimizer, Outcome, Sgd};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

#[derive(Module)]
struct Net {
    features: Sequential,
    head: Linear,
}

impl Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.features.forward(x)?)
    }
}

/// Images and labels of some digits only, with labels from 0.
fn only(x: &Tensor, y: &Tensor, first: i64) -> Result<(Tensor, Tensor)> {
    let labels = y.to_vec::<i64>()?;
    let rows: Vec<i64> =
        (0..labels.len()).filter(|&i| (first..first + 5).contains(&labels[i])).map(|i| i as i64).collect();
    let count = rows.len();
    let rows = Tensor::from_vec(rows, [count])?;
    Ok((x.index_select(0, &rows)?, y.index_select(0, &rows)?.sub(first)?))
}

/// Trains what the optimiser holds; prints the audit of the first step.
fn fit(net: &mut Net, (x, y): &(Tensor, Tensor), mode: fn(&mut Net)) -> Result<()> {
    mode(net);
    let rule = Sgd { lr: 0.05, momentum: 0.9, ..Sgd::default() };
    let mut optimizer = Optimizer::new(&*net, rule)?.group("** & ndim<2", |rule| rule.weight_decay = 0.0)?;
    let batches = x.shape()[0] / BATCH;
    for step in 0..5 * batches {
        let start = (step % batches * BATCH) as isize;
        let (x, y) = (x.narrow(0, start, BATCH)?, y.narrow(0, start, BATCH)?);
        optimizer.zero_grad();
        cross_entropy(&net.forward(&x)?, &y)?.backward()?;
        if step == 0 {
            let audit = optimizer.step_audited(&*net)?;
            println!("{audit}");
            assert!(audit.is_sound() && audit.names(|o| matches!(o, Outcome::NoGradient)).is_empty());
        } else {
            optimizer.step()?;
        }
    }
    net.eval();
    Ok(())
}

/// The names of parameters and buffers that are not what they were.
fn moved(net: &Net, before: &StateDict) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, now) in net.state_dict().iter() {
        if !now.equal(before.get(name)?)? {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn copy(net: &Net) -> Result<StateDict> {
    net.state_dict().into_iter().map(|(name, tensor)| Ok((name, tensor.copy()?))).collect()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?;
    let (x, y) = data.rows(0, TRAIN)?;
    let (test_x, test_y) = data.test()?;
    let (source, target) = (only(&x, &y, 0)?, only(&x, &y, 5)?);
    let (source_test, target_test) = (only(&test_x, &test_y, 0)?, only(&test_x, &test_y, 5)?);

    manual_seed(0);
    let features = Sequential::new()
        .add(Linear::new(64, 32)?)
        .add(BatchNorm1d::new(32)?)
        .add(ReLU)
        .add(Linear::new(32, 16)?)
        .add(ReLU);
    let mut net = Net { features, head: Linear::new(16, 5)? };
    println!("digits 0 to 4");
    fit(&mut net, &source, Net::train)?;
    println!("accuracy {:.2} %\n", accuracy(&source_test, |x| net.forward(x))?);

    // The first trap: frozen parameters do not stop batch normalisation from counting.
    net.head = Linear::new(16, 5)?;
    println!("digits 5 to 9 with {}", net.freeze("features.**")?);
    let pretrained = copy(&net)?;
    fit(&mut net, &target, Net::train)?;
    println!(
        "accuracy {:.2} %, moved: {}\n",
        accuracy(&target_test, |x| net.forward(x))?,
        moved(&net, &pretrained)?.join(", ")
    );

    // In evaluation mode they stay as they were: the features are those that were learned.
    net.load_state_dict(&pretrained, sconce::nn::Strictness::Strict)?;
    println!("the same with the features in evaluation mode");
    fit(&mut net, &target, |net| {
        net.train();
        net.features.eval();
    })?;
    let names = moved(&net, &pretrained)?;
    println!("accuracy {:.2} %, moved: {}\n", accuracy(&target_test, |x| net.forward(x))?, names.join(", "));
    assert_eq!(names, ["head.weight", "head.bias"]);

    // The last block is unfrozen: it learns, its statistics follow, what is below stays.
    println!("fine-tuned: {}", net.unfreeze("features.3.*")?);
    fit(&mut net, &target, |net| {
        net.train();
        net.features.eval();
    })?;
    println!("accuracy {:.2} %", accuracy(&target_test, |x| net.forward(x))?);
    Ok(())
}
