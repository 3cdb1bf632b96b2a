//! The one traversal of a module, in PyTorch's order.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::containers::SEQUENCES;
use super::leaf::Param;
use super::module::{Leaf, LeafMut, Module};

/// What the traversal meets.
pub(super) enum Item<'a> {
    Module(&'a dyn Module),
    Leaf(Leaf<'a>),
}

/// What a traversal wants to see; what it does not want costs nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Params,
    Everything,
}

/// Visits modules in pre-order, the root under the empty path; right after a module its own parameters, then its other
/// leaves, each in the order of declaration; then its children.
///
/// Of a parameter that is computed from others, those are visited: after the module's other parameters and leaves, or
/// in modules of their own after its children, as in PyTorch.
///
/// The recursion is as deep as the module is nested, which its drop is as well.
pub(super) fn walk<'a>(root: &'a dyn Module, want: Want, f: &mut dyn FnMut(&str, Item<'a>)) {
    match root.leaf() {
        Some(Leaf::Param(parameter)) if let Some(form) = parameter.form() => {
            module(form, &mut String::new(), want, f);
        }
        Some(leaf) => f("", Item::Leaf(leaf)),
        None => module(root, &mut String::new(), want, f),
    }
}

fn module<'a>(this: &'a dyn Module, path: &mut String, want: Want, f: &mut dyn FnMut(&str, Item<'a>)) {
    f(path, Item::Module(this));
    let (mut late, mut other_leaves, mut children) = (false, false, false);
    this.fields(&mut |name, field| match field.leaf() {
        Some(Leaf::Param(parameter)) if parameter.is_late() => late = true,
        Some(leaf @ Leaf::Param(_)) => at(path, name, |path| f(path, Item::Leaf(leaf))),
        Some(_) => other_leaves = true,
        None => children = true,
    });
    if late {
        each_late(this, &mut |name, parameter| match parameter.form() {
            None => at(path, name, |path| f(path, Item::Leaf(Leaf::Param(parameter)))),
            Some(form) => form.suffixed(name, false, &mut |name, leaf| {
                at(path, name, |path| f(path, Item::Leaf(leaf)));
            }),
        });
    }
    if other_leaves && want == Want::Everything {
        this.fields(&mut |name, field| match field.leaf() {
            None | Some(Leaf::Param(_) | Leaf::Absent) => {}
            Some(leaf) => at(path, name, |path| f(path, Item::Leaf(leaf))),
        });
    }
    if late && want == Want::Everything {
        each_late(this, &mut |name, parameter| {
            if let Some(form) = parameter.form() {
                form.suffixed(name, true, &mut |name, leaf| {
                    at(path, name, |path| f(path, Item::Leaf(leaf)));
                });
            }
        });
    }
    if children {
        this.fields(&mut |name, field| {
            if field.leaf().is_none() {
                at(path, name, |path| {
                    if is_settings(field) {
                        settings(field, path, want, f);
                    } else {
                        module(field, path, want, f);
                    }
                });
            }
        });
    }
    if late {
        let mut first = true;
        each_late(this, &mut |name, parameter| {
            if let Some(form) = parameter.form().filter(|form| form.is_module()) {
                at(path, PARAMETRIZATIONS, |path| {
                    if std::mem::take(&mut first) {
                        f(path, Item::Module(&Parametrizations));
                    }
                    at(path, name, |path| module(form, path, want, f));
                });
            }
        });
    }
}

/// The parameters of a module that are listed after its others.
fn each_late<'a>(this: &'a dyn Module, f: &mut dyn FnMut(&str, &'a Param)) {
    this.fields(&mut |name, field| match field.leaf() {
        Some(Leaf::Param(parameter)) if parameter.is_late() => f(name, parameter),
        _ => {}
    });
}

/// The module that PyTorch keeps parametrisations in.
const PARAMETRIZATIONS: &str = "parametrizations";

/// That module, as a listing shows it.
struct Parametrizations;

