//! In-place operations: what they may change, and how history is rebuilt after them.
//!
//! The only file that knows. The rules are PyTorch's (Note [View + Inplace update] in `variable.h`):
//!
//! - A leaf that requires grad, or a view of one, may be changed only while nothing is recorded.
//! - Changing a tensor puts a new node in place of the one that made it; that node's first input is the old history.
//! - Changing a view puts a [`CopySlices`] node on its *base*, which sends the gradient of the changed part through the
//!   operation and that of the rest past it. The view then is a view of the changed base.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::history;
use super::mode::{is_grad_enabled, no_grad};
use super::op::{Op, OpNode, Saved, Saves, check_recordable, edges};
use crate::ops::view::{AsStrided, Geometry};
use crate::tensor::calls::Calls;
use crate::tensor::hooks::Hooks;
use crate::tensor::node::{Edge, Grads, Meta, Node, NodeRef};
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// Runs an operation and writes its output over the first input.
///
/// # Errors
///
/// As the operation's; if the output does not fit the target; if the target may not be changed while recording.
pub fn apply_inplace<O: Op>(op: O, target: &Tensor, others: &[&Tensor]) -> Result<()> {
    let mut inputs: SmallVec<[&Tensor; 4]> = SmallVec::new();
    inputs.push(target);
    inputs.extend_from_slice(others);
    check_target(op.name(), target)?;
    if !is_grad_enabled() || !inputs.iter().any(|t| t.requires_grad()) {
        return op.cpu_into(&inputs, target);
    }
    check_recordable(&op, &inputs)?;
    check_tracked_target(op.name(), target)?;

    let edges = edges(&inputs);
    // A saved input that is about to be overwritten is saved as a copy.
    let needs: SmallVec<[bool; 4]> = edges.iter().map(|e| !matches!(e, Edge::None)).collect();
    let saves = op.saves(&needs);
    let mut copies: SmallVec<[Option<Tensor>; 4]> = SmallVec::new();
    for (i, t) in inputs.iter().enumerate() {
        let overwritten = saves.names(i) && t.shares_storage(target);
        copies.push(if overwritten { Some(copy_with_history(t, &edges[i])?) } else { None });
    }
    no_grad(|| op.cpu_into(&inputs, target))?;

    let saved: SmallVec<[&Tensor; 4]> =
        inputs.iter().zip(&copies).map(|(t, copy)| copy.as_ref().unwrap_or(t)).collect();
    let node = OpNode::new(op, edges, &saved, target);
    rebase(target, node);
    Ok(())
}

/// A copy of a tensor's present values that leads back to its present history.
fn copy_with_history(tensor: &Tensor, edge: &Edge) -> Result<Tensor> {
    let mut copy = no_grad(|| tensor.detach().copy())?;
    match edge {
        Edge::None => {}
        Edge::Node(node, output) => history::set_node(&mut copy, node.clone(), *output),
        Edge::Leaf(_) => {
            let edges = std::iter::once(edge.clone()).collect();
            let node = NodeRef::new(|| OpNode::new(Same, edges, &[], &copy));
            history::set_node(&mut copy, node, 0);
        }
    }
    Ok(copy)
}

/// The input itself: between a leaf and a copy that stands for it.
#[derive(Debug)]
struct Same;

impl Op for Same {
    fn name(&self) -> &'static str {
        "clone"
    }

    fn cpu(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].detach().copy()
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok(smallvec![Some(grad.clone())])
    }
}

/// Makes `node`, whose first input was the target's old history, the target's history.
fn rebase<O: Op>(target: &Tensor, node: OpNode<O>) {
    match target.base() {
        None => history::replace_node(target, NodeRef::new(|| node), 0),
        Some(base) => {
            history::replace_node(base, NodeRef::new(|| CopySlices::new(node, target, base)), 0);
            // Stale now, so that the next use sees the base's new history.
            let _ = history::edge(target);
        }
    }
}

fn check_target(op: &str, target: &Tensor) -> Result<()> {
    if target.layout().overlaps_itself() {
        return Err(Error::argument(format!(
            "{op}_: the target of shape {:?} and strides {:?} refers to one element more than once; clone it first",
            target.shape(),
            target.strides()
        )));
    }
    Ok(())
}

fn check_tracked_target(op: &str, target: &Tensor) -> Result<()> {
    let is_leaf_that_requires_grad = |t: &Tensor| t.is_leaf() && t.requires_grad();
    if is_leaf_that_requires_grad(target) {
        return Err(Error::autograd(format!(
            "{op}_: {} is a leaf that requires grad: change it under no_grad",
            target.describe()
        )));
    }
    // A view may also require grad of its own, over a base that does not.
    if let Some(base) = target.base()
        && (is_leaf_that_requires_grad(base) || (target.requires_grad() && base.is_leaf()))
    {
        return Err(Error::autograd(format!(
            "{op}_: the target is a view of {}, a leaf that requires grad: change it under no_grad",
            base.describe()
        )));
    }
    if history::no_grad_version(target).is_some() {
        return Err(Error::autograd(format!(
            "{op}_: the target is a view that was made under no_grad; clone it first"
        )));
    }
    if !target.dtype().is_floating_point() {
        return Err(Error::autograd(format!(
            "{op}_: a {} tensor cannot take the result of inputs that require grad",
            target.dtype()
        )));
    }
    Ok(())
}

/// The history of a base of which a view was changed in place.
struct CopySlices {
    /// The operation that changed the view; its first edge was the view's old history.
    inner: NodeRef,
    view: Geometry,
    outputs: [Meta; 1],
    /// The base's old history, then the operation's other inputs.
    edges: SmallVec<[Edge; 3]>,
    hooks: Hooks,
}

impl CopySlices {
    fn new<O: Op>(inner: OpNode<O>, view: &Tensor, base: &Tensor) -> Self {
        let mut edges: SmallVec<[Edge; 3]> = inner.edges().iter().cloned().collect();
        edges[0] = history::edge(base);
        Self {
            inner: NodeRef::new(|| inner),
            view: Geometry::of(view, base),
            outputs: [Meta { shape: Dims::from_slice(base.shape()), dtype: base.dtype() }],
            edges,
            hooks: Hooks::default(),
        }
    }
}

impl Node for CopySlices {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn outputs(&self) -> &[Meta] {
        &self.outputs
    }

    fn edges(&self) -> &[Edge] {
        &self.edges
    }

    fn backward(&self, _this: &NodeRef, grads: &[Option<Tensor>], needs: &[bool]) -> Result<Grads> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None; self.edges.len()]) };
        let slice = AsStrided::gradient_of_view(grad, &self.view)?;
        let mut grads = self.inner.backward(&self.inner, &[Some(slice.clone())], needs)?;
        if needs[0] {
            let part = match grads[0].take() {
                Some(part) => {
                    let part =
                        if part.shape() == slice.shape() { part } else { part.sum_to_size(slice.shape())? };
                    part.to(grad.dtype())?
                }
                None => slice.zeros_like()?,
            };
            grads[0] = Some(AsStrided::scatter(grad, &part, &self.view)?);
        }
        Ok(grads)
    }

    fn replay(&self, _: &[&Tensor]) -> Result<Tensor> {
        Err(Error::unsupported(format!("{}: an in-place change of a view cannot be replayed", self.name())))
    }

    fn saved(&self, _: usize) -> Option<Tensor> {
        None
    }

    fn mult_adds(&self) -> Option<u64> {
        self.inner.mult_adds()
    }

    fn release(&self) {
        self.inner.release();
    }

    fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    fn calls(&self) -> Option<&Arc<Calls>> {
        self.inner.calls()
    }
}
