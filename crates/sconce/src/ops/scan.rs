//! Running sums, products and extremes along a dimension, and sorting.

use smallvec::smallvec;

use super::driver::{self, Kind, kind};
use super::index::at_places;
use super::registry::{OpInfo, Sample};
use crate::Result;
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::tensor::dtype::Element;
use crate::tensor::layout::wrap_dim;
use crate::tensor::{DType, Tensor};

/// The lines of a row-major tensor along one dimension: `n` elements, `step` apart.
struct Lines {
    n: usize,
    step: usize,
    starts: Vec<usize>,
}

impl Lines {
    fn new(shape: &[usize], dim: usize) -> Self {
        let n = shape.get(dim).copied().unwrap_or(1);
        let step: usize = shape.get(dim + 1..).unwrap_or(&[]).iter().product();
        let outer: usize = shape[..dim.min(shape.len())].iter().product();
        let starts = (0..outer).flat_map(|o| (0..step).map(move |i| o * n * step + i)).collect();
        Self { n, step, starts }
    }

    fn places(&self, start: usize) -> impl DoubleEndedIterator<Item = usize> {
        let step = self.step;
        (0..self.n).map(move |i| start + i * step)
    }
}

/// Computes each line of the output from the same line of the input.
pub(super) fn along<T: Element, U: Element>(
    op: &str,
    x: &Tensor,
    dim: usize,
    f: impl Fn(&[T], &mut [U]),
) -> Result<Tensor> {
    let lines = Lines::new(x.shape(), dim);
    let dense = x.detach().to(T::DTYPE)?.contiguous()?;
    dense.with_slice(|x_all: &[T]| {
        driver::build(op, x.shape(), |out: &mut [U]| {
            let Some(&filler) = out.first() else { return Ok(()) };
            let (mut line, mut result) = (Vec::with_capacity(lines.n), vec![filler; lines.n]);
            for &start in &lines.starts {
                line.clear();
                line.extend(lines.places(start).map(|i| x_all[i]));
                f(&line, &mut result);
                for (i, &y) in lines.places(start).zip(&result) {
                    out[i] = y;
                }
            }
            Ok(())
        })
    })?
}

/// Running sums, from the front or the back.
#[derive(Debug)]
struct Cumsum {
    dim: usize,
    backwards: bool,
    dtype: DType,
}

impl Op for Cumsum {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let wide = match kind("cumsum", self.dtype)? {
            Kind::I64 => DType::I64,
            Kind::F64 => DType::F64,
            Kind::F32 => DType::F32,
        };
        driver::lines::cumsum("cumsum", &x[0].to(wide)?, self.dim, self.backwards)?.to(self.dtype)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let op = Self { dim: self.dim, backwards: !self.backwards, dtype: grad.dtype() };
        Ok(smallvec![Some(apply(op, &[grad])?)])
    }
}

#[derive(Debug)]
struct Cumprod {
    dim: usize,
    dtype: DType,
}

impl Op for Cumprod {
    fn name(&self) -> &'static str {
        "cumprod"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        match kind("cumprod", self.dtype)? {
            Kind::I64 => along("cumprod", x[0], self.dim, |x: &[i64], y: &mut [i64]| {
                x.iter().zip(y).fold(1, |product: i64, (&x, y)| {
                    *y = product.wrapping_mul(x);
                    *y
                });
            }),
            _ => along("cumprod", x[0], self.dim, |x: &[f64], y: &mut [f64]| {
                x.iter().zip(y).fold(1.0, |product, (&x, y)| {
                    *y = product * x;
                    *y
                });
            }),
        }?
        .to(self.dtype)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let x = saved.input(0)?;
        if x.detach().ne(0)?.all(())?.item()? != 0.0 {
            let op = Cumsum { dim: self.dim, backwards: true, dtype: grad.dtype() };
            let sums = apply(op, &[&grad.mul(&saved.output()?)?])?;
            return Ok(smallvec![Some(sums.div(&x)?)]);
        }
        let last = x.dim() as isize - 1;
        let (lines, grads) = if x.dim() == 0 {
            (x.reshape([1])?, grad.reshape([1])?)
        } else {
            (x.movedim(self.dim, last)?, grad.movedim(self.dim, last)?)
        };
        let gradient =
            if is_grad_enabled() { products_of_others(&lines, &grads)? } else { direct(&lines, &grads)? };
        let gradient = if x.dim() == 0 { gradient.reshape(())? } else { gradient.movedim(last, self.dim)? };
        Ok(smallvec![Some(gradient)])
    }
}

