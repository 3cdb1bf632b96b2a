//! Modules, layers and losses; PyTorch's `torch.nn`.
//!
//! What has another name than there, or differs:
//!
//! | PyTorch | here |
//! |---|---|
//! | `ModuleList`, `ParameterList`, `ParameterDict` | a `Vec`, an array, a tuple or a [`ModuleDict`] of modules or of [`Param`] |
//! | `LazyLinear`, `LazyConv2d`, … | [`Lazy`] of the layer |
//! | `UpsamplingNearest2d`, `UpsamplingBilinear2d` | [`Upsample`] with that mode |
//! | `TripletMarginWithDistanceLoss` | [`triplet_margin_with_distance_loss`](crate::functional::triplet_margin_with_distance_loss) |
//! | `SyncBatchNorm`, `DataParallel` | none: there is one process and one device |
//! | a size that is negative or a float, a `batch_first` that is a string, a `delta` that is complex: an error | does not compile |
//! | gradient of `CrossMapLRN2d` | that of its formula, see [`CrossMapLRN2d`] |

mod activation;
mod adaptive_softmax;
mod attention;
mod cell;
mod containers;
mod conv;
mod convert;
mod copy;
mod cost;
mod dict;
mod embedding;
mod ext;
mod extent;
mod file;
mod form;
mod functional_call;
pub mod init;
mod layer;
mod lazy;
mod leaf;
mod linear;
mod load;
mod loss;
mod module;
mod norm;
mod norm_layers;
mod pad;
pub mod parametrize;
mod place;
mod pool;
pub mod prune;
mod record;
mod recurrent;
mod sequential;
mod shared;
mod simple;
mod state_dict;
mod summary;
mod tap;
mod transformer;
mod walk;

pub use activation::{
    AlphaDropout, CELU, Dropout, Dropout1d, Dropout2d, Dropout3d, ELU, FeatureAlphaDropout, GELU, GLU,
    Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid, LogSoftmax, Mish, PReLU, RReLU,
    ReLU, ReLU6, SELU, SiLU, Sigmoid, Softmax, Softmax2d, Softmin, Softplus, Softshrink, Softsign, Tanh,
    Tanhshrink, Threshold,
};
pub use adaptive_softmax::{AdaptiveLogSoftmaxConfig, AdaptiveLogSoftmaxWithLoss};
pub use attention::{AttendOptions, MultiheadAttention, MultiheadAttentionConfig};
pub use cell::{CellConfig, GRUCell, LSTMCell, RNNCell};
pub use conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, Conv3d, Conv3dConfig, ConvConfig, ConvTranspose1d,
    ConvTranspose1dConfig, ConvTranspose2d, ConvTranspose2dConfig, ConvTranspose3d, ConvTranspose3dConfig,
    ConvTransposeConfig, Padding, PaddingMode,
};
pub use copy::deepcopy;
pub use dict::ModuleDict;
pub use embedding::{Embedding, EmbeddingBag, EmbeddingBagConfig, EmbeddingConfig};
pub use ext::ModuleExt;
pub(crate) use ext::each_parameter;
pub use extent::Extent;
pub use file::LoadOptions;
pub use functional_call::functional_call;
pub use layer::Layer;
pub use lazy::Lazy;
pub use leaf::{Buffer, Mode, Param};
pub use linear::{Bilinear, Linear, LinearConfig};
pub use load::{DTypes, LoadReport, Mismatch, Strictness, Unmatched};
pub use loss::{
    BCELoss, BCEWithLogitsLoss, CTCLoss, CosineEmbeddingLoss, CosineSimilarity, CrossEntropyLoss,
    GaussianNLLLoss, HingeEmbeddingLoss, HuberLoss, KLDivLoss, L1Loss, LinearCrossEntropyConfig,
    LinearCrossEntropyLoss, MSELoss, MarginRankingLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss,
    MultiMarginLoss, NLLLoss, PairwiseDistance, PoissonNLLLoss, SmoothL1Loss, SoftMarginLoss,
    TripletMarginLoss,
};
#[doc(hidden)]
pub use module::AsModule;
pub use module::{Leaf, LeafMut, Module};
pub use norm::{BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormConfig};
pub use norm_layers::{
    CrossMapLRN2d, GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, InstanceNormConfig, LayerNorm,
    LocalResponseNorm, NormConfig, RMSNorm, Shape,
};
pub use pad::{
    CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad1d, ConstantPad2d, ConstantPad3d,
    ReflectionPad1d, ReflectionPad2d, ReflectionPad3d, ReplicationPad1d, ReplicationPad2d, ReplicationPad3d,
    Sides, ZeroPad1d, ZeroPad2d, ZeroPad3d,
};
pub use pool::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d,
    AdaptiveMaxPool3d, AvgPool1d, AvgPool2d, AvgPool3d, FractionalMaxPool2d, FractionalMaxPool3d,
    FractionalSize, LPPool1d, LPPool2d, LPPool3d, MaxPool1d, MaxPool2d, MaxPool3d, MaxUnpool1d, MaxUnpool2d,
    MaxUnpool3d, OutputSize,
};
pub use recurrent::{GRU, LSTM, RNN, Recurrence, RecurrentConfig};
pub use sequential::Sequential;
pub use shared::Shared;
pub use simple::{
    ChannelShuffle, Flatten, Fold, Identity, PixelShuffle, PixelUnshuffle, Unflatten, Unfold, Upsample,
};
pub use state_dict::StateDict;
pub use summary::{Summary, SummaryItem, SummaryRow};
pub use tap::{Activation, Tap, Taps};
pub use transformer::{
    Masks, Transformer, TransformerActivation, TransformerConfig, TransformerDecoder,
    TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer,
};
