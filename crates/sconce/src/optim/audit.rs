//! What a step did, by name.

use std::collections::HashMap;
use std::fmt;

use super::optimizer::Optimizer;
use super::parameters::Parameters;
use super::rule::Rule;
use crate::nn::Module;
use crate::tensor::{DType, Tensor};
use crate::{Result, no_grad};

/// What a step did to each parameter of a module; printed, one line per outcome.
///
/// ```
/// use sconce::nn::{Linear, ModuleExt};
/// use sconce::optim::{Optimizer, Outcome, Sgd};
///
/// let model = vec![Linear::new(2, 2)?, Linear::new(2, 2)?];
/// model.freeze("0.*")?;
/// let mut optimizer = Optimizer::new(&model, Sgd { lr: 0.5, ..Sgd::default() })?;
/// model[1].weight.set_grad(Some(model[1].weight.ones_like()?))?;
/// let audit = optimizer.step_audited(&model)?;
/// assert!(matches!(audit.outcome("1.weight"), Some(Outcome::Updated { .. })));
/// assert_eq!(audit.outcome("1.bias"), Some(&Outcome::NoGradient));
/// assert_eq!(audit.names(|outcome| *outcome == Outcome::Frozen), ["0.weight", "0.bias"]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    outcomes: Vec<(String, Outcome)>,
}

/// What a step did to a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It moved, by at most this much in any element.
    Updated {
        /// The largest change of an element.
        change: f64,
    },
    /// It had a gradient, which was 0 or too small to move it.
    Unmoved,
    /// It requires a gradient and had none: the loss does not depend on it, or the graph is cut somewhere.
    NoGradient,
    /// It does not require a gradient and had none.
    Frozen,
    /// Its gradient had NaN or infinite elements before the step.
    NonFiniteGradient,
    /// It has NaN or infinite elements after the step, and its gradient had none.
    NonFinite,
    /// The optimiser does not know it: it was replaced, converted or added after the optimiser was made.
    NotInOptimizer,
}

impl Audit {
    /// Names and outcomes, in the module's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Outcome)> {
        self.outcomes.iter().map(|(name, outcome)| (name.as_str(), outcome))
    }

    /// What happened to a parameter.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.iter().find(|(n, _)| *n == name).map(|(_, outcome)| outcome)
    }

    /// The names of the parameters with such an outcome.
    pub fn names(&self, is: impl Fn(&Outcome) -> bool) -> Vec<&str> {
        self.iter().filter(|(_, outcome)| is(outcome)).map(|(name, _)| name).collect()
    }

    /// Whether every parameter is frozen or had a gradient, the optimiser knows all, and all are finite.
    pub fn is_sound(&self) -> bool {
        let sound = |o: &Outcome| matches!(o, Outcome::Updated { .. } | Outcome::Unmoved | Outcome::Frozen);
        self.outcomes.iter().all(|(_, outcome)| sound(outcome))
    }
}

/// A test of an outcome, with the words for it.
type Kind = (&'static str, fn(&Outcome) -> bool);

const KINDS: [Kind; 7] = [
    ("updated", |o| matches!(o, Outcome::Updated { .. })),
    ("frozen", |o| *o == Outcome::Frozen),
    ("not moved by their gradient", |o| *o == Outcome::Unmoved),
    ("without gradient", |o| *o == Outcome::NoGradient),
    ("with NaN or infinite gradient", |o| *o == Outcome::NonFiniteGradient),
    ("NaN or infinite", |o| *o == Outcome::NonFinite),
    ("not in the optimiser", |o| *o == Outcome::NotInOptimizer),
];

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (words, is) in KINDS {
            let names = self.names(is);
            if !names.is_empty() {
                write!(f, "{separator}{} {words}: {}", names.len(), names.join(", "))?;
                separator = "\n";
            }
        }
        Ok(())
    }
}

impl<R: Rule> Optimizer<R> {
    /// Does a [`step`](Self::step) and says what became of each parameter of a module.
    ///
    /// It copies and reads every parameter: meant for the first steps of a run, or for one in a thousand.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn step_audited<M: Module + ?Sized>(&mut self, module: &M) -> Result<Audit> {
        let named = module.named();
        let slots = self.groups.iter().flat_map(|group| group.parameters());
        let known: std::collections::HashSet<usize> = slots.map(|(_, tensor)| tensor.id()).collect();
        let mut before: HashMap<usize, Vec<f64>> = HashMap::new();
        let mut outcomes = Vec::new();
        for parameter in &named {
            let tensor = &parameter.tensor;
            outcomes.push(match tensor.grad() {
                _ if !known.contains(&tensor.id()) => Outcome::NotInOptimizer,
                None if tensor.requires_grad() => Outcome::NoGradient,
                None => Outcome::Frozen,
                Some(grad) if !is_finite(&values(&grad)?) => Outcome::NonFiniteGradient,
                Some(_) => {
                    before.insert(tensor.id(), values(tensor)?);
                    Outcome::Unmoved
                }
            });
        }
        self.step()?;
        for (parameter, outcome) in named.iter().zip(&mut outcomes) {
            if let Some(before) = before.get(&parameter.tensor.id()) {
                let after = values(&parameter.tensor)?;
                let moved = before.iter().zip(&after).map(|(a, b)| (a - b).abs());
                let change = moved.fold(0.0, f64::max);
                if !is_finite(&after) {
                    *outcome = Outcome::NonFinite;
                } else if change > 0.0 {
                    *outcome = Outcome::Updated { change };
                }
            }
        }
        let names = named.into_iter().map(|mut parameter| parameter.names.swap_remove(0));
        Ok(Audit { outcomes: names.zip(outcomes).collect() })
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    no_grad(|| tensor.to(DType::F64)?.to_vec())
}

fn is_finite(values: &[f64]) -> bool {
    values.iter().all(|x| x.is_finite())
}
