//! The backward pass: an iterative walk over recorded nodes in topological order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::{SmallVec, smallvec};

use super::mode::set_grad_enabled;
use super::{anomaly, history};
use crate::tensor::node::{Edge, Meta, NodeRef};
use crate::tensor::{Dims, Tensor};
use crate::{Context, Error, Result};

/// How a backward pass runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backward {
    /// Keeps the saved tensors, so that the same graph can be walked again. [`create_graph`](Self::create_graph)
    /// implies it. Default: false.
    pub retain_graph: bool,
    /// Records the backward pass itself, so that gradients can be differentiated. Default: false.
    ///
    /// As in PyTorch, a `.grad` that was recorded keeps its leaf alive, and the leaf the `.grad`, until
    /// [`zero_grad`](crate::Tensor::zero_grad): prefer [`grad`](super::grad), which touches no `.grad`.
    pub create_graph: bool,
}

/// Addresses are spread well enough by one multiplication.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_usize(b as usize);
        }
    }
    fn write_usize(&mut self, n: usize) {
        self.0 = (self.0 ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

type Addresses = HashMap<usize, usize, BuildHasherDefault<AddressHasher>>;

enum Kind {
    Leaf(Tensor),
    Node(NodeRef),
}

/// A leaf or node in the part of the graph that this pass walks.
struct Stop {
    kind: Kind,
    /// How many gradients are still to come.
    pending: usize,
    /// Whether something that wants a gradient lies behind it.
    wanted: bool,
    grads: SmallVec<[Option<Tensor>; 1]>,
}

/// A gradient asked for by [`grad`](super::grad): an index into the stops and the number of the output.
struct Capture {
    stop: usize,
    output: usize,
    slot: usize,
}

struct Pass {
    stops: Vec<Stop>,
    index: Addresses,
    create_graph: bool,
}

/// Adds the gradients of `roots` into the `.grad` of all leaves behind them.
pub(crate) fn accumulate(roots: Vec<(Edge, Tensor)>, how: Backward) -> Result<()> {
    run(roots, None, how).map(drop)
}

/// The gradients of `roots` with respect to `inputs`; `None` where there is no path.
pub(crate) fn collect(
    roots: Vec<(Edge, Tensor)>,
    inputs: &[Edge],
    how: Backward,
) -> Result<Vec<Option<Tensor>>> {
    run(roots, Some(inputs), how)
}

fn run(roots: Vec<(Edge, Tensor)>, inputs: Option<&[Edge]>, how: Backward) -> Result<Vec<Option<Tensor>>> {
    let mut pass = Pass { stops: Vec::new(), index: Addresses::default(), create_graph: how.create_graph };
    pass.discover(&roots);
    let mut captures = Vec::new();
    for (slot, edge) in inputs.unwrap_or_default().iter().enumerate() {
        let (id, output) = match edge {
            Edge::None => continue,
            Edge::Leaf(leaf) => (leaf.id(), 0),
            Edge::Node(node, output) => (node.id(), *output as usize),
        };
        if let Some(&stop) = pass.index.get(&id) {
            captures.push(Capture { stop, output, slot });
        }
    }
    pass.mark_wanted(inputs.is_some().then_some(&captures));
    let retain = how.retain_graph || how.create_graph;
    set_grad_enabled(how.create_graph, || pass.walk(roots, &captures, inputs.map_or(0, <[_]>::len), retain))
}

impl Pass {
    /// Finds every stop behind the roots and counts the gradients that each will receive.
    fn discover(&mut self, roots: &[(Edge, Tensor)]) {
        let mut stack = Vec::new();
        for (edge, _) in roots {
            self.visit(edge, &mut stack);
        }
        while let Some(i) = stack.pop() {
            let Kind::Node(node) = &self.stops[i].kind else { continue };
            let node = node.clone();
            for edge in node.edges() {
                self.visit(edge, &mut stack);
            }
        }
    }

    fn visit(&mut self, edge: &Edge, stack: &mut Vec<usize>) {
        let id = match edge {
            Edge::None => return,
            Edge::Leaf(leaf) => leaf.id(),
            Edge::Node(node, _) => node.id(),
        };
        if let Some(&i) = self.index.get(&id) {
            self.stops[i].pending += 1;
            return;
        }
        let i = self.stops.len();
        self.index.insert(id, i);
        let (kind, outputs) = match edge {
            Edge::Node(node, _) => (Kind::Node(node.clone()), node.outputs().len()),
            Edge::Leaf(leaf) => (Kind::Leaf(leaf.clone()), 1),
            Edge::None => return,
        };
        self.stops.push(Stop { kind, pending: 1, wanted: false, grads: smallvec![None; outputs] });
        stack.push(i);
    }

    fn stop_of(&self, edge: &Edge) -> Option<usize> {
        match edge {
            Edge::None => None,
            Edge::Leaf(leaf) => self.index.get(&leaf.id()).copied(),
            Edge::Node(node, _) => self.index.get(&node.id()).copied(),
        }
    }

    /// Marks the stops that gradients must reach: all of them, or those from which a capture can be reached.
    fn mark_wanted(&mut self, captures: Option<&Vec<Capture>>) {
        let Some(captures) = captures else {
            self.stops.iter_mut().for_each(|s| s.wanted = true);
            return;
        };
        // Consumers of each stop: the reverse of its edges.
        let mut consumers: Vec<SmallVec<[usize; 2]>> = vec![SmallVec::new(); self.stops.len()];
        for (i, stop) in self.stops.iter().enumerate() {
            if let Kind::Node(node) = &stop.kind {
                for to in node.edges().iter().filter_map(|e| self.stop_of(e)) {
                    consumers[to].push(i);
                }
            }
        }
        let mut stack: Vec<usize> = captures.iter().map(|c| c.stop).collect();
        while let Some(i) = stack.pop() {
            if !std::mem::replace(&mut self.stops[i].wanted, true) {
                stack.extend_from_slice(&consumers[i]);
            }
        }
    }

    fn walk(
        mut self,
        roots: Vec<(Edge, Tensor)>,
        captures: &[Capture],
        slots: usize,
        retain: bool,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut captured = vec![None; slots];
        let capturing = slots > 0;
        let mut ready = Vec::new();
        for (edge, grad) in roots {
            self.deliver(&edge, Some(grad), &mut ready)?;
        }
        while let Some(i) = ready.pop() {
            let stop = &mut self.stops[i];
            let mut grads = std::mem::take(&mut stop.grads);
            if !stop.wanted {
                continue;
            }
            for (output, slot) in grads.iter_mut().enumerate() {
                if let Some(grad) = slot.take() {
                    *slot = Some(match &stop.kind {
                        Kind::Node(node) => node.hooks().run(output as u32, grad)?,
                        Kind::Leaf(leaf) => run_leaf_hooks(leaf, grad)?,
                    });
                }
            }
            for capture in captures.iter().filter(|c| c.stop == i) {
                captured[capture.slot] = grads[capture.output].clone();
            }
            match &stop.kind {
                // A leaf that was frozen since it was used gets none.
                Kind::Leaf(leaf) => {
                    if !capturing
                        && let Some(grad) = grads[0].take()
                        && leaf.requires_grad()
                    {
                        accumulate_leaf(leaf, grad, self.create_graph)?;
                        run_accumulated_hooks(leaf)?;
                    }
                }
                Kind::Node(node) => {
                    let node = node.clone();
                    self.through(&node, &grads, retain, &mut ready)?;
                }
            }
        }
        Ok(captured)
    }

    /// Runs a node's backward and delivers what it gives.
    fn through(
        &mut self,
        node: &NodeRef,
        grads: &[Option<Tensor>],
        retain: bool,
        ready: &mut Vec<usize>,
    ) -> Result<()> {
        let edges = node.edges();
        let needs: SmallVec<[bool; 4]> =
            edges.iter().map(|e| self.stop_of(e).is_some_and(|i| self.stops[i].wanted)).collect();
        // Nothing behind it is wanted: its gradient was, and its graph is still good for another pass.
        let retain = retain || !needs.contains(&true);
        let mut inputs = if needs.contains(&true) && grads.iter().any(Option::is_some) {
            anomaly::within(&**node, || node.backward(node, grads, &needs))
                .context(|| anomaly::backward_of(&**node))?
        } else {
            smallvec![None; edges.len()]
        };
        if inputs.len() != edges.len() {
            return Err(Error::autograd(format!(
                "backward of {}: {} gradients for {} inputs",
                node.name(),
                inputs.len(),
                edges.len()
            )));
        }
        if !retain {
            node.release();
        }
        for (i, (edge, grad)) in edges.iter().zip(inputs.iter_mut()).enumerate() {
            let grad = match grad.take() {
                Some(grad) => fit(node.name(), edge, grad)?,
                None => None,
            };
            if let Some(grad) = &grad
                && anomaly::is_anomaly_enabled()
            {
                anomaly::check(&**node, i, grad)?;
            }
            self.deliver(edge, grad, ready)?;
        }
        Ok(())
    }

    fn deliver(&mut self, edge: &Edge, grad: Option<Tensor>, ready: &mut Vec<usize>) -> Result<()> {
        let Some(i) = self.stop_of(edge) else { return Ok(()) };
        let output = if let Edge::Node(_, output) = edge { *output as usize } else { 0 };
        let create_graph = self.create_graph;
        let stop = &mut self.stops[i];
        if let Some(grad) = grad
            && stop.wanted
        {
            let slot = &mut stop.grads[output];
            *slot = Some(match slot.take() {
                None => grad,
                Some(sum) => add(sum, &grad, create_graph)?,
            });
        }
        stop.pending -= 1;
        if stop.pending == 0 {
            ready.push(i);
        }
        Ok(())
    }
}

/// Adds in place where nobody else can see it.
fn add(sum: Tensor, grad: &Tensor, create_graph: bool) -> Result<Tensor> {
    if !create_graph && sum.is_unique() && sum.layout().is_dense() {
        sum.add_(grad)?;
        return Ok(sum);
    }
    sum.add(grad)
}

/// Brings a gradient to the shape and dtype of what it is the gradient of.
fn fit(op: &str, edge: &Edge, grad: Tensor) -> Result<Option<Tensor>> {
    let (shape, dtype): (&[usize], _) = match edge {
        Edge::None => return Ok(None),
        Edge::Leaf(leaf) => (leaf.shape(), leaf.dtype()),
        Edge::Node(node, output) => {
            let Meta { shape, dtype } = &node.outputs()[*output as usize];
            (shape, *dtype)
        }
    };
    let grad = if grad.shape() == shape {
        grad
    } else {
        grad.sum_to_size(shape).map_err(|_| {
            Error::autograd(format!(
                "backward of {op}: a gradient of shape {:?} for an input of shape {shape:?}",
                grad.shape()
            ))
        })?
    };
    Ok(Some(if grad.dtype() == dtype { grad } else { grad.to(dtype)? }))
}

fn run_leaf_hooks(leaf: &Tensor, grad: Tensor) -> Result<Tensor> {
    // The hooks are copied out, because a hook may ask for the leaf's state.
    let hooks = leaf.auto().extra.as_ref().map(|e| e.hooks.snapshot(0));
    match hooks {
        Some(list) => crate::tensor::hooks::run(&list, grad),
        None => Ok(grad),
    }
}

fn run_accumulated_hooks(leaf: &Tensor) -> Result<()> {
    let hooks = leaf.auto().extra.as_ref().map(|e| e.accumulated.snapshot(0)).unwrap_or_default();
    hooks.iter().try_for_each(|hook| hook(leaf).map(drop)).context(|| "in a hook after accumulation")
}

/// Adds a gradient to a leaf's `.grad`, or becomes it.
fn accumulate_leaf(leaf: &Tensor, grad: Tensor, create_graph: bool) -> Result<()> {
    let mut old = leaf.auto().grad.clone();
    loop {
        let new = match &old {
            None if create_graph => grad.clone(),
            // Another holder of the memory must not see later additions.
            None if grad.is_unique() && grad.is_contiguous() => grad.clone(),
            None => grad.detach().copy()?,
            Some(old) if create_graph => old.add(&grad)?,
            Some(old) => return old.add_(&grad),
        };
        // Another thread's pass may have got here meanwhile: then its gradient counts as well.
        let mut auto = leaf.auto();
        if auto.grad.as_ref().map(Tensor::id) == old.as_ref().map(Tensor::id) {
            let replaced = auto.grad.replace(new);
            drop(auto);
            drop(replaced);
            return Ok(());
        }
        old = auto.grad.clone();
    }
}

/// The gradients that a backward pass starts from: ones for single elements, unless given.
pub(crate) fn roots(outputs: &[(&Tensor, Option<&Tensor>)]) -> Result<Vec<(Edge, Tensor)>> {
    let mut roots = Vec::with_capacity(outputs.len());
    for (output, grad) in outputs {
        history::check_view("backward", output)?;
        let edge = history::edge(output);
        if matches!(edge, Edge::None) {
            return Err(Error::autograd(format!(
                "backward: the output of shape {:?} does not require grad: nothing that it was computed from does, or \
                 it was detached or computed under no_grad",
                output.shape()
            )));
        }
        let grad = match grad {
            Some(grad) if grad.shape() != output.shape() => {
                return Err(Error::shape(format!(
                    "backward: a gradient of shape {:?} for an output of shape {:?}",
                    grad.shape(),
                    output.shape()
                )));
            }
            Some(grad) if grad.dtype() != output.dtype() => grad.to(output.dtype())?,
            Some(grad) => (*grad).clone(),
            None if output.numel() != 1 => {
                return Err(Error::autograd(format!(
                    "backward: an output of shape {:?} needs a gradient; only single elements start from 1",
                    output.shape()
                )));
            }
            None => Tensor::ones(Dims::from_slice(output.shape()).to_vec(), output.dtype())?,
        };
        roots.push((edge, grad));
    }
    Ok(roots)
}
