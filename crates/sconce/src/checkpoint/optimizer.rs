//! The state of optimisers, in the structure of PyTorch's `optimizer.state_dict()`.
//!
//! ```text
//! {"state": {0: {"step": tensor, "exp_avg": tensor, …}, …},
//!  "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), …, "params": [0, 1, …]}, …]}
//! ```

use crate::io::{Dict, NodeId, Value};
use crate::nn::StateDict;
use crate::optim::{self, GroupState, LbfgsMemory, LbfgsState, OptimizerState};
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
        restored.param_groups = groups.list()?.iter().map(group).collect::<Result<_>>()?;
        Ok(restored)
    }
}

fn group(from: &View<'_>) -> Result<GroupState> {
    let mut saved = GroupState::default();
    for (name, value) in from.items()? {
        let name: String = name.restore()?;
        if name == "params" {
            saved.params = value.list()?.iter().map(index).collect::<Result<_>>()?;
        } else {
            saved.options.push((name, option(&value, true)?));
        }
    }
    Ok(saved)
}

/// All of it is the state of the first parameter.
impl Store for LbfgsState {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let mut states = Vec::new();
        if self.n_iter > 0 || self.func_evals > 0 {
            let mut items = vec![
                ("func_evals", to.put("func_evals", self.func_evals)?),
                ("n_iter", to.put("n_iter", self.n_iter)?),
            ];
            if let Some(memory) = &self.memory {
                let number = |x: f64| Tensor::full((), x, memory.d.dtype());
                let ro = memory.ro.iter().map(|&ro| number(ro)).collect::<Result<Vec<_>>>()?;
                items.extend([
                    ("d", to.put("d", &memory.d)?),
                    ("t", to.put("t", memory.t)?),
                    ("old_dirs", to.put("old_dirs", memory.old_dirs.as_slice())?),
                    ("old_stps", to.put("old_stps", memory.old_stps.as_slice())?),
                    ("ro", to.put("ro", ro)?),
                    ("H_diag", to.put("H_diag", number(memory.h_diag)?)?),
                    ("prev_flat_grad", to.put("prev_flat_grad", &memory.prev_flat_grad)?),
                    ("prev_loss", to.put("prev_loss", memory.prev_loss)?),
                ]);
            }
            states.push((to.tree().add(integer(0)), to.tree().dict(items)));
        }
        let state = to.tree().add(Value::Dict(Dict { items: states, ..Dict::default() }));
        let group = store_group(&self.param_group, to);
        let groups = to.tree().list([group]);
        Ok(to.tree().dict([("state", state), ("param_groups", groups)]))
    }
}

impl Restore for LbfgsState {
    fn restore(from: &View<'_>) -> Result<Self> {
        let missing = |key: &str| Error::load(format!("no key `{key}`")).context(from.path());
        let groups = from.find("param_groups")?.ok_or_else(|| missing("param_groups"))?;
        let [only] = &groups.list()?[..] else {
            return Err(groups.expected("one group"));
        };
        let mut restored = Self { param_group: group(only)?, ..Self::default() };
        let states = from.find("state")?.ok_or_else(|| missing("state"))?;
        let Some((_, state)) = states.items()?.into_iter().next() else { return Ok(restored) };
        restored.func_evals = state.get("func_evals")?;
        restored.n_iter = state.get("n_iter")?;
        // PyTorch leaves out what the first iteration has not made yet.
        if let Some(d) = state.find("d")?.filter(|d| *d.value() != Value::None) {
            let get = |key: &str| {
                state.find(key)?.ok_or_else(|| Error::load(format!("no key `{key}`")).context(state.path()))
            };
            restored.memory = Some(LbfgsMemory {
                d: d.tensor()?,
                t: number(&get("t")?)?,
                old_dirs: state.get("old_dirs")?,
                old_stps: state.get("old_stps")?,
                ro: get("ro")?.list()?.iter().map(number).collect::<Result<_>>()?,
                h_diag: number(&get("H_diag")?)?,
                prev_flat_grad: state.get("prev_flat_grad")?,
                prev_loss: number(&get("prev_loss")?)?,
            });
        }
        Ok(restored)
    }
}

/// A number, or a tensor of one element.
pub(super) fn number(view: &View<'_>) -> Result<f64> {
    option(view, false)?.number().map_err(|_| view.expected("a number"))
}

pub(super) fn index(view: &View<'_>) -> Result<usize> {
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
