//! A hundred million parameters in three hundred tensors: an optimiser's step and the limit on gradients, against
//! PyTorch and against the bytes that must move.

use sconce::optim::{AdamW, ClipOptions, Optimizer, clip_grad_norm_};
use sconce::{Result, Tensor};

use super::floors::copy;
use super::support::randn;
use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target::{Floor, Torch};

const TENSORS: usize = 300;
const EACH: usize = 333_334;
const ALL: usize = TENSORS * EACH;

/// Parameters with gradients.
fn parameters() -> Result<Vec<Tensor>> {
    let one = || {
        let x = randn(&[EACH])?.requires_grad_(true)?;
        x.set_grad(Some(randn(&[EACH])?))?;
        Ok(x)
    };
    (0..TENSORS).map(|_| one()).collect()
}

fn adamw(_: &Options) -> Result<Call> {
    let mut optimizer = Optimizer::new(parameters()?, AdamW { lr: 1e-4, ..Default::default() })?;
    Ok(Box::new(move || optimizer.step()))
}

fn clip(_: &Options) -> Result<Call> {
    let parameters = parameters()?;
    Ok(Box::new(move || clip_grad_norm_(parameters.clone(), 1.0, ClipOptions::default()).map(drop)))
}

pub(super) fn lines() -> Vec<Line> {
    let line = |name, ours, bytes: f64| Line::new(name, ours).torch().floor(copy::<ALL>, bytes / 8.0);
    vec![
        // Four arrays are read and three of them written.
        line("AdamW of 100 M", adamw, 28.0).target(Torch(1.0)),
        // The gradients are read, then read and written.
        line("clip_grad_norm_ of 100 M", clip, 12.0).target(Floor(0.8)),
    ]
}
