//! Standard containers as modules.

use std::collections::BTreeMap;

use super::module::{Leaf, LeafMut, Module};

/// What a `Vec`, an array or a tuple calls itself; see [`is_settings`](super::walk::is_settings).
pub(super) const SEQUENCES: [&str; 3] = ["Vec", "Array", "Tuple"];

/// Writes an index without an allocation.
fn with_index(index: usize, f: impl FnOnce(&str)) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = index;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    f(std::str::from_utf8(&digits[start..]).unwrap_or_default());
}

/// Nothing, or the module itself: no segment of a path.
impl<M: Module> Module for Option<M> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        if let Some(module) = self {
            module.fields(f);
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        if let Some(module) = self {
            module.fields_mut(f);
        }
    }

    fn leaf(&self) -> Option<Leaf<'_>> {
        self.as_ref().map_or(Some(Leaf::Absent), M::leaf)
    }

    fn leaf_mut(&mut self) -> Option<LeafMut<'_>> {
        self.as_mut().and_then(M::leaf_mut)
    }

    fn type_name(&self) -> &'static str {
        self.as_ref().map_or("None", M::type_name)
    }

    fn identity(&self) -> Option<usize> {
        self.as_ref().and_then(M::identity)
    }
}

/// The module itself: no segment of a path.
impl<M: Module + ?Sized> Module for Box<M> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        (**self).fields(f);
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        (**self).fields_mut(f);
    }

    fn leaf(&self) -> Option<Leaf<'_>> {
        (**self).leaf()
    }

    fn leaf_mut(&mut self) -> Option<LeafMut<'_>> {
        (**self).leaf_mut()
    }

    fn type_name(&self) -> &'static str {
        (**self).type_name()
    }

    fn identity(&self) -> Option<usize> {
        (**self).identity()
    }
}

macro_rules! sequence {
    ($([$($generic:tt)*] $type:ty, $name:expr;)*) => {
        $(
            /// Each element under its index, as in PyTorch's `ModuleList`.
            impl<$($generic)*> Module for $type {
                fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
                    for (i, module) in self.iter().enumerate() {
                        with_index(i, |name| f(name, module));
                    }
                }

                fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
                    for (i, module) in self.iter_mut().enumerate() {
                        with_index(i, |name| f(name, module));
                    }
                }

                fn type_name(&self) -> &'static str {
                    $name
                }
            }
        )*
    };
}

sequence! {
    [M: Module] Vec<M>, SEQUENCES[0];
    [M: Module, const N: usize] [M; N], SEQUENCES[1];
}

macro_rules! tuples {
    ($(($($type:ident $index:tt),+);)*) => {
        $(
            /// Each element under its index.
            impl<$($type: Module),+> Module for ($($type,)+) {
                fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
                    $(f(stringify!($index), &self.$index);)+
                }

                fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
                    $(f(stringify!($index), &mut self.$index);)+
                }

                fn type_name(&self) -> &'static str {
                    SEQUENCES[2]
                }
            }
        )*
    };
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
}

/// Each value under its key, in the order of the keys; for the order of insertion there is
/// [`ModuleDict`](super::ModuleDict).
impl<M: Module> Module for BTreeMap<String, M> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        for (name, module) in self {
            f(name, module);
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        for (name, module) in self {
            f(name, module);
        }
    }

    fn type_name(&self) -> &'static str {
        "BTreeMap"
    }
}
