//! Zip archives as PyTorch lays them out.
//!
//! Records are stored, in order, each beginning at a multiple of 64 bytes thanks to an extra field `FB` of its local
//! header. Sizes and checksum follow the bytes, so records stream through. PyTorch computes positions from this layout
//! without reading the headers, hence every byte of it matters.

use std::io::Write;

use crc32fast::Hasher;

use super::{
    CENTRAL_SIGNATURE, END_SIGNATURE, END64_SIGNATURE, LOCAL_BYTES, LOCAL_SIGNATURE, LOCATOR64_SIGNATURE,
    ZIP64_EXTRA,
};
use crate::error::{Context, Error, Result};

const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;
const ALIGNMENT: u64 = 64;
const SMALL: u64 = 0xffff_ffff;

/// Writes a zip archive record by record.
pub(in crate::io) struct ZipWriter<'a> {
    out: &'a mut dyn Write,
    at: u64,
    records: Vec<Written>,
}

struct Written {
    name: String,
    header: u64,
    size: u64,
    crc: u32,
}

impl<'a> ZipWriter<'a> {
    pub(in crate::io) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, at: 0, records: Vec::new() }
    }

    /// Writes a record of bytes that are in memory.
    pub(in crate::io) fn record(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.stream(name, bytes.len() as u64, |put| put(bytes))
    }

    /// Writes a record of `size` bytes, which `fill` passes on in parts.
    pub(in crate::io) fn stream(
        &mut self,
        name: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let header = self.at;
        let length = u16::try_from(name.len()).map_err(|_| Error::argument("a record's name is too long"))?;
        let large = zip64_field(size, header);
        let start = header + LOCAL_BYTES + u64::from(length) + large.len() as u64 + 4;
        let padding = start.next_multiple_of(ALIGNMENT) - start;
        let mut head = Vec::new();
        head.extend(LOCAL_SIGNATURE.to_le_bytes());
        head.extend(0_u16.to_le_bytes());
        head.extend(flags(size).to_le_bytes());
        head.extend([0; 18]);
        head.extend(length.to_le_bytes());
        head.extend((large.len() as u16 + 4 + padding as u16).to_le_bytes());
        head.extend(name.as_bytes());
        head.extend(large);
        head.extend(b"FB");
        head.extend((padding as u16).to_le_bytes());
        head.resize(head.len() + padding as usize, b'Z');
        self.put(&head)?;

        let mut hasher = Hasher::new();
        let (out, mut written) = (&mut *self.out, 0_u64);
        fill(&mut |bytes| {
            hasher.update(bytes);
            written += bytes.len() as u64;
            Ok(out.write_all(bytes)?)
        })
        .context(|| format!("record {name}"))?;
        if written != size {
            return Err(Error::argument(format!("record {name}: {size} bytes announced, {written} written")));
        }
        self.at += size;
        let crc = hasher.finalize();
        if size > 0 {
            let mut tail = Vec::new();
            tail.extend(DESCRIPTOR_SIGNATURE.to_le_bytes());
            tail.extend(crc.to_le_bytes());
            if header >= SMALL || size >= SMALL {
                tail.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
            } else {
                tail.extend([(size as u32).to_le_bytes(), (size as u32).to_le_bytes()].concat());
            }
            self.put(&tail)?;
        }
        self.records.push(Written { name: name.to_owned(), header, size, crc });
        Ok(())
    }

    /// A number of 40 digits that depends on the names and the contents written so far, as PyTorch appends it.
    pub(in crate::io) fn serialization_id(&self) -> String {
        let mut names = 0xcbf2_9ce4_8422_2325_u64;
        let mut contents = names;
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        for record in &self.records {
            names = record.name.bytes().fold(names, mix);
            contents = record.crc.to_le_bytes().into_iter().fold(contents, mix);
        }
        format!("{names:020}{contents:020}")
    }

    /// Writes the central directory.
    pub(in crate::io) fn finish(mut self) -> Result<()> {
        let offset = self.at;
        for record in std::mem::take(&mut self.records) {
            let large = zip64_field(record.size, record.header);
            let size = record.size.min(SMALL) as u32;
            let mut entry = Vec::new();
            entry.extend(CENTRAL_SIGNATURE.to_le_bytes());
            entry.extend([0; 4]);
            entry.extend(flags(record.size).to_le_bytes());
            entry.extend([0; 6]);
            entry.extend(record.crc.to_le_bytes());
            entry.extend(size.to_le_bytes());
            entry.extend(size.to_le_bytes());
            entry.extend((record.name.len() as u16).to_le_bytes());
            entry.extend((large.len() as u16).to_le_bytes());
            entry.extend([0; 10]);
            entry.extend((record.header.min(SMALL) as u32).to_le_bytes());
            entry.extend(record.name.as_bytes());
            entry.extend(large);
            self.put(&entry)?;
            self.records.push(record);
        }
        let (end, count) = (self.at, self.records.len() as u64);
        let size = end - offset;
        let mut tail = Vec::new();
        tail.extend(END64_SIGNATURE.to_le_bytes());
        tail.extend(44_u64.to_le_bytes());
        tail.extend(0x31e_u16.to_le_bytes());
        tail.extend(45_u16.to_le_bytes());
        tail.extend([0; 8]);
        tail.extend([count, count, size, offset].map(u64::to_le_bytes).concat());
        tail.extend(LOCATOR64_SIGNATURE.to_le_bytes());
        tail.extend([0; 4]);
        tail.extend(end.to_le_bytes());
        tail.extend(1_u32.to_le_bytes());
        tail.extend(END_SIGNATURE.to_le_bytes());
        tail.extend([0; 4]);
        tail.extend([count.min(0xffff) as u16; 2].map(u16::to_le_bytes).concat());
        tail.extend([size.min(SMALL) as u32, offset.min(SMALL) as u32].map(u32::to_le_bytes).concat());
        tail.extend([0; 2]);
        self.put(&tail)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// Names are in UTF-8 (bit 11); the sizes stand behind the bytes (bit 3), if there are any.
fn flags(size: u64) -> u16 {
    if size == 0 { 0x800 } else { 0x808 }
}

/// The extra field for what does not fit 32 bits; empty if all does.
fn zip64_field(size: u64, header: u64) -> Vec<u8> {
    let mut values = Vec::new();
    if size >= SMALL {
        values.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
    }
    if header >= SMALL {
        values.extend(header.to_le_bytes());
    }
    if values.is_empty() {
        return values;
    }
    let mut field = ZIP64_EXTRA.to_le_bytes().to_vec();
    field.extend((values.len() as u16).to_le_bytes());
    field.extend(values);
    field
}
