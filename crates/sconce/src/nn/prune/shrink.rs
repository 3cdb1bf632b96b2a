//! Models without the channels that are 0.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::channels::traced;
use super::trace::{Declared, Slice};
use super::{mask_of, pruned};
use crate::nn::ext::each_leaf;
use crate::nn::form::computed;
use crate::nn::leaf::{Buffer, Param};
use crate::nn::module::{Leaf, LeafMut, Module};
use crate::nn::record::output;
use crate::nn::walk::{each_declared, each_leaf_mut, owner_of};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Context, Error, Result, no_grad};

/// What [`shrink`] did; printed, a line per tensor.
#[derive(Clone, Debug, Default)]
pub struct Shrunk {
    /// Names with the shapes before and after, parameters and buffers.
    pub changes: Vec<(String, Dims, Dims)>,
    /// Parameters that took the place of others, by the identity of those.
    moved: HashMap<usize, Moved>,
}

/// A parameter that took the place of another one.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) names: Vec<String>,
    pub(crate) tensor: Tensor,
    /// What is left along each dimension.
    left: Left,
}

/// Indices along dimensions.
type Left = Vec<(usize, Tensor)>;

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.changes.iter().map(|(name, from, to)| format!("{name}: {from:?} to {to:?}"));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Shrunk {
    /// What took the place of a parameter.
    pub(crate) fn moved(&self, tensor: &Tensor) -> Option<&Moved> {
        self.moved.get(&tensor.id())
    }
}

impl Moved {
    /// A buffer that belongs to the parameter that was there, of its shape `old` or with 1 in place of some sizes, for this
    /// one.
    pub(crate) fn cut(&self, buffer: &Tensor, old: &[usize]) -> Result<Tensor> {
        if buffer.dim() != old.len() {
            return Ok(buffer.clone());
        }
        let cut = |(dim, _): &&(usize, Tensor)| buffer.shape()[*dim] == old[*dim];
        let left: Left = self.left.iter().filter(cut).cloned().collect();
        no_grad(|| remaining(buffer, &left))
    }
}

/// Removes the channels that are 0 whatever the input, masked ones and others, from all parameters and buffers that have
/// a part for them: layers get smaller, and the output stays what it was.
///
/// Which channels belong together is found as by [`channels`](super::channels()); a group that has to stay stays. A
/// parameter of which nothing is masked any more is an ordinary one again, and gradients are dropped. Optimisers are
/// made afterwards, or told by [`Optimizer::follow`](crate::optim::Optimizer::follow), which keeps their state.
///
/// The forward runs once more at the end. A model that says its sizes elsewhere, as in `x.view([-1, 64 * 7 * 7])`, fails
/// there: write `x.flatten(1, -1)`.
///
/// # Errors
///
/// If no channel is 0, or all of a group are; if the smaller model's forward fails or gives another output (by more than a
/// thousandth of the greatest element); as [`channels`](super::channels()). Nothing is changed then.
///
/// ```
/// use sconce::nn::{Layer, Linear, ModuleExt, ReLU, Sequential, prune};
/// use sconce::{DType, Tensor};
///
/// let (first, last) = (Linear::new(4, 3)?, Linear::new(3, 2)?);
/// // A unit whose weights and bias are 0, as a mask or an edit leaves it.
/// sconce::no_grad(|| {
///     first.weight.narrow(0, 1, 1)?.zero_()?;
///     first.bias.as_ref().unwrap().narrow(0, 1, 1)?.zero_()
/// })?;
/// let mut net = Sequential::new().add(first).add(ReLU).add(last);
/// let x = Tensor::randn([5, 4], DType::F32)?;
/// let before = net.forward(&x)?;
///
/// prune::shrink(&mut net, |net| net.forward(&x))?;
/// assert_eq!(net.get_parameter("0.weight")?.shape(), [2, 4]);
/// assert_eq!(net.get_parameter("2.weight")?.shape(), [2, 2]);
/// assert!(net.forward(&x)?.allclose(&before, 1e-5, 1e-6, false)?);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn shrink<M: Module + ?Sized>(module: &mut M, forward: impl Fn(&M) -> Result<Tensor>) -> Result<Shrunk> {
    const OP: &str = "shrink";
    let (parameters, groups, before) = traced(module, &forward).context(|| OP)?;
    let mut gone: HashMap<(usize, usize), BTreeSet<usize>> = HashMap::new();
    for group in &groups {
        if group.shown.zero == 0 {
            continue;
        }
        if group.shown.zero == group.shown.count {
            return Err(Error::argument(format!("{OP}: all {}", group.shown)));
        }
        for class in group.classes.iter().filter(|class| !class.live) {
            for Slice { parameter, dim, index } in class.makes.iter().chain(&class.reads) {
                gone.entry((*parameter, *dim)).or_default().insert(*index);
            }
        }
    }
    if gone.is_empty() {
        return Err(Error::argument(format!("{OP}: no channel that could go is 0")));
    }
    let mut plan = no_grad(|| Plan::new(module.as_module(), &parameters, &gone)).context(|| OP)?;
    plan.swap(module.as_module_mut());
    let result = output(module, &forward).context(|| "the smaller model").and_then(|after| {
        let far = no_grad(|| distance(&before, &after))?;
        if far <= 1e-3 {
            Ok(())
        } else {
            Err(Error::argument(format!(
                "the smaller model's output differs by {far:.1e} of its greatest element"
            )))
        }
    });
    if let Err(error) = result {
        plan.swap(module.as_module_mut());
        return Err(error.context(OP));
    }
    plan.replaced.iter().for_each(Tensor::set_replaced);
    Ok(plan.report)
}

