//! One step of a recurrent layer.

use super::form::realised;
use super::init;
use super::leaf::Param;
use super::place::named;
use super::recurrent::Recurrence;
use crate::functional::linear;
use crate::ops::nn::lstm;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Module, Result};

/// What a recurrent layer computes in a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gates {
    Plain(Recurrence),
    Lstm,
    Gru,
}

impl Gates {
    /// How many there are.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// The parameters that a step needs beside what comes from the input.
pub(super) struct Step<'a> {
    pub(super) gates: Gates,
    pub(super) weight_hh: &'a Param,
    pub(super) bias_hh: Option<&'a Param>,
    pub(super) weight_hr: Option<&'a Param>,
}

impl Step<'_> {
    /// The next hidden state, and of an LSTM the next cell state, from the input's part `[batch, gates · hidden]`.
    pub(super) fn run(
        &self,
        given: &Tensor,
        h: &Tensor,
        c: Option<&Tensor>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let recurrent = linear(h, self.weight_hh, self.bias_hh.map(Param::tensor))?;
        match (self.gates, c) {
            (Gates::Plain(function), _) => {
                let sum = given.add(&recurrent)?;
                let h = match function {
                    Recurrence::Tanh => sum.tanh()?,
                    Recurrence::Relu => sum.relu()?,
                };
                Ok((h, None))
            }
            (Gates::Lstm, Some(c)) => {
                let (h, c) = lstm::step(&given.add(&recurrent)?, c)?;
                let h = match self.weight_hr {
                    Some(weight) => linear(&h, weight, None)?,
                    None => h,
                };
                Ok((h, Some(c)))
            }
            (Gates::Lstm, None) => Err(Error::argument("LSTM: no cell state")),
            (Gates::Gru, _) => {
                let (x, r) = (given.chunk(3, -1)?, recurrent.chunk(3, -1)?);
                let reset = x[0].add(&r[0])?.sigmoid()?;
                let update = x[1].add(&r[1])?.sigmoid()?;
                let new = x[2].add(&reset.mul(&r[2])?)?.tanh()?;
                Ok((h.sub(&new)?.mul(&update)?.add(&new)?, None))
            }
        }
    }
}

/// Refuses inputs and states that do not fit a cell; returns the input and the states as batches.
fn check(
    name: &str,
    x: &Tensor,
    states: &[Option<&Tensor>],
    input_size: usize,
    hidden_size: usize,
) -> Result<()> {
    let rank = x.dim();
    if !(1..=2).contains(&rank) || x.shape()[rank - 1] != input_size {
        return Err(Error::shape(format!(
            "{name}: needs [batch, {input_size}] or [{input_size}], found shape {:?}",
            x.shape()
        )));
    }
    for state in states.iter().flatten() {
        let fits = state.dim() == rank
            && state.shape()[rank - 1] == hidden_size
            && state.shape()[..rank - 1] == x.shape()[..rank - 1];
        if !fits {
            return Err(Error::shape(format!(
                "{name}: a state of shape {:?} does not fit an input of shape {:?} and a hidden size of {hidden_size}",
                state.shape(),
                x.shape()
            )));
        }
    }
    Ok(())
}

