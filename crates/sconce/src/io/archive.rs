//! What a file holds: named lazy tensors, metadata and, for PyTorch's files, a nested structure.

use std::collections::HashMap;
mod read;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::atomic::write_whole;
use super::encoding::Encoding;
use super::entry::Entry;
use super::format;
use super::limits::MAX_NAME_BYTES;
use super::metadata::MetaValue;
use super::source::ReadAt;
use super::tree::{Tree, Value};
use crate::error::{Context, Error, Result};

/// Bytes that a strided tensor is gathered through at once.
const GATHER_BYTES: usize = 1 << 20;

/// A tensor that is not contiguous is held in memory if it spans at most so many bytes; a larger one is read here and
/// there, so many bytes of the result at once.
pub(super) const HELD_BYTES: u64 = 1 << 26;
const TILE_BYTES: usize = 1 << 25;

/// Named tensors in order, whose bytes are read only when asked for; metadata; and a nested structure.
///
/// [`open`](super::open) makes one from a file of any [`Format`](super::Format). One that is put together with
/// [`push`](Self::push) is written with [`save`](Self::save); so is one that was read, which converts the file without
/// holding it in memory.
///
/// ```
/// use sconce::{DType, io::{Archive, Entry}};
///
/// let mut archive = Archive::new();
/// let bytes: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
/// archive.push_bytes(Entry::new("bias", DType::F32, [2]), bytes.clone())?;
/// archive.set_metadata("note", "an example");
/// let path = std::env::temp_dir().join(format!("sconce-doc-{}.safetensors", std::process::id()));
/// archive.save(&path, "safetensors")?;
///
/// let read = sconce::io::open(&path)?;
/// let bias = read.get("bias").unwrap();
/// assert_eq!((bias.shape(), read.read(bias)?), (&[2][..], bytes));
/// assert_eq!(read.metadata(), [("note".to_owned(), "an example".to_owned())]);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Archive {
    name: String,
    format: Option<&'static str>,
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
    storages: Vec<Arc<dyn ReadAt>>,
    /// Which storage is which memory of tensors, by its address.
    pub(super) live: HashMap<usize, usize>,
    metadata: Vec<(String, String)>,
    /// The place of each key in `metadata`.
    places: HashMap<String, usize>,
    /// The values that are more than texts.
    typed: HashMap<String, MetaValue>,
    tree: Option<Tree>,
    big_endian: bool,
}

impl Archive {
    /// An archive with nothing in it, to be filled and saved.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(format: &'static str) -> Self {
        Self { format: Some(format), ..Self::default() }
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    pub(super) fn set_big_endian(&mut self, big_endian: bool) {
        self.big_endian = big_endian;
    }

