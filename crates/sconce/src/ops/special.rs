//! Elementwise functions that are computed in double precision: inverse and hyperbolic functions, gamma and its kin.

mod functions;

pub(crate) use self::functions::{Special, Special2};
use super::binary::{BOTH, NEITHER, X, binary};
use super::unary::unary;
<<<<<<< HEAD
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
    pub(crate) fn compute(self, x: f64) -> f64 {
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
            Self::Polygamma(n) => polygamma(n, x),
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
fn polygamma(n: u32, x: f64) -> f64 {
    if n == 0 {
        return digamma(x);
    }
    if n == 1 && x < 0.5 {
        // Reflection.
        let sine = (std::f64::consts::PI * x).sin();
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
=======
>>>>>>> main

unary! {
    static SPECIAL;

    /// The inverse sine, in radians.
    asin Asin, asin_ () {
        forward: |x| x.special(Special::Asin),
        backward: |g, x, y| g / (-(x * x) + 1.0).sqrt(),
        saves: INPUTS,
        domain: (-0.9, 0.9),
    }

    /// The inverse cosine, in radians.
    acos Acos, acos_ () {
        forward: |x| x.special(Special::Acos),
        backward: |g, x, y| -g / (-(x * x) + 1.0).sqrt(),
        saves: INPUTS,
        domain: (-0.9, 0.9),
    }

    /// The inverse tangent, in radians.
    atan Atan, atan_ () {
        forward: |x| x.special(Special::Atan),
        backward: |g, x, y| g / (x * x + 1.0),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// The inverse hyperbolic sine.
    asinh Asinh, asinh_ () {
        forward: |x| x.special(Special::Asinh),
        backward: |g, x, y| g / (x * x + 1.0).sqrt(),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// The inverse hyperbolic cosine; NaN below 1.
    acosh Acosh, acosh_ () {
        forward: |x| x.special(Special::Acosh),
        backward: |g, x, y| g / (x * x - 1.0).sqrt(),
        saves: INPUTS,
        domain: (1.2, 3.0),
    }

    /// The inverse hyperbolic tangent.
    atanh Atanh, atanh_ () {
        forward: |x| x.special(Special::Atanh),
        backward: |g, x, y| g / (-(x * x) + 1.0),
        saves: INPUTS,
        domain: (-0.9, 0.9),
    }

    /// 1 − [`erf`](Self::erf), without cancellation.
    erfc Erfc, erfc_ () {
        forward: |x| x.erfc(),
        backward: |g, x, y| g * ((-(x * x)).exp() * -std::f64::consts::FRAC_2_SQRT_PI),
        saves: INPUTS,
        domain: (-2.0, 2.0),
    }

    /// The inverse of the error function, on (−1, 1).
    erfinv Erfinv, erfinv_ () {
        forward: |x| x.special(Special::Erfinv),
        backward: |g, x, y| g * ((y * y).exp() / std::f64::consts::FRAC_2_SQRT_PI),
        saves: OUTPUT,
        domain: (-0.9, 0.9),
    }

    /// The logarithm of the magnitude of the gamma function.
    lgamma Lgamma, lgamma_ () {
        forward: |x| x.special(Special::Lgamma),
        backward: |g, x, y| g * x.special(Special::Digamma),
        saves: INPUTS,
        domain: (0.3, 5.0),
    }

    /// The derivative of [`lgamma`](Self::lgamma).
    digamma Digamma, digamma_ () {
        forward: |x| x.special(Special::Digamma),
        backward: |g, x, y| g * x.special(Special::Polygamma(1)),
        saves: INPUTS,
        domain: (0.3, 5.0),
    }

    /// The `n`-th derivative of [`digamma`](Self::digamma).
    polygamma Polygamma, polygamma_ (n: u32 = 2) {
        forward: |x| x.special(Special::Polygamma(n)),
        backward: |g, x, y| g * x.special(Special::Polygamma(n.saturating_add(1))),
        saves: INPUTS,
        domain: (0.8, 5.0),
    }

    /// The modified Bessel function of the first kind of order 0.
    i0 I0, i0_ () {
        forward: |x| x.special(Special::I0),
        backward: |g, x, y| g * x.special(Special::I1),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// The modified Bessel function of the first kind of order 1.
    i1 I1, i1_ () {
        forward: |x| x.special(Special::I1),
        backward: |g, x, y| {
            let at_zero = x.equal(x.constant(0.0));
            let safe = R::select(at_zero, x.constant(1.0), x);
            g * R::select(at_zero, x.constant(0.5), x.special(Special::I0) - y / safe)
        },
        saves: BOTH,
        domain: (0.5, 3.0),
    }

    /// log(x / (1 − x)), the inverse of the sigmoid; x is first clamped to [`eps`, 1 − `eps`] if that is given.
    logit Logit, logit_ (eps: Option<f64> = Some(1e-6)) {
        forward: |x| {
            let x = match eps {
                Some(eps) => {
                    let (low, high) = (x.constant(eps), x.constant(1.0 - eps));
                    R::select(low.gt(x), low, R::select(x.gt(high), high, x))
                }
                None => x,
            };
            (x / (-x + 1.0)).ln()
        },
        backward: |g, x, y| {
            let slope = g / (x * (-x + 1.0));
            let (low, high) = (x.constant(eps.unwrap_or(0.0)), x.constant(1.0 - eps.unwrap_or(0.0)));
            let outside = x.constant(if eps.is_some() { 0.0 } else { f64::NAN });
            R::select(x.ge(low), R::select(high.ge(x), slope, outside), outside)
        },
        saves: INPUTS,
        domain: (0.1, 0.9),
    }

    /// sin(πx) / (πx), 1 at 0.
    sinc Sinc, sinc_ () {
        forward: |x| {
            let at_zero = x.equal(x.constant(0.0));
            let px = R::select(at_zero, x.constant(1.0), x * std::f64::consts::PI);
            R::select(at_zero, x.constant(1.0), px.sin() / px)
        },
        backward: |g, x, y| {
            // So small that the square vanishes, as in PyTorch.
            let at_zero = (x * std::f64::consts::PI * x).equal(x.constant(0.0));
            let x = R::select(at_zero, x.constant(1.0), x);
            let px = x * std::f64::consts::PI;
            (g * ((px * px.cos() - px.sin()) / (px * x))).unless(at_zero)
        },
        saves: INPUTS,
        domain: (0.2, 2.0),
    }

    /// What [`trunc`](Self::trunc) cuts off, with the sign of the whole.
    frac Frac, frac_ () {
        forward: |x| x - x.trunc(),
        backward: |g, x, y| g,
        saves: NONE,
        ints: Refuse,
        domain: (0.1, 0.9),
    }

    /// Degrees to radians.
    deg2rad Deg2rad, deg2rad_ () {
        forward: |x| x * (std::f64::consts::PI / 180.0),
        backward: |g, x, y| g * (std::f64::consts::PI / 180.0),
        saves: NONE,
        domain: (-90.0, 90.0),
    }

    /// Radians to degrees.
    rad2deg Rad2deg, rad2deg_ () {
        forward: |x| x * (180.0 / std::f64::consts::PI),
        backward: |g, x, y| g * (180.0 / std::f64::consts::PI),
        saves: NONE,
        domain: (-2.0, 2.0),
    }
}

binary! {
    static BINARY_SPECIAL;

    /// The angle of the point (other, self), from −π to π.
    atan2 Atan2, atan2_ {
        other: tensor,
        forward: |y, x| y.special2(x, Special2::Atan2),
        bool: false,
        grad_x: |g, y, x| R::select((x * x + y * y).equal(x.constant(0.0)), g * 0.0, g * (x / (x * x + y * y))), BOTH,
        grad_y: |g, y, x| R::select((x * x + y * y).equal(x.constant(0.0)), g * 0.0, g * (-y / (x * x + y * y))), BOTH,
        domain: (0.5, 3.0),
    }

    /// The rest of a division that truncates: it has this tensor's sign.
    fmod Fmod, fmod_ {
        forward: |x, y| x.special2(y, Special2::Fmod),
        int: |x, y| x.wrapping_rem(y),
        bool: false,
        divides: true,
        grad_x: |g, x, y| g, NEITHER,
        grad_y: |g, x, y| -g * (x / y).trunc(), BOTH,
        domain: (0.7, 0.9),
    }

    /// The rest of a division that rounds down: it has the other's sign; Python's `%`.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-3i64, 3], [2])?;
    /// assert_eq!(x.remainder(2)?.to_vec::<i64>()?, [1, 1]);
    /// assert_eq!(x.fmod(2)?.to_vec::<i64>()?, [-1, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    remainder Remainder, remainder_ {
        forward: |x, y| x.special2(y, Special2::Remainder),
        int: |x, y| {
            let rest = x.wrapping_rem(y);
            if rest != 0 && (rest < 0) != (y < 0) { rest.wrapping_add(y) } else { rest }
        },
        bool: false,
        divides: true,
        grad_x: |g, x, y| g, NEITHER,
        grad_y: |g, x, y| -g * (x / y).floor(), BOTH,
        domain: (0.7, 0.9),
    }

    /// √(x² + y²), without overflow.
    hypot Hypot, hypot_ {
        other: tensor,
        floats: true,
        forward: |x, y| x.special2(y, Special2::Hypot),
        bool: false,
        grad_x: |g, x, y| g * (x / x.special2(y, Special2::Hypot)), BOTH,
        grad_y: |g, x, y| g * (y / x.special2(y, Special2::Hypot)), BOTH,
        domain: (0.5, 3.0),
    }

    /// This magnitude with the other's sign.
    copysign Copysign, copysign_ {
        forward: |x, y| x.special2(y, Special2::Copysign),
        bool: false,
        grad_x: |g, x, y| (g * (x.special2(y, Special2::Copysign) / x)).unless(x.equal(x.constant(0.0))), BOTH,
        grad_y: |g, x, y| g * 0.0, NEITHER,
        domain: (0.5, 3.0),
    }

    /// log(eˣ + eʸ), without overflow.
    logaddexp Logaddexp, logaddexp_ {
        other: tensor,
        floats: true,
        forward: |x, y| {
            let (high, low) = (R::select(x.gt(y), x, y), R::select(x.gt(y), y, x));
            // Equal infinities have no difference.
            let difference = R::select(x.equal(y), x.constant(0.0), low - high);
            high + difference.exp().log1p()
        },
        bool: false,
        grad_x: |g, x, y| g * (x - y).sigmoid(), BOTH,
        grad_y: |g, x, y| g * (y - x).sigmoid(), BOTH,
        domain: (-3.0, 3.0),
    }

    /// log₂(2ˣ + 2ʸ), without overflow.
    logaddexp2 Logaddexp2, logaddexp2_ {
        other: tensor,
        floats: true,
        forward: |x, y| {
            let (high, low) = (R::select(x.gt(y), x, y), R::select(x.gt(y), y, x));
            let difference = R::select(x.equal(y), x.constant(0.0), low - high);
            high + difference.exp2().log1p() / std::f64::consts::LN_2
        },
        bool: false,
        grad_x: |g, x, y| g * ((x - y) * std::f64::consts::LN_2).sigmoid(), BOTH,
        grad_y: |g, x, y| g * ((y - x) * std::f64::consts::LN_2).sigmoid(), BOTH,
        domain: (-3.0, 3.0),
    }

    /// x · log y, 0 where x is 0 (unless y is NaN).
    xlogy Xlogy, xlogy_ {
        forward: |x, y| R::select(y.equal(y), R::select(x.equal(x.constant(0.0)), x.constant(0.0), x * y.ln()), y),
        bool: false,
        grad_x: |g, x, y| R::select(x.equal(x.constant(0.0)), R::select(x.constant(0.0).ge(y), g * 0.0, g * y.ln()), g * y.ln()), BOTH,
        grad_y: |g, x, y| g * (x / y), BOTH,
        domain: (0.5, 3.0),
    }

    /// The greater of both, or the other one of a NaN.
    fmax Fmax, fmax_ {
        other: tensor,
        forward: |x, y| R::select(x.ge(y), x, R::select(y.equal(y), y, x)),
        int: |x, y| x.max(y),
        bool: true,
        grad_x: |g, x, y| R::select(x.ge(y), g, R::select(y.equal(y), g * 0.0, g)), BOTH,
        grad_y: |g, x, y| R::select(x.ge(y), g * 0.0, R::select(y.equal(y), g, g * 0.0)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// The smaller of both, or the other one of a NaN.
    fmin Fmin, fmin_ {
        other: tensor,
        forward: |x, y| R::select(y.ge(x), x, R::select(y.equal(y), y, x)),
        int: |x, y| x.min(y),
        bool: true,
        grad_x: |g, x, y| R::select(y.ge(x), g, R::select(y.equal(y), g * 0.0, g)), BOTH,
        grad_y: |g, x, y| R::select(y.ge(x), g * 0.0, R::select(y.equal(y), g, g * 0.0)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// The quotient rounded down.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-7i64, 7], [2])?;
    /// assert_eq!(x.floor_divide(2)?.to_vec::<i64>()?, [-4, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    floor_divide FloorDivide, floor_divide_ {
        forward: |x, y| {
            let rest = x.special2(y, Special2::Fmod);
            let whole = (x - rest) / y;
            let zero = x.constant(0.0);
            let crosses = (rest.sign() * y.sign()).equal(x.constant(-1.0));
            let whole = R::select(crosses, whole - 1.0, whole);
            let floor = whole.floor();
            let near = R::select((whole - floor).gt(x.constant(0.5)), floor + 1.0, floor);
            R::select(y.equal(zero), x / y, R::select(whole.equal(zero), (x / y).sign() * 0.0, near))
        },
        int: |x, y| {
            let whole = x.wrapping_div(y);
            if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { whole.wrapping_sub(1) } else { whole }
        },
        bool: false,
        divides: true,
        grad_x: |g, x, y| g * 0.0, NEITHER,
        grad_y: |g, x, y| g * 0.0, NEITHER,
        domain: (0.7, 0.9),
    }

    /// The quotient rounded towards zero; PyTorch's `div(rounding_mode="trunc")`.
    trunc_divide TruncDivide, trunc_divide_ {
        forward: |x, y| (x / y).trunc(),
        int: |x, y| x.wrapping_div(y),
        bool: false,
        divides: true,
        grad_x: |g, x, y| g * 0.0, NEITHER,
        grad_y: |g, x, y| g * 0.0, NEITHER,
        domain: (0.7, 0.9),
    }

    /// 0 below 0, 1 above, and the other's value at 0.
    heaviside Heaviside, heaviside_ {
        other: tensor,
        same_dtype: true,
        forward: |x, y| {
            let zero = x.constant(0.0);
            R::select(x.equal(zero), y, x.constant(1.0).masked(x.gt(zero)))
        },
        int: |x, y| match x { 0 => y, x => i64::from(x > 0) },
        bool: true,
        grad_x: |g, x, y| g * 0.0, NEITHER,
        grad_y: |g, x, y| g.masked(x.equal(x.constant(0.0))), X,
        domain: (0.5, 3.0),
    }

    /// At least the other: NaN if either is. Unlike that of [`maximum`](Self::maximum), the gradient of a tie is all
    /// this tensor's.
    clamp_min ClampMin, clamp_min_ {
        forward: |x, y| R::select(x.gt(y), x, R::select(y.ge(x), y, x + y)),
        int: |x, y| x.max(y),
        bool: true,
        grad_x: |g, x, y| g.masked(x.ge(y)), BOTH,
        grad_y: |g, x, y| g.masked(y.gt(x)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// At most the other: NaN if either is. Unlike that of [`minimum`](Self::minimum), the gradient of a tie is all
    /// this tensor's.
    clamp_max ClampMax, clamp_max_ {
        forward: |x, y| R::select(y.gt(x), x, R::select(x.ge(y), y, x + y)),
        int: |x, y| x.min(y),
        bool: true,
        grad_x: |g, x, y| g.masked(y.ge(x)), BOTH,
        grad_y: |g, x, y| g.masked(x.gt(y)), BOTH,
        domain: (-3.0, 3.0),
    }
}
