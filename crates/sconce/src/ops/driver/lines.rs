//! From tensors to the kernels that work along lines, and to those that move elements.
#![allow(unsafe_code)]

use sconce_kernels::Lines;

use super::{Fresh, address, elem, lock_reads};
use crate::tensor::dtype::Element;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

fn lines(shape: &[usize], dim: usize) -> Lines {
    Lines {
        outer: shape[..dim.min(shape.len())].iter().product(),
        n: shape.get(dim).copied().unwrap_or(1),
        inner: shape.get(dim + 1..).unwrap_or(&[]).iter().product(),
    }
}

/// The shape with another size of a dimension.
fn resized(shape: &[usize], dim: usize, size: usize) -> Dims {
    let mut shape = Dims::from_slice(shape);
    if let Some(n) = shape.get_mut(dim) {
        *n = size;
    }
    shape
}

/// Where the `k` least or greatest elements of each line are, in order, as int64.
pub(crate) fn order(op: &str, x: &Tensor, dim: usize, k: usize, descending: bool) -> Result<Tensor> {
    let (x, elem) = (x.dense()?, elem(op, x.dtype())?);
    let lines = lines(x.shape(), dim);
    assert!(k <= lines.n, "checked by the caller");
    let out = Fresh::new(op, &resized(x.shape(), dim, k), DType::I64)?;
    if x.numel() > 0 {
        let _locks = lock_reads(op, &[&x])?;
        // SAFETY: the input is row-major, of this type and these lines, and locked; the output is new, with `k` elements in
        // each of them.
        unsafe { sconce_kernels::order(lines, elem, address(&x).cast_const(), k, descending, out.ptr()) };
    }
    Ok(out.tensor())
}

/// Running sums of a tensor of float32, float64 or int64.
pub(crate) fn cumsum(op: &str, x: &Tensor, dim: usize, backwards: bool) -> Result<Tensor> {
    let (x, lines) = (x.dense()?, lines(x.shape(), dim));
    let out = Fresh::new(op, x.shape(), x.dtype())?;
    if x.numel() > 0 {
        let _locks = lock_reads(op, &[&x])?;
        // SAFETY: both are row-major, of the same elements, whose type the match names; the input is locked, the output new.
        unsafe {
            match x.dtype() {
                DType::F32 => sconce_kernels::cumsum::<f32>(lines, backwards, address(&x).cast(), out.ptr()),
                DType::F64 => sconce_kernels::cumsum::<f64>(lines, backwards, address(&x).cast(), out.ptr()),
                dtype => {
                    assert_eq!(dtype, DType::I64, "checked by the caller");
                    sconce_kernels::cumsum::<i64>(lines, backwards, address(&x).cast(), out.ptr());
                }
            }
        }
    }
    Ok(out.tensor())
}

/// An error about the first index outside of `size`, of some where there is one.
#[cold]
fn out_of_range(op: &str, index: &Tensor, size: usize) -> Error {
    let outside = index.with_slice(|index: &[i64]| index.iter().copied().find(|&i| i as u64 >= size as u64));
    match outside {
        Ok(i) => {
            Error::index(format!("{op}: index {} is out of range for size {size}", i.unwrap_or_default()))
        }
        Err(e) => e,
    }
}

/// The slices of a tensor of any dtype at indices; an error if one is out of range.
pub(crate) fn take_slices(op: &str, x: &Tensor, dim: usize, index: &Tensor) -> Result<Tensor> {
    let (x, lines) = (x.dense()?, lines(x.shape(), dim));
    if x.dim() == 0 && index.numel() != 1 {
        return Err(Error::shape(format!(
            "{op}: a tensor without dimensions takes one index, found {}",
            index.numel()
        )));
    }
    let out = Fresh::new(op, &resized(x.shape(), dim, index.numel()), x.dtype())?;
    let index = index.dense()?;
    let _locks = lock_reads(op, &[&x, &index])?;
    // SAFETY: both are row-major and locked, the input with these lines; the output is new, with a slice for each index.
    let valid = unsafe {
        let from = address(&x).cast_const();
        sconce_kernels::take_slices(lines, x.dtype().size(), indices(&index), from, out.ptr())
    };
    if valid { Ok(out.tensor()) } else { Err(out_of_range(op, &index, lines.n)) }
}

/// The elements of a dense tensor of indices.
///
/// # Safety
/// The tensor is locked for reading.
unsafe fn indices(index: &Tensor) -> &[i64] {
    assert!(index.dtype() == DType::I64 && index.is_contiguous(), "checked by the caller");
    // SAFETY: row-major elements of this type; the caller has locked them.
    unsafe { std::slice::from_raw_parts(address(index).cast_const().cast(), index.numel()) }
}

