//! Discrete Fourier transforms, over pairs of real numbers in a last dimension of size 2.

use std::f64::consts::PI;
use std::str::FromStr;

use smallvec::smallvec;

use super::complex::parts_of;
use super::driver::{build, layers::wide};
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::dtype::Category;
use crate::tensor::layout::wrap_dim;
use crate::tensor::sizes::{DimsArg, Sizes};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// By what a Fourier transform of `n` numbers is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FftNorm {
    /// The inverse transform by 1 / n; PyTorch's `"backward"`.
    #[default]
    Backward,
    /// The transform by 1 / n.
    Forward,
    /// Both by 1 / √n.
    Ortho,
}

/// By PyTorch's word for it.
impl FromStr for FftNorm {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "backward" => Ok(Self::Backward),
            "forward" => Ok(Self::Forward),
            "ortho" => Ok(Self::Ortho),
            other => Err(Error::argument(format!(
                "norm: expected one of \"backward\", \"forward\" and \"ortho\", found {other:?}"
            ))),
        }
    }
}

type Complex = (f64, f64);

/// Up to so many numbers that are no power of two are summed by the definition.
const DIRECT: usize = 16;

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// e^(πi · k / n), with k reduced before it is scaled.
fn root(k: usize, n: usize) -> Complex {
    let k = k % (2 * n);
    if (2 * k).is_multiple_of(n) {
        // Quarter turns are exact.
        return [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][2 * k / n];
    }
    let (sin, cos) = (PI * k as f64 / n as f64).sin_cos();
    (cos, sin)
}

/// The transform of a power of two of numbers in place, without scale.
fn power_of_two(x: &mut [Complex], inverse: bool) {
    let n = x.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = if bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - bits) };
        if i < j {
            x.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        let roots: Vec<Complex> = (0..half).map(|k| root(k, half)).collect();
        for block in x.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), &(cos, sin)) in low.iter_mut().zip(high).zip(&roots) {
                let turned = times(*b, (cos, if inverse { sin } else { -sin }));
                (*a, *b) = ((a.0 + turned.0, a.1 + turned.1), (a.0 - turned.0, a.1 - turned.1));
            }
        }
        half *= 2;
    }
}

/// The transform of any number of numbers: Bluestein's convolution with a chirp where they are no power of two.
fn transform(x: &mut [Complex], inverse: bool) {
    let n = x.len();
    if n.is_power_of_two() {
        return power_of_two(x, inverse);
    }
    let sign = if inverse { 1.0 } else { -1.0 };
    if n <= DIRECT {
        let given = x.to_vec();
        for (k, sum) in x.iter_mut().enumerate() {
            *sum = given.iter().enumerate().fold((0.0, 0.0), |sum, (j, &z)| {
                let (cos, sin) = root(2 * j * k % (2 * n), n);
                let term = times(z, (cos, sign * sin));
                (sum.0 + term.0, sum.1 + term.1)
            });
        }
        return;
    }
    // e^(±πi k² / n); k² is reduced modulo 2n before it loses digits.
    let chirp: Vec<Complex> = (0..n)
        .map(|k| {
            let square = (k as u128 * k as u128 % (2 * n as u128)) as usize;
            let (cos, sin) = root(square, n);
            (cos, sign * sin)
        })
        .collect();
    let m = (2 * n - 1).next_power_of_two();
    let (mut a, mut b) = (vec![(0.0, 0.0); m], vec![(0.0, 0.0); m]);
    for k in 0..n {
        a[k] = times(x[k], chirp[k]);
        let conjugate = (chirp[k].0, -chirp[k].1);
        b[k] = conjugate;
        b[(m - k) % m] = conjugate;
    }
    power_of_two(&mut a, false);
    power_of_two(&mut b, false);
    a.iter_mut().zip(&b).for_each(|(a, &b)| *a = times(*a, b));
    power_of_two(&mut a, true);
    for k in 0..n {
        let (re, im) = times(a[k], chirp[k]);
        x[k] = (re / m as f64, im / m as f64);
    }
}

/// The transform over some dimensions of pairs, times a factor.
#[derive(Clone, Debug)]
struct Fourier {
    dims: Dims,
    inverse: bool,
    scale: f64,
}

