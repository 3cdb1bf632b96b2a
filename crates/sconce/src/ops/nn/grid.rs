//! Sampling of images at places of a grid: Jaderberg et al., "Spatial transformer networks".

use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// How [`grid_sample`] fills in what lies between pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridMode {
    /// Straight lines, in two or three dimensions.
    #[default]
    Bilinear,
    /// The nearest pixel.
    Nearest,
    /// Cubic splines; two dimensions.
    Bicubic,
}

/// What [`grid_sample`] sees beyond the edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridPadding {
    /// Zeros.
    #[default]
    Zeros,
    /// The edge.
    Border,
    /// The image mirrored, again and again.
    Reflection,
}

/// The options of [`grid_sample`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GridOptions {
    /// What lies between pixels; straight lines.
    pub mode: GridMode,
    /// What lies beyond the edges; zeros.
    pub padding: GridPadding,
    /// Whether −1 and 1 are the centres of the outermost pixels, rather than the edges of the image; false.
    pub align_corners: bool,
}

/// Each point of an output of `size` `[N, C, H, W]` or `[N, C, D, H, W]` under affine maps `theta` `[N, 2, 3]` or
/// `[N, 3, 4]`: a grid for [`grid_sample`].
///
/// # Errors
///
/// If shapes do not fit, or the dtype is not floating point.
///
/// ```
/// use sconce::{Tensor, functional::affine_grid};
/// let same = Tensor::from_vec(vec![1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0], [1, 2, 3])?;
/// let grid = affine_grid(&same, &[1, 1, 1, 2], true)?;
/// assert_eq!(grid.to_vec::<f32>()?, [-1.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn affine_grid(theta: &Tensor, size: &[usize], align_corners: bool) -> Result<Tensor> {
    const OP: &str = "affine_grid";
    let dtype = float_dtype(OP, theta)?;
    let spatial = size.len().saturating_sub(2);
    if !(2..=3).contains(&spatial) || size.contains(&0) || theta.shape() != [size[0], spatial, spatial + 1] {
        return Err(Error::shape(format!(
            "{OP}: maps of shape {:?} do not fit an output of size {size:?}",
            theta.shape()
        )));
    }
    let points = checked_numel(&size[2..])?;
    let base = crate::ops::driver::build(OP, &[points, spatial + 1], |out: &mut [f64]| {
        for (mut at, point) in out.chunks_exact_mut(spatial + 1).enumerate() {
            // The last dimension comes first: x, y, z, 1.
            for (coordinate, &n) in point.iter_mut().zip(size[2..].iter().rev()) {
                let i = at % n;
                at /= n;
                *coordinate = match align_corners {
                    _ if n <= 1 => 0.0,
                    true => 2.0 * i as f64 / (n - 1) as f64 - 1.0,
                    false => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
                };
            }
            point[spatial] = 1.0;
        }
        Ok(())
    })?;
    let mut shape = Dims::from_slice(&size[..1]);
    shape.extend_from_slice(&size[2..]);
    shape.push(spatial);
    base.to(dtype)?.matmul(&theta.transpose(1, 2)?)?.reshape(shape.as_slice())
}

/// Places in pixels, of one dimension of `n`.
struct Coordinates {
    n: usize,
    padding: GridPadding,
    align_corners: bool,
}

impl Coordinates {
    /// From [−1, 1] to pixels.
    fn pixels(&self, x: &Tensor) -> Result<Tensor> {
        let n = self.n as f64;
        if self.align_corners {
            x.add(1.0)?.mul((n - 1.0) / 2.0)
        } else {
            x.add(1.0)?.mul(n)?.sub(1.0)?.mul(0.5)
        }
    }

    /// Places beyond the edges brought back, unless zeros lie there.
    fn inside(&self, x: &Tensor) -> Result<Tensor> {
        match self.padding {
            GridPadding::Zeros => Ok(x.clone()),
            GridPadding::Border => self.clipped(x),
            GridPadding::Reflection => self.clipped(&self.reflected(x)?),
        }
    }

    /// Within the pixels; no gradient flows at or beyond the outermost ones.
    fn clipped(&self, x: &Tensor) -> Result<Tensor> {
        let last = self.n as f64 - 1.0;
        let place = x.detach();
        let bounded = place.clamp(0.0, last)?;
        // What is NaN goes to the first pixel.
        let bounded = bounded.masked_fill(&place.isnan()?, 0)?;
        let between = place.gt(0)?.logical_and(&place.lt(last)?)?;
        x.where_(&between, &bounded)
    }