    /// The file that it was read from, as far as its path can be shown; empty if none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the format that it was read from.
    pub fn format(&self) -> Option<&'static str> {
        self.format
    }

    /// The tensors, in the file's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// Texts that the file keeps beside its tensors.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// Sets a text kept beside the tensors; replaces a value of the same key.
    pub fn set_metadata(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        self.typed.remove(&key);
        match self.places.get(&key) {
            Some(&place) => self.metadata[place].1 = value,
            None => {
                self.places.insert(key.clone(), self.metadata.len());
                self.metadata.push((key, value));
            }
        }
    }

    /// The value of a key with its type, which formats of texts do not have.
    ///
    /// ```
    /// use sconce::io::{Archive, MetaValue};
    ///
    /// let mut archive = Archive::new();
    /// archive.set_metadata_value("layers", 12_u32);
    /// assert_eq!(archive.metadata(), [("layers".to_owned(), "12".to_owned())]);
    /// assert_eq!(archive.metadata_value("layers"), Some(MetaValue::U32(12)));
    /// archive.set_metadata("layers", "12");
    /// assert_eq!(archive.metadata_value("layers"), Some(MetaValue::from("12")));
    /// ```
    pub fn metadata_value(&self, key: &str) -> Option<MetaValue> {
        let text = || self.metadata_text(key).map(|text| MetaValue::from(text.as_str()));
        self.typed.get(key).cloned().or_else(text)
    }

    /// Sets a value of any type; formats of texts write its text.
    pub fn set_metadata_value(&mut self, key: impl Into<String>, value: impl Into<MetaValue>) {
        let (key, value) = (key.into(), value.into());
        self.set_metadata(key.as_str(), value.to_string());
        if !matches!(value, MetaValue::Str(_)) {
            self.typed.insert(key, value);
        }
    }

    /// The text of a key.
    pub(super) fn metadata_text(&self, key: &str) -> Option<&String> {
        self.places.get(key).map(|&place| &self.metadata[place].1)
    }

    pub(super) fn typed_metadata(&self, key: &str) -> Option<&MetaValue> {
        self.typed.get(key)
    }

    /// Forgets the metadata, for formats that have none.
    pub fn clear_metadata(&mut self) {
        self.set_metadata_list(Vec::new());
    }

    pub(super) fn set_metadata_list(&mut self, metadata: Vec<(String, String)>) {
        self.places = metadata.iter().enumerate().map(|(i, (key, _))| (key.clone(), i)).collect();
        self.metadata = metadata;
        self.typed.clear();
    }

    /// The nested structure of a file that has one, such as `{"model": …, "optimizer": …, "epoch": 5}`.
    ///
    /// [`Value::Tensor`] in it is an index into [`entries`](Self::entries).
    pub fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// Sets the nested structure that formats with one write; without it they write one flat dict of all entries.
    ///
    /// # Errors
    ///
    /// Fails when the structure refers to a tensor that is not here.
    pub fn set_tree(&mut self, tree: Tree) -> Result<()> {
        let entries = self.entries.len();
        for value in tree.values() {
            if let Value::Tensor(i) | Value::Array(i) = value
                && *i >= entries
            {
                return Err(Error::argument(format!("the tree refers to tensor {i} of {entries}")));
            }
        }
        self.tree = Some(tree);
        Ok(())
    }

    /// Forgets the nested structure: formats with one then write one flat dict.
    pub fn clear_tree(&mut self) {
        self.tree = None;
    }

    /// Adds bytes for entries to lie in, and returns their index for [`push`](Self::push).
    pub fn add_storage(&mut self, bytes: Arc<dyn ReadAt>) -> usize {
        self.storages.push(bytes);
        self.storages.len() - 1
    }

    /// The bytes behind [`Entry::storage`].
    pub fn storage(&self, index: usize) -> Option<&Arc<dyn ReadAt>> {
        self.storages.get(index)
    }

    /// Adds a tensor that lies in a storage and returns its index. Entries in one storage stay tied when written.
    ///
    /// # Errors
    ///
    /// Fails when the storage does not exist, the name is taken or too long, or an element lies outside the storage.
    pub fn push(&mut self, mut entry: Entry, storage: usize) -> Result<usize> {
        if entry.name.len() > MAX_NAME_BYTES {
            let length = entry.name.len();
            return Err(Error::format(format!(
                "a tensor's name has {length} bytes, at most {MAX_NAME_BYTES} are allowed"
            )));
        }
        let Some(bytes) = self.storages.get(storage) else {
            return Err(
                Error::argument(format!("storage {storage} of {}", self.storages.len())).context(entry.name)
            );
        };
        entry.check(bytes.size()).context(|| display_name(&entry.name))?;
        if self.index.contains_key(&entry.name) {
            return Err(Error::format("two tensors have this name").context(display_name(&entry.name)));
        }
        entry.storage = storage;
        self.index.insert(entry.name.clone(), self.entries.len());
        self.entries.push(entry);
        Ok(self.entries.len() - 1)
    }

    /// The same file with other tensors: its name, format and metadata stay; numbers are little-endian.
    pub(crate) fn with_parts(
        &self,
        storages: Vec<Arc<dyn ReadAt>>,
        entries: impl IntoIterator<Item = (Entry, usize)>,
        tree: Option<Tree>,
    ) -> Result<Self> {
        let mut out = Self {
            name: self.name.clone(),
            format: self.format,
            metadata: self.metadata.clone(),
            places: self.places.clone(),
            typed: self.typed.clone(),
            storages,
            ..Self::default()
        };
        for (entry, storage) in entries {
            out.push(entry, storage)?;
        }
        if let Some(tree) = tree {
            out.set_tree(tree)?;
        }
        Ok(out)
    }

    /// Moves a tensor of another archive here: its entry and, shared, its bytes.
    pub(super) fn adopt(&mut self, other: &Self, entry: &Entry) -> Result<usize> {
        let storage = self.add_storage(Arc::clone(&other.storages[entry.storage]));
        self.push(entry.clone(), storage)
    }

    /// Takes in all that another archive holds and returns what its tensors' indices grow by. Names that are taken
    /// here get a number; ties between tensors in memory last across both.
    ///
    /// # Errors
    ///
    /// Fails when the byte orders differ.
    pub(crate) fn absorb(&mut self, other: &Self) -> Result<usize> {
        if self.entries.is_empty() {
            self.big_endian = other.big_endian;
        } else if self.big_endian != other.big_endian && !other.entries.is_empty() {
            return Err(Error::unsupported("tensors of both byte orders in one file"));
        }
        let live: HashMap<usize, usize> = other.live.iter().map(|(&id, &storage)| (storage, id)).collect();
        let mut storages = Vec::with_capacity(other.storages.len());
        for (index, bytes) in other.storages.iter().enumerate() {
            let id = live.get(&index);
            storages.push(match id.and_then(|id| self.live.get(id)) {
                Some(&known) => known,
                None => {
                    let added = self.add_storage(Arc::clone(bytes));
                    if let Some(&id) = id {
                        self.live.insert(id, added);
                    }
                    added
                }
            });
        }
        let first = self.entries.len();
        for entry in &other.entries {
            let mut entry = entry.clone();
            let storage = storages[entry.storage];
            let mut number = 1;
            while self.index.contains_key(&entry.name) {
                number += 1;
                entry.name = format!("{}#{number}", other.entries[self.entries.len() - first].name);
            }
            self.push(entry, storage)?;
        }
        Ok(first)
    }

    /// Adds a tensor with bytes of its own, in row-major order, and returns its index.
    ///
    /// # Errors
    ///
    /// Fails as [`push`](Self::push) does, and when the number of bytes is not the tensor's.
    pub fn push_bytes(&mut self, entry: Entry, bytes: Vec<u8>) -> Result<usize> {
        if entry.bytes() != bytes.len() as u64 {
            let (expected, found) = (entry.bytes(), bytes.len());
            return Err(Error::argument(format!("expected {expected} bytes, found {found}"))
                .context(display_name(&entry.name)));
        }
        let storage = self.add_storage(Arc::new(bytes));
        self.push(entry, storage)
    }

    /// The other entries that lie in the same storage: tied weights and views.
    pub fn aliases<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |other| other.storage == entry.storage && other.name != entry.name)
    }

    /// Writes the archive to a file in the format of that name (see [`FORMATS`](super::FORMATS)).
    ///
    /// The file appears whole or not at all: the bytes go to a temporary file in the same folder, which is synced and
    /// then renamed.
    ///
    /// # Errors
    ///
    /// Fails when the format cannot hold what the archive holds, or the system refuses; the old file then stays.
    pub fn save(&self, path: impl AsRef<Path>, format: &str) -> Result<()> {
        let format = format::by_name(format)?;
        write_whole(path, |out| format.write(self, out))
    }

    /// Writes the archive to a stream in the format of that name, in one pass.
    ///
    /// # Errors
    ///
    /// Fails as [`save`](Self::save) does; what was written until then is useless.
    pub fn write_to(&self, out: &mut dyn Write, format: &str) -> Result<()> {
        format::by_name(format)?.write(self, out)
    }

    /// Whether the storages hold big-endian numbers; what is read is little-endian in any case.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The entries whose elements no tensor type can hold.
    pub fn packed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| matches!(e.encoding, Encoding::Packed(_)))
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("entries", &self.entries)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// A name as errors show it: on one line, and visible when empty.
pub(crate) fn display_name(name: &str) -> String {
    match name {
        "" => "\"\"".to_owned(),
        name => name
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .take(200)
            .collect(),
    }
}
