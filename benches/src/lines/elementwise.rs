//! Operations on 16 Mi elements against a plain copy on the same threads, by bytes read and written.

use std::hint::black_box;

use rayon::prelude::*;
use sconce::{Result, Tensor};

use super::{Line, Options, Peer};
use crate::measure::Call;
use crate::table::Floor;

const N: usize = 16 << 20;

fn numbers() -> Vec<f32> {
    (0..N).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

fn call(f: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Call> {
    let (x, y) = (Tensor::from_vec(numbers(), [N])?, Tensor::from_vec(numbers(), [N])?);
    Ok(Box::new(move || {
        black_box(f(black_box(&x), black_box(&y))?);
        Ok(())
    }))
}

fn add(_: &Options) -> Result<Call> {
    call(|x, y| x.add(y))
}

fn mul(_: &Options) -> Result<Call> {
    call(|x, y| x.mul(y))
}

fn relu(_: &Options) -> Result<Call> {
    call(|x, _| x.relu())
}

fn copy(_: &Options) -> Result<Call> {
    let (from, mut to) = (numbers(), vec![0f32; N]);
    Ok(Box::new(move || {
        copy_on_all_threads(&mut to, black_box(&from));
        black_box(&to);
        Ok(())
    }))
}

pub(super) fn copy_on_all_threads<T: Copy + Send + Sync>(to: &mut [T], from: &[T]) {
    let part = to.len().div_ceil(rayon::current_num_threads()).max(1);
    to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| to.copy_from_slice(from));
}

pub(super) fn lines() -> Vec<Line> {
    let line = |name, ours, arrays: f64| Line {
        work: arrays / 2.0,
        ..Line::new(name, ours, Peer::Rust(copy), Floor::Ratio(0.8))
    };
    vec![
        line("add 16 Mi / copy", add, 3.0),
        line("mul 16 Mi / copy", mul, 3.0),
        line("relu 16 Mi / copy", relu, 2.0),
    ]
}
