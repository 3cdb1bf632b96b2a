//! What L-BFGS remembers, as PyTorch writes it.

use std::collections::VecDeque;

use super::{Lbfgs, LbfgsConfig, LineSearch, Memory, Pair};
use crate::optim::state::{GroupState, Value};
use crate::tensor::Tensor;
use crate::{Context, Error, Result};

/// The state of an [`Lbfgs`], in the structure of PyTorch's `LBFGS.state_dict()`.
///
/// A [`Checkpoint`](crate::checkpoint::Checkpoint) holds it, and reads it from a file that PyTorch wrote.
#[derive(Clone, Debug, Default)]
pub struct LbfgsState {
    /// The options and the numbers of the parameters.
    pub param_group: GroupState,
    /// How often the loss was evaluated.
    pub func_evals: i64,
    /// How many iterations there were, in all steps.
    pub n_iter: i64,
    /// What is kept from iteration to iteration; nothing before the first.
    pub memory: Option<LbfgsMemory>,
}

/// What [`Lbfgs`] keeps from iteration to iteration, under PyTorch's names.
#[derive(Clone, Debug)]
pub struct LbfgsMemory {
    /// The direction of the last iteration.
    pub d: Tensor,
    /// How far it went.
    pub t: f64,
    /// What the gradient changed by in each iteration that is remembered.
    pub old_dirs: Vec<Tensor>,
    /// What the parameters changed by in each of them.
    pub old_stps: Vec<Tensor>,
    /// One by the dot product of the two, for each.
    pub ro: Vec<f64>,
    /// The first estimate of the inverse curvature.
    pub h_diag: f64,
    /// The gradient before the last iteration.
    pub prev_flat_grad: Tensor,
    /// The loss before the last iteration.
    pub prev_loss: f64,
}

impl LbfgsConfig {
    fn options(&self) -> Vec<(&'static str, Value)> {
        let count = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        vec![
            ("lr", Value::Float(self.lr)),
            ("max_iter", count(self.max_iter)),
            ("max_eval", count(self.max_eval.unwrap_or(self.max_iter * 5 / 4))),
            ("tolerance_grad", Value::Float(self.tolerance_grad)),
            ("tolerance_change", Value::Float(self.tolerance_change)),
            ("history_size", count(self.history_size)),
            (
                "line_search_fn",
                match self.line_search {
                    LineSearch::Fixed => Value::None,
                    LineSearch::StrongWolfe => Value::Text("strong_wolfe".into()),
                },
            ),
        ]
    }

