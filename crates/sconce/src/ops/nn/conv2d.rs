//! Convolutions. Each of the three operations here is the derivative of the others.

use sconce_kernels::Conv2d;
use smallvec::smallvec;

use super::integer_windows::{Windows, convolve, convolve_transposed, is_integer, only_int64};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::layers;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::sizes::count;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// How a convolution in `N` dimensions moves over its input; the last number is that of the last dimension.
///
/// ```
/// use sconce::functional::Conv2dOptions;
/// let options = Conv2dOptions { padding: [1, 1], ..Default::default() };
/// assert_eq!(options.stride, [1, 1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions<const N: usize> {
    /// The step of the kernel, 1 by default.
    pub stride: [usize; N],
    /// Zeros on each side, none by default.
    pub padding: [usize; N],
    /// The distance between the kernel's elements, 1 by default.
    pub dilation: [usize; N],
    /// Groups of channels that are convolved apart, 1 by default.
    pub groups: usize,
}

impl<const N: usize> Default for ConvOptions<N> {
    fn default() -> Self {
        Self { stride: [1; N], padding: [0; N], dilation: [1; N], groups: 1 }
    }
}

/// How a convolution in one dimension moves over its input.
pub type Conv1dOptions = ConvOptions<1>;
/// How a convolution in two dimensions moves over its input: rows, columns.
pub type Conv2dOptions = ConvOptions<2>;
/// How a convolution in three dimensions moves over its input: planes, rows, columns.
pub type Conv3dOptions = ConvOptions<3>;

/// How a transposed convolution in `N` dimensions moves over its output; the last number is that of the last dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTransposeOptions<const N: usize> {
    /// The step of the kernel, 1 by default.
    pub stride: [usize; N],
    /// What is cut off on each side, nothing by default.
    pub padding: [usize; N],
    /// What is added at the end of each dimension, nothing by default.
    pub output_padding: [usize; N],
    /// The distance between the kernel's elements, 1 by default.
    pub dilation: [usize; N],
    /// Groups of channels that are convolved apart, 1 by default.
    pub groups: usize,
}

impl<const N: usize> Default for ConvTransposeOptions<N> {
    fn default() -> Self {
        Self { stride: [1; N], padding: [0; N], output_padding: [0; N], dilation: [1; N], groups: 1 }
    }
}

/// How a transposed convolution in one dimension moves over its output.
pub type ConvTranspose1dOptions = ConvTransposeOptions<1>;
/// How a transposed convolution in two dimensions moves over its output: rows, columns.
pub type ConvTranspose2dOptions = ConvTransposeOptions<2>;
/// How a transposed convolution in three dimensions moves over its output: planes, rows, columns.
pub type ConvTranspose3dOptions = ConvTransposeOptions<3>;

/// The convolution of an input with a weight, and a bias if there is a third input.
#[derive(Debug)]
struct Convolution {
    geometry: Conv2d,
    bias: bool,
}

/// The input's gradient, from the output's and the weight.
#[derive(Debug)]
struct BackwardInput(Conv2d);

/// The weight's gradient, from the output's and the input.
#[derive(Debug)]
struct BackwardWeight(Conv2d);

/// Each of two inputs is saved for the gradient of the other.
fn saves_other(needs: &[bool]) -> Saves {
    Saves::input(1).when(needs[0]).and(Saves::input(0).when(needs[1]))
}

impl Op for Convolution {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        layers::conv2d("conv2d", &self.geometry, x[0], x[1], x.get(2).copied())
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        saves_other(needs)
    }

    fn mult_adds(&self, inputs: &[Option<Dims>], output: &[usize]) -> Option<u64> {
        Some(count(output) * count(&inputs[1].as_ref()?[1..]))
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let input = if saved.needs(0) {
            Some(apply(BackwardInput(self.geometry), &[grad, &saved.input(1)?])?)
        } else {
            None
        };
        let weight = if saved.needs(1) {
            Some(apply(BackwardWeight(self.geometry), &[grad, &saved.input(0)?])?)
        } else {
            None
        };
        let mut grads: Grads = smallvec![input, weight];
        if self.bias {
            grads.push(if saved.needs(2) { Some(grad.sum([0, 2, 3])?) } else { None });
        }
        Ok(grads)
    }
}

