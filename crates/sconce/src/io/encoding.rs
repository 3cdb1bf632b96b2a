//! How a file stores the elements of a tensor.

use std::fmt;

use crate::tensor::dtype::DType;

/// How the elements of a stored tensor are laid out in bytes.
///
/// ```
/// use sconce::{DType, io::Encoding};
///
/// let plain = Encoding::Plain(DType::F32);
/// assert_eq!((plain.name(), plain.bytes_for(3)), ("float32", Some(12)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// One element after another.
    Plain(DType),
    /// Blocks of several elements, or elements of a type that no tensor has: listed and copied, not converted.
    Packed(Packed),
}

/// Blocks that each hold `elements` elements in `bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packed {
    /// The name that the file format gives it.
    pub name: &'static str,
    /// Elements in a block, at least 1.
    pub elements: u32,
    /// Bytes of a block.
    pub bytes: u32,
}

impl Encoding {
    /// PyTorch's name of the dtype, or the format's name of the packing.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain(dtype) => dtype.name(),
            Self::Packed(packed) => packed.name,
        }
    }

    /// The dtype, unless the elements are packed.
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Self::Plain(dtype) => Some(*dtype),
            Self::Packed(_) => None,
        }
    }

    /// The bytes of `numel` elements; `None` if they do not fill whole blocks, or overflow.
    pub fn bytes_for(&self, numel: u64) -> Option<u64> {
        let (elements, bytes) = self.block();
        if !numel.is_multiple_of(elements) {
            return None;
        }
        (numel / elements).checked_mul(bytes)
    }

    /// Elements and bytes of a block.
    pub(crate) fn block(&self) -> (u64, u64) {
        match self {
            Self::Plain(dtype) => (1, dtype.size() as u64),
            Self::Packed(packed) => (u64::from(packed.elements), u64::from(packed.bytes)),
        }
    }

    /// Bytes of the numbers that a byte order applies to: an element, or a part of a complex one.
    pub(crate) fn number_size(&self) -> usize {
        match self {
            Self::Plain(dtype @ (DType::C32 | DType::C64 | DType::C128)) => dtype.size() / 2,
            Self::Plain(dtype) => dtype.size(),
            Self::Packed(packed) if packed.elements == 1 => packed.bytes as usize,
            Self::Packed(_) => 1,
        }
    }
}

impl From<DType> for Encoding {
    fn from(dtype: DType) -> Self {
        Self::Plain(dtype)
    }
}

impl From<Packed> for Encoding {
    fn from(packed: Packed) -> Self {
        Self::Packed(packed)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
