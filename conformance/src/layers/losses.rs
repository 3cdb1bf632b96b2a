//! Losses and distances.

use sconce::functional::{CtcOptions, PoissonOptions, TripletOptions};
use sconce::nn::{self, AdaptiveLogSoftmaxConfig, Buffer, LinearCrossEntropyConfig};

use super::{Row, called, modules};
use crate::ops::loss::{ctc, reduction, triplet};
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::value::Value;

/// Builds a loss of tensors under names.
macro_rules! loss {
    ($loss:expr, $($name:literal),+) => {
        called($loss, &[$($name),+], |loss, a| Ok(loss.forward($(a.tensor($name)?),+)?.into()))
    };
}

/// The table.
pub(super) const TABLE: &[Row] = modules! {
    "nn.CrossEntropyLoss"(
        "weight=None", "size_average=None", "ignore_index=-100", "reduce=None", "reduction=mean",
        "label_smoothing=0.0"
    ) => |a| loss!(nn::CrossEntropyLoss {
        weight: weight(a)?,
        ignore_index: a.int("ignore_index")?,
        reduction: reduction(a)?,
        label_smoothing: a.float("label_smoothing")?,
    }, "input", "target");
    "nn.MSELoss"("size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::MSELoss { reduction: reduction(a)? }, "input", "target")
    };
    "nn.L1Loss"("size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::L1Loss { reduction: reduction(a)? }, "input", "target")
    };
    "nn.SmoothL1Loss"("size_average=None", "reduce=None", "reduction=mean", "beta=1.0") => |a| {
        loss!(nn::SmoothL1Loss { reduction: reduction(a)?, beta: a.float("beta")? }, "input", "target")
    };
    "nn.HuberLoss"("reduction=mean", "delta=1.0") => |a| {
        loss!(nn::HuberLoss { reduction: reduction(a)?, delta: a.float("delta")? }, "input", "target")
    };
    "nn.BCELoss"("weight=None", "size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::BCELoss { weight: weight(a)?, reduction: reduction(a)? }, "input", "target")
    };
    "nn.BCEWithLogitsLoss"(
        "weight=None", "size_average=None", "reduce=None", "reduction=mean", "pos_weight=None"
    ) => |a| loss!(nn::BCEWithLogitsLoss {
        weight: weight(a)?,
        pos_weight: a.opt_tensor("pos_weight")?.map(Buffer::new),
        reduction: reduction(a)?,
    }, "input", "target");
    "nn.NLLLoss"("weight=None", "size_average=None", "ignore_index=-100", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::NLLLoss {
            weight: weight(a)?,
            ignore_index: a.int("ignore_index")?,
            reduction: reduction(a)?,
        }, "input", "target")
    };
    "nn.KLDivLoss"("size_average=None", "reduce=None", "reduction=mean", "log_target=False") => |a| {
        loss!(nn::KLDivLoss { reduction: reduction(a)?, log_target: a.bool("log_target")? }, "input", "target")
    };
    "nn.HingeEmbeddingLoss"("margin=1.0", "size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::HingeEmbeddingLoss { margin: a.float("margin")?, reduction: reduction(a)? }, "input", "target")
    };
    "nn.SoftMarginLoss"("size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::SoftMarginLoss { reduction: reduction(a)? }, "input", "target")
    };
    "nn.MultiMarginLoss"(
        "p=1", "margin=1.0", "weight=None", "size_average=None", "reduce=None", "reduction=mean"
    ) => |a| loss!(nn::MultiMarginLoss {
        p: a.size("p")? as u32,
        margin: a.float("margin")?,
        weight: weight(a)?,
        reduction: reduction(a)?,
    }, "input", "target");
    "nn.MultiLabelMarginLoss"("size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::MultiLabelMarginLoss { reduction: reduction(a)? }, "input", "target")
    };
    "nn.MultiLabelSoftMarginLoss"("weight=None", "size_average=None", "reduce=None", "reduction=mean") => |a| {
        loss!(nn::MultiLabelSoftMarginLoss { weight: weight(a)?, reduction: reduction(a)? }, "input", "target")
    };
    "nn.PoissonNLLLoss"(
        "log_input=True", "full=False", "size_average=None", "eps=1e-08", "reduce=None", "reduction=mean"
    ) => |a| loss!(nn::PoissonNLLLoss { options: PoissonOptions {
        log_input: a.bool("log_input")?,
        full: a.bool("full")?,
        eps: a.float("eps")?,
        reduction: reduction(a)?,
    } }, "input", "target");
    "nn.GaussianNLLLoss"("*", "full=False", "eps=1e-06", "reduction=mean") => |a| loss!(nn::GaussianNLLLoss {
        full: a.bool("full")?,
        eps: a.float("eps")?,
        reduction: reduction(a)?,
    }, "input", "target", "var");
    "nn.MarginRankingLoss"("margin=0.0", "size_average=None", "reduce=None", "reduction=mean") => |a| {
        let loss = nn::MarginRankingLoss { margin: a.float("margin")?, reduction: reduction(a)? };
        loss!(loss, "input1", "input2", "target")
    };
    "nn.CosineEmbeddingLoss"("margin=0.0", "size_average=None", "reduce=None", "reduction=mean") => |a| {
        let loss = nn::CosineEmbeddingLoss { margin: a.float("margin")?, reduction: reduction(a)? };
        loss!(loss, "input1", "input2", "target")
    };
    "nn.TripletMarginLoss"(
        "margin=1.0", "p=2.0", "eps=1e-06", "swap=False", "size_average=None", "reduce=None", "reduction=mean"
    ) => |a| loss!(nn::TripletMarginLoss { options: triplet(a)? }, "anchor", "positive", "negative");
    "nn.CosineSimilarity"("dim=1", "eps=1e-08") => |a| {
        loss!(nn::CosineSimilarity { dim: a.dim("dim")?, eps: a.float("eps")? }, "x1", "x2")
    };
    "nn.PairwiseDistance"("p=2.0", "eps=1e-06", "keepdim=False") => |a| loss!(nn::PairwiseDistance {
        p: a.float("p")?,
        eps: a.float("eps")?,
        keepdim: a.bool("keepdim")?,
    }, "x1", "x2");
    "nn.CTCLoss"("blank=0", "reduction=mean", "zero_infinity=False") => |a| {
        let options = CtcOptions {
            blank: a.size("blank")?,
            reduction: reduction(a)?,
            zero_infinity: a.bool("zero_infinity")?,
        };
        let takes = &["log_probs", "targets", "input_lengths", "target_lengths"];
        called(nn::CTCLoss { options }, takes, |loss, a| {
            let CtcOptions { blank, reduction, zero_infinity } = loss.options;
            Ok(ctc(a, blank, reduction, zero_infinity)?.into())
        })
    };
    "nn.LinearCrossEntropyLoss"(
        "in_features", "num_classes", "*", "out_features=[]", "bias=False", "reduction=mean", "weight=None",
        "ignore_index=None", "label_smoothing=0.0", "options=None"
    ) => |a| {
        let out_features = match a.value("out_features") {
            Value::Str(_) => Vec::new(),
            _ => a.sizes("out_features")?,
        };
        let config = LinearCrossEntropyConfig {
            out_features,
            bias: a.bool("bias")?,
            weight: a.opt_tensor("weight")?.cloned(),
            ignore_index: a.opt("ignore_index", Call::int)?,
            reduction: reduction(a)?,
            label_smoothing: a.float("label_smoothing")?,
            ..Default::default()
        };
        let loss = nn::LinearCrossEntropyLoss::with(a.size("in_features")?, a.size("num_classes")?, config)?;
        loss!(loss, "input", "target")
    };
    "nn.TripletMarginWithDistanceLoss"(
        "*", "distance_function=None", "margin=1.0", "swap=False", "reduction=mean"
    ) => |a| {
        let Value::None = a.value("distance_function") else {
            return unsupported("a distance of one's own".into());
        };
        let options = TripletOptions {
            margin: a.float("margin")?,
            swap: a.bool("swap")?,
            reduction: reduction(a)?,
            ..Default::default()
        };
        loss!(nn::TripletMarginLoss { options }, "anchor", "positive", "negative")
    };
    "nn.AdaptiveLogSoftmaxWithLoss"(
        "in_features", "n_classes", "cutoffs", "div_value=4.0", "head_bias=False"
    ) => |a| {
        let config = AdaptiveLogSoftmaxConfig {
            div_value: a.float("div_value")?,
            head_bias: a.bool("head_bias")?,
            ..Default::default()
        };
        let (features, classes) = (a.size("in_features")?, a.size("n_classes")?);
        let layer = nn::AdaptiveLogSoftmaxWithLoss::with(features, classes, &a.sizes("cutoffs")?, config)?;
        called(layer, &["input", "target"], |layer, a| {
            Ok(layer.forward(a.tensor("input")?, a.tensor("target")?)?.into())
        })
    };
};

fn weight(a: &Call) -> Result<Option<Buffer>, Stop> {
    Ok(a.opt_tensor("weight")?.map(Buffer::new))
}
