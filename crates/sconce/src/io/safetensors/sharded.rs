//! Models in several safetensors files: an index, `model.safetensors.index.json`, says which tensor is in which file.
//!
//! Index and shards must agree exactly: a tensor that its shard lacks and a tensor that the index does not name are
//! errors. Metadata are those of all shards. Shards lie in the index's folder; a name that leaves it is refused, whatever it points to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::Safetensors;
use super::header::{PairsSeed, quoted};
use crate::error::{Context, Error, Result};
use crate::io::archive::{Archive, display_name};
use crate::io::entry::Entry;
use crate::io::format::{Format, Options};
use crate::io::limits::MAX_JSON_HEADER_BYTES;
use crate::io::source::Source;
use crate::io::write_whole;

const WEIGHT_MAP: &str = "weight_map";

/// The format's entry in [`FORMATS`](crate::io::FORMATS).
pub(in crate::io) struct Sharded;

impl Format for Sharded {
    fn name(&self) -> &'static str {
        "safetensors-sharded"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.trim_ascii_start().starts_with(b"{")
    }

    fn open(&self, source: &Source, options: &Options) -> Result<Archive> {
        if source.size() > MAX_JSON_HEADER_BYTES {
            return Err(Error::format(format!(
                "an index of {} bytes, at most {MAX_JSON_HEADER_BYTES} are allowed",
                source.size()
            )));
        }
        let bytes = source.read_vec(0, source.size())?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let index = json.deserialize_map(IndexVisitor);
        let index = index.and_then(|i| json.end().map(|()| i)).map_err(|e| Error::format(e.to_string()))?;

        let mut archive = Archive::of(self.name());
        let mut shards: HashMap<&str, Archive> = HashMap::new();
        for (name, file) in &index {
            if !shards.contains_key(file.as_str()) {
                let shard = source.sibling(file)?;
                let shard = Safetensors.open(&shard, options).context(|| display_name(file))?;
                shards.insert(file, shard);
            }
            let shard = &shards[file.as_str()];
            let place = || display_name(name);
            let entry = shard
                .get(name)
                .ok_or_else(|| Error::format(format!("{} does not hold it", display_name(file))))
                .context(place)?;
            archive.adopt(shard, entry)?;
        }
        let places: HashMap<&str, &str> = index.iter().map(|(n, file)| (n.as_str(), file.as_str())).collect();
        let mut files: Vec<_> = shards.into_iter().collect();
        files.sort_by_key(|(file, _)| *file);
        for (file, shard) in files {
            for (key, value) in shard.metadata() {
                // Shards mostly repeat one table; where they differ, the file is part of the key.
                match archive.metadata_text(key) {
                    Some(known) if known == value => {}
                    Some(_) => archive.set_metadata(format!("{file}: {key}"), value.as_str()),
                    None => archive.set_metadata(key.as_str(), value.as_str()),
                }
            }
            let place = |e: &Entry| places.get(e.name()).copied();
            if let Some(stray) = shard.entries().iter().find(|e| place(e) != Some(file)) {
                let says = match place(stray) {
                    Some(other) => format!("the index says is in {}", display_name(other)),
                    None => "the index does not name".to_owned(),
                };
                let (file, stray) = (display_name(file), display_name(stray.name()));
                return Err(Error::format(format!("{file} holds {stray}, which {says}")));
            }
        }
        Ok(archive)
    }
}

const INDEX_SUFFIX: &str = ".index.json";
const SHARD_SUFFIX: &str = ".safetensors";

