use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Model {
    #[module(skip, skip)]
    first: Leaf,
    #[module(rename = "b")]
    #[module(rename = "c")]
    second: Leaf,
}

fn main() {}
