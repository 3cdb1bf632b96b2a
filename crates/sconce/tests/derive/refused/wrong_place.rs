use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
#[module(rename = "model")]
struct Model {
    leaf: Leaf,
}

#[derive(Module)]
enum Choice {
    #[module(skip)]
    First(Leaf),
}

fn main() {}
