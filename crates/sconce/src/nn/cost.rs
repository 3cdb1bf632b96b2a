//! How much a forward computes.

use std::collections::HashMap;

use super::module::Module;
use super::record::{inputs_first, recorded};
use super::walk::{each_declared, owner_of};
use crate::Result;
use crate::autograd::history;
use crate::tensor::Tensor;
use crate::tensor::node::Edge;

/// Multiplications with their additions, by the path of the layer whose parameter takes part; those of no layer under the
/// empty path.
pub(super) type Costs = HashMap<String, u64>;

/// Counts those of one forward.
pub(super) fn of<M: Module + ?Sized>(
    module: &mut M,
    forward: &impl Fn(&M) -> Result<Tensor>,
) -> Result<Costs> {
    let mut owners: HashMap<usize, String> = HashMap::new();
    each_declared(module.as_module(), &mut String::new(), &mut |path, parameter| {
        let owner = owner_of(path);
        let tensors = parameter.form().map_or(std::slice::from_ref(parameter), |form| form.originals());
        for tensor in tensors {
            owners.entry(tensor.id()).or_insert_with(|| owner.to_owned());
        }
    });
    let output = recorded(module, forward)?;
    let mut costs = Costs::new();
    for node in inputs_first(&history::edge(&output)) {
        if let Some(count) = node.mult_adds() {
            let owner = node.edges().iter().find_map(|edge| owner(edge, &owners)).unwrap_or_default();
            *costs.entry(owner).or_default() += count;
        }
    }
    Ok(costs)
}

/// The path of the layer that a parameter behind an operand belongs to, past what computes it from others.
fn owner(edge: &Edge, owners: &HashMap<usize, String>) -> Option<String> {
    let mut edge = edge.clone();
    loop {
        edge = match &edge {
            Edge::None => return None,
            Edge::Leaf(leaf) => return owners.get(&leaf.id()).cloned(),
            Edge::Node(node, _) => match node.name() {
                "view" | "permute" | "mul" | "add" | "div" => node.edges().first()?.clone(),
                _ => return None,
            },
        };
    }
}
