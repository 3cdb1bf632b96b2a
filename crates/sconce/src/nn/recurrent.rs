//! Recurrent layers: RNN, LSTM and GRU.

use indexmap::IndexMap;

use super::cell::{Gates, Step};
use super::form::realised;
use super::init;
use super::leaf::{Mode, Param};
use super::module::Module;
use super::place::named;
use crate::functional::{dropout, linear};
use crate::ops::nn::lstm::lstm;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// The options of [`RNN`], [`LSTM`] and [`GRU`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentConfig {
    /// The number of layers, one on top of the other; 1.
    pub num_layers: usize,
    /// Whether there are biases; true.
    pub bias: bool,
    /// Whether the batch is the first dimension rather than the second; false.
    pub batch_first: bool,
    /// The share of each layer's output, but the last one's, that is dropped in training; 0.
    pub dropout: f64,
    /// Whether a second set of layers reads the sequence from its end; false.
    pub bidirectional: bool,
    /// The size that an [`LSTM`]'s hidden state is projected to; not at all.
    pub proj_size: Option<usize>,
    /// The function of an [`RNN`]; tanh.
    pub nonlinearity: Recurrence,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

/// The function of an [`RNN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recurrence {
    /// tanh.
    #[default]
    Tanh,
    /// max(x, 0).
    Relu,
}

super::leaf::settings!(Recurrence);

impl Default for RecurrentConfig {
    fn default() -> Self {
        Self {
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            proj_size: None,
            nonlinearity: Recurrence::Tanh,
            dtype: DType::F32,
        }
    }
}

/// What the three layers have in common.
#[derive(Clone, Debug)]
struct Layers {
    name: &'static str,
    gates: Gates,
    /// Under PyTorch's names: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, `weight_hr_l0`, ….
    parameters: IndexMap<String, Param>,
    mode: Mode,
    input_size: usize,
    hidden_size: usize,
    config: RecurrentConfig,
}

/// The parameters of one layer in one direction.
struct Direction<'a> {
    weight_ih: &'a Param,
    bias_ih: Option<&'a Param>,
    step: Step<'a>,
}

impl Direction<'_> {
    /// All steps of an LSTM without a projection: the hidden states, and the last hidden and cell states.
    fn lstm(&self, x: &Tensor, h: &Tensor, c: &Tensor, reverse: bool) -> Result<(Tensor, Tensor, Tensor)> {
        let bias = match (self.bias_ih, self.step.bias_hh) {
            (Some(x), Some(y)) => Some(x.add(y)?),
            _ => None,
        };
        let turned = |t: Tensor| if reverse { t.flip([0]) } else { Ok(t) };
        let given = turned(linear(x, self.weight_ih, bias.as_ref())?)?;
        let states = lstm(&given, self.step.weight_hh, h, c)?;
        let (h, c) = (states.select(0, 0)?, states.select(0, 1)?);
        Ok((turned(h.narrow(0, 1, x.shape()[0])?)?, h.select(0, -1)?, c.select(0, -1)?))
    }
}

