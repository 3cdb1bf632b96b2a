//! GGUF, versions 2 and 3: typed metadata, and tensors that are mostly quantised in blocks.
//!
//! A shape is listed outermost dimension first, as everywhere here; the file has it reversed. Blocks are listed and
//! copied as [`Packed`](super::Packed), which turns most kinds into numbers. Metadata keeps its types
//! ([`Archive::metadata_value`]) and is written back as it was; texts become strings.
//!
//! The reader asks for what ggml's own asks for: tensors in the data's order without holes, whole blocks in each row,
//! at most four dimensions, an alignment that is a power of two. Big-endian files are read unless they hold blocks.

mod header;
mod write;

use std::io::Write;
use std::sync::Arc;

use self::header::Header;
use super::archive::{Archive, display_name};
use super::blocks::{KINDS, Kind};
use super::encoding::Encoding;
use super::entry::Entry;
use super::format::{Format, Options};
use super::limits::MAX_GGUF_ALIGNMENT;
use super::metadata::MetaValue;
use super::source::Source;
use crate::error::{Context, Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u32 = 32;
const MAX_GGUF_DIMS: usize = 4;

/// The format's entry in [`FORMATS`](super::FORMATS).
pub(super) struct Gguf;

impl Format for Gguf {
    fn name(&self) -> &'static str {
        "gguf"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["gguf"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn open(&self, source: &Source, _: &Options) -> Result<Archive> {
        let header = Header::read(source)?;
        let mut archive = Archive::of(self.name());
        let alignment = alignment(header.metadata.iter().find(|(k, _)| k == ALIGNMENT_KEY).map(|(_, v)| v))?;
        for (key, value) in header.metadata {
            archive.set_metadata_value(key, value);
        }
        archive.set_big_endian(header.big_endian);
        let data = header.end.next_multiple_of(alignment);
        let mut at = 0_u64;
        for info in header.tensors {
            let place = || display_name(&info.name);
            let kind = KINDS
                .iter()
                .find(|kind| kind.id == info.kind)
                .ok_or_else(|| Error::format(format!("unknown tensor type {}", info.kind)))
                .context(place)?;
            let (elements, _) = kind.encoding.block();
            let row = info.shape.last().copied().unwrap_or(1) as u64;
            if !row.is_multiple_of(elements) {
                let name = kind.name;
                return Err(Error::format(format!(
                    "rows of {row} are not whole blocks of {name} ({elements})"
                ))
                .context(place()));
            }
            if header.big_endian && matches!(kind.encoding, Encoding::Packed(_)) {
                let name = kind.name;
                return Err(
                    Error::unsupported(format!("blocks of {name} in a big-endian file")).context(place())
                );
            }
            let entry = Entry::new(info.name.as_str(), kind.encoding, info.shape);
            entry.check(u64::MAX).context(place)?;
            if info.offset != at {
                let offset = info.offset;
                return Err(
                    Error::format(format!("its data begin at byte {offset}, expected {at}")).context(place())
                );
            }
            let size = entry.bytes();
            let start = data.checked_add(at).ok_or_else(|| Error::format("the sizes overflow"))?;
            let storage = archive.add_storage(Arc::new(source.window(start, size).context(place)?));
            at = (at + size).next_multiple_of(alignment);
            archive.push(entry, storage)?;
        }
        // The padding behind the last tensor may be missing.
        let end = data.saturating_add(at);
        if source.size() > end {
            let rest = source.size() - end;
            return Err(Error::format(format!("{rest} bytes after the last tensor belong to none")));
        }
        Ok(archive)
    }

    fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<()> {
        write::write(archive, out)
    }
}

/// The alignment that the metadata ask for.
fn alignment(value: Option<&MetaValue>) -> Result<u64> {
    match value {
        None => Ok(DEFAULT_ALIGNMENT.into()),
        Some(MetaValue::U32(n)) if n.is_power_of_two() && *n <= MAX_GGUF_ALIGNMENT => Ok((*n).into()),
        Some(MetaValue::U32(n)) => {
            Err(Error::format(format!("an alignment of {n} is no power of two up to {MAX_GGUF_ALIGNMENT}")))
        }
        Some(_) => Err(Error::format(format!("{ALIGNMENT_KEY} must be an integer of type u32"))),
    }
}

/// ggml's type of an encoding.
fn kind_of(encoding: Encoding) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.encoding == encoding)
}
