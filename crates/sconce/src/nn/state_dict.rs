//! Tensors under names, in order.

use indexmap::IndexMap;

use crate::select::near::did_you_mean;
use crate::select::{Candidate, IntoSelector, Selection};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Tensors under names, in the order of a module's traversal; PyTorch's `state_dict`.
///
/// The tensors of [`ModuleExt::state_dict`](super::ModuleExt::state_dict) share memory with the module and have no
/// history: tied parameters share memory here too.
///
/// ```
/// use sconce::nn::StateDict;
/// use sconce::{DType, Tensor};
///
/// let mut state = StateDict::new();
/// state.insert("bias", Tensor::zeros([3], DType::F32)?);
/// state.insert("weight", Tensor::zeros([3, 4], DType::F32)?);
/// assert_eq!(state.names().collect::<Vec<_>>(), ["bias", "weight"]);
/// assert_eq!(state.get("wieght").unwrap_err().to_string(), "no tensor `wieght`; did you mean `weight`?");
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StateDict(IndexMap<String, Tensor>);

impl StateDict {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a tensor under a name and returns the one that was there, whose place it takes.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.0.insert(name.into(), tensor)
    }

    /// The tensor of a name.
    ///
    /// # Errors
    ///
    /// If there is none; the message says which name is near.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).ok_or_else(|| self.unknown(name))
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Whether a name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a tensor out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.0.shift_remove(name)
    }

    /// Gives a tensor another name and leaves it in its place.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, or another one has the new name.
    pub fn rename(&mut self, from: &str, to: impl Into<String>) -> Result<()> {
        let to = to.into();
        let index = self.0.get_index_of(from).ok_or_else(|| self.unknown(from))?;
        self.0.replace_index(index, to).map(drop).map_err(|(_, to)| {
            Error::argument(format!("rename: another tensor is named `{to}`, so `{from}` cannot be"))
        })
    }

    /// Names and tensors, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names that a selector picks; it may ask for everything but the kind and whether a tensor is trainable.
    ///
    /// # Errors
    ///
    /// If the selector cannot be parsed or picks nothing.
    pub fn select(&self, selector: impl IntoSelector) -> Result<Selection> {
        let candidates = self.iter().map(|(path, tensor)| Candidate {
            path,
            kind: None,
            dtype: tensor.dtype(),
            shape: tensor.shape(),
            trainable: None,
        });
        selector.into_selector()?.select(candidates)
    }

    fn unknown(&self, name: &str) -> Error {
        Error::not_found(format!("no tensor `{name}`{}", did_you_mean(name, self.names())))
    }
}

impl<N: Into<String>> FromIterator<(N, Tensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (N, Tensor)>>(items: I) -> Self {
        Self(items.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect())
    }
}

impl<N: Into<String>> Extend<(N, Tensor)> for StateDict {
    fn extend<I: IntoIterator<Item = (N, Tensor)>>(&mut self, items: I) {
        self.0.extend(items.into_iter().map(|(name, tensor)| (name.into(), tensor)));
    }
}

impl<'a> IntoIterator for &'a StateDict {
    type Item = (&'a str, &'a Tensor);
    type IntoIter = Box<dyn ExactSizeIterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl IntoIterator for StateDict {
    type Item = (String, Tensor);
    type IntoIter = indexmap::map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
