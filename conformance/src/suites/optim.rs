//! Suite `optim`: optimisers, their errors and states, and limits on gradients.

use sconce::Tensor;
use sconce::optim::{
    ClipOptions, OptimizerState, clip_grad_norm_, clip_grad_value_, parameters_to_vector,
    vector_to_parameters,
};
use serde_json::Value as Json;

use crate::averages;
use crate::case::{Case, array_of};
use crate::compare::compare;
use crate::lbfgs;
use crate::optimizers::{Stepper, create, same_setting, to_state};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::reparametrised;
use crate::runner::Context;
use crate::schedulers;
use crate::tensors::{Inputs, Val, is_stored_only, to_array};
use crate::value::{Ref, Value};

/// Runs a case.
pub(crate) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    match case.str("kind")? {
        "optimizer" => optimizer(case, &inputs),
        "optimizer_error" => optimizer_error(case, &inputs),
        "scheduler" => schedulers::run(case),
        "clip_grad_norm" => clip_norm(case, &inputs),
        "clip_grad_value" => clip_value(case, &inputs),
        "parameters_to_vector" => vector(case, &inputs),
        "prune" => reparametrised::pruning(case, &inputs),
        "parametrization" => reparametrised::parametrization(case, &inputs),
        "lbfgs" => lbfgs::run(context, case),
        "averaged_model" => averages::run(context, case),
        kind => unsupported(format!("no {kind}")),
    }
}

fn optimizer(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let start = tensors(inputs, &case.json["params"])?;
    let params = leaves(&start)?;
    let mut optimizer = build(case, inputs, &params, 0)?;
    run_steps(case, inputs, &mut *optimizer, &params, 0)?;
    let expected = inputs.value(&case.value("state_dict")?)?;
    check_state(&optimizer.state()?, &expected, case).at("state dict")?;

    let Some(after) = case.json["resume"]["after"].as_u64() else { return Ok(()) };
    let after = after as usize;
    let before = after.checked_sub(1).map(|i| &case.json["params_after"][i]).unwrap_or(&case.json["params"]);
    let params = leaves(&tensors(inputs, before)?)?;
    let mut optimizer = build(case, inputs, &params, after)?;
    let state = inputs.value(&Value::parse(&case.json["resume"]["state_dict"])?)?;
    optimizer.load(&to_state(&state)?).at("resuming")?;
    run_steps(case, inputs, &mut *optimizer, &params, after).at("resumed")
}

/// Runs the steps from the given one on and compares the parameters after each.
fn run_steps(
    case: &Case,
    inputs: &Inputs<'_>,
    optimizer: &mut dyn Stepper,
    params: &[Tensor],
    from: usize,
) -> Result<(), Stop> {
    let (grads, expected) = (array_of(&case.json, "grads")?, array_of(&case.json, "params_after")?);
    for (i, (grads, expected)) in grads.iter().zip(expected).enumerate().skip(from) {
        if let (Some((at, settings)), Some(last)) = (late_group(case, inputs)?, params.last())
            && at == i
        {
            optimizer.add_group(vec![last.clone()], &settings)?;
        }
        for (param, grad) in params.iter().zip(grads.as_array().into_iter().flatten()) {
            param.set_grad(match inputs.value(&Value::parse(grad)?)? {
                Value::Tensor(t) => Some(t.copy()?),
                _ => None,
            })?;
        }
        optimizer.step()?;
        for (n, (param, expected)) in params.iter().zip(expected.as_array().into_iter().flatten()).enumerate()
        {
            let actual = param.detach().into();
            inputs
                .check(&actual, &Value::parse(expected)?, false)
                .at(format_args!("step {i}, parameter {n}"))?;
        }
    }
    Ok(())
}

