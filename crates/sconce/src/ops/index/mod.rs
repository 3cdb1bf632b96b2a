//! Selecting, gathering and scattering by tensors of indices.

mod elements;
mod embedding;
mod gather;
mod key;
mod masks;
mod places;
mod reduce;
mod slices;

pub(super) use embedding::EMBEDDINGS;
pub use embedding::{EmbeddingOptions, embedding};
pub(super) use gather::{GATHERS, at_places};
pub(super) use key::KEYS;
pub use key::{Index, Key};
pub(super) use masks::MASKS;
pub(super) use places::PLACES;
pub(super) use reduce::INDEX_REDUCTIONS;
pub use reduce::Reduce;
pub(super) use slices::SLICES;

use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Indices as row-major int64.
fn integers(op: &str, index: &Tensor) -> Result<Tensor> {
    if index.numel() > 0 && !matches!(index.dtype(), DType::I64 | DType::I32) {
        return Err(Error::dtype(format!("{op}: indices must be int64 or int32, found {}", index.dtype())));
    }
    index.to(DType::I64)?.contiguous()
}

/// Indices as row-major int64, all below `size`.
pub(super) fn checked(op: &str, index: &Tensor, size: usize) -> Result<Tensor> {
    let index = integers(op, index)?;
    let wrong = index.with_slice(|all: &[i64]| {
        // Whole blocks at a time, which the compiler makes vectors of.
        let outside = |i: i64| i as u64 >= size as u64;
        let block = all.chunks(1024).find(|b| b.iter().fold(false, |any, &i| any | outside(i)));
        block.and_then(|b| b.iter().copied().find(|&i| outside(i)))
    })?;
    match wrong {
        Some(i) => Err(Error::index(format!("{op}: index {i} is out of range for size {size}"))),
        None => Ok(index),
    }
}

fn same_dtype(op: &str, x: &Tensor, from: &Tensor) -> Result<()> {
    if x.dtype() == from.dtype() {
        return Ok(());
    }
    Err(Error::dtype(format!("{op}: a source of dtype {} for a tensor of dtype {}", from.dtype(), x.dtype())))
}

/// A tensor of indices for samples.
fn index(values: &[i64], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(values, shape)
}
