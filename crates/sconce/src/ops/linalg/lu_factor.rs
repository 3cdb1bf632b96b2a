//! The factors of an elimination with row exchanges.

use smallvec::smallvec;

use super::lu::factor;
use super::{batch, check_matrices, each_matrix, transposed};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::layers::wide;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// L below the diagonal and U above, of square matrices whose rows are in the order of the pivots.
#[derive(Debug)]
struct Factors;

impl Op for Factors {
    fn name(&self) -> &'static str {
        "linalg.lu_factor"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let n = x[0].shape()[x[0].dim() - 1];
        each_matrix(self.name(), x, batch(x[0]), &[n, n], |parts, out| {
            out.copy_from_slice(parts[0]);
            for k in 0..n {
                let pivot = out[k * n + k];
                if pivot == 0.0 {
                    continue;
                }
                for i in k + 1..n {
                    out[i * n + k] /= pivot;
                    for j in k + 1..n {
                        out[i * n + j] -= out[i * n + k] * out[k * n + j];
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
        // L⁻ᵀ (tril(Lᵀ Gₗ, −1) + triu(Gᵤ Uᵀ)) U⁻ᵀ; only the triangles of L and U are read.
        let lu = saved.output()?;
        let n = lu.size(-1)?;
        let lower = lu.tril(-1)?.add(&Tensor::eye(n, lu.dtype())?)?;
        let (lower, upper) = (transposed(&lower)?, transposed(&lu.triu(0)?)?);
        let inner = lower.matmul(&grad.tril(-1)?)?.tril(-1)?.add(&grad.triu(0)?.matmul(&upper)?.triu(0)?)?;
        let left = lower.solve_triangular(&inner, true, true)?;
        Ok(smallvec![Some(upper.solve_triangular_right(&left, false, false)?)])
    }
}

impl Tensor {
    /// The factors L and U of matrices with rows exchanged, in one matrix, and which row was exchanged with each in turn,
    /// counted from 1; int32. PyTorch's `linalg.lu_factor`.
    ///
    /// # Errors
    ///
    /// If it is no batch of matrices, or the dtype is neither float32 nor float64.
    ///
    /// ```
    /// let a = sconce::Tensor::from_vec(vec![1.0f64, 2.0, 4.0, 4.0], [2, 2])?;
    /// let (factors, pivots) = a.lu_factor()?;
    /// assert_eq!(factors.to_vec::<f64>()?, [4.0, 4.0, 0.25, 1.0]);
    /// assert_eq!(pivots.to_vec::<i32>()?, [2, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn lu_factor(&self) -> Result<(Tensor, Tensor)> {
        const OP: &str = "linalg.lu_factor";
        check_matrices(OP, self)?;
        let [.., m, n] = *self.shape() else { return Err(Error::shape(format!("{OP}: no matrix"))) };
        let k = m.min(n);
        let pivots = each_matrix(OP, &[self], batch(self), &[k], |parts, out| {
            let rows = factor(&mut parts[0].to_vec(), m, n);
            out.iter_mut().zip(rows).for_each(|(out, row)| *out = row as f64 + 1.0);
            Ok(())
        })?;
        let pivots_i32 = pivots.to(DType::I32)?;
        if !self.requires_grad() || !is_grad_enabled() {
            let factors = each_matrix(OP, &[self], batch(self), &[m, n], |parts, out| {
                out.copy_from_slice(parts[0]);
                factor(out, m, n);
                Ok(())
            })?;
            return Ok((factors, pivots_i32));
        }
        // Where each row comes from.
        let order = each_matrix(OP, &[&pivots.unsqueeze(-1)?], batch(self), &[m, 1], |parts, out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = i as f64);
            for (i, &other) in parts[0].iter().enumerate() {
                out.swap(i, other as usize - 1);
            }
            Ok(())
        })?;
        let mut shape = Dims::from_slice(batch(self));
        shape.extend_from_slice(&[m, n]);
        let rows = self.gather(-2, &order.to(DType::I64)?.expand(shape.as_slice())?)?;
        // The square part is factored; what is left of the longer side is solved for.
        let square = apply(Factors, &[&rows.narrow(-2, 0, k)?.narrow(-1, 0, k)?])?;
        let factors = if n > k {
            let rest = rows.narrow(-1, k as isize, n - k)?;
            let lower = square.tril(-1)?;
            Tensor::cat(&[&square, &lower.solve_triangular(&rest, false, true)?], -1)?
        } else if m > k {
            let rest = rows.narrow(-2, k as isize, m - k)?;
            let upper = square.triu(0)?;
            Tensor::cat(&[&square, &upper.solve_triangular_right(&rest, true, false)?], -2)?
        } else {
            square
        };
        Ok((factors, pivots_i32))
    }
}

/// For the generic tests.
pub(in crate::ops) static FACTORS: &[OpInfo] = &[OpInfo {
    name: "linalg.lu_factor",
    samples: || {
        let shapes: [&'static [usize]; 3] = [&[2, 3, 3], &[2, 4], &[4, 2]];
        let call = |x: &[Tensor]| {
            let wide = wide(x[0].dtype());
            x[0].to(wide)?.lu_factor()?.0.to(x[0].dtype())
        };
        shapes.into_iter().map(|shape| Sample::new(&[(shape, (-1.0, 1.0))], call)).collect()
    },
}];
