//! Loading a state dict: all faults first, then all copies.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::module::{Leaf, Module};
use super::state_dict::StateDict;
use super::walk::{Item, Want, walk};
use crate::select::near::nearest;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result, no_grad};

/// How well a state dict must fit a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// The names must be the same. The default, as in PyTorch.
    #[default]
    Strict,
    /// Names may be missing or unexpected, which the report says. PyTorch's `strict=False`, but for one thing: if no
    /// name fits at all, it is an error.
    Lenient,
}

/// What becomes of values whose dtype is not the module's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DTypes {
    /// They are converted to the module's dtype, which the report says. The default, as in PyTorch.
    #[default]
    Convert,
    /// They are an error.
    Exact,
}

/// What loading a state dict did; or, as the text of an error, why it did nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// The names that were copied, in the module's order.
    pub loaded: Vec<String>,
    /// The names that the module has and the state dict has not.
    pub missing: Vec<Unmatched>,
    /// The names that the state dict has and the module has not.
    pub unexpected: Vec<Unmatched>,
    /// The names whose shapes differ, or whose dtypes cannot be converted.
    pub mismatched: Vec<Mismatch>,
    /// The names whose values were converted from another dtype.
    pub converted: Vec<Mismatch>,
    /// The `num_batches_tracked` of batch normalisations that the state dict has not, and that kept their values: files
    /// from before PyTorch 0.4.1 have none, and PyTorch too takes a state dict without a version for one of them.
    pub kept: Vec<String>,
    /// Pairs of names that are one parameter here, but differ in the state dict.
    pub conflicting: Vec<(String, String)>,
    /// What would make most names fit, such as a prefix to remove.
    pub hint: Option<String>,
}

/// A name without counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The name.
    pub name: String,
    /// A name on the other side, without counterpart too, that is near.
    pub near: Option<String>,
}

/// A name with a counterpart of another shape or dtype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The name.
    pub name: String,
    /// Shape and dtype in the module.
    pub here: (Dims, DType),
    /// Shape and dtype in the state dict.
    pub given: (Dims, DType),
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.near {
            Some(near) => write!(f, "{} (near `{near}`)", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((here, here_dtype), (given, given_dtype)) = (&self.here, &self.given);
        write!(f, "{} (here {here:?} {here_dtype}, given {given:?} {given_dtype})", self.name)
    }
}

impl LoadReport {
    /// Whether the names were the same, but for [`kept`](Self::kept) ones, and all were copied.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }

    fn faults(&self) -> Vec<String> {
        fn list(what: &str, items: &[impl fmt::Display]) -> Option<String> {
            let names: Vec<String> = items.iter().map(ToString::to_string).collect();
            (!names.is_empty()).then(|| format!("{} {what}: {}", names.len(), names.join(", ")))
        }
        let conflicts: Vec<String> = self.conflicting.iter().map(|(a, b)| format!("{a} and {b}")).collect();
        [
            list("missing", &self.missing),
            list("unexpected", &self.unexpected),
            list("of another shape or dtype", &self.mismatched),
            list("tied here but different there", &conflicts),
            self.hint.clone(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", self.loaded.len())?;
        if !self.converted.is_empty() {
            write!(f, ", {} of them converted", self.converted.len())?;
        }
        if !self.kept.is_empty() {
            write!(f, "; {} kept, not in the state dict: {}", self.kept.len(), self.kept.join(", "))?;
        }
        for fault in self.faults() {
            write!(f, "; {fault}")?;
        }
        Ok(())
    }
}

/// The tensor of a leaf that belongs in a state dict.
pub(super) fn saved<'a>(leaf: &Leaf<'a>) -> Option<&'a Tensor> {
    match leaf {
        Leaf::Param(parameter) => Some(parameter.tensor()),
        Leaf::Buffer(buffer) if buffer.is_persistent() => Some(buffer.tensor()),
        _ => None,
    }
}

/// Named tensors to be loaded, in memory or in a file.
pub(super) trait Given {
    /// The shape and the dtype of a name.
    fn lookup(&self, name: &str) -> Option<(&[usize], DType)>;

    /// All names, in order.
    fn names(&self) -> Vec<&str>;

    /// Whether two names have the same values.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read.
    fn same(&self, a: &str, b: &str) -> Result<bool>;