impl Op for BackwardInput {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        layers::conv2d_backward_input("conv_transpose2d", &self.0, x[0], x[1])
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        saves_other(needs)
    }

    fn mult_adds(&self, inputs: &[Option<Dims>], _: &[usize]) -> Option<u64> {
        Some(count(inputs[0].as_ref()?) * count(&inputs[1].as_ref()?[1..]))
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let output = if saved.needs(0) {
            Some(apply(Convolution { geometry: self.0, bias: false }, &[grad, &saved.input(1)?])?)
        } else {
            None
        };
        let weight = if saved.needs(1) {
            Some(apply(BackwardWeight(self.0), &[&saved.input(0)?, grad])?)
        } else {
            None
        };
        Ok(smallvec![output, weight])
    }
}

impl Op for BackwardWeight {
    fn name(&self) -> &'static str {
        "conv2d_backward_weight"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        layers::conv2d_backward_weight("conv2d_backward_weight", &self.0, x[0], x[1])
    }

    fn saves(&self, needs: &[bool]) -> Saves {
        saves_other(needs)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let output = if saved.needs(0) {
            Some(apply(Convolution { geometry: self.0, bias: false }, &[&saved.input(1)?, grad])?)
        } else {
            None
        };
        let input = if saved.needs(1) {
            Some(apply(BackwardInput(self.0), &[&saved.input(0)?, grad])?)
        } else {
            None
        };
        Ok(smallvec![output, input])
    }
}

fn pair(p: [usize; 2]) -> (usize, usize) {
    (p[0], p[1])
}

/// Refuses what no convolution can have.
fn check(
    op: &str,
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    steps: [[usize; 2]; 2],
    groups: usize,
) -> Result<()> {
    if !is_integer(op, input)? {
        float_dtype(op, input)?;
    }
    let dtypes_agree = weight.dtype() == input.dtype() && bias.is_none_or(|b| b.dtype() == input.dtype());
    if !dtypes_agree {
        return Err(Error::dtype(format!(
            "{op}: dtypes differ: input {}, weight {}, bias {:?}",
            input.dtype(),
            weight.dtype(),
            bias.map(Tensor::dtype)
        )));
    }
    if steps.iter().flatten().any(|&n| n == 0) || groups == 0 {
        return Err(Error::argument(format!(
            "{op}: stride {:?}, dilation {:?} and groups {groups} must be positive",
            steps[0], steps[1]
        )));
    }
    if !matches!(input.dim(), 3 | 4) || weight.dim() != 4 {
        return Err(Error::shape(format!(
            "{op}: needs an input [N, C, H, W] or [C, H, W] and a weight of 4 dimensions, found {:?} and {:?}",
            input.shape(),
            weight.shape()
        )));
    }
    Ok(())
}

type Inputs = (Tensor, Tensor, Option<Tensor>);

