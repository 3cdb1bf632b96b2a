//! Powers and exponentials of matrices.

use smallvec::smallvec;

use super::{batch, transposed};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// The exponential.
#[derive(Debug)]
struct MatrixExp;

impl Op for MatrixExp {
    fn name(&self) -> &'static str {
        "matrix_exp"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let a = x[0].detach().to(DType::F64)?;
        if a.numel() == 0 {
            return x[0].copy();
        }
        // Scaled so that the series converges fast, then squared as often.
        let norm = a.abs()?.sum(-2)?.max()?.item()?;
        if !norm.is_finite() {
            return Err(Error::argument("matrix_exp: the matrix has elements that are not finite"));
        }
        let squarings = (norm.log2().ceil().max(-1.0) + 1.0) as i32;
        let scaled = a.mul(0.5f64.powi(squarings))?;
        let identity = Tensor::eye(a.size(-1)?, DType::F64)?;
        let (mut sum, mut term) = (identity.add(&scaled)?, scaled.clone());
        for k in 2..=20 {
            term = term.matmul(&scaled)?.div(k)?;
            sum = sum.add(&term)?;
        }
        for _ in 0..squarings {
            sum = sum.matmul(&sum)?;
        }
        sum.to(x[0].dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        // The exponential of [[Aᵀ, G], [0, Aᵀ]] has the gradient in its upper right corner.
        let a = transposed(&saved.input(0)?)?;
        let n = a.size(-1)?;
        let upper = Tensor::cat(&[&a, grad], -1)?;
        let lower = Tensor::cat(&[&a.detach().zeros_like()?, &a], -1)?;
        let whole = apply(MatrixExp, &[&Tensor::cat(&[upper, lower], -2)?])?;
        Ok(smallvec![Some(whole.narrow(-2, 0, n)?.narrow(-1, n as isize, n)?)])
    }
}

impl Tensor {
    /// The exponentials of square matrices.
    ///
    /// # Errors
    ///
    /// If they are not square or finite, or the dtype is not floating point.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![0.0f64, 1.0, 0.0, 0.0], [2, 2])?;
    /// assert_eq!(a.matrix_exp()?.to_vec::<f64>()?, [1.0, 1.0, 0.0, 1.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn matrix_exp(&self) -> Result<Tensor> {
        match self.shape() {
            [.., m, n] if m == n && self.dtype().is_floating_point() => {}
            shape => {
                return Err(Error::shape(format!(
                    "matrix_exp: needs square matrices of a floating point dtype, found {} of shape {shape:?}",
                    self.dtype()
                )));
            }
        }
        apply(MatrixExp, &[self])
    }

    /// Square matrices to an integer power; that of the inverse for negative ones. PyTorch's `linalg.matrix_power`.
    ///
    /// # Errors
    ///
    /// If they are not square, or for a negative power as [`inverse`](Self::inverse).
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![1i64, 1, 1, 0], [2, 2])?;
    /// assert_eq!(a.matrix_power(5)?.to_vec::<i64>()?, [8, 5, 5, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn matrix_power(&self, n: i64) -> Result<Tensor> {
        const OP: &str = "linalg.matrix_power";
        let [.., rows, columns] = *self.shape() else {
            return Err(Error::shape(format!(
                "{OP}: needs at least two dimensions, found shape {:?}",
                self.shape()
            )));
        };
        if rows != columns {
            return Err(Error::shape(format!("{OP}: needs square matrices, found shape {:?}", self.shape())));
        }
        let mut square = if n < 0 { self.inverse().map_err(|e| e.context(OP))? } else { self.clone() };
        let mut rest = n.unsigned_abs();
        let mut power: Option<Tensor> = None;
        while rest > 0 {
            if rest & 1 == 1 {
                power = Some(match power {
                    Some(p) => p.matmul(&square)?,
                    None => square.clone(),
                });
            }
            rest >>= 1;
            if rest > 0 {
                square = square.matmul(&square)?;
            }
        }
        match power {
            Some(power) if power.is(self) => power.copy(),
            Some(power) => Ok(power),
            None => {
                let mut shape = Dims::from_slice(batch(self));
                shape.extend_from_slice(&[rows, rows]);
                let identity = Tensor::eye(rows, self.dtype())?.expand(shape.as_slice())?;
                self.mul(0)?.masked_fill(&Tensor::full((), true, DType::Bool)?, 0)?.add(&identity)
            }
        }
    }
}

const D: (f64, f64) = (-1.0, 1.0);

/// For the generic tests.
pub(in crate::ops) static POWERS: &[OpInfo] = &[
    OpInfo {
        name: "matrix_exp",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 3], D)], |x| {
                let wide = wide(x[0].dtype());
                x[0].to(wide)?.matrix_exp()?.to(x[0].dtype())
            })]
        },
    },
    OpInfo {
        name: "linalg.matrix_power",
        samples: || vec![Sample::new(&[(&[2, 3, 3], D)], |x| x[0].matrix_power(3))],
    },
];
