//! The tensor: a strided view of shared memory, with its gradient and its history.

pub(crate) mod calls;
pub(crate) mod convert;
mod dims;
mod display;
pub mod dlpack;
pub(crate) mod dtype;
mod free;
pub(crate) mod hooks;
pub(crate) mod layout;
pub mod memory;
pub(crate) mod node;
pub(crate) mod promote;
pub(crate) mod scalar;
#[cfg(feature = "serde")]
mod serialize;
pub(crate) mod sizes;
pub(crate) mod storage;

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::LocalKey;

pub use self::dims::Dims;
use self::dims::INLINE;
pub use self::display::PrintOptions;
pub(crate) use self::dtype::DType;
use self::free::FreeList;
use self::hooks::{HookHandle, Hooks};
use self::layout::Layout;
use self::node::{Garbage, NodeRef};
use self::storage::{Counted, Counter, Pooled, Storage};
use crate::{Error, Result};

/// A multi-dimensional array with PyTorch's semantics.
///
/// A `Tensor` is a handle of one word: cloning it gives the same tensor, as assigning a Python name does. Views
/// ([`view`](Tensor::view), [`transpose`](Tensor::transpose), …) are other tensors on the same memory; what is written
/// through one is seen through all. Methods that end in `_` change the tensor in place through `&self`.
///
/// Tensors are `Send + Sync`. An operation locks the memory that it reads and writes while it runs; two threads that
/// keep writing and reading one tensor get [`ErrorKind::Busy`](crate::ErrorKind::Busy) rather than a data race or a
/// deadlock.
///
/// ```
/// use sconce::Tensor;
///
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?.requires_grad_(true)?;
/// let y = x.mul(&x)?.sum(())?;
/// y.backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(Counted<Inner>);

thread_local! {
    static TENSORS: FreeList<Counter<Inner>> = const { FreeList::new() };
}

impl Pooled for Inner {
    #[inline]
    fn free_list() -> &'static LocalKey<FreeList<Counter<Self>>> {
        &TENSORS
    }
}

struct Inner {
    storage: Storage,
    layout: Layout,
    dtype: DType,
    numel: usize,
    contiguous: bool,
    /// Whether a gradient flows to or through this tensor; the one thing that an operation asks first.
    tracked: AtomicBool,
    /// Whether an operation was recorded that made it, so that it is no leaf.
    made: AtomicBool,
    /// The tensor that this is a differentiable view of; never itself a view.
    base: Option<Tensor>,
    auto: Mutex<Auto>,
}

/// What autograd keeps on a tensor.
pub(crate) struct Auto {
    /// Who made it, and as which output.
    pub(crate) node: Option<(NodeRef, u32)>,
    pub(crate) grad: Option<Tensor>,
    /// Of a view: the storage's version when `node` was recorded.
    pub(crate) view_version: u32,
    /// Whether this is a view that was made under `no_grad`, or a view of one: it has no history to follow its base by.
    pub(crate) no_grad_view: bool,
    pub(crate) extra: Option<Box<Extra>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let auto = self.auto.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if auto.grad.is_some() || auto.extra.is_some() {
            let (_grad, _extra) = (auto.grad.take(), auto.extra.take());
            Garbage { _grad, _extra, ..Garbage::default() }.discard();
        }
    }
}

/// What few tensors have.
#[derive(Default)]
pub(crate) struct Extra {
    /// Hooks on the gradient of a leaf.
    pub(crate) hooks: Hooks,
    /// Hooks on a leaf whose `.grad` was added to.
    pub(crate) accumulated: Hooks,
    /// The path of a parameter in its model, for messages.
    pub(crate) label: Option<Arc<str>>,
    /// How a non-leaf keeps its gradient.
    pub(crate) retained: Option<Retained>,
    /// Whether a module now holds another tensor in place of this one.
    pub(crate) replaced: bool,
}

impl AsRef<Tensor> for Tensor {
    fn as_ref(&self) -> &Tensor {
        self
    }
}

