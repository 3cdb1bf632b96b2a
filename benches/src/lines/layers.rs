//! What layers are made of: softmax, normalisations, losses, convolutions of ResNet-18, pooling.

use sconce::functional::{
    Conv2dOptions, CrossEntropyOptions, MaxPool2dOptions, batch_norm, conv2d, cross_entropy, layer_norm,
    max_pool2d,
};
use sconce::{Result, Tensor};

use super::floors::{copy, product};
use super::support::{backward, call, indices, randn};
use super::{Line, Make};
use crate::table::Target::Torch;

/// 4096 rows of 1024 numbers, which are read and written: the bytes of a copy.
const N: usize = 4096 * 1024;

fn rows() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[4096, 1024])?])
}

fn normalised() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[4096, 1024])?, randn(&[1024])?, randn(&[1024])?])
}

fn images() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[8, 64, 56, 56])?, randn(&[64])?, randn(&[64])?])
}

fn layer(x: &[Tensor]) -> Result<Tensor> {
    layer_norm(&x[0], &[1024], Some(&x[1]), Some(&x[2]), 1e-5)
}

fn batch(x: &[Tensor]) -> Result<Tensor> {
    batch_norm(&x[0], None, Some(&x[1]), Some(&x[2]), true, 0.1, 1e-5)
}

fn loss(x: &[Tensor]) -> Result<Tensor> {
    cross_entropy(&x[0], &x[1], CrossEntropyOptions::default())
}

fn classified() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[4096, 1024])?, indices(1024, &[4096])?])
}

fn pooled(x: &[Tensor]) -> Result<Tensor> {
    max_pool2d(&x[0], MaxPool2dOptions { stride: [2, 2], padding: [1, 1], ..MaxPool2dOptions::new([3, 3]) })
}

/// A forward and a backward line of a convolution: batch 4, channels in and out, size, kernel, stride, padding.
macro_rules! convolutions {
    ($($name:literal: $inner:literal, $outer:literal, $size:literal, $kernel:literal, $stride:literal, $padding:literal;)*) => {
        [$({
            let products = 4.0 * ($outer * $inner * $kernel * $kernel * ($size / $stride) * ($size / $stride)) as f64
                / 1024f64.powi(3);
            fn run(x: &[Tensor]) -> Result<Tensor> {
                let options = Conv2dOptions {
                    stride: [$stride; 2],
                    padding: [$padding; 2],
                    ..Default::default()
                };
                conv2d(&x[0], &x[1], None, options)
            }
            fn operands() -> Result<Vec<Tensor>> {
                Ok(vec![randn(&[4, $inner, $size, $size])?, randn(&[$outer, $inner, $kernel, $kernel])?])
            }
            let forward: Make = |_| call(operands()?, run);
            let back: Make = |_| backward(operands()?, run);
            [
                Line::new($name, forward).torch().floor(product::<1024>, products).target(Torch(1.0)),
                Line::new(concat!($name, ", backward"), back).torch().floor(product::<1024>, 2.0 * products).target(Torch(1.0)),
            ]
        }),*]
    };
}

pub(super) fn lines() -> Vec<Line> {
    let fused =
        |name, ours, copies| Line::new(name, ours).torch().floor(copy::<N>, copies).target(Torch(1.5));
    let mut lines = vec![
        fused("softmax of rows", |_| call(rows()?, |x| x[0].softmax(1)), 1.0),
        fused("softmax of columns", |_| call(rows()?, |x| x[0].softmax(0)), 1.0),
        fused("softmax of rows, backward", |_| backward(rows()?, |x| x[0].softmax(1)), 1.5),
        fused("softmax of columns, backward", |_| backward(rows()?, |x| x[0].softmax(0)), 1.5),
        fused("log_softmax of rows", |_| call(rows()?, |x| x[0].log_softmax(1)), 1.0),
        fused("log_softmax of rows, backward", |_| backward(rows()?, |x| x[0].log_softmax(1)), 1.5),
        fused("layer_norm", |_| call(normalised()?, layer), 1.0),
        fused("layer_norm, backward", |_| backward(normalised()?, layer), 1.5),
        fused("cross_entropy", |_| call(classified()?, loss), 0.5),
        fused("cross_entropy, backward", |_| backward(classified()?, loss), 1.0),
        Line::new("batch_norm 8x64x56x56", |_| call(images()?, batch)).torch().target(Torch(1.0)),
        Line::new("batch_norm 8x64x56x56, backward", |_| backward(images()?, batch))
            .torch()
            .target(Torch(1.0)),
        Line::new("max_pool2d 8x64x56x56", |_| call(images()?, pooled)).torch().target(Torch(1.0)),
    ];
    let convolutions = convolutions! {
        "conv2d 3-64 224 7x7/2": 3, 64, 224, 7, 2, 3;
        "conv2d 64-64 56 3x3": 64, 64, 56, 3, 1, 1;
        "conv2d 64-128 56 3x3/2": 64, 128, 56, 3, 2, 1;
        "conv2d 64-128 56 1x1/2": 64, 128, 56, 1, 2, 0;
        "conv2d 128-128 28 3x3": 128, 128, 28, 3, 1, 1;
        "conv2d 128-256 28 3x3/2": 128, 256, 28, 3, 2, 1;
        "conv2d 256-256 14 3x3": 256, 256, 14, 3, 1, 1;
        "conv2d 256-512 14 3x3/2": 256, 512, 14, 3, 2, 1;
        "conv2d 512-512 7 3x3": 512, 512, 7, 3, 1, 1;
    };
    lines.extend(convolutions.into_iter().flatten());
    lines
}
