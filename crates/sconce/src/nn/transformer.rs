//! Transformers: Vaswani et al., "Attention is all you need".

use super::activation::Dropout;
use super::attention::{AttendOptions, MultiheadAttention, MultiheadAttentionConfig};
use super::copy::deepcopy;
use super::ext::ModuleExt;
use super::init;
use super::layer::Layer;
use super::leaf::settings;
use super::linear::{Linear, LinearConfig};
use super::norm_layers::{LayerNorm, NormConfig};
use crate::functional::Gelu;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Module, Result};

/// The function between the two linear layers of a transformer's layer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum TransformerActivation {
    /// max(x, 0).
    #[default]
    Relu,
    /// The Gaussian error linear unit.
    Gelu,
    /// Any other.
    Other(fn(&Tensor) -> Result<Tensor>),
}

settings!(TransformerActivation);

impl TransformerActivation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu(Gelu::Exact),
            Self::Other(function) => function(x),
        }
    }
}

/// The options of the layers of a transformer.
#[derive(Clone, Debug)]
pub struct TransformerConfig {
    /// The features between the two linear layers of a layer; 2048.
    pub dim_feedforward: usize,
    /// The share of what is dropped in training; 0.1.
    pub dropout: f64,
    /// The function between the two linear layers; max(x, 0).
    pub activation: TransformerActivation,
    /// What is added to variances; 1e-5.
    pub layer_norm_eps: f64,
    /// Whether the batch is the first dimension rather than the second; false.
    pub batch_first: bool,
    /// Whether attention and linear layers come after their normalisation rather than before it; false.
    pub norm_first: bool,
    /// Whether there are biases; true.
    pub bias: bool,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: TransformerActivation::Relu,
            layer_norm_eps: 1e-5,
            batch_first: false,
            norm_first: false,
            bias: true,
            dtype: DType::F32,
        }
    }
}

impl TransformerConfig {
    fn attention(&self, d_model: usize, nhead: usize) -> Result<MultiheadAttention> {
        let Self { dropout, bias, batch_first, dtype, .. } = *self;
        let config = MultiheadAttentionConfig { dropout, bias, batch_first, dtype, ..Default::default() };
        MultiheadAttention::with(d_model, nhead, config)
    }

    fn linear(&self, from: usize, to: usize) -> Result<Linear> {
        LinearConfig { bias: self.bias, dtype: self.dtype }.build(from, to)
    }

    fn norm(&self, d_model: usize) -> Result<LayerNorm> {
        let config =
            NormConfig { eps: self.layer_norm_eps, affine: true, bias: self.bias, dtype: self.dtype };
        LayerNorm::with(d_model, config)
    }
}

/// The masks of a sequence: what a position does not attend to, and which positions do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Masks<'a> {
    /// What a position does not attend to: see [`AttendOptions::attn_mask`].
    pub attn: Option<&'a Tensor>,
    /// Which positions do not count: see [`AttendOptions::key_padding_mask`].
    pub padding: Option<&'a Tensor>,
}

fn attend(
    attention: &MultiheadAttention,
    query: &Tensor,
    key: &Tensor,
    masks: Masks<'_>,
    name: &str,
) -> Result<Tensor> {
    let options = AttendOptions {
        key_padding_mask: masks.padding,
        need_weights: false,
        attn_mask: masks.attn,
        average_attn_weights: true,
    };
    Ok(attention.forward(query, key, key, options).within(name)?.0)
}

/// Self attention and two linear layers; PyTorch's `TransformerEncoderLayer`.
///
/// ```
/// use sconce::nn::{Layer, TransformerEncoderLayer};
/// use sconce::{DType, Tensor};
/// let layer = TransformerEncoderLayer::new(8, 2)?;
/// assert_eq!(layer.forward(&Tensor::zeros([5, 3, 8], DType::F32)?)?.shape(), [5, 3, 8]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct TransformerEncoderLayer {
    /// The attention.
    pub self_attn: MultiheadAttention,
    /// The first linear layer.
    pub linear1: Linear,
    /// Dropout between the linear layers.
    pub dropout: Dropout,
    /// The second linear layer.
    pub linear2: Linear,
    /// The normalisation of the attention.
    pub norm1: LayerNorm,
    /// The normalisation of the linear layers.
    pub norm2: LayerNorm,
    /// Dropout after the attention.
    pub dropout1: Dropout,
    /// Dropout after the linear layers.
    pub dropout2: Dropout,
    activation: TransformerActivation,
    norm_first: bool,
}

