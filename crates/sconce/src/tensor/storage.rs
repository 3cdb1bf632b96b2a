//! Shared memory: one allocation, its lock and its version; and the counted handles that tensors, storages and recorded
//! operations are held by.
//!
//! # Locking and aliasing
//!
//! Any number of tensors, on any threads, may point into one [`Storage`]. The bytes are only touched
//!
//! - through a [`ReadGuard`] (any number at a time) or a [`WriteGuard`] (alone), which never leave this crate, or
//! - while the storage is not shared yet: a fresh output that its maker still holds alone ([`Storage::bytes_mut`]).
//!
//! A guard is waited for at most the [`patience`](memory::patience) of the process, 10 seconds unless set; then the
//! operation fails with [`ErrorKind::Busy`]: a conflict that lasts that long is a data race in the program, and an error
//! beats a deadlock. Operations that need several storages take them in address order and never wait while running user
//! code, except in `with_slice`, whose closure runs under a read guard.
//!
//! Dropping a write guard counts the storage's version up; autograd compares versions to find saved tensors that were
//! modified in place.

#![allow(unsafe_code)]

mod foreign;

use std::alloc::{Layout as Memory, alloc, alloc_zeroed, dealloc};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::thread::LocalKey;
use std::time::{Duration, Instant};

use self::foreign::Foreign;
use super::dtype::DType;
use super::free::FreeList;
use super::memory;
use super::node::Node;
use crate::{Error, ErrorKind, Result};

/// Bytes kept beside the lock instead of in an allocation of their own.
const INLINE: usize = 64;

/// Alignment of allocations, in bytes: a cache line and an AVX-512 register.
pub(crate) const ALIGN: usize = 64;

/// A counted handle to a value, whose room comes from a free list.
///
/// What `Arc` is, without weak handles: so the last handle, which nearly every result of an operation is, goes without
/// an atomic exchange.
pub(crate) struct Counted<T: Pooled>(NonNull<Counter<T>>);

/// A type whose room is kept for the next value of it.
pub(crate) trait Pooled: Send + Sync + Sized + 'static {
    /// The room that this thread keeps.
    fn free_list() -> &'static LocalKey<FreeList<Counter<Self>>>;
}

/// A value and how many handles to it there are.
pub(crate) struct Counter<T: ?Sized> {
    handles: AtomicUsize,
    value: T,
}

/// Counts a new handle.
#[inline]
fn one_more(handles: &AtomicUsize) {
    let before = handles.fetch_add(1, Ordering::Relaxed);
    // As `Arc` does: so many handles exist only if they are leaked in a loop.
    if before > isize::MAX as usize {
        std::process::abort();
    }
}

/// Counts a handle that is dropped; whether it was the last one.
///
/// Gets the count alone, not the counter: if it was not the last one, another thread may free that before this returns,
/// which a borrow of the value would forbid.
#[inline]
fn is_last(handles: &AtomicUsize) -> bool {
    // Only a handle can be cloned: if the caller's is the only one, nobody else can be counting.
    handles.load(Ordering::Acquire) == 1 || handles.fetch_sub(1, Ordering::AcqRel) == 1
}

// SAFETY: the value is `Send` and `Sync`, and its handles are counted atomically.
unsafe impl<T: Pooled> Send for Counted<T> {}
// SAFETY: as above.
unsafe impl<T: Pooled> Sync for Counted<T> {}

impl<T: Pooled> Counted<T> {
    /// Room for a value. It is taken before the value is made, so that this is made in its place: moving it there would
    /// cost as much as all the rest.
    #[inline(always)]
    pub(crate) fn room() -> Box<MaybeUninit<Counter<T>>> {
        T::free_list().try_with(FreeList::take).unwrap_or_else(|_| Box::new_uninit())
    }

    /// Counts a value in its [`room`](Self::room).
    #[inline(always)]
    pub(crate) fn new(room: Box<MaybeUninit<Counter<T>>>, value: T) -> Self {
        let counter = Box::write(room, Counter { handles: AtomicUsize::new(1), value });
        Self(NonNull::from(Box::leak(counter)))
    }

