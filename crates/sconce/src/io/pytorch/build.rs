//! From what a pickle describes to values, tensors and storages.

use std::collections::HashMap;
use std::sync::Arc;

use super::globals::{self, Storage};
use super::sparse;
use crate::error::{Context, Error, Result};
use crate::io::archive::{Archive, display_name};
use crate::io::encoding::Encoding;
use crate::io::entry::Entry;
use crate::io::pickle::{DictObject, Object, Pickle, Ref};
use crate::io::source::ReadAt;
use crate::io::tree::{Dict, NodeId, Tree, Value};

/// What a pickle refers to by persistent ids.
pub(super) trait Outside {
    /// The bytes of the storage of a key.
    fn storage(&self, key: &str) -> Result<Arc<dyn ReadAt>>;

    /// The tensor that an id is, in files whose ids name tensors.
    fn tensor(&self, id: &Object) -> Result<Option<Found>> {
        let _ = id;
        Ok(None)
    }
}

/// A tensor without a name, and the archive's storage it lies in.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) storage: usize,
}

/// A storage of the file.
#[derive(Clone)]
pub(super) struct Located {
    pub(super) index: usize,
    pub(super) elements: Storage,
    /// The part that may be seen, in elements from the start.
    pub(super) part: Option<std::ops::Range<usize>>,
}

