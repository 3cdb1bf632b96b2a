//! The trait of every operation, and how one is recorded.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use smallvec::{SmallVec, smallvec};

use super::checkpoint::Store;
use super::mode::{is_grad_enabled, is_observed, no_grad};
use super::{anomaly, history};
use crate::tensor::calls::Calls;
use crate::tensor::dtype::Category;
use crate::tensor::hooks::Hooks;
use crate::tensor::node::{EDGES, Edge, Edges, Meta, Node, NodeRef};
use crate::tensor::{Dims, Tensor, lock};
use crate::{Context, Error, Result};

pub use crate::tensor::node::Grads;

/// Which tensors a backward reads: bits 0 to 30 stand for the inputs, one more for the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saves(u32);

impl Saves {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The output.
    pub const OUTPUT: Self = Self(1 << 31);
    /// All inputs.
    pub const INPUTS: Self = Self(!(1 << 31));

    /// All inputs and the output.
    pub const BOTH: Self = Self(u32::MAX);

    /// One input; those from the thirtieth on go together.
    pub const fn input(i: usize) -> Self {
        Self(1 << if i < 30 { i } else { 30 })
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This if a condition holds, otherwise nothing.
    #[must_use]
    pub const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    /// Whether input `i` is read.
    pub(crate) fn names(self, i: usize) -> bool {
        self.0 & Self::input(i).0 != 0
    }

    /// Whether any input is read.
    pub(crate) const fn inputs(self) -> bool {
        self.0 & Self::INPUTS.0 != 0
    }

    /// Whether the output is read.
    pub(crate) const fn output(self) -> bool {
        self.0 & Self::OUTPUT.0 != 0
    }
}

/// An operation on tensors, built-in or a user's: the value holds its settings.
///
/// [`apply`] runs it and, where an input requires grad, records it.
///
/// ```
/// use sconce::autograd::{self, Grads, Op, Saved, Saves};
/// use sconce::{Result, Tensor};
///
/// /// x² with its derivative.
/// #[derive(Debug)]
/// struct Square;
///
/// impl Op for Square {
///     fn name(&self) -> &'static str {
///         "square"
///     }
///     fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
///         x[0].mul(x[0])
///     }
///     fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
///         Ok([Some(grad.mul(&saved.input(0)?)?.mul(2.0)?)].into_iter().collect())
///     }
/// }
///
/// let x = Tensor::scalar(3.0f32).requires_grad_(true)?;
/// autograd::apply(Square, &[&x])?.backward()?;
/// assert_eq!(x.grad().unwrap().item()?, 6.0);
/// # Ok::<(), sconce::Error>(())
/// ```
pub trait Op: Debug + Send + Sync + 'static {
    /// The name for messages: PyTorch's.
    fn name(&self) -> &'static str;

    /// Computes the output. Nothing in here is recorded.
    ///
    /// An output that shares its memory with an input, or with a tensor that the operation keeps, is copied: only the
    /// library's own views can tell autograd what an in-place change of one means for the other.
    ///
    /// # Errors
    ///
    /// Whatever does not fit, named with the shapes or dtypes found.
    fn cpu(&self, inputs: &[&Tensor]) -> Result<Tensor>;

    /// Computes the output into existing memory, for the in-place form. `out` may be the first input.
    ///
    /// # Errors
    ///
    /// As [`cpu`](Self::cpu), and if the output's shape or dtype does not fit `out`.
    fn cpu_into(&self, inputs: &[&Tensor], out: &Tensor) -> Result<()> {
        let result = self.cpu(inputs)?;
        no_grad(|| out.copy_(&result)).context(|| self.name())
    }

    /// What [`backward`](Self::backward) reads, given which inputs need a gradient.
    fn saves(&self, _needs: &[bool]) -> Saves {
        Saves::INPUTS
    }

    /// Whether there is a derivative. If not, an input that requires grad is refused when the operation is called.
    fn differentiable(&self) -> bool {
        true
    }

