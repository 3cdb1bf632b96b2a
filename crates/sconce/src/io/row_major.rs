//! A stored tensor's values as bytes that can be read at any position.

use std::sync::{Arc, Mutex};

use super::archive::{Archive, HELD_BYTES};
use super::entry::Entry;
use super::source::{ReadAt, range};
use crate::error::Result;

/// A tensor's bytes in row-major order, little-endian, as [`Archive::read`] gives them, but read only where asked for.
///
/// A small tensor that is not contiguous is held in memory from its first read until its last byte was read, and so is
/// one that lies in a compressed record.
///
/// ```
/// use std::sync::Arc;
/// use sconce::{DType, io::{Archive, Entry, ReadAt, RowMajor}};
///
/// let mut archive = Archive::new();
/// let storage = archive.add_storage(Arc::new(vec![1, 2, 3, 4]));
/// archive.push(Entry::new("x", DType::U8, [2, 2]).with_view([1, 2], 0), storage)?;
/// let archive = Arc::new(archive);
/// let bytes = RowMajor::new(&archive, &archive.entries()[0]);
/// let mut two = [0; 2];
/// bytes.read_at(1, &mut two)?;
/// assert_eq!((two, bytes.size()), ([3, 2], 4));
/// # Ok::<(), sconce::Error>(())
/// ```
pub struct RowMajor {
    archive: Arc<Archive>,
    entry: Entry,
    held: Mutex<Option<Vec<u8>>>,
}

impl RowMajor {
    /// The bytes of an entry of an archive.
    pub fn new(archive: &Arc<Archive>, entry: &Entry) -> Self {
        Self { archive: Arc::clone(archive), entry: entry.clone(), held: Mutex::new(None) }
    }
}

impl ReadAt for RowMajor {
    fn size(&self) -> u64 {
        self.entry.bytes()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let wanted = range(offset, out.len() as u64, self.size())?;
        let seeks = || self.archive.storage(self.entry.storage()).is_some_and(|bytes| bytes.seeks());
        if self.entry.is_contiguous() || (self.size() > HELD_BYTES && seeks()) {
            return self.archive.read_part(&self.entry, offset, out);
        }
        let mut held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let bytes = match held.take() {
            Some(bytes) => bytes,
            None => self.archive.read(&self.entry)?,
        };
        out.copy_from_slice(&bytes[wanted.start as usize..wanted.end as usize]);
        if wanted.end < self.size() {
            *held = Some(bytes);
        }
        Ok(())
    }
}
