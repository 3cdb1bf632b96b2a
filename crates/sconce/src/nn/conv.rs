//! Convolutions.

use super::extent::Extent;
use super::form::realised;
use super::layer::Layer;
use super::leaf::{Param, Size, leaves};
use super::linear::init_like_pytorch;
use super::place::named;
use crate::functional::{self, ConvOptions, ConvTransposeOptions, PadMode, pad, pad_same};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

/// How much a convolution adds around its input, in `N` dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding<const N: usize> {
    /// So much on both sides of each dimension.
    Explicit([usize; N]),
    /// As much as keeps the size; of an odd number, the greater half goes to the end. Needs a stride of 1.
    Same,
}

/// What a convolution sees beyond the edges of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored without its edge.
    Reflect,
    /// The edge.
    Replicate,
    /// The opposite side.
    Circular,
}

leaves! {
    Padding<1>, "Padding", self => crate::nn::Leaf::Setting(self), None;
    Padding<2>, "Padding", self => crate::nn::Leaf::Setting(self), None;
    Padding<3>, "Padding", self => crate::nn::Leaf::Setting(self), None;
    PaddingMode, "PaddingMode", self => crate::nn::Leaf::Setting(self), None;
}

/// The options of a convolution in `N` dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvConfig<const N: usize> {
    /// The distance between two places of the kernel; 1.
    pub stride: [usize; N],
    /// What is added around the input; nothing.
    pub padding: Padding<N>,
    /// The distance between two elements of the kernel; 1.
    pub dilation: [usize; N],
    /// The number of groups of channels that do not see each other; 1.
    pub groups: usize,
    /// Whether there is a bias; true.
    pub bias: bool,
    /// What lies beyond the edges; zeros.
    pub padding_mode: PaddingMode,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

/// The options of a [`Conv1d`].
pub type Conv1dConfig = ConvConfig<1>;
/// The options of a [`Conv2d`].
pub type Conv2dConfig = ConvConfig<2>;
/// The options of a [`Conv3d`].
pub type Conv3dConfig = ConvConfig<3>;

impl<const N: usize> Default for ConvConfig<N> {
    fn default() -> Self {
        Self {
            stride: [1; N],
            padding: Padding::Explicit([0; N]),
            dilation: [1; N],
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
            dtype: DType::F32,
        }
    }
}

/// The options of a transposed convolution in `N` dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTransposeConfig<const N: usize> {
    /// The distance between two places of the kernel; 1.
    pub stride: [usize; N],
    /// What is cut off on both sides of each dimension; nothing.
    pub padding: [usize; N],
    /// What is added at the end of each dimension; nothing.
    pub output_padding: [usize; N],
    /// The number of groups of channels that do not see each other; 1.
    pub groups: usize,
    /// Whether there is a bias; true.
    pub bias: bool,
    /// The distance between two elements of the kernel; 1.
    pub dilation: [usize; N],
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

/// The options of a [`ConvTranspose1d`].
pub type ConvTranspose1dConfig = ConvTransposeConfig<1>;
/// The options of a [`ConvTranspose2d`].
pub type ConvTranspose2dConfig = ConvTransposeConfig<2>;
/// The options of a [`ConvTranspose3d`].
pub type ConvTranspose3dConfig = ConvTransposeConfig<3>;

impl<const N: usize> Default for ConvTransposeConfig<N> {
    fn default() -> Self {
        Self {
            stride: [1; N],
            padding: [0; N],
            output_padding: [0; N],
            groups: 1,
            bias: true,
            dilation: [1; N],
            dtype: DType::F32,
        }
    }
}

fn check<const N: usize>(
    layer: &str,
    (inputs, outputs): (usize, usize),
    groups: usize,
    sizes: [(&str, [usize; N]); 3],
) -> Result<()> {
    if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(Error::argument(format!(
            "{layer}: {groups} groups do not divide {inputs} input and {outputs} output channels"
        )));
    }
    for (what, sizes) in sizes {
        if sizes.contains(&0) {
            return Err(Error::argument(format!("{layer}: the {what} must not be 0, found {sizes:?}")));
        }
    }
    Ok(())
}

