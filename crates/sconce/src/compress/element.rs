//! One number as the bytes of an element.

use half::f16;

use crate::tensor::scalar::Scalar;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// The bytes of a number in a dtype; of complex ones the real part. Of dtypes that are only stored, those are known
/// that need no table.
pub(super) fn element(value: Scalar, dtype: DType) -> Result<Vec<u8>> {
    let real = match value {
        Scalar::Float(x) => x,
        Scalar::Int(i) => i as f64,
        Scalar::Bool(b) => f64::from(u8::from(b)),
    };
    let unsigned = |most: u64| match value {
        Scalar::Int(i) => u64::try_from(i).ok().filter(|&i| i <= most),
        Scalar::Bool(b) => Some(b.into()),
        Scalar::Float(x) => (x >= 0.0 && x <= most as f64 && x.fract() == 0.0).then_some(x as u64),
    };
    let bytes = match dtype {
        DType::U16 => unsigned(u16::MAX.into()).map(|i| (i as u16).to_le_bytes().to_vec()),
        DType::U32 => unsigned(u32::MAX.into()).map(|i| (i as u32).to_le_bytes().to_vec()),
        DType::U64 => unsigned(u64::MAX).map(|i| i.to_le_bytes().to_vec()),
        DType::C32 => Some([f16::from_f64(real), f16::ZERO].map(f16::to_le_bytes).concat()),
        DType::C64 => Some([real as f32, 0.0].map(f32::to_le_bytes).concat()),
        DType::C128 => Some([real, 0.0].map(f64::to_le_bytes).concat()),
        // The exponent alone has no zero.
        DType::F8E8M0 if real == 1.0 => Some(vec![127]),
        DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FNUZ | DType::F8E5M2FNUZ if real == 0.0 => Some(vec![0]),
        dtype if dtype.elem().is_some() => return Tensor::full([1], value, dtype)?.to_bytes(),
        _ => None,
    };
    bytes.ok_or_else(|| Error::dtype(format!("{real} cannot be written as {dtype}")))
}
