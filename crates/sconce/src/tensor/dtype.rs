//! Element types.

use std::fmt;

use half::{bf16, f16};
use sconce_kernels::Elem;

/// The element type of a tensor, named as in PyTorch.
///
/// Tensors compute in the first ten. The others are only stored: files hold them, tensors carry and copy them byte for
/// byte, [`Tensor::to`](crate::Tensor::to) converts uint16, uint32 and uint64 to the first ten and back, and every
/// arithmetic operation refuses them by name; Fourier transforms make and take complex numbers,
/// whose parts [`Tensor::view_as_real`](crate::Tensor::view_as_real) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// `torch.float64`.
    F64,
    /// `torch.float32`, PyTorch's default.
    F32,
    /// `torch.float16`.
    F16,
    /// `torch.bfloat16`.
    BF16,
    /// `torch.int64`.
    I64,
    /// `torch.int32`.
    I32,
    /// `torch.int16`.
    I16,
    /// `torch.int8`.
    I8,
    /// `torch.uint8`.
    U8,
    /// `torch.bool`, one byte.
    Bool,
    /// `torch.uint16`; stored only.
    U16,
    /// `torch.uint32`; stored only.
    U32,
    /// `torch.uint64`; stored only.
    U64,
    /// `torch.complex32`: two f16; stored only.
    C32,
    /// `torch.complex64`: two f32; stored only.
    C64,
    /// `torch.complex128`: two f64; stored only.
    C128,
    /// `torch.float8_e4m3fn`; stored only.
    F8E4M3,
    /// `torch.float8_e5m2`; stored only.
    F8E5M2,
    /// `torch.float8_e4m3fnuz`; stored only.
    F8E4M3FNUZ,
    /// `torch.float8_e5m2fnuz`; stored only.
    F8E5M2FNUZ,
    /// `torch.float8_e8m0fnu`; stored only.
    F8E8M0,
}

/// What kind of number a dtype holds; PyTorch's promotion works on these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// `bool`.
    Bool,
    /// Signed and unsigned integers.
    Integer,
    /// Real floating point.
    Float,
    /// Complex floating point.
    Complex,
}

impl DType {
    /// Every dtype.
    pub const ALL: [Self; 21] = {
        use DType::*;
        [
            F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool, U16, U32, U64, C32, C64, C128, F8E4M3, F8E5M2,
            F8E4M3FNUZ, F8E5M2FNUZ, F8E8M0,
        ]
    };

    /// Bytes per element.
    ///
    /// ```
    /// assert_eq!(sconce::DType::BF16.size(), 2);
    /// ```
    #[inline]
    pub const fn size(self) -> usize {
        use DType::*;
        match self {
            C128 => 16,
            F64 | I64 | U64 | C64 => 8,
            F32 | I32 | U32 | C32 => 4,
            F16 | BF16 | I16 | U16 => 2,
            I8 | U8 | Bool | F8E4M3 | F8E5M2 | F8E4M3FNUZ | F8E5M2FNUZ | F8E8M0 => 1,
        }
    }

    /// PyTorch's name, without `torch.`.
    ///
    /// ```
    /// assert_eq!(sconce::DType::F32.name(), "float32");
    /// ```
    pub const fn name(self) -> &'static str {
        use DType::*;
        match self {
            F64 => "float64",
            F32 => "float32",
            F16 => "float16",
            BF16 => "bfloat16",
            I64 => "int64",
            I32 => "int32",
            I16 => "int16",
            I8 => "int8",
            U8 => "uint8",
            Bool => "bool",
            U16 => "uint16",
            U32 => "uint32",
            U64 => "uint64",
            C32 => "complex32",
            C64 => "complex64",
            C128 => "complex128",
            F8E4M3 => "float8_e4m3fn",
            F8E5M2 => "float8_e5m2",
            F8E4M3FNUZ => "float8_e4m3fnuz",
            F8E5M2FNUZ => "float8_e5m2fnuz",
            F8E8M0 => "float8_e8m0fnu",
        }
    }

    /// The dtype of PyTorch's name.
    ///
    /// ```
    /// use sconce::DType;
    /// assert_eq!(DType::from_name("int64"), Some(DType::I64));
    /// assert_eq!(DType::from_name("int65"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// The kind of number.
    #[inline]
    pub const fn category(self) -> Category {
        use DType::*;
        match self {
            Bool => Category::Bool,
            I64 | I32 | I16 | I8 | U8 | U16 | U32 | U64 => Category::Integer,
            C32 | C64 | C128 => Category::Complex,
            _ => Category::Float,
        }
    }

    /// Whether it is a real floating point type: only such tensors can require a gradient.
    #[inline]
    pub const fn is_floating_point(self) -> bool {
        matches!(self.category(), Category::Float)
    }

    /// The kernels' name for it; `None` for dtypes that are only stored.
    #[inline]
    pub(crate) const fn elem(self) -> Option<Elem> {
        use DType::*;
        Some(match self {
            F64 => Elem::F64,
            F32 => Elem::F32,
            F16 => Elem::F16,
            BF16 => Elem::BF16,
            I64 => Elem::I64,
            I32 => Elem::I32,
            I16 => Elem::I16,
            I8 => Elem::I8,
            U8 => Elem::U8,
            Bool => Elem::Bool,
            _ => return None,
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is the element of a tensor.
///
/// Implemented for `f64`, `f32`, [`half::f16`], [`half::bf16`], `i64`, `i32`, `i16`, `i8`, `u8` and `bool`.
pub trait Element: sealed::Sealed + Copy + Send + Sync + fmt::Debug + PartialEq + 'static {
    /// The dtype of tensors of this type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($t:ty => $d:ident),*) => {
        $(impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
        })*
    };
}

elements!(f64 => F64, f32 => F32, f16 => F16, bf16 => BF16, i64 => I64, i32 => I32, i16 => I16, i8 => I8, u8 => U8, bool => Bool);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_parse() {
        for d in DType::ALL {
            assert_eq!(DType::from_name(d.name()), Some(d));
        }
    }
}
