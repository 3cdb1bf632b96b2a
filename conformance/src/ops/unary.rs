//! Elementwise functions of one tensor.

use super::{in_place, rows};
use crate::registry::Entry;
use crate::tensors::Val;

/// Methods without arguments: the name, the method, and its in-place form.
macro_rules! methods {
    ($($name:literal $inplace_name:literal $method:ident $inplace:ident;)*) => {
        rows! {
            $($name => |a| a.input()?.$method()?;
            $inplace_name => |a| in_place(a, |x| x.$inplace())?;)*
            "nn.functional.relu" => |a| {
                let x = a.input()?;
                if a.bool("inplace")? { in_place(a, |x| x.relu_())? } else { x.relu()?.into() }
            };
            "nn.functional.silu" => |a| {
                let x = a.input()?;
                if a.bool("inplace")? { in_place(a, |x| x.silu_())? } else { x.silu()?.into() }
            };
            "nn.functional.leaky_relu" => |a| {
                let (x, slope) = (a.input()?, a.float("negative_slope")?);
                if a.bool("inplace")? { in_place(a, |x| x.leaky_relu_(slope))? } else { x.leaky_relu(slope)?.into() }
            };
            "nn.functional.silu_" => |a| in_place(a, |x| x.silu_())?;
            "nn.functional.leaky_relu_" => |a| {
                let slope = a.float("negative_slope")?;
                in_place(a, |x| x.leaky_relu_(slope))?
            };
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
    "round" "round_" round round_;
};