/// A weight with its bias, with PyTorch's initial values.
fn parameters(
    (first, second): (usize, usize),
    kernel_size: &[usize],
    outputs: usize,
    bias: bool,
    dtype: DType,
) -> Result<(Param, Option<Param>)> {
    let shape: Vec<usize> = [first, second].iter().chain(kernel_size).copied().collect();
    let weight = Param::new(&Tensor::empty(shape, dtype)?)?;
    let bias = if bias { Some(Param::new(&Tensor::empty([outputs], dtype)?)?) } else { None };
    init_like_pytorch(&weight, bias.as_ref())?;
    Ok((weight, bias))
}

/// The input with what a layer adds around it, and the zeros that are left to the convolution to add.
fn padded<const N: usize>(
    x: &Tensor,
    padding: Padding<N>,
    mode: PaddingMode,
    kernel_size: [usize; N],
    dilation: [usize; N],
) -> Result<(Tensor, [usize; N])> {
    let totals: [usize; N] = std::array::from_fn(|i| dilation[i] * (kernel_size[i] - 1));
    let sides: [(usize, usize); N] = std::array::from_fn(|i| match padding {
        Padding::Explicit(padding) => (padding[i], padding[i]),
        Padding::Same => (totals[i] / 2, totals[i] - totals[i] / 2),
    });
    let mode = match mode {
        PaddingMode::Zeros if sides.iter().all(|(before, after)| before == after) => {
            return Ok((x.clone(), sides.map(|(before, _)| before)));
        }
        PaddingMode::Zeros => return Ok((pad_same(x, kernel_size, dilation)?, [0; N])),
        PaddingMode::Reflect => PadMode::Reflect,
        PaddingMode::Replicate => PadMode::Replicate,
        PaddingMode::Circular => PadMode::Circular,
    };
    let sides: Vec<isize> =
        sides.iter().rev().flat_map(|&(before, after)| [before as isize, after as isize]).collect();
    Ok((pad(x, &sides, mode)?, [0; N]))
}

/// Declares a convolution, the same for each number of dimensions:
///
/// ```text
/// pub struct Conv2d { pub weight: Param, pub bias: Option<Param>, … }
/// impl ConvConfig<2> { pub fn build … }
/// impl Conv2d { pub fn new … }
/// impl Layer for Conv2d { … }
/// ```
macro_rules! convolution {
    ($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal, $shape:literal, $function:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        pub struct $name {
            #[doc = concat!("The kernels, `[out_channels, in_channels / groups, ", $shape, "]`.")]
            pub weight: Param,
            /// What is added to each channel, `[out_channels]`.
            pub bias: Option<Param>,
            in_channels: Size,
            out_channels: Size,
            kernel_size: [usize; $dims],
            stride: [usize; $dims],
            padding: Padding<$dims>,
            dilation: [usize; $dims],
            groups: Size,
            padding_mode: PaddingMode,
        }

        impl ConvConfig<$dims> {
            /// Makes a layer from `in_channels` to `out_channels`.
            ///
            /// # Errors
            ///
            /// If the groups do not divide both numbers of channels; if a kernel size, stride, dilation or the groups are
            /// 0; if the padding is `Same` and the stride is not 1.
            pub fn build(
                self,
                in_channels: usize,
                out_channels: usize,
                kernel_size: impl Extent<$dims>,
            ) -> Result<$name> {
                let kernel_size = kernel_size.extent();
                let Self { stride, padding, dilation, groups, bias, padding_mode, dtype } = self;
                let sizes = [("kernel size", kernel_size), ("stride", stride), ("dilation", dilation)];
                check($text, (in_channels, out_channels), groups, sizes)?;
                if padding == Padding::Same && stride != [1; $dims] {
                    return Err(Error::argument(format!(
                        concat!($text, ": padding `Same` needs a stride of 1, found {:?}"),
                        stride
                    )));
                }
                let channels = (out_channels, in_channels / groups);
                let (weight, bias) = parameters(channels, &kernel_size, out_channels, bias, dtype)?;
                Ok($name {
                    weight,
                    bias,
                    in_channels: Size(in_channels),
                    out_channels: Size(out_channels),
                    kernel_size,
                    stride,
                    padding,
                    dilation,
                    groups: Size(groups),
                    padding_mode,
                })
            }
        }

        impl $name {
            /// Makes a layer with PyTorch's defaults; [`ConvConfig`] has the options.
            ///
            /// # Errors
            ///
            /// If a kernel size is 0, or there is not enough memory.
            pub fn new(
                in_channels: usize,
                out_channels: usize,
                kernel_size: impl Extent<$dims>,
            ) -> Result<Self> {
                ConvConfig::<$dims>::default().build(in_channels, out_channels, kernel_size)
            }

            fn compute(&self, x: &Tensor) -> Result<Tensor> {
                let Self { stride, dilation, groups: Size(groups), .. } = *self;
                let (x, padding) =
                    padded(x, self.padding, self.padding_mode, self.kernel_size, dilation)?;
                let options = ConvOptions { stride, padding, dilation, groups };
                let this = realised(self, [Some(&self.weight), self.bias.as_ref()])?;
                $function(&x, &this.weight, this.bias.as_deref(), options)
            }
        }

        impl Layer for $name {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                named(self.compute(x), Some(&self.weight))
            }
        }
    };
}

