//! Pruning: which elements are zeros from now on, as `torch.nn.utils.prune` chooses them.
//!
//! Tensors of any size are pruned in bounded memory: the place where scores are cut is found by counting them in
//! several passes, and the mask of an element is computed when it is read. Of equal scores at the cut, those that come
//! first are pruned; PyTorch's choice among them depends on its sorting. Masks of live modules
//! ([`nn::prune`](crate::nn::prune)) are chosen by the same functions.

pub(crate) mod choice;
mod keys;
mod mask;
mod structured;
mod threshold;

use std::sync::Arc;

use self::keys::{Domain, Scores};
use self::mask::{Mask, Pruned};
use super::apply::{dtype_of, put, targets};
use super::draft::Draft;
use super::draw::{Draw, Sequence, Wanted};
use super::element::element;
use crate::autograd::no_grad;
use crate::io::{Archive, Entry, ReadAt, display_name};
use crate::select::{IntoSelector, Selector};
use crate::tensor::scalar::Scalar;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// What to prune, how and how much.
///
/// ```
/// use sconce::compress::{Amount, Method, Prune, prune_archive};
/// use sconce::{DType, io::{Archive, Entry}};
///
/// let mut file = Archive::new();
/// let values = [0.1_f32, -3.0, 0.2, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
/// file.push_bytes(Entry::new("fc.weight", DType::F32, [2, 2]), values)?;
/// let prune = Prune::new("**.weight", Method::L1Unstructured, Amount::Fraction(0.5))?;
/// let (pruned, report) = prune_archive(&file, &prune)?;
/// assert_eq!((report[0].pruned, report[0].sparsity()), (2, 0.5));
/// let bytes = pruned.read(pruned.get("fc.weight").unwrap())?;
/// assert_eq!(bytes, [0.0_f32, -3.0, 0.0, 4.0].map(f32::to_le_bytes).concat());
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prune {
    selector: Selector,
    method: Method,
    amount: Amount,
    global: bool,
    layout: Layout,
}

/// How elements are chosen; the names are those of `torch.nn.utils.prune`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// The elements of the least magnitude.
    L1Unstructured,
    /// Any elements, drawn as after `torch.manual_seed(seed)`.
    RandomUnstructured {
        /// The seed.
        seed: u64,
    },
    /// The slices along a dimension whose n-norm is least.
    LnStructured {
        /// Which norm; infinities are allowed.
        n: f64,
        /// The dimension; negative ones count from the last.
        dim: isize,
    },
    /// Any slices along a dimension.
    RandomStructured {
        /// The dimension; negative ones count from the last.
        dim: isize,
        /// The seed.
        seed: u64,
    },
    /// Of every `of` neighbours along a dimension all but the `keep` of the greatest magnitude; the amount is then
    /// given, and [`Prune`]'s is not used.
    NOfM {
        /// How many stay.
        keep: usize,
        /// Of how many.
        of: usize,
        /// The dimension; negative ones count from the last.
        dim: isize,
    },
}

/// How many elements, or slices, are pruned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// This share, from 0 to 1, rounded to a whole number of them, halves to even.
    Fraction(f64),
    /// This many.
    Count(usize),
}

/// How pruning is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// Zeros in place of what is pruned.
    #[default]
    Zeros,
    /// PyTorch's reparametrisation: `weight_orig` has all values, `weight_mask` ones and zeros.
    Mask,
}

/// What was pruned of a tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sparsity {
    /// The tensor's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Elements that were pruned now.
    pub pruned: u64,
    /// Elements that are zero after it, for whatever reason.
    pub zeros: u64,
    /// Tensors that were not selected but share memory with it, and so changed as well.
    pub also: Vec<String>,
}

impl Sparsity {
    /// The number of elements.
    pub fn numel(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product()
    }

    /// The share of zeros.
    pub fn sparsity(&self) -> f64 {
        if self.numel() == 0 { 0.0 } else { self.zeros as f64 / self.numel() as f64 }
    }
}

