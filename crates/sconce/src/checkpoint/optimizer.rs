//! The state of optimisers, in the structure of PyTorch's `optimizer.state_dict()`.
//!
//! ```text
//! {"state": {0: {"step": tensor, "exp_avg": tensor, …}, …},
//!  "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), …, "params": [0, 1, …]}, …]}
//! ```

use crate::io::{Dict, NodeId, Value};
use crate::nn::StateDict;
use crate::optim::{self, GroupState, OptimizerState};
use crate::tensor::Tensor;
use crate::{Error, Result};

use super::item::{Builder, Restore, Store};
use super::view::View;

impl Store for OptimizerState {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let mut states = Vec::with_capacity(self.state.len());
        for (number, state) in &self.state {
            let key = to.tree().add(integer(*number));
            let mut items = Vec::with_capacity(state.len());
            for (name, tensor) in state {
                items.push((name, to.put(format!("state.{number}.{name}"), tensor)?));
            }
            states.push((key, to.tree().dict(items)));
        }
        let state = to.tree().add(Value::Dict(Dict { items: states, ..Dict::default() }));
        let groups: Vec<NodeId> = self.param_groups.iter().map(|group| store_group(group, to)).collect();
        let groups = to.tree().list(groups);
        Ok(to.tree().dict([("state", state), ("param_groups", groups)]))
    }
}

fn integer(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn store_group(group: &GroupState, to: &mut Builder) -> NodeId {
    let mut items: Vec<(&str, NodeId)> =
        group.options.iter().map(|(name, value)| (name.as_str(), store_option(value, to))).collect();
    let params = to.tree().list(group.params.iter().map(|&number| integer(number)));
    items.push(("params", params));
    to.tree().dict(items)
}

fn store_option(value: &optim::Value, to: &mut Builder) -> NodeId {
    let value = match value {
        optim::Value::None => Value::None,
        optim::Value::Bool(b) => Value::Bool(*b),
        optim::Value::Int(i) => Value::Int(*i),
        optim::Value::Float(x) => Value::Float(*x),
        optim::Value::Text(text) => Value::Str(text.clone()),
        optim::Value::Tuple(items) => Value::Tuple(items.iter().map(|item| store_option(item, to)).collect()),
    };
    to.tree().add(value)
}

impl Restore for OptimizerState {
    fn restore(from: &View<'_>) -> Result<Self> {
        let mut restored = Self::default();
        let missing = |key: &str| Error::load(format!("no key `{key}`")).context(from.path());
        let states = from.find("state")?.ok_or_else(|| missing("state"))?;
        for (number, state) in states.items()? {
            restored.state.push((index(&number)?, buffers(&state)?));
        }
        let groups = from.find("param_groups")?.ok_or_else(|| missing("param_groups"))?;
        for group in groups.list()? {
            let mut saved = GroupState::default();
            for (name, value) in group.items()? {
                let name: String = name.restore()?;
                if name == "params" {
                    saved.params = value.list()?.iter().map(index).collect::<Result<_>>()?;
                } else {
                    saved.options.push((name, option(&value, true)?));
                }
            }
            restored.param_groups.push(saved);
        }
        Ok(restored)
    }
}

fn index(view: &View<'_>) -> Result<usize> {
    match view.value() {
        Value::Int(i) => usize::try_from(*i).map_err(|_| view.expected("a parameter's number")),
        _ => Err(view.expected("a parameter's number")),
    }
}

/// The buffers of a parameter. Some versions of PyTorch write `None` for a buffer that is not there, and the number of
/// steps as a number.
fn buffers(state: &View<'_>) -> Result<StateDict> {
    let mut buffers = StateDict::new();
    for (name, value) in state.items()? {
        let tensor = match value.value() {
            Value::None => continue,
            Value::Int(i) => Tensor::scalar(*i as f32),
            Value::Float(x) => Tensor::scalar(*x as f32),
            _ => value.tensor()?,
        };
        buffers.insert(name.restore::<String>()?, tensor);
    }
    Ok(buffers)
}

/// An option; a tensor of one element, as PyTorch allows for the learning rate, becomes a number.
fn option(view: &View<'_>, nests: bool) -> Result<optim::Value> {
    Ok(match view.value() {
        Value::None => optim::Value::None,
        Value::Bool(b) => optim::Value::Bool(*b),
        Value::Int(i) => optim::Value::Int(*i),
        Value::Float(x) => optim::Value::Float(*x),
        Value::Str(text) => optim::Value::Text(text.clone()),
        Value::Tensor(_) => optim::Value::Float(view.tensor()?.item()?),
        Value::List(_) | Value::Tuple(_) if nests => {
            optim::Value::Tuple(view.list()?.iter().map(|item| option(item, false)).collect::<Result<_>>()?)
        }
        _ => return Err(view.expected("an option: a number, text, None or a tuple of those")),
    })
}
