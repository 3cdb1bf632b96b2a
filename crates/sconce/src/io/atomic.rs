//! Writing a file so that it appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::error::{Context, Result};

const BUFFER_BYTES: usize = 1 << 20;
/// The disk is set to work whenever so much has been written.
const SYNC_BYTES: usize = 1 << 26;
const ATTEMPTS: u32 = 1000;

/// Writes a file through `fill`, so that it appears whole or not at all: to a temporary file in the same folder, which is
/// synced and then renamed. Returns what `fill` does.
///
/// A symbolic link stays one: the file that it points to is replaced. The permissions of a file that is replaced are
/// kept.
///
/// # Errors
///
/// Fails, in one line that names the file, when `fill` does or the system refuses. The temporary file is then removed, and
/// the old file is as it was.
///
/// ```
/// use std::io::Write;
///
/// let path = std::env::temp_dir().join(format!("sconce-doc-whole-{}.txt", std::process::id()));
/// sconce::io::write_whole(&path, |out| Ok(out.write_all(b"first")?))?;
/// let failed = sconce::io::write_whole(&path, |out| {
///     out.write_all(b"second")?;
///     Err::<(), _>(sconce::Error::argument("no more"))
/// });
/// assert!(failed.unwrap_err().to_string().ends_with("no more"));
/// assert_eq!(std::fs::read(&path)?, b"first");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn write_whole<T>(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T>,
) -> Result<T> {
    let path = path.as_ref();
    write(path, fill).context(|| path.display().to_string())
}

fn write<T>(path: &Path, fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T>) -> Result<T> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(e) if e.kind() == ErrorKind::NotFound => path.to_path_buf(),
        Err(e) => return Err(e.into()),
    };
    let (file, temporary) = create_beside(&target)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, Syncing::new(file));
    let filled = fill(&mut out)?;
    let file = out.into_inner().map_err(|e| e.into_error())?.finish()?;
    if let Ok(old) = fs::metadata(&target) {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    drop(file);
    temporary.rename(&target)?;
    sync_folder(&target)?;
    Ok(filled)
}

/// A file that a thread of its own syncs while more is written: the disk works as long as the writer does, not after
/// it.
struct Syncing {
    file: File,
    /// Bytes written since the thread was last called.
    ahead: usize,
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
}

impl Syncing {
    fn new(file: File) -> Self {
        Self { file, ahead: 0, thread: None }
    }

    /// Has what is written until now go to the disk; a thread that is busy with earlier bytes is called again later.
    fn sync_soon(&mut self) -> io::Result<()> {
        self.ahead = 0;
        if let Some((call, _)) = &self.thread {
            // One call that waits is enough; a thread that ended has an error for `finish`.
            let _ = call.try_send(());
            return Ok(());
        }
        let file = self.file.try_clone()?;
        let (call, calls) = sync_channel(1);
        let work = move || calls.into_iter().try_for_each(|()| file.sync_data());
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(work)?;
        // Nothing waits yet.
        let _ = call.try_send(());
        self.thread = Some((call, thread));
        Ok(())
    }

    /// The file, after the thread has ended: an error that it met is one of the file, which the system tells only once.
    fn finish(self) -> io::Result<File> {
        if let Some((call, thread)) = self.thread {
            drop(call);
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")))?;
        }
        Ok(self.file)
    }
}

impl Write for Syncing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.ahead += written;
        if self.ahead >= SYNC_BYTES {
            self.sync_soon()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that is removed when dropped, unless it was renamed.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn rename(mut self, target: &Path) -> Result<()> {
        if let Some(path) = &self.0 {
            fs::rename(path, target)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing more can be done when this fails, and the first error is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

fn create_beside(target: &Path) -> Result<(File, Temporary)> {
    let name = target.file_name().ok_or_else(|| crate::Error::argument("the path names no file"))?;
    for attempt in 0..ATTEMPTS {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = target.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, Temporary(Some(temporary)))),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(std::io::Error::from(ErrorKind::AlreadyExists).into())
}

#[cfg(unix)]
pub(super) fn sync_folder(target: &Path) -> Result<()> {
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}

/// Other systems do not open folders; the rename is as durable as the system makes it.
#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> Result<()> {
    Ok(())
}
