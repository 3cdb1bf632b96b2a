//! Moments that skip NaN, covariance, differences, integrals and distances: compositions.

use super::axes::Axes;
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::keepdim;
use crate::tensor::dtype::Category;
use crate::tensor::layout::wrap_dim;
use crate::tensor::sizes::DimsArg;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

impl Tensor {
    /// The sum of what is not NaN; integers are summed as int64.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, f32::NAN, 3.0], [3])?;
    /// assert_eq!(x.nansum(())?.item()?, 4.0);
    /// assert_eq!(x.nanmean(())?.item()?, 2.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn nansum(&self, dims: impl DimsArg) -> Result<Tensor> {
        if !self.dtype().is_floating_point() {
            return self.sum(dims);
        }
        self.masked_fill(&self.detach().isnan()?, 0)?.sum(dims)
    }

    /// The arithmetic mean of what is not NaN; NaN where there is nothing else.
    ///
    /// # Errors
    ///
    /// As [`mean`](Self::mean).
    pub fn nanmean(&self, dims: impl DimsArg) -> Result<Tensor> {
        float_dtype("nanmean", self)?;
        let counted = self.detach().isnan()?.logical_not()?;
        let dims = Given::of(&dims);
        self.nansum(&dims)?.div(&counted.sum(&dims)?)
    }

    /// The [`var`](Self::var) and the [`mean`](Self::mean).
    ///
    /// # Errors
    ///
    /// As [`var`](Self::var).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 3.0], [2])?;
    /// let (var, mean) = x.var_mean(0, 1.0)?;
    /// assert_eq!((var.item()?, mean.item()?), (2.0, 2.0));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn var_mean(&self, dims: impl DimsArg, correction: f64) -> Result<(Tensor, Tensor)> {
        let dims = Given::of(&dims);
        Ok((self.variance("var_mean", &&dims, correction, true)?, self.running_mean(&dims)?))
    }

    /// The [`std`](Self::std) and the [`mean`](Self::mean).
    ///
    /// # Errors
    ///
    /// As [`std`](Self::std).
    pub fn std_mean(&self, dims: impl DimsArg, correction: f64) -> Result<(Tensor, Tensor)> {
        let dims = Given::of(&dims);
        Ok((self.deviation("std_mean", &&dims, correction, true)?, self.running_mean(&dims)?))
    }

    /// The mean that is corrected by each element in turn, as PyTorch finds it together with the variance: it overflows
    /// no earlier than its value, and is NaN from the element after an infinite one on.
    fn running_mean(&self, dims: &Given) -> Result<Tensor> {
        let mean = self.mean(dims)?;
        if self.numel() == 0 || mean.detach().isfinite()?.all(())?.item()? != 0.0 {
            return Ok(mean);
        }
        let axes = Axes::new("var_mean", self, &dims)?.dims();
        let infinite = self.detach().isinf()?;
        let mut last = infinite.clone();
        for &d in &axes {
            last = last.narrow(d as isize, -1, 1)?;
        }
        let lost = infinite.sum(keepdim(axes.as_slice()))?.gt(&last.to(DType::I64)?)?;
        let nan = Tensor::zeros(mean.shape(), self.dtype())?;
        let nan = nan.masked_fill(&lost.reshape(mean.shape())?, f64::NAN)?;
        self.to(DType::F64)?.mean(dims)?.to(self.dtype())?.add(&nan)
    }

    /// The covariances of variables, which are rows; of a vector its variance. Columns are observations.
    ///
    /// `correction` is subtracted from the number of observations (PyTorch's default is 1). Observations may count
    /// several times (`fweights`, integers) and matter more or less (`aweights`).
    ///
    /// # Errors
    ///
    /// If there are more than two dimensions, the dtype is bool, or weights do not fit or are negative.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 3.0, 3.0, 1.0], [2, 2])?;
    /// assert_eq!(x.cov(1, None, None)?.to_vec::<f32>()?, [2.0, -2.0, -2.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn cov(
        &self,
        correction: i64,
        fweights: Option<&Tensor>,
        aweights: Option<&Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "cov";
        if self.dim() > 2 || self.dtype() == DType::Bool {
            return Err(Error::argument(format!(
                "{OP}: needs at most two dimensions and no bools, found {} of shape {:?}",
                self.dtype(),
                self.shape()
            )));
        }
        let x = if self.dim() < 2 { self.reshape([1, -1])? } else { self.clone() };
        let n = x.shape()[1];
        for (name, weights, integers) in [("fweights", fweights, true), ("aweights", aweights, false)] {
            let Some(w) = weights else { continue };
            let kind = if integers { Category::Integer } else { Category::Float };
            if w.dim() > 1 || w.numel() != n || w.dtype().category() != kind {
                return Err(Error::argument(format!(
                    "{OP}: {name} must be {n} {}, found {} of shape {:?}",
                    if integers { "integers" } else { "floats" },
                    w.dtype(),
                    w.shape()
                )));
            }
            if n > 0 && w.detach().lt(0)?.any(())?.item()? != 0.0 {
                return Err(Error::argument(format!("{OP}: {name} must not be negative")));
            }
        }
        let weights = match (fweights, aweights) {
            (Some(f), Some(a)) => Some(f.mul(a)?),
            (f, a) => f.or(a).cloned(),
        };
        let total = weights.as_ref().map(|w| w.sum(())).transpose()?;
        if let Some(total) = &total
            && total.detach().item()? == 0.0
        {
            return Err(Error::argument(format!("{OP}: the weights sum to 0")));
        }
        let mean = match (&weights, &total) {
            (Some(w), Some(total)) => x.mul(w)?.sum(1)?.div(total)?,
            _ => x.sum(1)?.div(n as i64)?,
        };
        let norm = match (&weights, &total, aweights) {
            (Some(w), Some(total), Some(a)) if correction != 0 => {
                total.sub(&w.mul(a)?.sum(())?.div(total)?.mul(correction)?)?
            }
            (_, Some(total), _) => total.sub(if aweights.is_some() { 0 } else { correction })?,
            _ => Tensor::scalar(n as i64 - correction),
        };
        let norm = norm.clamp_min(0)?;
        let centred = x.sub(&mean.unsqueeze(1)?)?;
        let weighted = match &weights {
            Some(w) => centred.mul(w)?,
            None => centred.clone(),
        };
        weighted.matmul(&centred.t()?.to(weighted.dtype())?)?.div(&norm)?.squeeze(())
    }

    /// The correlation coefficients of variables, which are rows.
    ///
    /// # Errors
    ///
    /// As [`cov`](Self::cov).
    pub fn corrcoef(&self) -> Result<Tensor> {
        let c = self.cov(1, None, None).map_err(|e| e.context("corrcoef"))?;
        if c.dim() == 0 {
            return c.div(&c);
        }
        let deviation = c.diag(0)?.sqrt()?;
        c.div(&deviation.unsqueeze(1)?)?.div(&deviation.unsqueeze(0)?)?.clamp(-1.0, 1.0)
    }

    /// The differences of neighbours along a dimension, `n` times; for bools whether they differ.
    ///
    /// # Errors
    ///
    /// If there is no dimension, it does not exist, or what goes before and after does not fit.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1i64, 4, 9], [3])?;
    /// assert_eq!(x.diff(1, 0, None, None)?.to_vec::<i64>()?, [3, 5]);
    /// assert_eq!(x.diff(2, 0, None, None)?.to_vec::<i64>()?, [2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn diff(
        &self,
        n: usize,
        dim: isize,
        prepend: Option<&Tensor>,
        append: Option<&Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "diff";
        if self.dim() == 0 {
            return Err(Error::shape(format!("{OP}: needs a dimension, found shape []")));
        }
        wrap_dim(OP, dim, self.dim())?;
        if n == 0 {
            return self.copy();
        }
        let parts: Vec<&Tensor> = [prepend, Some(self), append].into_iter().flatten().collect();
        let mut x = if parts.len() == 1 {
            self.clone()
        } else {
            Tensor::cat(&parts, dim).map_err(|e| e.context(OP))?
        };
        let size = x.size(dim)?;
        if n >= size {
            return x.narrow(dim, 0, 0)?.copy();
        }
        for _ in 0..n {
            let size = x.size(dim)?;
            let (later, earlier) = (x.narrow(dim, 1, size - 1)?, x.narrow(dim, 0, size - 1)?);
            x = if x.dtype() == DType::Bool { later.logical_xor(&earlier)? } else { later.sub(&earlier)? };
        }
        Ok(x)
    }

    /// The integral along a dimension by the trapezoidal rule, of points `dx` apart.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist.
    ///
    /// ```
    /// let y = sconce::Tensor::from_vec(vec![1.0f32, 3.0, 5.0], [3])?;
    /// assert_eq!(y.trapezoid(1.0, 0)?.item()?, 6.0);
    /// assert_eq!(y.cumulative_trapezoid(1.0, 0)?.to_vec::<f32>()?, [2.0, 6.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn trapezoid(&self, dx: impl Into<crate::Scalar>, dim: isize) -> Result<Tensor> {
        let steps = self.trapezoids("trapezoid", dim)?;
        if steps.numel() == 0 {
            return steps.sum(dim)?.mul(dx.into())?.div(2.0);
        }
        let ends = self.select(dim, 0)?.add(&self.select(dim, -1)?)?;
        self.sum(dim)?.sub(&ends.mul(0.5)?)?.mul(dx.into())
    }

    /// The integral along a dimension by the trapezoidal rule, of points at `x`.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist, or `x` does not fit.
    pub fn trapezoid_at(&self, x: &Tensor, dim: isize) -> Result<Tensor> {
        let widths = self.widths("trapezoid", x, dim)?;
        self.trapezoids("trapezoid", dim)?.mul(&widths)?.sum(dim)?.div(2.0)
    }

    /// The integrals up to each point but the first.
    ///
    /// # Errors
    ///
    /// As [`trapezoid`](Self::trapezoid).
    pub fn cumulative_trapezoid(&self, dx: impl Into<crate::Scalar>, dim: isize) -> Result<Tensor> {
        self.trapezoids("cumulative_trapezoid", dim)?.cumsum(dim)?.mul(dx.into())?.div(2.0)
    }

    /// The integrals up to each point but the first, of points at `x`.
    ///
    /// # Errors
    ///
    /// As [`trapezoid_at`](Self::trapezoid_at).
    pub fn cumulative_trapezoid_at(&self, x: &Tensor, dim: isize) -> Result<Tensor> {
        let widths = self.widths("cumulative_trapezoid", x, dim)?;
        self.trapezoids("cumulative_trapezoid", dim)?.mul(&widths)?.cumsum(dim)?.div(2.0)
    }

    /// The sums of neighbours.
    fn trapezoids(&self, op: &str, dim: isize) -> Result<Tensor> {
        if self.dim() == 0 || self.dtype() == DType::Bool {
            return Err(Error::argument(format!(
                "{op}: needs a dimension and no bools, found {} of shape {:?}",
                self.dtype(),
                self.shape()
            )));
        }
        let size = self.size(dim)?;
        if size == 0 {
            return self.narrow(dim, 0, 0);
        }
        self.narrow(dim, 1, size - 1)?.add(&self.narrow(dim, 0, size - 1)?)
    }

    /// The distances of points, as they broadcast with [`trapezoids`](Self::trapezoids).
    fn widths(&self, op: &str, x: &Tensor, dim: isize) -> Result<Tensor> {
        let d = wrap_dim(op, dim, self.dim())?;
        if x.dim() == 1 {
            if x.numel() != self.size(dim)? {
                return Err(Error::shape(format!(
                    "{op}: {} points for dimension {dim} of shape {:?}",
                    x.numel(),
                    self.shape()
                )));
            }
            let mut shape = Dims::from_elem(1, self.dim());
            shape[d] = x.numel();
            return x.reshape(shape.as_slice())?.diff(1, dim, None, None);
        }
        if x.dim() > self.dim() {
            return x.diff(1, dim, None, None);
        }
        let mut shape = Dims::from_elem(1, self.dim() - x.dim());
        shape.extend_from_slice(x.shape());
        let x = x.reshape(shape.as_slice())?;
        if x.shape()[d] == 0 { x.narrow(dim, 0, 0) } else { x.diff(1, dim, None, None) }
    }

    /// The norm of order `p` of the difference of two tensors.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast or the dtype is not floating point.
    pub fn dist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        self.sub(other)?.norm(p, ()).map_err(|e| e.context("dist"))
    }

    /// A copy in which each slice of a dimension has at most the norm `maxnorm` of order `p`.
    ///
    /// # Errors
    ///
    /// If there are fewer than two dimensions, `p` is not positive or `maxnorm` negative, or the dtype is not floating
    /// point.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3.0f64, 4.0, 0.3, 0.4], [2, 2])?;
    /// let y = x.renorm(2.0, 0, 1.0)?.to_vec::<f64>()?;
    /// assert!((y[0] - 0.6).abs() < 1e-6 && y[2] == 0.3);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn renorm(&self, p: f64, dim: isize, maxnorm: f64) -> Result<Tensor> {
        const OP: &str = "renorm";
        if self.dim() < 2 {
            return Err(Error::shape(format!(
                "{OP}: needs at least two dimensions, found shape {:?}",
                self.shape()
            )));
        }
        if !(p > 0.0 && maxnorm >= 0.0) {
            return Err(Error::argument(format!(
                "{OP}: p {p} must be positive and maxnorm {maxnorm} not negative"
            )));
        }
        let d = wrap_dim(OP, dim, self.dim())?;
        let others: Vec<usize> = (0..self.dim()).filter(|&i| i != d).collect();
        if matches!(self.dtype(), DType::F16 | DType::BF16) {
            // Rounded once.
            return self.to(DType::F32)?.renorm(p, dim, maxnorm)?.to(self.dtype());
        }
        let norm = |t: &Tensor| t.norm(p, keepdim(others.as_slice())).map_err(|e| e.context(OP));
        let longer = norm(&self.detach())?.gt(maxnorm)?;
        // Slices that stay as they are do not depend on their norm, be it NaN.
        let scaled = self.masked_fill(&longer.logical_not()?, 0)?;
        self.mul(&norm(&scaled)?.add(1e-7)?.rdiv(maxnorm)?)?.where_(&longer, self)
    }

    /// The distances of order `p` between the rows of matrices `[…, m, k]` and `[…, n, k]`: `[…, m, n]`.
    ///
    /// # Errors
    ///
    /// If a matrix has another width or fewer than two dimensions, `p` is negative, or the dtypes are not floating point.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![0.0f32, 0.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.cdist(&x, 2.0)?.to_vec::<f32>()?, [0.0, 5.0, 5.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn cdist(&self, other: &Tensor, p: f64) -> Result<Tensor> {
        const OP: &str = "cdist";
        if self.dim() < 2 || other.dim() < 2 || self.size(-1)? != other.size(-1)? {
            return Err(Error::shape(format!(
                "{OP}: needs matrices of one width, found shapes {:?} and {:?}",
                self.shape(),
                other.shape()
            )));
        }
        if p.is_nan() || p < 0.0 {
            return Err(Error::argument(format!("{OP}: p must not be negative, found {p}")));
        }
        self.unsqueeze(-2)?.sub(&other.unsqueeze(-3)?)?.norm(p, -1).map_err(|e| e.context(OP))
    }
}

