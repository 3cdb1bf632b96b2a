//! Pooling.

use sconce::nn;

use super::{Row, called, modules, one};
use crate::ops::pool::{adaptive_size, avg_pool, lp_pool, max_pool, stride};
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::tensors::Val;
use crate::tree::Forward;
use crate::value::Value;

/// Builds a layer that may return indices, too.
macro_rules! greatest {
    ($a:ident, $layer:expr) => {{
        let layer = $layer;
        if $a.bool("return_indices")? {
            called(layer, &["input"], |layer, a| Ok(layer.forward_with_indices(a.input()?)?.into()))
        } else {
            one(layer)
        }
    }};
}

macro_rules! unpool {
    ($a:ident, $layer:ident, $dims:literal) => {{
        let layer = nn::$layer {
            kernel_size: $a.sizes_of("kernel_size")?,
            stride: stride::<$dims>($a)?,
            padding: $a.sizes_of("padding")?,
        };
        called(layer, &["input", "indices", "output_size=None"], |layer, a| {
            let size = a.opt("output_size", Call::sizes)?;
            let size = size.and_then(|s| s.last_chunk::<$dims>().copied());
            Ok(Val::from(layer.forward(a.input()?, a.tensor("indices")?, size)?))
        })
    }};
}

/// The table.
pub(super) const TABLE: &[Row] = modules! {
    "nn.MaxPool1d"(
        "kernel_size", "stride=None", "padding=0", "dilation=1", "return_indices=False", "ceil_mode=False"
    ) => |a| greatest!(a, nn::MaxPool1d::with(max_pool(a)?));
    "nn.MaxPool2d"(
        "kernel_size", "stride=None", "padding=0", "dilation=1", "return_indices=False", "ceil_mode=False"
    ) => |a| greatest!(a, nn::MaxPool2d::with(max_pool(a)?));
    "nn.MaxPool3d"(
        "kernel_size", "stride=None", "padding=0", "dilation=1", "return_indices=False", "ceil_mode=False"
    ) => |a| greatest!(a, nn::MaxPool3d::with(max_pool(a)?));
    "nn.AvgPool1d"(
        "kernel_size", "stride=None", "padding=0", "ceil_mode=False", "count_include_pad=True"
    ) => |a| one(nn::AvgPool1d::with(avg_pool(a)?));
    "nn.AvgPool2d"(
        "kernel_size", "stride=None", "padding=0", "ceil_mode=False", "count_include_pad=True",
        "divisor_override=None"
    ) => |a| one(nn::AvgPool2d::with(avg_pool(a)?));
    "nn.AvgPool3d"(
        "kernel_size", "stride=None", "padding=0", "ceil_mode=False", "count_include_pad=True",
        "divisor_override=None"
    ) => |a| one(nn::AvgPool3d::with(avg_pool(a)?));
    "nn.AdaptiveAvgPool1d"("output_size") => |a| one(nn::AdaptiveAvgPool1d::new(adaptive_size::<1>(a)?));
    "nn.AdaptiveAvgPool2d"("output_size") => |a| one(nn::AdaptiveAvgPool2d::new(adaptive_size::<2>(a)?));
    "nn.AdaptiveAvgPool3d"("output_size") => |a| one(nn::AdaptiveAvgPool3d::new(adaptive_size::<3>(a)?));
    "nn.AdaptiveMaxPool1d"("output_size", "return_indices=False") => |a| {
        greatest!(a, nn::AdaptiveMaxPool1d::new(adaptive_size::<1>(a)?))
    };
    "nn.AdaptiveMaxPool2d"("output_size", "return_indices=False") => |a| {
        greatest!(a, nn::AdaptiveMaxPool2d::new(adaptive_size::<2>(a)?))
    };
    "nn.AdaptiveMaxPool3d"("output_size", "return_indices=False") => |a| {
        greatest!(a, nn::AdaptiveMaxPool3d::new(adaptive_size::<3>(a)?))
    };
    "nn.LPPool1d"("norm_type", "kernel_size", "stride=None", "ceil_mode=False") => |a| {
        let o = lp_pool::<1>(a)?;
        one(nn::LPPool1d { norm_type: o.norm_type, kernel_size: o.kernel_size, stride: o.stride, ceil_mode: o.ceil_mode })
    };
    "nn.LPPool2d"("norm_type", "kernel_size", "stride=None", "ceil_mode=False") => |a| {
        let o = lp_pool::<2>(a)?;
        one(nn::LPPool2d { norm_type: o.norm_type, kernel_size: o.kernel_size, stride: o.stride, ceil_mode: o.ceil_mode })
    };
    "nn.LPPool3d"("norm_type", "kernel_size", "stride=None", "ceil_mode=False") => |a| {
        let o = lp_pool::<3>(a)?;
        one(nn::LPPool3d { norm_type: o.norm_type, kernel_size: o.kernel_size, stride: o.stride, ceil_mode: o.ceil_mode })
    };
    "nn.MaxUnpool1d"("kernel_size", "stride=None", "padding=0") => |a| unpool!(a, MaxUnpool1d, 1);
    "nn.MaxUnpool2d"("kernel_size", "stride=None", "padding=0") => |a| unpool!(a, MaxUnpool2d, 2);
    "nn.MaxUnpool3d"("kernel_size", "stride=None", "padding=0") => |a| unpool!(a, MaxUnpool3d, 3);
    "nn.FractionalMaxPool2d"(
        "kernel_size", "output_size=None", "output_ratio=None", "return_indices=False", "_random_samples=None"
    ) => |a| fractional2(a);
};

fn fractional2(a: &Call) -> Result<Box<dyn Forward>, Stop> {
    let kernel: [usize; 2] = a.sizes_of("kernel_size")?;
    let layer = match a.value("output_size") {
        Value::None => match a.floats("output_ratio")?[..] {
            [both] => nn::FractionalMaxPool2d::with_ratio(kernel, [both; 2])?,
            [down, across] => nn::FractionalMaxPool2d::with_ratio(kernel, [down, across])?,
            _ => return unsupported("an output ratio of more dimensions".into()),
        },
        _ => nn::FractionalMaxPool2d::new(kernel, a.sizes_of::<2>("output_size")?),
    };
    greatest!(a, layer)
}
