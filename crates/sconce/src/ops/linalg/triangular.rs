//! Triangular systems.

use smallvec::smallvec;

use super::{batch, check_dtype, check_square, common_batch, each_matrix, transposed};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// X with A X = B, where only one triangle of A is read.
#[derive(Clone, Copy, Debug)]
struct SolveTriangular {
    upper: bool,
    /// Whether the diagonal counts as ones.
    unit: bool,
}

impl Op for SolveTriangular {
    fn name(&self) -> &'static str {
        "linalg.solve_triangular"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let [.., n, columns] = *x[1].shape() else {
            return Err(Error::shape("linalg.solve_triangular: no matrix"));
        };
        let op = *self;
        each_matrix(op.name(), &[x[1], x[0]], batch(x[1]), &[n, columns], |parts, out| {
            out.copy_from_slice(parts[0]);
            let a = parts[1];
            for step in 0..n {
                let i = if op.upper { n - 1 - step } else { step };
                let known = if op.upper { i + 1..n } else { 0..i };
                for k in known {
                    let ratio = a[i * n + k];
                    for c in 0..columns {
                        out[i * columns + c] -= ratio * out[k * columns + c];
                    }
                }
                if !op.unit {
                    for c in 0..columns {
                        out[i * columns + c] /= a[i * n + i];
                    }
                }
            }
            Ok(())
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(0).and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let op = Self { upper: !self.upper, unit: self.unit };
        let b = apply(op, &[&transposed(&saved.input(0)?)?, grad])?;
        let a = if saved.needs(0) {
            let full = b.matmul(&transposed(&saved.output()?)?)?.neg()?;
            let off = isize::from(self.unit);
            Some(if self.upper { full.triu(off)? } else { full.tril(-off)? })
        } else {
            None
        };
        Ok(smallvec![a, Some(b)])
    }
}

impl Tensor {
    /// The solution X of `self · X = B` for triangular matrices, of which only the one triangle is read; PyTorch's
    /// `linalg.solve_triangular`. With `unitriangular` the diagonal counts as ones.
    ///
    /// # Errors
    ///
    /// If the matrices are not square, the shapes do not fit, or the dtypes are not one of float32 and float64.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let a = Tensor::from_vec(vec![2.0f64, 7.0, 1.0, 4.0], [2, 2])?;
    /// let b = Tensor::from_vec(vec![2.0f64, 9.0], [2, 1])?;
    /// assert_eq!(a.solve_triangular(&b, false, false)?.to_vec::<f64>()?, [1.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn solve_triangular(&self, b: &Tensor, upper: bool, unitriangular: bool) -> Result<Tensor> {
        const OP: &str = "linalg.solve_triangular";
        let n = check_square(OP, self)?;
        check_dtype(OP, b)?;
        if self.dtype() != b.dtype() || b.dim() < 2 || b.size(-2)? != n {
            return Err(Error::shape(format!(
                "{OP}: matrices {:?} of {} and right-hand sides {:?} of {} do not fit",
                self.shape(),
                self.dtype(),
                b.shape(),
                b.dtype()
            )));
        }
        let (a, b) = common_batch(OP, self, b)?;
        apply(SolveTriangular { upper, unit: unitriangular }, &[&a, &b])
    }

    /// The solution X of `X · self = B` for triangular matrices; `linalg.solve_triangular` with `left=False`.
    ///
    /// # Errors
    ///
    /// As [`solve_triangular`](Self::solve_triangular).
    pub fn solve_triangular_right(&self, b: &Tensor, upper: bool, unitriangular: bool) -> Result<Tensor> {
        if self.dim() < 2 || b.dim() < 2 {
            return self.solve_triangular(b, upper, unitriangular);
        }
        transposed(&transposed(self)?.solve_triangular(&transposed(b)?, !upper, unitriangular)?)
    }
}

const D: (f64, f64) = (0.5, 1.5);

/// For the generic tests.
pub(in crate::ops) static TRIANGULAR: &[OpInfo] = &[OpInfo {
    name: "linalg.solve_triangular",
    samples: || {
        let call = |upper: bool, unit: bool| {
            Sample::new(&[(&[2, 3, 3], D), (&[2, 3, 2], D)], move |x| {
                let wide = wide(x[0].dtype());
                x[0].to(wide)?.solve_triangular(&x[1].to(wide)?, upper, unit)?.to(x[0].dtype())
            })
        };
        vec![call(false, false), call(true, true)]
    },
}];
