//! Elementary functions as branch-free scalar code, so that plain loops over them vectorise.
//!
//! `f32`: `exp`, `tanh`, `sigmoid` and `erf` are computed in single precision to about 1 ulp; logarithms, `exp2`,
//! `expm1` and `log1p` in double precision, rounded once. `f64`: `exp`, `tanh` and `sigmoid` are computed here to about
//! 1 ulp, the rest calls the platform's or `libm`'s functions, as do `sin`, `cos`, `tan` and `pow` of both types: their
//! reduction of large arguments has no cheap branch-free form. There is no `mul_add`: without the instruction it is a
//! library call.

use crate::Real;

/// Elementary functions of a float, each PyTorch's function of the same name, special values included.
///
/// ```
/// use sconce_kernels::Float;
/// assert!((1f32.exp() - std::f32::consts::E).abs() < 3e-7);
/// assert_eq!(Float::log(0f64), f64::NEG_INFINITY);
/// assert_eq!(2.5f32.round_even(), 2.0);
/// ```
pub trait Float: Real {
    /// `e` to the power `self`.
    fn exp(self) -> Self;
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
    fn exp2(self) -> Self;
    /// `exp(self) - 1`, exact near 0.
    fn expm1(self) -> Self;
    /// Natural logarithm.
    fn log(self) -> Self;
    /// `log(1 + self)`, exact near 0.
    fn log1p(self) -> Self;
    /// Logarithm to base 2.
    fn log2(self) -> Self;
    /// Logarithm to base 10.
    fn log10(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Tangent.
    fn tan(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1 / (1 + exp(-self))`.
    fn sigmoid(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// `1 - erf(self)`, without cancellation.
    fn erfc(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// `1 / sqrt(self)`.
    fn rsqrt(self) -> Self;
    /// `self` to the power `exponent`.
    fn pow(self, exponent: Self) -> Self;
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
    fn gelu(self) -> Self {
        let half = Self::from_f64(0.5);
        self * half * (Self::ONE + (self * Self::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
    }

    /// The derivative of [`Float::gelu`].
    #[inline(always)]
    fn gelu_derivative(self) -> Self {
        let half = Self::from_f64(0.5);
        let cdf = half * (Self::ONE + (self * Self::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf());
        let pdf = (-half * self * self).exp() * Self::from_f64(0.398_942_280_401_432_7);
        cdf + self * pdf
    }

    /// The Gaussian error linear unit with the hyperbolic tangent in place of the error function.
    #[inline(always)]
    fn gelu_tanh(self) -> Self {
        let half = Self::from_f64(0.5);
        half * self * (Self::ONE + self.gelu_inner().tanh())
    }

    /// The derivative of [`Float::gelu_tanh`].
    #[inline(always)]
    fn gelu_tanh_derivative(self) -> Self {
        let half = Self::from_f64(0.5);
        let t = self.gelu_inner().tanh();
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

/// Horner's rule, highest power first.
#[inline(always)]
fn horner<T: Real, const N: usize>(x: T, c: [T; N]) -> T {
    let mut y = c[0];
    for &c in &c[1..] {
        y = y * x + c;
    }
    y
}

/// `x` to a power; squares and cubes are products, as in PyTorch, which is many times faster.
#[inline(always)]
fn power<T: Real>(x: T, exponent: T, other: impl Fn(T, T) -> T) -> T {
    if exponent == T::from_f64(2.0) {
        x * x
    } else if exponent == T::from_f64(3.0) {
        x * x * x
    } else {
        other(x, exponent)
    }
}

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power32(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// `2^n` for `-1022 <= n <= 1023`.
#[inline(always)]
fn power64(n: i64) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// Adding these rounds to an integer, which is then in the low bits.
const MAGIC32: f32 = 12_582_912.0;
const MAGIC64: f64 = 6_755_399_441_055_744.0;

#[inline(always)]
fn exp32(x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + MAGIC32;
    let n = (shifted.to_bits() as i32).wrapping_sub(MAGIC32.to_bits() as i32);
    let k = shifted - MAGIC32;
    // The first part of ln 2 has few enough bits for the product to be exact.
    let r = (x - k * 0.693_359_4) - k * -2.121_944_4e-4;
    let p = horner(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
    let y = p * (r * r) + r + 1.0;
    // Two factors reach the subnormal numbers and infinity.
    let half = n >> 1;
    y * power32(half) * power32(n.wrapping_sub(half))
}

/// `a · b + c`, rounded once if `fused`.
#[inline(always)]
fn fma32(fused: bool, a: f32, b: f32, c: f32) -> f32 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// `2^64 · exp(x)` for `x <= 0`, as [`exp32`] without the ends of the range: what is below -131 counts as -131, whose
/// result is 0 once the factor is gone.
#[inline(always)]
fn exp_scaled32(x: f32, fused: bool) -> f32 {
    // Rounds to an integer and adds 64 to it.
    const MAGIC: f32 = MAGIC32 + 64.0;
    let x = if x < -131.0 { -131.0 } else { x };
    let shifted = fma32(fused, x, std::f32::consts::LOG2_E, MAGIC);
    let k = shifted - MAGIC;
    let r = fma32(fused, k, 2.121_944_4e-4, fma32(fused, k, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = fma32(fused, p, r, c);
    }
    let y = fma32(fused, p, r * r, r) + 1.0;
    // The integer is in the low bits; the exponent of `y` takes it.
    f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `exp` of a reduced argument, minus 1, and the power of two: `exp(x) = 2^n · (p + 1)`.
#[inline(always)]
fn exp_parts64(x: f64) -> (f64, i64) {
    let shifted = x * std::f64::consts::LOG2_E + MAGIC64;
    let n = (shifted.to_bits() as i64).wrapping_sub(MAGIC64.to_bits() as i64);
    let k = shifted - MAGIC64;
    let r = (x - k * 6.931_471_803_691_238e-1) - k * 1.908_214_929_270_587_7e-10;
    let p = horner(
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
    (p * (r * r) + r, n)
}

#[inline(always)]
fn exp64(x: f64) -> f64 {
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let (p, n) = exp_parts64(x);
    // `n` is small: halving by a shift of its low 32 bits vectorises where a 64-bit shift does not.
    let half = ((n as i32) >> 1) as i64;
    (p + 1.0) * power64(half) * power64(n.wrapping_sub(half))
}

/// Natural logarithm of a positive, normal double.
#[inline(always)]
fn log_parts(x: f64) -> (f64, f64) {
    // The mantissa is brought to `sqrt(1/2) .. sqrt(2)` by an offset to the exponent field.
    const OFFSET: u64 = 0x3ff0_0000_0000_0000 - 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits().wrapping_add(OFFSET);
    let exponent = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(0x3fe6_a09e_667f_3bcd));
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let p = horner(z, [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0]);
    (exponent, 2.0 * s + 2.0 * s * z * p)
}

/// What a logarithm is outside the positive finite numbers.
#[inline(always)]
fn log_special(x: f32, y: f32) -> f32 {
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    let y = if x < 0.0 { f32::NAN } else { y };
    if x == f32::INFINITY || x != x + 0.0 { x } else { y }
}

#[inline(always)]
fn tanh32(x: f32) -> f32 {
    let z = x * x;
    let small =
        horner(z, [-5.704_988_6e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_3e-1, -3.333_328e-1]) * z * x
            + x;
    let a = x.abs();
    let large = 1.0 - 2.0 / (exp32(a + a) + 1.0);
    let large = large.copysign(x);
    if a < 0.625 { small } else { large }
}

#[inline(always)]
fn tanh64(x: f64) -> f64 {
    let a = x.abs();
    let a = if a > 22.0 { 22.0 } else { a };
    let (p, n) = exp_parts64(a + a);
    let scale = power64(n);
    // `expm1`, without cancellation for `n = 0` and with little for the rest.
    let e = scale * p + (scale - 1.0);
    (e / (e + 2.0)).copysign(x)
}

#[inline(always)]
fn erf32(x: f32) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let p = (-1.728_534_7e-5 * t + 3.831_971_3e-4) * s + (-3.883_964_4e-3 * t + 2.425_462_2e-2);
    let p = ((p * t - 1.067_778_8e-1) * t - 6.348_467e-1) * t - 1.287_175_1e-1;
    let large = (1.0 - exp32(p * t - t)).copysign(x);
    let q = horner(
        s,
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    let small = q * x + x;
    if t > 0.927_734_4 { large } else { small }
}

impl Float for f32 {
    #[inline(always)]
    fn exp(self) -> f32 {
        exp32(self)
    }
    const EXP_SCALE: f32 = 18_446_744_073_709_551_616.0;
    #[inline(always)]
    fn exp_scaled(self, fused: bool) -> f32 {
        exp_scaled32(self, fused)
    }
    #[inline(always)]
    fn exp2(self) -> f32 {
        exp64(self as f64 * std::f64::consts::LN_2) as f32
    }
    #[inline(always)]
    fn expm1(self) -> f32 {
        let x = self as f64;
        let x = if x > 89.0 { 89.0 } else { x };
        let x = if x < -30.0 { -30.0 } else { x };
        let (p, n) = exp_parts64(x);
        let scale = power64(n);
        let y = (scale * p + (scale - 1.0)) as f32;
        // Keeps the sign of zero.
        if self == 0.0 { self } else { y }
    }
    #[inline(always)]
    fn log(self) -> f32 {
        let (e, l) = log_parts(self as f64);
        log_special(self, (e * std::f64::consts::LN_2 + l) as f32)
    }
    #[inline(always)]
    fn log1p(self) -> f32 {
        let x = self as f64;
        let (e, l) = log_parts(1.0 + x);
        let y = (e * std::f64::consts::LN_2 + l) as f32;
        let near = (x - 0.5 * x * x) as f32;
        let y = if self.abs() < 1e-5 { near } else { log_special((1.0 + x) as f32, y) };
        if self == 0.0 { self } else { y }
    }
    #[inline(always)]
    fn log2(self) -> f32 {
        let (e, l) = log_parts(self as f64);
        log_special(self, (e + l * std::f64::consts::LOG2_E) as f32)
    }
    #[inline(always)]
    fn log10(self) -> f32 {
        let (e, l) = log_parts(self as f64);
        log_special(self, (e * std::f64::consts::LOG10_2 + l * std::f64::consts::LOG10_E) as f32)
    }
    #[inline(always)]
    fn sin(self) -> f32 {
        f32::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> f32 {
        f32::cos(self)
    }
    #[inline(always)]
    fn tan(self) -> f32 {
        f32::tan(self)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        tanh32(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> f32 {
        1.0 / (1.0 + exp32(-self))
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        erf32(self)
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
    fn pow(self, exponent: f32) -> f32 {
        power(self, exponent, f32::powf)
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
    fn exp(self) -> f64 {
        exp64(self)
    }
    const EXP_SCALE: f64 = 1.0;
    #[inline(always)]
    fn exp_scaled(self, _fused: bool) -> f64 {
        exp64(self)
    }
    #[inline(always)]
    fn exp2(self) -> f64 {
        f64::exp2(self)
    }
    #[inline(always)]
    fn expm1(self) -> f64 {
        self.exp_m1()
    }
    #[inline(always)]
    fn log(self) -> f64 {
        self.ln()
    }
    #[inline(always)]
    fn log1p(self) -> f64 {
        self.ln_1p()
    }
    #[inline(always)]
    fn log2(self) -> f64 {
        f64::log2(self)
    }
    #[inline(always)]
    fn log10(self) -> f64 {
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
    fn tanh(self) -> f64 {
        tanh64(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> f64 {
        1.0 / (1.0 + exp64(-self))
    }
    #[inline(always)]
    fn erf(self) -> f64 {
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
    fn pow(self, exponent: f64) -> f64 {
        power(self, exponent, f64::powf)
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
