//! Singular values of weights.

use crate::io::{Archive, Entry, Numbers, display_name};
use crate::tensor::Tensor;
use crate::{Context, Error, Result};

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
    /// # Errors
    ///
    /// Of kind [`Unsupported`](crate::ErrorKind::Unsupported) if there is none: of tensors of less than two dimensions or
    /// without elements, of what are no real numbers, of a matrix that is too large (see [`SPECTRUM_SIDE`] and
    /// [`SPECTRUM_ELEMENTS`]) and of one that holds NaN or infinities. Of another kind if the file cannot be read.
    ///
    /// ```
    /// use sconce::{Tensor, io::Archive, stats::Spectrum};
    ///
    /// let mut archive = Archive::new();
    /// archive.push_tensor("w", &Tensor::from_vec(vec![0.0f32, 2.0, 1.0, 0.0], [2, 2])?)?;
    /// let spectrum = Spectrum::of_entry(&archive, &archive.entries()[0])?;
    /// assert_eq!(spectrum.values, [2.0, 1.0]);
    /// assert_eq!(spectrum.stable_rank(), 1.25);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn of_entry(archive: &Archive, entry: &Entry) -> Result<Self> {
        let none = |why: String| Err(Error::unsupported(why).context(display_name(entry.name())));
        let (shape, count) = (entry.shape(), entry.numel());
        let Some(&rows) = shape.first().filter(|_| shape.len() > 1 && count > 0) else {
            return none(format!("singular values are those of a matrix, not of shape {shape:?}"));
        };
        let side = rows.min(count / rows);
        if entry.encoding().dtype().is_some_and(|dtype| !dtype.is_floating_point()) {
            return none(format!("no singular values of {} elements", entry.encoding().name()));
        }
        if side > SPECTRUM_SIDE {
            return none(format!(
                "singular values of a matrix of lesser side {side}, at most {SPECTRUM_SIDE}"
            ));
        }
        if count > SPECTRUM_ELEMENTS {
            return none(format!("singular values of {count} elements, at most {SPECTRUM_ELEMENTS}"));
        }
        let mut values = Vec::with_capacity(count);
        Numbers::of(entry)?.decode(&archive.read(entry)?, &mut values)?;
        let odd = values.iter().filter(|x| !x.is_finite()).count();
        if odd > 0 {
            return none(format!("singular values of finite numbers only, {odd} of {count} are not"));
        }
        let values =
            crate::no_grad(|| Tensor::from_vec(values, [rows, count / rows])?.svdvals()?.to_vec::<f64>());
        Ok(Self { values: values.context(|| display_name(entry.name()))? })
    }

    /// The sum of squares over the greatest square: a rank that small values hardly count for; 0 of a zero matrix.
    pub fn stable_rank(&self) -> f64 {
        let greatest = self.values.first().copied().unwrap_or(0.0);
        if greatest == 0.0 { 0.0 } else { self.values.iter().map(|x| (x / greatest).powi(2)).sum() }
    }

    /// The powers of ten from the least value to the greatest, as a picture spans them: one at least and six at most.
    pub fn decades(&self) -> u32 {
        let ratio =
            self.values.first().zip(self.values.last()).map_or(1.0, |(greatest, least)| greatest / least);
        // No ratio of zeros is a number.
        if ratio.is_nan() { 1 } else { ratio.log10().ceil().clamp(1.0, 6.0) as u32 }
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
    use crate::ErrorKind;
    use crate::tensor::DType;

    #[test]
    fn only_matrices_of_finite_numbers_have_one() -> Result<()> {
        let mut archive = Archive::new();
        let eye = Tensor::eye(6, DType::F32)?;
        let cases = [
            ("eye", eye.clone(), Ok((6.0, 6.0))),
            ("conv", eye.view([6, 2, 3])?, Ok((6.0, 6.0))),
            ("half", eye.to(DType::F16)?, Ok((6.0, 6.0))),
            ("zeros", Tensor::zeros([3, 5], DType::F32)?, Ok((0.0, 0.0))),
            ("vector", Tensor::ones([9], DType::F32)?, Err("of a matrix, not of shape [9]")),
            ("integers", Tensor::ones([3, 3], DType::I64)?, Err("no singular values of int64 elements")),
            ("empty", Tensor::ones([3, 0], DType::F32)?, Err("not of shape [3, 0]")),
            ("nan", Tensor::full([2, 2], f64::NAN, DType::F32)?, Err("4 of 4 are not")),
            ("large", Tensor::zeros([1025, 1025], DType::F16)?, Err("of lesser side 1025, at most 1024")),
            ("long", Tensor::zeros([2, (1 << 21) + 1], DType::F16)?, Err("at most 4194304")),
        ];
        for (name, tensor, _) in &cases {
            archive.push_tensor(*name, tensor)?;
        }
        for (name, _, ranks) in cases {
            let entry = archive.get(name).expect(name);
            let found = Spectrum::of_entry(&archive, entry);
            let close = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-6 && (b - d).abs() < 1e-6;
            match (found, ranks) {
                (Ok(s), Ok(ranks)) => assert!(close((s.stable_rank(), s.effective_rank()), ranks), "{name}"),
                (Err(error), Err(expected)) => {
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                    assert!(error.to_string().starts_with(name), "{error}");
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        Ok(())
    }
}