    /// Copies values to tensors of the same shapes.
    ///
    /// # Errors
    ///
    /// Fails, naming the tensor, when one cannot be read or written.
    fn copy(&self, copies: &[Copy<'_>]) -> Result<()>;
}

/// A name and the tensor that its values go to.
pub(super) type Copy<'a> = (&'a str, &'a Tensor);

impl Given for StateDict {
    fn lookup(&self, name: &str) -> Option<(&[usize], DType)> {
        self.tensor(name).map(|tensor| (tensor.shape(), tensor.dtype()))
    }

    fn names(&self) -> Vec<&str> {
        Self::names(self).collect()
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (a, b) = (self.get(a)?, self.get(b)?);
        let one_view = a.shares_storage(b) && a.layout() == b.layout();
        Ok(one_view || (a.dtype() == b.dtype() && a.to_bytes()? == b.to_bytes()?))
    }

    fn copy(&self, copies: &[Copy<'_>]) -> Result<()> {
        let copy = |(name, to): &Copy<'_>| to.copy_(self.get(name)?).map(drop).context(|| place(name));
        no_grad(|| copies.iter().try_for_each(copy))
    }
}

/// Where a copy fails.
pub(super) fn place(name: &str) -> String {
    format!("load_state_dict: {name}")
}

pub(super) fn load(
    module: &dyn Module,
    state: &dyn Given,
    how: Strictness,
    dtypes: DTypes,
) -> Result<LoadReport> {
    let mut targets: Vec<(String, &Tensor)> = Vec::new();
    let (mut is_batch_norm, mut counters) = (false, HashSet::new());
    walk(module, Want::Everything, &mut |path, item| match item {
        Item::Module(module) => is_batch_norm = module.type_name().starts_with("BatchNorm"),
        Item::Leaf(leaf) => {
            if let Leaf::Param(parameter) = leaf {
                parameter.set_label(path);
            }
            if let Some(tensor) = saved(&leaf) {
                if is_batch_norm && path.rsplit('.').next() == Some("num_batches_tracked") {
                    counters.insert(path.to_owned());
                }
                targets.push((path.to_owned(), tensor));
            }
        }
    });
    if targets.is_empty() {
        let name = module.type_name();
        return Err(Error::load(format!(
            "load_state_dict: the module {name} has no parameters or buffers to load into"
        )));
    }
    let (report, copies) = compare(&targets, &counters, state, dtypes)?;
    let strict_fault = how == Strictness::Strict && !(report.is_complete() && report.conflicting.is_empty());
    if strict_fault || !report.mismatched.is_empty() || copies.is_empty() {
        let mut faults = report.faults();
        if copies.is_empty() && report.mismatched.is_empty() {
            let ask = if report.hint.is_none() { ": is it of another architecture?" } else { "" };
            faults.insert(0, format!("no name of the state dict fits the module{ask}"));
        }
        return Err(Error::load(format!("load_state_dict: {}", faults.join("; "))));
    }
    state.copy(&copies)?;
    Ok(report)
}

/// What is to be copied, and what stands against it.
fn compare<'a>(
    targets: &'a [(String, &'a Tensor)],
    counters: &HashSet<String>,
    state: &'a dyn Given,
    dtypes: DTypes,
) -> Result<(LoadReport, Vec<Copy<'a>>)> {
    let mut report = LoadReport::default();
    let mut copies = Vec::new();
    let mut sources: HashMap<usize, &str> = HashMap::new();
    for (name, here) in targets {
        let Some((shape, dtype)) = state.lookup(name) else { continue };
        let mismatch = || Mismatch {
            name: name.clone(),
            here: (here.shape().into(), here.dtype()),
            given: (shape.into(), dtype),
        };
        let convertible =
            dtypes == DTypes::Convert && here.dtype().elem().is_some() && dtype.elem().is_some();
        if here.shape() != shape || (here.dtype() != dtype && !convertible) {
            report.mismatched.push(mismatch());
            continue;
        }
        if here.dtype() != dtype {
            report.converted.push(mismatch());
        }
        match sources.get(&here.id()) {
            Some(first) if !state.same(first, name)? => {
                report.conflicting.push(((*first).to_owned(), name.clone()));
            }
            _ => drop(sources.insert(here.id(), name)),
        }
        report.loaded.push(name.clone());
        copies.push((name.as_str(), *here));
    }
    let (kept, missing): (Vec<&str>, Vec<&str>) = targets
        .iter()
        .filter(|(name, here)| state.lookup(name).is_none() && !sources.contains_key(&here.id()))
        .map(|(name, _)| name.as_str())
        .partition(|name| counters.contains(*name));
    report.kept = kept.into_iter().map(str::to_owned).collect();
    let known: HashSet<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
    let mut unexpected = state.names();
    unexpected.retain(|name| !known.contains(name));
    report.hint = prefix_hint(&missing, &unexpected);
    report.missing = unmatched(&missing, &unexpected, report.hint.is_some());
    report.unexpected = unmatched(&unexpected, &missing, report.hint.is_some());
    Ok((report, copies))
}

/// So many names get the name on the other side that is near; each costs a look at all of those.
const WITH_NEAR: usize = 20;

fn unmatched(names: &[&str], others: &[&str], explained: bool) -> Vec<Unmatched> {
    let near = |i: usize, name: &str| {
        let wanted = i < WITH_NEAR && !explained;
        wanted.then(|| nearest(name, others.iter().copied())).flatten().map(str::to_owned)
    };
    names
        .iter()
        .enumerate()
        .map(|(i, name)| Unmatched { name: (*name).to_owned(), near: near(i, name) })
        .collect()
}

/// Names the prefix that one side has and the other has not, if that explains most of the names.
fn prefix_hint(missing: &[&str], unexpected: &[&str]) -> Option<String> {
    let prefix = |long: &[&str], short: &[&str]| -> Option<String> {
        let first = short.first()?;
        let prefix = long.iter().find_map(|name| {
            let prefix = name.strip_suffix(first)?;
            prefix.ends_with('.').then(|| prefix.to_owned())
        })?;
        let long: HashSet<&str> = long.iter().copied().collect();
        let explained = short.iter().filter(|name| long.contains(format!("{prefix}{name}").as_str())).count();
        (explained > 1 && 2 * explained > short.len()).then_some(prefix)
    };
    prefix(unexpected, missing)
        .map(|p| format!("the names of the state dict begin with `{p}`, those of the module do not"))
        .or_else(|| {
            prefix(missing, unexpected)
                .map(|p| format!("the names of the module begin with `{p}`, those of the state dict do not"))
        })
}
