//! PyTorch's format before 1.6, and today's with `_use_new_zipfile_serialization=False`.
//!
//! Five pickles follow each other: a magic number, the format's version, facts about the writer's system, the object,
//! and the keys of its storages. Then, for each key in turn, the number of elements and the elements, little-endian
//! whatever the system was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::build::{Builder, Outside};
use super::globals::{self, Storage};
use super::names;
use crate::error::{Context, Error, Result};
use crate::io::archive::{Archive, display_name};
use crate::io::format::{Format, Options};
use crate::io::limits::{MAX_PICKLE_BYTES, MIN_PICKLE_LIMIT};
use crate::io::pickle::{self, Object, Permission, Pickle, Ref};
use crate::io::source::{ReadAt, Source, Window};

/// 0x1950a86a20f9469cfc6c as pickles write it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

/// The format's entry in [`FORMATS`](crate::io::FORMATS).
pub(in crate::io) struct Legacy;

impl Format for Legacy {
    fn name(&self) -> &'static str {
        "pytorch-legacy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        matches!(head, [0x80, 1..=5, ..])
    }

    fn open(&self, source: &Source, options: &Options) -> Result<Archive> {
        let at = magic(source)?;
        let (version, at) = plain(source, at).context(|| "version")?;
        match version.get(version.root) {
            Object::Int(VERSION) => {}
            Object::Int(other) => return Err(Error::unsupported(format!("version {other}, not {VERSION}"))),
            other => return Err(Error::format(format!("expected a version, found {}", other.kind()))),
        }
        let (_, at) = plain(source, at).context(|| "system information")?;
        let permission = |name: &str| globals::permission(name, options.objects, false);
        let (pickle, at) = pickle::run_at(source, at, MAX_PICKLE_BYTES, &permission).context(|| "object")?;
        let (keys, at) = pickle::run_at(source, at, MAX_PICKLE_BYTES, &refuse).context(|| "storage keys")?;
        let (storages, end) = Storages::locate(source, at, &pickle, &keys)?;
        if end < source.size() {
            let rest = source.size() - end;
            return Err(Error::format(format!("{rest} bytes follow the last storage and belong to none")));
        }
        let mut archive = Archive::of(self.name());
        let built = Builder::new(&pickle, &storages, &mut archive).run();
        let (tree, tensors) = built.context(|| "object")?;
        names::push_named(&mut archive, tree, tensors)?;
        Ok(archive)
    }
}

/// Reads the magic number and returns where it ends.
fn magic(source: &Source) -> Result<u64> {
    let missing =
        || Error::format("no magic number of torch.save: a pickle, but not of PyTorch's, or cut off");
    let (pickle, at) = plain(source, 0).map_err(|e| missing().with_source(e))?;
    match pickle.get(pickle.root) {
        Object::BigInt(bytes) if **bytes == MAGIC => Ok(at),
        _ => Err(missing()),
    }
}

fn refuse(_: &str) -> Permission {
    Permission::Refused
}

/// A small pickle that asks for no name.
fn plain(source: &Source, at: u64) -> Result<(Pickle, u64)> {
    pickle::run_at(source, at, MIN_PICKLE_LIMIT, &refuse)
}

/// The storages behind the pickles, by key.
struct Storages(HashMap<Box<str>, Window>);

impl Storages {
    /// Finds the storages of the listed keys, from byte `at` on; also returns where the last one ends.
    fn locate(source: &Source, mut at: u64, pickle: &Pickle, keys: &Pickle) -> Result<(Self, u64)> {
        let Object::List(list) = keys.get(keys.root) else {
            let found = keys.get(keys.root).kind();
            return Err(Error::format(format!("expected a list of storage keys, found {found}")));
        };
        let elements = elements(pickle);
        let mut found = HashMap::with_capacity(list.len());
        for &key in list {
            let Object::Str(key) = keys.get(key) else {
                let kind = keys.get(key).kind();
                return Err(Error::format(format!("a storage's key must be a string, found {kind}")));
            };
            let place = || format!("storage {}", display_name(key));
            let elements =
                elements.get(&**key).ok_or_else(|| Error::format("no tensor refers to it")).context(place)?;
            let (window, end) = window(source, at, *elements).context(place)?;
            if found.insert(key.clone(), window).is_some() {
                return Err(Error::format("its key is listed twice").context(place()));
            }
            at = end;
        }
        Ok((Self(found), at))
    }
}

impl Outside for Storages {
    fn storage(&self, key: &str) -> Result<Arc<dyn ReadAt>> {
        match self.0.get(key) {
            Some(window) => Ok(Arc::new(window.clone())),
            None => Err(Error::format("its key is not listed")),
        }
    }
}

/// The elements at byte `at`, after their number, and where they end.
pub(super) fn window(source: &Source, at: u64, elements: Storage) -> Result<(Window, u64)> {
    let mut numel = [0; 8];
    source.read_at(at, &mut numel)?;
    let numel = i64::from_le_bytes(numel);
    let bytes = u64::try_from(numel).ok().and_then(|n| match elements {
        Storage::Untyped => Some(n),
        Storage::Typed(encoding) => encoding.bytes_for(n),
    });
    let bytes = bytes.ok_or_else(|| Error::format(format!("{numel} elements")))?;
    let window = source.window(at + 8, bytes)?;
    Ok((window, at + 8 + bytes))
}

/// What each storage that the object refers to holds, by key.
fn elements(pickle: &Pickle) -> HashMap<&str, Storage> {
    let mut seen: HashSet<Ref> = HashSet::new();
    let mut found = HashMap::new();
    for object in &pickle.objects {
        if let Object::Persistent(id) = object
            && seen.insert(*id)
            && let Object::Tuple(parts) = pickle.get(*id)
            && let [_, class, key, ..] = **parts
            && let (Object::Global(class), Object::Str(key)) = (pickle.get(class), pickle.get(key))
            && let Some(elements) = globals::storage(pickle.global(*class))
        {
            found.entry(&**key).or_insert(elements);
        }
    }
    found
}
