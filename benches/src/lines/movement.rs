//! Moving elements: indexing, scattering, joining, transposing.

use sconce::functional::{EmbeddingOptions, embedding};
use sconce::{Result, Tensor};

use super::Line;
use super::floors::copy;
use super::support::{backward, call, indices, randn};
use crate::table::Target::Torch;

/// A table of 50,000 rows of 256 numbers, and 4096 indices of rows.
fn table() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[50_000, 256])?, indices(50_000, &[4096])?])
}

/// Two tensors of 1024 x 1024, and an index for each element.
fn square() -> Result<Vec<Tensor>> {
    Ok(vec![randn(&[1024, 1024])?, randn(&[1024, 1024])?, indices(1024, &[1024, 1024])?])
}

const MI: usize = 1 << 20;

pub(super) fn lines() -> Vec<Line> {
    let line = |name, ours| Line::new(name, ours).torch().floor(copy::<MI>, 1.0).target(Torch(1.0));
    vec![
        line("index_select rows", |_| call(table()?, |x| x[0].index_select(0, &x[1]))),
        line("embedding", |_| call(table()?, |x| embedding(&x[1], &x[0], EmbeddingOptions::default()))),
        Line::new("embedding, backward", |_| {
            backward(table()?, |x| embedding(&x[1], &x[0], EmbeddingOptions::default()))
        })
        .torch()
        .target(Torch(1.0)),
        line("gather along rows", |_| call(square()?, |x| x[0].gather(1, &x[2]))),
        line("gather along columns", |_| call(square()?, |x| x[0].gather(0, &x[2]))),
        line("scatter_add along rows", |_| call(square()?, |x| x[0].scatter_add(1, &x[2], &x[1]))),
        line("scatter_add along columns", |_| call(square()?, |x| x[0].scatter_add(0, &x[2], &x[1]))),
        line("masked_select", |_| call(square()?, |x| x[0].masked_select(&x[0].gt(0)?))),
        line("cat rows", |_| call(square()?, |x| Tensor::cat(&[&x[0], &x[1]], 0))),
        line("cat columns", |_| call(square()?, |x| Tensor::cat(&[&x[0], &x[1]], 1))),
        line("transpose and copy", |_| call(square()?, |x| x[0].transpose(0, 1)?.contiguous())),
        line("permute 4 dims and copy", |_| {
            call(vec![randn(&[8, 64, 32, 64])?], |x| x[0].permute([0, 2, 1, 3])?.contiguous())
        }),
        line("flip", |_| call(square()?, |x| x[0].flip([1]))),
        line("add a column", |_| call(square()?, |x| x[0].add(&x[1].narrow(1, 0, 1)?))),
        line("add a transposed matrix", |_| call(square()?, |x| x[0].add(&x[1].transpose(0, 1)?))),
    ]
}
