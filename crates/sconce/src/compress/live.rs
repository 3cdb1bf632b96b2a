//! The same edits on tensors in memory.

use std::collections::HashSet;

use super::edit::{Action, Edit};
use super::report::Report;
use crate::autograd::no_grad;
use crate::io::{self, display_name};
use crate::random::{fork_rng, manual_seed};
use crate::select::{Candidate, near};
use crate::tensor::Tensor;
use crate::{Context, Error, Result};

/// Applies edits to named tensors in place, without recording gradients; returns what changed.
///
/// A module's are its `named_parameters` or its state dict. Tensors that share memory are edited once if they are the
/// same elements. `init` draws the numbers that it draws in files and leaves the global generator alone.
///
/// ```
/// use sconce::compress::{Edit, edit_tensors};
/// use sconce::nn::{Linear, ModuleExt};
///
/// let layer = Linear::new(4, 3)?;
/// let state = layer.state_dict();
/// let named: Vec<_> = state.iter().map(|(name, x)| (name, x)).collect();
/// edit_tensors(&named, &[Edit::parse("fill **.bias 1")?, Edit::parse("scale weight 0")?])?;
/// assert_eq!(layer.bias.as_ref().unwrap().to_vec::<f32>()?, [1.0; 3]);
/// assert_eq!(layer.weight.to_vec::<f32>()?, [0.0; 12]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails as [`edit_archive`](super::edit_archive) does, and on edits that change what a module is made of: `cast`,
/// `tie`, `untie`, `rename`, `drop` and `keep`. Edits before the one that fails are done.
pub fn edit_tensors<N: AsRef<str>>(tensors: &[(N, &Tensor)], edits: &[Edit]) -> Result<Report> {
    let mut report = Report::default();
    for edit in edits {
        let apply = || no_grad(|| apply(tensors, edit, &mut report));
        fork_rng(apply).context(|| format!("edit `{edit}`"))?;
    }
    Ok(report)
}

fn apply<N: AsRef<str>>(tensors: &[(N, &Tensor)], edit: &Edit, report: &mut Report) -> Result<()> {
    let structure = || Error::unsupported("it changes what a module is made of, so it applies to files only");
    let selector = edit.selector.as_ref().ok_or_else(structure)?;
    let candidates = tensors.iter().map(|(name, x)| Candidate {
        path: name.as_ref(),
        kind: None,
        dtype: x.dtype(),
        shape: x.shape(),
        trainable: Some(x.requires_grad()),
    });
    let selection = selector.select(candidates)?;
    let picked: HashSet<&str> = selection.names().iter().map(String::as_str).collect();
    let source = |name: &str| {
        let found = tensors.iter().find(|(n, _)| n.as_ref() == name).map(|(_, x)| (*x).clone());
        let names: Vec<&str> = tensors.iter().map(|(n, _)| n.as_ref()).collect();
        let hint = || near::did_you_mean_below(name, &names);
        found.ok_or_else(|| Error::not_found(format!("no tensor is named {}{}", display_name(name), hint())))
    };
    let file = match &edit.action {
        Action::From(path) => Some(io::open(path)?),
        _ => None,
    };
    if let Action::Init(_, seed) = &edit.action {
        manual_seed(*seed);
    }
    let mut done: Vec<&Tensor> = Vec::new();
    for (name, x) in tensors.iter().filter(|(name, _)| picked.contains(name.as_ref())) {
        let name = name.as_ref();
        if done.iter().any(|other| same_view(other, x)) {
            continue;
        }
        let result = match &edit.action {
            Action::Fill(value) => x.fill_(*value),
            Action::Map(map) => map.apply_(x),
            Action::Init(distribution, _) => distribution.resolve(x.shape()).and_then(|draw| draw.fill_(x)),
            Action::Copy(name) => source(name).and_then(|from| assign(x, &from)),
            Action::From(_) => match file.as_ref().and_then(|file| Some((file, file.get(name)?))) {
                Some((file, entry)) => {
                    let dtype = entry.encoding().dtype();
                    let dtype = dtype.ok_or_else(|| Error::unsupported("packed elements"))?;
                    let bytes = file.read(entry)?;
                    assign(x, &Tensor::from_bytes(&bytes, dtype, entry.shape())?)
                }
                None => Err(Error::not_found("the file has no tensor of this name")),
            },
            _ => Err(structure()),
        };
        result.context(|| display_name(name))?;
        let same = |(n, other): &&(N, &Tensor)| !picked.contains(n.as_ref()) && same_view(other, x);
        let also = tensors.iter().filter(same).map(|(n, _)| n.as_ref().to_owned()).collect();
        report.push(name, &*edit.what, also);
        done.push(x);
    }
    Ok(())
}

fn assign(to: &Tensor, from: &Tensor) -> Result<()> {
    if to.shape() != from.shape() {
        return Err(Error::shape(format!("expected shape {:?}, found {:?}", to.shape(), from.shape())));
    }
    to.copy_(from)
}

pub(super) fn same_view(a: &Tensor, b: &Tensor) -> bool {
    a.shares_storage(b)
        && (a.storage_offset(), a.shape(), a.strides()) == (b.storage_offset(), b.shape(), b.strides())
}
