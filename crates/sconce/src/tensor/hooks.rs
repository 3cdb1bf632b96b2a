//! Functions that see, and may replace, a gradient.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::Tensor;
use crate::{Context, Error, Result};

pub(crate) type Function = Arc<dyn Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync>;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A hook on an output.
struct Entry {
    id: u64,
    output: u32,
    function: Function,
}

/// The ids of hooks that run after all others start here.
const LAST: u64 = 1 << 63;

/// The hooks of a leaf or of a node, in the order in which they run. Nearly all have none, so the list is made for the
/// first.
#[derive(Default)]
pub(crate) struct Hooks(OnceLock<List>);

type List = Arc<Mutex<Vec<Entry>>>;

/// Removes its hook when told to; dropping the handle leaves the hook in place.
///
/// Returned by [`Tensor::register_hook`]; PyTorch's `RemovableHandle`.
pub struct HookHandle {
    id: u64,
    list: Weak<Mutex<Vec<Entry>>>,
}

impl Hooks {
    pub(crate) fn add(&self, output: u32, function: Function) -> HookHandle {
        self.insert(NEXT.fetch_add(1, Ordering::Relaxed), output, function)
    }

    /// Adds a hook that sees what all others make of the gradient, whenever they were added.
    pub(crate) fn add_last(&self, output: u32, function: Function) -> HookHandle {
        self.insert(NEXT.fetch_add(1, Ordering::Relaxed) | LAST, output, function)
    }

    fn insert(&self, id: u64, output: u32, function: Function) -> HookHandle {
        let list = self.0.get_or_init(List::default);
        let mut entries = lock(list);
        let at = entries.partition_point(|entry| entry.id < id);
        entries.insert(at, Entry { id, output, function });
        drop(entries);
        HookHandle { id, list: Arc::downgrade(list) }
    }

    /// Passes a gradient through the hooks of an output.
    pub(crate) fn run(&self, output: u32, grad: Tensor) -> Result<Tensor> {
        if self.0.get().is_none() {
            return Ok(grad);
        }
        run(&self.snapshot(output), grad)
    }

    /// The hooks of an output, to be called without the lock: a hook may add or remove hooks.
    pub(crate) fn snapshot(&self, output: u32) -> Vec<Function> {
        let Some(list) = self.0.get() else { return Vec::new() };
        lock(list).iter().filter(|entry| entry.output == output).map(|entry| entry.function.clone()).collect()
    }
}

fn lock(list: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
            if replaced.dtype() != grad.dtype() {
                return Err(Error::dtype(format!(
                    "a tensor hook returned {} for a gradient of {}",
                    replaced.dtype(),
                    grad.dtype()
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
        let Some(list) = self.list.upgrade() else { return };
        let mut entries = lock(&list);
        let removed = entries.iter().position(|entry| entry.id == self.id).map(|i| entries.remove(i));
        // Outside the lock: what the hook holds may be dropped with it.
        drop(entries);
        drop(removed);
    }
}

impl fmt::Debug for HookHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookHandle").field("id", &self.id).finish()
    }
}