convolution! {
    /// A 1-d convolution (cross-correlation) over `[batch, channels, length]`; PyTorch's `Conv1d`.
    Conv1d, "Conv1d", 1, "length", functional::conv1d
}

convolution! {
    /// A 2-d convolution (cross-correlation) over `[batch, channels, height, width]`; PyTorch's `Conv2d`.
    ///
    /// ```
    /// use sconce::nn::{Conv2d, Conv2dConfig, Layer, Padding};
    /// use sconce::{DType, Tensor};
    ///
    /// let x = Tensor::zeros([1, 3, 8, 8], DType::F32)?;
    /// assert_eq!(Conv2d::new(3, 4, 3)?.forward(&x)?.shape(), [1, 4, 6, 6]);
    ///
    /// let config = Conv2dConfig { padding: Padding::Explicit([1, 1]), stride: [2, 2], ..Default::default() };
    /// assert_eq!(config.build(3, 4, [3, 3])?.forward(&x)?.shape(), [1, 4, 4, 4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    Conv2d, "Conv2d", 2, "height, width", functional::conv2d
}

convolution! {
    /// A 3-d convolution (cross-correlation) over `[batch, channels, depth, height, width]`; PyTorch's `Conv3d`.
    Conv3d, "Conv3d", 3, "depth, height, width", functional::conv3d
}

