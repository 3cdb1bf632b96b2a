//! Nested checkpoints: a model, its optimiser and whatever else training needs to go on, in one file.
//!
//! ```
//! use sconce::checkpoint::Checkpoint;
//! use sconce::nn::{Linear, ModuleExt, StateDict, Strictness};
//! use sconce::optim::{AdamW, Optimizer, OptimizerState};
//!
//! let model = Linear::new(4, 3)?;
//! let mut optimizer = Optimizer::new(&model, AdamW::default())?;
//!
//! let mut checkpoint = Checkpoint::new();
//! checkpoint.insert("model", model.state_dict())?;
//! checkpoint.insert("optimizer", optimizer.state_dict()?)?;
//! checkpoint.insert("epoch", 5)?;
//! let path = std::env::temp_dir().join(format!("sconce-doc-checkpoint-{}.pt", std::process::id()));
//! checkpoint.save(&path)?;
//!
//! let checkpoint = Checkpoint::load(&path)?;
//! model.load_state_dict(&checkpoint.get::<StateDict>("model")?, Strictness::Strict)?;
//! optimizer.load_state_dict(&checkpoint.get::<OptimizerState>("optimizer")?)?;
//! assert_eq!(checkpoint.get::<i64>("epoch")?, 5);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! The file is PyTorch's: `torch.load(path, weights_only=True)` gives a dict of the same items, and what `torch.save`
//! wrote is read. Tensors that share memory share it in the file and after reading, as far as one
//! [`get`](Checkpoint::get) goes.

mod item;
mod optimizer;
mod schedule;
mod view;

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::io::{self, Archive, NodeId, Tree, Value};
use crate::select::near::did_you_mean;
use crate::{Context, Error, Result};

pub use item::{Builder, Restore, Store};
pub use view::View;

/// Items under string keys: what a nested checkpoint file holds.
///
/// Items are written by [`Store`] and read by [`Restore`]: tensors, state dicts, the state of optimisers, numbers,
/// texts, lists, and your own types. Of a file, an item is read when it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The file that it was read from, for messages.
    name: String,
    items: IndexMap<String, Slot>,
}

/// An item: a node of the nested structure of an archive, which may hold others too.
#[derive(Clone, Debug)]
struct Slot {
    archive: Arc<Archive>,
    node: NodeId,
}

impl Checkpoint {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a checkpoint file; its items are read when they are asked for.
    ///
    /// # Errors
    ///
    /// Fails, in one line that begins with the path, when the file cannot be read, or holds no dict with string keys.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let mut archive = io::open(path)?;
        let name = archive.name().to_owned();
        // The checkpoint names the file in its errors, so the archive must not do it again.
        archive.set_name("");
        let archive = Arc::new(archive);
        let items = items(&archive).context(|| name.as_str())?;
        Ok(Self { name, items })
    }

    /// Writes all items to a file in PyTorch's format; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// Fails when the extension is not one of PyTorch's, an item that came from a file cannot be written again, or the
    /// system refuses; an old file then stays.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let file = || path.display().to_string();
        let format = io::to_write(path).context(file)?;
        if format.name() != FORMAT {
            let error = format!("{} files hold no nested checkpoints; use the extension .pt", format.name());
            return Err(Error::unsupported(error).context(file()));
        }
        self.archive().context(file)?.save(path, FORMAT)
    }

    /// Everything as one archive.
    fn archive(&self) -> Result<Archive> {
        let mut archive = Archive::new();
        let mut tree = Tree::new();
        // Archives that hold several items are taken in once.
        let mut taken: Vec<(&Arc<Archive>, NodeId)> = Vec::new();
        let mut roots = Vec::with_capacity(self.items.len());
        for (key, slot) in &self.items {
            let known = taken.iter().find(|(archive, _)| Arc::ptr_eq(archive, &slot.archive));
            let first = match known {
                Some(&(_, first)) => first,
                None => {
                    let tensors = archive.absorb(&slot.archive)?;
                    let first = tree.append(tree_of(&slot.archive)?, tensors);
                    taken.push((&slot.archive, first));
                    first
                }
            };
            roots.push((key.as_str(), slot.node.moved(first)));
        }
        let root = tree.dict(roots);
        tree.set_root(root);
        archive.set_tree(tree)?;
        Ok(archive)
    }

    /// Puts an item under a key; it replaces one of the same key.
    ///
    /// Tensors are not copied: their values are read when the checkpoint is saved.
    ///
    /// # Errors
    ///
    /// If the item cannot be written.
    pub fn insert(&mut self, key: impl Into<String>, item: impl Store) -> Result<()> {
        let key = key.into();
        let mut builder = Builder::new(&key);
        let node = item.store(&mut builder).context(|| key.as_str())?;
        let archive = Arc::new(builder.finish(node)?);
        self.items.insert(key, Slot { archive, node });
        Ok(())
    }

    /// Reads an item.
    ///
    /// # Errors
    ///
    /// If there is none of that key, or it is something else; the message begins with the file and the key.
    ///
    /// ```
    /// use sconce::checkpoint::Checkpoint;
    ///
    /// let mut checkpoint = Checkpoint::new();
    /// checkpoint.insert("losses", vec![2.5, 1.25])?;
    /// assert_eq!(checkpoint.get::<Vec<f64>>("losses")?, [2.5, 1.25]);
    /// assert_eq!(checkpoint.get::<i64>("losses").unwrap_err().to_string(), "losses: expected int, found list");
    /// assert_eq!(checkpoint.get::<i64>("loss").unwrap_err().to_string(), "no item `loss`; did you mean `losses`?");
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn get<T: Restore>(&self, key: &str) -> Result<T> {
        let read = || {
            let slot = self.items.get(key).ok_or_else(|| {
                Error::not_found(format!("no item `{key}`{}", did_you_mean(key, self.keys())))
            })?;
            view::restore(&slot.archive, tree_of(&slot.archive)?, slot.node, key)
        };
        read().map_err(|error: Error| if self.name.is_empty() { error } else { error.context(&self.name) })
    }

    /// Takes an item out; the others keep their order.
    pub fn remove(&mut self, key: &str) -> bool {
        self.items.shift_remove(key).is_some()
    }

    /// Whether there is an item of that key.
    pub fn contains(&self, key: &str) -> bool {
        self.items.contains_key(key)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.items.keys().map(String::as_str)
    }
}

/// The only format that nests.
const FORMAT: &str = "pytorch";

fn tree_of(archive: &Archive) -> Result<&Tree> {
    archive.tree().ok_or_else(|| {
        let format = archive.format().unwrap_or("new");
        Error::load(format!("a {format} file holds tensors only, no nested checkpoint"))
    })
}

/// The items of the dict that a file is.
fn items(archive: &Arc<Archive>) -> Result<IndexMap<String, Slot>> {
    let tree = tree_of(archive)?;
    let root = tree.value(tree.root());
    let Value::Dict(dict) = root else {
        return Err(Error::load(format!("expected a dict, found {}", item::kind(root))));
    };
    dict.items
        .iter()
        .map(|&(key, node)| match tree.value(key) {
            Value::Str(key) => Ok((key.clone(), Slot { archive: Arc::clone(archive), node })),
            other => {
                let (found, kind) = (tree.key_text(key).escape_debug().to_string(), item::kind(other));
                Err(Error::load(format!("expected keys that are str, found {kind} {found}")))
            }
        })
        .collect()
}
