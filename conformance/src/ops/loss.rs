//! Losses, `linear` and dropout.

use sconce::functional::{
    self as f, BagMode, CrossEntropyOptions, CtcOptions, EmbeddingBagOptions, PoissonOptions, Reduction,
    TripletOptions,
};
use sconce::{DType, Tensor};

use super::activation::written;
use super::{in_place, rows};
use crate::outcome::{Stop, unsupported};
use crate::registry::{Call, Entry};
use crate::tensors::Val;
use crate::value::Value;

/// The table.
pub(crate) const TABLE: &[Entry] = rows! {
    "nn.functional.linear" => |a| f::linear(a.input()?, a.tensor("weight")?, a.opt_tensor("bias")?)?;
    "nn.functional.dropout" => |a| {
        let y = f::dropout(a.input()?, a.float("p")?, a.bool("training")?)?;
        written(a, y)?
    };
    "nn.functional.dropout_" => |a| {
        let (x, p, training) = (a.input()?, a.float("p")?, a.bool("training")?);
        in_place(a, |_| x.copy_(&f::dropout(x, p, training)?))?
    };
    "nn.functional.cross_entropy" => |a| {
        let options = CrossEntropyOptions {
            weight: a.opt_tensor("weight")?,
            ignore_index: a.int("ignore_index")?,
            reduction: reduction(a)?,
            label_smoothing: a.float("label_smoothing")?,
        };
        f::cross_entropy(a.input()?, a.tensor("target")?, options)?
    };
    "nn.functional.nll_loss" => |a| f::nll_loss(
        a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, a.int("ignore_index")?, reduction(a)?,
    )?;
    "nn.functional.mse_loss" => |a| {
        f::mse_loss(a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, reduction(a)?)?
    };
    "nn.functional.l1_loss" => |a| {
        f::l1_loss(a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, reduction(a)?)?
    };
    "nn.functional.smooth_l1_loss" => |a| {
        f::smooth_l1_loss(a.input()?, a.tensor("target")?, reduction(a)?, a.float("beta")?)?
    };
    "nn.functional.huber_loss" => |a| {
        f::huber_loss(
            a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, reduction(a)?, a.float("delta")?,
        )?
    };
    "nn.functional.binary_cross_entropy" => |a| {
        f::binary_cross_entropy(a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, reduction(a)?)?
    };
    "nn.functional.binary_cross_entropy_with_logits" => |a| f::binary_cross_entropy_with_logits(
        a.input()?, a.tensor("target")?, a.opt_tensor("weight")?, a.opt_tensor("pos_weight")?, reduction(a)?,
    )?;
    "nn.functional.kl_div" => |a| {
        f::kl_div(a.input()?, a.tensor("target")?, reduction(a)?, a.bool("log_target")?)?
    };
    "nn.functional.embedding_bag" => |a| f::embedding_bag(a.input()?, a.tensor("weight")?, EmbeddingBagOptions {
        offsets: a.opt_tensor("offsets")?,
        mode: bag_mode(a.str("mode")?)?,
        per_sample_weights: a.opt_tensor("per_sample_weights")?,
        include_last_offset: a.bool("include_last_offset")?,
        padding_idx: a.opt("padding_idx", Call::dim)?,
        max_norm: a.opt("max_norm", Call::float)?,
        norm_type: a.float("norm_type")?,
        scale_grad_by_freq: a.bool("scale_grad_by_freq")?,
    })?;
    "nn.functional.cosine_similarity" => |a| {
        f::cosine_similarity(a.tensor("x1")?, a.tensor("x2")?, a.dim("dim")?, a.float("eps")?)?
    };
    "nn.functional.pairwise_distance" => |a| {
        let (p, eps, keep) = (a.float("p")?, a.float("eps")?, a.bool("keepdim")?);
        f::pairwise_distance(a.tensor("x1")?, a.tensor("x2")?, p, eps, keep)?
    };
    "nn.functional.pdist" => |a| f::pdist(a.input()?, a.float("p")?)?;
    "nn.functional.cosine_embedding_loss" => |a| {
        let (x, y, target) = (a.tensor("input1")?, a.tensor("input2")?, a.tensor("target")?);
        f::cosine_embedding_loss(x, y, target, a.float("margin")?, reduction(a)?)?
    };
    "nn.functional.margin_ranking_loss" => |a| {
        let (x, y, target) = (a.tensor("input1")?, a.tensor("input2")?, a.tensor("target")?);
        f::margin_ranking_loss(x, y, target, a.float("margin")?, reduction(a)?)?
    };
    "nn.functional.hinge_embedding_loss" => |a| {
        f::hinge_embedding_loss(a.input()?, a.tensor("target")?, a.float("margin")?, reduction(a)?)?
    };
    "nn.functional.soft_margin_loss" => |a| {
        f::soft_margin_loss(a.input()?, a.tensor("target")?, reduction(a)?)?
    };
    "nn.functional.multi_margin_loss" => |a| {
        let (p, margin, weight) = (a.size("p")? as u32, a.float("margin")?, a.opt_tensor("weight")?);
        f::multi_margin_loss(a.input()?, a.tensor("target")?, p, margin, weight, reduction(a)?)?
    };
    "nn.functional.multilabel_margin_loss" => |a| {
        f::multilabel_margin_loss(a.input()?, a.tensor("target")?, reduction(a)?)?
    };
    "nn.functional.multilabel_soft_margin_loss" => |a| {
        let weight = a.opt_tensor("weight")?;
        f::multilabel_soft_margin_loss(a.input()?, a.tensor("target")?, weight, reduction(a)?)?
    };
    "nn.functional.triplet_margin_loss" => |a| f::triplet_margin_loss(
        a.tensor("anchor")?, a.tensor("positive")?, a.tensor("negative")?, triplet(a)?,
    )?;
    "nn.functional.triplet_margin_with_distance_loss" => |a| {
        if !matches!(a.value("distance_function"), Value::None) {
            return unsupported("a function as an argument".into());
        }
        let options = TripletOptions {
            margin: a.float("margin")?,
            swap: a.bool("swap")?,
            reduction: reduction(a)?,
            ..TripletOptions::default()
        };
        let (x, y, z) = (a.tensor("anchor")?, a.tensor("positive")?, a.tensor("negative")?);
        f::triplet_margin_with_distance_loss(x, y, z, options, |x, y| {
            f::pairwise_distance(x, y, 2.0, 1e-6, false)
        })?
    };
    "nn.functional.poisson_nll_loss" => |a| f::poisson_nll_loss(a.input()?, a.tensor("target")?, PoissonOptions {
        log_input: a.bool("log_input")?,
        full: a.bool("full")?,
        eps: a.float("eps")?,
        reduction: reduction(a)?,
    })?;
    "nn.functional.gaussian_nll_loss" => |a| {
        let (full, eps) = (a.bool("full")?, a.float("eps")?);
        f::gaussian_nll_loss(a.input()?, a.tensor("target")?, a.operand("var")?, full, eps, reduction(a)?)?
    };
    "nn.functional.ctc_loss" => |a| ctc(a, a.size("blank")?, reduction(a)?, a.bool("zero_infinity")?)?;
};