impl TransformerEncoderLayer {
    /// Makes a layer with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// If the heads do not divide the features.
    pub fn new(d_model: usize, nhead: usize) -> Result<Self> {
        Self::with(d_model, nhead, &TransformerConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If the heads do not divide the features, or dropout is no probability.
    pub fn with(d_model: usize, nhead: usize, config: &TransformerConfig) -> Result<Self> {
        Ok(Self {
            self_attn: config.attention(d_model, nhead)?,
            linear1: config.linear(d_model, config.dim_feedforward)?,
            dropout: Dropout::new(config.dropout)?,
            linear2: config.linear(config.dim_feedforward, d_model)?,
            norm1: config.norm(d_model)?,
            norm2: config.norm(d_model)?,
            dropout1: Dropout::new(config.dropout)?,
            dropout2: Dropout::new(config.dropout)?,
            activation: config.activation,
            norm_first: config.norm_first,
        })
    }

    /// Computes the output, with masks.
    ///
    /// # Errors
    ///
    /// If input and masks do not fit each other and the layer.
    pub fn forward_masked(&self, x: &Tensor, masks: Masks<'_>) -> Result<Tensor> {
        let attended =
            |x: &Tensor| self.dropout1.forward(&attend(&self.self_attn, x, x, masks, "self_attn")?);
        let fed = |x: &Tensor| {
            let inner = self.dropout.forward(&self.activation.apply(&self.linear1.forward(x)?)?)?;
            self.dropout2.forward(&self.linear2.forward(&inner)?)
        };
        if self.norm_first {
            let x = x.add(&attended(&self.norm1.forward(x)?)?)?;
            x.add(&fed(&self.norm2.forward(&x)?)?)
        } else {
            let x = self.norm1.forward(&x.add(&attended(x)?)?)?;
            self.norm2.forward(&x.add(&fed(&x)?)?)
        }
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_masked(x, Masks::default())
    }
}

/// Self attention, attention to an encoder's output, and two linear layers; PyTorch's `TransformerDecoderLayer`.
///
/// ```
/// use sconce::nn::{Masks, TransformerDecoderLayer};
/// use sconce::{DType, Tensor};
/// let layer = TransformerDecoderLayer::new(8, 2)?;
/// let (x, memory) = (Tensor::zeros([5, 3, 8], DType::F32)?, Tensor::zeros([7, 3, 8], DType::F32)?);
/// let y = layer.forward(&x, &memory, Masks::default(), Masks::default())?;
/// assert_eq!(y.shape(), [5, 3, 8]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct TransformerDecoderLayer {
    /// The attention to the sequence itself.
    pub self_attn: MultiheadAttention,
    /// The attention to the encoder's output.
    pub multihead_attn: MultiheadAttention,
    /// The first linear layer.
    pub linear1: Linear,
    /// Dropout between the linear layers.
    pub dropout: Dropout,
    /// The second linear layer.
    pub linear2: Linear,
    /// The normalisation of the self attention.
    pub norm1: LayerNorm,
    /// The normalisation of the attention to the encoder's output.
    pub norm2: LayerNorm,
    /// The normalisation of the linear layers.
    pub norm3: LayerNorm,
    /// Dropout after the self attention.
    pub dropout1: Dropout,
    /// Dropout after the attention to the encoder's output.
    pub dropout2: Dropout,
    /// Dropout after the linear layers.
    pub dropout3: Dropout,
    activation: TransformerActivation,
    norm_first: bool,
}

impl TransformerDecoderLayer {
    /// Makes a layer with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// If the heads do not divide the features.
    pub fn new(d_model: usize, nhead: usize) -> Result<Self> {
        Self::with(d_model, nhead, &TransformerConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If the heads do not divide the features, or dropout is no probability.
    pub fn with(d_model: usize, nhead: usize, config: &TransformerConfig) -> Result<Self> {
        let dropout = || Dropout::new(config.dropout);
        Ok(Self {
            self_attn: config.attention(d_model, nhead)?,
            multihead_attn: config.attention(d_model, nhead)?,
            linear1: config.linear(d_model, config.dim_feedforward)?,
            dropout: dropout()?,
            linear2: config.linear(config.dim_feedforward, d_model)?,
            norm1: config.norm(d_model)?,
            norm2: config.norm(d_model)?,
            norm3: config.norm(d_model)?,
            dropout1: dropout()?,
            dropout2: dropout()?,
            dropout3: dropout()?,
            activation: config.activation,
            norm_first: config.norm_first,
        })
    }

    /// Computes the output for an encoder's output.
    ///
    /// # Errors
    ///
    /// If inputs and masks do not fit each other and the layer.
    pub fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        masks: Masks<'_>,
        memory_masks: Masks<'_>,
    ) -> Result<Tensor> {
        let attended =
            |x: &Tensor| self.dropout1.forward(&attend(&self.self_attn, x, x, masks, "self_attn")?);
        let informed = |x: &Tensor| {
            let y = attend(&self.multihead_attn, x, memory, memory_masks, "multihead_attn")?;
            self.dropout2.forward(&y)
        };
        let fed = |x: &Tensor| {
            let inner = self.dropout.forward(&self.activation.apply(&self.linear1.forward(x)?)?)?;
            self.dropout3.forward(&self.linear2.forward(&inner)?)
        };
        if self.norm_first {
            let x = x.add(&attended(&self.norm1.forward(x)?)?)?;
            let x = x.add(&informed(&self.norm2.forward(&x)?)?)?;
            x.add(&fed(&self.norm3.forward(&x)?)?)
        } else {
            let x = self.norm1.forward(&x.add(&attended(x)?)?)?;
            let x = self.norm2.forward(&x.add(&informed(&x)?)?)?;
            self.norm3.forward(&x.add(&fed(&x)?)?)
        }
    }
}

/// Copies of one layer, each with parameters of its own.
fn copies<M: Module + Clone>(layer: &M, count: usize) -> Result<Vec<M>> {
    (0..count).map(|_| deepcopy(layer)).collect()
}

/// Copies of one layer, one after another; PyTorch's `TransformerEncoder`.
///
/// ```
/// use sconce::nn::{Layer, ModuleExt, TransformerEncoder, TransformerEncoderLayer};
/// use sconce::{DType, Tensor};
/// let encoder = TransformerEncoder::new(&TransformerEncoderLayer::new(8, 2)?, 2, None)?;
/// assert_eq!(encoder.forward(&Tensor::zeros([5, 3, 8], DType::F32)?)?.shape(), [5, 3, 8]);
/// assert_eq!(encoder.named_parameters()[0].0, "layers.0.self_attn.in_proj_weight");
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct TransformerEncoder {
    /// The layers.
    pub layers: Vec<TransformerEncoderLayer>,
    /// What comes last.
    pub norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// Makes an encoder of copies of a layer, which all start equal, as in PyTorch.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(layer: &TransformerEncoderLayer, num_layers: usize, norm: Option<LayerNorm>) -> Result<Self> {
        Ok(Self { layers: copies(layer, num_layers)?, norm })
    }

