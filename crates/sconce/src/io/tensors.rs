//! Between the tensors of files and those in memory. Tensors that share memory on one side share it on the other.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::archive::{Archive, display_name};
use super::encoding::Encoding;
use super::entry::Entry;
use super::format;
use super::gather::swap_bytes;
use super::source::{ReadAt, range};
use crate::error::{Context, Error, Result};
use crate::tensor::layout::Layout;
use crate::tensor::storage::Storage;
use crate::tensor::{DType, Dims, Tensor};

/// Reads all tensors of a file of any known format, under their names: a state dict, or any other collection of pairs.
///
/// In nested files, names are keys and indices joined by dots. Tied tensors stay tied. They are plain values: whether
/// a tensor of the file is a parameter, [`Entry`] says.
///
/// # Errors
///
/// Fails, in one line that names the file and the tensor, when the file cannot be read or an element type is one that
/// no tensor has.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt, StateDict};
///
/// let path = std::env::temp_dir().join(format!("sconce-doc-load-{}.safetensors", std::process::id()));
/// sconce::io::save(&path, &Linear::new(4, 3)?.state_dict())?;
/// let state: StateDict = sconce::io::load(&path)?;
/// assert_eq!(state.get("weight")?.shape(), [3, 4]);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn load<C: FromIterator<(String, Tensor)>>(path: impl AsRef<Path>) -> Result<C> {
    let archive = super::open(path)?;
    let tensors = archive.tensors(archive.entries())?;
    Ok(archive.entries().iter().map(|entry| entry.name().to_owned()).zip(tensors).collect())
}

/// Writes named tensors, such as a state dict, in the format that the path's extension names.
///
/// The file appears whole or not at all. Formats with storages keep ties: as in PyTorch, all of the memory that a view
/// is part of is written there. Values alone are written, not what requires a gradient.
///
/// # Errors
///
/// Fails when the extension names no format, two tensors have one name, the format cannot hold a tensor, or the system
/// refuses; an old file then stays.
///
/// ```
/// use sconce::{DType, Tensor};
///
/// let error = sconce::io::save("model.txt", [("x", Tensor::zeros([2], DType::F32)?)]).unwrap_err();
/// assert!(error.to_string().starts_with("model.txt: no format has the extension `txt`"));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn save<N: Into<String>, T: AsRef<Tensor>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, T)>,
) -> Result<()> {
    let path = path.as_ref();
    let file = || path.display().to_string();
    let format = format::to_write(path).context(file)?;
    let mut archive = Archive::new();
    for (name, tensor) in tensors {
        archive.push_tensor(name, tensor.as_ref()).context(file)?;
    }
    archive.save(path, format.name())
}

impl Archive {
    /// Reads a tensor, with its dtype and strides.
    ///
    /// # Errors
    ///
    /// Fails as [`read`](Self::read) does, and when no tensor has elements of that type.
    ///
    /// ```
    /// use sconce::{Tensor, io::Archive};
    ///
    /// let mut archive = Archive::new();
    /// archive.push_tensor("x", &Tensor::from_vec(vec![1_i64, 2], [2])?)?;
    /// let x = archive.tensor(archive.get("x").unwrap())?;
    /// assert_eq!(x.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn tensor(&self, entry: &Entry) -> Result<Tensor> {
        Tensors::alone(self).read(entry)
    }

    /// Reads tensors; those that share a storage here share memory.
    ///
    /// # Errors
    ///
    /// Fails as [`tensor`](Self::tensor) does.
    pub fn tensors<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> Result<Vec<Tensor>> {
        let mut tensors = Tensors::new(self);
        entries.into_iter().map(|entry| tensors.read(entry)).collect()
    }

    /// Adds a tensor in memory, whose values are read when the archive is written, and returns its index. Tensors that
    /// share memory share a storage.
    ///
    /// # Errors
    ///
    /// Fails when the name is taken or too long, and when the archive was read from a big-endian file.
    pub fn push_tensor(&mut self, name: impl Into<String>, tensor: &Tensor) -> Result<usize> {
        let entry = Entry::new(name, tensor.dtype(), tensor.shape());
        if cfg!(target_endian = "big") {
            return self.push_bytes(entry, tensor.to_bytes()?);
        }
        if self.is_big_endian() {
            return Err(Error::unsupported("tensors cannot be added to what a big-endian file holds")
                .context(display_name(entry.name())));
        }
        let storage = tensor.storage();
        let index = match self.live.get(&storage.id()) {
            Some(&index) => index,
            None => {
                let index = self.add_storage(Arc::new(Live(storage.clone())));
                self.live.insert(storage.id(), index);
                index
            }
        };
        self.push(entry.with_view(tensor.strides(), tensor.storage_offset()), index)
    }
}