    #[inline]
    fn counter(&self) -> &Counter<T> {
        // SAFETY: the counter lives as long as a handle to it, and is borrowed exclusively only by `get_mut`, which borrows
        // the only handle so.
        unsafe { self.0.as_ref() }
    }

    /// Whether both are handles to one value.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// An address that identifies the value while it lives.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Whether this handle is the only one.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.counter().handles.load(Ordering::Acquire) == 1
    }

    /// The value, if this handle is the only one.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        if !self.is_unique() {
            return None;
        }
        // SAFETY: this is the only handle, borrowed exclusively, so nobody can make another or use the value meanwhile.
        Some(unsafe { &mut self.0.as_mut().value })
    }
}

impl<T: Pooled> Deref for Counted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counter().value
    }
}

impl<T: Pooled> Clone for Counted<T> {
    #[inline]
    fn clone(&self) -> Self {
        one_more(&self.counter().handles);
        Self(self.0)
    }
}

impl<T: Pooled> Drop for Counted<T> {
    #[inline]
    fn drop(&mut self) {
        if is_last(&self.counter().handles) {
            // SAFETY: this was the last handle, and what others did with the value happened before they let go of it.
            unsafe { free(self.0) }
        }
    }
}

/// Drops a value and keeps the room that it took.
///
/// # Safety
///
/// - The counter was made by [`Counted::new`] and has not been freed.
/// - Nobody has a handle or a reference to it.
unsafe fn free<T: Pooled>(counter: NonNull<Counter<T>>) {
    // SAFETY: the caller's contract; the counter was leaked from a box, whose room is of the same layout.
    let room = unsafe {
        counter.drop_in_place();
        Box::from_raw(counter.as_ptr().cast::<MaybeUninit<Counter<T>>>())
    };
    // At the end of a thread its list may be gone, and the room is freed.
    let _ = T::free_list().try_with(|list| list.give(room));
}

/// A counted handle to a recorded operation, of a type that only its maker knows; otherwise like [`Counted`].
pub(crate) struct CountedNode(NonNull<Counter<dyn Node>>);

// SAFETY: nodes are `Send` and `Sync`, and their handles are counted atomically.
unsafe impl Send for CountedNode {}
// SAFETY: as above.
unsafe impl Sync for CountedNode {}

/// Room for a node of nearly any operation.
#[repr(align(16))]
struct Room(#[expect(dead_code, reason = "nothing but room")] [MaybeUninit<u8>; 320]);

impl Room {
    /// Whether a node of this layout lives in such room.
    fn holds(layout: Memory) -> bool {
        layout.size() <= size_of::<Self>() && layout.align() <= align_of::<Self>()
    }
}

thread_local! {
    static ROOMS: FreeList<Room> = const { FreeList::new() };
}

impl CountedNode {
    /// Counts what a function makes, in its place as by [`Counted::room`].
    #[inline(always)]
    pub(crate) fn new<N: Node + 'static>(make: impl FnOnce() -> N) -> Self {
        if !Room::holds(Memory::new::<Counter<N>>()) {
            let counter: Box<Counter<dyn Node>> =
                Box::new(Counter { handles: AtomicUsize::new(1), value: make() });
            return Self(NonNull::from(Box::leak(counter)));
        }
        let mut room = ROOMS.try_with(FreeList::take).unwrap_or_else(|_| Box::new_uninit());
        let place = room.as_mut_ptr().cast::<Counter<N>>();
        // SAFETY: the room is large and aligned enough, and nobody else has it.
        unsafe { place.write(Counter { handles: AtomicUsize::new(1), value: make() }) };
        Self(NonNull::from(Box::leak(room)).cast::<Counter<N>>())
    }

    #[inline]
    fn counter(&self) -> &Counter<dyn Node> {
        // SAFETY: the counter lives as long as a handle to it, and is never borrowed exclusively before.
        unsafe { self.0.as_ref() }
    }

    /// Whether this handle is the only one.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.counter().handles.load(Ordering::Acquire) == 1
    }

    /// An address that identifies the node while it lives.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.0.as_ptr().cast::<()>() as usize
    }
}