/// The optimiser of a case as it is before the step of that number.
fn build(case: &Case, inputs: &Inputs<'_>, params: &[Tensor], step: usize) -> Result<Box<dyn Stepper>, Stop> {
    let name = case.str("optimizer")?;
    let settings = inputs.kwargs(&case.json, "kwargs")?;
    let late = late_group(case, inputs)?;
    let mut params = params.to_vec();
    let last = if late.is_some() { params.pop() } else { None };
    let mut optimizer = match case.json["groups"].as_array() {
        None => create(name, params, &settings)?,
        Some(groups) => {
            let mut optimizer: Option<Box<dyn Stepper>> = None;
            for group in groups {
                let numbers = array_of(group, "params")?.iter().map(|n| n.as_u64().map(|n| n as usize));
                let picked = numbers.map(|n| params.get(n?).cloned()).collect::<Option<Vec<_>>>();
                let picked = picked.ok_or_else(|| Stop::Wrong("a group of unknown parameters".into()))?;
                let options = group_options(inputs, group)?;
                match &mut optimizer {
                    Some(optimizer) => optimizer.add_group(picked, &options)?,
                    None => optimizer.insert(create(name, picked, &settings)?).set_first(&options)?,
                }
            }
            match optimizer {
                Some(optimizer) => optimizer,
                None => create(name, Vec::new() as Vec<Tensor>, &settings)?,
            }
        }
    };
    // A group that came before this step is there already.
    if let (Some((at, options)), Some(last)) = (late, last)
        && at < step
    {
        optimizer.add_group(vec![last], &options)?;
    }
    Ok(optimizer)
}

fn group_options(inputs: &Inputs<'_>, group: &Json) -> Result<Vec<(String, Val)>, Stop> {
    let Some(group) = group.as_object() else { return wrong("a group is no object".into()) };
    let options = group.iter().filter(|(name, _)| *name != "params");
    options.map(|(name, value)| Ok((name.clone(), inputs.value(&Value::parse(value)?)?))).collect()
}

/// Before which step a group is added, and with which options.
type LateGroup = (usize, Vec<(String, Val)>);

fn late_group(case: &Case, inputs: &Inputs<'_>) -> Result<Option<LateGroup>, Stop> {
    let late = &case.json["add_group"];
    match late["after"].as_u64() {
        Some(after) => Ok(Some((after as usize, inputs.kwargs(late, "options")?))),
        None => Ok(None),
    }
}

fn optimizer_error(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let given = tensors(inputs, &case.json["params"])?;
    let stored_only = given.iter().any(|t| is_stored_only(t.dtype()));
    let params = match leaves(&given) {
        // What PyTorch refuses in a step is no parameter here in the first place.
        Err(Stop::Refused(_)) if stored_only => return Ok(()),
        params => params?,
    };
    let mut result = build(case, inputs, &params, 0);
    if case.json["error_on"] != "construction" {
        let mut optimizer = result.at("construction")?;
        for param in &params {
            // Any gradient will do; types that are only stored have no ones.
            let grad =
                if is_stored_only(param.dtype()) { param.detach().copy()? } else { param.ones_like()? };
            param.set_grad(Some(grad))?;
        }
        result = optimizer.step().map(|()| optimizer).map_err(Stop::from);
    }
    match result {
        Err(Stop::Refused(_)) => Ok(()),
        Err(stop) => Err(stop),
        Ok(_) => wrong(format!("no error, PyTorch raises: {}", case.json["raises"]["message"])),
    }
}

fn check_state(actual: &OptimizerState, expected: &Val, case: &Case) -> Result<(), Stop> {
    let tolerances = state_names(&case.json["state_dict"]);
    let mut expected = to_state(expected)?;
    // PyTorch's order is that of the first updates; the numbers say whose a state is.
    expected.state.sort_by_key(|(number, _)| *number);
    let numbers = |s: &OptimizerState| s.state.iter().map(|(n, _)| *n).collect::<Vec<_>>();
    if numbers(actual) != numbers(&expected) {
        return wrong(format!("states of {:?}, expected {:?}", numbers(actual), numbers(&expected)));
    }
    for ((number, actual), (_, expected)) in actual.state.iter().zip(&expected.state) {
        let (here, given): (Vec<_>, Vec<_>) = (actual.names().collect(), expected.names().collect());
        if here != given {
            return wrong(format!("parameter {number} has {here:?}, expected {given:?}"));
        }
        for (name, expected) in expected.iter() {
            let tolerance = match tolerances(*number, name) {
                Some(tensor) => case.entry(&tensor)?.tolerance,
                None => None,
            };
            compare(&to_array(actual.get(name)?)?, &to_array(expected)?, tolerance)
                .at(format_args!("{name} of parameter {number}"))?;
        }
    }
    if actual.param_groups.len() != expected.param_groups.len() {
        return wrong(format!(
            "{} groups, expected {}",
            actual.param_groups.len(),
            expected.param_groups.len()
        ));
    }
    for (g, (actual, expected)) in actual.param_groups.iter().zip(&expected.param_groups).enumerate() {
        if actual.params != expected.params {
            return wrong(format!("group {g} has {:?}, expected {:?}", actual.params, expected.params));
        }
        if actual.options.len() != expected.options.len() {
            return wrong(format!("group {g} has {:?}, expected {:?}", actual.options, expected.options));
        }
        for (name, expected) in &expected.options {
            let found = actual.option(name);
            if !found.is_some_and(|found| same_setting(found, expected)) {
                return wrong(format!("group {g}: {name} is {found:?}, expected {expected:?}"));
            }
        }
    }
    Ok(())
}

