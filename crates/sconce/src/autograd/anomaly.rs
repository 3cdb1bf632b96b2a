//! Anomaly mode: recorded operations remember where they were called, and backward stops at the first NaN.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::mode::{Observed, no_grad};
use crate::tensor::Tensor;
use crate::tensor::calls::Calls;
use crate::tensor::dtype::Category;
use crate::tensor::node::Node;
use crate::{Error, Result};

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(false) };

    /// The operation whose backward runs on this thread, and where it was called.
    static WITHIN: RefCell<Option<(&'static str, Arc<Calls>)>> = const { RefCell::new(None) };
}

/// Runs a closure in which a NaN that a backward makes is an error; PyTorch's `torch.autograd.detect_anomaly`.
///
/// Forward and backward belong inside. Each recorded operation remembers its stack of calls, and a backward pass stops at
/// the first operation that gives a gradient with NaN. The error names the operation, the input and where the operation
/// was called; any other error of a backward names that place as well. Lines are known where the program was built with
/// line tables (`debug = "line-tables-only"`), names of functions in any build that is not stripped.
///
/// The mode is per thread and is restored when the closure ends. It costs microseconds per operation, so it is for
/// finding a fault, not for training.
///
/// ```
/// use sconce::Tensor;
/// use sconce::autograd::detect_anomaly;
///
/// let x = Tensor::from_vec(vec![0.0f32, 4.0], [2])?.requires_grad_(true)?;
/// let error = detect_anomaly(|| {
///     // The slope of the root is infinite at 0, and 0 times that is not a number.
///     x.sqrt()?.mul(0.0)?.sum(())?.backward()
/// });
/// let message = error.unwrap_err().to_string();
/// assert!(message.starts_with("backward of sqrt, called "));
/// assert!(message.ends_with("NaN in 1 of 2 elements of the gradient of input 0 [2]"));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn detect_anomaly<R>(f: impl FnOnce() -> R) -> R {
    /// Restores the mode on drop, also when a panic unwinds.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENABLED.set(self.0);
        }
    }
    let _restore = Restore(ENABLED.replace(true));
    let _observed = Observed::begin();
    f()
}

/// Whether this thread looks for NaN in backward passes; PyTorch's `torch.is_anomaly_enabled`.
///
/// ```
/// use sconce::autograd::{detect_anomaly, is_anomaly_enabled};
/// assert!(!is_anomaly_enabled() && detect_anomaly(is_anomaly_enabled));
/// ```
pub fn is_anomaly_enabled() -> bool {
    ENABLED.get()
}

/// Where the present call is, if anybody will want to know.
pub(super) fn calls() -> Option<Arc<Calls>> {
    is_anomaly_enabled().then(|| Calls::capture(WITHIN.with_borrow(Clone::clone)))
}

/// Runs the backward of a node: what that records is known to come from it.
pub(super) fn within<R>(node: &dyn Node, f: impl FnOnce() -> R) -> R {
    /// Puts the outer operation back, also when a panic unwinds.
    struct Restore(Option<(&'static str, Arc<Calls>)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            WITHIN.set(self.0.take());
        }
    }
    if !is_anomaly_enabled() {
        return f();
    }
    let _restore = Restore(WITHIN.replace(node.calls().map(|calls| (node.name(), calls.clone()))));
    f()
}

/// How messages call the backward of a node: with the place of its call if that is known.
pub(super) fn backward_of(node: &dyn Node) -> String {
    let name = node.name();
    match node.calls() {
        Some(calls) => format!("backward of {name}, {calls}"),
        None if is_anomaly_enabled() => format!("backward of {name}, recorded outside of detect_anomaly"),
        None => format!("backward of {name}"),
    }
}

/// Refuses the gradient of an input of a node if it has NaN.
pub(super) fn check(node: &dyn Node, input: usize, grad: &Tensor) -> Result<()> {
    match nans(grad)? {
        0 => Ok(()),
        n => Err(Error::autograd(format!(
            "NaN in {n} of {} elements of the gradient of input {input} {:?}",
            grad.numel(),
            grad.shape()
        ))
        .context(backward_of(node))),
    }
}

/// How many elements have a part that is not a number.
fn nans(x: &Tensor) -> Result<usize> {
    no_grad(|| {
        let x = x.detach();
        let nan = match x.dtype().category() {
            Category::Complex => x.view_as_real()?.isnan()?.any(-1)?,
            _ => x.isnan()?,
        };
        Ok(nan.sum(())?.item()? as usize)
    })
}
