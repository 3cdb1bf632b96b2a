//! Layers one after another.

use indexmap::IndexMap;

use super::dict::check_name;
use super::layer::Layer;
use super::module::Module;
use crate::tensor::Tensor;
use crate::{Context, Error, Result};

/// Layers one after another; PyTorch's `Sequential`.
///
/// A layer without a name is called by its index.
///
/// ```
/// use sconce::nn::{Layer, Linear, ReLU, Sequential};
/// use sconce::{DType, Tensor};
///
/// let net = Sequential::new().add(Linear::new(4, 3)?).add(ReLU).add(Linear::new(3, 2)?);
/// assert_eq!(net.forward(&Tensor::zeros([5, 4], DType::F32)?)?.shape(), [5, 2]);
///
/// let error = net.forward(&Tensor::zeros([5, 3], DType::F32)?).unwrap_err().to_string();
/// assert!(error.starts_with("0: linear: "), "{error}");
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Default)]
pub struct Sequential(IndexMap<String, Box<dyn Layer>>);

impl Sequential {
    /// Makes one without layers, which returns its input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer under the number of those before it.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "nobody adds networks with `+`")]
    pub fn add(mut self, layer: impl Layer + 'static) -> Self {
        self.push(layer);
        self
    }

    /// Appends a layer under a name.
    ///
    /// # Errors
    ///
    /// If the name is empty, has a `.` in it or is taken.
    pub fn add_named(mut self, name: impl Into<String>, layer: impl Layer + 'static) -> Result<Self> {
        let name = name.into();
        check_name("Sequential", &name)?;
        if self.0.contains_key(&name) {
            return Err(Error::argument(format!("Sequential: another layer is named `{name}`")));
        }
        self.0.insert(name, Box::new(layer));
        Ok(self)
    }

    /// Appends a layer under the number of those before it, or the next that is free.
    pub fn push(&mut self, layer: impl Layer + 'static) {
        let mut number = self.0.len();
        while self.0.contains_key(&number.to_string()) {
            number += 1;
        }
        self.0.insert(number.to_string(), Box::new(layer));
    }

    /// Puts another layer in the place of the one at an index, and returns that.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn replace(&mut self, index: usize, layer: impl Layer + 'static) -> Result<Box<dyn Layer>> {
        let count = self.0.len();
        match self.0.get_index_mut(index) {
            Some((_, slot)) => Ok(std::mem::replace(slot, Box::new(layer))),
            None => Err(Error::index(format!("Sequential: no layer {index} among {count}"))),
        }
    }

    /// The layer at an index.
    pub fn get(&self, index: usize) -> Option<&dyn Layer> {
        self.0.get_index(index).map(|(_, layer)| &**layer)
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Layer for Sequential {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (name, layer) in &self.0 {
            x = layer.forward(&x).within(name.as_str())?;
        }
        Ok(x)
    }
}

impl Module for Sequential {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        for (name, layer) in &self.0 {
            f(name, layer);
        }
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        for (name, layer) in &mut self.0 {
            f(name, layer);
        }
    }

    fn type_name(&self) -> &'static str {
        "Sequential"
    }
}
