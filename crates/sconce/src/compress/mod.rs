//! Edits and pruning of named tensors, in files of any size and in live modules alike.
//!
//! An [`Edit`] is a line of text: a verb, a selector (see [`select`](crate::select)) and arguments. [`edit_archive`]
//! turns an [`Archive`](crate::io::Archive) into another one whose bytes are computed when they are read, so saving
//! it streams whatever the file's size; [`edit_tensors`] applies the same edits to the tensors of a module;
//! [`edit_in_place`] rewrites only the bytes of a file that edits touch.
//!
//! ```
//! use sconce::compress::{Edit, edit_archive};
//! use sconce::{DType, io::{Archive, Entry}};
//!
//! let mut file = Archive::new();
//! let ones = |n: usize| [1.0_f32].repeat(n).iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
//! file.push_bytes(Entry::new("fc.weight", DType::F32, [2, 2]), ones(4))?;
//! file.push_bytes(Entry::new("fc.bias", DType::F32, [2]), ones(2))?;
//!
//! let edits = [Edit::parse("fill **.bias 0")?, Edit::parse("rename fc.** head.**")?];
//! let (edited, report) = edit_archive(&file, &edits)?;
//! let bias = edited.get("head.bias").unwrap();
//! assert_eq!(edited.read(bias)?, [0; 8]);
//! assert_eq!(report.changes[0].to_string(), "fc.bias: fill 0");
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! Tensors that share memory stay shared: an edit through one name changes the others once, and the
//! [`Report`] names them. `untie` gives a tensor memory of its own first.

mod apply;
mod bytes;
mod cast;
mod draft;
mod draw;
mod edit;
mod element;
mod inplace;
mod live;
mod map;
mod prune;
mod rename;
mod report;

pub use apply::{cast_floats, edit_archive};
pub use edit::{Edit, VERBS, Verb};
pub use inplace::{edit_in_place, prune_in_place, recover};
pub use live::edit_tensors;
pub(crate) use prune::choice;
pub use prune::{Amount, Layout, Method, Prune, Sparsity, prune_archive, prune_tensors};
pub use report::{Change, Report};
