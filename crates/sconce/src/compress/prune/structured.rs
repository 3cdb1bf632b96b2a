//! Whole slices along a dimension, and patterns of neighbours.

use std::sync::Arc;

use sconce_kernels::rng::{Generator, uniform};

use super::mask::Mask;
use super::{Amount, Job};
use crate::io::{display_name, zeroed};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The size of a dimension, and how many elements lie between neighbours along it.
fn axis(job: &Job, dim: isize) -> Result<(usize, usize)> {
    let dims = job.shape.len();
    if dims <= 1 {
        return Err(Error::shape(format!(
            "slices of a tensor of shape {:?}: expected 2 dimensions or more",
            job.shape
        )));
    }
    let at = if dim < 0 { dim.checked_add_unsigned(dims) } else { Some(dim) };
    let at = at.and_then(|d| usize::try_from(d).ok()).filter(|&d| d < dims);
    let at =
        at.ok_or_else(|| Error::index(format!("dimension {dim} of a tensor of shape {:?}", job.shape)))?;
    Ok((job.shape[at], job.shape[at + 1..].iter().product()))
}

/// Keeps the slices of the greatest n-norm; of equal ones the first.
pub(super) fn least_norm(job: &Job, n: f64, dim: isize, amount: Amount) -> Result<Mask> {
    let (slices, inner) = axis(job, dim)?;
    let kept = slices - amount.of(slices)?;
    let mut norms = vec![if n == f64::NEG_INFINITY { f64::INFINITY } else { 0.0 }; slices];
    let size = job.dtype.size();
    let chunk = CHUNK_BYTES / size;
    for first in (0..job.numel()).step_by(chunk) {
        let mut bytes = zeroed(((job.numel() - first).min(chunk) * size) as u64)?;
        job.values.read_at((first * size) as u64, &mut bytes)?;
        let x = Tensor::from_bytes(&bytes, job.dtype, [bytes.len() / size])?.to(DType::F64)?;
        x.with_slice(|x: &[f64]| {
            for (i, x) in x.iter().enumerate() {
                let norm = &mut norms[(first + i) / inner.max(1) % slices];
                let x = x.abs();
                *norm = match n {
                    f64::INFINITY => {
                        if x.is_nan() {
                            x
                        } else {
                            norm.max(x)
                        }
                    }
                    f64::NEG_INFINITY => {
                        if x.is_nan() {
                            x
                        } else {
                            norm.min(x)
                        }
                    }
                    0.0 => *norm + f64::from(u8::from(x != 0.0)),
                    1.0 => *norm + x,
                    2.0 => *norm + x * x,
                    n => *norm + x.powf(n),
                };
            }
        })?;
    }
    if n < 0.0 && n.is_finite() {
        // The root of a negative power turns the order.
        norms.iter_mut().for_each(|norm| *norm = norm.powf(1.0 / n));
    }
    let mut order: Vec<usize> = (0..slices).collect();
    // Without a sign, the total order puts NaN last, as PyTorch does.
    order.sort_by(|&a, &b| norms[b].abs().total_cmp(&norms[a].abs()));
    let mut keep = vec![false; slices];
    order[..kept].iter().for_each(|&i| keep[i] = true);
    Ok(Mask::Slices { keep: Arc::new(keep), inner })
}

/// Prunes the slices of the least random numbers, tensor after tensor.
pub(super) fn random(jobs: &[Job], dim: isize, seed: u64, amount: Amount) -> Result<Vec<Mask>> {
    let mut generator = Generator::new(seed);
    let mut mask = |job: &Job| -> Result<Mask> {
        let (slices, inner) = axis(job, dim)?;
        let count = amount.of(slices)?;
        if count == 0 {
            return Ok(Mask::All);
        }
        let mut chance = vec![0_f32; slices];
        uniform(&mut generator, &mut chance, 0.0, 1.0);
        let mut sorted = chance.clone();
        sorted.sort_by(f32::total_cmp);
        let least = sorted[count - 1];
        Ok(Mask::Slices { keep: Arc::new(chance.iter().map(|&x| x > least).collect()), inner })
    };
    jobs.iter().map(|job| mask(job).context(|| display_name(&job.name))).collect()
}

/// Keeps some of every few neighbours.
pub(super) fn n_of_m(job: &Job, keep: usize, of: usize, dim: isize) -> Result<Mask> {
    let (size, inner) = axis(job, dim)?;
    if !size.is_multiple_of(of) {
        return Err(Error::shape(format!(
            "{keep}:{of} needs a multiple of {of} along dimension {dim}, found shape {:?}",
            job.shape
        )));
    }
    Ok(Mask::NOfM { keep, of, inner })
}
