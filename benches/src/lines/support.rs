//! What lines are made with.

use std::hint::black_box;

use sconce::autograd::{Backward, grad};
use sconce::{DType, Result, Tensor};

use crate::measure::Call;

/// Numbers in [-1, 1), always the same.
pub(super) fn number(i: usize) -> f32 {
    ((i * 7919) % 1000) as f32 / 500.0 - 1.0
}

pub(super) fn randn(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(shape, DType::F32)
}

pub(super) fn indices(high: i64, shape: &[usize]) -> Result<Tensor> {
    Tensor::randint(0, high, shape, DType::I64)
}

/// A call of a function of tensors, whose result is dropped.
pub(super) fn call<R: 'static>(tensors: Vec<Tensor>, f: fn(&[Tensor]) -> Result<R>) -> Result<Call> {
    Ok(Box::new(move || {
        black_box(f(black_box(&tensors))?);
        Ok(())
    }))
}

/// A call of the backward pass of a function for a gradient of ones, with respect to all floating-point tensors.
pub(super) fn backward(tensors: Vec<Tensor>, f: fn(&[Tensor]) -> Result<Tensor>) -> Result<Call> {
    for x in tensors.iter().filter(|x| x.dtype().is_floating_point()) {
        x.requires_grad_(true)?;
    }
    let y = f(&tensors)?;
    let ones = y.detach().ones_like()?;
    Ok(Box::new(move || {
        let inputs: Vec<&Tensor> = tensors.iter().filter(|x| x.requires_grad()).collect();
        let how = Backward { retain_graph: true, ..Default::default() };
        black_box(grad(&[(&y, Some(&ones))], &inputs, how)?);
        Ok(())
    }))
}
