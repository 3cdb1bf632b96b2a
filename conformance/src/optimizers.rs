//! The library's optimisers behind one trait. To support an optimiser, add one line to [`create`].

use sconce::nn::StateDict;
use sconce::optim::{
    Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Asgd, GroupState, Muon, NAdam, Optimizer,
    OptimizerState, Parameters, RAdam, RmsProp, Rprop, Rule, Sgd, SparseAdam, Value as Setting,
};
use sconce::{Result, Tensor};

use crate::outcome::{Stop, unsupported, wrong};
use crate::tensors::Val;
use crate::value::Value;

/// Options by name.
pub(crate) type Settings = [(String, Val)];

/// An optimiser of any rule.
pub(crate) trait Stepper {
    fn step(&mut self) -> Result<()>;
    fn zero_grad(&self);
    /// Adds a group with options of its own.
    fn add_group(&mut self, parameters: Vec<Tensor>, settings: &Settings) -> Result<(), Stop>;
    /// Changes the options of the first group.
    fn set_first(&mut self, settings: &Settings) -> Result<(), Stop>;
    fn state(&self) -> Result<OptimizerState>;
    fn load(&mut self, state: &OptimizerState) -> Result<()>;
}

/// Makes the optimiser of a name.
pub(crate) fn create(
    name: &str,
    parameters: impl Parameters,
    settings: &Settings,
) -> Result<Box<dyn Stepper>, Stop> {
    match name {
        "SGD" => of::<Sgd>(parameters, settings),
        "SparseAdam" => of::<SparseAdam>(parameters, settings),
        "Adam" => of::<Adam>(parameters, settings),
        "AdamW" => of::<AdamW>(parameters, settings),
        "Adadelta" => of::<Adadelta>(parameters, settings),
        "Adafactor" => of::<Adafactor>(parameters, settings),
        "Adagrad" => of::<Adagrad>(parameters, settings),
        "Adamax" => of::<Adamax>(parameters, settings),
        "ASGD" => of::<Asgd>(parameters, settings),
        "Muon" => of::<Muon>(parameters, settings),
        "NAdam" => of::<NAdam>(parameters, settings),
        "RAdam" => of::<RAdam>(parameters, settings),
        "RMSprop" => of::<RmsProp>(parameters, settings),
        "Rprop" => of::<Rprop>(parameters, settings),
        _ => unsupported(format!("no optimiser {name}")),
    }
}

fn of<R: Rule + Default + 'static>(
    parameters: impl Parameters,
    settings: &Settings,
) -> Result<Box<dyn Stepper>, Stop> {
    let mut rule = R::default();
    set(&mut rule, settings)?;
    Ok(Box::new(Optimizer::new(parameters, rule)?))
}

impl<R: Rule> Stepper for Optimizer<R> {
    fn step(&mut self) -> Result<()> {
        Self::step(self)
    }

    fn zero_grad(&self) {
        Self::zero_grad(self);
    }

    fn add_group(&mut self, parameters: Vec<Tensor>, settings: &Settings) -> Result<(), Stop> {
        let mut result = Ok(());
        self.add_param_group(parameters, |rule| result = set(rule, settings))?;
        result
    }

    fn set_first(&mut self, settings: &Settings) -> Result<(), Stop> {
        match self.groups_mut().first_mut() {
            Some(group) => set(&mut group.rule, settings),
            None => wrong("the optimiser has no group".into()),
        }
    }

    fn state(&self) -> Result<OptimizerState> {
        self.state_dict()
    }

    fn load(&mut self, state: &OptimizerState) -> Result<()> {
        self.load_state_dict(state)
    }
}

fn set<R: Rule>(rule: &mut R, settings: &Settings) -> Result<(), Stop> {
    for (name, value) in settings {
        let value = option(value)?;
        // What only chooses between PyTorch's implementations changes nothing at its default.
        let neutral = R::FOREIGN.iter().any(|(n, v)| n == name && *v == value);
        if !rule.set_option(name, &value)? && !neutral {
            return unsupported(format!("option {name} = {value:?}"));
        }
    }
    Ok(())
}

/// An option, which as a rate may be a tensor in PyTorch; here it is its number.
fn option(value: &Val) -> Result<Setting, Stop> {
    match value {
        Value::Tensor(t) if t.numel() == 1 => Ok(Setting::Float(t.item()?)),
        _ => setting(value),
    }
}

fn setting(value: &Val) -> Result<Setting, Stop> {
    Ok(match value {
        Value::None => Setting::None,
        Value::Bool(b) => Setting::Bool(*b),
        Value::Int(i) => match i64::try_from(*i) {
            Ok(i) => Setting::Int(i),
            Err(_) => return unsupported(format!("an option of {i}")),
        },
        Value::Float(x) => Setting::Float(*x),
        Value::Str(s) => Setting::Text(s.clone()),
        Value::List(items) | Value::Tuple(items) => {
            let all_tensors = items.iter().all(|item| matches!(item, Value::Tensor(_)));
            let part = if all_tensors { option } else { setting };
            Setting::Tuple(items.iter().map(part).collect::<Result<_, _>>()?)
        }
        other => return unsupported(format!("an option that is {}", other.kind())),
    })
}

/// The library's form of a state dict as PyTorch writes it.
pub(crate) fn to_state(value: &Val) -> Result<OptimizerState, Stop> {
    let mut out = OptimizerState::default();
    for (number, entries) in dict(field(value, "state")?)? {
        let Value::Int(number) = number else { return wrong("a state without a number".into()) };
        let mut state = StateDict::new();
        for (name, value) in dict(entries)? {
            match (name, value) {
                (Value::Str(name), Value::Tensor(t)) => state.insert(name.as_str(), t.copy()?),
                // The number of steps, which is a tensor here for every optimiser.
                (Value::Str(name), Value::Int(n)) => state.insert(name.as_str(), Tensor::scalar(*n as f32)),
                (_, other) => return unsupported(format!("a state that is {}", other.kind())),
            };
        }
        out.state.push((*number as usize, state));
    }
    for group in field(value, "param_groups")?.items().unwrap_or_default() {
        let mut options = GroupState::default();
        for (name, value) in dict(group)? {
            let Value::Str(name) = name else { return wrong("an option without a name".into()) };
            if name == "params" {
                let numbers = value.items().unwrap_or_default().iter().filter_map(Value::as_f64);
                options.params = numbers.map(|n| n as usize).collect();
            } else {
                options.options.push((name.clone(), option(value)?));
            }
        }
        out.param_groups.push(options);
    }
    Ok(out)
}

/// Whether two options are the same; an int and a float of one value are.
pub(crate) fn same_setting(a: &Setting, b: &Setting) -> bool {
    match (a, b) {
        (Setting::Int(a), Setting::Float(b)) | (Setting::Float(b), Setting::Int(a)) => *a as f64 == *b,
        (Setting::Tuple(a), Setting::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_setting(a, b))
        }
        _ => a == b,
    }
}

fn dict(value: &Val) -> Result<&[(Val, Val)], Stop> {
    match value {
        Value::Dict(entries) => Ok(entries),
        other => wrong(format!("{} instead of a dict", other.kind())),
    }
}

fn field<'a>(value: &'a Val, name: &str) -> Result<&'a Val, Stop> {
    let found = dict(value)?.iter().find(|(k, _)| matches!(k, Value::Str(s) if s == name));
    found.map(|(_, v)| v).ok_or_else(|| Stop::Wrong(format!("no {name}")))
}
