//! Pooling layers.

use super::extent::Extent;
use super::layer::Layer;
use super::leaf::settings;
use crate::functional::{self, AvgPoolOptions, LpPoolOptions, MaxPoolOptions};
use crate::tensor::Tensor;
use crate::{Error, Module, Result};

/// Declares pooling layers, the same for each number of dimensions but for the function they call:
///
/// ```text
/// pub struct MaxPool2d { pub kernel_size: [usize; 2], … }
/// impl MaxPool2d { pub fn new … }
/// impl Layer for MaxPool2d { … }
/// ```
macro_rules! max_pools {
    ($($(#[$doc:meta])* $name:ident, $dims:literal, $function:path;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The size of a window.
                pub kernel_size: [usize; $dims],
                /// The distance between two windows; that of the window by default.
                pub stride: [usize; $dims],
                /// How far windows reach beyond the edges; 0.
                pub padding: [usize; $dims],
                /// The distance between two elements of a window; 1.
                pub dilation: [usize; $dims],
                /// Whether windows that reach beyond the end count; false.
                pub ceil_mode: bool,
            }

            impl $name {
                /// Makes a layer with PyTorch's defaults; the options are its fields.
                pub fn new(kernel_size: impl Extent<$dims>) -> Self {
                    Self::with(MaxPoolOptions::new(kernel_size.extent()))
                }

                /// Makes a layer with options.
                pub fn with(options: MaxPoolOptions<$dims>) -> Self {
                    let MaxPoolOptions { kernel_size, stride, padding, dilation, ceil_mode } = options;
                    Self { kernel_size, stride, padding, dilation, ceil_mode }
                }

                /// The greatest elements with their indices in the flattened input; PyTorch's `return_indices=True`.
                ///
                /// # Errors
                ///
                /// If the input does not fit the layer.
                pub fn forward_with_indices(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
                    let Self { kernel_size, stride, padding, dilation, ceil_mode } = *self;
                    $function(x, MaxPoolOptions { kernel_size, stride, padding, dilation, ceil_mode })
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    Ok(self.forward_with_indices(x)?.0)
                }
            }
        )*
    };
}

max_pools! {
    /// The maximum over windows of `[…, length]`; PyTorch's `MaxPool1d`.
    MaxPool1d, 1, functional::max_pool1d_with_indices;
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
    MaxPool2d, 2, functional::max_pool2d_with_indices;
    /// The maximum over windows of `[…, depth, height, width]`; PyTorch's `MaxPool3d`.
    MaxPool3d, 3, functional::max_pool3d_with_indices;
}

macro_rules! avg_pools {
    ($($(#[$doc:meta])* $name:ident, $dims:literal, $function:path;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The size of a window.
                pub kernel_size: [usize; $dims],
                /// The distance between two windows; that of the window by default.
                pub stride: [usize; $dims],
                /// How far windows reach beyond the edges; 0.
                pub padding: [usize; $dims],
                /// Whether windows that reach beyond the end count; false.
                pub ceil_mode: bool,
                /// Whether zeros of the padding count; true.
                pub count_include_pad: bool,
                /// What to divide by instead of the number of elements; that number.
                pub divisor_override: Option<i64>,
            }

            impl $name {
                /// Makes a layer with PyTorch's defaults; the options are its fields.
                pub fn new(kernel_size: impl Extent<$dims>) -> Self {
                    Self::with(AvgPoolOptions::new(kernel_size.extent()))
                }

                /// Makes a layer with options.
                pub fn with(o: AvgPoolOptions<$dims>) -> Self {
                    let AvgPoolOptions {
                        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override,
                    } = o;
                    Self { kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override }
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    let Self { kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override } =
                        *self;
                    $function(x, AvgPoolOptions {
                        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override,
                    })
                }
            }
        )*
    };
}

