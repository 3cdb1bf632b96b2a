//! What a module shows of itself: its fields by name, and what a leaf is.

use std::fmt::Debug;

use super::leaf::{Buffer, Mode, Param};

/// A tree of named parameters and buffers.
///
/// `#[derive(Module)]` writes the implementation for a struct or an enum: every field becomes a child under its own
/// name, so the names are those of PyTorch's `nn.Module`. What a user calls (`named_parameters`, `state_dict`, `to`,
/// …) is in [`ModuleExt`](super::ModuleExt), which every module has. A forward pass is an ordinary method; a module of
/// one input and one output may also implement [`Layer`](super::Layer).
///
/// ```
/// use sconce::nn::{Linear, ReLU};
/// use sconce::prelude::*;
///
/// #[derive(Module)]
/// struct Net {
///     fc1: Linear,
///     act: ReLU,
///     fc2: Linear,
/// }
///
/// let net = Net { fc1: Linear::new(4, 3)?, act: ReLU, fc2: Linear::new(3, 2)? };
/// let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// These are modules too: [`Param`], [`Buffer`], [`Mode`], numbers, `bool`, `char` and strings (leaves); `Option` and
/// `Box` (which add nothing to a path); `Vec`, arrays, tuples, `BTreeMap<String, _>` and
/// [`ModuleDict`](super::ModuleDict) (index or key as a segment of the path).
#[diagnostic::on_unimplemented(
    note = "derive `Module`, or mark the field `#[module(skip)]` if it holds no tensors"
)]
pub trait Module: AsModule + Send + Sync {
    /// Calls `f` with the name and the value of each field, in the order of declaration.
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module));

    /// As [`fields`](Self::fields), to change them.
    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module));

    /// What this is, if it is no module of its own but a leaf of one.
    fn leaf(&self) -> Option<Leaf<'_>> {
        None
    }

    /// As [`leaf`](Self::leaf), to change it.
    fn leaf_mut(&mut self) -> Option<LeafMut<'_>> {
        None
    }

    /// The name of the type, without its path.
    fn type_name(&self) -> &'static str;

    /// What all places of a module that is at several have in common; see [`Shared`](super::Shared).
    fn identity(&self) -> Option<usize> {
        None
    }
}

/// The end of a path in a module.
#[derive(Debug)]
#[non_exhaustive]
pub enum Leaf<'a> {
    /// A trained tensor.
    Param(&'a Param),
    /// A tensor that is state, not trained.
    Buffer(&'a Buffer),
    /// Whether the module trains or evaluates.
    Mode(Mode),
    /// A number, a flag or a string: a hyper-parameter, shown by a summary.
    Setting(&'a dyn Debug),
    /// A size of a layer that its parameters' shapes repeat; a setting, too.
    Size(&'a usize),
    /// A `None`: nothing is there, not even a name.
    Absent,
}

/// The end of a path in a module, to change it.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeafMut<'a> {
    /// A trained tensor.
    Param(&'a mut Param),
    /// A tensor that is state, not trained.
    Buffer(&'a mut Buffer),
    /// Whether the module trains or evaluates.
    Mode(&'a mut Mode),
    /// How much of a batch goes into the running statistics of a batch normalisation; `None` for the mean of all.
    Momentum(&'a mut Option<f64>),
    /// A size of a layer that its parameters' shapes repeat.
    Size(&'a mut usize),
}

/// Lets generic code over `M: Module + ?Sized` make a `&dyn Module`; implemented for every module.
pub trait AsModule {
    /// This module as a trait object.
    fn as_module(&self) -> &(dyn Module + '_);

    /// This module as a trait object, to change it.
    fn as_module_mut(&mut self) -> &mut (dyn Module + '_);
}

impl<M: Module> AsModule for M {
    fn as_module(&self) -> &(dyn Module + '_) {
        self
    }

    fn as_module_mut(&mut self) -> &mut (dyn Module + '_) {
        self
    }
}
