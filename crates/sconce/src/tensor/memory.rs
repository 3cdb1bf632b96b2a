//! Memory of tensors: a cache of large allocations, and how long threads wait for each other.
//!
//! Writing a fresh 64 MiB buffer once costs more in page faults than in writing, so freed buffers above a size
//! are kept for the next request of about their size. Smaller ones are left to the global allocator, which caches them
//! itself. The idea is MLX's `buffer_cache.h`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::storage::Allocation;

/// Allocations from this size on are cached, in bytes.
const SMALLEST: usize = 64 * 1024;

/// The cache holds at most this many bytes unless [`set_limit`] says otherwise.
const DEFAULT_LIMIT: usize = 1 << 30;

struct Cache {
    /// By size, then by age.
    free: BTreeMap<(usize, u64), Allocation>,
    /// The sizes of `free`, oldest first.
    ages: BTreeMap<u64, usize>,
    next_age: u64,
    bytes: usize,
    limit: usize,
    in_use: usize,
    peak: usize,
    hits: u64,
    misses: u64,
}

static CACHE: Mutex<Cache> = Mutex::new(Cache {
    free: BTreeMap::new(),
    ages: BTreeMap::new(),
    next_age: 0,
    bytes: 0,
    limit: DEFAULT_LIMIT,
    in_use: 0,
    peak: 0,
    hits: 0,
    misses: 0,
});

static PATIENCE_MILLIS: AtomicU64 = AtomicU64::new(10_000);

/// What tensors have of memory, and what the cache of freed memory holds and how often it helped.
///
/// Allocations of less than 64 KiB are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes held for reuse.
    pub cached: usize,
    /// The most bytes that it holds.
    pub limit: usize,
    /// Bytes of large allocations that tensors have; PyTorch's `memory_allocated`.
    pub in_use: usize,
    /// The most bytes that they had since [`reset_peak`]; PyTorch's `max_memory_allocated`.
    pub peak: usize,
    /// Large allocations served from the cache.
    pub hits: u64,
    /// Large allocations that went to the system.
    pub misses: u64,
}

fn cache() -> MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Cache {
    fn remove(&mut self, key: (usize, u64)) -> Option<Allocation> {
        self.ages.remove(&key.1);
        let allocation = self.free.remove(&key)?;
        self.bytes -= allocation.size();
        Some(allocation)
    }

    fn count(&mut self, size: usize) {
        self.in_use += size;
        self.peak = self.peak.max(self.in_use);
    }

    /// The best fit for `size` bytes; of several, the one freed last, which the processor's caches may still hold.
    fn best_fit(&self, size: usize) -> Option<(usize, u64)> {
        let (&(best, _), _) = self.free.range((size, 0)..=(size + size / 4, u64::MAX)).next()?;
        self.free.range((best, 0)..=(best, u64::MAX)).next_back().map(|(&key, _)| key)
    }
}

/// Memory of at least `size` bytes, of any value; `None` if there is not that much.
pub(crate) fn take(size: usize) -> Option<Allocation> {
    cached(size).or_else(|| allocate(size, false))
}

/// Memory of at least `size` bytes that are all zero: that of the cache is there already, pages from the system are not.
pub(crate) fn take_zeroed(size: usize) -> Option<Allocation> {
    let cached = cached(size).map(|mut allocation| {
        allocation.zero();
        allocation
    });
    cached.or_else(|| allocate(size, true))
}

fn cached(size: usize) -> Option<Allocation> {
    if !(SMALLEST..isize::MAX as usize).contains(&size) {
        return None;
    }
    let mut cache = cache();
    let found = cache.best_fit(size).and_then(|key| cache.remove(key));
    match &found {
        Some(allocation) => {
            cache.hits += 1;
            cache.count(allocation.size());
        }
        None => cache.misses += 1,
    }
    found
}

fn allocate(size: usize, zeroed: bool) -> Option<Allocation> {
    let allocation = Allocation::new(size, zeroed)?;
    if size >= SMALLEST {
        cache().count(size);
    }
    Some(allocation)
}

/// Keeps memory for reuse, or frees it.
pub(crate) fn give(allocation: Allocation) {
    let size = allocation.size();
    if size < SMALLEST {
        return;
    }
    // Freed after the lock, which is dropped first.
    let mut evicted = Vec::new();
    let mut cache = cache();
    cache.in_use -= size;
    if size > cache.limit {
        return;
    }
    let age = cache.next_age;
    cache.next_age += 1;
    cache.bytes += size;
    cache.ages.insert(age, size);
    cache.free.insert((size, age), allocation);
    while cache.bytes > cache.limit
        && let Some((&age, &size)) = cache.ages.first_key_value()
    {
        evicted.extend(cache.remove((size, age)));
    }
}

/// Tells what the cache holds.
///
/// ```
/// let before = sconce::memory::stats().misses;
/// drop(sconce::Tensor::ones([1 << 20], sconce::DType::F32)?);
/// sconce::memory::trim();
/// assert_eq!(sconce::memory::stats().cached, 0);
/// # let _ = before;
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn stats() -> Stats {
    let cache = cache();
    let Cache { bytes, limit, in_use, peak, hits, misses, .. } = *cache;
    Stats { cached: bytes, limit, in_use, peak, hits, misses }
}

/// Measures [`Stats::peak`] from now on.
///
/// ```
/// use sconce::{DType, Tensor, memory};
/// memory::reset_peak();
/// let before = memory::stats().in_use;
/// drop(Tensor::ones([1 << 20], DType::F32)?.add(1.0)?);
/// assert_eq!(memory::stats().in_use, before);
/// assert!(memory::stats().peak >= before + (8 << 20));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn reset_peak() {
    let mut cache = cache();
    cache.peak = cache.in_use;
}

/// Frees all cached memory.
pub fn trim() {
    let freed = {
        let mut cache = cache();
        cache.bytes = 0;
        cache.ages.clear();
        std::mem::take(&mut cache.free)
    };
    drop(freed);
}

/// Sets how many bytes the cache may hold; 0 turns it off. The default is 1 GiB.
pub fn set_limit(bytes: usize) {
    cache().limit = bytes;
    trim();
}

/// How long an operation waits for a tensor's memory that another thread reads or writes.
///
/// ```
/// assert_eq!(sconce::memory::patience(), std::time::Duration::from_secs(10));
/// ```
pub fn patience() -> Duration {
    Duration::from_millis(PATIENCE_MILLIS.load(Ordering::Relaxed))
}

/// Sets how long an operation waits for a tensor's memory before it fails with
/// [`ErrorKind::Busy`](crate::ErrorKind::Busy), in whole milliseconds and for the whole process. The default is 10 s.
pub fn set_patience(patience: Duration) {
    let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    PATIENCE_MILLIS.store(millis, Ordering::Relaxed);
}
