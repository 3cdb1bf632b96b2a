//! From tensors to kernels: locks, fresh outputs, broadcasting. The only op files with `unsafe`.
#![allow(unsafe_code)]

pub(crate) mod attention;
mod build;
mod flat;
pub(crate) mod layers;
pub(crate) mod lines;
pub(crate) mod lstm;
mod matmul;
pub(crate) mod optim;
mod reduce;

pub(crate) use build::{build, build_bytes, cat, with_bytes};
pub(crate) use matmul::{biased, matmul, matmul_transposed};
pub(crate) use reduce::reduce;

use sconce_kernels::{Compute, Dst, Elem, Rows, Src};
use smallvec::SmallVec;

use crate::tensor::dtype::{Category, Element};
use crate::tensor::layout::{Layout, broadcast_strides, same};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::{ReadGuard, Storage, WriteGuard};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// What the kernels compute a dtype in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `f32`: float32 and the half types.
    F32,
    /// `f64`.
    F64,
    /// `i64`: integers and bool.
    I64,
}

/// The compute type of a dtype, or an error that names the op if it is only stored.
#[inline]
pub(crate) fn kind(op: &str, dtype: DType) -> Result<Kind> {
    match elem(op, dtype)? {
        Elem::F64 => Ok(Kind::F64),
        Elem::F32 | Elem::F16 | Elem::BF16 => Ok(Kind::F32),
        _ => Ok(Kind::I64),
    }
}

#[inline]
pub(crate) fn elem(op: &str, dtype: DType) -> Result<Elem> {
    dtype.elem().ok_or_else(|| Error::dtype(format!("{op}: not implemented for {dtype}")))
}

/// Locks held while a kernel runs.
#[derive(Default)]
pub(crate) struct Locks<'a> {
    _reads: SmallVec<[ReadGuard<'a>; 4]>,
    _write: Option<WriteGuard<'a>>,
}

/// Locks every storage once, in address order: inputs for reading, the target of an in-place operation for writing.
pub(crate) fn lock<'a>(op: &str, inputs: &[&'a Tensor], target: Option<&'a Tensor>) -> Result<Locks<'a>> {
    let mut storages: SmallVec<[(&'a Storage, bool); 4]> = SmallVec::new();
    storages.extend(target.map(|t| (t.storage(), true)));
    for t in inputs {
        if !storages.iter().any(|(s, _)| s.is(t.storage())) {
            storages.push((t.storage(), false));
        }
    }
    storages.sort_unstable_by_key(|(s, _)| s.id());
    let mut locks = Locks::default();
    for (storage, write) in storages {
        if write {
            locks._write = Some(storage.write(op)?);
        } else {
            locks._reads.push(storage.read(op)?);
        }
    }
    Ok(locks)
}

/// Guards of up to four storages: fields, so that they stay in registers, as those of an array do not.
pub(crate) struct Reads<'a> {
    _first: Option<ReadGuard<'a>>,
    _second: Option<ReadGuard<'a>>,
    _third: Option<ReadGuard<'a>>,
    _fourth: Option<ReadGuard<'a>>,
}

/// [`lock`] for the up to four inputs of an operation that writes to new memory.
#[inline(always)]
pub(crate) fn lock_reads<'a, const N: usize>(op: &str, inputs: &[&'a Tensor; N]) -> Result<Reads<'a>> {
    const { assert!(N <= 4) };
    let storages = sorted(inputs);
    Ok(Reads {
        _first: read_one(op, &storages, 0)?,
        _second: read_one(op, &storages, 1)?,
        _third: read_one(op, &storages, 2)?,
        _fourth: read_one(op, &storages, 3)?,
    })
}

/// Locks one of several storages in address order, if there is such a one and it is not the one before.
#[inline(always)]
fn read_one<'a, const N: usize>(
    op: &str,
    storages: &[&'a Storage; N],
    i: usize,
) -> Result<Option<ReadGuard<'a>>> {
    let wanted = i < N && (i == 0 || !storages[i].is(storages[i - 1]));
    if wanted { storages[i].read(op).map(Some) } else { Ok(None) }
}

