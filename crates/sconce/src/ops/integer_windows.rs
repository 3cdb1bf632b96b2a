//! Convolutions and pooling of integers: exact, with wrapping sums as in PyTorch, and without gradients.
//!
//! All are put together from one strided view of the padded input, whose last dimensions are those of a window.

use crate::tensor::dtype::Category;
use crate::tensor::scalar::Scalar;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// How windows lie in the last dimensions of an input: one number per dimension.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub(super) kernel: Dims,
    pub(super) stride: Dims,
    pub(super) padding: Dims,
    pub(super) dilation: Dims,
    /// How many there are.
    pub(super) count: Dims,
}

impl Windows {
    /// How much of a padded dimension the windows reach over.
    fn reach(&self, i: usize) -> usize {
        let (last, span) = (self.count[i].saturating_sub(1), self.kernel[i].saturating_sub(1));
        last * self.stride[i] + span * self.dilation[i] + 1
    }

    /// The windows of `[…, D…]` as a view `[…, count…, kernel…]` of a copy that is padded with `fill`.
    fn of(&self, x: &Tensor, fill: Scalar) -> Result<Tensor> {
        let spatial = self.kernel.len();
        let lead = x.dim() - spatial;
        let mut shape = Dims::from_slice(x.shape());
        for i in 0..spatial {
            shape[lead + i] = (x.shape()[lead + i] + self.padding[i]).max(self.reach(i));
        }
        let padded = Tensor::full(shape.as_slice(), fill, x.dtype())?;
        let mut inside = padded.clone();
        for i in 0..spatial {
            inside = inside.narrow((lead + i) as isize, self.padding[i] as isize, x.shape()[lead + i])?;
        }
        inside.copy_(&x.detach())?;
        let (mut sizes, mut strides) =
            (Dims::from_slice(&shape[..lead]), Dims::from_slice(&padded.strides()[..lead]));
        for i in 0..spatial {
            sizes.push(self.count[i]);
            strides.push(padded.strides()[lead + i] * self.stride[i]);
        }
        for i in 0..spatial {
            sizes.push(self.kernel[i]);
            strides.push(padded.strides()[lead + i] * self.dilation[i]);
        }
        padded.as_strided(sizes.as_slice(), strides.as_slice(), 0)
    }

    /// [`of`](Self::of) with the elements of a window in one last dimension.
    fn flat(&self, x: &Tensor, fill: Scalar) -> Result<Tensor> {
        self.of(x, fill)?.flatten(-(self.kernel.len() as isize), -1)
    }
}

/// Whether an input of integers is to be computed here; bools are refused.
pub(super) fn is_integer(op: &str, x: &Tensor) -> Result<bool> {
    match x.dtype().category() {
        Category::Integer => Ok(true),
        Category::Bool => Err(Error::dtype(format!("{op}: not implemented for bool"))),
        _ => Ok(false),
    }
}

/// Refuses integers that PyTorch does not compute either.
pub(super) fn only_int64(op: &str, x: &Tensor) -> Result<()> {
    if x.dtype() == DType::I64 {
        return Ok(());
    }
    Err(Error::dtype(format!("{op}: needs a floating point dtype or int64, found {}", x.dtype())))
}

/// The convolution of `[N, C, D…]` with `[out, C / groups, K…]`, without bias.
pub(super) fn convolve(x: &Tensor, weight: &Tensor, windows: &Windows, groups: usize) -> Result<Tensor> {
    let spatial = windows.kernel.len();
    let (n, out) = (x.shape()[0], weight.shape()[0]);
    let taps: usize = weight.shape()[1..].iter().product();
    let places: usize = windows.count.iter().product();
    // [N, C, count…, kernel…] to [N, groups, C / groups · kernel, count].
    let mut order: Vec<usize> = vec![0, 1];
    order.extend(2 + spatial..2 + 2 * spatial);
    order.extend(2..2 + spatial);
    let columns =
        windows.of(x, Scalar::Int(0))?.permute(order.as_slice())?.reshape([n, groups, taps, places])?;
    let rows = weight.detach().reshape([1, groups, out / groups.max(1), taps])?;
    let mut shape = Dims::from_slice(&[n, out]);
    shape.extend_from_slice(&windows.count);
    rows.matmul(&columns)?.reshape(shape.as_slice())
}

