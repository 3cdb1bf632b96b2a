//! Orthogonal weights: Lezcano-Casado, "Trivializations for gradient-based optimization on manifolds".

use super::{Keys, Parametrization, register};
use crate::nn::Buffer;
use crate::nn::init::orthonormal_columns;
use crate::select::IntoSelector;
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result, no_grad};

/// The map from matrices to orthogonal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrthogonalMap {
    /// The matrix exponential of a skew-symmetric matrix; the default of square matrices.
    MatrixExp,
    /// Its Cayley transform.
    Cayley,
    /// A product of Householder reflections; the default of other matrices.
    Householder,
}

/// The options of [`orthogonal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrthogonalConfig {
    /// The map; by default [`MatrixExp`](OrthogonalMap::MatrixExp) of square matrices and
    /// [`Householder`](OrthogonalMap::Householder) of others.
    pub map: Option<OrthogonalMap>,
    /// Whether the map's result is multiplied with a fixed orthogonal matrix, near the weight that was there; true.
    /// Otherwise only Householder's reflections can start from a weight; the other maps take it for what is stored.
    pub use_trivialization: bool,
}

impl Default for OrthogonalConfig {
    fn default() -> Self {
        Self { map: None, use_trivialization: true }
    }
}

/// Matrices with orthonormal columns, or rows where there are fewer of them: a fixed orthogonal matrix, `base`, times a
/// map of what is stored. Dimensions before the last two are a batch.
#[derive(Clone, Debug, Module)]
pub struct Orthogonal {
    /// What the map's result is multiplied with: where it starts from.
    pub base: Option<Buffer>,
    #[module(skip)]
    map: OrthogonalMap,
}

impl Orthogonal {
    /// Makes the parametrisation that starts from the orthogonal matrix near a weight.
    ///
    /// # Errors
    ///
    /// If the weight has fewer than two dimensions, or the dtype is neither float32 nor float64.
    pub fn new(weight: &Tensor, config: OrthogonalConfig) -> Result<Self> {
        let &[.., n, k] = weight.shape() else {
            return Err(Error::shape(format!(
                "orthogonal: needs a matrix, found shape {:?}",
                weight.shape()
            )));
        };
        if !matches!(weight.dtype(), DType::F32 | DType::F64) {
            return Err(Error::dtype(format!(
                "orthogonal: needs float32 or float64, found {}",
                weight.dtype()
            )));
        }
        let default = if n == k { OrthogonalMap::MatrixExp } else { OrthogonalMap::Householder };
        let base = if config.use_trivialization { Some(Buffer::new(&base(weight)?)) } else { None };
        Ok(Self { base, map: config.map.unwrap_or(default) })
    }

    /// The orthogonal matrices of as many columns as tall ones.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let (n, k) = (x.size(-2)?, x.size(-1)?);
        if self.map == OrthogonalMap::Householder {
            let signs = no_grad(|| x.detach().diagonal(0, -2, -1)?.trunc()?.unsqueeze(-2))?;
            return reflections(&x.tril(-1)?)?.mul(&signs);
        }
        let mut lower = x.tril(0)?;
        if n != k {
            let mut shape = x.shape().to_vec();
            shape[x.dim() - 1] = n - k;
            lower = Tensor::cat(&[lower, Tensor::zeros(shape, x.dtype())?], -1)?;
        }
        let skew = lower.sub(&lower.transpose(-2, -1)?)?;
        let square = match self.map {
            OrthogonalMap::Cayley => {
                let one = Tensor::eye(n, x.dtype())?;
                let half = skew.mul(0.5)?;
                one.sub(&half)?.solve(&one.add(&half)?)?
            }
            _ => skew.matrix_exp()?,
        };
        square.narrow(-1, 0, k)
    }
}

/// Products of reflections, whose vectors are the columns of strictly lower matrices with ones on their diagonal.
fn reflections(lower: &Tensor) -> Result<Tensor> {
    let (n, k) = (lower.size(-2)?, lower.size(-1)?);
    let eye = no_grad(|| Tensor::eye(n, lower.dtype())?.narrow(1, 0, k)?.expand(lower.shape())?.copy())?;
    let vectors = lower.add(&eye)?;
    let scales = vectors.mul(&vectors)?.sum(-2)?.rdiv(2)?.unsqueeze(-2)?;
    let mut product = eye;
    for i in (0..k as isize).rev() {
        let (v, scale) = (vectors.narrow(-1, i, 1)?, scales.narrow(-1, i, 1)?);
        product = product.sub(&v.mul(&scale)?.matmul(&v.transpose(-2, -1)?.matmul(&product)?)?)?;
    }
    Ok(product)
}

/// The matrices of a batch, each on its own.
fn each(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let matrices = x.reshape([-1, x.size(-2)? as isize, x.size(-1)? as isize])?;
    let results = matrices.unbind(0)?.iter().map(f).collect::<Result<Vec<_>>>()?;
    if results.is_empty() { Ok(x.clone()) } else { Tensor::stack(&results, 0)?.reshape(x.shape()) }
}

