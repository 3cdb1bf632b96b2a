//! Pruning of live modules; PyTorch's `torch.nn.utils.prune`.
//!
//! A pruned parameter `weight` is computed in every forward as `weight_orig · weight_mask`, so that what is pruned stays
//! 0 whatever an optimiser does, and a state dict has both under PyTorch's names. Pruning again chooses among what is
//! left, and adds to the mask. [`remove`] makes the product the parameter.
//!
//! Masks save neither memory nor time. Where whole channels are masked ([`ln_channels`]: in all layers that belong together,
//! also across the sums of a residual network) [`shrink()`] removes them, and the model gets smaller with the same output.
//! [`channels()`] shows what belongs together. PyTorch has nothing like it.
//!
//! ```
//! use sconce::compress::Amount;
//! use sconce::nn::{Layer, Linear, ModuleExt, ReLU, Sequential, prune};
//!
//! let mut net = Sequential::new().add(Linear::new(4, 3)?).add(ReLU).add(Linear::new(3, 2)?);
//! prune::global_unstructured(&mut net, "*.weight", prune::Score::L1, Amount::Fraction(0.5))?;
//! let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, ["0.bias", "0.weight_orig", "2.bias", "2.weight_orig"]);
//! let kept: f64 =
//!     net.buffers().iter().map(|mask| mask.sum(())?.item()).sum::<sconce::Result<f64>>()?;
//! assert_eq!(kept, 9.0);
//!
//! prune::remove(&mut net, "*.weight")?;
//! assert_eq!(net.get_parameter("0.weight")?.shape(), [3, 4]);
//! # Ok::<(), sconce::Error>(())
//! ```

mod channels;
mod numbers;
mod shrink;
mod trace;

pub use self::channels::{Channels, channels, ln_channels};
pub use self::shrink::{Shrunk, shrink};
use super::form::{Form, Keys, computed, replace};
use super::leaf::{Buffer, Param};
use super::module::{Leaf, Module};
use super::parametrize::Parametrization;
use super::walk::each_declared;
use crate::compress::{Amount, choice};
use crate::select::IntoSelector;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// The mask of a parameter, ones and zeros.
#[derive(Clone, Debug, crate::Module)]
struct Masked {
    #[module(rename = "_mask")]
    mask: Buffer,
}

impl Parametrization for Masked {
    fn forward(&self, original: &[Tensor]) -> Result<Tensor> {
        match original {
            [weight] => weight.mul(&self.mask),
            _ => Err(Error::argument(format!("needs one tensor, found {}", original.len()))),
        }
    }
}

const KEYS: Keys = Keys::Suffixes(&["_orig"]);

/// What decides which elements go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Score {
    /// Those of the least magnitude.
    L1,
    /// Random ones.
    Random,
}

/// Gives the parameters that a selector picks a mask of ones.
///
/// # Errors
///
/// If the selector cannot be parsed or picks nothing; if a parameter is tied to one that is not picked, or is
/// parametrised. Nothing is changed then. All functions here return the names that the parameters are declared under.
pub fn identity<M: Module + ?Sized>(module: &mut M, selector: impl IntoSelector) -> Result<Vec<String>> {
    masked(module.as_module_mut(), "identity", selector, &mut |_| Ok(()))
}

/// Prunes elements of the least magnitude of each parameter that a selector picks; of equal ones the first.
///
/// # Errors
///
/// As [`identity`]; if more is to be pruned than there is, or a share lies outside [0, 1].
///
/// ```
/// use sconce::compress::Amount;
/// use sconce::nn::{Linear, init, prune};
/// use sconce::Tensor;
///
/// let mut layer = Linear::new(4, 1)?;
/// sconce::no_grad(|| layer.weight.copy_(&Tensor::from_vec(vec![3.0f32, -1.0, 2.0, -4.0], [1, 4])?))?;
/// prune::l1_unstructured(&mut layer, "weight", Amount::Count(1))?;
/// assert_eq!(layer.weight.value()?.to_vec::<f32>()?, [3.0, 0.0, 2.0, -4.0]);
/// prune::l1_unstructured(&mut layer, "weight", Amount::Fraction(0.34))?;
/// assert_eq!(layer.weight.value()?.to_vec::<f32>()?, [3.0, 0.0, 0.0, -4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn l1_unstructured<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    amount: Amount,
) -> Result<Vec<String>> {
    masked(module.as_module_mut(), "l1_unstructured", selector, &mut |state| {
        state.prune_elements(Score::L1, amount)
    })
}