/// Declares a cell:
///
/// ```text
/// pub struct GRUCell { pub weight_ih: Param, … }
/// impl GRUCell { pub fn new …, pub fn with … }
/// ```
macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $gates:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Module)]
            pub struct $name {
                /// What the input is multiplied with, `[gates · hidden_size, input_size]`.
                pub weight_ih: Param,
                /// What the hidden state is multiplied with, `[gates · hidden_size, hidden_size]`.
                pub weight_hh: Param,
                /// What is added to the input's part.
                pub bias_ih: Option<Param>,
                /// What is added to the hidden state's part.
                pub bias_hh: Option<Param>,
                input_size: usize,
                hidden_size: usize,
                nonlinearity: Recurrence,
            }

            impl $name {
                /// Makes a cell with PyTorch's defaults.
                ///
                /// # Errors
                ///
                /// If the hidden size is 0.
                pub fn new(input_size: usize, hidden_size: usize) -> Result<Self> {
                    Self::with(input_size, hidden_size, CellConfig::default())
                }

                /// Makes a cell with options.
                ///
                /// # Errors
                ///
                /// If the hidden size is 0, or the dtype is not floating point.
                pub fn with(input_size: usize, hidden_size: usize, config: CellConfig) -> Result<Self> {
                    if hidden_size == 0 {
                        return Err(Error::argument(concat!($text, ": hidden_size must be greater than zero")));
                    }
                    let CellConfig { bias, nonlinearity, dtype } = config;
                    let gates: Gates = $gates(nonlinearity);
                    let rows = gates.count() * hidden_size;
                    let bound = 1.0 / (hidden_size as f64).sqrt();
                    let drawn = |shape: &[usize]| -> Result<Param> {
                        let parameter = Param::new(&Tensor::empty(shape, dtype)?)?;
                        init::uniform_(&parameter, -bound, bound)?;
                        Ok(parameter)
                    };
                    let optional = |shape: &[usize]| bias.then(|| drawn(shape)).transpose();
                    Ok(Self {
                        weight_ih: drawn(&[rows, input_size])?,
                        weight_hh: drawn(&[rows, hidden_size])?,
                        bias_ih: optional(&[rows])?,
                        bias_hh: optional(&[rows])?,
                        input_size,
                        hidden_size,
                        nonlinearity,
                    })
                }

                fn run(&self, x: &Tensor, h: Option<&Tensor>, c: Option<&Tensor>) -> Result<(Tensor, Option<Tensor>)> {
                    check($text, x, &[h, c], self.input_size, self.hidden_size)?;
                    let mut shape = x.shape().to_vec();
                    if let Some(last) = shape.last_mut() {
                        *last = self.hidden_size;
                    }
                    let state = |given: Option<&Tensor>| match given {
                        Some(state) => Ok(state.clone()),
                        None => Tensor::zeros(&shape, x.dtype()),
                    };
                    let gates: Gates = $gates(self.nonlinearity);
                    let biases = [self.bias_ih.as_ref(), self.bias_hh.as_ref()];
                    let this =
                        realised(self, [Some(&self.weight_ih), Some(&self.weight_hh)].into_iter().chain(biases))?;
                    let step = Step {
                        gates,
                        weight_hh: &this.weight_hh,
                        bias_hh: this.bias_hh.as_ref(),
                        weight_hr: None,
                    };
                    let given = linear(x, &this.weight_ih, this.bias_ih.as_deref()).context(|| $text)?;
                    let c = if matches!(gates, Gates::Lstm) { Some(state(c)?) } else { None };
                    step.run(&given, &state(h)?, c.as_ref()).context(|| $text)
                }
            }
        )*
    };
}

/// The options of [`RNNCell`], [`LSTMCell`] and [`GRUCell`].
#[derive(Clone, Debug, PartialEq)]
pub struct CellConfig {
    /// Whether there are biases; true.
    pub bias: bool,
    /// The function of an [`RNNCell`]; tanh.
    pub nonlinearity: Recurrence,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for CellConfig {
    fn default() -> Self {
        Self { bias: true, nonlinearity: Recurrence::Tanh, dtype: DType::F32 }
    }
}

cells! {
    /// One step of an [`RNN`](super::RNN); PyTorch's `RNNCell`.
    RNNCell, "RNNCell", Gates::Plain;
    /// One step of an [`LSTM`](super::LSTM); PyTorch's `LSTMCell`.
    ///
    /// ```
    /// use sconce::nn::LSTMCell;
    /// use sconce::{DType, Tensor};
    /// let (h, c) = LSTMCell::new(3, 5)?.forward(&Tensor::zeros([2, 3], DType::F32)?, None)?;
    /// assert_eq!((h.shape(), c.shape()), (&[2, 5][..], &[2, 5][..]));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    LSTMCell, "LSTMCell", |_| Gates::Lstm;
    /// One step of a [`GRU`](super::GRU); PyTorch's `GRUCell`.
    GRUCell, "GRUCell", |_| Gates::Gru;
}

macro_rules! one_state {
    ($($name:ident),*) => {
        $(impl $name {
            /// The next hidden state of `[batch, features]` or `[features]`; the one before is zeros where left out.
            ///
            /// # Errors
            ///
            /// If the input or the state does not fit the cell.
            pub fn forward(&self, x: &Tensor, hidden: Option<&Tensor>) -> Result<Tensor> {
                named(self.run(x, hidden, None).map(|(h, _)| h), Some(&self.weight_ih))
            }
        })*
    };
}

one_state!(RNNCell, GRUCell);

impl LSTMCell {
    /// The next hidden and cell states of `[batch, features]` or `[features]`; those before are zeros where left out.
    ///
    /// # Errors
    ///
    /// If the input or a state does not fit the cell.
    pub fn forward(&self, x: &Tensor, states: Option<(&Tensor, &Tensor)>) -> Result<(Tensor, Tensor)> {
        let (h, c) = named(self.run(x, states.map(|s| s.0), states.map(|s| s.1)), Some(&self.weight_ih))?;
        let c = c.ok_or_else(|| Error::argument("LSTMCell: no cell state"))?;
        Ok((h, c))
    }
}