impl Op for Fourier {
    fn name(&self) -> &'static str {
        "fft"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let shape = x[0].shape();
        let dense = x[0].detach().to(DType::F64)?.contiguous()?;
        let out = dense.with_slice(|x: &[f64]| {
            build(self.name(), shape, |out: &mut [f64]| {
                let mut all: Vec<Complex> = x.chunks_exact(2).map(|p| (p[0], p[1])).collect();
                for &d in &self.dims {
                    let n = shape[d];
                    let inner: usize = shape[d + 1..shape.len() - 1].iter().product();
                    let mut line = vec![(0.0, 0.0); n];
                    for block in all.chunks_exact_mut((n * inner).max(1)) {
                        for i in 0..inner {
                            line.iter_mut().enumerate().for_each(|(k, z)| *z = block[k * inner + i]);
                            transform(&mut line, self.inverse);
                            line.iter().enumerate().for_each(|(k, z)| block[k * inner + i] = *z);
                        }
                    }
                }
                for (pair, (re, im)) in out.chunks_exact_mut(2).zip(all) {
                    (pair[0], pair[1]) = (re * self.scale, im * self.scale);
                }
                Ok(())
            })
        })??;
        out.to(x[0].dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        // The adjoint of a matrix of roots of unity is that of their conjugates.
        Ok(smallvec![Some(apply(Self { inverse: !self.inverse, ..self.clone() }, &[grad])?)])
    }
}

/// A tensor as pairs of real numbers of float32 or float64.
fn as_pairs(op: &str, x: &Tensor) -> Result<Tensor> {
    let refused = || Error::dtype(format!("{op}: not implemented for {}", x.dtype()));
    if let Some(parts) = parts_of(x.dtype()) {
        return if parts == DType::F16 { Err(refused()) } else { x.view_as_real() };
    }
    let real = match (x.dtype().category(), x.dtype()) {
        (Category::Bool | Category::Integer, _) => x.to(DType::F32)?,
        (_, DType::F32 | DType::F64) => x.clone(),
        _ => return Err(refused()),
    };
    Tensor::stack(&[&real, &real.zeros_like()?], -1)
}

/// Cuts a dimension of pairs to `n`, or fills it up with zeros.
fn resized(op: &str, pairs: &Tensor, dim: usize, n: usize) -> Result<Tensor> {
    if n == 0 {
        return Err(Error::argument(format!("{op}: needs at least one number in dimension {dim}, found 0")));
    }
    let (d, size) = (dim as isize, pairs.shape()[dim]);
    if n <= size {
        return pairs.narrow(d, 0, n);
    }
    let mut shape = Dims::from_slice(pairs.shape());
    shape[dim] = n - size;
    Tensor::cat(&[pairs, &Tensor::zeros(shape.as_slice(), pairs.dtype())?], d)
}

/// The transform of pairs whose dimensions already have their sizes.
fn transformed(pairs: &Tensor, dims: &[usize], inverse: bool, norm: FftNorm) -> Result<Tensor> {
    let n: f64 = dims.iter().map(|&d| pairs.shape()[d] as f64).product();
    let scale = match (norm, inverse) {
        (FftNorm::Ortho, _) => 1.0 / n.sqrt(),
        (FftNorm::Backward, true) | (FftNorm::Forward, false) => 1.0 / n,
        _ => 1.0,
    };
    apply(Fourier { dims: Dims::from_slice(dims), inverse, scale }, &[pairs])
}

/// An existing dimension.
fn existing(op: &str, x: &Tensor, dim: isize) -> Result<usize> {
    if x.dim() == 0 {
        return Err(Error::index(format!("{op}: dimension {dim} of a tensor without dimensions")));
    }
    wrap_dim(op, dim, x.dim())
}

impl Tensor {
    fn fourier(
        &self,
        op: &str,
        n: Option<usize>,
        dim: isize,
        inverse: bool,
        norm: FftNorm,
    ) -> Result<Tensor> {
        let d = existing(op, self, dim)?;
        let pairs = as_pairs(op, self)?;
        let pairs = resized(op, &pairs, d, n.unwrap_or(self.shape()[d]))?;
        transformed(&pairs, &[d], inverse, norm)?.view_as_complex()
    }

