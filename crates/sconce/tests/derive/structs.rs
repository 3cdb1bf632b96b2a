//! Named, tuple and unit structs; raw names, `skip` and `rename`.

use sconce::Module;
use std::sync::atomic::AtomicUsize;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Pair(Leaf, #[module(skip)] [AtomicUsize; 1], Leaf);

#[derive(Module)]
struct Block {
    pair: Pair,
    r#type: Leaf,
    #[module(rename = "0")]
    first: Leaf,
    /// Skipped, hence free to have no modules in it.
    #[module(skip)]
    calls: AtomicUsize,
    #[module(rename = "calls")]
    last: Leaf,
}

#[derive(Module)]
#[allow(non_camel_case_types)]
struct r#enum {}

#[derive(Module)]
struct Nothing();

fn names(module: &mut dyn Module) -> Vec<String> {
    let mut names = Vec::new();
    module.fields(&mut |name, _| names.push(name.to_owned()));
    let mut again = Vec::new();
    module.fields_mut(&mut |name, _| again.push(name.to_owned()));
    assert_eq!(names, again);
    names
}

#[test]
fn named_tuple_and_unit_structs() {
    let pair = || Pair(Leaf, [AtomicUsize::new(0)], Leaf);
    let block =
        &mut Block { pair: pair(), r#type: Leaf, first: Leaf, calls: AtomicUsize::new(0), last: Leaf };
    assert_eq!(names(block), ["pair", "type", "0", "calls"]);
    assert_eq!(block.type_name(), "Block");
    assert_eq!(block.calls.get_mut(), &0);

    let mut types = Vec::new();
    block.fields(&mut |_, module| types.push(module.type_name()));
    assert_eq!(types, ["Pair", "Leaf", "Leaf", "Leaf"]);

    // The visited reference outlives the visitor, and it is the field.
    let mut first: Option<&dyn Module> = None;
    block.fields(&mut |_, module| first = first.or(Some(module)));
    assert!(std::ptr::addr_eq(first.unwrap(), &block.pair));

    assert_eq!(names(&mut pair()), ["0", "2"]);
    assert_eq!(pair().1[0].get_mut(), &0);
    assert!(names(&mut Leaf).is_empty());
    assert!(names(&mut Nothing()).is_empty());
    assert_eq!(r#enum {}.type_name(), "enum");
}
