//! The tensors of ONNX models: initialisers, constants, and those of subgraphs.
//!
//! The file is a protocol buffer that may be far larger than memory, so its messages are walked in place: only names
//! and positions are read. An initialiser of the model's graph has its own name, a constant the name of the value it
//! gives; what lies deeper is named by the path of nodes and attributes to it, as in `if_1.then_branch.weight`. Of a
//! sparse tensor the values and indices are listed, and its shape is put into the metadata as `NAME.shape`.
//! Tensors of texts are metadata too, as arrays.
//!
//! Elements are raw bytes, numbers of the message (decoded when read), or lie in a file in the model's folder or
//! below it. The format is not written.

mod tensor;
mod typed;
mod wire;

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use self::tensor::{Elements, Message, pair, text};
use self::wire::{Wire, field, tag, value, varint};
use super::archive::{Archive, display_name};
use super::format::{Format, Options};
use super::limits::{MAX_NAME_BYTES, MAX_ONNX_DEPTH, MAX_ONNX_TENSORS};
use super::metadata::{MetaArray, MetaValue};
use super::reader::Reader;
use super::source::Source;
use crate::error::{Context, Error, Result};

/// The format's entry in [`FORMATS`](super::FORMATS).
pub(super) struct Onnx;

/// The fields of a model: their numbers and kinds.
static MODEL: &[(u64, u8)] =
    &[(1, 0), (2, 2), (3, 2), (4, 2), (5, 0), (6, 2), (7, 2), (8, 2), (14, 2), (20, 2), (25, 2), (26, 2)];

const VERSION: u64 = 1;
const GRAPH: u64 = 7;

impl Format for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["onnx"]
    }

    /// Protocol buffers have no magic number: every field must be one of a model, and a version or graph among them.
    fn sniff(&self, head: &[u8]) -> bool {
        let source = Source::from_bytes("head", head.to_vec());
        let mut reader = Reader::new(&source, 0, source.size());
        let mut seen = false;
        while let Ok(Some(field)) = tag(&mut reader) {
            if !MODEL.contains(&field) {
                return false;
            }
            seen |= field.0 == VERSION;
            // The graph rarely ends within the head.
            if field.0 == GRAPH {
                return varint(&mut reader).is_ok();
            }
            if value(&mut reader, field.1).is_err() {
                return seen;
            }
        }
        seen && reader.remaining() == 0
    }

    fn open(&self, source: &Source, _: &Options) -> Result<Archive> {
        let mut walk = Walk {
            source,
            reader: Reader::new(source, 0, source.size()),
            archive: Archive::of(self.name()),
            files: HashMap::new(),
            numbers: HashMap::new(),
            frames: vec![Frame { kind: Kind::Model, at: 0, end: source.size(), path: "".into(), count: 0 }],
            has_graph: false,
        };
        while let Some(frame) = walk.frames.last() {
            let at = frame.at;
            walk.step().context(|| format!("byte {at}"))?;
        }
        match walk.has_graph {
            true => Ok(walk.archive),
            false => Err(Error::format("a model without a graph")),
        }
    }
}

/// A message whose fields are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Training,
    Function,
    Graph { main: bool },
    Node { constant: bool },
    Attribute,
}

struct Frame {
    kind: Kind,
    at: u64,
    end: u64,
    /// The names on the way here, joined by dots.
    path: Rc<str>,
    /// Tensors and graphs that an attribute had so far.
    count: usize,
}

struct Walk<'a> {
    source: &'a Source,
    reader: Reader<'a>,
    archive: Archive,
    files: HashMap<String, Source>,
    /// The last number of each path that more than one tensor has.
    numbers: HashMap<String, usize>,
    frames: Vec<Frame>,
    has_graph: bool,
}