    /// The discrete Fourier transform along a dimension, cut or filled up with zeros to `n` numbers if that is given.
    /// PyTorch's `fft.fft`.
    ///
    /// Complex numbers of twice the size; integers count as float32.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or is empty, or the dtype is a half type.
    ///
    /// ```
    /// use sconce::{FftNorm, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0], [4])?;
    /// let y = x.fft(None, -1, FftNorm::Backward)?.view_as_real()?;
    /// assert_eq!(y.to_vec::<f64>()?, [10.0, 0.0, -2.0, 2.0, -2.0, 0.0, -2.0, -2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn fft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Result<Tensor> {
        self.fourier("fft.fft", n, dim, false, norm)
    }

    /// The inverse of [`fft`](Self::fft). PyTorch's `fft.ifft`.
    ///
    /// # Errors
    ///
    /// As [`fft`](Self::fft).
    ///
    /// ```
    /// use sconce::{FftNorm, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f64, 1.0, 1.0, 1.0], [4])?;
    /// let y = x.ifft(None, -1, FftNorm::Backward)?.view_as_real()?;
    /// assert_eq!(y.select(-1, 0)?.to_vec::<f64>()?, [1.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn ifft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Result<Tensor> {
        self.fourier("fft.ifft", n, dim, true, norm)
    }

    /// The first half of the [`fft`](Self::fft) of real numbers, of which the rest is the mirror image. PyTorch's
    /// `fft.rfft`.
    ///
    /// # Errors
    ///
    /// As [`fft`](Self::fft); also if the tensor is complex.
    ///
    /// ```
    /// use sconce::{FftNorm, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0], [4])?;
    /// let y = x.rfft(None, -1, FftNorm::Backward)?;
    /// assert_eq!(y.shape(), [3]);
    /// assert_eq!(y.irfft(Some(4), -1, FftNorm::Backward)?.to_vec::<f64>()?, [1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn rfft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Result<Tensor> {
        const OP: &str = "fft.rfft";
        let d = existing(OP, self, dim)?;
        if self.dtype().category() == Category::Complex {
            return Err(Error::dtype(format!("{OP}: needs a real tensor, found {}", self.dtype())));
        }
        let n = n.unwrap_or(self.shape()[d]);
        let pairs = resized(OP, &as_pairs(OP, self)?, d, n)?;
        transformed(&pairs, &[d], false, norm)?
            .narrow(d as isize, 0, n / 2 + 1)?
            .contiguous()?
            .view_as_complex()
    }

    /// The real inverse of [`rfft`](Self::rfft): `n` numbers, by default the even number that fits. PyTorch's `fft.irfft`.
    ///
    /// # Errors
    ///
    /// As [`fft`](Self::fft).
    pub fn irfft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Result<Tensor> {
        const OP: &str = "fft.irfft";
        let d = existing(OP, self, dim)?;
        let n = n.unwrap_or(self.shape()[d].saturating_sub(1).saturating_mul(2));
        if n == 0 {
            return Err(Error::argument(format!(
                "{OP}: needs at least one number in dimension {d}, found 0"
            )));
        }
        let half = resized(OP, &as_pairs(OP, self)?, d, n / 2 + 1)?;
        // What is left of the spectrum is the mirror image of what follows the first number.
        let mirrored = half.narrow(d as isize, 1, n - (n / 2 + 1))?.flip(d)?;
        let conjugate = mirrored.mul(&Tensor::from_vec(vec![1.0f32, -1.0], [2])?.to(half.dtype())?)?;
        let whole = Tensor::cat(&[&half, &conjugate], d as isize)?;
        transformed(&whole, &[d], true, norm)?.select(-1, 0)?.contiguous()
    }

    /// The discrete Fourier transform over several dimensions, all for `()`, each cut or filled up to its size in `sizes`
    /// if they are given; −1 keeps a size. Without dimensions, sizes stand for the last ones. PyTorch's `fft.fftn`, and
    /// with `dims` [−2, −1] its `fft.fft2`.
    ///
    /// # Errors
    ///
    /// As [`fft`](Self::fft); also if a dimension is named twice, or there are not as many sizes.
    ///
    /// ```
    /// use sconce::{DType, FftNorm, Tensor};
    /// let x = Tensor::ones([2, 3], DType::F64)?;
    /// let y = x.fftn(None::<[i64; 0]>, (), FftNorm::Backward)?.view_as_real()?;
    /// assert!((y.select(-1, 0)?.sum(())?.item()? - 6.0).abs() < 1e-12);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn fftn(&self, sizes: Option<impl Sizes>, dims: impl DimsArg, norm: FftNorm) -> Result<Tensor> {
        const OP: &str = "fft.fftn";
        let sizes = sizes.map(|s| s.sizes());
        let rank = self.dim() as isize;
        let dims = match (dims.dims(), &sizes) {
            (Some(dims), _) => dims,
            (None, Some(sizes)) => (-(sizes.len() as isize)..0).collect(),
            (None, None) => (0..rank).collect(),
        };
        if sizes.as_ref().is_some_and(|sizes| sizes.len() != dims.len()) {
            return Err(Error::argument(format!("{OP}: sizes {sizes:?} for dimensions {dims:?}")));
        }
        let mut pairs = as_pairs(OP, self)?;
        let mut seen = Vec::new();
        for (i, &dim) in dims.iter().enumerate() {
            let d = existing(OP, self, dim)?;
            if seen.contains(&d) {
                return Err(Error::index(format!("{OP}: dimension {d} is named more than once in {dims:?}")));
            }
            let n = match sizes.as_ref().map(|sizes| sizes[i]) {
                None | Some(-1) => self.shape()[d],
                Some(n) => usize::try_from(n)
                    .map_err(|_| Error::argument(format!("{OP}: a size of {n} for dimension {dim}")))?,
            };
            pairs = resized(OP, &pairs, d, n)?;
            seen.push(d);
        }
        transformed(&pairs, &seen, false, norm)?.view_as_complex()
    }
}

