//! Cases of suite `optim` of averaged models.

use sconce::nn::{ModuleExt, StateDict, Strictness};
use sconce::optim::{AveragedModel, Averaging, update_bn};
use serde_json::Value as Json;

use crate::case::{Case, array_of, pairs_of};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::runner::Context;
use crate::tensors::Inputs;
use crate::tree::Node;
use crate::value::Value;

/// Runs a case.
pub(crate) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    let averaging = match (case.str("method")?, case.json["decay"].as_f64()) {
        ("swa", None) => Averaging::Equal,
        ("ema", Some(decay)) => Averaging::Exponential { decay },
        (method, decay) => return unsupported(format!("averaging {method} with decay {decay:?}")),
    };
    let build = || {
        let node = Node::build(&case.json["tree"], &inputs)?;
        node.load_state_dict(&state(&inputs, &case.json["initial"])?, Strictness::Strict)?;
        Ok::<_, Stop>(node)
    };
    let model = build()?;
    let mut average = AveragedModel::new(build()?, averaging)?;
    average.use_buffers = case.json["use_buffers"] == true;
    for (i, (update, expected)) in
        array_of(&case.json, "updates")?.iter().zip(array_of(&case.json, "averages")?).enumerate()
    {
        model.load_state_dict(&state(&inputs, update)?, Strictness::Strict)?;
        average.update_parameters(&model)?;
        check(&inputs, &average, expected).at(format_args!("update {i}"))?;
    }
    let last = &case.json["update_bn"];
    if last.is_null() {
        return Ok(());
    }
    let mut stop = None;
    let result = update_bn(&mut average, array_of(last, "batches")?, |average, batch| {
        let run = || {
            let batch = inputs.value(&Value::parse(batch)?)?;
            average.module.call(&context.signatures, &[batch], &[])
        };
        run().map(drop).map_err(|error| {
            stop = Some(error);
            sconce::Error::argument("the model failed")
        })
    });
    if let Some(stop) = stop {
        return Err(stop.at("update_bn"));
    }
    result?;
    check(&inputs, &average, &last["state"]).at("update_bn")
}

fn state(inputs: &Inputs<'_>, json: &Json) -> Result<StateDict, Stop> {
    let wrapped = serde_json::json!({ "state": json });
    let mut state = StateDict::new();
    for (name, value) in pairs_of(&wrapped, "state")? {
        match inputs.value(&Value::parse(value)?)? {
            Value::Tensor(tensor) => state.insert(name, tensor),
            other => return wrong(format!("{name} is {}", other.kind())),
        };
    }
    Ok(state)
}

fn check(inputs: &Inputs<'_>, average: &AveragedModel<Node>, expected: &Json) -> Result<(), Stop> {
    let wrapped = serde_json::json!({ "state": expected });
    let (expected, actual) = (pairs_of(&wrapped, "state")?, average.state_dict());
    let (here, given): (Vec<_>, Vec<_>) =
        (actual.names().collect(), expected.iter().map(|(n, _)| *n).collect());
    if here != given {
        return wrong(format!("state dict {here:?}, expected {given:?}"));
    }
    for (name, value) in expected {
        inputs.check(&actual.get(name)?.into(), &Value::parse(value)?, false).at(name)?;
    }
    Ok(())
}