/// Dimensions that were asked for, to be asked again.
struct Given {
    dims: Option<Vec<isize>>,
    keeps: bool,
}

impl Given {
    fn of(dims: &impl DimsArg) -> Self {
        Self { dims: dims.dims().map(|d| d.to_vec()), keeps: dims.keeps() }
    }
}

impl DimsArg for &Given {
    fn dims(&self) -> Option<smallvec::SmallVec<[isize; 6]>> {
        self.dims.as_ref().map(|d| d.iter().copied().collect())
    }

    fn keeps(&self) -> bool {
        self.keeps
    }
}

const D: (f64, f64) = (-2.0, 2.0);

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], D)], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static STATISTICS: &[OpInfo] = &[
    OpInfo { name: "nansum", samples: || vec![sample(|x| x.nansum(1))] },
    OpInfo { name: "nanmean", samples: || vec![sample(|x| x.nanmean(keepdim([0, 2])))] },
    OpInfo { name: "var_mean", samples: || vec![sample(|x| Ok(x.var_mean(1, 1.0)?.0))] },
    OpInfo { name: "std_mean", samples: || vec![sample(|x| Ok(x.std_mean(2, 0.0)?.0))] },
    OpInfo { name: "cov", samples: || vec![Sample::new(&[(&[2, 5], D)], |x| x[0].cov(1, None, None))] },
    OpInfo { name: "corrcoef", samples: || vec![Sample::new(&[(&[2, 5], D)], |x| x[0].corrcoef())] },
    OpInfo { name: "diff", samples: || vec![sample(|x| x.diff(2, 1, None, Some(x)))] },
    OpInfo { name: "trapezoid", samples: || vec![sample(|x| x.trapezoid(0.5, 1))] },
    OpInfo { name: "cumulative_trapezoid", samples: || vec![sample(|x| x.cumulative_trapezoid(0.5, 2))] },
    OpInfo {
        name: "dist",
        samples: || vec![Sample::new(&[(&[2, 3], D), (&[3], D)], |x| x[0].dist(&x[1], 3.0))],
    },
    OpInfo { name: "renorm", samples: || vec![sample(|x| x.renorm(2.0, 1, 1.5))] },
    OpInfo {
        name: "cdist",
        samples: || vec![Sample::new(&[(&[3, 4], D), (&[2, 4], D)], |x| x[0].cdist(&x[1], 2.0))],
    },
];
