//! PyTorch's first format, before 0.1.10: a tar archive.
//!
//! The member `storages` holds the storages, `tensors` the views of them that tensors are, and `pickle` the object,
//! which refers to both by number.

use std::collections::HashMap;
use std::sync::Arc;

use super::build::{Builder, Found, Outside};
use super::globals::{self, Storage};
use super::{legacy, names};
use crate::error::{Context, Error, Result};
use crate::io::archive::{Archive, display_name};
use crate::io::entry::Entry;
use crate::io::format::{Format, Options};
use crate::io::limits::{MAX_DIMS, MAX_PICKLE_BYTES, MAX_TAR_MEMBERS};
use crate::io::pickle::{self, Object, Permission, Pickle, Ref};
use crate::io::source::{ReadAt, Source};

const BLOCK: usize = 512;

/// The format's entry in [`FORMATS`](crate::io::FORMATS).
pub(in crate::io) struct Tar;

impl Format for Tar {
    fn name(&self) -> &'static str {
        "pytorch-tar"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["tar"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.get(257..262) == Some(b"ustar")
    }

    fn open(&self, source: &Source, options: &Options) -> Result<Archive> {
        open_with(source, &|name| match is_tensor_class(name) {
            true => Permission::Constant,
            false => globals::permission(name, options.objects, false),
        })
    }
}

/// Reads an archive whose pickles may use the names that `permission` allows.
pub(super) fn open_with(source: &Source, permission: &dyn Fn(&str) -> Permission) -> Result<Archive> {
    let members = members(source)?;
    let member = |name: &str| match members.get(name) {
        Some(member) => Ok(member),
        None => Err(Error::format(format!("a tar archive without {name:?} was not written by torch.save"))),
    };
    let (storages, tensors, object) = (member("storages")?, member("tensors")?, member("pickle")?);
    let mut archive = Archive::of(Tar.name());
    let storages = read_storages(storages, permission, &mut archive).context(|| "member \"storages\"")?;
    let tensors = read_tensors(tensors, permission, &storages).context(|| "member \"tensors\"")?;
    let build = |archive: &mut Archive| {
        let (pickle, _) = pickle::run_at(object, 0, MAX_PICKLE_BYTES, permission)?;
        Builder::new(&pickle, &tensors, archive).run()
    };
    let (tree, tensors) = build(&mut archive).context(|| "member \"pickle\"")?;
    names::push_named(&mut archive, tree, tensors)?;
    Ok(archive)
}

/// Whether a name is a tensor class of that time, such as `torch.FloatTensor`.
pub(super) fn is_tensor_class(name: &str) -> bool {
    let class = name.strip_prefix("torch.cuda.").or(name.strip_prefix("torch."));
    class.is_some_and(|c| c.ends_with("Tensor") && c.bytes().all(|b| b.is_ascii_alphabetic()))
}

/// The plain files of the archive, by name.
fn members(source: &Source) -> Result<HashMap<String, Source>> {
    let mut found = HashMap::new();
    let mut at = 0;
    for _ in 0..MAX_TAR_MEMBERS {
        let header = source.read_vec(at, BLOCK as u64).context(|| format!("tar header at byte {at}"))?;
        if header.iter().all(|&b| b == 0) {
            return Ok(found);
        }
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(i, &b)| if (148..156).contains(&i) { 32 } else { b.into() })
            .sum();
        if header[257..262] != *b"ustar" || octal(&header[148..156]) != Some(sum) {
            return Err(Error::format(format!("no tar header at byte {at}")));
        }
        let size = size(&header[124..136])
            .ok_or_else(|| Error::format(format!("no size in the tar header at byte {at}")))?;
        let window = source.window(at + BLOCK as u64, size)?;
        let end = header[..100].iter().position(|&b| b == 0).unwrap_or(100);
        let name = String::from_utf8_lossy(&header[..end]).into_owned();
        let plain = matches!(header[156], b'0' | 0);
        if plain && found.insert(name.clone(), Source::new(name.as_str(), Arc::new(window))).is_some() {
            return Err(Error::format(format!("two members are named {}", display_name(&name))));
        }
        let blocks = size.next_multiple_of(BLOCK as u64);
        at = at.saturating_add(BLOCK as u64).saturating_add(blocks);
        if at >= source.size() {
            return Ok(found);
        }
    }
    Err(Error::format(format!("more than {MAX_TAR_MEMBERS} members")))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok()
}

/// A size: octal digits or, if the first bit is set, binary.
fn size(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, 0, 0, 0, low @ ..] => Some(low.iter().fold(0, |n, &b| n << 8 | u64::from(b))),
        [first, ..] if first & 0x80 != 0 => None,
        _ => octal(field),
    }
}

/// Pickles and bytes in turn.
struct Cursor<'a> {
    source: &'a Source,
    at: u64,
    permission: &'a dyn Fn(&str) -> Permission,
}

impl Cursor<'_> {
    fn pickle(&mut self) -> Result<Pickle> {
        let (pickle, at) = pickle::run_at(self.source, self.at, MAX_PICKLE_BYTES, self.permission)?;
        self.at = at;
        Ok(pickle)
    }

    fn count(&mut self) -> Result<i64> {
        let pickle = self.pickle()?;
        int(&pickle, pickle.root)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.source.read_at(self.at, &mut out)?;
        self.at += N as u64;
        Ok(out)
    }

    fn i64(&mut self) -> Result<i64> {
        self.bytes().map(i64::from_le_bytes)
    }

    fn sizes(&mut self, count: usize) -> Result<Vec<usize>> {
        (0..count).map(|_| self.i64().and_then(size_of)).collect()
    }
}