const D: (f64, f64) = (-1.0, 1.0);

/// The pairs of a transform of what is no half type.
fn sample(shape: &'static [usize], call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(shape, D)], move |x| {
        let wide = wide(x[0].dtype());
        let y = call(&x[0].to(wide)?)?;
        (if y.dtype() == wide { y } else { y.view_as_real()? }).to(x[0].dtype())
    })
}

/// For the generic tests.
pub(super) static TRANSFORMS: &[OpInfo] = &[
    OpInfo {
        name: "fft.fft",
        samples: || {
            vec![
                sample(&[2, 4], |x| x.fft(None, -1, FftNorm::Backward)),
                sample(&[3, 2], |x| x.fft(Some(5), 0, FftNorm::Ortho)),
            ]
        },
    },
    OpInfo { name: "fft.ifft", samples: || vec![sample(&[2, 5], |x| x.ifft(Some(3), 1, FftNorm::Backward))] },
    OpInfo { name: "fft.rfft", samples: || vec![sample(&[2, 5], |x| x.rfft(None, -1, FftNorm::Forward))] },
    OpInfo {
        name: "fft.irfft",
        samples: || {
            vec![
                sample(&[2, 3], |x| x.irfft(None, -1, FftNorm::Backward)),
                sample(&[3, 2], |x| x.irfft(Some(5), 0, FftNorm::Ortho)),
            ]
        },
    },
    OpInfo {
        name: "fft.fftn",
        samples: || vec![sample(&[2, 3, 2], |x| x.fftn(Some([3, -1]), [0, 1], FftNorm::Backward))],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_follows_the_definition() {
        for n in (1..=40).chain([64, 97, 100]) {
            let x: Vec<Complex> = (0..n).map(|i| ((i * i % 7) as f64 - 2.0, (i % 5) as f64)).collect();
            let mut y = x.clone();
            transform(&mut y, false);
            for (k, found) in y.iter().enumerate() {
                let sum = x.iter().enumerate().fold((0.0, 0.0), |sum: Complex, (j, &z)| {
                    let (cos, sin) = root(2 * j * k, n);
                    let term = times(z, (cos, -sin));
                    (sum.0 + term.0, sum.1 + term.1)
                });
                assert!(
                    (found.0 - sum.0).abs() + (found.1 - sum.1).abs() < 1e-10,
                    "{n}, {k}: {found:?}, {sum:?}"
                );
            }
            transform(&mut y, true);
            let back =
                y.iter().zip(&x).map(|(a, b)| (a.0 / n as f64 - b.0).abs() + (a.1 / n as f64 - b.1).abs());
            assert!(back.fold(0.0, f64::max) < 1e-12, "{n}");
        }
    }
}