impl Archive {
    /// Writes the archive to several safetensors files of at most `shard_bytes` of tensors each, and their index; a
    /// larger tensor has a file of its own. Returns the files written, the index last.
    ///
    /// `index` is the index's path, such as `model.safetensors.index.json`, or that path without `.index.json`. The
    /// files beside it are then `model-00001-of-00003.safetensors` and so on, filled in the archive's order as by
    /// Hugging Face's libraries. Each file appears whole or not at all, the index after all others.
    ///
    /// # Errors
    ///
    /// Fails when the path has another form, when safetensors cannot hold what the archive holds, and when the system
    /// refuses.
    ///
    /// ```
    /// use sconce::{DType, io::{self, Archive, Entry}};
    ///
    /// let mut archive = Archive::new();
    /// for name in ["a", "b", "c"] {
    ///     archive.push_bytes(Entry::new(name, DType::U8, [6]), vec![1; 6])?;
    /// }
    /// let folder = std::env::temp_dir().join(format!("sconce-doc-shards-{}", std::process::id()));
    /// std::fs::create_dir_all(&folder)?;
    /// let files = archive.save_sharded(folder.join("model.safetensors"), 12)?;
    /// assert_eq!(files.len(), 3);
    /// assert_eq!(io::open(files.last().unwrap())?.entries(), io::open(&files[2])?.entries());
    /// assert_eq!(io::open(&files[0])?.entries().len(), 2);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn save_sharded(&self, index: impl AsRef<Path>, shard_bytes: u64) -> Result<Vec<PathBuf>> {
        let plan = self.plan(index.as_ref(), shard_bytes)?;
        let mut weights = Vec::with_capacity(self.entries().len());
        for (shard, target) in plan.shards.iter().zip(&plan.files) {
            shard.save(target, Safetensors.name())?;
            let file = target.file_name().unwrap_or_default().to_string_lossy();
            weights.extend(shard.entries().iter().map(|entry| (entry.name(), file.clone())));
        }
        let text = index_text(self.entries().iter().map(Entry::bytes).sum(), &weights);
        if let Some(target) = plan.files.last() {
            write_whole(target, |out| Ok(out.write_all(text.as_bytes())?))?;
        }
        Ok(plan.files)
    }

    /// The files that [`save_sharded`](Self::save_sharded) writes, the index last.
    ///
    /// # Errors
    ///
    /// Fails when the path has another form, and when safetensors cannot hold what the archive holds.
    ///
    /// ```
    /// let files = sconce::io::Archive::new().sharded_files("model.safetensors", 1 << 30)?;
    /// assert_eq!(files[0].to_str(), Some("model-00001-of-00001.safetensors"));
    /// assert_eq!(files[1].to_str(), Some("model.safetensors.index.json"));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn sharded_files(&self, index: impl AsRef<Path>, shard_bytes: u64) -> Result<Vec<PathBuf>> {
        self.plan(index.as_ref(), shard_bytes).map(|plan| plan.files)
    }

    fn plan(&self, path: &Path, shard_bytes: u64) -> Result<Plan> {
        let place = || path.display().to_string();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let stem = name.strip_suffix(INDEX_SUFFIX).unwrap_or(name).strip_suffix(SHARD_SUFFIX);
        let stem = stem
            .ok_or_else(|| Error::argument("expected a name that ends with .safetensors.index.json"))
            .context(place)?;
        if shard_bytes == 0 {
            return Err(Error::argument("shards of no bytes").context(place()));
        }
        super::check_tree(self).context(place)?;
        let shards = self.shards(shard_bytes).context(place)?;
        let count = shards.len();
        let file = |i: usize| path.with_file_name(format!("{stem}-{i:05}-of-{count:05}{SHARD_SUFFIX}"));
        let mut files: Vec<PathBuf> = (1..=count).map(file).collect();
        files.push(path.with_file_name(format!("{stem}{SHARD_SUFFIX}{INDEX_SUFFIX}")));
        Ok(Plan { shards, files })
    }

    /// The archive in parts, in order, of at most that many bytes each or one tensor.
    fn shards(&self, shard_bytes: u64) -> Result<Vec<Self>> {
        let new = || {
            let mut shard = Self::new();
            shard.set_big_endian(self.is_big_endian());
            shard.set_metadata_list(self.metadata().to_vec());
            shard
        };
        let (mut shards, mut shard, mut held) = (Vec::new(), new(), 0_u64);
        for entry in self.entries() {
            if !shard.entries().is_empty() && held.saturating_add(entry.bytes()) > shard_bytes {
                shards.push(std::mem::replace(&mut shard, new()));
                held = 0;
            }
            shard.adopt(self, entry)?;
            held = held.saturating_add(entry.bytes());
        }
        shards.push(shard);
        Ok(shards)
    }
}

/// What is written: the shards, and their files and the index.
struct Plan {
    shards: Vec<Archive>,
    files: Vec<PathBuf>,
}

/// The index as Hugging Face's libraries lay it out.
fn index_text(total_size: u64, weights: &[(&str, Cow<'_, str>)]) -> String {
    let mut text =
        format!("{{\n  \"metadata\": {{\n    \"total_size\": {total_size}\n  }},\n  \"{WEIGHT_MAP}\": {{");
    for (i, (name, file)) in weights.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        text.push_str(&format!("{comma}\n    {}: {}", quoted(name), quoted(file)));
    }
    text.push_str("\n  }\n}\n");
    text
}

/// The tensors of the index with their files, in order.
struct IndexVisitor;

impl<'de> Visitor<'de> for IndexVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index of shards")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut index = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != WEIGHT_MAP {
                map.next_value::<IgnoredAny>()?;
            } else if index.replace(map.next_value_seed(PairsSeed(WEIGHT_MAP))?).is_some() {
                return Err(A::Error::custom("weight_map occurs twice"));
            }
        }
        index.ok_or_else(|| A::Error::custom("no weight_map: a JSON file, but no index of shards"))
    }
}
