//! Several models of one shape made into one: averages, interpolation, task arithmetic, TIES.
//!
//! The result is an [`Archive`] whose values are computed when they are read, a piece at a time, so files of any size
//! are merged in bounded memory and written in any format.
//!
//! ```
//! use sconce::{DType, io::{Archive, Entry}, merge::{self, Method, Options}};
//!
//! let model = |x: f32| -> sconce::Result<Archive> {
//!     let mut archive = Archive::new();
//!     archive.push_bytes(Entry::new("w", DType::F32, [1]), x.to_le_bytes().to_vec())?;
//!     Ok(archive)
//! };
//! let method = Method::Linear { weights: vec![3.0, 1.0], normalize: true };
//! let merged = merge::archives(method, None, vec![model(1.0)?, model(5.0)?], &Options::default(), |_| true)?;
//! let w = merged.archive.read(&merged.archive.entries()[0])?;
//! assert_eq!(w, 2.0_f32.to_le_bytes());
//! # Ok::<(), sconce::Error>(())
//! ```

mod compute;

use std::collections::HashMap;
use std::sync::Arc;

use compute::{Input, Merged as Computed};

use crate::io::{Archive, Entry, Numbers, ReadAt, RowMajor};
use crate::tensor::DType;
use crate::{Category, Error, Result};

/// Names of tensors that an error lists before it only counts them.
const LISTED: usize = 5;

/// How values are merged. Weights are one per model, in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// `Σ wᵢ·xᵢ`, divided by `Σ wᵢ` if `normalize`.
    Linear {
        /// The models' weights.
        weights: Vec<f64>,
        /// Whether to divide by the sum of the weights.
        normalize: bool,
    },
    /// Spherical interpolation of two models, each tensor as one vector: the first at `t` = 0, the second at 1.
    ///
    /// Tensors that point nearly the same way (a cosine above 0.9995) or that are 0 are interpolated linearly.
    Slerp {
        /// The place between the models.
        t: f64,
    },
    /// `base + Σ wᵢ·(xᵢ - base)`; needs a base.
    TaskArithmetic {
        /// The models' weights.
        weights: Vec<f64>,
    },
    /// Trim, elect a sign, and merge (Yadav et al. 2023); needs a base.
    ///
    /// Of each tensor's differences `xᵢ - base` the greatest `density·numel` by magnitude stay, and any as great as the
    /// least of them. The sign of their weighted sum is elected for each element; the weighted mean of those that have
    /// it is scaled by `lambda` and added to the base.
    Ties {
        /// The models' weights.
        weights: Vec<f64>,
        /// The part of each difference that stays, from 0 to 1.
        density: f64,
        /// Scales what is added to the base.
        lambda: f64,
    },
}

impl Method {
    /// Checks the numbers against the models.
    fn check(&self, models: usize, base: bool) -> Result<()> {
        let (weights, needs_base) = match self {
            Self::Linear { weights, .. } => (Some(weights), false),
            Self::Slerp { .. } => (None, false),
            Self::TaskArithmetic { weights } | Self::Ties { weights, .. } => (Some(weights), true),
        };
        if models == 0 || (matches!(self, Self::Slerp { .. }) && models != 2) {
            let wanted = if models == 0 { "at least one model" } else { "slerp takes two models" };
            return Err(Error::argument(format!("{wanted}, found {models}")));
        }
        if let Some(weights) = weights
            && weights.len() != models
        {
            return Err(Error::argument(format!("{} weights for {models} models", weights.len())));
        }
        match (needs_base, base) {
            (true, false) => return Err(Error::argument("this method needs a base model")),
            (false, true) => return Err(Error::argument("this method takes no base model")),
            _ => {}
        }
        let numbers: Vec<f64> = match self {
            Self::Slerp { t } => vec![*t],
            Self::Ties { density, lambda, .. } => vec![*density, *lambda],
            _ => Vec::new(),
        };
        if let Some(bad) = weights.into_iter().flatten().chain(&numbers).find(|x| !x.is_finite()) {
            return Err(Error::argument(format!("weights must be finite, found {bad}")));
        }
        match self {
            Self::Linear { weights, normalize: true } if weights.iter().sum::<f64>() == 0.0 => {
                Err(Error::argument("the weights' sum is 0, which they cannot be divided by"))
            }
            Self::Ties { density, .. } if !(0.0..=1.0).contains(density) => {
                Err(Error::argument(format!("the density must be from 0 to 1, found {density}")))
            }
            _ => Ok(()),
        }
    }
}

/// What the result is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The floating-point type of merged tensors; by default the base's, or else the first model's.
    pub dtype: Option<DType>,
}

/// The result of a merge.
#[derive(Debug)]
pub struct Merged {
    /// The tensors of the base (or the first model), in its order, with its metadata and structure.
    pub archive: Archive,
    /// The names of the tensors that were merged.
    pub merged: Vec<String>,
    /// The names of those that were copied: not floating point, or not picked.
    pub copied: Vec<String>,
}

