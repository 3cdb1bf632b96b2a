//! Interpolation to other sizes.

use super::adaptive::adaptive_avg_pool;
use super::along::Sparse;
use crate::ops::create::collect;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// How [`interpolate`] fills in what lies between elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterpolateMode {
    /// The nearest element, by a rule that older libraries have.
    #[default]
    Nearest,
    /// The nearest element.
    NearestExact,
    /// Straight lines; one dimension.
    Linear,
    /// Straight lines; two dimensions.
    Bilinear,
    /// Cubic splines; two dimensions.
    Bicubic,
    /// Straight lines; three dimensions.
    Trilinear,
    /// The average of the elements that an output covers.
    Area,
}

/// The size that [`interpolate`] makes.
#[derive(Clone, Debug, PartialEq)]
pub enum Resize {
    /// The sizes of the spatial dimensions; one number stands for all.
    Size(Vec<usize>),
    /// What to multiply them by; one number stands for all.
    Scale(Vec<f64>),
}

/// The options of [`interpolate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterpolateOptions {
    /// What lies between elements; the nearest one.
    pub mode: InterpolateMode,
    /// Whether the corners keep their values, rather than the edges of the outermost elements their place; false.
    pub align_corners: bool,
    /// Whether positions follow from the sizes, rather than from the scale as it is given; false.
    pub recompute_scale_factor: bool,
    /// Whether shrinking averages over what it skips; bilinear and bicubic; false.
    pub antialias: bool,
}

/// One spatial dimension.
struct Axis {
    from: usize,
    to: usize,
    /// The distance of two outputs, in inputs.
    step: f64,
}

impl Axis {
    fn new(from: usize, to: usize, scale: Option<f64>, align_corners: bool, narrow: bool) -> Self {
        let step = match scale {
            _ if align_corners => {
                if to > 1 {
                    (from as f64 - 1.0) / (to as f64 - 1.0)
                } else {
                    0.0
                }
            }
            Some(scale) if scale > 0.0 => 1.0 / scale,
            _ => from as f64 / to as f64,
        };
        // In the precision of the input, which decides on which side of an element a position falls.
        let step = match scale {
            _ if !narrow => step,
            _ if align_corners && to > 1 => f64::from((from as f32 - 1.0) / (to as f32 - 1.0)),
            Some(scale) if scale > 0.0 => f64::from((1.0 / scale) as f32),
            _ if align_corners => 0.0,
            _ => f64::from(from as f32 / to as f32),
        };
        Self { from, to, step }
    }

    /// Where output `i` lies; `narrow` in single precision.
    fn position(&self, i: usize, align_corners: bool, narrow: bool) -> f64 {
        match (align_corners, narrow) {
            (true, false) => self.step * i as f64,
            (true, true) => f64::from(self.step as f32 * i as f32),
            (false, false) => self.step * (i as f64 + 0.5) - 0.5,
            (false, true) => f64::from((self.step as f32).mul_add(i as f32 + 0.5, -0.5)),
        }
    }

    fn nearest(&self, exact: bool, narrow: bool) -> Result<Tensor> {
        let at = |i: usize| {
            let at = match (exact, narrow) {
                (false, _) => self.position(i, true, narrow),
                (true, false) => (i as f64 + 0.5) * self.step,
                (true, true) => f64::from((i as f32 + 0.5) * self.step as f32),
            };
            (at.floor() as usize).min(self.from - 1) as i64
        };
        collect("interpolate", self.to, at)
    }

    fn linear(&self, align_corners: bool, narrow: bool) -> Result<Sparse> {
        let row = |i: usize| {
            if self.from == self.to {
                return vec![(i, 1.0)];
            }
            let at = self.position(i, align_corners, narrow).max(0.0);
            let low = (at.floor() as usize).min(self.from - 1);
            let high = (low + 1).min(self.from - 1);
            let part = (at - low as f64).clamp(0.0, 1.0);
            vec![(low, 1.0 - part), (high, part)]
        };
        Sparse::new(self.from, (0..self.to).map(row))
    }

