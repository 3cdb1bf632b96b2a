//! The types that kernels compute in, and conversion between them and the stored element types.
//!
//! Conversions are PyTorch's on x86-64: floats are truncated towards zero and wrap as C does there, anything that is
//! not 0 (NaN included) becomes `true`, integers wrap, halves are rounded once, to nearest even.

use crate::Elem;
use crate::isa::versions;
use half::{bf16, f16};

/// A type that elementwise kernels compute in: `f32`, `f64` or `i64`.
///
/// Halves compute in `f32`, the smaller integers and `bool` in `i64`.
pub trait Compute: Copy + Default + PartialEq + PartialOrd + Send + Sync + 'static + sealed::Sealed {
    /// The element type that is this type in memory.
    const ELEM: Elem;
    #[doc(hidden)]
    fn load<S: Stored>(s: S) -> Self;
    #[doc(hidden)]
    fn store<S: Stored>(self) -> S;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i64 {}
}

/// A type of elements in memory.
#[doc(hidden)]
pub trait Stored: Copy + Send + Sync + 'static {
    const ELEM: Elem;
    fn to_f32(self) -> f32;
    fn to_f64(self) -> f64;
    fn to_i64(self) -> i64;
    fn from_f32(v: f32) -> Self;
    fn from_f64(v: f64) -> Self;
    fn from_i64(v: i64) -> Self;
}

macro_rules! compute {
    ($($t:ty, $elem:ident, $to:ident, $from:ident;)*) => {$(
        impl Compute for $t {
            const ELEM: Elem = Elem::$elem;
            #[inline(always)]
            fn load<S: Stored>(s: S) -> Self {
                s.$to()
            }
            #[inline(always)]
            fn store<S: Stored>(self) -> S {
                S::$from(self)
            }
        }
    )*};
}
compute! {
    f32, F32, to_f32, from_f32;
    f64, F64, to_f64, from_f64;
    i64, I64, to_i64, from_i64;
}

/// One byte, 0 or 1; any other byte reads as true.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Bool(u8);

macro_rules! stored {
    ($t:ty, $elem:ident, $s:ident => $to32:expr, $to64:expr, $toi:expr; $v:ident => $f32:expr, $f64:expr, $i:expr) => {
        impl Stored for $t {
            const ELEM: Elem = Elem::$elem;
            #[inline(always)]
            fn to_f32(self) -> f32 {
                let $s = self;
                $to32
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                let $s = self;
                $to64
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                let $s = self;
                $toi
            }
            #[inline(always)]
            fn from_f32($v: f32) -> Self {
                $f32
            }
            #[inline(always)]
            fn from_f64($v: f64) -> Self {
                $f64
            }
            #[inline(always)]
            fn from_i64($v: i64) -> Self {
                $i
            }
        }
    };
}

/// `cvttsd2si`: truncation, and the least integer for what does not fit.
#[inline(always)]
fn trunc64(v: f64) -> i64 {
    let limit = -(i64::MIN as f64);
    if v >= -limit && v < limit { v as i64 } else { i64::MIN }
}

/// `cvttsd2si` to 32 bits.
#[inline(always)]
fn trunc32(v: f64) -> i32 {
    if v > -2147483649.0 && v < 2147483648.0 { v as i32 } else { i32::MIN }
}

/// `cvttss2si` to 32 bits.
#[inline(always)]
fn trunc32_single(v: f32) -> i32 {
    if (-2147483648.0..2147483648.0).contains(&v) { v as i32 } else { i32::MIN }
}

stored!(f64, F64, s => s as f32, s, trunc64(s); v => v as f64, v, v as f64);
stored!(f32, F32, s => s, s as f64, trunc64(s as f64); v => v, v as f32, v as f32);
stored!(f16, F16, s => half_to_single(s.to_bits()), half_to_single(s.to_bits()) as f64,
    half_to_single(s.to_bits()) as i64;
    v => f16::from_bits(single_to_half(v)), f16::from_bits(single_to_half(v as f32)),
    f16::from_bits(single_to_half(v as f32)));
stored!(bf16, BF16, s => brain_to_single(s.to_bits()), brain_to_single(s.to_bits()) as f64,
    trunc64(brain_to_single(s.to_bits()) as f64);
    v => bf16::from_bits(single_to_brain(v)), bf16::from_bits(single_to_brain(v as f32)),
    bf16::from_bits(single_to_brain(v as f32)));
stored!(i64, I64, s => s as f32, s as f64, s; v => trunc64(v as f64), trunc64(v), v);
stored!(i32, I32, s => s as f32, s as f64, s as i64; v => trunc32_single(v), trunc32(v), v as i32);
stored!(i16, I16, s => s as f32, s as f64, s as i64; v => trunc32_single(v) as i16, trunc32(v) as i16, v as i16);
stored!(i8, I8, s => s as f32, s as f64, s as i64; v => trunc32_single(v) as i8, trunc32(v) as i8, v as i8);
stored!(u8, U8, s => s as f32, s as f64, s as i64; v => trunc64(v as f64) as u8, trunc64(v) as u8, v as u8);
stored!(Bool, Bool, s => (s.0 != 0) as u8 as f32, (s.0 != 0) as u8 as f64, (s.0 != 0) as i64;
    v => Bool((v != 0.0) as u8), Bool((v != 0.0) as u8), Bool((v != 0) as u8));

