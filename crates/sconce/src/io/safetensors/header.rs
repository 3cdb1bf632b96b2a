//! The JSON header, read and written token by token: order is kept, and nothing is accepted twice.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result};
use crate::io::limits::MAX_DIMS;

const METADATA: &str = "__metadata__";

/// A header, in the file's order.
pub(super) struct Header {
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tensors: Vec<Info>,
}

/// What the header says about a tensor.
pub(super) struct Info {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) begin: u64,
    pub(super) end: u64,
}

impl Header {
    /// Parses the header's bytes, padding included.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| Error::format(format!("not UTF-8 at byte {}", e.valid_up_to())))?
            .trim_end_matches(' ');
        if !text.starts_with('{') {
            return Err(Error::format("expected a JSON object"));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let header = json.deserialize_map(HeaderVisitor);
        header.and_then(|h| json.end().map(|()| h)).map_err(|e| Error::format(e.to_string()))
    }

    /// The header's bytes, padded to a multiple of eight.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut out = String::from("{");
        if !self.metadata.is_empty() {
            out.push_str("\"__metadata__\":{");
            for (i, (key, value)) in self.metadata.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                out.push_str(&format!("{comma}{}:{}", quoted(key), quoted(value)));
            }
            out.push_str(if self.tensors.is_empty() { "}" } else { "}," });
        }
        for (i, info) in self.tensors.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let shape: Vec<String> = info.shape.iter().map(u64::to_string).collect();
            out.push_str(&format!(
                "{comma}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                quoted(&info.name),
                info.dtype,
                shape.join(","),
                info.begin,
                info.end
            ));
        }
        out.push('}');
        let mut bytes = out.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        bytes
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut header = Header { metadata: Vec::new(), tensors: Vec::new() };
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("{name:?} occurs twice")));
            }
            if name == METADATA {
                header.metadata = map.next_value_seed(PairsSeed(METADATA))?;
            } else {
                header.tensors.push(map.next_value_seed(InfoSeed(name))?);
            }
        }
        Ok(header)
    }
}

/// An object of strings, called by its key in errors.
pub(super) struct PairsSeed(pub(super) &'static str);

impl<'de> DeserializeSeed<'de> for PairsSeed {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an object of strings", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("{key:?} occurs twice in {}", self.0)));
            }
            pairs.push((key, value));
        }
        Ok(pairs)
    }
}

struct InfoSeed(String);

impl<'de> DeserializeSeed<'de> for InfoSeed {
    type Value = Info;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Info, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InfoSeed {
    type Value = Info;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with dtype, shape and data_offsets for {:?}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Info, A::Error> {
        let name = self.0;
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            let again = match field.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>()?).is_some(),
                "shape" => shape.replace(map.next_value_seed(NumbersSeed)?).is_some(),
                "data_offsets" => offsets.replace(map.next_value_seed(NumbersSeed)?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom(format_args!("{name:?} has an unknown field {field:?}")));
                }
            };
            if again {
                return Err(A::Error::custom(format_args!("{name:?} has two fields {field:?}")));
            }
        }
        let missing = |field| A::Error::custom(format_args!("{name:?} has no {field}"));
        let dtype = dtype.ok_or_else(|| missing("dtype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
        let [begin, end] = offsets[..] else {
            let count = offsets.len();
            return Err(A::Error::custom(format_args!("{name:?} has {count} data_offsets, expected 2")));
        };
        Ok(Info { name, dtype, shape, begin, end })
    }
}

/// A short array of non-negative integers.
struct NumbersSeed;

impl<'de> DeserializeSeed<'de> for NumbersSeed {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NumbersSeed {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of non-negative integers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(n) = seq.next_element::<u64>()? {
            if numbers.len() == MAX_DIMS {
                return Err(A::Error::custom(format_args!("more than {MAX_DIMS} dimensions")));
            }
            numbers.push(n);
        }
        Ok(numbers)
    }
}
