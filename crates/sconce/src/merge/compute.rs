//! The merged values of one tensor, computed where they are read.

use std::sync::{Arc, OnceLock};

use half::{bf16, f16};

use super::Method;
use crate::io::{Archive, Encoding, Entry, Numbers, ReadAt, RowMajor};
use crate::tensor::DType;
use crate::{Error, Result};

/// Elements that are computed at once. Every kind of block holds a divisor of it.
const PIECE: usize = 1 << 15;

/// Vectors with a greater cosine are interpolated linearly.
const NEARLY_PARALLEL: f64 = 0.9995;

/// Sums of weights below this are no divisors.
const TINY: f64 = 1e-8;

/// A tensor of one model.
pub(super) struct Input {
    bytes: RowMajor,
    numbers: Numbers,
    block: (usize, usize),
}

impl Input {
    pub(super) fn new(archive: &Arc<Archive>, entry: &Entry) -> Result<Self> {
        let block = match entry.encoding() {
            Encoding::Plain(dtype) => (1, dtype.size()),
            Encoding::Packed(packed) => (packed.elements as usize, packed.bytes as usize),
        };
        Ok(Self { bytes: RowMajor::new(archive, entry), numbers: Numbers::of(entry)?, block })
    }

    /// The numbers of `count` elements from `first` on, which is a multiple of a block's.
    fn read(&self, first: usize, count: usize, buffers: &mut Buffers) -> Result<()> {
        let (elements, size) = self.block;
        buffers.bytes.resize(count / elements * size, 0);
        self.bytes.read_at((first / elements * size) as u64, &mut buffers.bytes)?;
        buffers.numbers.clear();
        self.numbers.decode(&buffers.bytes, &mut buffers.numbers)
    }
}

#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    numbers: Vec<f64>,
}

/// The storage of a merged tensor.
pub(super) struct Merged {
    method: Arc<Method>,
    base: Option<Input>,
    models: Vec<Input>,
    name: String,
    numel: usize,
    dtype: DType,
    /// What has to be known of whole tensors before the first value, one number per model.
    prepared: OnceLock<Vec<f64>>,
}

impl Merged {
    pub(super) fn new(
        method: Arc<Method>,
        base: Option<Input>,
        models: Vec<Input>,
        entry: &Entry,
    ) -> Result<Self> {
        let dtype = entry.encoding().dtype().ok_or_else(|| Error::dtype("a merge gives plain numbers"))?;
        let (name, numel) = (entry.name().to_owned(), entry.numel());
        Ok(Self { method, base, models, name, numel, dtype, prepared: OnceLock::new() })
    }

