//! Optimisers; PyTorch's `torch.optim`.
//!
//! An optimiser is a [`Rule`], which says how one parameter is updated, and the [`Optimizer`], which applies it to all
//! parameters, in groups with options of their own.
//!
//! ```
//! use sconce::nn::{Linear, ModuleExt};
//! use sconce::optim::{Optimizer, Sgd};
//! use sconce::{DType, Tensor};
//!
//! let model = vec![Linear::new(4, 3)?, Linear::new(3, 1)?];
//! let rule = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 1e-4, ..Sgd::default() };
//! let mut optimizer = Optimizer::new(&model, rule)?.group("**.bias", |rule| rule.weight_decay = 0.0)?;
//!
//! for parameter in model.parameters() {
//!     parameter.set_grad(Some(parameter.ones_like()?))?;
//! }
//! optimizer.step()?;
//! optimizer.zero_grad();
//! # Ok::<(), sconce::Error>(())
//! ```

mod adam;
mod audit;
mod clip;
mod optimizer;
mod parameters;
mod rule;
mod sgd;
mod state;

pub use adam::{Adam, AdamState, AdamW};
pub use audit::{Audit, Outcome};
pub use clip::{ClipOptions, clip_grad_norm_, clip_grad_value_};
pub use optimizer::{Group, Optimizer};
pub use parameters::{Named, Parameters};
pub use rule::Rule;
pub use sgd::{Sgd, SgdState};
pub use state::{GroupState, OptimizerState, Value};