pub(super) struct Builder<'a> {
    pub(super) pickle: &'a Pickle,
    pub(super) archive: &'a mut Archive,
    pub(super) tensors: Vec<Found>,
    /// Scales and zero points read so far.
    pub(super) quantizer_numbers: usize,
    pub(super) outside: &'a dyn Outside,
    tree: Tree,
    /// The value of each object that has one.
    done: Vec<Option<NodeId>>,
    /// Objects whose value is still to be found.
    work: Vec<Ref>,
    /// The index and the bytes of each storage by its key.
    storages: HashMap<&'a str, (usize, u64)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(pickle: &'a Pickle, outside: &'a dyn Outside, archive: &'a mut Archive) -> Self {
        Self {
            pickle,
            archive,
            tensors: Vec::new(),
            quantizer_numbers: 0,
            outside,
            tree: Tree::new(),
            done: vec![None; pickle.objects.len()],
            work: Vec::new(),
            storages: HashMap::new(),
        }
    }

    /// Finds every value, without recursion. [`Value::Tensor`] counts the tensors that are returned.
    pub(super) fn run(mut self) -> Result<(Tree, Vec<Found>)> {
        let root = self.node(self.pickle.root);
        self.tree.set_root(root);
        while let Some(object) = self.work.pop() {
            let value = self.value(object)?;
            let id = self.node(object);
            *self.tree.value_mut(id) = value;
        }
        sparse::check_all(self.archive, &self.tree, &self.tensors)?;
        Ok((self.tree, self.tensors))
    }

    /// The place of an object's value, which may not be there yet.
    pub(super) fn node(&mut self, object: Ref) -> NodeId {
        if let Some(id) = self.done[object.0 as usize] {
            return id;
        }
        let id = self.tree.add(Value::None);
        self.done[object.0 as usize] = Some(id);
        self.work.push(object);
        id
    }

    pub(super) fn nodes(&mut self, objects: &[Ref]) -> Vec<NodeId> {
        objects.iter().map(|&r| self.node(r)).collect()
    }

    pub(super) fn value(&mut self, object: Ref) -> Result<Value> {
        let pickle = self.pickle;
        Ok(match pickle.get(object) {
            Object::None => Value::None,
            Object::Bool(b) => Value::Bool(*b),
            Object::Int(i) => Value::Int(*i),
            Object::BigInt(bytes) => Value::BigInt(bytes.to_vec()),
            Object::Float(x) => Value::Float(*x),
            Object::Str(text) => Value::Str(text.to_string()),
            Object::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Object::ByteArray(bytes) => Value::ByteArray(bytes.to_vec()),
            Object::Tuple(items) => Value::Tuple(self.nodes(items)),
            Object::List(items) => Value::List(self.nodes(items)),
            Object::Set(items) => Value::Set(self.nodes(items)),
            Object::Dict(dict) => self.dict(dict),
            Object::Global(index) => {
                let name = pickle.global(*index);
                match globals::dtype(name) {
                    Some(dtype) => Value::DType(dtype.to_owned()),
                    None => Value::Constant(name.to_owned()),
                }
            }
            Object::Persistent(id) => match self.outside.tensor(pickle.get(*id))? {
                Some(found) => {
                    self.tensors.push(found);
                    Value::Tensor(self.tensors.len() - 1)
                }
                None => return Err(Error::unsupported("a storage that no tensor wraps")),
            },
            Object::Call(call) => {
                let name = pickle.global(call.callee);
                self.call(name, call).context(|| display_name(name))?
            }
        })
    }

    /// A dict; of items with one key the last value counts, in the first one's place.
    fn dict(&mut self, dict: &'a DictObject) -> Value {
        let mut places: HashMap<DictKey<'a>, usize> = HashMap::with_capacity(dict.items.len());
        let mut items: Vec<(NodeId, NodeId)> = Vec::with_capacity(dict.items.len());
        for &(k, v) in &dict.items {
            let value = self.node(v);
            match DictKey::of(self.pickle.get(k)) {
                Some(key) => match places.get(&key) {
                    Some(&place) => items[place].1 = value,
                    None => {
                        places.insert(key, items.len());
                        items.push((self.node(k), value));
                    }
                },
                None => items.push((self.node(k), value)),
            }
        }
        let attributes = dict.state.map(|state| self.node(state));
        Value::Dict(Dict { kind: dict.kind, items, attributes })
    }

    /// The storage that a persistent id names: `('storage', class, key, location, numel)`, in older files followed by
    /// the view of it that is meant, `(key, offset, numel)`, or `None`.
    pub(super) fn storage(&mut self, object: Ref) -> Result<Located> {
        let Object::Persistent(id) = self.pickle.get(object) else {
            return Err(expected("a storage", self.pickle.get(object)));
        };
        let id = self.items(*id).context(|| "persistent id")?;
        let (&[kind, class, key, _, numel], view) = match id.split_first_chunk() {
            Some((fields, rest)) if rest.len() < 2 => (fields, rest.first()),
            _ => return Err(Error::format(format!("a persistent id of {} parts, expected 5", id.len()))),
        };
        let kind = self.text(kind)?;
        if kind != "storage" {
            return Err(Error::format(format!("a persistent id of kind {kind:?}, expected \"storage\"")));
        }
        let Object::Global(class) = self.pickle.get(class) else {
            return Err(expected("a storage class", self.pickle.get(class)));
        };
        let class = self.pickle.global(*class);
        let elements = globals::storage(class)
            .ok_or_else(|| Error::format(format!("{} is no storage class", display_name(class))))?;
        let key = self.text(key)?;
        let numel = self.size(numel).context(|| "size of a storage")? as u64;
        let declared = match elements {
            Storage::Untyped => Some(numel),
            Storage::Typed(encoding) => encoding.bytes_for(numel),
        };
        let (index, bytes) = self.locate(key).context(|| format!("storage {}", display_name(key)))?;
        if declared != Some(bytes) {
            return Err(Error::format(format!(
                "storage {}: {numel} elements of {class} are declared, the record has {bytes} bytes",
                display_name(key)
            )));
        }
        let part = view.map_or(Ok(None), |&view| self.part(view, numel)).context(|| "view of a storage")?;
        Ok(Located { index, elements, part })
    }

    /// The part of a storage of `numel` elements that a view names.
    fn part(&self, view: Ref, numel: u64) -> Result<Option<std::ops::Range<usize>>> {
        if matches!(self.pickle.get(view), Object::None) {
            return Ok(None);
        }
        let [_, offset, size] = *self.items(view)? else {
            return Err(Error::format("expected a key, an offset and a size"));
        };
        let (start, size) = (self.size(offset)?, self.size(size)?);
        match start.checked_add(size) {
            Some(end) if end as u64 <= numel => Ok(Some(start..end)),
            _ => Err(Error::format(format!("{size} elements at {start} of {numel}"))),
        }
    }

    fn locate(&mut self, key: &'a str) -> Result<(usize, u64)> {
        if let Some(&known) = self.storages.get(key) {
            return Ok(known);
        }
        let storage = self.outside.storage(key)?;
        let bytes = storage.size();
        let index = self.archive.add_storage(storage);
        self.storages.insert(key, (index, bytes));
        Ok((index, bytes))
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, object: Ref) -> Result<&'a [Ref]> {
        match self.pickle.get(object) {
            Object::Tuple(items) => Ok(items),
            Object::List(items) => Ok(items),
            other => Err(expected("a tuple", other)),
        }
    }

    pub(super) fn text(&self, object: Ref) -> Result<&'a str> {
        match self.pickle.get(object) {
            Object::Str(text) => Ok(text),
            other => Err(expected("a string", other)),
        }
    }

    pub(super) fn flag(&self, object: Ref) -> Result<bool> {
        match self.pickle.get(object) {
            Object::Bool(b) => Ok(*b),
            Object::Int(i) => Ok(*i != 0),
            other => Err(expected("a bool", other)),
        }
    }

    pub(super) fn int(&self, object: Ref) -> Result<i64> {
        match self.pickle.get(object) {
            Object::Int(i) => Ok(*i),
            Object::Bool(b) => Ok((*b).into()),
            Object::BigInt(_) => Err(Error::format("an integer of more than 64 bits")),
            other => Err(expected("an integer", other)),
        }
    }

    pub(super) fn float(&self, object: Ref) -> Result<f64> {
        match self.pickle.get(object) {
            Object::Float(x) => Ok(*x),
            _ => self.int(object).map(|i| i as f64),
        }
    }

    pub(super) fn size(&self, object: Ref) -> Result<usize> {
        let i = self.int(object)?;
        usize::try_from(i).map_err(|_| Error::format(format!("{i} is negative or too large")))
    }

    pub(super) fn sizes(&self, object: Ref) -> Result<Vec<usize>> {
        let object = match self.pickle.get(object) {
            // `torch.Size` is a tuple of its own class.
            Object::Call(call) if self.pickle.global(call.callee) == "torch.Size" => {
                *self.items(call.arguments)?.first().ok_or_else(|| Error::format("torch.Size of nothing"))?
            }
            _ => object,
        };
        self.items(object)?.iter().map(|&r| self.size(r)).collect()
    }

    /// The encoding that a dtype object names.
    pub(super) fn dtype(&self, object: Ref) -> Result<Encoding> {
        let Object::Global(index) = self.pickle.get(object) else {
            return Err(expected("a dtype", self.pickle.get(object)));
        };
        let name = self.pickle.global(*index);
        globals::encoding(name)
            .ok_or_else(|| Error::unsupported(format!("a tensor of {}", display_name(name))))
    }
}

/// A key as Python compares it.
#[derive(PartialEq, Eq, Hash)]
enum DictKey<'a> {
    Str(&'a str),
    Int(i64),
    None,
}

impl<'a> DictKey<'a> {
    fn of(object: &'a Object) -> Option<Self> {
        Some(match object {
            Object::Str(text) => Self::Str(text),
            Object::Int(i) => Self::Int(*i),
            Object::Bool(b) => Self::Int((*b).into()),
            Object::None => Self::None,
            _ => return None,
        })
    }
}

pub(super) fn expected(what: &str, found: &Object) -> Error {
    Error::format(format!("expected {what}, found {}", found.kind()))
}
