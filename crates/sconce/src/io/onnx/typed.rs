//! Elements that stand as numbers of a message, decoded as they are read.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::wire::varint;
use crate::error::{Error, Result};
use crate::io::reader::Reader;
use crate::io::source::{ReadAt, Source, range};

/// How a message writes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// As many bytes as the number has.
    Fixed,
    /// Seven bits in each byte.
    Varint,
    /// The same, 0 or 1.
    Flag,
}

/// The numbers of one field of a tensor, which may stand in several places, as little-endian bytes.
pub(super) struct Typed {
    source: Source,
    places: Vec<Range<u64>>,
    numbers: Numbers,
    /// Bytes of a number, at most eight.
    width: usize,
    count: u64,
    next: Mutex<Next>,
}

/// The number that comes next.
#[derive(Clone, Copy, Default)]
struct Next {
    index: u64,
    place: usize,
    /// Bytes of the place that are passed.
    passed: u64,
}

impl Typed {
    /// Counts the numbers, and checks that each fits its bytes.
    pub(super) fn new(
        source: &Source,
        places: Vec<Range<u64>>,
        numbers: Numbers,
        width: usize,
    ) -> Result<Self> {
        let mut count = 0;
        for place in &places {
            let mut reader = Reader::new(source, place.start, place.end);
            if numbers == Numbers::Fixed {
                let size = place.end - place.start;
                if !size.is_multiple_of(width as u64) {
                    return Err(Error::format(format!("{size} bytes are no numbers of {width}")));
                }
                count += size / width as u64;
                continue;
            }
            while reader.remaining() > 0 {
                let number = varint(&mut reader)?;
                let fits = match numbers {
                    Numbers::Flag => number <= 1,
                    _ if width == 8 => true,
                    // Of a signed number the bits above are all set, of an unsigned one none.
                    _ => number >> (8 * width) == 0 || (number as i64) >> (8 * width - 1) == -1,
                };
                if !fits {
                    return Err(Error::format(format!("{} does not fit {width} bytes", number as i64)));
                }
                count += 1;
            }
        }
        Ok(Self { source: source.clone(), places, numbers, width, count, next: Mutex::default() })
    }

    /// The bytes as they lie in the file, if they lie there in one place.
    pub(super) fn window(&self) -> Option<Range<u64>> {
        match self.places.as_slice() {
            [one] if self.numbers == Numbers::Fixed => Some(one.clone()),
            _ => None,
        }
    }

    fn number(&self, reader: &mut Reader<'_>, next: &mut Next) -> Result<[u8; 8]> {
        let place = loop {
            let place = self.places.get(next.place).ok_or_else(|| Error::format("the numbers end early"))?;
            if place.start + next.passed < place.end {
                break place;
            }
            *next = Next { place: next.place + 1, passed: 0, ..*next };
        };
        reader.seek(place.start + next.passed, place.end);
        let number = match (self.numbers, self.width) {
            (Numbers::Fixed, 4) => u32::from_le_bytes(reader.array()?).into(),
            (Numbers::Fixed, _) => u64::from_le_bytes(reader.array()?),
            _ => varint(reader)?,
        };
        next.passed = reader.at() - place.start;
        next.index += 1;
        Ok(number.to_le_bytes())
    }
}

impl ReadAt for Typed {
    fn size(&self) -> u64 {
        self.count * self.width as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size())?;
        let mut guard = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, mut skipped) = (offset / self.width as u64, (offset % self.width as u64) as usize);
        let mut next = if guard.index <= first { *guard } else { Next::default() };
        let mut reader = Reader::new(&self.source, 0, 0);
        while next.index < first {
            self.number(&mut reader, &mut next)?;
        }
        let mut filled = 0;
        while filled < out.len() {
            let number = self.number(&mut reader, &mut next)?;
            let take = (self.width - skipped).min(out.len() - filled);
            out[filled..filled + take].copy_from_slice(&number[skipped..skipped + take]);
            (filled, skipped) = (filled + take, 0);
        }
        *guard = next;
        Ok(())
    }
}
