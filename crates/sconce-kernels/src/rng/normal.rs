//! Normal numbers, by the two algorithms that PyTorch chooses between.

use super::element::RandomFloat;
use super::element::sealed::Narrow;
use super::generator::{CHUNK, Generator};
use crate::isa::{Kernel, dispatch};
use std::f32::consts::FRAC_1_SQRT_2;

/// Elements that are transformed together: the first half are radii, the second half angles.
const BLOCK: usize = 16;

/// Fills contiguous `out` with normal numbers, like `torch.Tensor.normal_`; `randn` has mean 0 and deviation 1.
///
/// Fewer than 16 elements are drawn as by [`normal_each`]. More are drawn in blocks of 16, the last of which overlaps
/// the one before if need be; they neither take nor leave a cached normal.
///
/// PyTorch's `normal` with tensors is made from this: a tensor of means is added to normals of mean 0; a tensor of
/// deviations multiplies standard normals, to which the mean or means are added. Each step rounds.
///
/// ```
/// use sconce_kernels::rng::{Generator, normal};
///
/// let mut x = [0_f32; 1000];
/// normal(&mut Generator::new(0), &mut x, 5.0, 0.1);
/// let mean = x.iter().sum::<f32>() / 1000.0;
/// assert!((mean - 5.0).abs() < 0.02);
/// ```
pub fn normal<T: RandomFloat>(generator: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    if out.len() < BLOCK {
        normal_each(generator, out, mean, std);
    } else {
        T::fill_normal(generator, out, mean, std);
    }
}

/// Fills `out` with normal numbers one by one, as PyTorch fills a tensor that is not contiguous.
///
/// Each is [`normal_scalar`] rounded to the element type.
///
/// ```
/// use sconce_kernels::rng::{Generator, normal, normal_each};
///
/// let (mut each, mut block) = ([0_f32; 16], [0_f32; 16]);
/// normal_each(&mut Generator::new(0), &mut each, 0.0, 1.0);
/// normal(&mut Generator::new(0), &mut block, 0.0, 1.0);
/// assert_ne!(each, block);
/// ```
pub fn normal_each<T: RandomFloat>(generator: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    out.fill_with(|| T::from_f64(normal_scalar(generator, mean, std)));
}

/// Draws one normal number in float64.
///
/// Numbers are made in pairs from four words; the second of a pair is kept in the generator for the next call.
///
/// ```
/// use sconce_kernels::rng::{Generator, normal_scalar};
///
/// let mut generator = Generator::new(0);
/// let mean = (0..1000).map(|_| normal_scalar(&mut generator, 5.0, 0.1)).sum::<f64>() / 1000.0;
/// assert!((mean - 5.0).abs() < 0.02);
/// ```
pub fn normal_scalar(generator: &mut Generator, mean: f64, std: f64) -> f64 {
    let standard = generator.cached_normal.take().unwrap_or_else(|| {
        let angle = std::f64::consts::TAU * generator.next_f64();
        let radius = (-2.0 * (-generator.next_f64()).ln_1p()).sqrt();
        generator.cached_normal = Some(radius * angle.sin());
        radius * angle.cos()
    });
    standard.mul_add(std, mean)
}

pub(super) fn double(generator: &mut Generator, out: &mut [f64], mean: f64, std: f64) {
    dispatch(Double { generator, out, mean, std });
}

pub(super) fn single(generator: &mut Generator, out: &mut [f32], mean: f64, std: f64) {
    dispatch(Single { generator, out, mean: mean as f32, std: std as f32 });
}

pub(super) fn narrow<T: Narrow>(generator: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    let whole = out.len() - out.len() % BLOCK;
    let mut wide = [0.0; CHUNK];
    let mut blocks = |out: &mut [T]| {
        let wide = &mut wide[..out.len()];
        dispatch(Single { generator, out: wide, mean: mean as f32, std: std as f32 });
        T::round(wide, out);
    };
    out[..whole].chunks_mut(CHUNK).for_each(&mut blocks);
    if whole < out.len() {
        let last = out.len() - BLOCK;
        blocks(&mut out[last..]);
    }
}

/// Fills at least one block.
struct Double<'a> {
    generator: &'a mut Generator,
    out: &'a mut [f64],
    mean: f64,
    std: f64,
}

impl Kernel for Double<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { generator, out, mean, std } = self;
        generator.fill_u53(out);
        let transform = |block: &mut [f64]| {
            let (left, right) = block.split_at_mut(BLOCK / 2);
            for (left, right) in left.iter_mut().zip(right) {
                let radius = (-2.0 * (1.0 - *left).ln()).sqrt();
                let angle = std::f64::consts::TAU * *right;
                *left = (radius * angle.cos()).mul_add(std, mean);
                *right = (radius * angle.sin()).mul_add(std, mean);
            }
        };
        out.chunks_exact_mut(BLOCK).for_each(transform);
        if out.len() % BLOCK != 0 {
            let last = out.len() - BLOCK;
            generator.fill_u53(&mut out[last..]);
            transform(&mut out[last..]);
        }
    }
}

/// Fills at least one block.
struct Single<'a> {
    generator: &'a mut Generator,
    out: &'a mut [f32],
    mean: f32,
    std: f32,
}

impl Kernel for Single<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { generator, out, mean, std } = self;
        for out in out.chunks_mut(CHUNK) {
            generator.fill_u24(out);
            transform(out, mean, std);
        }
        if out.len() % BLOCK != 0 {
            let last = out.len() - BLOCK;
            generator.fill_u24(&mut out[last..]);
            transform(&mut out[last..], mean, std);
        }
    }
}

