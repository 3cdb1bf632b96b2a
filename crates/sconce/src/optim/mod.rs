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

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod asgd;
mod audit;
mod average;
mod clip;
mod lbfgs;
mod line_search;
mod lion;
mod muon;
mod nadam;
mod optimizer;
mod options;
mod parameters;
mod penalty;
mod radam;
mod rmsprop;
mod rprop;
mod rule;
pub mod schedule;
mod sgd;
mod sparse_adam;
mod state;
mod vector;
mod watch;

pub use adadelta::{Adadelta, AdadeltaState};
pub use adafactor::{Adafactor, AdafactorState};
pub use adagrad::{Adagrad, AdagradState};
pub use adam::{Adam, AdamState, AdamW};
pub use adamax::{Adamax, AdamaxState};
pub use asgd::{Asgd, AsgdState};
pub use audit::{Audit, Outcome};
pub use average::{AveragedModel, Averaging, update_bn};
pub use clip::{ClipOptions, clip_grad_norm_, clip_grad_value_};
pub use lbfgs::{Lbfgs, LbfgsConfig, LineSearch};
pub use lion::{Lion, LionState};
pub use muon::{AdjustLr, Muon, MuonState};
pub use nadam::{NAdam, NAdamState};
pub use optimizer::{Group, Optimizer};
pub use parameters::{Named, Parameters};
pub use penalty::{Penalty, max_norm_};
pub use radam::{RAdam, RAdamState};
pub use rmsprop::{RmsProp, RmsPropState};
pub use rprop::{Rprop, RpropState};
pub use rule::Rule;
pub use schedule::{ReduceLROnPlateau, Schedule, Scheduler};
pub use sgd::{Sgd, SgdState};
pub use sparse_adam::{SparseAdam, SparseAdamState};
pub use state::{GroupState, OptimizerState, Value};
pub use vector::{parameters_to_vector, vector_to_parameters};
pub use watch::{Finding, Gradient, GradientWatch, Observation, Problem, WatchRules};