/// How far an output is from another one, as a part of the greatest element.
fn distance(before: &Tensor, after: &Tensor) -> Result<f64> {
    if before.shape() != after.shape() {
        return Ok(f64::INFINITY);
    }
    if before.numel() == 0 {
        return Ok(0.0);
    }
    let (before, after) = (before.to(DType::F64)?, after.to(DType::F64)?);
    let far = before.sub(&after)?.abs()?.amax(())?.item()?;
    let greatest = before.abs()?.amax(())?.item()?;
    Ok(if far == 0.0 { 0.0 } else { far / greatest })
}

/// What takes the place of a leaf, or was there before.
enum New {
    Param(Param),
    Buffer(Buffer),
    Size(usize),
}

struct Plan {
    /// By path.
    leaves: HashMap<String, New>,
    report: Shrunk,
    /// The tensors that optimisers may hold.
    replaced: Vec<Tensor>,
}

impl Plan {
    fn new(
        module: &dyn Module,
        parameters: &[Declared],
        gone: &HashMap<(usize, usize), BTreeSet<usize>>,
    ) -> Result<Self> {
        let mut this = Self { leaves: HashMap::new(), report: Shrunk::default(), replaced: Vec::new() };
        // Sizes of layers: how much less, and by what parameter and dimension.
        let mut less: HashMap<String, Vec<(usize, &str, usize)>> = HashMap::new();
        let mut left_of: Vec<Left> = Vec::new();
        for (p, Declared { names, param, sites }) in parameters.iter().enumerate() {
            let mut left = Vec::new();
            for dim in 0..param.dim() {
                let gone = gone.get(&(p, dim));
                for (name, site) in names.iter().flat_map(|name| sites.iter().map(move |site| (name, site))) {
                    for size in site.sizes(dim) {
                        let count = gone.map_or(0, BTreeSet::len);
                        less.entry(join(owner_of(name), size)).or_default().push((count, name, dim));
                    }
                }
                let Some(gone) = gone else { continue };
                let stay: Vec<i64> =
                    (0..param.shape()[dim]).filter(|i| !gone.contains(i)).map(|i| i as i64).collect();
                let count = stay.len();
                left.push((dim, Tensor::from_vec(stay, [count])?));
            }
            if !left.is_empty() {
                this.parameter(names, param, &left).context(|| names[0].as_str())?;
            }
            left_of.push(left);
        }
        // Buffers beside the scales of normalisations.
        let norms: HashMap<&str, usize> = parameters
            .iter()
            .enumerate()
            .filter(|(p, declared)| declared.sites.contains(&Site::Norm) && !left_of[*p].is_empty())
            .flat_map(|(p, declared)| declared.names.iter().map(move |name| (name.as_str(), p)))
            .map(|(name, p)| (owner_of(name), p))
            .collect();
        let mut result = Ok(());
        each_leaf(module, &mut |path, leaf| {
            let (owner, field) = path.rsplit_once('.').unwrap_or(("", path));
            match leaf {
                Leaf::Buffer(buffer) if matches!(field, "running_mean" | "running_var") => {
                    if let (Some(&p), Ok(())) = (norms.get(owner), &result) {
                        result = this.buffer(path, buffer, &left_of[p]);
                    }
                }
                Leaf::Size(size) => {
                    let Some(less) = less.get(path) else { return };
                    match less.iter().find(|(count, ..)| *count != less[0].0) {
                        None => drop(
                            this.leaves.insert(path.to_owned(), New::Size(size.saturating_sub(less[0].0))),
                        ),
                        Some(other) if result.is_ok() => result = Err(disagree(path, less[0], *other)),
                        Some(_) => {}
                    }
                }
                _ => {}
            }
        });
        result?;
        // The report in the module's order.
        let mut order = HashMap::new();
        each_declared(module, &mut String::new(), &mut |path, _| {
            let next = order.len();
            order.insert(path.to_owned(), next);
        });
        this.report.changes.sort_by_key(|(name, ..)| order.get(name).copied().unwrap_or(usize::MAX));
        Ok(this)
    }

