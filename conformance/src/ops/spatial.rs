//! Padding, resizing, sampling and rearranging.

use sconce::functional::{
    self as f, GridOptions, InterpolateMode, InterpolateOptions, PadMode, Resize, UnfoldOptions,
};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.pad" => |a| {
        let pad: Vec<isize> = a.ints("pad")?.into_iter().map(|i| i as isize).collect();
        let mode = match a.str("mode")? {
            "constant" => PadMode::Constant(a.opt("value", Call::scalar)?.unwrap_or(0.into())),
            mode => pad_mode(mode)?,
        };
        f::pad(a.input()?, &pad, mode)?
    };
    "nn.functional.interpolate" => |a| {
        let align_corners = a.opt("align_corners", Call::bool)?;
        let mode = interpolation(a.str("mode")?)?;
        f::interpolate(a.input()?, resize(a)?, InterpolateOptions {
            mode,
            align_corners: align_corners.unwrap_or(false),
            recompute_scale_factor: a.opt("recompute_scale_factor", Call::bool)?.unwrap_or(false),
            antialias: a.bool("antialias")?,
        })?
    };
    "nn.functional.upsample_nearest" => |a| f::interpolate(a.input()?, resize(a)?, InterpolateOptions::default())?;
    "nn.functional.upsample_bilinear" => |a| f::interpolate(a.input()?, resize(a)?, InterpolateOptions {
        mode: InterpolateMode::Bilinear,
        align_corners: true,
        ..Default::default()
    })?;
    "nn.functional.affine_grid" => |a| {
        let align_corners = a.opt("align_corners", Call::bool)?.unwrap_or(false);
        f::affine_grid(a.tensor("theta")?, &a.sizes("size")?, align_corners)?
    };
    "nn.functional.grid_sample" => |a| f::grid_sample(a.input()?, a.tensor("grid")?, GridOptions {
        mode: a.word("mode")?,
        padding: a.word("padding_mode")?,
        align_corners: a.opt("align_corners", Call::bool)?.unwrap_or(false),
    })?;
    "nn.functional.pixel_shuffle" | "pixel_shuffle" => |a| f::pixel_shuffle(a.input()?, a.size("upscale_factor")?)?;
    "nn.functional.pixel_unshuffle" | "pixel_unshuffle" => |a| {
        f::pixel_unshuffle(a.input()?, a.size("downscale_factor")?)?
    };
    "nn.functional.channel_shuffle" | "channel_shuffle" => |a| f::channel_shuffle(a.input()?, a.size("groups")?)?;
    "nn.functional.unfold" => |a| f::unfold(a.input()?, windows(a)?)?;
    "nn.functional.fold" => |a| f::fold(a.input()?, a.sizes_of("output_size")?, windows(a)?)?;
    "nn.functional.one_hot" => |a| {
        let classes = match a.int("num_classes")? {
            -1 => None,
            _ => Some(a.size("num_classes")?),
        };
        f::one_hot(a.input()?, classes)?
    };
};

/// A way of padding other than by a constant.
pub(crate) fn pad_mode(mode: &str) -> Result<PadMode, Stop> {
    Ok(mode.parse()?)
}

/// A way of interpolating.
pub(crate) fn interpolation(mode: &str) -> Result<InterpolateMode, Stop> {
    Ok(mode.parse()?)
}

/// The size asked for.
pub(crate) fn resize(a: &Call) -> Result<Resize, Stop> {
    match (a.value("size"), a.value("scale_factor")) {
        (Value::None, _) => Ok(Resize::Scale(a.floats("scale_factor")?)),
        (_, Value::None) => Ok(Resize::Size(a.sizes("size")?)),
        _ => unsupported("a size and a scale".into()),
    }
}

/// The windows of fold and unfold.
pub(crate) fn windows(a: &Call) -> Result<UnfoldOptions, Stop> {
    Ok(UnfoldOptions {
        kernel_size: a.sizes_of("kernel_size")?,
        dilation: a.sizes_of("dilation")?,
        padding: a.sizes_of("padding")?,
        stride: a.sizes_of("stride")?,
    })
}