impl Layers {
    fn new(
        name: &'static str,
        gates: Gates,
        input_size: usize,
        hidden_size: usize,
        config: RecurrentConfig,
    ) -> Result<Self> {
        let RecurrentConfig { num_layers, bias, bidirectional, dtype, .. } = config;
        for (what, size) in
            [("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)]
        {
            if size == 0 {
                return Err(Error::argument(format!("{name}: {what} must be greater than zero")));
            }
        }
        if !(0.0..=1.0).contains(&config.dropout) {
            return Err(Error::argument(format!(
                "{name}: the probability {} of dropout must lie in [0, 1]",
                config.dropout
            )));
        }
        if config.proj_size.is_some_and(|p| p == 0 || p >= hidden_size) {
            return Err(Error::argument(format!(
                "{name}: proj_size {:?} must be positive and less than hidden_size {hidden_size}",
                config.proj_size
            )));
        }
        let output = config.proj_size.unwrap_or(hidden_size);
        let directions = 1 + usize::from(bidirectional);
        let rows = gates.count() * hidden_size;
        let bound = 1.0 / (hidden_size as f64).sqrt();
        let mut parameters = IndexMap::new();
        for layer in 0..num_layers {
            for direction in 0..directions {
                let suffix = format!("l{layer}{}", if direction == 1 { "_reverse" } else { "" });
                let columns = if layer == 0 { input_size } else { output * directions };
                let mut shapes = vec![("weight_ih", vec![rows, columns]), ("weight_hh", vec![rows, output])];
                if bias {
                    shapes.extend([("bias_ih", vec![rows]), ("bias_hh", vec![rows])]);
                }
                if config.proj_size.is_some() {
                    shapes.push(("weight_hr", vec![output, hidden_size]));
                }
                for (name, shape) in shapes {
                    let parameter = Param::new(&Tensor::empty(shape, dtype)?)?;
                    init::uniform_(&parameter, -bound, bound)?;
                    parameters.insert(format!("{name}_{suffix}"), parameter);
                }
            }
        }
        Ok(Self { name, gates, parameters, mode: Mode::Train, input_size, hidden_size, config })
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.config.bidirectional)
    }

    fn output_size(&self) -> usize {
        self.config.proj_size.unwrap_or(self.hidden_size)
    }

    fn direction(&self, layer: usize, direction: usize) -> Result<Direction<'_>> {
        let per = 2 + 2 * usize::from(self.config.bias) + usize::from(self.config.proj_size.is_some());
        let first = (layer * self.directions() + direction) * per;
        let at = |i: usize| {
            let found = self.parameters.get_index(first + i).map(|(_, parameter)| parameter);
            found.ok_or_else(|| Error::argument(format!("{}: a parameter is missing", self.name)))
        };
        let bias = |i: usize| if self.config.bias { at(i).map(Some) } else { Ok(None) };
        Ok(Direction {
            weight_ih: at(0)?,
            bias_ih: bias(2)?,
            step: Step {
                gates: self.gates,
                weight_hh: at(1)?,
                bias_hh: bias(3)?,
                weight_hr: if self.config.proj_size.is_some() { Some(at(per - 1)?) } else { None },
            },
        })
    }

    /// The output, the last hidden states and, of an LSTM, the last cell states.
    fn forward(
        &self,
        x: &Tensor,
        hidden: Option<&Tensor>,
        cell: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let first = self.parameters.first().map(|(_, parameter)| parameter);
        let this = realised(self, self.parameters.values().map(Some));
        named(this.and_then(|this| this.compute(x, hidden, cell)).context(|| self.name), first)
    }

