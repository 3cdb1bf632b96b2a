//! What checkpoints hold: how it is written and read.

use crate::io::{Archive, NodeId, Tree, Value};
use crate::nn::{Buffer, Param, StateDict};
use crate::tensor::Tensor;
use crate::{Error, Result};

use super::view::View;

/// Something that a [`Checkpoint`](super::Checkpoint) can hold.
///
/// ```
/// use sconce::checkpoint::{Builder, Checkpoint, Restore, Store, View};
/// use sconce::{Result, io::NodeId};
///
/// #[derive(Debug, PartialEq)]
/// struct Progress {
///     epoch: i64,
///     best: f64,
/// }
///
/// impl Store for Progress {
///     fn store(&self, to: &mut Builder) -> Result<NodeId> {
///         let items = [("epoch", to.put("epoch", self.epoch)?), ("best", to.put("best", self.best)?)];
///         Ok(to.tree().dict(items))
///     }
/// }
///
/// impl Restore for Progress {
///     fn restore(from: &View<'_>) -> Result<Self> {
///         Ok(Self { epoch: from.get("epoch")?, best: from.get("best")? })
///     }
/// }
///
/// let mut checkpoint = Checkpoint::new();
/// checkpoint.insert("progress", Progress { epoch: 3, best: 0.25 })?;
/// assert_eq!(checkpoint.get::<Progress>("progress")?, Progress { epoch: 3, best: 0.25 });
/// # Ok::<(), sconce::Error>(())
/// ```
pub trait Store {
    /// Adds the item to what is being written and returns its node.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    fn store(&self, to: &mut Builder) -> Result<NodeId>;
}

/// Something that can be read from a [`Checkpoint`](super::Checkpoint); see [`Store`] for an example.
pub trait Restore: Sized {
    /// Makes the item from what is at a place of a checkpoint.
    ///
    /// # Errors
    ///
    /// If something else is there.
    fn restore(from: &View<'_>) -> Result<Self>;
}

/// An item on its way into a checkpoint: its values and its tensors.
#[derive(Debug)]
pub struct Builder {
    archive: Archive,
    tree: Tree,
    /// Keys from the checkpoint to here.
    path: Vec<String>,
}

impl Builder {
    pub(super) fn new(key: &str) -> Self {
        Self { archive: Archive::new(), tree: Tree::new(), path: vec![key.to_owned()] }
    }

    /// The nested structure, to add values to.
    pub fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Adds a part of the item; `key` is what messages call it.
    ///
    /// # Errors
    ///
    /// If the part cannot be written.
    pub fn put(&mut self, key: impl Into<String>, part: impl Store) -> Result<NodeId> {
        self.path.push(key.into());
        let node = part.store(self)?;
        self.path.pop();
        Ok(node)
    }

    fn tensor(&mut self, tensor: &Tensor) -> Result<NodeId> {
        let index = self.archive.push_tensor(self.path.join("."), tensor)?;
        Ok(self.tree.add(Value::Tensor(index)))
    }

    pub(super) fn finish(mut self, root: NodeId) -> Result<Archive> {
        self.tree.set_root(root);
        self.archive.set_tree(self.tree)?;
        Ok(self.archive)
    }
}

/// Python's name of what a value is.
pub(super) fn kind(value: &Value) -> &str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::BigInt(_) => "int",
        Value::Float(_) => "float",
        Value::Complex(..) => "complex",
        Value::Str(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::ByteArray(_) => "bytearray",
        Value::List(_) => "list",
        Value::Tuple(_) => "tuple",
        Value::Set(_) => "set",
        Value::Dict(_) => "dict",
        Value::Size(_) => "torch.Size",
        Value::DType(_) => "torch.dtype",
        Value::Device(_) => "torch.device",
        Value::Constant(name) => name,
        Value::Tensor(_) => "tensor",
        Value::Array(_) => "array",
        Value::Sparse(_) => "sparse tensor",
        Value::Object(object) => &object.class,
    }
}

impl<T: Store + ?Sized> Store for &T {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        (**self).store(to)
    }
}

/// Implements both directions for types that are one value.
macro_rules! plain {
    ($($t:ty, $name:literal, $into:ident, $($pattern:pat => $value:expr),+;)*) => {
        $(impl Store for $t {
            fn store(&self, to: &mut Builder) -> Result<NodeId> {
                Ok(to.tree.add(Value::$into(self.clone())))
            }
        }

        impl Restore for $t {
            fn restore(from: &View<'_>) -> Result<Self> {
                match from.value() {
                    $($pattern => Ok($value),)+
                    _ => Err(from.expected($name)),
                }
            }
        })*
    };
}

plain! {
    bool, "bool", Bool, Value::Bool(b) => *b;
    i64, "int", Int, Value::Int(i) => *i;
    f64, "float", Float, Value::Float(x) => *x, Value::Int(i) => *i as f64;
    String, "str", Str, Value::Str(s) => s.clone();
}

impl Store for str {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        Ok(to.tree.add(self))
    }
}

impl<T: Store> Store for Option<T> {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        match self {
            Some(item) => item.store(to),
            None => Ok(to.tree.add(Value::None)),
        }
    }
}

impl<T: Restore> Restore for Option<T> {
    fn restore(from: &View<'_>) -> Result<Self> {
        match from.value() {
            Value::None => Ok(None),
            _ => T::restore(from).map(Some),
        }
    }
}

impl<T: Store> Store for [T] {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let nodes: Vec<NodeId> =
            self.iter().enumerate().map(|(i, item)| to.put(i.to_string(), item)).collect::<Result<_>>()?;
        Ok(to.tree.add(Value::List(nodes)))
    }
}

impl<T: Store> Store for Vec<T> {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        self.as_slice().store(to)
    }
}

impl<T: Restore> Restore for Vec<T> {
    fn restore(from: &View<'_>) -> Result<Self> {
        from.list()?.iter().map(T::restore).collect()
    }
}

impl Store for Tensor {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        to.tensor(self)
    }
}

impl Restore for Tensor {
    fn restore(from: &View<'_>) -> Result<Self> {
        from.tensor()
    }
}

impl Store for Param {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        to.tensor(self)
    }
}

impl Store for Buffer {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        to.tensor(self)
    }
}

impl Store for StateDict {
    fn store(&self, to: &mut Builder) -> Result<NodeId> {
        let mut items = Vec::with_capacity(self.len());
        for (name, tensor) in self {
            items.push((name, to.put(name, tensor)?));
        }
        Ok(to.tree.ordered_dict(items))
    }
}

impl Restore for StateDict {
    fn restore(from: &View<'_>) -> Result<Self> {
        let mut state = Self::new();
        for (name, tensor) in from.items()? {
            let name: String = name.restore()?;
            if state.insert(name, tensor.restore()?).is_some() {
                return Err(Error::load("two tensors have one name").context(tensor.path()));
            }
        }
        Ok(state)
    }
}
