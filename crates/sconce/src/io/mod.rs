//! Model files: named tensors, read lazily and safely, and written whole.
//!
//! [`load`] reads all tensors of a file and [`save`] writes them. [`open`] lists them without reading them: an
//! [`Archive`] is what a file holds, it is also what is written. In both, the format is found from the content when
//! reading and from the extension when writing, and tied tensors stay tied.
//!
//! A file is hostile until checked. Nothing in it is executed: pickles are interpreted symbolically, with a list of
//! allowed names, and every other name is an error that says which. The bounds are constants in [`limits`].
//!
//! | format | read | write |
//! |---|---|---|
//! | `safetensors` | all types | yes |
//! | `safetensors-sharded` (an index and its shards) | all types | [`Archive::save_sharded`] |
//! | `pytorch` (zip) | state dicts, nested checkpoints, whole models as data, TorchScript's tensors | state dicts and nested checkpoints |
//! | `pytorch-legacy` (before 1.6), `pytorch-tar` (before 0.1.10) | the same | no |
//! | `npy`, `npz` | numbers in any order, stored or compressed | yes, in C order |
//! | `gguf` (versions 2 and 3) | all types; most blocks as numbers | yes, metadata with its types |
//! | `onnx` | initialisers and constants, of subgraphs too; external data in the same folder | no |

mod archive;
mod atomic;
mod blocks;
mod encoding;
mod entry;
mod fill;
mod format;
mod gather;
mod gguf;
mod hash;
pub(crate) mod journal;
pub mod limits;
mod lockstep;
#[cfg(feature = "mmap")]
mod map;
mod metadata;
mod npy;
mod numbers;
mod onnx;
mod pages;
mod pickle;
mod places;
mod pytorch;
mod reader;
mod row_major;
mod safetensors;
mod source;
mod swapped;
mod tensors;
mod text;
mod ties;
mod tree;
mod zip;

use std::path::Path;

use crate::error::Result;

pub use archive::Archive;
pub(crate) use archive::display_name;
pub use atomic::write_whole;
pub use encoding::{Encoding, Packed};
pub use entry::{Entry, Quantizer};
pub(crate) use format::to_write;
pub use format::{FORMATS, Format, Objects, Options, format_for_path};
pub(crate) use gather::swap_bytes;
pub use hash::ContentHash;
pub use lockstep::for_each_chunk_of;
pub use metadata::{MetaArray, MetaValue};
pub use numbers::Numbers;
pub(crate) use pages::Pages;
pub(crate) use places::{Fate, replant};
pub use pytorch::{Judgement, ScannedGlobal, ScannedPickle, scan};
pub use row_major::RowMajor;
pub use source::{ReadAt, Source, Window};
pub(crate) use source::{range, zeroed};
pub(crate) use tensors::Tensors;
pub use tensors::{load, save};
pub(crate) use text::Text;
pub(crate) use ties::by_storage;
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
