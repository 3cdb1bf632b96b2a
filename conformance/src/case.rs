//! What the lines of all manifests have in common, and reading of their fields.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value as Json;

use crate::compare::Tolerance;
use crate::outcome::{Stop, wrong};
use crate::store::{Array, File, Store, unsigned};
use crate::value::{Ref, Value};

/// A tensor of a case's table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    data: String,
    /// Shape, strides and offset of a view on `data`.
    pub view: Option<View>,
    pub requires_grad: bool,
    pub tolerance: Tolerance,
    /// The input whose memory it shares.
    pub view_of: Option<String>,
    complex: bool,
}

/// Where the elements of a view lie in a storage, in elements.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Empty for outputs: the values have it.
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub offset: usize,
}

/// One line of a manifest.
pub(crate) struct Case {
    pub id: String,
    pub json: Json,
    entries: HashMap<String, Entry>,
    file: Result<Rc<File>, String>,
}

impl Case {
    /// Parses a line and opens the file that it names.
    pub(crate) fn parse(line: &str, store: &mut Store) -> Result<Self, String> {
        let json: Json = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let id = json["id"].as_str().ok_or("no id")?.to_owned();
        let mut entries = HashMap::new();
        for (name, entry) in json["tensors"].as_object().into_iter().flatten() {
            entries
                .insert(name.clone(), Entry::parse(entry).ok_or_else(|| format!("{id}: malformed {name}"))?);
        }
        // A case without tensors may name a file that does not exist.
        let file = match json["file"].as_str() {
            Some(path) if !entries.is_empty() => store.file(path),
            _ => Err("the case has no tensors".into()),
        };
        Ok(Self { id, json, entries, file })
    }

    /// The entry of a tensor.
    pub(crate) fn entry(&self, name: &str) -> Result<&Entry, Stop> {
        self.entries.get(name).ok_or_else(|| Stop::Wrong(format!("no tensor {name:?} in the table")))
    }

    /// The values of a tensor; for an input that is a view, its storage.
    pub(crate) fn array(&self, name: &str) -> Result<Array, Stop> {
        let entry = self.entry(name)?;
        let array = self.file.as_ref().map_err(Clone::clone)?.array(&entry.data)?;
        Ok(if entry.complex { array.into_complex()? } else { array })
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A string field.
    pub(crate) fn str(&self, field: &str) -> Result<&str, Stop> {
        str_of(&self.json, field)
    }

    /// A field that is a value.
    pub(crate) fn value(&self, field: &str) -> Result<Value<Ref>, Stop> {
        Ok(Value::parse(&self.json[field])?)
    }
}

impl Entry {
    fn parse(json: &Json) -> Option<Self> {
        let numbers = |key: &str| json.get(key).map(unsigned);
        let view = match (numbers("shape"), numbers("strides")) {
            (shape, Some(strides)) => Some(View {
                shape: shape.unwrap_or(Some(Vec::new()))?,
                strides: strides?,
                offset: json["offset"].as_u64()?.try_into().ok()?,
            }),
            _ => None,
        };
        let tolerance = match json.get("tol") {
            Some(tol) => Some([tol[0].as_f64()?, tol[1].as_f64()?]),
            None => None,
        };
        Some(Self {
            data: json["data"].as_str()?.to_owned(),
            view,
            requires_grad: json["requires_grad"].as_bool().unwrap_or(false),
            tolerance,
            view_of: json["view_of"].as_str().map(str::to_owned),
            complex: json["dtype"].as_str() == Some("complex128"),
        })
    }
}

/// A string field of an object.
pub(crate) fn str_of<'a>(json: &'a Json, field: &str) -> Result<&'a str, Stop> {
    json[field].as_str().ok_or_else(|| Stop::Wrong(format!("the case has no {field}")))
}

/// An array field of an object.
pub(crate) fn array_of<'a>(json: &'a Json, field: &str) -> Result<&'a [Json], Stop> {
    json[field].as_array().map(Vec::as_slice).ok_or_else(|| Stop::Wrong(format!("the case has no {field}")))
}

/// Strings of an array field.
pub(crate) fn strings_of<'a>(json: &'a Json, field: &str) -> Result<Vec<&'a str>, Stop> {
    let strings = array_of(json, field)?.iter().map(Json::as_str).collect::<Option<_>>();
    strings.ok_or_else(|| Stop::Wrong(format!("{field} has more than strings")))
}

/// The pairs of an array field of `[name, value]`.
pub(crate) fn pairs_of<'a>(json: &'a Json, field: &str) -> Result<Vec<(&'a str, &'a Json)>, Stop> {
    let pair = |item: &'a Json| Some((item.get(0)?.as_str()?, item.get(1)?));
    let pairs = array_of(json, field)?.iter().map(pair).collect::<Option<_>>();
    pairs.ok_or_else(|| Stop::Wrong(format!("{field} is no array of pairs")))
}

/// The values of an array field, which may be absent.
pub(crate) fn args_of(json: &Json, field: &str) -> Result<Vec<Value<Ref>>, Stop> {
    match json.get(field) {
        None => Ok(Vec::new()),
        Some(Json::Array(items)) => Ok(items.iter().map(Value::parse).collect::<Result<_, _>>()?),
        Some(_) => wrong(format!("{field} is not an array")),
    }
}

/// The named values of an object field, which may be absent.
pub(crate) fn kwargs_of(json: &Json, field: &str) -> Result<Vec<(String, Value<Ref>)>, Stop> {
    match json.get(field) {
        None => Ok(Vec::new()),
        Some(Json::Object(map)) => {
            Ok(map.iter().map(|(k, v)| Ok((k.clone(), Value::parse(v)?))).collect::<Result<_, String>>()?)
        }
        Some(_) => wrong(format!("{field} is not an object")),
    }
}
