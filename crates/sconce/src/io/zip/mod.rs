//! Zip archives, read through their central directory and nothing else.
//!
//! PyTorch streams its records: the local headers have no sizes and no checksums, so only the central directory
//! counts. It is checked in full before anything is read: every range lies in the file, no two overlap, every local
//! header names the same record, no name is absolute, leaves the archive or occurs twice. Records are stored or
//! deflated; checksums are verified when a record is read from its start to its end.

mod checksums;
mod record;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use self::checksums::{Checksum, checksums};
use self::record::{Inflated, Stored};
pub(super) use self::write::ZipWriter;
use super::archive::display_name;
use super::limits::{MAX_INFLATE_RATIO, MAX_INFLATED_BYTES, MAX_ZIP_DIRECTORY_BYTES, MAX_ZIP_RECORDS};
use super::source::{ReadAt, Source, zeroed};
use crate::error::{Context, Error, Result};

pub(super) const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
pub(super) const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
pub(super) const END_SIGNATURE: u32 = 0x0605_4b50;
pub(super) const END64_SIGNATURE: u32 = 0x0606_4b50;
pub(super) const LOCATOR64_SIGNATURE: u32 = 0x0706_4b50;
pub(super) const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END64_BYTES: usize = 56;
const LOCATOR64_BYTES: usize = 20;
const MAX_COMMENT_BYTES: usize = 0xffff;
const ZIP64_EXTRA: u16 = 1;
/// The flags of encrypted records, of strongly encrypted ones and of masked headers.
const ENCRYPTED: u16 = 0x2041;

/// The directory of a zip archive.
pub(super) struct Zip {
    source: Source,
    records: Vec<Record>,
    index: HashMap<String, usize>,
    /// Whether checksums were written at all; PyTorch can leave them out, and then all are zero.
    checksums: bool,
}

/// A file in a zip archive.
pub(super) struct Record {
    pub(super) name: String,
    pub(super) deflated: bool,
    crc: u32,
    header: u64,
    data: u64,
    compressed: u64,
    pub(super) size: u64,
    /// Where the directory describes it.
    central: u64,
}

impl Zip {
    /// Reads and checks the central directory.
    pub(super) fn open(source: &Source) -> Result<Self> {
        let end = End::find(source)?;
        let directory = source.read_vec(end.offset, end.size).context(|| "central directory")?;
        let mut records = Vec::new();
        let mut rest = Bytes(&directory);
        for number in 0..end.records {
            let central = end.offset + (directory.len() - rest.0.len()) as u64;
            let record = rest.central().context(|| format!("central directory: record {number}"))?;
            records.push(Record { central, ..record });
        }
        if !rest.0.is_empty() {
            return Err(Error::format(format!(
                "central directory: {} bytes belong to no record",
                rest.0.len()
            )));
        }
        let mut index = HashMap::with_capacity(records.len());
        for (i, record) in records.iter_mut().enumerate() {
            record.locate(source, end.offset).context(|| format!("record {}", display_name(&record.name)))?;
            if index.insert(record.name.clone(), i).is_some() {
                return Err(Error::format(format!("two records are named {}", display_name(&record.name))));
            }
        }
        let mut order: Vec<&Record> = records.iter().collect();
        order.sort_by_key(|r| r.header);
        for pair in order.windows(2) {
            if pair[0].data + pair[0].compressed > pair[1].header {
                let (a, b) = (display_name(&pair[0].name), display_name(&pair[1].name));
                return Err(Error::format(format!("records {a} and {b} overlap")));
            }
        }
        let checksums = records.iter().any(|r| r.crc != 0);
        Ok(Self { source: source.clone(), records, index, checksums })
    }

    /// The records in the directory's order.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// The record of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Record> {
        self.index.get(name).map(|&i| &self.records[i])
    }

    /// A record's bytes, decompressed, to be read at any position.
    pub(super) fn bytes(&self, record: &Record) -> Result<Arc<dyn ReadAt>> {
        let window = self.source.window(record.data, record.compressed)?;
        let crc = self.checksums.then_some(record.crc);
        Ok(if record.deflated {
            Arc::new(Inflated::new(window, record.size, crc))
        } else {
            match crc {
                Some(crc) => Arc::new(Stored::new(window, crc)),
                None => Arc::new(window),
            }
        })
    }

    /// All of a record's bytes, at most `limit`.
    pub(super) fn read(&self, record: &Record, limit: u64) -> Result<Vec<u8>> {
        let read = || {
            if record.size > limit {
                let size = record.size;
                return Err(Error::format(format!("{size} bytes, at most {limit} are allowed")));
            }
            let mut out = zeroed(record.size)?;
            self.bytes(record)?.read_at(0, &mut out)?;
            Ok(out)
        };
        read().context(|| format!("record {}", display_name(&record.name)))
    }
}

