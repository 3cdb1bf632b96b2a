//! Elementwise functions of one tensor.

use super::{in_place, rows};
use crate::outcome::unsupported;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// Methods without arguments: the name, the method, and its in-place form.
macro_rules! methods {
    ($($name:literal $inplace_name:literal $method:ident $inplace:ident;)*) => {
        rows! {
            $($name => |a| a.input()?.$method()?;
            $inplace_name => |a| in_place(a, |x| x.$inplace())?;)*
"polygamma" => |a| match u32::try_from(a.int("n")?) {
                Ok(n) => a.input()?.polygamma(n)?,
                Err(_) => return unsupported("a negative order: it is unsigned here".into()),
            };
            "logit" => |a| a.input()?.logit(a.opt("eps", Call::float)?)?;
            "logit_" => |a| {
                let eps = a.opt("eps", Call::float)?;
                in_place(a, |x| x.logit_(eps))?
            };
            "nan_to_num" => |a| a.input()?.nan_to_num(
                a.opt("nan", Call::float)?.unwrap_or(0.0), a.opt("posinf", Call::float)?, a.opt("neginf", Call::float)?,
            )?;
            "sgn" => |a| a.input()?.sgn()?;
            "sgn_" => |a| in_place(a, |x| x.sgn_())?;
            "nan_to_num_" => |a| {
                let nan = a.opt("nan", Call::float)?.unwrap_or(0.0);
                let (posinf, neginf) = (a.opt("posinf", Call::float)?, a.opt("neginf", Call::float)?);
                in_place(a, |x| x.nan_to_num_(nan, posinf, neginf))?
            };
            "bitwise_not_" => |a| in_place(a, |x| x.bitwise_not_())?;
            "logical_not_" => |a| in_place(a, |x| x.logical_not_())?;
            "round" => |a| match a.opt("decimals", Call::int)? {
                Some(decimals) => a.input()?.round_decimals(decimals as i32)?,
                None => a.input()?.round()?,
            };
            "round_" => |a| match a.opt("decimals", Call::int)? {
                Some(decimals) => in_place(a, |x| x.round_decimals_(decimals as i32))?,
                None => in_place(a, |x| x.round_())?,
            };
            "mvlgamma" => |a| a.input()?.mvlgamma(a.size("p")?)?;
            "mvlgamma_" => |a| {
                let p = a.size("p")?;
                in_place(a, |x| x.mvlgamma_(p))?
            };
            "isposinf" => |a| a.input()?.isposinf()?;
            "isneginf" => |a| a.input()?.isneginf()?;
            "isreal" => |a| a.input()?.isreal()?;
            "angle" => |a| a.input()?.angle()?;
            "frexp" => |a| a.input()?.frexp()?;
            // A real tensor is its own real part and conjugate.
            "real" | "conj" => |a| match a.input()?.dtype().category() {
                sconce::Category::Complex => return unsupported("complex numbers".into()),
                _ => a.input()?,
            };
            "positive" => |a| a.input()?.positive()?;
            "signbit" => |a| a.input()?.signbit()?;
            "bitwise_not" => |a| a.input()?.bitwise_not()?;
        }
    };
}

/// The table.
pub(super) const TABLE: &[Entry] = methods! {
    "neg" "neg_" neg neg_;
    "abs" "abs_" abs abs_;
    "sign" "sign_" sign sign_;
    "square" "square_" square square_;
    "exp" "exp_" exp exp_;
    "exp2" "exp2_" exp2 exp2_;
    "expm1" "expm1_" expm1 expm1_;
    "log" "log_" log log_;
    "log1p" "log1p_" log1p log1p_;
    "log2" "log2_" log2 log2_;
    "log10" "log10_" log10 log10_;
    "sqrt" "sqrt_" sqrt sqrt_;
    "rsqrt" "rsqrt_" rsqrt rsqrt_;
    "reciprocal" "reciprocal_" reciprocal reciprocal_;
    "sin" "sin_" sin sin_;
    "cos" "cos_" cos cos_;
    "tan" "tan_" tan tan_;
    "sinh" "sinh_" sinh sinh_;
    "cosh" "cosh_" cosh cosh_;
    "tanh" "tanh_" tanh tanh_;
    "sigmoid" "sigmoid_" sigmoid sigmoid_;
    "erf" "erf_" erf erf_;
    "relu" "relu_" relu relu_;
    "floor" "floor_" floor floor_;
    "ceil" "ceil_" ceil ceil_;
    "trunc" "trunc_" trunc trunc_;
    "i0" "i0_" i0 i0_;
    "asin" "asin_" asin asin_;
    "acos" "acos_" acos acos_;
    "atan" "atan_" atan atan_;
    "asinh" "asinh_" asinh asinh_;
    "acosh" "acosh_" acosh acosh_;
    "atanh" "atanh_" atanh atanh_;
    "erfc" "erfc_" erfc erfc_;
    "erfinv" "erfinv_" erfinv erfinv_;
    "lgamma" "lgamma_" lgamma lgamma_;
    "digamma" "digamma_" digamma digamma_;
    "sinc" "sinc_" sinc sinc_;
    "frac" "frac_" frac frac_;
    "deg2rad" "deg2rad_" deg2rad deg2rad_;
    "rad2deg" "rad2deg_" rad2deg rad2deg_;
};
