//! From tensors to the kernels that work along lines, and to those that move elements.
#![allow(unsafe_code)]

use sconce_kernels::Lines;

use super::{Fresh, address, elem, lock_reads};
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

/// The slices of a tensor of any dtype at checked indices.
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
    assert!(valid, "checked by the caller");
    Ok(out.tensor())
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

/// The elements of a tensor of any dtype at checked indices, one for each; of indices without the dimension there is one
/// for each line.
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
    assert!(valid, "checked by the caller");
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
