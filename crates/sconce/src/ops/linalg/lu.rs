//! Elimination with row exchanges: solving, inverting, determinants.

use smallvec::smallvec;

use super::{batch, check_dtype, check_square, common_batch, each_matrix, transposed};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// The factors of a matrix of `m` rows and `n` columns, in its place, and which row was exchanged with each in turn.
pub(super) fn factor(a: &mut [f64], m: usize, n: usize) -> Vec<usize> {
    let mut exchanges = Vec::with_capacity(m.min(n));
    for k in 0..m.min(n) {
        let mut best = k;
        for i in k + 1..m {
            if a[i * n + k].abs() > a[best * n + k].abs() {
                best = i;
            }
        }
        exchanges.push(best);
        if best != k {
            for j in 0..n {
                a.swap(k * n + j, best * n + j);
            }
        }
        let pivot = a[k * n + k];
        if pivot == 0.0 {
            continue;
        }
        for i in k + 1..m {
            let ratio = a[i * n + k] / pivot;
            a[i * n + k] = ratio;
            for j in k + 1..n {
                a[i * n + j] -= ratio * a[k * n + j];
            }
        }
    }
    exchanges
}

/// Solves for `columns` right-hand sides, which are replaced; an error if the matrix is singular.
fn solve_columns(op: &str, a: &[f64], n: usize, b: &mut [f64], columns: usize) -> Result<()> {
    let mut lu = a.to_vec();
    let exchanges = factor(&mut lu, n, n);
    if let Some(k) = (0..n).find(|&k| lu[k * n + k] == 0.0) {
        return Err(Error::argument(format!("{op}: the matrix is singular: the pivot of row {k} is 0")));
    }
    for (k, &other) in exchanges.iter().enumerate() {
        if k != other {
            for c in 0..columns {
                b.swap(k * columns + c, other * columns + c);
            }
        }
    }
    for i in 0..n {
        for k in 0..i {
            let ratio = lu[i * n + k];
            for c in 0..columns {
                b[i * columns + c] -= ratio * b[k * columns + c];
            }
        }
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            let ratio = lu[i * n + k];
            for c in 0..columns {
                b[i * columns + c] -= ratio * b[k * columns + c];
            }
        }
        for c in 0..columns {
            b[i * columns + c] /= lu[i * n + i];
        }
    }
    Ok(())
}

/// The determinant's sign and the logarithm of its magnitude.
fn determinant(a: &[f64], n: usize) -> (f64, f64) {
    let mut lu = a.to_vec();
    let exchanges = factor(&mut lu, n, n);
    let mut sign = if exchanges.iter().enumerate().filter(|(k, other)| k != *other).count() % 2 == 0 {
        1.0
    } else {
        -1.0
    };
    let mut log = 0.0;
    for k in 0..n {
        let pivot = lu[k * n + k];
        sign *= if pivot == 0.0 { 0.0 } else { pivot.signum() };
        log += pivot.abs().ln();
    }
    (sign, log)
}

/// X with A X = B.
#[derive(Debug)]
struct Solve {
    name: &'static str,
}

impl Op for Solve {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let [.., n, columns] = *x[1].shape() else {
            return Err(Error::shape(format!("{}: no matrix", self.name)));
        };
        each_matrix(self.name, &[x[1], x[0]], batch(x[1]), &[n, columns], |parts, out| {
            out.copy_from_slice(parts[0]);
            solve_columns(self.name, parts[1], n, out, columns)
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(0).and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let b = apply(Solve { name: self.name }, &[&transposed(&saved.input(0)?)?, grad])?;
        let a = if saved.needs(0) { Some(b.matmul(&transposed(&saved.output()?)?)?.neg()?) } else { None };
        Ok(smallvec![a, Some(b)])
    }
}

/// The determinant.
#[derive(Debug)]
struct Det;

impl Op for Det {
    fn name(&self) -> &'static str {
        "linalg.det"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let n = x[0].shape()[x[0].dim() - 1];
        each_matrix("linalg.det", x, batch(x[0]), &[], |parts, out| {
            let mut lu = parts[0].to_vec();
            let exchanges = factor(&mut lu, n, n);
            let odd = exchanges.iter().enumerate().filter(|(k, other)| k != *other).count() % 2 == 1;
            out[0] = (0..n).map(|k| lu[k * n + k]).product::<f64>() * if odd { -1.0 } else { 1.0 };
            Ok(())
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (a, det) = (saved.input(0)?, saved.output()?);
        let scale = |t: &Tensor| t.unsqueeze(-1)?.unsqueeze(-1);
        if det.detach().eq(0)?.any(())?.item()? == 0.0 {
            let inverse = a.inverse()?;
            return Ok(smallvec![Some(scale(&grad.mul(&det)?)?.mul(&transposed(&inverse)?)?)]);
        }
        Ok(smallvec![Some(scale(grad)?.mul(&cofactors(&a)?)?)])
    }
}

/// The cofactors of matrices, which are the derivatives of their determinants; also of singular ones.
fn cofactors(a: &Tensor) -> Result<Tensor> {
    let n = a.size(-1)?;
    let kept = |without: usize| -> Result<Tensor> {
        Tensor::from_vec((0..n as i64).filter(|&i| i != without as i64).collect::<Vec<_>>(), [n - 1])
    };
    let mut rows = Vec::with_capacity(n);
    for i in 0..n {
        let without_row = a.index_select(-2, &kept(i)?)?;
        let row = (0..n)
            .map(|j| {
                let minor = without_row.index_select(-1, &kept(j)?)?.det()?;
                if (i + j) % 2 == 0 { Ok(minor) } else { minor.neg() }
            })
            .collect::<Result<Vec<_>>>()?;
        rows.push(Tensor::stack(&row, -1)?);
    }
    Tensor::stack(&rows, -2)
}

/// The logarithm of a determinant's magnitude.
#[derive(Debug)]
struct LogAbsDet;

impl Op for LogAbsDet {
    fn name(&self) -> &'static str {
        "linalg.slogdet"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let n = x[0].shape()[x[0].dim() - 1];
        each_matrix("linalg.slogdet", x, batch(x[0]), &[], |parts, out| {
            out[0] = determinant(parts[0], n).1;
            Ok(())
        })
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let inverse = saved.input(0)?.inverse()?;
        Ok(smallvec![Some(grad.unsqueeze(-1)?.unsqueeze(-1)?.mul(&transposed(&inverse)?)?)])
    }
}

impl Tensor {
    /// The solution X of `self · X = B` for square matrices; PyTorch's `linalg.solve`.
    ///
    /// B is a batch of matrices, or of vectors if it has one dimension or just this tensor's batch and a last dimension.
    ///
    /// # Errors
    ///
    /// If the matrices are not square or singular, the shapes do not fit, or the dtypes are not one of float32 and float64.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let a = Tensor::from_vec(vec![2.0f64, 0.0, 0.0, 4.0], [2, 2])?;
    /// let b = Tensor::from_vec(vec![2.0f64, 8.0], [2])?;
    /// assert_eq!(a.solve(&b)?.to_vec::<f64>()?, [1.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn solve(&self, b: &Tensor) -> Result<Tensor> {
        const OP: &str = "linalg.solve";
        let n = check_square(OP, self)?;
        check_dtype(OP, b)?;
        if self.dtype() != b.dtype() {
            return Err(Error::dtype(format!("{OP}: dtypes differ: {} and {}", self.dtype(), b.dtype())));
        }
        let vectors =
            b.dim() == 1 || b.dim() + 1 == self.dim() && b.shape() == &self.shape()[..self.dim() - 1];
        let right = if vectors { b.unsqueeze(-1)? } else { b.clone() };
        if right.dim() < 2 || right.size(-2)? != n {
            return Err(Error::shape(format!(
                "{OP}: matrices {:?} and right-hand sides {:?} do not fit",
                self.shape(),
                b.shape()
            )));
        }
        let (a, right) = common_batch(OP, self, &right)?;
        let x = apply(Solve { name: OP }, &[&a, &right])?;
        if vectors { x.squeeze(-1) } else { Ok(x) }
    }

