//! Variance, norms and the logarithm of a sum of exponentials.

use sconce_kernels::Reduction;
use smallvec::smallvec;

use super::axes::Axes;
use super::driver::{self, layers::wide};
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::Result;
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::dtype::Category;
use crate::tensor::sizes::{DimsArg, keepdim};
use crate::tensor::{DType, Tensor};

#[derive(Debug)]
struct Var {
    axes: Axes,
    correction: f64,
    /// Whether no dimension was named, or there is none.
    whole: bool,
    /// Whether the mean comes in one pass with the variance, so that it does not overflow.
    running: bool,
}

impl Var {
    /// How many elements may vary freely; as in PyTorch it is 0 at least for the value, but not for the gradient.
    fn freedom(&self, shape: &[usize]) -> f64 {
        self.axes.count(shape) as f64 - self.correction
    }

    /// The variance in float64, as PyTorch's: so only the last rounding shows.
    fn exact(&self, x: &Tensor) -> Result<Tensor> {
        let dtype = wide(x.dtype());
        // Of all elements at once PyTorch takes the mean first, in their own precision.
        let all = self.axes.dims().len() == x.dim();
        let precision = if all && !self.running { dtype } else { DType::F64 };
        let mean = driver::reduce("var", Reduction::Mean, x, &self.axes.kept(), precision)?.to(dtype)?;
        let centred = x.to(dtype)?.sub(&mean)?;
        let squares = driver::reduce("var", Reduction::SumSquares, &centred, &self.axes, DType::F64)?;
        squares.div(self.freedom(x.shape()).max(0.0))
    }
}

impl Op for Var {
    fn name(&self) -> &'static str {
        "var"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        self.exact(x[0])?.to(x[0].dtype())
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let x = saved.input(0)?;
        let grad = self.axes.restore(grad, x.shape())?;
        let centred = x.sub(&x.mean(keepdim(self.axes.dims().as_slice()))?)?;
        let freedom = self.freedom(x.shape());
        if self.whole && freedom <= 0.0 {
            // Infinite but at the mean, whichever side of it an element is on: as PyTorch has it.
            let slope = centred.detach().zeros_like()?.add(f64::INFINITY)?;
            let slope = slope.masked_fill(&centred.detach().eq(0)?, f64::NAN)?;
            return Ok(smallvec![Some(slope.mul(&grad)?)]);
        }
        Ok(smallvec![Some(centred.mul(&grad)?.mul(2.0 / freedom)?)])
    }
}

#[derive(Debug)]
struct Std {
    var: Var,
}

impl Op for Std {
    fn name(&self) -> &'static str {
        "std"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        self.var.exact(x[0])?.sqrt()?.to(wide(x[0].dtype()))
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let y = saved.output()?;
        let flat = y.detach().eq(0)?;
        // The derivative of the root is infinite at 0; what does not vary has the gradient 0 instead.
        let grad = grad.div(&y.mul(2.0)?)?.masked_fill(&flat, 0.0)?;
        self.var.backward(saved, &grad)
    }
}

/// The p-norm.
#[derive(Debug)]
struct Norm {
    p: f64,
    axes: Axes,
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (x, dtype) = (x[0], wide(x[0].dtype()));
        let reduce = |kind, x: &Tensor| driver::reduce("norm", kind, x, &self.axes, dtype);
        let norm = if self.p == 2.0 {
            reduce(Reduction::SumSquares, x)?.sqrt()?
        } else if self.p == 1.0 {
            reduce(Reduction::SumAbs, x)?
        } else if self.p == 0.0 {
            reduce(Reduction::Sum, &x.ne(0)?)?
        } else if self.p == f64::INFINITY {
            if self.axes.count(x.shape()) == 0 {
                reduce(Reduction::Sum, x)?
            } else {
                reduce(Reduction::Max, &x.abs()?)?
            }
        } else if self.p == f64::NEG_INFINITY {
            self.axes.require_elements("norm", x.shape())?;
            reduce(Reduction::Min, &x.abs()?)?
        } else {
            reduce(Reduction::Sum, &x.to(dtype)?.abs()?.pow(self.p)?)?.pow(1.0 / self.p)?
        };
        norm.to(x.dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (x, p) = (saved.input(0)?, self.p);
        let y = self.axes.restore(&saved.output()?, x.shape())?;
        let grad = self.axes.restore(grad, x.shape())?;
        let gradient = if p == 0.0 {
            x.zeros_like()?
        } else if p == 1.0 {
            x.sign()?.mul(&grad)?
        } else if p == 2.0 {
            let zero = y.detach().eq(0)?;
            x.mul(&grad.div(&y)?.masked_fill(&zero, 0.0)?)?
        } else if p.is_infinite() {
            let same = x.detach().abs()?.eq(&y.detach())?;
            let nan = x.detach().isnan()?.logical_and(&y.detach().isnan()?)?;
            let extreme = same.logical_or(&nan)?.to(x.dtype())?;
            let count = extreme.sum(keepdim(self.axes.dims().as_slice()))?;
            x.sign()?.mul(&extreme)?.mul(&grad.div(&count)?)?
        } else {
            // sign(x) · |x|^(p − 1) / norm^(p − 1), and 0 where that is 0 / 0.
            let part = if p < 1.0 {
                let zero = x.detach().eq(0)?;
                x.sign()?.mul(&x.abs()?.pow(p - 1.0)?)?.masked_fill(&zero, 0.0)?
            } else if p < 2.0 {
                x.sign()?.mul(&x.abs()?.pow(p - 1.0)?)?
            } else {
                x.mul(&x.abs()?.pow(p - 2.0)?)?
            };
            let zero = y.detach().eq(0)?;
            part.mul(&grad.div(&y.pow(p - 1.0)?)?.masked_fill(&zero, 0.0)?)?
        };
        Ok(smallvec![Some(gradient)])
    }
}

