//! Uniform numbers.

use super::element::RandomFloat;
use super::element::sealed::Narrow;
use super::generator::{CHUNK, Generator};
use crate::isa::{Kernel, dispatch};

/// Fills `out` with uniform numbers in [`from`, `to`), like `torch.Tensor.uniform_`; `rand` is from 0 to 1.
///
/// An element takes one word, of `f64` two. Numbers of 16 bits are those of `f32`, rounded. Where rounding gives `to`,
/// the element is `from` instead.
///
/// ```
/// use sconce_kernels::rng::{Generator, uniform};
///
/// let mut x = [0_f64; 2];
/// uniform(&mut Generator::new(1), &mut x, -1.0, 1.0);
/// assert!(x.iter().all(|x| (-1.0..1.0).contains(x)));
/// ```
pub fn uniform<T: RandomFloat>(generator: &mut Generator, out: &mut [T], from: f64, to: f64) {
    T::fill_uniform(generator, out, from, to);
}

pub(super) fn double(generator: &mut Generator, out: &mut [f64], from: f64, to: f64) {
    dispatch(Double { generator, out, from, to });
}

pub(super) fn single(generator: &mut Generator, out: &mut [f32], from: f64, to: f64) {
    dispatch(Single { generator, out, from: from as f32, to: to as f32 });
}

pub(super) fn narrow<T: Narrow>(generator: &mut Generator, out: &mut [T], from: f64, to: f64) {
    let (low, high) = (T::from_f64(from), T::from_f64(to));
    let mut wide = [0.0; CHUNK];
    for out in out.chunks_mut(CHUNK) {
        let wide = &mut wide[..out.len()];
        single(generator, wide, from, to);
        T::round(wide, out);
        for x in out {
            *x = half_open(*x, low, high);
        }
    }
}

/// Keeps the end of the range out of it.
#[inline(always)]
fn half_open<T: PartialEq>(x: T, from: T, to: T) -> T {
    if x == to { from } else { x }
}

struct Double<'a> {
    generator: &'a mut Generator,
    out: &'a mut [f64],
    from: f64,
    to: f64,
}

impl Kernel for Double<'_> {
    #[inline(always)]
    fn run(self) {
        let span = self.to - self.from;
        for out in self.out.chunks_mut(CHUNK) {
            self.generator.fill_u53(out);
            for x in out {
                *x = half_open(x.mul_add(span, self.from), self.from, self.to);
            }
        }
    }
}

struct Single<'a> {
    generator: &'a mut Generator,
    out: &'a mut [f32],
    from: f32,
    to: f32,
}

impl Kernel for Single<'_> {
    #[inline(always)]
    fn run(self) {
        let span = self.to - self.from;
        for out in self.out.chunks_mut(CHUNK) {
            self.generator.fill_u24(out);
            for x in out {
                *x = half_open(x.mul_add(span, self.from), self.from, self.to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The copy for AVX2 with FMA and the one for the build's baseline give the same bits.
    #[test]
    fn does_not_depend_on_the_cpu() {
        let (mut fast, mut portable) = ([0.0; 1000], [0.0; 1000]);
        single(&mut Generator::new(7), &mut fast, -0.3, 1.7);
        Single { generator: &mut Generator::new(7), out: &mut portable, from: -0.3, to: 1.7 }.run();
        assert_eq!(fast, portable);

        let (mut fast, mut portable) = ([0.0; 1000], [0.0; 1000]);
        double(&mut Generator::new(7), &mut fast, -0.3, 1.7);
        Double { generator: &mut Generator::new(7), out: &mut portable, from: -0.3, to: 1.7 }.run();
        assert_eq!(fast, portable);
    }

    #[test]
    fn leaves_the_end_out() {
        let mut x = [half::bf16::ZERO; 5000];
        uniform(&mut Generator::new(0), &mut x, -81.2, -81.18);
        let (from, to) = (half::bf16::from_f64(-81.2), half::bf16::from_f64(-80.5));
        assert!(x.iter().all(|&x| x == from && x < to));
        let mut x = [0.0_f32; 5000];
        uniform(&mut Generator::new(0), &mut x, -81.2, -81.18);
        assert!(x.iter().all(|x| (-81.2..-81.18).contains(x)));
    }
}
