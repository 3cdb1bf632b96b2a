//! Training steps of a small convolutional network against PyTorch.

use sconce::functional::{self, CrossEntropyOptions};
use sconce::nn::{Conv2d, Linear};
use sconce::optim::{Optimizer, Sgd};
use sconce::prelude::*;
use sconce::{Result, manual_seed};

use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target;

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

fn step<const BATCH: usize>(_: &Options) -> Result<Call> {
    manual_seed(0);
    let model = SimpleNet { conv1: Conv2d::new(3, 16, 3)?, fc1: Linear::new(16 * 26 * 26, 10)? };
    let mut optimizer = Optimizer::new(&model, Sgd { lr: 0.01, ..Default::default() })?;
    let x = Tensor::randn([BATCH, 3, 28, 28], DType::F32)?;
    let target = Tensor::randint(0, 10, [BATCH], DType::I64)?;
    Ok(Box::new(move || {
        optimizer.zero_grad();
        functional::cross_entropy(&model.forward(&x)?, &target, CrossEntropyOptions::default())?
            .backward()?;
        optimizer.step()
    }))
}

pub(super) fn lines() -> Vec<Line> {
    let line = |name, ours| Line::new(name, ours).torch().target(Target::Torch(1.0));
    vec![line("training step, batch 1", step::<1>), line("training step, batch 64", step::<64>)]
}
