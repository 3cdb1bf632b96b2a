//! Copies of modules.

use super::ext::remade;
use super::leaf::{Buffer, Param};
use super::module::{LeafMut, Module};
use super::walk::walk_mut;
use crate::Result;
use crate::tensor::Tensor;

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
    let copies =
        remade(module, |tensor| Tensor::copy(tensor)?.requires_grad_(tensor.requires_grad()).map(Some))?;
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