impl Deref for CountedNode {
    type Target = dyn Node;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.counter().value
    }
}

impl Clone for CountedNode {
    #[inline]
    fn clone(&self) -> Self {
        one_more(&self.counter().handles);
        Self(self.0)
    }
}

impl Drop for CountedNode {
    #[inline]
    fn drop(&mut self) {
        if is_last(&self.counter().handles) {
            // SAFETY: this was the last handle, and what others did with the node happened before they let go of it.
            unsafe { free_node(self.0) }
        }
    }
}

/// Drops a node and keeps the room that it took, or frees it.
///
/// # Safety
///
/// - The node was made by [`CountedNode::new`] and has not been freed.
/// - Nobody has a handle or a reference to it.
unsafe fn free_node(node: NonNull<Counter<dyn Node>>) {
    // SAFETY: the caller's contract.
    let layout = unsafe {
        let layout = Memory::for_value(node.as_ref());
        node.drop_in_place();
        layout
    };
    let place = node.cast::<MaybeUninit<Room>>();
    if Room::holds(layout) {
        // SAFETY: `new` put every node of such a layout into a leaked box of this type.
        let room = unsafe { Box::from_raw(place.as_ptr()) };
        // As in `free`.
        let _ = ROOMS.try_with(|rooms| rooms.give(room));
    } else {
        // SAFETY: `new` boxed any other node, which allocates its layout; its size is not 0.
        unsafe { dealloc(place.as_ptr().cast(), layout) };
    }
}

/// A handle to shared memory; clones share it.
#[derive(Clone)]
pub(crate) struct Storage(Counted<Block>);

thread_local! {
    static BLOCKS: FreeList<Counter<Block>> = const { FreeList::new() };
}

impl Pooled for Block {
    #[inline]
    fn free_list() -> &'static LocalKey<FreeList<Counter<Self>>> {
        &BLOCKS
    }
}

struct Block {
    lock: RwLock<()>,
    version: AtomicU32,
    len: usize,
    data: Data,
}

impl Block {
    #[inline]
    fn ptr(&self) -> *mut u8 {
        match &self.data {
            Data::Inline(inline) => inline.0.get().cast(),
            Data::Heap(allocation) => {
                allocation.as_ref().map_or(NonNull::dangling().as_ptr(), |a| a.ptr.as_ptr())
            }
            Data::Foreign(foreign) => foreign.ptr(),
        }
    }
}

#[repr(align(16))]
struct Inline(UnsafeCell<MaybeUninit<[u8; INLINE]>>);

enum Data {
    Inline(Inline),
    Heap(Option<Allocation>),
    Foreign(Foreign),
}

// SAFETY: the bytes are touched only under the block's lock or by a sole owner (see the module's documentation).
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// Memory from the global allocator, freed on drop.
pub(crate) struct Allocation {
    ptr: NonNull<u8>,
    size: usize,
}

// SAFETY: an allocation is plain memory that belongs to the value; nothing about it is tied to a thread.
unsafe impl Send for Allocation {}

impl Allocation {
    /// Allocates `size` bytes, zeroed or not; `None` for no bytes at all and for more than there are.
    pub(crate) fn new(size: usize, zeroed: bool) -> Option<Self> {
        let memory = Memory::from_size_align(size, ALIGN).ok().filter(|_| size > 0)?;
        // SAFETY: `size` is not 0.
        let ptr = unsafe { if zeroed { alloc_zeroed(memory) } else { alloc(memory) } };
        NonNull::new(ptr).map(|ptr| Self { ptr, size })
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Sets all bytes to 0.
    pub(crate) fn zero(&mut self) {
        // SAFETY: `ptr` is valid for `size` bytes, which belong to this value alone.
        unsafe { self.ptr.as_ptr().write_bytes(0, self.size) }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from `alloc` with this same layout, which was valid then, and is freed once.
        unsafe { dealloc(self.ptr.as_ptr(), Memory::from_size_align_unchecked(self.size, ALIGN)) }
    }
}

impl Storage {
    /// Memory for `len` bytes, all zero. An error that names the operation if there is not that much.
    pub(crate) fn try_zeroed(op: &str, len: usize) -> Result<Self> {
        if len <= INLINE {
            return Ok(Self::inline(len, MaybeUninit::zeroed()));
        }
        Self::heap(op, len, memory::take_zeroed(len))
    }