    /// How many multiplications, each with its addition, the operation takes if it is a product of matrices or a
    /// convolution, given the shapes of its inputs and its output; `None` if it is neither, or cannot tell. An input's
    /// shape is known if it needs a gradient or [`saves`](Self::saves) names it. What
    /// [`summary_of`](crate::nn::ModuleExt::summary_of) counts.
    fn mult_adds(&self, _inputs: &[Option<Dims>], _output: &[usize]) -> Option<u64> {
        None
    }

    /// The gradient of each input, given that of the output.
    ///
    /// It may have a shape that broadcasting led to, or a promoted dtype: it is summed and converted to the input's.
    /// With `create_graph` what happens in here is recorded.
    ///
    /// # Errors
    ///
    /// If a saved tensor was modified in place, or an operation fails.
    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads>;
}

/// What [`Op::backward`] gets beside the gradient.
pub struct Saved<'a> {
    name: &'static str,
    kept: Option<Kept>,
    edges: &'a [Edge],
    this: &'a NodeRef,
    needs: &'a [bool],
}

/// The tensors that a node keeps for backward, with their versions when they were saved.
#[derive(Clone, Default)]
pub(super) struct Kept {
    pub(super) inputs: SmallVec<[Option<(Tensor, u32)>; 3]>,
    pub(super) output: Option<(Tensor, u32)>,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.output.is_none() && self.inputs.iter().all(Option::is_none)
    }
}

impl Saved<'_> {
    /// An input that [`Op::saves`] named.
    ///
    /// # Errors
    ///
    /// If it was modified in place since, was freed by an earlier backward, or was not saved.
    pub fn input(&self, i: usize) -> Result<Tensor> {
        let kept = self.kept()?;
        let Some((tensor, version)) = kept.inputs.get(i).and_then(Option::as_ref) else {
            return Err(Error::autograd(format!("{}: input {i} was not saved for backward", self.name)));
        };
        self.check(tensor, *version, &format!("input {i}"))?;
        Ok(tensor.clone())
    }

    /// The output, with its history.
    ///
    /// # Errors
    ///
    /// As [`input`](Self::input).
    pub fn output(&self) -> Result<Tensor> {
        let kept = self.kept()?;
        let Some((tensor, version)) = &kept.output else {
            return Err(Error::autograd(format!("{}: the output was not saved for backward", self.name)));
        };
        self.check(tensor, *version, "output")?;
        // Kept without its history, which would be a cycle; a fresh alias gets it back.
        let mut alias = tensor.alias(tensor.layout().clone(), tensor.dtype());
        history::set_node(&mut alias, self.this.clone(), 0);
        Ok(alias)
    }

    /// Whether input `i` needs a gradient.
    pub fn needs(&self, i: usize) -> bool {
        self.needs.get(i).copied().unwrap_or(false)
    }

    /// How many inputs there were.
    pub(crate) fn inputs(&self) -> usize {
        self.edges.len()
    }

    /// The shape of an input that needs a gradient.
    ///
    /// # Errors
    ///
    /// If input `i` needs none.
    pub fn shape(&self, i: usize) -> Result<Dims> {
        let shape = self.edges.get(i).and_then(Edge::shape).map(Dims::from);
        shape.ok_or_else(|| Error::autograd(format!("{}: input {i} needs no gradient", self.name)))
    }

    /// A gradient that is the same for all inputs near these, as a function of them: differentiating it again gives 0
    /// instead of an error, as in PyTorch where a backward formula reads the inputs.
    pub(crate) fn piecewise_constant(&self, gradient: Tensor) -> Tensor {
        if !is_grad_enabled() {
            return gradient;
        }
        let first = std::iter::once(history::edge(&gradient));
        let mut out = gradient.alias(gradient.layout().clone(), gradient.dtype());
        let edges = first.chain(self.edges.iter().cloned()).collect();
        let node = NodeRef::new(|| OpNode::new(PiecewiseConstant, edges, &[], &out));
        history::set_node(&mut out, node, 0);
        out
    }

    fn kept(&self) -> Result<&Kept> {
        self.kept.as_ref().ok_or_else(|| {
            Error::autograd(format!(
                "{}: backward through the same graph a second time: its saved tensors were freed; \
                 the first one needs retain_graph",
                self.name
            ))
        })
    }

    fn check(&self, tensor: &Tensor, saved: u32, which: &str) -> Result<()> {
        let now = tensor.version();
        if now == saved {
            return Ok(());
        }
        Err(Error::autograd(format!(
            "{}: its {which} {} was saved for backward at version {saved} and is now at version {now}: \
             something modified it in place",
            self.name,
            tensor.describe(),
        )))
    }
}

