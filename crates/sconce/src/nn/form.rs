//! Parameters that are computed from others, and how modules change between the two.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use super::leaf::Param;
use super::module::{Leaf, Module};
use super::parametrize::Parametrization;
use super::walk::{each_declared, each_declared_mut};
use crate::select::{Candidate, IntoSelector, Kind};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result, no_grad};

/// What a parameter is computed from, and how.
pub(super) struct Form {
    originals: Vec<Param>,
    steps: Vec<Box<dyn Parametrization>>,
    keys: Keys,
}

/// What the parts of a parameter `weight` are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// `parametrizations.weight.original`, `parametrizations.weight.0.…`.
    Parametrizations,
    /// `weight` with these endings, and the buffers of the steps as endings too.
    Suffixes(&'static [&'static str]),
}

impl Form {
    pub(super) fn new(originals: Vec<Param>, step: Box<dyn Parametrization>, keys: Keys) -> Self {
        Self { originals, steps: vec![step], keys }
    }

    /// The parameter's value, with its history.
    pub(super) fn value(&self) -> Result<Tensor> {
        let mut parts: Vec<Tensor> = self.originals.iter().map(|p| p.tensor().clone()).collect();
        for step in &self.steps {
            parts = vec![step.forward(&parts).context(|| step.type_name())?];
        }
        parts.pop().ok_or_else(|| Error::argument("a parameter is computed from nothing"))
    }

    pub(super) fn originals(&self) -> &[Param] {
        &self.originals
    }

    pub(super) fn steps(&self) -> &[Box<dyn Parametrization>] {
        &self.steps
    }

    pub(super) fn keys(&self) -> Keys {
        self.keys
    }

    /// The same with one more step, on what the others make.
    pub(super) fn with(&self, step: Box<dyn Parametrization>) -> Self {
        let mut this = self.clone();
        this.steps.push(step);
        this
    }

    /// Whether it is listed as a module of its own.
    pub(super) fn is_module(&self) -> bool {
        self.keys == Keys::Parametrizations
    }

    /// Visits what is named after the parameter with an ending: what it is computed from, or the steps' `buffers`.
    pub(super) fn suffixed<'a>(&'a self, name: &str, buffers: bool, f: &mut dyn FnMut(&str, Leaf<'a>)) {
        let Keys::Suffixes(suffixes) = self.keys else { return };
        if buffers {
            for step in &self.steps {
                step.fields(&mut |field, leaf| {
                    if let Some(leaf @ Leaf::Buffer(_)) = leaf.leaf() {
                        f(&format!("{name}{field}"), leaf);
                    }
                });
            }
        } else {
            for (original, suffix) in self.originals.iter().zip(suffixes) {
                f(&format!("{name}{suffix}"), Leaf::Param(original));
            }
        }
    }
}

impl Clone for Form {
    fn clone(&self) -> Self {
        let steps = self.steps.iter().map(|step| step.boxed()).collect();
        Self { originals: self.originals.clone(), steps, keys: self.keys }
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&str> = self.steps.iter().map(|step| step.type_name()).collect();
        f.debug_struct("Form").field("originals", &self.originals).field("steps", &steps).finish()
    }
}

/// PyTorch's `ParametrizationList`.
impl Module for Form {
    fn fields<'a>(&'a self, f: &mut dyn FnMut(&str, &'a dyn Module)) {
        match self.originals.as_slice() {
            [one] => f("original", one),
            several => several.iter().enumerate().for_each(|(i, p)| f(&format!("original{i}"), p)),
        }
        self.steps.iter().enumerate().for_each(|(i, step)| f(&i.to_string(), &**step));
    }

    fn fields_mut<'a>(&'a mut self, f: &mut dyn FnMut(&str, &'a mut dyn Module)) {
        match self.originals.as_mut_slice() {
            [one] => f("original", one),
            several => several.iter_mut().enumerate().for_each(|(i, p)| f(&format!("original{i}"), p)),
        }
        self.steps.iter_mut().enumerate().for_each(|(i, step)| f(&i.to_string(), &mut **step));
    }

    fn type_name(&self) -> &'static str {
        "ParametrizationList"
    }
}

/// The parameter that is computed by a form, in place of another one.
pub(super) fn computed(form: Form, like: &Param) -> Result<Param> {
    let placeholder = placeholder(like.shape(), like.dtype())?;
    if let Some(label) = like.label() {
        placeholder.set_label(&label);
    }
    Ok(Param::computed(placeholder, form))
}

