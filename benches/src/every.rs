//! Every registered operation on the small inputs of its samples: what a call costs beside the arithmetic.

use std::hint::black_box;

use sconce::ops::OPS;
use sconce::ops::registry::Sample;
use sconce::{DType, Result, Tensor};

use crate::measure::{Call, Clock, calls_for, median, sample};

/// How long a call may take, in seconds.
const MOST: f64 = 250e-9;

fn call(sample: Sample) -> Result<Call> {
    let draw = |(shape, (low, high)): &(Vec<usize>, (f64, f64))| {
        Tensor::rand(shape.as_slice(), DType::F32)?.mul(high - low)?.add(*low)
    };
    let inputs = sample.inputs.iter().map(draw).collect::<Result<Vec<Tensor>>>()?;
    Ok(Box::new(move || {
        black_box((sample.call)(black_box(&inputs))?);
        Ok(())
    }))
}

/// Prints the time of each sample, the slowest first, and how many are within the limit.
pub(crate) fn print(filter: &str, rounds: usize) -> Result<()> {
    let mut times = Vec::new();
    for op in OPS.iter().copied().flatten().filter(|op| op.name.contains(filter)) {
        for (i, one) in (op.samples)().into_iter().enumerate() {
            let mut call = call(one)?;
            let calls = calls_for(&mut call)?;
            let taken =
                (0..rounds).map(|_| sample(&mut call, calls, Clock::Thread)).collect::<Result<_>>()?;
            times.push((median(taken), op.name, i));
        }
    }
    times.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (seconds, name, i) in &times {
        println!("{:10.1} ns  {name}, sample {i}", seconds * 1e9);
    }
    let within = times.iter().filter(|(seconds, ..)| *seconds <= MOST).count();
    println!("{within} of {} samples take at most {:.0} ns", times.len(), MOST * 1e9);
    Ok(())
}
