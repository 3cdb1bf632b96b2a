//! Changing bytes of a file in place so that a crash at any point leaves the old file or the new one.
//!
//! Before a byte changes, a journal beside the file has the old bytes and is on the disk: it is written under another
//! name, synced, renamed, and the folder is synced. Then the file is written and synced, then the journal is removed.
//! As long as there is a journal, [`recover`] puts the old bytes back; it can itself be interrupted anywhere. While
//! there is one, the file does not open, so no reader takes a mix for a file.
//!
//! ```text
//! magic · file size · count · count × (offset, size) · the old bytes · CRC-32 of all that
//! ```

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufReader, BufWriter, ErrorKind as IoErrorKind, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

use super::atomic::sync_folder;
use super::source::Source;
use crate::error::{Context, Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"sconundo";
const SUFFIX: &str = ".sconce-undo";
const HEAD_BYTES: u64 = 24;

/// What is called before every change of the disk; tests stop there.
pub(crate) type Step<'a> = &'a mut dyn FnMut() -> Result<()>;

/// A file that is written in place, locked against other writers.
pub(crate) struct Writing {
    path: PathBuf,
    file: File,
}

impl Writing {
    /// Opens and locks a file; a symbolic link is followed.
    ///
    /// # Errors
    ///
    /// Fails when another process writes it, or the system refuses.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Io, "another process is changing the file"))
            }
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// The file without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses.
    pub(crate) fn source(&self) -> Result<Source> {
        Source::from_file(self.path.display().to_string(), self.file.try_clone()?)
    }

    /// Writes the old bytes of ranges, in ascending order and without overlap, to the journal.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses; the file is then as it was.
    pub(crate) fn begin(&self, ranges: &[Range<u64>], chunk: usize, step: Step<'_>) -> Result<Journal> {
        let size = self.file.metadata()?.len();
        let old = self.source()?;
        let (temporary, journal) = (beside(&self.path, ".tmp"), beside(&self.path, ""));
        step()?;
        let mut out = Summed { out: BufWriter::new(File::create(&temporary)?), hasher: Hasher::new() };
        let mut at = HEAD_BYTES + 16 * ranges.len() as u64;
        let mut places = Vec::with_capacity(ranges.len());
        out.put(MAGIC)?;
        out.put(&[size, ranges.len() as u64].map(u64::to_le_bytes).concat())?;
        for range in ranges {
            let length = range.end - range.start;
            out.put(&[range.start, length].map(u64::to_le_bytes).concat())?;
            places.push((range.clone(), at));
            at += length;
        }
        let mut buffer = vec![0; chunk];
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let part = &mut buffer[..(range.end - at).min(chunk as u64) as usize];
                old.read_at(at, part)?;
                step()?;
                out.put(part)?;
                at += part.len() as u64;
            }
        }
        let sum = out.hasher.clone().finalize();
        out.put(&sum.to_le_bytes())?;
        step()?;
        let file = out.out.into_inner().map_err(|e| e.into_error())?;
        file.sync_all()?;
        drop(file);
        step()?;
        fs::rename(&temporary, &journal)?;
        sync_folder(&journal)?;
        Ok(Journal { source: Source::from_file("", File::open(&journal)?)?, places })
    }

    /// Writes bytes at a position.
    pub(crate) fn put(&self, at: u64, bytes: &[u8]) -> Result<()> {
        put(&self.file, at, bytes)
    }

    /// Makes the new bytes final.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses; the journal may then still be there.
    pub(crate) fn commit(&self, step: Step<'_>) -> Result<()> {
        step()?;
        self.file.sync_data()?;
        step()?;
        remove(&beside(&self.path, ""))
    }

    /// Puts the old bytes back if a change was interrupted; returns whether one was.
    ///
    /// # Errors
    ///
    /// Fails when the journal is damaged or belongs to another file, or the system refuses.
    pub(crate) fn recover(&self, step: Step<'_>) -> Result<bool> {
        let (temporary, journal) = (beside(&self.path, ".tmp"), beside(&self.path, ""));
        let file = match File::open(&journal) {
            Ok(file) => file,
            Err(e) if e.kind() == IoErrorKind::NotFound => match fs::remove_file(&temporary) {
                Err(e) if e.kind() != IoErrorKind::NotFound => return Err(e.into()),
                _ => return Ok(false),
            },
            Err(e) => return Err(e.into()),
        };
        let place = || journal.display().to_string();
        let ranges = check_journal(&file, self.file.metadata()?.len()).context(place)?;
        let source = Source::from_file("", file)?;
        let mut at = HEAD_BYTES + 16 * ranges.len() as u64;
        let mut buffer = vec![0; 1 << 20];
        for range in ranges {
            let mut to = range.start;
            while to < range.end {
                let part = &mut buffer[..(range.end - to).min(1 << 20) as usize];
                source.read_at(at, part).context(place)?;
                step()?;
                self.put(to, part)?;
                at += part.len() as u64;
                to += part.len() as u64;
            }
        }
        step()?;
        self.file.sync_data()?;
        step()?;
        remove(&journal)?;
        Ok(true)
    }
}

