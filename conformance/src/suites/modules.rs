//! Suite `modules`: library modules, their errors, nested models, and their training.

use sconce::nn::{ModuleExt, StateDict, Strictness};
use sconce::optim::{ClipOptions, clip_grad_norm_};
use sconce::{DType, no_grad};
use serde_json::Value as Json;

use crate::args::dtype_of;
use crate::case::{Case, array_of, pairs_of, strings_of};
use crate::compare::close_f64;
use crate::optimizers::create;
use crate::outcome::{At, Stop, wrong};
use crate::program::{NoScope, Program};
use crate::runner::Context;
use crate::suites::ops::{back_propagate, check_gradients};
use crate::tensors::{Inputs, Val};
use crate::tree::{Node, tie};
use crate::value::{Ref, Value};

/// Runs a case.
pub(crate) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    match case.str("kind")? {
        "module" => module(context, case, &inputs),
        "module_error" => module_error(context, case, &inputs),
        "model" => model(context, case, &inputs),
        "training" => training(context, case, &inputs),
        kind => wrong(format!("unknown kind {kind}")),
    }
}

fn module(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let mut node = build(case, inputs)?;
    set_mode(&mut node, case);
    if case.json["lazy"] == true {
        call(context, &node, case, inputs).at("the first forward")?;
    }
    check_names("parameters", names(node.named_parameters()), case)?;
    check_names("buffers", names(node.named_buffers()), case)?;
    load(&node, case, "state_dict", inputs)?;
    let out = call(context, &node, case, inputs).at("forward")?;
    inputs.check(&out, &case.value("out")?, false).at("out")?;
    finish(&node, case, inputs, &out)
}

fn module_error(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let node = build(case, inputs);
    let result = match case.str("error_on")? {
        "construction" => node.map(drop),
        _ => call(context, &node.at("construction")?, case, inputs).map(drop),
    };
    match result {
        Err(Stop::Refused(_)) => Ok(()),
        Err(stop) => Err(stop),
        Ok(()) => wrong(format!("no error, PyTorch raises: {}", case.json["raises"]["message"])),
    }
}

fn model(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let node = build_model(case, inputs)?;
    let mut args = inputs.args(&case.json["forward"])?;
    let Some(target) = args.pop() else { return wrong("no target".into()) };
    let out = node.call(&context.signatures, &args, &[]).at("forward")?;
    inputs.check(&out, &case.value("model_out")?, false).at("model_out")?;
    let loss =
        Program::parse(&case.json["loss"])?.run(&context.signatures, &NoScope, &[out, target]).at("loss")?;
    inputs.check(&loss, &case.value("out")?, false).at("loss")?;
    finish(&node, case, inputs, &loss)
}

fn training(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let node = build_model(case, inputs)?;
    let settings = inputs.kwargs(&case.json, "optimizer_kwargs")?;
    let mut optimizer = create(case.str("optimizer")?, &node, &settings)?;
    let program = Program::parse(&case.json["loss"])?;
    let (batches, losses) = (array_of(&case.json, "batches")?, array_of(&case.json, "losses")?);
    let tolerance = &case.json["losses_tol"];
    let tolerance = tolerance[0].as_f64().zip(tolerance[1].as_f64()).map(|(rtol, atol)| [rtol, atol]);
    for (i, expected) in losses.iter().enumerate() {
        let batch = batches.get(i % batches.len().max(1)).and_then(Json::as_array);
        let batch = batch.ok_or_else(|| Stop::Wrong(format!("no batch for step {i}")))?;
        let mut args =
            batch.iter().map(|v| inputs.value(&Value::parse(v)?)).collect::<Result<Vec<_>, Stop>>()?;
        let Some(target) = args.pop() else { return wrong("no target".into()) };
        optimizer.zero_grad();
        let out = node.call(&context.signatures, &args, &[]).at(format_args!("step {i}"))?;
        let Value::Tensor(loss) = program.run(&context.signatures, &NoScope, &[out, target])? else {
            return wrong("the loss is no tensor".into());
        };
        loss.backward()?;
        if let Some(greatest) = case.json["clip_grad_norm"].as_f64() {
            clip_grad_norm_(&node, greatest, ClipOptions::default())?;
        }
        optimizer.step()?;
        let (loss, expected) = (loss.item()?, expected.as_f64().unwrap_or(f64::NAN));
        if !close_f64(loss, expected, tolerance) {
            return wrong(format!("loss {loss} of step {i}, expected {expected}"));
        }
    }
    let state = node.state_dict();
    for (name, expected) in pairs_of(&case.json, "final_state")? {
        inputs.check(&state.get(name)?.into(), &Value::parse(expected)?, false).at(name)?;
    }
    Ok(())
}

