//! Threads: how many, and a loop over tasks that uses them.
//!
//! Kernels cut their work into tasks by size only, never by the number of threads, wherever the cut can be seen in a
//! result; so results do not depend on this setting.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Returns the greatest number of threads that a kernel uses, the machine's parallelism unless set.
///
/// ```
/// assert!(sconce_kernels::threads() >= 1);
/// ```
#[inline]
pub fn threads() -> usize {
    match THREADS.load(Relaxed) {
        0 => {
            let n = std::thread::available_parallelism().map_or(1, |n| n.get());
            THREADS.store(n, Relaxed);
            n
        }
        n => n,
    }
}

/// Limits kernels to `n` threads, in the whole process; 0 restores the default, 1 never touches the thread pool.
///
/// ```
/// sconce_kernels::set_threads(1);
/// assert_eq!(sconce_kernels::threads(), 1);
/// sconce_kernels::set_threads(0);
/// ```
pub fn set_threads(n: usize) {
    THREADS.store(n, Relaxed);
}

/// Whether kernels may use every thread of the pool, as what cuts its work itself does.
pub(crate) fn whole_pool() -> bool {
    threads() >= rayon::current_num_threads()
}

/// Runs `task(0)`, …, `task(tasks - 1)`, each once, in any order, on at most [`threads`] threads.
pub(crate) fn for_each(tasks: usize, task: impl Fn(usize) + Sync) {
    let workers = threads().min(tasks);
    if workers <= 1 {
        return (0..tasks).for_each(task);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let i = next.fetch_add(1, Relaxed);
            if i >= tasks {
                break;
            }
            task(i);
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|_| work());
        }
        work();
    });
}

/// Cuts `len` units into tasks of at least `grain` units, a few per thread, and runs `task(start, end)` for each.
///
/// For work whose result does not depend on where it is cut.
pub(crate) fn for_ranges(len: usize, grain: usize, task: impl Fn(usize, usize) + Sync) {
    let most = len / grain.max(1);
    let workers = if most <= 1 { 1 } else { threads() };
    if workers <= 1 {
        return task(0, len);
    }
    let tasks = most.min(workers * 4);
    for_each(tasks, |i| task(len * i / tasks, len * (i + 1) / tasks));
}

/// An address that tasks share; they write disjoint parts.
pub(crate) struct Shared<T>(pub(crate) *mut T);

impl<T> Shared<T> {
    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: only an address; the kernels' callers vouch for access to the memory from any thread.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_the_size_of_the_pool_holds_for_what_takes_all_of_it() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("three threads");
        for (limit, whole) in [(2, false), (3, true), (4, true)] {
            set_threads(limit);
            assert_eq!(pool.install(whole_pool), whole, "{limit} of 3");
        }
        set_threads(0);
    }
}