/// The transposed convolution of `[N, C, D…]` with `[C, out / groups, K…]`, without bias: the convolution of an input
/// with zeros between its elements with the kernel turned round. `windows` are those of the convolution that it
/// transposes, `size` is that of the result.
pub(super) fn convolve_transposed(
    x: &Tensor,
    weight: &Tensor,
    windows: &Windows,
    groups: usize,
    size: &[usize],
) -> Result<Tensor> {
    let spatial = size.len();
    let (n, channels, out) = (x.shape()[0], x.shape()[1], weight.shape()[1] * groups);
    let Windows { kernel, stride, padding, dilation, .. } = windows;
    let span = |i: usize| (kernel[i] - 1) * dilation[i];
    let mut shape = Dims::from_slice(&[n, channels]);
    shape.extend((0..spatial).map(|i| size[i] + padding[i] + span(i)));
    let spread = Tensor::zeros(shape.as_slice(), x.dtype())?;
    let (mut places, mut given) = (spread.clone(), x.detach());
    for i in 0..spatial {
        let d = 2 + i as isize;
        // What lies beyond the result is cut off.
        let fit = given.shape()[2 + i].min((size[i] + padding[i]).div_ceil(stride[i]));
        given = given.narrow(d, 0, fit)?;
        places = places.slice(d, span(i) as isize, isize::MAX, stride[i])?.narrow(d, 0, fit)?;
    }
    places.copy_(&given)?;
    let mut cut = spread;
    for (i, &start) in padding.iter().enumerate() {
        cut = cut.narrow(2 + i as isize, start as isize, size[i] + span(i))?;
    }
    let turned = weight.detach().flip((2..2 + spatial).collect::<Vec<_>>())?;
    let mut parts = Dims::from_slice(&[groups, channels / groups, out / groups]);
    parts.extend_from_slice(kernel);
    let mut merged = Dims::from_slice(&[out, channels / groups]);
    merged.extend_from_slice(kernel);
    let turned = turned.reshape(parts.as_slice())?.transpose(1, 2)?.reshape(merged.as_slice())?;
    let steps = Windows {
        stride: Dims::from_elem(1, spatial),
        padding: Dims::from_elem(0, spatial),
        count: Dims::from_slice(size),
        ..windows.clone()
    };
    convolve(&cut, &turned, &steps, groups)
}

/// The greatest element of each window of `[…, D…]`, and its index in the flattened `D…`.
pub(super) fn greatest(x: &Tensor, windows: &Windows) -> Result<(Tensor, Tensor)> {
    let spatial = windows.kernel.len();
    let size = &x.shape()[x.dim() - spatial..];
    let n: usize = size.iter().product();
    let least = match x.dtype() {
        DType::U8 => 0,
        DType::I8 => i8::MIN.into(),
        DType::I16 => i16::MIN.into(),
        DType::I32 => i32::MIN.into(),
        _ => i64::MIN,
    };
    let (values, at) = windows.flat(x, Scalar::Int(least))?.max_dim(-1)?;
    let positions =
        windows.flat(&Tensor::arange(0, n as i64, 1, DType::I64)?.reshape(size)?, Scalar::Int(0))?;
    let mut shape = Dims::from_slice(at.shape());
    shape.push(positions.shape()[spatial]);
    let indices = positions.expand(shape.as_slice())?.gather(-1, &at.unsqueeze(-1)?)?.squeeze(-1)?;
    Ok((values, indices))
}

/// What a window's sum is divided by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    /// A number.
    Fixed(i64),
    /// The elements in the input and its padding.
    Padded,
    /// The elements in the input.
    Inside,
}

/// The average of each window of `[…, D…]`, rounded towards 0.
pub(super) fn average(x: &Tensor, windows: &Windows, count: Count) -> Result<Tensor> {
    let sum = windows.flat(x, Scalar::Int(0))?.sum(-1)?;
    let spatial = windows.kernel.len();
    let size = &x.shape()[x.dim() - spatial..];
    let divisor = match count {
        Count::Fixed(n) => return sum.trunc_divide(n),
        Count::Inside => windows.flat(&Tensor::ones(size, DType::I64)?, Scalar::Int(0))?,
        Count::Padded => {
            let padded: Vec<usize> =
                size.iter().zip(windows.padding.iter()).map(|(n, p)| n + 2 * p).collect();
            let unpadded = Windows { padding: Dims::from_elem(0, spatial), ..windows.clone() };
            unpadded.flat(&Tensor::ones(padded, DType::I64)?, Scalar::Int(0))?
        }
    };
    sum.trunc_divide(&divisor.sum(-1)?)
}
