//! Parameters that are computed from others; PyTorch's `torch.nn.utils.parametrize` and `parametrizations`.
//!
//! Once a parameter of a layer is parametrised, every forward computes it anew from what is stored in its place, which
//! is what `named_parameters`, `state_dict`, optimisers and files see, under PyTorch's keys:
//!
//! ```
//! use sconce::nn::{Layer, Linear, ModuleExt, ReLU, Sequential, parametrize};
//! use sconce::{DType, Tensor};
//!
//! let mut net = Sequential::new().add(Linear::new(4, 3)?).add(ReLU).add(Linear::new(3, 2)?);
//! parametrize::weight_norm(&mut net, "0.weight", Some(0))?;
//! let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, [
//!     "0.bias",
//!     "0.parametrizations.weight.original0",
//!     "0.parametrizations.weight.original1",
//!     "2.weight",
//!     "2.bias",
//! ]);
//! net.forward(&Tensor::ones([1, 4], DType::F32)?)?.sum(())?.backward()?;
//! assert!(net.get_parameter("0.parametrizations.weight.original0")?.grad().is_some());
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! All layers of this library can be parametrised, wherever they are in a model. A layer of one's own reads its
//! parameters by [`Param::value`](super::Param::value) to allow for it. Optimisers are made afterwards: one that holds
//! a parameter that was replaced says so when it steps.

mod lora;
mod orthogonal;
mod spectral_norm;
mod weight_norm;

pub use lora::{Lora, LoraConfig, lora};
pub use orthogonal::{Orthogonal, OrthogonalConfig, OrthogonalMap, orthogonal};
pub use spectral_norm::{SpectralNorm, SpectralNormConfig, spectral_norm, spectral_norm_legacy};
pub use weight_norm::{WeightNorm, weight_norm, weight_norm_legacy};

use super::form::{Form, Keys, computed, replace};
use super::leaf::Param;
use super::module::Module;
use super::walk::each_declared;
use crate::select::IntoSelector;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// How a parameter is computed.
///
/// A parametrisation is a module: its buffers and parameters are part of the model's, under
/// `parametrizations.NAME.0.…`.
///
/// ```
/// use sconce::nn::parametrize::{Parametrization, register_parametrization};
/// use sconce::nn::{Layer, Linear};
/// use sconce::prelude::*;
/// use sconce::{Result, Tensor};
///
/// #[derive(Clone, Module)]
/// struct Symmetric;
///
/// impl Parametrization for Symmetric {
///     fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
///         let upper = original[0].triu(0)?;
///         upper.add(&original[0].triu(1)?.t()?)
///     }
/// }
///
/// let mut layer = Linear::new(3, 3)?;
/// register_parametrization(&mut layer, "weight", |_| Ok(Symmetric))?;
/// let weight = layer.weight.value()?;
/// assert_eq!(weight.to_vec::<f32>()?, weight.t()?.to_vec::<f32>()?);
/// # Ok::<(), sconce::Error>(())
/// ```
pub trait Parametrization: Module + Boxed {
    /// Computes the parameter from what is stored in its place.
    ///
    /// # Errors
    ///
    /// If an operation fails.
    fn forward(&self, original: &[Tensor]) -> Result<Tensor>;

    /// What to store so that the parameter is, or is near, a value; by default the value itself.
    ///
    /// # Errors
    ///
    /// If there is nothing to store for such a value.
    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![value.copy()?])
    }
}

/// Clones a parametrisation of unknown type; implemented for all that are `Clone`.
pub trait Boxed {
    /// The clone.
    fn boxed(&self) -> Box<dyn Parametrization>;
}

impl<P: Parametrization + Clone + 'static> Boxed for P {
    fn boxed(&self) -> Box<dyn Parametrization> {
        Box::new(self.clone())
    }
}

