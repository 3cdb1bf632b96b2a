//! Whether operations are recorded on this thread.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };

    /// How many look at what this thread records: anomaly modes and checkpoints.
    static OBSERVERS: Cell<usize> = const { Cell::new(0) };
}

/// That somebody looks at what this thread records, until it is dropped.
pub(super) struct Observed(PhantomData<*const ()>);

impl Observed {
    pub(super) fn begin() -> Self {
        OBSERVERS.set(OBSERVERS.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        OBSERVERS.set(OBSERVERS.get() - 1);
    }
}

/// Whether anybody looks at what this thread records: the one thing that every recorded operation asks.
#[inline]
pub(super) fn is_observed() -> bool {
    OBSERVERS.get() > 0
}

/// Restores the mode on drop, also when a panic unwinds.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        ENABLED.set(self.0);
    }
}

/// Runs a closure with recording on or off; PyTorch's `torch.set_grad_enabled`.
///
/// The mode is per thread and is restored when the closure ends.
pub fn set_grad_enabled<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(ENABLED.replace(enabled));
    f()
}

/// Runs a closure in which nothing is recorded, so that parameters may be edited; PyTorch's `torch.no_grad`.
///
/// A view that is made in here, even of a parameter, does not require grad (PyTorch's takes its base's). As in PyTorch,
/// it may not be used while recording once its memory was changed, if its base requires grad: whether a gradient should
/// flow to the base is then unclear.
///
/// ```
/// use sconce::{Tensor, no_grad};
///
/// let w = Tensor::scalar(1.0f32).requires_grad_(true)?;
/// assert!(w.mul_(2.0).is_err());
/// no_grad(|| w.mul_(2.0))?;
/// assert_eq!(w.item()?, 2.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    set_grad_enabled(false, f)
}

/// Runs a closure in which operations are recorded, within a [`no_grad`] as well; PyTorch's `torch.enable_grad`.
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    set_grad_enabled(true, f)
}

/// Whether operations are recorded on this thread.
///
/// ```
/// assert!(sconce::is_grad_enabled());
/// assert!(!sconce::no_grad(sconce::is_grad_enabled));
/// ```
#[inline]
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}
