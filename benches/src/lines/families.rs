//! One line and more for each family of operations, against PyTorch and against what the machine can do.

use std::hint::black_box;

use sconce::autograd::{Backward, grad};
use sconce::functional::{
    AttentionOptions, BatchNormSizes, Conv2dOptions, CrossEntropyOptions, EmbeddingOptions, MaxPool2dOptions, batch_norm,
    conv2d, cross_entropy, embedding, layer_norm, max_pool2d, scaled_dot_product_attention,
};
use sconce::{DType, Result, Tensor};

use super::Line;
use super::floors::{copy, multiply_add};
use crate::measure::Call;
use crate::table::Target;

const MI: usize = 1 << 20;

fn randn(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(shape, DType::F32)
}

fn indices(high: i64, shape: &[usize]) -> Result<Tensor> {
    Tensor::randint(0, high, shape, DType::I64)
}

/// A call of a function of tensors, whose result is dropped.
fn call<R>(tensors: Vec<Tensor>, f: fn(&[Tensor]) -> Result<R>) -> Result<Call> {
    Ok(Box::new(move || {
        black_box(f(black_box(&tensors))?);
        Ok(())
    }))
}

/// A call of the backward pass of a function, with ones as the gradient, with respect to all its tensors.
fn backward(tensors: Vec<Tensor>, f: fn(&[Tensor]) -> Result<Tensor>) -> Result<Call> {
    let tensors = tensors.into_iter().map(|x| if x.is_floating_point() { x.requires_grad_(true) } else { Ok(x) });
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let y = f(&tensors)?;
    let ones = y.detach().ones_like()?;
    let how = Backward { retain_graph: true, ..Default::default() };
    Ok(Box::new(move || {
        let inputs: Vec<&Tensor> = tensors.iter().filter(|x| x.requires_grad()).collect();
        black_box(grad(&[(&y, Some(&ones))], &inputs, how)?);
        Ok(())
    }))
}

/// Elementwise work on so many Mi elements, which touches so many bytes for each.
macro_rules! elementwise {
    ($n:literal, $($name:literal $f:expr, $bytes:literal, $target:expr;)*) => {
        [$(Line::new(
            concat!($name, " ", $n, " Mi"),
            |_| call(vec![randn(&[$n * MI])?, randn(&[$n * MI])?.abs()?, randn(&[$n * MI])?.gt(0)?], $f),
        ).torch().floor(copy::<{ $n * MI }>, $bytes / 8.0).target($target)),*]
    };
}
