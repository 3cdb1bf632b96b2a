//! File formats: what is read, what is written, and what is refused.

mod damage;
mod fuzz;
mod gguf;
mod hostile;
mod interchange;
mod legacy;
mod load_save;
mod npy;
mod onnx;
mod pytorch;
mod round_trip;
mod safetensors;
mod zip;