    /// Sets an option by PyTorch's name; whether there is one of that name.
    fn set_option(&mut self, name: &str, value: &Value) -> Result<bool> {
        let count = || value.count().map(|n| n as usize);
        match name {
            "lr" => self.lr = value.number()?,
            "max_iter" => self.max_iter = count()?,
            "max_eval" => self.max_eval = if *value == Value::None { None } else { Some(count()?) },
            "tolerance_grad" => self.tolerance_grad = value.number()?,
            "tolerance_change" => self.tolerance_change = value.number()?,
            "history_size" => self.history_size = count()?,
            "line_search_fn" => {
                self.line_search = match value {
                    Value::None => LineSearch::Fixed,
                    Value::Text(text) if text == "strong_wolfe" => LineSearch::StrongWolfe,
                    other => {
                        return Err(Error::load(format!("expected strong_wolfe or none, found {other:?}")));
                    }
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Lbfgs {
    /// A copy of what is kept from step to step.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    ///
    /// ```
    /// use sconce::Tensor;
    /// use sconce::optim::{Lbfgs, LbfgsConfig};
    ///
    /// let start = || Tensor::from_vec(vec![5.0f64, -3.0], [2])?.requires_grad_(true);
    /// let config = LbfgsConfig { max_iter: 2, lr: 0.1, ..LbfgsConfig::default() };
    /// let (x, y) = (start()?, start()?);
    /// let mut first = Lbfgs::new(vec![x.clone()], config)?;
    /// first.step(|| x.sub(1)?.pow(4)?.sum(()))?;
    /// sconce::no_grad(|| y.copy_(&x))?;
    ///
    /// let mut second = Lbfgs::new(vec![y.clone()], LbfgsConfig::default())?;
    /// second.load_state_dict(&first.state_dict()?)?;
    /// first.step(|| x.sub(1)?.pow(4)?.sum(()))?;
    /// second.step(|| y.sub(1)?.pow(4)?.sum(()))?;
    /// assert_eq!(x.to_vec::<f64>()?, y.to_vec::<f64>()?);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn state_dict(&self) -> Result<LbfgsState> {
        let own = self.config.options().into_iter().map(|(name, value)| (name.to_owned(), value));
        let param_group = GroupState {
            options: own.chain(self.others.iter().cloned()).collect(),
            params: (0..self.parameters.len()).collect(),
        };
        let memory = self.memory.as_ref().map(|memory| {
            let copies = |of: fn(&Pair) -> &Tensor| -> Result<Vec<Tensor>> {
                memory.pairs.iter().map(|pair| of(pair).copy()).collect()
            };
            Ok::<_, Error>(LbfgsMemory {
                d: memory.direction.copy()?,
                t: memory.step,
                old_dirs: copies(|pair| &pair.gradient)?,
                old_stps: copies(|pair| &pair.parameters)?,
                ro: memory.pairs.iter().map(|pair| pair.inverse).collect(),
                h_diag: memory.scale,
                prev_flat_grad: memory.gradient.copy()?,
                prev_loss: memory.loss,
            })
        });
        Ok(LbfgsState {
            param_group,
            func_evals: self.evaluations,
            n_iter: self.iterations,
            memory: memory.transpose()?,
        })
    }

    /// Goes on from what another optimiser of the same parameters remembered: its options replace those here too.
    ///
    /// # Errors
    ///
    /// If the parameters differ in number, an option is of the wrong kind or outside its range, or a vector has not as many
    /// elements as the parameters. Nothing is changed then.
    pub fn load_state_dict(&mut self, state: &LbfgsState) -> Result<()> {
        const OP: &str = "load_state_dict: LBFGS";
        let expected = self.parameters.len();
        if state.param_group.params.len() != expected {
            return Err(Error::load(format!(
                "{OP}: expected {expected} parameters, found {}",
                state.param_group.params.len()
            )));
        }
        let mut config = self.config.clone();
        let mut others = Vec::new();
        for (name, value) in &state.param_group.options {
            if !config.set_option(name, value).context(|| format!("{OP}: {name}"))? {
                others.push((name.clone(), value.clone()));
            }
        }
        config.validate().context(|| OP)?;
        let memory = state.memory.as_ref().map(|memory| self.restored(memory)).transpose().context(|| OP)?;
        (self.config, self.others, self.memory) = (config, others, memory);
        (self.evaluations, self.iterations) = (state.func_evals, state.n_iter);
        Ok(())
    }

    fn restored(&self, memory: &LbfgsMemory) -> Result<Memory> {
        let count: usize = self.parameters.iter().map(|p| p.tensor.numel()).sum();
        let dtype = self.parameters[0].tensor.dtype();
        let vector = |name: &str, given: &Tensor| -> Result<Tensor> {
            if given.shape() != [count] {
                return Err(Error::load(format!(
                    "{name}: expected a vector of {count} elements, found shape {:?}",
                    given.shape()
                )));
            }
            given.detach().to(dtype)?.copy()
        };
        let LbfgsMemory { old_dirs, old_stps, ro, .. } = memory;
        if old_dirs.len() != old_stps.len() || old_dirs.len() != ro.len() {
            return Err(Error::load(format!(
                "expected as many old_dirs as old_stps and ro, found {}, {} and {}",
                old_dirs.len(),
                old_stps.len(),
                ro.len()
            )));
        }
        let mut pairs = VecDeque::new();
        for ((gradient, parameters), &inverse) in old_dirs.iter().zip(old_stps).zip(ro) {
            pairs.push_back(Pair {
                gradient: vector("old_dirs", gradient)?,
                parameters: vector("old_stps", parameters)?,
                inverse,
            });
        }
        Ok(Memory {
            direction: vector("d", &memory.d)?,
            step: memory.t,
            gradient: vector("prev_flat_grad", &memory.prev_flat_grad)?,
            loss: memory.prev_loss,
            pairs,
            scale: memory.h_diag,
        })
    }
}