/// The old bytes of a file that is being written.
pub(crate) struct Journal {
    source: Source,
    /// Ranges of the file, ascending, and where the journal has their bytes.
    places: Vec<(Range<u64>, u64)>,
}

impl Journal {
    /// Puts the old bytes into `out`, which was read at `offset`.
    pub(crate) fn restore(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = offset + out.len() as u64;
        let first = self.places.partition_point(|(range, _)| range.end <= offset);
        for (range, at) in self.places[first..].iter().take_while(|(range, _)| range.start < end) {
            let (from, to) = (range.start.max(offset), range.end.min(end));
            let part = &mut out[(from - offset) as usize..(to - offset) as usize];
            self.source.read_at(at + (from - range.start), part)?;
        }
        Ok(())
    }
}

/// Fails if a change of the file was interrupted.
pub(super) fn check(path: &Path) -> Result<()> {
    let link = path.symlink_metadata().is_ok_and(|m| m.is_symlink());
    let real = if link { fs::canonicalize(path)? } else { path.to_path_buf() };
    if beside(&real, "").symlink_metadata().is_ok() {
        return Err(Error::new(
            ErrorKind::Io,
            "a change in place is under way or was interrupted; `sconce edit FILE --recover` puts the old file back",
        ));
    }
    Ok(())
}

/// Reads a journal through; returns its ranges.
fn check_journal(file: &File, size: u64) -> Result<Vec<Range<u64>>> {
    let wrong = |what: &str| Error::format(format!("the journal is damaged: {what}"));
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut head = [0; HEAD_BYTES as usize];
    reader.read_exact(&mut head)?;
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    let (declared, count) = (number(&head[8..16]), number(&head[16..24]));
    if !head.starts_with(MAGIC) || count > length / 16 {
        return Err(wrong("no header"));
    }
    if declared != size {
        return Err(Error::format(format!("it is of a file of {declared} bytes, this one has {size}")));
    }
    let mut hasher = Hasher::new();
    hasher.update(&head);
    let (mut ranges, mut total) = (Vec::new(), 0_u64);
    for _ in 0..count {
        let mut place = [0; 16];
        reader.read_exact(&mut place)?;
        hasher.update(&place);
        let (start, bytes) = (number(&place[..8]), number(&place[8..]));
        let end = start.checked_add(bytes).filter(|&end| end <= size).ok_or_else(|| wrong("a range"))?;
        total = total.saturating_add(bytes);
        ranges.push(start..end);
    }
    if HEAD_BYTES.saturating_add(16 * count).saturating_add(total).saturating_add(4) != length {
        return Err(wrong("its size"));
    }
    let mut buffer = vec![0; 1 << 20];
    while total > 0 {
        let part = &mut buffer[..total.min(1 << 20) as usize];
        reader.read_exact(part)?;
        hasher.update(part);
        total -= part.len() as u64;
    }
    let mut sum = [0; 4];
    reader.read_exact(&mut sum)?;
    if u32::from_le_bytes(sum) != hasher.finalize() {
        return Err(wrong("its checksum"));
    }
    Ok(ranges)
}

/// A file, and the checksum of what was written to it.
struct Summed {
    out: BufWriter<File>,
    hasher: Hasher,
}

impl Summed {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(SUFFIX);
    name.push(end);
    path.with_file_name(name)
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path)?;
    sync_folder(path)
}

#[cfg(unix)]
fn put(file: &File, at: u64, bytes: &[u8]) -> Result<()> {
    Ok(std::os::unix::fs::FileExt::write_all_at(file, bytes, at)?)
}

#[cfg(not(unix))]
fn put(mut file: &File, at: u64, bytes: &[u8]) -> Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    Ok(file.write_all(bytes)?)
}
