//! Low-rank adapters: Hu et al., "LoRA: low-rank adaptation of large language models".

use super::{Keys, Parametrization, register};
use crate::nn::init::{self, Fan, Nonlinearity};
use crate::nn::{ModuleExt, Param};
use crate::select::IntoSelector;
use crate::tensor::Tensor;
use crate::{Error, Module, Result};

/// The options of [`lora`].
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// The rank of what is added; 8.
    pub rank: usize,
    /// What is added is scaled by `alpha / rank`; 8.
    pub alpha: f64,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 8.0 }
    }
}

/// A weight and a low-rank matrix to add to it: w + α/r · B A, over all dimensions of the weight after the first.
#[derive(Clone, Debug, Module)]
pub struct Lora {
    /// A, `[rank, inputs]`; starts as a layer's weight does.
    #[module(rename = "lora_A")]
    pub lora_a: Param,
    /// B, `[outputs, rank]`; starts as zeros, so that nothing is added at first.
    #[module(rename = "lora_B")]
    pub lora_b: Param,
    scale: f64,
}

impl Lora {
    /// Makes the parametrisation for a weight.
    ///
    /// # Errors
    ///
    /// If the weight has fewer than two dimensions, or the rank is 0.
    pub fn new(weight: &Tensor, config: &LoraConfig) -> Result<Self> {
        if weight.dim() < 2 || config.rank == 0 {
            return Err(Error::argument(format!(
                "lora: needs two dimensions or more and a rank of at least 1, found shape {:?} and rank {}",
                weight.shape(),
                config.rank
            )));
        }
        let outputs = weight.shape()[0];
        let inputs: usize = weight.shape()[1..].iter().product();
        let lora_a = Param::new(&Tensor::empty([config.rank, inputs], weight.dtype())?)?;
        init::kaiming_uniform_(&lora_a, Fan::In, Nonlinearity::LeakyRelu(5f64.sqrt()))?;
        let lora_b = Param::new(&Tensor::zeros([outputs, config.rank], weight.dtype())?)?;
        Ok(Self { lora_a, lora_b, scale: config.alpha / config.rank as f64 })
    }
}

impl Parametrization for Lora {
    fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
        let [weight] = original else {
            return Err(Error::argument(format!("needs one tensor, found {}", original.len())));
        };
        weight.add(&self.lora_b.matmul(&self.lora_a)?.mul(self.scale)?.reshape(weight.shape())?)
    }
}

/// Adds a low-rank adapter to each weight that a selector picks, and freezes everything else of the module.
///
/// The adapters are `parametrizations.NAME.0.lora_A` and `lora_B`. To merge them into the weights,
/// [`remove_parametrizations`](super::remove_parametrizations), leaving the weights parametrised.
///
/// # Errors
///
/// As [`register_parametrization`](super::register_parametrization) and [`Lora::new`].
///
/// ```
/// use sconce::nn::parametrize::{self, LoraConfig};
/// use sconce::nn::{Layer, Linear, ModuleExt, Sequential};
/// use sconce::{DType, Tensor};
///
/// let mut net = Sequential::new().add(Linear::new(6, 4)?).add(Linear::new(4, 2)?);
/// let x = Tensor::ones([1, 6], DType::F32)?;
/// let before = net.forward(&x)?.to_vec::<f32>()?;
/// parametrize::lora(&mut net, "*.weight", LoraConfig { rank: 2, alpha: 4.0 })?;
/// assert_eq!(net.forward(&x)?.to_vec::<f32>()?, before);
///
/// let trained: Vec<String> =
///     net.named_parameters().into_iter().filter(|(_, p)| p.requires_grad()).map(|(name, _)| name).collect();
/// assert_eq!(trained.len(), 4);
/// assert_eq!(trained[0], "0.parametrizations.weight.0.lora_A");
///
/// parametrize::remove_parametrizations(&mut net, "*.weight", true)?;
/// assert_eq!(net.forward(&x)?.to_vec::<f32>()?, before);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn lora<M: crate::nn::Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    config: LoraConfig,
) -> Result<Vec<String>> {
    let before = module.parameters();
    let names = register(module.as_module_mut(), "lora", selector, Keys::Parametrizations, &mut |weight| {
        Ok(Box::new(Lora::new(weight, &config)?))
    })?;
    before.iter().try_for_each(|parameter| parameter.requires_grad_(false).map(drop))?;
    for (name, parameter) in module.named_parameters() {
        if name.contains("parametrizations.") && name.rsplit('.').next() == Some("original") {
            parameter.requires_grad_(false)?;
        }
    }
    Ok(names)
}
