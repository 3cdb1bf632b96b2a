//! Big-endian numbers, turned as they are read.

use std::sync::Arc;

use super::gather::swap_bytes;
use super::source::{ReadAt, range};
use crate::error::Result;

/// Bytes in which every number of `number_size` bytes is reversed.
pub(super) struct Swapped {
    bytes: Arc<dyn ReadAt>,
    number_size: usize,
}

impl Swapped {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, number_size: usize) -> Self {
        Self { bytes, number_size }
    }
}

impl ReadAt for Swapped {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn seeks(&self) -> bool {
        self.bytes.seeks()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = range(offset, out.len() as u64, self.size())?.end;
        let size = self.number_size as u64;
        if offset.is_multiple_of(size) && end.is_multiple_of(size) {
            self.bytes.read_at(offset, out)?;
            swap_bytes(out, self.number_size);
            return Ok(());
        }
        // A part of a number: the whole one is needed.
        let start = offset / size * size;
        let whole_end = end.next_multiple_of(size).min(self.size());
        let mut whole = super::source::zeroed(whole_end - start)?;
        self.bytes.read_at(start, &mut whole)?;
        swap_bytes(&mut whole, self.number_size);
        let skipped = (offset - start) as usize;
        out.copy_from_slice(&whole[skipped..skipped + out.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_that_of_the_turned_bytes() -> Result<()> {
        let bytes: Vec<u8> = (0..16).collect();
        let mut turned = bytes.clone();
        swap_bytes(&mut turned, 4);
        let swapped = Swapped::new(Arc::new(bytes), 4);
        for start in 0..16 {
            for end in start..=16 {
                let mut out = vec![0; end - start];
                swapped.read_at(start as u64, &mut out)?;
                assert_eq!(out, turned[start..end]);
            }
        }
        assert!(swapped.read_at(15, &mut [0; 2]).is_err());
        Ok(())
    }
}
