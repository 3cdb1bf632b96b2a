//! Pooling over as many nearly equal windows as are wanted.

use super::along::Sparse;
use super::pool::{check_rank, greatest_of_volumes};
use crate::ops::driver::{build, layers};
use crate::ops::nn::pool2d::{AvgPool2dOptions, avg_pool2d};
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result};

/// Where window `i` of `windows` over `len` elements starts and ends.
pub(super) fn adaptive_window(len: usize, windows: usize, i: usize) -> (usize, usize) {
    (i * len / windows, ((i + 1) * len).div_ceil(windows))
}

fn check_adaptive(op: &str, x: &Tensor, spatial: usize) -> Result<()> {
    check_rank(op, x, spatial)?;
    let rank = x.dim();
    if x.shape()[rank - spatial - 1..].contains(&0) {
        return Err(Error::shape(format!(
            "{op}: an empty window: only samples may be none, found {:?}",
            x.shape()
        )));
    }
    Ok(())
}

/// The averages of nearly equal windows, for any number of dimensions.
pub(super) fn adaptive_avg_pool(op: &'static str, input: &Tensor, output_size: &[usize]) -> Result<Tensor> {
    let spatial = output_size.len();
    check_adaptive(op, input, spatial)?;
    float_dtype(op, input)?;
    // Halves are rounded once, at the end.
    let mut y = input.to(layers::wide(input.dtype()))?;
    for (i, &to) in output_size.iter().enumerate() {
        let dim = input.dim() - spatial + i;
        let from = input.shape()[dim];
        if from != to {
            y = Sparse::averages(from, to)?.apply(op, &y, dim)?;
        }
    }
    if y.is(input) { input.copy() } else { y.to(input.dtype()) }
}

/// The averages of as many nearly equal windows of `[N, C, L]` or `[C, L]` as the output is to have elements.
///
/// # Errors
///
/// If the shape does not fit, or the dtype is not floating point.
///
/// ```
/// use sconce::{Tensor, functional::adaptive_avg_pool1d};
/// let x = Tensor::from_vec(vec![1.0f32, 5.0, 3.0], [1, 3])?;
/// assert_eq!(adaptive_avg_pool1d(&x, 2)?.to_vec::<f32>()?, [3.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool1d(input: &Tensor, output_size: usize) -> Result<Tensor> {
    adaptive_avg_pool("adaptive_avg_pool1d", input, &[output_size])
}

/// The averages of as many nearly equal windows as the output is to have rows and columns.
///
/// # Errors
///
/// If the input is not `[N, C, H, W]` or `[C, H, W]`, or not of a floating point dtype.
///
/// ```
/// use sconce::{DType, Tensor, functional::adaptive_avg_pool2d};
/// let x = Tensor::ones([2, 3, 7, 5], DType::F32)?;
/// assert_eq!(adaptive_avg_pool2d(&x, [1, 1])?.shape(), [2, 3, 1, 1]);
/// assert_eq!(adaptive_avg_pool2d(&x, [3, 1])?.shape(), [2, 3, 3, 1]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool2d(input: &Tensor, output_size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d";
    let rank = input.dim();
    if (3..=4).contains(&rank) {
        let (h, w) = (input.shape()[rank - 2], input.shape()[rank - 1]);
        let [oh, ow] = output_size;
        if h * w > 0 && oh > 0 && ow > 0 && h % oh == 0 && w % ow == 0 {
            return avg_pool2d(input, AvgPool2dOptions::new([h / oh, w / ow])).context(|| OP);
        }
    }
    adaptive_avg_pool(OP, input, &output_size)
}

/// The averages of as many nearly equal windows as the output is to have planes, rows and columns.
///
/// # Errors
///
/// If the input is not `[N, C, D, H, W]` or `[C, D, H, W]`, or not of a floating point dtype.
///
/// ```
/// use sconce::{DType, Tensor, functional::adaptive_avg_pool3d};
/// let x = Tensor::ones([2, 3, 4, 7, 5], DType::F32)?;
/// assert_eq!(adaptive_avg_pool3d(&x, [2, 3, 1])?.shape(), [2, 3, 2, 3, 1]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn adaptive_avg_pool3d(input: &Tensor, output_size: [usize; 3]) -> Result<Tensor> {
    adaptive_avg_pool("adaptive_avg_pool3d", input, &output_size)
}

