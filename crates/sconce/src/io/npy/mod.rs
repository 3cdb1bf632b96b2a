//! NumPy's files: `npy`, one array, and `npz`, a zip archive of them.
//!
//! An `npy` file has no name for its array: it is read under the empty name, and any one tensor can be written.
//! Fortran order and big-endian numbers are read as they are and written as C order, little-endian. A type `<V2` is
//! how NumPy writes bfloat16. Structured types, texts, dates and objects (which are pickles) are refused.
//!
//! In an `npz` file a name is a record's name without `.npy`. Compressed records are read; what is written is stored,
//! as `numpy.savez` does.

mod header;

use std::io::Write;
use std::sync::Arc;

use self::header::Header;
use super::archive::{Archive, display_name};
use super::encoding::Encoding;
use super::entry::{Entry, contiguous_strides};
use super::format::{Format, Options};
use super::source::{ReadAt, Source};
use super::swapped::Swapped;
use super::zip::{Zip, ZipWriter, check_name};
use crate::error::{Context, Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const EXTENSION: &str = ".npy";
const CHUNK_BYTES: usize = 1 << 20;

/// The entry in [`FORMATS`](super::FORMATS) of files that hold one array.
pub(super) struct Npy;

/// The entry in [`FORMATS`](super::FORMATS) of archives of arrays.
pub(super) struct Npz;

impl Format for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn open(&self, source: &Source, _: &Options) -> Result<Archive> {
        let mut archive = Archive::of(self.name());
        let array = Array::read(source)?;
        array.push(&mut archive, "", source)?;
        Ok(archive)
    }

    fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<()> {
        let [entry] = archive.entries() else {
            let count = archive.entries().len();
            return Err(Error::unsupported(format!("npy holds one array, not {count}: npz holds several")));
        };
        check_plain(archive, self.name())?;
        out.write_all(&header_of(entry)?)?;
        archive.for_each_chunk(entry, CHUNK_BYTES, |bytes| Ok(out.write_all(bytes)?))
    }
}

impl Format for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npz"]
    }

    /// A zip archive whose first record is an array.
    fn sniff(&self, head: &[u8]) -> bool {
        let name = || {
            let size = usize::from(u16::from_le_bytes([*head.get(26)?, *head.get(27)?]));
            head.get(30..30 + size)
        };
        head.starts_with(b"PK\x03\x04") && name().is_some_and(|name| name.ends_with(EXTENSION.as_bytes()))
    }

    fn open(&self, source: &Source, _: &Options) -> Result<Archive> {
        let zip = Zip::open(source)?;
        let mut archive = Archive::of(self.name());
        for record in zip.records() {
            let place = || display_name(&record.name);
            let name = record
                .name
                .strip_suffix(EXTENSION)
                .ok_or_else(|| Error::unsupported("a record that is no array"))
                .context(place)?;
            let member = || zip.bytes(record).map(|bytes| Source::new(record.name.as_str(), bytes));
            let mut bytes = member().context(place)?;
            let array = Array::read(&bytes).context(place)?;
            if record.deflated {
                // The decoder that read the header takes memory; one that reads the rest is made when it is wanted.
                bytes = member().context(place)?;
            }
            array.push(&mut archive, name, &bytes).context(place)?;
        }
        Ok(archive)
    }

    fn write(&self, archive: &Archive, out: &mut dyn Write) -> Result<()> {
        check_plain(archive, self.name())?;
        let mut zip = ZipWriter::new(out);
        for entry in archive.entries() {
            let name = format!("{}{EXTENSION}", entry.name());
            check_name(&name).context(|| display_name(entry.name()))?;
            let header = header_of(entry)?;
            let size = header.len() as u64 + entry.bytes();
            zip.stream(&name, size, |put| {
                put(&header)?;
                archive.for_each_chunk(entry, CHUNK_BYTES, put)
            })?;
        }
        zip.finish()
    }
}

/// Refuses what arrays by name cannot say.
fn check_plain(archive: &Archive, format: &str) -> Result<()> {
    if let Some(path) = archive.tree().and_then(|tree| tree.first_plain_value()) {
        let path = display_name(&path);
        return Err(Error::unsupported(format!("{format} holds arrays only, but {path} is another value")));
    }
    match archive.metadata() {
        [] => Ok(()),
        metadata => {
            let keys: Vec<String> = metadata.iter().map(|(k, _)| display_name(k)).collect();
            Err(Error::unsupported(format!("{format} files hold no metadata ({})", keys.join(", "))))
        }
    }
}

/// The header of a file in C order, little-endian.
fn header_of(entry: &Entry) -> Result<Vec<u8>> {
    let dtype = entry.encoding().dtype().filter(|_| entry.quantizer().is_none());
    dtype.and_then(|dtype| header::write(dtype, entry.shape())).ok_or_else(|| {
        let name = entry.encoding().name();
        Error::unsupported(format!("NumPy has no type for {name}")).context(display_name(entry.name()))
    })
}

/// An array of a file, and where it lies.
struct Array {
    header: Header,
    /// The byte behind the header.
    start: u64,
    bytes: u64,
}

impl Array {
    /// Reads the header and checks it against the file.
    fn read(source: &Source) -> Result<Self> {
        let (header, start) = Header::read(source)?;
        let entry = Entry::new("", header.dtype, header.shape.as_slice());
        entry.check(u64::MAX)?;
        let (bytes, held) = (entry.bytes(), source.size() - start);
        if bytes != held {
            let shape = entry.shape();
            return Err(Error::format(format!(
                "shape {shape:?} of {} takes {bytes} bytes, {held} are there",
                header.dtype
            )));
        }
        Ok(Self { header, start, bytes })
    }

    fn push(self, archive: &mut Archive, name: &str, source: &Source) -> Result<()> {
        let Header { dtype, big_endian, fortran, shape } = self.header;
        let mut entry = Entry::new(name, dtype, shape);
        if fortran {
            let reversed: Vec<usize> = entry.shape.iter().rev().copied().collect();
            entry.strides = contiguous_strides(&reversed);
            entry.strides.reverse();
        }
        let mut bytes: Arc<dyn ReadAt> = Arc::new(source.window(self.start, self.bytes)?);
        let number_size = Encoding::Plain(dtype).number_size();
        if big_endian && number_size > 1 {
            bytes = Arc::new(Swapped::new(bytes, number_size));
        }
        let storage = archive.add_storage(bytes);
        archive.push(entry, storage)?;
        Ok(())
    }
}