/// The elements of a tensor of any dtype at indices, one for each; of indices without the dimension there is one for each
/// line. An error if one is out of range.
pub(crate) fn gather(op: &str, x: &Tensor, dim: usize, index: &Tensor) -> Result<Tensor> {
    let (x, index) = (x.dense()?, index.dense()?);
    let lines = lines(x.shape(), dim);
    let one_each = index.dim() < x.dim();
    let k = if one_each { 1 } else { index.shape().get(dim).copied().unwrap_or(1) };
    let around = |l: Lines| (l.outer, l.inner);
    let same = one_each || around(lines) == around(self::lines(index.shape(), dim));
    assert!(same && lines.outer * lines.n * lines.inner == x.numel(), "checked by the caller");
    let out = Fresh::new(op, index.shape(), x.dtype())?;
    let _locks = lock_reads(op, &[&x, &index])?;
    // SAFETY: both are row-major and locked, of the same lines but for their length; the output is new, with an element for
    // each index.
    let valid = unsafe {
        let from = address(&x).cast_const();
        sconce_kernels::gather(lines, x.dtype().size(), k, indices(&index), from, out.ptr())
    };
    if valid { Ok(out.tensor()) } else { Err(out_of_range(op, &index, lines.n)) }
}

/// `start`, or zeros, with the elements of `from` added at indices along a dimension: one for each, or one for each slice.
/// The tensors are of `T`; an error if an index is out of range.
pub(crate) fn scatter_add<T: Element>(
    op: &str,
    (shape, start): (&[usize], Option<&Tensor>),
    dim: usize,
    index: &Tensor,
    from: &Tensor,
    add: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor> {
    let (from, index, start) = (from.dense()?, index.dense()?, start.map(Tensor::dense).transpose()?);
    let (start, lines) = (start.as_ref(), lines(shape, dim));
    let k = from.shape().get(dim).copied().unwrap_or(1);
    let same_lines = lines.outer * k * lines.inner == from.numel();
    let indices_fit = index.numel() == k || index.numel() == from.numel();
    let typed = from.dtype() == T::DTYPE && start.is_none_or(|t| t.dtype() == T::DTYPE && t.shape() == shape);
    assert!(same_lines && indices_fit && typed, "checked by the caller");
    let out = Fresh::new(op, shape, T::DTYPE)?;
    let _locks = lock_reads(op, &[&from, &index, start.unwrap_or(&from)])?;
    // SAFETY: the inputs are row-major, of this type and these lines, and locked; the output is new. Zeros are a value of
    // every `Element`.
    let valid = unsafe {
        let (from, to) = (address(&from).cast_const().cast::<T>(), out.ptr());
        let start = start.map(|t| address(t).cast_const().cast());
        sconce_kernels::scatter_add(lines, k, indices(&index), from, start, to, add)
    };
    if valid { Ok(out.tensor()) } else { Err(out_of_range(op, &index, lines.n)) }
}

/// The places of the elements that are true, counted row-major: a vector of int64.
pub(crate) fn places(op: &str, flags: &Tensor) -> Result<Tensor> {
    let flags = flags.dense()?;
    assert_eq!(flags.dtype(), DType::Bool, "checked by the caller");
    let _locks = lock_reads(op, &[&flags])?;
    // SAFETY: row-major elements of one byte, which are locked.
    let bytes = unsafe { std::slice::from_raw_parts(address(&flags).cast_const(), flags.numel()) };
    let counts = sconce_kernels::count_flags(bytes);
    let out = Fresh::new(op, &[counts.iter().sum()], DType::I64)?;
    // SAFETY: the output is new, with an element for each flag that was counted.
    unsafe { sconce_kernels::places(bytes, &counts, out.ptr()) };
    Ok(out.tensor())
}

/// A copy with some dimensions turned around.
pub(crate) fn flip(op: &str, x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let x = x.dense()?;
    let turned: Vec<bool> = (0..x.dim()).map(|d| dims.contains(&d)).collect();
    let out = Fresh::new(op, x.shape(), x.dtype())?;
    if x.numel() > 0 {
        let _locks = lock_reads(op, &[&x])?;
        // SAFETY: both are row-major and of one shape; the input is locked, the output new.
        unsafe {
            let (size, from) = (x.dtype().size(), address(&x).cast_const());
            sconce_kernels::flip(x.shape(), &turned, size, from, out.ptr());
        }
    }
    Ok(out.tensor())
}
