//! A cache of large allocations.
//!
//! Writing a fresh 64 MiB buffer once costs more in page faults than in writing, so freed buffers above [`SMALLEST`]
//! are kept for the next request of about their size. Smaller ones are left to the global allocator, which caches them
//! itself. The idea is MLX's `buffer_cache.h`.

use std::sync::Mutex;

use super::storage::Allocation;

/// Allocations from this size on are cached, in bytes.
const SMALLEST: usize = 64 * 1024;

/// The cache holds at most this many bytes unless [`set_limit`] says otherwise.
const DEFAULT_LIMIT: usize = 1 << 30;

struct Cache {
    /// Oldest first.
    free: Vec<Allocation>,
    bytes: usize,
    limit: usize,
    hits: u64,
    misses: u64,
}

static CACHE: Mutex<Cache> =
    Mutex::new(Cache { free: Vec::new(), bytes: 0, limit: DEFAULT_LIMIT, hits: 0, misses: 0 });

/// What the cache of freed tensor memory holds and how often it helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes held for reuse.
    pub cached: usize,
    /// The most bytes that it holds.
    pub limit: usize,
    /// Large allocations served from the cache.
    pub hits: u64,
    /// Large allocations that went to the system.
    pub misses: u64,
}

fn cache() -> std::sync::MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Memory of at least `size` bytes, of any value.
pub(crate) fn take(size: usize) -> Allocation {
    if size < SMALLEST {
        return Allocation::new(size, false);
    }
    let mut cache = cache();
    let best = cache
        .free
        .iter()
        .enumerate()
        .filter(|(_, a)| a.size() >= size && a.size() <= size + size / 4)
        .min_by_key(|(_, a)| a.size())
        .map(|(i, _)| i);
    if let Some(i) = best {
        let allocation = cache.free.remove(i);
        cache.bytes -= allocation.size();
        cache.hits += 1;
        return allocation;
    }
    cache.misses += 1;
    drop(cache);
    Allocation::new(size, false)
}

/// Keeps memory for reuse, or frees it.
pub(crate) fn give(allocation: Allocation) {
    if allocation.size() < SMALLEST {
        return;
    }
    let mut evicted = Vec::new();
    let mut cache = cache();
    if allocation.size() > cache.limit {
        return;
    }
    cache.bytes += allocation.size();
    cache.free.push(allocation);
    while cache.bytes > cache.limit {
        let oldest = cache.free.remove(0);
        cache.bytes -= oldest.size();
        evicted.push(oldest);
    }
    drop(cache);
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
    Stats { cached: cache.bytes, limit: cache.limit, hits: cache.hits, misses: cache.misses }
}

/// Frees all cached memory.
pub fn trim() {
    let freed = {
        let mut cache = cache();
        cache.bytes = 0;
        std::mem::take(&mut cache.free)
    };
    drop(freed);
}

/// Sets how many bytes the cache may hold; 0 turns it off. The default is 1 GiB.
pub fn set_limit(bytes: usize) {
    cache().limit = bytes;
    trim();
}
