//! Matrix products against faer, on the same threads.

use std::hint::black_box;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use sconce::{Result, Tensor};

use super::{Line, Options, Peer};
use crate::measure::Call;
use crate::table::Floor;

fn number(i: usize) -> f32 {
    ((i * 7919) % 1000) as f32 / 500.0 - 1.0
}

fn ours<const N: usize>(_: &Options) -> Result<Call> {
    let x = Tensor::from_vec((0..N * N).map(number).collect(), [N, N])?;
    let y = x.copy()?;
    Ok(Box::new(move || {
        black_box(black_box(&x).matmul(black_box(&y))?);
        Ok(())
    }))
}

fn peer<const N: usize>(_: &Options) -> Result<Call> {
    let x = Mat::from_fn(N, N, |i, j| number(i * N + j));
    let y = x.clone();
    let mut out = Mat::zeros(N, N);
    Ok(Box::new(move || {
        matmul(&mut out, Accum::Replace, black_box(&x), black_box(&y), 1.0, Par::rayon(0));
        black_box(&out);
        Ok(())
    }))
}

fn line<const N: usize>(name: &'static str) -> Line {
    Line::new(name, ours::<N>, Peer::Rust(peer::<N>), Floor::Ratio(0.95))
}

pub(super) fn lines() -> Vec<Line> {
    vec![
        line::<256>("matmul f32 256 / faer"),
        line::<512>("matmul f32 512 / faer"),
        line::<1024>("matmul f32 1024 / faer"),
        line::<2048>("matmul f32 2048 / faer"),
    ]
}
