//! Counts of elements by value, and positions from flat indices.

use super::driver::{self, Kind, kind};
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::tensor::dtype::Category;
use crate::tensor::sizes::Sizes;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

impl Tensor {
    /// How many elements lie in each of `bins` equal ranges from `min` to `max`, both included; those outside count for
    /// nothing. Where both bounds are equal they are the least and the greatest element.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point, there are no bins, or the bounds are not finite or in order.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![0.0f32, 0.2, 0.9, 1.0], [4])?;
    /// assert_eq!(x.histc(2, 0.0, 1.0)?.to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn histc(&self, bins: usize, min: f64, max: f64) -> Result<Tensor> {
        const OP: &str = "histc";
        let dtype = float_dtype(OP, self)?;
        if bins == 0 {
            return Err(Error::argument(format!("{OP}: needs at least one bin, found 0")));
        }
        let (mut low, mut high) = (min, max);
        if low == high && self.numel() > 0 {
            (low, high) = (self.detach().min()?.item()?, self.detach().max()?.item()?);
        }
        if low == high {
            (low, high) = (low - 1.0, high + 1.0);
        }
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(Error::argument(format!(
                "{OP}: bounds {low} and {high} must be finite and in order"
            )));
        }
        // In the precision of the elements; what overflows there counts as 0, as in PyTorch.
        let place = |x: f64| {
            if dtype == DType::F64 {
                (x - low) * bins as f64 / (high - low)
            } else {
                let (x, low, high) = (x as f32, low as f32, high as f32);
                f64::from((x - low) * bins as f32 / (high - low))
            }
        };
        let counts = self.detach().to(DType::F64)?.with_slice(|x: &[f64]| {
            driver::build(OP, &[bins], |counts: &mut [f64]| {
                for &x in x.iter().filter(|x| (low..=high).contains(*x)) {
                    let place = place(x);
                    let bin = if place.is_finite() { place as usize } else { 0 };
                    counts[bin.min(bins - 1)] += 1.0;
                }
                Ok(())
            })
        })??;
        counts.to(dtype)
    }

    /// How often each integer from 0 on occurs in a vector, at least up to `minlength`; or the sums of `weights`.
    ///
    /// # Errors
    ///
    /// If it is no vector of integers, one is negative, or the weights have another shape.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![0i64, 2, 2], [3])?;
    /// assert_eq!(x.bincount(None, 0)?.to_vec::<i64>()?, [1, 0, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn bincount(&self, weights: Option<&Tensor>, minlength: usize) -> Result<Tensor> {
        const OP: &str = "bincount";
        if self.dim() != 1 || kind(OP, self.dtype())? != Kind::I64 || self.dtype() == DType::Bool {
            return Err(Error::argument(format!(
                "{OP}: needs a vector of integers, found {} of shape {:?}",
                self.dtype(),
                self.shape()
            )));
        }
        if let Some(w) = weights
            && w.shape() != self.shape()
        {
            return Err(Error::shape(format!(
                "{OP}: weights of shape {:?} for {:?}",
                w.shape(),
                self.shape()
            )));
        }
        let values = self.to(DType::I64)?.to_vec::<i64>()?;
        if let Some(negative) = values.iter().find(|&&i| i < 0) {
            return Err(Error::argument(format!("{OP}: needs integers from 0 on, found {negative}")));
        }
        let bins = values.iter().max().map_or(0, |&i| i as usize + 1).max(minlength);
        match weights {
            None => driver::build(OP, &[bins], |counts: &mut [i64]| {
                values.iter().for_each(|&i| counts[i as usize] += 1);
                Ok(())
            }),
            Some(w) => {
                let dtype = if w.dtype() == DType::F32 { DType::F32 } else { DType::F64 };
                let w = w.detach().to(DType::F64)?.to_vec::<f64>()?;
                let sums = driver::build(OP, &[bins], |sums: &mut [f64]| {
                    values.iter().zip(&w).for_each(|(&i, w)| sums[i as usize] += w);
                    Ok(())
                })?;
                sums.to(dtype)
            }
        }
    }

    /// How many elements, or how much `weight`, lie in each range between `edges`, a sorted vector, as float; the last range
    /// includes its upper edge. With `density` divided by the total and each range's width.
    ///
    /// # Errors
    ///
    /// If a dtype is neither float32 nor float64 or differs, the edges are no vector of at least two, or the weights have
    /// another shape.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![0.5f32, 1.5, 2.0], [3])?;
    /// let edges = Tensor::from_vec(vec![0.0f32, 1.0, 2.0], [3])?;
    /// assert_eq!(x.histogram(&edges, None, false)?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn histogram(&self, edges: &Tensor, weight: Option<&Tensor>, density: bool) -> Result<Tensor> {
        const OP: &str = "histogram";
        let dtype = self.dtype();
        let same = edges.dtype() == dtype && weight.is_none_or(|w| w.dtype() == dtype);
        if !matches!(dtype, DType::F32 | DType::F64) || !same {
            return Err(Error::dtype(format!(
                "{OP}: needs float32 or float64 throughout, found {dtype}, edges of {} and weights of {:?}",
                edges.dtype(),
                weight.map(Tensor::dtype)
            )));
        }
        if edges.dim() != 1 || edges.numel() < 2 || weight.is_some_and(|w| w.shape() != self.shape()) {
            return Err(Error::shape(format!(
                "{OP}: edges of shape {:?} and weights of shape {:?} do not fit {:?}",
                edges.shape(),
                weight.map(Tensor::shape),
                self.shape()
            )));
        }
        let edges = edges.detach().to(DType::F64)?.to_vec::<f64>()?;
        let x = self.detach().to(DType::F64)?.to_vec::<f64>()?;
        let weights = weight.map(|w| w.detach().to(DType::F64)?.to_vec::<f64>()).transpose()?;
        let bins = edges.len() - 1;
        let counts = driver::build(OP, &[bins], |counts: &mut [f64]| {
            for (i, &x) in x.iter().enumerate().filter(|(_, x)| (edges[0]..=edges[bins]).contains(*x)) {
                let bin = edges.partition_point(|&e| e <= x).clamp(1, bins) - 1;
                counts[bin] += weights.as_ref().map_or(1.0, |w| w[i]);
            }
            if density {
                let total: f64 = counts.iter().sum();
                let widths = edges.windows(2).map(|pair| pair[1] - pair[0]);
                counts.iter_mut().zip(widths).for_each(|(c, width)| *c /= total * width);
            }
            Ok(())
        })?;
        counts.to(dtype)
    }

    /// The edges of `bins` equal ranges from the least to the greatest element, or between two bounds, for
    /// [`histogram`](Self::histogram).
    ///
    /// # Errors
    ///
    /// If there are no bins, the bounds are not finite or not in order, or the dtype is neither float32 nor float64.
    pub fn histogram_edges(&self, bins: usize, range: Option<(f64, f64)>) -> Result<Tensor> {
        const OP: &str = "histogram";
        if bins == 0 {
            return Err(Error::argument(format!("{OP}: needs at least one bin, found 0")));
        }
        let (mut low, mut high) = match range {
            Some(range) => range,
            None if self.numel() == 0 => (0.0, 1.0),
            None => (self.detach().min()?.item()?, self.detach().max()?.item()?),
        };
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return Err(Error::argument(format!(
                "{OP}: bounds {low} and {high} must be finite and in order"
            )));
        }
        if low == high {
            (low, high) = (low - 0.5, high + 0.5);
        }
        Tensor::linspace(low, high, bins.saturating_add(1), self.dtype())
    }

    /// The positions in a tensor of a shape of indices into its flattened elements, which may count from the end: one
    /// int64 tensor per dimension.
    ///
    /// # Errors
    ///
    /// If the dtype is not an integer, or an index is out of range.
    ///
    /// ```
    /// let at = sconce::Tensor::from_vec(vec![4i64], [1])?.unravel_index([2, 3])?;
    /// assert_eq!((at[0].item_i64()?, at[1].item_i64()?), (1, 1));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn unravel_index(&self, shape: impl Sizes) -> Result<Vec<Tensor>> {
        const OP: &str = "unravel_index";
        let shape = shape.sizes();
        if self.dtype().category() != Category::Integer || shape.iter().any(|&n| n < 0) {
            return Err(Error::argument(format!(
                "{OP}: needs integers and a shape that is not negative, found {} and {shape:?}",
                self.dtype()
            )));
        }
        let total = shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d as i64));
        let total =
            total.ok_or_else(|| Error::shape(format!("{OP}: shape {shape:?} has too many elements")))?;
        let indices = self.detach().to(DType::I64)?;
        let outside = indices.lt(-total)?.logical_or(&indices.ge(total)?)?;
        if outside.any(())?.item()? != 0.0 {
            return Err(Error::index(format!("{OP}: an index is out of range for shape {shape:?}")));
        }
        let mut step = total;
        let mut positions = Vec::with_capacity(shape.len());
        for &n in &shape {
            if step == 0 {
                positions.push(indices.copy()?);
                continue;
            }
            step /= n as i64;
            positions.push(indices.floor_divide(step)?.remainder(n as i64)?);
        }
        Ok(positions)
    }
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (0.5, 2.0))], move |x| call(&x[0].detach().to(DType::F64)?)).without_gradient()
}

/// For the generic tests.
pub(crate) static HISTOGRAMS: &[OpInfo] = &[
    OpInfo { name: "histc", samples: || vec![sample(|x| x.histc(5, 0.0, 3.0)?.to(DType::I64))] },
    OpInfo {
        name: "histogram",
        samples: || vec![sample(|x| x.histogram(&x.histogram_edges(4, None)?, None, false)?.to(DType::I64))],
    },
];