/// Declares a transposed convolution, as [`convolution`] does.
macro_rules! transposed {
    ($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal, $shape:literal, $function:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        pub struct $name {
            #[doc = concat!("The kernels, `[in_channels, out_channels / groups, ", $shape, "]`.")]
            pub weight: Param,
            /// What is added to each channel, `[out_channels]`.
            pub bias: Option<Param>,
            in_channels: Size,
            out_channels: Size,
            kernel_size: [usize; $dims],
            stride: [usize; $dims],
            padding: [usize; $dims],
            output_padding: [usize; $dims],
            dilation: [usize; $dims],
            groups: Size,
        }

        impl ConvTransposeConfig<$dims> {
            /// Makes a layer from `in_channels` to `out_channels`.
            ///
            /// # Errors
            ///
            /// If the groups do not divide both numbers of channels, or a kernel size, stride, dilation or the groups are
            /// 0.
            pub fn build(
                self,
                in_channels: usize,
                out_channels: usize,
                kernel_size: impl Extent<$dims>,
            ) -> Result<$name> {
                let kernel_size = kernel_size.extent();
                let Self { stride, padding, output_padding, groups, bias, dilation, dtype } = self;
                let sizes = [("kernel size", kernel_size), ("stride", stride), ("dilation", dilation)];
                check($text, (in_channels, out_channels), groups, sizes)?;
                let channels = (in_channels, out_channels / groups);
                let (weight, bias) = parameters(channels, &kernel_size, out_channels, bias, dtype)?;
                Ok($name {
                    weight,
                    bias,
                    in_channels: Size(in_channels),
                    out_channels: Size(out_channels),
                    kernel_size,
                    stride,
                    padding,
                    output_padding,
                    dilation,
                    groups: Size(groups),
                })
            }
        }

        impl $name {
            /// Makes a layer with PyTorch's defaults; [`ConvTransposeConfig`] has the options.
            ///
            /// # Errors
            ///
            /// If a kernel size is 0, or there is not enough memory.
            pub fn new(
                in_channels: usize,
                out_channels: usize,
                kernel_size: impl Extent<$dims>,
            ) -> Result<Self> {
                ConvTransposeConfig::<$dims>::default().build(in_channels, out_channels, kernel_size)
            }

            /// Computes an output of a size, of those that a convolution takes to the input's.
            ///
            /// # Errors
            ///
            /// If the input does not fit the layer, or the size is none of those.
            pub fn forward_to(&self, x: &Tensor, output_size: [usize; $dims]) -> Result<Tensor> {
                named(self.compute_to(x, output_size), Some(&self.weight))
            }

            fn compute_to(&self, x: &Tensor, output_size: [usize; $dims]) -> Result<Tensor> {
                let Some(sizes) = x.shape().last_chunk::<$dims>() else {
                    return self.compute(x, self.output_padding);
                };
                let mut extra = [0; $dims];
                for i in 0..$dims {
                    let least = (sizes[i].max(1) - 1) * self.stride[i]
                        + self.dilation[i] * (self.kernel_size[i] - 1)
                        + 1;
                    match (output_size[i] + 2 * self.padding[i]).checked_sub(least) {
                        Some(more) if more < self.stride[i] => extra[i] = more,
                        _ => {
                            return Err(Error::argument(format!(
                                concat!($text, ": an output of size {:?} for an input of shape {:?}"),
                                output_size,
                                x.shape()
                            )));
                        }
                    }
                }
                self.compute(x, extra)
            }

            fn compute(&self, x: &Tensor, output_padding: [usize; $dims]) -> Result<Tensor> {
                let Self { stride, padding, dilation, groups, .. } = *self;
                let options = ConvTransposeOptions { stride, padding, output_padding, dilation, groups: groups.0 };
                let this = realised(self, [Some(&self.weight), self.bias.as_ref()])?;
                $function(x, &this.weight, this.bias.as_deref(), options)
            }
        }

        impl Layer for $name {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                named(self.compute(x, self.output_padding), Some(&self.weight))
            }
        }
    };
}

transposed! {
    /// A transposed 1-d convolution over `[batch, channels, length]`; PyTorch's `ConvTranspose1d`.
    ConvTranspose1d, "ConvTranspose1d", 1, "length", functional::conv_transpose1d
}

transposed! {
    /// A transposed 2-d convolution over `[batch, channels, height, width]`; PyTorch's `ConvTranspose2d`.
    ///
    /// ```
    /// use sconce::nn::{ConvTranspose2dConfig, Layer};
    /// use sconce::{DType, Tensor};
    ///
    /// let x = Tensor::zeros([1, 3, 4, 4], DType::F32)?;
    /// let layer = ConvTranspose2dConfig { stride: [2, 2], ..Default::default() }.build(3, 4, 3)?;
    /// assert_eq!(layer.forward(&x)?.shape(), [1, 4, 9, 9]);
    /// assert_eq!(layer.forward_to(&x, [10, 9])?.shape(), [1, 4, 10, 9]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ConvTranspose2d, "ConvTranspose2d", 2, "height, width", functional::conv_transpose2d
}

transposed! {
    /// A transposed 3-d convolution over `[batch, channels, depth, height, width]`; PyTorch's `ConvTranspose3d`.
    ConvTranspose3d, "ConvTranspose3d", 3, "depth, height, width", functional::conv_transpose3d
}
