//! From a tensor to the node that made it: leaves, results, and views that an in-place change overtook.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ops::view::AsStrided;
use crate::tensor::node::{Edge, NodeRef};
use crate::tensor::{GradSlot, Retained, Tensor, lock};

use super::op::OpNode;
use crate::{Error, Result};

/// Makes a fresh tensor the output of a node.
#[inline]
pub(crate) fn set_node(tensor: &mut Tensor, node: NodeRef, output: u32) {
    let version = tensor.version();
    match tensor.auto_mut() {
        Some(auto) => {
            auto.node = Some((node, output));
            auto.view_version = version;
        }
        None => return replace_node(tensor, node, output),
    }
    tensor.made().store(true, Ordering::Release);
    tensor.tracked().store(true, Ordering::Release);
}

/// Gives a tensor that others may hold another history.
pub(crate) fn replace_node(tensor: &Tensor, node: NodeRef, output: u32) {
    let version = tensor.version();
    let (old, retained) = {
        let mut auto = tensor.auto();
        auto.view_version = version;
        let retained = auto.extra.as_mut().and_then(|extra| {
            let moved = extra.retained.as_ref().map(|old| retain(old.slot.clone(), &node, output));
            std::mem::replace(&mut extra.retained, moved)
        });
        (auto.node.replace((node, output)), retained)
    };
    // Outside the lock: dropping a graph may drop other handles to this tensor.
    if let Some(Retained { hook, .. }) = retained {
        hook.remove();
    }
    drop(old);
    tensor.made().store(true, Ordering::Release);
    tensor.tracked().store(true, Ordering::Release);
}

/// Makes a tensor a leaf that does not require grad; it keeps the gradient that it has.
pub(crate) fn cut(tensor: &Tensor) {
    tensor.tracked().store(false, Ordering::Release);
    tensor.made().store(false, Ordering::Release);
    let (old, retained) = {
        let mut auto = tensor.auto();
        let retained = auto.extra.as_mut().and_then(|extra| extra.retained.take());
        if let Some(Retained { slot, .. }) = &retained {
            auto.grad = lock(slot).take();
        }
        (auto.node.take(), retained)
    };
    // Outside the lock: dropping a graph may drop other handles to this tensor.
    if let Some(Retained { hook, .. }) = retained {
        hook.remove();
    }
    drop(old);
}

/// Makes a result keep its gradient, as the node that makes it now passes it on.
pub(crate) fn retain(slot: GradSlot, node: &NodeRef, output: u32) -> Retained {
    let kept = slot.clone();
    let keep = move |grad: &Tensor| {
        let old = lock(&kept).clone();
        let new = match old {
            Some(sum) => sum.add(grad)?,
            None => grad.copy()?,
        };
        let old = lock(&kept).replace(new);
        drop(old);
        Ok(None)
    };
    Retained { hook: node.hooks().add_last(output, Arc::new(keep)), slot }
}

/// Where the gradient of a tensor goes.
#[inline]
pub(crate) fn edge(tensor: &Tensor) -> Edge {
    if let Some(base) = tensor.base() {
        refresh_view(tensor, base);
    }
    if !tensor.tracked().load(Ordering::Acquire) {
        return Edge::None;
    }
    if !tensor.made().load(Ordering::Acquire) {
        return Edge::Leaf(tensor.clone());
    }
    match &tensor.auto().node {
        Some((node, output)) => Edge::Node(node.clone(), *output),
        None => Edge::Leaf(tensor.clone()),
    }
}

/// Rebuilds the history of a view whose memory was changed since: it is now a view of the changed base.
///
/// PyTorch's Note [View + Inplace update for base tensor]. All views are strided views of one storage, so
/// `as_strided` of the base describes any of them.
fn refresh_view(view: &Tensor, base: &Tensor) {
    let version = view.version();
    let auto = view.auto();
    if auto.view_version == version || auto.no_grad_view || !base.tracked().load(Ordering::Acquire) {
        return;
    }
    drop(auto);
    let op = AsStrided::of(view, base);
    let edges = std::iter::once(edge(base)).collect();
    replace_node(view, NodeRef::new(|| OpNode::new(op, edges, &[], view)), 0);
}

/// Of a view that was made under `no_grad`: the storage's version up to which it can be used while recording.
pub(crate) fn no_grad_version(tensor: &Tensor) -> Option<u32> {
    tensor.base()?;
    let auto = tensor.auto();
    auto.no_grad_view.then_some(auto.view_version)
}

/// Refuses a view that was made under `no_grad` if its base requires grad and its memory was changed since: whether the
/// view follows its base's history cannot be told, as in PyTorch.
#[inline]
pub(crate) fn check_view(op: &str, tensor: &Tensor) -> Result<()> {
    match tensor.base() {
        None => Ok(()),
        Some(base) => check_view_of(base, op, tensor),
    }
}

fn check_view_of(base: &Tensor, op: &str, tensor: &Tensor) -> Result<()> {
    if !base.tracked().load(Ordering::Acquire)
        || no_grad_version(tensor).is_none_or(|v| v == tensor.version())
    {
        return Ok(());
    }
    Err(Error::autograd(format!(
        "{op}: {} is a view that was made under no_grad, and its base {}, which requires grad, or another view of it was \
         changed in place since: make the view while recording, use it under no_grad, or detach it",
        tensor.describe(),
        base.describe()
    )))
}