impl Prune {
    /// Prunes each selected tensor by itself and writes zeros.
    ///
    /// # Errors
    ///
    /// Fails when the selector is malformed, a fraction is not between 0 and 1, or an N:M pattern is empty.
    pub fn new(selector: impl IntoSelector, method: Method, amount: Amount) -> Result<Self> {
        if let Amount::Fraction(x) = amount
            && !(0.0..=1.0).contains(&x)
        {
            return Err(Error::argument(format!("prune: expected a fraction from 0 to 1, found {x}")));
        }
        if let Method::NOfM { keep, of, .. } = method
            && (of == 0 || keep > of)
        {
            return Err(Error::argument(format!("prune: {keep} of {of} elements cannot stay")));
        }
        let selector = selector.into_selector()?;
        Ok(Self { selector, method, amount, global: false, layout: Layout::Zeros })
    }

    /// Cuts the scores of all selected tensors together, so that each loses its share of the least.
    ///
    /// # Errors
    ///
    /// Fails unless the method is unstructured.
    pub fn global(mut self) -> Result<Self> {
        if !matches!(self.method, Method::L1Unstructured | Method::RandomUnstructured { .. }) {
            return Err(Error::argument("prune: only unstructured pruning can be global"));
        }
        self.global = true;
        Ok(self)
    }

    /// Says how pruning is written down.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }
}

impl Amount {
    /// How many of `size` are pruned.
    pub(crate) fn of(self, size: usize) -> Result<usize> {
        match self {
            Self::Fraction(x) if !(0.0..=1.0).contains(&x) => {
                Err(Error::argument(format!("expected a fraction from 0 to 1, found {x}")))
            }
            Self::Fraction(x) => Ok((x * size as f64).round_ties_even() as usize),
            Self::Count(n) if n <= size => Ok(n),
            Self::Count(n) => Err(Error::argument(format!("cannot prune {n} of {size}"))),
        }
    }
}

/// A tensor to be pruned.
struct Job {
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    values: Arc<dyn ReadAt>,
}

