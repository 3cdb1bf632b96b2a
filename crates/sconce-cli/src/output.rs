//! Files that commands write beside their output.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use sconce::{Context, Error, Result};

/// A file that is written beside its place and moved there when it is complete; dropped before, it leaves nothing.
pub(crate) struct Pending {
    place: PathBuf,
    temporary: PathBuf,
}

impl Pending {
    /// Begins a file. Refuses to replace one of `inputs`, which are being read.
    pub(crate) fn create(path: &Path, inputs: &[&Path]) -> Result<(Self, File)> {
        let place = || path.display().to_string();
        let real = fs::canonicalize(path).ok();
        if real.is_some() && inputs.iter().any(|input| fs::canonicalize(input).ok() == real) {
            return Err(Error::argument("the output would replace a file that is read").context(place()));
        }
        let name =
            path.file_name().ok_or_else(|| Error::argument("the path names no file")).context(place)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).context(place)?;
        Ok((Self { place: path.to_owned(), temporary }, file))
    }

    /// Moves the file to its place.
    pub(crate) fn finish(self) -> Result<()> {
        fs::rename(&self.temporary, &self.place).context(|| self.place.display().to_string())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After `finish` nothing is there; before it, the first error is the one to tell.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a text as a whole file. Refuses to replace the file that is being read.
pub(crate) fn write(path: &Path, input: &Path, text: &str) -> Result<()> {
    let (pending, mut file) = Pending::create(path, &[input])?;
    file.write_all(text.as_bytes()).context(|| path.display().to_string())?;
    pending.finish()
}