/// The same beside a target, which is locked for writing.
#[inline(always)]
fn lock_beside<'a, const N: usize>(
    op: &str,
    inputs: &[&'a Tensor; N],
    target: &'a Tensor,
) -> Result<(WriteGuard<'a>, Reads<'a>)> {
    const { assert!(N <= 4) };
    let storages = sorted(inputs);
    let target = target.storage();
    let mut write = None;
    let mut read = |i: usize| {
        let wanted = i < N && !storages[i].is(target) && (i == 0 || !storages[i].is(storages[i - 1]));
        if !wanted {
            return Ok(None);
        }
        if write.is_none() && target.id() < storages[i].id() {
            write = Some(target.write(op)?);
        }
        storages[i].read(op).map(Some)
    };
    let reads = Reads { _first: read(0)?, _second: read(1)?, _third: read(2)?, _fourth: read(3)? };
    let write = match write {
        Some(write) => write,
        None => target.write(op)?,
    };
    Ok((write, reads))
}

/// The storages of tensors in address order.
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

/// An output that nobody else has yet.
pub(crate) struct Fresh(Tensor);

impl Fresh {
    /// A row-major output. The kernel must write every element.
    #[inline]
    pub(crate) fn new(op: &str, shape: &[usize], dtype: DType) -> Result<Self> {
        Tensor::fresh(op, shape, dtype).map(Self)
    }

    pub(crate) fn dst(&self, op: &str) -> Result<Dst<'_>> {
        target(op, &self.0)
    }

    /// The address of the first element.
    #[inline]
    pub(crate) fn ptr<T>(&self) -> *mut T {
        self.0.storage().ptr().cast()
    }

    #[inline]
    pub(crate) fn tensor(self) -> Tensor {
        self.0
    }
}

/// The address of a tensor's first element. Reading it needs a lock.
#[inline]
pub(crate) fn address(t: &Tensor) -> *mut u8 {
    // In bounds: a layout stays within its storage; for an empty tensor the address is never used.
    t.storage().ptr().wrapping_add(t.storage_offset() * t.dtype().size())
}

/// An input as the kernels see it. `strides` are those of the shape that it is broadcast to.
pub(crate) fn src<'a>(op: &str, t: &Tensor, strides: &'a [usize]) -> Result<Src<'a>> {
    Ok(Src { ptr: address(t), elem: elem(op, t.dtype())?, strides })
}

fn target<'a>(op: &str, t: &'a Tensor) -> Result<Dst<'a>> {
    Ok(Dst { ptr: address(t), elem: elem(op, t.dtype())?, strides: t.strides() })
}

/// Computes `f` of broadcast inputs into a new tensor.
#[inline]
pub(crate) fn map<T: Compute, const N: usize>(
    op: &str,
    shape: &[usize],
    dtype: DType,
    inputs: [&Tensor; N],
    f: impl Fn([T; N]) -> T + Sync,
) -> Result<Tensor> {
    map_rows(op, shape, dtype, inputs, Rows::new(&f))
}

/// [`map`] of a function given as its loop.
pub(crate) fn map_rows<T: Compute, const N: usize>(
    op: &str,
    shape: &[usize],
    dtype: DType,
    inputs: [&Tensor; N],
    rows: Rows<'_, T, N>,
) -> Result<Tensor> {
    if let Some(out) = flat::map(op, shape, dtype, &inputs, rows) {
        return out;
    }
    let out = Fresh::new(op, shape, dtype)?;
    let strides = inputs.map(|t| broadcast_to(t, shape));
    let mut srcs = [Src { ptr: std::ptr::null(), elem: Elem::U8, strides: &[] }; N];
    for ((slot, t), strides) in srcs.iter_mut().zip(inputs).zip(&strides) {
        *slot = src(op, t, strides)?;
    }
    let dst = out.dst(op)?;
    let _locks = lock_reads(op, &inputs)?;
    // SAFETY: the inputs are locked for reading and their layouts, broadcast to `shape`, stay within their storages;
    // the output is new, row-major and of this shape.
    unsafe { sconce_kernels::map::<T, N>(shape, dst, srcs, rows) };
    Ok(out.tensor())
}

/// Computes `f` of broadcast inputs into existing memory, which may be that of an input.
#[inline]
pub(crate) fn map_into<T: Compute, const N: usize>(
    op: &str,
    out: &Tensor,
    inputs: [&Tensor; N],
    f: impl Fn([T; N]) -> T + Sync,
) -> Result<()> {
    map_rows_into(op, out, inputs, Rows::new(&f))
}

