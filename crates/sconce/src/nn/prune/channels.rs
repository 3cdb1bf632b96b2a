//! Channels that belong together, and masks for them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::trace::{Class, Declared, Slice, Trace};
use super::with_mask;
use crate::compress::{Amount, choice};
use crate::nn::form::replace_named;
use crate::nn::module::Module;
use crate::nn::record::recorded;
use crate::select::{Candidate, IntoSelector, Kind};
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// Channels that the same parameters make and read, such as those of a convolution; printed, in one line.
///
/// Each can be removed, but only from all of these parameters together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Channels {
    /// How many there are.
    pub count: usize,
    /// How many of them every reader sees as 0, whatever the input: what [`shrink`](super::shrink()) removes.
    pub zero: usize,
    /// The parameters that make them, each with the dimension that has an index per channel.
    pub makes: Vec<(String, usize)>,
    /// The parameters that read them, likewise.
    pub reads: Vec<(String, usize)>,
    /// Why they have to stay, if they have to.
    pub kept: Option<String>,
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |list: &[(String, usize)]| {
            list.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} channels of {}", self.count, names(&self.makes))?;
        if !self.reads.is_empty() {
            write!(f, ", read by {}", names(&self.reads))?;
        }
        if self.zero > 0 {
            write!(f, "; {} are 0", self.zero)?;
        }
        match &self.kept {
            Some(why) => write!(f, "; they stay: {why}"),
            None => Ok(()),
        }
    }
}

/// A group of channels as [`Channels`], and what each of them is made of.
pub(super) struct Group {
    pub(super) shown: Channels,
    pub(super) classes: Vec<Class>,
}

/// Which channels of a model belong together, found by following one forward.
///
/// The model is evaluated once, in evaluation mode; batch statistics stay as they are. Linear layers, convolutions and
/// their transposes (of one group, or depthwise), embeddings and batch normalisation are known; views, concatenations,
/// pooling, elementwise operations, sums and products of branches are followed. What enters any other operation, such as
/// a softmax or a layer normalisation, has to stay, and so does the output: [`Channels::kept`] says why.
///
/// # Errors
///
/// If the forward fails, or its output does not depend on a parameter.
///
/// ```
/// use sconce::nn::{BatchNorm2d, Conv2d, Layer, ReLU, Sequential, prune};
/// use sconce::{DType, Tensor};
///
/// let mut net = Sequential::new()
///     .add(Conv2d::new(3, 8, 3)?)
///     .add(BatchNorm2d::new(8)?)
///     .add(ReLU)
///     .add(Conv2d::new(8, 4, 3)?);
/// let x = Tensor::randn([1, 3, 8, 8], DType::F32)?;
/// let groups = prune::channels(&mut net, |net| net.forward(&x))?;
/// assert_eq!(
///     groups[0].to_string(),
///     "8 channels of 0.weight, 0.bias, 1.weight, 1.bias, read by 3.weight"
/// );
/// assert_eq!(groups[1].to_string(), "4 channels of 3.weight, 3.bias; they stay: they are the output");
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn channels<M: Module + ?Sized>(
    module: &mut M,
    forward: impl Fn(&M) -> Result<Tensor>,
) -> Result<Vec<Channels>> {
    let (_, groups, _) = traced(module, &forward).context(|| "channels")?;
    Ok(groups.into_iter().map(|group| group.shown).collect())
}

