//! Parameters of every kind, `where` clauses, recursive types, and types that come from another macro.

#![deny(warnings)]

use sconce::Module;
use std::fmt::Debug;

#[derive(Module)]
struct Leaf;

trait Family {
    type Member;
}

impl Family for u8 {
    type Member = Leaf;
}

#[derive(Module)]
struct Generic<T: Debug + Send + Sync, U, const N: usize>
where
    U: Clone,
{
    inner: Holder<U>,
    #[module(skip)]
    setting: [T; N],
}

/// A derived bound reaches a type parameter within another type.
#[derive(Module)]
struct Holder<T> {
    held: T,
}

/// An associated type is the user's to bound; the parameter itself needs no `Module`.
#[derive(Module)]
struct Associated<F: Family>
where
    F::Member: Module,
{
    member: F::Member,
}

/// The lifetimes of the generated methods do not meet the user's.
#[derive(Module)]
struct Borrowed<'a, T: Sync> {
    leaf: Leaf,
    #[module(skip)]
    borrowed: &'a T,
}

#[derive(Module)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[derive(Module)]
struct Open {
    layers: Vec<Box<dyn Module>>,
}

macro_rules! declare {
    ($name:ident, $ty:ty, $field:ident) => {
        #[derive(Module)]
        struct $name {
            $field: $ty,
            own: Leaf,
        }
    };
}

declare!(Declared, Holder<Leaf>, given);

fn names<M: Module>(module: M) -> Vec<String> {
    let mut names = Vec::new();
    module.fields(&mut |name, _| names.push(name.to_owned()));
    names
}

#[derive(Clone, Module)]
struct Copied;

#[test]
fn parameters_of_every_kind() {
    let generic = Generic { inner: Holder { held: Copied }, setting: ["not a module"; 2] };
    assert_eq!(generic.setting.len(), 2);
    assert_eq!(names(generic), ["inner"]);
    assert_eq!(names(Associated::<u8> { member: Leaf }), ["member"]);
    let borrowed = Borrowed { leaf: Leaf, borrowed: &5 };
    assert_eq!(*borrowed.borrowed, 5);
    assert_eq!(names(borrowed), ["leaf"]);
    assert_eq!(names(Chain { next: Some(Box::new(Chain { next: None })) }), ["next"]);
    assert_eq!(names(Open { layers: vec![Box::new(Leaf)] }), ["layers"]);
    assert_eq!(names(Declared { given: Holder { held: Leaf }, own: Leaf }), ["given", "own"]);
}
