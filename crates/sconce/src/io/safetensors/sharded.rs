//! Models in several safetensors files: an index, `model.safetensors.index.json`, says which tensor is in which file.
//!
//! Index and shards must agree exactly: a tensor that its shard lacks and a tensor that the index does not name are
//! errors. Shards lie in the index's folder; a name that leaves it is refused, whatever it points to.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::Safetensors;
use super::header::PairsSeed;
use crate::error::{Context, Error, Result};
use crate::io::archive::{Archive, display_name};
use crate::io::format::{Format, Options};
use crate::io::limits::MAX_JSON_HEADER_BYTES;
use crate::io::source::Source;

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
        let mut files: Vec<_> = shards.into_iter().collect();
        files.sort_by_key(|(file, _)| *file);
        for (file, shard) in files {
            if let Some(stray) = shard.entries().iter().find(|e| archive.get(e.name()).is_none()) {
                let (file, stray) = (display_name(file), display_name(stray.name()));
                return Err(Error::format(format!("{file} holds {stray}, which the index does not name")));
            }
        }
        Ok(archive)
    }
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
