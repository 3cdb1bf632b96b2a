//! The incomplete gamma functions and what is built of gamma.

use smallvec::smallvec;

use super::driver;
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, apply, is_grad_enabled};
use crate::tensor::layout::broadcast;
use crate::tensor::promote::Promotion;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// `mvlgamma` adds up one term per dimension.
const MOST_TERMS: usize = 1 << 16;

/// xᵃ e⁻ˣ / Γ(a), from logarithms.
fn factor(a: f64, x: f64) -> f64 {
    (a * x.ln() - x - libm::lgamma(a)).exp()
}

/// The lower function at an edge, if it is one; the order of the tests is PyTorch's, which decides beside NaN.
fn edge(a: f64, x: f64) -> Option<f64> {
    if a < 0.0 || x < 0.0 {
        return Some(f64::NAN);
    }
    if a == 0.0 {
        return Some(if x > 0.0 { 1.0 } else { f64::NAN });
    }
    if x == 0.0 {
        return Some(0.0);
    }
    if a.is_infinite() {
        return Some(if x.is_infinite() { f64::NAN } else { 0.0 });
    }
    if x.is_infinite() {
        return Some(1.0);
    }
    (a.is_nan() || x.is_nan()).then_some(f64::NAN)
}

/// The lower function by its series, which converges fast for x < a + 1.
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
    for _ in 0..100_000 {
        n += 1.0;
        term *= x / n;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum * factor(a, x)
}

/// The upper function by Lentz's method for its continued fraction, which converges fast for x > a + 1.
fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..100_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + an / c;
        c = if c.abs() < TINY { TINY } else { c };
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    h * factor(a, x)
}

/// The shape from which on the functions are taken from their expansion for large ones.
const LARGE: f64 = 1e6;

/// The upper function for a large shape: the normal distribution's and the first term of what is left (Temme 1979).
fn expansion(a: f64, x: f64) -> f64 {
    let mu = (x - a) / a;
    // μ − ln(1 + μ), which is η² / 2.
    let half_square = if mu.abs() < 1e-2 {
        mu * mu * (2..12).rev().fold(0.0, |sum, k| 1.0 / f64::from(k) - mu * sum)
    } else {
        mu - mu.ln_1p()
    };
    let eta = (2.0 * half_square).sqrt().copysign(mu);
    let first = if mu.abs() < 1e-4 { eta / 12.0 - 1.0 / 3.0 } else { 1.0 / mu - 1.0 / eta };
    let rest = (-a * half_square).exp() / (std::f64::consts::TAU * a).sqrt() * first;
    0.5 * libm::erfc(eta * (a / 2.0).sqrt()) + rest
}

/// The regularised lower incomplete gamma function P(a, x).
fn lower(a: f64, x: f64) -> f64 {
    edge(a, x).unwrap_or_else(|| {
        if a > LARGE {
            1.0 - expansion(a, x)
        } else if x < a + 1.0 {
            series(a, x)
        } else {
            1.0 - fraction(a, x)
        }
    })
}

/// The regularised upper incomplete gamma function Q(a, x).
fn upper(a: f64, x: f64) -> f64 {
    if let Some(lower) = edge(a, x) {
        return 1.0 - lower;
    }
    if a > LARGE {
        return expansion(a, x);
    }
    if x < a + 1.0 { 1.0 - series(a, x) } else { fraction(a, x) }
}

/// P(a, x), or Q(a, x).
#[derive(Debug)]
struct IncompleteGamma {
    name: &'static str,
    upper: bool,
    dtype: DType,
}

impl Op for IncompleteGamma {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let shape = broadcast(self.name, x[0].shape(), x[1].shape())?;
        let f = if self.upper { upper } else { lower };
        driver::map::<f64, 2>(self.name, &shape, self.dtype, [x[0], x[1]], move |[a, x]| f(a, x))
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (a, x) = (saved.input(0)?, saved.input(1)?);
        // The density xᵃ⁻¹ e⁻ˣ / Γ(a).
        let density = a.sub(1.0)?.mul(&x.log()?)?.sub(&x)?.sub(&a.lgamma()?)?.exp()?;
        let gradient = grad.mul(&density)?;
        Ok(smallvec![None, Some(if self.upper { gradient.neg()? } else { gradient })])
    }
}

impl Tensor {
    fn incomplete_gamma(&self, name: &'static str, upper: bool, x: &Tensor) -> Result<Tensor> {
        let dtype = Promotion::of(self, &x.into());
        if !dtype.is_floating_point() {
            return Err(Error::dtype(format!("{name}: needs a floating point dtype, found {dtype}")));
        }
        if self.requires_grad() && is_grad_enabled() {
            return Err(Error::autograd(format!(
                "{name}: has no derivative with respect to its first operand {}: detach it",
                self.describe()
            )));
        }
        apply(IncompleteGamma { name, upper, dtype }, &[self, x])
    }

    /// The regularised lower incomplete gamma function of this shape, up to x.
    ///
    /// # Errors
    ///
    /// If neither dtype is floating point, the shapes do not broadcast, or this tensor requires grad.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let y = Tensor::scalar(1.0f64).igamma(&Tensor::scalar(2.0f64))?;
    /// assert!((y.item()? - (1.0 - (-2.0f64).exp())).abs() < 1e-15);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn igamma(&self, x: &Tensor) -> Result<Tensor> {
        self.incomplete_gamma("igamma", false, x)
    }

    /// The regularised upper incomplete gamma function of this shape, from x on.
    ///
    /// # Errors
    ///
    /// As [`igamma`](Self::igamma).
    pub fn igammac(&self, x: &Tensor) -> Result<Tensor> {
        self.incomplete_gamma("igammac", true, x)
    }
}

impl Tensor {
    /// The logarithm of the multivariate gamma function of dimension `p`.
    ///
    /// # Errors
    ///
    /// If `p` is 0 or above 65536, or the dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::scalar(3.0f64);
    /// assert!((x.mvlgamma(1)?.item()? - 2f64.ln()).abs() < 1e-15);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn mvlgamma(&self, p: usize) -> Result<Tensor> {
        if p == 0 {
            return Err(Error::argument("mvlgamma: p must be at least 1, found 0"));
        }
        if p > MOST_TERMS {
            return Err(Error::argument(format!("mvlgamma: p must be at most {MOST_TERMS}, found {p}")));
        }
        let shift = (p * (p - 1)) as f64 / 4.0 * std::f64::consts::PI.ln();
        let mut sum = self.lgamma()?;
        for j in 1..p {
            sum = sum.add(&self.sub(j as f64 / 2.0)?.lgamma()?)?;
        }
        sum.add(shift)
    }
}

/// For the generic tests.
pub(crate) static GAMMAS: &[OpInfo] = &[
    OpInfo {
        name: "mvlgamma",
        samples: || vec![Sample::new(&[(&[2, 3], (1.5, 4.0))], |x| x[0].mvlgamma(3))],
    },
    OpInfo {
        name: "igamma",
        samples: || {
            vec![Sample::new(&[(&[2, 3], (0.7, 3.0))], |x| {
                Tensor::full((), 1.7, x[0].dtype())?.igamma(&x[0])
            })]
        },
    },
    OpInfo {
        name: "igammac",
        samples: || {
            vec![Sample::new(&[(&[2, 3], (0.7, 3.0))], |x| {
                Tensor::full((), 1.7, x[0].dtype())?.igammac(&x[0])
            })]
        },
    },
];
