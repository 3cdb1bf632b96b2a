//! Suite `ops`: one call, its result and its gradients.

use sconce::Tensor;
use sconce::autograd::{self, Backward};
use serde_json::Value as Json;

use crate::case::{Case, array_of};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::program::{NoScope, Program};
use crate::registry;
use crate::runner::Context;
use crate::tensors::{Inputs, Val, is_stored_only};
use crate::value::Value;

/// Runs a case.
pub(crate) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    let result = run_call(context, case, &inputs);
    match result {
        Err(Stop::Refused(error)) if error.kind() == sconce::ErrorKind::DType && has_stored_only(case)? => {
            unsupported(format!("a dtype that is only stored: {error}"))
        }
        result => result,
    }
}

fn run_call(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let in_place = case.json["inplace"] == Json::Bool(true);
    let op = case.str("op")?.to_owned() + if in_place { "_" } else { "" };
    if op != "program" && registry::find(&op).is_none() {
        return unsupported("no such function".into());
    }
    let mut args = inputs.args(&case.json)?;
    let kwargs = inputs.kwargs(&case.json, "kwargs")?;
    let out = if op == "program" {
        Program::parse(&case.json["program"])?.run(&context.signatures, &NoScope, &args)?
    } else if in_place {
        let Some(first) = args.first_mut() else { return wrong("nothing to change in place".into()) };
        *first = registry::call(&context.signatures, "clone", std::slice::from_ref(first), &[])?;
        let changed = registry::call(&context.signatures, &op, &args, &kwargs)?;
        changed_in_place(&args[0], changed)?
    } else {
        registry::call(&context.signatures, &op, &args, &kwargs)?
    };
    inputs.check(&out, &case.value("out")?, case.json["check"] == "meta").at("out")?;
    for (name, expected) in case.json["after"].as_object().into_iter().flatten() {
        let after = inputs.tensor(name)?.detach().into();
        inputs.check(&after, &Value::parse(expected)?, false).at(format_args!("{name} after the call"))?;
    }
    match case.json.get("grad") {
        Some(grad) => {
            back_propagate(inputs, &out, grad)?;
            check_gradients(inputs, &grad["inputs"], |name| Ok(inputs.tensor(name)?.grad()))
        }
        None => Ok(()),
    }
}

/// What became of the first argument: a few methods change the shape of the handle, and only those that need more
/// memory take other memory.
fn changed_in_place(first: &Val, changed: Val) -> Result<Val, Stop> {
    match (first, &changed) {
        (Value::Tensor(x), Value::Tensor(y)) if x.shares_storage(y) || y.numel() > x.numel() => Ok(changed),
        _ => wrong("the result is not the first argument".into()),
    }
}

/// Back-propagates the cotangents of `grad` from the tensors of a result.
pub(crate) fn back_propagate(inputs: &Inputs<'_>, out: &Val, grad: &Json) -> Result<(), Stop> {
    let cotangents = array_of(grad, "cotangents")?;
    let leaves = out.leaves();
    if leaves.len() != cotangents.len() {
        return wrong(format!("{} outputs, {} cotangents", leaves.len(), cotangents.len()));
    }
    let mut roots = Vec::new();
    for (leaf, cotangent) in leaves.into_iter().zip(cotangents) {
        // An output that needs no gradient leaves its share out, which the comparison of the gradients finds.
        if let (Value::Tensor(t), Value::Tensor(c)) = (leaf, inputs.value(&Value::parse(cotangent)?)?)
            && t.requires_grad()
        {
            roots.push((t, c));
        }
    }
    let roots: Vec<(&Tensor, Option<&Tensor>)> = roots.iter().map(|(t, c)| (*t, Some(c))).collect();
    if !roots.is_empty() {
        autograd::backward(&roots, Backward::default()).at("backward")?;
    }
    Ok(())
}

/// Compares the gradients of an object from name to expected gradient.
pub(crate) fn check_gradients(
    inputs: &Inputs<'_>,
    expected: &Json,
    gradient: impl Fn(&str) -> Result<Option<Tensor>, Stop>,
) -> Result<(), Stop> {
    for (name, expected) in expected.as_object().into_iter().flatten() {
        inputs.check_gradient(gradient(name)?.as_ref(), expected).at(format_args!("gradient of {name}"))?;
    }
    Ok(())
}

/// Whether a case has tensors of a dtype that tensors carry but do not compute in.
fn has_stored_only(case: &Case) -> Result<bool, Stop> {
    for name in case.names() {
        if is_stored_only(case.array(name)?.dtype) {
            return Ok(true);
        }
    }
    Ok(false)
}
