//! The safetensors format: a JSON header, then the tensors' bytes without holes.
//!
//! The reader is strict where the format's own library is lenient: a name that occurs twice, a field that the format
//! does not have and a `__metadata__` that is no table of texts are errors. Types that no tensor has here (4 and 6
//! bits) are listed as [`Packed`].
//!
//! The format holds contiguous tensors by name, and texts. What else an archive knows is written as follows: views
//! become contiguous, tied tensors are written under each name, the marks of parameters and the attributes of state
//! dicts are left out; other values of a nested structure are refused by name.

mod header;
mod sharded;

use std::io::Write;
use std::sync::Arc;

use self::header::{Header, Info};
pub(super) use self::sharded::Sharded;
use super::archive::{Archive, display_name};
use super::encoding::{Encoding, Packed};
use super::entry::Entry;
use super::format::{Format, Options};
use super::limits::MAX_JSON_HEADER_BYTES;
use super::source::Source;
use crate::error::{Context, Error, Result};
use crate::tensor::dtype::DType;

const CHUNK_BYTES: usize = 1 << 20;

/// The format's entry in [`FORMATS`](super::FORMATS).
pub(super) struct Safetensors;

/// The format's types in the order in which its library sorts them, the last first.
static TYPES: &[(&str, Encoding)] = &[
    ("BOOL", Encoding::Plain(DType::Bool)),
    ("F4", Encoding::Packed(Packed { name: "F4", elements: 2, bytes: 1 })),
    ("F6_E2M3", Encoding::Packed(Packed { name: "F6_E2M3", elements: 4, bytes: 3 })),
    ("F6_E3M2", Encoding::Packed(Packed { name: "F6_E3M2", elements: 4, bytes: 3 })),
    ("U8", Encoding::Plain(DType::U8)),
    ("I8", Encoding::Plain(DType::I8)),
    ("F8_E5M2", Encoding::Plain(DType::F8E5M2)),
    ("F8_E4M3", Encoding::Plain(DType::F8E4M3)),
    ("F8_E8M0", Encoding::Plain(DType::F8E8M0)),
    ("F8_E4M3FNUZ", Encoding::Plain(DType::F8E4M3FNUZ)),
    ("F8_E5M2FNUZ", Encoding::Plain(DType::F8E5M2FNUZ)),
    ("I16", Encoding::Plain(DType::I16)),
    ("U16", Encoding::Plain(DType::U16)),
    ("F16", Encoding::Plain(DType::F16)),
    ("BF16", Encoding::Plain(DType::BF16)),
    ("I32", Encoding::Plain(DType::I32)),
    ("U32", Encoding::Plain(DType::U32)),
    ("F32", Encoding::Plain(DType::F32)),
    ("C64", Encoding::Plain(DType::C64)),
    ("F64", Encoding::Plain(DType::F64)),
    ("I64", Encoding::Plain(DType::I64)),
    ("U64", Encoding::Plain(DType::U64)),
];