    /// The inverses of square matrices; PyTorch's `linalg.inv`.
    ///
    /// # Errors
    ///
    /// If they are not square, one is singular, or the dtype is neither float32 nor float64.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![2.0f64, 0.0, 0.0, 4.0], [2, 2])?;
    /// assert_eq!(a.inverse()?.to_vec::<f64>()?, [0.5, 0.0, 0.0, 0.25]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn inverse(&self) -> Result<Tensor> {
        const OP: &str = "linalg.inv";
        let n = check_square(OP, self)?;
        let mut shape = Dims::from_slice(batch(self));
        shape.extend_from_slice(&[n, n]);
        let identity = Tensor::eye(n, self.dtype())?.expand(shape.as_slice())?;
        apply(Solve { name: OP }, &[self, &identity])
    }

    /// The determinants of square matrices; PyTorch's `linalg.det`.
    ///
    /// # Errors
    ///
    /// If they are not square, or the dtype is neither float32 nor float64.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert!((a.det()?.item()? + 2.0).abs() < 1e-15);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn det(&self) -> Result<Tensor> {
        check_square("linalg.det", self)?;
        apply(Det, &[self])
    }

    /// The signs of determinants and the logarithms of their magnitudes; PyTorch's `linalg.slogdet`.
    ///
    /// # Errors
    ///
    /// As [`det`](Self::det).
    pub fn slogdet(&self) -> Result<(Tensor, Tensor)> {
        const OP: &str = "linalg.slogdet";
        let n = check_square(OP, self)?;
        let sign = each_matrix(OP, &[self], batch(self), &[], |parts, out| {
            out[0] = determinant(parts[0], n).0;
            Ok(())
        })?;
        Ok((sign, apply(LogAbsDet, &[self])?))
    }

    /// The logarithms of determinants: NaN of negative ones.
    ///
    /// # Errors
    ///
    /// As [`det`](Self::det).
    pub fn logdet(&self) -> Result<Tensor> {
        let (sign, log) = self.slogdet().map_err(|e| e.context("logdet"))?;
        log.masked_fill(&sign.lt(0)?, f64::NAN)
    }
}

const D: (f64, f64) = (-1.0, 1.0);

/// Matrices far from singular.
fn regular(x: &Tensor) -> Result<Tensor> {
    x.add(&Tensor::eye(x.size(-1)?, x.dtype())?.mul(3.0)?)
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 3], D)], move |x| {
        // Half types are not for solving.
        let wide = wide(x[0].dtype());
        call(&regular(&x[0].to(wide)?)?)?.to(x[0].dtype())
    })
}

/// For the generic tests.
pub(in crate::ops) static SOLVERS: &[OpInfo] = &[
    OpInfo { name: "linalg.solve", samples: || vec![sample(|x| x.solve(&x.narrow(-1, 0, 2)?.exp()?))] },
    OpInfo { name: "linalg.inv", samples: || vec![sample(Tensor::inverse)] },
    OpInfo { name: "linalg.det", samples: || vec![sample(Tensor::det)] },
    OpInfo { name: "linalg.slogdet", samples: || vec![sample(|x| Ok(x.slogdet()?.1))] },
    OpInfo { name: "logdet", samples: || vec![sample(Tensor::logdet)] },
];
