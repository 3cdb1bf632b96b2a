//! Averages of models; PyTorch's `torch.optim.swa_utils`.

use crate::nn::{Buffer, Layer, LeafMut, Mode, ModuleExt};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Module, Result, no_grad};

/// How an [`AveragedModel`] averages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Averaging {
    /// All models count alike: stochastic weight averaging.
    #[default]
    Equal,
    /// Each update keeps this share of the average, in [0, 1].
    Exponential {
        /// The share.
        decay: f64,
    },
}

/// A running average of a model's parameters; PyTorch's `AveragedModel`.
///
/// Its parameters are called `module.…`, as in PyTorch.
///
/// ```
/// use sconce::nn::{Layer, Linear, ModuleExt, deepcopy, init};
/// use sconce::optim::{AveragedModel, Averaging};
///
/// let model = Linear::new(2, 1)?;
/// let mut average = AveragedModel::new(deepcopy(&model)?, Averaging::Exponential { decay: 0.75 })?;
/// for value in [0.0, 1.0, 1.0] {
///     init::constant_(&model.weight, value)?;
///     average.update_parameters(&model)?;
/// }
/// assert_eq!(average.module.weight.to_vec::<f32>()?, [0.4375; 2]);
/// assert_eq!(average.state_dict().names().next(), Some("n_averaged"));
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Debug, Module)]
pub struct AveragedModel<M> {
    /// How many models are in the average; int64.
    pub n_averaged: Buffer,
    /// The average.
    pub module: M,
    /// Whether buffers are averaged as well, rather than copied from the last model; false.
    pub use_buffers: bool,
    #[module(skip)]
    averaging: Averaging,
}

impl<M: Module> AveragedModel<M> {
    /// Makes an average of no models yet, which it will keep in a module of the models' kind, such as a
    /// [`deepcopy`](crate::nn::deepcopy).
    ///
    /// # Errors
    ///
    /// If a decay lies outside [0, 1].
    pub fn new(module: M, averaging: Averaging) -> Result<Self> {
        match averaging {
            Averaging::Exponential { decay } if !(0.0..=1.0).contains(&decay) => {
                Err(Error::argument(format!("AveragedModel: the decay must lie in [0, 1], found {decay}")))
            }
            _ => {
                let n_averaged = Buffer::new(&Tensor::zeros((), DType::I64)?);
                Ok(Self { n_averaged, module, use_buffers: false, averaging })
            }
        }
    }

    /// Takes the parameters of a model into the average; the first model is copied.
    ///
    /// # Errors
    ///
    /// If the model has other parameters or buffers than the average, by name or shape.
    pub fn update_parameters(&mut self, model: &M) -> Result<()> {
        let mut averaged = pairs("parameters", parameters(&self.module), parameters(model))?;
        let buffers = pairs("buffers", buffers(&self.module), buffers(model))?;
        let mut copied = Vec::new();
        if self.use_buffers {
            averaged.extend(buffers);
        } else {
            copied = buffers;
        }
        let count = self.n_averaged.item()?;
        no_grad(|| {
            for (name, average, new) in &averaged {
                let value = match self.averaging {
                    _ if count == 0.0 => Ok(new.clone()),
                    Averaging::Equal => new.sub(average)?.div(count + 1.0)?.add(average),
                    Averaging::Exponential { decay } if new.dtype().is_floating_point() => {
                        average.lerp(new, 1.0 - decay)
                    }
                    Averaging::Exponential { decay } => average.mul(decay)?.add(&new.mul(1.0 - decay)?),
                };
                value.and_then(|value| average.copy_(&value)).context(|| name.clone())?;
            }
            for (name, here, new) in &copied {
                here.copy_(new).context(|| name.clone())?;
            }
            self.n_averaged.add_(1)
        })
    }
}

impl<M: Layer> Layer for AveragedModel<M> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.module.forward(x)
    }
}

fn parameters(module: &impl Module) -> Vec<(String, Tensor)> {
    module.named_parameters().into_iter().map(|(name, p)| (name, p.tensor().clone())).collect()
}