impl Job {
    fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Prunes the selected tensors of an archive: returns another one, whose bytes are computed when they are read, and
/// what was pruned.
///
/// Tensors that are the same elements of one memory are pruned once.
///
/// # Errors
///
/// Fails, naming the tensor, when the selector picks nothing, the amount is greater than the tensor, the method does
/// not fit the shape, or a file cannot be read.
pub fn prune_archive(archive: &Archive, prune: &Prune) -> Result<(Archive, Vec<Sparsity>)> {
    let mut draft = Draft::new(archive)?;
    let report = prune_draft(&mut draft, prune)?;
    Ok((draft.finish()?, report))
}

/// Prunes the selected tensors of a draft.
pub(super) fn prune_draft(draft: &mut Draft<'_>, prune: &Prune) -> Result<Vec<Sparsity>> {
    let selected = draft.select(&prune.selector)?;
    let targets = targets(draft, &selected)?;
    let mut jobs = Vec::with_capacity(targets.len());
    for target in &targets {
        let slot = target.slots[0];
        let entry = &draft.slots[slot].entry;
        let job = || -> Result<Job> {
            let (dtype, values) = (dtype_of(draft, slot)?, draft.values(slot)?);
            if dtype.elem().is_none() {
                return Err(Error::dtype(format!("cannot prune {dtype}")));
            }
            Ok(Job { name: entry.name().to_owned(), shape: entry.shape().to_vec(), dtype, values })
        };
        jobs.push(job().context(|| display_name(entry.name()))?);
    }
    let masks = masks(prune, &jobs)?;
    let mut report = Vec::with_capacity(jobs.len());
    // From the last: joining moves the slots behind.
    let mut joined = Vec::new();
    for ((target, job), mask) in targets.iter().zip(jobs).zip(masks) {
        let (pruned, zeros) = mask::count(&job, &mask).context(|| display_name(&job.name))?;
        let also = if prune.layout == Layout::Zeros { target.also(draft) } else { Vec::new() };
        report.push(Sparsity { name: job.name, shape: job.shape, pruned, zeros, also });
        let one = match prune.layout {
            Layout::Zeros => None,
            Layout::Mask => Some(element(Scalar::Int(1), job.dtype)?),
        };
        let bytes = Arc::new(Pruned::new(job.values, job.dtype, mask, one));
        match prune.layout {
            Layout::Zeros => put(draft, target, bytes)?,
            Layout::Mask => {
                let slots = target.slots.iter().filter(|slot| selected.contains(slot));
                joined.extend(slots.map(|&slot| (slot, Arc::clone(&bytes))));
            }
        }
    }
    joined.sort_by_key(|(slot, _)| std::cmp::Reverse(*slot));
    for (slot, bytes) in joined {
        let entry = draft.slots[slot].entry.clone();
        let (name, encoding) = (entry.name().to_owned(), entry.encoding());
        let mask = Entry::new(format!("{name}_mask"), encoding, entry.shape());
        draft.slots[slot].entry = entry.with_name(format!("{name}_orig"));
        draft.join(slot, mask, bytes);
    }
    Ok(report)
}

/// Prunes tensors in memory, in place and without recording gradients; returns what was pruned.
///
/// ```
/// use sconce::compress::{Amount, Method, Prune, prune_tensors};
/// use sconce::Tensor;
///
/// let x = Tensor::from_vec(vec![3.0f32, -1.0, 2.0, -4.0], [4])?;
/// let prune = Prune::new("x", Method::L1Unstructured, Amount::Count(2))?;
/// prune_tensors(&[("x", &x)], &prune)?;
/// assert_eq!(x.to_vec::<f32>()?, [3.0, 0.0, 0.0, -4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails as [`prune_archive`] does, and when masks are asked for: they would change what the module is made of.
pub fn prune_tensors<N: AsRef<str>>(tensors: &[(N, &Tensor)], prune: &Prune) -> Result<Vec<Sparsity>> {
    if prune.layout == Layout::Mask {
        return Err(Error::unsupported(
            "prune: masks change what a module is made of, so they are for files only",
        ));
    }
    let mut archive = Archive::new();
    let mut distinct: Vec<(&Tensor, usize)> = Vec::new();
    for (name, x) in tensors {
        let storage = match distinct.iter().find(|(other, _)| super::live::same_view(other, x)) {
            Some(&(_, storage)) => storage,
            None => {
                let storage = archive.add_storage(Arc::new(x.to_bytes()?));
                distinct.push((x, storage));
                storage
            }
        };
        archive.push(Entry::new(name.as_ref(), x.dtype(), x.shape()), storage)?;
    }
    let (pruned, report) = prune_archive(&archive, prune)?;
    for row in &report {
        let tensor = tensors.iter().find(|(name, _)| name.as_ref() == row.name);
        if let (Some((_, x)), Some(entry)) = (tensor, pruned.get(&row.name)) {
            let values = Tensor::from_bytes(&pruned.read(entry)?, x.dtype(), x.shape())?;
            no_grad(|| x.copy_(&values)).context(|| display_name(&row.name))?;
        }
    }
    Ok(report)
}

/// The mask of each tensor.
fn masks(prune: &Prune, jobs: &[Job]) -> Result<Vec<Mask>> {
    let uniform = |job: &Job| Wanted { draw: Draw::Uniform(0.0, 1.0), dtype: job.dtype, numel: job.numel() };
    let scores: Vec<Scores> = match prune.method {
        Method::L1Unstructured => {
            let domain = Domain::of(jobs.iter().map(|job| job.dtype));
            jobs.iter().map(|job| Scores::new(Arc::clone(&job.values), job.dtype, domain, false)).collect()
        }
        Method::RandomUnstructured { seed } => {
            let drawn = Sequence::new(seed, jobs.iter().map(uniform).collect())?;
            let domain = Domain::of(jobs.iter().map(|job| job.dtype));
            drawn.tensors().zip(jobs).map(|(d, job)| Scores::new(d, job.dtype, domain, true)).collect()
        }
        Method::LnStructured { n, dim } => {
            let mask = |job: &Job| structured::least_norm(job, n, dim, prune.amount);
            return jobs.iter().map(|job| mask(job).context(|| display_name(&job.name))).collect();
        }
        Method::RandomStructured { dim, seed } => return structured::random(jobs, dim, seed, prune.amount),
        Method::NOfM { keep, of, dim } => {
            let mask = |job: &Job| structured::n_of_m(job, keep, of, dim);
            return jobs.iter().map(|job| mask(job).context(|| display_name(&job.name))).collect();
        }
    };
    if prune.global {
        let numel = jobs.iter().map(Job::numel).sum();
        return threshold::cut(scores, prune.amount.of(numel)?);
    }
    let mut masks = Vec::with_capacity(jobs.len());
    for (job, scores) in jobs.iter().zip(scores) {
        let cut = || threshold::cut(vec![scores], prune.amount.of(job.numel())?);
        masks.extend(cut().context(|| display_name(&job.name))?);
    }
    Ok(masks)
}