    fn reflected(&self, x: &Tensor) -> Result<Tensor> {
        let (low, high) =
            if self.align_corners { (0.0, self.n as f64 - 1.0) } else { (-0.5, self.n as f64 - 0.5) };
        let span = high - low;
        if span <= 0.0 {
            return x.mul(&x.detach().zeros_like()?);
        }
        // x − low, made positive; then what is left of whole spans, from the one end or from the other.
        let sign = x.detach().lt(low)?.to(x.dtype())?.mul(-2.0)?.add(1.0)?;
        let distance = x.sub(low)?.mul(&sign)?;
        let spans = distance.detach().div(span)?.floor()?;
        let rest = distance.sub(&spans.mul(span)?)?;
        let odd = spans.remainder(2.0)?.ne(0)?;
        rest.neg()?.add(high)?.where_(&odd, &rest.add(low)?)
    }
}

/// The values of an image `[N, C, pixels]` at whole places, `[N, P]` per dimension; zeros outside.
fn values_at(image: &Tensor, sizes: &[usize], places: &[Tensor]) -> Result<Tensor> {
    let (n, c, points) = (image.shape()[0], image.shape()[1], places[0].shape()[1]);
    let mut index = Tensor::zeros([n, points], DType::I64)?;
    let mut inside: Option<Tensor> = None;
    for (place, &size) in places.iter().zip(sizes) {
        let place = place.detach();
        let last = size as f64 - 1.0;
        let here = place.ge(0)?.logical_and(&place.le(last)?)?;
        let bounded = place.where_(&here, 0)?.to(DType::I64)?;
        index = index.mul(size as i64)?.add(&bounded)?;
        inside = Some(inside.map_or(Ok(here.clone()), |all| all.logical_and(&here))?);
    }
    let values = image.gather(2, &index.unsqueeze(1)?.expand([n, c, points])?)?;
    match inside {
        Some(inside) => values.where_(&inside.unsqueeze(1)?, 0),
        None => Ok(values),
    }
}

/// The four weights of a cubic convolution (a = −0.75) at a place `t` behind the second element.
fn cubic_weights(t: &Tensor) -> Result<[Tensor; 4]> {
    const A: f64 = -0.75;
    let near = |x: &Tensor| x.mul(A + 2.0)?.sub(A + 3.0)?.mul(&x.square()?)?.add(1.0);
    let far = |x: &Tensor| x.mul(A)?.sub(5.0 * A)?.mul(x)?.add(8.0 * A)?.mul(x)?.sub(4.0 * A);
    let rest = t.rsub(1.0)?;
    Ok([far(&t.add(1.0)?)?, near(t)?, near(&rest)?, far(&rest.add(1.0)?)?])
}