/// The gradient of running products y of lines with zeros. Before the first zero it is Σ g[j] · y[j] / x[k] over the j from
/// k on that come before that zero; at it, r[k] times the product of all before, where r[k] = g[k] + x[k + 1] · r[k + 1]
/// ends before the second zero; 0 behind it. So what comes after the second zero has no part in it, be it infinite.
fn direct(lines: &Tensor, grads: &Tensor) -> Result<Tensor> {
    let n = lines.shape()[lines.dim() - 1].max(1);
    let grads = grads.detach().to(DType::F64)?.contiguous()?;
    let dense = lines.detach().to(DType::F64)?.contiguous()?;
    let gradient = dense.with_slice(|x: &[f64]| {
        grads.with_slice(|g: &[f64]| {
            driver::build("cumprod", lines.shape(), |out: &mut [f64]| {
                for ((x, g), out) in x.chunks_exact(n).zip(g.chunks_exact(n)).zip(out.chunks_exact_mut(n)) {
                    let mut zeros = (0..n).filter(|&k| x[k] == 0.0);
                    let first = zeros.next().unwrap_or(n);
                    let second = zeros.next().unwrap_or(n);
                    out.fill(0.0);
                    let mut before = 1.0;
                    for k in 0..first {
                        before *= x[k];
                        out[k] = g[k] * before;
                    }
                    let mut sum = 0.0;
                    for k in (0..first).rev() {
                        sum += out[k];
                        out[k] = sum / x[k];
                    }
                    let mut rest = 0.0;
                    for k in (first..second).rev() {
                        rest = g[k] + if k + 1 < second { x[k + 1] * rest } else { 0.0 };
                    }
                    if first < n {
                        out[first] = rest * before;
                    }
                }
                Ok(())
            })
        })
    })???;
    gradient.to(lines.dtype())
}

/// The same as recorded operations; takes n² elements per line.
fn products_of_others(lines: &Tensor, grads: &Tensor) -> Result<Tensor> {
    let n = lines.shape()[lines.dim() - 1];
    let mut shape = lines.shape().to_vec();
    shape.insert(lines.dim() - 1, n);
    // Row i holds the running products with x[i] left out; from column i on they depend on it.
    let without =
        lines.unsqueeze(-2)?.expand(shape.as_slice())?.masked_fill(&Tensor::eye(n, DType::Bool)?, 1)?;
    without.cumprod(-1)?.triu(0)?.mul(&grads.unsqueeze(-2)?)?.sum(-1)
}

/// Running log Σ eˣ, from the front or the back.
#[derive(Debug)]
struct LogCumSumExp {
    dim: usize,
    backwards: bool,
}

impl Op for LogCumSumExp {
    fn name(&self) -> &'static str {
        "logcumsumexp"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let run = |x: &mut dyn Iterator<Item = (f64, &mut f64)>| {
            let (mut greatest, mut sum) = (f64::NEG_INFINITY, 0.0);
            for (x, y) in x {
                if x > greatest {
                    // What was summed relative to the old one is seen relative to the new one.
                    sum = if sum == 0.0 { 0.0 } else { sum * (greatest - x).exp() };
                    greatest = x;
                    sum += 1.0;
                } else if x == greatest {
                    sum += if x == f64::NEG_INFINITY { 0.0 } else { 1.0 };
                } else {
                    // NaN comes here too.
                    sum += (x - greatest).exp();
                }
                *y = if sum == 0.0 { f64::NEG_INFINITY } else { greatest + sum.ln() };
            }
        };
        let back = self.backwards;
        along("logcumsumexp", x[0], self.dim, |x: &[f64], y: &mut [f64]| {
            let pairs = x.iter().copied().zip(y);
            if back { run(&mut pairs.rev()) } else { run(&mut { pairs }) }
        })?
        .to(x[0].dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        // Σ g · e^(x − y) over what comes after, with the positive and the negative gradients apart, as logarithms.
        // Half types would lose what the logarithms are to keep.
        let wide =
            |t: Tensor| if matches!(t.dtype(), DType::F16 | DType::BF16) { t.to(DType::F32) } else { Ok(t) };
        let (x, y, grad) = (wide(saved.input(0)?)?, wide(saved.output()?)?, wide(grad.clone())?);
        let part = |sign: f64| -> Result<Tensor> {
            let counts = grad.detach().mul(sign)?.gt(0)?;
            let size = grad
                .mul(sign)?
                .where_(&counts, 1.0)?
                .log()?
                .masked_fill(&counts.logical_not()?, f64::NEG_INFINITY)?;
            let terms = size.sub(&y)?.masked_fill(&counts.logical_not()?, f64::NEG_INFINITY)?;
            let op = Self { dim: self.dim, backwards: !self.backwards };
            apply(op, &[&terms])?.add(&x)?.exp()
        };
        Ok(smallvec![Some(part(1.0)?.sub(&part(-1.0)?)?)])
    }
}

/// Running extremes: where each is.
fn running(op: &str, x: &Tensor, dim: usize, sign: f64) -> Result<Tensor> {
    kind(op, x.dtype())?;
    along(op, x, dim, |x: &[f64], y: &mut [i64]| {
        let mut best = 0;
        for (i, y) in y.iter_mut().enumerate() {
            if x[i].is_nan() || !x[best].is_nan() && x[i] * sign >= x[best] * sign {
                best = i;
            }
            *y = best as i64;
        }
    })
}

fn sum_dtype(op: &str, x: &Tensor) -> Result<DType> {
    Ok(if kind(op, x.dtype())? == Kind::I64 { DType::I64 } else { x.dtype() })
}

