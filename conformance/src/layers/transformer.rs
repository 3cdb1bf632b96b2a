//! Attention and transformers.

use sconce::Tensor;
use sconce::nn::{
    self, AttendOptions, Masks, MultiheadAttentionConfig, NormConfig, TransformerActivation,
    TransformerConfig, TransformerDecoderLayer, TransformerEncoderLayer,
};
use serde_json::Value as Json;

use super::{Row, called};
use crate::case::str_of;
use crate::outcome::{Stop, unsupported};
use crate::registry::Call;
use crate::tensors::{Inputs, Val};
use crate::tree::Forward;
use crate::value::Value;

const LAYER: &[&str] = &[
    "d_model",
    "nhead",
    "dim_feedforward=2048",
    "dropout=0.1",
    "activation=relu",
    "layer_norm_eps=1e-05",
    "batch_first=False",
    "norm_first=False",
    "bias=True",
];

/// The table.
pub(super) const TABLE: &[Row] = &[
    Row {
        class: "nn.TransformerEncoderLayer",
        parameters: LAYER,
        build: |a| encoder_forward(encoder_layer(a)?),
    },
    Row {
        class: "nn.TransformerDecoderLayer",
        parameters: LAYER,
        build: |a| {
            called(decoder_layer(a)?, DECODER_TAKES, |layer, a| {
                let (masks, memory_masks) = decoder_masks(a)?;
                Ok(layer.forward(a.tensor("tgt")?, a.tensor("memory")?, masks, memory_masks)?.into())
            })
        },
    },
    Row {
        class: "nn.MultiheadAttention",
        parameters: &[
            "embed_dim",
            "num_heads",
            "dropout=0.0",
            "bias=True",
            "add_bias_kv=False",
            "add_zero_attn=False",
            "kdim=None",
            "vdim=None",
            "batch_first=False",
        ],
        build: attention,
    },
    Row {
        class: "nn.Transformer",
        parameters: &[
            "d_model=512",
            "nhead=8",
            "num_encoder_layers=6",
            "num_decoder_layers=6",
            "dim_feedforward=2048",
            "dropout=0.1",
            "activation=relu",
            "custom_encoder=None",
            "custom_decoder=None",
            "layer_norm_eps=1e-05",
            "batch_first=False",
            "norm_first=False",
            "bias=True",
        ],
        build: transformer,
    },
];

const DECODER_TAKES: &[&str] = &[
    "tgt",
    "memory",
    "tgt_mask=None",
    "memory_mask=None",
    "tgt_key_padding_mask=None",
    "memory_key_padding_mask=None",
    "tgt_is_causal=None",
    "memory_is_causal=False",
];

fn attention(a: &Call) -> Result<Box<dyn Forward>, Stop> {
    let config = MultiheadAttentionConfig {
        dropout: a.float("dropout")?,
        bias: a.bool("bias")?,
        add_bias_kv: a.bool("add_bias_kv")?,
        add_zero_attn: a.bool("add_zero_attn")?,
        kdim: a.opt("kdim", Call::size)?,
        vdim: a.opt("vdim", Call::size)?,
        batch_first: a.bool("batch_first")?,
        ..Default::default()
    };
    let module = nn::MultiheadAttention::with(a.size("embed_dim")?, a.size("num_heads")?, config)?;
    let takes = &[
        "query",
        "key",
        "value",
        "key_padding_mask=None",
        "need_weights=True",
        "attn_mask=None",
        "average_attn_weights=True",
        "is_causal=False",
    ];
    called(module, takes, |module, a| {
        let options = AttendOptions {
            key_padding_mask: a.opt_tensor("key_padding_mask")?,
            need_weights: a.bool("need_weights")?,
            attn_mask: a.opt_tensor("attn_mask")?,
            average_attn_weights: a.bool("average_attn_weights")?,
        };
        // A hint that the mask is a causal one.
        a.bool("is_causal")?;
        let (query, key, value) = (a.tensor("query")?, a.tensor("key")?, a.tensor("value")?);
        let (y, weights) = module.forward(query, key, value, options)?;
        Ok(Val::Tuple(vec![y.into(), weights.map_or(Value::None, Val::from)]))
    })
}

fn activation(a: &Call) -> Result<TransformerActivation, Stop> {
    Ok(match a.value("activation") {
        Value::Str(name) | Value::Callable(name) => match name.trim_start_matches("nn.functional.") {
            "relu" => TransformerActivation::Relu,
            "gelu" => TransformerActivation::Gelu,
            "silu" => TransformerActivation::Other(Tensor::silu),
            "tanh" => TransformerActivation::Other(Tensor::tanh),
            "sigmoid" => TransformerActivation::Other(Tensor::sigmoid),
            other => return unsupported(format!("activation {other:?}")),
        },
        other => return unsupported(format!("an activation that is {}", other.kind())),
    })
}

fn config(a: &Call) -> Result<TransformerConfig, Stop> {
    Ok(TransformerConfig {
        dim_feedforward: a.size("dim_feedforward")?,
        dropout: a.float("dropout")?,
        activation: activation(a)?,
        layer_norm_eps: a.float("layer_norm_eps")?,
        batch_first: a.bool("batch_first")?,
        norm_first: a.bool("norm_first")?,
        bias: a.bool("bias")?,
        ..Default::default()
    })
}

