//! `#[derive(Module)]` for the `sconce` crate, which re-exports it; use it from there.

mod generate;
mod parse;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `sconce::Module` for a struct or an enum: every field becomes a child under the field's name.
///
/// The macro writes `fields`, `fields_mut` and `type_name`. Fields are shown in the order of their declaration; a field
/// of a tuple struct has its index as name (`"0"`). Of an enum, the fields of the active variant are shown. A unit
/// struct has no fields.
///
/// Nothing is guessed from the names of types: the type of every field must implement `Module`, or the field be marked
/// to be skipped. Type parameters that occur in the type of a shown field get the bound `Module`, in addition to the
/// bounds and the `where` clause of the declaration.
///
/// # Attributes of a field
///
/// - `#[module(skip)]` leaves the field out. It need not implement `Module`, only be `Send + Sync`.
/// - `#[module(rename = "name")]` shows the field under another name, to keep the keys of a checkpoint when the Rust
///   name must differ. The name is one segment of a path: neither empty, nor with a `.` in it.
///
/// # Errors
///
/// These do not compile, and all that apply are reported at once, each at its field: a field whose type is no `Module`,
/// an unknown or repeated attribute, an attribute on the type or on a variant, `skip` together with `rename`, a bad
/// name, and two fields with one name. So does a union, whose active field cannot be known.
///
/// # Example
///
/// ```text
/// use sconce::Module;
///
/// #[derive(Module)]
/// struct Residual<M> {
///     inner: M,
///     #[module(rename = "proj")]
///     projection: Option<Linear>,
///     #[module(skip)]
///     calls: AtomicUsize,
/// }
/// ```
///
/// writes
///
/// ```text
/// impl<M> Module for Residual<M>
/// where
///     M: Module,
/// {
///     fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
///         f("inner", &self.inner);
///         f("proj", &self.projection);
///     }
///
///     fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
///         f("inner", &mut self.inner);
///         f("proj", &mut self.projection);
///     }
///
///     fn type_name(&self) -> &'static str {
///         "Residual"
///     }
/// }
/// ```
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    parse::check(input).map_or_else(|errors| errors.into_compile_error(), generate::implementation).into()
}
