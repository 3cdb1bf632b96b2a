//! What `#[derive(Module)]` accepts, and the message for each thing that it refuses.

#[path = "derive/enums.rs"]
mod enums;
#[path = "derive/generics.rs"]
mod generics;
#[path = "derive/structs.rs"]
mod structs;

/// Nothing here is to be run, so that the library is checked for it and not built once more.
#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("tests/derive/refused/*.rs");
}
