//! From tensors to matrix products.
#![allow(unsafe_code)]

use sconce_kernels::{Operand, Output};

use super::{Fresh, Kind, address, elem, kind, lock, lock_reads};
use crate::Result;
use crate::tensor::{DType, Dims, Tensor};

fn operand(op: &str, t: &Tensor) -> Result<Operand> {
    let (strides, d) = (t.strides(), t.dim());
    Ok(Operand {
        ptr: address(t),
        elem: elem(op, t.dtype())?,
        batch: if d == 3 { strides[0] } else { 0 },
        row: strides[d - 2],
        col: strides[d - 1],
    })
}

/// `a · bᵀ` of `[m, k]` and `[n, k]`, of one dtype.
pub(crate) fn matmul_transposed(op: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (&[m, k], &[n, inner]) = (a.shape(), b.shape()) else { panic!("checked by the caller") };
    assert!(k == inner && a.dtype() == b.dtype(), "checked by the caller");
    let out = Fresh::new(op, &[m, n], a.dtype())?;
    let dst = Output { ptr: out.ptr(), elem: elem(op, a.dtype())?, batch: 0, row: n, col: 1 };
    let (x, y) = (operand(op, a)?, operand(op, b)?);
    let y = Operand { row: y.col, col: y.row, ..y };
    let _locks = lock_reads(op, &[a, b])?;
    // SAFETY: as in `matmul`.
    unsafe { sconce_kernels::batched(1, m, n, k, x, y, dst) };
    Ok(out.tensor())
}

/// The product of `[m, k]` and `[k, n]`, or those of `[batch, m, k]` and `[batch, k, n]`, of one dtype.
pub(crate) fn matmul(op: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let lead = a.dim() - 2;
    let (m, k, n) = (a.shape()[lead], a.shape()[lead + 1], b.shape()[lead + 1]);
    let fits = a.shape()[..lead] == b.shape()[..b.dim() - 2] && b.shape()[lead] == k;
    assert!(lead <= 1 && fits && a.dtype() == b.dtype(), "checked by the caller");
    let batch = if lead == 1 { a.shape()[0] } else { 1 };
    let mut shape = Dims::from_slice(&a.shape()[..lead]);
    shape.extend_from_slice(&[m, n]);
    let out = Fresh::new(op, &shape, a.dtype())?;
    let dst = Output { ptr: out.ptr(), elem: elem(op, a.dtype())?, batch: m * n, row: n, col: 1 };
    let (x, y) = (operand(op, a)?, operand(op, b)?);
    let _locks = lock_reads(op, &[a, b])?;
    // SAFETY: the operands are locked for reading and have these shapes; the output is new and row-major.
    unsafe { sconce_kernels::batched(batch, m, n, k, x, y, dst) };
    Ok(out.tensor())
}

/// `a · b + bias` of `[m, k]`, `[k, n]` and `[n]`.
pub(crate) fn biased(op: &str, a: &Tensor, b: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    let one_dtype = a.dtype() == b.dtype() && a.dtype() == bias.dtype();
    assert!(b.shape()[0] == k && bias.shape() == [n] && one_dtype, "checked by the caller");
    let out = super::copy(op, &bias.detach().expand([m, n])?, a.dtype())?;
    match kind(op, a.dtype())? {
        Kind::F32 if a.dtype() == DType::F32 => add_product::<f32>(op, &out, a, b)?,
        Kind::F64 => add_product::<f64>(op, &out, a, b)?,
        Kind::F32 => {
            // Halves are rounded once.
            let [a, b, bias] = [a, b, bias].map(|t| t.detach().to(DType::F32));
            return biased(op, &a?, &b?, &bias?)?.to(out.dtype());
        }
        Kind::I64 => return matmul(op, a, b)?.add(&out),
    }
    Ok(out)
}

/// `out += a · b` for matrices of type `T`, `out` new and row-major.
fn add_product<T: sconce_kernels::Real>(op: &str, out: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    let strides = |t: &Tensor| (t.strides()[0] as isize, t.strides()[1] as isize);
    let _locks = lock(op, &[a, b], Some(out))?;
    // SAFETY: the operands are locked for reading, the output, which is no view of them, for writing; all have dtype `T`
    // and these shapes.
    unsafe {
        sconce_kernels::gemm::<T>(
            m,
            n,
            k,
            T::ONE,
            address(a).cast(),
            strides(a),
            address(b).cast(),
            strides(b),
            T::ONE,
            address(out).cast(),
            (n as isize, 1),
        );
    }
    Ok(())
}
