//! Layers with weights: linear, convolutions, normalisation, embeddings, and their lazy forms.

use sconce::nn::{
    self, BatchNormConfig, ConvConfig, ConvTransposeConfig, EmbeddingBagConfig, EmbeddingConfig,
    InstanceNormConfig, Lazy, LinearConfig, NormConfig, Padding, PaddingMode,
};
use sconce::{DType, Tensor};

use super::{Row, called, modules, one};
use crate::ops::loss::bag_mode;
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::tensors::Val;
use crate::tree::Forward;
use crate::value::Value;

macro_rules! convolution {
    ($a:ident, $dims:literal) => {{
        let kernel: [usize; $dims] = $a.sizes_of("kernel_size")?;
        one(convolution::<$dims>($a)?.build($a.size("in_channels")?, $a.size("out_channels")?, kernel)?)
    }};
}

macro_rules! lazy_convolution {
    ($a:ident, $dims:literal) => {{
        let kernel: [usize; $dims] = $a.sizes_of("kernel_size")?;
        let (out, config) = ($a.size("out_channels")?, convolution::<$dims>($a)?);
        one(Lazy::new(move |x| {
            ConvConfig { dtype: x.dtype(), ..config.clone() }.build(channels::<$dims>(x)?, out, kernel)
        }))
    }};
}

macro_rules! transposed {
    ($a:ident, $dims:literal, $layer:ident) => {{
        let kernel: [usize; $dims] = $a.sizes_of("kernel_size")?;
        let config = transposed::<$dims>($a)?;
        let layer = config.build($a.size("in_channels")?, $a.size("out_channels")?, kernel)?;
        called(layer, &["input", "output_size=None"], |layer: &nn::$layer, a| {
            let size = a.opt("output_size", Call::sizes)?;
            Ok(Val::from(match size.as_ref().and_then(|s| s.last_chunk::<$dims>()) {
                Some(size) => layer.forward_to(a.input()?, *size)?,
                None => nn::Layer::forward(layer, a.input()?)?,
            }))
        })
    }};
}

macro_rules! lazy_transposed {
    ($a:ident, $dims:literal) => {{
        let kernel: [usize; $dims] = $a.sizes_of("kernel_size")?;
        let (out, config) = ($a.size("out_channels")?, transposed::<$dims>($a)?);
        one(Lazy::new(move |x| {
            ConvTransposeConfig { dtype: x.dtype(), ..config.clone() }.build(
                channels::<$dims>(x)?,
                out,
                kernel,
            )
        }))
    }};
}

macro_rules! lazy_norm {
    ($a:ident, $layer:ident, $config:ident, $dims:literal) => {{
        let config = $config($a)?;
        one(Lazy::new(move |x| {
            let mut config = config.clone();
            config.dtype = x.dtype();
            nn::$layer::with(if $dims == 0 { x.size(1)? } else { channels::<$dims>(x)? }, config)
        }))
    }};
}

