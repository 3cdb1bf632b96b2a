//! Activation functions and softmaxes.

use sconce::functional::{self as f, AttentionOptions};

use super::{in_place, rows};
use sconce::{Operand, Tensor};

use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// Functions whose argument `inplace` and whose in-place form `name_` change the input: the names, the methods, and
/// the names of their float arguments.
macro_rules! activations {
    ($($name:literal $inplace_name:literal $method:ident $inplace:ident ($($arg:literal),*);)*) => {
        rows! {
            $($name => |a| {
                let x = a.input()?;
                if a.opt("inplace", Call::bool)?.unwrap_or(false) {
                    x.$inplace($(a.float($arg)?),*)?;
                    Val::from(x)
                } else {
                    x.$method($(a.float($arg)?),*)?.into()
                }
            };
            $inplace_name => |a| {
                let x = a.input()?;
                x.$inplace($(a.float($arg)?),*)?;
                x
            };)*
        }
    };
}

/// The table.
pub(crate) const TABLE: &[Entry] = activations! {
    "nn.functional.relu" "nn.functional.relu_" relu relu_ ();
    "nn.functional.silu" "nn.functional.silu_" silu silu_ ();
    "nn.functional.leaky_relu" "nn.functional.leaky_relu_" leaky_relu leaky_relu_ ("negative_slope");
    "nn.functional.softplus" "nn.functional.softplus_" softplus softplus_ ("beta", "threshold");
    "nn.functional.logsigmoid" "nn.functional.logsigmoid_" logsigmoid logsigmoid_ ();
    "nn.functional.elu" "nn.functional.elu_" elu elu_ ("alpha");
    "nn.functional.celu" "nn.functional.celu_" celu celu_ ("alpha");
    "nn.functional.selu" "nn.functional.selu_" selu selu_ ();
    "nn.functional.mish" "nn.functional.mish_" mish mish_ ();
    "nn.functional.relu6" "nn.functional.relu6_" relu6 relu6_ ();
    "nn.functional.hardtanh" "nn.functional.hardtanh_" hardtanh hardtanh_ ("min_val", "max_val");
    "nn.functional.hardsigmoid" "nn.functional.hardsigmoid_" hardsigmoid hardsigmoid_ ();
    "nn.functional.hardswish" "nn.functional.hardswish_" hardswish hardswish_ ();
    "nn.functional.softsign" "nn.functional.softsign_" softsign softsign_ ();
    "nn.functional.tanhshrink" "nn.functional.tanhshrink_" tanhshrink tanhshrink_ ();
    "nn.functional.hardshrink" "nn.functional.hardshrink_" hardshrink hardshrink_ ("lambd");
    "nn.functional.softshrink" "nn.functional.softshrink_" softshrink softshrink_ ("lambd");
    "nn.functional.threshold" "nn.functional.threshold_" threshold threshold_ ("threshold", "value");
};

/// Those that take more than floats.
pub(crate) const OTHERS: &[Entry] = rows! {
    "nn.functional.gelu" => |a| a.input()?.gelu(a.word("approximate")?)?;
    "nn.functional.glu" => |a| a.input()?.glu(a.dim("dim")?)?;
    "nn.functional.softmin" => |a| {
        let x = a.input()?;
        let dim = a.dim("dim")?;
        match a.opt("dtype", Call::dtype)? {
            // Negated before it is converted: unsigned integers wrap.
            Some(dtype) => x.neg()?.to(dtype)?.softmax(dim)?,
            None => x.softmin(dim)?,
        }
    };
    "nn.functional.rrelu" => |a| {
        let x = a.input()?;
        let y = x.rrelu(a.float("lower")?, a.float("upper")?, a.bool("training")?)?;
        written(a, y)?
    };
    "nn.functional.dropout1d" => |a| f::dropout1d(a.input()?, a.float("p")?, a.bool("training")?)?;
    "nn.functional.dropout2d" => |a| f::dropout2d(a.input()?, a.float("p")?, a.bool("training")?)?;
    "nn.functional.dropout3d" => |a| f::dropout3d(a.input()?, a.float("p")?, a.bool("training")?)?;
    "nn.functional.alpha_dropout" => |a| f::alpha_dropout(a.input()?, a.float("p")?, a.bool("training")?)?;
    "nn.functional.feature_alpha_dropout" => |a| {
        f::feature_alpha_dropout(a.input()?, a.float("p")?, a.bool("training")?)?
    };
    "nn.functional.bilinear" => |a| {
        f::bilinear(a.tensor("input1")?, a.tensor("input2")?, a.tensor("weight")?, a.opt_tensor("bias")?)?
    };
    "nn.functional.scaled_dot_product_attention" => |a| {
        let options = AttentionOptions {
            mask: a.opt_tensor("attn_mask")?,
            dropout_p: a.float("dropout_p")?,
            is_causal: a.bool("is_causal")?,
            scale: a.opt("scale", Call::float)?,
            enable_gqa: a.bool("enable_gqa")?,
        };
        f::scaled_dot_product_attention(a.tensor("query")?, a.tensor("key")?, a.tensor("value")?, options)?
    };
    "nn.functional.prelu" => |a| a.input()?.prelu(a.tensor("weight")?)?;
    "softmax" => |a| a.input()?.to(a.dtype_or(a.input()?.dtype())?)?.softmax(a.dim("dim")?)?;
    "log_softmax" => |a| a.input()?.to(a.dtype_or(a.input()?.dtype())?)?.log_softmax(a.dim("dim")?)?;
    "clamp" => |a| {
        let (min, max) = (bound(a, "min")?, bound(a, "max")?);
        let x = a.input()?;
        match (min, max) {
            (Some(min), Some(max)) => x.clamp(min, max)?,
            (Some(min), None) => x.clamp_min(min)?,
            (None, Some(max)) => x.clamp_max(max)?,
            (None, None) => return unsupported("clamp without bounds".into()),
        }
    };
    "clamp_" => |a| {
        let (min, max) = (bound(a, "min")?, bound(a, "max")?);
        match (min, max) {
            (Some(min), Some(max)) => in_place(a, |x| x.clamp_(min, max))?,
            (Some(min), None) => in_place(a, |x| x.clamp_min_(min))?,
            (None, Some(max)) => in_place(a, |x| x.clamp_max_(max))?,
            (None, None) => return unsupported("clamp_ without bounds".into()),
        }
    };
};

/// The result, which the input becomes where it is asked to.
pub(super) fn written(a: &Call, y: Tensor) -> Result<Val, Stop> {
    if a.opt("inplace", Call::bool)?.unwrap_or(false) {
        a.input()?.copy_(&y)?;
        return Ok(a.input()?.into());
    }
    Ok(y.into())
}

fn bound<'a>(a: &'a Call, name: &str) -> Result<Option<Operand<'a>>, Stop> {
    if matches!(a.value(name), Value::None) { Ok(None) } else { a.operand(name).map(Some) }
}
