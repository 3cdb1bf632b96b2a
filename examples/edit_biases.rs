//! Prints the name and shape of every parameter, sets every bias to zero, and prints them again with their norms.
//!
//! `cargo run --release --example edit_biases`

use sconce::nn::{Conv2d, Linear};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

#[derive(Module)]
struct SimpleNet {
    conv1: Conv2d,
    fc1: Linear,
}

fn print(model: &SimpleNet) -> Result<()> {
    for (name, parameter) in model.named_parameters() {
        println!("{name} {:?} norm {:.6}", parameter.shape(), parameter.norm(2.0, ())?.item()?);
    }
    Ok(())
}

fn main() -> Result<()> {
    manual_seed(0);
    let model = SimpleNet { conv1: Conv2d::new(3, 16, 3)?, fc1: Linear::new(16 * 26 * 26, 10)? };
    print(&model)?;

    for (name, parameter) in model.named_parameters() {
        if name.ends_with("bias") {
            no_grad(|| parameter.zero_())?;
        }
    }

    println!("after zeroing the biases:");
    print(&model)
}
