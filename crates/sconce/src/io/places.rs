//! Where named tensors hang in a nested structure, and what becomes of it when they are renamed, dropped or joined.

use std::collections::HashMap;

use super::archive::display_name;
use super::limits::MAX_NAME_BYTES;
use super::tree::{Dict, NodeId, Tree, Value};
use crate::error::{Context, Error, Result};

/// What becomes of a tensor of a tree.
pub(crate) struct Fate<'a> {
    /// Its name in the tree as it is.
    pub(crate) old: &'a str,
    /// Its new name and index; `None` if it goes.
    pub(crate) new: Option<(&'a str, usize)>,
    /// Names and indices of tensors that join it in its dict, right behind it.
    pub(crate) joined: Vec<(&'a str, usize)>,
    /// Whether it lies in its storage as another tensor of this index does: then one object may be both.
    pub(crate) like: usize,
}

/// The tree after every tensor met its fate; `fates` are by the tree's present indices.
///
/// # Errors
///
/// Fails when a tensor that goes, or gets another name, hangs in anything but a dict of its own, or when its new name
/// belongs to another dict.
pub(crate) fn replant(tree: &Tree, fates: &[Fate<'_>]) -> Result<Tree> {
    let by_name: HashMap<&str, usize> = fates.iter().enumerate().map(|(i, f)| (f.old, i)).collect();
    let likes: HashMap<usize, usize> = fates.iter().filter_map(|f| Some((f.new?.1, f.like))).collect();
    let mut planted = vec![false; fates.len()];
    let mut out = tree.clone();
    // The tensor that each node is in the end.
    let mut holds: HashMap<NodeId, usize> = HashMap::new();
    for (node, prefix) in containers(tree) {
        let Value::Dict(dict) = tree.value(node) else { continue };
        let mut items = Vec::with_capacity(dict.items.len());
        for &(key, value) in &dict.items {
            let (Value::Tensor(index) | Value::Array(index)) = tree.value(value) else {
                items.push((key, value));
                continue;
            };
            let name = format!("{prefix}{}", tree.key_text(key));
            let fate = by_name.get(name.as_str()).copied().unwrap_or(*index);
            planted[fate] = true;
            let fate = &fates[fate];
            if let Some((new, at)) = fate.new {
                let key = if new == fate.old { key } else { out.add(key_below(new, &prefix)?) };
                let held = *holds.entry(value).or_insert(at);
                let one = held == at || likes.get(&held) == Some(&fate.like);
                let value = if one { value } else { out.add(with_index(tree.value(value).clone(), at)) };
                items.push((key, value));
            }
            for &(joined, at) in &fate.joined {
                let key = out.add(key_below(joined, &prefix)?);
                let value = out.add(Value::Tensor(at));
                items.push((key, value));
            }
        }
        *out.value_mut(node) = Value::Dict(Dict { items, ..dict.clone() });
    }
    for (index, value) in tree.values().iter().enumerate() {
        let (Value::Tensor(old) | Value::Array(old)) = value else { continue };
        let node = NodeId(index as u32);
        let new = holds.get(&node).copied().or_else(|| fates[*old].new.map(|n| n.1));
        match new {
            Some(new) => *out.value_mut(node) = with_index(value.clone(), new),
            // Nothing leads there any more, unless something that is no dict does.
            None => *out.value_mut(node) = Value::None,
        }
    }
    let goes = |node: &NodeId| match tree.value(*node) {
        Value::Tensor(i) | Value::Array(i) => !holds.contains_key(node) && fates[*i].new.is_none(),
        _ => false,
    };
    let torn = std::iter::once(tree.root()).chain(tree.values().iter().flat_map(others)).any(|n| goes(&n));
    let stuck = fates.iter().zip(&planted).find(|(fate, planted)| {
        let moves = fate.new.is_none_or(|(new, _)| new != fate.old) || !fate.joined.is_empty();
        moves && (torn && fate.new.is_none() || !**planted)
    });
    match stuck {
        Some((fate, _)) => Err(Error::unsupported(
            "it is no item of a dict of its own, so the nested structure cannot change around it; make it flat first",
        )
        .context(display_name(fate.old))),
        None => Ok(out),
    }
}

impl Tree {
    /// The names of the values that are neither tensors nor containers of values: what formats of tensors only cannot
    /// hold. Values below objects are not listed.
    ///
    /// ```
    /// use sconce::io::{Tree, Value};
    ///
    /// let mut tree = Tree::new();
    /// let step = tree.dict([("step", 7_i64)]);
    /// let root = tree.dict([("weight", Value::Tensor(0)), ("name", Value::from("net"))]);
    /// tree.set_root(root);
    /// assert_eq!(tree.plain_values(), ["name"]);
    /// tree.set_root(step);
    /// assert_eq!(tree.plain_values(), ["step"]);
    /// ```
    pub fn plain_values(&self) -> Vec<String> {
        let plain = |node: NodeId| {
            !matches!(
                self.value(node),
                Value::Tensor(_) | Value::Array(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)
            )
        };
        let mut names = Vec::new();
        for (node, prefix) in containers(self) {
            match self.value(node) {
                Value::Dict(dict) => {
                    let items = dict.items.iter().filter(|item| plain(item.1));
                    names.extend(items.map(|&(key, _)| format!("{prefix}{}", self.key_text(key))));
                }
                Value::List(items) | Value::Tuple(items) => {
                    let items = items.iter().enumerate().filter(|item| plain(*item.1));
                    names.extend(items.map(|(i, _)| format!("{prefix}{i}")));
                }
                _ => {}
            }
        }
        if plain(self.root()) {
            names.push(String::new());
        }
        names
    }
}

/// The children of a value other than the items of a dict.
fn others(value: &Value) -> Vec<NodeId> {
    match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.clone(),
        Value::Dict(dict) => dict.attributes.into_iter().collect(),
        Value::Sparse(sparse) => sparse.parts.iter().map(|p| p.1).collect(),
        Value::Object(object) => object.arguments.into_iter().chain(object.state).collect(),
        _ => Vec::new(),
    }
}

fn with_index(value: Value, index: usize) -> Value {
    match value {
        Value::Array(_) => Value::Array(index),
        _ => Value::Tensor(index),
    }
}

/// The key that gives a tensor its name in the dict of this prefix.
fn key_below(name: &str, prefix: &str) -> Result<String> {
    let place = || display_name(name);
    let key = name.strip_prefix(prefix).ok_or_else(|| {
        let dict = prefix.trim_end_matches('.');
        Error::unsupported(format!(
            "the name leaves the dict {}; make the structure flat first",
            display_name(dict)
        ))
    });
    key.map(str::to_owned).context(place)
}

/// Every dict, list and tuple that can be reached through such, with what its tensors' names begin with. One that
/// several paths lead to counts by its first.
fn containers(tree: &Tree) -> Vec<(NodeId, String)> {
    let mut seen = vec![false; tree.values().len()];
    let (mut stack, mut found) = (vec![(tree.root(), String::new())], Vec::new());
    while let Some((node, prefix)) = stack.pop() {
        if prefix.len() > MAX_NAME_BYTES || std::mem::replace(&mut seen[node.0 as usize], true) {
            continue;
        }
        match tree.value(node) {
            Value::Dict(dict) => {
                let below = |&(k, v): &(NodeId, NodeId)| (v, format!("{prefix}{}.", tree.key_text(k)));
                let children: Vec<_> = dict.items.iter().rev().map(below).collect();
                found.push((node, prefix));
                stack.extend(children);
            }
            Value::List(items) | Value::Tuple(items) => {
                let below = |(i, &v): (usize, &NodeId)| (v, format!("{prefix}{i}."));
                let children: Vec<_> = items.iter().enumerate().rev().map(below).collect();
                found.push((node, prefix));
                stack.extend(children);
            }
            _ => {}
        }
    }
    found
}