/// Prunes random elements of each parameter that a selector picks: those that PyTorch prunes after the same seed.
///
/// # Errors
///
/// As [`l1_unstructured`].
pub fn random_unstructured<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    amount: Amount,
) -> Result<Vec<String>> {
    masked(module.as_module_mut(), "random_unstructured", selector, &mut |state| {
        state.prune_elements(Score::Random, amount)
    })
}

/// Prunes the slices along a dimension whose n-norm is least, of each parameter that a selector picks.
///
/// # Errors
///
/// As [`l1_unstructured`]; if a parameter has no such dimension, or only one.
///
/// ```
/// use sconce::compress::Amount;
/// use sconce::nn::{Linear, prune};
///
/// let mut layer = Linear::new(4, 3)?;
/// prune::ln_structured(&mut layer, "weight", Amount::Count(1), 2.0, 0)?;
/// let rows = layer.weight.value()?.abs()?.sum(1)?.to_vec::<f32>()?;
/// assert_eq!(rows.iter().filter(|row| **row == 0.0).count(), 1);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn ln_structured<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    amount: Amount,
    n: f64,
    dim: isize,
) -> Result<Vec<String>> {
    masked(module.as_module_mut(), "ln_structured", selector, &mut |state| {
        state.prune_slices(Some(n), amount, dim)
    })
}

/// Prunes random slices along a dimension of each parameter that a selector picks: those that PyTorch prunes after the
/// same seed.
///
/// # Errors
///
/// As [`ln_structured`].
pub fn random_structured<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    amount: Amount,
    dim: isize,
) -> Result<Vec<String>> {
    masked(module.as_module_mut(), "random_structured", selector, &mut |state| {
        state.prune_slices(None, amount, dim)
    })
}

/// Keeps the `keep` elements of the greatest magnitude of every `of` neighbours along a dimension, in each parameter
/// that a selector picks: 2 of 4 is what some hardware computes with. Of equal ones the first stay.
///
/// # Errors
///
/// As [`ln_structured`]; if `of` does not divide the dimension, or is less than `keep`.
///
/// ```
/// use sconce::nn::{Linear, prune};
///
/// let mut layer = Linear::new(8, 3)?;
/// prune::n_of_m(&mut layer, "weight", 2, 4, 1)?;
/// let groups = layer.weight.value()?.ne(0)?.reshape([-1, 4])?.to(sconce::DType::I64)?.sum(1)?;
/// assert_eq!(groups.to_vec::<i64>()?, [2; 6]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn n_of_m<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    keep: usize,
    of: usize,
    dim: isize,
) -> Result<Vec<String>> {
    masked(module.as_module_mut(), "n_of_m", selector, &mut |state| state.prune_groups(keep, of, dim))
}

/// Prunes elements of all parameters together that a selector picks, so that each loses its share of the least.
///
/// # Errors
///
/// As [`l1_unstructured`].
pub fn global_unstructured<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    score: Score,
    amount: Amount,
) -> Result<Vec<String>> {
    const OP: &str = "global_unstructured";
    let selector = selector.into_selector()?;
    // A first pass over a copy of the masks sees all scores; the second writes what it chose.
    let mut all: Vec<State> = Vec::new();
    replace(module.as_module_mut(), OP, selector.clone(), &mut |_, parameter| {
        all.push(State::of(parameter)?);
        Ok(parameter.clone())
    })?;
    let mut joined = State {
        values: all.iter().flat_map(|state| state.values.iter().copied()).collect(),
        kept: all.iter().flat_map(|state| state.kept.iter().copied()).collect(),
        shape: Vec::new(),
        dtype: all.first().map_or(DType::F32, |state| state.dtype),
    };
    joined.prune_elements(score, amount).context(|| OP)?;
    let mut kept = joined.kept.into_iter();
    masked(module.as_module_mut(), OP, selector, &mut |state| {
        state.kept.iter_mut().zip(&mut kept).for_each(|(to, from)| *to = from);
        Ok(())
    })
}

