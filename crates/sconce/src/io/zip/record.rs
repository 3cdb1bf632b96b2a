//! Records as bytes at any position, checked as they pass.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};

use crate::error::{Error, Result};
use crate::io::source::{ReadAt, Window, range, zeroed};

const INPUT_BYTES: usize = 1 << 16;
/// Bytes that are read and summed at once.
const PIECE_BYTES: usize = 1 << 18;

/// Ranges of a stored record whose sums are kept: more than there are threads that read one.
const MOST_RANGES: usize = 256;

/// A stored record whose checksum is verified once all of it has been read, in parts of any order.
pub(super) struct Stored {
    window: Window,
    crc: u32,
    verified: AtomicBool,
    passed: Mutex<Passed>,
}

/// Sums of the ranges that were read, which neither touch nor overlap; in order.
#[derive(Default)]
struct Passed(Vec<(Range<u64>, Hasher)>);

impl Passed {
    /// The parts of a range that were not read yet.
    fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let (mut gaps, mut at) = (Vec::new(), range.start);
        let behind = self.0.partition_point(|(passed, _)| passed.end <= range.start);
        for (passed, _) in self.0[behind..].iter().take_while(|(passed, _)| passed.start < range.end) {
            if at < passed.start {
                gaps.push(at..passed.start);
            }
            at = passed.end;
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Adds the sum of a range of which nothing was read before.
    fn add(&mut self, mut range: Range<u64>, mut sum: Hasher) {
        let mut at = self.0.partition_point(|(passed, _)| passed.end <= range.start);
        if self.0.get(at).is_some_and(|(next, _)| next.start == range.end) {
            let (next, after) = self.0.remove(at);
            range.end = next.end;
            sum.combine(&after);
        }
        if at > 0 && self.0[at - 1].0.end == range.start {
            at -= 1;
            let (before, mut first) = self.0.remove(at);
            range.start = before.start;
            first.combine(&sum);
            sum = first;
        }
        self.0.insert(at, (range, sum));
    }

    /// The sum of all of `size` bytes, if they were read.
    fn whole(&self, size: u64) -> Option<Hasher> {
        self.0.first().filter(|(range, _)| *range == (0..size)).map(|(_, sum)| sum.clone())
    }
}

impl Stored {
    pub(super) fn new(window: Window, crc: u32) -> Self {
        Self { window, crc, verified: AtomicBool::new(false), passed: Mutex::default() }
    }

    /// Reads a part and takes its sum, piece by piece while the caches hold them.
    fn sum(&self, mut at: u64, out: &mut [u8]) -> Result<Hasher> {
        let mut sum = Hasher::new();
        for piece in out.chunks_mut(PIECE_BYTES) {
            self.window.read_at(at, piece)?;
            sum.update(piece);
            at += piece.len() as u64;
        }
        Ok(sum)
    }

    /// The sum of all bytes, for which they are read once more.
    fn sum_of_all(&self) -> Result<Hasher> {
        let mut piece = zeroed(self.size().min(PIECE_BYTES as u64))?;
        let mut sum = Hasher::new();
        for at in (0..self.size()).step_by(PIECE_BYTES) {
            let size = (self.size() - at).min(PIECE_BYTES as u64) as usize;
            sum.combine(&self.sum(at, &mut piece[..size])?);
        }
        Ok(sum)
    }
}

impl ReadAt for Stored {
    fn size(&self) -> u64 {
        self.window.size()
    }

    fn unverified(&self) -> bool {
        !self.verified.load(Ordering::Acquire)
    }

    fn checked_position(&self) -> Option<(&Path, u64)> {
        self.window.position()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        if out.is_empty() || !self.unverified() {
            return self.window.read_at(offset, out);
        }
        let range = range(offset, out.len() as u64, self.size())?;
        let sum = self.sum(offset, out)?;
        let mut passed = lock(&self.passed);
        for gap in passed.gaps(&range) {
            let sum = if gap == range {
                sum.clone()
            } else {
                let mut part = Hasher::new();
                part.update(&out[(gap.start - offset) as usize..(gap.end - offset) as usize]);
                part
            };
            passed.add(gap, sum);
        }
        let sum = match passed.whole(self.size()) {
            Some(sum) => sum,
            // Too many parts to keep: it is verified now, not never.
            None if passed.0.len() > MOST_RANGES => self.sum_of_all()?,
            None => return Ok(()),
        };
        *passed = Passed::default();
        check(self.crc, sum)?;
        self.verified.store(true, Ordering::Release);
        Ok(())
    }
}

/// A deflated record, decompressed as it is read; going on where the last read ended costs nothing extra.
pub(super) struct Inflated {
    window: Window,
    size: u64,
    crc: Option<u32>,
    /// Where the last read ended; a decoder takes memory, so there is none before the first.
    stream: Mutex<Option<Box<Stream>>>,
}

struct Stream {
    decoder: Decompress,
    input: Vec<u8>,
    /// The unused part of `input`.
    unused: std::ops::Range<usize>,
    /// Compressed bytes taken from the window.
    taken: u64,
    /// Decompressed bytes given out.
    given: u64,
    hasher: Hasher,
}

impl Inflated {
    pub(super) fn new(window: Window, size: u64, crc: Option<u32>) -> Self {
        Self { window, size, crc, stream: Mutex::new(None) }
    }

    /// Fills `out` with the next bytes of the stream.
    fn next(&self, stream: &mut Stream, out: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            let (count, status) = self.step(stream, &mut out[filled..])?;
            filled += count;
            if status == Status::StreamEnd && filled < out.len() {
                let (size, found) = (self.size, stream.given + filled as u64);
                return Err(Error::format(format!("{size} bytes are declared, {found} are there")));
            }
        }
        stream.hasher.update(out);
        stream.given += out.len() as u64;
        Ok(())
    }

