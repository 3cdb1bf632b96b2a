//! Weight normalisation: Salimans and Kingma, "Weight normalization".

use super::{Keys, Parametrization, register};
use crate::select::IntoSelector;
use crate::tensor::Tensor;
use crate::tensor::sizes::keepdim;
use crate::{Error, Module, Result};

/// A length and a direction: w = g · v / ‖v‖, with a length for each index along a dimension, or one for all.
#[derive(Clone, Debug, Module)]
pub struct WeightNorm {
    dim: Option<usize>,
}

impl WeightNorm {
    /// Makes the parametrisation for a weight; without a dimension there is one length for all.
    ///
    /// # Errors
    ///
    /// If the weight has no such dimension.
    pub fn new(weight: &Tensor, dim: Option<usize>) -> Result<Self> {
        match dim.filter(|dim| *dim >= weight.dim()) {
            Some(dim) => Err(Error::index(format!("no dimension {dim} in shape {:?}", weight.shape()))),
            None => Ok(Self { dim }),
        }
    }

    fn norm(&self, v: &Tensor) -> Result<Tensor> {
        let Some(dim) = self.dim else { return v.norm(2.0, ()) };
        let others: Vec<isize> = (0..v.dim()).filter(|d| *d != dim).map(|d| d as isize).collect();
        if others.is_empty() { v.abs() } else { v.norm(2.0, keepdim(&others[..])) }
    }
}

impl Parametrization for WeightNorm {
    fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
        let [g, v] = original else {
            return Err(Error::argument(format!("needs a length and a direction, found {}", original.len())));
        };
        v.mul(&g.div(&self.norm(v)?)?)
    }

    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![self.norm(value)?, value.copy()?])
    }
}

/// Splits the weights that a selector picks into length and direction; PyTorch's `parametrizations.weight_norm`.
///
/// The length, `original0`, has one element for each index along `dim` (PyTorch's default is 0), or one in all (where PyTorch takes −1, too).
///
/// # Errors
///
/// As [`register_parametrization`](super::register_parametrization); if a weight has no such dimension.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt, parametrize};
/// let mut layer = Linear::new(4, 3)?;
/// parametrize::weight_norm(&mut layer, "weight", Some(0))?;
/// assert_eq!(layer.get_parameter("parametrizations.weight.original0")?.shape(), [3, 1]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn weight_norm<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    dim: Option<usize>,
) -> Result<Vec<String>> {
    with_keys(module, selector, dim, Keys::Parametrizations)
}

/// As [`weight_norm`], under the keys of PyTorch's older `nn.utils.weight_norm`: `weight_g` and `weight_v`.
///
/// # Errors
///
/// As [`weight_norm`].
///
/// ```
/// use sconce::nn::{Linear, ModuleExt, parametrize};
/// let mut layer = Linear::new(4, 3)?;
/// parametrize::weight_norm_legacy(&mut layer, "weight", Some(0))?;
/// let names: Vec<String> = layer.state_dict().names().map(str::to_owned).collect();
/// assert_eq!(names, ["bias", "weight_g", "weight_v"]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn weight_norm_legacy<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    dim: Option<usize>,
) -> Result<Vec<String>> {
    with_keys(module, selector, dim, Keys::Suffixes(&["_g", "_v"]))
}

fn with_keys<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    dim: Option<usize>,
    keys: Keys,
) -> Result<Vec<String>> {
    register(module.as_module_mut(), "weight_norm", selector, keys, &mut |weight| {
        Ok(Box::new(WeightNorm::new(weight, dim)?))
    })
}
