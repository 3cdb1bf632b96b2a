//! What stands before the tensors' bytes.

use std::collections::HashSet;

use super::{MAGIC, MAX_GGUF_DIMS};
use crate::error::{Context, Error, Result};
use crate::io::archive::display_name;
use crate::io::limits::{MAX_GGUF_METADATA_BYTES, MAX_NAME_BYTES};
use crate::io::metadata::{MetaArray, MetaValue};
use crate::io::reader::Reader;
use crate::io::source::Source;

/// A header, in the file's order.
pub(super) struct Header {
    pub(super) metadata: Vec<(String, MetaValue)>,
    pub(super) tensors: Vec<Info>,
    pub(super) big_endian: bool,
    /// The byte behind it.
    pub(super) end: u64,
}

/// What the header says about a tensor.
pub(super) struct Info {
    pub(super) name: String,
    /// Outermost first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: u32,
    pub(super) offset: u64,
}

impl Header {
    pub(super) fn read(source: &Source) -> Result<Self> {
        let mut reader = Reader::new(source, 0, source.size());
        let mut fields = || {
            if reader.array()? != *MAGIC {
                return Err(Error::format("no GGUF file"));
            }
            let version: [u8; 4] = reader.array()?;
            // Nothing says which byte order it is, but versions are small.
            let (little, big) = (u32::from_le_bytes(version), u32::from_be_bytes(version));
            let big_endian = little > big;
            reader.set_big_endian(big_endian);
            match little.min(big) {
                2 | 3 => Ok((big_endian, reader.u64()?, reader.u64()?)),
                version => Err(Error::unsupported(format!("version {version}, only 2 and 3 are read"))),
            }
        };
        let (big_endian, tensor_count, value_count) = fields().context(|| "header")?;
        let mut metadata = Vec::new();
        let mut seen = HashSet::new();
        let start = reader.at();
        for number in 0..value_count {
            let key = name(&mut reader).context(|| format!("key {number} of {value_count}"))?;
            if !seen.insert(key.clone()) {
                return Err(Error::format("two values have this key").context(display_name(&key)));
            }
            let value = value(&mut reader).context(|| display_name(&key))?;
            metadata.push((key, value));
            if reader.at() - start > MAX_GGUF_METADATA_BYTES {
                return Err(Error::format(format!("more than {MAX_GGUF_METADATA_BYTES} bytes of metadata")));
            }
        }
        let mut tensors = Vec::new();
        for number in 0..tensor_count {
            tensors.push(info(&mut reader).context(|| format!("tensor {number} of {tensor_count}"))?);
        }
        Ok(Self { metadata, tensors, big_endian, end: reader.at() })
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String> {
    let size = reader.u64()?;
    let bytes = reader.vec(size).context(|| "text")?;
    String::from_utf8(bytes).map_err(|_| Error::format("a text is not UTF-8"))
}

fn name(reader: &mut Reader<'_>) -> Result<String> {
    let at = reader.at();
    let size = reader.u64()?;
    if size > MAX_NAME_BYTES as u64 {
        return Err(Error::format(format!("a name of {size} bytes, at most {MAX_NAME_BYTES} are allowed")));
    }
    reader.seek(at, u64::MAX);
    text(reader)
}

fn info(reader: &mut Reader<'_>) -> Result<Info> {
    let name = name(reader)?;
    let place = || display_name(&name);
    let dims = reader.u32().context(place)? as usize;
    if dims > MAX_GGUF_DIMS {
        return Err(
            Error::format(format!("{dims} dimensions, at most {MAX_GGUF_DIMS} are allowed")).context(place())
        );
    }
    let mut shape = Vec::with_capacity(dims);
    for _ in 0..dims {
        let size = reader.u64().context(place)?;
        let size = usize::try_from(size).ok().filter(|&d| i64::try_from(d).is_ok());
        shape.push(size.ok_or_else(|| Error::format("a size is too large")).context(place)?);
    }
    shape.reverse();
    let (kind, offset) = (reader.u32().context(place)?, reader.u64().context(place)?);
    Ok(Info { name, shape, kind, offset })
}

/// Reads each value of an array; the sizes were compared with the bytes that are there.
fn many<T, const N: usize>(
    reader: &mut Reader<'_>,
    count: u64,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let fits = count.checked_mul(N as u64).is_some_and(|bytes| bytes <= reader.remaining());
    if !fits {
        return Err(Error::format(format!(
            "an array of {count} values is declared, {} bytes are left",
            reader.remaining()
        )));
    }
    (0..count).map(|_| reader.number().map(&value)).collect()
}

fn texts(reader: &mut Reader<'_>, count: u64) -> Result<Vec<String>> {
    let fits = count.checked_mul(8).is_some_and(|bytes| bytes <= reader.remaining());
    if !fits {
        return Err(Error::format(format!(
            "an array of {count} texts is declared, {} bytes are left",
            reader.remaining()
        )));
    }
    (0..count).map(|_| text(reader)).collect()
}

fn flag([b]: [u8; 1]) -> bool {
    b != 0
}

fn value(reader: &mut Reader<'_>) -> Result<MetaValue> {
    Ok(match reader.u32()? {
        0 => MetaValue::U8(reader.u8()?),
        1 => MetaValue::I8(reader.number().map(i8::from_le_bytes)?),
        2 => MetaValue::U16(reader.number().map(u16::from_le_bytes)?),
        3 => MetaValue::I16(reader.number().map(i16::from_le_bytes)?),
        4 => MetaValue::U32(reader.u32()?),
        5 => MetaValue::I32(reader.number().map(i32::from_le_bytes)?),
        6 => MetaValue::F32(reader.number().map(f32::from_le_bytes)?),
        7 => MetaValue::Bool(reader.number().map(flag)?),
        8 => MetaValue::Str(text(reader)?),
        9 => MetaValue::Array(array(reader)?),
        10 => MetaValue::U64(reader.u64()?),
        11 => MetaValue::I64(reader.number().map(i64::from_le_bytes)?),
        12 => MetaValue::F64(reader.number().map(f64::from_le_bytes)?),
        other => return Err(Error::format(format!("unknown type {other} of a value"))),
    })
}

fn array(reader: &mut Reader<'_>) -> Result<MetaArray> {
    let (kind, count) = (reader.u32()?, reader.u64()?);
    Ok(match kind {
        0 => MetaArray::U8(many(reader, count, u8::from_le_bytes)?),
        1 => MetaArray::I8(many(reader, count, i8::from_le_bytes)?),
        2 => MetaArray::U16(many(reader, count, u16::from_le_bytes)?),
        3 => MetaArray::I16(many(reader, count, i16::from_le_bytes)?),
        4 => MetaArray::U32(many(reader, count, u32::from_le_bytes)?),
        5 => MetaArray::I32(many(reader, count, i32::from_le_bytes)?),
        6 => MetaArray::F32(many(reader, count, f32::from_le_bytes)?),
        7 => MetaArray::Bool(many(reader, count, flag)?),
        8 => MetaArray::Str(texts(reader, count)?),
        9 => return Err(Error::unsupported("an array of arrays")),
        10 => MetaArray::U64(many(reader, count, u64::from_le_bytes)?),
        11 => MetaArray::I64(many(reader, count, i64::from_le_bytes)?),
        12 => MetaArray::F64(many(reader, count, f64::from_le_bytes)?),
        other => return Err(Error::format(format!("unknown type {other} of an array's values"))),
    })
}
