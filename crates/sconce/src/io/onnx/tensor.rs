//! A tensor's message: what it says, and where its elements are.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::typed::{Numbers, Typed};
use super::wire::{Wire, field, tag, value, varint};
use crate::error::{Context, Error, Result};
use crate::io::archive::display_name;
use crate::io::encoding::{Encoding, Packed};
use crate::io::entry::Entry;
use crate::io::limits::{MAX_DIMS, MAX_NAME_BYTES, MAX_ONNX_PLACES};
use crate::io::reader::Reader;
use crate::io::source::{ReadAt, Source};
use crate::tensor::dtype::DType;

const STRING: u64 = 8;

/// The field with numbers in four bytes, varints of 32 bits, and so on.
const FLOATS: u64 = 4;
const INT32S: u64 = 5;
const STRINGS: u64 = 6;
const INT64S: u64 = 7;
const DOUBLES: u64 = 10;
const UINT64S: u64 = 11;

const fn packed(name: &'static str, elements: u32) -> Encoding {
    Encoding::Packed(Packed { name, elements, bytes: 1 })
}

/// The types: their numbers, and the field that holds their elements unless they are raw bytes.
static TYPES: &[(u64, Encoding, u64)] = &[
    (1, Encoding::Plain(DType::F32), FLOATS),
    (2, Encoding::Plain(DType::U8), INT32S),
    (3, Encoding::Plain(DType::I8), INT32S),
    (4, Encoding::Plain(DType::U16), INT32S),
    (5, Encoding::Plain(DType::I16), INT32S),
    (6, Encoding::Plain(DType::I32), INT32S),
    (7, Encoding::Plain(DType::I64), INT64S),
    (9, Encoding::Plain(DType::Bool), INT32S),
    (10, Encoding::Plain(DType::F16), INT32S),
    (11, Encoding::Plain(DType::F64), DOUBLES),
    (12, Encoding::Plain(DType::U32), UINT64S),
    (13, Encoding::Plain(DType::U64), UINT64S),
    (14, Encoding::Plain(DType::C64), FLOATS),
    (15, Encoding::Plain(DType::C128), DOUBLES),
    (16, Encoding::Plain(DType::BF16), INT32S),
    (17, Encoding::Plain(DType::F8E4M3), INT32S),
    (18, Encoding::Plain(DType::F8E4M3FNUZ), INT32S),
    (19, Encoding::Plain(DType::F8E5M2), INT32S),
    (20, Encoding::Plain(DType::F8E5M2FNUZ), INT32S),
    (21, packed("uint4", 2), INT32S),
    (22, packed("int4", 2), INT32S),
    (23, packed("float4_e2m1", 2), INT32S),
    (24, Encoding::Plain(DType::F8E8M0), INT32S),
    (25, packed("uint2", 4), INT32S),
    (26, packed("int2", 4), INT32S),
];

/// What a message says.
#[derive(Default)]
pub(super) struct Message {
    pub(super) name: String,
    shape: Vec<usize>,
    kind: u64,
    raw: Option<Range<u64>>,
    /// The field of numbers that is there, and where they are.
    numbers: Option<(u64, Vec<Range<u64>>)>,
    texts: Vec<Range<u64>>,
    external: bool,
    location: Vec<(String, String)>,
}

/// A tensor's elements.
pub(super) enum Elements {
    Numbers(Entry, Arc<dyn ReadAt>),
    Texts(Vec<String>),
}

/// A short text.
pub(super) fn text(reader: &mut Reader<'_>, place: &Range<u64>) -> Result<String> {
    let size = place.end - place.start;
    if size > MAX_NAME_BYTES as u64 {
        return Err(Error::format(format!("a text of {size} bytes, at most {MAX_NAME_BYTES} are allowed")));
    }
    reader.seek(place.start, place.end);
    String::from_utf8(reader.vec(size)?).map_err(|_| Error::format("a text is not UTF-8"))
}

