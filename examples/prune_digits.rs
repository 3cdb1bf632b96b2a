//! Trains a small network on the UCI digits, prunes it step by step, adapts it with LoRA, and watches its gradients.
//!
//! `cargo run --release --example prune_digits`

#[path = "common/digits.rs"]
mod data;

use data::{Digits, STEPS, cross_entropy};
use sconce::compress::Amount;
use sconce::nn::parametrize::{self, LoraConfig};
use sconce::nn::{Linear, ReLU, deepcopy, prune};
use sconce::optim::{AdamW, AveragedModel, Averaging, GradientWatch, Optimizer, WatchRules};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

/// The network's layers, as a struct: so that it can be copied.
#[derive(Clone, Module)]
struct Mlp {
    hidden: Linear,
    act: ReLU,
    output: Linear,
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.act.forward(&self.hidden.forward(x)?)?)
    }
}

/// Trains for some epochs; `after` runs after each step.
fn fit(model: &Mlp, data: &Digits, epochs: usize, mut after: impl FnMut(&Mlp) -> Result<()>) -> Result<()> {
    let mut optimizer = Optimizer::new(model, AdamW { lr: 3e-3, ..AdamW::default() })?
        .group("**.bias", |rule| rule.weight_decay = 0.0)?;
    for step in 0..epochs * STEPS {
        let (x, y) = data.batch(step)?;
        optimizer.zero_grad();
        cross_entropy(&model.forward(&x)?, &y)?.backward()?;
        optimizer.step()?;
        after(model)?;
    }
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?;
    manual_seed(0);
    let mut model = Mlp { hidden: Linear::new(64, 64)?, act: ReLU, output: Linear::new(64, 10)? };

    let mut watch = GradientWatch::new(WatchRules::default());
    let mut average = AveragedModel::new(deepcopy(&model)?, Averaging::Exponential { decay: 0.98 })?;
    let mut last = None;
    fit(&model, &data, 10, |model| {
        average.update_parameters(model)?;
        last = Some(watch.observe(model)?);
        Ok(())
    })?;
    println!("trained: {:.2} %", data.accuracy(|x| model.forward(x))?);
    println!("average of the last steps: {:.2} %", data.accuracy(|x| average.forward(x))?);
    if let Some(seen) = last {
        println!("{seen}");
    }

    // Each round prunes a third of what is left and trains the rest; what is pruned stays 0.
    for _ in 0..6 {
        prune::global_unstructured(&mut model, "*.weight", prune::Score::L1, Amount::Fraction(1.0 / 3.0))?;
        fit(&model, &data, 3, |_| Ok(()))?;
    }
    prune::remove(&mut model, "*.weight")?;
    let zeros: f64 = [&model.hidden, &model.output]
        .iter()
        .map(|layer| layer.weight.eq(0)?.to(DType::F64)?.sum(())?.item())
        .sum::<Result<f64>>()?;
    println!(
        "{:.1} % of the weights are 0: {:.2} %",
        100.0 * zeros / (64.0 * 74.0),
        data.accuracy(|x| model.forward(x))?
    );

    // Adapters of rank 4, with everything else as it is.
    parametrize::lora(&mut model, "*.weight", LoraConfig { rank: 4, alpha: 4.0 })?;
    let trained: usize = model.parameters().iter().filter(|p| p.requires_grad()).map(|p| p.numel()).sum();
    fit(&model, &data, 5, |_| Ok(()))?;
    println!("with {trained} parameters of adapters: {:.2} %", data.accuracy(|x| model.forward(x))?);
    parametrize::remove_parametrizations(&mut model, "*.weight", true)?;
    println!("merged: {:.2} %", data.accuracy(|x| model.forward(x))?);
    Ok(())
}
