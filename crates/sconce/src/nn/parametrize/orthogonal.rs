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

/// A matrix with orthonormal columns, or rows where there are fewer of them: a fixed orthogonal matrix, `base`, times a
/// map of what is stored.
#[derive(Clone, Debug, Module)]
pub struct Orthogonal {
    /// What the map's result is multiplied with: where it starts from.
    pub base: Buffer,
    #[module(skip)]
    map: OrthogonalMap,
}

impl Orthogonal {
    /// Makes the parametrisation that starts from the orthogonal matrix near a weight.
    ///
    /// # Errors
    ///
    /// If the weight is no matrix, or the dtype is neither float32 nor float64.
    pub fn new(weight: &Tensor, map: Option<OrthogonalMap>) -> Result<Self> {
        let &[n, k] = weight.shape() else {
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
        let map = map.unwrap_or(if n == k { OrthogonalMap::MatrixExp } else { OrthogonalMap::Householder });
        Ok(Self { base: Buffer::new(&base(weight)?), map })
    }

    /// The orthogonal matrix of as many columns as a tall one.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let (n, k) = (x.shape()[0], x.shape()[1]);
        if self.map == OrthogonalMap::Householder {
            let signs = no_grad(|| x.detach().diagonal(0, 0, 1)?.trunc())?;
            return reflections(&x.tril(-1)?)?.mul(&signs);
        }
        let mut lower = x.tril(0)?;
        if n != k {
            lower = Tensor::cat(&[lower, Tensor::zeros([n, n - k], x.dtype())?], 1)?;
        }
        let skew = lower.sub(&lower.t()?)?;
        let square = match self.map {
            OrthogonalMap::Cayley => {
                let one = Tensor::eye(n, x.dtype())?;
                let half = skew.mul(0.5)?;
                one.sub(&half)?.solve(&one.add(&half)?)?
            }
            _ => skew.matrix_exp()?,
        };
        square.narrow(1, 0, k)
    }
}

/// A product of reflections, whose vectors are the columns of a strictly lower matrix with ones on its diagonal.
fn reflections(lower: &Tensor) -> Result<Tensor> {
    let (n, k) = (lower.shape()[0], lower.shape()[1]);
    let eye = no_grad(|| Tensor::eye(n, lower.dtype())?.narrow(1, 0, k)?.copy())?;
    let vectors = lower.add(&eye)?;
    let sizes = vectors.mul(&vectors)?.sum(0)?;
    let mut product = eye;
    for i in (0..k).rev() {
        let v = vectors.select(1, i as isize)?;
        let scale = sizes.select(0, i as isize)?.pow(-1)?.mul(2)?;
        product = product.sub(&v.mul(&scale)?.outer(&product.t()?.mv(&v)?)?)?;
    }
    Ok(product)
}

/// A square orthogonal matrix whose first columns, or rows, are near a weight.
fn base(weight: &Tensor) -> Result<Tensor> {
    no_grad(|| {
        let (n, k) = (weight.shape()[0], weight.shape()[1]);
        let tall = if n < k { weight.t()? } else { weight.clone() };
        let (n, k) = (n.max(k), n.min(k));
        let square = if n == k {
            let gram = tall.t()?.matmul(&tall)?;
            let distance = gram.sub(&Tensor::eye(n, weight.dtype())?)?.abs()?.amax(())?.item()?;
            let epsilon = if weight.dtype() == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
            if distance < 10.0 * n as f64 * epsilon {
                return tall.copy();
            }
            tall
        } else {
            Tensor::cat(&[tall, Tensor::randn([n, n - k], weight.dtype())?], 1)?
        };
        orthonormal_columns(&square)
    })
}

impl Parametrization for Orthogonal {
    fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
        let [x] = original else {
            return Err(Error::argument(format!("needs one tensor, found {}", original.len())));
        };
        let wide = x.shape()[0] < x.shape()[1];
        let q = self.base.matmul(&self.of(&if wide { x.t()? } else { x.clone() })?)?;
        if wide { q.t() } else { Ok(q) }
    }

    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        no_grad(|| {
            self.base.copy_(&base(value)?)?;
            let stored = value.zeros_like()?;
            stored.diagonal(0, 0, 1)?.fill_(-1)?;
            Ok(vec![stored])
        })
    }
}

/// Keeps the matrices that a selector picks orthogonal; PyTorch's `parametrizations.orthogonal`, with trivialisation.
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
/// parametrize::orthogonal(&mut layer, "weight", None)?;
/// let weight = layer.weight.value()?;
/// let error = weight.t()?.matmul(&weight)?.sub(&Tensor::eye(3, DType::F32)?)?.abs()?.amax(())?.item()?;
/// assert!(error < 1e-5, "{error}");
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn orthogonal<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    map: Option<OrthogonalMap>,
) -> Result<Vec<String>> {
    register(module.as_module_mut(), "orthogonal", selector, Keys::Parametrizations, &mut |weight| {
        Ok(Box::new(Orthogonal::new(weight, map)?))
    })
}