#[derive(Debug)]
struct LogSumExp {
    axes: Axes,
}

impl Op for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (x, dtype) = (x[0], wide(x[0].dtype()));
        if self.axes.count(x.shape()) == 0 {
            return Tensor::full(self.axes.result(x.shape()).as_slice(), f64::NEG_INFINITY, x.dtype());
        }
        let greatest = driver::reduce("logsumexp", Reduction::Max, x, &self.axes.kept(), dtype)?;
        // An infinite one would be subtracted from itself.
        let shift = greatest.where_(&greatest.isfinite()?, 0.0)?;
        let scaled = x.to(dtype)?.sub(&shift)?;
        scaled.exp_()?;
        let sum = driver::reduce("logsumexp", Reduction::Sum, &scaled, &self.axes, dtype)?;
        let shift = shift.reshape(self.axes.result(x.shape()).as_slice())?;
        sum.log()?.add(&shift)?.to(x.dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUT)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let x = saved.input(0)?;
        let y = self.axes.restore(&saved.output()?, x.shape())?;
        let grad = self.axes.restore(grad, x.shape())?;
        Ok(smallvec![Some(x.sub(&y)?.exp()?.mul(&grad)?)])
    }
}

impl Tensor {
    /// The variance; `correction` is subtracted from the number of elements that it divides by (PyTorch's default is 1).
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point, or a dimension does not exist or is named twice.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?;
    /// assert_eq!(x.var((), 1.0)?.item()?, 1.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn var(&self, dims: impl DimsArg, correction: f64) -> Result<Tensor> {
        self.variance("var", &dims, correction, false)
    }

    /// The [`var`](Self::var); `running` if its mean comes with it.
    pub(super) fn variance(
        &self,
        op: &str,
        dims: &impl DimsArg,
        correction: f64,
        running: bool,
    ) -> Result<Tensor> {
        apply(self.moment(op, dims, correction, running)?, &[self])
    }

    /// The [`std`](Self::std); `running` if the mean comes with it.
    pub(super) fn deviation(
        &self,
        op: &str,
        dims: &impl DimsArg,
        correction: f64,
        running: bool,
    ) -> Result<Tensor> {
        apply(Std { var: self.moment(op, dims, correction, running)? }, &[self])?.to(self.dtype())
    }

    fn moment(&self, op: &str, dims: &impl DimsArg, correction: f64, running: bool) -> Result<Var> {
        float_dtype(op, self)?;
        let whole = self.dim() == 0 || dims.dims().is_none();
        Ok(Var { axes: Axes::new(op, self, dims)?, correction, whole, running })
    }

    /// The standard deviation, the root of [`var`](Self::var); its gradient is 0 where nothing varies.
    ///
    /// # Errors
    ///
    /// As [`var`](Self::var).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 3.0], [2])?;
    /// assert_eq!(x.std((), 0.0)?.item()?, 1.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn std(&self, dims: impl DimsArg, correction: f64) -> Result<Tensor> {
        self.deviation("std", &dims, correction, false)
    }

    /// The p-norm of the elements as a vector: (Σ |x|ᵖ)^(1/p), for p = 0 the number of those that are not 0, for ±∞ the
    /// greatest or least magnitude. PyTorch's `norm` and `linalg.vector_norm`.
    ///
    /// # Errors
    ///
    /// As [`var`](Self::var).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3.0f32, -4.0], [2])?;
    /// assert_eq!(x.norm(2.0, ())?.item()?, 5.0);
    /// assert_eq!(x.norm(1.0, 0)?.item()?, 7.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn norm(&self, p: f64, dims: impl DimsArg) -> Result<Tensor> {
        float_dtype("norm", self)?;
        apply(Norm { p, axes: Axes::new("norm", self, &dims)? }, &[self])
    }

    /// log Σ eˣ, without overflow; integers become float32.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist or is named twice, or the dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1000.0f32, 1000.0], [2])?;
    /// assert_eq!(x.logsumexp(0)?.item()?, (1000.0 + 2f32.ln()) as f64);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn logsumexp(&self, dims: impl DimsArg) -> Result<Tensor> {
        let axes = Axes::new("logsumexp", self, &dims)?;
        let x = if self.dtype().category() < Category::Float { self.to(DType::F32)? } else { self.clone() };
        float_dtype("logsumexp", &x)?;
        apply(LogSumExp { axes }, &[&x])
    }
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (0.5, 2.0))], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static MOMENTS: &[OpInfo] = &[
    OpInfo {
        name: "var",
        samples: || vec![sample(|x| x.var((), 1.0)), sample(|x| x.var(keepdim([0, 2]), 0.0))],
    },
    OpInfo { name: "std", samples: || vec![sample(|x| x.std(1, 1.0))] },
    OpInfo {
        name: "norm",
        samples: || {
            vec![
                sample(|x| x.norm(2.0, ())),
                sample(|x| x.norm(1.0, 1)),
                sample(|x| x.norm(3.0, [0, 2])),
                sample(|x| x.norm(1.5, keepdim(2))),
                sample(|x| x.norm(0.5, 0)),
                sample(|x| x.norm(f64::INFINITY, 1)),
                sample(|x| x.norm(f64::NEG_INFINITY, 1)),
            ]
        },
    },
    OpInfo {
        name: "logsumexp",
        samples: || vec![sample(|x| x.logsumexp(())), sample(|x| x.logsumexp(keepdim(1)))],
    },
];
