//! A place in a checkpoint, to read from.

use std::cell::{Cell, RefCell};

use crate::io::limits::MAX_STEPS_PER_VALUE;
use crate::io::{Archive, NodeId, Tensors, Tree, Value};
use crate::select::near::did_you_mean;
use crate::tensor::Tensor;
use crate::{Error, Result};

use super::item::{Restore, kind};

/// What reading one item shares.
#[derive(Debug)]
struct Reading<'a> {
    tree: &'a Tree,
    tensors: RefCell<Tensors<'a>>,
    /// Steps that may still be taken: parts of a hostile file can hold each other so often that nobody could list them.
    steps: Cell<usize>,
}

/// A place in a checkpoint, as [`Restore`] sees it.
#[derive(Debug)]
pub struct View<'a> {
    reading: &'a Reading<'a>,
    node: NodeId,
    path: String,
}

pub(super) fn restore<T: Restore>(archive: &Archive, tree: &Tree, node: NodeId, key: &str) -> Result<T> {
    let reading = Reading {
        tree,
        tensors: RefCell::new(Tensors::new(archive)),
        steps: Cell::new(links(tree).saturating_mul(MAX_STEPS_PER_VALUE)),
    };
    T::restore(&View { reading: &reading, node, path: key.to_owned() })
}

/// How many values there are, and how often one holds another.
fn links(tree: &Tree) -> usize {
    let held = |value: &Value| match value {
        Value::List(items) | Value::Tuple(items) => items.len(),
        Value::Dict(dict) => dict.items.len(),
        _ => 0,
    };
    tree.values().iter().map(|value| 1 + held(value)).sum()
}

impl<'a> View<'a> {
    /// The value that is here.
    pub fn value(&self) -> &'a Value {
        self.reading.tree.value(self.node)
    }

    /// Keys from the checkpoint to here, joined by dots.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads what is here.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn restore<T: Restore>(&self) -> Result<T> {
        T::restore(self)
    }

    /// Reads the value of a string key of the dict that is here.
    ///
    /// # Errors
    ///
    /// If here is no dict, it has no such key, or its value is something else.
    pub fn get<T: Restore>(&self, key: &str) -> Result<T> {
        match self.find(key)? {
            Some(value) => value.restore(),
            None => {
                let Value::Dict(dict) = self.value() else { return Err(self.expected("dict")) };
                let keys: Vec<String> =
                    dict.items.iter().map(|&(key, _)| self.reading.tree.key_text(key)).collect();
                let near = did_you_mean(key, keys.iter().map(String::as_str));
                Err(Error::load(format!("no key `{key}`{near}")).context(&self.path))
            }
        }
    }

    /// The value of a string key of the dict that is here, if it has one.
    ///
    /// # Errors
    ///
    /// If here is no dict.
    pub fn find(&self, key: &str) -> Result<Option<View<'a>>> {
        let Value::Dict(_) = self.value() else { return Err(self.expected("dict")) };
        self.step(1)?;
        Ok(self.reading.tree.lookup(self.node, key).map(|node| self.child(node, key)))
    }

    /// Keys and values of the dict that is here, in order.
    ///
    /// # Errors
    ///
    /// If here is no dict.
    pub fn items(&self) -> Result<Vec<(View<'a>, View<'a>)>> {
        let Value::Dict(dict) = self.value() else { return Err(self.expected("dict")) };
        self.step(dict.items.len())?;
        let pair = |&(key, value): &(NodeId, NodeId)| {
            let text = self.reading.tree.key_text(key);
            (self.child(key, &text), self.child(value, &text))
        };
        Ok(dict.items.iter().map(pair).collect())
    }

    /// The items of the list or tuple that is here, in order.
    ///
    /// # Errors
    ///
    /// If here is neither.
    pub fn list(&self) -> Result<Vec<View<'a>>> {
        let (Value::List(items) | Value::Tuple(items)) = self.value() else {
            return Err(self.expected("list"));
        };
        self.step(items.len())?;
        Ok(items.iter().enumerate().map(|(i, &node)| self.child(node, &i.to_string())).collect())
    }

    /// The tensor that is here.
    ///
    /// # Errors
    ///
    /// If here is none, its elements are of a type that no tensor has, or the file cannot be read.
    pub fn tensor(&self) -> Result<Tensor> {
        let (Value::Tensor(index) | Value::Array(index)) = self.value() else {
            return Err(self.expected("tensor"));
        };
        let mut tensors = self.reading.tensors.borrow_mut();
        match tensors.archive().entries().get(*index) {
            Some(entry) => tensors.read(entry),
            None => Err(self.expected("tensor")),
        }
    }

    /// The error that something else is here.
    pub fn expected(&self, what: &str) -> Error {
        Error::load(format!("expected {what}, found {}", kind(self.value()))).context(&self.path)
    }

    fn child(&self, node: NodeId, key: &str) -> View<'a> {
        View { reading: self.reading, node, path: format!("{}.{}", self.path, key.escape_debug()) }
    }

    fn step(&self, steps: usize) -> Result<()> {
        match self.reading.steps.get().checked_sub(steps) {
            Some(left) => {
                self.reading.steps.set(left);
                Ok(())
            }
            None => Err(Error::format("its parts hold each other too often").context(&self.path)),
        }
    }
}
