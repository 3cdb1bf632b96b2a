//! Files that commands write beside their output.

use std::fs;
use std::io::Write;
use std::path::Path;

use sconce::{Context, Error, Result, io};

/// Writes a file whole through `fill`. Refuses to replace one of `inputs`, which are being read.
pub(crate) fn write<T>(
    path: &Path,
    inputs: &[&Path],
    fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T>,
) -> Result<T> {
    let real = fs::canonicalize(path).ok();
    if real.is_some() && inputs.iter().any(|input| fs::canonicalize(input).ok() == real) {
        return Err(Error::argument("the output would replace a file that is read"))
            .context(|| path.display().to_string());
    }
    io::write_whole(path, fill)
}

/// As [`write()`], of a text.
pub(crate) fn write_text(path: &Path, input: &Path, text: &str) -> Result<()> {
    write(path, &[input], |out| Ok(out.write_all(text.as_bytes())?))
}
