//! Running a module with other parameters than its own.

use std::collections::HashMap;

use super::ext::each_leaf;
use super::leaf::{Buffer, Param};
use super::module::{Leaf, LeafMut, Module};
use super::walk::walk_mut;
use crate::select::near;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Runs a closure with a module whose parameters or buffers of these names are other tensors; PyTorch's
/// `torch.func.functional_call`, for meta-learning and ensembles.
///
/// Names are those of the state dict; what is not named stays as it is, and so does the module itself. Gradients flow
/// into the given tensors and what they were computed from. A tied parameter is replaced under all its names.
///
/// # Errors
///
/// If a name is not one of the module's, a tensor has another shape than the one in its place, two tensors are given
/// for one tied parameter, or the closure fails.
///
/// ```
/// use sconce::nn::{Layer, Linear, functional_call};
/// use sconce::{DType, Tensor};
///
/// let layer = Linear::new(2, 1)?;
/// let x = Tensor::ones([1, 2], DType::F32)?;
///
/// // One step of gradient descent that can itself be differentiated.
/// let rate = Tensor::scalar(0.1f32).requires_grad_(true)?;
/// let loss = layer.forward(&x)?.pow(2)?.sum(())?;
/// loss.backward()?;
/// let stepped = layer.weight.sub(&layer.weight.grad().unwrap().mul(&rate)?)?;
/// let after = functional_call(&layer, [("weight", stepped)], |layer| layer.forward(&x))?;
/// after.sum(())?.backward()?;
/// assert!(rate.grad().is_some());
///
/// let error = functional_call(&layer, [("wieght", x.clone())], |layer| layer.forward(&x)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "functional_call: no parameter or buffer `wieght`; did you mean `weight`?"
/// );
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn functional_call<M: Module + Clone, N: AsRef<str>, T>(
    module: &M,
    tensors: impl IntoIterator<Item = (N, Tensor)>,
    forward: impl FnOnce(&M) -> Result<T>,
) -> Result<T> {
    let mut here: HashMap<String, &Tensor> = HashMap::new();
    let mut names = Vec::new();
    each_leaf(module, &mut |path, leaf| {
        let tensor = match leaf {
            Leaf::Param(parameter) => parameter.tensor(),
            Leaf::Buffer(buffer) => buffer.tensor(),
            _ => return,
        };
        here.insert(path.to_owned(), tensor);
        names.push(path.to_owned());
    });
    let mut given: HashMap<usize, Tensor> = HashMap::new();
    for (name, tensor) in tensors {
        let name = name.as_ref();
        let Some(own) = here.get(name) else {
            let hint = near::did_you_mean(name, names.iter().map(String::as_str));
            return Err(Error::not_found(format!("functional_call: no parameter or buffer `{name}`{hint}")));
        };
        if own.shape() != tensor.shape() {
            return Err(Error::shape(format!(
                "functional_call: `{name}` has shape {:?}, given {:?}",
                own.shape(),
                tensor.shape()
            )));
        }
        if given.insert(own.id(), tensor.clone()).is_some_and(|other| !other.is(&tensor)) {
            return Err(Error::argument(format!(
                "functional_call: `{name}` is tied to another name that is given another tensor"
            )));
        }
    }
    let mut other = module.clone();
    walk_mut(&mut other, &mut |leaf| match leaf {
        LeafMut::Param(parameter) => {
            if let Some(tensor) = given.get(&parameter.id()) {
                *parameter = Param::of(tensor.clone());
            }
        }
        LeafMut::Buffer(buffer) => {
            if let Some(tensor) = given.get(&buffer.id()) {
                *buffer =
                    if buffer.is_persistent() { Buffer::new(tensor) } else { Buffer::transient(tensor) };
            }
        }
        LeafMut::Mode(_) | LeafMut::Momentum(_) | LeafMut::Size(_) => {}
    });
    forward(&other)
}
