//! From tensors to reductions.
#![allow(unsafe_code)]

use sconce_kernels::Reduction;

use super::{Fresh, lock, src};
use crate::Result;
use crate::ops::axes::Axes;
use crate::tensor::layout::contiguous_strides;
use crate::tensor::{DType, Dims, Tensor};

/// How a tensor's dimensions are seen by a reduction: those that stay, those that go, and the strides of both in turn.
fn split(x: &Tensor, axes: &Axes) -> (Dims, Dims, Dims) {
    let mut strides = axes.outer(x.strides());
    strides.extend_from_slice(&axes.inner(x.strides()));
    (axes.outer(x.shape()), axes.inner(x.shape()), strides)
}

/// Reduces the dimensions of `axes`. Sums, products and means are computed in the compute type of `dtype`.
pub(crate) fn reduce(op: &str, kind: Reduction, x: &Tensor, axes: &Axes, dtype: DType) -> Result<Tensor> {
    let out = Fresh::new(op, &axes.result(x.shape()), dtype)?;
    let (outer, inner, strides) = split(x, axes);
    let out_strides = contiguous_strides(&outer);
    let from = src(op, x, &strides)?;
    let dst = sconce_kernels::Dst { strides: &out_strides, ..out.dst(op)? };
    let _locks = lock(op, &[x], None)?;
    // SAFETY: the input is locked for reading; the output is new, and dimensions of size 1 aside has the shape `outer`.
    unsafe { sconce_kernels::reduce(kind, &outer, &inner, dst, from) };
    Ok(out.tensor())
}