/// The table.
pub(super) const TABLE: &[Row] = modules! {
    "nn.Linear"("in_features", "out_features", "bias=True") => |a| {
        let config = LinearConfig { bias: a.bool("bias")?, ..LinearConfig::default() };
        one(config.build(a.size("in_features")?, a.size("out_features")?)?)
    };
    "nn.LazyLinear"("out_features", "bias=True") => |a| {
        let (out, bias) = (a.size("out_features")?, a.bool("bias")?);
        one(Lazy::new(move |x| LinearConfig { bias, dtype: x.dtype() }.build(x.size(-1)?, out)))
    };
    "nn.Bilinear"("in1_features", "in2_features", "out_features", "bias=True") => |a| {
        let config = LinearConfig { bias: a.bool("bias")?, ..LinearConfig::default() };
        let (in1, in2) = (a.size("in1_features")?, a.size("in2_features")?);
        let layer = nn::Bilinear::with(in1, in2, a.size("out_features")?, config)?;
        called(layer, &["input1", "input2"], |layer, a| {
            Ok(layer.forward(a.tensor("input1")?, a.tensor("input2")?)?.into())
        })
    };
    "nn.Conv1d"(
        "in_channels", "out_channels", "kernel_size", "stride=1", "padding=0", "dilation=1", "groups=1", "bias=True",
        "padding_mode=zeros"
    ) => |a| convolution!(a, 1);
    "nn.Conv2d"(
        "in_channels", "out_channels", "kernel_size", "stride=1", "padding=0", "dilation=1", "groups=1", "bias=True",
        "padding_mode=zeros"
    ) => |a| convolution!(a, 2);
    "nn.Conv3d"(
        "in_channels", "out_channels", "kernel_size", "stride=1", "padding=0", "dilation=1", "groups=1", "bias=True",
        "padding_mode=zeros"
    ) => |a| convolution!(a, 3);
    "nn.LazyConv1d"(
        "out_channels", "kernel_size", "stride=1", "padding=0", "dilation=1", "groups=1", "bias=True",
        "padding_mode=zeros"
    ) => |a| lazy_convolution!(a, 1);
    "nn.LazyConv2d"(
        "out_channels", "kernel_size", "stride=1", "padding=0", "dilation=1", "groups=1", "bias=True",
        "padding_mode=zeros"
    ) => |a| lazy_convolution!(a, 2);
    "nn.LazyConv3d"(
        "out_channels", "kernel_size", "stride=1", "padding=0", "dilation=1", "groups=1", "bias=True",
        "padding_mode=zeros"
    ) => |a| lazy_convolution!(a, 3);
    "nn.ConvTranspose1d"(
        "in_channels", "out_channels", "kernel_size", "stride=1", "padding=0", "output_padding=0", "groups=1",
        "bias=True", "dilation=1", "padding_mode=zeros"
    ) => |a| transposed!(a, 1, ConvTranspose1d);
    "nn.ConvTranspose2d"(
        "in_channels", "out_channels", "kernel_size", "stride=1", "padding=0", "output_padding=0", "groups=1",
        "bias=True", "dilation=1", "padding_mode=zeros"
    ) => |a| transposed!(a, 2, ConvTranspose2d);
    "nn.ConvTranspose3d"(
        "in_channels", "out_channels", "kernel_size", "stride=1", "padding=0", "output_padding=0", "groups=1",
        "bias=True", "dilation=1", "padding_mode=zeros"
    ) => |a| transposed!(a, 3, ConvTranspose3d);
    "nn.LazyConvTranspose1d"(
        "out_channels", "kernel_size", "stride=1", "padding=0", "output_padding=0", "groups=1", "bias=True",
        "dilation=1", "padding_mode=zeros"
    ) => |a| lazy_transposed!(a, 1);
    "nn.LazyConvTranspose2d"(
        "out_channels", "kernel_size", "stride=1", "padding=0", "output_padding=0", "groups=1", "bias=True",
        "dilation=1", "padding_mode=zeros"
    ) => |a| lazy_transposed!(a, 2);
    "nn.LazyConvTranspose3d"(
        "out_channels", "kernel_size", "stride=1", "padding=0", "output_padding=0", "groups=1", "bias=True",
        "dilation=1", "padding_mode=zeros"
    ) => |a| lazy_transposed!(a, 3);
    "nn.BatchNorm1d"(
        "num_features", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| one(nn::BatchNorm1d::with(a.size("num_features")?, batch_norm(a)?)?);
    "nn.BatchNorm2d"(
        "num_features", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| one(nn::BatchNorm2d::with(a.size("num_features")?, batch_norm(a)?)?);
    "nn.BatchNorm3d"(
        "num_features", "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| one(nn::BatchNorm3d::with(a.size("num_features")?, batch_norm(a)?)?);
    "nn.LazyBatchNorm1d"(
        "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| lazy_norm!(a, BatchNorm1d, batch_norm, 0);
    "nn.LazyBatchNorm2d"(
        "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| lazy_norm!(a, BatchNorm2d, batch_norm, 0);
    "nn.LazyBatchNorm3d"(
        "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| lazy_norm!(a, BatchNorm3d, batch_norm, 0);
    "nn.InstanceNorm1d"(
        "num_features", "eps=1e-05", "momentum=0.1", "affine=False", "track_running_stats=False", "*", "bias=True"
    ) => |a| one(nn::InstanceNorm1d::with(a.size("num_features")?, instance_norm(a)?)?);
    "nn.InstanceNorm2d"(
        "num_features", "eps=1e-05", "momentum=0.1", "affine=False", "track_running_stats=False", "*", "bias=True"
    ) => |a| one(nn::InstanceNorm2d::with(a.size("num_features")?, instance_norm(a)?)?);
    "nn.InstanceNorm3d"(
        "num_features", "eps=1e-05", "momentum=0.1", "affine=False", "track_running_stats=False", "*", "bias=True"
    ) => |a| one(nn::InstanceNorm3d::with(a.size("num_features")?, instance_norm(a)?)?);
    "nn.LazyInstanceNorm1d"(
        "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| lazy_norm!(a, InstanceNorm1d, instance_norm, 1);
    "nn.LazyInstanceNorm2d"(
        "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| lazy_norm!(a, InstanceNorm2d, instance_norm, 2);
    "nn.LazyInstanceNorm3d"(
        "eps=1e-05", "momentum=0.1", "affine=True", "track_running_stats=True", "*", "bias=True"
    ) => |a| lazy_norm!(a, InstanceNorm3d, instance_norm, 3);
    "nn.LayerNorm"("normalized_shape", "eps=1e-05", "elementwise_affine=True", "bias=True") => |a| {
        let config = NormConfig {
            eps: a.float("eps")?,
            affine: a.bool("elementwise_affine")?,
            bias: a.bool("bias")?,
            dtype: DType::F32,
        };
        one(nn::LayerNorm::with(a.sizes("normalized_shape")?, config)?)
    };
    "nn.RMSNorm"("normalized_shape", "eps=None", "elementwise_affine=True") => |a| {
        let (shape, eps) = (a.sizes("normalized_shape")?, a.opt("eps", Call::float)?);
        one(nn::RMSNorm::with(shape, eps, a.bool("elementwise_affine")?, DType::F32)?)
    };
    "nn.GroupNorm"("num_groups", "num_channels", "eps=1e-05", "affine=True", "*", "bias=True") => |a| {
        let config = NormConfig {
            eps: a.float("eps")?,
            affine: a.bool("affine")?,
            bias: a.bool("bias")?,
            dtype: DType::F32,
        };
        one(nn::GroupNorm::with(a.size("num_groups")?, a.size("num_channels")?, config)?)
    };
    "nn.LocalResponseNorm"("size", "alpha=0.0001", "beta=0.75", "k=1.0") => |a| one(nn::LocalResponseNorm {
        size: a.size("size")?,
        alpha: a.float("alpha")?,
        beta: a.float("beta")?,
        k: a.float("k")?,
    });
    "nn.Embedding"(
        "num_embeddings", "embedding_dim", "padding_idx=None", "max_norm=None", "norm_type=2.0",
        "scale_grad_by_freq=False", "sparse=False"
    ) => |a| {
        let config = EmbeddingConfig {
            padding_idx: a.opt("padding_idx", Call::dim)?,
            max_norm: a.opt("max_norm", Call::float)?,
            norm_type: a.float("norm_type")?,
            scale_grad_by_freq: a.bool("scale_grad_by_freq")?,
            ..Default::default()
        };
        one(nn::Embedding::with(a.size("num_embeddings")?, a.size("embedding_dim")?, config)?)
    };
    "nn.EmbeddingBag"(
        "num_embeddings", "embedding_dim", "max_norm=None", "norm_type=2.0", "scale_grad_by_freq=False", "mode=mean",
        "sparse=False", "_weight=None", "include_last_offset=False", "padding_idx=None"
    ) => |a| embedding_bag(a);
};

fn embedding_bag(a: &Call) -> Result<Box<dyn Forward>, Stop> {
    let config = EmbeddingBagConfig {
        mode: bag_mode(a.str("mode")?)?,
        include_last_offset: a.bool("include_last_offset")?,
        padding_idx: a.opt("padding_idx", Call::dim)?,
        max_norm: a.opt("max_norm", Call::float)?,
        norm_type: a.float("norm_type")?,
        scale_grad_by_freq: a.bool("scale_grad_by_freq")?,
        ..Default::default()
    };
    let bag = nn::EmbeddingBag::with(a.size("num_embeddings")?, a.size("embedding_dim")?, config)?;
    called(bag, &["input", "offsets=None", "per_sample_weights=None"], |bag, a| {
        let (offsets, factors) = (a.opt_tensor("offsets")?, a.opt_tensor("per_sample_weights")?);
        Ok(bag.forward(a.input()?, offsets, factors)?.into())
    })
}

/// The channels of an input with or without a dimension of samples.
fn channels<const N: usize>(x: &Tensor) -> sconce::Result<usize> {
    x.size(-(N as isize) - 1)
}

fn convolution<const N: usize>(a: &Call) -> Result<ConvConfig<N>, Stop> {
    Ok(ConvConfig {
        stride: a.sizes_of("stride")?,
        padding: match a.value("padding") {
            Value::Str(p) if p == "same" => Padding::Same,
            Value::Str(p) if p == "valid" => Padding::Explicit([0; N]),
            _ => Padding::Explicit(a.sizes_of("padding")?),
        },
        dilation: a.sizes_of("dilation")?,
        groups: a.size("groups")?,
        bias: a.bool("bias")?,
        padding_mode: match a.str("padding_mode")? {
            "zeros" => PaddingMode::Zeros,
            "reflect" => PaddingMode::Reflect,
            "replicate" => PaddingMode::Replicate,
            "circular" => PaddingMode::Circular,
            mode => return unsupported(format!("padding mode {mode:?}")),
        },
        ..Default::default()
    })
}

fn transposed<const N: usize>(a: &Call) -> Result<ConvTransposeConfig<N>, Stop> {
    if a.str("padding_mode")? != "zeros" {
        return unsupported("a padding mode other than zeros".into());
    }
    Ok(ConvTransposeConfig {
        stride: a.sizes_of("stride")?,
        padding: a.sizes_of("padding")?,
        output_padding: a.sizes_of("output_padding")?,
        groups: a.size("groups")?,
        bias: a.bool("bias")?,
        dilation: a.sizes_of("dilation")?,
        ..Default::default()
    })
}

fn batch_norm(a: &Call) -> Result<BatchNormConfig, Stop> {
    Ok(BatchNormConfig {
        eps: a.float("eps")?,
        momentum: a.opt("momentum", Call::float)?,
        affine: a.bool("affine")?,
        bias: a.bool("bias")?,
        track_running_stats: a.bool("track_running_stats")?,
        ..BatchNormConfig::default()
    })
}

fn instance_norm(a: &Call) -> Result<InstanceNormConfig, Stop> {
    Ok(InstanceNormConfig {
        eps: a.float("eps")?,
        momentum: a.opt("momentum", Call::float)?,
        affine: a.bool("affine")?,
        bias: a.bool("bias")?,
        track_running_stats: a.bool("track_running_stats")?,
        ..InstanceNormConfig::default()
    })
}
