//! Runs recorded PyTorch cases against sconce.
fn main() {}