/// Merges the floating-point tensors that `pick` picks; the others are copied from the base, or else the first model.
///
/// # Errors
///
/// Fails, naming tensors, when the models do not hold the same names and shapes, when a type cannot be merged, and when
/// the method's numbers do not fit. A value that has no place in the result's type is an error when it is read.
pub fn archives(
    method: Method,
    base: Option<Archive>,
    models: Vec<Archive>,
    options: &Options,
    pick: impl Fn(&Entry) -> bool,
) -> Result<Merged> {
    method.check(models.len(), base.is_some())?;
    if let Some(dtype) = options.dtype
        && !matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
    {
        return Err(Error::dtype(format!(
            "a merge gives float64, float32, float16 or bfloat16, not {dtype}"
        )));
    }
    let method = Arc::new(method);
    let base = base.map(Arc::new);
    let models: Vec<Arc<Archive>> = models.into_iter().map(Arc::new).collect();
    let first = Arc::clone(base.as_ref().unwrap_or(&models[0]));
    for model in &models {
        same_names(&first, model)?;
    }
    let mut merged = Merged { archive: Archive::new(), merged: Vec::new(), copied: Vec::new() };
    for (key, _) in first.metadata() {
        if let Some(value) = first.metadata_value(key) {
            merged.archive.set_metadata_value(key.as_str(), value);
        }
    }
    // Tensors that every model has at one place stay tied.
    let mut places = HashMap::new();
    for entry in first.entries() {
        let others: Vec<&Entry> = models.iter().filter_map(|m| m.get(entry.name())).collect();
        let merge = pick(entry) && is_float(entry);
        let place: Vec<_> = [entry]
            .into_iter()
            .chain(others.iter().copied().filter(|_| merge))
            .map(|e| (e.storage(), e.offset(), e.shape().to_vec(), e.strides().to_vec(), e.encoding()))
            .collect();
        let (new, names) = if merge {
            check_types(entry, &others)?;
            let dtype = options.dtype.or(entry.encoding().dtype()).filter(|d| d.size() > 1);
            let dtype = dtype.ok_or_else(|| {
                let found = entry.encoding().name();
                Error::argument(format!("a dtype must be asked for, since {found} cannot be written"))
                    .context(entry.name().escape_debug().to_string())
            })?;
            (entry.with_dtype(dtype), &mut merged.merged)
        } else {
            (entry.to_contiguous(), &mut merged.copied)
        };
        names.push(entry.name().to_owned());
        let storage = match places.get(&(merge, place.clone())) {
            Some(&storage) => storage,
            None => {
                let bytes: Arc<dyn ReadAt> = if merge {
                    let input = |archive: &Arc<Archive>, e: &Entry| Input::new(archive, e);
                    let of_base = base.as_ref().map(|b| input(b, entry)).transpose()?;
                    let of_models =
                        models.iter().zip(&others).map(|(m, e)| input(m, e)).collect::<Result<Vec<_>>>()?;
                    Arc::new(Computed::new(Arc::clone(&method), of_base, of_models, &new)?)
                } else {
                    Arc::new(RowMajor::new(&first, entry))
                };
                let storage = merged.archive.add_storage(bytes);
                places.insert((merge, place), storage);
                storage
            }
        };
        merged.archive.push(new, storage)?;
    }
    if let Some(tree) = first.tree() {
        merged.archive.set_tree(tree.clone())?;
    }
    Ok(merged)
}

/// Whether an element is one real number that can be averaged.
fn is_float(entry: &Entry) -> bool {
    match entry.encoding().dtype() {
        Some(dtype) => dtype.category() >= Category::Float,
        None => entry.quantizer().is_none() && Numbers::of(entry).is_ok(),
    }
}

fn same_names(first: &Archive, other: &Archive) -> Result<()> {
    let missing = |from: &Archive, of: &Archive| {
        let names: Vec<String> = of
            .entries()
            .iter()
            .filter(|e| from.get(e.name()).is_none())
            .map(|e| e.name().escape_debug().to_string())
            .collect();
        match names.len() {
            0 => Ok(()),
            n => {
                let (listed, more) = (names[..n.min(LISTED)].join(", "), n.saturating_sub(LISTED));
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                Err(Error::load(format!("it lacks {listed}{more}, which {} has", of.name()))
                    .context(from.name()))
            }
        }
    };
    missing(other, first)?;
    missing(first, other)
}

fn check_types(entry: &Entry, others: &[&Entry]) -> Result<()> {
    let place = || entry.name().escape_debug().to_string();
    if let Some(other) = others.iter().find(|e| e.shape() != entry.shape()) {
        let (a, b) = (entry.shape(), other.shape());
        return Err(Error::shape(format!("shapes differ: {a:?} and {b:?}")).context(place()));
    }
    let bad =
        |e: &&&Entry| e.encoding().dtype().is_some_and(|d| d.category() == Category::Complex) || !is_float(e);
    match [entry].iter().chain(others).find(bad) {
        Some(e) => {
            Err(Error::unsupported(format!("{} cannot be merged", e.encoding().name())).context(place()))
        }
        None => Ok(()),
    }
}
