//! From tensors to reductions.
#![allow(unsafe_code)]

use sconce_kernels::Reduction;

use super::{Fresh, lock_reads, src};
use crate::Result;
use crate::ops::axes::Axes;
use crate::tensor::layout::contiguous_strides;
use crate::tensor::{DType, Tensor};

/// Reduces the dimensions of `axes`. Sums, products and means are computed in the compute type of `dtype`.
pub(crate) fn reduce(op: &str, kind: Reduction, x: &Tensor, axes: &Axes, dtype: DType) -> Result<Tensor> {
    let out = Fresh::new(op, &axes.result(x.shape()), dtype)?;
    let run = |outer: &[usize], inner: &[usize], out_strides: &[usize], strides: &[usize]| -> Result<()> {
        let from = src(op, x, strides)?;
        let dst = sconce_kernels::Dst { strides: out_strides, ..out.dst(op)? };
        let _locks = lock_reads(op, &[x])?;
        // SAFETY: the input is locked for reading; the output is new, and dimensions of size 1 aside has the shape `outer`.
        unsafe { sconce_kernels::reduce(kind, outer, inner, dst, from) };
        Ok(())
    };
    match axes.range() {
        // Neighbours that go are one dimension of a row-major tensor, between those before and those after them.
        Some(range) if x.is_contiguous() => {
            let size = |part: &[usize]| part.iter().product();
            let before = size(&x.shape()[..range.start]);
            let (n, after) = (size(&x.shape()[range.clone()]), size(&x.shape()[range.end..]));
            run(&[before, after], &[n], &[after, 1], &[n * after, 1, after])?;
        }
        _ => {
            // The strides of what stays, then of what goes.
            let mut strides = axes.outer(x.strides());
            strides.extend_from_slice(&axes.inner(x.strides()));
            let outer = axes.outer(x.shape());
            run(&outer, &axes.inner(x.shape()), &contiguous_strides(&outer), &strides)?;
        }
    }
    Ok(out.tensor())
}