/// NaN of a shape and dtype, without memory for every element.
pub(super) fn placeholder(shape: &[usize], dtype: DType) -> Result<Tensor> {
    no_grad(|| Ok(Tensor::full((), f64::NAN, dtype)?.expand(shape)?.detach()))
}

/// A layer with the values of its parameters in the place of those that are computed; the layer itself if none is.
pub(super) fn realised<'a, M: Module + Clone>(
    layer: &'a M,
    parameters: impl IntoIterator<Item = Option<&'a Param>>,
) -> Result<Cow<'a, M>> {
    if parameters.into_iter().flatten().all(|parameter| parameter.form().is_none()) {
        return Ok(Cow::Borrowed(layer));
    }
    let mut own = layer.clone();
    let mut result = Ok(());
    each_declared_mut(&mut own, &mut String::new(), &mut |name, parameter| {
        if let (Some(form), Ok(())) = (parameter.form(), &result) {
            match form.value() {
                Ok(value) => *parameter = Param::of(value),
                Err(error) => result = Err(error.context(name.to_owned())),
            }
        }
    });
    result.map(|()| Cow::Owned(own))
}

/// Puts what a function makes of them in the place of the parameters that a selector picks by the names that they are
/// declared under; returns the names. Nothing is changed on an error.
pub(super) fn replace(
    module: &mut dyn Module,
    op: &str,
    selector: impl IntoSelector,
    make: &mut dyn FnMut(&str, &Param) -> Result<Param>,
) -> Result<Vec<String>> {
    let selector = selector.into_selector()?;
    let mut declared: Vec<(String, &Param)> = Vec::new();
    each_declared(module, &mut String::new(), &mut |path, parameter| {
        declared.push((path.to_owned(), parameter));
    });
    let selection = selector
        .select(declared.iter().map(|(path, parameter)| Candidate {
            path,
            kind: Some(Kind::Param),
            dtype: parameter.dtype(),
            shape: parameter.shape(),
            trainable: Some(is_trained(parameter)),
        }))
        .context(|| op.to_owned())?;
    let names = selection.names().to_vec();
    replace_named(module, op, &names, make)?;
    Ok(names)
}

/// As [`replace`], by the names that parameters are declared under.
pub(super) fn replace_named(
    module: &mut dyn Module,
    op: &str,
    names: &[String],
    make: &mut dyn FnMut(&str, &Param) -> Result<Param>,
) -> Result<()> {
    let mut declared: Vec<(String, &Param)> = Vec::new();
    each_declared(module, &mut String::new(), &mut |path, parameter| {
        declared.push((path.to_owned(), parameter));
    });
    let picked: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut made: HashMap<usize, Param> = HashMap::new();
    let mut replaced = Vec::new();
    for (path, parameter) in declared.iter().filter(|(path, _)| picked.contains(path.as_str())) {
        let tied = |(other, p): &&(String, &Param)| {
            identity(p) == identity(parameter) && !picked.contains(other.as_str())
        };
        if let Some((other, _)) = declared.iter().find(tied) {
            return Err(Error::argument(format!("{op}: `{path}` is tied to `{other}`, which is not picked")));
        }
        if let Entry::Vacant(place) = made.entry(identity(parameter)) {
            place.insert(no_grad(|| make(path, parameter)).context(|| format!("{op}: `{path}`"))?);
            replaced.push(parameter.tensor().clone());
        }
    }
    let kept: HashSet<usize> = made
        .values()
        .flat_map(|new| new.form().map_or(std::slice::from_ref(new), Form::originals))
        .map(|part| part.id())
        .collect();
    each_declared_mut(module, &mut String::new(), &mut |_, parameter| {
        if let Some(new) = made.get(&identity(parameter)) {
            *parameter = new.clone();
        }
    });
    replaced.iter().filter(|old| !kept.contains(&old.id())).for_each(Tensor::set_replaced);
    Ok(())
}

/// What tied parameters have in common.
fn identity(parameter: &Param) -> usize {
    parameter.form().and_then(|form| form.originals().first()).unwrap_or(parameter).id()
}

fn is_trained(parameter: &Param) -> bool {
    match parameter.form() {
        Some(form) => form.originals().iter().any(|original| original.requires_grad()),
        None => parameter.requires_grad(),
    }
}