impl Format for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        match head.split_first_chunk::<8>() {
            Some((size, rest)) => {
                rest.first() == Some(&b'{') && u64::from_le_bytes(*size) <= MAX_JSON_HEADER_BYTES
            }
            None => false,
        }
    }

    fn open(&self, source: &Source, _: &Options) -> Result<Archive> {
        let (header, data) = read_header(source)?;
        check_cover(&header.tensors, source.size() - data)?;
        let mut archive = Archive::of(self.name());
        archive.set_metadata_list(header.metadata);
        for info in header.tensors {
            let place = || display_name(&info.name);
            let Some(&(_, encoding)) = TYPES.iter().find(|(name, _)| *name == info.dtype) else {
                return Err(Error::format(format!("unknown dtype {:?}", info.dtype)).context(place()));
            };
            let shape: Vec<usize> = info
                .shape
                .iter()
                .map(|&d| usize::try_from(d).map_err(|_| Error::format(format!("size {d} is too large"))))
                .collect::<Result<_>>()
                .context(place)?;
            let size = info.end - info.begin;
            let entry = Entry::new(info.name.as_str(), encoding, shape);
            entry.check(u64::MAX).context(place)?;
            if entry.bytes() != size {
                let (shape, bytes) = (entry.shape(), entry.bytes());
                return Err(Error::format(format!(
                    "shape {shape:?} of {} takes {bytes} bytes, the offsets span {size}",
                    info.dtype
                ))
                .context(place()));
            }
            let window = source.window(data + info.begin, size).context(place)?;
            let storage = archive.add_storage(Arc::new(window));
            archive.push(entry, storage)?;
        }
        Ok(archive)
    }

    fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<()> {
        check_tree(archive)?;
        let mut order = Vec::with_capacity(archive.entries().len());
        for entry in archive.entries() {
            order.push((type_rank(entry)?, entry));
        }
        order.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name().cmp(y.name())));
        let mut begin = 0_u64;
        let mut tensors = Vec::with_capacity(order.len());
        for &(rank, entry) in &order {
            let end =
                begin.checked_add(entry.bytes()).ok_or_else(|| Error::argument("the sizes overflow"))?;
            tensors.push(Info {
                name: entry.name().to_owned(),
                dtype: TYPES[rank].0.to_owned(),
                shape: entry.shape().iter().map(|&d| d as u64).collect(),
                begin,
                end,
            });
            begin = end;
        }
        let header = Header { metadata: archive.metadata().to_vec(), tensors }.to_json();
        if header.len() as u64 > MAX_JSON_HEADER_BYTES {
            let size = header.len();
            return Err(Error::unsupported(format!(
                "a header of {size} bytes, at most {MAX_JSON_HEADER_BYTES} are allowed"
            )));
        }
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for (_, entry) in order {
            archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| Ok(out.write_all(bytes)?))?;
        }
        Ok(())
    }
}

/// Refuses structures that hold more than tensors.
fn check_tree(archive: &Archive) -> Result<()> {
    match archive.tree().and_then(|tree| tree.first_plain_value()) {
        Some(path) => Err(Error::unsupported(format!(
            "safetensors holds tensors only, but {} is another value",
            display_name(&path)
        ))),
        None => Ok(()),
    }
}

/// Reads the header; also returns where the tensors' bytes begin.
fn read_header(source: &Source) -> Result<(Header, u64)> {
    let mut size = [0; 8];
    source.read_at(0, &mut size).context(|| "header size")?;
    let size = u64::from_le_bytes(size);
    if size > MAX_JSON_HEADER_BYTES {
        return Err(Error::format(format!(
            "a header of {size} bytes, at most {MAX_JSON_HEADER_BYTES} are allowed"
        )));
    }
    let bytes = source.read_vec(8, size).context(|| "header")?;
    Ok((Header::parse(&bytes).context(|| "header")?, 8 + size))
}

/// Checks that the tensors cover the data without overlap, hole or rest.
fn check_cover(tensors: &[Info], data: u64) -> Result<()> {
    let mut order: Vec<&Info> = tensors.iter().collect();
    order.sort_by_key(|t| (t.begin, t.end));
    let mut at = 0;
    for info in order {
        let (begin, end) = (info.begin, info.end);
        let wrong = if begin > end {
            "run backwards".to_owned()
        } else if end > data {
            format!("lie beyond the data of {data} bytes")
        } else if begin < at {
            "overlap another tensor".to_owned()
        } else if begin > at {
            format!("leave a hole after byte {at}")
        } else {
            at = end;
            continue;
        };
        return Err(
            Error::format(format!("offsets [{begin}, {end}] {wrong}")).context(display_name(&info.name))
        );
    }
    match data - at {
        0 => Ok(()),
        rest => Err(Error::format(format!("{rest} bytes after the last tensor belong to none"))),
    }
}

fn type_rank(entry: &Entry) -> Result<usize> {
    let known = TYPES.iter().position(|&(_, encoding)| encoding == entry.encoding());
    known.filter(|_| entry.quantizer().is_none()).ok_or_else(|| {
        let name = entry.encoding().name();
        Error::unsupported(format!("safetensors has no type for {name}")).context(display_name(entry.name()))
    })
}