    /// Memory for `len` bytes of any value, from the cache where it has some; an error as for [`Storage::try_zeroed`].
    ///
    /// The bytes may be uninitialised: the caller must write all of them before anything reads one.
    #[inline]
    pub(crate) fn uninit(op: &str, len: usize) -> Result<Self> {
        if len <= INLINE {
            return Ok(Self::inline(len, MaybeUninit::uninit()));
        }
        Self::heap(op, len, memory::take(len))
    }

    #[inline]
    fn inline(len: usize, bytes: MaybeUninit<[u8; INLINE]>) -> Self {
        let room = Counted::room();
        Self::block(room, len, Data::Inline(Inline(UnsafeCell::new(bytes))))
    }

    fn heap(op: &str, len: usize, allocation: Option<Allocation>) -> Result<Self> {
        match allocation {
            Some(_) => Ok(Self::block(Counted::room(), len, Data::Heap(allocation))),
            None => Err(Error::argument(format!("{op}: cannot allocate {len} bytes"))),
        }
    }

    #[inline(always)]
    fn block(room: Box<MaybeUninit<Counter<Block>>>, len: usize, data: Data) -> Self {
        Self(Counted::new(room, Block { lock: RwLock::new(()), version: AtomicU32::new(0), len, data }))
    }

    /// Size in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// How often the storage was written to.
    #[inline]
    pub(crate) fn version(&self) -> u32 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Whether both are one storage.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }

