//! Cholesky's factors of symmetric positive definite matrices.

use smallvec::smallvec;

use super::{batch, check_dtype, check_square, common_batch, each_matrix, transposed};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// The lower factor, from the lower triangle.
#[derive(Debug)]
struct Cholesky;

impl Op for Cholesky {
    fn name(&self) -> &'static str {
        "linalg.cholesky"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let n = x[0].shape()[x[0].dim() - 1];
        each_matrix("linalg.cholesky", x, batch(x[0]), &[n, n], |parts, l| {
            let a = parts[0];
            for i in 0..n {
                for j in 0..=i {
                    let sum: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
                    let rest = a[i * n + j] - sum;
                    if i != j {
                        l[i * n + j] = rest / l[j * n + j];
                    } else if rest > 0.0 {
                        l[i * n + i] = rest.sqrt();
                    } else {
                        return Err(Error::argument(format!(
                            "linalg.cholesky: the matrix is not positive definite: its leading minor of size {} is {rest}",
                            i + 1
                        )));
                    }
                }
            }
            Ok(())
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::OUTPUT
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let l = saved.output()?;
        let product = transposed(&l)?.matmul(&grad.tril(0)?)?;
        let halved = product.tril(0)?.sub(&product.tril(0)?.triu(0)?.mul(0.5)?)?;
        // L⁻ᵀ Φ L⁻¹, made symmetric.
        let left = transposed(&l)?.solve_triangular(&halved, true, false)?;
        let full = l.solve_triangular_right(&left, false, false)?;
        Ok(smallvec![Some(full.add(&transposed(&full)?)?.mul(0.5)?)])
    }
}

impl Tensor {
    /// The lower triangular L with L·Lᵀ = `self`, or with `upper` its transpose; PyTorch's `linalg.cholesky`.
    ///
    /// # Errors
    ///
    /// If the matrices are not square, one is not positive definite, or the dtype is neither float32 nor float64.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![4.0f64, 2.0, 2.0, 10.0], [2, 2])?;
    /// assert_eq!(a.cholesky(false)?.to_vec::<f64>()?, [2.0, 0.0, 1.0, 3.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn cholesky(&self, upper: bool) -> Result<Tensor> {
        check_square("linalg.cholesky", self)?;
        if upper {
            return transposed(&apply(Cholesky, &[&transposed(self)?])?);
        }
        apply(Cholesky, &[self])
    }

    /// The solution X of `A · X = self`, given A's [`cholesky`](Self::cholesky) factor.
    ///
    /// # Errors
    ///
    /// As [`solve_triangular`](Self::solve_triangular).
    pub fn cholesky_solve(&self, factor: &Tensor, upper: bool) -> Result<Tensor> {
        const OP: &str = "cholesky_solve";
        let n = check_square(OP, factor)?;
        check_dtype(OP, self)?;
        if self.dtype() != factor.dtype() || self.dim() < 2 || self.size(-2)? != n {
            return Err(Error::shape(format!(
                "{OP}: a factor {:?} of {} and right-hand sides {:?} of {} do not fit",
                factor.shape(),
                factor.dtype(),
                self.shape(),
                self.dtype()
            )));
        }
        let (factor, right) = common_batch(OP, factor, self)?;
        apply(CholeskySolve { upper }, &[&right, &factor])
    }
}

/// X with A X = B, from B and a factor of A.
#[derive(Clone, Copy, Debug)]
struct CholeskySolve {
    upper: bool,
}

impl Op for CholeskySolve {
    fn name(&self) -> &'static str {
        "cholesky_solve"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (lower, above) =
            if self.upper { (transposed(x[1])?, x[1].clone()) } else { (x[1].clone(), transposed(x[1])?) };
        let half = lower.solve_triangular(x[0], false, false)?;
        above.solve_triangular(&half, true, false)?.copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1).and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let factor = saved.input(1)?;
        let b = apply(*self, &[grad, &factor])?;
        let factor = if saved.needs(1) {
            // As in PyTorch the other triangle has a gradient too.
            let product = b.matmul(&transposed(&saved.output()?)?)?;
            let both = product.add(&transposed(&product)?)?;
            Some(if self.upper { factor.matmul(&both)? } else { both.matmul(&factor)? }.neg()?)
        } else {
            None
        };
        Ok(smallvec![Some(b), factor])
    }
}

const D: (f64, f64) = (-1.0, 1.0);

/// For the generic tests.
pub(in crate::ops) static CHOLESKY: &[OpInfo] = &[
    OpInfo {
        name: "linalg.cholesky",
        samples: || {
            let call = |upper: bool| {
                Sample::new(&[(&[2, 3, 3], D)], move |x| {
                    let wide = wide(x[0].dtype());
                    let a = x[0].to(wide)?;
                    let definite = a.matmul(&a.transpose(-2, -1)?)?.add(&Tensor::eye(a.size(-1)?, wide)?)?;
                    definite.cholesky(upper)?.to(x[0].dtype())
                })
            };
            vec![call(false), call(true)]
        },
    },
    OpInfo {
        name: "cholesky_solve",
        samples: || {
            vec![Sample::new(&[(&[3, 2], D), (&[3, 3], (0.5, 1.5))], |x| {
                let wide = wide(x[0].dtype());
                x[0].to(wide)?.cholesky_solve(&x[1].to(wide)?.tril(0)?, false)?.to(x[0].dtype())
            })]
        },
    },
];