    fn compute(
        &self,
        x: &Tensor,
        hidden: Option<&Tensor>,
        cell: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let batched = x.dim() == 3;
        if !(2..=3).contains(&x.dim()) || x.shape().last() != Some(&self.input_size) {
            return Err(Error::shape(format!(
                "needs 2 or 3 dimensions, the last of {} features, found shape {:?}",
                self.input_size,
                x.shape()
            )));
        }
        let dtype = self.parameters.first().map_or(self.config.dtype, |(_, p)| p.dtype());
        if x.dtype() != dtype {
            return Err(Error::dtype(format!(
                "the input's dtype {} is not that of the weights, {dtype}",
                x.dtype()
            )));
        }
        let x = match (batched, self.config.batch_first) {
            (false, _) => x.unsqueeze(1)?,
            (true, true) => x.transpose(0, 1)?,
            (true, false) => x.clone(),
        };
        let (length, batch) = (x.shape()[0], x.shape()[1]);
        if length == 0 {
            return Err(Error::shape(format!(
                "needs a sequence of at least one element, found {:?}",
                x.shape()
            )));
        }
        let directions = self.directions();
        let count = self.config.num_layers * directions;
        let state = |given: Option<&Tensor>, size: usize, what: &str| -> Result<Tensor> {
            let expected: &[usize] = if batched { &[count, batch, size] } else { &[count, size] };
            match given {
                Some(state) if state.shape() != expected => Err(Error::shape(format!(
                    "{what} of shape {expected:?} expected, found {:?}",
                    state.shape()
                ))),
                Some(state) if batched => Ok(state.clone()),
                Some(state) => state.unsqueeze(1),
                None => Tensor::zeros([count, batch, size], dtype),
            }
        };
        let hidden = state(hidden, self.output_size(), "hidden states")?;
        let cell = match self.gates {
            Gates::Lstm => Some(state(cell, self.hidden_size, "cell states")?),
            _ => None,
        };
        let mut x = x;
        let (mut hiddens, mut cells) = (Vec::with_capacity(count), Vec::new());
        for layer in 0..self.config.num_layers {
            if layer > 0 && self.config.dropout > 0.0 {
                x = dropout(&x, self.config.dropout, self.mode.is_train())?;
            }
            let mut outputs = Vec::with_capacity(directions);
            for direction in 0..directions {
                let parameters = self.direction(layer, direction)?;
                let index = (layer * directions + direction) as isize;
                let mut h = hidden.select(0, index)?;
                let mut c = cell.as_ref().map(|c| c.select(0, index)).transpose()?;
                if let (Some(c), None, 1..) = (&c, parameters.step.weight_hr, batch) {
                    let (y, h, c) = parameters.lstm(&x, &h, c, direction == 1)?;
                    outputs.push(y);
                    hiddens.push(h);
                    cells.push(c);
                    continue;
                }
                // What comes from the input is one product for all steps.
                let given = linear(&x, parameters.weight_ih, parameters.bias_ih.map(Param::tensor))?;
                let mut steps = Vec::with_capacity(length);
                for t in 0..length {
                    let t = if direction == 1 { length - 1 - t } else { t };
                    (h, c) = parameters.step.run(&given.select(0, t as isize)?, &h, c.as_ref())?;
                    steps.push(h.clone());
                }
                if direction == 1 {
                    steps.reverse();
                }
                outputs.push(Tensor::stack(&steps, 0)?);
                hiddens.push(h);
                cells.extend(c);
            }
            x = match outputs.as_slice() {
                [one] => one.clone(),
                several => Tensor::cat(several, -1)?,
            };
        }
        let joined = |states: &[Tensor]| {
            let states = Tensor::stack(states, 0)?;
            if batched { Ok(states) } else { states.squeeze(1) }
        };
        let y = match (batched, self.config.batch_first) {
            (false, _) => x.squeeze(1)?,
            (true, true) => x.transpose(0, 1)?,
            (true, false) => x,
        };
        let cells = if cells.is_empty() { None } else { Some(joined(&cells)?) };
        Ok((y, joined(&hiddens)?, cells))
    }
}

impl Module for Layers {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        self.parameters.iter().for_each(|(name, parameter)| f(name, parameter));
        f("mode", &self.mode);
        f("input_size", &self.input_size);
        f("hidden_size", &self.hidden_size);
        f("num_layers", &self.config.num_layers);
        f("bidirectional", &self.config.bidirectional);
        f("dropout", &self.config.dropout);
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        self.parameters.iter_mut().for_each(|(name, parameter)| f(name, parameter));
        f("mode", &mut self.mode);
    }

    fn type_name(&self) -> &'static str {
        self.name
    }
}

