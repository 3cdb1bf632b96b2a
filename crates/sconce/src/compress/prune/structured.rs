//! Whole slices along a dimension, and patterns of neighbours.

use std::sync::Arc;

use sconce_kernels::rng::{Generator, uniform};

use super::choice::{SliceNorms, axis, least};
use super::mask::Mask;
use super::{Amount, Job};
use crate::io::{display_name, zeroed};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Keeps the slices of the greatest n-norm; of equal ones the first.
pub(super) fn least_norm(job: &Job, n: f64, dim: isize, amount: Amount) -> Result<Mask> {
    let (slices, inner) = axis(&job.shape, dim)?;
    let count = amount.of(slices)?;
    let mut norms = SliceNorms::new(n, slices, inner);
    let size = job.dtype.size();
    let chunk = CHUNK_BYTES / size;
    for first in (0..job.numel()).step_by(chunk) {
        let mut bytes = zeroed(((job.numel() - first).min(chunk) * size) as u64)?;
        job.values.read_at((first * size) as u64, &mut bytes)?;
        let x = Tensor::from_bytes(&bytes, job.dtype, [bytes.len() / size])?.to(DType::F64)?;
        x.with_slice(|x: &[f64]| norms.add(first, x))?;
    }
    Ok(without(&norms.scores(), count, inner))
}

/// All slices but those of the least scores.
fn without(scores: &[f64], count: usize, inner: usize) -> Mask {
    let mut keep = vec![true; scores.len()];
    least(scores, count).into_iter().for_each(|i| keep[i] = false);
    Mask::Slices { keep: Arc::new(keep), inner }
}

/// Prunes the slices of the least random numbers, tensor after tensor.
pub(super) fn random(jobs: &[Job], dim: isize, seed: u64, amount: Amount) -> Result<Vec<Mask>> {
    let mut generator = Generator::new(seed);
    let mut mask = |job: &Job| -> Result<Mask> {
        let (slices, inner) = axis(&job.shape, dim)?;
        let count = amount.of(slices)?;
        if count == 0 {
            return Ok(Mask::All);
        }
        let mut chance = vec![0_f32; slices];
        uniform(&mut generator, &mut chance, 0.0, 1.0);
        let chance: Vec<f64> = chance.into_iter().map(f64::from).collect();
        Ok(without(&chance, count, inner))
    };
    jobs.iter().map(|job| mask(job).context(|| display_name(&job.name))).collect()
}

/// Keeps some of every few neighbours.
pub(super) fn n_of_m(job: &Job, keep: usize, of: usize, dim: isize) -> Result<Mask> {
    let (size, inner) = axis(&job.shape, dim)?;
    if !size.is_multiple_of(of) {
        return Err(Error::shape(format!(
            "{keep}:{of} needs a multiple of {of} along dimension {dim}, found shape {:?}",
            job.shape
        )));
    }
    Ok(Mask::NOfM { keep, of, inner })
}
