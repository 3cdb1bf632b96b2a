//! `torch.nn.init`.

use sconce::Tensor;
use sconce::nn::init::{self, Fan, Nonlinearity};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.init.uniform_" => |a| filled(a, init::uniform_(a.tensor("tensor")?, a.float("a")?, a.float("b")?))?;
    "nn.init.normal_" => |a| filled(a, init::normal_(a.tensor("tensor")?, a.float("mean")?, a.float("std")?))?;
    "nn.init.trunc_normal_" => |a| {
        let (mean, std) = (a.float("mean")?, a.float("std")?);
        filled(a, init::trunc_normal_(a.tensor("tensor")?, mean, std, a.float("a")?, a.float("b")?))?
    };
    "nn.init.constant_" => |a| filled(a, init::constant_(a.tensor("tensor")?, a.float("val")?))?;
    "nn.init.ones_" => |a| filled(a, init::ones_(a.tensor("tensor")?))?;
    "nn.init.zeros_" => |a| filled(a, init::zeros_(a.tensor("tensor")?))?;
    "nn.init.eye_" => |a| filled(a, init::eye_(a.tensor("tensor")?))?;
    "nn.init.dirac_" => |a| filled(a, init::dirac_(a.tensor("tensor")?, a.size("groups")?))?;
    "nn.init.xavier_uniform_" => |a| filled(a, init::xavier_uniform_(a.tensor("tensor")?, a.float("gain")?))?;
    "nn.init.xavier_normal_" => |a| filled(a, init::xavier_normal_(a.tensor("tensor")?, a.float("gain")?))?;
    "nn.init.orthogonal_" => |a| filled(a, init::orthogonal_(a.tensor("tensor")?, a.float("gain")?))?;
    "nn.init.sparse_" => |a| {
        filled(a, init::sparse_(a.tensor("tensor")?, a.float("sparsity")?, a.float("std")?))?
    };
    "nn.init.kaiming_uniform_" => |a| {
        filled(a, init::kaiming_uniform_(a.tensor("tensor")?, fan(a)?, nonlinearity(a)?))?
    };
    "nn.init.kaiming_normal_" => |a| {
        filled(a, init::kaiming_normal_(a.tensor("tensor")?, fan(a)?, nonlinearity(a)?))?
    };
};

fn filled(a: &Call, result: sconce::Result<()>) -> Result<Tensor, Stop> {
    result?;
    Ok(a.tensor("tensor")?.clone())
}

fn fan(a: &Call) -> Result<Fan, Stop> {
    match a.str("mode")? {
        "fan_in" => Ok(Fan::In),
        "fan_out" => Ok(Fan::Out),
        mode => unsupported(format!("mode {mode:?}")),
    }
}

fn nonlinearity(a: &Call) -> Result<Nonlinearity, Stop> {
    let slope = a.float("a")?;
    Ok(match a.str("nonlinearity")? {
        "leaky_relu" => Nonlinearity::LeakyRelu(slope),
        "relu" => Nonlinearity::Relu,
        "tanh" => Nonlinearity::Tanh,
        "selu" => Nonlinearity::Selu,
        "sigmoid" => Nonlinearity::Sigmoid,
        "linear" | "conv1d" | "conv2d" | "conv3d" | "conv_transpose1d" | "conv_transpose2d"
        | "conv_transpose3d" => Nonlinearity::Linear,
        other => return unsupported(format!("nonlinearity {other:?}")),
    })
}
