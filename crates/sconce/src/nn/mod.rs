//! Modules, layers and losses; PyTorch's `torch.nn`.

mod containers;
mod conv;
mod convert;
mod dict;
mod ext;
mod file;
pub mod init;
mod layer;
mod leaf;
mod linear;
mod load;
mod loss;
mod module;
mod norm;
mod place;
mod pool;
mod sequential;
mod simple;
mod state_dict;
mod summary;
mod walk;

pub use conv::{Conv2d, Conv2dConfig, Padding, PaddingMode, Pair};
pub use dict::ModuleDict;
pub use ext::ModuleExt;
pub(crate) use ext::each_parameter;
pub use file::LoadOptions;
pub use layer::Layer;
pub use leaf::{Buffer, Mode, Param};
pub use linear::{Linear, LinearConfig};
pub use load::{DTypes, LoadReport, Mismatch, Strictness, Unmatched};
pub use loss::{CrossEntropyLoss, MSELoss};
#[doc(hidden)]
pub use module::AsModule;
pub use module::{Leaf, LeafMut, Module};
pub use norm::{BatchNorm1d, BatchNorm2d, BatchNormConfig};
pub use pool::MaxPool2d;
pub use sequential::Sequential;
pub use simple::{Dropout, Flatten, Identity, ReLU};
pub use state_dict::StateDict;
pub use summary::{Summary, SummaryItem, SummaryRow};
