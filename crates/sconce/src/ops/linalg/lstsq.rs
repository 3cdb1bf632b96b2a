//! Least squares.

use std::str::FromStr;

use super::{batch, check_matrices};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// By which of LAPACK's methods PyTorch would solve: what else than the solution is computed. The solution is that of
/// least norm for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LstsqDriver {
    /// Of matrices of full rank: residuals.
    Gels,
    /// The rank; PyTorch's default on CPUs.
    #[default]
    Gelsy,
    /// Residuals, rank and singular values.
    Gelsd,
    /// As [`Gelsd`](Self::Gelsd).
    Gelss,
}

/// By PyTorch's word for it.
impl FromStr for LstsqDriver {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "gels" => Ok(Self::Gels),
            "gelsy" => Ok(Self::Gelsy),
            "gelsd" => Ok(Self::Gelsd),
            "gelss" => Ok(Self::Gelss),
            other => Err(Error::argument(format!(
                "linalg.lstsq: expected driver gels, gelsy, gelsd or gelss, found {other:?}"
            ))),
        }
    }
}

/// What [`Tensor::lstsq`] finds; what the driver does not compute has no elements.
#[derive(Clone, Debug)]
pub struct LeastSquares {
    /// The solutions.
    pub solution: Tensor,
    /// The squared norms of what is left of the right-hand sides; only where there are more rows than columns and the
    /// rank is full.
    pub residuals: Tensor,
    /// The ranks of the matrices; int64.
    pub rank: Tensor,
    /// The singular values of the matrices, in descending order.
    pub singular_values: Tensor,
}

impl Tensor {
    /// The X of least norm that makes the norm of `self · X − B` least. PyTorch's `linalg.lstsq`.
    ///
    /// B is a batch of matrices, or of vectors if it has one dimension or one less than this tensor. Singular values up to
    /// `rcond` times the greatest count as 0, by default the dtype's precision times the greater size. A gradient flows
    /// through the solution and the residuals.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, or the dtypes are not one of float32 and float64.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let a = Tensor::from_vec(vec![1.0f64, 1.0, 1.0], [3, 1])?;
    /// let b = Tensor::from_vec(vec![1.0f64, 2.0, 6.0], [3])?;
    /// let found = a.lstsq(&b, None, "gelsd".parse()?)?;
    /// assert!((found.solution.item()? - 3.0).abs() < 1e-12);
    /// assert!((found.residuals.item()? - 14.0).abs() < 1e-12);
    /// assert_eq!(found.rank.item_i64()?, 1);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn lstsq(&self, b: &Tensor, rcond: Option<f64>, driver: LstsqDriver) -> Result<LeastSquares> {
        const OP: &str = "linalg.lstsq";
        check_matrices(OP, self)?;
        if self.dtype() != b.dtype() {
            return Err(Error::dtype(format!("{OP}: dtypes differ: {} and {}", self.dtype(), b.dtype())));
        }
        let (m, n) = (self.size(-2)?, self.size(-1)?);
        let vectors = b.dim() == 1 || b.dim() + 1 == self.dim() && b.shape() == &self.shape()[..b.dim()];
        let right = if vectors { b.unsqueeze(-1)? } else { b.clone() };
        if right.dim() < 2 || right.size(-2)? != m {
            return Err(Error::shape(format!(
                "{OP}: matrices {:?} and right-hand sides {:?} do not fit",
                self.shape(),
                b.shape()
            )));
        }
        let precision = if self.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let rcond = rcond.filter(|_| driver != LstsqDriver::Gels).unwrap_or(precision * m.max(n) as f64);
        let relative = || (Some(Operand::from(0.0)), Some(Operand::from(rcond)));
        let wide = self.to(DType::F64)?;
        let (atol, rtol) = relative();
        let solution = wide.pinv(atol, rtol)?.matmul(&right.to(DType::F64)?)?;
        let none = |dtype: DType| Tensor::zeros([0], dtype);
        let full_rank = |rank: &Tensor| Ok::<_, Error>(rank.eq(n as i64)?.all(())?.item()? != 0.0);
        let rank = match driver {
            LstsqDriver::Gels => none(DType::I64)?,
            _ if self.numel() == 0 => Tensor::zeros(batch(self), DType::I64)?,
            _ => {
                let (atol, rtol) = relative();
                wide.matrix_rank(atol, rtol, false)?
            }
        };
        let leaves = match driver {
            LstsqDriver::Gels => m > n,
            LstsqDriver::Gelsy => false,
            _ => m > n && full_rank(&rank)?,
        };
        let residuals = if leaves {
            wide.matmul(&solution)?.sub(&right)?.square()?.sum(-2)?.to(self.dtype())?
        } else {
            none(self.dtype())?
        };
        let singular_values = match driver {
            LstsqDriver::Gelsd | LstsqDriver::Gelss => wide.detach().svdvals()?.to(self.dtype())?,
            _ => none(self.dtype())?,
        };
        let solution = if vectors { solution.squeeze(-1)? } else { solution };
        Ok(LeastSquares { solution: solution.to(self.dtype())?, residuals, rank, singular_values })
    }
}

const D: (f64, f64) = (-1.0, 1.0);

/// For the generic tests.
pub(in crate::ops) static LEAST_SQUARES: &[OpInfo] = &[OpInfo {
    name: "linalg.lstsq",
    samples: || {
        let sample = |shape: &'static [usize], of_residuals: bool| {
            Sample::new(&[(shape, D), (&[2, 3, 2], D)], move |x| {
                let wide = wide(x[0].dtype());
                let a = x[0].to(wide)?;
                let a = a.add(&Tensor::eye_of(a.size(-2)?, a.size(-1)?, wide)?.mul(3.0)?)?;
                let found = a.lstsq(&x[1].to(wide)?, None, LstsqDriver::Gelsd)?;
                (if of_residuals { found.residuals } else { found.solution }).to(x[0].dtype())
            })
        };
        vec![sample(&[2, 3, 2], false), sample(&[2, 3, 2], true), sample(&[2, 3, 4], false)]
    },
}];