/// The key and the value of a pair.
pub(super) fn pair(reader: &mut Reader<'_>, place: &Range<u64>) -> Result<(String, String)> {
    let (mut key, mut value) = (0..0, 0..0);
    reader.seek(place.start, place.end);
    while let Some((number, wire)) = field(reader)? {
        match (number, wire) {
            (1, Wire::Bytes(place)) => key = place,
            (2, Wire::Bytes(place)) => value = place,
            _ => {}
        }
    }
    let key = text(reader, &key)?;
    reader.seek(value.start, value.end);
    let value = reader.vec(value.end - value.start)?;
    Ok((key, String::from_utf8(value).map_err(|_| Error::format("a text is not UTF-8"))?))
}

fn size(number: u64) -> Result<usize> {
    let size = i64::try_from(number).ok().and_then(|n| usize::try_from(n).ok());
    size.ok_or_else(|| Error::format(format!("the size {} is negative or too large", number as i64)))
}

/// The sizes in a field: one, or several one after another.
pub(super) fn sizes(reader: &mut Reader<'_>, wire: &Wire, shape: &mut Vec<usize>) -> Result<()> {
    match wire {
        Wire::Varint(number) => shape.push(size(*number)?),
        Wire::Bytes(place) => {
            let end = reader.at();
            let bound = end + reader.remaining();
            reader.seek(place.start, place.end);
            while reader.remaining() > 0 && shape.len() <= MAX_DIMS {
                shape.push(size(varint(reader)?)?);
            }
            reader.seek(end, bound);
        }
        Wire::Fixed(_) => return Err(Error::format("a size of the wrong kind")),
    }
    match shape.len() > MAX_DIMS {
        true => Err(Error::format(format!("more than {MAX_DIMS} dimensions"))),
        false => Ok(()),
    }
}

impl Message {
    /// Reads the message in that place.
    pub(super) fn read(reader: &mut Reader<'_>, place: &Range<u64>) -> Result<Self> {
        reader.seek(place.start, place.end);
        let mut message = Self::default();
        let (mut name, mut pairs) = (0..0, Vec::new());
        while let Some((number, kind)) = tag(reader)? {
            let at = reader.at();
            match (number, value(reader, kind)?) {
                (1, wire) => sizes(reader, &wire, &mut message.shape)?,
                (2, Wire::Varint(kind)) => message.kind = kind,
                (3, _) => return Err(Error::unsupported("a tensor in segments")),
                (FLOATS | INT32S | INT64S | DOUBLES | UINT64S, wire) => {
                    let place = match wire {
                        Wire::Bytes(place) | Wire::Fixed(place) => place,
                        Wire::Varint(_) => at..reader.at(),
                    };
                    message.add_numbers(number, place)?;
                }
                (STRINGS, Wire::Bytes(place)) => {
                    message.texts.push(place);
                    check_places(message.texts.len())?;
                }
                (8, Wire::Bytes(place)) => name = place,
                (9, Wire::Bytes(place)) => message.raw = Some(place),
                (13, Wire::Bytes(place)) if pairs.len() < MAX_DIMS => pairs.push(place),
                (14, Wire::Varint(location @ (0 | 1))) => message.external = location == 1,
                (14, Wire::Varint(other)) => {
                    return Err(Error::format(format!("elements at the unknown location {other}")));
                }
                (2 | 8 | 9 | 13 | 14, _) => {
                    return Err(Error::format(format!("field {number} of a tensor is of the wrong kind")));
                }
                _ => {}
            }
        }
        message.name = text(reader, &name).context(|| "name")?;
        for place in pairs {
            message.location.push(pair(reader, &place)?);
        }
        Ok(message)
    }

    fn add_numbers(&mut self, number: u64, place: Range<u64>) -> Result<()> {
        match &mut self.numbers {
            None => self.numbers = Some((number, vec![place])),
            Some((known, places)) if *known == number => {
                places.push(place);
                check_places(places.len())?;
            }
            Some(_) => return Err(Error::format("elements in two fields")),
        }
        Ok(())
    }

