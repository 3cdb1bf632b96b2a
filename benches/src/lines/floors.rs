//! What the machine can do: bytes per second of a plain copy, operations per second of faer's matrix product.

use std::hint::black_box;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;
use sconce::Result;

use super::Options;
use super::support::number;
use crate::measure::Call;

/// Copies so many f32 on all threads: 8 bytes of traffic for each.
pub(super) fn copy<const N: usize>(_: &Options) -> Result<Call> {
    let (from, mut to) = ((0..N).map(number).collect::<Vec<f32>>(), vec![0f32; N]);
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

/// The product of two N x N matrices on all threads: N³ multiply-adds.
pub(super) fn product<const N: usize>(_: &Options) -> Result<Call> {
    let x = Mat::from_fn(N, N, |i, j| number(i * N + j));
    let y = x.clone();
    let mut out = Mat::zeros(N, N);
    Ok(Box::new(move || {
        matmul(&mut out, Accum::Replace, black_box(&x), black_box(&y), 1.0, Par::rayon(0));
        black_box(&out);
        Ok(())
    }))
}
