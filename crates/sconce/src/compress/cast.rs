//! Elements of another type, converted as they are read.

use std::sync::Arc;

use crate::autograd::no_grad;
use crate::io::{Encoding, ReadAt, range, zeroed};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Elements converted at once.
const CHUNK: u64 = 1 << 16;

/// Row-major elements in another encoding.
pub(super) struct Cast {
    base: Arc<dyn ReadAt>,
    from: Encoding,
    to: Encoding,
    /// Elements that fill whole blocks of both.
    unit: u64,
    size: u64,
}

impl Cast {
    pub(super) fn new(base: Arc<dyn ReadAt>, from: Encoding, to: Encoding) -> Result<Self> {
        for encoding in [from, to] {
            let usable = match encoding {
                Encoding::Plain(dtype) => dtype.elem().is_some() || from == to,
                Encoding::Packed(packed) => {
                    if encoding == to {
                        packed.can_encode()
                    } else {
                        packed.can_decode()
                    }
                }
            };
            if !usable {
                return Err(Error::unsupported(format!("cannot convert {} to {}", from.name(), to.name())));
            }
        }
        let (unit_from, bytes_from) = from.block();
        let (unit_to, bytes_to) = to.block();
        let unit = unit_from.max(unit_to);
        let elements = base.size() / bytes_from * unit_from;
        if !base.size().is_multiple_of(bytes_from) || !elements.is_multiple_of(unit_to) {
            return Err(Error::unsupported(format!(
                "{elements} elements of {} are no whole blocks of {}",
                from.name(),
                to.name()
            )));
        }
        Ok(Self { base, from, to, unit, size: elements / unit_to * bytes_to })
    }

    /// The bytes of `count` elements from `first` on: whole blocks on both sides, but for the end.
    fn convert(&self, first: u64, count: u64) -> Result<Vec<u8>> {
        let (unit, bytes) = self.from.block();
        let mut read = zeroed(count / unit * bytes)?;
        self.base.read_at(first / unit * bytes, &mut read)?;
        let n = count as usize;
        let x = match self.from {
            Encoding::Plain(dtype) => Tensor::from_bytes(&read, dtype, [n])?,
            Encoding::Packed(packed) => {
                let mut numbers = vec![0.0; n];
                packed.decode(&read, &mut numbers)?;
                Tensor::from_vec(numbers, [n])?
            }
        };
        match self.to {
            Encoding::Plain(dtype) => no_grad(|| x.to(dtype))?.to_bytes(),
            Encoding::Packed(packed) => {
                let (unit, bytes) = self.to.block();
                let mut out = zeroed(count / unit * bytes)?;
                no_grad(|| x.to(DType::F32))?
                    .with_slice(|numbers: &[f32]| packed.encode(numbers, &mut out))??;
                Ok(out)
            }
        }
    }
}

impl ReadAt for Cast {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        range(offset, out.len() as u64, self.size)?;
        let (elements, bytes) = self.to.block();
        let total = self.size / bytes * elements;
        let (mut at, mut filled) = (offset, 0);
        while filled < out.len() {
            let first = at / bytes * elements / self.unit * self.unit;
            let wanted = (at + (out.len() - filled) as u64).div_ceil(bytes) * elements - first;
            let count = wanted.next_multiple_of(self.unit).min(CHUNK).min(total - first);
            let converted = self.convert(first, count)?;
            let start = (at - first / elements * bytes) as usize;
            let take = (converted.len() - start).min(out.len() - filled);
            out[filled..filled + take].copy_from_slice(&converted[start..start + take]);
            (at, filled) = (at + take as u64, filled + take);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Packed;

    #[test]
    fn any_part_is_the_part_of_the_whole() -> Result<()> {
        let numbers: Vec<f32> = (0..96).map(|i| (i as f32 - 40.0) / 8.0).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let f32s = Encoding::Plain(DType::F32);
        let q8 = Encoding::Packed(Packed::named("Q8_0").expect("a kind"));
        for to in [Encoding::Plain(DType::BF16), Encoding::Plain(DType::F64), q8] {
            let cast = Cast::new(Arc::new(bytes.clone()), f32s, to)?;
            let size = cast.size() as usize;
            let mut whole = vec![0; size];
            cast.read_at(0, &mut whole)?;
            for start in 0..size {
                let mut part = vec![0; (size - start).min(37)];
                cast.read_at(start as u64, &mut part)?;
                assert_eq!(part, whole[start..start + part.len()], "{to} {start}");
            }
            if to == q8 {
                let back = Cast::new(Arc::new(whole), q8, f32s)?;
                assert_eq!(back.size(), 384);
            }
        }
        assert!(Cast::new(Arc::new(bytes[..40].to_vec()), f32s, q8).is_err());
        assert!(Cast::new(Arc::new(bytes), f32s, Encoding::Plain(DType::F8E4M3)).is_err());
        Ok(())
    }
}
