//! Watches a network that does not learn: its gradients, its outputs and its parameters, in words and pictures.
//!
//! `cargo run --release --example watch`

#[path = "common/digits.rs"]
mod data;

use data::{Digits, STEPS, cross_entropy};
use sconce::nn::{Linear, ReLU, Sequential, Sigmoid, Taps, init};
use sconce::optim::{GradientWatch, Optimizer, Sgd, WatchRules};
use sconce::prelude::*;
use sconce::stats::{self, svg};
use sconce::{Result, manual_seed};

/// Six layers; the outputs of the functions between them are tapped.
fn network(taps: &Taps, sigmoid: bool) -> Result<Sequential> {
    let mut net = Sequential::new();
    for i in 0..5 {
        net.push(Linear::new(if i == 0 { 64 } else { 32 }, 32)?);
        let name = format!("layer {i}");
        if sigmoid { net.push(taps.on(name, Sigmoid)) } else { net.push(taps.on(name, ReLU)) }
    }
    net.push(Linear::new(32, 10)?);
    Ok(net)
}

fn train(net: &Sequential, taps: &Taps, data: &Digits, lr: f64) -> Result<()> {
    // Below a millionth in the root mean square nothing is learned here.
    let mut watch = GradientWatch::new(WatchRules { vanished: 1e-6, ..WatchRules::default() });
    let mut optimizer = Optimizer::new(net, Sgd { lr, momentum: 0.9, ..Sgd::default() })?;
    let mut said = Vec::new();
    taps.take();
    for step in 0..3 * STEPS {
        let (x, y) = data.batch(step)?;
        optimizer.zero_grad();
        cross_entropy(&net.forward(&x)?, &y)?.backward()?;
        let seen = watch.observe(net)?;
        // What is odd is said once.
        for finding in &seen.findings {
            let about = (finding.name.clone(), std::mem::discriminant(&finding.problem));
            if !said.contains(&about) {
                println!("  {finding}");
                said.push(about);
            }
        }
        if step % STEPS == 0 {
            println!("  {}", seen.to_string().lines().next().unwrap_or_default());
        }
        optimizer.step()?;
        let outputs = taps.take();
        if let Some(bad) = outputs.iter().find(|output| output.non_finite > 0) {
            println!("  step {step}: it began in {bad}");
            break;
        }
        if step + 1 == 3 * STEPS {
            outputs.iter().for_each(|output| println!("  {output}"));
        }
    }
    println!("  accuracy {:.2} %\n", data.accuracy(|x| net.forward(x))?);
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?;
    let taps = Taps::new();

    println!("sigmoids, with small weights");
    manual_seed(0);
    let net = network(&taps, true)?;
    for (_, weight) in net.selected_parameters("*.weight")? {
        init::normal_(&weight, 0.0, 0.02)?;
    }
    train(&net, &taps, &data, 0.1)?;

    println!("a rate that is too high: units die");
    manual_seed(0);
    train(&network(&taps, false)?, &taps, &data, 0.6)?;

    println!("one parameter is NaN");
    manual_seed(0);
    let net = network(&taps, false)?;
    no_grad(|| net.get_parameter("4.bias")?.narrow(0, 7, 1)?.fill_(f64::NAN))?;
    train(&net, &taps, &data, 0.05)?;

    println!("initialised for what follows");
    manual_seed(0);
    let net = network(&taps, false)?;
    for (_, weight) in net.selected_parameters("*.weight")? {
        init::kaiming_normal_(&weight, init::Fan::In, init::Nonlinearity::Relu)?;
    }
    train(&net, &taps, &data, 0.05)?;

    let mut charts = Vec::new();
    for (name, weight) in net.selected_parameters("{0,10}.weight")? {
        charts.push((name, stats::of_tensor(&weight, 12)?));
    }
    for (name, summary) in &charts {
        println!("{name}\n{summary}");
    }
    let path = std::env::temp_dir().join(format!("sconce-watch-{}.svg", std::process::id()));
    let charts: Vec<_> = charts.iter().map(|(name, summary)| (name.clone(), summary)).collect();
    std::fs::write(&path, svg::document(&charts))?;
    println!("{}: {} histograms", path.display(), charts.len());
    std::fs::remove_file(path)?;
    Ok(())
}
