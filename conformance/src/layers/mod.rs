//! The library's modules, by PyTorch's names. To support a module, add one row to the table of its family.

mod elementwise;
mod losses;
mod recurrent;
mod spatial;
pub(crate) mod transformer;
mod weighted;

use sconce::nn::{Layer, Module};

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
    TABLES.iter().flat_map(|table| table.iter()).find(|row| row.class == class)
}

const TABLES: &[&[Row]] = &[
    elementwise::TABLE,
    losses::TABLE,
    recurrent::TABLE,
    spatial::TABLE,
    transformer::TABLE,
    weighted::TABLE,
];

/// Rows of a table: `"nn.GLU"("dim=-1") => |a| …;`.
macro_rules! modules {
    ($($class:literal($($parameter:literal),*) => |$a:ident| $build:expr;)*) => {
        &[$(crate::layers::Row { class: $class, parameters: &[$($parameter),*], build: |$a| $build }),*]
    };
}
use modules;

/// A layer: one tensor in, one out.
struct One<M>(M);

fn one(layer: impl Layer + 'static) -> Result<Box<dyn Forward>, Stop> {
    Ok(Box::new(One(layer)))
}

/// A module with the names of its forward's parameters, and how that is called.
struct Called<M> {
    module: M,
    takes: &'static [&'static str],
    call: fn(&M, &Call) -> Result<Val, Stop>,
}

fn called<M: Module + 'static>(
    module: M,
    takes: &'static [&'static str],
    call: fn(&M, &Call) -> Result<Val, Stop>,
) -> Result<Box<dyn Forward>, Stop> {
    Ok(Box::new(Called { module, takes, call }))
}

/// Wrappers show the module that they hold as themselves.
macro_rules! transparent {
    ($($wrapper:ident.$field:tt),*) => {
        $(impl<M: Module> Module for $wrapper<M> {
            fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
                self.$field.fields(f);
            }

            fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
                self.$field.fields_mut(f);
            }

            fn type_name(&self) -> &'static str {
                self.$field.type_name()
            }
        })*
    };
}

transparent!(One.0, Called.module);

impl<M: Layer> Forward for One<M> {
    fn forward(&self, a: &Call) -> Result<Val, Stop> {
        Ok(self.0.forward(a.input()?)?.into())
    }
}

impl<M: Module> Forward for Called<M> {
    fn takes(&self) -> &'static [&'static str] {
        self.takes
    }

    fn forward(&self, a: &Call) -> Result<Val, Stop> {
        (self.call)(&self.module, a)
    }
}
