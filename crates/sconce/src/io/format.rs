//! The formats, and how a file finds its own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use super::archive::Archive;
use super::gguf::Gguf;
use super::limits::HEAD_BYTES;
use super::npy::{Npy, Npz};
use super::onnx::Onnx;
use super::pytorch::{Legacy, PyTorch, Tar};
use super::safetensors::{Safetensors, Sharded};
use super::source::Source;
use crate::error::{Context, Error, Result};

/// A file format: how it is recognised, read and written.
///
/// A new format is one file with an implementation and one entry in [`FORMATS`].
pub trait Format: Sync {
    /// The name, as commands take it.
    fn name(&self) -> &'static str;

    /// The usual extensions, without a dot. They never decide what a file is.
    fn extensions(&self) -> &'static [&'static str];

    /// Whether a file that begins with `head` (the whole file, or [`HEAD_BYTES`] of it) claims to be of this format.
    fn sniff(&self, head: &[u8]) -> bool;

    /// Reads everything but the tensors' bytes.
    ///
    /// # Errors
    ///
    /// Fails, in one line, on any file that does not follow the format.
    fn open(&self, source: &Source, options: &Options) -> Result<Archive>;

    /// Writes an archive; formats that are only read refuse.
    ///
    /// # Errors
    ///
    /// Fails, naming the entry, when the format cannot hold something that the archive holds.
    fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<()> {
        let _ = (archive, out);
        Err(Error::unsupported(format!("files of format {} cannot be written", self.name())))
    }
}

/// Every format that the library knows.
///
/// ```
/// let names: Vec<&str> = sconce::io::FORMATS.iter().map(|f| f.name()).collect();
/// assert!(names.contains(&"safetensors") && names.contains(&"pytorch"));
/// ```
pub static FORMATS: &[&dyn Format] =
    &[&Safetensors, &Sharded, &Npz, &PyTorch, &Legacy, &Tar, &Gguf, &Npy, &Onnx];

/// What a reader may let pass.
///
/// ```
/// use sconce::io::{Objects, Options, Source, open_source};
///
/// let mut options = Options::default();
/// assert_eq!(options.objects, Objects::Modules);
/// options.objects = Objects::Any;
/// assert!(open_source(&Source::from_bytes("noise", vec![1, 2, 3]), &options).is_err());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Which classes of a pickle may be described without being interpreted.
    pub objects: Objects,
}

/// Which classes of a pickle may be described without being interpreted. Nothing is run in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Objects {
    /// PyTorch's own modules (`torch.nn`): a model saved whole lists its tensors. Any other class is an error.
    #[default]
    Modules,
    /// Any class, as data. Meant for looking into files that do not open otherwise.
    Any,
}

/// The format of that name.
///
/// # Errors
///
/// Fails when there is none, listing those there are.
pub(super) fn by_name(name: &str) -> Result<&'static dyn Format> {
    FORMATS
        .iter()
        .copied()
        .find(|f| f.name() == name)
        .ok_or_else(|| Error::argument(format!("no format is named {name:?}; there are {}", names())))
}

/// The format that a path's extension names, to write it.
///
/// # Errors
///
/// Fails when there is none, listing the extensions there are.
pub(crate) fn to_write(path: &Path) -> Result<&'static dyn Format> {
    format_for_path(path).ok_or_else(|| {
        let known: Vec<String> =
            FORMATS.iter().flat_map(|f| f.extensions()).map(|extension| format!(".{extension}")).collect();
        let found = path.extension().map_or("no extension names a format".to_owned(), |extension| {
            format!("no format has the extension `{}`", extension.display())
        });
        Error::argument(format!("{found}; there are {}", known.join(", ")))
    })
}

/// The format whose usual extension a path has, to choose what to write.
///
/// ```
/// use sconce::io::format_for_path;
///
/// assert_eq!(format_for_path("model.pth".as_ref()).map(|f| f.name()), Some("pytorch"));
/// assert!(format_for_path("model.txt".as_ref()).is_none());
/// ```
pub fn format_for_path(path: &Path) -> Option<&'static dyn Format> {
    let extension = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
    FORMATS.iter().copied().find(|f| f.extensions().contains(&extension.as_str()))
}

/// Opens a file, whatever its format.
pub(super) fn open(source: &Source, options: &Options) -> Result<Archive> {
    let mut archive = detect_and_open(source, options).context(|| source.name())?;
    archive.set_name(source.name());
    Ok(archive)
}

fn detect_and_open(source: &Source, options: &Options) -> Result<Archive> {
    if source.size() == 0 {
        return Err(Error::format("the file is empty"));
    }
    let head = source.read_vec(0, source.size().min(HEAD_BYTES as u64))?;
    if let Some(format) = FORMATS.iter().find(|f| f.sniff(&head)) {
        return format.open(source, options);
    }
    // The name has no say in what the file is, but it tells which error helps.
    if let Some(format) = format_for_path(Path::new(source.name()))
        && let Err(error) = format.open(source, options)
    {
        return Err(error);
    }
    Err(Error::format(format!("the content is of no known format ({})", names())))
}

fn names() -> String {
    FORMATS.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_extensions_are_distinct() {
        let mut names: Vec<_> = FORMATS.iter().map(|f| f.name()).collect();
        let mut extensions: Vec<_> = FORMATS.iter().flat_map(|f| f.extensions()).collect();
        let count = (names.len(), extensions.len());
        names.sort_unstable();
        names.dedup();
        extensions.sort_unstable();
        extensions.dedup();
        assert_eq!((names.len(), extensions.len()), count);
    }
}