    /// One call of the decoder: the bytes it wrote, and whether the stream ended.
    fn step(&self, stream: &mut Stream, out: &mut [u8]) -> Result<(usize, Status)> {
        if stream.unused.is_empty() {
            let take = (self.window.size() - stream.taken).min(INPUT_BYTES as u64);
            stream.input.resize(take as usize, 0);
            self.window.read_at(stream.taken, &mut stream.input)?;
            stream.taken += take;
            stream.unused = 0..take as usize;
        }
        let (read, written) = (stream.decoder.total_in(), stream.decoder.total_out());
        let input = &stream.input[stream.unused.clone()];
        let status = stream
            .decoder
            .decompress(input, out, FlushDecompress::None)
            .map_err(|e| Error::format("the compressed bytes are damaged").with_source(e))?;
        let read = (stream.decoder.total_in() - read) as usize;
        let written = (stream.decoder.total_out() - written) as usize;
        stream.unused.start += read;
        if read == 0 && written == 0 && status != Status::StreamEnd && !out.is_empty() {
            return Err(Error::format("the compressed bytes end early"));
        }
        Ok((written, status))
    }

    /// Checks that nothing follows the last byte, and the checksum.
    fn finish(&self, stream: &mut Stream) -> Result<()> {
        let mut more = [0; 1];
        while let (count, status) = self.step(stream, &mut more)?
            && status != Status::StreamEnd
        {
            if count > 0 {
                return Err(Error::format(format!("{} bytes are declared, more are there", self.size)));
            }
        }
        self.crc.map_or(Ok(()), |crc| check(crc, stream.hasher.clone()))
    }
}

impl ReadAt for Inflated {
    fn size(&self) -> u64 {
        self.size
    }

    fn in_order(&self) -> bool {
        true
    }

    fn seeks(&self) -> bool {
        false
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size)?;
        let mut guard = lock(&self.stream);
        // A failed read leaves the stream in no known place, so it is only put back after success.
        let left = guard.take().filter(|stream| stream.given <= offset);
        let mut stream = left.unwrap_or_else(|| Box::new(Stream::new()));
        let mut skipped = vec![0; INPUT_BYTES.min((offset - stream.given) as usize)];
        while stream.given < offset {
            let take = skipped.len().min((offset - stream.given) as usize);
            self.next(&mut stream, &mut skipped[..take])?;
        }
        self.next(&mut stream, out)?;
        if stream.given == self.size {
            self.finish(&mut stream)?;
        } else {
            *guard = Some(stream);
        }
        Ok(())
    }
}

impl Stream {
    fn new() -> Self {
        Self {
            decoder: Decompress::new(false),
            input: Vec::new(),
            unused: 0..0,
            taken: 0,
            given: 0,
            hasher: Hasher::new(),
        }
    }
}

fn check(expected: u32, hasher: Hasher) -> Result<()> {
    match hasher.finalize() {
        found if found == expected => Ok(()),
        found => Err(Error::format(format!("checksum {found:08x}, the directory says {expected:08x}"))),
    }
}

/// What the lock guards is replaced as a whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::io::source::Source;

    fn stored(bytes: &[u8], crc: u32) -> Stored {
        let source = Source::new("record", Arc::new(bytes.to_vec()));
        Stored::new(source.window(0, bytes.len() as u64).expect("all of it"), crc)
    }

    #[test]
    fn parts_in_any_order_verify_the_checksum() -> Result<()> {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| (i * 7 + i / 9) as u8).collect();
        let crc = crc32fast::hash(&bytes);
        let orders: &[&[Range<usize>]] = &[
            &[0..0, 0..1000],
            &[0..400, 400..1000],
            &[400..1000, 0..400],
            &[0..10, 300..700, 700..1000, 10..300],
            &[0..10, 0..400, 200..300, 900..1000, 390..600, 300..950],
            &[500..700, 100..200, 650..1000, 0..600],
            &[990..1000, 0..10, 10..990],
        ];
        for order in orders {
            for damage in [false, true] {
                let mut there = bytes.clone();
                there[350] ^= u8::from(damage);
                let record = stored(&there, crc);
                let (last, first) = order.split_last().expect("a range");
                let read = |range: &Range<usize>| -> Result<()> {
                    let mut out = vec![0; range.len()];
                    record.read_at(range.start as u64, &mut out)?;
                    assert_eq!(out, there[range.clone()]);
                    Ok(())
                };
                first.iter().try_for_each(read)?;
                assert!(record.unverified(), "{order:?}");
                assert_eq!(read(last).is_err(), damage, "{order:?}");
                assert_eq!(record.unverified(), damage, "{order:?}");
            }
        }
        Ok(())
    }

    /// Sums beyond a limit were forgotten, and the checksum with them.
    #[test]
    fn reading_here_and_there_is_verified_and_takes_no_memory() -> Result<()> {
        let bytes = vec![5; 10 * (MOST_RANGES + 1)];
        for crc in [crc32fast::hash(&bytes), 1] {
            let record = stored(&bytes, crc);
            let read = |i: usize| record.read_at(10 * i as u64, &mut [0; 3]);
            (0..MOST_RANGES).try_for_each(read)?;
            assert!(record.unverified());
            assert_eq!(read(MOST_RANGES).is_err(), crc == 1);
            assert_eq!(record.unverified(), crc == 1);
            assert!(lock(&record.passed).0.is_empty());
        }
        Ok(())
    }
}
