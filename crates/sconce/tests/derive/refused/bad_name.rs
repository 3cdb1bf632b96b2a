use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Model {
    #[module(rename = "")]
    first: Leaf,
    #[module(rename = "a.b")]
    second: Leaf,
}

fn main() {}
