//! Layers whose outputs are looked at.

use std::fmt;
use std::sync::{Arc, Mutex};

use sconce_kernels::Stats;

use super::layer::Layer;
use super::module::Module;
use crate::ops::driver::with_bytes;
use crate::tensor::Tensor;
use crate::{Error, Result, no_grad};

/// Collects what the outputs of some layers look like; see [`Tap`].
///
/// ```
/// use sconce::nn::{Layer, Linear, ModuleExt, ReLU, Sequential, Taps, init};
/// use sconce::{DType, Tensor};
///
/// let taps = Taps::new();
/// let first = Linear::new(2, 3)?;
/// let net = Sequential::new()
///     .add(taps.on("first", first.clone()))
///     .add(taps.on("relu", ReLU))
///     .add(taps.on("last", Linear::new(3, 1)?));
/// assert_eq!(net.named_parameters()[0].0, "0.weight");
///
/// // A unit that is never positive is dead behind the ReLU.
/// sconce::no_grad(|| first.bias.as_ref().unwrap().fill_(-100))?;
/// net.forward(&Tensor::ones([4, 2], DType::F32)?)?;
/// let seen = taps.take();
/// assert_eq!((seen[1].name.as_str(), seen[1].dead, seen[1].units), ("relu", 3, 3));
///
/// // What is not finite begins somewhere.
/// init::constant_(&first.weight, f64::NAN)?;
/// net.forward(&Tensor::ones([4, 2], DType::F32)?)?;
/// let seen = taps.take();
/// let bad = seen.iter().find(|activation| activation.non_finite > 0).unwrap();
/// assert_eq!(bad.to_string(), "first: 12 of 12 elements are NaN or infinite");
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Taps(Arc<Mutex<Vec<Activation>>>);

/// A layer whose outputs are looked at; its parameters have the names that they have without it.
///
/// The tensor is read once per forward. What was seen waits in the [`Taps`] that made it, in the order of the calls;
/// take it out from time to time.
pub struct Tap<L> {
    name: Arc<str>,
    layer: L,
    taps: Taps,
}

/// What the output of a layer looked like; printed, what is odd about it comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// The name of the tap.
    pub name: String,
    /// The output's shape.
    pub shape: Vec<usize>,
    /// The mean of the finite elements.
    pub mean: f64,
    /// The standard deviation of the finite elements.
    pub std: f64,
    /// The greatest magnitude of a finite element.
    pub max: f64,
    /// How many elements are 0.
    pub zeros: u64,
    /// How many elements are NaN or infinite.
    pub non_finite: u64,
    /// How many units, along the second dimension, are 0 for every sample and at every place.
    pub dead: usize,
    /// How many units there are.
    pub units: usize,
}

impl Taps {
    /// Makes a collection without taps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a tap on a layer.
    pub fn on<L: Layer>(&self, name: impl Into<Arc<str>>, layer: L) -> Tap<L> {
        Tap { name: name.into(), layer, taps: self.clone() }
    }

    /// Takes out what was seen, in the order of the calls.
    pub fn take(&self) -> Vec<Activation> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl<L> Tap<L> {
    /// The layer.
    pub fn inner(&self) -> &L {
        &self.layer
    }

    /// The layer without the tap.
    pub fn into_inner(self) -> L {
        self.layer
    }
}

impl Activation {
    fn of(name: &str, y: &Tensor) -> Result<Self> {
        let y = y.detach().contiguous()?;
        let elem =
            y.dtype().elem().ok_or_else(|| Error::unsupported(format!("no statistics of {}", y.dtype())))?;
        let stats = with_bytes("Tap", &y, |bytes| Stats::of(elem, bytes))?;
        let units = y.shape().get(1).copied().unwrap_or(0);
        let dead = if stats.zeros > 0 && units > 0 {
            let live = y.transpose(0, 1)?.flatten(1, -1)?.ne(0)?.any(1)?.to_vec::<bool>()?;
            live.iter().filter(|live| !**live).count()
        } else {
            0
        };
        Ok(Self {
            name: name.to_owned(),
            shape: y.shape().to_vec(),
            mean: stats.mean,
            std: stats.std(0),
            max: stats.abs_max(),
            zeros: stats.zeros,
            non_finite: stats.count - stats.finite(),
            dead,
            units,
        })
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.shape.iter().product();
        write!(f, "{}: ", self.name)?;
        if self.non_finite > 0 {
            return write!(f, "{} of {count} elements are NaN or infinite", self.non_finite);
        }
        if self.dead > 0 {
            write!(f, "{} of {} units are dead, ", self.dead, self.units)?;
        }
        write!(f, "mean {:.3e}, std {:.3e}, greatest {:.3e}", self.mean, self.std, self.max)
    }
}

impl<L: Layer> Layer for Tap<L> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.layer.forward(x)?;
        let seen = no_grad(|| Activation::of(&self.name, &y))?;
        self.taps.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(seen);
        Ok(y)
    }
}

impl<L: Module> Module for Tap<L> {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        self.layer.fields(f);
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        self.layer.fields_mut(f);
    }

    fn type_name(&self) -> &'static str {
        self.layer.type_name()
    }

    fn identity(&self) -> Option<usize> {
        self.layer.identity()
    }
}

impl<L: fmt::Debug> fmt::Debug for Tap<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("name", &self.name).field("layer", &self.layer).finish_non_exhaustive()
    }
}
