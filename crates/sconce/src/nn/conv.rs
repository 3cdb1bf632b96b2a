//! Convolutions.

use super::layer::Layer;
use super::leaf::{Param, settings};
use super::linear::init_like_pytorch;
use super::place::named;
use crate::functional::{self, Conv2dOptions};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

/// A height and a width: `3` or `[3, 5]`.
pub trait Pair {
    /// Height and width.
    fn pair(self) -> [usize; 2];
}

impl Pair for usize {
    fn pair(self) -> [usize; 2] {
        [self; 2]
    }
}

impl Pair for [usize; 2] {
    fn pair(self) -> [usize; 2] {
        self
    }
}

/// How many zeros a convolution adds around its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many above and below, left and right.
    Explicit([usize; 2]),
    /// As many as keep the size; of an odd number, the greater half goes below and right. Needs a stride of 1.
    Same,
}

/// What a convolution sees beyond the edges of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored without its edge; not implemented.
    Reflect,
    /// The edge; not implemented.
    Replicate,
    /// The opposite side; not implemented.
    Circular,
}

settings!(Padding, PaddingMode);

/// A 2-d convolution (cross-correlation) over `[batch, channels, height, width]`; PyTorch's `Conv2d`.
///
/// `weight` is `[out_channels, in_channels / groups, height, width]`, `bias` `[out_channels]`; both start as in
/// PyTorch.
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
#[derive(Debug, Module)]
pub struct Conv2d {
    /// The kernels, `[out_channels, in_channels / groups, height, width]`.
    pub weight: Param,
    /// What is added to each channel, `[out_channels]`.
    pub bias: Option<Param>,
    in_channels: usize,
    out_channels: usize,
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    groups: usize,
}

/// The options of a [`Conv2d`].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dConfig {
    /// The distance between two places of the kernel; 1.
    pub stride: [usize; 2],
    /// The zeros around the input; none.
    pub padding: Padding,
    /// The distance between two elements of the kernel; 1.
    pub dilation: [usize; 2],
    /// The number of groups of channels that do not see each other; 1.
    pub groups: usize,
    /// Whether there is a bias; true.
    pub bias: bool,
    /// What lies beyond the edges; zeros.
    pub padding_mode: PaddingMode,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: Padding::Explicit([0, 0]),
            dilation: [1, 1],
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
            dtype: DType::F32,
        }
    }
}

impl Conv2dConfig {
    /// Makes a layer from `in_channels` to `out_channels`.
    ///
    /// # Errors
    ///
    /// If the groups do not divide both numbers of channels; if a kernel size, stride, dilation or the groups are 0;
    /// if the padding is `Same` and the stride is not 1, or the padding mode is not implemented.
    pub fn build(self, in_channels: usize, out_channels: usize, kernel_size: impl Pair) -> Result<Conv2d> {
        let kernel_size = kernel_size.pair();
        let Self { stride, padding, dilation, groups, .. } = self;
        if groups == 0 || !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            return Err(Error::argument(format!(
                "Conv2d: {groups} groups do not divide {in_channels} input and {out_channels} output channels"
            )));
        }
        for (what, sizes) in [("kernel size", kernel_size), ("stride", stride), ("dilation", dilation)] {
            if sizes.contains(&0) {
                return Err(Error::argument(format!("Conv2d: the {what} must not be 0, found {sizes:?}")));
            }
        }
        if padding == Padding::Same && stride != [1, 1] {
            return Err(Error::argument(format!(
                "Conv2d: padding `Same` needs a stride of 1, found {stride:?}"
            )));
        }
        if self.padding_mode != PaddingMode::Zeros {
            return Err(Error::unsupported(format!(
                "Conv2d: padding mode {:?} is not implemented, only Zeros",
                self.padding_mode
            )));
        }
        let [height, width] = kernel_size;
        let shape = [out_channels, in_channels / groups, height, width];
        let weight = Param::new(&Tensor::empty(shape, self.dtype)?)?;
        let bias =
            if self.bias { Some(Param::new(&Tensor::empty([out_channels], self.dtype)?)?) } else { None };
        init_like_pytorch(&weight, bias.as_ref())?;
        Ok(Conv2d { weight, bias, in_channels, out_channels, kernel_size, stride, padding, dilation, groups })
    }
}

impl Conv2d {
    /// Makes a layer with PyTorch's defaults; [`Conv2dConfig`] has the options.
    ///
    /// # Errors
    ///
    /// If a kernel size is 0, or there is not enough memory.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Pair) -> Result<Self> {
        Conv2dConfig::default().build(in_channels, out_channels, kernel_size)
    }

    fn compute(&self, x: &Tensor) -> Result<Tensor> {
        let mut options = Conv2dOptions {
            stride: self.stride,
            padding: [0, 0],
            dilation: self.dilation,
            groups: self.groups,
        };
        let mut surplus = [0, 0];
        match self.padding {
            Padding::Explicit(padding) => options.padding = padding,
            Padding::Same => {
                let totals = [0, 1].map(|i| self.dilation[i] * (self.kernel_size[i] - 1));
                // Of an odd number, the greater half on both sides gives one output too many, the first.
                options.padding = totals.map(|total| total.div_ceil(2));
                surplus = totals.map(|total| total % 2);
            }
        }
        let mut y = functional::conv2d(x, &self.weight, self.bias.as_deref(), options)?;
        for (dim, surplus) in [(-2, surplus[0]), (-1, surplus[1])] {
            if surplus > 0 {
                let size = y.size(dim)? - surplus;
                y = y.narrow(dim, surplus as isize, size)?;
            }
        }
        Ok(y)
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        named(self.compute(x), Some(&self.weight))
    }
}
