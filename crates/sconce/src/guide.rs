//! What people do to the parameters of a model, one section each.
//!
//! Everything takes a selector (see [`select`](crate::select)); what matches nothing is an error. The examples of the
//! repository do the same on the UCI digits: `digits` (inspect, vectors, export, freeze), `transfer` (audit), `regularise`,
//! `initialise`, `prune_digits` (prune, LoRA, EMA), `shrink`, `watch` (gradients, outputs, histograms), `serve` (a model from
//! a config file, many threads).
//!
//! # Select and inspect
//!
//! [`named_parameters`](crate::nn::ModuleExt::named_parameters) lists all, [`selected_parameters`] some;
//! [`stats::of_tensor`](crate::stats::of_tensor) has extremes, moments and a histogram, for the terminal or
//! [as a picture](crate::stats::svg); [`summary_of`](crate::nn::ModuleExt::summary_of) is a table of modules, parameters,
//! bytes and the multiplications of a forward.
//!
//! ```
//! use sconce::nn::{Linear, ReLU, Sequential};
//! use sconce::prelude::*;
//! use sconce::stats;
//!
//! let mut model = Sequential::new().add(Linear::new(4, 8)?).add(ReLU).add(Linear::new(8, 2)?);
//! for (name, weight) in model.selected_parameters("*.weight & numel>10")? {
//!     println!("{name} {:?}\n{}", weight.shape(), stats::of_tensor(&weight, 10)?);
//! }
//! let x = Tensor::ones([1, 4], DType::F32)?;
//! assert_eq!(model.summary_of(|model| model.forward(&x))?.mult_adds, Some(48));
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! # Freeze and transfer
//!
//! [`freeze`](crate::nn::ModuleExt::freeze) stops gradients and drops those that are there, so that no optimiser moves the
//! parameter, momentum and weight decay included. Batch normalisation has two traps:
//!
//! - Its running statistics are buffers: in training mode they move with every batch, frozen or not. Put what is frozen
//!   into evaluation mode, *after* each `train()`.
//! - In training mode a frozen layer still normalises with the batch, so its output is not what it was trained to be.
//!
//! ```
//! use sconce::nn::{BatchNorm1d, Linear, Sequential};
//! use sconce::optim::{Optimizer, Sgd};
//! use sconce::prelude::*;
//!
//! #[derive(Module)]
//! struct Net {
//!     features: Sequential,
//!     head: Linear,
//! }
//!
//! let features = Sequential::new().add(Linear::new(4, 3)?).add(BatchNorm1d::new(3)?);
//! let mut net = Net { features, head: Linear::new(3, 2)? };
//! net.freeze("features.**")?;
//! net.train();
//! net.features.eval();
//!
//! let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.1, ..Sgd::default() })?;
//! let x = Tensor::randn([8, 4], DType::F32)?;
//! net.head.forward(&net.features.forward(&x)?)?.square()?.sum(())?.backward()?;
//! let audit = optimizer.step_audited(&net)?;
//! assert!(audit.to_string().starts_with("2 updated: head.weight, head.bias\n4 frozen: features.0.weight"));
//! assert_eq!(net.features.get_buffer("1.running_mean")?.to_vec::<f32>()?, [0.0; 3]);
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! # Regularise
//!
//! Options of some parameters, penalties, limits on norms, accumulation and clipping are part of
//! [`optim`](crate::optim#regularise).
//!
//! # Initialise
//!
//! [`nn::init`](crate::nn::init) has all of `torch.nn.init`, with PyTorch's values after `manual_seed`.
//!
//! ```
//! use sconce::nn::{Linear, init};
//! use sconce::prelude::*;
//!
//! let model = vec![Linear::new(4, 8)?, Linear::new(8, 2)?];
//! for (_, weight) in model.selected_parameters("**.weight")? {
//!     init::kaiming_normal_(&weight, init::Fan::In, init::Nonlinearity::Relu)?;
//! }
//! for (_, bias) in model.selected_parameters("**.bias")? {
//!     init::zeros_(&bias)?;
//! }
//! assert_eq!(model[0].bias.as_ref().unwrap().to_vec::<f32>()?, [0.0; 8]);
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! # Prune and parametrise
//!
//! [`nn::prune`](crate::nn::prune): masks, and the removal of channels. [`nn::parametrize`](crate::nn::parametrize): weight
//! norm, spectral norm, orthogonality, LoRA, your own. [`nn::functional_call`](crate::nn::functional_call) runs a model with
//! other parameters.
//!
//! # Vectors: task arithmetic, interpolation, averages
//!
//! All parameters as one vector, and back; or parameter by parameter, where names matter.
//! [`AveragedModel`](crate::optim::AveragedModel) keeps an average while training; [`merge`](crate::merge) does it to files.
//!
//! ```
//! use sconce::nn::{Linear, deepcopy};
//! use sconce::optim::{parameters_to_vector, vector_to_parameters};
//! use sconce::prelude::*;
//!
//! let base = Linear::new(3, 2)?;
//! let tuned = deepcopy(&base)?;
//! no_grad(|| tuned.weight.add_(0.5))?;
//!
//! // A task vector: what tuning changed, added to another model at half its strength.
//! let task = parameters_to_vector(&tuned)?.sub(&parameters_to_vector(&base)?)?;
//! let other = deepcopy(&base)?;
//! vector_to_parameters(&parameters_to_vector(&other)?.add(&task.mul(0.5)?)?, &other)?;
//! let moved = other.weight.sub(&base.weight)?.mean(())?.item()?;
//! assert!((moved - 0.25).abs() < 1e-6);
//!
//! // Halfway between two models, weights only.
//! for (name, parameter) in other.selected_parameters("weight")? {
//!     no_grad(|| parameter.lerp_(&*tuned.get_parameter(&name)?, 0.5))?;
//! }
//! # Ok::<(), sconce::Error>(())
//! ```
//!
//! # Watch gradients and outputs, audit steps
//!
//! [`GradientWatch`](crate::optim::GradientWatch) looks at all gradients once per step and says in words what is odd and
//! since when; [`Taps`](crate::nn::Taps) look at outputs: dead units, and the first layer that is not finite.
//! [`step_audited`](crate::optim::Optimizer::step_audited) says for every name whether a step moved it, and if not, why.
//!
//! # Export
//!
//! [`export`](crate::nn::ModuleExt::export) writes a selection to `.pt`, `.safetensors`, `.npz`, `.npy`, `.csv` or `.json`;
//! [`selected_state`](crate::nn::ModuleExt::selected_state) is the same in memory.
//!
//! [`selected_parameters`]: crate::nn::ModuleExt::selected_parameters