impl Record {
    /// Finds the data behind the local header, and checks both.
    fn locate(&mut self, source: &Source, directory: u64) -> Result<()> {
        if self.deflated {
            let most = self.compressed.saturating_mul(MAX_INFLATE_RATIO).min(MAX_INFLATED_BYTES);
            if self.size > most {
                let (size, compressed) = (self.size, self.compressed);
                return Err(Error::format(format!(
                    "{compressed} compressed bytes cannot be {size}, at most {most}"
                )));
            }
        } else if self.compressed != self.size {
            let (size, compressed) = (self.size, self.compressed);
            return Err(Error::format(format!("stored, but {compressed} bytes are there for {size}")));
        }
        if self.header.checked_add(LOCAL_BYTES).is_none_or(|end| end > directory) {
            return Err(Error::format(format!(
                "its local header at byte {} lies beyond the records",
                self.header
            )));
        }
        let local = source.read_vec(self.header, LOCAL_BYTES)?;
        let mut fields = Bytes(&local);
        let signature = fields.u32()?;
        fields.take(2)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.take(4)?;
        let (crc, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name, extra) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
        if signature != LOCAL_SIGNATURE || method != if self.deflated { 8 } else { 0 } {
            return Err(Error::format(format!("no matching local header at byte {}", self.header)));
        }
        self.data = self.header + LOCAL_BYTES + name + extra;
        if self.data.checked_add(self.compressed).is_none_or(|end| end > directory) {
            return Err(Error::format(format!(
                "{} bytes at byte {} reach beyond the records",
                self.compressed, self.data
            )));
        }
        if flags & ENCRYPTED != 0 {
            return Err(Error::unsupported("encrypted"));
        }
        // Writers of streams leave zeros; those of 64-bit fields leave ones.
        let agrees =
            |local: u32, directory: u64| matches!(local, 0 | u32::MAX) || u64::from(local) == directory;
        if !agrees(crc, self.crc.into()) || !agrees(compressed, self.compressed) || !agrees(size, self.size) {
            return Err(Error::format(format!(
                "the local header at byte {} and the directory disagree",
                self.header
            )));
        }
        if source.read_vec(self.header + LOCAL_BYTES, name)? != self.name.as_bytes() {
            return Err(Error::format(format!("the local header at byte {} has another name", self.header)));
        }
        Ok(())
    }
}

/// Where the central directory is.
struct End {
    records: u64,
    offset: u64,
    size: u64,
}

