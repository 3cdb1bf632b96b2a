//! Losses as modules.

use super::form::realised;
use super::leaf::{Buffer, settings};
use super::linear::{Linear, LinearConfig};
use crate::functional::{self, CrossEntropyOptions, CtcOptions, PoissonOptions, Reduction, TripletOptions};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result};

settings!(Reduction);

/// Cross entropy of scores `[batch, classes, …]` and classes or probabilities; PyTorch's `CrossEntropyLoss`.
///
/// ```
/// use sconce::nn::CrossEntropyLoss;
/// use sconce::{DType, Tensor};
///
/// let scores = Tensor::zeros([2, 4], DType::F32)?;
/// let classes = Tensor::from_vec(vec![0i64, 3], [2])?;
/// let loss = CrossEntropyLoss::default().forward(&scores, &classes)?;
/// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct CrossEntropyLoss {
    /// A weight per class; none.
    pub weight: Option<Buffer>,
    /// The class whose samples do not count; −100.
    pub ignore_index: i64,
    /// What becomes of the losses of the samples; their mean.
    pub reduction: Reduction,
    /// How much of each target is spread evenly over all classes; 0.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyLoss {
    fn default() -> Self {
        Self { weight: None, ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
    }
}

impl CrossEntropyLoss {
    /// Computes the loss.
    ///
    /// # Errors
    ///
    /// As [`functional::cross_entropy`].
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let options = CrossEntropyOptions {
            weight: self.weight.as_deref(),
            ignore_index: self.ignore_index,
            reduction: self.reduction,
            label_smoothing: self.label_smoothing,
        };
        functional::cross_entropy(input, target, options)
    }
}

/// Declares losses of two tensors whose options are public fields with a default:
///
/// ```text
/// pub struct MSELoss { pub reduction: Reduction }
/// impl Default for MSELoss { … }
/// impl MSELoss { pub fn forward … }
/// ```
macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty = $default:expr),* $(,)? }:
        |$this:ident, $($arg:ident),+| $forward:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                $($(#[$about])* pub $field: $type,)*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $($field: $default),* }
                }
            }

            impl $name {
                /// Computes the loss.
                ///
                /// # Errors
                ///
                /// If the inputs do not fit each other or the options.
                pub fn forward(&self, $($arg: &Tensor),+) -> Result<Tensor> {
                    let $this = self;
                    $forward
                }
            }
        )*
    };
}

