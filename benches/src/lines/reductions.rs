//! Reductions, scans and sorts, over all elements, over rows and over columns.

use sconce::Result;

use super::Line;
use super::floors::copy;
use super::support::{call, randn};
use crate::measure::Call;
use crate::table::Target::{self, Floor, Torch};

const MI: usize = 1 << 20;

/// Lines over 4096 x 4096 elements, which are read once: half the bytes of a copy.
macro_rules! reading {
    ($($name:literal, $f:expr;)*) => {
        [$(Line::new($name, |_| call(vec![randn(&[4096, 4096])?], $f))
            .torch()
            .floor(copy::<{ 16 * MI }>, 0.5)
            .target(Floor(0.8))),*]
    };
}

/// Lines over 1024 x 1024 elements, against PyTorch.
macro_rules! square {
    ($($name:literal, $target:expr, $f:expr;)*) => {
        [$(Line::new($name, |_| call(vec![randn(&[1024, 1024])?], $f)).torch().target($target)),*]
    };
}

/// Lines over the middle dimension of 64 x 1024 x 256 elements, which are read once.
macro_rules! middle {
    ($($name:literal, $f:expr;)*) => {
        [$(Line::new($name, |_| call(vec![randn(&[64, 1024, 256])?], $f))
            .torch()
            .floor(copy::<{ 16 * MI }>, 0.5)
            .target(Floor(0.8))),*]
    };
}

const AS_FAST: Target = Torch(1.0);

fn sort_all() -> Result<Call> {
    call(vec![randn(&[MI])?], |x| x[0].sort(0, false))
}

pub(super) fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(reading! {
        "sum", |x| x[0].sum(());
        "sum of rows", |x| x[0].sum(1);
        "sum of columns", |x| x[0].sum(0);
        "mean of rows", |x| x[0].mean(1);
        "max", |x| x[0].max();
        "amax of rows", |x| x[0].amax(1);
        "amax of columns", |x| x[0].amax(0);
        "argmax", |x| x[0].argmax(());
        "argmax of rows", |x| x[0].argmax(1);
        "argmax of columns", |x| x[0].argmax(0);
        "norm", |x| x[0].norm(2.0, ());
    });
    lines.extend(middle! {
        "sum over the middle", |x| x[0].sum(1);
        "amax over the middle", |x| x[0].amax(1);
        "argmax over the middle", |x| x[0].argmax(1);
    });
    lines.extend(square! {
        "var of rows", AS_FAST, |x| x[0].var(1, 1.0);
        "logsumexp of rows", AS_FAST, |x| x[0].logsumexp(1);
        "cumsum of rows", AS_FAST, |x| x[0].cumsum(1);
        "cumsum of columns", AS_FAST, |x| x[0].cumsum(0);
        "sort rows", AS_FAST, |x| x[0].sort(1, false);
        "sort columns", AS_FAST, |x| x[0].sort(0, false);
        "topk 10 of rows", AS_FAST, |x| x[0].topk(10, 1, true);
        "topk 100 of rows", AS_FAST, |x| x[0].topk(100, 1, true);
    });
    lines.push(Line::new("sort 1 Mi", |_| sort_all()).torch().target(AS_FAST));
    lines
}
