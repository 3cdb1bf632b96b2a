//! Losses, `linear` and dropout.

use sconce::functional::{self as f, CrossEntropyOptions, Reduction};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.linear" => |a| f::linear(a.input()?, a.tensor("weight")?, a.opt_tensor("bias")?)?;
    "nn.functional.dropout" => |a| f::dropout(a.input()?, a.float("p")?, a.bool("training")?)?;
    "nn.functional.cross_entropy" => |a| {
        let options = CrossEntropyOptions {
            weight: a.opt_tensor("weight")?,
            ignore_index: a.int("ignore_index")?,
            reduction: reduction(a)?,
            label_smoothing: a.float("label_smoothing")?,
        };
        f::cross_entropy(a.input()?, a.tensor("target")?, options)?
    };
    "nn.functional.nll_loss" => |a| f::nll_loss(
        a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, a.int("ignore_index")?, reduction(a)?,
    )?;
    "nn.functional.mse_loss" => |a| f::mse_loss(a.input()?, a.tensor("target")?, reduction(a)?)?;
    "nn.functional.l1_loss" => |a| f::l1_loss(a.input()?, a.tensor("target")?, reduction(a)?)?;
    "nn.functional.smooth_l1_loss" => |a| {
        f::smooth_l1_loss(a.input()?, a.tensor("target")?, reduction(a)?, a.float("beta")?)?
    };
    "nn.functional.huber_loss" => |a| {
        f::huber_loss(a.input()?, a.tensor("target")?, reduction(a)?, a.float("delta")?)?
    };
    "nn.functional.binary_cross_entropy" => |a| {
        f::binary_cross_entropy(a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, reduction(a)?)?
    };
    "nn.functional.binary_cross_entropy_with_logits" => |a| f::binary_cross_entropy_with_logits(
        a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, a.opt_tensor("pos_weight")?, reduction(a)?,
    )?;
    "nn.functional.kl_div" => |a| {
        f::kl_div(a.input()?, a.tensor("target")?, reduction(a)?, a.bool("log_target")?)?
    };
};

/// How a loss is reduced.
pub(crate) fn reduction(a: &Call) -> Result<Reduction, Stop> {
    match a.str("reduction")? {
        "none" => Ok(Reduction::None),
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        other => unsupported(format!("reduction {other:?}")),
    }
}
