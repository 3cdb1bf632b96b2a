//! Layers of one input and one output.

use super::module::Module;
use crate::Result;
use crate::tensor::Tensor;

/// A module of one tensor in and one tensor out, so that it can be part of a [`Sequential`](super::Sequential).
///
/// ```
/// use sconce::nn::{Layer, Linear};
/// use sconce::prelude::*;
/// use sconce::{DType, Result, Tensor};
///
/// #[derive(Module)]
/// struct Residual {
///     inner: Linear,
/// }
///
/// impl Layer for Residual {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         self.inner.forward(x)?.add(x)
///     }
/// }
///
/// let layer: Box<dyn Layer> = Box::new(Residual { inner: Linear::new(3, 3)? });
/// assert_eq!(layer.forward(&Tensor::zeros([2, 3], DType::F32)?)?.shape(), [2, 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub trait Layer: Module {
    /// Computes the output.
    ///
    /// # Errors
    ///
    /// If the input does not fit the layer.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

impl<L: Layer + ?Sized> Layer for Box<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        (**self).forward(x)
    }
}
