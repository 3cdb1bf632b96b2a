//! The short way to an elementwise kernel: row-major operands of one shape, or single elements that repeat. Nearly all
//! calls on few elements are like that, and what they cost is not the kernel.
#![allow(unsafe_code)]

use sconce_kernels::{Compute, FLAT, Flat, Rows};

use super::{address, lock_beside, lock_reads};
use crate::Result;
use crate::tensor::layout::same;
use crate::tensor::{DType, Tensor};

/// Operands as [`sconce_kernels::map_flat`] takes them. `None` if one is not as it must be.
#[inline(always)]
fn flat<const N: usize>(inputs: &[&Tensor; N], like: &Tensor) -> Option<[Flat; N]> {
    let mut flat = [Flat::default(); N];
    for i in 0..N {
        let t = inputs[i];
        let whole = t.is(like) || t.is_contiguous() && same(t.shape(), like.shape());
        if !whole && t.numel() != 1 {
            return None;
        }
        flat[i] = Flat { ptr: address(t), elem: t.dtype().elem()?, repeats: !whole };
    }
    Some(flat)
}

/// [`map`](super::map) of such operands; `None` if these are others.
#[inline(always)]
pub(super) fn map<T: Compute, const N: usize>(
    op: &str,
    shape: &[usize],
    dtype: DType,
    inputs: &[&Tensor; N],
    rows: Rows<'_, T, N>,
) -> Option<Result<Tensor>> {
    let like = *inputs.iter().find(|t| t.is_contiguous() && same(t.shape(), shape))?;
    let n = like.numel();
    if n > FLAT {
        return None;
    }
    let (elem, ins) = (dtype.elem()?, flat(inputs, like)?);
    let run = || {
        let out = Tensor::fresh_like(op, like, dtype)?;
        let to = Flat { ptr: address(&out), elem, repeats: false };
        let _locks = lock_reads(op, inputs)?;
        // SAFETY: the inputs are locked for reading; each has `n` adjacent elements of its type, or one that repeats; the
        // output is new and holds `n` elements.
        unsafe { sconce_kernels::map_flat::<T, N>(n, to, ins, rows) };
        Ok(out)
    };
    Some(run())
}

/// [`map_into`](super::map_into) of such operands, none of which shares memory with the target without being the
/// target; `None` if these are others.
#[inline(always)]
pub(super) fn map_into<T: Compute, const N: usize>(
    op: &str,
    out: &Tensor,
    inputs: &[&Tensor; N],
    rows: Rows<'_, T, N>,
) -> Option<Result<()>> {
    let n = out.numel();
    if n > FLAT || !out.is_contiguous() {
        return None;
    }
    let (elem, ins) = (out.dtype().elem()?, flat(inputs, out)?);
    let start = address(out) as usize;
    for i in 0..N {
        let (from, n_in) = (ins[i].ptr as usize, if ins[i].repeats { 1 } else { n });
        let meets = from < start + n * elem.size() && start < from + n_in * ins[i].elem.size();
        if meets && !inputs[i].is(out) {
            return None;
        }
    }
    let run = || {
        let _locks = lock_beside(op, inputs, out)?;
        let to = Flat { ptr: address(out), elem, repeats: false };
        // SAFETY: the target is locked for writing and has `n` adjacent elements; every input is the target, or lies in
        // other memory that is locked and has `n` elements of its type, or one that repeats.
        unsafe { sconce_kernels::map_flat::<T, N>(n, to, ins, rows) };
        Ok(())
    };
    Some(run())
}