/// Integers of one dtype as doubles, which hold the sums that layers of integers make.
fn in_doubles(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Result<Inputs>> {
    let dtype = input.dtype();
    let agree = weight.dtype() == dtype && bias.is_none_or(|b| b.dtype() == dtype);
    let wide = |t: &Tensor| t.to(DType::F64);
    (dtype.category() == Category::Integer && agree)
        .then(|| Ok((wide(input)?, wide(weight)?, bias.map(wide).transpose()?)))
}

fn misfit(op: &str, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, groups: usize) -> Error {
    Error::shape(format!(
        "{op}: input {:?}, weight {:?} and bias {:?} do not fit each other with groups {groups}",
        input.shape(),
        weight.shape(),
        bias.map(Tensor::shape)
    ))
}

/// The windows of a convolution of integers.
fn windows(c: &Conv2d, count: [usize; 2]) -> Windows {
    let dims = |(rows, columns): (usize, usize)| Dims::from_slice(&[rows, columns]);
    Windows {
        kernel: dims(c.kernel),
        stride: dims(c.stride),
        padding: dims(c.padding),
        dilation: dims(c.dilation),
        count: Dims::from_slice(&count),
    }
}

/// Runs a function on a batch: one of a single element is made where there is none, and unmade after.
pub(super) fn batched(x: &Tensor, rank: usize, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if x.dim() == rank { f(x) } else { f(&x.unsqueeze(0)?)?.squeeze(0) }
}

/// The convolution (cross-correlation) of `[N, C, H, W]` or `[C, H, W]` with a weight `[out, C / groups, h, w]`.
///
/// # Errors
///
/// If shapes, groups or dtypes do not fit, the kernel exceeds the padded input, or a step is 0.
///
/// ```
/// use sconce::{DType, Tensor, functional::{Conv2dOptions, conv2d}};
/// let x = Tensor::ones([1, 2, 5, 5], DType::F32)?;
/// let weight = Tensor::ones([3, 2, 3, 3], DType::F32)?;
/// let y = conv2d(&x, &weight, None, Conv2dOptions { padding: [1, 1], ..Default::default() })?;
/// assert_eq!(y.shape(), [1, 3, 5, 5]);
/// assert_eq!(y.select(2, 2)?.select(2, 2)?.to_vec::<f32>()?, [18.0; 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn conv2d(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: Conv2dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv2d";
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    if let Some(exact) = in_doubles(input, weight, bias) {
        let (x, w, b) = exact?;
        return conv2d(&x, &w, b.as_ref(), options)?.to(input.dtype());
    }
    check(OP, input, weight, bias, [stride, dilation], groups)?;
    batched(input, 4, |x| {
        let (s, w) = (x.shape(), weight.shape());
        let fits = w[0] % groups == 0
            && s[1] == w[1] * groups
            && w[0] > 0
            && bias.is_none_or(|b| b.shape() == [w[0]]);
        if !fits {
            return Err(misfit(OP, input, weight, bias, groups));
        }
        let geometry = Conv2d {
            n: s[0],
            c_in: s[1],
            h: s[2],
            w: s[3],
            c_out: w[0],
            kernel: (w[2], w[3]),
            stride: pair(stride),
            padding: pair(padding),
            dilation: pair(dilation),
            groups,
        };
        if geometry.output().is_none() {
            return Err(Error::shape(format!(
                "{OP}: the kernel of weight {:?} with dilation {dilation:?} exceeds the input {:?} with padding {padding:?}",
                weight.shape(),
                input.shape()
            )));
        }
        // The kernels index a padded copy.
        let padded =
            [(s[2], padding[0]), (s[3], padding[1])].iter().try_fold(s[1].max(1), |n, &(size, pad)| {
                n.checked_mul(pad.checked_mul(2)?.checked_add(size)?.max(1))
            });
        if padded.is_none_or(|n| n > 1 << 56) {
            return Err(Error::argument(format!(
                "{OP}: the input {:?} with padding {padding:?} has too many elements",
                input.shape()
            )));
        }
        if is_integer(OP, x)? {
            if geometry.dilation != (1, 1) {
                only_int64(OP, x)?;
            }
            let (rows, columns) = geometry.output().unwrap_or_default();
            let y = convolve(x, weight, &windows(&geometry, [rows, columns]), groups)?;
            return bias.map_or(Ok(y.clone()), |bias| y.add(&bias.reshape([-1, 1, 1])?));
        }
        match bias {
            Some(bias) => apply(Convolution { geometry, bias: true }, &[x, weight, bias]),
            None => apply(Convolution { geometry, bias: false }, &[x, weight]),
        }
    })
}

/// The transposed convolution of `[N, C, H, W]` or `[C, H, W]` with a weight `[C, out / groups, h, w]`.
///
/// # Errors
///
/// As [`conv2d`]; also if `output_padding` is not less than stride or dilation.
///
/// ```
/// use sconce::{DType, Tensor, functional::{ConvTranspose2dOptions, conv_transpose2d}};
/// let x = Tensor::ones([1, 2, 3, 3], DType::F32)?;
/// let weight = Tensor::ones([2, 4, 2, 2], DType::F32)?;
/// let options = ConvTranspose2dOptions { stride: [2, 2], ..Default::default() };
/// assert_eq!(conv_transpose2d(&x, &weight, None, options)?.shape(), [1, 4, 6, 6]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn conv_transpose2d(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvTranspose2dOptions,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose2d";
    let ConvTranspose2dOptions { stride, padding, output_padding, dilation, groups } = options;
    if let Some(exact) = in_doubles(input, weight, bias) {
        let (x, w, b) = exact?;
        return conv_transpose2d(&x, &w, b.as_ref(), options)?.to(input.dtype());
    }
    check(OP, input, weight, bias, [stride, dilation], groups)?;
    if (0..2).any(|i| output_padding[i] >= stride[i] && output_padding[i] >= dilation[i]) {
        return Err(Error::argument(format!(
            "{OP}: output_padding {output_padding:?} must be less than stride {stride:?} or dilation {dilation:?}"
        )));
    }
    batched(input, 4, |x| {
        let (s, w) = (x.shape(), weight.shape());
        let whole = s[1] == w[0] && w[0] % groups == 0 && w[0] > 0;
        let channels = if whole { w[1] * groups } else { 0 };
        let fits = whole && bias.is_none_or(|b| b.shape() == [channels]);
        if !fits {
            return Err(misfit(OP, input, weight, bias, groups));
        }
        let size = |i: usize| {
            let reach = s[2 + i].checked_sub(1)?.checked_mul(stride[i])?;
            let kernel = w[2 + i].checked_sub(1)?.checked_mul(dilation[i])?;
            reach
                .checked_add(kernel)?
                .checked_add(output_padding[i])?
                .checked_add(1)?
                .checked_sub(padding[i].checked_mul(2)?)
                .filter(|&n| n > 0)
        };
        let (Some(h), Some(width)) = (size(0), size(1)) else {
            return Err(Error::shape(format!(
                "{OP}: nothing is left of input {:?} and weight {:?} with padding {padding:?}",
                input.shape(),
                weight.shape()
            )));
        };
        let geometry = Conv2d {
            n: s[0],
            c_in: channels,
            h,
            w: width,
            c_out: w[0],
            kernel: (w[2], w[3]),
            stride: pair(stride),
            padding: pair(padding),
            dilation: pair(dilation),
            groups,
        };
        let y = if is_integer(OP, x)? {
            only_int64(OP, x)?;
            convolve_transposed(x, weight, &windows(&geometry, [s[2], s[3]]), groups, &[h, width])?
        } else if geometry.output() == Some((s[2], s[3])) {
            apply(BackwardInput(geometry), &[x, weight])?
        } else {
            uncut(geometry, (s[2], s[3]), x, weight)?
        };
        bias.map_or(Ok(y.clone()), |bias| y.add(&bias.reshape([channels, 1, 1])?))
    })
}