/// The first input, whatever the others.
#[derive(Debug)]
struct PiecewiseConstant;

impl Op for PiecewiseConstant {
    fn name(&self) -> &'static str {
        "piecewise_constant"
    }

    fn cpu(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].detach().copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let zeros = (1..saved.edges.len()).map(|i| {
            if !saved.needs(i) {
                return Ok(None);
            }
            Tensor::zeros(saved.shape(i)?.as_slice(), grad.dtype()).map(Some)
        });
        std::iter::once(Ok(saved.needs(0).then(|| grad.clone()))).chain(zeros).collect()
    }
}

/// Runs an operation and records it if an input requires grad.
///
/// # Errors
///
/// As the operation's; also if an input requires grad and the operation has no derivative.
#[inline]
pub fn apply<O: Op>(op: O, inputs: &[&Tensor]) -> Result<Tensor> {
    if !is_grad_enabled() || !inputs.iter().any(|t| t.requires_grad()) {
        return own(op.cpu(inputs)?);
    }
    check_recordable(&op, inputs)?;
    let mut out = own(no_grad(|| op.cpu(inputs))?)?;
    if out.dtype().category() >= Category::Float {
        let node = NodeRef::new(|| OpNode::new(op, edges(inputs), inputs, &out));
        history::set_node(&mut out, node, 0);
    }
    Ok(out)
}

/// Where the gradients of inputs go.
#[inline]
pub(super) fn edges(inputs: &[&Tensor]) -> Edges {
    let mut first = [const { Edge::None }; EDGES];
    if inputs.len() > EDGES {
        return inputs.iter().map(|t| history::edge(t)).collect();
    }
    for (edge, t) in first.iter_mut().zip(inputs) {
        *edge = history::edge(t);
    }
    Edges::from_buf_and_len(first, inputs.len())
}

/// An operation's output as a tensor of its own: not a view, and on memory that nobody else holds.
#[inline]
fn own(out: Tensor) -> Result<Tensor> {
    if out.base().is_none() && out.is_unique() { Ok(out) } else { own_copy(out) }
}

#[cold]
fn own_copy(mut out: Tensor) -> Result<Tensor> {
    if out.base().is_some() {
        out = out.alias(out.layout().clone(), out.dtype());
    }
    if out.is_unique() { Ok(out) } else { no_grad(|| out.copy()) }
}

/// Refuses inputs whose history is unclear, and those that require grad if the operation has no derivative.
pub(crate) fn check_recordable<O: Op>(op: &O, inputs: &[&Tensor]) -> Result<()> {
    inputs.iter().try_for_each(|t| history::check_view(op.name(), t))?;
    check_differentiable(op, inputs)
}

/// Refuses an input that requires grad if the operation has no derivative.
fn check_differentiable<O: Op>(op: &O, inputs: &[&Tensor]) -> Result<()> {
    if op.differentiable() {
        return Ok(());
    }
    match inputs.iter().position(|t| t.requires_grad()) {
        Some(i) if is_grad_enabled() => Err(Error::autograd(format!(
            "{}: has no derivative, but its input {i} {} requires grad: detach it, or call this under no_grad",
            op.name(),
            inputs[i].describe()
        ))),
        _ => Ok(()),
    }
}

