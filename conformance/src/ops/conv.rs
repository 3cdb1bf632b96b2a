//! Convolutions.

use sconce::functional::{
    Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions, conv_transpose2d, conv1d, conv2d,
};

use super::rows;
use crate::outcome::Stop;
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.conv1d" => |a| {
        let [stride] = a.sizes_of("stride")?;
        let [padding] = padding(a)?;
        let [dilation] = a.sizes_of("dilation")?;
        let options = Conv1dOptions { stride, padding, dilation, groups: a.size("groups")? };
        conv1d(a.input()?, a.tensor("weight")?, a.opt_tensor("bias")?, options)?
    };
    "nn.functional.conv2d" => |a| {
        let options = Conv2dOptions {
            stride: a.sizes_of("stride")?,
            padding: padding(a)?,
            dilation: a.sizes_of("dilation")?,
            groups: a.size("groups")?,
        };
        conv2d(a.input()?, a.tensor("weight")?, a.opt_tensor("bias")?, options)?
    };
    "nn.functional.conv_transpose2d" => |a| {
        let options = ConvTranspose2dOptions {
            stride: a.sizes_of("stride")?,
            padding: a.sizes_of("padding")?,
            output_padding: a.sizes_of("output_padding")?,
            dilation: a.sizes_of("dilation")?,
            groups: a.size("groups")?,
        };
        conv_transpose2d(a.input()?, a.tensor("weight")?, a.opt_tensor("bias")?, options)?
    };
};

/// The padding; `"valid"` is none.
fn padding<const N: usize>(a: &Call) -> Result<[usize; N], Stop> {
    match a.value("padding") {
        Value::Str(p) if p == "valid" => Ok([0; N]),
        _ => a.sizes_of("padding"),
    }
}