#[inline(always)]
fn brain_to_single(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

#[inline(always)]
fn single_to_brain(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    if v.is_nan() { 0x7fc0 | (bits >> 16) as u16 & 0x8000 } else { rounded }
}

/// Branch-free, so that loops over it vectorise: a normal half is rescaled by a power of two, a subnormal one is
/// built next to 0.5 and 0.5 subtracted.
#[inline(always)]
fn half_to_single(bits: u16) -> f32 {
    let wide = (bits as u32) << 16;
    let twice = wide.wrapping_add(wide);
    let normal = f32::from_bits((twice >> 4).wrapping_add(0xe0 << 23)) * f32::from_bits(0x0780_0000);
    let subnormal = f32::from_bits((twice >> 17) | (126 << 23)) - 0.5;
    let magnitude = if twice < 1 << 27 { subnormal.to_bits() } else { normal.to_bits() };
    f32::from_bits(wide & 0x8000_0000 | magnitude)
}

/// Branch-free: adding a power of two chosen by the exponent makes the addition round at the half's last bit.
#[inline(always)]
fn single_to_half(v: f32) -> u16 {
    let bits = v.to_bits();
    let twice = bits.wrapping_add(bits);
    let scaled = (v.abs() * f32::from_bits(0x7780_0000)) * f32::from_bits(0x0880_0000);
    let bias = (twice & 0xff00_0000).max(0x7100_0000);
    let base = (f32::from_bits((bias >> 1) + 0x0780_0000) + scaled).to_bits();
    let magnitude = ((base >> 13) & 0x7c00) + (base & 0x0fff);
    let magnitude = if twice > 0xff00_0000 { 0x7e00 } else { magnitude };
    ((bits >> 16) & 0x8000 | magnitude) as u16
}

/// Runs the block with `$S` set to the memory type of `$elem`.
macro_rules! with_stored {
    ($elem:expr, $S:ident => $block:expr) => {
        match $elem {
            $crate::Elem::F64 => {
                type $S = f64;
                $block
            }
            $crate::Elem::F32 => {
                type $S = f32;
                $block
            }
            $crate::Elem::F16 => {
                type $S = half::f16;
                $block
            }
            $crate::Elem::BF16 => {
                type $S = half::bf16;
                $block
            }
            $crate::Elem::I64 => {
                type $S = i64;
                $block
            }
            $crate::Elem::I32 => {
                type $S = i32;
                $block
            }
            $crate::Elem::I16 => {
                type $S = i16;
                $block
            }
            $crate::Elem::I8 => {
                type $S = i8;
                $block
            }
            $crate::Elem::U8 => {
                type $S = u8;
                $block
            }
            $crate::Elem::Bool => {
                type $S = $crate::compute::Bool;
                $block
            }
        }
    };
}

/// A rectangle of elements: `rows` rows `row` elements apart, `cols` columns `col` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Rect {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row: usize,
    pub(crate) col: usize,
}

versions! {
    /// Reads the rectangle at `src`, elements of type `elem`, into consecutive `T`s at `dst`.
    ///
    /// # Safety
    /// `src` is valid for reads over the rectangle, `dst` for `rows * cols` writes; they do not overlap.
    pub(crate) unsafe fn load[T: Compute][T](dst: *mut T, src: *const u8, elem: Elem, rect: Rect) = load_body
}

#[inline(always)]
unsafe fn load_body<T: Compute>(dst: *mut T, src: *const u8, elem: Elem, rect: Rect) {
    with_stored!(elem, S => {
        for r in 0..rect.rows {
            let src = src.cast::<S>().wrapping_add(r * rect.row);
            let dst = dst.wrapping_add(r * rect.cols);
            match rect.col {
                // SAFETY: the row lies in the caller's rectangle.
                1 => unsafe {
                    let row = std::slice::from_raw_parts(src, rect.cols);
                    for (i, &s) in row.iter().enumerate() {
                        dst.add(i).write(T::load(s));
                    }
                },
                // SAFETY: a row of at least one element, all at one address.
                0 if rect.cols > 0 => unsafe {
                    let v = T::load(src.read());
                    for i in 0..rect.cols {
                        dst.add(i).write(v);
                    }
                },
                // SAFETY: the row lies in the caller's rectangle.
                step => unsafe {
                    for i in 0..rect.cols {
                        dst.add(i).write(T::load(src.add(i * step).read()));
                    }
                },
            }
        }
    })
}

versions! {
    /// Writes consecutive `T`s at `src` to the rectangle at `dst`, elements of type `elem`.
    ///
    /// # Safety
    /// `dst` is valid for writes over the rectangle, `src` for `rows * cols` reads; they do not overlap.
    pub(crate) unsafe fn store[T: Compute][T](dst: *mut u8, src: *const T, elem: Elem, rect: Rect) = store_body
}

#[inline(always)]
unsafe fn store_body<T: Compute>(dst: *mut u8, src: *const T, elem: Elem, rect: Rect) {
    with_stored!(elem, S => {
        for r in 0..rect.rows {
            let dst = dst.cast::<S>().wrapping_add(r * rect.row);
            // SAFETY: the row's values are in the caller's `rows * cols`.
            let row = unsafe { std::slice::from_raw_parts(src.add(r * rect.cols), rect.cols) };
            if rect.col == 1 {
                for (i, &v) in row.iter().enumerate() {
                    // SAFETY: the row lies in the caller's rectangle.
                    unsafe { dst.add(i).write(v.store()) };
                }
            } else {
                for (i, &v) in row.iter().enumerate() {
                    // SAFETY: the row lies in the caller's rectangle.
                    unsafe { dst.add(i * rect.col).write(v.store()) };
                }
            }
        }
    })
}
