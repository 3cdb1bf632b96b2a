//! The library's modules, by PyTorch's names. To support a module, add one row.

use sconce::nn::{self, BatchNormConfig, Buffer, Conv2dConfig, Layer, LinearConfig, Module, Padding};

use crate::ops::loss::reduction;
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::tensors::Val;
use crate::tree::Forward;
use crate::value::Value;

/// One class of modules.
pub(crate) struct Row {
    pub(crate) class: &'static str,
    /// The constructor's parameters, in the notation of `signatures.json`.
    pub(crate) parameters: &'static [&'static str],
    pub(crate) build: fn(&Call) -> Result<Box<dyn Forward>, Stop>,
}

/// The row of a class.
pub(crate) fn find(class: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.class == class)
}

const BATCH_NORM: &[&str] = &[
    "num_features",
    "eps=1e-05",
    "momentum=0.1",
    "affine=True",
    "track_running_stats=True",
    "*",
    "bias=True",
];

/// The table.
const TABLE: &[Row] = &[
    Row { class: "nn.Identity", parameters: &[], build: |_| one(nn::Identity) },
    Row {
        class: "nn.ReLU",
        parameters: &["inplace=False"],
        // In place or not, the module's result is the same.
        build: |a| a.bool("inplace").and_then(|_| one(nn::ReLU)),
    },
    Row {
        class: "nn.Flatten",
        parameters: &["start_dim=1", "end_dim=-1"],
        build: |a| one(nn::Flatten { start_dim: a.dim("start_dim")?, end_dim: a.dim("end_dim")? }),
    },
    Row {
        class: "nn.Dropout",
        parameters: &["p=0.5", "inplace=False"],
        build: |a| one(nn::Dropout::new(a.float("p")?)?),
    },
    Row {
        class: "nn.Linear",
        parameters: &["in_features", "out_features", "bias=True"],
        build: |a| {
            let config = LinearConfig { bias: a.bool("bias")?, ..LinearConfig::default() };
            one(config.build(a.size("in_features")?, a.size("out_features")?)?)
        },
    },
    Row {
        class: "nn.Conv2d",
        parameters: &[
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride=1",
            "padding=0",
            "dilation=1",
            "groups=1",
            "bias=True",
            "padding_mode=zeros",
        ],
        build: |a| {
            let padding = match a.value("padding") {
                Value::Str(p) if p == "same" => Padding::Same,
                Value::Str(p) if p == "valid" => Padding::Explicit([0, 0]),
                _ => Padding::Explicit(a.sizes_of("padding")?),
            };
            if a.str("padding_mode")? != "zeros" {
                return unsupported("a padding mode other than zeros".into());
            }
            let config = Conv2dConfig {
                stride: a.sizes_of("stride")?,
                padding,
                dilation: a.sizes_of("dilation")?,
                groups: a.size("groups")?,
                bias: a.bool("bias")?,
                ..Conv2dConfig::default()
            };
            let kernel: [usize; 2] = a.sizes_of("kernel_size")?;
            one(config.build(a.size("in_channels")?, a.size("out_channels")?, kernel)?)
        },
    },
    Row {
        class: "nn.BatchNorm1d",
        parameters: BATCH_NORM,
        build: |a| one(nn::BatchNorm1d::with(a.size("num_features")?, batch_norm(a)?)?),
    },
    Row {
        class: "nn.BatchNorm2d",
        parameters: BATCH_NORM,
        build: |a| one(nn::BatchNorm2d::with(a.size("num_features")?, batch_norm(a)?)?),
    },
    Row {
        class: "nn.MaxPool2d",
        parameters: &[
            "kernel_size",
            "stride=None",
            "padding=0",
            "dilation=1",
            "return_indices=False",
            "ceil_mode=False",
        ],
        build: |a| {
            let kernel_size = a.sizes_of("kernel_size")?;
            one(nn::MaxPool2d {
                kernel_size,
                stride: a.opt("stride", Call::sizes_of)?.unwrap_or(kernel_size),
                padding: a.sizes_of("padding")?,
                dilation: a.sizes_of("dilation")?,
                ceil_mode: a.bool("ceil_mode")?,
            })
        },
    },
    Row {
        class: "nn.CrossEntropyLoss",
        parameters: &[
            "weight=None",
            "size_average=None",
            "ignore_index=-100",
            "reduce=None",
            "reduction=mean",
            "label_smoothing=0.0",
        ],
        build: |a| {
            Ok(Box::new(Loss(nn::CrossEntropyLoss {
                weight: a.opt_tensor("weight")?.map(Buffer::new),
                ignore_index: a.int("ignore_index")?,
                reduction: reduction(a)?,
                label_smoothing: a.float("label_smoothing")?,
            })))
        },
    },
    Row {
        class: "nn.MSELoss",
        parameters: &["size_average=None", "reduce=None", "reduction=mean"],
        build: |a| Ok(Box::new(Loss(nn::MSELoss { reduction: reduction(a)? }))),
    },
];

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

/// A layer: one tensor in, one out.
struct One<M>(M);

/// A module of two tensors, the input and the target.
struct Loss<M>(M);

fn one(layer: impl Layer + 'static) -> Result<Box<dyn Forward>, Stop> {
    Ok(Box::new(One(layer)))
}

/// Wrappers show the module that they hold as themselves.
macro_rules! transparent {
    ($($wrapper:ident),*) => {
        $(impl<M: Module> Module for $wrapper<M> {
            fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
                self.0.fields(f);
            }

            fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
                self.0.fields_mut(f);
            }

            fn type_name(&self) -> &'static str {
                self.0.type_name()
            }
        })*
    };
}

transparent!(One, Loss);

impl<M: Layer> Forward for One<M> {
    fn forward(&self, a: &Call) -> Result<Val, Stop> {
        Ok(self.0.forward(a.input()?)?.into())
    }
}

/// Losses, whose `forward` is a method of their own.
macro_rules! losses {
    ($($loss:ty),*) => {
        $(impl Forward for Loss<$loss> {
            fn takes(&self) -> &'static [&'static str] {
                &["input", "target"]
            }

            fn forward(&self, a: &Call) -> Result<Val, Stop> {
                Ok(self.0.forward(a.input()?, a.tensor("target")?)?.into())
            }
        })*
    };
}

losses!(nn::CrossEntropyLoss, nn::MSELoss);
