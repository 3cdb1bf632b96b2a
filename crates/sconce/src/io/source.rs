//! Bytes by position: a file, memory, or anything else that can be read at an offset.

use std::fmt;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::MAX_NAME_BYTES;
use crate::error::{Context, Error, ErrorKind, Result};

const NOT_REGULAR: &str = "not a regular file";

/// Bytes that can be read at any position, from several threads at once.
///
/// Files, memory, records of an archive and the storages of live tensors are read through this trait, so that
/// reading, converting and writing never hold more than they need. With the feature `mmap`, so are memory-mapped files.
pub trait ReadAt: Send + Sync {
    /// The number of bytes.
    fn size(&self) -> u64;

    /// Fills `out` with the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// Fails when the range leaves the bytes, when the system refuses, and when a checksum does not match.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()>;

    /// The file that holds these bytes just as they are, one after another, and where in it they begin.
    ///
    /// `None` for bytes in memory, compressed or converted ones, and those that a checksum covers: writing there
    /// would not change what is read.
    fn position(&self) -> Option<(&Path, u64)> {
        None
    }

    /// Whether reading from start to end is faster than in any other order.
    fn in_order(&self) -> bool {
        false
    }

    /// Whether reading all of the bytes will verify a checksum, which has not happened yet.
    fn unverified(&self) -> bool {
        false
    }

    /// Whether reading backwards or with gaps takes no more work than in order, unlike in a compressed record.
    fn seeks(&self) -> bool {
        true
    }

    /// As [`position`](Self::position), also of bytes that a checksum covers: who writes there has to renew it.
    fn checked_position(&self) -> Option<(&Path, u64)> {
        self.position()
    }

    /// All the bytes, when they are in memory and need no check.
    fn as_slice(&self) -> Option<&[u8]> {
        None
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let range = range(offset, out.len() as u64, self.size())?;
        out.copy_from_slice(&self[range.start as usize..range.end as usize]);
        Ok(())
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(self)
    }
}

/// A file to be read: its bytes and the name that errors give it.
///
/// ```
/// use sconce::io::Source;
///
/// let source = Source::from_bytes("weights", vec![1, 2, 3, 4]);
/// assert_eq!(source.size(), 4);
/// assert_eq!(source.read_vec(1, 2)?, [2, 3]);
/// assert!(source.read_vec(3, 2).is_err());
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone)]
pub struct Source {
    name: String,
    path: Option<PathBuf>,
    bytes: Arc<dyn ReadAt>,
    count: Option<Arc<AtomicU64>>,
    /// A file beside it, by its real path, and the bytes that are read instead.
    instead: Option<(PathBuf, Arc<dyn ReadAt>)>,
}