/// The memory of tensors as bytes; each read locks it.
struct Live(Storage);

impl ReadAt for Live {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let range = range(offset, out.len() as u64, self.size())?;
        self.0.with_elements("save", range.start as usize, out.len(), |bytes| out.copy_from_slice(bytes))
    }
}

/// A reader of an archive's tensors that remembers the storages it has read.
pub(crate) struct Tensors<'a> {
    archive: &'a Archive,
    /// How many entries lie in each storage; none if each tensor is to have memory of its own.
    users: Vec<usize>,
    read: HashMap<Part, Storage>,
}

/// What was read of a storage.
#[derive(PartialEq, Eq, Hash)]
struct Part {
    storage: usize,
    start: u64,
    bytes: u64,
    /// Bytes of the numbers whose order was turned.
    turned: usize,
    /// Whether the bytes were made 0 or 1: bools and other views cannot share memory.
    bools: bool,
}

impl fmt::Debug for Tensors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensors").field("archive", self.archive).finish_non_exhaustive()
    }
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(archive: &'a Archive) -> Self {
        let mut users = Vec::new();
        for entry in archive.entries() {
            if users.len() <= entry.storage {
                users.resize(entry.storage + 1, 0);
            }
            users[entry.storage] += 1;
        }
        Self { users, ..Self::alone(archive) }
    }

    fn alone(archive: &'a Archive) -> Self {
        Self { archive, users: Vec::new(), read: HashMap::new() }
    }

    pub(crate) fn archive(&self) -> &'a Archive {
        self.archive
    }

    pub(crate) fn read(&mut self, entry: &Entry) -> Result<Tensor> {
        self.tensor(entry).context(|| self.archive.place(entry))
    }

    fn tensor(&mut self, entry: &Entry) -> Result<Tensor> {
        let (Encoding::Plain(dtype), None) = (entry.encoding(), entry.quantizer()) else {
            return Err(Error::unsupported(format!("no tensor holds {} elements", entry.encoding())));
        };
        let held = self.archive.readable(entry)?.size();
        let dense = Layout::contiguous(entry.shape())?;
        if entry.numel() == 0 {
            return Ok(Tensor::new(Storage::try_zeroed("load", 0)?, dense, dtype));
        }
        let wants_order = cfg!(target_endian = "big");
        if entry.is_lazy() {
            let mut storage = zeroed(entry.bytes())?;
            if let Some(bytes) = storage.bytes_mut() {
                self.archive.read_into(entry, bytes)?;
                if wants_order {
                    swap_bytes(bytes, entry.encoding().number_size());
                }
            }
            return Ok(Tensor::new(storage, dense, dtype));
        }
        let shared = self.users.get(entry.storage).is_some_and(|&users| users > 1);
        let (start, bytes) = if shared { (0, held) } else { Archive::span(entry) };
        let turned =
            if self.archive.is_big_endian() == wants_order { 0 } else { entry.encoding().number_size() };
        let part = Part { storage: entry.storage, start, bytes, turned, bools: dtype == DType::Bool };
        let storage = match self.read.get(&part) {
            Some(storage) => storage.clone(),
            None => {
                let storage = self.part(&part)?;
                self.read.insert(part, storage.clone());
                storage
            }
        };
        // A size of 1 may have any stride in a file; one that is too large for arithmetic gets the usual one.
        let elements = held as usize / dtype.size();
        let strides = entry.strides().iter().zip(dense.strides.iter());
        let strides: Vec<usize> = strides.map(|(&s, &usual)| if s > elements { usual } else { s }).collect();
        let layout = Layout {
            shape: dense.shape,
            strides: Dims::from_slice(&strides),
            offset: entry.offset() - start as usize / dtype.size(),
        };
        Ok(Tensor::new(storage, layout, dtype))
    }

    fn part(&self, part: &Part) -> Result<Storage> {
        let mut storage = zeroed(part.bytes)?;
        if let (Some(bytes), Some(source)) = (storage.bytes_mut(), self.archive.storage(part.storage)) {
            source.read_at(part.start, bytes)?;
            swap_bytes(bytes, part.turned);
            if part.bools {
                bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
            }
        }
        Ok(storage)
    }
}

fn zeroed(bytes: u64) -> Result<Storage> {
    let bytes =
        usize::try_from(bytes).map_err(|_| Error::unsupported(format!("{bytes} bytes exceed memory")))?;
    Storage::try_zeroed("load", bytes)
}
