//! Builds a model from a config file at run time, trains it, and serves it from a pool of threads that share it.
//!
//! `cargo run --release --example serve [CONFIG]`

#[path = "common/digits.rs"]
mod data;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use data::{Digits, STEPS, cross_entropy};
use sconce::nn::{
    BatchNorm2d, Conv2dConfig, Flatten, Linear, MaxPool2d, Padding, ReLU, Sequential, Strictness,
};
use sconce::optim::{AdamW, Optimizer};
use sconce::prelude::*;
use sconce::{Context, Error, Result, manual_seed};
use serde_json::Value;

const WORKERS: usize = 4;

/// The layer that a part of a config describes; errors say where in the config, as those of the model do.
fn layer(config: &Value) -> Result<Box<dyn Layer>> {
    let size = |key: &str| {
        let found = config[key].as_u64().and_then(|n| usize::try_from(n).ok());
        found.ok_or_else(|| Error::argument(format!("`{key}` must be a size, found {}", config[key])))
    };
    Ok(match config["type"].as_str() {
        Some("sequential") => Box::new(sequential(config)?),
        Some("conv2d") => {
            let padding = Padding::Explicit([size("padding")?; 2]);
            let options = Conv2dConfig { padding, ..Conv2dConfig::default() };
            Box::new(options.build(size("in")?, size("out")?, size("kernel")?)?)
        }
        Some("batch_norm2d") => Box::new(BatchNorm2d::new(size("features")?)?),
        Some("linear") => Box::new(Linear::new(size("in")?, size("out")?)?),
        Some("max_pool2d") => Box::new(MaxPool2d::new(size("kernel")?)),
        Some("flatten") => Box::new(Flatten::default()),
        Some("relu") => Box::new(ReLU),
        _ => return Err(Error::argument(format!("no layer has the type {}", config["type"]))),
    })
}

fn sequential(config: &Value) -> Result<Sequential> {
    let layers = config["layers"].as_array().ok_or_else(|| Error::argument("`layers` must be a list"))?;
    let mut model = Sequential::new();
    for (i, config) in layers.iter().enumerate() {
        model.push(layer(config).within(i.to_string())?);
    }
    Ok(model)
}

fn build(path: &Path) -> std::result::Result<Box<dyn Layer>, Box<dyn std::error::Error>> {
    let config: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    Ok(Box::new(sequential(&config).context(|| path.display().to_string())?))
}

/// Answers requests from a queue with one model that all workers share; the answers in the order of the requests.
fn serve(model: &dyn Layer, requests: &[Tensor]) -> Result<Vec<i64>> {
    let (to_workers, queue) = mpsc::channel::<(usize, &Tensor)>();
    let (to_client, answers) = mpsc::channel::<(usize, Result<i64>)>();
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (queue, to_client) = (&queue, to_client.clone());
            scope.spawn(move || {
                loop {
                    let Ok(Ok((id, image))) = queue.lock().map(|queue| queue.recv()) else { break };
                    // Recording belongs to the thread: each worker switches it off for itself.
                    let answer = no_grad(|| model.forward(image)?.argmax(1)?.item_i64());
                    if to_client.send((id, answer)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(to_client);
        for request in requests.iter().enumerate() {
            to_workers.send(request).map_err(|_| Error::argument("the workers are gone"))?;
        }
        drop(to_workers);
        let mut answered = vec![0; requests.len()];
        for (id, answer) in answers {
            answered[id] = answer?;
        }
        Ok(answered)
    })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/serve.json");
    let config = std::env::args_os().nth(1).map_or(default, PathBuf::from);
    let data = Digits::open()?.square()?;
    manual_seed(0);

    let model = build(&config)?;
    let mut optimizer = Optimizer::new(&model, AdamW { lr: 3e-3, ..AdamW::default() })?;
    for step in 0..3 * STEPS {
        let (x, y) = data.batch(step)?;
        optimizer.zero_grad();
        cross_entropy(&model.forward(&x)?, &y)?.backward()?;
        optimizer.step()?;
    }
    let weights = std::env::temp_dir().join(format!("sconce-serve-{}.safetensors", std::process::id()));
    model.save(&weights)?;

    // The server builds the same model from the same file, and loads the weights.
    let mut model = build(&config)?;
    println!("{}: {}", weights.display(), model.load(&weights, Strictness::Strict)?);
    std::fs::remove_file(&weights)?;
    model.eval();
    println!("{}", model.summary_of(|model| model.forward(&data.rows(0, 1)?.0))?);

    let (images, labels) = data.test()?;
    let labels = labels.to_vec::<i64>()?;
    let requests = (0..labels.len() as isize).map(|i| images.narrow(0, i, 1)).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    let answers = serve(&model, &requests)?;
    let seconds = start.elapsed().as_secs_f64();
    let right = answers.iter().zip(&labels).filter(|(answer, label)| answer == label).count();
    println!(
        "{WORKERS} workers answered {} requests, {:.0} per second; {right} are right",
        answers.len(),
        answers.len() as f64 / seconds
    );
    let alone = no_grad(|| model.forward(&images)?.argmax(1)?.to_vec::<i64>())?;
    assert_eq!(answers, alone, "threads must not change an answer");
    Ok(())
}
