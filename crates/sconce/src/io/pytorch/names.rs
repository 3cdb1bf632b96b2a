//! Names for the tensors of a nested structure: keys and indices joined by dots.
//!
//! The walk follows every path that leads to a tensor. A tensor that two paths lead to gets two entries, as in
//! Python; containers that share parts can have more paths than anyone can list, so the walk has a budget. Two paths
//! that spell the same name are told apart by `#2`, `#3`, ….

use std::collections::HashMap;

use super::build::Found;
use crate::error::{Error, Result};
use crate::io::archive::Archive;
use crate::io::limits::{MAX_NAME_BYTES, MAX_NAMES_BYTES, MAX_STEPS_PER_VALUE};
use crate::io::tree::{Dict, NodeId, Tree, Value};

/// Gives the tensors their names, pushes them to the archive in order, and then the tree.
pub(super) fn push_named(archive: &mut Archive, mut tree: Tree, tensors: Vec<Found>) -> Result<()> {
    let mut first = vec![None; tensors.len()];
    let mut walk = Walk::new(&tree);
    let mut names_bytes = 0;
    let mut numbers = HashMap::new();
    while let Some(tensor) = walk.next()? {
        names_bytes += walk.path.len();
        if names_bytes > MAX_NAMES_BYTES {
            return Err(Error::format(format!("the tensors' names take more than {MAX_NAMES_BYTES} bytes")));
        }
        let found = &tensors[tensor];
        let mut entry = found.entry.clone();
        entry.name = unused_name(archive, &walk.path, &mut numbers);
        let index = archive.push(entry, found.storage)?;
        first[tensor].get_or_insert(index);
    }
    for index in 0..tree.values().len() {
        if let Value::Tensor(tensor) | Value::Array(tensor) = tree.value_mut(NodeId(index as u32)) {
            *tensor = first[*tensor].ok_or_else(|| Error::unsupported("a tensor as a dict's key"))?;
        }
    }
    archive.set_tree(tree)
}

/// The path, or the path with the first free number; `numbers` holds the last one of each path that needed any.
fn unused_name(archive: &Archive, path: &str, numbers: &mut HashMap<String, usize>) -> String {
    if archive.get(path).is_none() {
        return path.to_owned();
    }
    let number = numbers.entry(path.to_owned()).or_insert(1);
    loop {
        *number += 1;
        let name = format!("{path}#{number}");
        if archive.get(&name).is_none() {
            return name;
        }
    }
}

/// What a step adds to the name.
#[derive(Clone, Copy)]
enum Segment {
    Index(usize),
    Key(NodeId),
    Name(&'static str),
    /// Nothing: the parts of a module are its own.
    Merged,
}

/// A container on the path.
struct Frame {
    node: NodeId,
    /// What is still to be walked, the last first.
    children: Vec<(Segment, NodeId)>,
    /// Length of the path to it, and how many segments that is.
    length: usize,
    depth: usize,
}

/// A walk, depth first, over every path to a tensor.
struct Walk<'a> {
    tree: &'a Tree,
    reaches: Vec<bool>,
    on_path: Vec<bool>,
    frames: Vec<Frame>,
    path: String,
    steps: usize,
    /// The root, until the walk has begun.
    start: Option<NodeId>,
}

impl<'a> Walk<'a> {
    fn new(tree: &'a Tree) -> Self {
        let reaches = reaches_tensor(tree);
        let on_path = vec![false; reaches.len()];
        Self {
            tree,
            reaches,
            on_path,
            frames: Vec::new(),
            path: String::new(),
            steps: 0,
            start: Some(tree.root()),
        }
    }

    /// The next tensor; its name is in `path`.
    fn next(&mut self) -> Result<Option<usize>> {
        if let Some(root) = self.start.take()
            && let Some(tensor) = self.enter(root, 0)?
        {
            return Ok(Some(tensor));
        }
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.length);
            let mut depth = frame.depth;
            let Some((segment, child)) = frame.children.pop() else {
                self.on_path[frame.node.0 as usize] = false;
                self.frames.pop();
                continue;
            };
            if !matches!(segment, Segment::Merged) {
                if depth > 0 {
                    self.path.push('.');
                }
                depth += 1;
            }
            match segment {
                Segment::Index(i) => self.path.push_str(&i.to_string()),
                Segment::Key(key) => self.path.push_str(&self.tree.key_text(key)),
                Segment::Name(name) => self.path.push_str(name),
                Segment::Merged => {}
            }
            if self.path.len() > MAX_NAME_BYTES {
                return Err(Error::format(format!("a tensor's name has more than {MAX_NAME_BYTES} bytes")));
            }
            if let Some(tensor) = self.enter(child, depth)? {
                return Ok(Some(tensor));
            }
        }
        Ok(None)
    }

    /// Opens a container, or gives the tensor that the node is.
    fn enter(&mut self, node: NodeId, depth: usize) -> Result<Option<usize>> {
        if let Value::Tensor(tensor) | Value::Array(tensor) = self.tree.value(node) {
            return Ok(Some(*tensor));
        }
        if self.on_path[node.0 as usize] || !self.reaches[node.0 as usize] {
            return Ok(None);
        }
        let mut children = children(self.tree, node);
        self.steps += 1 + children.len();
        let most = self.reaches.len().saturating_mul(MAX_STEPS_PER_VALUE);
        if self.steps > most {
            return Err(Error::format(format!("more than {most} steps lead to all tensors")));
        }
        children.retain(|(_, child)| self.reaches[child.0 as usize]);
        children.reverse();
        self.on_path[node.0 as usize] = true;
        self.frames.push(Frame { node, children, length: self.path.len(), depth });
        Ok(None)
    }
}