impl Source {
    /// Opens a file for plain positioned reads.
    ///
    /// # Errors
    ///
    /// Fails, naming the path, when it cannot be opened or is not a regular file, and when a change of it in place was
    /// interrupted.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(path).context(|| name.clone())?.is_file() {
            return Err(Error::new(ErrorKind::Io, NOT_REGULAR).context(name));
        }
        let file = File::open(path).context(|| name.clone())?;
        super::journal::check(path).context(|| name.clone())?;
        Self::of(name, file, Some(path.to_path_buf()))
    }

    /// Reads from an open file; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// Fails when the size cannot be found or it is not a regular file.
    pub fn from_file(name: impl Into<String>, file: File) -> Result<Self> {
        Self::of(name.into(), file, None)
    }

    fn of(name: String, file: File, path: Option<PathBuf>) -> Result<Self> {
        let metadata = file.metadata().context(|| name.clone())?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Io, NOT_REGULAR).context(name));
        }
        let bytes = FileBytes { file: PositionedFile::new(file), size: metadata.len(), path: path.clone() };
        Ok(Self { name, path, bytes: Arc::new(bytes), count: None, instead: None })
    }

    /// Reads from memory.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(name, Arc::new(bytes))
    }

    /// Reads from anything.
    pub fn new(name: impl Into<String>, bytes: Arc<dyn ReadAt>) -> Self {
        Self { name: name.into(), path: None, bytes, count: None, instead: None }
    }

    /// Adds the number of all bytes that are read of it, and of files beside it that it names, to `count`: for those who
    /// want to see how far long work is.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use sconce::io::Source;
    ///
    /// let count = Arc::new(AtomicU64::new(0));
    /// let source = Source::from_bytes("weights", vec![1, 2, 3, 4]).counting(Arc::clone(&count));
    /// source.read_vec(1, 3)?;
    /// assert_eq!(count.load(Ordering::Relaxed), 3);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    #[must_use]
    pub fn counting(self, count: Arc<AtomicU64>) -> Self {
        let bytes = Arc::new(Counted { bytes: self.bytes, count: Arc::clone(&count) });
        Self { bytes, count: Some(count), ..self }
    }

    /// What errors call it: the path, as far as it can be shown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// The same file, read through other bytes.
    pub(crate) fn through(self, bytes: Arc<dyn ReadAt>) -> Self {
        Self { bytes, ..self }
    }

    /// The same file; of a file beside it, other bytes are read.
    pub(crate) fn with_beside(self, real: PathBuf, bytes: Arc<dyn ReadAt>) -> Self {
        Self { instead: Some((real, bytes)), ..self }
    }

    /// Opens another file of the same folder, as files that consist of several name them.
    ///
    /// # Errors
    ///
    /// Fails when the name is more than a file's name, so that nothing outside the folder is opened; when the source
    /// was not opened by its path; and when the file cannot be opened.
    pub fn sibling(&self, name: &str) -> Result<Self> {
        let mut parts = Path::new(name).components();
        let plain =
            matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
        if !plain || name.contains(['/', '\\', ':', '\0']) {
            return Err(Error::format(format!("{name:?} is not the name of a file in the same folder")));
        }
        match &self.path {
            Some(path) => self.beside(path.with_file_name(name)),
            None => {
                Err(Error::unsupported(format!("{name:?} cannot be found without the path of {}", self.name)))
            }
        }
    }

    /// Opens another file of the same folder or of one below it, by a path with `/`.
    ///
    /// Symbolic links are followed: in the caches of model hubs every file is one.
    ///
    /// # Errors
    ///
    /// Fails when the path is absolute or leaves the folder; when the source was not opened by its path; and when the
    /// file cannot be opened.
    pub fn below(&self, path: &str) -> Result<Self> {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let plain = !path.is_empty() && Path::new(path).components().all(inside);
        if !plain || path.len() > MAX_NAME_BYTES || path.contains(['\\', ':', '\0']) {
            return Err(Error::format(format!("{path:?} is not a path within the same folder")));
        }
        match &self.path {
            Some(own) => self.beside(own.with_file_name(path)),
            None => {
                Err(Error::unsupported(format!("{path:?} cannot be found without the path of {}", self.name)))
            }
        }
    }

    fn beside(&self, path: PathBuf) -> Result<Self> {
        let source = Self::open(&path)?;
        if let Some((real, bytes)) = &self.instead
            && std::fs::canonicalize(&path).is_ok_and(|path| path == *real)
        {
            return Ok(source.through(Arc::clone(bytes)));
        }
        Ok(match &self.count {
            Some(count) => source.counting(Arc::clone(count)),
            None => source,
        })
    }

    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.bytes.size()
    }

    /// Fills `out` with the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// Fails when the range leaves the file or the system refuses.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.bytes.read_at(offset, out)
    }

    /// The `size` bytes at `offset`; nothing is allocated for a range that leaves the file.
    ///
    /// # Errors
    ///
    /// Fails when the range leaves the file, memory runs out or the system refuses.
    pub fn read_vec(&self, offset: u64, size: u64) -> Result<Vec<u8>> {
        range(offset, size, self.size())?;
        let mut out = zeroed(size)?;
        self.read_at(offset, &mut out)?;
        Ok(out)
    }

    /// A part of the file as bytes of its own.
    ///
    /// # Errors
    ///
    /// Fails when the range leaves the file.
    pub fn window(&self, offset: u64, size: u64) -> Result<Window> {
        range(offset, size, self.size())?;
        Ok(Window { bytes: Arc::clone(&self.bytes), offset, size })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("size", &self.size()).finish()
    }
}

