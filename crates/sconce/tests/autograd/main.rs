//! Automatic differentiation against PyTorch's rules: accumulation, modes, hooks, in-place edits, views, higher orders.

mod anomaly;
mod backward;
mod edits;
mod graphs;
mod hooks;
mod operations;

use sconce::autograd::Backward;
use sconce::{DType, Result, Tensor};

pub(crate) const KEEP: Backward = Backward { retain_graph: true, create_graph: false };
pub(crate) const TWICE: Backward = Backward { retain_graph: false, create_graph: true };

pub(crate) fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()]).unwrap()
}

pub(crate) fn leaf(values: &[f64]) -> Tensor {
    tensor(values).requires_grad_(true).unwrap()
}

pub(crate) fn values(t: &Tensor) -> Vec<f64> {
    t.detach().to(DType::F64).unwrap().to_vec().unwrap()
}

pub(crate) fn grad(t: &Tensor) -> Option<Vec<f64>> {
    t.grad().map(|g| values(&g))
}

/// Back-propagates ones.
pub(crate) fn ones(y: &Tensor) -> Result<()> {
    y.backward_with(Some(&y.detach().ones_like()?), Backward::default())
}

#[track_caller]
pub(crate) fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
pub(crate) fn near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{what}, element {i}: {a}, PyTorch gives {b}");
    }
}