/// Has the parameters that a selector picks computed by parametrisations, which a function makes of their values.
///
/// On a parameter that is parametrised already, the new one is applied to what the others make. Returns the names that
/// the parameters are declared under, which is what the selector sees.
///
/// # Errors
///
/// If the selector cannot be parsed or picks nothing; if a parameter is tied to one that is not picked, or is pruned;
/// if a parametrisation makes another shape or dtype of it. Nothing is changed then.
pub fn register_parametrization<M: Module + ?Sized, P: Parametrization + 'static>(
    module: &mut M,
    selector: impl IntoSelector,
    mut make: impl FnMut(&Tensor) -> Result<P>,
) -> Result<Vec<String>> {
    register(
        module.as_module_mut(),
        "register_parametrization",
        selector,
        Keys::Parametrizations,
        &mut |value| Ok(Box::new(make(value)?)),
    )
}

type Make<'a> = &'a mut dyn FnMut(&Tensor) -> Result<Box<dyn Parametrization>>;

fn register(
    module: &mut dyn Module,
    op: &str,
    selector: impl IntoSelector,
    keys: Keys,
    make: Make<'_>,
) -> Result<Vec<String>> {
    replace(module, op, selector, &mut |_, parameter| {
        let value = parameter.value()?.detach();
        let step = make(&value)?;
        let form = match parameter.form() {
            Some(form) if form.keys() == keys && keys == Keys::Parametrizations => form.with(step),
            Some(_) => {
                return Err(Error::argument(
                    "the parameter is pruned or parametrised in another way already",
                ));
            }
            None => {
                let trained = parameter.requires_grad();
                let originals = step.right_inverse(&value)?;
                let stored = |t: &Tensor| Ok(Param::of(t.detach().requires_grad_(trained)?));
                Form::new(originals.iter().map(stored).collect::<Result<_>>()?, step, keys)
            }
        };
        let made = form.value()?;
        if (made.shape(), made.dtype()) != (parameter.shape(), parameter.dtype()) {
            return Err(Error::shape(format!(
                "the parametrisation makes {:?} {} of a parameter of {:?} {}",
                made.shape(),
                made.dtype(),
                parameter.shape(),
                parameter.dtype()
            )));
        }
        computed(form, parameter)
    })
}

/// Makes the parameters that a selector picks ordinary ones again.
///
/// With `leave_parametrized` they are what was computed last; without, what was stored, which must be one tensor of
/// the parameter's shape.
///
/// # Errors
///
/// If the selector cannot be parsed or picks a parameter that is not parametrised; if what was stored is wanted and is
/// more than one tensor. Nothing is changed then.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt, parametrize};
///
/// let mut layer = Linear::new(4, 3)?;
/// let before = layer.weight.to_vec::<f32>()?;
/// parametrize::weight_norm(&mut layer, "weight", None)?;
/// parametrize::remove_parametrizations(&mut layer, "weight", true)?;
/// let after = layer.weight.to_vec::<f32>()?;
/// assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-6));
/// assert!(!parametrize::is_parametrized(&layer));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn remove_parametrizations<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    leave_parametrized: bool,
) -> Result<Vec<String>> {
    replace(module.as_module_mut(), "remove_parametrizations", selector, &mut |_, parameter| {
        let Some(form) = parameter.form() else {
            return Err(Error::argument("the parameter is not parametrised"));
        };
        let trained = form.originals().iter().any(|original| original.requires_grad())
            || form
                .steps()
                .iter()
                .any(|step| super::ModuleExt::parameters(step).iter().any(|p| p.requires_grad()));
        let tensor = match (leave_parametrized, form.originals()) {
            (true, _) => form.value()?.detach().copy()?,
            (false, [original]) if original.shape() == parameter.shape() => original.tensor().detach(),
            (false, originals) => {
                return Err(Error::argument(format!(
                    "{} tensors are stored, none of which is the parameter: leave it parametrised",
                    originals.len()
                )));
            }
        };
        Ok(Param::put_back(tensor.requires_grad_(trained)?))
    })
}

/// Whether a parameter of a module, or of one below it, is computed from others.
pub fn is_parametrized<M: Module + ?Sized>(module: &M) -> bool {
    let mut any = false;
    each_declared(module.as_module(), &mut String::new(), &mut |_, parameter| {
        any |= parameter.form().is_some();
    });
    any
}