/// A recorded [`Op`].
pub(crate) struct OpNode<O> {
    op: O,
    outputs: [Meta; 1],
    edges: Edges,
    store: Mutex<Store>,
    hooks: Hooks,
    calls: Option<Arc<Calls>>,
}

impl<O: Op> OpNode<O> {
    /// Saves what the operation asks for. `inputs` are what it computed from, `edges` where their gradients go.
    #[inline(always)]
    pub(crate) fn new(op: O, edges: Edges, inputs: &[&Tensor], out: &Tensor) -> Self {
        let saves = if edges.len() <= EDGES {
            let mut needs = [false; EDGES];
            for (need, edge) in needs.iter_mut().zip(&edges) {
                *need = edge.leads_on();
            }
            op.saves(&needs[..edges.len()])
        } else {
            op.saves(&edges.iter().map(Edge::leads_on).collect::<Vec<_>>())
        };
        let mut kept = Kept::default();
        if saves.inputs() {
            for (i, (t, edge)) in inputs.iter().zip(&edges).enumerate() {
                kept.inputs.push(saves.names(i).then(|| (without_base(t, edge), t.version())));
            }
        }
        if saves.output() {
            let alias = out.alias(out.layout().clone(), out.dtype());
            let version = alias.version();
            kept.output = Some((alias, version));
        }
        let outputs = [Meta { shape: Dims::from_slice(out.shape()), dtype: out.dtype() }];
        let store = Mutex::new(Store::new(op.name(), kept, &edges));
        let calls = if is_observed() { anomaly::calls() } else { None };
        Self { op, outputs, edges, store, hooks: Hooks::default(), calls }
    }
}

/// A tensor to save: a view without its base, whose history may come to include the node that saves it.
fn without_base(tensor: &Tensor, edge: &Edge) -> Tensor {
    if tensor.base().is_none() || matches!(edge, Edge::Leaf(_)) {
        return tensor.clone();
    }
    let mut alias = tensor.alias(tensor.layout().clone(), tensor.dtype());
    if let Edge::Node(node, output) = edge {
        history::set_node(&mut alias, node.clone(), *output);
    }
    alias
}

impl<O: Op> Node for OpNode<O> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn outputs(&self) -> &[Meta] {
        &self.outputs
    }

    fn edges(&self) -> &[Edge] {
        &self.edges
    }

    fn backward(&self, this: &NodeRef, grads: &[Option<Tensor>], needs: &[bool]) -> Result<Grads> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None; self.edges.len()]) };
        // Copied out, because the operation may run another backward through this node.
        let store = lock(&self.store).clone();
        let kept = store.fetch(&self.edges)?;
        let saved = Saved { name: self.op.name(), kept, edges: &self.edges, this, needs };
        self.op.backward(&saved, grad)
    }

    fn replay(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        no_grad(|| self.op.cpu(inputs))
    }

    fn saved(&self, i: usize) -> Option<Tensor> {
        lock(&self.store).at_hand().and_then(|kept| Some(kept.inputs.get(i)?.as_ref()?.0.clone()))
    }

    fn mult_adds(&self) -> Option<u64> {
        let shape = |(i, edge): (usize, &Edge)| {
            edge.shape().map(Dims::from).or_else(|| self.saved(i).map(|input| Dims::from(input.shape())))
        };
        let inputs: Vec<Option<Dims>> = self.edges.iter().enumerate().map(shape).collect();
        self.op.mult_adds(&inputs, &self.outputs[0].shape)
    }

    fn release(&self) {
        let store = std::mem::replace(&mut *lock(&self.store), Store::Freed);
        drop(store);
    }

    fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    fn calls(&self) -> Option<&Arc<Calls>> {
        self.calls.as_ref()
    }
}
