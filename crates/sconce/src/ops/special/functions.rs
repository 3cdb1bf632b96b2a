//! The functions themselves, of one number or two, in double precision.

use crate::Result;
use crate::tensor::Tensor;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Sinh,
    Cosh,
    Asin,
    Acos,
    Atan,
    Asinh,
    Acosh,
    Atanh,
    Erfinv,
    Lgamma,
    Digamma,
    Polygamma(u32),
    I0,
    I1,
}

impl Special {
    /// The value at `x`; `round` is to the precision that is computed in.
    pub(crate) fn compute(self, x: f64, round: impl Fn(f64) -> f64) -> f64 {
        match self {
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Asinh => x.asinh(),
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
            Self::Erfinv => erfinv(x),
            Self::Lgamma => libm::lgamma(x),
            Self::Digamma => digamma(x),
            Self::Polygamma(n) => polygamma(n, x, round),
            Self::I0 => bessel(0.0, x),
            Self::I1 => bessel(1.0, x) * x.signum(),
        }
    }

    pub(crate) fn tensor(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Asinh => x.asinh(),
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
            Self::Erfinv => x.erfinv(),
            Self::Lgamma => x.lgamma(),
            Self::Digamma => x.digamma(),
            Self::Polygamma(n) => x.polygamma(n),
            Self::I0 => x.i0(),
            Self::I1 => x.i1(),
        }
    }
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special2 {
    Atan2,
    Fmod,
    Remainder,
    Hypot,
    Copysign,
}

impl Special2 {
    pub(crate) fn compute(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Atan2 => x.atan2(y),
            Self::Fmod => x % y,
            Self::Remainder => {
                let rest = x % y;
                if rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
            }
            Self::Hypot => x.hypot(y),
            Self::Copysign => x.copysign(y),
        }
    }

    pub(crate) fn tensor(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::Atan2 => x.atan2(y),
            Self::Fmod => x.fmod(y),
            Self::Remainder => x.remainder(y),
            Self::Hypot => x.hypot(y),
            Self::Copysign => x.copysign(y),
        }
    }
}

/// The inverse of the error function: Giles' approximation of the quantile in w = −log(1 − x²), then Newton steps.
fn erfinv(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 1.0 {
        return f64::NAN;
    }
    if x.abs() == 1.0 {
        return x * f64::INFINITY;
    }
    let w = -((1.0 - x) * (1.0 + x)).ln();
    const NEAR: [f64; 9] = [
        2.81022636e-08,
        3.43273939e-07,
        -3.5233877e-06,
        -4.39150654e-06,
        0.00021858087,
        -0.00125372503,
        -0.00417768164,
        0.246640727,
        1.50140941,
    ];
    const FAR: [f64; 9] = [
        -0.000200214257,
        0.000100950558,
        0.00134934322,
        -0.00367342844,
        0.00573950773,
        -0.0076224613,
        0.00943887047,
        1.00167406,
        2.83297682,
    ];
    let (w, c) = if w < 5.0 { (w - 2.5, NEAR) } else { (w.sqrt() - 3.0, FAR) };
    let mut y = c.iter().fold(0.0, |p, c| p * w + c) * x;
    for _ in 0..3 {
        let slope = std::f64::consts::FRAC_2_SQRT_PI * (-y * y).exp();
        if slope == 0.0 {
            break;
        }
        // Far from 0 the complement keeps the digits that erf has lost.
        let error = if x.abs() < 0.5 {
            libm::erf(y) - x
        } else {
            ((1.0 - x.abs()) - libm::erfc(y.abs())) * x.signum()
        };
        // Halley's method: the second derivative of erf is −2y times the first.
        let step = error / slope;
        y -= step / (1.0 + y * step);
    }
    y
}

/// The modified Bessel function of the first kind and an order of 0 or 1, of |x|: a series of positive terms.
fn bessel(order: f64, x: f64) -> f64 {
    let x = x.abs();
    if x > 720.0 {
        // As in PyTorch there is no value at infinity.
        return if x == f64::INFINITY { f64::NAN } else { f64::INFINITY };
    }
    let quarter = x * x / 4.0;
    let mut term = if order == 0.0 { 1.0 } else { x / 2.0 };
    let (mut sum, mut k) = (term, 1.0);
    while term > sum * 1e-18 {
        term *= quarter / (k * (k + order));
        sum += term;
        k += 1.0;
    }
    if x.is_nan() { x } else { sum }
}

/// The derivative of the logarithm of gamma.
fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.trunc() {
            return f64::NAN;
        }
        // Reflection.
        return digamma(1.0 - x) - std::f64::consts::PI / (std::f64::consts::PI * (x % 1.0)).tan();
    }
    let (mut x, mut sum) = (x, 0.0);
    while x < 10.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0, 1.0 / 252.0, -1.0 / 120.0, 1.0 / 12.0];
    let z = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - z * SERIES.iter().fold(0.0, |p, c| p * z + c)
}

/// The n-th derivative of digamma: (−1)ⁿ⁺¹ n! ζ(n + 1, x).
fn polygamma(n: u32, x: f64, round: impl Fn(f64) -> f64) -> f64 {
    if n == 0 {
        return digamma(x);
    }
    if n == 1 && x < 0.5 {
        // Reflection. At a pole what rounding leaves of the sine decides.
        let sine = round(round(std::f64::consts::PI) * x).sin();
        return (std::f64::consts::PI / sine).powi(2) - zeta(2, 1.0 - x);
    }
    let factorial = libm::tgamma(f64::from(n) + 1.0);
    let sign = if n.is_multiple_of(2) { -1.0 } else { 1.0 };
    sign * factorial * zeta(n + 1, x)
}

/// Hurwitz' zeta function Σ (x + k)⁻ˢ for an integer s > 1, by Euler and Maclaurin; NaN below −10⁶.
fn zeta(s: u32, x: f64) -> f64 {
    if x <= 0.0 && x == x.floor() {
        // The limit from the right, which PyTorch takes.
        return f64::INFINITY;
    }
    if x.is_infinite() {
        return 0.0;
    }
    // Further left the terms before the first positive one are too many to add.
    if x.is_nan() || x < -1e6 {
        return f64::NAN;
    }
    let power = |x: f64| x.powi(-(s.min(i32::MAX as u32) as i32));
    let (s, mut x, mut sum) = (f64::from(s), x, 0.0);
    while x < 12.0 {
        sum += power(x);
        x += 1.0;
        if sum.is_infinite() {
            return sum;
        }
    }
    sum += power(x) * (x / (s - 1.0) + 0.5);
    // B₂ₖ / (2k)! for k = 1, 2, …
    const BERNOULLI: [f64; 10] = [
        8.333333333333333e-2,
        -1.388888888888889e-3,
        3.306878306878307e-5,
        -8.267195767195767e-7,
        2.08767569878681e-8,
        -5.284190138687493e-10,
        1.3382536530684679e-11,
        -3.3896802963225829e-13,
        8.586062056277845e-15,
        -2.174868698558062e-16,
    ];
    let mut term = s * power(x) / x;
    for (k, b) in BERNOULLI.iter().enumerate() {
        sum += b * term;
        let k = 2.0 * k as f64;
        term *= (s + k + 1.0) * (s + k + 2.0) / (x * x);
    }
    sum
}
