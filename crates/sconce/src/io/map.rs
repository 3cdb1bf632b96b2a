//! Files that the system maps into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::source::{ReadAt, Source, range};
use crate::error::{Context, Result};

struct Mapped {
    bytes: Mmap,
    path: PathBuf,
}

impl ReadAt for Mapped {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let range = range(offset, out.len() as u64, self.size())?;
        out.copy_from_slice(&self.bytes[range.start as usize..range.end as usize]);
        Ok(())
    }

    fn position(&self) -> Option<(&Path, u64)> {
        Some((&self.path, 0))
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(&self.bytes)
    }
}

impl Source {
    /// Opens a file by mapping it into memory, with the feature `mmap`: reads are copies from the page cache, and
    /// [`ReadAt::as_slice`] gives bytes without any. Files beside it that it names are read plainly.
    ///
    /// [`open`](Self::open) needs no promise of its caller, and takes no more memory.
    ///
    /// # Safety
    ///
    /// As long as the source or anything opened from it lives, no one may write to the file or cut it off: bytes that
    /// change behind a slice are undefined behaviour, and pages that are gone end the process. That holds for this library
    /// too: editing a mapped file in place breaks the promise, while replacing it by a new file of its name does not.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does, and when the system cannot map the file.
    ///
    /// ```
    /// use sconce::io::{self, Options, Source};
    /// use sconce::{DType, Tensor};
    ///
    /// let path = std::env::temp_dir().join(format!("sconce-doc-map-{}.safetensors", std::process::id()));
    /// io::save(&path, [("x", Tensor::ones([3], DType::F32)?)])?;
    /// // SAFETY: nothing else knows of the file.
    /// let archive = io::open_source(&unsafe { Source::map(&path) }?, &Options::default())?;
    /// assert_eq!(archive.tensor(archive.get("x").unwrap())?.to_vec::<f32>()?, [1.0; 3]);
    /// # drop(archive);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let place = || path.display().to_string();
        let source = Self::open(path)?;
        let file = File::open(path).context(place)?;
        // SAFETY: the caller promises that nobody changes the file.
        let bytes = unsafe { Mmap::map(&file) }.context(place)?;
        Ok(source.through(Arc::new(Mapped { bytes, path: path.to_owned() })))
    }
}
