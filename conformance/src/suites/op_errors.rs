//! Suite `op_errors`: calls that must return an error.

use sconce::Tensor;
use sconce::autograd::{self, Backward};

use crate::case::Case;
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::program::{NoScope, Program};
use crate::registry;
use crate::runner::Context;
use crate::suites::ops::check_gradients;
use crate::tensors::{Inputs, Val};
use crate::value::Value;

/// Runs a case.
pub(super) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    let op = case.str("op")?;
    if op != "program" && registry::find(op).is_none() {
        return unsupported("no such function".into());
    }
    let args = inputs.args(&case.json)?;
    let kwargs = inputs.kwargs(&case.json, "kwargs")?;
    let result = if op == "program" {
        Program::parse(&case.json["program"])?.run(&context.signatures, &NoScope, &args)
    } else {
        registry::call(&context.signatures, op, &args, &kwargs)
    };
    if case.json["error_on"] == "backward" {
        return check_backward(case, &inputs, &result?);
    }
    match result {
        Err(Stop::Refused(_)) => Ok(()),
        Err(stop) => Err(stop),
        Ok(_) => wrong(format!("returned a result, PyTorch raises: {}", case.json["raises"]["message"])),
    }
}

fn check_backward(case: &Case, inputs: &Inputs<'_>, out: &Val) -> Result<(), Stop> {
    let mut roots = Vec::new();
    for leaf in out.leaves() {
        if let Value::Tensor(t) = leaf
            && t.requires_grad()
        {
            roots.push((t, t.ones_like()?));
        }
    }
    let roots: Vec<(&Tensor, Option<&Tensor>)> = roots.iter().map(|(t, c)| (*t, Some(c))).collect();
    match (autograd::backward(&roots, Backward::default()), case.json.get("or_gradients")) {
        (Err(_), _) => Ok(()),
        (Ok(()), Some(expected)) => {
            check_gradients(inputs, expected, |name| Ok(inputs.tensor(name)?.grad())).at("no error")
        }
        (Ok(()), None) => wrong("back-propagated, PyTorch raises an error".into()),
    }
}
