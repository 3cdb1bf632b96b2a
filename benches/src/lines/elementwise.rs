//! Elementwise operations against PyTorch, and against a plain copy of as many bytes on the same threads.

use sconce::functional::Gelu;
use sconce::{DType, Result, Tensor};

use super::Line;
use super::floors::copy;
use super::support::{call, randn};
use crate::table::Target::{self, Floor, Torch};

const MI: usize = 1 << 20;

/// Two tensors of normal numbers, and a mask.
fn operands<const N: usize>() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[N])?, randn(&[N])?, randn(&[N])?.gt(0)?])
}

/// Lines over so many Mi elements, each with the bytes that are read and written per element.
macro_rules! over {
    ($n:literal Mi: $($name:literal, $bytes:literal, $target:expr, $f:expr;)*) => {
        [$({
            let f: fn(&[Tensor]) -> Result<Tensor> = $f;
            let _ = f;
            Line::new(concat!($name, " ", $n, " Mi"), |_| call(operands::<{ $n * MI }>()?, $f))
                .torch()
                .floor(copy::<{ $n * MI }>, $bytes / 8.0)
                .target($target)
        }),*]
    };
}

const BANDWIDTH: Target = Floor(0.8);

pub(super) fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(over! { 16 Mi:
        "add", 12.0, BANDWIDTH, |x| x[0].add(&x[1]);
        "mul", 12.0, BANDWIDTH, |x| x[0].mul(&x[1]);
        "relu", 8.0, BANDWIDTH, |x| x[0].relu();
        "where", 13.0, BANDWIDTH, |x| x[0].where_(&x[2], &x[1]);
        "exp", 8.0, Torch(1.5), |x| x[0].exp();
    });
    lines.extend(over! { 1 Mi:
        "add", 12.0, BANDWIDTH, |x| x[0].add(&x[1]);
        "mul", 12.0, BANDWIDTH, |x| x[0].mul(&x[1]);
        "div", 12.0, BANDWIDTH, |x| x[0].div(&x[1]);
        "add a number", 8.0, BANDWIDTH, |x| x[0].add(2.0);
        "add_", 12.0, BANDWIDTH, |x| x[0].add_(&x[1]).map(|_| x[0].clone());
        "maximum", 12.0, BANDWIDTH, |x| x[0].maximum(&x[1]);
        "gt", 9.0, BANDWIDTH, |x| x[0].gt(&x[1]);
        "where", 13.0, BANDWIDTH, |x| x[0].where_(&x[2], &x[1]);
        "neg", 8.0, BANDWIDTH, |x| x[0].neg();
        "abs", 8.0, BANDWIDTH, |x| x[0].abs();
        "relu", 8.0, BANDWIDTH, |x| x[0].relu();
        "clamp", 8.0, BANDWIDTH, |x| x[0].clamp(-0.5, 0.5);
        "masked_fill", 9.0, BANDWIDTH, |x| x[0].masked_fill(&x[2], 0.0);
        "sqrt", 8.0, BANDWIDTH, |x| x[0].sqrt();
        "reciprocal", 8.0, BANDWIDTH, |x| x[0].reciprocal();
        "to bf16", 6.0, BANDWIDTH, |x| x[0].to(DType::BF16);
        "exp", 8.0, Torch(1.5), |x| x[0].exp();
        "tanh", 8.0, Torch(1.5), |x| x[0].tanh();
        "sigmoid", 8.0, Torch(1.5), |x| x[0].sigmoid();
        "gelu", 8.0, Torch(1.5), |x| x[0].gelu(Gelu::Exact);
        "gelu tanh", 8.0, Torch(1.5), |x| x[0].gelu(Gelu::Tanh);
        "silu", 8.0, Torch(1.0), |x| x[0].silu();
        "log", 8.0, Torch(1.0), |x| x[0].log();
        "sin", 8.0, Torch(1.0), |x| x[0].sin();
        "erf", 8.0, Torch(1.0), |x| x[0].erf();
        "pow 3", 8.0, Torch(1.0), |x| x[0].pow(3.0);
    });
    lines
}
