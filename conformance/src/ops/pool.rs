//! Pooling.

use sconce::functional::{self as f, AvgPool2dOptions, MaxPool2dOptions};

use super::rows;
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.max_pool1d" => |a| {
        let ([kernel], [stride]) = (a.sizes_of("kernel_size")?, stride(a)?);
        let ([padding], [dilation]) = (a.sizes_of("padding")?, a.sizes_of("dilation")?);
        let (x, ceil) = (a.input()?, a.bool("ceil_mode")?);
        if a.bool("return_indices")? {
            Val::from(f::max_pool1d_with_indices(x, kernel, stride, padding, dilation, ceil)?)
        } else {
            f::max_pool1d(x, kernel, stride, padding, dilation, ceil)?.into()
        }
    };
    "nn.functional.max_pool2d" => |a| {
        let options = MaxPool2dOptions {
            kernel_size: a.sizes_of("kernel_size")?,
            stride: stride(a)?,
            padding: a.sizes_of("padding")?,
            dilation: a.sizes_of("dilation")?,
            ceil_mode: a.bool("ceil_mode")?,
        };
        if a.bool("return_indices")? {
            Val::from(f::max_pool2d_with_indices(a.input()?, options)?)
        } else {
            f::max_pool2d(a.input()?, options)?.into()
        }
    };
    "nn.functional.avg_pool1d" => |a| {
        let ([kernel], [stride], [padding]) = (a.sizes_of("kernel_size")?, stride(a)?, a.sizes_of("padding")?);
        let (ceil, count_pad) = (a.bool("ceil_mode")?, a.bool("count_include_pad")?);
        f::avg_pool1d(a.input()?, kernel, stride, padding, ceil, count_pad)?
    };
    "nn.functional.avg_pool2d" => |a| f::avg_pool2d(a.input()?, AvgPool2dOptions {
        kernel_size: a.sizes_of("kernel_size")?,
        stride: stride(a)?,
        padding: a.sizes_of("padding")?,
        ceil_mode: a.bool("ceil_mode")?,
        count_include_pad: a.bool("count_include_pad")?,
        divisor_override: a.opt("divisor_override", Call::int)?,
    })?;
    "nn.functional.adaptive_avg_pool1d" => |a| {
        let [size] = a.sizes_of("output_size")?;
        f::adaptive_avg_pool1d(a.input()?, size)?
    };
    "nn.functional.adaptive_avg_pool2d" => |a| f::adaptive_avg_pool2d(a.input()?, a.sizes_of("output_size")?)?;
    "nn.functional.adaptive_max_pool2d" => |a| {
        let (values, indices) = f::adaptive_max_pool2d_with_indices(a.input()?, a.sizes_of("output_size")?)?;
        if a.bool("return_indices")? { Val::from((values, indices)) } else { values.into() }
    };
};

/// The stride; that of the kernel where it is left out.
fn stride<const N: usize>(a: &Call) -> Result<[usize; N], Stop> {
    match a.value("stride") {
        Value::None => a.sizes_of("kernel_size"),
        Value::List(items) | Value::Tuple(items) if items.is_empty() => a.sizes_of("kernel_size"),
        Value::Str(s) => unsupported(format!("stride = {s:?}")),
        _ => a.sizes_of("stride"),
    }
}
