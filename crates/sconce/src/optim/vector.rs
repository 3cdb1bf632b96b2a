//! All parameters as one vector.

use super::parameters::{Named, Parameters};
use crate::tensor::Tensor;
use crate::{Context, Error, Result, no_grad};

/// All parameters one after another in one vector; PyTorch's `nn.utils.parameters_to_vector`. Gradients flow back.
///
/// # Errors
///
/// If there is no parameter or not enough memory.
///
/// ```
/// use sconce::nn::Linear;
/// use sconce::optim::{parameters_to_vector, vector_to_parameters};
///
/// let (a, b) = (Linear::new(3, 2)?, Linear::new(3, 2)?);
/// let halfway = parameters_to_vector(&a)?.lerp(&parameters_to_vector(&b)?, 0.5)?;
/// assert_eq!(halfway.shape(), [8]);
/// vector_to_parameters(&halfway, &a)?;
/// assert_eq!(parameters_to_vector(&a)?.to_vec::<f32>()?, halfway.to_vec::<f32>()?);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn parameters_to_vector(parameters: impl Parameters) -> Result<Tensor> {
    let named = parameters.named();
    if named.is_empty() {
        return Err(Error::argument("parameters_to_vector: there are no parameters"));
    }
    let flat = named.iter().map(|p| p.tensor.reshape([-1])).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&flat, 0)
}

/// Copies a vector over all parameters, in place; PyTorch's `nn.utils.vector_to_parameters`. Nothing is recorded.
///
/// # Errors
///
/// If the vector has not as many elements as all parameters together; nothing is changed then.
pub fn vector_to_parameters(vector: &Tensor, parameters: impl Parameters) -> Result<()> {
    let named = parameters.named();
    let count: usize = named.iter().map(|p| p.tensor.numel()).sum();
    if vector.shape() != [count] {
        return Err(Error::shape(format!(
            "vector_to_parameters: expected a vector of {count} elements, found shape {:?}",
            vector.shape()
        )));
    }
    let mut at = 0;
    no_grad(|| {
        for Named { names, tensor } in &named {
            let part = vector.narrow(0, at as isize, tensor.numel())?;
            tensor.copy_(&part.reshape(tensor.shape())?).context(|| names[0].clone())?;
            at += tensor.numel();
        }
        Ok(())
    })
}
