//! Trains a residual network on the UCI digits, masks half of its channels, fine-tunes it, and removes them: the layers get
//! smaller, the output stays.
//!
//! `cargo run --release --example shrink`

#[path = "common/digits.rs"]
mod data;

use std::time::Instant;

use data::{Digits, STEPS, cross_entropy};
use sconce::compress::Amount;
use sconce::nn::{BatchNorm2d, Conv2d, Conv2dConfig, Linear, MaxPool2d, Padding, prune};
use sconce::optim::{AdamW, Optimizer};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

#[derive(Module)]
struct Residual {
    stem: Conv2d,
    norm: BatchNorm2d,
    conv1: Conv2d,
    norm1: BatchNorm2d,
    conv2: Conv2d,
    norm2: BatchNorm2d,
    pool: MaxPool2d,
    classifier: Linear,
}

impl Residual {
    fn new() -> Result<Self> {
        let conv = |from, to| {
            Conv2dConfig { padding: Padding::Explicit([1, 1]), bias: false, ..Conv2dConfig::default() }
                .build(from, to, 3)
        };
        Ok(Self {
            stem: conv(1, 32)?,
            norm: BatchNorm2d::new(32)?,
            conv1: conv(32, 48)?,
            norm1: BatchNorm2d::new(48)?,
            conv2: conv(48, 32)?,
            norm2: BatchNorm2d::new(32)?,
            pool: MaxPool2d::new(2),
            classifier: Linear::new(32 * 16, 10)?,
        })
    }
}

impl Layer for Residual {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.norm.forward(&self.stem.forward(x)?)?.relu()?;
        let inner = self.norm1.forward(&self.conv1.forward(&x)?)?.relu()?;
        let sum = self.norm2.forward(&self.conv2.forward(&inner)?)?.add(&x)?.relu()?;
        // `flatten` and not a number of its own: the number is about to change.
        self.classifier.forward(&self.pool.forward(&sum)?.flatten(1, -1)?)
    }
}

fn fit(model: &mut Residual, optimizer: &mut Optimizer<AdamW>, data: &Digits, epochs: usize) -> Result<()> {
    model.train();
    for step in 0..epochs * STEPS {
        let (x, y) = data.batch(step)?;
        optimizer.zero_grad();
        cross_entropy(&model.forward(&x)?, &y)?.backward()?;
        optimizer.step()?;
    }
    model.eval();
    Ok(())
}

fn optimizer(model: &Residual) -> Result<Optimizer<AdamW>> {
    Optimizer::new(model, AdamW { lr: 2e-3, ..AdamW::default() })?
        .group("** & ndim<2", |rule| rule.weight_decay = 0.0)
}

/// Milliseconds of a forward over the test set.
fn milliseconds(model: &Residual, x: &Tensor) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..5 {
        no_grad(|| model.forward(x))?;
    }
    Ok(start.elapsed().as_secs_f64() * 200.0)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?.square()?;
    manual_seed(0);
    let mut model = Residual::new()?;
    let mut rule = optimizer(&model)?;
    fit(&mut model, &mut rule, &data, 3)?;

    let x = data.test()?.0;
    let one = data.rows(0, 1)?.0;
    let before = (model.summary_of(|m| m.forward(&one))?, milliseconds(&model, &x)?);
    println!("trained: {:.2} %", data.accuracy(|x| model.forward(x))?);
    for group in prune::channels(&mut model, |m| m.forward(&one))? {
        println!("  {group}");
    }

    // `stem` brings `conv2` along, whose output is added to its own.
    prune::ln_channels(&mut model, "{stem,conv1}.weight", Amount::Fraction(0.5), 2.0, |m| m.forward(&one))?;
    println!("half of the channels masked: {:.2} %", data.accuracy(|x| model.forward(x))?);
    let mut rule = optimizer(&model)?;
    fit(&mut model, &mut rule, &data, 1)?;
    let masked = no_grad(|| model.forward(&x))?;
    println!("fine-tuned: {:.2} %", data.accuracy(|x| model.forward(x))?);

    let shrunk = prune::shrink(&mut model, |m| m.forward(&one))?;
    println!("removed:\n{shrunk}");
    let far = no_grad(|| model.forward(&x)?.sub(&masked)?.abs()?.amax(())?.item())?;
    println!("accuracy {:.2} %, outputs differ by {far:.1e}", data.accuracy(|x| model.forward(x))?);
    let after = (model.summary_of(|m| m.forward(&one))?, milliseconds(&model, &x)?);
    println!("parameters {} to {}", before.0.parameters, after.0.parameters);
    println!(
        "mult-adds of an image {} to {}",
        before.0.mult_adds.unwrap_or(0),
        after.0.mult_adds.unwrap_or(0)
    );
    println!("test set {:.1} ms to {:.1} ms", before.1, after.1);

    // The same optimiser goes on with what is left.
    rule.follow(&shrunk)?;
    fit(&mut model, &mut rule, &data, 1)?;
    println!("an epoch later: {:.2} %", data.accuracy(|x| model.forward(x))?);
    Ok(())
}
