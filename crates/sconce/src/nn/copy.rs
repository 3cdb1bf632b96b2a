//! Copies of modules.

use std::collections::HashMap;

use super::ext::each_leaf;
use super::leaf::{Buffer, Param};
use super::module::{Leaf, LeafMut, Module};
use super::walk::walk_mut;
use crate::tensor::Tensor;
use crate::{Result, no_grad};

/// A copy of a module with parameters and buffers of its own; PyTorch's `copy.deepcopy`.
///
/// A clone shares them: it is the same parameters once more. What is tied in the module is tied in the copy, too.
///
/// # Errors
///
/// If there is not enough memory.
///
/// ```
/// use sconce::nn::{self, Linear};
/// let layer = Linear::new(2, 3)?;
/// let copy = nn::deepcopy(&layer)?;
/// assert_eq!(copy.weight.to_vec::<f32>()?, layer.weight.to_vec::<f32>()?);
/// assert!(!copy.weight.shares_storage(&layer.weight));
/// assert!(layer.clone().weight.is(&layer.weight));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn deepcopy<M: Module + Clone>(module: &M) -> Result<M> {
    let mut copies: HashMap<usize, Tensor> = HashMap::new();
    let mut result = Ok(());
    each_leaf(module, &mut |_, leaf| {
        let tensor = match leaf {
            Leaf::Param(parameter) => parameter.tensor(),
            Leaf::Buffer(buffer) => buffer.tensor(),
            _ => return,
        };
        if result.is_ok() && !copies.contains_key(&tensor.id()) {
            match no_grad(|| Tensor::copy(tensor)?.requires_grad_(tensor.requires_grad())) {
                Ok(copy) => drop(copies.insert(tensor.id(), copy)),
                Err(error) => result = Err(error),
            }
        }
    });
    result?;
    let mut new = module.clone();
    walk_mut(&mut new, &mut |leaf| match leaf {
        LeafMut::Param(parameter) => {
            if let Some(copy) = copies.get(&parameter.id()) {
                *parameter = Param::of(copy.clone());
            }
        }
        LeafMut::Buffer(buffer) => {
            if let Some(copy) = copies.get(&buffer.id()) {
                *buffer = if buffer.is_persistent() { Buffer::new(copy) } else { Buffer::transient(copy) };
            }
        }
        LeafMut::Mode(_) | LeafMut::Momentum(_) | LeafMut::Size(_) => {}
    });
    Ok(new)
}