/// The greatest element of each of nearly equal windows of `[planes, 1, H, W]`, with its index in its plane.
fn adaptive_max_of_planes(op: &str, x: &Tensor, [oh, ow]: [usize; 2]) -> Result<(Tensor, Tensor)> {
    let (planes, h, w) = (x.shape()[0], x.shape()[2], x.shape()[3]);
    // So that no product below overflows.
    checked_numel(&[planes, h, w, oh, ow])?;
    let values = x.detach().to(DType::F64)?.contiguous()?;
    let indices = values.with_slice(|x: &[f64]| {
        build(op, &[planes, oh * ow], |out: &mut [i64]| {
            for (at, out) in out.iter_mut().enumerate() {
                let plane = &x[at / (oh * ow) * h * w..][..h * w];
                let rows = adaptive_window(h, oh, at / ow % oh);
                let columns = adaptive_window(w, ow, at % ow);
                let mut best = rows.0 * w + columns.0;
                for r in rows.0..rows.1 {
                    for i in r * w + columns.0..r * w + columns.1 {
                        if plane[i] > plane[best] || plane[i].is_nan() {
                            best = i;
                        }
                    }
                }
                *out = best as i64;
            }
            Ok(())
        })
    })??;
    let values = x.reshape([planes, h * w])?.gather(1, &indices)?;
    let shape = [planes, 1, oh, ow];
    Ok((values.reshape(shape)?, indices.reshape(shape)?))
}

/// The greatest elements of as many nearly equal windows of `[N, C, L]` or `[C, L]` as the output is to have elements,
/// with their indices.
///
/// # Errors
///
/// As [`adaptive_avg_pool1d`].
pub fn adaptive_max_pool1d_with_indices(input: &Tensor, output_size: usize) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool1d";
    check_adaptive(OP, input, 1)?;
    let (values, indices) = adaptive_max(OP, &input.unsqueeze(-2)?, [1, output_size])?;
    Ok((values.squeeze(-2)?, indices.squeeze(-2)?))
}

/// The greatest elements of as many nearly equal windows as the output is to have rows and columns, with their indices
/// in their flattened planes.
///
/// # Errors
///
/// As [`adaptive_avg_pool2d`].
pub fn adaptive_max_pool2d_with_indices(input: &Tensor, output_size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool2d";
    check_adaptive(OP, input, 2)?;
    adaptive_max(OP, input, output_size)
}

fn adaptive_max(op: &str, input: &Tensor, output_size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    float_dtype(op, input)?;
    let rank = input.dim();
    let lead = &input.shape()[..rank - 2];
    let planes: usize = lead.iter().product();
    let flat = input.reshape([planes, 1, input.shape()[rank - 2], input.shape()[rank - 1]])?;
    let (values, indices) = adaptive_max_of_planes(op, &flat, output_size)?;
    let mut shape = Dims::from_slice(lead);
    shape.extend_from_slice(&output_size);
    Ok((values.reshape(shape.as_slice())?, indices.reshape(shape.as_slice())?))
}

/// The greatest elements of as many nearly equal windows as the output is to have planes, rows and columns, with their
/// indices in their flattened volumes.
///
/// # Errors
///
/// As [`adaptive_avg_pool3d`].
pub fn adaptive_max_pool3d_with_indices(input: &Tensor, output_size: [usize; 3]) -> Result<(Tensor, Tensor)> {
    const OP: &str = "adaptive_max_pool3d";
    check_adaptive(OP, input, 3)?;
    float_dtype(OP, input)?;
    let [planes, rows, columns] = output_size;
    greatest_of_volumes(
        input,
        |x| adaptive_max_of_planes(OP, x, [rows, columns]),
        |x| adaptive_max_of_planes(OP, x, [planes, rows * columns]),
    )
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static ADAPTIVE: &[OpInfo] = &[
    OpInfo {
        name: "adaptive_avg_pool2d",
        samples: || {
            vec![
                Sample::new(&[(&[2, 3, 4, 6], D)], |x| adaptive_avg_pool2d(&x[0], [2, 3])),
                Sample::new(&[(&[2, 5, 7], D)], |x| adaptive_avg_pool2d(&x[0], [3, 2])),
            ]
        },
    },
    OpInfo {
        name: "adaptive_max_pool2d",
        samples: || {
            vec![Sample::new(&[(&[2, 5, 7], D)], |x| Ok(adaptive_max_pool2d_with_indices(&x[0], [3, 2])?.0))]
        },
    },
    OpInfo {
        name: "adaptive_max_pool3d",
        samples: || {
            vec![Sample::new(&[(&[2, 3, 4, 3], D)], |x| {
                Ok(adaptive_max_pool3d_with_indices(&x[0], [2, 3, 2])?.0)
            })]
        },
    },
];
