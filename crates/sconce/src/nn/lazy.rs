//! Layers that learn their shapes from their first input.

use std::fmt;
use std::sync::OnceLock;

use super::ext::ModuleExt;
use super::layer::Layer;
use super::leaf::Mode;
use super::module::Module;
use crate::tensor::Tensor;
use crate::{Error, Result};

type Build<L> = Box<dyn Fn(&Tensor) -> Result<L> + Send + Sync>;

/// A layer that is made when its first input shows the shapes; PyTorch's `LazyLinear`, `LazyConv2d`, ….
///
/// Before that it has no parameters; optimisers and checkpoints come after the first input.
///
/// ```
/// use sconce::nn::{Layer, Lazy, Linear, ModuleExt};
/// use sconce::{DType, Tensor};
/// let layer = Lazy::new(|x| Linear::new(x.size(-1)?, 3));
/// assert_eq!(layer.num_parameters(), 0);
/// assert_eq!(layer.forward(&Tensor::zeros([2, 5], DType::F32)?)?.shape(), [2, 3]);
/// assert_eq!(layer.get().unwrap().weight.shape(), [3, 5]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub struct Lazy<L> {
    layer: OnceLock<L>,
    build: Build<L>,
    /// The mode of the layer to be made.
    mode: Mode,
}

impl<L: Layer> Lazy<L> {
    /// Makes a layer that a function will make of the first input.
    pub fn new(build: impl Fn(&Tensor) -> Result<L> + Send + Sync + 'static) -> Self {
        Self { layer: OnceLock::new(), build: Box::new(build), mode: Mode::default() }
    }

    /// The layer, once there was an input.
    pub fn get(&self) -> Option<&L> {
        self.layer.get()
    }

    /// Takes the layer out, once there was an input.
    ///
    /// # Errors
    ///
    /// If there was none.
    pub fn into_inner(self) -> Result<L> {
        self.layer.into_inner().ok_or_else(|| Error::argument("Lazy: there was no input yet"))
    }
}

impl<L: Layer> Layer for Lazy<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.layer.get() {
            Some(layer) => layer.forward(x),
            None => {
                let mut layer = (self.build)(x)?;
                if !self.mode.is_train() {
                    layer.eval();
                }
                self.layer.get_or_init(|| layer).forward(x)
            }
        }
    }
}

impl<L: Layer> Module for Lazy<L> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        match self.layer.get() {
            Some(layer) => layer.fields(f),
            None => f("mode", &self.mode),
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        match self.layer.get_mut() {
            Some(layer) => layer.fields_mut(f),
            None => f("mode", &mut self.mode),
        }
    }

    fn type_name(&self) -> &'static str {
        self.layer.get().map_or("Lazy", |layer| layer.type_name())
    }
}

impl<L: fmt::Debug> fmt::Debug for Lazy<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lazy").field(&self.layer.get()).finish()
    }
}