    /// An address that identifies the storage while it lives.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.0.id()
    }

    /// Whether this handle is the only one.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.0.is_unique()
    }

    /// The address of the first byte. Dereferencing it needs a guard or sole ownership.
    #[inline]
    pub(crate) fn ptr(&self) -> *mut u8 {
        self.0.ptr()
    }

    /// Locks for reading.
    #[inline]
    pub(crate) fn read(&self, op: &str) -> Result<ReadGuard<'_>> {
        match self.0.lock.try_read() {
            Ok(guard) => Ok(ReadGuard { _guard: guard }),
            Err(_) => self.wait_to_read(op),
        }
    }

    #[cold]
    fn wait_to_read(&self, op: &str) -> Result<ReadGuard<'_>> {
        wait(op, "reading", || self.0.lock.try_read().map_err(drop_guard))
            .map(|guard| ReadGuard { _guard: guard })
    }

    /// Locks for writing.
    #[inline]
    pub(crate) fn write(&self, op: &str) -> Result<WriteGuard<'_>> {
        let guard = match self.0.lock.try_write() {
            Ok(guard) => guard,
            Err(_) => self.wait_to_write(op)?,
        };
        Ok(WriteGuard { block: &self.0, _guard: guard })
    }

    #[cold]
    fn wait_to_write(&self, op: &str) -> Result<RwLockWriteGuard<'_, ()>> {
        wait(op, "writing", || self.0.lock.try_write().map_err(drop_guard))
    }

    /// All bytes of a storage made by [`Storage::try_zeroed`] that nobody else holds yet.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        // First, because it ends every borrow of the block that an address was taken from.
        self.0.get_mut()?;
        // SAFETY: this is the only handle, borrowed exclusively, and the bytes are initialised.
        Some(unsafe { std::slice::from_raw_parts_mut(self.ptr(), self.len()) })
    }

    /// A new storage with a copy of these bytes, changed by `edit` before anybody else sees them.
    pub(crate) fn from_bytes(op: &str, bytes: &[u8], edit: impl FnOnce(&mut [u8])) -> Result<Self> {
        let storage = Self::uninit(op, bytes.len())?;
        // SAFETY: the storage is new, so nobody else reads or writes it; it holds `bytes.len()` bytes, which are written
        // before the slice of them is made, and cannot overlap a live slice.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), storage.ptr(), bytes.len());
            edit(std::slice::from_raw_parts_mut(storage.ptr(), bytes.len()));
        }
        Ok(storage)
    }

    /// A new storage with the elements of a slice, byte for byte.
    pub(crate) fn from_elements<T: super::dtype::Element>(op: &str, elements: &[T]) -> Result<Self> {
        // SAFETY: every `Element` is a plain number or `bool` without padding; any of its bytes may be read.
        let bytes =
            unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), std::mem::size_of_val(elements)) };
        Self::from_bytes(op, bytes, |_| {})
    }

    /// Calls `f` with the elements `start..start + n` of type `T`, under a read lock.
    pub(crate) fn with_elements<T: super::dtype::Element, R>(
        &self,
        op: &str,
        start: usize,
        n: usize,
        f: impl FnOnce(&[T]) -> R,
    ) -> Result<R> {
        // An empty view may start past the end.
        let start = if n == 0 { 0 } else { start };
        let end = (start + n) * size_of::<T>();
        assert!(end <= self.len(), "a layout stays within its storage");
        let _guard = self.read(op)?;
        // SAFETY: in bounds (checked above), aligned (allocations are 16-byte aligned at least, checked by their maker,
        // foreign memory is as its elements need, no view under another dtype has larger ones, and offsets count whole
        // elements), initialised, and not written to while the guard lives. Tensors of dtype bool hold only 0 and 1: every writer stores bools through `Elem::Bool`.
        let elements = unsafe { std::slice::from_raw_parts(self.ptr().cast::<T>().add(start), n) };
        Ok(f(elements))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Data::Heap(allocation) = &mut self.data
            && let Some(allocation) = allocation.take()
        {
            memory::give(allocation);
        }
    }
}

/// Permission to read a storage.
pub(crate) struct ReadGuard<'a> {
    _guard: RwLockReadGuard<'a, ()>,
}

/// Permission to write a storage; its end counts the version up.
pub(crate) struct WriteGuard<'a> {
    block: &'a Block,
    _guard: RwLockWriteGuard<'a, ()>,
}

impl WriteGuard<'_> {
    /// All bytes of a storage that [takes any](Storage::takes_any_bytes), whose tensors are of this dtype.
    pub(crate) fn bytes_mut(&mut self, dtype: DType) -> &mut [u8] {
        assert!(self.block.takes_any_bytes(dtype), "the caller asked");
        // SAFETY: the memory was allocated for this storage, so whoever else has its address has the storage too, which is
        // locked until the borrow of the guard ends; a storage that others can lock was initialised by its maker.
        unsafe { std::slice::from_raw_parts_mut(self.block.ptr(), self.block.len) }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.block.version.fetch_add(1, Ordering::Release);
    }
}

/// A poisoned lock guards no data of its own, so its guard serves as well as any.
fn drop_guard<G>(error: TryLockError<G>) -> Option<G> {
    match error {
        TryLockError::Poisoned(guard) => Some(guard.into_inner()),
        TryLockError::WouldBlock => None,
    }
}

#[cold]
fn wait<G>(op: &str, what: &str, mut lock: impl FnMut() -> std::result::Result<G, Option<G>>) -> Result<G> {
    let (start, patience) = (Instant::now(), memory::patience());
    let mut pause = Duration::from_micros(1);
    loop {
        match lock() {
            Ok(guard) | Err(Some(guard)) => return Ok(guard),
            Err(None) => {}
        }
        if start.elapsed() > patience {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "{op}: another thread has held the tensor's storage for {patience:?}; {what} it would race"
                ),
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(1));
    }
}
