//! Modules under names, in the order of insertion.

use indexmap::IndexMap;

use super::module::Module;
use crate::{Error, Result};

/// Modules under names, in the order of insertion; PyTorch's `ModuleDict`.
///
/// ```
/// use sconce::nn::{Linear, ModuleDict};
/// use sconce::prelude::*;
///
/// let mut heads = ModuleDict::new();
/// heads.insert("value", Linear::new(2, 1)?)?;
/// heads.insert("action", Linear::new(2, 3)?)?;
/// assert_eq!(heads.named_parameters()[0].0, "value.weight");
/// assert_eq!(heads.get("action").unwrap().weight.shape(), [3, 2]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModuleDict<M>(IndexMap<String, M>);

impl<M> Default for ModuleDict<M> {
    fn default() -> Self {
        Self(IndexMap::new())
    }
}

impl<M: Module> ModuleDict<M> {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a module under a name and returns the one that was there, whose place it takes.
    ///
    /// # Errors
    ///
    /// If the name is empty or has a `.` in it.
    pub fn insert(&mut self, name: impl Into<String>, module: M) -> Result<Option<M>> {
        let name = name.into();
        check_name("ModuleDict", &name)?;
        Ok(self.0.insert(name, module))
    }

    /// Takes a module out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<M> {
        self.0.shift_remove(name)
    }

    /// The module of a name.
    pub fn get(&self, name: &str) -> Option<&M> {
        self.0.get(name)
    }

    /// The module of a name, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut M> {
        self.0.get_mut(name)
    }

    /// Names and modules, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &M)> {
        self.0.iter().map(|(name, module)| (name.as_str(), module))
    }

    /// How many modules there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Refuses a name that is not one segment of a path, as PyTorch does.
pub(super) fn check_name(container: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains('.') {
        return Err(Error::argument(format!(
            "{container}: the name `{name}` of a module must not be empty or contain `.`"
        )));
    }
    Ok(())
}

impl<M: Module> Module for ModuleDict<M> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        for (name, module) in &self.0 {
            f(name, module);
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        for (name, module) in &mut self.0 {
            f(name, module);
        }
    }

    fn type_name(&self) -> &'static str {
        "ModuleDict"
    }
}
