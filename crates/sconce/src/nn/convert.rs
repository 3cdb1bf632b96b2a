//! The tensors of a module in another dtype.

use std::collections::HashMap;

use super::ext::each_leaf;
use super::module::{Leaf, LeafMut, Module};
use super::walk::walk_mut;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result, no_grad};

pub(super) fn to(module: &mut dyn Module, dtype: DType) -> Result<()> {
    if !dtype.is_floating_point() || dtype.elem().is_none() {
        return Err(Error::dtype(format!(
            "to: parameters can only become a floating point dtype that is computed in, not {dtype}"
        )));
    }
    let mut converted: HashMap<usize, Tensor> = HashMap::new();
    let mut result = Ok(());
    each_leaf(module, &mut |_, leaf| {
        let tensor = match leaf {
            Leaf::Param(parameter) => parameter.tensor(),
            Leaf::Buffer(buffer) => buffer.tensor(),
            _ => return,
        };
        let other = tensor.dtype().is_floating_point() && tensor.dtype() != dtype;
        if other && result.is_ok() && !converted.contains_key(&tensor.id()) {
            match no_grad(|| convert(tensor, dtype)) {
                Ok(new) => drop(converted.insert(tensor.id(), new)),
                Err(error) => result = Err(error),
            }
        }
    });
    result?;
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
