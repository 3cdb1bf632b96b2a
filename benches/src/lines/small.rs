//! Operations on four elements, whose cost is everything but the arithmetic.

use sconce::functional::{CrossEntropyOptions, cross_entropy, layer_norm, linear};
use sconce::{Result, Tensor};

use super::support::{call, indices};
use super::{Line, Options};
use crate::measure::Call;
use crate::table::Target;

fn four(shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], shape)
}

fn recorded(_: &Options) -> Result<Call> {
    call(vec![four(&[4])?.requires_grad_(true)?, four(&[4])?], |x| x[0].add(&x[1]))
}

/// Lines on tensors of four elements: two of one dimension, two square ones, and four indices.
macro_rules! four {
    ($($name:literal, $f:expr;)*) => {
        [$(Line::new(concat!("4 elements: ", $name), |_| {
            call(vec![four(&[4])?, four(&[4])?, four(&[2, 2])?, four(&[2, 2])?, indices(2, &[2])?], $f)
        }).torch().target(Target::Seconds(250e-9))),*]
    };
}

pub(super) fn lines() -> Vec<Line> {
    let at_most = |ns: f64| Target::Seconds(ns * 1e-9);
    let mut lines = vec![
        Line::new("4 elements: add", |_| call(vec![four(&[4])?, four(&[4])?], |x| x[0].add(&x[1])))
            .torch()
            .target(at_most(100.0)),
        Line::new("4 elements: add, recorded", recorded).torch().target(at_most(150.0)),
        Line::new("clone and drop a handle", |_| call(vec![four(&[4])?], |x| Ok(x[0].clone())))
            .target(at_most(15.0)),
    ];
    lines.extend(four! {
        "add_", |x| x[0].add_(&x[1]).map(drop);
        "mul by a number", |x| x[0].mul(2.0);
        "exp", |x| x[0].exp();
        "gelu", |x| x[0].gelu(sconce::functional::Gelu::Exact);
        "clamp", |x| x[0].clamp(1.0, 2.0);
        "gt", |x| x[0].gt(&x[1]);
        "sum", |x| x[0].sum(());
        "mean of rows", |x| x[2].mean(1);
        "max of rows", |x| x[2].max_dim(1);
        "var", |x| x[0].var((), 1.0);
        "view", |x| x[0].view([2, 2]);
        "transpose", |x| x[2].transpose(0, 1);
        "narrow", |x| x[0].narrow(0, 1, 2);
        "matmul", |x| x[2].matmul(&x[3]);
        "linear", |x| linear(&x[2], &x[3], None);
        "softmax", |x| x[2].softmax(1);
        "layer_norm", |x| layer_norm(&x[2], &[2], None, None, 1e-5);
        "cross_entropy", |x| cross_entropy(&x[2], &x[4], CrossEntropyOptions::default());
        "cat", |x| Tensor::cat(&[&x[0], &x[1]], 0);
        "index_select", |x| x[0].index_select(0, &x[4]);
        "gather", |x| x[0].gather(0, &x[4]);
        "sort", |x| x[0].sort(0, false);
        "cumsum", |x| x[0].cumsum(0);
        "to f64", |x| x[0].to(sconce::DType::F64);
    });
    lines.into_iter().map(Line::one_thread).collect()
}
