//! Padding layers.

use super::layer::Layer;
use crate::functional::{PadMode, pad};
use crate::tensor::Tensor;
use crate::{Error, Module, Result};

/// Amounts of padding in `N` dimensions: one number for all sides, or pairs.
pub trait Sides<const N: usize> {
    /// Before and after each dimension, from the last one backwards, as PyTorch orders them.
    fn sides(self) -> Vec<isize>;
}

impl<const N: usize> Sides<N> for isize {
    fn sides(self) -> Vec<isize> {
        vec![self; 2 * N]
    }
}

impl<const N: usize> Sides<N> for [(isize, isize); N] {
    fn sides(self) -> Vec<isize> {
        self.into_iter().flat_map(|(before, after)| [before, after]).collect()
    }
}

/// Declares padding layers:
///
/// ```text
/// pub struct ZeroPad2d { padding: Vec<isize> }
/// impl ZeroPad2d { pub fn new … }
/// impl Layer for ZeroPad2d { … }
/// ```
macro_rules! pads {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal, $mode:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                padding: Vec<isize>,
            }

            impl $name {
                /// Makes a layer: one number for all sides, or pairs from the last dimension backwards.
                pub fn new(padding: impl Sides<$dims>) -> Self {
                    Self { padding: padding.sides() }
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    check_rank($text, x, $dims)?;
                    pad(x, &self.padding, $mode)
                }
            }
        )*
    };
}

/// As [`pads`], with the value as a public field.
macro_rules! constant_pads {
    ($($(#[$doc:meta])* $name:ident, $dims:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                padding: Vec<isize>,
                /// The number.
                pub value: f64,
            }

            impl $name {
                /// Makes a layer: one number for all sides, or pairs from the last dimension backwards; and the value.
                pub fn new(padding: impl Sides<$dims>, value: f64) -> Self {
                    Self { padding: padding.sides(), value }
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    pad(x, &self.padding, PadMode::Constant(self.value.into()))
                }
            }
        )*
    };
}

/// What is not constant pads inputs with one or two more dimensions, of channels and samples.
fn check_rank(layer: &str, x: &Tensor, dims: usize) -> Result<()> {
    if layer.starts_with("Zero") || (dims + 1..=dims + 2).contains(&x.dim()) {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{layer}: needs {} or {} dimensions, found shape {:?}",
        dims + 1,
        dims + 2,
        x.shape()
    )))
}

pads! {
    /// Mirrors the ends of the last dimension; PyTorch's `ReflectionPad1d`.
    ReflectionPad1d, "ReflectionPad1d", 1, PadMode::Reflect;
    /// Mirrors the edges of the last two dimensions; PyTorch's `ReflectionPad2d`.
    ///
    /// ```
    /// use sconce::nn::{Layer, ReflectionPad2d};
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([1, 3, 4], DType::F32)?;
    /// assert_eq!(ReflectionPad2d::new(1).forward(&x)?.shape(), [1, 5, 6]);
    /// assert_eq!(ReflectionPad2d::new([(2, 0), (0, 1)]).forward(&x)?.shape(), [1, 4, 6]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ReflectionPad2d, "ReflectionPad2d", 2, PadMode::Reflect;
    /// Mirrors the edges of the last three dimensions; PyTorch's `ReflectionPad3d`.
    ReflectionPad3d, "ReflectionPad3d", 3, PadMode::Reflect;
    /// Repeats the ends of the last dimension; PyTorch's `ReplicationPad1d`.
    ReplicationPad1d, "ReplicationPad1d", 1, PadMode::Replicate;
    /// Repeats the edges of the last two dimensions; PyTorch's `ReplicationPad2d`.
    ReplicationPad2d, "ReplicationPad2d", 2, PadMode::Replicate;
    /// Repeats the edges of the last three dimensions; PyTorch's `ReplicationPad3d`.
    ReplicationPad3d, "ReplicationPad3d", 3, PadMode::Replicate;
    /// Wraps the last dimension around; PyTorch's `CircularPad1d`.
    CircularPad1d, "CircularPad1d", 1, PadMode::Circular;
    /// Wraps the last two dimensions around; PyTorch's `CircularPad2d`.
    CircularPad2d, "CircularPad2d", 2, PadMode::Circular;
    /// Wraps the last three dimensions around; PyTorch's `CircularPad3d`.
    CircularPad3d, "CircularPad3d", 3, PadMode::Circular;
    /// Puts zeros around the last dimension; PyTorch's `ZeroPad1d`.
    ZeroPad1d, "ZeroPad1d", 1, PadMode::default();
    /// Puts zeros around the last two dimensions; PyTorch's `ZeroPad2d`.
    ZeroPad2d, "ZeroPad2d", 2, PadMode::default();
    /// Puts zeros around the last three dimensions; PyTorch's `ZeroPad3d`.
    ZeroPad3d, "ZeroPad3d", 3, PadMode::default();
}

constant_pads! {
    /// Puts a number around the last dimension; PyTorch's `ConstantPad1d`.
    ConstantPad1d, 1;
    /// Puts a number around the last two dimensions; PyTorch's `ConstantPad2d`.
    ConstantPad2d, 2;
    /// Puts a number around the last three dimensions; PyTorch's `ConstantPad3d`.
    ConstantPad3d, 3;
}
