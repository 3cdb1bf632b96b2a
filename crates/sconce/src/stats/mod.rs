//! Statistics of parameters: one streaming pass over a tensor in memory or in a file.

mod spectrum;
mod stream;
pub mod svg;
pub mod text;

use sconce_kernels::{Elem, histogram};

use crate::io::{Archive, Entry, Numbers};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

pub use sconce_kernels::Stats;
pub use spectrum::{SPECTRUM_ELEMENTS, SPECTRUM_SIDE, Spectrum};

/// Tensors of more elements than this have their histogram taken from as many, in evenly spread blocks.
///
/// Everything else is always taken of all elements.
pub const HISTOGRAM_SAMPLE: u64 = 1 << 18;

/// Statistics of one tensor and the distribution of its finite values; printed, a histogram in the terminal.
///
/// [`svg::document`] draws several as a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Count, extremes, mean, deviation, norm, zeros, NaN and infinities.
    pub stats: Stats,
    /// How many finite values lie in each of as many equal ranges from the least to the greatest; of large tensors in
    /// files a sample, see [`HISTOGRAM_SAMPLE`].
    pub histogram: Vec<u64>,
}

/// Summarises a tensor in memory, with a histogram of `bins` ranges.
///
/// ```
/// use sconce::{Tensor, stats};
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, f32::NAN], [4])?;
/// let summary = stats::of_tensor(&x, 2)?;
/// assert_eq!((summary.stats.mean, summary.stats.nan), (2.0, 1));
/// assert_eq!(summary.histogram, [1, 2]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// If the dtype is only stored.
pub fn of_tensor(x: &Tensor, bins: usize) -> Result<Summary> {
    let elem = elem(x.dtype())?;
    let bytes = x.to_bytes()?;
    let stats = Stats::of(elem, &bytes);
    let mut counts = vec![0; bins];
    if stats.finite() > 0 {
        histogram(elem, &bytes, stats.min, stats.max, &mut counts);
    }
    Ok(Summary { stats, histogram: counts })
}

/// Summarises a tensor in a file, in bounded memory, with a histogram of `bins` ranges.
///
/// # Errors
///
/// If the file cannot be read, or the elements are complex, or packed in a way that is only copied.
pub fn of_entry(archive: &Archive, entry: &Entry, bins: usize) -> Result<Summary> {
    let mut all = of_entries(archive, &[entry], bins);
    all.pop().unwrap_or_else(|| Err(Error::not_found("no entry")))
}

/// Summarises tensors in a file, in bounded memory, each with a histogram of `bins` ranges; in the order of the
/// entries. Several threads share the work; the results do not depend on them.
///
/// A result is an error as for [`of_entry`].
///
/// ```
/// use sconce::{Tensor, io::Archive, stats};
///
/// let mut archive = Archive::new();
/// archive.push_tensor("x", &Tensor::from_vec(vec![1.0f32, 5.0], [2])?)?;
/// let entries: Vec<_> = archive.entries().iter().collect();
/// let summary = stats::of_entries(&archive, &entries, 2).remove(0)?;
/// assert_eq!((summary.stats.mean, summary.histogram), (3.0, vec![1, 1]));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn of_entries(archive: &Archive, entries: &[&Entry], bins: usize) -> Vec<Result<Summary>> {
    stream::summarise(archive, entries, bins)
}

/// Summarises elements that no kernel takes, as numbers of double precision.
fn of_decoded(archive: &Archive, entry: &Entry, bins: usize) -> Result<Summary> {
    let numbers = Numbers::of(entry)?;
    if numbers.per_element() > 1 {
        let name = entry.encoding().name();
        return Err(Error::unsupported(format!("{}: no statistics of {name} elements", entry.name())));
    }
    let mut values = Vec::new();
    let mut each = |visit: &mut dyn FnMut(&[u8])| {
        archive.for_each_chunk(entry, SAMPLE_CHUNK_BYTES, |bytes| {
            values.clear();
            numbers.decode(bytes, &mut values)?;
            visit(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
            Ok(())
        })
    };
    let mut stats = Stats::default();
    each(&mut |bytes| stats = stats.merge(Stats::of(Elem::F64, bytes)))?;
    let mut counts = vec![0; bins];
    if bins > 0 && stats.finite() > 0 {
        each(&mut |bytes| histogram(Elem::F64, bytes, stats.min, stats.max, &mut counts))?;
    }
    Ok(Summary { stats, histogram: counts })
}

/// Bytes of a chunk of the histogram's pass.
const SAMPLE_CHUNK_BYTES: usize = 1 << 20;

fn elem(dtype: DType) -> Result<sconce_kernels::Elem> {
    dtype.elem().ok_or_else(|| Error::unsupported(format!("no statistics of {dtype}")))
}
