//! Prints the shape of every parameter of a model.
//!
//! `cargo run --release --example list_parameters`

use sconce::nn::{Conv2d, Linear};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

#[derive(Module)]
struct SimpleNet {
    conv1: Conv2d,
    fc1: Linear,
}

fn main() -> Result<()> {
    manual_seed(0);
    let model = SimpleNet { conv1: Conv2d::new(3, 16, 3)?, fc1: Linear::new(16 * 26 * 26, 10)? };

    for parameter in model.parameters() {
        println!("{:?}", parameter.shape());
    }
    Ok(())
}