/// An image `[N, C, H, W]` or `[N, C, D, H, W]` at places `[N, …, 2]` or `[N, …, 3]`: x, y (and z), from −1 to 1 over
/// the image.
///
/// # Errors
///
/// If shapes, dtypes or options do not fit.
///
/// ```
/// use sconce::{Tensor, functional::{GridOptions, grid_sample}};
/// let image = Tensor::from_vec(vec![1.0f32, 3.0], [1, 1, 1, 2])?;
/// let middle = Tensor::from_vec(vec![0.0f32, 0.0], [1, 1, 1, 2])?;
/// let options = GridOptions { align_corners: true, ..Default::default() };
/// assert_eq!(grid_sample(&image, &middle, options)?.item()?, 2.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn grid_sample(input: &Tensor, grid: &Tensor, options: GridOptions) -> Result<Tensor> {
    const OP: &str = "grid_sample";
    float_dtype(OP, input)?;
    let spatial = input.dim().saturating_sub(2);
    let fits = (2..=3).contains(&spatial)
        && grid.dim() == input.dim()
        && grid.shape()[0] == input.shape()[0]
        && grid.shape().last() == Some(&spatial)
        && !input.shape()[2..].contains(&0);
    if !fits {
        return Err(Error::shape(format!(
            "{OP}: an image of shape {:?} and a grid of shape {:?} do not fit each other",
            input.shape(),
            grid.shape()
        )));
    }
    if grid.dtype() != input.dtype() {
        return Err(Error::dtype(format!("{OP}: input {} and grid {} differ", input.dtype(), grid.dtype())));
    }
    if options.mode == GridMode::Bicubic && spatial != 2 {
        return Err(Error::argument(format!("{OP}: bicubic needs [N, C, H, W], found {:?}", input.shape())));
    }
    let (n, c) = (input.shape()[0], input.shape()[1]);
    let sizes = &input.shape()[2..];
    let mut shape = Dims::from_slice(&input.shape()[..2]);
    shape.extend_from_slice(&grid.shape()[1..=spatial]);
    let points: usize = shape[2..].iter().product();
    let image = input.reshape([n, c, sizes.iter().product()])?;
    let grid = grid.reshape([n, points, spatial])?;
    let GridOptions { mode, padding, align_corners } = options;
    let axes: Vec<Coordinates> = sizes.iter().map(|&n| Coordinates { n, padding, align_corners }).collect();
    let mut places = Vec::new();
    for (d, axis) in axes.iter().enumerate() {
        let place = axis.pixels(&grid.select(2, (spatial - 1 - d) as isize)?)?;
        places.push(if mode == GridMode::Bicubic { place } else { axis.inside(&place)? });
    }
    if mode == GridMode::Nearest {
        let nearest = places.iter().map(|p| p.detach().round()).collect::<Result<Vec<_>>>()?;
        let mut y = values_at(&image, sizes, &nearest)?;
        if grid.requires_grad() {
            // The grid is part of the graph, with a gradient of 0.
            let nowhere = Tensor::ones([n, points], DType::Bool)?;
            y = y.add(&places[0].masked_fill(&nowhere, 0)?.unsqueeze(1)?)?;
        }
        return y.reshape(shape.as_slice());
    }
    // Per dimension: the elements around each place, with their weights.
    let mut taps: Vec<Vec<(Tensor, Tensor)>> = Vec::new();
    for (place, axis) in places.iter().zip(&axes) {
        let low = place.detach().floor()?;
        let part = place.sub(&low)?;
        taps.push(if mode == GridMode::Bicubic {
            let weights = cubic_weights(&part)?.into_iter().enumerate();
            weights
                .map(|(k, weight)| Ok((axis.inside(&low.add(k as f64 - 1.0)?)?.detach(), weight)))
                .collect::<Result<_>>()?
        } else {
            vec![(low.clone(), part.rsub(1.0)?), (low.add(1.0)?, part)]
        });
    }
    let count: usize = taps.iter().map(Vec::len).product();
    let mut sum: Option<Tensor> = None;
    for mut corner in 0..count {
        let (mut at, mut weight) = (Vec::new(), None::<Tensor>);
        for taps in &taps {
            let (place, part) = &taps[corner % taps.len()];
            corner /= taps.len();
            at.push(place.clone());
            weight = Some(weight.map_or(Ok(part.clone()), |w| w.mul(part))?);
        }
        let Some(weight) = weight else { continue };
        let part = values_at(&image, sizes, &at)?.mul(&weight.unsqueeze(1)?)?;
        sum = Some(sum.map_or(Ok(part.clone()), |sum| sum.add(&part))?);
    }
    match sum {
        Some(sum) => sum.reshape(shape.as_slice()),
        None => Tensor::zeros(shape.as_slice(), input.dtype()),
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static GRIDS: &[OpInfo] = &[
    OpInfo {
        name: "affine_grid",
        samples: || vec![Sample::new(&[(&[2, 2, 3], D)], |x| affine_grid(&x[0], &[2, 1, 3, 2], false))],
    },
    OpInfo {
        name: "grid_sample",
        samples: || {
            let inputs: &[(&[usize], _)] = &[(&[1, 2, 3, 4], D), (&[1, 2, 3, 2], (-0.9, 0.9))];
            let call = |mode, padding| {
                let options = GridOptions { mode, padding, align_corners: false };
                Sample::new(inputs, move |x| grid_sample(&x[0], &x[1], options))
            };
            vec![
                call(GridMode::Bilinear, GridPadding::Zeros),
                call(GridMode::Bilinear, GridPadding::Reflection),
                call(GridMode::Bicubic, GridPadding::Border),
            ]
        },
    },
];
