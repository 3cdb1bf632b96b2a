//! Blocks of quantised numbers: what they are called, and how they become numbers again.
//!
//! The layouts are those of ggml. A block holds its own scale, so any whole number of blocks can be converted alone.

mod basic;
mod k;
mod table;

use super::encoding::{Encoding, Packed};
use crate::error::{Error, Result};
use crate::tensor::dtype::DType;

/// One of ggml's types.
pub(super) struct Kind {
    /// Its number in files.
    pub(super) id: u32,
    pub(super) name: &'static str,
    pub(super) encoding: Encoding,
    decode: Option<Decode>,
    encode: Option<Encode>,
}

/// Turns one block into its numbers.
type Decode = fn(&[u8], &mut [f32]);

/// Turns finite numbers into one block.
type Encode = fn(&[f32], &mut [u8]);

const fn plain(id: u32, name: &'static str, dtype: DType) -> Kind {
    Kind { id, name, encoding: Encoding::Plain(dtype), decode: None, encode: None }
}

const fn packed(
    id: u32,
    name: &'static str,
    elements: u32,
    bytes: u32,
    decode: Option<Decode>,
    encode: Option<Encode>,
) -> Kind {
    Kind { id, name, encoding: Encoding::Packed(Packed { name, elements, bytes }), decode, encode }
}

/// Every type of ggml's that files may still have.
pub(super) static KINDS: &[Kind] = &[
    plain(0, "F32", DType::F32),
    plain(1, "F16", DType::F16),
    packed(2, "Q4_0", 32, 18, Some(basic::decode_q4_0), Some(basic::encode_q4_0)),
    packed(3, "Q4_1", 32, 20, Some(basic::decode_q4_1), Some(basic::encode_q4_1)),
    packed(6, "Q5_0", 32, 22, Some(basic::decode_q5_0), Some(basic::encode_q5_0)),
    packed(7, "Q5_1", 32, 24, Some(basic::decode_q5_1), Some(basic::encode_q5_1)),
    packed(8, "Q8_0", 32, 34, Some(basic::decode_q8_0), Some(basic::encode_q8_0)),
    packed(9, "Q8_1", 32, 36, Some(basic::decode_q8_1), None),
    packed(10, "Q2_K", 256, 84, Some(k::decode_q2), None),
    packed(11, "Q3_K", 256, 110, Some(k::decode_q3), None),
    packed(12, "Q4_K", 256, 144, Some(k::decode_q4), None),
    packed(13, "Q5_K", 256, 176, Some(k::decode_q5), None),
    packed(14, "Q6_K", 256, 210, Some(k::decode_q6), None),
    packed(15, "Q8_K", 256, 292, Some(k::decode_q8), None),
    packed(16, "IQ2_XXS", 256, 66, None, None),
    packed(17, "IQ2_XS", 256, 74, None, None),
    packed(18, "IQ3_XXS", 256, 98, None, None),
    packed(19, "IQ1_S", 256, 50, None, None),
    packed(20, "IQ4_NL", 32, 18, Some(table::decode_iq4_nl), None),
    packed(21, "IQ3_S", 256, 110, None, None),
    packed(22, "IQ2_S", 256, 82, None, None),
    packed(23, "IQ4_XS", 256, 136, Some(table::decode_iq4_xs), None),
    plain(24, "I8", DType::I8),
    plain(25, "I16", DType::I16),
    plain(26, "I32", DType::I32),
    plain(27, "I64", DType::I64),
    plain(28, "F64", DType::F64),
    packed(29, "IQ1_M", 256, 56, None, None),
    plain(30, "BF16", DType::BF16),
    packed(34, "TQ1_0", 256, 54, Some(table::decode_tq1_0), None),
    packed(35, "TQ2_0", 256, 66, Some(table::decode_tq2_0), None),
    packed(39, "MXFP4", 32, 17, Some(table::decode_mxfp4), None),
    packed(40, "NVFP4", 64, 36, None, None),
    packed(41, "Q1_0", 128, 18, None, None),
    packed(42, "Q2_0", 64, 18, None, None),
];

