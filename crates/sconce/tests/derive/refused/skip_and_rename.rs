use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Model {
    #[module(skip, rename = "a")]
    first: Leaf,
    #[module(rename = "b")]
    #[module(skip)]
    second: Leaf,
}

fn main() {}