avg_pools! {
    /// The average over windows of `[…, length]`; PyTorch's `AvgPool1d`.
    AvgPool1d, 1, functional::avg_pool1d;
    /// The average over windows of `[…, height, width]`; PyTorch's `AvgPool2d`.
    AvgPool2d, 2, functional::avg_pool2d;
    /// The average over windows of `[…, depth, height, width]`; PyTorch's `AvgPool3d`.
    AvgPool3d, 3, functional::avg_pool3d;
}

macro_rules! lp_pools {
    ($($(#[$doc:meta])* $name:ident, $dims:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The power.
                pub norm_type: f64,
                /// The size of a window.
                pub kernel_size: [usize; $dims],
                /// The distance between two windows; that of the window by default.
                pub stride: [usize; $dims],
                /// Whether windows that reach beyond the end count; false.
                pub ceil_mode: bool,
            }

            impl $name {
                /// Makes a layer with PyTorch's defaults; the options are its fields.
                pub fn new(norm_type: f64, kernel_size: impl Extent<$dims>) -> Self {
                    let kernel_size = kernel_size.extent();
                    Self { norm_type, kernel_size, stride: kernel_size, ceil_mode: false }
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    let Self { norm_type, kernel_size, stride, ceil_mode } = *self;
                    functional::lp_pool(x, LpPoolOptions { norm_type, kernel_size, stride, ceil_mode })
                }
            }
        )*
    };
}

lp_pools! {
    /// The power average over windows of `[…, length]`; PyTorch's `LPPool1d`.
    LPPool1d, 1;
    /// The power average over windows of `[…, height, width]`; PyTorch's `LPPool2d`.
    LPPool2d, 2;
    /// The power average over windows of `[…, depth, height, width]`; PyTorch's `LPPool3d`.
    LPPool3d, 3;
}

/// The sizes of an adaptive pooling: a number for all, or one per dimension; `None` for the input's.
pub trait OutputSize<const N: usize> {
    /// One size per dimension.
    fn output_size(self) -> [Option<usize>; N];
}

impl<const N: usize> OutputSize<N> for usize {
    fn output_size(self) -> [Option<usize>; N] {
        [Some(self); N]
    }
}

impl<const N: usize> OutputSize<N> for [usize; N] {
    fn output_size(self) -> [Option<usize>; N] {
        self.map(Some)
    }
}

impl<const N: usize> OutputSize<N> for [Option<usize>; N] {
    fn output_size(self) -> [Option<usize>; N] {
        self
    }
}

/// The sizes for an input.
fn sizes_for<const N: usize>(name: &str, size: [Option<usize>; N], x: &Tensor) -> Result<[usize; N]> {
    let Some(own) = x.shape().last_chunk::<N>() else {
        return Err(Error::shape(format!(
            "{name}: needs at least {N} dimensions, found shape {:?}",
            x.shape()
        )));
    };
    Ok(std::array::from_fn(|i| size[i].unwrap_or(own[i])))
}

macro_rules! adaptive_avg_pools {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal, |$x:ident, $size:ident| $call:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The sizes to make; `None` for the input's.
                pub output_size: [Option<usize>; $dims],
            }

            impl $name {
                /// Makes a layer.
                pub fn new(output_size: impl OutputSize<$dims>) -> Self {
                    Self { output_size: output_size.output_size() }
                }
            }

            impl Layer for $name {
                fn forward(&self, $x: &Tensor) -> Result<Tensor> {
                    let $size = sizes_for($text, self.output_size, $x)?;
                    $call
                }
            }
        )*
    };
}

