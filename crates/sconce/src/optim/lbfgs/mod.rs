//! Limited-memory BFGS: Nocedal and Wright, "Numerical optimization", chapter 7.

mod state;

use std::collections::{HashSet, VecDeque};

pub use self::state::{LbfgsMemory, LbfgsState};
use super::line_search::{Limits, Number, Point, rounded, strong_wolfe};
use super::parameters::{Named, Parameters};
use super::rule::{invalid, non_negative};
use super::state::Value;
use super::vector::{parameters_to_vector, vector_to_parameters};
use crate::tensor::Tensor;
use crate::{Context, Error, Result, enable_grad, no_grad};

const NAME: &str = "LBFGS";

/// How [`Lbfgs`] finds the length of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineSearch {
    /// Always `lr`.
    #[default]
    Fixed,
    /// A search for the strong Wolfe conditions, which begins with `lr`.
    StrongWolfe,
}

/// The options of [`Lbfgs`], with PyTorch's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct LbfgsConfig {
    /// The learning rate; 1.
    pub lr: f64,
    /// The most iterations of one step; 20.
    pub max_iter: usize,
    /// The most evaluations of the loss in one step; where left out, a quarter more than `max_iter`.
    pub max_eval: Option<usize>,
    /// The step ends when no element of the gradient is greater; 1e-7.
    pub tolerance_grad: f64,
    /// The step ends when the loss, or every parameter, changes by less; 1e-9.
    pub tolerance_change: f64,
    /// From how many iterations the curvature is estimated; 100.
    pub history_size: usize,
    /// How the length of a step is found.
    pub line_search: LineSearch,
}

impl Default for LbfgsConfig {
    fn default() -> Self {
        Self {
            lr: 1.0,
            max_iter: 20,
            max_eval: None,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            history_size: 100,
            line_search: LineSearch::Fixed,
        }
    }
}

impl LbfgsConfig {
    fn validate(&self) -> Result<()> {
        non_negative(NAME, "lr", self.lr)?;
        non_negative(NAME, "tolerance_grad", self.tolerance_grad)?;
        non_negative(NAME, "tolerance_change", self.tolerance_change)?;
        if self.history_size == 0 { Err(invalid(NAME, "history_size", 0, "at least 1")) } else { Ok(()) }
    }
}

/// Limited-memory BFGS, which evaluates the loss several times in a step; PyTorch's `LBFGS`.
///
/// All parameters are one vector, so there are no groups. It keeps up to `2 · history_size` vectors.
///
/// ```
/// use sconce::Tensor;
/// use sconce::optim::{Lbfgs, LbfgsConfig, LineSearch};
///
/// let x = Tensor::from_vec(vec![5.0f64, -3.0], [2])?.requires_grad_(true)?;
/// let config = LbfgsConfig { line_search: LineSearch::StrongWolfe, ..LbfgsConfig::default() };
/// let mut optimizer = Lbfgs::new(vec![x.clone()], config)?;
/// let loss = || x.sub(1)?.pow(4)?.sum(());
/// assert_eq!(optimizer.step(loss)?, 4.0f64.powi(4) + 4.0f64.powi(4));
/// optimizer.step(loss)?;
/// assert!(loss()?.item()? < 1e-9);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Debug)]
pub struct Lbfgs {
    /// The options; they may be changed between steps.
    pub config: LbfgsConfig,
    parameters: Vec<Named>,
    memory: Option<Memory>,
    evaluations: i64,
    iterations: i64,
    /// Options of a checkpoint that mean nothing here.
    others: Vec<(String, Value)>,
}

/// What is kept from iteration to iteration.
#[derive(Debug)]
struct Memory {
    /// The direction of the last iteration, and how far it went.
    direction: Tensor,
    step: f64,
    /// The gradient and the loss before it.
    gradient: Tensor,
    loss: f64,
    pairs: VecDeque<Pair>,
    /// The first estimate of the inverse curvature.
    scale: f64,
}

