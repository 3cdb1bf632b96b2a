//! Unpooling, and pooling over windows that start at random.

use super::pool::check_rank;
use crate::ops::driver::build;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result};

/// Puts each value back where a maximum was found, zeros elsewhere; the last `N` dimensions get `output_size`.
///
/// `indices` are those of a maximum pooling in flattened planes; PyTorch's `max_unpool1d`, `2d` and `3d`.
///
/// # Errors
///
/// If shapes differ, or an index lies outside the output.
///
/// ```
/// use sconce::Tensor;
/// use sconce::functional::{MaxPool1dOptions, max_pool1d_with_indices, max_unpool};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0, 2.0], [1, 4])?;
/// let (values, indices) = max_pool1d_with_indices(&x, MaxPool1dOptions::new([2]))?;
/// assert_eq!(max_unpool(&values, &indices, [4])?.to_vec::<f32>()?, [0.0, 5.0, 3.0, 0.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn max_unpool<const N: usize>(
    input: &Tensor,
    indices: &Tensor,
    output_size: [usize; N],
) -> Result<Tensor> {
    const OP: &str = "max_unpool";
    let rank = input.dim();
    if input.shape() != indices.shape() || N == 0 || !(N + 1..=N + 2).contains(&rank) {
        return Err(Error::shape(format!(
            "{OP}: needs values and indices of one shape with {} or {} dimensions, found {:?} and {:?}",
            N + 1,
            N + 2,
            input.shape(),
            indices.shape()
        )));
    }
    if indices.dtype() != DType::I64 {
        return Err(Error::dtype(format!("{OP}: indices must be int64, found {}", indices.dtype())));
    }
    let lead = &input.shape()[..rank - N];
    let (outer, plane) = (lead.iter().product::<usize>(), checked_numel(&output_size)?);
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(&output_size);
    let inner: usize = input.shape()[rank - N..].iter().product();
    let zeros = Tensor::zeros([outer, plane], input.dtype())?;
    let flat = [outer, inner];
    zeros.scatter(1, &indices.reshape(flat)?, &input.reshape(flat)?).context(|| OP)?.reshape(shape.as_slice())
}

/// The sizes that [`max_unpool`] gives by default: those whose pooling with these windows has the sizes `pooled`.
///
/// ```
/// use sconce::functional::unpooled_size;
/// assert_eq!(unpooled_size([3], [2], [2], [0]), [6]);
/// ```
pub fn unpooled_size<const N: usize>(
    pooled: [usize; N],
    kernel_size: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
) -> [usize; N] {
    std::array::from_fn(|i| {
        let reach = pooled[i].saturating_sub(1).saturating_mul(stride[i]).saturating_add(kernel_size[i]);
        reach.saturating_sub(padding[i].saturating_mul(2))
    })
}

