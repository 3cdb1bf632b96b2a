//! New tensors that safe code fills, for operations whose loops are not worth a kernel.
#![allow(unsafe_code)]

use sconce_kernels::Dst;

use super::{Fresh, lock_reads, src};
use crate::Result;
use crate::tensor::dtype::Element;
use crate::tensor::layout::{Layout, contiguous_strides};
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
    let mut storage = Storage::try_zeroed(op, n * size_of::<T>())?;
    let bytes = storage.bytes_mut().expect("a new storage has one owner");
    // SAFETY: the bytes belong to the new storage alone, are aligned for any element type and initialised to 0, which is
    // a value of every `Element`; `n` elements fit by construction.
    f(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<T>(), n) })?;
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
    let mut storage = Storage::try_zeroed(op, layout.numel() * dtype.size())?;
    f(storage.bytes_mut().expect("a new storage has one owner"))?;
    Ok(Tensor::new(storage, layout, dtype))
}

/// Calls a function with the bytes of a row-major tensor.
pub(crate) fn with_bytes<R>(op: &str, t: &Tensor, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
    assert!(t.is_contiguous(), "the caller made it so");
    let size = t.dtype().size();
    t.storage().with_elements::<u8, R>(op, t.storage_offset() * size, t.numel() * size, f)
}

/// Tensors of one dtype behind each other along a dimension, as a new tensor of shape `shape`.
pub(crate) fn cat(op: &str, parts: &[&Tensor], dim: usize, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let total: usize = parts.iter().map(|t| t.shape()[dim]).sum();
    let fits =
        |t: &Tensor| t.dim() == shape.len() && (0..t.dim()).all(|d| d == dim || t.shape()[d] == shape[d]);
    assert!(total == shape[dim] && parts.iter().all(|t| fits(t)), "checked by the caller");
    let out = Fresh::new(op, shape, dtype)?;
    let strides = contiguous_strides(shape);
    let mut start = 0;
    for part in parts {
        let from = src(op, part, part.strides())?;
        let dst = out.dst(op)?;
        let offset = start * strides[dim] * dst.elem.size();
        let dst = Dst { ptr: dst.ptr.wrapping_add(offset), elem: dst.elem, strides: &strides };
        let _locks = lock_reads(op, &[part])?;
        // SAFETY: the input is locked for reading; its place in the new output lies behind that of the parts before it,
        // and all parts fill the output (checked above).
        unsafe { sconce_kernels::copy(part.shape(), dst, from) };
        start += part.shape()[dim];
    }
    Ok(out.tensor())
}
