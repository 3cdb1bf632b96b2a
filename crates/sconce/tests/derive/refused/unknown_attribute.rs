use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Model {
    #[module(ignore)]
    first: Leaf,
    #[module(name = "b")]
    second: Leaf,
    #[module(skip, with(x))]
    third: Leaf,
}

fn main() {}
