//! Normalisation.

use sconce::functional::{self as f, RunningStats};

use super::rows;
use crate::outcome::unsupported;
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.batch_norm" => |a| {
        let running = match (a.opt_tensor("running_mean")?, a.opt_tensor("running_var")?) {
            (Some(mean), Some(var)) => Some(RunningStats { mean, var }),
            (None, None) => None,
            _ => return unsupported("a running mean or variance without the other".into()),
        };
        let (weight, bias) = (a.opt_tensor("weight")?, a.opt_tensor("bias")?);
        let (training, momentum) = (a.bool("training")?, a.float("momentum")?);
        f::batch_norm(a.input()?, running, weight, bias, training, momentum, a.float("eps")?)?
    };
    "nn.functional.layer_norm" => |a| {
        let (weight, bias) = (a.opt_tensor("weight")?, a.opt_tensor("bias")?);
        f::layer_norm(a.input()?, &a.sizes("normalized_shape")?, weight, bias, a.float("eps")?)?
    };
    "nn.functional.group_norm" => |a| {
        let (weight, bias) = (a.opt_tensor("weight")?, a.opt_tensor("bias")?);
        f::group_norm(a.input()?, a.size("num_groups")?, weight, bias, a.float("eps")?)?
    };
    "nn.functional.rms_norm" => |a| {
        let eps = a.opt("eps", Call::float)?;
        f::rms_norm(a.input()?, &a.sizes("normalized_shape")?, a.opt_tensor("weight")?, eps)?
    };
    "nn.functional.instance_norm" => |a| {
        let running = match (a.opt_tensor("running_mean")?, a.opt_tensor("running_var")?) {
            (Some(mean), Some(var)) => Some(RunningStats { mean, var }),
            (None, None) => None,
            _ => return unsupported("a running mean or variance without the other".into()),
        };
        let (weight, bias) = (a.opt_tensor("weight")?, a.opt_tensor("bias")?);
        let (stats, momentum) = (a.bool("use_input_stats")?, a.float("momentum")?);
        f::instance_norm(a.input()?, running, weight, bias, stats, momentum, a.float("eps")?)?
    };
    "nn.functional.local_response_norm" => |a| {
        let (alpha, beta, k) = (a.float("alpha")?, a.float("beta")?, a.float("k")?);
        f::local_response_norm(a.input()?, a.size("size")?, alpha, beta, k)?
    };
    "nn.functional.normalize" => |a| {
        f::normalize(a.input()?, a.float("p")?, a.dims("dim")?, a.float("eps")?)?
    };
};