/// The connectionist temporal classification of a call's inputs.
pub(crate) fn ctc(a: &Call, blank: usize, reduction: Reduction, zero_infinity: bool) -> Result<Tensor, Stop> {
    let lengths = |name: &str| -> Result<Vec<usize>, Stop> {
        match a.value(name) {
            Value::Tensor(t) => {
                let lengths = t.to(DType::I64)?.to_vec::<i64>()?;
                Ok(sconce::sizes_from(&format!("ctc_loss: {name}"), lengths)?.to_vec())
            }
            _ => a.sizes(name),
        }
    };
    let options = CtcOptions { blank, reduction, zero_infinity };
    let (inputs, targets) = (lengths("input_lengths")?, lengths("target_lengths")?);
    Ok(f::ctc_loss(a.tensor("log_probs")?, a.tensor("targets")?, &inputs, &targets, options)?)
}

/// The options of a triplet loss.
pub(crate) fn triplet(a: &Call) -> Result<TripletOptions, Stop> {
    Ok(TripletOptions {
        margin: a.float("margin")?,
        p: a.float("p")?,
        eps: a.float("eps")?,
        swap: a.bool("swap")?,
        reduction: reduction(a)?,
    })
}

/// What becomes of a bag.
pub(crate) fn bag_mode(mode: &str) -> Result<BagMode, Stop> {
    Ok(mode.parse()?)
}

/// How a loss is reduced.
pub(crate) fn reduction(a: &Call) -> Result<Reduction, Stop> {
    a.word("reduction")
}