/// Builds a model, checks every name and loads its state.
fn build_model(case: &Case, inputs: &Inputs<'_>) -> Result<Node, Stop> {
    let mut node = Node::build(&case.json["tree"], inputs)?;
    for (path, source) in pairs_of(&case.json, "ties")? {
        tie(&mut node, path, source.as_str().unwrap_or_default())?;
    }
    for path in strings_of(&case.json, "frozen")? {
        node.get_parameter(path)?.requires_grad_(false)?;
    }
    set_mode(&mut node, case);
    check_names("parameters", names(node.named_parameters()), case)?;
    check_names("buffers", names(node.named_buffers()), case)?;
    check_names("modules", names(node.named_modules()), case)?;
    check_names("children", names(node.named_children()), case)?;
    let count = node.num_parameters();
    if case.json["parameter_count"].as_u64() != Some(count as u64) {
        return wrong(format!("{count} parameters, expected {}", case.json["parameter_count"]));
    }
    load(&node, case, "state_dict", inputs)?;
    for (path, value) in pairs_of(&case.json, "unpersistent")? {
        let Value::Tensor(value) = inputs.value(&Value::parse(value)?)? else {
            return wrong(format!("{path} is not set to a tensor"));
        };
        let buffer = node.get_buffer(path)?;
        no_grad(|| buffer.copy_(&value))?;
    }
    Ok(node)
}

fn build(case: &Case, inputs: &Inputs<'_>) -> Result<Node, Stop> {
    let args = inputs.args(&case.json)?;
    let kwargs = inputs.kwargs(&case.json, "kwargs")?;
    let mut node = Node::library(case.str("module")?, &args, &kwargs)?;
    if let Some(dtype) = case.json["dtype"].as_str() {
        let dtype = dtype_of(dtype)?;
        if dtype != DType::F32 {
            node.to(dtype)?;
        }
    }
    Ok(node)
}

fn set_mode(node: &mut Node, case: &Case) {
    if case.json["training"] == false { node.eval() } else { node.train() }
}

fn call(context: &Context, node: &Node, case: &Case, inputs: &Inputs<'_>) -> Result<Val, Stop> {
    let forward = &case.json["forward"];
    node.call(&context.signatures, &inputs.args(forward)?, &inputs.kwargs(forward, "kwargs")?)
}

/// Back-propagates and compares what a case says of the time after.
fn finish(node: &Node, case: &Case, inputs: &Inputs<'_>, out: &Val) -> Result<(), Stop> {
    if let Some(grad) = case.json.get("grad") {
        back_propagate(inputs, out, grad)?;
        check_gradients(inputs, &grad["parameters"], |name| Ok(node.get_parameter(name)?.grad()))?;
        check_gradients(inputs, &grad["inputs"], |name| Ok(inputs.tensor(name)?.grad()))?;
    }
    for (name, expected) in case.json["buffers_after"].as_object().into_iter().flatten() {
        let actual = node.get_buffer(name)?.tensor().clone().into();
        inputs.check(&actual, &Value::parse(expected)?, false).at(format_args!("buffer {name} after"))?;
    }
    Ok(())
}

/// Checks the names of the state dict and loads the recorded one.
fn load(node: &Node, case: &Case, field: &str, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let expected = pairs_of(&case.json, field)?;
    let here = node.state_dict();
    let (here, given): (Vec<_>, Vec<_>) =
        (here.names().collect(), expected.iter().map(|(n, _)| *n).collect());
    if here != given {
        return wrong(format!("state dict {here:?}, expected {given:?}"));
    }
    let mut state = StateDict::new();
    for (name, value) in expected {
        match Value::parse(value)? {
            Value::Tensor(Ref::Tensor(tensor)) => state.insert(name, inputs.tensor(&tensor)?),
            other => return wrong(format!("{name} is {}", other.kind())),
        };
    }
    if !state.is_empty() {
        node.load_state_dict(&state, Strictness::Strict).at("load_state_dict")?;
    }
    Ok(())
}

fn names<T>(named: Vec<(String, T)>) -> Vec<String> {
    named.into_iter().map(|(name, _)| name).collect()
}

fn check_names(field: &str, actual: Vec<String>, case: &Case) -> Result<(), Stop> {
    let expected = strings_of(&case.json, field)?;
    if actual != expected { wrong(format!("{field} {actual:?}, expected {expected:?}")) } else { Ok(()) }
}