/// Masks whole channels: of each group that a parameter of the selection makes, those whose slices of the selected
/// parameters have the least n-norm together.
///
/// Everything that makes such a channel is masked, biases and batch normalisations too, in all branches of a sum: what
/// reads it sees 0. The masks survive training, saving and loading as those of all pruning here; [`shrink`] then removes
/// the channels without a change of the output. Returns the groups as they are after it.
///
/// [`shrink`]: super::shrink()
///
/// # Errors
///
/// If the selector cannot be parsed or picks nothing; if a parameter of the selection makes channels that have to stay;
/// if all channels of a group would go; as [`channels`]. Nothing is changed then.
///
/// ```
/// use sconce::compress::Amount;
/// use sconce::nn::{Layer, Linear, ReLU, Sequential, prune};
/// use sconce::{DType, Tensor};
///
/// let mut net = Sequential::new().add(Linear::new(4, 8)?).add(ReLU).add(Linear::new(8, 2)?);
/// let x = Tensor::randn([3, 4], DType::F32)?;
/// prune::ln_channels(&mut net, "0.weight", Amount::Fraction(0.5), 2.0, |net| net.forward(&x))?;
/// let masked = net.forward(&x)?;
///
/// let shrunk = prune::shrink(&mut net, |net| net.forward(&x))?;
/// assert_eq!(shrunk.to_string(), "\
/// 0.weight: [8, 4] to [4, 4]
/// 0.bias: [8] to [4]
/// 2.weight: [2, 8] to [2, 4]");
/// assert!(net.forward(&x)?.allclose(&masked, 1e-5, 1e-6, false)?);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn ln_channels<M: Module + ?Sized>(
    module: &mut M,
    selector: impl IntoSelector,
    amount: Amount,
    n: f64,
    forward: impl Fn(&M) -> Result<Tensor>,
) -> Result<Vec<Channels>> {
    const OP: &str = "ln_channels";
    let selector = selector.into_selector()?;
    let (parameters, groups, _) = traced(module, &forward).context(|| OP)?;
    let selection = selector
        .select(parameters.iter().flat_map(|p| p.names.iter().map(move |name| (name, &p.param))).map(
            |(path, param)| Candidate {
                path,
                kind: Some(Kind::Param),
                dtype: param.dtype(),
                shape: param.shape(),
                trainable: None,
            },
        ))
        .context(|| OP)?;
    let picked: HashSet<usize> = (0..parameters.len())
        .filter(|&p| parameters[p].names.iter().any(|name| selection.contains(name)))
        .collect();
    let mut gone: Vec<Slice> = Vec::new();
    for group in &groups {
        let selected = |slice: &&Slice| picked.contains(&slice.parameter);
        let Some(first) = group.classes[0].makes.iter().find(selected) else { continue };
        let name = &parameters[first.parameter].names[0];
        if let Some(why) = &group.shown.kept {
            let count = group.shown.count;
            return Err(Error::argument(format!("{OP}: `{name}`: its {count} channels stay: {why}")));
        }
        let alive: Vec<&Class> = group.classes.iter().filter(|class| class.live).collect();
        let scores: Vec<f64> = alive
            .iter()
            .map(|class| score(class.makes.iter().filter(selected), &parameters, n))
            .collect::<Result<_>>()?;
        let count = amount.of(alive.len()).context(|| format!("{OP}: `{name}`"))?;
        if count == alive.len() && count > 0 {
            return Err(Error::argument(format!("{OP}: `{name}`: all {count} channels would go")));
        }
        gone.extend(choice::least(&scores, count).into_iter().flat_map(|i| &alive[i].makes));
    }
    let mut by_name: HashMap<&str, Vec<Slice>> = HashMap::new();
    for slice in &gone {
        for name in &parameters[slice.parameter].names {
            by_name.entry(name).or_default().push(*slice);
        }
    }
    let names: Vec<String> = by_name.keys().map(|name| (*name).to_owned()).collect();
    replace_named(module.as_module_mut(), OP, &names, &mut |name, parameter| {
        with_mask(parameter, &mut |state| {
            for slice in &by_name[name] {
                let inner: usize = state.shape[slice.dim + 1..].iter().product();
                let size = state.shape[slice.dim];
                let kept = state.kept.iter_mut().enumerate();
                kept.filter(|(i, _)| i / inner % size == slice.index).for_each(|(_, kept)| *kept = false);
            }
            Ok(())
        })
    })?;
    channels(module, forward)
}

/// The n-norm of slices together.
fn score<'a>(slices: impl Iterator<Item = &'a Slice>, parameters: &[Declared], n: f64) -> Result<f64> {
    let parts = slices.map(|slice| {
        let value = parameters[slice.parameter].param.value()?.detach().to(DType::F64)?;
        value.select(slice.dim as isize, slice.index as isize)?.reshape([-1])
    });
    Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?.norm(n, ())?.item()
}

/// The parameters, the groups of channels and the output of a forward in evaluation mode.
pub(super) fn traced<M: Module + ?Sized>(
    module: &mut M,
    forward: &impl Fn(&M) -> Result<Tensor>,
) -> Result<(Vec<Declared>, Vec<Group>, Tensor)> {
    let mut trace = Trace::new(module.as_module());
    let output = recorded(module, forward)?;
    if output.grad_fn().is_none() {
        return Err(Error::argument("the output does not depend on a parameter: nothing was recorded"));
    }
    trace.follow(&output)?;
    let (parameters, classes) = trace.classes();
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for class in classes {
        let key = Key::of(&class);
        let place = *places.entry(key).or_insert(groups.len());
        if place == groups.len() {
            let named = |slices: &[Slice]| {
                let mut list: Vec<(String, usize)> = Vec::new();
                for slice in slices {
                    let item = (parameters[slice.parameter].names[0].clone(), slice.dim);
                    if !list.contains(&item) {
                        list.push(item);
                    }
                }
                list
            };
            let shown = Channels {
                count: 0,
                zero: 0,
                makes: named(&class.makes),
                reads: named(&class.reads),
                kept: class.kept.clone(),
            };
            groups.push(Group { shown, classes: Vec::new() });
        }
        let group = &mut groups[place];
        group.shown.count += 1;
        group.shown.zero += usize::from(class.kept.is_none() && !class.live);
        group.classes.push(class);
    }
    Ok((parameters, groups, output.detach()))
}

/// What the channels of a group have in common.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    makes: Vec<(usize, usize)>,
    reads: Vec<(usize, usize)>,
    kept: Option<String>,
}

impl Key {
    fn of(class: &Class) -> Self {
        let places = |slices: &[Slice]| {
            let mut places: Vec<_> = slices.iter().map(|slice| (slice.parameter, slice.dim)).collect();
            places.dedup();
            places
        };
        Self { makes: places(&class.makes), reads: places(&class.reads), kept: class.kept.clone() }
    }
}
