//! Eigenvalues of symmetric matrices and singular values, by Jacobi's rotations.

use std::sync::{Arc, OnceLock};

use smallvec::smallvec;

use super::{batch, check_matrices, check_square, diagonal, each_matrix, transposed};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::scalar::Operand;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Rotations are repeated until nothing is left to turn; this many sweeps are never needed.
const SWEEPS: usize = 60;

/// The eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns.
fn eigen(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = a.to_vec();
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    for _ in 0..SWEEPS {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let (app, aqq, apq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
                if apq.abs() <= f64::EPSILON * 1e-3 * (app.abs() * aqq.abs()).sqrt()
                    || apq.abs() < f64::MIN_POSITIVE
                {
                    continue;
                }
                turned = true;
                let theta = (aqq - app) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                    let (x, y) = (v[k * n + p], v[k * n + q]);
                    v[k * n + p] = c * x - s * y;
                    v[k * n + q] = s * x + c * y;
                }
            }
        }
        if !turned {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let vectors =
        (0..n).flat_map(|row| order.iter().map(move |&i| (row, i))).map(|(row, i)| v[row * n + i]).collect();
    (values, vectors)
}

/// The singular values of a matrix of `m` ≥ `n` rows in descending order, its left singular vectors `[m, n]` and its right
/// ones `[n, n]`, as columns.
fn singular(a: &[f64], m: usize, n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut u = a.to_vec();
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    for _ in 0..SWEEPS {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let (mut alpha, mut beta, mut gamma) = (0.0, 0.0, 0.0);
                for k in 0..m {
                    let (x, y) = (u[k * n + p], u[k * n + q]);
                    alpha += x * x;
                    beta += y * y;
                    gamma += x * y;
                }
                if gamma.abs() <= f64::EPSILON * (alpha * beta).sqrt() || gamma.abs() < f64::MIN_POSITIVE {
                    continue;
                }
                turned = true;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let t = if zeta == 0.0 { 1.0 } else { zeta.signum() / (zeta.abs() + zeta.hypot(1.0)) };
                let c = 1.0 / t.hypot(1.0);
                let s = c * t;
                let turn = |w: &mut [f64], k: usize| {
                    let (x, y) = (w[k * n + p], w[k * n + q]);
                    w[k * n + p] = c * x - s * y;
                    w[k * n + q] = s * x + c * y;
                };
                (0..m).for_each(|k| turn(&mut u, k));
                (0..n).for_each(|k| turn(&mut v, k));
            }
        }
        if !turned {
            break;
        }
    }
    let norms: Vec<f64> =
        (0..n).map(|j| (0..m).map(|k| u[k * n + j] * u[k * n + j]).sum::<f64>().sqrt()).collect();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| norms[j].total_cmp(&norms[i]));
    let columns = |w: &[f64], rows: usize, scaled: bool| -> Vec<f64> {
        let mut out = Vec::with_capacity(rows * n);
        for row in 0..rows {
            out.extend(order.iter().map(|&j| {
                let scale = if scaled && norms[j] > 0.0 { norms[j] } else { 1.0 };
                w[row * n + j] / scale
            }));
        }
        out
    };
    let mut left = columns(&u, m, true);
    complete(&mut left, m, n, order.iter().filter(|&&j| norms[j] > 0.0).count());
    (order.iter().map(|&j| norms[j]).collect(), left, columns(&v, n, false))
}

/// Makes the columns from `known` on, which belong to singular values of 0, orthonormal to those before them: of the axes
/// the first that is not near what they span.
fn complete(u: &mut [f64], m: usize, n: usize, known: usize) {
    for j in known..n {
        for axis in 0..m {
            let mut column = vec![0.0; m];
            column[axis] = 1.0;
            for _ in 0..2 {
                for other in 0..j {
                    let part: f64 = (0..m).map(|k| u[k * n + other] * column[k]).sum();
                    (0..m).for_each(|k| column[k] -= part * u[k * n + other]);
                }
            }
            let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
            // The axes' parts outside the span have squares that sum to m − j: one of them is as long as their mean.
            if norm * norm * (m as f64) >= 0.5 * (m - j) as f64 {
                (0..m).for_each(|k| u[k * n + j] = column[k] / norm);
                break;
            }
        }
    }
}

/// A spectrum, and what its gradient is multiplied with on both sides.
#[derive(Debug)]
struct Spectrum {
    name: &'static str,
    symmetric: bool,
    vectors: Arc<OnceLock<(Tensor, Tensor)>>,
}