    fn cubic(&self, align_corners: bool, narrow: bool) -> Result<Sparse> {
        let row = |i: usize| {
            let at = self.position(i, align_corners, narrow);
            let low = at.floor();
            let place = |k: usize| (low as isize + k as isize - 1).clamp(0, self.from as isize - 1) as usize;
            cubic_weights(at - low).into_iter().enumerate().map(|(k, w)| (place(k), w)).collect()
        };
        Sparse::new(self.from, (0..self.to).map(row))
    }

    /// Weights that reach over all elements that an output stands for.
    fn antialiased(&self, cubic: bool) -> Result<Sparse> {
        let reach = if cubic { 2.0 } else { 1.0 };
        let stretch = self.step.max(1.0);
        let support = reach * stretch;
        let row = |i: usize| {
            let centre = self.step * (i as f64 + 0.5);
            // Truncated, not rounded down: as PyTorch has it.
            let start = ((centre - support + 0.5) as isize).max(0) as usize;
            let end = ((centre + support + 0.5) as isize).clamp(0, self.from as isize) as usize;
            let weight = |j: usize| {
                let x = ((j as f64 - centre + 0.5) / stretch).abs();
                match cubic {
                    true => cubic_kernel(x, -0.5),
                    false => (1.0 - x).max(0.0),
                }
            };
            let total: f64 = (start..end).map(weight).sum();
            let scale = if total == 0.0 { 1.0 } else { 1.0 / total };
            (start..end).map(|j| (j, weight(j) * scale)).collect()
        };
        Sparse::new(self.from, (0..self.to).map(row))
    }
}