/// What a value contains, in order, a module's as in its state dict.
fn children(tree: &Tree, node: NodeId) -> Vec<(Segment, NodeId)> {
    let keyed = |dict: &Dict| -> Vec<(Segment, NodeId)> {
        dict.items.iter().map(|&(k, v)| (Segment::Key(k), v)).collect()
    };
    match tree.value(node) {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().enumerate().map(|(i, &v)| (Segment::Index(i), v)).collect()
        }
        Value::Dict(dict) => {
            let mut all = keyed(dict);
            all.extend(dict.attributes.map(|a| (Segment::Merged, a)));
            all
        }
        Value::Sparse(sparse) => sparse.parts.iter().map(|&(name, v)| (Segment::Name(name), v)).collect(),
        Value::Object(object) => {
            let mut all = match object.state {
                Some(state) => match tree.value(state) {
                    Value::Dict(dict) => module_parts(tree, keyed(dict)),
                    _ => vec![(Segment::Name("state"), state)],
                },
                None => Vec::new(),
            };
            all.extend(object.arguments.map(|a| (Segment::Name("arguments"), a)));
            all
        }
        _ => Vec::new(),
    }
}

/// The attributes of an object, with those that hold a module's parts first and without a name of their own.
fn module_parts(tree: &Tree, attributes: Vec<(Segment, NodeId)>) -> Vec<(Segment, NodeId)> {
    let mut all = Vec::with_capacity(attributes.len());
    let rank = |segment: &Segment| match segment {
        Segment::Key(key) => match tree.value(*key) {
            Value::Str(s) => ["_parameters", "_buffers", "_modules"].iter().position(|part| part == s),
            _ => None,
        },
        _ => None,
    };
    let mut ranked: Vec<_> = attributes.iter().filter_map(|(s, v)| rank(s).map(|r| (r, *v))).collect();
    ranked.sort_by_key(|(r, _)| *r);
    all.extend(ranked.into_iter().map(|(_, v)| (Segment::Merged, v)));
    all.extend(attributes.into_iter().filter(|(s, _)| rank(s).is_none()));
    all
}

/// Which values the root leads to.
pub(super) fn reached(tree: &Tree) -> Vec<bool> {
    let mut reached = vec![false; tree.values().len()];
    let mut work = vec![tree.root()];
    while let Some(node) = work.pop() {
        if !std::mem::replace(&mut reached[node.0 as usize], true) {
            work.extend(children(tree, node).into_iter().map(|(_, child)| child));
        }
    }
    reached
}

/// Which values are tensors or contain one, however deep.
fn reaches_tensor(tree: &Tree) -> Vec<bool> {
    let count = tree.values().len();
    let ids = || (0..count as u32).map(NodeId);
    // The parents of node n are parents[start[n]..start[n + 1]].
    let mut start = vec![0_u32; count + 1];
    for node in ids() {
        for (_, child) in children(tree, node) {
            start[child.0 as usize + 1] += 1;
        }
    }
    for n in 0..count {
        start[n + 1] += start[n];
    }
    let mut filled = start.clone();
    let mut parents = vec![NodeId(0); start[count] as usize];
    for node in ids() {
        for (_, child) in children(tree, node) {
            let place = &mut filled[child.0 as usize];
            parents[*place as usize] = node;
            *place += 1;
        }
    }
    let mut reaches = vec![false; count];
    let mut work: Vec<NodeId> =
        ids().filter(|&n| matches!(tree.value(n), Value::Tensor(_) | Value::Array(_))).collect();
    while let Some(node) = work.pop() {
        let n = node.0 as usize;
        if !std::mem::replace(&mut reaches[n], true) {
            work.extend(&parents[start[n] as usize..start[n + 1] as usize]);
        }
    }
    reaches
}