fn encoder_layer(a: &Call) -> Result<TransformerEncoderLayer, Stop> {
    Ok(TransformerEncoderLayer::with(a.size("d_model")?, a.size("nhead")?, &config(a)?)?)
}

fn decoder_layer(a: &Call) -> Result<TransformerDecoderLayer, Stop> {
    Ok(TransformerDecoderLayer::with(a.size("d_model")?, a.size("nhead")?, &config(a)?)?)
}

fn masks<'a>(a: &'a Call, attn: &str, padding: &str) -> Result<Masks<'a>, Stop> {
    Ok(Masks { attn: a.opt_tensor(attn)?, padding: a.opt_tensor(padding)? })
}

/// Reads the hints that a mask is a causal one.
fn causal(a: &Call, names: &[&str]) -> Result<(), Stop> {
    names.iter().try_for_each(|name| a.opt(name, Call::bool).map(drop))
}

fn decoder_masks(a: &Call) -> Result<(Masks<'_>, Masks<'_>), Stop> {
    causal(a, &["tgt_is_causal", "memory_is_causal"])?;
    let own = masks(a, "tgt_mask", "tgt_key_padding_mask")?;
    Ok((own, masks(a, "memory_mask", "memory_key_padding_mask")?))
}

fn encoder_forward(layer: TransformerEncoderLayer) -> Result<Box<dyn Forward>, Stop> {
    let takes = &["src", "src_mask=None", "src_key_padding_mask=None", "is_causal=False"];
    called(layer, takes, |layer, a| {
        causal(a, &["is_causal"])?;
        Ok(layer.forward_masked(a.tensor("src")?, masks(a, "src_mask", "src_key_padding_mask")?)?.into())
    })
}

fn transformer(a: &Call) -> Result<Box<dyn Forward>, Stop> {
    let layers = (a.size("num_encoder_layers")?, a.size("num_decoder_layers")?);
    let (d_model, nhead) = (a.size("d_model")?, a.size("nhead")?);
    let model = nn::Transformer::with(d_model, nhead, layers.0, layers.1, &config(a)?)?;
    let takes = &[
        "src",
        "tgt",
        "src_mask=None",
        "tgt_mask=None",
        "memory_mask=None",
        "src_key_padding_mask=None",
        "tgt_key_padding_mask=None",
        "memory_key_padding_mask=None",
        "src_is_causal=None",
        "tgt_is_causal=None",
        "memory_is_causal=False",
    ];
    called(model, takes, |model, a| {
        causal(a, &["src_is_causal"])?;
        let source = masks(a, "src_mask", "src_key_padding_mask")?;
        let (own, memory) = decoder_masks(a)?;
        Ok(model.forward(a.tensor("src")?, a.tensor("tgt")?, source, own, memory)?.into())
    })
}

/// A stack of layers, whose first argument is a node of a tree.
pub(crate) fn stack(class: &str, json: &Json, inputs: &Inputs<'_>) -> Result<Box<dyn Forward>, Stop> {
    let argument = |i: usize, name: &str| {
        let found = json["args"].get(i).or_else(|| json["kwargs"].get(name));
        found.filter(|value| !value.is_null())
    };
    let Some(count) = argument(1, "num_layers").and_then(Json::as_u64) else {
        return unsupported("a stack without a number of layers".into());
    };
    let norm = match argument(2, "norm") {
        Some(node) if str_of(node, "class")? == "nn.LayerNorm" => {
            let call = bound(
                node,
                &["normalized_shape", "eps=1e-05", "elementwise_affine=True", "bias=True"],
                inputs,
            )?;
            let config = NormConfig {
                eps: call.float("eps")?,
                affine: call.bool("elementwise_affine")?,
                bias: call.bool("bias")?,
                ..Default::default()
            };
            Some(nn::LayerNorm::with(call.sizes("normalized_shape")?, config)?)
        }
        Some(_) => return unsupported("a norm other than LayerNorm".into()),
        None => None,
    };
    let encoder = class == "nn.TransformerEncoder";
    let Some(layer) = argument(0, if encoder { "encoder_layer" } else { "decoder_layer" }) else {
        return unsupported("a stack without a layer".into());
    };
    let call = bound(layer, LAYER, inputs)?;
    if encoder {
        let stack = nn::TransformerEncoder::new(&encoder_layer(&call)?, count as usize, norm)?;
        let takes = &["src", "mask=None", "src_key_padding_mask=None", "is_causal=None"];
        return called(stack, takes, |stack, a| {
            causal(a, &["is_causal"])?;
            Ok(stack.forward_masked(a.tensor("src")?, masks(a, "mask", "src_key_padding_mask")?)?.into())
        });
    }
    let stack = nn::TransformerDecoder::new(&decoder_layer(&call)?, count as usize, norm)?;
    called(stack, DECODER_TAKES, |stack, a| {
        let (masks, memory_masks) = decoder_masks(a)?;
        Ok(stack.forward(a.tensor("tgt")?, a.tensor("memory")?, masks, memory_masks)?.into())
    })
}

fn bound(node: &Json, names: &[&str], inputs: &Inputs<'_>) -> Result<Call, Stop> {
    Call::bind_names(names, &inputs.args(node)?, &inputs.kwargs(node, "kwargs")?)
}
