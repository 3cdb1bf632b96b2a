//! The same in a variant.

use sconce::Module;

struct Tokenizer;

#[derive(Module)]
enum Model {
    Words(Tokenizer),
    Bytes,
}

fn main() {}
