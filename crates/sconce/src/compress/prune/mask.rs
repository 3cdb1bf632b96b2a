//! Which elements stay, and tensors as they are without the others.

use std::sync::Arc;

use super::keys::{Domain, Scores, magnitudes};
use super::{Job, choice};
use crate::Result;
use crate::io::{ReadAt, range, zeroed};
use crate::tensor::DType;

/// Elements that are counted at once.
const CHUNK: usize = 1 << 18;

/// Which elements of a tensor stay.
#[derive(Clone)]
pub(super) enum Mask {
    /// Every one.
    All,
    /// Those whose key is greater than `key`, and from element `end` on those of this very key.
    Threshold { scores: Arc<Scores>, key: u64, end: usize },
    /// Slices along a dimension; `inner` elements of each lie together.
    Slices { keep: Arc<Vec<bool>>, inner: usize },
    /// The `keep` of the greatest magnitude of every `of` neighbours, which are `inner` elements apart.
    NOfM { keep: usize, of: usize, inner: usize },
}

impl Mask {
    /// Ranges begin and end at multiples of this many elements.
    fn block(&self) -> usize {
        match self {
            Self::NOfM { of, inner, .. } => of * inner,
            _ => 1,
        }
    }

    /// Whether each element of `bytes` stays, which begin at element `first`.
    pub(super) fn stays(&self, dtype: DType, first: usize, bytes: &[u8]) -> Result<Vec<bool>> {
        let count = bytes.len() / dtype.size();
        Ok(match self {
            Self::All => vec![true; count],
            Self::Threshold { scores, key, end } => {
                let keys = if scores.are_magnitudes() {
                    scores.keys(bytes)?
                } else {
                    scores.keys_at(first, count)?
                };
                keys.iter().enumerate().map(|(i, k)| k > key || (k == key && first + i >= *end)).collect()
            }
            Self::Slices { keep, inner } => {
                (first..first + count).map(|i| keep[i / (*inner).max(1) % keep.len()]).collect()
            }
            Self::NOfM { keep, of, inner } => {
                let keys = magnitudes(dtype, Domain::Double, bytes)?;
                choice::n_of_m(&keys, *keep, *of, *inner)
            }
        })
    }
}

/// A tensor's values with zeros for what does not stay, or its mask.
pub(super) struct Pruned {
    base: Arc<dyn ReadAt>,
    dtype: DType,
    mask: Mask,
    /// What stands for a value that stays, if this is the mask.
    one: Option<Vec<u8>>,
}

impl Pruned {
    pub(super) fn new(base: Arc<dyn ReadAt>, dtype: DType, mask: Mask, one: Option<Vec<u8>>) -> Self {
        Self { base, dtype, mask, one }
    }
}

impl ReadAt for Pruned {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = range(offset, out.len() as u64, self.size())?.end;
        let size = self.dtype.size();
        let block = (self.mask.block() * size) as u64;
        if out.is_empty() || block == 0 {
            return Ok(());
        }
        let start = offset / block * block;
        let mut bytes = zeroed(end.next_multiple_of(block).min(self.size()) - start)?;
        self.base.read_at(start, &mut bytes)?;
        let stays = self.mask.stays(self.dtype, start as usize / size, &bytes)?;
        for (element, stays) in bytes.chunks_exact_mut(size).zip(stays) {
            match (&self.one, stays) {
                (Some(one), true) => element.copy_from_slice(one),
                (None, true) => {}
                (_, false) => element.fill(0),
            }
        }
        let skipped = (offset - start) as usize;
        out.copy_from_slice(&bytes[skipped..skipped + out.len()]);
        Ok(())
    }
}

/// How many elements of a tensor do not stay, and how many are zero after that.
pub(super) fn count(job: &Job, mask: &Mask) -> Result<(u64, u64)> {
    let (size, numel) = (job.dtype.size(), job.numel());
    let (mut pruned, mut zeros) = (0, 0);
    let chunk = (CHUNK / mask.block().max(1)).max(1) * mask.block().max(1);
    for first in (0..numel).step_by(chunk) {
        let mut bytes = zeroed(((numel - first).min(chunk) * size) as u64)?;
        job.values.read_at((first * size) as u64, &mut bytes)?;
        let stays = mask.stays(job.dtype, first, &bytes)?;
        let keys = magnitudes(job.dtype, Domain::Double, &bytes)?;
        pruned += stays.iter().filter(|stays| !**stays).count() as u64;
        zeros += stays.iter().zip(keys).filter(|&(stays, key)| !stays || key == 0).count() as u64;
    }
    Ok((pruned, zeros))
}
