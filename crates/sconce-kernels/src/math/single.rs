//! The functions of `f32`.

use super::MAGIC64;
use std::f64::consts::{FRAC_1_PI, LN_2, LOG2_E, LOG10_2, LOG10_E, PI};

/// Adding this rounds to an integer, which is then in the low bits.
const MAGIC: f32 = 12_582_912.0;

/// `a · b + c`, rounded once if `fused`.
#[inline(always)]
fn fma(fused: bool, a: f32, b: f32, c: f32) -> f32 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// Horner's rule, highest power first.
#[inline(always)]
fn horner<const N: usize>(fused: bool, x: f32, c: [f32; N]) -> f32 {
    let mut y = c[0];
    for &c in &c[1..] {
        y = fma(fused, y, x, c);
    }
    y
}

/// `x`, or `most` if it is greater; NaN stays.
#[inline(always)]
fn at_most(x: f32, most: f32) -> f32 {
    if x > most { most } else { x }
}

/// `x`, or `least` if it is less; NaN stays.
#[inline(always)]
fn at_least(x: f32, least: f32) -> f32 {
    if x < least { least } else { x }
}

/// An exponential in parts: `exp(x) = 2^n · (1 + r + r² p)`.
struct Exp {
    r: f32,
    p: f32,
    /// `2^(n + shift)`.
    scale: f32,
}

impl Exp {
    /// `n + shift` must be the exponent of a normal number.
    #[inline(always)]
    fn new(x: f32, shift: f32, fused: bool) -> Self {
        // The exponent's field ends up in the low bits.
        let magic = MAGIC + 127.0 + shift;
        let shifted = fma(fused, x, std::f32::consts::LOG2_E, magic);
        let k = shifted - magic;
        // The first part of ln 2 has few enough bits for the product to be exact.
        let r = fma(fused, k, 2.121_944_4e-4, fma(fused, k, -0.693_359_4, x));
        let p = horner(
            fused,
            r,
            [1.991_196_6e-4, 1.393_827_6e-3, 8.333_278e-3, 4.166_64e-2, 1.666_666_7e-1, 0.5],
        );
        Self { r, p, scale: f32::from_bits(shifted.to_bits() << 23) }
    }

    /// `1 + r + r² p`.
    #[inline(always)]
    fn value(&self, fused: bool) -> f32 {
        fma(fused, fma(fused, self.p, self.r, 1.0), self.r, 1.0)
    }
}

#[inline(always)]
pub(super) fn exp(x: f32, fused: bool) -> f32 {
    let x = at_least(at_most(x, 89.0), -104.0);
    // A second factor reaches the subnormal numbers and infinity.
    let (shift, rest) = if x < -86.0 { (64.0, 1.0 / super::SCALE32) } else { (-1.0, 2.0) };
    let e = Exp::new(x, shift, fused);
    e.value(fused) * e.scale * rest
}

/// `2^64 · exp(x)` for `x <= 0`: what is below -131 counts as -131, whose result is 0 once the factor is gone.
#[inline(always)]
pub(super) fn exp_scaled(x: f32, fused: bool) -> f32 {
    let e = Exp::new(at_least(x, -131.0), 64.0, fused);
    e.value(fused) * e.scale
}

#[inline(always)]
pub(super) fn sigmoid(x: f32, fused: bool) -> f32 {
    let e = Exp::new(at_least(at_most(-x, 89.0), -86.0), -1.0, fused);
    1.0 / fma(fused, e.value(fused) * e.scale, 2.0, 1.0)
}

#[inline(always)]
pub(super) fn tanh(x: f32, fused: bool) -> f32 {
    let (a, z) = (x.abs(), x * x);
    let p = horner(fused, z, [-5.704_988_6e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_3e-1, -3.333_328e-1]);
    let small = fma(fused, p * z, a, a);
    let e = Exp::new(at_most(a + a, 20.0), 0.0, fused);
    let large = 1.0 - 2.0 / fma(fused, e.value(fused), e.scale, 1.0);
    (if a < 0.625 { small } else { large }).copysign(x)
}

#[inline(always)]
pub(super) fn erf(x: f32, fused: bool) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let p = fma(
        fused,
        fma(fused, -1.728_534_7e-5, t, 3.831_971_3e-4),
        s,
        fma(fused, -3.883_964_4e-3, t, 2.425_462_2e-2),
    );
    let p = horner(fused, t, [p, -1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1]);
    let e = Exp::new(at_least(fma(fused, p, t, -t), -86.0), 0.0, fused);
    let large = fma(fused, -e.value(fused), e.scale, 1.0).copysign(x);
    let q = horner(
        fused,
        s,
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    let small = fma(fused, q, x, x);
    if t > 0.927_734_4 { large } else { small }
}

/// `2^t` in double precision as `2^k · (1 + q)`, for `t` between -1000 and 1000.
#[inline(always)]
fn exp2_parts(t: f64, fused: bool) -> (f64, f64) {
    const MAGIC: f64 = MAGIC64 + 1023.0;
    let shifted = t + MAGIC;
    let f = t - (shifted - MAGIC);
    let p = super::horner(
        fused,
        f,
        [
            1.531_008_545_226_041_5e-5,
            1.546_147_011_233_063e-4,
            1.333_345_453_181_087_1e-3,
            9.618_056_613_646_014e-3,
            5.550_410_928_776_719_5e-2,
            2.402_265_092_260_508_5e-1,
            6.931_471_805_537_142e-1,
        ],
    );
    (p * f, f64::from_bits(shifted.to_bits() << 52))
}

/// `2^t`, rounded once.
#[inline(always)]
fn exp2_double(t: f64, fused: bool) -> f32 {
    let t = if t > 200.0 { 200.0 } else { t };
    let t = if t < -200.0 { -200.0 } else { t };
    let (q, scale) = exp2_parts(t, fused);
    super::fma64(fused, q, scale, scale) as f32
}

