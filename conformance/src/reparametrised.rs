//! Cases of suite `optim` of parameters that are computed from others: pruning and parametrisations.

use sconce::Tensor;
use sconce::autograd::Backward;
use sconce::compress::Amount;
use sconce::nn::parametrize::{self, OrthogonalConfig, OrthogonalMap, SpectralNormConfig};
use sconce::nn::{
    Conv1d, Conv2d, ConvTranspose2d, Layer, Linear, Module, ModuleExt, Sequential, StateDict, Strictness,
    prune,
};
use serde_json::Value as Json;

use crate::args::{Args, Number};
use crate::case::{Case, array_of, pairs_of, str_of, strings_of};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::registry::Call;
use crate::store::unsigned;
use crate::suites::optim::tensors;
use crate::tensors::Inputs;
use crate::value::Value;

/// Runs a case of pruning.
pub(crate) fn pruning(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let mut net = Sequential::new();
    let weights = tensors(inputs, &case.json["weights"])?;
    for weight in &weights {
        match *weight.shape() {
            [outputs, columns] => {
                let layer = Linear::new(columns, outputs)?;
                sconce::no_grad(|| layer.weight.copy_(weight))?;
                net.push(layer);
            }
            [outputs, channels, height, width] => {
                let layer = Conv2d::new(channels, outputs, [height, width])?;
                sconce::no_grad(|| layer.weight.copy_(weight))?;
                net.push(layer);
            }
            ref shape => return unsupported(format!("a weight of shape {shape:?}")),
        }
    }
    apply(case, inputs, &mut net)?;
    let state = net.state_dict();
    for (i, (mask, pruned)) in
        array_of(&case.json, "masks")?.iter().zip(array_of(&case.json, "pruned")?).enumerate()
    {
        let here = state.get(&format!("{i}.weight_mask"))?;
        inputs.check(&here.into(), &Value::parse(mask)?, false).at(format_args!("mask {i}"))?;
        let product = state.get(&format!("{i}.weight_orig"))?.mul(here)?;
        inputs.check(&product.into(), &Value::parse(pruned)?, false).at(format_args!("weight {i}"))?;
    }
    check_names("state_names", first(net.state_dict().names()), case)?;
    check_names(
        "parameter_names",
        first(net.named_parameters().iter().map(|(name, _)| name.as_str())),
        case,
    )?;
    prune::remove(&mut net, "*.weight")?;
    check_names("state_names_after_remove", first(net.state_dict().names()), case)?;
    for (i, pruned) in array_of(&case.json, "pruned")?.iter().enumerate() {
        let weight = net.get_parameter(&format!("{i}.weight"))?;
        inputs
            .check(&weight.detach().into(), &Value::parse(pruned)?, false)
            .at(format_args!("removed {i}"))?;
    }
    Ok(())
}

/// The names of the first layer, without its own.
fn first<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.filter_map(|name| name.strip_prefix("0.").map(str::to_owned)).collect()
}

fn check_names(field: &str, actual: Vec<String>, case: &Case) -> Result<(), Stop> {
    let expected = strings_of(&case.json, field)?;
    if actual != expected { wrong(format!("{field} {actual:?}, expected {expected:?}")) } else { Ok(()) }
}

fn apply(case: &Case, inputs: &Inputs<'_>, net: &mut Sequential) -> Result<(), Stop> {
    const ALL: &str = "*.weight";
    let names = &["amount=0", "n=2", "dim=0"];
    let a: Call = Args::bind_names(names, &[], &inputs.kwargs(&case.json, "kwargs")?)?;
    let amount = match a.number("amount")? {
        Number::Int(n) => Amount::Count(usize::try_from(n).unwrap_or(usize::MAX)),
        number => Amount::Fraction(number.as_f64()),
    };
    match case.str("method")? {
        "identity" => prune::identity(net, ALL)?,
        "l1_unstructured" => prune::l1_unstructured(net, ALL, amount)?,
        "ln_structured" => prune::ln_structured(net, ALL, amount, a.float("n")?, a.dim("dim")?)?,
        "global_unstructured" => prune::global_unstructured(net, ALL, prune::Score::L1, amount)?,
        "random_unstructured" => prune::random_unstructured(net, ALL, amount)?,
        "random_structured" => prune::random_structured(net, ALL, amount, a.dim("dim")?)?,
        "twice" => {
            prune::l1_unstructured(net, ALL, Amount::Fraction(0.25))?;
            prune::ln_structured(net, ALL, Amount::Fraction(0.5), 2.0, 0)?
        }
        "custom_from_mask" => {
            for (i, mask) in tensors(inputs, &case.json["given_masks"])?.iter().enumerate() {
                prune::custom_from_mask(net, format!("{i}.weight"), mask)?;
            }
            Vec::new()
        }
        method => return unsupported(format!("pruning by {method}")),
    };
    Ok(())
}

