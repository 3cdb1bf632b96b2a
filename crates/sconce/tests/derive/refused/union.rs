use sconce::Module;

#[derive(Module)]
union Bits {
    float: f32,
    int: u32,
}

fn main() {}