/// Square orthogonal matrices whose first columns, or rows, are near a weight.
fn base(weight: &Tensor) -> Result<Tensor> {
    no_grad(|| {
        let tall = tall(weight)?;
        let (n, k) = (tall.size(-2)?, tall.size(-1)?);
        if n == k {
            let epsilon = if weight.dtype() == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
            return each(&tall.contiguous()?, |matrix| {
                let gram = matrix.t()?.matmul(matrix)?;
                let distance = gram.sub(&Tensor::eye(n, weight.dtype())?)?.abs()?.amax(())?.item()?;
                if distance < 10.0 * n as f64 * epsilon { matrix.copy() } else { orthonormal_columns(matrix) }
            });
        }
        let mut shape = tall.shape().to_vec();
        shape[tall.dim() - 1] = n - k;
        let square = Tensor::cat(&[tall, Tensor::randn(shape, weight.dtype())?], -1)?;
        each(&square, orthonormal_columns)
    })
}

/// Matrices, transposed where they are wider than tall.
fn tall(x: &Tensor) -> Result<Tensor> {
    if x.size(-2)? < x.size(-1)? { x.transpose(-2, -1) } else { Ok(x.clone()) }
}

/// The vectors of the reflections whose product is near a tall matrix, below the diagonal, and on it the signs of the
/// columns: LAPACK's `geqrf`. Above it is what the reflections leave.
fn reflected(matrix: &Tensor) -> Result<Tensor> {
    let (n, k) = (matrix.shape()[0], matrix.shape()[1]);
    let mut a = matrix.detach().to(DType::F64)?.contiguous()?.to_vec::<f64>()?;
    for j in 0..k {
        let alpha = a[j * k + j];
        let rest = (j + 1..n).map(|i| a[i * k + j] * a[i * k + j]).sum::<f64>().sqrt();
        let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
        if rest == 0.0 {
            // No reflection, which would have turned the sign.
            a[j * k + j] = -sign(alpha);
            continue;
        }
        let beta = -alpha.hypot(rest).copysign(alpha);
        let tau = (beta - alpha) / beta;
        (j + 1..n).for_each(|i| a[i * k + j] /= alpha - beta);
        for c in j + 1..k {
            let part = tau * (a[j * k + c] + (j + 1..n).map(|i| a[i * k + j] * a[i * k + c]).sum::<f64>());
            a[j * k + c] -= part;
            (j + 1..n).for_each(|i| a[i * k + c] -= part * a[i * k + j]);
        }
        a[j * k + j] = sign(beta);
    }
    Tensor::from_vec(a, [n, k])?.to(matrix.dtype())
}

impl Parametrization for Orthogonal {
    fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
        let [x] = original else {
            return Err(Error::argument(format!("needs one tensor, found {}", original.len())));
        };
        let mut q = self.of(&tall(x)?)?;
        if let Some(base) = &self.base {
            q = base.matmul(&q)?;
        }
        if x.size(-2)? < x.size(-1)? { q.transpose(-2, -1) } else { Ok(q) }
    }

    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        no_grad(|| {
            let Some(fixed) = &self.base else {
                return Ok(vec![match self.map {
                    OrthogonalMap::Householder => {
                        let vectors = each(&tall(value)?.contiguous()?, reflected)?;
                        let wide = value.size(-2)? < value.size(-1)?;
                        if wide { vectors.transpose(-2, -1)?.contiguous()? } else { vectors }
                    }
                    _ => value.copy()?,
                }]);
            };
            fixed.copy_(&base(value)?)?;
            let stored = value.zeros_like()?;
            stored.diagonal(0, -2, -1)?.fill_(-1)?;
            Ok(vec![stored])
        })
    }
}

/// Keeps the matrices that a selector picks orthogonal; PyTorch's `parametrizations.orthogonal`.
///
/// # Errors
///
/// As [`register_parametrization`](super::register_parametrization) and [`Orthogonal::new`].
///
/// ```
/// use sconce::nn::{Linear, parametrize};
/// use sconce::{DType, Tensor};
///
/// let mut layer = Linear::new(3, 5)?;
/// parametrize::orthogonal(&mut layer, "weight", Default::default())?;
/// let weight = layer.weight.value()?;
/// let error = weight.t()?.matmul(&weight)?.sub(&Tensor::eye(3, DType::F32)?)?.abs()?.amax(())?.item()?;
/// assert!(error < 1e-5, "{error}");
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn orthogonal<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    config: OrthogonalConfig,
) -> Result<Vec<String>> {
    register(module.as_module_mut(), "orthogonal", selector, Keys::Parametrizations, &mut |weight| {
        Ok(Box::new(Orthogonal::new(weight, config)?))
    })
}
