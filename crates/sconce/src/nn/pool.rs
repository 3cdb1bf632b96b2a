//! Pooling.

use super::conv::Pair;
use super::layer::Layer;
use crate::functional::{self, MaxPool2dOptions};
use crate::tensor::Tensor;
use crate::{Module, Result};

/// The maximum over windows of `[…, height, width]`; PyTorch's `MaxPool2d`.
///
/// ```
/// use sconce::nn::{Layer, MaxPool2d};
/// use sconce::Tensor;
///
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2])?;
/// assert_eq!(MaxPool2d::new(2).forward(&x)?.to_vec::<f32>()?, [4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct MaxPool2d {
    /// The size of a window.
    pub kernel_size: [usize; 2],
    /// The distance between two windows; that of the window by default.
    pub stride: [usize; 2],
    /// How far windows reach beyond the edges; 0.
    pub padding: [usize; 2],
    /// The distance between two elements of a window; 1.
    pub dilation: [usize; 2],
    /// Whether windows that reach beyond the end count; false.
    pub ceil_mode: bool,
}

impl MaxPool2d {
    /// Makes a layer with PyTorch's defaults; the options are its fields.
    pub fn new(kernel_size: impl Pair) -> Self {
        let kernel_size = kernel_size.pair();
        Self { kernel_size, stride: kernel_size, padding: [0, 0], dilation: [1, 1], ceil_mode: false }
    }
}

impl Layer for MaxPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self { kernel_size, stride, padding, dilation, ceil_mode } = *self;
        functional::max_pool2d(x, MaxPool2dOptions { kernel_size, stride, padding, dilation, ceil_mode })
    }
}
