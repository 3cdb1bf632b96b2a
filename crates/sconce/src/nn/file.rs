//! Modules from files and to files.

use std::collections::HashSet;
use std::path::Path;

use indexmap::IndexMap;

use super::ext::ModuleExt;
use super::load::{self, Copy, DTypes, Given, LoadReport, Strictness};
use super::module::Module;
use super::state_dict::StateDict;
use crate::io::{self, Archive, Entry};
use crate::select::near::did_you_mean;
use crate::tensor::DType;
use crate::{Context, Error, Result, no_grad};

/// How a file is loaded into a module; strictly and with all of its names unless said otherwise.
///
/// A [`Strictness`] alone serves as options too.
///
/// ```
/// use sconce::nn::{LoadOptions, Strictness};
///
/// let options = LoadOptions {
///     prefix: "model".into(),
///     rename: vec![("backbone".into(), "features".into())],
///     ..Strictness::Lenient.into()
/// };
/// assert_eq!(options.strictness, Strictness::Lenient);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// How well the names must fit.
    pub strictness: Strictness,
    /// Takes only the names below this path, without it: `model` takes `model.fc.weight` as `fc.weight`. All names if
    /// empty.
    pub prefix: String,
    /// Leading paths and what stands for them, after the prefix is gone: `("backbone", "features")` takes
    /// `backbone.0.weight` as `features.0.weight`. Of several that fit a name the first counts; an empty path adds the
    /// other to every name.
    pub rename: Vec<(String, String)>,
    /// What becomes of values of another dtype.
    pub dtypes: DTypes,
}

impl From<Strictness> for LoadOptions {
    fn from(strictness: Strictness) -> Self {
        Self { strictness, ..Self::default() }
    }
}

/// What is left of a name below a path; the path itself leaves nothing.
fn below<'a>(path: &str, name: &'a str) -> Option<&'a str> {
    match name.strip_prefix(path)? {
        rest if path.is_empty() || rest.is_empty() => Some(rest),
        rest => rest.strip_prefix('.'),
    }
}

impl LoadOptions {
    /// The names to load and what the module calls them, as indices of `names`.
    fn apply(&self, names: &[&str]) -> Result<Vec<(usize, String)>> {
        let picked: Vec<(usize, &str)> =
            names.iter().enumerate().filter_map(|(i, name)| Some((i, below(&self.prefix, name)?))).collect();
        let unknown = |what: &str, path: &str| {
            let mut paths: Vec<&str> =
                names.iter().map(|name| name.split('.').next().unwrap_or(name)).collect();
            paths.dedup();
            let count = names.len();
            Error::load(format!("{what} `{path}` fits none of {count} names{}", did_you_mean(path, paths)))
        };
        if picked.is_empty() && !self.prefix.is_empty() {
            return Err(unknown("the prefix", &self.prefix));
        }
        let mut used = vec![false; self.rename.len()];
        let mut seen = HashSet::new();
        let mut renamed = Vec::with_capacity(picked.len());
        for (i, name) in picked {
            let mut rules = self.rename.iter().enumerate();
            let rule = rules.find_map(|(r, (from, to))| below(from, name).map(|rest| (r, to, rest)));
            let name = match rule {
                Some((r, to, rest)) => {
                    used[r] = true;
                    let dot = if to.is_empty() || rest.is_empty() { "" } else { "." };
                    format!("{to}{dot}{rest}")
                }
                None => name.to_owned(),
            };
            if !seen.insert(name.clone()) {
                return Err(Error::load(format!("two tensors are named `{name}` after renaming")));
            }
            renamed.push((i, name));
        }
        match used.iter().position(|used| !used) {
            Some(rule) => Err(unknown("the path to rename", &self.rename[rule].0)),
            None => Ok(renamed),
        }
    }
}

pub(super) fn load(module: &dyn Module, path: &Path, options: &LoadOptions) -> Result<LoadReport> {
    let mut archive = io::open(path)?;
    // Errors get the path below.
    archive.set_name("");
    let file = || path.display().to_string();
    let names: Vec<&str> = archive.entries().iter().map(io::Entry::name).collect();
    let picked = options.apply(&names).context(file)?;
    let entries: IndexMap<_, _> = picked.into_iter().map(|(i, name)| (name, &archive.entries()[i])).collect();
    if let Some(packed) = entries.values().find(|e| e.encoding().dtype().is_none()) {
        // An error, which says why.
        archive.tensor(packed).context(file)?;
    }
    let stored = Stored { archive: &archive, entries };
    load::load(module, &stored, options.strictness, options.dtypes).context(file)
}

/// Tensors of a file under the names that they are loaded by.
struct Stored<'a> {
    archive: &'a Archive,
    entries: IndexMap<String, &'a Entry>,
}

impl Given for Stored<'_> {
    fn lookup(&self, name: &str) -> Option<(&[usize], DType)> {
        let entry = self.entries.get(name)?;
        Some((entry.shape(), entry.encoding().dtype()?))
    }

    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (a, b) = (self.entries[a], self.entries[b]);
        let place = |e: &Entry| (e.encoding(), e.storage(), e.offset(), e.strides().to_vec());
        Ok(place(a) == place(b)
            || (a.encoding() == b.encoding() && self.archive.read(a)? == self.archive.read(b)?))
    }

    fn copy(&self, copies: &[Copy<'_>]) -> Result<()> {
        let pairs: Vec<_> = copies.iter().map(|(name, to)| (self.entries[*name], *to)).collect();
        let others = self.archive.fill_tensors(&pairs)?;
        no_grad(|| {
            others
                .iter()
                .try_for_each(|(i, from)| copies[*i].1.copy_(from).context(|| load::place(copies[*i].0)))
        })
    }
}

pub(super) fn export(state: &StateDict, path: &Path) -> Result<()> {
    match io::Text::of(path) {
        Some(text) => text.write(path, state.iter()),
        None => io::save(path, state),
    }
}

pub(super) fn save(module: &dyn Module, path: &Path) -> Result<()> {
    let state = module.state_dict();
    if state.is_empty() {
        let name = module.type_name();
        return Err(Error::argument(format!("the module {name} has no parameters or buffers to save"))
            .context(path.display().to_string()));
    }
    io::save(path, &state)
}
