//! Scores of elements as integers in the same order: the least are pruned.

use std::sync::Arc;

use half::{bf16, f16};

use crate::Result;
use crate::io::{ReadAt, zeroed};
use crate::tensor::{DType, Tensor};

/// Elements whose scores are made at once.
const CHUNK: usize = 1 << 18;

/// What numbers are compared as: all those of one cut alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Domain {
    /// As float32, whose bits are the upper half of a key.
    Single,
    /// As float64.
    Double,
}

impl Domain {
    pub(super) fn of(mut dtypes: impl Iterator<Item = DType>) -> Self {
        let single = |d: DType| matches!(d, DType::F32 | DType::F16 | DType::BF16);
        if dtypes.all(single) { Self::Single } else { Self::Double }
    }

    /// How many of a key's 16-bit digits can differ, from the highest.
    pub(super) fn digits(self) -> u32 {
        match self {
            Self::Single => 2,
            Self::Double => 4,
        }
    }
}

/// The keys of the magnitudes of elements: of numbers x and y the bits of |x| and |y| compare as they do, NaN last.
pub(super) fn magnitudes(dtype: DType, domain: Domain, bytes: &[u8]) -> Result<Vec<u64>> {
    let single = |x: f32| u64::from(x.to_bits() & (u32::MAX >> 1)) << 32;
    fn map<const N: usize>(bytes: &[u8], key: impl Fn([u8; N]) -> u64) -> Vec<u64> {
        bytes.as_chunks::<N>().0.iter().map(|b| key(*b)).collect()
    }
    Ok(match (domain, dtype) {
        (Domain::Single, DType::F32) => map(bytes, |b| single(f32::from_le_bytes(b))),
        (Domain::Single, DType::F16) => map(bytes, |b| single(f16::from_le_bytes(b).to_f32())),
        (Domain::Single, DType::BF16) => map(bytes, |b| single(bf16::from_le_bytes(b).to_f32())),
        _ => {
            let x = Tensor::from_bytes(bytes, dtype, [bytes.len() / dtype.size()])?.to(DType::F64)?;
            x.with_slice(|x: &[f64]| x.iter().map(|x| x.to_bits() & (u64::MAX >> 1)).collect())?
        }
    })
}

/// The scores of one tensor.
pub(super) struct Scores {
    bytes: Arc<dyn ReadAt>,
    dtype: DType,
    pub(super) domain: Domain,
    /// Whether the greatest are pruned, as of random numbers in PyTorch.
    greatest: bool,
}

impl Scores {
    /// Of `greatest` magnitudes the greatest are pruned.
    pub(super) fn new(bytes: Arc<dyn ReadAt>, dtype: DType, domain: Domain, greatest: bool) -> Self {
        Self { bytes, dtype, domain, greatest }
    }

    /// Whether the scores are the magnitudes of the values themselves.
    pub(super) fn are_magnitudes(&self) -> bool {
        !self.greatest
    }

    pub(super) fn len(&self) -> usize {
        (self.bytes.size() / self.dtype.size() as u64) as usize
    }

    /// The keys of `bytes`, elements of these scores.
    pub(super) fn keys(&self, bytes: &[u8]) -> Result<Vec<u64>> {
        let mut keys = magnitudes(self.dtype, self.domain, bytes)?;
        if self.greatest {
            keys.iter_mut().for_each(|key| *key = !*key);
        }
        Ok(keys)
    }

    /// The keys of the elements from `first` on.
    pub(super) fn keys_at(&self, first: usize, count: usize) -> Result<Vec<u64>> {
        let size = self.dtype.size();
        let mut bytes = zeroed((count * size) as u64)?;
        self.bytes.read_at((first * size) as u64, &mut bytes)?;
        self.keys(&bytes)
    }

    /// Passes all keys on, in order, with the first one's index.
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, &[u64])) -> Result<()> {
        for first in (0..self.len()).step_by(CHUNK) {
            visit(first, &self.keys_at(first, (self.len() - first).min(CHUNK))?);
        }
        Ok(())
    }
}
