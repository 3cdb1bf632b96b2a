//! What a tensor knows of its history: the trait that autograd implements.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use smallvec::SmallVec;

use super::storage::CountedNode;
use super::{DType, Dims, Extra, Tensor};
use crate::Result;

/// One gradient per input, `None` where none is wanted or exists.
pub type Grads = SmallVec<[Option<Tensor>; 3]>;

impl Edge {
    /// Whether a gradient goes anywhere.
    #[inline]
    pub(crate) fn leads_on(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The shape of what is there, if something is.
    pub(crate) fn shape(&self) -> Option<&[usize]> {
        match self {
            Self::None => None,
            Self::Leaf(leaf) => Some(leaf.shape()),
            Self::Node(node, output) => Some(&node.outputs()[*output as usize].shape),
        }
    }
}

/// Inputs that most operations have, at most.
pub(crate) const EDGES: usize = 3;

/// Where the gradients of a node's inputs go.
pub(crate) type Edges = SmallVec<[Edge; EDGES]>;

/// Shape and dtype of an output of a node: what its gradient must look like.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) shape: Dims,
    pub(crate) dtype: DType,
}

/// Where a gradient goes.
#[derive(Clone)]
pub(crate) enum Edge {
    /// Nowhere: the input wants none.
    None,
    /// Into the `.grad` of a leaf.
    Leaf(Tensor),
    /// To the node that made the input, as the gradient of its output of that number.
    Node(NodeRef, u32),
}

/// A recorded operation.
pub(crate) trait Node: Send + Sync {
    /// The operation's name, as in error messages.
    fn name(&self) -> &'static str;

    /// What each output looks like.
    fn outputs(&self) -> &[Meta];

    /// Where the gradient of each input goes.
    fn edges(&self) -> &[Edge];

    /// The gradients of the inputs that are needed, given those of the outputs.
    fn backward(&self, this: &NodeRef, grads: &[Option<Tensor>], needs: &[bool]) -> Result<Grads>;

    /// What the operation makes of other inputs, without recording it.
    fn replay(&self, inputs: &[&Tensor]) -> Result<Tensor>;

    /// An input that was saved for backward.
    fn saved(&self, i: usize) -> Option<Tensor>;

    /// How many multiplications, each with its addition, it takes, if it is a product.
    fn mult_adds(&self) -> Option<u64>;

    /// Frees what was saved for backward.
    fn release(&self);

    /// Hooks on the gradient of an output, in the order of registration.
    fn hooks(&self) -> &super::hooks::Hooks;

    /// Where the operation was called, if it was recorded in anomaly mode.
    fn calls(&self) -> Option<&Arc<super::calls::Calls>>;
}

/// A shared node. Dropping the last handle to a long chain does not recurse: nodes queue up and go one by one.
#[derive(Clone)]
pub(crate) struct NodeRef(Option<CountedNode>);

impl NodeRef {
    /// Refers to the node that a function makes.
    #[inline(always)]
    pub(crate) fn new<N: Node + 'static>(make: impl FnOnce() -> N) -> Self {
        Self(Some(CountedNode::new(make)))
    }

    pub(crate) fn id(&self) -> usize {
        self.0.as_ref().map_or(0, CountedNode::id)
    }
}

impl std::ops::Deref for NodeRef {
    type Target = dyn Node;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().expect("only `drop` takes the node")
    }
}

/// What is dropped from a queue: whatever would otherwise let a long chain of tensors recurse.
#[derive(Default)]
pub(crate) struct Garbage {
    /// A node, and with it the tensors that it saved and the nodes before it.
    pub(crate) _node: Option<CountedNode>,
    /// The gradient of a tensor, which may have one as well.
    pub(crate) _grad: Option<Tensor>,
    /// The hooks of a tensor, which may hold others.
    pub(crate) _extra: Option<Box<Extra>>,
}

thread_local! {
    /// Whether a drop is under way on this thread.
    static DROPPING: Cell<bool> = const { Cell::new(false) };

    /// What waits to be dropped meanwhile.
    ///
    /// Has no destructor of its own, so that it still serves the graphs in a thread's other thread-local values when
    /// those are dropped at the end of the thread.
    static QUEUE: RefCell<ManuallyDrop<Vec<Garbage>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// Ends a drop: what is left if a destructor panicked is dropped by queues of its own.
struct Close;

impl Drop for Close {
    fn drop(&mut self) {
        DROPPING.set(false);
        let left =
            QUEUE.with_borrow_mut(|queue| (queue.capacity() > 0).then(|| std::mem::take(&mut **queue)));
        drop(left);
    }
}

impl Garbage {
    /// Drops this now, or later if such a drop is under way; one by one, however long the chain.
    pub(crate) fn discard(self) {
        if DROPPING.get() {
            return QUEUE.with_borrow_mut(|queue| queue.push(self));
        }
        DROPPING.set(true);
        let _close = Close;
        drop(self);
        // The queue is borrowed only to pop, because what is dropped queues more.
        while let Some(next) = QUEUE.with_borrow_mut(|queue| queue.pop()) {
            drop(next);
        }
    }
}

impl Drop for NodeRef {
    fn drop(&mut self) {
        let Some(node) = self.0.take() else { return };
        if node.is_unique() {
            Garbage { _node: Some(node), ..Garbage::default() }.discard();
        }
    }
}
