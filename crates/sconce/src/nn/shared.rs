//! A module at several places.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::layer::Layer;
use super::module::Module;
use crate::Result;
use crate::tensor::Tensor;

/// A module that is at several places of a tree, as a PyTorch module that is registered under several names.
///
/// A clone is the module once more: it shares parameters and buffers, and [`named_modules`] lists it at its first place
/// only. (Clones of any module share their tensors; without this wrapper each is a module of its own.) The mode belongs
/// to each place: [`eval`] sets those of the tree that it is called on.
///
/// [`named_modules`]: super::ModuleExt::named_modules
/// [`eval`]: super::ModuleExt::eval
///
/// ```
/// use sconce::nn::{Layer, Linear, ModuleExt, Sequential, Shared};
/// use sconce::{DType, Tensor};
///
/// let layer = Shared::new(Linear::new(3, 3)?);
/// let net = Sequential::new().add(layer.clone()).add(layer.clone());
/// let modules: Vec<String> = net.named_modules().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(modules, ["", "0"]);
/// assert_eq!(net.parameters().len(), 2);
/// assert_eq!(net.state_dict().len(), 4);
/// let x = Tensor::ones([1, 3], DType::F32)?;
/// assert_eq!(net.forward(&x)?.to_vec::<f32>()?, layer.forward(&layer.forward(&x)?)?.to_vec::<f32>()?);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone)]
pub struct Shared<M> {
    module: M,
    identity: Arc<()>,
}

impl<M: Module> Shared<M> {
    /// Makes a module that can be at several places.
    pub fn new(module: M) -> Self {
        Self { module, identity: Arc::default() }
    }

    /// The module of this place.
    pub fn into_inner(self) -> M {
        self.module
    }
}

impl<M> Deref for Shared<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.module
    }
}

impl<M> DerefMut for Shared<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.module
    }
}

impl<M: Module> Module for Shared<M> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        self.module.fields(f);
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        self.module.fields_mut(f);
    }

    fn type_name(&self) -> &'static str {
        self.module.type_name()
    }

    fn identity(&self) -> Option<usize> {
        Some(Arc::as_ptr(&self.identity) as usize)
    }
}

impl<L: Layer> Layer for Shared<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.module.forward(x)
    }
}

impl<M: fmt::Debug> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.module).finish()
    }
}