/// Finds the table's name of a state's tensor, for its tolerance.
fn state_names(json: &Json) -> impl Fn(usize, &str) -> Option<String> {
    let parsed = Value::parse(json);
    move |number, name| {
        let entry = |value: &Value<Ref>, key: &Value<Ref>| match value {
            Value::Dict(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()),
            _ => None,
        };
        let state = entry(parsed.as_ref().ok()?, &Value::Str("state".into()))?;
        let of = entry(&state, &Value::Int(number as i128))?;
        match entry(&of, &Value::Str(name.into()))? {
            Value::Tensor(Ref::Tensor(name)) => Some(name),
            _ => None,
        }
    }
}

fn clip_norm(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let params = with_gradients(case, inputs)?;
    let number = |field: &str| {
        let value = Value::parse(&case.json[field])?;
        value.as_f64().ok_or_else(|| Stop::Wrong(format!("{field} is {}", value.kind())))
    };
    let options = ClipOptions {
        norm_type: number("norm_type")?,
        error_if_nonfinite: case.json["error_if_nonfinite"] == true,
    };
    let total = clip_grad_norm_(params.clone(), number("max_norm")?, options);
    if case.json.get("raises").is_some_and(|r| !r.is_null()) {
        return match total {
            Err(_) => Ok(()),
            Ok(total) => wrong(format!("no error; the norm is {total}")),
        };
    }
    let expected = case.value("total_norm")?;
    let Value::Tensor(Ref::Tensor(name)) = &expected else { return wrong("total_norm is no tensor".into()) };
    let total = Tensor::full((), total?, case.array(name)?.dtype)?;
    inputs.check(&total.into(), &expected, false).at("total norm")?;
    check_gradients(case, inputs, &params)
}

fn clip_value(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let params = with_gradients(case, inputs)?;
    let limit = case.json["clip_value"].as_f64().ok_or_else(|| Stop::Wrong("no clip_value".into()))?;
    clip_grad_value_(params.clone(), limit)?;
    check_gradients(case, inputs, &params)
}

fn vector(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let params = tensors(inputs, &case.json["params"])?;
    let vector = parameters_to_vector(params.clone())?;
    inputs.check(&(&vector).into(), &case.value("vector")?, false)?;
    vector_to_parameters(&vector.mul(2)?, params.clone())?;
    if parameters_to_vector(params)?.to_bytes()? != vector.mul(2)?.to_bytes()? {
        return wrong("the vector does not become the parameters".into());
    }
    Ok(())
}

/// Parameters of zeros that have the recorded gradients.
fn with_gradients(case: &Case, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Stop> {
    let grads = tensors(inputs, &case.json["grads"])?;
    grads
        .iter()
        .map(|grad| {
            let param = grad.zeros_like()?.requires_grad_(true)?;
            param.set_grad(Some(grad.copy()?))?;
            Ok(param)
        })
        .collect()
}

fn check_gradients(case: &Case, inputs: &Inputs<'_>, params: &[Tensor]) -> Result<(), Stop> {
    for (i, (param, expected)) in params.iter().zip(array_of(&case.json, "after")?).enumerate() {
        inputs.check_gradient(param.grad().as_ref(), expected).at(format_args!("gradient {i}"))?;
    }
    Ok(())
}

/// The tensors of an array of values.
pub(crate) fn tensors(inputs: &Inputs<'_>, json: &Json) -> Result<Vec<Tensor>, Stop> {
    let items = json.as_array().ok_or_else(|| Stop::Wrong("no array of tensors".into()))?;
    items
        .iter()
        .map(|item| match inputs.value(&Value::parse(item)?)? {
            Value::Tensor(t) => Ok(t),
            other => wrong(format!("{} instead of a tensor", other.kind())),
        })
        .collect()
}

/// Copies that want gradients.
pub(crate) fn leaves(tensors: &[Tensor]) -> Result<Vec<Tensor>, Stop> {
    tensors.iter().map(|t| Ok(t.detach().copy()?.requires_grad_(true)?)).collect()
}