impl Module for Parametrizations {
    fn fields<'a>(&'a self, _: &mut dyn FnMut(&str, &'a dyn Module)) {}

    fn fields_mut<'a>(&'a mut self, _: &mut dyn FnMut(&str, &'a mut dyn Module)) {}

    fn type_name(&self) -> &'static str {
        "ModuleDict"
    }
}

/// The leaves of a sequence of settings.
fn settings<'a>(sequence: &'a dyn Module, path: &mut String, want: Want, f: &mut dyn FnMut(&str, Item<'a>)) {
    if want == Want::Everything {
        sequence.fields(&mut |name, field| {
            if let Some(leaf) = field.leaf() {
                at(path, name, |path| f(path, Item::Leaf(leaf)));
            }
        });
    }
}

/// Whether this is a sequence of settings, like a kernel size: not a module that a listing should name.
pub(super) fn is_settings(module: &dyn Module) -> bool {
    if !SEQUENCES.contains(&module.type_name()) {
        return false;
    }
    let (mut any, mut all) = (false, true);
    module.fields(&mut |_, field| {
        any = true;
        all &= matches!(field.leaf(), Some(Leaf::Setting(_) | Leaf::Size(_)));
    });
    any && all
}

/// Calls `f` with the path of a field.
fn at(path: &mut String, name: &str, f: impl FnOnce(&mut String)) {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(name);
    f(path);
    path.truncate(length);
}

/// Visits every leaf that can be changed, in the order of declaration; of a parameter that is computed from others,
/// those.
pub(super) fn walk_mut(module: &mut dyn Module, f: &mut dyn FnMut(LeafMut<'_>)) {
    if module.leaf().is_some() {
        match module.leaf_mut() {
            Some(LeafMut::Param(parameter)) => match parameter.form_mut() {
                Some(form) => {
                    form.fields_mut(&mut |_, field| walk_mut(field, f));
                    parameter.follow();
                }
                None => f(LeafMut::Param(parameter)),
            },
            Some(leaf) => f(leaf),
            None => {}
        }
    } else {
        module.fields_mut(&mut |_, field| walk_mut(field, f));
    }
}

/// Visits every parameter that a module declares, also those that are computed from others, with its path.
pub(super) fn each_declared<'a>(this: &'a dyn Module, path: &mut String, f: &mut dyn FnMut(&str, &'a Param)) {
    match this.leaf() {
        Some(Leaf::Param(parameter)) => f(path, parameter),
        Some(_) => {}
        None => this.fields(&mut |name, field| at(path, name, |path| each_declared(field, path, f))),
    }
}

/// As [`each_declared`], to change them.
pub(super) fn each_declared_mut(
    this: &mut dyn Module,
    path: &mut String,
    f: &mut dyn FnMut(&str, &mut Param),
) {
    each_leaf_mut(this, path, &mut |path, leaf| {
        if let LeafMut::Param(parameter) = leaf {
            f(path, parameter);
        }
    });
}

/// Visits every leaf that a module declares and that can be changed, with its path.
pub(super) fn each_leaf_mut(this: &mut dyn Module, path: &mut String, f: &mut dyn FnMut(&str, LeafMut<'_>)) {
    if this.leaf().is_none() {
        this.fields_mut(&mut |name, field| at(path, name, |path| each_leaf_mut(field, path, f)));
    } else if let Some(leaf) = this.leaf_mut() {
        f(path, leaf);
    }
}

/// The path of the module that a path's leaf is declared in.
pub(super) fn owner_of(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(owner, _)| owner)
}

/// A set of tensors, by identity.
pub(super) type Identities = HashSet<usize, BuildHasherDefault<AddressHasher>>;

/// Spreads addresses: a multiplication, which is far cheaper than the hash of the standard library.
#[derive(Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(byte.into());
        }
    }

    fn write_usize(&mut self, address: usize) {
        // The upper bits of a product depend on all lower bits of the factor; the table takes its index from the lower.
        let product = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}
