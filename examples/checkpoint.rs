//! Saves a model, its optimiser and the epoch in one file that PyTorch loads too, and goes on from it.
//!
//! ```sh
//! cargo run --release --example checkpoint
//! ```

use sconce::checkpoint::Checkpoint;
use sconce::nn::{Linear, StateDict, Strictness};
use sconce::optim::{AdamW, Optimizer, OptimizerState};
use sconce::prelude::*;
use sconce::{Result, keepdim, manual_seed};

#[derive(Module)]
struct Net {
    hidden: Linear,
    head: Linear,
}

/// Trains for one epoch to add up four numbers; returns the last loss.
fn train(net: &Net, optimizer: &mut Optimizer<AdamW>, epoch: u64) -> Result<f64> {
    manual_seed(epoch);
    let mut last = f64::NAN;
    for _ in 0..50 {
        let x = Tensor::randn([32, 4], DType::F32)?;
        let error = net.head.forward(&net.hidden.forward(&x)?.relu()?)?.sub(&x.sum(keepdim(1))?)?;
        let loss = error.mul(&error)?.mean(())?;
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
        last = loss.item()?;
    }
    Ok(last)
}

fn new() -> Result<(Net, Optimizer<AdamW>)> {
    let net = Net { hidden: Linear::new(4, 16)?, head: Linear::new(16, 1)? };
    let optimizer = Optimizer::new(&net, AdamW { lr: 0.01, ..AdamW::default() })?;
    Ok((net, optimizer))
}

fn main() -> Result<()> {
    let (net, mut optimizer) = new()?;
    println!("epoch 1: loss {:.6}", train(&net, &mut optimizer, 1)?);

    let mut checkpoint = Checkpoint::new();
    checkpoint.insert("model", net.state_dict())?;
    checkpoint.insert("optimizer", optimizer.state_dict()?)?;
    checkpoint.insert("epoch", 1)?;
    let path = std::env::temp_dir().join("sconce_checkpoint.pt");
    checkpoint.save(&path)?;
    println!("saved {} to {}", checkpoint.keys().collect::<Vec<_>>().join(", "), path.display());
    let uninterrupted = train(&net, &mut optimizer, 2)?;
    println!("epoch 2: loss {uninterrupted:.6}");

    let (net, mut optimizer) = new()?;
    let checkpoint = Checkpoint::load(&path)?;
    let report = net.load_state_dict(&checkpoint.get::<StateDict>("model")?, Strictness::Strict)?;
    optimizer.load_state_dict(&checkpoint.get::<OptimizerState>("optimizer")?)?;
    println!("another model, from the file after epoch {}: {report}", checkpoint.get::<i64>("epoch")?);
    let resumed = train(&net, &mut optimizer, 2)?;
    println!("epoch 2: loss {resumed:.6}");
    assert_eq!(resumed, uninterrupted, "training goes on as if it had never stopped");
    Ok(())
}
