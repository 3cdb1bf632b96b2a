//! Convolutions.

use sconce::Tensor;
use sconce::functional::{self as f, ConvOptions, ConvTransposeOptions};

use super::rows;
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.conv1d" => |a| convolution(a, f::conv1d)?;
    "nn.functional.conv2d" => |a| convolution(a, f::conv2d)?;
    "nn.functional.conv3d" => |a| convolution(a, f::conv3d)?;
    "nn.functional.conv_transpose1d" => |a| transposed(a, f::conv_transpose1d)?;
    "nn.functional.conv_transpose2d" => |a| transposed(a, f::conv_transpose2d)?;
    "nn.functional.conv_transpose3d" => |a| transposed(a, f::conv_transpose3d)?;
};

type Function<O> = fn(&Tensor, &Tensor, Option<&Tensor>, O) -> sconce::Result<Tensor>;

fn convolution<const N: usize>(a: &Call, f: Function<ConvOptions<N>>) -> Result<Tensor, Stop> {
    let (x, weight, dilation) = (a.input()?, a.tensor("weight")?, a.sizes_of("dilation")?);
    let stride = a.sizes_of("stride")?;
    let mut options = ConvOptions { stride, padding: [0; N], dilation, groups: a.size("groups")? };
    let x = match a.value("padding") {
        Value::Str(p) if p == "valid" => x.clone(),
        Value::Str(p) if p == "same" => f::pad_same_for(x, weight, &options)?,
        _ => {
            options.padding = a.sizes_of("padding")?;
            x.clone()
        }
    };
    Ok(f(&x, weight, a.opt_tensor("bias")?, options)?)
}

fn transposed<const N: usize>(a: &Call, f: Function<ConvTransposeOptions<N>>) -> Result<Tensor, Stop> {
    let options = ConvTransposeOptions {
        stride: a.sizes_of("stride")?,
        padding: a.sizes_of("padding")?,
        output_padding: a.sizes_of("output_padding")?,
        dilation: a.sizes_of("dilation")?,
        groups: a.size("groups")?,
    };
    Ok(f(a.input()?, a.tensor("weight")?, a.opt_tensor("bias")?, options)?)
}