fn buffers(module: &impl Module) -> Vec<(String, Tensor)> {
    module.named_buffers().into_iter().map(|(name, b)| (name, b.tensor().clone())).collect()
}

/// Tensors of two modules of one kind, side by side.
fn pairs(
    what: &str,
    here: Vec<(String, Tensor)>,
    given: Vec<(String, Tensor)>,
) -> Result<Vec<(String, Tensor, Tensor)>> {
    if here.len() != given.len() {
        return Err(Error::argument(format!(
            "AveragedModel: the average has {} {what}, the model {}",
            here.len(),
            given.len()
        )));
    }
    let pair = |((name, here), (other, given)): ((String, Tensor), (String, Tensor))| {
        if name == other && here.shape() == given.shape() {
            return Ok((name, here, given.detach()));
        }
        Err(Error::argument(format!(
            "AveragedModel: the average has `{name}` of shape {:?}, the model `{other}` of shape {:?}",
            here.shape(),
            given.shape()
        )))
    };
    here.into_iter().zip(given).map(pair).collect()
}

/// Makes the running statistics of all batch normalisations those of these batches, all alike; PyTorch's `update_bn`.
///
/// The closure runs the model, which is in training mode meanwhile; afterwards modes are as they were. A model without
/// batch normalisation is not run.
///
/// # Errors
///
/// If the closure fails; statistics are then those of the batches before.
///
/// ```
/// use sconce::nn::{BatchNorm1d, Layer};
/// use sconce::optim::update_bn;
/// use sconce::Tensor;
///
/// let mut norm = BatchNorm1d::new(1)?;
/// let batches = [vec![0.0f32, 2.0], vec![4.0, 6.0]].map(|batch| Tensor::from_vec(batch, [2, 1]));
/// update_bn(&mut norm, batches, |norm, batch| norm.forward(&batch?).map(drop))?;
/// assert_eq!(norm.running_mean.as_ref().unwrap().to_vec::<f32>()?, [3.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn update_bn<M: Module, B>(
    model: &mut M,
    batches: impl IntoIterator<Item = B>,
    mut forward: impl FnMut(&M, B) -> Result<()>,
) -> Result<()> {
    let (mut modes, mut momenta) = (Vec::new(), Vec::new());
    let mut result = Ok(());
    each_leaf(model, &mut |name, leaf, of_norm| match leaf {
        LeafMut::Mode(mode) => modes.push(std::mem::replace(mode, Mode::Train)),
        LeafMut::Momentum(momentum) => momenta.push(momentum.take()),
        LeafMut::Buffer(buffer) if of_norm && result.is_ok() => {
            result = no_grad(|| buffer.fill_(if name == "running_var" { 1 } else { 0 }));
        }
        _ => {}
    });
    if result.is_ok() && !momenta.is_empty() {
        result = batches.into_iter().try_for_each(|batch| no_grad(|| forward(model, batch)));
    }
    let (mut modes, mut momenta) = (modes.into_iter(), momenta.into_iter());
    each_leaf(model, &mut |_, leaf, _| match leaf {
        LeafMut::Mode(mode) => *mode = modes.next().unwrap_or_default(),
        LeafMut::Momentum(momentum) => *momentum = momenta.next().flatten(),
        _ => {}
    });
    result
}

/// Visits leaves with their name and whether they belong to a batch normalisation.
fn each_leaf(module: &mut dyn Module, f: &mut dyn FnMut(&str, LeafMut<'_>, bool)) {
    let mut of_norm = false;
    module.fields_mut(&mut |_, field| of_norm |= matches!(field.leaf_mut(), Some(LeafMut::Momentum(_))));
    module.fields_mut(&mut |name, field| match field.leaf() {
        None => each_leaf(field, f),
        Some(_) => {
            if let Some(leaf) = field.leaf_mut() {
                f(name, leaf, of_norm);
            }
        }
    });
}
