//! What gradients look like from step to step, and when that is odd.

use std::collections::HashMap;
use std::fmt;

use sconce_kernels::Stats;

use super::parameters::Parameters;
use crate::ops::driver::with_bytes;
use crate::tensor::Tensor;
use crate::{Context, Error, Result};

/// Looks at all gradients once per step, and says in words what is odd about them and since when.
///
/// Each gradient and each parameter is read once, without a copy. Frozen parameters are not looked at.
///
/// ```
/// use sconce::nn::{Layer, Linear, ModuleExt, Sequential, Sigmoid};
/// use sconce::optim::{GradientWatch, WatchRules};
/// use sconce::{DType, Tensor};
///
/// let net = Sequential::new().add(Linear::new(2, 2)?).add(Sigmoid).add(Linear::new(2, 1)?);
/// let mut watch = GradientWatch::new(WatchRules::default());
/// for input in [1.0, 1e4, 1e4] {
///     net.zero_grad();
///     let x = Tensor::full([4, 2], input, DType::F32)?;
///     // A saturated sigmoid lets no gradient through.
///     net.forward(&x)?.sum(())?.backward()?;
///     watch.observe(&net)?;
/// }
/// let last = watch.observe(&net)?;
/// assert_eq!(last.step, 3);
/// assert_eq!(last.findings.len(), 2);
/// assert_eq!(last.findings[0].to_string(), "0.weight: gradient vanished since step 1 (all zeros)");
/// assert!(last.gradient("2.weight").unwrap().norm > 0.0);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GradientWatch {
    rules: WatchRules,
    step: u64,
    histories: HashMap<String, History>,
}

/// When a gradient is odd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatchRules {
    /// Below which root mean square of its elements a gradient counts as vanished; 1e-12.
    pub vanished: f64,
    /// How many times greater than in the steps before a norm may be; 100.
    pub exploded: f64,
    /// Over how many steps norms are averaged, and after how many they are compared; 10.
    pub memory: u32,
}

impl Default for WatchRules {
    fn default() -> Self {
        Self { vanished: 1e-12, exploded: 100.0, memory: 10 }
    }
}

/// What is known of a parameter from the steps before.
#[derive(Clone, Debug, Default)]
struct History {
    /// What was odd at the last step, and since when.
    odd: Option<(Oddity, u64)>,
    /// The running mean of norms that were not odd, and how many there were.
    mean: f64,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    Missing,
    NonFinite,
    Vanished,
    Exploded,
}

/// What all gradients looked like at a step; printed, one line per finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The number of the step, from 0.
    pub step: u64,
    /// The gradients in the module's order, each with the name of its parameter.
    pub gradients: Vec<(String, Gradient)>,
    /// What is odd.
    pub findings: Vec<Finding>,
}

/// What one gradient looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient {
    /// The 2-norm of its finite elements.
    pub norm: f64,
    /// The greatest magnitude of a finite element.
    pub max: f64,
    /// The mean of the finite elements.
    pub mean: f64,
    /// The share of elements that are 0.
    pub zeros: f64,
    /// How many elements are NaN or infinite.
    pub non_finite: u64,
    /// The norm as a part of the parameter's own; infinite where that is 0.
    pub ratio: f64,
}

/// Something odd about a gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The parameter.
    pub name: String,
    /// What it is.
    pub problem: Problem,
    /// The step at which it began.
    pub since: u64,
}

/// What can be odd about a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// The parameter wants a gradient and got none: the loss does not depend on it, or the graph is cut.
    Missing,
    /// Elements are NaN or infinite.
    NonFinite {
        /// How many.
        count: u64,
    },
    /// It is next to nothing.
    Vanished {
        /// Its norm.
        norm: f64,
    },
    /// It is much greater than it was.
    Exploded {
        /// Its norm.
        norm: f64,
        /// The mean of the norms before.
        usual: f64,
    },
}

impl GradientWatch {
    /// Makes one that has not seen a step.
    pub fn new(rules: WatchRules) -> Self {
        Self { rules, step: 0, histories: HashMap::new() }
    }