/// The gradient of a non-leaf that keeps it, instead of [`Auto::grad`].
pub(crate) struct Retained {
    /// The hook on the node that made the tensor.
    pub(crate) hook: HookHandle,
    /// Where the hook puts the gradient, without holding on to the tensor.
    pub(crate) slot: GradSlot,
}

/// A gradient that a tensor shares with a hook.
pub(crate) type GradSlot = Arc<Mutex<Option<Tensor>>>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Tensor {
    /// A tensor over a storage; the caller vouches that the layout stays inside it.
    pub(crate) fn new(storage: Storage, layout: Layout, dtype: DType) -> Self {
        Self::with_base(storage, layout, dtype, None)
    }

    #[inline(always)]
    fn with_base(storage: Storage, layout: Layout, dtype: DType, base: Option<Tensor>) -> Self {
        let (numel, contiguous) = (layout.numel(), layout.is_contiguous());
        Self::make(Counted::room(), storage, layout, dtype, numel, contiguous, base)
    }

    /// A row-major tensor over memory that nobody else has. The caller must write every element before anything reads
    /// one.
    #[inline]
    pub(crate) fn fresh(op: &str, shape: &[usize], dtype: DType) -> Result<Self> {
        let numel = layout::checked_numel(shape)?;
        let storage = Storage::uninit(op, numel * dtype.size())?;
        if shape.len() > INLINE {
            return Ok(Self::new(storage, Layout::row_major(shape), dtype));
        }
        let room = Counted::room();
        Ok(Self::make(room, storage, Layout::row_major(shape), dtype, numel, true, None))
    }

    /// The same of the shape of a row-major tensor.
    #[inline(always)]
    pub(crate) fn fresh_like(op: &str, like: &Tensor, dtype: DType) -> Result<Self> {
        if like.dim() > INLINE {
            return Self::fresh(op, like.shape(), dtype);
        }
        let Inner { layout: Layout { shape, strides, .. }, numel, contiguous, .. } = &*like.0;
        debug_assert!(contiguous, "the caller has looked");
        let storage = Storage::uninit(op, numel * dtype.size())?;
        let room = Counted::room();
        let layout = Layout { shape: shape.copied(), strides: strides.copied(), offset: 0 };
        Ok(Self::make(room, storage, layout, dtype, *numel, true, None))
    }

    #[inline(always)]
    fn make(
        room: Box<MaybeUninit<Counter<Inner>>>,
        storage: Storage,
        layout: Layout,
        dtype: DType,
        numel: usize,
        contiguous: bool,
        base: Option<Tensor>,
    ) -> Self {
        debug_assert!(layout.end() * dtype.size() <= storage.len(), "a layout stays within its storage");
        let view_version = storage.version();
        let auto = Auto { node: None, grad: None, view_version, no_grad_view: false, extra: None };
        let inner = Inner {
            storage,
            layout,
            dtype,
            numel,
            contiguous,
            tracked: AtomicBool::new(false),
            made: AtomicBool::new(false),
            base,
            auto: Mutex::new(auto),
        };
        Self(Counted::new(room, inner))
    }

    /// Another layout of the same memory, known to autograd as a view of this tensor's base.
    #[inline]
    pub(crate) fn view_with(&self, layout: Layout) -> Self {
        let base = self.0.base.clone().unwrap_or_else(|| self.clone());
        Self::with_base(self.0.storage.clone(), layout, self.0.dtype, Some(base))
    }

    /// The same memory under another layout and dtype, unknown to autograd.
    pub(crate) fn alias(&self, layout: Layout, dtype: DType) -> Self {
        Self::new(self.0.storage.clone(), layout, dtype)
    }

    /// The size of each dimension.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// assert_eq!(Tensor::zeros([2, 3], DType::F32)?.shape(), [2, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.0.layout.shape
    }

    /// The size of one dimension; negative ones count from the end.
    ///
    /// # Errors
    ///
    /// If there is no such dimension.
    pub fn size(&self, dim: isize) -> Result<usize> {
        let rank = self.dim();
        if rank == 0 {
            return Err(Error::index(format!("size: dimension {dim} of a tensor without dimensions")));
        }
        Ok(self.shape()[layout::wrap_dim("size", dim, rank)?])
    }

    /// The number of dimensions; 0 for a scalar.
    #[inline]
    pub fn dim(&self) -> usize {
        self.0.layout.shape.len()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.0.numel
    }

    /// How many elements lie between neighbours in memory, per dimension.
    #[inline]
    pub fn strides(&self) -> &[usize] {
        &self.0.layout.strides
    }

    /// The position of the first element in the storage, in elements.
    #[inline]
    pub fn storage_offset(&self) -> usize {
        self.0.layout.offset
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Whether the elements lie in row-major order without gaps.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.0.contiguous
    }

    /// Whether both handles are one tensor: same memory, same view, same gradient.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::zeros([2], DType::F32)?;
    /// assert!(x.is(&x.clone()));
    /// assert!(!x.is(&x.view([2])?));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }

    /// Whether both tensors look at the same memory (at any part of it).
    #[inline]
    pub fn shares_storage(&self, other: &Self) -> bool {
        self.0.storage.is(&other.0.storage)
    }

    /// How often the memory was changed in place, through this tensor or any other on the same memory.
    ///
    /// PyTorch's `_version`.
    #[inline]
    pub fn version(&self) -> u32 {
        self.0.storage.version()
    }

    #[inline]
    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// An address that identifies the tensor while it lives.
    pub(crate) fn id(&self) -> usize {
        self.0.id()
    }

    /// Whether this handle is the only one, and the only one on its memory.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.0.is_unique() && self.0.storage.is_unique()
    }

    #[inline]
    pub(crate) fn base(&self) -> Option<&Tensor> {
        self.0.base.as_ref()
    }

    pub(crate) fn auto(&self) -> MutexGuard<'_, Auto> {
        lock(&self.0.auto)
    }

    /// The autograd state without a lock, where this handle is the only one.
    #[inline]
    pub(crate) fn auto_mut(&mut self) -> Option<&mut Auto> {
        self.0.get_mut().map(|inner| inner.auto.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    #[inline]
    pub(crate) fn tracked(&self) -> &AtomicBool {
        &self.0.tracked
    }

    /// Whether a node made it; set with [`Auto::node`], and after it.
    #[inline]
    pub(crate) fn made(&self) -> &AtomicBool {
        &self.0.made
    }

    /// Whether operations on this tensor are recorded for backward (in grad mode).
    ///
    /// True for leaves that were asked to ([`requires_grad_`](Tensor::requires_grad_)) and for everything computed
    /// from them.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        self.0.tracked.load(Ordering::Acquire)
            || self
                .0
                .base
                .as_ref()
                .is_some_and(|base| base.0.tracked.load(Ordering::Acquire) && self.follows_base())
    }

    /// Whether a view was overtaken by an in-place change of its base, and so shares the base's history.
    fn follows_base(&self) -> bool {
        self.auto().view_version != self.version()
    }

    /// The path of a parameter in its model, if the model was ever listed by name.
    pub(crate) fn label(&self) -> Option<Arc<str>> {
        self.auto().extra.as_ref().and_then(|e| e.label.clone())
    }

    /// Remembers the path of a parameter for messages; the first one stays, unless it is the end of a longer one.
    pub(crate) fn set_label(&self, path: &str) {
        let mut auto = self.auto();
        let extra = auto.extra.get_or_insert_default();
        let is_part = |label: &str| path.strip_suffix(label).is_some_and(|rest| rest.ends_with('.'));
        if extra.label.as_deref().is_none_or(is_part) {
            extra.label = Some(path.into());
        }
    }

    /// Remembers that a module now holds another tensor in place of this one.
    pub(crate) fn set_replaced(&self) {
        self.auto().extra.get_or_insert_default().replaced = true;
    }

    /// "`fc1.weight` [10, 4]" or "[10, 4]": how messages call this tensor.
    pub(crate) fn describe(&self) -> String {
        match self.label() {
            Some(path) => format!("`{path}` {:?}", self.shape()),
            None => format!("{:?}", self.shape()),
        }
    }
}
