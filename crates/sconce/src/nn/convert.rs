//! The tensors of a module in another dtype.

use super::ext::remade;
use super::module::{LeafMut, Module};
use super::walk::walk_mut;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

pub(super) fn to(module: &mut dyn Module, dtype: DType) -> Result<()> {
    if !dtype.is_floating_point() || dtype.elem().is_none() {
        return Err(Error::dtype(format!(
            "to: parameters can only become a floating point dtype that is computed in, not {dtype}"
        )));
    }
    let converted = remade(module, |tensor| {
        let other = tensor.dtype().is_floating_point() && tensor.dtype() != dtype;
        other.then(|| convert(tensor, dtype)).transpose()
    })?;
    walk_mut(module, &mut |leaf| match leaf {
        LeafMut::Param(parameter) => {
            if let Some(new) = converted.get(&parameter.id()) {
                parameter.replace(new.clone());
            }
        }
        LeafMut::Buffer(buffer) => {
            if let Some(new) = converted.get(&buffer.id()) {
                buffer.replace(new.clone());
            }
        }
        LeafMut::Mode(_) | LeafMut::Momentum(_) | LeafMut::Size(_) => {}
    });
    Ok(())
}

fn convert(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    let new = tensor.to(dtype).context(|| tensor.describe())?.requires_grad_(tensor.requires_grad())?;
    if let Some(grad) = tensor.grad() {
        new.set_grad(Some(grad.to(dtype)?))?;
    }
    if let Some(path) = tensor.label() {
        new.set_label(&path);
    }
    Ok(new)
}
