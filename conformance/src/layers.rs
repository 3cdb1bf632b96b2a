//! The library's modules, by PyTorch's names. To support a module, add one row.

use sconce::nn::{self, Layer, Module};

use crate::outcome::Stop;
use crate::registry::Call;
use crate::tensors::Val;
use crate::tree::Forward;

/// One class of modules.
pub(crate) struct Row {
    pub(crate) class: &'static str,
    /// The constructor's parameters, in the notation of `signatures.json`.
    pub(crate) parameters: &'static [&'static str],
    pub(crate) build: fn(&Call) -> Result<Box<dyn Forward>, Stop>,
}

/// The row of a class.
pub(crate) fn find(class: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.class == class)
}

/// A layer: one tensor in, one out.
struct One<M>(M);

impl<M: Module> Module for One<M> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        self.0.fields(f);
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        self.0.fields_mut(f);
    }

    fn type_name(&self) -> &'static str {
        self.0.type_name()
    }
}

impl<M: Layer> Forward for One<M> {
    fn forward(&self, a: &Call) -> Result<Val, Stop> {
        Ok(self.0.forward(a.input()?)?.into())
    }
}
