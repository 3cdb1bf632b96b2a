//! Elementary functions as branch-free scalar code, so that plain loops over them vectorise.
//!
//! `f32`: `exp`, `tanh`, `sigmoid` and `erf` are computed in single precision to about 1 ulp; the rest in double precision,
//! rounded once. `f64`: `exp`, `tanh` and `sigmoid` are computed here to about 1 ulp, the rest calls the platform's or
//! `libm`'s functions.
//!
//! `fused` says that the machine adds a product in one instruction, a constant where a loop is compiled; without it
//! `mul_add` is a library call. What it alone would make fast, `sin`, `cos`, `tan` and `pow` of `f32`, calls the platform
//! otherwise, as do sines of large numbers: their reduction has no cheap branch-free form.

mod single;

use crate::Real;

/// Elementary functions of a float, each PyTorch's function of the same name, special values included.
///
/// ```
/// use sconce_kernels::Float;
/// assert!((Float::exp(1f32, true) - std::f32::consts::E).abs() < 3e-7);
/// assert_eq!(Float::log(0f64, true), f64::NEG_INFINITY);
/// assert_eq!(2.5f32.round_even(), 2.0);
/// ```
pub trait Float: Real {
    /// `e` to the power `self`.
    fn exp(self, fused: bool) -> Self;
    /// The factor of [`Float::exp_scaled`], a power of two.
    const EXP_SCALE: Self;
    /// `EXP_SCALE · exp(self)` for a `self` that is not above 0, or NaN; less work than [`Float::exp`].
    ///
    /// The factor keeps subnormal results exact until they are divided by a sum of the same scale. `fused` says that the
    /// machine adds a product in one instruction.
    fn exp_scaled(self, fused: bool) -> Self;
    /// `exp(self)` for a `self` that is not above 0, or NaN, by [`Float::exp_scaled`].
    #[inline(always)]
    fn exp_down(self, fused: bool) -> Self {
        self.exp_scaled(fused) * (Self::ONE / Self::EXP_SCALE)
    }
    /// 2 to the power `self`.
    fn exp2(self, fused: bool) -> Self;
    /// `exp(self) - 1`, exact near 0.
    fn expm1(self, fused: bool) -> Self;
    /// Natural logarithm.
    fn log(self, fused: bool) -> Self;
    /// `log(1 + self)`, exact near 0.
    fn log1p(self, fused: bool) -> Self;
    /// Logarithm to base 2.
    fn log2(self, fused: bool) -> Self;
    /// Logarithm to base 10.
    fn log10(self, fused: bool) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// [`Float::sin`], or NaN where this function is not made for so large a number.
    #[inline(always)]
    fn sin_near(self) -> Self {
        self.sin()
    }
    /// Cosine.
    fn cos(self) -> Self;
    /// [`Float::cos`], or NaN where this function is not made for so large a number.
    #[inline(always)]
    fn cos_near(self) -> Self {
        self.cos()
    }
    /// Tangent.
    fn tan(self) -> Self;
    /// [`Float::tan`], or NaN where this function is not made for so large a number.
    #[inline(always)]
    fn tan_near(self) -> Self {
        self.tan()
    }
    /// Hyperbolic tangent.
    fn tanh(self, fused: bool) -> Self;
    /// `1 / (1 + exp(-self))`.
    fn sigmoid(self, fused: bool) -> Self;
    /// Error function.
    fn erf(self, fused: bool) -> Self;
    /// `1 - erf(self)`, without cancellation.
    fn erfc(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// `1 / sqrt(self)`.
    fn rsqrt(self) -> Self;
    /// `self` to the power `exponent`.
    fn pow(self, exponent: Self, fused: bool) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Greatest integer not above `self`.
    fn floor(self) -> Self;
    /// Least integer not below `self`.
    fn ceil(self) -> Self;
    /// Nearest integer towards 0.
    fn trunc(self) -> Self;
    /// Nearest integer, ties to even.
    fn round_even(self) -> Self;
    /// The greater of two, NaN if either is NaN.
    fn maximum(self, other: Self) -> Self;
    /// The lesser of two, NaN if either is NaN.
    fn minimum(self, other: Self) -> Self;

    /// `x · Φ(x)`, the Gaussian error linear unit by its definition.
    #[inline(always)]
    fn gelu(self, fused: bool) -> Self {
        let half = Self::from_f64(0.5);
        self * half * (Self::ONE + (self * Self::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf(fused))
    }

    /// The derivative of [`Float::gelu`].
    #[inline(always)]
    fn gelu_derivative(self, fused: bool) -> Self {
        let half = Self::from_f64(0.5);
        let cdf = half * (Self::ONE + (self * Self::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf(fused));
        let pdf = (-half * self * self).exp(fused) * Self::from_f64(0.398_942_280_401_432_7);
        cdf + self * pdf
    }

    /// The Gaussian error linear unit with the hyperbolic tangent in place of the error function.
    #[inline(always)]
    fn gelu_tanh(self, fused: bool) -> Self {
        let half = Self::from_f64(0.5);
        half * self * (Self::ONE + self.gelu_inner().tanh(fused))
    }

    /// The derivative of [`Float::gelu_tanh`].
    #[inline(always)]
    fn gelu_tanh_derivative(self, fused: bool) -> Self {
        let half = Self::from_f64(0.5);
        let t = self.gelu_inner().tanh(fused);
        let inner =
            Self::from_f64(SQRT_2_OVER_PI) * (Self::ONE + Self::from_f64(3.0 * GELU_CUBE) * self * self);
        half * (Self::ONE + t) + half * self * (Self::ONE - t * t) * inner
    }

    #[doc(hidden)]
    #[inline(always)]
    fn gelu_inner(self) -> Self {
        Self::from_f64(SQRT_2_OVER_PI) * (self + Self::from_f64(GELU_CUBE) * self * self * self)
    }
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_CUBE: f64 = 0.044715;

/// `a · b + c`, rounded once if `fused`.
#[inline(always)]
fn fma64(fused: bool, a: f64, b: f64, c: f64) -> f64 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// Horner's rule, highest power first.
#[inline(always)]
fn horner<const N: usize>(fused: bool, x: f64, c: [f64; N]) -> f64 {
    let mut y = c[0];
    for &c in &c[1..] {
        y = fma64(fused, y, x, c);
    }
    y
}

/// `2^n` for `-1022 <= n <= 1023`.
#[inline(always)]
fn power64(n: i64) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// 2^64.
const SCALE32: f32 = 18_446_744_073_709_551_616.0;

/// Adding this rounds to an integer, which is then in the low bits.
const MAGIC64: f64 = 6_755_399_441_055_744.0;

/// `exp` of a reduced argument, minus 1, and the power of two: `exp(x) = 2^n · (p + 1)`.
#[inline(always)]
fn exp_parts64(x: f64, fused: bool) -> (f64, i64) {
    let shifted = fma64(fused, x, std::f64::consts::LOG2_E, MAGIC64);
    let n = (shifted.to_bits() as i64).wrapping_sub(MAGIC64.to_bits() as i64);
    let k = shifted - MAGIC64;
    let r = fma64(fused, k, -1.908_214_929_270_587_7e-10, fma64(fused, k, -6.931_471_803_691_238e-1, x));
    let p = horner(
        fused,
        r,
        [
            1.0 / 6_227_020_800.0,
            1.0 / 479_001_600.0,
            1.0 / 39_916_800.0,
            1.0 / 3_628_800.0,
            1.0 / 362_880.0,
            1.0 / 40_320.0,
            1.0 / 5_040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
        ],
    );
    (fma64(fused, p, r * r, r), n)
}

#[inline(always)]
fn exp64(x: f64, fused: bool) -> f64 {
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let (p, n) = exp_parts64(x, fused);
    // `n` is small: halving by a shift of its low 32 bits vectorises where a 64-bit shift does not.
    let half = ((n as i32) >> 1) as i64;
    (p + 1.0) * power64(half) * power64(n.wrapping_sub(half))
}

#[inline(always)]
fn tanh64(x: f64, fused: bool) -> f64 {
    let a = x.abs();
    let a = if a > 22.0 { 22.0 } else { a };
    let (p, n) = exp_parts64(a + a, fused);
    let scale = power64(n);
    // `expm1`, without cancellation for `n = 0` and with little for the rest.
    let e = fma64(fused, scale, p, scale - 1.0);
    (e / (e + 2.0)).copysign(x)
}

impl Float for f32 {
    #[inline(always)]
    fn exp(self, fused: bool) -> f32 {
        single::exp(self, fused)
    }
    const EXP_SCALE: f32 = SCALE32;
    #[inline(always)]
    fn exp_scaled(self, fused: bool) -> f32 {
        single::exp_scaled(self, fused)
    }
    #[inline(always)]
    fn exp2(self, fused: bool) -> f32 {
        single::exp2(self, fused)
    }
    #[inline(always)]
    fn expm1(self, fused: bool) -> f32 {
        single::expm1(self, fused)
    }
    #[inline(always)]
    fn log(self, fused: bool) -> f32 {
        single::log(self, fused)
    }
    #[inline(always)]
    fn log1p(self, fused: bool) -> f32 {
        single::log1p(self, fused)
    }
    #[inline(always)]
    fn log2(self, fused: bool) -> f32 {
        single::log2(self, fused)
    }
    #[inline(always)]
    fn log10(self, fused: bool) -> f32 {
        single::log10(self, fused)
    }
    #[inline(always)]
    fn sin(self) -> f32 {
        f32::sin(self)
    }
    #[inline(always)]
    fn sin_near(self) -> f32 {
        single::sin_near(self)
    }
    #[inline(always)]
    fn cos(self) -> f32 {
        f32::cos(self)
    }
    #[inline(always)]
    fn cos_near(self) -> f32 {
        single::cos_near(self)
    }
    #[inline(always)]
    fn tan(self) -> f32 {
        f32::tan(self)
    }
    #[inline(always)]
    fn tan_near(self) -> f32 {
        single::tan_near(self)
    }
    #[inline(always)]
    fn tanh(self, fused: bool) -> f32 {
        single::tanh(self, fused)
    }
    #[inline(always)]
    fn sigmoid(self, fused: bool) -> f32 {
        single::sigmoid(self, fused)
    }
    #[inline(always)]
    fn erf(self, fused: bool) -> f32 {
        single::erf(self, fused)
    }
    #[inline(always)]
    fn erfc(self) -> f32 {
        libm::erfc(self as f64) as f32
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn rsqrt(self) -> f32 {
        1.0 / f32::sqrt(self)
    }
    #[inline(always)]
    fn pow(self, exponent: f32, fused: bool) -> f32 {
        if fused { single::pow(self, exponent) } else { self.powf(exponent) }
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn floor(self) -> f32 {
        f32::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> f32 {
        f32::ceil(self)
    }
    #[inline(always)]
    fn trunc(self) -> f32 {
        f32::trunc(self)
    }
    #[inline(always)]
    fn round_even(self) -> f32 {
        self.round_ties_even()
    }
    #[inline(always)]
    fn maximum(self, other: f32) -> f32 {
        if (other > self) | other.is_nan() { other } else { self }
    }
    #[inline(always)]
    fn minimum(self, other: f32) -> f32 {
        if (other < self) | other.is_nan() { other } else { self }
    }
}

impl Float for f64 {
    #[inline(always)]
    fn exp(self, fused: bool) -> f64 {
        exp64(self, fused)
    }
    const EXP_SCALE: f64 = 1.0;
    #[inline(always)]
    fn exp_scaled(self, fused: bool) -> f64 {
        exp64(self, fused)
    }
    #[inline(always)]
    fn exp2(self, _fused: bool) -> f64 {
        f64::exp2(self)
    }
    #[inline(always)]
    fn expm1(self, _fused: bool) -> f64 {
        self.exp_m1()
    }
    #[inline(always)]
    fn log(self, _fused: bool) -> f64 {
        self.ln()
    }
    #[inline(always)]
    fn log1p(self, _fused: bool) -> f64 {
        self.ln_1p()
    }
    #[inline(always)]
    fn log2(self, _fused: bool) -> f64 {
        f64::log2(self)
    }
    #[inline(always)]
    fn log10(self, _fused: bool) -> f64 {
        f64::log10(self)
    }
    #[inline(always)]
    fn sin(self) -> f64 {
        f64::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> f64 {
        f64::cos(self)
    }
    #[inline(always)]
    fn tan(self) -> f64 {
        f64::tan(self)
    }
    #[inline(always)]
    fn tanh(self, fused: bool) -> f64 {
        tanh64(self, fused)
    }
    #[inline(always)]
    fn sigmoid(self, fused: bool) -> f64 {
        1.0 / (1.0 + exp64(-self, fused))
    }
    #[inline(always)]
    fn erf(self, _fused: bool) -> f64 {
        libm::erf(self)
    }
    #[inline(always)]
    fn erfc(self) -> f64 {
        libm::erfc(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn rsqrt(self) -> f64 {
        1.0 / f64::sqrt(self)
    }
    #[inline(always)]
    fn pow(self, exponent: f64, _fused: bool) -> f64 {
        self.powf(exponent)
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[inline(always)]
    fn floor(self) -> f64 {
        f64::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> f64 {
        f64::ceil(self)
    }
    #[inline(always)]
    fn trunc(self) -> f64 {
        f64::trunc(self)
    }
    #[inline(always)]
    fn round_even(self) -> f64 {
        self.round_ties_even()
    }
    #[inline(always)]
    fn maximum(self, other: f64) -> f64 {
        if (other > self) | other.is_nan() { other } else { self }
    }
    #[inline(always)]
    fn minimum(self, other: f64) -> f64 {
        if (other < self) | other.is_nan() { other } else { self }
    }
}
