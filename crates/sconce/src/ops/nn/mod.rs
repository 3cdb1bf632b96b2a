//! Functions of layers: those of `torch.nn.functional` that are more than a formula.

pub(crate) mod adaptive;
mod along;
pub(crate) mod attention;
pub(crate) mod bag;
pub(crate) mod conv;
pub(crate) mod ctc;
pub(crate) mod distance;
pub(crate) mod dropout;
pub(crate) mod grid;
pub(crate) mod lstm;
pub(crate) mod margin;
pub(crate) mod norm;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod resize;
pub(crate) mod shuffle;
pub(crate) mod unpool;
