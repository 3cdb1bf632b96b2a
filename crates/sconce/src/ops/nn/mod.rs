//! Functions of layers: what only `torch.nn.functional` has. Activations are formulas and stand with those, `linear` is a
//! product, `embedding` an index; what `torch` itself has, `softmax` for one, is in the folder above.

pub(crate) mod adaptive;
mod along;
pub(crate) mod attention;
pub(crate) mod bag;
pub(crate) mod conv;
pub(crate) mod conv2d;
pub(crate) mod ctc;
pub(crate) mod distance;
pub(crate) mod dropout;
pub(crate) mod grid;
pub(crate) mod instance_norm;
mod integer_windows;
pub(crate) mod loss;
pub(crate) mod lstm;
pub(crate) mod margin;
pub(crate) mod norm;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod pool2d;
pub(crate) mod resize;
pub(crate) mod shuffle;
pub(crate) mod unpool;