    /// Computes the output, with masks.
    ///
    /// # Errors
    ///
    /// If input and masks do not fit each other and the layers.
    pub fn forward_masked(&self, x: &Tensor, masks: Masks<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward_masked(&x, masks).within(format!("layers.{i}"))?;
        }
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))
    }
}

impl Layer for TransformerEncoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_masked(x, Masks::default())
    }
}

/// Copies of one layer, one after another; PyTorch's `TransformerDecoder`.
#[derive(Clone, Debug, Module)]
pub struct TransformerDecoder {
    /// The layers.
    pub layers: Vec<TransformerDecoderLayer>,
    /// What comes last.
    pub norm: Option<LayerNorm>,
}

impl TransformerDecoder {
    /// Makes a decoder of copies of a layer, which all start equal, as in PyTorch.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(layer: &TransformerDecoderLayer, num_layers: usize, norm: Option<LayerNorm>) -> Result<Self> {
        Ok(Self { layers: copies(layer, num_layers)?, norm })
    }

    /// Computes the output for an encoder's output.
    ///
    /// # Errors
    ///
    /// If inputs and masks do not fit each other and the layers.
    pub fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        masks: Masks<'_>,
        memory_masks: Masks<'_>,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, memory, masks, memory_masks).within(format!("layers.{i}"))?;
        }
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))
    }
}

