//! Fields of protocol buffers, found without reading what they hold.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::io::reader::Reader;

/// What a field holds, or where.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wire {
    Varint(u64),
    /// Four or eight bytes.
    Fixed(Range<u64>),
    /// Bytes, a text, a message, or numbers one after another.
    Bytes(Range<u64>),
}

/// The next field's number and its kind; `None` at the message's end.
pub(super) fn tag(reader: &mut Reader<'_>) -> Result<Option<(u64, u8)>> {
    if reader.remaining() == 0 {
        return Ok(None);
    }
    let tag = varint(reader)?;
    match (tag >> 3, (tag & 7) as u8) {
        (0, _) => Err(Error::format("a field without a number")),
        (number, _) if number >> 29 != 0 => Err(Error::format(format!("a field of number {number}"))),
        found => Ok(Some(found)),
    }
}

/// What the field of that kind holds; passes over it.
pub(super) fn value(reader: &mut Reader<'_>, kind: u8) -> Result<Wire> {
    Ok(match kind {
        0 => Wire::Varint(varint(reader)?),
        1 => Wire::Fixed(pass(reader, 8)?),
        5 => Wire::Fixed(pass(reader, 4)?),
        2 => {
            let size = varint(reader)?;
            Wire::Bytes(pass(reader, size)?)
        }
        other => return Err(Error::format(format!("a field of kind {other}"))),
    })
}

/// Passes over that many bytes and returns where they are.
fn pass(reader: &mut Reader<'_>, size: u64) -> Result<Range<u64>> {
    let start = reader.at();
    reader.skip(size)?;
    Ok(start..reader.at())
}

/// The next field; `None` at the message's end.
pub(super) fn field(reader: &mut Reader<'_>) -> Result<Option<(u64, Wire)>> {
    match tag(reader)? {
        Some((number, kind)) => value(reader, kind).map(|value| Some((number, value))),
        None => Ok(None),
    }
}

/// A number of up to ten bytes, seven bits in each.
pub(super) fn varint(reader: &mut Reader<'_>) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = reader.u8()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::format("a number of more than 64 bits"))
}
