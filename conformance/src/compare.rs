//! The comparison rule of FORMAT.md.

use sconce::DType;

use crate::store::Array;

/// The relative and the absolute tolerance; `None` asks for equality.
pub(crate) type Tolerance = Option<[f64; 2]>;

/// One element, wide enough for every dtype.
#[derive(Clone, Copy, Debug)]
enum Element {
    Int(i128),
    Float(f64),
    Complex(f64, f64),
}

/// Says how two arrays differ: in dtype, in shape, or where first and by how much at most.
pub(crate) fn compare(actual: &Array, expected: &Array, tolerance: Tolerance) -> Result<(), String> {
    compare_meta(actual, expected)?;
    let size = expected.dtype.size();
    if actual.bytes.len() != expected.bytes.len() {
        return Err(format!("{} bytes, expected {}", actual.bytes.len(), expected.bytes.len()));
    }
    let pairs = actual.bytes.chunks_exact(size).zip(expected.bytes.chunks_exact(size));
    let (mut wrong, mut first, mut greatest) = (0usize, None, 0f64);
    for (i, (a, e)) in pairs.enumerate() {
        if a == e {
            continue;
        }
        let (a, e) = (element(expected.dtype, a), element(expected.dtype, e));
        if !close(a, e, tolerance) {
            wrong += 1;
            first.get_or_insert((i, a, e));
            let distance = distance(a, e);
            // NaN says more than any finite distance.
            greatest = if greatest.is_nan() || distance.is_nan() { f64::NAN } else { greatest.max(distance) };
        }
    }
    let Some((i, a, e)) = first else { return Ok(()) };
    let total = expected.bytes.len() / size;
    Err(format!(
        "{wrong} of {total} elements differ, first at {:?}: {a}, expected {e}; greatest difference {greatest:e}, {}",
        unravel(i, &expected.shape),
        match tolerance {
            Some([rtol, atol]) => format!("rtol {rtol:e}, atol {atol:e}"),
            None => "must be equal".into(),
        }
    ))
}

/// Compares dtype and shape only.
pub(crate) fn compare_meta(actual: &Array, expected: &Array) -> Result<(), String> {
    if actual.dtype != expected.dtype {
        return Err(format!("dtype {}, expected {}", actual.dtype, expected.dtype));
    }
    if actual.shape != expected.shape {
        return Err(format!("shape {:?}, expected {:?}", actual.shape, expected.shape));
    }
    Ok(())
}

/// Whether every element is zero.
pub(crate) fn is_zero(array: &Array) -> bool {
    let zero = |bytes| match element(array.dtype, bytes) {
        Element::Int(i) => i == 0,
        Element::Float(x) => x == 0.0,
        Element::Complex(re, im) => re == 0.0 && im == 0.0,
    };
    array.bytes.chunks_exact(array.dtype.size()).all(zero)
}

/// Compares two floats under a tolerance.
pub(crate) fn close_f64(actual: f64, expected: f64, tolerance: Tolerance) -> bool {
    close(Element::Float(actual), Element::Float(expected), tolerance)
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(i) => write!(f, "{i}"),
            Self::Float(x) => write!(f, "{x:?}"),
            Self::Complex(re, im) => write!(f, "{re:?}{im:+?}i"),
        }
    }
}

fn close(actual: Element, expected: Element, tolerance: Tolerance) -> bool {
    use Element::*;
    let same = match (actual, expected) {
        (Int(a), Int(e)) => a == e,
        (Float(a), Float(e)) => a == e || a.is_nan() && e.is_nan(),
        (Complex(a, b), Complex(c, d)) => {
            (a, b) == (c, d) || (a.is_nan() || b.is_nan()) && (c.is_nan() || d.is_nan())
        }
        _ => false,
    };
    let Some([rtol, atol]) = tolerance else { return same };
    let size = magnitude(expected);
    // An infinity is met by itself alone: rtol · inf would let everything pass.
    same || size.is_finite() && distance(actual, expected) <= atol + rtol * size
}

fn magnitude(element: Element) -> f64 {
    match element {
        Element::Int(i) => (i as f64).abs(),
        Element::Float(x) => x.abs(),
        Element::Complex(re, im) => re.hypot(im),
    }
}

fn distance(a: Element, b: Element) -> f64 {
    use Element::*;
    match (a, b) {
        (Int(a), Int(b)) => (a - b).abs() as f64,
        (Float(a), Float(b)) => (a - b).abs(),
        (Complex(a, b), Complex(c, d)) => (a - c).hypot(b - d),
        _ => f64::NAN,
    }
}

