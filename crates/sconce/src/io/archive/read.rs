//! The bytes of an archive's tensors: whole, in parts and in chunks.

use std::path::Path;
use std::sync::Arc;

use super::{Archive, GATHER_BYTES, HELD_BYTES, TILE_BYTES, display_name};
use crate::error::{Context, Error, Result};
use crate::io::entry::Entry;
use crate::io::gather::{Strided, flip_signs, swap_bytes};
use crate::io::limits::MAX_EXPANDED_BYTES;
use crate::io::pages::{self, Pages};
use crate::io::source::{ReadAt, range, zeroed};

impl Archive {
    /// A tensor's bytes in row-major order, little-endian.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, a checksum does not match, or the tensor is larger than memory or, being
    /// expanded by zero strides, than [`MAX_EXPANDED_BYTES`].
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>> {
        let result = self.readable(entry).and_then(|_| {
            let mut out = zeroed(entry.bytes())?;
            self.fill(entry, &mut out)?;
            Ok(out)
        });
        result.context(|| self.place(entry))
    }

    /// Fills `out` with a tensor's bytes in row-major order, little-endian.
    ///
    /// # Errors
    ///
    /// Fails as [`read`](Self::read) does, and when `out` has another length than [`Entry::bytes`].
    pub fn read_into(&self, entry: &Entry, out: &mut [u8]) -> Result<()> {
        let result = self.readable(entry).and_then(|_| {
            if out.len() as u64 != entry.bytes() {
                return Err(Error::argument(format!(
                    "expected room for {} bytes, found {}",
                    entry.bytes(),
                    out.len()
                )));
            }
            self.fill(entry, out)
        });
        result.context(|| self.place(entry))
    }

