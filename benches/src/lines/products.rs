//! Products of matrices: against faer at the same size, and in batches against PyTorch.

use sconce::functional::{AttentionOptions, scaled_dot_product_attention};
use sconce::{Result, Tensor};

use super::floors::product;
use super::support::{backward, call, randn};
use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target;

fn square<const N: usize>(_: &Options) -> Result<Call> {
    call(vec![randn(&[N, N])?, randn(&[N, N])?], |x| x[0].matmul(&x[1]))
}

fn line<const N: usize>(name: &'static str) -> Line {
    Line::new(name, square::<N>).torch().floor(product::<N>, 1.0).target(Target::Floor(0.95))
}

fn attention(x: &[Tensor]) -> Result<Tensor> {
    scaled_dot_product_attention(&x[0], &x[1], &x[2], AttentionOptions::default())
}

/// Heads of a query, a key and a value.
fn heads<const LENGTH: usize>() -> Result<Vec<Tensor>> {
    (0..3).map(|_| randn(&[1, 8, LENGTH, 64])).collect()
}

/// A line whose multiply-adds are so many times those of a product of 1024 x 1024.
fn batch(name: &'static str, ours: super::Make, products: f64) -> Line {
    Line::new(name, ours).torch().floor(product::<1024>, products).target(Target::Torch(1.0))
}

pub(super) fn lines() -> Vec<Line> {
    let scores = |length: f64| 2.0 * 8.0 * 64.0 * length * length / 1024f64.powi(3);
    vec![
        line::<256>("matmul 256"),
        line::<512>("matmul 512"),
        line::<1024>("matmul 1024"),
        line::<2048>("matmul 2048"),
        batch(
            "bmm 64x128x128",
            |_| call(vec![randn(&[64, 128, 128])?, randn(&[64, 128, 128])?], |x| x[0].bmm(&x[1])),
            0.125,
        ),
        batch(
            "bmm 16x256x64, transposed",
            |_| {
                call(vec![randn(&[16, 256, 64])?, randn(&[16, 256, 64])?], |x| {
                    x[0].bmm(&x[1].transpose(1, 2)?)
                })
            },
            16.0 * 256.0 * 256.0 * 64.0 / 1024f64.powi(3),
        ),
        batch(
            "linear 64x1024x1024",
            |_| {
                call(vec![randn(&[64, 1024])?, randn(&[1024, 1024])?, randn(&[1024])?], |x| {
                    sconce::functional::linear(&x[0], &x[1], Some(&x[2]))
                })
            },
            0.0625,
        ),
        batch("attention 8x256x64", |_| call(heads::<256>()?, attention), scores(256.0)),
        batch("attention 8x1024x64", |_| call(heads::<1024>()?, attention), scores(1024.0)),
        batch("attention 8x2048x64", |_| call(heads::<2048>()?, attention), scores(2048.0)),
        batch(
            "attention 8x1024x64, backward",
            |_| backward(heads::<1024>()?, attention),
            2.5 * scores(1024.0),
        ),
    ]
}