/// Prunes where a mask is 0, in each parameter that a selector picks.
///
/// # Errors
///
/// As [`identity`]; if the mask has another shape than a parameter.
pub fn custom_from_mask<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    mask: &Tensor,
) -> Result<Vec<String>> {
    let given = mask.detach().ne(0)?.to_vec::<bool>()?;
    masked(module.as_module_mut(), "custom_from_mask", selector, &mut |state| {
        if state.shape != mask.shape() {
            return Err(Error::shape(format!(
                "the mask has shape {:?}, the parameter {:?}",
                mask.shape(),
                state.shape
            )));
        }
        state.kept.iter_mut().zip(&given).for_each(|(kept, given)| *kept &= given);
        Ok(())
    })
}

/// Makes pruned parameters that a selector picks ordinary ones, with zeros for what was pruned.
///
/// The tensor stays the one that optimisers hold.
///
/// # Errors
///
/// If the selector cannot be parsed or picks a parameter that is not pruned. Nothing is changed then.
pub fn remove<M: Module + ?Sized>(module: &mut M, selector: impl IntoSelector) -> Result<Vec<String>> {
    let mut values = Vec::new();
    let names = replace(module.as_module_mut(), "remove", selector, &mut |_, parameter| {
        let form = parameter.form().filter(|form| is_masked(form));
        match form.map(Form::originals) {
            Some([original]) => {
                values.push((original.tensor().clone(), parameter.value()?.detach()));
                Ok(Param::put_back(original.tensor().clone()))
            }
            _ => Err(Error::argument("the parameter is not pruned")),
        }
    })?;
    crate::no_grad(|| values.iter().try_for_each(|(original, value)| original.copy_(value)))?;
    Ok(names)
}

/// Whether a form is a mask; what users register has other keys, whatever its name.
fn is_masked(form: &Form) -> bool {
    form.keys() == KEYS && form.steps()[0].type_name() == "Masked"
}

/// Whether a parameter of a module, or of one below it, is pruned.
pub fn is_pruned<M: Module + ?Sized>(module: &M) -> bool {
    let mut any = false;
    each_declared(module.as_module(), &mut String::new(), &mut |_, parameter| {
        any |= parameter.form().is_some_and(is_masked);
    });
    any
}

/// A parameter while it is pruned: its values as a forward sees them, and what its mask keeps.
struct State {
    values: Vec<f64>,
    kept: Vec<bool>,
    shape: Vec<usize>,
    dtype: DType,
}

impl State {
    fn of(parameter: &Param) -> Result<Self> {
        let values = parameter.value()?.detach().to(DType::F64)?.to_vec::<f64>()?;
        let kept = match mask_of(parameter)? {
            Some(mask) => mask.ne(0)?.to_vec::<bool>()?,
            None => vec![true; values.len()],
        };
        Ok(Self { values, kept, shape: parameter.shape().to_vec(), dtype: parameter.dtype() })
    }

    fn prune_elements(&mut self, score: Score, amount: Amount) -> Result<()> {
        let left: Vec<usize> = (0..self.kept.len()).filter(|&i| self.kept[i]).collect();
        let count = amount.of(left.len())?;
        if count == 0 {
            return Ok(());
        }
        let stays = match score {
            Score::L1 => {
                let values: Vec<f64> = left.iter().map(|&i| self.values[i]).collect();
                choice::cut_values(&values, count, false)?
            }
            // PyTorch prunes the greatest of the random numbers.
            Score::Random => {
                let drawn = Tensor::rand([left.len()], self.dtype)?.to(DType::F64)?.to_vec::<f64>()?;
                choice::cut_values(&drawn, count, true)?
            }
        };
        left.into_iter().zip(stays).for_each(|(i, stays)| self.kept[i] = stays);
        Ok(())
    }

