//! The programs of FORMAT.md: steps that set variables, and what they return.

use std::collections::HashMap;

use sconce::Tensor;
use serde_json::Value as Json;

use crate::case::{args_of, array_of, kwargs_of, strings_of};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::registry;
use crate::signatures::Signatures;
use crate::tensors::Val;
use crate::value::{Ref, Value};

/// A program.
pub(crate) struct Program {
    inputs: Vec<String>,
    steps: Vec<Step>,
    result: Value<Ref>,
}

struct Step {
    set: Target,
    what: What,
    args: Vec<Value<Ref>>,
    kwargs: Vec<(String, Value<Ref>)>,
}

enum Target {
    Name(String),
    /// Takes a tuple apart; `None` drops a value.
    Names(Vec<Option<String>>),
}

enum What {
    /// A child of the module, at a dotted path.
    Child(String),
    Op(String),
}

/// The module whose forward a program is.
pub(crate) trait Scope {
    /// Calls a child.
    fn call(&self, path: &str, args: &[Val], kwargs: &[(String, Val)]) -> Result<Val, Stop>;
    /// A parameter or buffer.
    fn param(&self, path: &str) -> Result<Tensor, Stop>;
}

/// No module: programs of functions alone.
pub(crate) struct NoScope;

impl Scope for NoScope {
    fn call(&self, path: &str, _: &[Val], _: &[(String, Val)]) -> Result<Val, Stop> {
        wrong(format!("no module to find {path:?} in"))
    }

    fn param(&self, path: &str) -> Result<Tensor, Stop> {
        wrong(format!("no module to find {path:?} in"))
    }
}

impl Program {
    /// Parses a program.
    pub(crate) fn parse(json: &Json) -> Result<Self, Stop> {
        let inputs = strings_of(json, "inputs")?.into_iter().map(str::to_owned).collect();
        let steps = array_of(json, "steps")?.iter().map(Step::parse).collect::<Result<_, _>>()?;
        Ok(Self { inputs, steps, result: Value::parse(&json["return"])? })
    }

    /// Runs it on the values of its inputs.
    pub(crate) fn run(&self, signatures: &Signatures, scope: &dyn Scope, args: &[Val]) -> Result<Val, Stop> {
        if args.len() != self.inputs.len() {
            return wrong(format!("{} arguments for a program of {} inputs", args.len(), self.inputs.len()));
        }
        let mut vars: HashMap<&str, Val> =
            self.inputs.iter().map(String::as_str).zip(args.iter().cloned()).collect();
        for step in &self.steps {
            let value = step.run(signatures, scope, &vars)?;
            step.assign(value, &mut vars)?;
        }
        evaluate(&self.result, scope, &vars)
    }
}

impl Step {
    fn parse(json: &Json) -> Result<Self, Stop> {
        let set = match &json["set"] {
            Json::String(name) => Target::Name(name.clone()),
            Json::Array(names) => {
                Target::Names(names.iter().map(|n| n.as_str().map(str::to_owned)).collect())
            }
            _ => return wrong("a step sets nothing".into()),
        };
        let what = match (json["call"].as_str(), json["op"].as_str()) {
            (Some(path), None) => What::Child(path.to_owned()),
            (None, Some(op)) => What::Op(op.to_owned()),
            _ => return wrong("a step calls neither a child nor a function".into()),
        };
        Ok(Self { set, what, args: args_of(json, "args")?, kwargs: kwargs_of(json, "kwargs")? })
    }

    fn run(
        &self,
        signatures: &Signatures,
        scope: &dyn Scope,
        vars: &HashMap<&str, Val>,
    ) -> Result<Val, Stop> {
        let args = self.args.iter().map(|v| evaluate(v, scope, vars)).collect::<Result<Vec<_>, _>>()?;
        let kwargs = self
            .kwargs
            .iter()
            .map(|(k, v)| Ok((k.clone(), evaluate(v, scope, vars)?)))
            .collect::<Result<Vec<_>, Stop>>()?;
        match &self.what {
            What::Child(path) => scope.call(path, &args, &kwargs).at(path),
            What::Op(op) => registry::call(signatures, op, &args, &kwargs).at(op),
        }
    }

    fn assign<'a>(&'a self, value: Val, vars: &mut HashMap<&'a str, Val>) -> Result<(), Stop> {
        match &self.set {
            Target::Name(name) => {
                vars.insert(name, value);
            }
            Target::Names(names) => {
                let items = value.items().filter(|items| items.len() == names.len());
                let Some(items) = items else {
                    return wrong(format!("{} instead of {} values", value.kind(), names.len()));
                };
                for (name, item) in names.iter().zip(items) {
                    if let Some(name) = name {
                        vars.insert(name, item.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

fn evaluate(value: &Value<Ref>, scope: &dyn Scope, vars: &HashMap<&str, Val>) -> Result<Val, Stop> {
    value.resolve(&mut |r| match r {
        Ref::Var(name) => {
            vars.get(name.as_str()).cloned().ok_or_else(|| Stop::Wrong(format!("no variable {name:?}")))
        }
        Ref::Param(path) => Ok(scope.param(path)?.into()),
        Ref::Tensor(name) => wrong(format!("a table's tensor {name:?} in a program")),
        Ref::Sparse(_) | Ref::Module(_) => unsupported("this expression".into()),
    })
}