/// An encoder and a decoder; PyTorch's `Transformer`.
///
/// ```
/// use sconce::nn::{Masks, Transformer, TransformerConfig};
/// use sconce::{DType, Tensor};
/// let config = TransformerConfig { dim_feedforward: 16, ..Default::default() };
/// let model = Transformer::with(8, 2, 1, 1, &config)?;
/// let (source, target) = (Tensor::zeros([5, 3, 8], DType::F32)?, Tensor::zeros([4, 3, 8], DType::F32)?);
/// let mask = Transformer::generate_square_subsequent_mask(4)?;
/// let masks = Masks { attn: Some(&mask), padding: None };
/// let y = model.forward(&source, &target, Masks::default(), masks, Masks::default())?;
/// assert_eq!(y.shape(), [4, 3, 8]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Transformer {
    /// The encoder.
    pub encoder: TransformerEncoder,
    /// The decoder.
    pub decoder: TransformerDecoder,
    d_model: usize,
    nhead: usize,
    batch_first: bool,
}

impl Transformer {
    /// Makes one with 6 layers of either kind and PyTorch's other defaults.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn new(d_model: usize, nhead: usize) -> Result<Self> {
        Self::with(d_model, nhead, 6, 6, &TransformerConfig::default())
    }

    /// Makes one with options. All matrices are drawn again by `xavier_uniform_`, as in PyTorch.
    ///
    /// # Errors
    ///
    /// If the heads do not divide the features, or dropout is no probability.
    pub fn with(
        d_model: usize,
        nhead: usize,
        num_encoder_layers: usize,
        num_decoder_layers: usize,
        config: &TransformerConfig,
    ) -> Result<Self> {
        let layer = TransformerEncoderLayer::with(d_model, nhead, config)?;
        let encoder = TransformerEncoder::new(&layer, num_encoder_layers, Some(config.norm(d_model)?))?;
        let layer = TransformerDecoderLayer::with(d_model, nhead, config)?;
        let decoder = TransformerDecoder::new(&layer, num_decoder_layers, Some(config.norm(d_model)?))?;
        let this = Self { encoder, decoder, d_model, nhead, batch_first: config.batch_first };
        for parameter in this.parameters() {
            if parameter.dim() > 1 {
                init::xavier_uniform_(&parameter, 1.0)?;
            }
        }
        Ok(this)
    }

    /// Computes the output for a target, of which each position sees what the masks let it.
    ///
    /// # Errors
    ///
    /// If inputs and masks do not fit each other and the layers.
    pub fn forward(
        &self,
        source: &Tensor,
        target: &Tensor,
        source_masks: Masks<'_>,
        target_masks: Masks<'_>,
        memory_masks: Masks<'_>,
    ) -> Result<Tensor> {
        for (what, x) in [("source", source), ("target", target)] {
            if x.shape().last() != Some(&self.d_model) {
                return Err(Error::shape(format!(
                    "Transformer: needs a {what} of {} features, found shape {:?}",
                    self.d_model,
                    x.shape()
                )));
            }
        }
        let memory = self.encoder.forward_masked(source, source_masks).within("encoder")?;
        self.decoder.forward(target, &memory, target_masks, memory_masks).within("decoder")
    }

    /// A mask by which no position attends to a later one: −∞ above the diagonal, 0 elsewhere; float32.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn generate_square_subsequent_mask(size: usize) -> Result<Tensor> {
        Tensor::full([size, size], f64::NEG_INFINITY, DType::F32)?.triu(1)
    }
}