impl Tensor {
    /// Running sums along a dimension; integers and bools are summed as int64.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or the dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 2.0, 4.0], [3])?;
    /// assert_eq!(x.cumsum(0)?.to_vec::<f32>()?, [1.0, 3.0, 7.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn cumsum(&self, dim: isize) -> Result<Tensor> {
        let dim = wrap_dim("cumsum", dim, self.dim())?;
        apply(Cumsum { dim, backwards: false, dtype: sum_dtype("cumsum", self)? }, &[self])
    }

    /// Running products along a dimension; integers and bools are multiplied as int64.
    ///
    /// # Errors
    ///
    /// As [`cumsum`](Self::cumsum).
    pub fn cumprod(&self, dim: isize) -> Result<Tensor> {
        let dim = wrap_dim("cumprod", dim, self.dim())?;
        apply(Cumprod { dim, dtype: sum_dtype("cumprod", self)? }, &[self])
    }

    /// Running log Σ eˣ along a dimension, without overflow.
    ///
    /// # Errors
    ///
    /// As [`cumsum`](Self::cumsum); also if the dtype is not floating point.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1000.0f64, 1000.0], [2])?;
    /// assert_eq!(x.logcumsumexp(0)?.to_vec::<f64>()?, [1000.0, 1000.0 + 2f64.ln()]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn logcumsumexp(&self, dim: isize) -> Result<Tensor> {
        let dim = wrap_dim("logcumsumexp", dim, self.dim())?;
        super::reduce::float_dtype("logcumsumexp", self)?;
        apply(LogCumSumExp { dim, backwards: false }, &[self])
    }

    /// The greatest element so far along a dimension (the last of equal ones), and where it is.
    ///
    /// # Errors
    ///
    /// As [`cumsum`](Self::cumsum).
    pub fn cummax(&self, dim: isize) -> Result<(Tensor, Tensor)> {
        let indices = running("cummax", self, wrap_dim("cummax", dim, self.dim())?, 1.0)?;
        Ok((self.gather(dim, &indices)?, indices))
    }

    /// The least element so far along a dimension (the last of equal ones), and where it is.
    ///
    /// # Errors
    ///
    /// As [`cumsum`](Self::cumsum).
    pub fn cummin(&self, dim: isize) -> Result<(Tensor, Tensor)> {
        let indices = running("cummin", self, wrap_dim("cummin", dim, self.dim())?, -1.0)?;
        Ok((self.gather(dim, &indices)?, indices))
    }

    /// The elements in order along a dimension, and where they were. Equal ones stay in order; NaN is the greatest.
    ///
    /// # Errors
    ///
    /// As [`cumsum`](Self::cumsum).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3.0f32, 1.0, 2.0], [3])?;
    /// let (values, indices) = x.sort(0, false)?;
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 2, 0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn sort(&self, dim: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        let dim = wrap_dim("sort", dim, self.dim())?;
        let indices = self.argsort(dim as isize, descending).map_err(|e| e.context("sort"))?;
        Ok((at_places(self, dim, &indices)?, indices))
    }

    /// The indices that [`sort`](Self::sort) the elements along a dimension.
    ///
    /// # Errors
    ///
    /// As [`cumsum`](Self::cumsum).
    pub fn argsort(&self, dim: isize, descending: bool) -> Result<Tensor> {
        let dim = wrap_dim("argsort", dim, self.dim())?;
        let size = self.shape().get(dim).copied().unwrap_or(1);
        driver::lines::order("argsort", self, dim, size, descending)
    }
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (0.5, 2.0))], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static SCANS: &[OpInfo] = &[
    OpInfo { name: "cumsum", samples: || vec![sample(|x| x.cumsum(1)), sample(|x| x.cumsum(-1))] },
    OpInfo {
        name: "cumprod",
        samples: || {
            vec![
                sample(|x| x.cumprod(1)),
                // One zero, then two, in each line.
                sample(|x| x.mul(&Tensor::from_vec(vec![1.0, 0.0, 1.0], [3, 1])?.to(x.dtype())?)?.cumprod(1)),
                sample(|x| {
                    x.mul(&Tensor::from_vec(vec![0.0, 1.0, 0.0, 1.0], [4])?.to(x.dtype())?)?.cumprod(2)
                }),
            ]
        },
    },
    OpInfo {
        name: "logcumsumexp",
        samples: || vec![sample(|x| x.logcumsumexp(1)), sample(|x| x.logcumsumexp(-1))],
    },
    OpInfo { name: "cummax", samples: || vec![sample(|x| Ok(x.cummax(2)?.0))] },
    OpInfo { name: "cummin", samples: || vec![sample(|x| Ok(x.cummin(0)?.0))] },
    OpInfo {
        name: "sort",
        samples: || vec![sample(|x| Ok(x.sort(1, false)?.0)), sample(|x| Ok(x.sort(-1, true)?.0))],
    },
    OpInfo { name: "argsort", samples: || vec![sample(|x| x.argsort(1, true)).without_gradient()] },
];
