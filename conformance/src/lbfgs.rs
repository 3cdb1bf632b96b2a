//! Cases of suite `optim` of the optimiser that evaluates its loss itself.

use sconce::Tensor;
use sconce::optim::{Lbfgs, LbfgsConfig, LineSearch};

use crate::args::Args;
use crate::case::{Case, array_of};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::program::{NoScope, Program};
use crate::registry::Call;
use crate::runner::Context;
use crate::suites::optim::{leaves, tensors};
use crate::tensors::{Inputs, Val};
use crate::value::{Ref, Value};

/// Runs a case.
pub(crate) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let inputs = Inputs::new(case);
    let params = leaves(&tensors(&inputs, &case.json["params"])?)?;
    let Value::Tensor(constant) = inputs.value(&case.value("constant")?)? else {
        return wrong("the constant is no tensor".into());
    };
    let program = Program::parse(&case.json["objective"])?;
    let mut optimizer = Lbfgs::new(params.clone(), config(&inputs.kwargs(&case.json, "kwargs")?)?)?;
    let mut args: Vec<Val> = params.iter().map(Val::from).collect();
    args.push(constant.into());
    for (i, (loss, after)) in
        array_of(&case.json, "losses")?.iter().zip(array_of(&case.json, "params_after")?).enumerate()
    {
        let mut stop = None;
        let before = optimizer.step(|| match program.run(&context.signatures, &NoScope, &args) {
            Ok(Value::Tensor(loss)) => Ok(loss),
            Ok(other) => Err(sconce::Error::argument(format!("the loss is {}", other.kind()))),
            Err(error) => {
                stop = Some(error);
                Err(sconce::Error::argument("the objective failed"))
            }
        });
        if let Some(stop) = stop {
            return Err(stop.at("objective"));
        }
        let before = Tensor::full((), before?, case.array(&name(loss)?)?.dtype)?;
        inputs.check(&before.into(), &Value::parse(loss)?, false).at(format_args!("loss of step {i}"))?;
        for (n, (param, expected)) in params.iter().zip(after.as_array().into_iter().flatten()).enumerate() {
            let expected = Value::parse(expected)?;
            inputs
                .check(&param.detach().into(), &expected, false)
                .at(format_args!("step {i}, parameter {n}"))?;
        }
    }
    Ok(())
}

fn name(json: &serde_json::Value) -> Result<String, Stop> {
    match Value::parse(json)? {
        Value::Tensor(Ref::Tensor(name)) => Ok(name),
        other => wrong(format!("{} instead of a tensor", other.kind())),
    }
}

/// Makes the options from their names.
pub(crate) fn config(settings: &[(String, Val)]) -> Result<LbfgsConfig, Stop> {
    let names = &[
        "lr=1",
        "max_iter=20",
        "max_eval=None",
        "tolerance_grad=1e-07",
        "tolerance_change=1e-09",
        "history_size=100",
        "line_search_fn=None",
    ];
    let a: Call = Args::bind_names(names, &[], settings)?;
    Ok(LbfgsConfig {
        lr: match a.value("lr") {
            Value::Tensor(lr) => lr.item()?,
            _ => a.float("lr")?,
        },
        max_iter: a.size("max_iter")?,
        max_eval: a.opt("max_eval", Call::size)?,
        tolerance_grad: a.float("tolerance_grad")?,
        tolerance_change: a.float("tolerance_change")?,
        history_size: a.size("history_size")?,
        line_search: match a.value("line_search_fn") {
            Value::None => LineSearch::Fixed,
            Value::Str(name) if name == "strong_wolfe" => LineSearch::StrongWolfe,
            other => return unsupported(format!("line search {other:?}")),
        },
    })
}
