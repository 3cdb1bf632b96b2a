//! New tensors that safe code fills, for operations whose loops are not worth a kernel.
#![allow(unsafe_code)]

use crate::Result;
use crate::tensor::dtype::Element;
use crate::tensor::layout::Layout;
use crate::tensor::storage::Storage;
use crate::tensor::{DType, Tensor};

/// A new row-major tensor whose elements, all 0, are handed to a function to set.
pub(crate) fn build<T: Element>(
    op: &str,
    shape: &[usize],
    f: impl FnOnce(&mut [T]) -> Result<()>,
) -> Result<Tensor> {
    let layout = Layout::contiguous(shape)?;
    let n = layout.numel();
    let storage = Storage::zeroed(op, n * size_of::<T>())?;
    // SAFETY: the storage is new and this its only handle; its memory is aligned for any element type and initialised to
    // 0, which is a value of every `Element`; `n` elements fit by construction.
    f(unsafe { std::slice::from_raw_parts_mut(storage.ptr().cast::<T>(), n) })?;
    Ok(Tensor::new(storage, layout, T::DTYPE))
}

/// The same for elements of any dtype, moved as bytes. What is written must be whole elements of that dtype.
pub(crate) fn build_bytes(
    op: &str,
    shape: &[usize],
    dtype: DType,
    f: impl FnOnce(&mut [u8]) -> Result<()>,
) -> Result<Tensor> {
    let layout = Layout::contiguous(shape)?;
    let len = layout.numel() * dtype.size();
    let storage = Storage::zeroed(op, len)?;
    // SAFETY: as in `build`.
    f(unsafe { std::slice::from_raw_parts_mut(storage.ptr(), len) })?;
    Ok(Tensor::new(storage, layout, dtype))
}

/// Calls a function with the bytes of a row-major tensor.
pub(crate) fn with_bytes<R>(op: &str, t: &Tensor, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
    assert!(t.is_contiguous(), "the caller made it so");
    let size = t.dtype().size();
    t.storage().with_elements::<u8, R>(op, t.storage_offset() * size, t.numel() * size, f)
}
