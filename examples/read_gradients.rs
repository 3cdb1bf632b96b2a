//! One forward pass, cross entropy, backward and an SGD step; prints the shape of every gradient.
//!
//! `cargo run --release --example read_gradients`

use sconce::functional::{self, CrossEntropyOptions};
use sconce::nn::{Conv2d, Linear};
use sconce::optim::{Optimizer, Sgd};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

#[derive(Module)]
struct SimpleNet {
    conv1: Conv2d,
    fc1: Linear,
}

impl SimpleNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc1.forward(&self.conv1.forward(x)?.view([-1, 16 * 26 * 26])?)
    }
}

fn main() -> Result<()> {
    manual_seed(0);
    let model = SimpleNet { conv1: Conv2d::new(3, 16, 3)?, fc1: Linear::new(16 * 26 * 26, 10)? };
    let mut optimizer = Optimizer::new(&model, Sgd { lr: 0.01, ..Default::default() })?;
    let x = Tensor::randn([1, 3, 28, 28], DType::F32)?;
    let target = Tensor::randint(0, 10, [1], DType::I64)?;

    let loss = functional::cross_entropy(&model.forward(&x)?, &target, CrossEntropyOptions::default())?;
    println!("loss {:.6}", loss.item()?);
    loss.backward()?;
    optimizer.step()?;

    for (name, parameter) in model.named_parameters() {
        let shape = parameter.grad().map(|grad| format!("{:?}", grad.shape()));
        println!("{name} {}", shape.as_deref().unwrap_or("No gradient"));
    }
    Ok(())
}