fn size_of(i: i64) -> Result<usize> {
    usize::try_from(i).map_err(|_| Error::format(format!("{i} is negative or too large")))
}

fn int(pickle: &Pickle, r: Ref) -> Result<i64> {
    match pickle.get(r) {
        Object::Int(i) => Ok(*i),
        Object::Str(text) => text.parse().map_err(|_| Error::format("expected a number, found a string")),
        other => Err(Error::format(format!("expected a number, found {}", other.kind()))),
    }
}

fn tuple<const N: usize>(pickle: &Pickle, r: Ref) -> Result<[Ref; N]> {
    let items: &[Ref] = match pickle.get(r) {
        Object::Tuple(items) => items,
        Object::List(items) => items,
        other => return Err(Error::format(format!("expected {N} parts, found {}", other.kind()))),
    };
    items.try_into().map_err(|_| Error::format(format!("expected {N} parts, found {}", items.len())))
}

/// A storage, or a part of one: its index in the archive, what it holds, and its part in elements.
#[derive(Clone)]
struct Known {
    index: usize,
    elements: Storage,
    part: std::ops::Range<u64>,
}

fn read_storages(
    source: &Source,
    permission: &dyn Fn(&str) -> Permission,
    archive: &mut Archive,
) -> Result<HashMap<i64, Known>> {
    let mut cursor = Cursor { source, at: 0, permission };
    let mut known = HashMap::new();
    for _ in 0..cursor.count()? {
        let pickle = cursor.pickle()?;
        let [key, _, class] = tuple(&pickle, pickle.root)?;
        let elements = match pickle.get(class) {
            Object::Global(class) => globals::storage(pickle.global(*class)),
            _ => None,
        };
        let elements = elements.ok_or_else(|| Error::format("a storage without a storage class"))?;
        let key = int(&pickle, key)?;
        let (window, end) =
            legacy::window(source, cursor.at, elements).context(|| format!("storage {key}"))?;
        let numel = match elements {
            Storage::Untyped => window.size(),
            Storage::Typed(encoding) => window.size() / encoding.block().1 * encoding.block().0,
        };
        let index = archive.add_storage(Arc::new(window));
        if known.insert(key, Known { index, elements, part: 0..numel }).is_some() {
            return Err(Error::format(format!("two storages have the number {key}")));
        }
        cursor.at = end;
    }
    let views = cursor.pickle()?;
    let Object::List(list) = views.get(views.root) else {
        return Err(Error::format("expected a list of views of storages"));
    };
    for &view in list {
        let [key, root, offset, numel] = tuple(&views, view)?;
        let (key, root) = (int(&views, key)?, int(&views, root)?);
        let (offset, numel) = (size_of(int(&views, offset)?)? as u64, size_of(int(&views, numel)?)? as u64);
        let mut part =
            known.get(&root).cloned().ok_or_else(|| Error::format(format!("no storage {root}")))?;
        let start = part.part.start + offset.min(part.part.end);
        if offset > part.part.end - part.part.start || numel > part.part.end - start {
            return Err(Error::format(format!("view {key} leaves its storage {root}")));
        }
        part.part = start..start + numel;
        known.insert(key, part);
    }
    Ok(known)
}

/// The tensors, by number.
struct Tensors(HashMap<i64, Found>);

fn read_tensors(
    source: &Source,
    permission: &dyn Fn(&str) -> Permission,
    storages: &HashMap<i64, Known>,
) -> Result<Tensors> {
    let mut cursor = Cursor { source, at: 0, permission };
    let mut known = HashMap::new();
    for _ in 0..cursor.count()? {
        let pickle = cursor.pickle()?;
        let [key, storage, _] = tuple(&pickle, pickle.root)?;
        let (key, storage) = (int(&pickle, key)?, int(&pickle, storage)?);
        let place = || format!("tensor {key}");
        let storage = storages
            .get(&storage)
            .ok_or_else(|| Error::format(format!("no storage {storage}")))
            .context(place)?;
        let Storage::Typed(encoding) = storage.elements else {
            return Err(Error::format("a tensor without a dtype").context(place()));
        };
        // Dimensions are counted in four bytes; four more follow.
        let dims = u32::from_le_bytes(cursor.bytes()?) as usize;
        cursor.bytes::<4>()?;
        if dims > MAX_DIMS {
            return Err(
                Error::format(format!("{dims} dimensions, at most {MAX_DIMS} are allowed")).context(place())
            );
        }
        let (shape, strides) = (cursor.sizes(dims)?, cursor.sizes(dims)?);
        let offset = size_of(cursor.i64()?)?;
        let mut entry = Entry::new("", encoding, shape).with_view(strides, offset);
        let part = storage.part.end - storage.part.start;
        entry.check(encoding.bytes_for(part).unwrap_or(part)).context(place)?;
        entry.offset += storage.part.start as usize;
        if known.insert(key, Found { entry, storage: storage.index }).is_some() {
            return Err(Error::format("its number occurs twice").context(place()));
        }
    }
    Ok(Tensors(known))
}

impl Outside for Tensors {
    fn storage(&self, _: &str) -> Result<Arc<dyn ReadAt>> {
        Err(Error::format("a tensor that is not in the member \"tensors\""))
    }

    fn tensor(&self, id: &Object) -> Result<Option<Found>> {
        let key = match id {
            Object::Int(key) => *key,
            Object::Str(key) => match key.parse() {
                Ok(key) => key,
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        match self.0.get(&key) {
            Some(found) => Ok(Some(found.clone())),
            None => Err(Error::format(format!("no tensor {key}"))),
        }
    }
}
