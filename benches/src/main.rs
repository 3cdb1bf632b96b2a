//! Measures sconce.
fn main() {}
