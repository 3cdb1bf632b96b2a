//! PyTorch's zip files: `torch.save` since 1.6, and TorchScript archives. Its older formats are [`Legacy`] and [`Tar`].
//!
//! A zip archive of one folder with a pickle, `data.pkl`, that describes the saved object, and one record per storage,
//! `data/KEY`. Tensors are views of storages; tied weights and views share one.
//!
//! - State dicts and nested checkpoints are listed in full, with their structure in [`Archive::tree`].
//! - A module that was saved whole lists the tensors of its state dict; its objects are described, not made. Only
//!   PyTorch's own classes pass, unless [`Objects::Any`](super::Objects::Any) is asked for.
//! - Quantised tensors are listed with their integers, sparse ones by their parts, NumPy arrays as arrays;
//!   NumPy scalars are read as numbers.
//! - Numbers of a big-endian file are turned when read.
//! - What is written loads with `torch.load(…, weights_only=True)`, and each storage is written once.

mod build;
mod call;
mod globals;
mod legacy;
mod names;
mod numpy;
mod scan;
mod sparse;
mod tar;

use std::io::Write;
use std::sync::Arc;

use self::build::{Builder, Outside};
pub(super) use self::legacy::Legacy;
pub use self::scan::{Judgement, ScannedGlobal, ScannedPickle, scan};
pub(super) use self::tar::Tar;
use super::archive::Archive;
use super::format::{Format, Options};
use super::limits::{MAX_PICKLE_BYTES, MAX_PICKLE_RATIO, MIN_PICKLE_LIMIT};
use super::pickle;
use super::source::{ReadAt, Source};
use super::tree::{Tree, Value};
use super::zip::{Zip, ZipWriter};
use crate::error::{Context, Error, Result};

const ROOT: &str = "archive";
const CHUNK_BYTES: u64 = 1 << 20;

/// The versions that PyTorch reads; it writes 3 and 4.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=10;

/// The format's entry in [`FORMATS`](super::FORMATS).
pub(super) struct PyTorch;

impl Format for PyTorch {
    fn name(&self) -> &'static str {
        "pytorch"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["pt", "pth", "bin", "ckpt"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
    }

    fn open(&self, source: &Source, options: &Options) -> Result<Archive> {
        let zip = Zip::open(source)?;
        let root = zip.records().first().and_then(|r| r.name.split_once('/')).map_or("", |(root, _)| root);
        let small = |name: &str| match zip.get(&format!("{root}/{name}")) {
            Some(record) => zip.read(record, 64).map(Some),
            None => Ok(None),
        };
        let big_endian = match small("byteorder")?.as_deref() {
            None | Some(b"little") => false,
            Some(b"big") => true,
            Some(other) => {
                let order = String::from_utf8_lossy(other).escape_debug().to_string();
                return Err(Error::format(format!("unknown byte order \"{order}\"")));
            }
        };
        check_version(small("version")?)?;
        let script = zip.get(&format!("{root}/constants.pkl")).is_some();
        let record = zip
            .get(&format!("{root}/data.pkl"))
            .ok_or_else(|| Error::format("a zip archive without data.pkl was not written by torch.save"))?;
        let limit = source.size().saturating_mul(MAX_PICKLE_RATIO).clamp(MIN_PICKLE_LIMIT, MAX_PICKLE_BYTES);
        let bytes = zip.read(record, limit)?;
        let permission = |name: &str| globals::permission(name, options.objects, script);
        let pickle = pickle::run(&bytes, &permission).context(|| "data.pkl")?;
        let mut archive = Archive::of(self.name());
        archive.set_big_endian(big_endian);
        let (tree, tensors) =
            Builder::new(&pickle, &Records { zip: &zip, root }, &mut archive).run().context(|| "data.pkl")?;
        names::push_named(&mut archive, tree, tensors)?;
        Ok(archive)
    }

    fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<()> {
        if !archive.metadata().is_empty() {
            let keys: Vec<&str> = archive.metadata().iter().map(|(k, _)| k.as_str()).collect();
            return Err(Error::unsupported(format!("pytorch files hold no metadata ({})", keys.join(", "))));
        }
        let flat;
        let tree = match archive.tree() {
            Some(tree) => tree,
            None => {
                flat = flat_tree(archive);
                &flat
            }
        };
        let plan = Storages::of(archive, tree)?;
        let pickle = pickle::write(tree, &plan.tensors)?;

        let mut zip = ZipWriter::new(out);
        let name = |record: &str| format!("{ROOT}/{record}");
        zip.record(&name("data.pkl"), &pickle)?;
        zip.record(&name(".format_version"), b"1")?;
        zip.record(&name(".storage_alignment"), b"64")?;
        zip.record(&name("byteorder"), if archive.is_big_endian() { b"big" } else { b"little" })?;
        for (key, &storage) in plan.order.iter().enumerate() {
            let bytes = archive.storage(storage).ok_or_else(|| Error::argument("a storage is missing"))?;
            zip.stream(&name(&format!("data/{key}")), bytes.size(), |put| copy(&**bytes, put))?;
        }
        zip.record(&name("version"), b"3\n")?;
        let id = zip.serialization_id();
        zip.record(&name(".data/serialization_id"), id.as_bytes())?;
        zip.finish()
    }
}

/// Refuses what PyTorch refuses: no version, or one that is not known.
fn check_version(record: Option<Vec<u8>>) -> Result<()> {
    let record = record.ok_or_else(|| Error::format("no version in the archive"))?;
    let text = std::str::from_utf8(&record).unwrap_or_default().trim();
    match text.parse() {
        Ok(version) if VERSIONS.contains(&version) => Ok(()),
        Ok(version) => Err(Error::unsupported(format!("version {version} of torch.save's format"))),
        Err(_) => {
            let shown = String::from_utf8_lossy(&record).escape_debug().to_string();
            Err(Error::format(format!("the version \"{shown}\" is no number")))
        }
    }
}

/// The records of a zip archive as a pickle names them.
struct Records<'a> {
    zip: &'a Zip,
    root: &'a str,
}

impl Outside for Records<'_> {
    fn storage(&self, key: &str) -> Result<Arc<dyn ReadAt>> {
        if key.contains(['/', '\\']) {
            return Err(Error::format("the key leaves the archive's data folder"));
        }
        let name = format!("{}/data/{key}", self.root);
        let record = self.zip.get(&name).ok_or_else(|| Error::format("no such record"))?;
        self.zip.bytes(record)
    }
}

/// One flat ordered dict of every entry: a state dict.
fn flat_tree(archive: &Archive) -> Tree {
    let mut tree = Tree::new();
    let items = archive.entries().iter().enumerate().map(|(i, e)| (e.name(), Value::Tensor(i)));
    let root = tree.ordered_dict(items);
    tree.set_root(root);
    tree
}

/// Which storages a file gets, in which order.
struct Storages<'a> {
    tensors: Vec<pickle::Tensor<'a>>,
    /// The archive's storage of each key.
    order: Vec<usize>,
}

impl<'a> Storages<'a> {
    fn of(archive: &'a Archive, tree: &Tree) -> Result<Self> {
        let mut used = vec![false; archive.entries().len()];
        for (value, reached) in tree.values().iter().zip(names::reached(tree)) {
            if reached && let Value::Tensor(i) = value {
                used[*i] = true;
            }
        }
        let mut keys = std::collections::HashMap::new();
        let mut order = Vec::new();
        let mut tensors = Vec::new();
        for (entry, used) in archive.entries().iter().zip(used) {
            let bytes = archive.storage(entry.storage()).map_or(0, |s| s.size());
            let mut key = String::new();
            if used {
                let size = entry.encoding().block().1;
                if !bytes.is_multiple_of(size) {
                    return Err(Error::unsupported(format!(
                        "a storage of {bytes} bytes for elements of {size}"
                    ))
                    .context(entry.name()));
                }
                key = keys
                    .entry(entry.storage())
                    .or_insert_with(|| {
                        order.push(entry.storage());
                        order.len() - 1
                    })
                    .to_string();
            }
            tensors.push(pickle::Tensor { entry, key, bytes });
        }
        Ok(Self { tensors, order })
    }
}

fn copy(bytes: &dyn ReadAt, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if let Some(all) = bytes.as_slice() {
        return put(all);
    }
    let mut buffer = super::source::zeroed(bytes.size().min(CHUNK_BYTES))?;
    let mut at = 0;
    while at < bytes.size() {
        let part = &mut buffer[..(bytes.size() - at).min(CHUNK_BYTES) as usize];
        bytes.read_at(at, part)?;
        put(part)?;
        at += part.len() as u64;
    }
    Ok(())
}
