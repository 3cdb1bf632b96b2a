//! Trains a small CNN on the UCI digits; looks at its parameters, walks on the line that they were moved along, and exports
//! some of them; then freezes its features and fine-tunes a new classifier.
//!
//! `cargo run --release --example digits`

#[path = "common/digits.rs"]
mod data;

pub(crate) use data::Digits;
use data::{STEPS, cross_entropy};
use indicatif::{ProgressBar, ProgressStyle};
use sconce::nn::{BatchNorm2d, Conv2dConfig, Linear, MaxPool2d, Padding, ReLU, Sequential};
use sconce::optim::{Optimizer, Sgd, parameters_to_vector, vector_to_parameters};
use sconce::prelude::*;
use sconce::{Result, manual_seed, stats};

const EPOCHS: usize = 5;

#[derive(Module)]
pub(crate) struct DigitsNet {
    pub(crate) features: Sequential,
    pub(crate) classifier: Linear,
}

impl DigitsNet {
    pub(crate) fn new() -> Result<Self> {
        let config = Conv2dConfig { padding: Padding::Explicit([1, 1]), ..Conv2dConfig::default() };
        let features = Sequential::new()
            .add(config.clone().build(1, 16, 3)?)
            .add(BatchNorm2d::new(16)?)
            .add(ReLU)
            .add(MaxPool2d::new(2))
            .add(config.build(16, 32, 3)?)
            .add(BatchNorm2d::new(32)?)
            .add(ReLU)
            .add(MaxPool2d::new(2));
        Ok(Self { features, classifier: Linear::new(32 * 2 * 2, 10)? })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.classifier.forward(&self.features.forward(x)?.flatten(1, -1)?)
    }
}

/// The loss of every step, and the accuracy on the test set after every epoch.
pub(crate) struct Run {
    pub(crate) losses: Vec<f64>,
    pub(crate) accuracies: Vec<f64>,
}

/// Trains what the optimiser holds, in batches of 64 in the order of the rows; `train` sets the mode of each epoch.
pub(crate) fn fit(
    model: &mut DigitsNet,
    optimizer: &mut Optimizer<Sgd>,
    data: &Digits,
    train: fn(&mut DigitsNet),
) -> Result<Run> {
    let style =
        ProgressStyle::with_template("epoch {prefix} {bar:40} {pos}/{len} {msg}").expect("a valid template");
    let bar = ProgressBar::new((EPOCHS * STEPS) as u64).with_style(style);
    let mut run = Run { losses: Vec::new(), accuracies: Vec::new() };
    for epoch in 1..=EPOCHS {
        bar.set_prefix(format!("{epoch}/{EPOCHS}"));
        train(model);
        for step in 0..STEPS {
            let (x, y) = data.batch(step)?;
            optimizer.zero_grad();
            let loss = cross_entropy(&model.forward(&x)?, &y)?;
            loss.backward()?;
            optimizer.step()?;
            run.losses.push(loss.item()?);
            bar.set_message(format!("loss {:.4}", loss.item()?));
            bar.inc(1);
        }
        model.eval();
        run.accuracies.push(data.accuracy(|x| model.forward(x))? / 100.0);
    }
    bar.finish_and_clear();
    Ok(run)
}

pub(crate) fn sgd() -> Sgd {
    Sgd { lr: 0.05, momentum: 0.9, weight_decay: 1e-4, ..Sgd::default() }
}

/// How right the model is with its parameters at `start`, at the trained ones, and at parts of the way between and beyond.
/// Running statistics stay those of the trained model.
pub(crate) fn along(model: &DigitsNet, start: &Tensor, data: &Digits) -> Result<Vec<(f64, f64)>> {
    let trained = parameters_to_vector(model)?;
    let points = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5].map(|part| {
        vector_to_parameters(&start.lerp(&trained, part)?, model)?;
        Ok((part, data.accuracy(|x| model.forward(x))?))
    });
    vector_to_parameters(&trained, model)?;
    points.into_iter().collect()
}

/// Freezes the features, puts a new classifier in place of the trained one and trains only that; returns what moved
/// and what did not, parameters and buffers.
pub(crate) fn transfer(model: &mut DigitsNet, data: &Digits) -> Result<(Run, Vec<String>, Vec<String>)> {
    println!("frozen: {}", model.freeze("features.**")?);
    model.classifier = Linear::new(32 * 2 * 2, 10)?;
    let before: Vec<Tensor> =
        model.state_dict().iter().map(|(_, t)| t.detach().copy()).collect::<Result<_>>()?;

    let mut optimizer = Optimizer::new(&*model, sgd())?;
    let run = fit(model, &mut optimizer, data, |model| {
        model.train();
        // Frozen parameters do not stop batch normalisation from counting: its statistics move in training mode.
        model.features.eval();
    })?;

    let (mut moved, mut unmoved) = (Vec::new(), Vec::new());
    for ((name, after), before) in model.state_dict().iter().zip(&before) {
        let list = if after.equal(before)? { &mut unmoved } else { &mut moved };
        list.push(name.to_owned());
    }
    Ok((run, moved, unmoved))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::open()?.square()?;
    manual_seed(0);
    let mut model = DigitsNet::new()?;
    let (x, _) = data.rows(0, 1)?;
    println!("{}", model.summary_of(|model| model.forward(&x))?);

    let start = no_grad(|| parameters_to_vector(&model))?;
    let mut optimizer = Optimizer::new(&model, sgd())?;
    let run = fit(&mut model, &mut optimizer, &data, DigitsNet::train)?;
    print(&run);

    for (name, kernel) in model.selected_parameters("features.** & ndim==4")? {
        println!("\n{name}\n{}", stats::of_tensor(&kernel, 12)?);
    }
    println!("\nfrom the first parameters to the trained ones, and beyond");
    for (part, accuracy) in no_grad(|| along(&model, &start, &data))? {
        println!("{part:4.2}: {accuracy:6.2} %");
    }
    let path = std::env::temp_dir().join("digits_classifier.npz");
    println!("\nexported to {}: {}", path.display(), model.export("classifier.*", &path)?);

    let (run, moved, unmoved) = transfer(&mut model, &data)?;
    print(&run);
    println!("moved: {}", moved.join(", "));
    println!("did not move: {}", unmoved.join(", "));
    Ok(())
}

fn print(run: &Run) {
    for (epoch, (losses, accuracy)) in run.losses.chunks(STEPS).zip(&run.accuracies).enumerate() {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        println!("epoch {}: mean loss {mean:.4}, test accuracy {:.2} %", epoch + 1, accuracy * 100.0);
    }
}
