//! PyTorch's words for settings that are enums here, for those who read them from files and command lines.

use std::str::FromStr;

use super::activation::Gelu;
use super::index::Reduce;
use super::linalg::MatrixNorm;
use super::nn::bag::BagMode;
use super::nn::grid::{GridMode, GridPadding};
use super::nn::loss::Reduction;
use super::nn::pad::PadMode;
use super::nn::resize::InterpolateMode;
use super::order::Interpolation;
use crate::tensor::scalar::Scalar;
use crate::{Error, Result};

/// `FromStr` for enums: the type, PyTorch's name of the argument, and its words for values.
macro_rules! words {
    ($($t:ty, $argument:literal { $($word:literal => $value:expr),* $(,)? })*) => {
        $(
            /// By PyTorch's word for it.
            impl FromStr for $t {
                type Err = Error;

                fn from_str(word: &str) -> Result<Self> {
                    match word {
                        $($word => Ok($value),)*
                        other => Err(unknown($argument, &[$($word),*], other)),
                    }
                }
            }
        )*
    };
}

fn unknown(argument: &str, words: &[&str], found: &str) -> Error {
    Error::argument(format!("{argument}: expected one of {words:?}, found {found:?}"))
}

words! {
    Reduction, "reduction" {
        "none" => Self::None, "mean" => Self::Mean, "sum" => Self::Sum, "batchmean" => Self::BatchMean,
    }
    Gelu, "approximate" { "none" => Self::Exact, "tanh" => Self::Tanh }
    BagMode, "mode" { "sum" => Self::Sum, "mean" => Self::Mean, "max" => Self::Max }
    GridMode, "mode" { "bilinear" => Self::Bilinear, "nearest" => Self::Nearest, "bicubic" => Self::Bicubic }
    GridPadding, "padding_mode" {
        "zeros" => Self::Zeros, "border" => Self::Border, "reflection" => Self::Reflection,
    }
    PadMode, "mode" {
        "constant" => Self::Constant(Scalar::Int(0)), "reflect" => Self::Reflect, "replicate" => Self::Replicate,
        "circular" => Self::Circular,
    }
    InterpolateMode, "mode" {
        "nearest" => Self::Nearest, "nearest-exact" => Self::NearestExact, "linear" => Self::Linear,
        "bilinear" => Self::Bilinear, "bicubic" => Self::Bicubic, "trilinear" => Self::Trilinear, "area" => Self::Area,
    }
    Interpolation, "interpolation" {
        "linear" => Self::Linear, "lower" => Self::Lower, "higher" => Self::Higher, "midpoint" => Self::Midpoint,
        "nearest" => Self::Nearest,
    }
    Reduce, "reduce" {
        "sum" => Self::Sum, "add" => Self::Sum, "prod" => Self::Prod, "multiply" => Self::Prod, "mean" => Self::Mean,
        "amax" => Self::Amax, "amin" => Self::Amin,
    }
    MatrixNorm, "ord" { "fro" => Self::Frobenius, "nuc" => Self::Nuclear }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_or_named() {
        assert_eq!("sum".parse::<Reduction>().unwrap(), Reduction::Sum);
        assert_eq!("nearest-exact".parse::<InterpolateMode>().unwrap(), InterpolateMode::NearestExact);
        let message = "abc".parse::<Reduction>().unwrap_err().to_string();
        for part in ["reduction", "batchmean", "abc"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