impl End {
    fn find(source: &Source) -> Result<Self> {
        let missing =
            || Error::format("no end of a zip directory: the file is no zip archive, or is cut off");
        let tail = source.size().min((END_BYTES + MAX_COMMENT_BYTES) as u64);
        let start = source.size() - tail;
        let tail = source.read_vec(start, tail)?;
        let last = tail.len().checked_sub(END_BYTES).ok_or_else(missing)?;
        let signature = END_SIGNATURE.to_le_bytes();
        let at = (0..=last)
            .rev()
            .find(|&at| {
                let comment = usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]));
                tail[at..at + 4] == signature && at + END_BYTES + comment == tail.len()
            })
            .ok_or_else(missing)?;
        let mut fields = Bytes(&tail[at + 4..]);
        let (disk, first_disk) = (fields.u16()?, fields.u16()?);
        let (here, records) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
        let (size, offset) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
        if disk != first_disk || here != records {
            return Err(Error::unsupported("a zip archive in several parts"));
        }
        let mut end = Self { records, offset, size };
        let mut limit = start + at as u64;
        if let Some((large, place)) = Self::find64(source, limit)? {
            let agrees = |small: u64, all: u64, large: u64| small == all || small == large;
            if !agrees(records, 0xffff, large.records)
                || !agrees(size, 0xffff_ffff, large.size)
                || !agrees(offset, 0xffff_ffff, large.offset)
            {
                return Err(Error::format("the two ends of the zip directory disagree"));
            }
            (end, limit) = (large, place);
        }
        let Self { records, offset, size } = end;
        if offset.checked_add(size).is_none_or(|e| e > limit) {
            return Err(Error::format(format!(
                "a zip directory of {size} bytes at byte {offset} does not fit the file"
            )));
        }
        if size > MAX_ZIP_DIRECTORY_BYTES {
            return Err(Error::format(format!(
                "a zip directory of {size} bytes, at most {MAX_ZIP_DIRECTORY_BYTES} are allowed"
            )));
        }
        if records > MAX_ZIP_RECORDS || records > size / CENTRAL_BYTES as u64 {
            return Err(Error::format(format!(
                "{records} zip records do not fit a directory of {size} bytes"
            )));
        }
        Ok(end)
    }

    /// The 64-bit end before the end at `before`, and its position.
    fn find64(source: &Source, before: u64) -> Result<Option<(Self, u64)>> {
        let Some(at) = before.checked_sub(LOCATOR64_BYTES as u64) else { return Ok(None) };
        let locator = source.read_vec(at, LOCATOR64_BYTES as u64)?;
        let mut fields = Bytes(&locator);
        if fields.u32()? != LOCATOR64_SIGNATURE {
            return Ok(None);
        }
        fields.take(4)?;
        let place = fields.u64()?;
        let end = source.read_vec(place, END64_BYTES as u64).context(|| "64-bit end of the zip directory")?;
        let mut fields = Bytes(&end);
        if fields.u32()? != END64_SIGNATURE || place.saturating_add(END64_BYTES as u64) > at {
            return Err(Error::format(format!("no 64-bit end of the zip directory at byte {place}")));
        }
        fields.take(20)?;
        let (here, records) = (fields.u64()?, fields.u64()?);
        if here != records {
            return Err(Error::unsupported("a zip archive in several parts"));
        }
        let (size, offset) = (fields.u64()?, fields.u64()?);
        Ok(Some((Self { records, offset, size }, place)))
    }
}

/// A cursor over little-endian fields.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or_else(|| Error::format("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| Error::format("it ends early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// One entry of the central directory.
    fn central(&mut self) -> Result<Record> {
        if self.u32()? != CENTRAL_SIGNATURE {
            return Err(Error::format("no record is there"));
        }
        self.take(4)?;
        let (flags, method) = (self.u16()?, self.u16()?);
        self.take(4)?;
        let crc = self.u32()?;
        let (mut compressed, mut size) = (u64::from(self.u32()?), u64::from(self.u32()?));
        let (name, extra, comment) = (self.u16()?, self.u16()?, self.u16()?);
        let disk = self.u16()?;
        self.take(6)?;
        let mut header = u64::from(self.u32()?);
        if !matches!(disk, 0 | u16::MAX) {
            return Err(Error::unsupported("it lies in another part of a zip archive in several parts"));
        }
        let name = std::str::from_utf8(self.take(name.into())?)
            .map_err(|_| Error::format("its name is not UTF-8"))?;
        check_name(name)?;
        let mut extra = Bytes(self.take(extra.into())?);
        self.take(comment.into())?;
        while extra.0.len() >= 4 {
            let (id, length) = (extra.u16()?, extra.u16()?);
            let mut field = Bytes(extra.take(length.into())?);
            if id == ZIP64_EXTRA {
                for value in [&mut size, &mut compressed, &mut header] {
                    if *value == 0xffff_ffff {
                        *value = field.u64()?;
                    }
                }
            }
        }
        let deflated = match method {
            0 => false,
            8 => true,
            other => return Err(Error::unsupported(format!("{name}: compression method {other}"))),
        };
        if flags & ENCRYPTED != 0 {
            return Err(Error::unsupported(format!("{name}: encrypted")));
        }
        Ok(Record { name: name.to_owned(), deflated, crc, header, data: 0, compressed, size, central: 0 })
    }
}

/// Refuses names that, taken for paths, leave the folder that they are in.
pub(super) fn check_name(name: &str) -> Result<()> {
    let leaves = name.starts_with('/')
        || name.contains(['\\', '\0'])
        || name.get(1..3) == Some(":/")
        || name.split('/').any(|segment| segment == "..");
    match leaves {
        true => Err(Error::format(format!("the name {} leaves the archive", display_name(name)))),
        false => Ok(()),
    }
}