impl Packed {
    fn kind(&self) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.encoding == Encoding::Packed(*self))
    }

    /// The packing of one of ggml's names, such as `Q8_0`.
    ///
    /// ```
    /// use sconce::io::Packed;
    ///
    /// let q8 = Packed::named("Q8_0").unwrap();
    /// assert_eq!((q8.elements, q8.bytes), (32, 34));
    /// assert!(Packed::named("Q9_9").is_none());
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        KINDS.iter().find_map(|kind| match kind.encoding {
            Encoding::Packed(packed) if packed.name == name => Some(packed),
            _ => None,
        })
    }

    /// Whether [`decode`](Self::decode) knows the blocks; those of the `IQ1`, `IQ2` and `IQ3` families, for example,
    /// are only listed and copied.
    pub fn can_decode(&self) -> bool {
        self.kind().is_some_and(|kind| kind.decode.is_some())
    }

    /// Whether [`encode`](Self::encode) can make such blocks.
    pub fn can_encode(&self) -> bool {
        self.kind().is_some_and(|kind| kind.encode.is_some())
    }

    /// Turns whole blocks into numbers: `out` has [`elements`](Self::elements) of them for each block.
    ///
    /// # Errors
    ///
    /// Fails when the blocks are of a kind that is not known, and when the lengths do not fit.
    pub fn decode(&self, blocks: &[u8], out: &mut [f32]) -> Result<()> {
        let decode = self.kind().and_then(|kind| kind.decode).ok_or_else(|| {
            Error::unsupported(format!("blocks of {} cannot be turned into numbers", self.name))
        })?;
        self.check(blocks.len(), out.len())?;
        let (elements, bytes) = (self.elements as usize, self.bytes as usize);
        for (block, out) in blocks.chunks_exact(bytes).zip(out.chunks_exact_mut(elements)) {
            decode(block, out);
        }
        Ok(())
    }

    /// Turns numbers into whole blocks, as ggml's reference code rounds them.
    ///
    /// Known for `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1` and `Q8_0`.
    ///
    /// # Errors
    ///
    /// Fails when such blocks cannot be made, when the lengths do not fit, and when a number is NaN, infinite or too
    /// large for a scale in half precision.
    ///
    /// ```
    /// use sconce::io::Packed;
    ///
    /// let q8 = Packed::named("Q8_0").unwrap();
    /// let values: Vec<f32> = (0..32).map(|i| i as f32 - 10.0).collect();
    /// let (mut block, mut again) = ([0; 34], [0.0; 32]);
    /// q8.encode(&values, &mut block)?;
    /// q8.decode(&block, &mut again)?;
    /// assert!(values.iter().zip(again).all(|(a, b)| (a - b).abs() < 0.1));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn encode(&self, values: &[f32], out: &mut [u8]) -> Result<()> {
        let encode = self
            .kind()
            .and_then(|kind| kind.encode)
            .ok_or_else(|| Error::unsupported(format!("blocks of {} cannot be made", self.name)))?;
        self.check(out.len(), values.len())?;
        let (elements, bytes) = (self.elements as usize, self.bytes as usize);
        for (values, block) in values.chunks_exact(elements).zip(out.chunks_exact_mut(bytes)) {
            if let Some(x) = values.iter().find(|x| !x.is_finite() || x.abs() > basic::LARGEST) {
                return Err(Error::unsupported(format!("{x} has no place in a block of {}", self.name)));
            }
            encode(values, block);
        }
        Ok(())
    }

    fn check(&self, bytes: usize, elements: usize) -> Result<()> {
        let blocks = bytes / self.bytes as usize;
        match blocks * self.bytes as usize == bytes && blocks * self.elements as usize == elements {
            true => Ok(()),
            false => Err(Error::argument(format!(
                "{bytes} bytes of {} and {elements} numbers are not the same number of blocks",
                self.name
            ))),
        }
    }
}

/// The half-precision number at a byte of a block.
fn half_at(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_distinct() {
        for (i, a) in KINDS.iter().enumerate() {
            assert!(KINDS[..i].iter().all(|b| a.id != b.id && a.name != b.name), "{}", a.name);
        }
    }

    /// Whatever the bytes, every kind gives numbers; and half a block is an error.
    #[test]
    fn any_block_is_decoded() {
        for kind in KINDS {
            let Encoding::Packed(packed) = kind.encoding else { continue };
            let bytes: Vec<u8> = (0..packed.bytes * 2).map(|i| (i * 37 + 11) as u8).collect();
            let mut out = vec![f32::NAN; packed.elements as usize * 2];
            assert_eq!(packed.decode(&bytes, &mut out).is_ok(), packed.can_decode(), "{}", kind.name);
            assert!(packed.decode(&bytes[1..], &mut out).is_err());
            assert!(packed.encode(&out[1..], &mut vec![0; bytes.len()]).is_err());
        }
    }

    #[test]
    fn numbers_without_a_place_are_refused() {
        let values = |x: f32| [vec![1.0; 31], vec![x]].concat();
        for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"] {
            let packed = Packed::named(name).expect(name);
            let mut out = vec![0; packed.bytes as usize];
            for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e9] {
                assert!(packed.encode(&values(x), &mut out).is_err(), "{name} {x}");
            }
            for x in [0.0, -3.0, 1e-20, 60000.0] {
                packed.encode(&values(x), &mut out).expect(name);
                let mut again = [0.0; 32];
                packed.decode(&out, &mut again).expect(name);
                let worst = values(x).iter().zip(again).fold(0.0, |w: f32, (a, b)| w.max((a - b).abs()));
                let range = x.abs().max(1.0) + 1.0;
                assert!(worst <= range / 8.0, "{name} {x}: {worst}");
            }
        }
    }
}