    fn prepared(&self) -> Result<&[f64]> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let prepared = match &*self.method {
            Method::Linear { weights, normalize } => {
                let divisor = if *normalize { weights.iter().sum() } else { 1.0 };
                weights.iter().map(|w| w / divisor).collect()
            }
            Method::Slerp { t } => self.slerp_factors(*t)?.to_vec(),
            Method::TaskArithmetic { weights } => weights.clone(),
            Method::Ties { density, .. } => {
                let keep = (density * self.numel as f64) as usize;
                self.models.iter().map(|model| self.threshold(model, keep)).collect::<Result<_>>()?
            }
        };
        Ok(self.prepared.get_or_init(|| prepared))
    }

    /// Passes the numbers of two inputs to `visit`, a piece at a time.
    fn for_each_pair(&self, a: &Input, b: &Input, mut visit: impl FnMut(&[f64], &[f64])) -> Result<()> {
        let (mut x, mut y) = (Buffers::default(), Buffers::default());
        for first in (0..self.numel).step_by(PIECE) {
            let count = PIECE.min(self.numel - first);
            a.read(first, count, &mut x)?;
            b.read(first, count, &mut y)?;
            visit(&x.numbers, &y.numbers);
        }
        Ok(())
    }

    /// The factors of both models.
    fn slerp_factors(&self, t: f64) -> Result<[f64; 2]> {
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        self.for_each_pair(&self.models[0], &self.models[1], |a, b| {
            for (a, b) in a.iter().zip(b) {
                aa += a * a;
                bb += b * b;
                ab += a * b;
            }
        })?;
        let cosine: f64 = ab / (aa.sqrt() * bb.sqrt());
        if aa == 0.0 || bb == 0.0 || cosine.abs() > NEARLY_PARALLEL {
            return Ok([1.0 - t, t]);
        }
        let angle = cosine.acos();
        Ok([((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()])
    }

    /// The magnitude of the `keep`-th greatest difference from the base, in single precision, exactly: the upper half
    /// of its bits is found by counting, and then the lower half.
    fn threshold(&self, model: &Input, keep: usize) -> Result<f64> {
        let Some(base) = self.base.as_ref().filter(|_| keep > 0) else { return Ok(f64::INFINITY) };
        if keep >= self.numel {
            return Ok(0.0);
        }
        let (mut left, mut upper) = (keep as u64, None);
        for shift in [16, 0] {
            let mut counts = vec![0_u64; 1 << 16];
            self.for_each_pair(model, base, |x, base| {
                for (x, base) in x.iter().zip(base) {
                    let bits = magnitude(x - base).to_bits();
                    if upper.is_none_or(|upper| bits >> 16 == upper) {
                        counts[(bits >> shift & 0xffff) as usize] += 1;
                    }
                }
            })?;
            let mut place = counts.len() - 1;
            while counts[place] < left && place > 0 {
                left -= counts[place];
                place -= 1;
            }
            upper = match upper {
                None => Some(place as u32),
                Some(upper) => return Ok(f32::from_bits(upper << 16 | place as u32).into()),
            };
        }
        Ok(0.0)
    }

    /// Computes `count` numbers from `first` on, which is a multiple of [`PIECE`].
    fn piece(&self, first: usize, count: usize, scratch: &mut Scratch) -> Result<()> {
        let prepared = self.prepared()?;
        let Scratch { input, base, out, .. } = scratch;
        out.clear();
        out.resize(count, 0.0);
        let Some(of_base) = &self.base else {
            for (model, factor) in self.models.iter().zip(prepared) {
                model.read(first, count, input)?;
                out.iter_mut().zip(&input.numbers).for_each(|(sum, x)| *sum += factor * x);
            }
            return Ok(());
        };
        of_base.read(first, count, base)?;
        if let Method::Ties { weights, lambda, .. } = &*self.method {
            self.ties(first, count, weights, *lambda, prepared, scratch)?;
        } else {
            for (model, weight) in self.models.iter().zip(prepared) {
                model.read(first, count, input)?;
                let differences = input.numbers.iter().zip(&base.numbers).map(|(x, base)| x - base);
                out.iter_mut().zip(differences).for_each(|(sum, difference)| *sum += weight * difference);
            }
            out.iter_mut().zip(&base.numbers).for_each(|(x, base)| *x += base);
        }
        Ok(())
    }

    fn ties(
        &self,
        first: usize,
        count: usize,
        weights: &[f64],
        lambda: f64,
        thresholds: &[f64],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Scratch { input, base, out, trimmed } = scratch;
        trimmed.clear();
        for (model, &threshold) in self.models.iter().zip(thresholds) {
            model.read(first, count, input)?;
            trimmed.extend(input.numbers.iter().zip(&base.numbers).map(|(x, base)| {
                let difference = x - base;
                // NaN stays: what is broken must be seen.
                if f64::from(magnitude(difference)) < threshold { 0.0 } else { difference }
            }));
        }
        for (i, (out, base)) in out.iter_mut().zip(&base.numbers).enumerate() {
            let each = || trimmed[i..].iter().step_by(count).zip(weights).map(|(d, w)| (d * w, w));
            let total: f64 = each().map(|(d, _)| d).sum();
            let positive = total >= 0.0;
            let agrees = |d: f64| d.is_nan() || if positive { d > 0.0 } else { d < 0.0 };
            let (sum, divisor) =
                each().filter(|(d, _)| agrees(*d)).fold((0.0, 0.0), |(s, n), (d, w)| (s + d, n + w));
            let divisor = if f64::abs(divisor) < TINY { 1.0 } else { divisor };
            *out = base + lambda * sum / divisor;
        }
        Ok(())
    }
}

/// Buffers of a piece.
#[derive(Default)]
struct Scratch {
    input: Buffers,
    base: Buffers,
    /// The trimmed differences of all models, one after another.
    trimmed: Vec<f64>,
    out: Vec<f64>,
}

fn magnitude(x: f64) -> f32 {
    (x as f32).abs()
}

impl ReadAt for Merged {
    fn size(&self) -> u64 {
        (self.numel * self.dtype.size()) as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|&end| end <= self.size());
        let end = end.ok_or_else(|| Error::argument("a range outside a merged tensor"))?;
        let size = self.dtype.size() as u64;
        let (mut scratch, mut bytes) = (Scratch::default(), Vec::new());
        let mut at = offset;
        while at < end {
            let first = (at / size) as usize / PIECE * PIECE;
            let count = PIECE.min(self.numel - first);
            self.piece(first, count, &mut scratch)?;
            bytes.clear();
            encode(self.dtype, &scratch.out, &mut bytes)
                .map_err(|e| e.context(self.name.escape_debug().to_string()))?;
            let start = first as u64 * size;
            let until = (start + bytes.len() as u64).min(end);
            let part = &bytes[(at - start) as usize..(until - start) as usize];
            out[(at - offset) as usize..(until - offset) as usize].copy_from_slice(part);
            at = until;
        }
        Ok(())
    }
}

/// Rounds numbers to a type, each once.
fn encode(dtype: DType, numbers: &[f64], out: &mut Vec<u8>) -> Result<()> {
    let largest = match dtype {
        DType::F16 => f16::MAX.to_f64(),
        DType::BF16 => bf16::MAX.to_f64(),
        DType::F32 => f64::from(f32::MAX),
        _ => f64::MAX,
    };
    // The infinities of a model stay; a number that would become one is refused.
    if let Some(x) = numbers.iter().find(|x| x.is_finite() && x.abs() > largest) {
        return Err(Error::unsupported(format!("{x:e} has no place in {dtype}")));
    }
    match dtype {
        DType::F64 => out.extend(numbers.iter().flat_map(|x| x.to_le_bytes())),
        DType::F32 => out.extend(numbers.iter().flat_map(|&x| (x as f32).to_le_bytes())),
        DType::F16 => out.extend(numbers.iter().flat_map(|&x| f16::from_f64(x).to_le_bytes())),
        DType::BF16 => out.extend(numbers.iter().flat_map(|&x| bf16::from_f64(x).to_le_bytes())),
        other => return Err(Error::dtype(format!("a merge gives no {other}"))),
    }
    Ok(())
}