/// What the gradient and the parameters changed by in an iteration.
#[derive(Debug)]
struct Pair {
    gradient: Tensor,
    parameters: Tensor,
    /// One by the dot product of the two.
    inverse: f64,
}

impl Lbfgs {
    /// Makes an optimiser of all parameters of a module, or of a list.
    ///
    /// # Errors
    ///
    /// If there is no parameter, none requires a gradient, one is given twice, or an option is outside its range.
    pub fn new(parameters: impl Parameters, config: LbfgsConfig) -> Result<Self> {
        let parameters = parameters.named();
        if !parameters.iter().any(|p| p.tensor.requires_grad()) {
            return Err(Error::argument(format!(
                "{NAME}: all {} parameters are frozen: unfreeze what is to be trained first",
                parameters.len()
            )));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = parameters.iter().find(|p| !seen.insert(p.tensor.id())) {
            return Err(Error::argument(format!("{NAME}: `{}` is given twice", twice.names[0])));
        }
        let this =
            Self { config, parameters, memory: None, evaluations: 0, iterations: 0, others: Vec::new() };
        this.config.validate()?;
        Ok(this)
    }

    /// Minimises the loss for up to `max_iter` iterations; returns what it was before.
    ///
    /// The closure computes the loss from the parameters as they are. Unlike PyTorch's it neither clears gradients nor
    /// calls `backward`: that is done here.
    ///
    /// # Errors
    ///
    /// If an option has been set outside its range, the closure fails, or its result cannot be back-propagated.
    pub fn step(&mut self, mut loss: impl FnMut() -> Result<Tensor>) -> Result<f64> {
        self.config.validate()?;
        no_grad(|| self.iterate(&mut loss))
    }

    fn iterate(&mut self, closure: &mut dyn FnMut() -> Result<Tensor>) -> Result<f64> {
        let LbfgsConfig { lr, max_iter, tolerance_grad, tolerance_change, .. } = self.config;
        let max_eval = self.config.max_eval.unwrap_or(max_iter * 5 / 4);
        let (first, mut gradient) = self.evaluate(closure)?;
        let mut loss = first;
        let mut evaluations = 1;
        self.evaluations += 1;
        if greatest(&gradient)? <= tolerance_grad {
            return Ok(first);
        }
        for iteration in 1..=max_iter {
            self.iterations += 1;
            let fresh = self.memory.is_none();
            let direction = self.direction(&gradient)?;
            let number = |x: &Tensor| Ok::<_, Error>(Number::of(x.dtype(), x.item()?));
            let mut step = Number::plain(lr);
            if fresh {
                let one = Number::plain(1.0);
                step = one.min(one / number(&gradient.abs()?.sum(())?)?) * step;
            }
            let slope = number(&gradient.dot(&direction)?)?;
            let before = loss;
            let memory = self.memory.get_or_insert_with(|| Memory {
                direction: direction.clone(),
                step: step.value,
                gradient: gradient.clone(),
                loss,
                pairs: VecDeque::new(),
                scale: 1.0,
            });
            (memory.gradient, memory.loss) = (gradient.clone(), loss);
            (memory.direction, memory.step) = (direction.clone(), step.value);
            if slope > Number::plain(-tolerance_change) {
                break;
            }
            let from = self.values()?;
            if self.config.line_search == LineSearch::StrongWolfe {
                let limits = Limits {
                    reach: number(&direction.abs()?.amax(())?)?,
                    tolerance: tolerance_change,
                    tries: max_eval.saturating_sub(evaluations),
                };
                let start = Point { step: Number::plain(0.0), loss, gradient: gradient.clone(), slope };
                let (found, tried) = strong_wolfe(start, step, &limits, |step| {
                    self.put(&from.add(&direction.mul(step.value)?)?)?;
                    let (loss, gradient) = self.evaluate(closure)?;
                    let slope = number(&gradient.dot(&direction)?)?;
                    Ok(Point { step, loss, gradient, slope })
                })?;
                (step, loss, gradient) = (found.step, found.loss, found.gradient);
                self.put(&from.add(&direction.mul(step.value)?)?)?;
                evaluations += tried;
                self.evaluations += tried as i64;
            } else {
                self.put(&from.add(&direction.mul(step.value)?)?)?;
                // Where the loss is of a batch, the next step begins with another one.
                if iteration != max_iter {
                    (loss, gradient) = self.evaluate(closure)?;
                    evaluations += 1;
                    self.evaluations += 1;
                }
            }
            if let Some(memory) = &mut self.memory {
                memory.step = step.value;
            }
            let done = iteration == max_iter
                || evaluations >= max_eval
                || greatest(&gradient)? <= tolerance_grad
                || greatest(&direction.mul(step.value)?)? <= tolerance_change
                || (loss - before).abs() < tolerance_change;
            if done {
                break;
            }
        }
        Ok(first)
    }

    /// Where to go from a gradient: the estimated inverse curvature times its negative.
    fn direction(&mut self, gradient: &Tensor) -> Result<Tensor> {
        let Some(memory) = &mut self.memory else { return gradient.neg() };
        let change = gradient.sub(&memory.gradient)?;
        let moved = memory.direction.mul(memory.step)?;
        let curvature = change.dot(&moved)?.item()?;
        if curvature > 1e-10 {
            if memory.pairs.len() >= self.config.history_size {
                memory.pairs.pop_front();
            }
            // Rounded as PyTorch keeps them, so that a checkpoint loses nothing.
            memory.scale = rounded(change.dtype(), curvature / change.dot(&change)?.item()?);
            let inverse = rounded(change.dtype(), 1.0 / curvature);
            memory.pairs.push_back(Pair { gradient: change, parameters: moved, inverse });
        }
        let direction = gradient.neg()?;
        let mut parts = Vec::with_capacity(memory.pairs.len());
        for pair in memory.pairs.iter().rev() {
            let part = rounded(gradient.dtype(), pair.parameters.dot(&direction)?.item()? * pair.inverse);
            direction.sub_(&pair.gradient.mul(part)?)?;
            parts.push(part);
        }
        direction.mul_(memory.scale)?;
        for (pair, part) in memory.pairs.iter().zip(parts.into_iter().rev()) {
            let back = rounded(gradient.dtype(), pair.gradient.dot(&direction)?.item()? * pair.inverse);
            direction.add_(&pair.parameters.mul(rounded(gradient.dtype(), part - back))?)?;
        }
        Ok(direction)
    }

    /// The loss and its gradient where the parameters are.
    fn evaluate(&self, closure: &mut dyn FnMut() -> Result<Tensor>) -> Result<(f64, Tensor)> {
        self.zero_grad();
        let loss = enable_grad(|| {
            let loss = closure()?;
            loss.backward()?;
            Ok::<_, Error>(loss)
        })?;
        let grads =
            self.parameters.iter().map(|p| match p.grad().context(|| format!("{NAME}: {}", p.names[0]))? {
                Some(grad) => Ok(grad),
                None => p.tensor.zeros_like(),
            });
        let grads = grads.collect::<Result<Vec<_>>>()?;
        Ok((loss.item()?, parameters_to_vector(grads)?))
    }

    fn values(&self) -> Result<Tensor> {
        parameters_to_vector(self.tensors())
    }

    fn put(&self, values: &Tensor) -> Result<()> {
        vector_to_parameters(values, self.tensors())
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|p| p.tensor.clone()).collect()
    }

    /// Drops the gradients of all parameters.
    pub fn zero_grad(&self) {
        self.parameters.iter().for_each(|p| p.tensor.zero_grad());
    }
}

/// The greatest element without its sign.
fn greatest(x: &Tensor) -> Result<f64> {
    x.abs()?.amax(())?.item()
}