adaptive_avg_pools! {
    /// The averages of nearly equal windows of `[…, length]`; PyTorch's `AdaptiveAvgPool1d`.
    AdaptiveAvgPool1d, "AdaptiveAvgPool1d", 1, |x, size| functional::adaptive_avg_pool1d(x, size[0]);
    /// The averages of nearly equal windows of `[…, height, width]`; PyTorch's `AdaptiveAvgPool2d`.
    ///
    /// ```
    /// use sconce::nn::{AdaptiveAvgPool2d, Layer};
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3, 7, 5], DType::F32)?;
    /// assert_eq!(AdaptiveAvgPool2d::new(1).forward(&x)?.shape(), [2, 3, 1, 1]);
    /// assert_eq!(AdaptiveAvgPool2d::new([Some(2), None]).forward(&x)?.shape(), [2, 3, 2, 5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    AdaptiveAvgPool2d, "AdaptiveAvgPool2d", 2, |x, size| functional::adaptive_avg_pool2d(x, size);
    /// The averages of nearly equal windows of `[…, depth, height, width]`; PyTorch's `AdaptiveAvgPool3d`.
    AdaptiveAvgPool3d, "AdaptiveAvgPool3d", 3, |x, size| functional::adaptive_avg_pool3d(x, size);
}

macro_rules! adaptive_max_pools {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal, |$x:ident, $size:ident| $call:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The sizes to make; `None` for the input's.
                pub output_size: [Option<usize>; $dims],
            }

            impl $name {
                /// Makes a layer.
                pub fn new(output_size: impl OutputSize<$dims>) -> Self {
                    Self { output_size: output_size.output_size() }
                }

                /// The greatest elements with their indices in the flattened input; PyTorch's `return_indices=True`.
                ///
                /// # Errors
                ///
                /// If the input does not fit the layer.
                pub fn forward_with_indices(&self, $x: &Tensor) -> Result<(Tensor, Tensor)> {
                    let $size = sizes_for($text, self.output_size, $x)?;
                    $call
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    Ok(self.forward_with_indices(x)?.0)
                }
            }
        )*
    };
}

adaptive_max_pools! {
    /// The maxima of nearly equal windows of `[…, length]`; PyTorch's `AdaptiveMaxPool1d`.
    AdaptiveMaxPool1d, "AdaptiveMaxPool1d", 1,
        |x, size| functional::adaptive_max_pool1d_with_indices(x, size[0]);
    /// The maxima of nearly equal windows of `[…, height, width]`; PyTorch's `AdaptiveMaxPool2d`.
    AdaptiveMaxPool2d, "AdaptiveMaxPool2d", 2,
        |x, size| functional::adaptive_max_pool2d_with_indices(x, size);
    /// The maxima of nearly equal windows of `[…, depth, height, width]`; PyTorch's `AdaptiveMaxPool3d`.
    AdaptiveMaxPool3d, "AdaptiveMaxPool3d", 3,
        |x, size| functional::adaptive_max_pool3d_with_indices(x, size);
}

macro_rules! unpools {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $dims:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The size of a window.
                pub kernel_size: [usize; $dims],
                /// The distance between two windows; that of the window by default.
                pub stride: [usize; $dims],
                /// How far windows reached beyond the edges; 0.
                pub padding: [usize; $dims],
            }

            impl $name {
                /// Makes a layer with PyTorch's defaults; the options are its fields.
                pub fn new(kernel_size: impl Extent<$dims>) -> Self {
                    let kernel_size = kernel_size.extent();
                    Self { kernel_size, stride: kernel_size, padding: [0; $dims] }
                }

                /// Puts each value back where the maximum was, zeros elsewhere; `output_size` chooses between the sizes
                /// that a pooling takes to one.
                ///
                /// # Errors
                ///
                /// If shapes do not fit, or an index lies outside the output.
                pub fn forward(
                    &self,
                    x: &Tensor,
                    indices: &Tensor,
                    output_size: Option<[usize; $dims]>,
                ) -> Result<Tensor> {
                    let pooled = sizes_for($text, [None; $dims], x)?;
                    let own =
                        functional::unpooled_size(pooled, self.kernel_size, self.stride, self.padding);
                    functional::max_unpool(x, indices, output_size.unwrap_or(own))
                }
            }
        )*
    };
}

