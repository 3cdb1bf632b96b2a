//! The nested structure of a checkpoint, as values that refer to each other by index.
//!
//! An index may occur in several places, and even inside itself: Python objects do. That is why this is an arena and
//! not a recursive type: a hostile file can neither make copies explode nor overflow the stack, and objects that are
//! one object in the file stay one when written.

use crate::tensor::dtype::DType;

/// The index of a [`Value`] in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The index after [`Tree::append`] put the first value of its tree at `first`.
    pub(crate) fn moved(self, first: Self) -> Self {
        Self(self.0 + first.0)
    }
}

/// A Python value that a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A wider integer: two's complement, little-endian.
    BigInt(Vec<u8>),
    /// A float.
    Float(f64),
    /// A complex number.
    Complex(f64, f64),
    /// A string.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `bytearray`.
    ByteArray(Vec<u8>),
    /// A list.
    List(Vec<NodeId>),
    /// A tuple.
    Tuple(Vec<NodeId>),
    /// A set.
    Set(Vec<NodeId>),
    /// A dict or one of its kin.
    Dict(Dict),
    /// `torch.Size`.
    Size(Vec<i64>),
    /// `torch.dtype`, by its name without `torch.`; it may be one that [`DType`] lacks.
    DType(String),
    /// `torch.device`, such as `cuda:0`.
    Device(String),
    /// Another named constant, such as `torch.strided`, by its full name.
    Constant(String),
    /// A tensor: an index into the archive's entries.
    Tensor(usize),
    /// A NumPy array: an index into the archive's entries.
    Array(usize),
    /// A sparse tensor, whose parts are entries of their own.
    Sparse(Box<Sparse>),
    /// An object of a class that is not interpreted, only described.
    Object(Box<Object>),
}

/// A dict: its kind, its items in order, and what hangs on the object itself.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Dict {
    /// Which class it is.
    pub kind: DictKind,
    /// Keys and values in order.
    pub items: Vec<(NodeId, NodeId)>,
    /// A dict of the object's attributes: a state dict has its `_metadata` there.
    pub attributes: Option<NodeId>,
}

/// The class of a [`Dict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DictKind {
    /// `dict`.
    #[default]
    Plain,
    /// `collections.OrderedDict`, as every state dict is.
    Ordered,
    /// `collections.Counter`.
    Counter,
    /// `collections.defaultdict`.
    Default,
}

/// A sparse tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    /// `sparse_coo`, `sparse_csr`, `sparse_csc`, `sparse_bsr` or `sparse_bsc`.
    pub layout: String,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The parts by name, such as `indices` and `values`: nodes that are tensors.
    pub parts: Vec<(&'static str, NodeId)>,
}

/// An object that is only described: nothing of its class is known or run.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The full name of the class or function that Python would call.
    pub class: String,
    /// What it would be called with: a tuple.
    pub arguments: Option<NodeId>,
    /// What it would be given as its state, mostly a dict of attributes.
    pub state: Option<NodeId>,
}

/// A nested structure of [`Value`]s.
///
/// ```
/// use sconce::io::{Tree, Value};
///
/// let mut tree = Tree::new();
/// let epoch = tree.add(5_i64);
/// let model = tree.ordered_dict([("weight", Value::Tensor(0)), ("bias", Value::Tensor(1))]);
/// let root = tree.dict([("model", model), ("epoch", epoch)]);
/// tree.set_root(root);
///
/// let model = tree.lookup(tree.root(), "model").unwrap();
/// assert_eq!(tree.lookup(model, "bias").map(|id| tree.value(id)), Some(&Value::Tensor(1)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    values: Vec<Value>,
    root: NodeId,
}

impl Default for Tree {
    fn default() -> Self {
        Self { values: vec![Value::None], root: NodeId(0) }
    }
}

impl Tree {
    /// A tree whose root is `None` until [`set_root`](Self::set_root).
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value and returns its index.
    pub fn add(&mut self, value: impl Into<Value>) -> NodeId {
        self.values.push(value.into());
        NodeId((self.values.len() - 1) as u32)
    }

    /// Adds a dict with string keys.
    pub fn dict<K: Into<String>, V: IntoNode>(&mut self, items: impl IntoIterator<Item = (K, V)>) -> NodeId {
        self.dict_of(DictKind::Plain, items)
    }

    /// Adds an `OrderedDict` with string keys.
    pub fn ordered_dict<K: Into<String>, V: IntoNode>(
        &mut self,
        items: impl IntoIterator<Item = (K, V)>,
    ) -> NodeId {
        self.dict_of(DictKind::Ordered, items)
    }

    fn dict_of<K: Into<String>, V: IntoNode>(
        &mut self,
        kind: DictKind,
        items: impl IntoIterator<Item = (K, V)>,
    ) -> NodeId {
        let items = items.into_iter().map(|(k, v)| (self.add(k.into()), v.into_node(self))).collect();
        self.add(Value::Dict(Dict { kind, items, attributes: None }))
    }

    /// Adds a list.
    pub fn list<V: IntoNode>(&mut self, items: impl IntoIterator<Item = V>) -> NodeId {
        let items = items.into_iter().map(|v| v.into_node(self)).collect();
        self.add(Value::List(items))
    }

