//! Stored elements as numbers, whatever their type.

use std::sync::OnceLock;

use half::f16;

use super::encoding::{Encoding, Packed};
use super::entry::{Entry, Quantizer};
use crate::error::{Error, Result};
use crate::tensor::dtype::DType;

/// Turns the bytes of a stored tensor into numbers of double precision.
///
/// Every dtype is known, also those that are only stored, and the quantised blocks that
/// [`Packed::can_decode`] names. A complex element gives two numbers, its real and its imaginary part. Integers of
/// 64 bits are rounded.
///
/// ```
/// use sconce::{DType, io::{Entry, Numbers}};
///
/// let entry = Entry::new("x", DType::F8E4M3, [3]);
/// let mut values = Vec::new();
/// Numbers::of(&entry)?.decode(&[0x38, 0xb8, 0x7e], &mut values)?;
/// assert_eq!(values, [1.0, -1.0, 448.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Numbers {
    encoding: Encoding,
    /// Of per-tensor quantised integers.
    affine: Option<(f64, i64)>,
}

impl Numbers {
    /// The way to read an entry's bytes.
    ///
    /// # Errors
    ///
    /// Fails when they are packed in a way that is only listed and copied.
    pub fn of(entry: &Entry) -> Result<Self> {
        let encoding = entry.encoding();
        let affine = match (encoding, entry.quantizer()) {
            (Encoding::Packed(packed), Some(&Quantizer::PerTensor { scale, zero_point }))
                if integer(packed).is_some() =>
            {
                Some((scale, zero_point))
            }
            _ => None,
        };
        match encoding {
            Encoding::Packed(packed) if affine.is_none() && !packed.can_decode() => {
                let name = packed.name;
                Err(Error::unsupported(format!("elements of {name} cannot be turned into numbers"))
                    .context(super::archive::display_name(entry.name())))
            }
            _ => Ok(Self { encoding, affine }),
        }
    }

    /// Numbers that an element gives: 2 if it is complex, else 1.
    pub fn per_element(&self) -> usize {
        match self.encoding {
            Encoding::Plain(DType::C32 | DType::C64 | DType::C128) => 2,
            _ => 1,
        }
    }

    /// Appends the numbers of whole elements, or whole blocks, to `out`.
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not whole elements or blocks.
    pub fn decode(&self, bytes: &[u8], out: &mut Vec<f64>) -> Result<()> {
        let (elements, size) = self.encoding.block();
        if !(bytes.len() as u64).is_multiple_of(size) {
            let (found, name) = (bytes.len(), self.encoding.name());
            return Err(Error::argument(format!("{found} bytes are not whole elements of {name}")));
        }
        match self.encoding {
            Encoding::Plain(dtype) => plain(dtype, bytes, out),
            Encoding::Packed(packed) => match (self.affine, integer(packed)) {
                (Some((scale, zero_point)), Some(dtype)) => {
                    let start = out.len();
                    plain(dtype, bytes, out);
                    out[start..].iter_mut().for_each(|q| *q = (*q - zero_point as f64) * scale);
                }
                _ => {
                    let mut block = vec![0.0; elements as usize];
                    for bytes in bytes.chunks_exact(size as usize) {
                        packed.decode(bytes, &mut block)?;
                        out.extend(block.iter().map(|&x| f64::from(x)));
                    }
                }
            },
        }
        Ok(())
    }
}

/// The integers that per-tensor quantised elements are stored as.
fn integer(packed: Packed) -> Option<DType> {
    match packed.name {
        "qint8" => Some(DType::I8),
        "quint8" => Some(DType::U8),
        "qint32" => Some(DType::I32),
        _ => None,
    }
}

fn plain(dtype: DType, bytes: &[u8], out: &mut Vec<f64>) {
    fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f64>, number: impl Fn([u8; N]) -> f64) {
        out.extend(bytes.as_chunks().0.iter().map(|&b| number(b)));
    }
    use DType::*;
    match dtype {
        F64 | C128 => each(bytes, out, f64::from_le_bytes),
        F32 | C64 => each(bytes, out, |b| f32::from_le_bytes(b).into()),
        F16 | C32 => each(bytes, out, |b| half(u16::from_le_bytes(b)).into()),
        BF16 => each(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into()),
        I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
        I32 => each(bytes, out, |b| i32::from_le_bytes(b).into()),
        I16 => each(bytes, out, |b| i16::from_le_bytes(b).into()),
        I8 => each(bytes, out, |b| i8::from_le_bytes(b).into()),
        U8 => each(bytes, out, |b| u8::from_le_bytes(b).into()),
        U16 => each(bytes, out, |b| u16::from_le_bytes(b).into()),
        U32 => each(bytes, out, |b| u32::from_le_bytes(b).into()),
        U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
        Bool => each(bytes, out, |[b]| if b == 0 { 0.0 } else { 1.0 }),
        F8E4M3 | F8E5M2 | F8E4M3FNUZ | F8E5M2FNUZ | F8E8M0 => {
            let table = eighths(dtype);
            each(bytes, out, |[b]| table[usize::from(b)]);
        }
    }
}