/// The greatest element of windows that start at random, with indices: Graham, "Fractional max-pooling".
///
/// `samples` in [0, 1), `[N, C, dimensions]`, say where the windows of each plane start; without them they are drawn.
///
/// # Errors
///
/// If shapes do not fit, or an output size exceeds the input's less the window's, plus 1.
///
/// ```
/// use sconce::{DType, Tensor, functional::fractional_max_pool};
/// let x = Tensor::arange(0, 25, 1, DType::F32)?.view([1, 1, 5, 5])?;
/// let (y, indices) = fractional_max_pool(&x, [2, 2], [3, 3], None)?;
/// assert_eq!(y.shape(), [1, 1, 3, 3]);
/// assert_eq!(y.flatten(0, -1)?.to_vec::<f32>()?[8], 24.0);
/// assert_eq!(indices.flatten(0, -1)?.to_vec::<i64>()?[8], 24);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn fractional_max_pool<const N: usize>(
    input: &Tensor,
    kernel_size: [usize; N],
    output_size: [usize; N],
    samples: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "fractional_max_pool";
    float_dtype(OP, input)?;
    if !(2..=3).contains(&N) {
        return Err(Error::argument(format!("{OP}: windows have 2 or 3 dimensions, found {N}")));
    }
    check_rank(OP, input, N)?;
    let rank = input.dim();
    let sizes: [usize; N] = std::array::from_fn(|i| input.shape()[rank - N + i]);
    let fits = |i: usize| {
        kernel_size[i] > 0
            && output_size[i] > 0
            && output_size[i].checked_add(kernel_size[i]).is_some_and(|reach| reach <= sizes[i] + 1)
    };
    if !(0..N).all(fits) {
        return Err(Error::shape(format!(
            "{OP}: {output_size:?} windows of {kernel_size:?} do not fit an input of shape {:?}",
            input.shape()
        )));
    }
    let (batch, channels) = (if rank == N + 2 { input.shape()[0] } else { 1 }, input.shape()[rank - N - 1]);
    let samples = match samples {
        Some(samples) => samples.clone(),
        None => Tensor::rand([batch, channels, N], input.dtype())?,
    };
    if samples.shape() != [batch, channels, N] {
        return Err(Error::shape(format!(
            "{OP}: needs samples of shape {:?}, found {:?}",
            [batch, channels, N],
            samples.shape()
        )));
    }
    let samples = samples.detach().to(DType::F64)?.to_vec::<f64>()?;
    let starts = |sample: f64, i: usize| -> Vec<usize> {
        let (n, k, out) = (sizes[i], kernel_size[i], output_size[i]);
        let alpha = if out > 1 { (n - k) as f64 / (out - 1) as f64 } else { 0.0 };
        let start = |j: usize| ((j as f64 + sample) * alpha) as usize - (sample * alpha) as usize;
        (0..out).map(|j| if j + 1 == out { n - k } else { start(j).min(n - k) }).collect()
    };
    let (volume, windows) = (sizes.iter().product::<usize>(), output_size.iter().product::<usize>());
    let planes = batch * channels;
    let values = input.detach().to(DType::F64)?.contiguous()?;
    let indices = values.with_slice(|x: &[f64]| {
        build(OP, &[planes, windows], |out: &mut [i64]| {
            for (plane, out) in out.chunks_exact_mut(windows).enumerate() {
                let x = &x[plane * volume..][..volume];
                // Samples run from the last dimension to the first.
                let starts: Vec<Vec<usize>> =
                    (0..N).map(|i| starts(samples[plane * N + N - 1 - i], i)).collect();
                for (at, out) in out.iter_mut().enumerate() {
                    *out = greatest(x, &sizes, &kernel_size, &output_size, &starts, at) as i64;
                }
            }
            Ok(())
        })
    })??;
    let mut shape = Dims::from_slice(&input.shape()[..rank - N]);
    shape.extend_from_slice(&output_size);
    let values = input.reshape([planes, volume])?.gather(1, &indices)?;
    Ok((values.reshape(shape.as_slice())?, indices.reshape(shape.as_slice())?))
}

/// The index of the greatest element of window `at`.
fn greatest(
    x: &[f64],
    sizes: &[usize],
    kernel: &[usize],
    windows: &[usize],
    starts: &[Vec<usize>],
    at: usize,
) -> usize {
    let mut corner = vec![0; sizes.len()];
    let mut rest = at;
    for d in (0..sizes.len()).rev() {
        corner[d] = starts[d][rest % windows[d]];
        rest /= windows[d];
    }
    let place = |mut element: usize| {
        let (mut index, mut stride) = (0, 1);
        for d in (0..sizes.len()).rev() {
            index += (corner[d] + element % kernel[d]) * stride;
            stride *= sizes[d];
            element /= kernel[d];
        }
        index
    };
    let mut best = place(0);
    for i in (1..kernel.iter().product()).map(place) {
        if x[i] > x[best] || x[i].is_nan() {
            best = i;
        }
    }
    best
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static UNPOOLS: &[OpInfo] = &[
    OpInfo {
        name: "max_unpool1d",
        samples: || {
            vec![Sample::new(&[(&[2, 1, 2], D)], |x| {
                let indices = Tensor::from_vec(vec![1i64, 2, 0, 3], [2, 1, 2])?;
                max_unpool(&x[0], &indices, [4])
            })]
        },
    },
    OpInfo {
        name: "fractional_max_pool2d",
        samples: || {
            vec![Sample::new(&[(&[1, 2, 5, 4], D)], |x| {
                let samples = Tensor::full([1, 2, 2], 0.4, DType::F64)?;
                Ok(fractional_max_pool(&x[0], [2, 2], [3, 2], Some(&samples))?.0)
            })]
        },
    },
];
