//! Norms of matrices, and how far they are from singular.

use super::{check_dtype, check_matrices, check_square};
use crate::keepdim;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::wrap_dim;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// The norm of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum MatrixNorm {
    /// The root of the sum of squares; PyTorch's `"fro"`.
    #[default]
    Frobenius,
    /// The sum of the singular values; PyTorch's `"nuc"`.
    Nuclear,
    /// Of order 1 or −1 the greatest or least sum of a column's magnitudes, of ∞ or −∞ that of a row's, of 2 or −2 the
    /// greatest or least singular value.
    Order(f64),
}

impl Tensor {
    /// The norms of matrices in two dimensions; PyTorch's `linalg.matrix_norm`.
    ///
    /// # Errors
    ///
    /// If there are no such two dimensions, the order is none of ±1, ±2 and ±∞, or the dtype is not floating point.
    ///
    /// ```
    /// use sconce::{MatrixNorm, Tensor};
    /// let a = Tensor::from_vec(vec![3.0f64, 0.0, 4.0, 0.0], [2, 2])?;
    /// assert_eq!(a.matrix_norm(MatrixNorm::Frobenius, [-2, -1], false)?.item()?, 5.0);
    /// assert_eq!(a.matrix_norm(MatrixNorm::Order(1.0), [-2, -1], false)?.item()?, 7.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn matrix_norm(&self, order: MatrixNorm, dims: [isize; 2], keep: bool) -> Result<Tensor> {
        const OP: &str = "linalg.matrix_norm";
        if self.dim() < 2 {
            return Err(Error::shape(format!(
                "{OP}: needs at least two dimensions, found shape {:?}",
                self.shape()
            )));
        }
        let (rows, columns) = (wrap_dim(OP, dims[0], self.dim())?, wrap_dim(OP, dims[1], self.dim())?);
        if rows == columns {
            return Err(Error::index(format!("{OP}: dimensions {} and {} are one", dims[0], dims[1])));
        }
        let sums = |over: usize, along: usize, greatest: bool| -> Result<Tensor> {
            let sums = self.abs()?.sum(keepdim(over))?;
            let norm = if greatest { sums.amax(keepdim(along))? } else { sums.amin(keepdim(along))? };
            if keep { Ok(norm) } else { norm.squeeze([over, along]) }
        };
        let values = || self.movedim([rows, columns], [-2isize, -1])?.svdvals();
        let of_values = match order {
            MatrixNorm::Frobenius => {
                return if keep {
                    self.norm(2.0, keepdim([rows, columns]))
                } else {
                    self.norm(2.0, [rows, columns])
                };
            }
            MatrixNorm::Order(p) if p.abs() == 1.0 => return sums(rows, columns, p > 0.0),
            MatrixNorm::Order(p) if p.is_infinite() => return sums(columns, rows, p > 0.0),
            MatrixNorm::Nuclear => values()?.sum(-1)?,
            MatrixNorm::Order(2.0) => values()?.amax(-1)?,
            MatrixNorm::Order(-2.0) => values()?.amin(-1)?,
            MatrixNorm::Order(p) => return Err(Error::argument(format!("{OP}: no norm of order {p}"))),
        };
        if !keep {
            return Ok(of_values);
        }
        let mut shape = Dims::from_slice(self.shape());
        (shape[rows], shape[columns]) = (1, 1);
        of_values.reshape(shape.as_slice())
    }

    /// The norm of a matrix times that of its inverse: how much solving with it magnifies errors. `None` stands for that of
    /// order 2. PyTorch's `linalg.cond`.
    ///
    /// # Errors
    ///
    /// If the matrices are not square (but for orders ±2), or the dtype is neither float32 nor float64.
    pub fn cond(&self, order: Option<MatrixNorm>) -> Result<Tensor> {
        const OP: &str = "linalg.cond";
        check_matrices(OP, self)?;
        let order = order.unwrap_or(MatrixNorm::Order(2.0));
        if let MatrixNorm::Order(p) = order
            && p.abs() == 2.0
        {
            let values = self.svdvals()?;
            let (greatest, least) = (values.amax(-1)?, values.amin(-1)?);
            return if p > 0.0 { greatest.div(&least) } else { least.div(&greatest) };
        }
        check_square(OP, self)?;
        let norm = |t: &Tensor| t.matrix_norm(order, [-2, -1], false);
        norm(self)?.mul(&norm(&self.inverse()?)?)
    }

    /// The powers 0 to `n` − 1 of each element of vectors, as a last dimension; PyTorch's `linalg.vander`.
    ///
    /// # Errors
    ///
    /// If `n` is 0.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![2i64, 3], [2])?;
    /// assert_eq!(x.vander(3)?.to_vec::<i64>()?, [1, 2, 4, 1, 3, 9]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn vander(&self, n: usize) -> Result<Tensor> {
        if n == 0 {
            return Err(Error::argument("linalg.vander: needs at least one power, found 0"));
        }
        let x = self.atleast_1d()?;
        let mut shape = Dims::from_slice(x.shape());
        shape.push(n - 1);
        let factors = x.unsqueeze(-1)?.expand(shape.as_slice())?;
        let ones = x.detach().unsqueeze(-1)?.ones_like()?;
        let powers = Tensor::cat(&[&ones, &factors], -1)?.cumprod(-1)?;
        Ok(powers)
    }

    /// The inverse of a tensor as a map from its last dimensions to its first `ind`; PyTorch's `linalg.tensorinv`.
    ///
    /// # Errors
    ///
    /// If `ind` is 0 or both sides do not have as many elements, or as [`inverse`](Self::inverse).
    pub fn tensorinv(&self, ind: usize) -> Result<Tensor> {
        const OP: &str = "linalg.tensorinv";
        check_dtype(OP, self)?;
        let split = ind.min(self.dim());
        let (first, last) = self.shape().split_at(split);
        let (m, n): (usize, usize) = (first.iter().product(), last.iter().product());
        if ind == 0 || m != n {
            return Err(Error::shape(format!(
                "{OP}: {ind} dimensions of {:?} must have as many elements as the others",
                self.shape()
            )));
        }
        let shape: Dims = last.iter().chain(first).copied().collect();
        self.reshape([m, n])?.inverse().map_err(|e| e.context(OP))?.reshape(shape.as_slice())
    }
}

const D: (f64, f64) = (0.5, 2.0);

/// For the generic tests.
pub(in crate::ops) static NORMS: &[OpInfo] = &[
    OpInfo {
        name: "linalg.matrix_norm",
        samples: || {
            let orders =
                [MatrixNorm::Frobenius, MatrixNorm::Order(1.0), MatrixNorm::Order(f64::NEG_INFINITY)];
            orders
                .map(|order| Sample::new(&[(&[2, 3, 4], D)], move |x| x[0].matrix_norm(order, [0, 2], true)))
                .into()
        },
    },
    OpInfo { name: "linalg.vander", samples: || vec![Sample::new(&[(&[2, 3], D)], |x| x[0].vander(4))] },
];