    fn prune_groups(&mut self, keep: usize, of: usize, dim: isize) -> Result<()> {
        let (size, inner) = choice::axis(&self.shape, dim)?;
        if of == 0 || keep > of || !size.is_multiple_of(of) {
            return Err(Error::shape(format!(
                "{keep} of {of} elements along dimension {dim} of shape {:?}",
                self.shape
            )));
        }
        // The bits of magnitudes compare as they do.
        let keys: Vec<u64> = self.values.iter().map(|x| x.abs().to_bits()).collect();
        let stays = choice::n_of_m(&keys, keep, of, inner);
        self.kept.iter_mut().zip(stays).for_each(|(kept, stays)| *kept &= stays);
        Ok(())
    }

    /// Prunes slices by their norm, or at random.
    fn prune_slices(&mut self, norm: Option<f64>, amount: Amount, dim: isize) -> Result<()> {
        let (size, inner) = choice::axis(&self.shape, dim)?;
        let slice = |i: usize| i / inner.max(1) % size;
        let mut alive = vec![false; size];
        (0..self.kept.len()).filter(|&i| self.kept[i]).for_each(|i| alive[slice(i)] = true);
        let left: Vec<usize> = (0..size).filter(|&s| alive[s]).collect();
        let count = amount.of(left.len())?;
        if count == 0 {
            return Ok(());
        }
        let scores = match norm {
            Some(n) => {
                let mut norms = choice::SliceNorms::new(n, size, inner);
                norms.add(0, &self.values);
                let norms = norms.scores();
                left.iter().map(|&s| norms[s]).collect()
            }
            None => Tensor::rand([left.len()], DType::F32)?.to(DType::F64)?.to_vec::<f64>()?,
        };
        let mut gone = vec![false; size];
        choice::least(&scores, count).into_iter().for_each(|i| gone[left[i]] = true);
        let slices: Vec<usize> = (0..self.kept.len()).map(slice).collect();
        self.kept.iter_mut().zip(slices).for_each(|(kept, slice)| *kept &= !gone[slice]);
        Ok(())
    }
}

/// The mask of a pruned parameter.
fn mask_of(parameter: &Param) -> Result<Option<Tensor>> {
    let Some(form) = parameter.form() else { return Ok(None) };
    let mut mask = None;
    form.steps()[0].fields(&mut |name, field| {
        if let (Some(Leaf::Buffer(buffer)), "_mask") = (field.leaf(), name) {
            mask = Some(buffer.tensor().clone());
        }
    });
    if mask.is_none() {
        return Err(Error::argument("the parameter is parametrised, so it cannot be pruned"));
    }
    Ok(mask)
}

/// Gives the picked parameters the masks that a function makes of those that they have.
fn masked(
    module: &mut dyn Module,
    op: &str,
    selector: impl IntoSelector,
    change: &mut dyn FnMut(&mut State) -> Result<()>,
) -> Result<Vec<String>> {
    replace(module, op, selector, &mut |_, parameter| with_mask(parameter, change))
}

/// A parameter with the mask that a function makes of the one that it has.
fn with_mask(parameter: &Param, change: &mut dyn FnMut(&mut State) -> Result<()>) -> Result<Param> {
    let mut state = State::of(parameter)?;
    change(&mut state)?;
    let ones: Vec<f64> = state.kept.iter().map(|&kept| f64::from(u8::from(kept))).collect();
    let mask = Tensor::from_vec(ones, &state.shape[..])?.to(state.dtype)?;
    let original = match parameter.form() {
        Some(form) => form.originals()[0].clone(),
        None => parameter.clone(),
    };
    computed(pruned(original, &mask), parameter)
}

/// How a pruned parameter is computed.
fn pruned(original: Param, mask: &Tensor) -> Form {
    Form::new(vec![original], Box::new(Masked { mask: Buffer::new(mask) }), KEYS)
}
