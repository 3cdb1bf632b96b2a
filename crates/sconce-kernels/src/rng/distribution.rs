//! Events, times and the other distributions that are made from one uniform an element.

use super::element::{RandomElement, RandomFloat};
use super::generator::{CHUNK, Generator};
use super::normal::normal_scalar;
use crate::isa::{Kernel, dispatch};

/// Fills `out` with ones with probability `p` and zeros otherwise, like `torch.Tensor.bernoulli_(p)`.
///
/// The elements that dropout with probability `p` keeps are `bernoulli` of `1 − p`. An element takes two words, also
/// where `p` is 0 or 1.
///
/// ```
/// use sconce_kernels::rng::{Generator, bernoulli};
///
/// let mut keep = [false; 1000];
/// bernoulli(&mut Generator::new(0), &mut keep, 0.9);
/// assert!((850..950).contains(&keep.iter().filter(|&&keep| keep).count()));
/// ```
pub fn bernoulli<T: RandomElement>(generator: &mut Generator, out: &mut [T], p: f64) {
    map_u53(generator, out, |u| T::from_i64((u < p).into()));
}

/// Draws each element with a probability of its own and replaces it by one or zero, like `torch.bernoulli(p)`.
///
/// An element takes one word, of `f64` two.
///
/// ```
/// use sconce_kernels::rng::{Generator, bernoulli_each};
///
/// let mut p = [0.0_f32, 1.0, 0.5];
/// bernoulli_each(&mut Generator::new(0), &mut p);
/// assert_eq!(p[..2], [0.0, 1.0]);
/// ```
pub fn bernoulli_each<T: RandomFloat>(generator: &mut Generator, probabilities: &mut [T]) {
    for p in probabilities {
        let u = if T::DOUBLE { generator.next_f64() } else { generator.next_f32().into() };
        *p = T::from_i64((u < p.to_f64()).into());
    }
}

/// Fills `out` with exponential numbers of the given rate λ, like `torch.Tensor.exponential_`.
///
/// ```
/// use sconce_kernels::rng::{Generator, exponential};
///
/// let mut x = [0_f32; 1000];
/// exponential(&mut Generator::new(0), &mut x, 2.0);
/// assert!((x.iter().sum::<f32>() / 1000.0 - 0.5).abs() < 0.05);
/// ```
pub fn exponential<T: RandomFloat>(generator: &mut Generator, out: &mut [T], rate: f64) {
    map_u53(generator, out, |u| T::from_f64(-1.0 / rate * (-u).ln_1p()));
}

/// Fills `out` with numbers of the Cauchy distribution, like `torch.Tensor.cauchy_`.
///
/// ```
/// use sconce_kernels::rng::{Generator, cauchy};
///
/// let mut x = [0_f64; 100];
/// cauchy(&mut Generator::new(0), &mut x, 3.0, 0.0);
/// assert_eq!(x, [3.0; 100]);
/// ```
pub fn cauchy<T: RandomFloat>(generator: &mut Generator, out: &mut [T], median: f64, sigma: f64) {
    map_u53(generator, out, |u| T::from_f64((std::f64::consts::PI * (u - 0.5)).tan().mul_add(sigma, median)));
}

/// Fills `out` with the number of trials up to the first success, like `torch.Tensor.geometric_`.
///
/// ```
/// use sconce_kernels::rng::{Generator, geometric};
///
/// let mut x = [0_i64; 100];
/// geometric(&mut Generator::new(0), &mut x, 0.5);
/// assert!(x.iter().all(|&x| x >= 1));
/// ```
pub fn geometric<T: RandomElement>(generator: &mut Generator, out: &mut [T], p: f64) {
    map_u53(generator, out, |u| T::from_f64((u.ln() / (-p).ln_1p()).ceil()));
}

/// Fills `out` with the exponential of normal numbers of the given mean and deviation, like
/// `torch.Tensor.log_normal_`; by [`normal_scalar`] at every size.
///
/// ```
/// use sconce_kernels::rng::{Generator, log_normal};
///
/// let mut x = [0_f64; 4];
/// log_normal(&mut Generator::new(0), &mut x, 1.0, 0.0);
/// assert_eq!(x, [1_f64.exp(); 4]);
/// ```
pub fn log_normal<T: RandomFloat>(generator: &mut Generator, out: &mut [T], mean: f64, std: f64) {
    out.fill_with(|| T::from_f64(normal_scalar(generator, mean, std).exp()));
}

/// Applies `rrelu` in training to `x` in place and returns the slopes, like `torch.rrelu`.
///
/// An element that is at most 0 draws its slope, uniformly between `lower` and `upper`; any other has slope 1 and draws
/// nothing. Slopes are made in float64 between bounds that are rounded to `f32`, of `f64` elements not at all. A narrow
/// element is multiplied by its slope before that is rounded too.
///
/// ```
/// use sconce_kernels::rng::{Generator, rrelu};
///
/// let mut x = [2.0_f32, -3.0, f32::INFINITY];
/// let slopes = rrelu(&mut Generator::new(0), &mut x, 0.125, 0.25);
/// assert!((0.125..=0.25).contains(&slopes[1]));
/// assert_eq!(x, [2.0, -3.0 * slopes[1], f32::INFINITY]);
/// ```
pub fn rrelu<T: RandomFloat>(generator: &mut Generator, x: &mut [T], lower: f64, upper: f64) -> Vec<T> {
    let (lower, upper) = (T::compute(lower), T::compute(upper));
    x.iter_mut()
        .map(|x| {
            let value = x.to_f64();
            if value > 0.0 || value.is_nan() {
                return T::from_i64(1);
            }
            let slope = T::compute(generator.next_f64() * (upper - lower) + lower);
            *x = T::from_f64(value * slope);
            T::from_f64(slope)
        })
        .collect()
}

/// Fills `out` with `f` of one uniform of 53 bits each.
fn map_u53<T>(generator: &mut Generator, out: &mut [T], f: impl Fn(f64) -> T) {
    dispatch(MapU53 { generator, out, f });
}

struct MapU53<'a, T, F> {
    generator: &'a mut Generator,
    out: &'a mut [T],
    f: F,
}

impl<T, F: Fn(f64) -> T> Kernel for MapU53<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        let mut uniforms = [0.0; CHUNK];
        for out in self.out.chunks_mut(CHUNK) {
            let uniforms = &mut uniforms[..out.len()];
            self.generator.fill_u53(uniforms);
            for (out, &u) in out.iter_mut().zip(&*uniforms) {
                *out = (self.f)(u);
            }
        }
    }
}
