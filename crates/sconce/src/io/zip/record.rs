//! Records as bytes at any position, checked as they pass.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};

use crate::error::{Error, Result};
use crate::io::source::{ReadAt, Window, range};

const INPUT_BYTES: usize = 1 << 16;

/// A stored record whose checksum is verified by whoever reads it from start to end.
pub(super) struct Stored {
    window: Window,
    crc: u32,
    passed: Mutex<(u64, Hasher)>,
}

impl Stored {
    pub(super) fn new(window: Window, crc: u32) -> Self {
        Self { window, crc, passed: Mutex::new((0, Hasher::new())) }
    }
}

impl ReadAt for Stored {
    fn size(&self) -> u64 {
        self.window.size()
    }

    fn in_order(&self) -> bool {
        true
    }

    fn checked_position(&self) -> Option<(&Path, u64)> {
        self.window.position()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.window.read_at(offset, out)?;
        let mut passed = lock(&self.passed);
        if offset == 0 {
            *passed = (0, Hasher::new());
        }
        if passed.0 == offset && !out.is_empty() {
            passed.1.update(out);
            passed.0 += out.len() as u64;
            if passed.0 == self.size() {
                return check(self.crc, passed.1.clone());
            }
        }
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