    /// Hangs a dict of attributes, such as `_metadata`, on a dict. Does nothing to other values.
    pub fn set_attributes(&mut self, dict: NodeId, attributes: NodeId) {
        if let Some(Value::Dict(d)) = self.values.get_mut(dict.0 as usize) {
            d.attributes = Some(attributes);
        }
    }

    /// Says which value the file is.
    pub fn set_root(&mut self, root: NodeId) {
        self.root = root;
    }

    /// The value that the file is.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The value at an index of this tree.
    ///
    /// # Panics
    ///
    /// Panics when the index is of a larger tree.
    pub fn value(&self, id: NodeId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// All values, in no particular order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    pub(super) fn value_mut(&mut self, id: NodeId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// The value of a string key in a dict.
    pub fn lookup(&self, dict: NodeId, key: &str) -> Option<NodeId> {
        let Value::Dict(dict) = self.value(dict) else { return None };
        let matches = |k: NodeId| matches!(self.value(k), Value::Str(s) if s == key);
        dict.items.iter().find(|(k, _)| matches(*k)).map(|&(_, v)| v)
    }
}

impl Tree {
    /// Adds all values of another tree, whose tensors' indices have grown by `tensors`, and returns where its first
    /// value is here; see [`NodeId::moved`].
    pub(crate) fn append(&mut self, other: &Self, tensors: usize) -> NodeId {
        let by = self.values.len() as u32;
        let moved = |id: &NodeId| id.moved(NodeId(by));
        let all = |ids: &[NodeId]| ids.iter().map(moved).collect();
        self.values.extend(other.values.iter().map(|value| match value {
            Value::List(items) => Value::List(all(items)),
            Value::Tuple(items) => Value::Tuple(all(items)),
            Value::Set(items) => Value::Set(all(items)),
            Value::Dict(dict) => Value::Dict(Dict {
                kind: dict.kind,
                items: dict.items.iter().map(|(k, v)| (moved(k), moved(v))).collect(),
                attributes: dict.attributes.as_ref().map(moved),
            }),
            Value::Tensor(i) => Value::Tensor(i + tensors),
            Value::Array(i) => Value::Array(i + tensors),
            Value::Sparse(sparse) => Value::Sparse(Box::new(Sparse {
                parts: sparse.parts.iter().map(|(name, id)| (*name, moved(id))).collect(),
                ..(**sparse).clone()
            })),
            Value::Object(object) => Value::Object(Box::new(Object {
                class: object.class.clone(),
                arguments: object.arguments.as_ref().map(moved),
                state: object.state.as_ref().map(moved),
            })),
            plain => plain.clone(),
        }));
        NodeId(by)
    }

    /// The path of the first value that is neither a tensor nor a container of values, if there is one.
    pub(super) fn first_plain_value(&self) -> Option<String> {
        // Each visited value with its key and its parent's place in this list.
        let mut visited: Vec<(NodeId, String, usize)> = Vec::new();
        let mut seen = vec![false; self.values.len()];
        let mut stack = vec![(self.root, String::new(), 0)];
        while let Some((id, key, parent)) = stack.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            let place = visited.len();
            visited.push((id, key, parent));
            match self.value(id) {
                Value::Tensor(_) | Value::Array(_) => {}
                Value::List(items) | Value::Tuple(items) => {
                    stack.extend(items.iter().enumerate().rev().map(|(i, &v)| (v, i.to_string(), place)));
                }
                Value::Dict(dict) => {
                    stack.extend(dict.items.iter().rev().map(|&(k, v)| (v, self.key_text(k), place)));
                }
                _ => {
                    let mut keys = Vec::new();
                    let mut at = place;
                    while at != 0 {
                        keys.push(visited[at].1.as_str());
                        at = visited[at].2;
                    }
                    keys.reverse();
                    return Some(keys.join("."));
                }
            }
        }
        None
    }

    /// A dict's key as a part of a name.
    pub(crate) fn key_text(&self, key: NodeId) -> String {
        match self.value(key) {
            Value::Str(s) => s.clone(),
            Value::Int(i) => i.to_string(),
            Value::Bool(b) => (if *b { "True" } else { "False" }).to_owned(),
            Value::None => "None".to_owned(),
            Value::Float(x) => format!("{x:?}"),
            Value::DType(name) => format!("torch.{name}"),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "?".to_owned(),
        }
    }
}

/// Something that [`Tree`] can put into a container: a value, or the index of one that is there.
pub trait IntoNode {
    /// Adds it where it is not there yet.
    fn into_node(self, tree: &mut Tree) -> NodeId;
}

impl IntoNode for NodeId {
    fn into_node(self, _: &mut Tree) -> NodeId {
        self
    }
}

impl<T: Into<Value>> IntoNode for T {
    fn into_node(self, tree: &mut Tree) -> NodeId {
        tree.add(self)
    }
}

macro_rules! from {
    ($($t:ty => $variant:ident,)*) => {
        $(impl From<$t> for Value {
            fn from(x: $t) -> Self {
                Self::$variant(x.into())
            }
        })*
    };
}

from! {
    bool => Bool,
    i64 => Int,
    i32 => Int,
    f64 => Float,
    &str => Str,
    String => Str,
}

impl From<DType> for Value {
    fn from(dtype: DType) -> Self {
        Self::DType(dtype.name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_small() {
        assert!(size_of::<Value>() <= 48, "a hostile file makes millions of them: {}", size_of::<Value>());
    }
}