fn element(dtype: DType, bytes: &[u8]) -> Element {
    let bits = bytes.iter().rev().fold(0u128, |n, &b| n << 8 | u128::from(b));
    let signed = |width: u32| Element::Int((bits as i128) << (128 - width) >> (128 - width));
    let float = |bits: u128| f64::from(f32::from_bits(bits as u32));
    match dtype {
        DType::F64 => Element::Float(f64::from_bits(bits as u64)),
        DType::F32 => Element::Float(float(bits)),
        DType::F16 => Element::Float(small_float(bits as u32, 5, 10, true)),
        DType::BF16 => Element::Float(float(bits << 16)),
        DType::F8E5M2 => Element::Float(small_float(bits as u32, 5, 2, true)),
        DType::F8E4M3 => Element::Float(small_float(bits as u32, 4, 3, false)),
        DType::C64 => Element::Complex(float(bits & 0xffff_ffff), float(bits >> 32)),
        DType::C128 => Element::Complex(f64::from_bits(bits as u64), f64::from_bits((bits >> 64) as u64)),
        DType::I64 => signed(64),
        DType::I32 => signed(32),
        DType::I16 => signed(16),
        DType::I8 => signed(8),
        // Unsigned integers, bools, and dtypes that can only be compared bit by bit.
        _ => Element::Int(bits as i128),
    }
}

/// An IEEE-like float; without infinities, the all-ones exponent is an ordinary one and all ones alone is NaN.
fn small_float(bits: u32, exponent_bits: u32, mantissa_bits: u32, infinities: bool) -> f64 {
    let mantissa = bits & ((1 << mantissa_bits) - 1);
    let top = (1 << exponent_bits) - 1;
    let exponent = bits >> mantissa_bits & top;
    let sign = if bits >> (mantissa_bits + exponent_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let bias = (1 << (exponent_bits - 1)) - 1;
    let scale = |e: i32| 2f64.powi(e - bias - mantissa_bits as i32);
    let whole = f64::from(mantissa);
    sign * if exponent == top && infinities {
        if mantissa == 0 { f64::INFINITY } else { f64::NAN }
    } else if exponent == top && mantissa == (1 << mantissa_bits) - 1 {
        f64::NAN
    } else if exponent == 0 {
        whole * scale(1)
    } else {
        (whole + f64::from(1 << mantissa_bits)) * scale(exponent as i32)
    }
}

fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut out = vec![0; shape.len()];
    for (place, &dim) in out.iter_mut().zip(shape).rev() {
        *place = index % dim;
        index /= dim;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Array {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Array { dtype: DType::F32, shape: vec![values.len()], bytes }
    }

    #[test]
    fn rule() {
        let tolerance = Some([1e-3, 1e-2]);
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let table = [
            (1.0, 1.0, None, true),
            (0.0, -0.0, None, true),
            (nan, -nan, None, true),
            (nan, 1.0, tolerance, false),
            (1.0, nan, tolerance, false),
            (inf, inf, tolerance, true),
            (1.0, inf, tolerance, false),
            (-inf, inf, tolerance, false),
            (inf, 1.0, tolerance, false),
            (1.010, 1.0, tolerance, true),
            (1.012, 1.0, tolerance, false),
            (100.105, 100.0, tolerance, true),
            (1.0000001, 1.0, None, false),
        ];
        for (a, e, tolerance, expected) in table {
            assert_eq!(compare(&floats(&[a]), &floats(&[e]), tolerance).is_ok(), expected, "{a} {e}");
        }
    }

    #[test]
    fn reports_where_and_how_much() {
        let mut a = floats(&[1.0, 2.0, 3.0, 4.0]);
        let mut e = floats(&[1.0, 2.0, 3.5, 8.0]);
        (a.shape, e.shape) = (vec![2, 2], vec![2, 2]);
        let text = compare(&a, &e, None).unwrap_err();
        assert!(text.starts_with(
            "2 of 4 elements differ, first at [1, 0]: 3.0, expected 3.5; greatest difference 4e0"
        ));
        e.shape = vec![4];
        assert_eq!(compare(&a, &e, None), Err("shape [2, 2], expected [4]".into()));
        e.dtype = DType::I32;
        assert_eq!(compare(&a, &e, None), Err("dtype float32, expected int32".into()));
    }

    #[test]
    fn decodes_every_kind() {
        let table: [(DType, &[u8], f64); 12] = [
            (DType::F16, &[0x00, 0x3c], 1.0),
            (DType::F16, &[0x01, 0x80], -2f64.powi(-24)),
            (DType::F16, &[0x00, 0x7c], f64::INFINITY),
            (DType::BF16, &[0x80, 0xbf], -1.0),
            (DType::F8E5M2, &[0x3c], 1.0),
            (DType::F8E4M3, &[0x38], 1.0),
            (DType::F8E4M3, &[0x7e], 448.0),
            (DType::I8, &[0xff], -1.0),
            (DType::U8, &[0xff], 255.0),
            (DType::I64, &[0xfe, 255, 255, 255, 255, 255, 255, 255], -2.0),
            (DType::U64, &[0, 0, 0, 0, 0, 0, 0, 0x80], 2f64.powi(63)),
            (DType::Bool, &[1], 1.0),
        ];
        for (dtype, bytes, value) in table {
            let found = match element(dtype, bytes) {
                Element::Int(i) => i as f64,
                Element::Float(x) => x,
                Element::Complex(..) => f64::NAN,
            };
            assert_eq!(found, value, "{dtype}");
        }
    }
}
