//! Layers that rearrange their input.

use super::layer::Layer;
use super::leaf::settings;
use crate::functional::{self, InterpolateOptions, Resize, UnfoldOptions};
use crate::tensor::Tensor;
use crate::{Module, Result};

/// Its input; PyTorch's `Identity`.
#[derive(Clone, Copy, Debug, Default, Module)]
pub struct Identity;

impl Layer for Identity {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
}

/// Several dimensions as one; PyTorch's `Flatten`.
///
/// ```
/// use sconce::nn::{Flatten, Layer};
/// use sconce::{DType, Tensor};
/// let x = Tensor::zeros([2, 3, 4, 5], DType::F32)?;
/// assert_eq!(Flatten::default().forward(&x)?.shape(), [2, 60]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Module)]
pub struct Flatten {
    /// The first dimension; 1.
    pub start_dim: isize,
    /// The last dimension; −1.
    pub end_dim: isize,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { start_dim: 1, end_dim: -1 }
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.flatten(self.start_dim, self.end_dim)
    }
}

/// One dimension as several; PyTorch's `Unflatten`.
///
/// ```
/// use sconce::nn::{Layer, Unflatten};
/// use sconce::{DType, Tensor};
/// let layer = Unflatten { dim: 1, unflattened_size: vec![2, -1] };
/// assert_eq!(layer.forward(&Tensor::zeros([5, 6], DType::F32)?)?.shape(), [5, 2, 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Unflatten {
    /// The dimension.
    pub dim: isize,
    /// The sizes in its place; one may be −1.
    pub unflattened_size: Vec<isize>,
}

impl Layer for Unflatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.unflatten(self.dim, &self.unflattened_size)
    }
}

/// Channels as pixels: `[…, C r², H, W]` becomes `[…, C, H r, W r]`; PyTorch's `PixelShuffle`.
#[derive(Clone, Copy, Debug, Module)]
pub struct PixelShuffle {
    /// r.
    pub upscale_factor: usize,
}

impl Layer for PixelShuffle {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::pixel_shuffle(x, self.upscale_factor)
    }
}

/// Pixels as channels: `[…, C, H r, W r]` becomes `[…, C r², H, W]`; PyTorch's `PixelUnshuffle`.
#[derive(Clone, Copy, Debug, Module)]
pub struct PixelUnshuffle {
    /// r.
    pub downscale_factor: usize,
}

impl Layer for PixelUnshuffle {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::pixel_unshuffle(x, self.downscale_factor)
    }
}

/// Takes the channels of several groups in turn; PyTorch's `ChannelShuffle`.
#[derive(Clone, Copy, Debug, Module)]
pub struct ChannelShuffle {
    /// The number of groups.
    pub groups: usize,
}

impl Layer for ChannelShuffle {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::channel_shuffle(x, self.groups)
    }
}

/// Resizes `[N, C, …]`; PyTorch's `Upsample`.
///
/// ```
/// use sconce::functional::{InterpolateOptions, Resize};
/// use sconce::nn::{Layer, Upsample};
/// use sconce::{DType, Tensor};
/// let layer = Upsample { resize: Resize::Scale(vec![2.0]), options: InterpolateOptions::default() };
/// assert_eq!(layer.forward(&Tensor::zeros([1, 1, 2, 3], DType::F32)?)?.shape(), [1, 1, 4, 6]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Upsample {
    /// The size, or what to multiply it by.
    pub resize: Resize,
    /// How what lies between elements is filled in.
    pub options: InterpolateOptions,
}

impl Layer for Upsample {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::interpolate(x, self.resize.clone(), self.options)
    }
}

/// The windows of an image as columns; PyTorch's `Unfold`.
#[derive(Clone, Copy, Debug, Module)]
pub struct Unfold {
    /// The windows.
    pub windows: UnfoldOptions,
}

impl Layer for Unfold {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::unfold(x, self.windows)
    }
}

/// Adds up windows, given as columns, to an image; PyTorch's `Fold`.
#[derive(Clone, Copy, Debug, Module)]
pub struct Fold {
    /// The size of the image.
    pub output_size: [usize; 2],
    /// The windows.
    pub windows: UnfoldOptions,
}

impl Layer for Fold {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        functional::fold(x, self.output_size, self.windows)
    }
}

settings!(Resize, InterpolateOptions, UnfoldOptions);
