//! Modules, layers and losses; PyTorch's `torch.nn`.

mod containers;
mod convert;
mod dict;
mod ext;
pub mod init;
mod layer;
mod leaf;
mod load;
mod module;
mod sequential;
mod state_dict;
mod summary;
mod walk;

pub use dict::ModuleDict;
pub use ext::ModuleExt;
pub(crate) use ext::each_parameter;
pub use layer::Layer;
pub use leaf::{Buffer, Mode, Param};
pub use load::{LoadReport, Mismatch, Strictness, Unmatched};
#[doc(hidden)]
pub use module::AsModule;
pub use module::{Leaf, LeafMut, Module};
pub use sequential::Sequential;
pub use state_dict::StateDict;
pub use summary::{Summary, SummaryItem, SummaryRow};