impl Op for Spectrum {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let [.., m, n] = *x[0].shape() else { return Err(Error::shape(format!("{}: no matrix", self.name))) };
        let k = m.min(n);
        // Values and both sides' vectors, each in one row per matrix.
        let all = each_matrix(self.name, x, batch(x[0]), &[k + m * k + n * k], |parts, out| {
            let finite = parts[0].iter().all(|x| x.is_finite());
            if !finite {
                return Err(Error::argument(format!(
                    "{}: the matrix has elements that are not finite",
                    self.name
                )));
            }
            let (values, left, right) = if self.symmetric {
                // Only the lower triangle is read.
                let full: Vec<f64> = (0..n * n)
                    .map(|at| {
                        let (i, j) = (at / n, at % n);
                        parts[0][i.max(j) * n + i.min(j)]
                    })
                    .collect();
                let (values, vectors) = eigen(&full, n);
                (values, vectors.clone(), vectors)
            } else if m >= n {
                singular(parts[0], m, n)
            } else {
                let turned: Vec<f64> = (0..n * m).map(|at| parts[0][at % m * n + at / m]).collect();
                let (values, right, left) = singular(&turned, n, m);
                (values, left, right)
            };
            out[..k].copy_from_slice(&values);
            out[k..k + m * k].copy_from_slice(&left);
            out[k + m * k..].copy_from_slice(&right);
            Ok(())
        })?;
        let part = |start: usize, rows: usize| -> Result<Tensor> {
            let mut shape = batch(x[0]).to_vec();
            shape.extend([rows, k]);
            all.narrow(-1, start as isize, rows * k)?.reshape(shape)
        };
        let _ = self.vectors.set((part(k, m)?, part(k + m * k, n)?));
        all.narrow(-1, 0, k)?.copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        if is_grad_enabled() {
            return Err(Error::unsupported(format!("{}: no second derivative", self.name)));
        }
        let (left, right) = self
            .vectors
            .get()
            .ok_or_else(|| Error::autograd(format!("{}: backward before forward", self.name)))?;
        Ok(smallvec![Some(left.matmul(&diagonal(grad)?)?.matmul(&transposed(right)?)?)])
    }
}

impl Tensor {
    /// The eigenvalues of symmetric matrices in ascending order, of which only the lower triangle is read; PyTorch's
    /// `linalg.eigvalsh`. There is no second derivative.
    ///
    /// # Errors
    ///
    /// If the matrices are not square or finite, or the dtype is neither float32 nor float64.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![2.0f64, 0.0, 0.0, 1.0], [2, 2])?;
    /// assert_eq!(a.eigvalsh()?.to_vec::<f64>()?, [1.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn eigvalsh(&self) -> Result<Tensor> {
        const OP: &str = "linalg.eigvalsh";
        check_square(OP, self)?;
        apply(Spectrum { name: OP, symmetric: true, vectors: Arc::default() }, &[self])
    }

    /// The singular values of matrices in descending order; PyTorch's `linalg.svdvals`. There is no second derivative.
    ///
    /// # Errors
    ///
    /// If it is no batch of finite matrices, or the dtype is neither float32 nor float64.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![0.0f64, 2.0, 1.0, 0.0], [2, 2])?;
    /// assert_eq!(a.svdvals()?.to_vec::<f64>()?, [2.0, 1.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn svdvals(&self) -> Result<Tensor> {
        const OP: &str = "linalg.svdvals";
        check_matrices(OP, self)?;
        apply(Spectrum { name: OP, symmetric: false, vectors: Arc::default() }, &[self])
    }

    /// Singular values with both sides' vectors, without history.
    fn decomposed(&self, op: &'static str) -> Result<(Tensor, Tensor, Tensor)> {
        let vectors: Arc<OnceLock<(Tensor, Tensor)>> = Arc::default();
        let spectrum = Spectrum { name: op, symmetric: false, vectors: vectors.clone() };
        let values = crate::no_grad(|| apply(spectrum, &[&self.detach()]))?;
        let (left, right) =
            vectors.get().cloned().ok_or_else(|| Error::autograd(format!("{op}: did not run")))?;
        Ok((left, values, right))
    }

    /// Below which singular values count as 0, one number per matrix: the greater of `atol` and `rtol` times the
    /// greatest one. Without either `rtol` is the machine epsilon times the larger size.
    fn threshold_of_zero(
        &self,
        op: &str,
        values: &Tensor,
        atol: Option<Operand<'_>>,
        rtol: Option<Operand<'_>>,
    ) -> Result<Tensor> {
        let epsilon = if self.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let size = self.size(-1)?.max(self.size(-2)?) as f64;
        let absolute = match atol {
            Some(o) => o.tensor(values.dtype())?.detach().to(values.dtype())?,
            None => Tensor::zeros((), values.dtype())?,
        };
        let default = match rtol {
            None => {
                let none = Tensor::full((), epsilon * size, values.dtype())?;
                none.masked_fill(&absolute.gt(0)?, 0)?
            }
            Some(o) => o.tensor(values.dtype())?.detach().to(values.dtype())?,
        };
        let greatest = if values.size(-1)? == 0 {
            Tensor::zeros(&values.shape()[..values.dim() - 1], values.dtype())?
        } else {
            values.amax(-1)?
        };
        absolute.maximum(&default.mul(&greatest)?).map_err(|e| e.context(op.to_owned()))
    }

    /// How many singular values of each matrix, or magnitudes of eigenvalues if it is `hermitian`, exceed the greater of
    /// `atol` and `rtol` times the greatest; int64. PyTorch's `linalg.matrix_rank`.
    ///
    /// # Errors
    ///
    /// As [`svdvals`](Self::svdvals).
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![1.0f64, 2.0, 2.0, 4.0], [2, 2])?;
    /// assert_eq!(a.matrix_rank(None, None, false)?.item_i64()?, 1);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn matrix_rank(
        &self,
        atol: Option<Operand<'_>>,
        rtol: Option<Operand<'_>>,
        hermitian: bool,
    ) -> Result<Tensor> {
        const OP: &str = "linalg.matrix_rank";
        check_matrices(OP, self)?;
        let x = self.detach();
        let values = if hermitian { x.eigvalsh()?.abs()? } else { x.svdvals()? };
        let threshold = self.threshold_of_zero(OP, &values, atol, rtol)?;
        values.gt(&threshold.unsqueeze(-1)?)?.sum(-1)
    }

    /// The pseudoinverses of symmetric matrices, of which only the lower triangle is read; see [`pinv`](Self::pinv). The
    /// gradient is that of the whole matrix, as in PyTorch.
    ///
    /// # Errors
    ///
    /// As [`pinv`](Self::pinv); also if the matrices are not square.
    pub fn pinv_hermitian(&self, atol: Option<Operand<'_>>, rtol: Option<Operand<'_>>) -> Result<Tensor> {
        check_square("linalg.pinv", self)?;
        let lower = self.detach().tril(0)?;
        let whole = lower.add(&transposed(&lower.tril(-1)?)?)?;
        apply(Pinv { value: whole.pinv(atol, rtol)? }, &[self])
    }

    /// The pseudoinverses of matrices; singular values up to the greater of `atol` and `rtol` times the greatest count as
    /// 0. PyTorch's `linalg.pinv`.
    ///
    /// # Errors
    ///
    /// As [`svdvals`](Self::svdvals).
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![2.0f64, 0.0, 0.0, 0.0], [2, 2])?;
    /// assert_eq!(a.pinv(None, None)?.to_vec::<f64>()?, [0.5, 0.0, 0.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn pinv(&self, atol: Option<Operand<'_>>, rtol: Option<Operand<'_>>) -> Result<Tensor> {
        const OP: &str = "linalg.pinv";
        check_matrices(OP, self)?;
        if self.numel() == 0 {
            return transposed(self)?.copy();
        }
        let (left, values, right) = self.decomposed(OP)?;
        let threshold = self.threshold_of_zero(OP, &values, atol, rtol)?.unsqueeze(-1)?;
        let counts = values.gt(&threshold)?;
        let inverse = values.reciprocal()?.masked_fill(&counts.logical_not()?, 0)?;
        let pseudo = right.mul(&inverse.unsqueeze(-2)?)?.matmul(&transposed(&left)?)?;
        apply(Pinv { value: pseudo }, &[self])
    }
}

