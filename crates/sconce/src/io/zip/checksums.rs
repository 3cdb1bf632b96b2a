//! Where a zip archive keeps the checksums of its stored records, for who changes their bytes in place.

use std::ops::Range;

use super::{LOCAL_SIGNATURE, Zip};
use crate::error::{Context, Error, Result};
use crate::io::archive::display_name;
use crate::io::source::Source;

const DESCRIPTOR_SIGNATURE: [u8; 4] = 0x0807_4b50_u32.to_le_bytes();
/// The flag of records whose checksum stands behind their bytes.
const STREAMED: u16 = 8;

/// The checksum of a stored record.
pub(crate) struct Checksum {
    /// The record's bytes in the file.
    pub(crate) data: Range<u64>,
    /// Where its checksum is written, four bytes each time.
    pub(crate) fields: Vec<u64>,
}

/// The checksums of the stored records that begin in any of `places`; none if the archive has no checksums at all.
///
/// # Errors
///
/// Fails when a checksum is not where the format wants it.
pub(crate) fn checksums(source: &Source, touched: impl Fn(&Range<u64>) -> bool) -> Result<Vec<Checksum>> {
    let zip = Zip::open(source)?;
    let mut found = Vec::new();
    if !zip.checksums {
        return Ok(found);
    }
    for record in &zip.records {
        let data = record.data..record.data + record.compressed;
        if record.deflated || !touched(&data) {
            continue;
        }
        let place = || format!("record {}", display_name(&record.name));
        let local = source.read_vec(record.header, 18).context(place)?;
        let flags = u16::from_le_bytes([local[6], local[7]]);
        let crc = record.crc.to_le_bytes();
        let mut fields = vec![record.central + 16];
        if flags & STREAMED == 0 {
            fields.push(record.header + 14);
        } else {
            let head = source.read_vec(data.end, 8).context(place)?;
            fields.push(data.end + if head[..4] == DESCRIPTOR_SIGNATURE { 4 } else { 0 });
        }
        if local[..4] != LOCAL_SIGNATURE.to_le_bytes() {
            return Err(Error::format("its local header is gone").context(place()));
        }
        for &field in &fields {
            if source.read_vec(field, 4).context(place)? != crc {
                return Err(
                    Error::format(format!("its checksum is not repeated at byte {field}")).context(place())
                );
            }
        }
        found.push(Checksum { data, fields });
    }
    Ok(found)
}
