//! Bytes that are computed when they are read.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::map::Map;
use crate::io::{Archive, Entry, ReadAt, range, zeroed};
use crate::tensor::DType;
use crate::{Error, Result};

/// The widest element: reads that begin and end at its multiples cut no element of any dtype.
const WIDEST: u64 = 16;

/// A part of other bytes.
pub(super) struct Part {
    pub(super) base: Arc<dyn ReadAt>,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl ReadAt for Part {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size)?;
        self.base.read_at(self.start + offset, out)
    }

    fn as_slice(&self) -> Option<&[u8]> {
        self.base.as_slice()?.get(self.start as usize..(self.start + self.size) as usize)
    }
}

/// One element over and over.
pub(super) struct Constant {
    pub(super) element: Vec<u8>,
    pub(super) size: u64,
}

impl ReadAt for Constant {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size)?;
        let first = (offset % self.element.len() as u64) as usize;
        let pattern = self.element.iter().cycle().skip(first);
        out.iter_mut().zip(pattern).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// What happens to a range of a storage.
#[derive(Clone)]
pub(super) enum Patch {
    /// Every element is mapped.
    Map(Map, DType),
    /// Other bytes take the place, as many.
    Replace(Arc<dyn ReadAt>),
}

/// A storage with patches, applied in order.
pub(super) struct Patched {
    pub(super) base: Arc<dyn ReadAt>,
    pub(super) patches: Vec<(Range<u64>, Patch)>,
}

impl Patched {
    /// Reads at multiples of [`WIDEST`], or to the end.
    fn read_aligned(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = offset + out.len() as u64;
        let covers = |(place, patch): &(Range<u64>, Patch)| {
            matches!(patch, Patch::Replace(_)) && place.start <= offset && end <= place.end
        };
        // What a replacement covers need not be read.
        let first = self.patches.iter().rposition(covers);
        if first.is_none() {
            self.base.read_at(offset, out)?;
        }
        for (place, patch) in &self.patches[first.unwrap_or(0)..] {
            let (from, to) = (place.start.max(offset), place.end.min(end));
            if from >= to {
                continue;
            }
            let part = &mut out[(from - offset) as usize..(to - offset) as usize];
            match patch {
                Patch::Map(map, dtype) => map.apply(*dtype, part)?,
                Patch::Replace(bytes) => bytes.read_at(from - place.start, part)?,
            }
        }
        Ok(())
    }
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn seeks(&self) -> bool {
        self.base.seeks()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = range(offset, out.len() as u64, self.size())?.end;
        let (start, stop) = (offset / WIDEST * WIDEST, end.next_multiple_of(WIDEST).min(self.size()));
        if (start, stop) == (offset, end) {
            return self.read_aligned(offset, out);
        }
        let mut whole = zeroed(stop - start)?;
        self.read_aligned(start, &mut whole)?;
        let skipped = (offset - start) as usize;
        out.copy_from_slice(&whole[skipped..skipped + out.len()]);
        Ok(())
    }
}

/// The values of a strided view in row-major order. The whole view is held while it is read from start to end.
pub(super) struct Gathered {
    archive: Archive,
    entry: Entry,
    held: Mutex<Option<Vec<u8>>>,
}

impl Gathered {
    /// `archive` holds the entry and nothing else.
    pub(super) fn new(archive: Archive) -> Result<Self> {
        let entry = archive.entries().first().cloned();
        let entry = entry.ok_or_else(|| Error::argument("an archive without a tensor"))?;
        Ok(Self { archive, entry, held: Mutex::new(None) })
    }
}

impl ReadAt for Gathered {
    fn size(&self) -> u64 {
        self.entry.bytes()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let place = range(offset, out.len() as u64, self.size())?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match held.take() {
            Some(bytes) => bytes,
            None => self.archive.read(&self.entry)?,
        };
        out.copy_from_slice(&bytes[place.start as usize..place.end as usize]);
        if place.end < self.size() {
            *held = Some(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::scalar::Scalar;

    #[test]
    fn patches_apply_in_order_whatever_part_is_read() -> Result<()> {
        let numbers: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let base: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let scale = |factor: i64| Patch::Map(Map::Scale(Scalar::Int(factor)), DType::F32);
        let ones = Constant { element: 1_f32.to_le_bytes().to_vec(), size: 24 };
        let patched = Patched {
            base: Arc::new(base),
            patches: vec![(0..80, scale(2)), (8..32, Patch::Replace(Arc::new(ones))), (16..40, scale(3))],
        };
        let mut expected: Vec<f32> = numbers.iter().map(|x| x * 2.0).collect();
        expected[2..8].fill(1.0);
        expected[4..10].iter_mut().for_each(|x| *x *= 3.0);
        let expected: Vec<u8> = expected.iter().flat_map(|x| x.to_le_bytes()).collect();
        for start in 0..80 {
            for end in start..80 {
                let mut out = vec![0; end - start];
                patched.read_at(start as u64, &mut out)?;
                assert_eq!(out, expected[start..end], "{start}..{end}");
            }
        }
        Ok(())
    }
}