    fn parameter(&mut self, names: &[String], param: &Param, left: &[(usize, Tensor)]) -> Result<()> {
        let old = param.form().map_or(param, |form| &form.originals()[0]);
        let tensor = remaining(old.tensor(), left)?.requires_grad_(old.requires_grad())?;
        tensor.set_label(&names[0]);
        let new = Param::of(tensor);
        let mask = mask_of(param)?.map(|mask| remaining(&mask, left)).transpose()?;
        let masks = |mask: &Tensor| -> Result<bool> { Ok(mask.eq(0)?.any(())?.item()? != 0.0) };
        let (new, suffix) = match mask {
            Some(mask) if masks(&mask)? => (computed(pruned(new.clone(), &mask), &new)?, "_orig"),
            _ => (new, ""),
        };
        self.report.moved.insert(
            old.id(),
            Moved {
                names: names.iter().map(|name| format!("{name}{suffix}")).collect(),
                tensor: new.form().map_or(&new, |form| &form.originals()[0]).tensor().clone(),
                left: left.to_vec(),
            },
        );
        self.replaced.push(old.tensor().clone());
        for name in names {
            let change = (name.clone(), Dims::from(param.shape()), Dims::from(new.shape()));
            self.report.changes.push(change);
            self.leaves.insert(name.clone(), New::Param(new.clone()));
        }
        Ok(())
    }

    fn buffer(&mut self, path: &str, buffer: &Buffer, left: &[(usize, Tensor)]) -> Result<()> {
        let tensor = remaining(buffer.tensor(), left)?;
        let change = (path.to_owned(), Dims::from(buffer.shape()), Dims::from(tensor.shape()));
        self.report.changes.push(change);
        let new = if buffer.is_persistent() { Buffer::new(&tensor) } else { Buffer::transient(&tensor) };
        self.leaves.insert(path.to_owned(), New::Buffer(new));
        Ok(())
    }

    /// Exchanges the leaves of the plan and those of the module; twice is nothing.
    fn swap(&mut self, module: &mut dyn Module) {
        each_leaf_mut(
            module,
            &mut String::new(),
            &mut |path, leaf| match (leaf, self.leaves.get_mut(path)) {
                (LeafMut::Param(old), Some(New::Param(new))) => std::mem::swap(old, new),
                (LeafMut::Buffer(old), Some(New::Buffer(new))) => std::mem::swap(old, new),
                (LeafMut::Size(old), Some(New::Size(new))) => std::mem::swap(old, new),
                _ => {}
            },
        );
    }
}

/// What computes with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// `[out, in, …]`.
    Weight,
    /// `[in, out, …]`.
    Transposed,
    /// `[channels, 1, …]`: each channel by itself.
    Depthwise,
    /// `[channels]`, with running statistics beside it.
    Norm,
    /// `[rows, channels]`.
    Table,
}

impl Site {
    /// The sizes of a layer that are the size of a dimension.
    fn sizes(self, dim: usize) -> &'static [&'static str] {
        match (self, dim) {
            (Self::Weight, 0) | (Self::Transposed, 1) => &["out_features", "out_channels"],
            (Self::Weight, 1) | (Self::Transposed, 0) => &["in_features", "in_channels"],
            (Self::Depthwise, 0) => &["in_channels", "out_channels", "groups"],
            (Self::Norm, 0) => &["num_features"],
            (Self::Table, 1) => &["embedding_dim"],
            _ => &[],
        }
    }
}

/// A size that two dimensions of parameters make smaller by different numbers.
fn disagree(size: &str, a: (usize, &str, usize), b: (usize, &str, usize)) -> Error {
    let [a, b] = [a, b].map(|(less, name, dim)| format!("{less} less by dimension {dim} of `{name}`"));
    Error::argument(format!(
        "`{size}` would be {a}, and {b}: a parameter is used in ways that do not go together"
    ))
}

/// A tensor without what is not left of it.
fn remaining(tensor: &Tensor, left: &[(usize, Tensor)]) -> Result<Tensor> {
    left.iter().try_fold(tensor.detach(), |t, (dim, stay)| t.index_select(*dim as isize, stay))
}

fn join(owner: &str, field: &str) -> String {
    if owner.is_empty() { field.to_owned() } else { format!("{owner}.{field}") }
}
