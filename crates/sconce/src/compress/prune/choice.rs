//! Which elements and slices go: the one choice behind pruning of files and of live modules.

use std::sync::Arc;

use super::keys::{Domain, Scores};
use super::threshold;
use crate::tensor::DType;
use crate::{Error, Result};

/// The size of a dimension, and how many elements lie between neighbours along it.
pub(crate) fn axis(shape: &[usize], dim: isize) -> Result<(usize, usize)> {
    let dims = shape.len();
    if dims <= 1 {
        return Err(Error::shape(format!(
            "slices of a tensor of shape {shape:?}: expected 2 dimensions or more"
        )));
    }
    let at = if dim < 0 { dim.checked_add_unsigned(dims) } else { Some(dim) };
    let at = at.and_then(|d| usize::try_from(d).ok()).filter(|&d| d < dims);
    let at = at.ok_or_else(|| Error::index(format!("dimension {dim} of a tensor of shape {shape:?}")))?;
    Ok((shape[at], shape[at + 1..].iter().product()))
}

/// The n-norms of the slices along a dimension, from the elements in order.
pub(crate) struct SliceNorms {
    n: f64,
    inner: usize,
    norms: Vec<f64>,
}

impl SliceNorms {
    /// Of `slices` slices, whose elements lie `inner` together.
    pub(crate) fn new(n: f64, slices: usize, inner: usize) -> Self {
        let empty = if n == f64::NEG_INFINITY { f64::INFINITY } else { 0.0 };
        Self { n, inner: inner.max(1), norms: vec![empty; slices] }
    }

    /// Adds elements, which begin at element `first`.
    pub(crate) fn add(&mut self, first: usize, elements: &[f64]) {
        let slices = self.norms.len();
        for (i, x) in elements.iter().enumerate() {
            let norm = &mut self.norms[(first + i) / self.inner % slices];
            let x = x.abs();
            *norm = match self.n {
                f64::INFINITY | f64::NEG_INFINITY if x.is_nan() => x,
                f64::INFINITY => norm.max(x),
                f64::NEG_INFINITY => norm.min(x),
                0.0 => *norm + f64::from(u8::from(x != 0.0)),
                1.0 => *norm + x,
                2.0 => *norm + x * x,
                n => *norm + x.powf(n),
            };
        }
    }

    /// Numbers in the order of the norms.
    pub(crate) fn scores(mut self) -> Vec<f64> {
        if self.n < 0.0 && self.n.is_finite() {
            // The root of a negative power turns the order.
            self.norms.iter_mut().for_each(|norm| *norm = norm.powf(1.0 / self.n));
        }
        self.norms
    }
}

/// The places of the `count` least scores, none of which is negative; NaN is greater than all, of equal ones the first
/// stay.
pub(crate) fn least(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Without a sign, the total order puts NaN last, as PyTorch does.
    order.sort_by(|&a, &b| scores[b].abs().total_cmp(&scores[a].abs()));
    order.split_off(scores.len() - count.min(scores.len()))
}

/// Which of some values stay when the `count` of the least magnitude go, or of the greatest; of equal ones the first go.
pub(crate) fn cut_values(values: &[f64], count: usize, greatest: bool) -> Result<Vec<bool>> {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let scores = Scores::new(Arc::new(bytes.clone()), DType::F64, Domain::Double, greatest);
    let masks = threshold::cut(vec![scores], count)?;
    match masks.first() {
        Some(mask) => mask.stays(DType::F64, 0, &bytes),
        None => Ok(vec![true; values.len()]),
    }
}

/// Which elements stay when the `keep` of the greatest magnitude of every `of` neighbours do, which are `inner` elements
/// apart; of equal ones the first. The keys compare as the magnitudes.
pub(crate) fn n_of_m(keys: &[u64], keep: usize, of: usize, inner: usize) -> Vec<bool> {
    let mut stays = vec![false; keys.len()];
    let mut group: Vec<usize> = Vec::with_capacity(of);
    for start in (0..keys.len()).step_by((of * inner).max(1)) {
        for lane in start..start + inner {
            group.clear();
            group.extend((0..of).map(|i| lane + i * inner));
            // The sort is stable: of equal magnitudes the first stay.
            group.sort_by_key(|&i| std::cmp::Reverse(keys[i]));
            group.iter().take(keep).for_each(|&i| stays[i] = true);
        }
    }
    stays
}
