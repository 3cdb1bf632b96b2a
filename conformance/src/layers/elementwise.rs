//! Activations, dropouts and what rearranges its input.

use sconce::functional::{Gelu, InterpolateOptions};
use sconce::nn::{self, Mode};
use sconce::{DType, Tensor};

use super::{Row, modules, one};
use crate::ops::spatial::{interpolation, resize, windows};
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::tree::Forward;
use crate::value::Value;

/// The table.
pub(super) const TABLE: &[Row] = modules! {
    "nn.Identity"() => |_a| one(nn::Identity);
    "nn.ReLU"("inplace=False") => |a| whole(a, nn::ReLU);
    "nn.ReLU6"("inplace=False") => |a| whole(a, nn::ReLU6);
    "nn.SiLU"("inplace=False") => |a| whole(a, nn::SiLU);
    "nn.Mish"("inplace=False") => |a| whole(a, nn::Mish);
    "nn.SELU"("inplace=False") => |a| whole(a, nn::SELU);
    "nn.Hardswish"("inplace=False") => |a| whole(a, nn::Hardswish);
    "nn.Hardsigmoid"("inplace=False") => |a| whole(a, nn::Hardsigmoid);
    "nn.ELU"("alpha=1.0", "inplace=False") => |a| whole(a, nn::ELU { alpha: a.float("alpha")? });
    "nn.CELU"("alpha=1.0", "inplace=False") => |a| whole(a, nn::CELU { alpha: a.float("alpha")? });
    "nn.LeakyReLU"("negative_slope=0.01", "inplace=False") => |a| {
        whole(a, nn::LeakyReLU { negative_slope: a.float("negative_slope")? })
    };
    "nn.Threshold"("threshold", "value", "inplace=False") => |a| {
        whole(a, nn::Threshold { threshold: a.float("threshold")?, value: a.float("value")? })
    };
    "nn.Hardtanh"("min_val=-1.0", "max_val=1.0", "inplace=False", "min_value=None", "max_value=None") => |a| {
        whole(a, nn::Hardtanh { min_val: a.float("min_val")?, max_val: a.float("max_val")? })
    };
    "nn.RReLU"("lower=0.125", "upper=0.3333333333333333", "inplace=False") => |a| {
        whole(a, nn::RReLU { lower: a.float("lower")?, upper: a.float("upper")?, mode: Mode::Train })
    };
    "nn.Sigmoid"() => |_a| one(nn::Sigmoid);
    "nn.LogSigmoid"() => |_a| one(nn::LogSigmoid);
    "nn.Tanh"() => |_a| one(nn::Tanh);
    "nn.Tanhshrink"() => |_a| one(nn::Tanhshrink);
    "nn.Softsign"() => |_a| one(nn::Softsign);
    "nn.Softmax2d"() => |_a| one(nn::Softmax2d);
    "nn.GELU"("approximate=none") => |a| one(nn::GELU { approximate: match a.str("approximate")? {
        "none" => Gelu::Exact,
        "tanh" => Gelu::Tanh,
        other => return unsupported(format!("approximate = {other:?}")),
    } });
    "nn.Softplus"("beta=1.0", "threshold=20.0") => |a| {
        one(nn::Softplus { beta: a.float("beta")?, threshold: a.float("threshold")? })
    };
    "nn.Hardshrink"("lambd=0.5") => |a| one(nn::Hardshrink { lambd: a.float("lambd")? });
    "nn.Softshrink"("lambd=0.5") => |a| one(nn::Softshrink { lambd: a.float("lambd")? });
    "nn.GLU"("dim=-1") => |a| one(nn::GLU { dim: a.dim("dim")? });
    "nn.Softmax"("dim=None") => |a| one(nn::Softmax { dim: a.dim("dim")? });
    "nn.Softmin"("dim=None") => |a| one(nn::Softmin { dim: a.dim("dim")? });
    "nn.LogSoftmax"("dim=None") => |a| one(nn::LogSoftmax { dim: a.dim("dim")? });
    "nn.PReLU"("num_parameters=1", "init=0.25") => |a| {
        one(nn::PReLU::with(a.size("num_parameters")?, a.float("init")?, DType::F32)?)
    };
    "nn.Dropout"("p=0.5", "inplace=False") => |a| whole(a, nn::Dropout::new(a.float("p")?)?);
    "nn.Dropout1d"("p=0.5", "inplace=False") => |a| whole(a, nn::Dropout1d::new(a.float("p")?)?);
    "nn.Dropout2d"("p=0.5", "inplace=False") => |a| whole(a, nn::Dropout2d::new(a.float("p")?)?);
    "nn.Dropout3d"("p=0.5", "inplace=False") => |a| whole(a, nn::Dropout3d::new(a.float("p")?)?);
    "nn.AlphaDropout"("p=0.5", "inplace=False") => |a| whole(a, nn::AlphaDropout::new(a.float("p")?)?);
    "nn.FeatureAlphaDropout"("p=0.5", "inplace=False") => |a| {
        whole(a, nn::FeatureAlphaDropout::new(a.float("p")?)?)
    };
    "nn.Flatten"("start_dim=1", "end_dim=-1") => |a| {
        one(nn::Flatten { start_dim: a.dim("start_dim")?, end_dim: a.dim("end_dim")? })
    };
    "nn.Unflatten"("dim", "unflattened_size") => |a| one(nn::Unflatten {
        dim: a.dim("dim")?,
        unflattened_size: a.ints("unflattened_size")?.into_iter().map(|i| i as isize).collect(),
    });
    "nn.PixelShuffle"("upscale_factor") => |a| {
        one(nn::PixelShuffle { upscale_factor: a.size("upscale_factor")? })
    };
    "nn.PixelUnshuffle"("downscale_factor") => |a| {
        one(nn::PixelUnshuffle { downscale_factor: a.size("downscale_factor")? })
    };
    "nn.ChannelShuffle"("groups") => |a| one(nn::ChannelShuffle { groups: a.size("groups")? });
    "nn.Unfold"("kernel_size", "dilation=1", "padding=0", "stride=1") => |a| {
        one(nn::Unfold { windows: windows(a)? })
    };
    "nn.Fold"("output_size", "kernel_size", "dilation=1", "padding=0", "stride=1") => |a| {
        one(nn::Fold { output_size: a.sizes_of("output_size")?, windows: windows(a)? })
    };
    "nn.Upsample"(
        "size=None", "scale_factor=None", "mode=nearest", "align_corners=None", "recompute_scale_factor=None"
    ) => |a| upsample(a, a.str("mode")?, a.opt("align_corners", Call::bool)?.unwrap_or(false));
    "nn.UpsamplingNearest2d"("size=None", "scale_factor=None") => |a| upsample(a, "nearest", false);
    "nn.UpsamplingBilinear2d"("size=None", "scale_factor=None") => |a| upsample(a, "bilinear", true);
    "nn.ReflectionPad1d"("padding") => |a| one(nn::ReflectionPad1d::new(sides::<1>(a)?));
    "nn.ReflectionPad2d"("padding") => |a| one(nn::ReflectionPad2d::new(sides::<2>(a)?));
    "nn.ReflectionPad3d"("padding") => |a| one(nn::ReflectionPad3d::new(sides::<3>(a)?));
    "nn.ReplicationPad1d"("padding") => |a| one(nn::ReplicationPad1d::new(sides::<1>(a)?));
    "nn.ReplicationPad2d"("padding") => |a| one(nn::ReplicationPad2d::new(sides::<2>(a)?));
    "nn.ReplicationPad3d"("padding") => |a| one(nn::ReplicationPad3d::new(sides::<3>(a)?));
    "nn.CircularPad1d"("padding") => |a| one(nn::CircularPad1d::new(sides::<1>(a)?));
    "nn.CircularPad2d"("padding") => |a| one(nn::CircularPad2d::new(sides::<2>(a)?));
    "nn.CircularPad3d"("padding") => |a| one(nn::CircularPad3d::new(sides::<3>(a)?));
    "nn.ZeroPad1d"("padding") => |a| one(nn::ZeroPad1d::new(sides::<1>(a)?));
    "nn.ZeroPad2d"("padding") => |a| one(nn::ZeroPad2d::new(sides::<2>(a)?));
    "nn.ZeroPad3d"("padding") => |a| one(nn::ZeroPad3d::new(sides::<3>(a)?));
    "nn.ConstantPad1d"("padding", "value") => |a| one(nn::ConstantPad1d::new(sides::<1>(a)?, a.float("value")?));
    "nn.ConstantPad2d"("padding", "value") => |a| one(nn::ConstantPad2d::new(sides::<2>(a)?, a.float("value")?));
    "nn.ConstantPad3d"("padding", "value") => |a| one(nn::ConstantPad3d::new(sides::<3>(a)?, a.float("value")?));
};

/// A layer that may work in place: its result is the same either way.
fn whole(a: &Call, layer: impl nn::Layer + 'static) -> Result<Box<dyn Forward>, Stop> {
    a.bool("inplace")?;
    one(layer)
}

fn upsample(a: &Call, mode: &str, align_corners: bool) -> Result<Box<dyn Forward>, Stop> {
    let options = InterpolateOptions {
        mode: interpolation(mode)?,
        align_corners,
        recompute_scale_factor: a.opt("recompute_scale_factor", Call::bool)?.unwrap_or(false),
        antialias: false,
    };
    one(nn::Upsample { resize: resize(a)?, options })
}

/// Padding: one number, or two per dimension.
fn sides<const N: usize>(a: &Call) -> Result<[(isize, isize); N], Stop> {
    let value: &Value<Tensor> = a.value("padding");
    let given: Vec<isize> = a.ints("padding")?.into_iter().map(|i| i as isize).collect();
    match (value, given.as_slice()) {
        (Value::Int(_), &[one]) => Ok([(one, one); N]),
        (_, given) if given.len() == 2 * N => Ok(std::array::from_fn(|i| (given[2 * i], given[2 * i + 1]))),
        (_, given) => unsupported(format!("padding = {given:?}")),
    }
}
