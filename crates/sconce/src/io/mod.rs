//! Model files: named tensors, read lazily and safely, and written whole.
//!
//! [`open`] finds the format from a file's content and lists its tensors without reading them. An [`Archive`] is what
//! a file holds; it is also what is written.
//!
//! A file is hostile until checked. Nothing in it is executed: pickles are interpreted symbolically, with a list of
//! allowed names, and every other name is an error that says which. The bounds are constants in [`limits`].
//!
//! | format | read | write |
//! |---|---|---|
//! | `safetensors` | all types | yes |
//! | `safetensors-sharded` (an index and its shards) | all types | no |
//! | `pytorch` (zip) | state dicts, nested checkpoints, whole models as data, TorchScript's tensors | state dicts and nested checkpoints |
//! | `pytorch-legacy` (before 1.6), `pytorch-tar` (before 0.1.10) | the same | no |
//! | `gguf` (versions 2 and 3) | all types; most blocks as numbers | yes, metadata with its types |

mod archive;
mod atomic;
mod blocks;
mod encoding;
mod entry;
mod format;
mod gather;
mod gguf;
pub(crate) mod journal;
pub mod limits;
mod metadata;
mod pickle;
mod places;
mod pytorch;
mod reader;
mod safetensors;
mod source;
mod tree;
mod zip;

use std::path::Path;

use crate::error::Result;

pub use archive::Archive;
pub(crate) use archive::display_name;
pub use encoding::{Encoding, Packed};
pub use entry::{Entry, Quantizer};
pub use format::{FORMATS, Format, Objects, Options, format_for_path};
pub(crate) use gather::swap_bytes;
pub use metadata::{MetaArray, MetaValue};
pub(crate) use places::{Fate, replant};
pub use source::{ReadAt, Source, Window};
pub(crate) use source::{range, zeroed};
pub use tree::{Dict, DictKind, IntoNode, NodeId, Object, Sparse, Tree, Value};
pub(crate) use zip::{Checksum, checksums};

/// Opens a model file of any known format; only its header is read.
///
/// # Errors
///
/// Fails, in one line that names the file, when it cannot be read, is of no known format, or does not follow it.
///
/// ```
/// let error = sconce::io::open("no-such-file.pt").unwrap_err();
/// assert_eq!(error.kind(), sconce::ErrorKind::Io);
/// assert!(error.to_string().starts_with("no-such-file.pt: "));
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<Archive> {
    open_source(&Source::open(path)?, &Options::default())
}

/// Opens a model file that is already a [`Source`]: an open file, or bytes in memory.
///
/// # Errors
///
/// Fails as [`open`] does.
pub fn open_source(source: &Source, options: &Options) -> Result<Archive> {
    format::open(source, options)
}
