//! Linear algebra of batches of matrices, computed in double precision.

mod cholesky;
mod lstsq;
mod lu;
mod lu_factor;
mod norms;
mod power;
mod spectral;
mod triangular;

pub(super) use cholesky::CHOLESKY;
pub(super) use lstsq::LEAST_SQUARES;
pub use lstsq::{LeastSquares, LstsqDriver};
pub(super) use lu::SOLVERS;
pub(super) use lu_factor::FACTORS;
pub use norms::MatrixNorm;
pub(super) use norms::NORMS;
pub(super) use power::POWERS;
pub(super) use spectral::SPECTRA;
pub(super) use triangular::TRIANGULAR;

use super::driver;
use crate::tensor::layout::broadcast;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// Refuses what is no batch of matrices of float32 or float64.
fn check_matrices(op: &str, x: &Tensor) -> Result<()> {
    if x.dim() < 2 {
        return Err(Error::shape(format!(
            "{op}: needs at least two dimensions, found shape {:?}",
            x.shape()
        )));
    }
    check_dtype(op, x)
}

fn check_dtype(op: &str, x: &Tensor) -> Result<()> {
    if matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(());
    }
    Err(Error::dtype(format!("{op}: needs float32 or float64, found {}", x.dtype())))
}

/// Refuses what is no batch of square matrices; their size.
fn check_square(op: &str, x: &Tensor) -> Result<usize> {
    check_matrices(op, x)?;
    match x.shape() {
        [.., m, n] if m == n => Ok(*n),
        shape => Err(Error::shape(format!("{op}: needs square matrices, found shape {shape:?}"))),
    }
}

/// The sizes of the dimensions before the last two.
fn batch(x: &Tensor) -> &[usize] {
    &x.shape()[..x.dim() - 2]
}

/// Two batches of matrices expanded to a common batch.
fn common_batch(op: &str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let shape = broadcast(op, batch(a), batch(b))?;
    let expanded = |t: &Tensor| {
        let mut sizes = shape.clone();
        sizes.extend_from_slice(&t.shape()[t.dim() - 2..]);
        t.expand(sizes.as_slice())
    };
    Ok((expanded(a)?, expanded(b)?))
}

/// Computes a result of `size` for each of a batch from the matrices of the inputs, all with that batch's dimensions first;
/// the result has the first input's dtype.
fn each_matrix(
    op: &str,
    inputs: &[&Tensor],
    lead: &[usize],
    size: &[usize],
    mut f: impl FnMut(&[&[f64]], &mut [f64]) -> Result<()>,
) -> Result<Tensor> {
    let count: usize = lead.iter().product();
    let dense: Vec<Vec<f64>> =
        inputs.iter().map(|t| t.detach().to(DType::F64)?.to_vec::<f64>()).collect::<Result<_>>()?;
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(size);
    let len: usize = size.iter().product();
    let out = driver::build(op, &shape, |out: &mut [f64]| {
        for i in 0..count {
            let parts: Vec<&[f64]> = dense
                .iter()
                .map(|d| {
                    let n = d.len() / count;
                    &d[i * n..(i + 1) * n]
                })
                .collect();
            f(&parts, &mut out[i * len..(i + 1) * len])?;
        }
        Ok(())
    })?;
    out.to(inputs[0].dtype())
}

/// A tensor with the last two dimensions exchanged.
fn transposed(x: &Tensor) -> Result<Tensor> {
    x.transpose(-2, -1)
}

/// Diagonal matrices of vectors.
fn diagonal(x: &Tensor) -> Result<Tensor> {
    x.diag_embed(0, -2, -1)
}