/// Declares one of the three layers over [`Layers`]:
///
/// ```text
/// pub struct GRU(Layers);
/// impl GRU { pub fn new …, pub fn with … }
/// impl Module for GRU { … }
/// ```
macro_rules! recurrent {
    ($($(#[$doc:meta])* $name:ident, $text:literal, |$config:ident| $gates:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name(Layers);

            impl $name {
                /// Makes one layer with PyTorch's defaults.
                ///
                /// # Errors
                ///
                /// As [`with`](Self::with).
                pub fn new(input_size: usize, hidden_size: usize) -> Result<Self> {
                    Self::with(input_size, hidden_size, RecurrentConfig::default())
                }

                /// Makes layers with options.
                ///
                /// # Errors
                ///
                /// If a size or the number of layers is 0, dropout is no probability, the dtype is not floating point, or
                /// an option is not this layer's.
                pub fn with(
                    input_size: usize,
                    hidden_size: usize,
                    $config: RecurrentConfig,
                ) -> Result<Self> {
                    let gates = $gates;
                    Layers::new($text, gates, input_size, hidden_size, $config).map(Self)
                }

                /// A parameter under PyTorch's name, such as `weight_ih_l0` or `bias_hh_l1_reverse`.
                pub fn parameter(&self, name: &str) -> Option<&Param> {
                    self.0.parameters.get(name)
                }
            }

            impl Module for $name {
                fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
                    self.0.fields(f);
                }

                fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
                    self.0.fields_mut(f);
                }

                fn type_name(&self) -> &'static str {
                    $text
                }
            }
        )*
    };
}

/// Refuses an option that a layer does not have.
fn without_projection(name: &str, config: &RecurrentConfig) -> Result<()> {
    if config.proj_size.is_none() {
        return Ok(());
    }
    Err(Error::argument(format!("{name}: only an LSTM has a proj_size, found {:?}", config.proj_size)))
}

recurrent! {
    /// hₜ = tanh(W xₜ + b + U hₜ₋₁ + c) over sequences; PyTorch's `RNN`.
    RNN, "RNN", |config| {
        without_projection("RNN", &config)?;
        Gates::Plain(config.nonlinearity)
    };
    /// Long short-term memory over sequences `[length, batch, features]`; PyTorch's `LSTM`.
    ///
    /// ```
    /// use sconce::nn::{LSTM, RecurrentConfig};
    /// use sconce::{DType, Tensor};
    /// let config = RecurrentConfig { num_layers: 2, bidirectional: true, ..Default::default() };
    /// let lstm = LSTM::with(3, 5, config)?;
    /// let (y, (h, c)) = lstm.forward(&Tensor::zeros([7, 2, 3], DType::F32)?, None)?;
    /// assert_eq!(y.shape(), [7, 2, 10]);
    /// assert_eq!((h.shape(), c.shape()), (&[4, 2, 5][..], &[4, 2, 5][..]));
    /// assert_eq!(lstm.parameter("weight_ih_l1_reverse").unwrap().shape(), [20, 10]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    LSTM, "LSTM", |config| Gates::Lstm;
    /// Gated recurrent units over sequences; PyTorch's `GRU`.
    GRU, "GRU", |config| {
        without_projection("GRU", &config)?;
        Gates::Gru
    };
}

macro_rules! one_state {
    ($($name:ident),*) => {
        $(impl $name {
            /// The outputs of all steps, `[length, batch, directions · hidden]`, and the last hidden states,
            /// `[layers · directions, batch, hidden]`. Both lack the batch where the input does.
            ///
            /// # Errors
            ///
            /// If the input or the first hidden states, which are zeros where left out, do not fit the layer.
            pub fn forward(&self, x: &Tensor, hidden: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
                let (y, hidden, _) = self.0.forward(x, hidden, None)?;
                Ok((y, hidden))
            }
        })*
    };
}

one_state!(RNN, GRU);

impl LSTM {
    /// The outputs of all steps, `[length, batch, directions · hidden]`, and the last hidden and cell states,
    /// `[layers · directions, batch, hidden]`. All lack the batch where the input does.
    ///
    /// # Errors
    ///
    /// If the input or the first states, which are zeros where left out, do not fit the layer.
    pub fn forward(
        &self,
        x: &Tensor,
        states: Option<(&Tensor, &Tensor)>,
    ) -> Result<(Tensor, (Tensor, Tensor))> {
        let (y, hidden, cell) = self.0.forward(x, states.map(|s| s.0), states.map(|s| s.1))?;
        let cell = cell.ok_or_else(|| Error::argument("LSTM: no cell state"))?;
        Ok((y, (hidden, cell)))
    }
}
