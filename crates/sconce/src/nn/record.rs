//! One forward of a model, recorded, and the operations in it.

use std::collections::HashSet;

use super::ext::each_parameter;
use super::leaf::Mode;
use super::module::{LeafMut, Module};
use super::walk::walk_mut;
use crate::autograd::enable_grad;
use crate::tensor::Tensor;
use crate::tensor::node::{Edge, NodeRef};
use crate::{Result, no_grad};

/// The output of a forward in evaluation mode, with its history; what is frozen is recorded too.
pub(super) fn recorded<M: Module + ?Sized>(
    module: &mut M,
    forward: &impl Fn(&M) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut frozen: Vec<Tensor> = Vec::new();
    each_parameter(module.as_module(), &mut |_, parameter| {
        if !parameter.requires_grad() && parameter.dtype().is_floating_point() {
            frozen.push(parameter.tensor().clone());
        }
    });
    let thawed = Thawed(frozen);
    evaluated(module, |module| {
        thawed.0.iter().try_for_each(|t| t.requires_grad_(true).map(drop))?;
        enable_grad(|| forward(module))
    })
}

/// Frozen parameters that are recorded until this is dropped, also by an error or a panic.
struct Thawed(Vec<Tensor>);

impl Drop for Thawed {
    fn drop(&mut self) {
        for tensor in &self.0 {
            // A leaf can always be frozen.
            let _ = tensor.requires_grad_(false);
        }
    }
}

/// What a forward in evaluation mode gives, without a record.
pub(super) fn output<M: Module + ?Sized>(
    module: &mut M,
    forward: &impl Fn(&M) -> Result<Tensor>,
) -> Result<Tensor> {
    evaluated(module, |module| no_grad(|| forward(module)))
}

/// Runs a closure with a module in evaluation mode, and puts back the modes that it had.
pub(super) fn evaluated<M: Module + ?Sized, T>(
    module: &mut M,
    run: impl FnOnce(&M) -> Result<T>,
) -> Result<T> {
    let mut this = Evaluated { module, modes: Vec::new() };
    let modes = &mut this.modes;
    walk_mut(this.module.as_module_mut(), &mut |leaf| {
        if let LeafMut::Mode(mode) = leaf {
            modes.push(std::mem::replace(mode, Mode::Eval));
        }
    });
    run(this.module)
}

/// A module that evaluates until this is dropped, also by an error or a panic.
struct Evaluated<'a, M: Module + ?Sized> {
    module: &'a mut M,
    /// The modes that it had.
    modes: Vec<Mode>,
}

impl<M: Module + ?Sized> Drop for Evaluated<'_, M> {
    fn drop(&mut self) {
        let mut modes = self.modes.drain(..);
        walk_mut(self.module.as_module_mut(), &mut |leaf| {
            if let LeafMut::Mode(mode) = leaf {
                *mode = modes.next().unwrap_or(*mode);
            }
        });
    }
}

/// The recorded operations behind an output, each after those that it computes from.
pub(super) fn inputs_first(output: &Edge) -> Vec<NodeRef> {
    let (mut order, mut seen) = (Vec::new(), HashSet::new());
    let Edge::Node(last, _) = output else { return order };
    seen.insert(last.id());
    let mut open = vec![(last.clone(), 0)];
    while let Some((node, next)) = open.last_mut() {
        let edge = node.edges().get(*next).cloned();
        *next += 1;
        match edge {
            Some(Edge::Node(input, _)) => {
                if seen.insert(input.id()) {
                    open.push((input, 0));
                }
            }
            Some(_) => {}
            None => order.extend(open.pop().map(|(node, _)| node)),
        }
    }
    order
}
