//! A cursor over the fields of a file's header, read through a small buffer.

use super::source::{Source, range};
use crate::error::Result;

const BUFFER_BYTES: u64 = 1 << 14;

/// Reads one field after another, up to a bound that can be moved.
pub(super) struct Reader<'a> {
    source: &'a Source,
    at: u64,
    end: u64,
    big_endian: bool,
    buffer: Vec<u8>,
    /// Where the buffer's bytes begin in the file.
    base: u64,
}

impl<'a> Reader<'a> {
    /// Reads from byte `at`; nothing at or behind byte `end`, nor behind the file's end.
    pub(super) fn new(source: &'a Source, at: u64, end: u64) -> Self {
        let end = end.min(source.size());
        Self { source, at, end, big_endian: false, buffer: Vec::new(), base: 0 }
    }

    pub(super) fn set_big_endian(&mut self, big_endian: bool) {
        self.big_endian = big_endian;
    }

    /// The position of the next field.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The bytes before the bound.
    pub(super) fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Goes to another position, with another bound.
    pub(super) fn seek(&mut self, at: u64, end: u64) {
        self.at = at;
        self.end = end.min(self.source.size());
    }

    /// The next `N` bytes as they are.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let wanted = range(self.at, N as u64, self.end)?;
        let held = self.base..self.base + self.buffer.len() as u64;
        if wanted.start < held.start || wanted.end > held.end {
            let take = BUFFER_BYTES.max(N as u64).min(self.source.size() - self.at);
            self.buffer.resize(take as usize, 0);
            // A failed read leaves nothing that could be taken for the file's bytes.
            self.base = u64::MAX - take;
            self.source.read_at(self.at, &mut self.buffer)?;
            self.base = self.at;
        }
        let start = (self.at - self.base) as usize;
        let mut out = [0; N];
        out.copy_from_slice(&self.buffer[start..start + N]);
        self.at += N as u64;
        Ok(out)
    }

    /// The next `N` bytes of a number, little-endian.
    pub(super) fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = self.array()?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.number().map(u64::from_le_bytes)
    }

    /// The next `size` bytes; nothing is allocated if they are not there.
    pub(super) fn vec(&mut self, size: u64) -> Result<Vec<u8>> {
        range(self.at, size, self.end)?;
        let out = self.source.read_vec(self.at, size)?;
        self.at += size;
        Ok(out)
    }

    /// Passes over `size` bytes.
    pub(super) fn skip(&mut self, size: u64) -> Result<()> {
        self.at = range(self.at, size, self.end)?.end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_across_the_buffer_and_the_bound() -> Result<()> {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| i as u8).collect();
        let source = Source::from_bytes("f", bytes.clone());
        let mut reader = Reader::new(&source, 1, 39_000);
        for at in (1..38_990).step_by(7) {
            assert_eq!(reader.array::<7>()?, bytes[at..at + 7], "{at}");
        }
        reader.seek(4, 9);
        assert_eq!(reader.vec(3)?, bytes[4..7]);
        assert_eq!((reader.remaining(), reader.u32().is_err(), reader.u8()?), (2, true, 7));
        assert!(reader.skip(2).is_err() && reader.skip(1).is_ok() && reader.skip(1).is_err());
        reader.seek(2, 6);
        reader.set_big_endian(true);
        assert_eq!(reader.u32()?, 0x0203_0405);
        Ok(())
    }
}
