//! What keeps parameters small or orthogonal, beside weight decay.

use super::parameters::{Named, Parameters};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result, no_grad};

/// A term to add to a loss, over all parameters together.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt};
/// use sconce::optim::Penalty;
/// use sconce::Tensor;
///
/// let layer = Linear::new(2, 1)?;
/// sconce::no_grad(|| layer.weight.copy_(&Tensor::from_vec(vec![3.0f32, -4.0], [1, 2])?))?;
/// let weights = layer.selected_parameters("**.weight")?;
/// assert_eq!(Penalty::L1(0.1).of(weights.clone())?.item()? as f32, 0.7);
/// assert_eq!(Penalty::L2(0.1).of(weights)?.item()?, 2.5);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Penalty {
    /// λ Σ |x|, which makes parameters sparse.
    L1(f64),
    /// λ Σ x²; its gradient is that of a weight decay of 2 λ.
    L2(f64),
    /// Both.
    Elastic {
        /// The λ of the absolute values.
        l1: f64,
        /// The λ of the squares.
        l2: f64,
    },
    /// λ ‖W Wᵀ − 1‖², or of Wᵀ W where there are more rows than columns; all dimensions of a parameter after the first
    /// are one.
    Orthogonal(f64),
}

impl Penalty {
    /// Computes the term; gradients flow back.
    ///
    /// # Errors
    ///
    /// If there are no parameters; if orthogonality is asked of one that has fewer than two dimensions.
    pub fn of(self, parameters: impl Parameters) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for Named { names, tensor } in parameters.named() {
            let term = self.term(&tensor).context(|| names[0].clone())?;
            sum = Some(match sum {
                Some(sum) => sum.add(&term)?,
                None => term,
            });
        }
        sum.ok_or_else(|| Error::argument("a penalty of no parameters"))
    }

    fn term(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::L1(scale) => x.abs()?.sum(())?.mul(scale),
            Self::L2(scale) => x.mul(x)?.sum(())?.mul(scale),
            Self::Elastic { l1, l2 } => Self::L1(l1).term(x)?.add(&Self::L2(l2).term(x)?),
            Self::Orthogonal(scale) => {
                if x.dim() < 2 {
                    return Err(Error::shape(format!(
                        "orthogonality needs two dimensions or more, found shape {:?}",
                        x.shape()
                    )));
                }
                let rows = x.flatten(1, -1)?;
                let wide = if rows.shape()[0] > rows.shape()[1] { rows.t()? } else { rows };
                let gram = wide.matmul(&wide.t()?)?;
                let off = gram.sub(&Tensor::eye(gram.shape()[0], x.dtype())?)?;
                off.mul(&off)?.sum(())?.mul(scale)
            }
        }
    }
}

/// Scales the slices of each parameter along a dimension down to a 2-norm of at most `max`, in place: the constraint of
/// Srivastava et al. 2014, after each step. A parameter of fewer than two dimensions is one slice.
///
/// # Errors
///
/// If `max` is negative or NaN, a parameter has no such dimension, or is not floating point.
///
/// ```
/// use sconce::nn::{Linear, init};
/// use sconce::optim::max_norm_;
///
/// let layer = Linear::new(4, 2)?;
/// init::ones_(&layer.weight)?;
/// max_norm_(vec![layer.weight.clone()], 1.0, 0)?;
/// assert!(layer.weight.to_vec::<f32>()?.iter().all(|x| (x - 0.5).abs() < 1e-6));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn max_norm_(parameters: impl Parameters, max: f64, dim: isize) -> Result<()> {
    if !(max >= 0.0) {
        return Err(Error::argument(format!("max_norm_: expected a norm of at least 0, found {max}")));
    }
    no_grad(|| {
        for Named { names, tensor } in parameters.named() {
            let limit = || match tensor.dim() {
                _ if !tensor.dtype().is_floating_point() => Err(not_floating(tensor.dtype())),
                0 | 1 => tensor.reshape([1, -1])?.renorm(2.0, 0, max)?.reshape(tensor.shape()),
                _ => tensor.renorm(2.0, dim, max),
            };
            limit()
                .and_then(|limited| tensor.copy_(&limited))
                .context(|| format!("max_norm_: {}", names[0]))?;
        }
        Ok(())
    })
}

fn not_floating(dtype: DType) -> Error {
    Error::dtype(format!("needs a floating point parameter, found {dtype}"))
}
