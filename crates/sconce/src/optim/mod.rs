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
//!
//! # Regularise
//!
//! No weight decay for biases and the scales of normalisations, in one line: they are what has fewer than two dimensions.
//! Penalties, limits on norms and orthogonality are taken over a selection: see [`Penalty`] and [`max_norm_`].
//!
//! ```
//! use sconce::nn::{BatchNorm1d, Layer, Linear, ModuleExt, Sequential};
//! use sconce::optim::{AdamW, Optimizer, Penalty, max_norm_};
//! use sconce::{DType, Tensor};
//!
//! let model = Sequential::new().add(Linear::new(4, 3)?).add(BatchNorm1d::new(3)?).add(Linear::new(3, 1)?);
//! let mut optimizer = Optimizer::new(&model, AdamW::default())?.group("** & ndim<2", |rule| rule.weight_decay = 0.0)?;
//! let decayed: Vec<&str> = optimizer.groups()[0].parameters().map(|(name, _)| name).collect();
//! assert_eq!(decayed, ["0.weight", "2.weight"]);
//!
//! let weights = model.selected_parameters("**.weight & ndim==2")?;
//! let loss = model.forward(&Tensor::randn([8, 4], DType::F32)?)?.square()?.mean(())?;
//! loss.add(&Penalty::Elastic { l1: 1e-4, l2: 1e-4 }.of(weights.clone())?)?.backward()?;
//! optimizer.step()?;
//! max_norm_(weights, 2.0, 0)?;
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! # Accumulate and limit gradients
//!
//! `backward` adds to the gradients that are there. A large batch is several small ones between two calls of `zero_grad`,
//! each loss divided by their number:
//!
//! ```
//! use sconce::nn::{Layer, Linear, ModuleExt};
//! use sconce::optim::{ClipOptions, Optimizer, Sgd, clip_grad_norm_};
//! use sconce::{DType, Tensor};
//!
//! let model = Linear::new(4, 1)?;
//! let mut optimizer = Optimizer::new(&model, Sgd::default())?;
//! let batches: Vec<Tensor> = (0..4).map(|_| Tensor::randn([8, 4], DType::F32)).collect::<Result<_, _>>()?;
//! optimizer.zero_grad();
//! for x in &batches {
//!     model.forward(x)?.square()?.mean(())?.div(batches.len() as f64)?.backward()?;
//! }
//! clip_grad_norm_(&model, 1.0, ClipOptions::default())?;
//! optimizer.step()?;
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! # Go on with a run of PyTorch
//!
//! A [`Checkpoint`](crate::checkpoint::Checkpoint) holds the state of an optimiser and of a scheduler in PyTorch's structure
//! and reads what `torch.save` wrote: [`OptimizerState`] for all rules, [`LbfgsState`],
//! [`SchedulerState`](schedule::SchedulerState), [`ReduceLROnPlateau`] and [`GradScaler`].

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
mod scaler;
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
pub use lbfgs::{Lbfgs, LbfgsConfig, LbfgsMemory, LbfgsState, LineSearch};
pub use lion::{Lion, LionState};
pub use muon::{AdjustLr, Muon, MuonState};
pub use nadam::{NAdam, NAdamState};
pub use optimizer::{Group, Optimizer, StepHook};
pub use parameters::{Named, Parameters};
pub use penalty::{Penalty, max_norm_};
pub use radam::{RAdam, RAdamState};
pub use rmsprop::{RmsProp, RmsPropState};
pub use rprop::{Rprop, RpropState};
pub use rule::Rule;
pub use scaler::GradScaler;
pub use schedule::{ReduceLROnPlateau, Schedule, Scheduler};
pub use sgd::{Sgd, SgdState};
pub use sparse_adam::{SparseAdam, SparseAdamState};
pub use state::{GroupState, OptimizerState, Value};
pub use vector::{parameters_to_vector, vector_to_parameters};
pub use watch::{Finding, Gradient, GradientWatch, Observation, Problem, WatchRules};
