use sconce::Module;

#[derive(Module)]
struct Leaf;

#[derive(Module)]
struct Later {
    weight: Leaf,
    #[module(rename = "weight")]
    other: Leaf,
}

#[derive(Module)]
struct Earlier {
    #[module(rename = "weight")]
    other: Leaf,
    weight: Leaf,
}

#[derive(Module)]
struct Tuple(#[module(rename = "1")] Leaf, Leaf);

#[derive(Module)]
enum Variant {
    Good { left: Leaf },
    Bad { left: Leaf, #[module(rename = "left")] right: Leaf },
}

fn main() {}