/// The pseudoinverse, which was computed before.
#[derive(Debug)]
struct Pinv {
    value: Tensor,
}

impl Op for Pinv {
    fn name(&self) -> &'static str {
        "linalg.pinv"
    }

    fn cpu(&self, _: &[&Tensor]) -> Result<Tensor> {
        self.value.copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (a, p) = (saved.input(0)?, saved.output()?);
        let (pt, gt) = (transposed(&p)?, transposed(grad)?);
        let gradient = if a.size(-2)? <= a.size(-1)? {
            let k = gt.matmul(&p)?;
            let kpt = k.matmul(&pt)?;
            let first = transposed(&p.matmul(&k)?)?.neg()?.add(&kpt)?.sub(&a.matmul(&p)?.matmul(&kpt)?)?;
            first.add(&pt.matmul(&p)?.matmul(&gt.sub(&k.matmul(&a)?)?)?)?
        } else {
            let k = p.matmul(&gt)?;
            let ptk = pt.matmul(&k)?;
            let first =
                transposed(&k.matmul(&p)?)?.neg()?.add(&gt.sub(&a.matmul(&k)?)?.matmul(&p)?.matmul(&pt)?)?;
            first.add(&ptk)?.sub(&ptk.matmul(&p)?.matmul(&a)?)?
        };
        Ok(smallvec![Some(gradient)])
    }
}

const D: (f64, f64) = (-1.0, 1.0);

fn sample(shape: &'static [usize], call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(shape, D)], move |x| {
        let wide = wide(x[0].dtype());
        call(&x[0].to(wide)?)?.to(x[0].dtype())
    })
}

/// For the generic tests; what has no second derivative is not among them.
pub(in crate::ops) static SPECTRA: &[OpInfo] =
    &[OpInfo { name: "linalg.pinv", samples: || vec![sample(&[3, 2], |x| x.pinv(None, None))] }];