/// Runs a case of parametrisation.
pub(crate) fn parametrization(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let sizes =
        unsigned(&case.json["layer_args"]).ok_or_else(|| Stop::Wrong("malformed layer_args".into()))?;
    match (case.str("layer")?, &sizes[..]) {
        ("nn.Linear", &[from, to]) => {
            let layer = Linear::new(from, to)?;
            with_layer(case, inputs, layer, |layer| Ok(layer.weight.value()?.into_owned()))
        }
        ("nn.Conv2d", &[from, to, kernel]) => {
            let layer = Conv2d::new(from, to, kernel)?;
            with_layer(case, inputs, layer, |layer| Ok(layer.weight.value()?.into_owned()))
        }
        ("nn.Conv1d", &[from, to, kernel]) => {
            let layer = Conv1d::new(from, to, kernel)?;
            with_layer(case, inputs, layer, |layer| Ok(layer.weight.value()?.into_owned()))
        }
        ("nn.ConvTranspose2d", &[from, to, kernel]) => {
            let layer = ConvTranspose2d::new(from, to, kernel)?;
            with_layer(case, inputs, layer, |layer| Ok(layer.weight.value()?.into_owned()))
        }
        (layer, sizes) => unsupported(format!("{layer} of {sizes:?}")),
    }
}

fn with_layer<L: Layer>(
    case: &Case,
    inputs: &Inputs<'_>,
    mut layer: L,
    weight: fn(&L) -> sconce::Result<Tensor>,
) -> Result<(), Stop> {
    parametrise(case, inputs, &mut layer)?;
    let expected = pairs_of(&case.json, "state_dict")?;
    let state = layer.state_dict();
    let (here, given): (Vec<_>, Vec<_>) =
        (state.names().collect(), expected.iter().map(|(n, _)| *n).collect());
    if here != given {
        return wrong(format!("state dict {here:?}, expected {given:?}"));
    }
    let names: Vec<String> = layer.named_parameters().into_iter().map(|(name, _)| name).collect();
    check_names("parameters", names, case)?;
    let tensor = |json: &Json| match inputs.value(&Value::parse(json)?)? {
        Value::Tensor(t) => Ok(t),
        other => wrong(format!("{} instead of a tensor", other.kind())),
    };
    let mut recorded = StateDict::new();
    for (name, value) in expected {
        recorded.insert(name, tensor(value)?);
    }
    layer.load_state_dict(&recorded, Strictness::Strict)?;
    let x = tensor(&case.json["input"])?;
    let first = layer.forward(&x)?;
    inputs.check(&first.into(), &case.value("first")?, false).at("first")?;
    let second = layer.forward(&x)?;
    inputs.check(&(&second.detach()).into(), &case.value("second")?, false).at("second")?;
    second.backward_with(Some(&tensor(&case.json["cotangent"])?), Backward::default())?;
    for (name, expected) in case.json["grads"].as_object().into_iter().flatten() {
        let grad = layer.get_parameter(name)?.grad();
        inputs.check_gradient(grad.as_ref(), expected).at(format_args!("gradient of {name}"))?;
    }
    // The weight was read in training mode, which improves the vectors of a spectral norm once more; the older functions
    // keep the weight of the last forward.
    if case.str("method")?.starts_with("old_") {
        layer.eval();
    }
    inputs.check(&weight(&layer)?.detach().into(), &case.value("weight")?, false).at("weight")?;
    for (name, expected) in case.json["buffers_after"].as_object().into_iter().flatten() {
        let buffer = layer.get_buffer(name)?.tensor().clone();
        inputs.check(&buffer.into(), &Value::parse(expected)?, false).at(name)?;
    }
    Ok(())
}

fn parametrise(case: &Case, inputs: &Inputs<'_>, layer: &mut impl Module) -> Result<(), Stop> {
    const WEIGHT: &str = "weight";
    let kwargs = inputs.kwargs(&case.json, "kwargs")?;
    let bind = |names: &[&str]| -> Result<Call, Stop> { Args::bind_names(names, &[], &kwargs) };
    let is_transposed = case.str("layer")?.starts_with("nn.ConvTranspose");
    let spectral = || {
        let a = bind(&["n_power_iterations=1", "eps=1e-12", "dim=None"])?;
        let (n_power_iterations, eps) = (a.size("n_power_iterations")?, a.float("eps")?);
        Ok::<_, Stop>(SpectralNormConfig {
            n_power_iterations,
            dim: a.opt("dim", Call::size)?.unwrap_or_else(|| usize::from(is_transposed)),
            eps,
        })
    };
    let dim = || {
        let dim = bind(&["dim=0"])?.opt("dim", Call::dim)?;
        // PyTorch takes −1 for no dimension.
        Ok::<_, Stop>(dim.and_then(|dim| usize::try_from(dim).ok()))
    };
    match case.str("method")? {
        "weight_norm" => parametrize::weight_norm(layer, WEIGHT, dim()?)?,
        "old_weight_norm" => parametrize::weight_norm_legacy(layer, WEIGHT, dim()?)?,
        "spectral_norm" => parametrize::spectral_norm(layer, WEIGHT, spectral()?)?,
        "old_spectral_norm" => parametrize::spectral_norm_legacy(layer, WEIGHT, spectral()?)?,
        "orthogonal" => {
            let map = match str_of(&case.json["kwargs"], "orthogonal_map").ok() {
                None => None,
                Some("matrix_exp") => Some(OrthogonalMap::MatrixExp),
                Some("cayley") => Some(OrthogonalMap::Cayley),
                Some("householder") => Some(OrthogonalMap::Householder),
                Some(other) => return unsupported(format!("orthogonal map {other}")),
            };
            let use_trivialization = case.json["kwargs"]["use_trivialization"] != false;
            parametrize::orthogonal(layer, WEIGHT, OrthogonalConfig { map, use_trivialization })?
        }
        method => return unsupported(format!("parametrisation {method}")),
    };
    Ok(())
}
