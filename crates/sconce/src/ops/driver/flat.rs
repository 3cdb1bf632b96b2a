//! The short way to an elementwise kernel: row-major operands of one shape and of the kernel's own type, or single
//! elements that repeat. Nearly all calls on few elements are like that, and what they cost is not the kernel.
#![allow(unsafe_code)]

use sconce_kernels::{Compute, FLAT, Rows};

use super::address;
use crate::Result;
use crate::tensor::storage::{ReadGuard, Storage, WriteGuard};
use crate::tensor::{DType, Tensor};

/// Inputs as [`sconce_kernels::map_flat`] takes them: addresses, and whether there is one element only.
struct Flat<T, const N: usize> {
    ptrs: [*const T; N],
    repeats: [bool; N],
}

/// Equality of shapes, which are too short for a call of `memcmp`.
#[inline(always)]
fn same(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

impl<T: Compute, const N: usize> Flat<T, N> {
    /// `None` if an input is not as it must be.
    #[inline(always)]
    fn new(inputs: &[&Tensor; N], like: &Tensor) -> Option<Self> {
        let mut flat = Self { ptrs: [std::ptr::null(); N], repeats: [false; N] };
        for i in 0..N {
            let t = inputs[i];
            if t.dtype().elem() != Some(T::ELEM) {
                return None;
            }
            if !(t.is(like) || t.is_contiguous() && same(t.shape(), like.shape())) {
                if t.numel() != 1 {
                    return None;
                }
                flat.repeats[i] = true;
            }
            flat.ptrs[i] = address(t).cast_const().cast();
        }
        Some(flat)
    }
}

/// Locks storages for reading, each once, in address order.
#[inline(always)]
fn lock_reads<'a, const N: usize>(op: &str, inputs: &[&'a Tensor; N]) -> Result<[Option<ReadGuard<'a>>; N]> {
    let storages = sorted(inputs);
    let mut guards = [const { None }; N];
    for i in 0..N {
        if i == 0 || !storages[i].is(storages[i - 1]) {
            guards[i] = Some(storages[i].read(op)?);
        }
    }
    Ok(guards)
}

/// The same beside a target, which is locked for writing.
#[inline(always)]
fn lock_beside<'a, const N: usize>(
    op: &str,
    inputs: &[&'a Tensor; N],
    target: &'a Tensor,
) -> Result<(WriteGuard<'a>, [Option<ReadGuard<'a>>; N])> {
    let storages = sorted(inputs);
    let target = target.storage();
    let mut guards = [const { None }; N];
    let mut write = None;
    for i in 0..N {
        if storages[i].is(target) || i > 0 && storages[i].is(storages[i - 1]) {
            continue;
        }
        if write.is_none() && target.id() < storages[i].id() {
            write = Some(target.write(op)?);
        }
        guards[i] = Some(storages[i].read(op)?);
    }
    let write = match write {
        Some(write) => write,
        None => target.write(op)?,
    };
    Ok((write, guards))
}

#[inline(always)]
fn sorted<'a, const N: usize>(inputs: &[&'a Tensor; N]) -> [&'a Storage; N] {
    let mut storages = inputs.map(Tensor::storage);
    for i in 1..N {
        let mut j = i;
        while j > 0 && storages[j].id() < storages[j - 1].id() {
            storages.swap(j, j - 1);
            j -= 1;
        }
    }
    storages
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
    if n > FLAT || dtype.elem() != Some(T::ELEM) {
        return None;
    }
    let flat = Flat::<T, N>::new(inputs, like)?;
    let run = || {
        let storage = Storage::uninit(op, n * size_of::<T>())?;
        let _locks = lock_reads(op, inputs)?;
        // SAFETY: the inputs are locked for reading; each has `n` adjacent elements of type `T`, or one that repeats; the
        // output is new and holds `n` such elements.
        unsafe { sconce_kernels::map_flat::<T, N>(n, storage.ptr().cast(), flat.ptrs, flat.repeats, rows) };
        Ok(Tensor::row_major(storage, like, dtype))
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
    if n > FLAT || !out.is_contiguous() || out.dtype().elem() != Some(T::ELEM) {
        return None;
    }
    let flat = Flat::<T, N>::new(inputs, out)?;
    let start = address(out) as usize;
    for i in 0..N {
        let (from, n_in) = (flat.ptrs[i] as usize, if flat.repeats[i] { 1 } else { n });
        let meets = from < start + n * size_of::<T>() && start < from + n_in * size_of::<T>();
        if meets && !inputs[i].is(out) {
            return None;
        }
    }
    let run = || {
        let _locks = lock_beside(op, inputs, out)?;
        // SAFETY: the target is locked for writing and has `n` adjacent elements of type `T`; every input is the target,
        // or lies in other memory that is locked and has `n` such elements, or one that repeats.
        unsafe { sconce_kernels::map_flat::<T, N>(n, address(out).cast(), flat.ptrs, flat.repeats, rows) };
        Ok(())
    };
    Some(run())
}