unpools! {
    /// The inverse of [`MaxPool1d`], as far as there is one; PyTorch's `MaxUnpool1d`.
    MaxUnpool1d, "MaxUnpool1d", 1;
    /// The inverse of [`MaxPool2d`], as far as there is one; PyTorch's `MaxUnpool2d`.
    MaxUnpool2d, "MaxUnpool2d", 2;
    /// The inverse of [`MaxPool3d`], as far as there is one; PyTorch's `MaxUnpool3d`.
    MaxUnpool3d, "MaxUnpool3d", 3;
}

/// The sizes that a fractional pool makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FractionalSize<const N: usize> {
    /// These.
    Output([usize; N]),
    /// The input's times numbers between 0 and 1, rounded down; PyTorch's `output_ratio`.
    Ratio([f64; N]),
}

settings!(FractionalSize<2>, FractionalSize<3>);

impl<const N: usize> FractionalSize<N> {
    fn ratio(layer: &str, ratio: [f64; N]) -> Result<Self> {
        if !ratio.iter().all(|&r| r > 0.0 && r < 1.0) {
            return Err(Error::argument(format!(
                "{layer}: output ratios must be between 0 and 1, found {ratio:?}"
            )));
        }
        Ok(Self::Ratio(ratio))
    }

    /// The sizes for an input; one that has too few dimensions is left to the pool to refuse.
    fn of(&self, x: &Tensor) -> [usize; N] {
        match *self {
            Self::Output(sizes) => sizes,
            Self::Ratio(ratio) => std::array::from_fn(|i| {
                let size = (x.dim() + i).checked_sub(N).map_or(0, |d| x.shape()[d]);
                (size as f64 * ratio[i]) as usize
            }),
        }
    }
}

macro_rules! fractional_pools {
    ($($(#[$doc:meta])* $name:ident, $dims:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// The size of a window.
                pub kernel_size: [usize; $dims],
                /// The sizes to make.
                pub output: FractionalSize<$dims>,
            }

            impl $name {
                /// Makes a layer whose outputs have a size.
                pub fn new(kernel_size: impl Extent<$dims>, output_size: impl Extent<$dims>) -> Self {
                    let output = FractionalSize::Output(output_size.extent());
                    Self { kernel_size: kernel_size.extent(), output }
                }

                /// Makes a layer whose outputs have a part of the input's size.
                ///
                /// # Errors
                ///
                /// If a ratio is not between 0 and 1.
                pub fn with_ratio(kernel_size: impl Extent<$dims>, ratio: [f64; $dims]) -> Result<Self> {
                    let output = FractionalSize::ratio(stringify!($name), ratio)?;
                    Ok(Self { kernel_size: kernel_size.extent(), output })
                }

                /// The greatest elements with their indices in the flattened input; PyTorch's `return_indices=True`.
                ///
                /// # Errors
                ///
                /// If the input does not fit the layer.
                pub fn forward_with_indices(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
                    functional::fractional_max_pool(x, self.kernel_size, self.output.of(x), None)
                }
            }

            impl Layer for $name {
                fn forward(&self, x: &Tensor) -> Result<Tensor> {
                    Ok(self.forward_with_indices(x)?.0)
                }
            }
        )*
    };
}

fractional_pools! {
    /// The maxima of windows that start at random; PyTorch's `FractionalMaxPool2d`.
    ///
    /// ```
    /// use sconce::nn::{FractionalMaxPool2d, Layer};
    /// use sconce::{DType, Tensor};
    ///
    /// let pool = FractionalMaxPool2d::with_ratio(3, [0.5, 0.7])?;
    /// assert_eq!(pool.forward(&Tensor::ones([2, 11, 13], DType::F32)?)?.shape(), [2, 5, 9]);
    /// assert!(FractionalMaxPool2d::with_ratio(3, [0.5, 1.2]).is_err());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    FractionalMaxPool2d, 2;
    /// The maxima of windows that start at random; PyTorch's `FractionalMaxPool3d`.
    FractionalMaxPool3d, 3;
}