    /// Finds the elements; `files` holds the external files that are open.
    pub(super) fn elements(
        self,
        source: &Source,
        reader: &mut Reader<'_>,
        files: &mut HashMap<String, Source>,
    ) -> Result<Elements> {
        if self.kind == STRING {
            return self.texts(reader).map(Elements::Texts);
        }
        let &(_, encoding, wanted) = TYPES
            .iter()
            .find(|(kind, ..)| *kind == self.kind)
            .ok_or_else(|| Error::format(format!("unknown tensor type {}", self.kind)))?;
        let entry = Entry::new("", encoding, self.shape);
        entry.check(u64::MAX)?;
        let numbers = self.numbers.filter(|(_, places)| places.iter().any(|p| !p.is_empty()));
        let bytes: Arc<dyn ReadAt> = match (self.external, self.raw, numbers) {
            (true, None, None) => external(source, &self.location, entry.bytes(), files)?,
            (false, Some(raw), None) => Arc::new(source.window(raw.start, raw.end - raw.start)?),
            (false, None, None) => Arc::new(Vec::new()),
            (false, None, Some((number, _))) if number != wanted => {
                let name = encoding.name();
                return Err(Error::format(format!(
                    "elements of {name} in field {number}, expected {wanted}"
                )));
            }
            (false, None, Some((_, places))) => {
                let numbers = match wanted {
                    FLOATS | DOUBLES => Numbers::Fixed,
                    _ if encoding == Encoding::Plain(DType::Bool) => Numbers::Flag,
                    _ => Numbers::Varint,
                };
                let width = match encoding {
                    Encoding::Packed(_) => 1,
                    Encoding::Plain(_) => encoding.number_size(),
                };
                let typed = Typed::new(source, places, numbers, width)?;
                match typed.window() {
                    Some(place) => Arc::new(source.window(place.start, place.end - place.start)?),
                    None => Arc::new(typed),
                }
            }
            _ => return Err(Error::format("elements in two places")),
        };
        if bytes.size() != entry.bytes() {
            let (shape, wanted, found) = (entry.shape(), entry.bytes(), bytes.size());
            let name = encoding.name();
            return Err(Error::format(format!(
                "shape {shape:?} of {name} takes {wanted} bytes, {found} are there"
            )));
        }
        Ok(Elements::Numbers(entry, bytes))
    }

    fn texts(self, reader: &mut Reader<'_>) -> Result<Vec<String>> {
        let numel = Entry::new("", DType::U8, self.shape).numel();
        if numel != self.texts.len() || self.external || self.raw.is_some() {
            let found = self.texts.len();
            return Err(Error::format(format!("{numel} texts are declared, {found} are there")));
        }
        let mut texts = Vec::with_capacity(self.texts.len());
        for place in self.texts {
            reader.seek(place.start, place.end);
            let bytes = reader.vec(place.end - place.start)?;
            texts.push(String::from_utf8(bytes).map_err(|_| Error::format("a text is not UTF-8"))?);
        }
        Ok(texts)
    }
}

fn check_places(count: usize) -> Result<()> {
    match count > MAX_ONNX_PLACES {
        true => Err(Error::unsupported(format!("elements in more than {MAX_ONNX_PLACES} places"))),
        false => Ok(()),
    }
}

/// The elements in a file beside the model.
fn external(
    source: &Source,
    location: &[(String, String)],
    bytes: u64,
    files: &mut HashMap<String, Source>,
) -> Result<Arc<dyn ReadAt>> {
    let get = |key: &str| location.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    let number = |key: &str| match get(key) {
        Some(text) => text
            .trim()
            .parse::<u64>()
            .map(Some)
            .map_err(|_| Error::format(format!("external data: the {key} {text:?} is no number"))),
        None => Ok(None),
    };
    let path = get("location").ok_or_else(|| Error::format("external data without a location"))?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length
        && length != bytes
    {
        return Err(Error::format(format!("external data of {length} bytes, the shape takes {bytes}")));
    }
    if !files.contains_key(path) {
        files.insert(path.to_owned(), source.below(path).context(|| "external data")?);
    }
    let window = files[path].window(offset, bytes);
    Ok(Arc::new(window.context(|| format!("external data {}", display_name(path)))?))
}
