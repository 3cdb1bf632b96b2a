//! A field that is neither a module nor skipped.

use sconce::Module;

struct Tokenizer;

#[derive(Module)]
struct Model {
    tokenizer: Tokenizer,
}

fn main() {}
