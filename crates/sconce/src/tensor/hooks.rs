//! Functions that see, and may replace, a gradient.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::Tensor;
use crate::{Context, Error, Result};

pub(crate) type Function = Arc<dyn Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync>;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The hooks of a leaf or of a node, keyed by the number of the output that they watch.
#[derive(Default)]
pub(crate) struct Hooks {
    any: AtomicBool,
    list: Arc<Mutex<Vec<(u64, u32, Function)>>>,
}

/// Removes its hook when told to; dropping the handle leaves the hook in place.
///
/// Returned by [`Tensor::register_hook`]; PyTorch's `RemovableHandle`.
pub struct HookHandle {
    id: u64,
    list: Weak<Mutex<Vec<(u64, u32, Function)>>>,
}

impl Hooks {
    pub(crate) fn add(&self, output: u32, function: Function) -> HookHandle {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.lock().push((id, output, function));
        self.any.store(true, Ordering::Release);
        HookHandle { id, list: Arc::downgrade(&self.list) }
    }

    /// Passes a gradient through the hooks of an output.
    pub(crate) fn run(&self, output: u32, grad: Tensor) -> Result<Tensor> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(grad);
        }
        run(&self.snapshot(output), grad)
    }

    /// The hooks of an output, to be called without the lock: a hook may add or remove hooks.
    pub(crate) fn snapshot(&self, output: u32) -> Vec<Function> {
        self.lock().iter().filter(|(_, o, _)| *o == output).map(|(_, _, f)| f.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, u32, Function)>> {
        self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Passes a gradient through hooks in turn.
pub(crate) fn run(hooks: &[Function], mut grad: Tensor) -> Result<Tensor> {
    for hook in hooks {
        if let Some(replaced) = hook(&grad).context(|| "in a tensor hook")? {
            if replaced.shape() != grad.shape() {
                return Err(Error::shape(format!(
                    "a tensor hook returned shape {:?} for a gradient of shape {:?}",
                    replaced.shape(),
                    grad.shape()
                )));
            }
            grad = replaced;
        }
    }
    Ok(grad)
}

impl HookHandle {
    /// Removes the hook.
    pub fn remove(self) {
        if let Some(list) = self.list.upgrade() {
            list.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).retain(|(id, ..)| *id != self.id);
        }
    }
}

impl fmt::Debug for HookHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookHandle").field("id", &self.id).finish()
    }
}