/// [`map_into`] of a function given as its loop.
pub(crate) fn map_rows_into<T: Compute, const N: usize>(
    op: &str,
    out: &Tensor,
    inputs: [&Tensor; N],
    rows: Rows<'_, T, N>,
) -> Result<()> {
    if let Some(done) = flat::map_into(op, out, &inputs, rows) {
        return done;
    }
    let mut copies: [Option<Tensor>; N] = [const { None }; N];
    for (slot, t) in copies.iter_mut().zip(inputs) {
        *slot = clear_of(op, t, out)?;
    }
    let mut inputs = inputs;
    for (t, copy) in inputs.iter_mut().zip(&copies) {
        if let Some(copy) = copy {
            *t = copy;
        }
    }
    let strides = inputs.map(|t| broadcast_to(t, out.shape()));
    let mut srcs = [Src { ptr: std::ptr::null(), elem: Elem::U8, strides: &[] }; N];
    for ((slot, t), strides) in srcs.iter_mut().zip(inputs).zip(&strides) {
        *slot = src(op, t, strides)?;
    }
    let dst = target(op, out)?;
    let _locks = lock(op, &inputs, Some(out))?;
    // SAFETY: the target is locked for writing and does not overlap itself (checked by `apply_inplace`'s callers and
    // `check_writable`); every input is locked for reading, or is the very same view as the target, or was copied
    // because it overlaps the target otherwise.
    unsafe { sconce_kernels::map::<T, N>(out.shape(), dst, srcs, rows) };
    Ok(())
}

/// Copies `src`, broadcast and converted, over the elements of `out`.
pub(crate) fn copy_into(op: &str, out: &Tensor, from: &Tensor) -> Result<()> {
    check_writable(op, out, from.shape())?;
    if out.dtype() == from.dtype() && out.dtype().elem().is_none() {
        return copy_stored(op, out, from);
    }
    let copy = clear_of(op, from, out)?;
    let from = copy.as_ref().unwrap_or(from);
    let strides = broadcast_to(from, out.shape());
    let (dst, src) = (target(op, out)?, src(op, from, &strides)?);
    let _locks = lock(op, &[from], Some(out))?;
    // SAFETY: as in `map_into`.
    unsafe { sconce_kernels::copy(out.shape(), dst, src) };
    Ok(())
}

/// A new row-major tensor with the same elements in another dtype.
pub(crate) fn copy(op: &str, from: &Tensor, dtype: DType) -> Result<Tensor> {
    let out = Fresh::new(op, from.shape(), dtype)?;
    if from.dtype() == dtype && dtype.elem().is_none() {
        // Written in full below.
        let out = out.tensor();
        copy_stored(op, &out, from)?;
        return Ok(out);
    }
    let (dst, src) = (out.dst(op)?, src(op, from, from.strides())?);
    let _locks = lock_reads(op, &[from])?;
    // SAFETY: as in `map`.
    unsafe { sconce_kernels::copy(from.shape(), dst, src) };
    Ok(out.tensor())
}

/// Copies elements of a dtype that is only stored, as integers of its size.
fn copy_stored(op: &str, out: &Tensor, from: &Tensor) -> Result<()> {
    // A complex number goes as its two halves: it need not be aligned to more.
    let parts = if out.dtype().category() == Category::Complex { 2 } else { 1 };
    let elem = match out.dtype().size() / parts {
        1 => Elem::U8,
        2 => Elem::I16,
        4 => Elem::I32,
        _ => Elem::I64,
    };
    let copy = clear_of(op, from, out)?;
    let from = copy.as_ref().unwrap_or(from);
    let widen = |strides: &[usize]| -> Dims {
        strides.iter().map(|s| s * parts).chain((parts > 1).then_some(1)).collect()
    };
    let mut shape = Dims::from_slice(out.shape());
    shape.extend((parts > 1).then_some(parts));
    let (out_strides, in_strides) = (widen(out.strides()), widen(&broadcast_to(from, out.shape())));
    let _locks = lock(op, &[from], Some(out))?;
    let dst = Dst { ptr: address(out), elem, strides: &out_strides };
    let src = Src { ptr: address(from), elem, strides: &in_strides };
    // SAFETY: as in `map_into`; the elements have the size of `elem`, or of two of them.
    unsafe { sconce_kernels::copy(&shape, dst, src) };
    Ok(())
}

/// A new tensor of one value.
pub(crate) fn full(op: &str, shape: &[usize], value: Scalar, dtype: DType) -> Result<Tensor> {
    let out = Fresh::new(op, shape, dtype)?;
    // SAFETY: the output is new, row-major and of this shape.
    unsafe { sconce_kernels::fill(shape, out.dst(op)?, value.kernel()) };
    Ok(out.tensor())
}