/// A transposed convolution whose output is so long that a convolution of it would have more than `given` elements: it
/// is computed without padding, extended with zeros, and then cut.
fn uncut(geometry: Conv2d, given: (usize, usize), x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let Conv2d { stride, kernel, dilation, padding, .. } = geometry;
    let full = |n: usize, stride: usize, kernel: usize, dilation: usize| {
        (n - 1) * stride + (kernel - 1) * dilation + 1
    };
    let whole = Conv2d {
        h: full(given.0, stride.0, kernel.0, dilation.0),
        w: full(given.1, stride.1, kernel.1, dilation.1),
        padding: (0, 0),
        ..geometry
    };
    let mut y = apply(BackwardInput(whole), &[x, weight])?;
    for (dim, start, size) in [(2, padding.0, geometry.h), (3, padding.1, geometry.w)] {
        let missing = (start + size).saturating_sub(y.shape()[dim]);
        if missing > 0 {
            let mut shape = Dims::from_slice(y.shape());
            shape[dim] = missing;
            y = Tensor::cat(&[y.clone(), Tensor::zeros(shape.as_slice(), y.dtype())?], dim as isize)?;
        }
        y = y.narrow(dim as isize, start as isize, size)?;
    }
    Ok(y)
}

const D: (f64, f64) = (-1.0, 1.0);

/// For the generic tests.
pub(in crate::ops) static CONVOLUTIONS: &[OpInfo] = &[
    OpInfo {
        name: "conv2d",
        samples: || {
            vec![
                Sample::new(&[(&[2, 2, 4, 3], D), (&[3, 2, 2, 2], D), (&[3], D)], |x| {
                    conv2d(&x[0], &x[1], Some(&x[2]), Conv2dOptions::default())
                }),
                Sample::new(&[(&[4, 5, 4], D), (&[4, 2, 3, 1], D)], |x| {
                    let options =
                        Conv2dOptions { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2 };
                    conv2d(&x[0], &x[1], None, options)
                }),
            ]
        },
    },
    OpInfo {
        name: "conv_transpose2d",
        samples: || {
            vec![
                Sample::new(&[(&[2, 2, 3, 2], D), (&[2, 3, 2, 2], D), (&[3], D)], |x| {
                    conv_transpose2d(&x[0], &x[1], Some(&x[2]), ConvTranspose2dOptions::default())
                }),
                Sample::new(&[(&[1, 2, 3, 2], D), (&[2, 2, 3, 2], D)], |x| {
                    let options = ConvTranspose2dOptions {
                        stride: [2, 3],
                        padding: [1, 0],
                        output_padding: [1, 2],
                        dilation: [1, 2],
                        groups: 2,
                    };
                    conv_transpose2d(&x[0], &x[1], None, options)
                }),
                Sample::new(&[(&[1, 3, 2], D), (&[1, 2, 2, 2], D)], |x| {
                    let options = ConvTranspose2dOptions {
                        padding: [1, 0],
                        output_padding: [1, 2],
                        dilation: [2, 3],
                        ..Default::default()
                    };
                    conv_transpose2d(&x[0], &x[1], None, options)
                }),
            ]
        },
    },
];
