//! Suite `rng`: what is drawn after a seed.

use sconce::nn::ModuleExt;
use sconce::{DType, Tensor, get_rng_state, manual_seed, set_rng_state};

use crate::args::dtype_of;
use crate::case::{Case, array_of, pairs_of, str_of};
use crate::outcome::{At, Stop, wrong};
use crate::registry;
use crate::runner::Context;
use crate::store::unsigned;
use crate::tensors::Inputs;
use crate::tree::Node;
use crate::value::{Ref, Value};

/// Runs a case.
pub(crate) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    let seed = &case.json["seed"];
    // A negative seed stands for the unsigned number of the same bits.
    let seed = seed.as_u64().or_else(|| seed.as_i64().map(|s| s as u64));
    manual_seed(seed.ok_or_else(|| Stop::Wrong("the case has no seed".into()))?);
    match case.str("kind")? {
        "calls" => calls(context, case, &inputs),
        "init" => init(context, case, &inputs),
        "layer" => layer(case, &inputs),
        "state" => state(case, &inputs),
        kind => wrong(format!("unknown kind {kind}")),
    }
}

fn calls(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    for (i, call) in array_of(&case.json, "calls")?.iter().enumerate() {
        let op = str_of(call, "op")?;
        let mut args = inputs.args(call)?;
        let kwargs = inputs.kwargs(call, "kwargs")?;
        if let Some(empty) = call.get("empty") {
            let shape = unsigned(&empty["shape"]).ok_or_else(|| Stop::Wrong("malformed shape".into()))?;
            args.insert(0, Tensor::zeros(shape, dtype_of(str_of(empty, "dtype")?)?)?.into());
        }
        let out = registry::call(&context.signatures, op, &args, &kwargs).at(op)?;
        inputs.check(&out, &Value::parse(&call["out"])?, false).at(format_args!("call {i}, {op}"))?;
    }
    Ok(())
}

fn init(context: &Context, case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let shape = unsigned(&case.json["shape"]).ok_or_else(|| Stop::Wrong("malformed shape".into()))?;
    let tensor = Tensor::zeros(shape, DType::F32)?;
    let op = format!("nn.init.{}", case.str("init")?);
    let kwargs = inputs.kwargs(&case.json, "kwargs")?;
    registry::call(&context.signatures, &op, &[tensor.clone().into()], &kwargs)?;
    inputs.check(&tensor.into(), &case.value("out")?, false)?;
    check_next(case)
}

fn layer(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    let args = inputs.args(&case.json)?;
    let node = Node::library(case.str("module")?, &args, &inputs.kwargs(&case.json, "kwargs")?)?;
    let (state, expected) = (node.state_dict(), pairs_of(&case.json, "state_dict")?);
    let (here, given): (Vec<_>, Vec<_>) =
        (state.names().collect(), expected.iter().map(|(n, _)| *n).collect());
    if here != given {
        return wrong(format!("state dict {here:?}, expected {given:?}"));
    }
    for (name, value) in expected {
        inputs.check(&state.get(name)?.into(), &Value::parse(value)?, false).at(name)?;
    }
    check_next(case)
}

fn state(case: &Case, inputs: &Inputs<'_>) -> Result<(), Stop> {
    set_rng_state(&case.array(&tensor_name(&case.json["state"])?)?.bytes)?;
    for (expected, (size, dtype)) in
        array_of(&case.json, "next")?.iter().zip([(3, DType::F64), (5, DType::F32)])
    {
        let drawn =
            if dtype == DType::F64 { Tensor::randn(size, dtype)? } else { Tensor::rand(size, dtype)? };
        inputs.check(&drawn.into(), &Value::parse(expected)?, false).at("next")?;
    }
    let after = get_rng_state();
    let size = after.len();
    inputs.check(&Tensor::from_vec(after, size)?.into(), &case.value("state_after")?, false).at("state after")
}

fn tensor_name(json: &serde_json::Value) -> Result<String, Stop> {
    match Value::parse(json)? {
        Value::Tensor(Ref::Tensor(name)) => Ok(name),
        value => wrong(format!("{} instead of a tensor", value.kind())),
    }
}

/// Draws one more number, which shows how many were drawn before.
fn check_next(case: &Case) -> Result<(), Stop> {
    let none: [usize; 0] = [];
    let next = Tensor::rand(none, DType::F32)?.item()?;
    if case.json["next"].as_f64() != Some(next) {
        return wrong(format!("the next number is {next}, expected {}", case.json["next"]));
    }
    Ok(())
}