impl Walk<'_> {
    /// Walks over one field of the innermost message, or leaves it.
    fn step(&mut self) -> Result<()> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        self.reader.seek(frame.at, frame.end);
        let Some((number, wire)) = field(&mut self.reader)? else {
            self.frames.pop();
            return Ok(());
        };
        frame.at = self.reader.at();
        let (kind, path) = (frame.kind, Rc::clone(&frame.path));
        // What is of interest is a message.
        let Wire::Bytes(place) = wire else { return Ok(()) };
        match (kind, number) {
            (Kind::Model, GRAPH) => {
                self.has_graph = true;
                self.enter(Kind::Graph { main: true }, place, path)
            }
            (Kind::Model, 14) => {
                let (key, value) = pair(&mut self.reader, &place).context(|| "metadata")?;
                self.archive.set_metadata(key, value);
                Ok(())
            }
            (Kind::Model, 20) => self.enter(Kind::Training, place, join(&path, "training")?),
            (Kind::Model, 25) => {
                let name = self.name_of(&place, 1)?;
                self.enter(Kind::Function, place, join(&path, &name)?)
            }
            (Kind::Training, 1) => {
                self.enter(Kind::Graph { main: false }, place, join(&path, "initialization")?)
            }
            (Kind::Training, 2) => self.enter(Kind::Graph { main: false }, place, join(&path, "algorithm")?),
            (Kind::Graph { .. }, 1) | (Kind::Function, 7) => self.enter_node(place, &path),
            (Kind::Graph { main }, 5) => {
                let message = self.message(&place)?;
                let name = match message.name.as_str() {
                    "" => return Err(Error::format("an initialiser without a name")),
                    name => join(&path, name)?,
                };
                self.add(message, &name, main)
            }
            (Kind::Graph { .. }, 15) => self.add_sparse(&place, &path),
            (Kind::Node { constant }, 5) => {
                let name = self.name_of(&place, 1)?;
                // The value of a constant is what the node gives.
                let path = if constant && name == "value" { path } else { join(&path, &name)? };
                self.enter(Kind::Attribute, place, path)
            }
            (Kind::Attribute, 5) => {
                let message = self.message(&place)?;
                self.add(message, &path, false)
            }
            (Kind::Attribute, 6) => self.enter(Kind::Graph { main: false }, place, path),
            (Kind::Attribute, 10) => {
                let path = self.numbered(&path)?;
                let message = self.message(&place)?;
                self.add(message, &path, false)
            }
            (Kind::Attribute, 11) => {
                let path = self.numbered(&path)?;
                self.enter(Kind::Graph { main: false }, place, path)
            }
            (Kind::Attribute, 22) => self.add_sparse(&place, &path),
            (Kind::Attribute, 23) => {
                let path = self.numbered(&path)?;
                self.add_sparse(&place, &path)
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, kind: Kind, place: Range<u64>, path: Rc<str>) -> Result<()> {
        if self.frames.len() == MAX_ONNX_DEPTH {
            return Err(Error::format(format!("messages nested more than {MAX_ONNX_DEPTH} deep")));
        }
        self.frames.push(Frame { kind, at: place.start, end: place.end, path, count: 0 });
        Ok(())
    }

    /// The path with the number of an item of an attribute.
    fn numbered(&mut self, path: &str) -> Result<Rc<str>> {
        let Some(frame) = self.frames.last_mut() else { return join(path, "0") };
        frame.count += 1;
        join(path, &(frame.count - 1).to_string())
    }

    /// A node is named by itself or, without a name and if it is a constant, by the first value that it gives.
    fn enter_node(&mut self, place: Range<u64>, path: &str) -> Result<()> {
        let (mut name, mut output, mut operation) = (0..0, None, 0..0);
        self.reader.seek(place.start, place.end);
        while let Some((number, wire)) = field(&mut self.reader)? {
            match (number, wire) {
                (2, Wire::Bytes(place)) if output.is_none() => output = Some(place),
                (3, Wire::Bytes(place)) => name = place,
                (4, Wire::Bytes(place)) => operation = place,
                _ => {}
            }
        }
        let constant = text(&mut self.reader, &operation)? == "Constant";
        let named = if name.is_empty() || constant { output.unwrap_or(operation) } else { name };
        let label = text(&mut self.reader, &named)?;
        let path = join(path, &label)?;
        self.enter(Kind::Node { constant }, place, path)
    }

    /// The text in a field of the message there.
    fn name_of(&mut self, place: &Range<u64>, wanted: u64) -> Result<String> {
        let mut name = 0..0;
        self.reader.seek(place.start, place.end);
        while let Some((number, wire)) = field(&mut self.reader)? {
            if let Wire::Bytes(place) = wire
                && number == wanted
            {
                name = place;
            }
        }
        text(&mut self.reader, &name)
    }

    fn message(&mut self, place: &Range<u64>) -> Result<Message> {
        Message::read(&mut self.reader, place).context(|| "tensor")
    }

    /// Adds a tensor; only names that the file itself gives must be unique.
    fn add(&mut self, message: Message, name: &str, unique: bool) -> Result<()> {
        if self.archive.entries().len() == MAX_ONNX_TENSORS {
            return Err(Error::format(format!("more than {MAX_ONNX_TENSORS} tensors")));
        }
        let elements = message.elements(self.source, &mut self.reader, &mut self.files);
        match elements.context(|| display_name(name))? {
            Elements::Numbers(mut entry, bytes) => {
                entry.name = if unique { name.to_owned() } else { self.unused(name) };
                let storage = self.archive.add_storage(bytes);
                self.archive.push(entry, storage)?;
            }
            Elements::Texts(texts) => {
                self.archive.set_metadata_value(name, MetaValue::Array(MetaArray::Str(texts)));
            }
        }
        Ok(())
    }

    /// The name, or the name with the first free number.
    fn unused(&mut self, name: &str) -> String {
        if self.archive.get(name).is_none() {
            return name.to_owned();
        }
        let number = self.numbers.entry(name.to_owned()).or_insert(1);
        loop {
            *number += 1;
            let numbered = format!("{name}#{number}");
            if self.archive.get(&numbered).is_none() {
                return numbered;
            }
        }
    }

    /// Adds the parts of a sparse tensor.
    fn add_sparse(&mut self, place: &Range<u64>, path: &str) -> Result<()> {
        let (mut values, mut indices, mut shape) = (None, None, Vec::new());
        self.reader.seek(place.start, place.end);
        while let Some((number, wire)) = field(&mut self.reader)? {
            match (number, wire) {
                (1, Wire::Bytes(place)) => values = Some(place),
                (2, Wire::Bytes(place)) => indices = Some(place),
                (3, wire) => tensor::sizes(&mut self.reader, &wire, &mut shape)?,
                _ => {}
            }
        }
        let (Some(values), Some(indices)) = (values, indices) else {
            return Err(Error::format("a sparse tensor without values or indices"));
        };
        let (values, indices) = (self.message(&values)?, self.message(&indices)?);
        let path = join(path, &values.name)?;
        self.archive.set_metadata(join(&path, "shape")?.as_ref(), format!("{shape:?}"));
        self.add(values, &join(&path, "values")?, false)?;
        self.add(indices, &join(&path, "indices")?, false)
    }
}

/// A path and one more name.
fn join(path: &str, name: &str) -> Result<Rc<str>> {
    let joined = match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    };
    match joined.len() > MAX_NAME_BYTES {
        true => Err(Error::format(format!("a tensor's name has more than {MAX_NAME_BYTES} bytes"))),
        false => Ok(joined.into()),
    }
}
