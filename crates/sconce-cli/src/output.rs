//! Files of text that commands write.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use sconce::{Context, Error, Result};

/// Writes a text beside its place and moves it there. Refuses to replace the file that is being read.
pub(crate) fn write(path: &Path, input: &Path, text: &str) -> Result<()> {
    let place = || path.display().to_string();
    if let (Ok(a), Ok(b)) = (fs::canonicalize(path), fs::canonicalize(input))
        && a == b
    {
        return Err(Error::argument("the output would replace the file that is read").context(place()));
    }
    let name = path.file_name().ok_or_else(|| Error::argument("the path names no file")).context(place)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.context(place)
}