/// Keys' cubic convolution kernel at x ≥ 0.
fn cubic_kernel(x: f64, a: f64) -> f64 {
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

/// The weights of the four elements around a place `t` behind the second.
fn cubic_weights(t: f64) -> [f64; 4] {
    [t + 1.0, t, 1.0 - t, 2.0 - t].map(|x| cubic_kernel(x, -0.75))
}

fn each<T: Copy>(given: &[T], spatial: usize) -> Result<Vec<T>> {
    match given.len() {
        1 => Ok(vec![given[0]; spatial]),
        n if n == spatial => Ok(given.to_vec()),
        n => {
            Err(Error::argument(format!("interpolate: {n} sizes or scales for {spatial} spatial dimensions")))
        }
    }
}

/// Resizes `[N, C, …]` with one, two or three spatial dimensions.
///
/// # Errors
///
/// If the mode does not go with the number of dimensions, or a size is 0.
///
/// ```
/// use sconce::Tensor;
/// use sconce::functional::{InterpolateOptions, InterpolateMode, Resize, interpolate};
/// let x = Tensor::from_vec(vec![0.0f32, 4.0], [1, 1, 2])?;
/// let options = InterpolateOptions { mode: InterpolateMode::Linear, ..Default::default() };
/// let y = interpolate(&x, Resize::Size(vec![4]), options)?;
/// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn interpolate(input: &Tensor, resize: Resize, options: InterpolateOptions) -> Result<Tensor> {
    const OP: &str = "interpolate";
    let InterpolateOptions { mode, align_corners, recompute_scale_factor, antialias } = options;
    let spatial = input.dim().saturating_sub(2);
    let fits = match mode {
        InterpolateMode::Linear => spatial == 1,
        InterpolateMode::Bilinear | InterpolateMode::Bicubic => spatial == 2,
        InterpolateMode::Trilinear => spatial == 3,
        _ => (1..=3).contains(&spatial),
    };
    if !fits || input.shape()[1..].contains(&0) {
        return Err(Error::shape(format!(
            "{OP}: {mode:?} does not go with an input of shape {:?}",
            input.shape()
        )));
    }
    let smooth =
        !matches!(mode, InterpolateMode::Nearest | InterpolateMode::NearestExact | InterpolateMode::Area);
    if align_corners && !smooth {
        return Err(Error::argument(format!("{OP}: align_corners does not go with {mode:?}")));
    }
    if antialias && !matches!(mode, InterpolateMode::Bilinear | InterpolateMode::Bicubic) {
        return Err(Error::argument(format!("{OP}: antialias does not go with {mode:?}")));
    }
    let sizes = &input.shape()[2..];
    let (to, scales) = match resize {
        Resize::Size(_) if recompute_scale_factor => {
            return Err(Error::argument(format!("{OP}: recompute_scale_factor needs a scale, found a size")));
        }
        Resize::Size(size) => (each(&size, spatial)?, None),
        Resize::Scale(scale) => {
            let scale = each(&scale, spatial)?;
            let to: Vec<usize> = sizes.iter().zip(&scale).map(|(&n, s)| (n as f64 * s) as usize).collect();
            (to, (!recompute_scale_factor).then_some(scale))
        }
    };
    if to.contains(&0) {
        return Err(Error::shape(format!("{OP}: an output of size {to:?} for {sizes:?}")));
    }
    if mode == InterpolateMode::Area {
        return adaptive_avg_pool(OP, input, &to);
    }
    let narrow = input.dtype() != DType::F64;
    let axis = |d: usize| {
        let scale = scales.as_ref().map(|s| s[d]);
        Axis::new(sizes[d], to[d], scale, align_corners, narrow)
    };
    let dtype = input.dtype();
    let half = matches!(dtype, DType::F16 | DType::BF16);
    // Halves are rounded once, at the end; so are their gradients.
    let mut y = if half { input.to(DType::F32)? } else { input.clone() };
    if !smooth {
        for d in 0..spatial {
            let index = axis(d).nearest(mode == InterpolateMode::NearestExact, narrow)?;
            y = y.index_select(d as isize + 2, &index)?;
        }
        return if half { y.to(dtype) } else { Ok(y) };
    }
    // Bytes, as images have them, are rounded after each dimension.
    let bytes = dtype == DType::U8;
    y = if bytes { y.to(DType::F32)? } else { y };
    float_dtype(OP, &y)?;
    for d in (0..spatial).rev() {
        let axis = axis(d);
        let matrix = match mode {
            _ if antialias => axis.antialiased(mode == InterpolateMode::Bicubic),
            InterpolateMode::Bicubic => axis.cubic(align_corners, narrow),
            _ => axis.linear(align_corners, narrow),
        };
        y = matrix?.apply(OP, &y, d + 2)?;
        if bytes {
            y = y.add(0.5)?.floor()?.clamp(0, 255)?;
        }
    }
    if half || bytes { y.to(dtype) } else { Ok(y) }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static RESIZES: &[OpInfo] = &[OpInfo {
    name: "interpolate",
    samples: || {
        let sample = |shape: &'static [usize], size: &'static [usize], options: InterpolateOptions| {
            Sample::new(&[(shape, D)], move |x| interpolate(&x[0], Resize::Size(size.to_vec()), options))
        };
        let mode = |mode| InterpolateOptions { mode, ..Default::default() };
        let plane: &[usize] = &[1, 2, 4, 3];
        vec![
            sample(&[2, 1, 5], &[3], mode(InterpolateMode::Nearest)),
            sample(&[2, 1, 3], &[5], mode(InterpolateMode::Linear)),
            sample(
                plane,
                &[3, 5],
                InterpolateOptions { align_corners: true, ..mode(InterpolateMode::Bilinear) },
            ),
            sample(plane, &[2, 4], InterpolateOptions { antialias: true, ..mode(InterpolateMode::Bicubic) }),
            sample(plane, &[5, 2], mode(InterpolateMode::Bicubic)),
            sample(plane, &[3, 2], mode(InterpolateMode::Area)),
        ]
    },
}];
