//! Writing version 3, little-endian.

use std::io::Write;

use super::{ALIGNMENT_KEY, MAGIC, MAX_GGUF_DIMS, alignment, kind_of};
use crate::error::{Context, Error, Result};
use crate::io::archive::{Archive, display_name};
use crate::io::entry::Entry;
use crate::io::metadata::{MetaArray, MetaValue};

const VERSION: u32 = 3;
const CHUNK_BYTES: usize = 1 << 20;

/// ggml's own reader takes shorter names only.
const NAME_BYTES: usize = 64;

pub(super) fn write(archive: &Archive, out: &mut dyn Write) -> Result<()> {
    if let Some(path) = archive.tree().and_then(|tree| tree.first_plain_value()) {
        return Err(Error::unsupported(format!(
            "gguf holds tensors and metadata only, but {} is another value",
            display_name(&path)
        )));
    }
    let alignment = alignment(archive.metadata_value(ALIGNMENT_KEY).as_ref())?;
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((archive.entries().len() as u64).to_le_bytes());
    header.extend((archive.metadata().len() as u64).to_le_bytes());
    for (key, text) in archive.metadata() {
        put_text(&mut header, key);
        match archive.typed_metadata(key) {
            Some(value) => put_value(&mut header, value),
            None => {
                header.extend(8_u32.to_le_bytes());
                put_text(&mut header, text);
            }
        }
    }
    let mut offset = 0_u64;
    for entry in archive.entries() {
        put_info(&mut header, entry, offset).context(|| display_name(entry.name()))?;
        offset = offset
            .checked_add(entry.bytes())
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or_else(|| Error::argument("the sizes overflow"))?;
    }
    let pad = |size: u64| (size.next_multiple_of(alignment) - size) as usize;
    header.resize(header.len() + pad(header.len() as u64), 0);
    out.write_all(&header)?;
    for entry in archive.entries() {
        archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| Ok(out.write_all(bytes)?))?;
        let padding = vec![0; pad(entry.bytes())];
        out.write_all(&padding)?;
    }
    Ok(())
}

fn put_info(header: &mut Vec<u8>, entry: &Entry, offset: u64) -> Result<()> {
    let (name, shape) = (entry.name(), entry.shape());
    if name.len() >= NAME_BYTES {
        return Err(Error::unsupported(format!(
            "gguf takes names of less than {NAME_BYTES} bytes, this one has {}",
            name.len()
        )));
    }
    if shape.len() > MAX_GGUF_DIMS {
        let dims = shape.len();
        return Err(Error::unsupported(format!("gguf takes at most {MAX_GGUF_DIMS} dimensions, not {dims}")));
    }
    let kind = kind_of(entry.encoding())
        .filter(|_| entry.quantizer().is_none())
        .ok_or_else(|| Error::unsupported(format!("gguf has no type for {}", entry.encoding().name())))?;
    let row = shape.last().copied().unwrap_or(1) as u64;
    if !row.is_multiple_of(kind.encoding.block().0) {
        return Err(Error::unsupported(format!("rows of {row} are not whole blocks of {}", kind.name)));
    }
    put_text(header, name);
    header.extend((shape.len() as u32).to_le_bytes());
    header.extend(shape.iter().rev().flat_map(|&d| (d as u64).to_le_bytes()));
    header.extend(kind.id.to_le_bytes());
    header.extend(offset.to_le_bytes());
    Ok(())
}

fn put_text(header: &mut Vec<u8>, text: &str) {
    header.extend((text.len() as u64).to_le_bytes());
    header.extend(text.as_bytes());
}

/// The numbers of the types, and how their values are written.
macro_rules! values {
    ($($variant:ident = $kind:literal,)*) => {
        fn put_value(header: &mut Vec<u8>, value: &MetaValue) {
            match value {
                $(MetaValue::$variant(x) => {
                    header.extend(u32::to_le_bytes($kind));
                    header.extend(x.to_le_bytes());
                })*
                MetaValue::Bool(x) => {
                    header.extend(7_u32.to_le_bytes());
                    header.push((*x).into());
                }
                MetaValue::Str(text) => {
                    header.extend(8_u32.to_le_bytes());
                    put_text(header, text);
                }
                MetaValue::Array(items) => {
                    header.extend(9_u32.to_le_bytes());
                    put_array(header, items);
                }
            }
        }

        fn put_array(header: &mut Vec<u8>, items: &MetaArray) {
            let mut start = |kind: u32, count: usize| {
                header.extend(kind.to_le_bytes());
                header.extend((count as u64).to_le_bytes());
            };
            match items {
                $(MetaArray::$variant(items) => {
                    start($kind, items.len());
                    header.extend(items.iter().flat_map(|x| x.to_le_bytes()));
                })*
                MetaArray::Bool(items) => {
                    start(7, items.len());
                    header.extend(items.iter().map(|&x| u8::from(x)));
                }
                MetaArray::Str(items) => {
                    start(8, items.len());
                    items.iter().for_each(|text| put_text(header, text));
                }
            }
        }
    };
}

values! {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}
