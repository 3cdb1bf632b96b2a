use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Model {
    #[module]
    bare: Leaf,
    #[module()]
    empty: Leaf,
    #[module = "skip"]
    assigned: Leaf,
    #[module(skip = true)]
    valued: Leaf,
    #[module(rename)]
    nameless: Leaf,
    #[module(rename = 3)]
    number: Leaf,
    #[module(rename("x"))]
    called: Leaf,
    #[module("skip")]
    quoted: Leaf,
}

fn main() {}