#[inline(always)]
pub(super) fn exp2(x: f32, fused: bool) -> f32 {
    exp2_double(x as f64, fused)
}

#[inline(always)]
pub(super) fn expm1(x: f32, fused: bool) -> f32 {
    let t = at_least(at_most(x, 89.0), -30.0) as f64 * LOG2_E;
    let (q, scale) = exp2_parts(t, fused);
    let y = super::fma64(fused, q, scale, scale - 1.0) as f32;
    // Keeps the sign of zero.
    if x == 0.0 { x } else { y }
}

/// The exponent and the natural logarithm of the rest of a positive, normal double, of which single precision is asked.
#[inline(always)]
fn log_parts(x: f64, fused: bool) -> (f64, f64) {
    // The mantissa is brought to `sqrt(1/2) .. sqrt(2)` by an offset to the exponent field.
    const OFFSET: u64 = 0x3ff0_0000_0000_0000 - 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits().wrapping_add(OFFSET);
    let exponent = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(0x3fe6_a09e_667f_3bcd));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = super::horner(
        fused,
        z,
        [
            1.172_671_549_734_338_7e-1,
            1.427_239_936_147_256_8e-1,
            2.000_010_104_843_009_7e-1,
            3.333_333_316_621_116_5e-1,
        ],
    );
    (exponent, super::fma64(fused, (s + s) * z, p, s + s))
}

/// What a logarithm is outside the positive finite numbers.
#[inline(always)]
fn log_special(x: f32, y: f32) -> f32 {
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    let y = if x < 0.0 { f32::NAN } else { y };
    if x == f32::INFINITY || x != x + 0.0 { x } else { y }
}

#[inline(always)]
pub(super) fn log(x: f32, fused: bool) -> f32 {
    let (e, l) = log_parts(x as f64, fused);
    log_special(x, super::fma64(fused, e, LN_2, l) as f32)
}

#[inline(always)]
pub(super) fn log1p(value: f32, fused: bool) -> f32 {
    let x = value as f64;
    let (e, l) = log_parts(1.0 + x, fused);
    let y = super::fma64(fused, e, LN_2, l) as f32;
    let near = (x - 0.5 * x * x) as f32;
    let y = if value.abs() < 1e-5 { near } else { log_special((1.0 + x) as f32, y) };
    if value == 0.0 { value } else { y }
}

#[inline(always)]
pub(super) fn log2(x: f32, fused: bool) -> f32 {
    let (e, l) = log_parts(x as f64, fused);
    log_special(x, super::fma64(fused, l, LOG2_E, e) as f32)
}

#[inline(always)]
pub(super) fn log10(x: f32, fused: bool) -> f32 {
    let (e, l) = log_parts(x as f64, fused);
    log_special(x, super::fma64(fused, e, LOG10_2, l * LOG10_E) as f32)
}

/// The sine of `x - k π`, negative for an odd `n`, the bits of an integer.
#[inline(always)]
fn sine(x: f64, k: f64, n: u64) -> f64 {
    // The first product and sum are exact: multiples of the last bit of the first part of π.
    let r = k.mul_add(-1.224_646_799_147_353_2e-16, k.mul_add(-PI, x));
    let z = r * r;
    let p = super::horner(
        true,
        z,
        [
            -2.398_236_964_261_109e-8,
            2.753_116_628_688_214e-6,
            -1.984_099_259_878_915e-4,
            8.333_332_178_144_01e-3,
            -1.666_666_665_545_647_7e-1,
            1.0,
        ],
    );
    f64::from_bits((r * p).to_bits() ^ n << 63)
}

#[inline(always)]
fn sin_double(x: f64) -> f64 {
    let shifted = x.mul_add(FRAC_1_PI, MAGIC64);
    sine(x, shifted - MAGIC64, shifted.to_bits())
}

/// From half a period away.
#[inline(always)]
fn cos_double(x: f64) -> f64 {
    let shifted = x.mul_add(FRAC_1_PI, -0.5) + MAGIC64;
    sine(x, (shifted - MAGIC64) + 0.5, !shifted.to_bits())
}

/// `y`, or NaN where `x` is so large that two parts of π are not enough.
#[inline(always)]
fn if_near(x: f32, y: f64) -> f32 {
    if x.abs() < 1_099_511_627_776.0 { y as f32 } else { f32::NAN }
}

#[inline(always)]
pub(super) fn sin_near(x: f32) -> f32 {
    if_near(x, sin_double(x as f64))
}

#[inline(always)]
pub(super) fn cos_near(x: f32) -> f32 {
    if_near(x, cos_double(x as f64))
}

#[inline(always)]
pub(super) fn tan_near(x: f32) -> f32 {
    if_near(x, sin_double(x as f64) / cos_double(x as f64))
}

#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    let a = x.abs();
    let (e, l) = log_parts(a as f64, true);
    let log = l.mul_add(LOG2_E, e);
    let log = if a == 0.0 { f64::NEG_INFINITY } else { log };
    let log = if a < f32::INFINITY { log } else { a as f64 };
    let z = exp2_double(y as f64 * log, true);
    let half = y * 0.5;
    let whole = y == y.trunc();
    let odd = whole & (half != half.trunc());
    let z = if odd { z.copysign(x) } else { z };
    let z = if (x < 0.0) & (a < f32::INFINITY) & !whole { f32::NAN } else { z };
    // 1 to any power, and anything to the power 0, is 1, even NaN; -1 to an infinite power too.
    let z = if (a == 1.0) & (y.abs() == f32::INFINITY) { 1.0 } else { z };
    if (x == 1.0) | (y == 0.0) { 1.0 } else { z }
}
