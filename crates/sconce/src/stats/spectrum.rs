//! Singular values of weights.

use crate::io::{Archive, Entry, Numbers};
use crate::tensor::Tensor;
use crate::{Context, Result};

/// A matrix whose lesser side exceeds this has no [`Spectrum`]: the work grows with its cube.
pub const SPECTRUM_SIDE: usize = 1024;

/// A matrix of more elements has no [`Spectrum`]: they are held in memory.
pub const SPECTRUM_ELEMENTS: usize = 1 << 22;

/// The singular values of a matrix: how a weight stretches what it is applied to, and how many directions it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// In descending order.
    pub values: Vec<f64>,
}

impl Spectrum {
    /// The spectrum of a tensor of a file of two dimensions or more: all but the first are one, as in a convolution's weight.
    ///
    /// `None` of other tensors, of what are no real numbers, of a matrix that is too large (see [`SPECTRUM_SIDE`] and
    /// [`SPECTRUM_ELEMENTS`]) and of one that holds NaN or infinities.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    ///
    /// ```
    /// use sconce::{Tensor, io::Archive, stats::Spectrum};
    ///
    /// let mut archive = Archive::new();
    /// archive.push_tensor("w", &Tensor::from_vec(vec![0.0f32, 2.0, 1.0, 0.0], [2, 2])?)?;
    /// let spectrum = Spectrum::of_entry(&archive, &archive.entries()[0])?.unwrap();
    /// assert_eq!(spectrum.values, [2.0, 1.0]);
    /// assert_eq!(spectrum.stable_rank(), 1.25);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn of_entry(archive: &Archive, entry: &Entry) -> Result<Option<Self>> {
        let shape = entry.shape();
        let Some(&rows) = shape.first().filter(|_| shape.len() > 1 && entry.numel() > 0) else {
            return Ok(None);
        };
        let columns = entry.numel() / rows;
        let real = entry.encoding().dtype().is_none_or(|dtype| dtype.is_floating_point());
        let Ok(numbers) = Numbers::of(entry) else { return Ok(None) };
        if !real || rows.min(columns) > SPECTRUM_SIDE || entry.numel() > SPECTRUM_ELEMENTS {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(entry.numel());
        numbers.decode(&archive.read(entry)?, &mut values)?;
        if !values.iter().all(|x| x.is_finite()) {
            return Ok(None);
        }
        let values = crate::no_grad(|| Tensor::from_vec(values, [rows, columns])?.svdvals()?.to_vec::<f64>());
        Ok(Some(Self { values: values.context(|| entry.name())? }))
    }

    /// The sum of squares over the greatest square: a rank that small values hardly count for; 0 of a zero matrix.
    pub fn stable_rank(&self) -> f64 {
        let greatest = self.values.first().copied().unwrap_or(0.0);
        if greatest == 0.0 { 0.0 } else { self.values.iter().map(|x| (x / greatest).powi(2)).sum() }
    }

    /// The exponential of the entropy of the values' shares of their sum (Roy and Vetterli, 2007): between 1 and their
    /// number; 0 of a zero matrix.
    pub fn effective_rank(&self) -> f64 {
        let sum: f64 = self.values.iter().sum();
        let shares = self.values.iter().map(|x| x / sum).filter(|share| *share > 0.0);
        if sum == 0.0 { 0.0 } else { (-shares.map(|p| p * p.ln()).sum::<f64>()).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn only_matrices_of_finite_numbers_have_one() -> Result<()> {
        let mut archive = Archive::new();
        let eye = Tensor::eye(6, DType::F32)?;
        let cases = [
            ("eye", eye.clone(), Some((6.0, 6.0))),
            ("conv", eye.view([6, 2, 3])?, Some((6.0, 6.0))),
            ("half", eye.to(DType::F16)?, Some((6.0, 6.0))),
            ("zeros", Tensor::zeros([3, 5], DType::F32)?, Some((0.0, 0.0))),
            ("vector", Tensor::ones([9], DType::F32)?, None),
            ("integers", Tensor::ones([3, 3], DType::I64)?, None),
            ("empty", Tensor::ones([3, 0], DType::F32)?, None),
            ("nan", Tensor::full([2, 2], f64::NAN, DType::F32)?, None),
            ("large", Tensor::zeros([1025, 1025], DType::F16)?, None),
        ];
        for (name, tensor, _) in &cases {
            archive.push_tensor(*name, tensor)?;
        }
        for (name, _, ranks) in cases {
            let entry = archive.get(name).expect(name);
            let found = Spectrum::of_entry(&archive, entry)?;
            let found = found.map(|s| (s.stable_rank(), s.effective_rank()));
            let close = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-6 && (b - d).abs() < 1e-6;
            assert!(
                found.zip(ranks).map_or(found.is_none() && ranks.is_none(), |(a, b)| close(a, b)),
                "{name}: {found:?}"
            );
        }
        Ok(())
    }
}
