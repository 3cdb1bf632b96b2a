//! What `#[derive(Module)]` accepts, and the message for each thing that it refuses.

#[test]
fn derive_module() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