    /// Looks at the gradients, after `backward` and before they are cleared.
    ///
    /// # Errors
    ///
    /// If no parameter requires a gradient, or a dtype has no statistics.
    pub fn observe(&mut self, parameters: impl Parameters) -> Result<Observation> {
        let step = self.step;
        let (mut gradients, mut findings) = (Vec::new(), Vec::new());
        let named = parameters.named();
        let count = named.len();
        for mut parameter in named.into_iter().filter(|p| p.tensor.requires_grad()) {
            let name = parameter.names.swap_remove(0);
            let gradient = match parameter.tensor.grad() {
                Some(grad) => Some(Gradient::of(&grad, &parameter.tensor).context(|| name.clone())?),
                None => None,
            };
            let numel = parameter.tensor.numel() as f64;
            let history = self.histories.entry(name.clone()).or_default();
            if let Some((problem, since)) = history.look(gradient.as_ref(), numel, step, self.rules) {
                findings.push(Finding { name: name.clone(), problem, since });
            }
            gradients.extend(gradient.map(|gradient| (name, gradient)));
        }
        if gradients.is_empty() && findings.is_empty() {
            return Err(Error::argument(format!(
                "GradientWatch: none of {count} parameters requires a gradient"
            )));
        }
        self.step += 1;
        Ok(Observation { step, gradients, findings })
    }
}

impl History {
    /// Judges a gradient, and remembers it.
    fn look(
        &mut self,
        gradient: Option<&Gradient>,
        numel: f64,
        step: u64,
        rules: WatchRules,
    ) -> Option<(Problem, u64)> {
        let found = match gradient {
            None => Some((Oddity::Missing, Problem::Missing)),
            Some(g) if g.non_finite > 0 => {
                Some((Oddity::NonFinite, Problem::NonFinite { count: g.non_finite }))
            }
            Some(g) if numel > 0.0 && g.norm / numel.sqrt() < rules.vanished => {
                Some((Oddity::Vanished, Problem::Vanished { norm: g.norm }))
            }
            Some(g) if self.count >= rules.memory && g.norm > rules.exploded * self.mean => {
                Some((Oddity::Exploded, Problem::Exploded { norm: g.norm, usual: self.mean }))
            }
            Some(g) => {
                self.count = self.count.saturating_add(1);
                let part = 1.0 / f64::from(self.count.min(rules.memory.max(1)));
                self.mean += (g.norm - self.mean) * part;
                None
            }
        };
        let since = match (&found, self.odd) {
            (Some((now, _)), Some((before, since))) if *now == before => since,
            _ => step,
        };
        self.odd = found.map(|(oddity, _)| (oddity, since));
        found.map(|(_, problem)| (problem, since))
    }
}

impl Gradient {
    fn of(grad: &Tensor, parameter: &Tensor) -> Result<Self> {
        let (stats, own) = (stats(grad)?, stats(parameter)?);
        Ok(Self {
            norm: stats.norm(),
            max: stats.abs_max(),
            mean: stats.mean,
            zeros: if stats.count == 0 { 0.0 } else { stats.zeros as f64 / stats.count as f64 },
            non_finite: stats.count - stats.finite(),
            ratio: if own.norm() == 0.0 { f64::INFINITY } else { stats.norm() / own.norm() },
        })
    }
}

fn stats(x: &Tensor) -> Result<Stats> {
    let elem =
        x.dtype().elem().ok_or_else(|| Error::unsupported(format!("no statistics of {}", x.dtype())))?;
    with_bytes("GradientWatch", &x.detach().contiguous()?, |bytes| Stats::of(elem, bytes))
}

impl Observation {
    /// What the gradient of a parameter looked like, if it had one.
    pub fn gradient(&self, name: &str) -> Option<&Gradient> {
        self.gradients.iter().find(|(n, _)| n == name).map(|(_, gradient)| gradient)
    }

    /// The 2-norm of all gradients together.
    pub fn norm(&self) -> f64 {
        self.gradients.iter().map(|(_, gradient)| gradient.norm.powi(2)).sum::<f64>().sqrt()
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {} gradients of norm {:.3e}", self.step, self.gradients.len(), self.norm())?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, since, .. } = self;
        match self.problem {
            Problem::Missing => write!(f, "{name}: no gradient since step {since}"),
            Problem::NonFinite { count } => {
                write!(f, "{name}: gradient has {count} NaN or infinite elements, since step {since}")
            }
            Problem::Vanished { norm: 0.0 } => {
                write!(f, "{name}: gradient vanished since step {since} (all zeros)")
            }
            Problem::Vanished { norm } => {
                write!(f, "{name}: gradient vanished since step {since} (norm {norm:.1e})")
            }
            Problem::Exploded { norm, usual } => {
                write!(
                    f,
                    "{name}: gradient exploded since step {since} (norm {norm:.1e}, usually {usual:.1e})"
                )
            }
        }
    }
}
