//! The element types that can be filled.

use super::generator::Generator;
use super::{normal, uniform};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// An element type that random integers, events and times can be drawn into; PyTorch's ten dtypes, and no others.
pub trait RandomElement: Copy + sealed::Element {}

/// An element type that uniform and normal numbers can be drawn into: `f64`, `f32`, `f16` and `bf16`.
pub trait RandomFloat: RandomElement + sealed::Float {}

pub(super) mod sealed {
    use super::Generator;

    pub trait Element {
        /// What `random_()` draws: a word, or two if `WIDE`, modulo `LIMIT`.
        const LIMIT: u64;
        /// Whether `random_()` takes two words.
        const WIDE: bool;
        /// Converts as C++ does: rounded, or truncated to the low bits.
        fn from_i64(value: i64) -> Self;
        /// Rounds; the narrow floats are rounded to `f32` first, as in PyTorch.
        fn from_f64(value: f64) -> Self;
    }

    pub trait Float: Element + Copy + Default {
        /// Whether a probability of this type is compared with 53 bits rather than 24.
        const DOUBLE: bool;
        fn to_f64(self) -> f64;
        /// Rounds to the type that this one is computed in: `f32`, of `f64` itself.
        #[inline(always)]
        fn compute(value: f64) -> f64 {
            if Self::DOUBLE { value } else { f64::from(value as f32) }
        }
        fn fill_uniform(generator: &mut Generator, out: &mut [Self], from: f64, to: f64);
        /// Fills 16 elements or more by blocks.
        fn fill_normal(generator: &mut Generator, out: &mut [Self], mean: f64, std: f64);
    }

    /// The floats that are computed in `f32` and rounded at the end.
    pub(in super::super) trait Narrow: Float + PartialEq {
        fn round(from: &[f32], to: &mut [Self]);
    }
}

macro_rules! element {
    ($($type:ty: $limit:expr, $wide:expr, $from_i64:expr, $from_f64:expr;)*) => {
        $(
            impl RandomElement for $type {}

            impl sealed::Element for $type {
                const LIMIT: u64 = $limit;
                const WIDE: bool = $wide;

                #[inline(always)]
                fn from_i64(value: i64) -> Self {
                    $from_i64(value)
                }

                #[inline(always)]
                fn from_f64(value: f64) -> Self {
                    $from_f64(value)
                }
            }
        )*
    };
}

element! {
    f64: (1 << 53) + 1, true, |x| x as f64, |x| x;
    f32: (1 << 24) + 1, false, |x| x as f32, |x| x as f32;
    f16: (1 << 11) + 1, false, |x| f16::from_f32(x as f32), |x| f16::from_f32(x as f32);
    bf16: (1 << 8) + 1, false, |x| bf16::from_f32(x as f32), |x| bf16::from_f32(x as f32);
    i64: 1 << 63, true, |x| x, |x| x as i64;
    i32: 1 << 31, false, |x| x as i32, |x| x as i64 as i32;
    i16: 1 << 15, false, |x| x as i16, |x| x as i64 as i16;
    i8: 1 << 7, false, |x| x as i8, |x| x as i64 as i8;
    u8: 1 << 8, false, |x| x as u8, |x| x as i64 as u8;
    bool: 2, false, |x| x != 0, |x| x != 0.0;
}

macro_rules! float {
    ($($type:ty: $double:expr, $to_f64:expr, $uniform:path, $normal:path;)*) => {
        $(
            impl RandomFloat for $type {}

            impl sealed::Float for $type {
                const DOUBLE: bool = $double;

                #[inline(always)]
                fn to_f64(self) -> f64 {
                    $to_f64(self)
                }

                fn fill_uniform(generator: &mut Generator, out: &mut [Self], from: f64, to: f64) {
                    $uniform(generator, out, from, to);
                }

                fn fill_normal(generator: &mut Generator, out: &mut [Self], mean: f64, std: f64) {
                    $normal(generator, out, mean, std);
                }
            }
        )*
    };
}

float! {
    f64: true, |x| x, uniform::double, normal::double;
    f32: false, f64::from, uniform::single, normal::single;
    f16: false, f64::from, uniform::narrow, normal::narrow;
    bf16: false, f64::from, uniform::narrow, normal::narrow;
}

macro_rules! narrow {
    ($($type:ty)*) => {
        $(
            impl sealed::Narrow for $type {
                fn round(from: &[f32], to: &mut [Self]) {
                    to.convert_from_f32_slice(from);
                }
            }
        )*
    };
}

narrow! { f16 bf16 }