/// Bytes whose reads are counted. Never a slice, since what is done with one is not seen.
struct Counted {
    bytes: Arc<dyn ReadAt>,
    count: Arc<AtomicU64>,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.count.fetch_add(out.len() as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, out)
    }

    fn position(&self) -> Option<(&Path, u64)> {
        self.bytes.position()
    }

    fn in_order(&self) -> bool {
        self.bytes.in_order()
    }

    fn unverified(&self) -> bool {
        self.bytes.unverified()
    }

    fn seeks(&self) -> bool {
        self.bytes.seeks()
    }

    fn checked_position(&self) -> Option<(&Path, u64)> {
        self.bytes.checked_position()
    }
}

/// A part of a [`Source`].
#[derive(Clone)]
pub struct Window {
    bytes: Arc<dyn ReadAt>,
    offset: u64,
    size: u64,
}

impl ReadAt for Window {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size)?;
        self.bytes.read_at(self.offset + offset, out)
    }

    fn position(&self) -> Option<(&Path, u64)> {
        self.bytes.position().map(|(path, start)| (path, start + self.offset))
    }

    fn checked_position(&self) -> Option<(&Path, u64)> {
        self.bytes.checked_position().map(|(path, start)| (path, start + self.offset))
    }

    fn in_order(&self) -> bool {
        self.bytes.in_order()
    }

    fn unverified(&self) -> bool {
        self.bytes.unverified()
    }

    fn seeks(&self) -> bool {
        self.bytes.seeks()
    }

    fn as_slice(&self) -> Option<&[u8]> {
        let start = usize::try_from(self.offset).ok()?;
        self.bytes.as_slice()?.get(start..start.checked_add(usize::try_from(self.size).ok()?)?)
    }
}

/// The range of `size` bytes at `offset`, if it lies within `total`.
pub(crate) fn range(offset: u64, size: u64, total: u64) -> Result<std::ops::Range<u64>> {
    match offset.checked_add(size) {
        Some(end) if end <= total => Ok(offset..end),
        _ => Err(Error::format(format!("{size} bytes at byte {offset} lie beyond the end at byte {total}"))),
    }
}

/// A vector of zeros, or an error where memory is short.
pub(crate) fn zeroed(size: u64) -> Result<Vec<u8>> {
    let size =
        usize::try_from(size).map_err(|_| Error::unsupported(format!("{size} bytes exceed memory")))?;
    let mut out = Vec::new();
    out.try_reserve_exact(size)
        .map_err(|e| Error::new(ErrorKind::Io, format!("no memory for {size} bytes")).with_source(e))?;
    out.resize(size, 0);
    Ok(out)
}

struct FileBytes {
    file: PositionedFile,
    size: u64,
    path: Option<PathBuf>,
}

impl ReadAt for FileBytes {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size)?;
        Ok(self.file.read_exact_at(out, offset)?)
    }

    fn position(&self) -> Option<(&Path, u64)> {
        self.path.as_deref().map(|path| (path, 0))
    }
}

#[cfg(unix)]
struct PositionedFile(File);

#[cfg(unix)]
impl PositionedFile {
    fn new(file: File) -> Self {
        Self(file)
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }
}

#[cfg(windows)]
struct PositionedFile(File);

#[cfg(windows)]
impl PositionedFile {
    fn new(file: File) -> Self {
        Self(file)
    }

    fn read_exact_at(&self, mut out: &mut [u8], mut offset: u64) -> std::io::Result<()> {
        while !out.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, out, offset) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    out = &mut out[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(not(any(unix, windows)))]
struct PositionedFile(std::sync::Mutex<File>);

#[cfg(not(any(unix, windows)))]
impl PositionedFile {
    fn new(file: File) -> Self {
        Self(std::sync::Mutex::new(file))
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(out)
    }
}