/// Sets every element of `out`.
pub(crate) fn fill(op: &str, out: &Tensor, value: Scalar) -> Result<()> {
    check_writable(op, out, &[])?;
    let dst = target(op, out)?;
    let _locks = lock(op, &[], Some(out))?;
    // SAFETY: the target is locked for writing and does not overlap itself.
    unsafe { sconce_kernels::fill(out.shape(), dst, value.kernel()) };
    Ok(())
}

/// Calls `fill` with room for every element of `out`, in the order in which they lie in memory.
pub(crate) fn fill_in_memory_order<T: Element>(
    op: &str,
    out: &Tensor,
    fill: impl FnOnce(&mut [T]),
) -> Result<()> {
    check_writable(op, out, &[])?;
    assert_eq!(T::DTYPE, out.dtype(), "the caller matches on the dtype");
    if out.layout().is_dense() {
        let _locks = lock(op, &[], Some(out))?;
        // SAFETY: a dense layout covers exactly the `numel` elements from its first on, which are initialised, hold
        // `T`s and are locked for writing.
        fill(unsafe { std::slice::from_raw_parts_mut(address(out).cast::<T>(), out.numel()) });
        return Ok(());
    }
    // The dimensions with the largest strides first: then row-major order is the order of memory.
    let mut order: Vec<usize> = (0..out.dim()).collect();
    order.sort_by_key(|&d| std::cmp::Reverse(out.strides()[d]));
    let layout = Layout {
        shape: order.iter().map(|&d| out.shape()[d]).collect(),
        strides: order.iter().map(|&d| out.strides()[d]).collect(),
        offset: out.storage_offset(),
    };
    let target = out.alias(layout, out.dtype());
    let elements = Tensor::zeros(target.shape(), out.dtype())?;
    fill_in_memory_order(op, &elements, fill)?;
    copy_into(op, &target, &elements)
}

/// Strides that repeat `t` over `shape`, which it broadcasts to.
fn broadcast_to(t: &Tensor, shape: &[usize]) -> Dims {
    if same(t.shape(), shape) {
        Dims::from_slice(t.strides())
    } else {
        broadcast_strides(t.shape(), t.strides(), shape)
    }
}

/// Refuses a target that overlaps itself, or that `from` does not broadcast to.
pub(crate) fn check_writable(op: &str, out: &Tensor, from: &[usize]) -> Result<()> {
    if out.layout().overlaps_itself() {
        return Err(Error::argument(format!(
            "{op}: the target of shape {:?} and strides {:?} refers to one element more than once; clone it first",
            out.shape(),
            out.strides()
        )));
    }
    let lead = out.dim().checked_sub(from.len());
    let fits =
        lead.is_some_and(|lead| from.iter().zip(&out.shape()[lead..]).all(|(&n, &m)| n == m || n == 1));
    if fits {
        Ok(())
    } else {
        Err(Error::shape(format!(
            "{op}: shape {from:?} does not broadcast to the target's {:?}",
            out.shape()
        )))
    }
}

/// A copy of an input that overlaps the target without being the very same view; `None` if it may be used as it is.
///
/// Dense views that overlap in part are refused, as in PyTorch: what is read would depend on the order of writing.
/// Addresses are compared, not storages: several may lie on memory that was imported or exported.
fn clear_of(op: &str, t: &Tensor, out: &Tensor) -> Result<Option<Tensor>> {
    if t.numel() == 0 || out.numel() == 0 {
        return Ok(None);
    }
    let bytes = |t: &Tensor| {
        let start = address(t) as usize;
        (start, start + (t.layout().end() - t.storage_offset()) * t.dtype().size())
    };
    let ((a, a_end), (b, b_end)) = (bytes(t), bytes(out));
    if a_end <= b || b_end <= a {
        return Ok(None);
    }
    let same_place = a == b && t.dtype() == out.dtype();
    if same_place && t.shape() == out.shape() && t.strides() == out.strides() {
        return Ok(None);
    }
    if t.layout().is_dense() && out.layout().is_dense() && (a, a_end) != (b, b_end) {
        return Err(Error::argument(format!(
            "{op}: the input of shape {:?} and the target of shape {:?} share some of their memory; clone one first",
            t.shape(),
            out.shape()
        )));
    }
    copy(op, t, t.dtype()).map(Some)
}