/// A half-precision number, without a branch, so that a loop of it is vectorised.
fn half(h: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(h & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let special = if h & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | u32::from(h & 0x8000) << 16)
}

/// The numbers of all 256 bytes of an 8-bit float.
fn eighths(dtype: DType) -> &'static [f64; 256] {
    static TABLES: [OnceLock<[f64; 256]>; 5] = [const { OnceLock::new() }; 5];
    // Bits of the mantissa, and the exponent's bias.
    let (place, mantissa, bias) = match dtype {
        DType::F8E4M3 => (0, 3, 7),
        DType::F8E5M2 => (1, 2, 15),
        DType::F8E4M3FNUZ => (2, 3, 8),
        DType::F8E5M2FNUZ => (3, 2, 16),
        _ => (4, 0, 127),
    };
    TABLES[place].get_or_init(|| {
        std::array::from_fn(|byte| {
            let byte = byte as u8;
            match dtype {
                DType::F8E8M0 if byte == 0xff => return f64::NAN,
                DType::F8E8M0 => return 2_f64.powi(i32::from(byte) - bias),
                // One byte more than a half-precision number's upper half is none.
                DType::F8E5M2 => return f16::from_bits(u16::from(byte) << 8).to_f64(),
                DType::F8E4M3 if byte & 0x7f == 0x7f => return f64::NAN,
                DType::F8E4M3FNUZ | DType::F8E5M2FNUZ if byte == 0x80 => return f64::NAN,
                _ => {}
            }
            let sign = if byte & 0x80 != 0 { -1.0 } else { 1.0 };
            let exponent = i32::from((byte & 0x7f) >> mantissa);
            let fraction = f64::from(byte & ((1 << mantissa) - 1)) / f64::from(1 << mantissa);
            match exponent {
                0 => sign * fraction * 2_f64.powi(1 - bias),
                _ => sign * (1.0 + fraction) * 2_f64.powi(exponent - bias),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_right() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (half(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#x}");
        }
    }

    #[test]
    fn eight_bit_floats_are_what_their_tables_say() {
        let cases: &[(DType, u8, f64)] = &[
            (DType::F8E4M3, 0x01, 2_f64.powi(-9)),
            (DType::F8E4M3, 0xfe, -448.0),
            (DType::F8E5M2, 0x7b, 57344.0),
            (DType::F8E5M2, 0x7c, f64::INFINITY),
            (DType::F8E5M2, 0x01, 2_f64.powi(-16)),
            (DType::F8E4M3FNUZ, 0x7f, 240.0),
            (DType::F8E4M3FNUZ, 0x01, 2_f64.powi(-10)),
            (DType::F8E5M2FNUZ, 0x7f, 57344.0),
            (DType::F8E5M2FNUZ, 0x01, 2_f64.powi(-17)),
            (DType::F8E8M0, 0x7f, 1.0),
            (DType::F8E8M0, 0x00, 2_f64.powi(-127)),
        ];
        for &(dtype, byte, value) in cases {
            assert_eq!(eighths(dtype)[usize::from(byte)], value, "{dtype} {byte:#x}");
        }
        for (dtype, byte) in [
            (DType::F8E4M3, 0x7f),
            (DType::F8E5M2, 0x7f),
            (DType::F8E4M3FNUZ, 0x80),
            (DType::F8E5M2FNUZ, 0x80),
            (DType::F8E8M0, 0xff),
        ] {
            assert!(eighths(dtype)[byte].is_nan(), "{dtype}");
        }
    }

    #[test]
    fn complex_elements_give_two_numbers_and_half_elements_none() {
        let numbers = Numbers::of(&Entry::new("z", DType::C64, [1])).expect("known");
        let mut out = Vec::new();
        numbers.decode(&[1.5_f32, -2.0].map(f32::to_le_bytes).concat(), &mut out).expect("one element");
        assert_eq!((out.as_slice(), numbers.per_element()), (&[1.5, -2.0][..], 2));
        assert!(numbers.decode(&[0; 7], &mut out).is_err());
    }
}
