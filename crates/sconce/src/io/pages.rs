//! A buffer that files are read into fast.

use std::ops::Range;

use super::source::{ReadAt, zeroed};
use crate::error::Result;

const PAGE: usize = 4096;

/// Memory for bytes of a file, which lie in it as they lie in the pages of the file.
///
/// Processors copy a few times slower to an address that is, within its page, a little behind the one that they copy
/// from; and large vectors begin 16 bytes into a page.
#[derive(Default)]
pub(crate) struct Pages {
    memory: Vec<u8>,
    last: Range<usize>,
}

impl Pages {
    /// Room for `size` bytes that are at `position` in their file; what is in it is of no meaning.
    ///
    /// # Errors
    ///
    /// Fails when memory runs out.
    pub(crate) fn room(&mut self, position: u64, size: usize) -> Result<&mut [u8]> {
        let needed = size + 2 * PAGE;
        if self.memory.len() < needed {
            self.memory = zeroed(needed as u64)?;
        }
        // An interpreter may not tell.
        let page = Some(self.memory.as_ptr().align_offset(PAGE)).filter(|&page| page < PAGE).unwrap_or(0);
        let start = page + (position % PAGE as u64) as usize;
        self.last = start..start + size;
        Ok(&mut self.memory[self.last.clone()])
    }

    /// The last [`room`](Self::room).
    pub(crate) fn last(&self) -> &[u8] {
        &self.memory[self.last.clone()]
    }

    /// Reads a part of some bytes, of a file or not.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read, or memory runs out.
    pub(crate) fn read(&mut self, bytes: &dyn ReadAt, offset: u64, size: usize) -> Result<&[u8]> {
        bytes.read_at(offset, self.room(position(bytes) + offset, size)?)?;
        Ok(self.last())
    }
}

/// Where bytes begin in their file.
pub(crate) fn position(bytes: &dyn ReadAt) -> u64 {
    bytes.checked_position().map_or(0, |(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_as_in_the_file() -> Result<()> {
        let mut pages = Pages::default();
        for (position, size) in
            [(0, 10), (5, 100_000), (4095, 1), (4096, 99_999), (1 << 40, 0), (u64::MAX, 5)]
        {
            let room = pages.room(position, size)?;
            assert_eq!(room.len(), size);
            assert_eq!(room.as_ptr() as u64 % PAGE as u64, position % PAGE as u64, "{position}");
            room.fill(7);
            assert_eq!(pages.last(), vec![7; size]);
        }
        let bytes: Vec<u8> = (0..200).collect();
        assert_eq!(pages.read(&bytes, 3, 2)?, [3, 4]);
        assert!(pages.read(&bytes, 199, 2).is_err());
        Ok(())
    }
}