/// Turns each whole block of uniforms into normals.
#[inline(always)]
fn transform(uniforms: &mut [f32], mean: f32, std: f32) {
    for block in uniforms.chunks_exact_mut(BLOCK) {
        let (left, right) = block.split_at_mut(BLOCK / 2);
        for (left, right) in left.iter_mut().zip(right) {
            let radius = (-2.0 * ln(1.0 - *left)).sqrt();
            let (sin, cos) = sin_cos(std::f32::consts::TAU * *right);
            *left = (radius * cos).mul_add(std, mean);
            *right = (radius * sin).mul_add(std, mean);
        }
    }
}

/// Natural logarithm of a normal, positive number, by the polynomial of the Cephes library.
///
/// Which products are fused decides the last bit; they are fused here as in PyTorch's AVX2 code.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "coefficients as published")]
fn ln(x: f32) -> f32 {
    const MANTISSA: u32 = 0x007f_ffff;
    // x = m · 2^e with m in [0.5, 1).
    let m = f32::from_bits((x.to_bits() & MANTISSA) | 0.5_f32.to_bits());
    let e = ((x.to_bits() >> 23) as i32 - 126) as f32;
    let small = m < FRAC_1_SQRT_2;
    let e = if small { e - 1.0 } else { e };
    let m = m - 1.0 + if small { m } else { 0.0 };
    let z = m * m;
    let y = 7.0376836292e-2_f32
        .mul_add(m, -1.1514610310e-1)
        .mul_add(m, 1.1676998740e-1)
        .mul_add(m, -1.2420140846e-1)
        .mul_add(m, 1.4249322787e-1)
        .mul_add(m, -1.6668057665e-1)
        .mul_add(m, 2.0000714765e-1)
        .mul_add(m, -2.4999993993e-1)
        .mul_add(m, 3.3333331174e-1);
    let y = (y * m).mul_add(z, e * -2.12194440e-4);
    let y = (-z).mul_add(0.5, y);
    e.mul_add(0.693359375, m + y)
}

/// Sine and cosine of an angle that is not negative, by the polynomials of the Cephes library.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "coefficients as published")]
fn sin_cos(x: f32) -> (f32, f32) {
    // The octant, rounded up to an even one.
    let j = ((x * 1.27323954473516) as i32 + 1) & !1;
    let k = j as f32;
    // x − k · π/4, with π/4 as a sum of three numbers.
    let x = k.mul_add(-0.78515625, x);
    let x = k.mul_add(-2.4187564849853515625e-4, x);
    let x = k.mul_add(-3.77489497744594108e-8, x);
    let z = x * x;
    let c = 2.443315711809948e-5_f32.mul_add(z, -1.388731625493765e-3).mul_add(z, 4.166664568298827e-2) * z;
    let c = c.mul_add(z, -(z * 0.5)) + 1.0;
    let s = (-1.9515295891e-4_f32).mul_add(z, 8.3321608736e-3).mul_add(z, -1.6666654611e-1) * z;
    let s = s.mul_add(x, x);
    let (sin, cos) = if j & 2 == 0 { (s, c) } else { (c, s) };
    // Bit 2 of j, or the lack of it in j − 2, becomes the sign.
    let negate = |x: f32, bit: i32| f32::from_bits(x.to_bits() ^ ((bit as u32) << 29 & 1 << 31));
    (negate(sin, j), negate(cos, !(j - 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The copy for AVX2 with FMA and the one for the build's baseline give the same bits.
    #[test]
    fn does_not_depend_on_the_cpu() {
        let (mut fast, mut portable) = ([0.0; 1000], [0.0; 1000]);
        single(&mut Generator::new(7), &mut fast, 0.7, 0.3);
        Single { generator: &mut Generator::new(7), out: &mut portable, mean: 0.7, std: 0.3 }.run();
        assert_eq!(fast, portable);
    }

    #[test]
    #[cfg_attr(miri, ignore = "logarithm, sine and cosine of float64 differ from call to call there")]
    fn does_not_depend_on_the_cpu_in_float64() {
        let (mut fast, mut portable) = ([0.0; 100], [0.0; 100]);
        double(&mut Generator::new(7), &mut fast, 0.7, 0.3);
        Double { generator: &mut Generator::new(7), out: &mut portable, mean: 0.7, std: 0.3 }.run();
        assert_eq!(fast, portable);
    }

    /// The greatest radius and all octants: uniforms of all zeros, all ones, and between.
    #[test]
    fn transforms_the_ends_of_the_range() {
        let last = 1.0 - 1.0 / (1 << 24) as f32;
        let mut block =
            [0.0, last, 0.5, last, 0.25, last, last, last, 0.0, 0.0, 0.125, 0.25, 0.5, 0.75, 0.99, last];
        let uniforms = block;
        transform(&mut block, 0.0, 1.0);
        for j in 0..8 {
            let (u, v) = (f64::from(uniforms[j]), f64::from(uniforms[j + 8]));
            let (radius, angle) = ((-2.0 * (1.0 - u).ln()).sqrt(), std::f64::consts::TAU * v);
            assert!((f64::from(block[j]) - radius * angle.cos()).abs() < 4e-6, "cosine {j}");
            assert!((f64::from(block[j + 8]) - radius * angle.sin()).abs() < 4e-6, "sine {j}");
        }
    }
}
