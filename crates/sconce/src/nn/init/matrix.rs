//! Initial values that make a matrix orthogonal or sparse.

use super::{normal_, put, values};
use crate::tensor::Tensor;
use crate::{Error, Result, no_grad};

/// Fills with an orthogonal matrix times `gain` (Saxe et al. 2013): the rows are orthonormal, or the columns where there
/// are fewer of them. All dimensions after the first are one.
///
/// The matrix is computed in double precision, so that it differs from PyTorch's in the last bits.
///
/// # Errors
///
/// If there are fewer than two dimensions, or as [`Tensor::normal_`].
///
/// ```
/// use sconce::nn::init::orthogonal_;
/// use sconce::{DType, Tensor};
///
/// let weight = Tensor::zeros([2, 5], DType::F64)?;
/// orthogonal_(&weight, 2.0)?;
/// let gram = weight.matmul(&weight.t()?)?.to_vec::<f64>()?;
/// let expected = [4.0, 0.0, 0.0, 4.0];
/// assert!(gram.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{gram:?}");
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn orthogonal_(tensor: &Tensor, gain: f64) -> Result<()> {
    let &[rows, ref rest @ ..] = tensor.shape() else {
        return Err(too_few(tensor));
    };
    if rest.is_empty() {
        return Err(too_few(tensor));
    }
    if tensor.numel() == 0 {
        return Ok(());
    }
    let columns = tensor.numel() / rows;
    no_grad(|| {
        let drawn = Tensor::empty([rows, columns], tensor.dtype())?;
        drawn.normal_(0.0, 1.0)?;
        // The vectors to make orthonormal are the columns of a tall matrix, the rows of a wide one.
        let tall = rows >= columns;
        let (count, length) = if tall { (columns, rows) } else { (rows, columns) };
        let mut vectors = values(&if tall { drawn.t()?.contiguous()? } else { drawn })?;
        orthonormalise(&mut vectors, length);
        vectors.iter_mut().for_each(|x| *x *= gain);
        let vectors = Tensor::from_vec(vectors, [count, length])?;
        let matrix = if tall { vectors.t()? } else { vectors };
        put(tensor, values(&matrix.contiguous()?)?)
    })
}

fn too_few(tensor: &Tensor) -> Error {
    Error::shape(format!("orthogonal_: needs at least 2 dimensions, found {:?}", tensor.shape()))
}

/// The orthonormal matrix whose columns span what those of a tall matrix do.
pub(in crate::nn) fn orthonormal_columns(matrix: &Tensor) -> Result<Tensor> {
    let mut vectors = values(&matrix.t()?.contiguous()?)?;
    orthonormalise(&mut vectors, matrix.shape()[0]);
    Tensor::from_vec(vectors, [matrix.shape()[1], matrix.shape()[0]])?.t()?.contiguous()?.to(matrix.dtype())
}

/// Makes vectors of a length orthonormal, each in the span of those up to it and on the same side: the Q of a QR
/// decomposition whose R has a positive diagonal. A second pass removes what rounding leaves of the first.
fn orthonormalise(vectors: &mut [f64], length: usize) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..vectors.len() / length {
        let (done, rest) = vectors.split_at_mut(i * length);
        let vector = &mut rest[..length];
        for _ in 0..2 {
            for other in done.chunks_exact(length) {
                let part = dot(other, vector);
                vector.iter_mut().zip(other).for_each(|(x, o)| *x -= part * o);
            }
        }
        let norm = dot(vector, vector).sqrt();
        if norm > 0.0 {
            vector.iter_mut().for_each(|x| *x /= norm);
        }
    }
}

/// Fills with N(0, std²), then sets a share of each column to 0, at least `sparsity` of it (Martens 2010).
///
/// # Errors
///
/// If there are not two dimensions, `sparsity` does not lie in [0, 1], or as [`Tensor::normal_`].
///
/// ```
/// use sconce::nn::init::sparse_;
/// use sconce::{DType, Tensor};
///
/// let weight = Tensor::zeros([10, 3], DType::F32)?;
/// sparse_(&weight, 0.25, 0.01)?;
/// assert_eq!(weight.eq(0)?.to(DType::I64)?.sum(0)?.to_vec::<i64>()?, [3, 3, 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn sparse_(tensor: &Tensor, sparsity: f64, std: f64) -> Result<()> {
    let &[rows, columns] = tensor.shape() else {
        return Err(Error::shape(format!("sparse_: expected 2 dimensions, found {:?}", tensor.shape())));
    };
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(Error::argument(format!("sparse_: the sparsity must lie in [0, 1], found {sparsity}")));
    }
    let zeros = (sparsity * rows as f64).ceil() as usize;
    normal_(tensor, 0.0, std)?;
    no_grad(|| {
        let mut kept = vec![1.0; rows * columns];
        for column in 0..columns {
            let order = Tensor::randperm(rows)?.to_vec::<i64>()?;
            order.iter().take(zeros).for_each(|&row| kept[row as usize * columns + column] = 0.0);
        }
        let kept = Tensor::from_vec(kept, [rows, columns])?.to(tensor.dtype())?;
        tensor.mul_(&kept)
    })
}
