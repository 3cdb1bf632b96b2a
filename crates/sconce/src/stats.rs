//! Statistics of parameters: one streaming pass over a tensor in memory or in a file.

use sconce_kernels::histogram;

use crate::io::{Archive, Encoding, Entry};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

pub use sconce_kernels::Stats;

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 8 << 20;

/// Tensors of more elements than this have their histogram taken from evenly spread chunks of about as many.
pub const HISTOGRAM_SAMPLE: u64 = 1 << 20;

/// Statistics of one tensor and the distribution of its finite values.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Count, extremes, mean, deviation, norm, zeros, NaN and infinities.
    pub stats: Stats,
    /// How many finite values lie in each of as many equal ranges from the least to the greatest; see
    /// [`HISTOGRAM_SAMPLE`] for large tensors.
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
/// If the file cannot be read, or the elements are packed or of a dtype that is only stored.
pub fn of_entry(archive: &Archive, entry: &Entry, bins: usize) -> Result<Summary> {
    let Encoding::Plain(dtype) = entry.encoding() else {
        return Err(Error::unsupported(format!(
            "{}: no statistics of {} elements",
            entry.name(),
            entry.encoding().name()
        )));
    };
    let elem = elem(dtype)?;
    let mut stats = Stats::default();
    archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| {
        stats = stats.merge(Stats::of(elem, bytes));
        Ok(())
    })?;
    let mut counts = vec![0; bins];
    if stats.finite() > 0 {
        // Every chunk gives the same share of its elements, from its start.
        let share = (HISTOGRAM_SAMPLE as f64 / entry.numel() as f64).min(1.0);
        archive.for_each_chunk(entry, SAMPLE_CHUNK_BYTES, |bytes| {
            let n = bytes.len() / dtype.size();
            let taken = ((n as f64 * share).ceil() as usize).min(n);
            histogram(elem, &bytes[..taken * dtype.size()], stats.min, stats.max, &mut counts);
            Ok(())
        })?;
    }
    Ok(Summary { stats, histogram: counts })
}

/// Bytes of a chunk of the histogram's pass.
const SAMPLE_CHUNK_BYTES: usize = 1 << 20;

fn elem(dtype: DType) -> Result<sconce_kernels::Elem> {
    dtype.elem().ok_or_else(|| Error::unsupported(format!("no statistics of {dtype}")))
}
