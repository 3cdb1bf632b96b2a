//! Initialises the same deep network in several ways, over selections, and trains each for two epochs on the UCI digits.
//!
//! `cargo run --release --example initialise`

#[path = "common/digits.rs"]
mod data;

use data::{Digits, STEPS, cross_entropy};
use sconce::nn::init::{self, Fan, Nonlinearity};
use sconce::nn::{Linear, ReLU, Sequential, Taps};
use sconce::optim::{Optimizer, Sgd};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

type Initialise = fn(&Tensor) -> Result<()>;

/// Twelve layers, the outputs of whose activations are tapped.
fn network(taps: &Taps) -> Result<Sequential> {
    let mut net = Sequential::new();
    for i in 0..11 {
        net.push(Linear::new(if i == 0 { 64 } else { 48 }, 48)?);
        net.push(taps.on(format!("layer {i}"), ReLU));
    }
    net.push(Linear::new(48, 10)?);
    Ok(net)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?;
    let ways: [(&str, Option<Initialise>); 6] = [
        ("as PyTorch's layers start", None),
        ("normal, 0.02", Some(|w| init::normal_(w, 0.0, 0.02))),
        ("uniform, 0.5", Some(|w| init::uniform_(w, -0.5, 0.5))),
        ("xavier_uniform", Some(|w| init::xavier_uniform_(w, 1.0))),
        ("kaiming_normal", Some(|w| init::kaiming_normal_(w, Fan::In, Nonlinearity::Relu))),
        ("orthogonal", Some(|w| init::orthogonal_(w, init::calculate_gain(Nonlinearity::Relu)))),
    ];
    println!("{:26} {:>10} {:>10} {:>9}", "weights", "outputs 0", "outputs 10", "accuracy");
    for (name, initialise) in ways {
        manual_seed(0);
        let taps = Taps::new();
        let net = network(&taps)?;
        if let Some(initialise) = initialise {
            net.selected_parameters("**.weight")?.iter().try_for_each(|(_, weight)| initialise(weight))?;
            net.selected_parameters("**.bias")?.iter().try_for_each(|(_, bias)| init::zeros_(bias))?;
        }
        // How large the numbers are at both ends before anything is learned.
        no_grad(|| net.forward(&data.batch(0)?.0))?;
        let outputs = taps.take();
        let (first, last) = (outputs[0].std, outputs[10].std);

        let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.02, momentum: 0.9, ..Sgd::default() })?;
        for step in 0..2 * STEPS {
            let (x, y) = data.batch(step)?;
            optimizer.zero_grad();
            cross_entropy(&net.forward(&x)?, &y)?.backward()?;
            optimizer.step()?;
            taps.take();
        }
        println!("{name:26} {first:10.1e} {last:10.1e} {:7.2} %", data.accuracy(|x| net.forward(x))?);
    }
    Ok(())
}