losses! {
    /// The squared difference; PyTorch's `MSELoss`.
    ///
    /// ```
    /// use sconce::Tensor;
    /// use sconce::nn::MSELoss;
    /// let (x, y) = (Tensor::from_vec(vec![1.0f32, 2.0], [2])?, Tensor::from_vec(vec![1.0f32, 4.0], [2])?);
    /// assert_eq!(MSELoss::default().forward(&x, &y)?.item()?, 2.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    MSELoss {
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::mse_loss(input, target, None, this.reduction);
    /// The absolute difference; PyTorch's `L1Loss`.
    L1Loss {
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::l1_loss(input, target, None, this.reduction);
    /// The squared difference where small, the absolute one elsewhere; PyTorch's `SmoothL1Loss`.
    SmoothL1Loss {
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
        /// Where the one becomes the other; 1.
        beta: f64 = 1.0,
    }: |this, input, target| functional::smooth_l1_loss(input, target, this.reduction, this.beta);
    /// As [`SmoothL1Loss`], times `delta`; PyTorch's `HuberLoss`.
    HuberLoss {
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
        /// Where the one becomes the other; 1.
        delta: f64 = 1.0,
    }: |this, input, target| functional::huber_loss(input, target, None, this.reduction, this.delta);
    /// The binary cross entropy of probabilities; PyTorch's `BCELoss`.
    BCELoss {
        /// A weight per element; none.
        weight: Option<Buffer> = None,
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| {
        functional::binary_cross_entropy(input, target, this.weight.as_deref(), this.reduction)
    };
    /// The binary cross entropy of logits; PyTorch's `BCEWithLogitsLoss`.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// use sconce::nn::BCEWithLogitsLoss;
    /// let (x, y) = (Tensor::zeros([2], DType::F32)?, Tensor::ones([2], DType::F32)?);
    /// let loss = BCEWithLogitsLoss::default().forward(&x, &y)?;
    /// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    BCEWithLogitsLoss {
        /// A weight per element; none.
        weight: Option<Buffer> = None,
        /// A weight of what is 1 in the target; none.
        pos_weight: Option<Buffer> = None,
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::binary_cross_entropy_with_logits(
        input, target, this.weight.as_deref(), this.pos_weight.as_deref(), this.reduction,
    );
    /// The negative of log probabilities at class indices; PyTorch's `NLLLoss`.
    NLLLoss {
        /// A weight per class; none.
        weight: Option<Buffer> = None,
        /// The class whose samples do not count; −100.
        ignore_index: i64 = -100,
        /// What becomes of the samples; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| {
        functional::nll_loss(input, target, this.weight.as_deref(), this.ignore_index, this.reduction)
    };
    /// The Kullback–Leibler divergence of log probabilities; PyTorch's `KLDivLoss`.
    KLDivLoss {
        /// What becomes of the elements; their mean, as in PyTorch. The divergence itself is
        /// [`Reduction::BatchMean`].
        reduction: Reduction = Reduction::Mean,
        /// Whether the target is logarithms, too; false.
        log_target: bool = false,
    }: |this, input, target| functional::kl_div(input, target, this.reduction, this.log_target);
    /// The input where the target is 1, what the margin exceeds it by where it is −1; PyTorch's `HingeEmbeddingLoss`.
    HingeEmbeddingLoss {
        /// The margin; 1.
        margin: f64 = 1.0,
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::hinge_embedding_loss(input, target, this.margin, this.reduction);
    /// log(1 + e^(−target · input)); PyTorch's `SoftMarginLoss`.
    SoftMarginLoss {
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::soft_margin_loss(input, target, this.reduction);
    /// By how much other classes come within a margin of the target's; PyTorch's `MultiMarginLoss`.
    MultiMarginLoss {
        /// The power, 1 or 2; 1.
        p: u32 = 1,
        /// The margin; 1.
        margin: f64 = 1.0,
        /// A weight per class; none.
        weight: Option<Buffer> = None,
        /// What becomes of the samples; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::multi_margin_loss(
        input, target, this.p, this.margin, this.weight.as_deref(), this.reduction,
    );
    /// By how much classes that are no targets come within 1 of those that are; PyTorch's `MultiLabelMarginLoss`.
    MultiLabelMarginLoss {
        /// What becomes of the samples; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| functional::multilabel_margin_loss(input, target, this.reduction);
    /// The mean over classes of binary cross entropies of logits; PyTorch's `MultiLabelSoftMarginLoss`.
    MultiLabelSoftMarginLoss {
        /// A weight per class; none.
        weight: Option<Buffer> = None,
        /// What becomes of the samples; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target| {
        functional::multilabel_soft_margin_loss(input, target, this.weight.as_deref(), this.reduction)
    };
    /// The negative log likelihood of counts under Poisson distributions; PyTorch's `PoissonNLLLoss`.
    PoissonNLLLoss {
        /// The options; PyTorch's defaults.
        options: PoissonOptions = PoissonOptions::default(),
    }: |this, input, target| functional::poisson_nll_loss(input, target, this.options);
    /// The negative log likelihood of targets under normal distributions; PyTorch's `GaussianNLLLoss`.
    GaussianNLLLoss {
        /// Whether the constant term is added; false.
        full: bool = false,
        /// The least variance; 1e-6.
        eps: f64 = 1e-6,
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input, target, var| {
        functional::gaussian_nll_loss(input, target, var, this.full, this.eps, this.reduction)
    };
    /// By how much one input fails to exceed another, as the target says; PyTorch's `MarginRankingLoss`.
    MarginRankingLoss {
        /// The margin; 0.
        margin: f64 = 0.0,
        /// What becomes of the elements; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input1, input2, target| {
        functional::margin_ranking_loss(input1, input2, target, this.margin, this.reduction)
    };
    /// How far vectors are from being alike, or unlike, as the target says; PyTorch's `CosineEmbeddingLoss`.
    CosineEmbeddingLoss {
        /// The cosine that is let pass for unlike ones; 0.
        margin: f64 = 0.0,
        /// What becomes of the samples; their mean.
        reduction: Reduction = Reduction::Mean,
    }: |this, input1, input2, target| {
        functional::cosine_embedding_loss(input1, input2, target, this.margin, this.reduction)
    };
    /// By how much positives fail to be nearer to the anchor than negatives; PyTorch's `TripletMarginLoss`.
    ///
    /// For another distance there is
    /// [`triplet_margin_with_distance_loss`](functional::triplet_margin_with_distance_loss).
    TripletMarginLoss {
        /// The options; PyTorch's defaults.
        options: TripletOptions = TripletOptions::default(),
    }: |this, anchor, positive, negative| {
        functional::triplet_margin_loss(anchor, positive, negative, this.options)
    };
    /// The cosine of the angle between vectors; PyTorch's `CosineSimilarity`.
    CosineSimilarity {
        /// The dimension of the vectors; 1.
        dim: isize = 1,
        /// The least norm; 1e-8.
        eps: f64 = 1e-8,
    }: |this, x1, x2| functional::cosine_similarity(x1, x2, this.dim, this.eps);
    /// The p-norm of the difference of vectors; PyTorch's `PairwiseDistance`.
    PairwiseDistance {
        /// The p; 2.
        p: f64 = 2.0,
        /// What is added to the difference; 1e-6.
        eps: f64 = 1e-6,
        /// Whether the last dimension stays, with size 1; false.
        keepdim: bool = false,
    }: |this, x1, x2| functional::pairwise_distance(x1, x2, this.p, this.eps, this.keepdim);
}

/// The loss of sequences over all alignments with their targets; PyTorch's `CTCLoss`.
#[derive(Clone, Debug, Default, Module)]
pub struct CTCLoss {
    /// The options; PyTorch's defaults.
    pub options: CtcOptions,
}

impl CTCLoss {
    /// Computes the loss.
    ///
    /// # Errors
    ///
    /// As [`functional::ctc_loss`].
    pub fn forward(
        &self,
        log_probs: &Tensor,
        targets: &Tensor,
        input_lengths: &[usize],
        target_lengths: &[usize],
    ) -> Result<Tensor> {
        functional::ctc_loss(log_probs, targets, input_lengths, target_lengths, self.options)
    }
}

/// The options of a [`LinearCrossEntropyLoss`].
#[derive(Clone, Debug)]
pub struct LinearCrossEntropyConfig {
    /// Sizes of further dimensions of the targets; none.
    pub out_features: Vec<usize>,
    /// Whether there is a bias; false.
    pub bias: bool,
    /// A weight per class; none.
    pub weight: Option<Tensor>,
    /// The class whose samples do not count; none. It needs class indices.
    pub ignore_index: Option<i64>,
    /// What becomes of the samples; their mean.
    pub reduction: Reduction,
    /// How much of each target is spread evenly over all classes; 0.
    pub label_smoothing: f64,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for LinearCrossEntropyConfig {
    fn default() -> Self {
        Self {
            out_features: Vec::new(),
            bias: false,
            weight: None,
            ignore_index: None,
            reduction: Reduction::Mean,
            label_smoothing: 0.0,
            dtype: DType::F32,
        }
    }
}

/// A linear layer and the cross entropy of the logits it makes; PyTorch's `LinearCrossEntropyLoss`.
///
/// ```
/// use sconce::nn::LinearCrossEntropyLoss;
/// use sconce::{DType, Tensor};
/// let loss = LinearCrossEntropyLoss::new(3, 4)?;
/// let target = Tensor::from_vec(vec![0i64, 3], [2])?;
/// assert!(loss.forward(&Tensor::zeros([2, 3], DType::F32)?, &target)?.item()? > 1.3);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct LinearCrossEntropyLoss {
    /// A weight per class.
    pub weight: Option<Buffer>,
    /// The layer, `[classes · out_features, in_features]`.
    pub linear: Linear,
    in_features: usize,
    num_classes: usize,
    out_features: Vec<usize>,
    ignore_index: Option<i64>,
    reduction: Reduction,
    label_smoothing: f64,
}

impl LinearCrossEntropyLoss {
    /// Makes a loss with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(in_features: usize, num_classes: usize) -> Result<Self> {
        Self::with(in_features, num_classes, LinearCrossEntropyConfig::default())
    }

    /// Makes a loss with options.
    ///
    /// # Errors
    ///
    /// If the weight has no element per class, or `label_smoothing` lies outside [0, 1].
    pub fn with(in_features: usize, num_classes: usize, config: LinearCrossEntropyConfig) -> Result<Self> {
        if let Some(weight) = config.weight.as_ref().filter(|w| w.shape() != [num_classes]) {
            return Err(Error::shape(format!(
                "LinearCrossEntropyLoss: {num_classes} classes need a weight of as many elements, found shape {:?}",
                weight.shape()
            )));
        }
        if !(0.0..=1.0).contains(&config.label_smoothing) {
            return Err(Error::argument(format!(
                "LinearCrossEntropyLoss: label_smoothing {} must lie in [0, 1]",
                config.label_smoothing
            )));
        }
        let outputs = config.out_features.iter().product::<usize>() * num_classes;
        let linear = LinearConfig { bias: config.bias, dtype: config.dtype }.build(in_features, outputs)?;
        Ok(Self {
            weight: config.weight.as_ref().map(Buffer::new),
            linear,
            in_features,
            num_classes,
            out_features: config.out_features,
            ignore_index: config.ignore_index,
            reduction: config.reduction,
            label_smoothing: config.label_smoothing,
        })
    }

    /// Computes the loss of features and targets.
    ///
    /// # Errors
    ///
    /// As [`functional::linear_cross_entropy`].
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        let mut shape = vec![self.num_classes];
        shape.extend(&self.out_features);
        let linear = realised(&self.linear, [Some(&self.linear.weight), self.linear.bias.as_ref()])?;
        let bias = linear.bias.as_ref().map(|b| b.reshape(&shape)).transpose()?;
        shape.push(self.in_features);
        let weight = linear.weight.reshape(&shape)?;
        let options = CrossEntropyOptions {
            weight: self.weight.as_deref(),
            ignore_index: self.ignore_index.unwrap_or(-100),
            reduction: self.reduction,
            label_smoothing: self.label_smoothing,
        };
        functional::linear_cross_entropy(input, &weight, bias.as_ref(), target, options)
    }
}

settings!(PoissonOptions, TripletOptions, CtcOptions);
