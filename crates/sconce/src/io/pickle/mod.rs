//! Pickles, interpreted symbolically and written.
//!
//! A pickle is a program for a stack machine. The machine here builds descriptions only: "the function F called with
//! these arguments" stays exactly that, an object that says so. What a description means is decided afterwards, by code
//! that knows each name it accepts. Nothing is imported, looked up or called, and names that are not on the list of
//! allowed ones are an error, which lists them all.
//!
//! Objects live in an arena and refer to each other by index, so objects that are shared stay shared, objects that
//! contain themselves are no problem, and neither reading nor dropping recurses.

mod machine;
mod stream;
mod write;

pub(super) use self::machine::run;
pub(super) use self::stream::run_at;
pub(super) use self::write::{Tensor, write};

use crate::io::tree::DictKind;

/// An index into [`Pickle::objects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ref(pub(super) u32);

/// What a pickle describes.
#[derive(Debug)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Box<[u8]>),
    Float(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
    ByteArray(Box<[u8]>),
    Tuple(Box<[Ref]>),
    List(Vec<Ref>),
    Set(Vec<Ref>),
    Dict(Box<DictObject>),
    /// A named function, class or constant: an index into [`Pickle::globals`].
    Global(u32),
    /// A reference to something outside, by its persistent id.
    Persistent(Ref),
    Call(Box<Call>),
}

/// A dict or one of its kin.
#[derive(Debug)]
pub(super) struct DictObject {
    pub(super) kind: DictKind,
    pub(super) items: Vec<(Ref, Ref)>,
    pub(super) state: Option<Ref>,
}

/// What calling a function or making an object of a class would give.
#[derive(Debug)]
pub(super) struct Call {
    /// An index into [`Pickle::globals`].
    pub(super) callee: u32,
    /// A tuple.
    pub(super) arguments: Ref,
    pub(super) state: Option<Ref>,
}

/// What a global may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Nothing: asking for it is an error.
    Refused,
    /// It may stand as a value.
    Constant,
    /// It may be called.
    Function,
    /// It may be called and be given a state.
    Class,
    /// Calling it gives a dict.
    Dict(DictKind),
}

/// The result of running a pickle.
pub(super) struct Pickle {
    pub(super) objects: Vec<Object>,
    /// Full names, such as `torch._utils._rebuild_tensor_v2`.
    pub(super) globals: Vec<String>,
    pub(super) root: Ref,
}

impl Pickle {
    pub(super) fn get(&self, r: Ref) -> &Object {
        &self.objects[r.0 as usize]
    }

    pub(super) fn global(&self, index: u32) -> &str {
        &self.globals[index as usize]
    }
}
