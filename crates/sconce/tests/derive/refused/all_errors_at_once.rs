use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
#[module(transparent)]
struct Model {
    #[module(ignore)]
    first: Leaf,
    #[module(rename = "", skip)]
    second: Leaf,
    #[module(rename = "first")]
    third: Leaf,
}

fn main() {}