    /// The file that holds a tensor's bytes, and where in it they begin: where to write to change the values in place.
    ///
    /// The [`Entry::bytes`] there are in row-major order, in the file's byte order (see
    /// [`is_big_endian`](Self::is_big_endian)). `None` if the tensor is a strided or a marked view, or if its bytes
    /// are in memory, compressed, converted or covered by a checksum.
    ///
    /// ```
    /// use sconce::{DType, io::{Archive, Entry}};
    ///
    /// let mut archive = Archive::new();
    /// archive.push_bytes(Entry::new("x", DType::I8, [3]), vec![7, 8, 9])?;
    /// let path = std::env::temp_dir().join(format!("sconce-doc-position-{}.gguf", std::process::id()));
    /// archive.save(&path, "gguf")?;
    /// let read = sconce::io::open(&path)?;
    /// let (file, at) = read.position(read.get("x").unwrap()).unwrap();
    /// assert_eq!(std::fs::read(file)?[at as usize..][..3], [7, 8, 9]);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn position(&self, entry: &Entry) -> Option<(&Path, u64)> {
        let storage = self.storages.get(entry.storage)?;
        entry.check(storage.size()).ok()?;
        if !entry.is_contiguous() || entry.is_lazy() || entry.numel() == 0 {
            return None;
        }
        let (start, _) = Self::span(entry);
        storage.position().map(|(path, at)| (path, at + start))
    }

    /// Passes a tensor's bytes to `visit`, in row-major order, at most about `chunk_bytes` at once.
    ///
    /// Chunks hold whole elements. Memory is bounded by the chunk for contiguous tensors, by some 100 MB for others; but
    /// one that is not contiguous and lies in a compressed record is held as a whole.
    ///
    /// # Errors
    ///
    /// Fails as [`read`](Self::read) does, and with any error of `visit`.
    pub fn for_each_chunk(
        &self,
        entry: &Entry,
        chunk_bytes: usize,
        mut visit: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.chunks(entry, chunk_bytes, &mut visit).context(|| self.place(entry))
    }

    /// Fills `out` with a part of a tensor's bytes in row-major order, from byte `offset` of them on.
    pub(crate) fn read_part(&self, entry: &Entry, offset: u64, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let mut read = || -> Result<()> {
            let storage = self.readable(entry)?;
            range(offset, out.len() as u64, entry.bytes())?;
            let (start, _) = Self::span(entry);
            // Bytes are turned in whole elements only.
            let size = entry.encoding.block().1 as usize;
            let before = (offset % size as u64) as usize;
            let elements = |first: u64, out: &mut [u8]| {
                if entry.is_contiguous() {
                    storage.read_at(start + first, out)?;
                } else {
                    Strided::new(entry).fill(&**storage, first as usize / size, out)?;
                }
                self.finish(entry, out);
                Ok(())
            };
            if before == 0 && out.len().is_multiple_of(size) {
                return elements(offset, out);
            }
            let mut whole = zeroed(((before + out.len()).next_multiple_of(size)) as u64)?;
            elements(offset - before as u64, &mut whole)?;
            out.copy_from_slice(&whole[before..before + out.len()]);
            Ok(())
        };
        read().context(|| self.place(entry))
    }

    /// As [`read_part`](Self::read_part), to where reading is fast.
    pub(crate) fn read_pages<'a>(
        &self,
        entry: &Entry,
        offset: u64,
        size: usize,
        pages: &'a mut Pages,
    ) -> Result<&'a [u8]> {
        let start = if size > 0 { Self::span(entry).0 } else { 0 };
        let position = self.storages.get(entry.storage).map_or(0, |storage| pages::position(&**storage));
        self.read_part(entry, offset, pages.room(position + start + offset, size)?)?;
        Ok(pages.last())
    }

    pub(in crate::io) fn place(&self, entry: &Entry) -> String {
        match self.name.as_str() {
            "" => display_name(&entry.name),
            file => format!("{file}: {}", display_name(&entry.name)),
        }
    }

    /// The entry's storage, if the entry may be materialised.
    pub(in crate::io) fn readable(&self, entry: &Entry) -> Result<&Arc<dyn ReadAt>> {
        let storage =
            self.storages.get(entry.storage).ok_or_else(|| Error::argument("an entry of another archive"))?;
        entry.check(storage.size())?;
        let bytes = entry.bytes();
        if bytes > storage.size().max(MAX_EXPANDED_BYTES) {
            let held = storage.size();
            return Err(Error::unsupported(format!(
                "{bytes} bytes when expanded from a storage of {held} bytes"
            )));
        }
        Ok(storage)
    }

    /// The byte range of a non-empty entry in its storage.
    pub(in crate::io) fn span(entry: &Entry) -> (u64, u64) {
        let (elements, bytes) = entry.encoding.block();
        let last =
            entry.shape.iter().zip(&entry.strides).fold(entry.offset, |reach, (&d, &s)| reach + (d - 1) * s);
        let start = entry.offset as u64 / elements * bytes;
        (start, (last as u64 / elements + 1) * bytes - start)
    }

    fn fill(&self, entry: &Entry, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if entry.is_contiguous() {
            let (start, _) = Self::span(entry);
            self.storages[entry.storage].read_at(start, out)?;
            self.finish(entry, out);
            return Ok(());
        }
        let mut at = 0;
        self.chunks(entry, GATHER_BYTES, &mut |chunk| {
            out[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
            Ok(())
        })
    }

    fn chunks(
        &self,
        entry: &Entry,
        chunk_bytes: usize,
        visit: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let storage = self.readable(entry)?;
        if entry.numel() == 0 {
            return Ok(());
        }
        let (_, block) = entry.encoding.block();
        let block = block as usize;
        let (start, span) = Self::span(entry);
        let chunk = (chunk_bytes / block).max(1) * block;
        if entry.is_contiguous() {
            if !self.changes(entry)
                && let Some(bytes) = storage.as_slice()
            {
                return bytes[start as usize..(start + span) as usize].chunks(chunk).try_for_each(visit);
            }
            let (mut pages, position) = (Pages::default(), pages::position(&**storage));
            let mut at = 0;
            while at < span {
                let take = (span - at).min(chunk as u64);
                let part = pages.room(position + start + at, take as usize)?;
                storage.read_at(start + at, part)?;
                self.finish(entry, part);
                visit(part)?;
                at += take;
            }
            return Ok(());
        }
        let strided = Strided::new(entry);
        // What is small is read in one go, which also verifies its checksum; and so is what cannot be read here and there.
        let (held, strided, tile): (Vec<u8>, _, _) = match storage.as_slice() {
            Some(_) => (Vec::new(), strided, chunk),
            None if span > HELD_BYTES && storage.seeks() => (Vec::new(), strided, chunk.max(TILE_BYTES)),
            None => {
                let mut held = zeroed(span)?;
                storage.read_at(start, &mut held)?;
                (held, strided.at_start(), chunk)
            }
        };
        let bytes: &dyn ReadAt = if held.is_empty() { &**storage } else { &held };
        let mut buffer = zeroed(entry.bytes().min((tile / block * block) as u64))?;
        let (mut at, size) = (0, entry.bytes());
        while at < size {
            let part = &mut buffer[..(size - at).min(tile as u64) as usize];
            strided.fill(bytes, at as usize / block, part)?;
            self.finish(entry, part);
            part.chunks(chunk).try_for_each(&mut *visit)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Whether the values differ from the stored bytes.
    fn changes(&self, entry: &Entry) -> bool {
        entry.is_lazy() || (self.big_endian && entry.encoding.number_size() > 1)
    }

    /// Turns stored bytes into values: little-endian, conjugated, negated.
    fn finish(&self, entry: &Entry, bytes: &mut [u8]) {
        let size = entry.encoding.number_size();
        if self.big_endian {
            swap_bytes(bytes, size);
        }
        if entry.conjugate {
            flip_signs(bytes, size, true);
        }
        if entry.negative {
            flip_signs(bytes, size, false);
        }
    }
}
