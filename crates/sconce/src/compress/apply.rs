//! Edits of the tensors of an archive.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::bytes::{Constant, Patch};
use super::cast::Cast;
use super::draft::Draft;
use super::draw::{Distribution, Sequence, Wanted};
use super::edit::{Action, Edit, encoding};
use super::element::element;
use super::rename::Rename;
use super::report::Report;
use crate::io::{self, Archive, Encoding, Entry, ReadAt, display_name};
use crate::select::near;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// Applies edits to an archive, in order: returns another one, whose bytes are computed when they are read, and what
/// changed.
///
/// Nothing is read but headers, so this is also how to find out what would change.
///
/// # Errors
///
/// Fails, naming the edit and the tensor, when a selector picks nothing, and when an edit cannot be done: the dtype
/// does not allow it, shapes differ, names collide, or the tensor overlaps another one in the same memory.
pub fn edit_archive(archive: &Archive, edits: &[Edit]) -> Result<(Archive, Report)> {
    let mut draft = Draft::new(archive)?;
    let report = apply_all(&mut draft, edits)?;
    Ok((draft.finish()?, report))
}

/// Applies edits in order.
pub(super) fn apply_all(draft: &mut Draft<'_>, edits: &[Edit]) -> Result<Report> {
    let mut report = Report::default();
    for edit in edits {
        apply(draft, edit, &mut report).context(|| format!("edit `{edit}`"))?;
    }
    Ok(report)
}

/// Casts every floating point tensor, and every tensor of blocks, to the dtype of a name; others stay.
///
/// ```
/// use sconce::compress::cast_floats;
/// use sconce::{DType, io::{Archive, Encoding, Entry}};
///
/// let mut file = Archive::new();
/// file.push_bytes(Entry::new("weight", DType::F32, [1]), 1.5_f32.to_le_bytes().to_vec())?;
/// file.push_bytes(Entry::new("steps", DType::I64, [1]), vec![0; 8])?;
/// let (half, _) = cast_floats(&file, "float16")?;
/// let dtypes: Vec<_> = half.entries().iter().map(|e| e.encoding().name()).collect();
/// assert_eq!(dtypes, ["float16", "int64"]);
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails, naming the tensor, when the dtype is unknown or a tensor cannot be converted.
pub fn cast_floats(archive: &Archive, dtype: &str) -> Result<(Archive, Report)> {
    let to = encoding(dtype)?;
    let mut draft = Draft::new(archive)?;
    let mut report = Report::default();
    let floats =
        |e: &Entry| e.quantizer().is_none() && e.encoding().dtype().is_none_or(DType::is_floating_point);
    let selected: Vec<usize> = draft.alive().filter(|&i| floats(&draft.slots[i].entry)).collect();
    cast(&mut draft, &format!("cast {dtype}"), &selected, &mut report, to)?;
    Ok((draft.finish()?, report))
}

fn apply(draft: &mut Draft<'_>, edit: &Edit, report: &mut Report) -> Result<()> {
    if let Action::Rename(rename) = &edit.action {
        return apply_rename(draft, rename, report);
    }
    let selector = edit.selector.as_ref().ok_or_else(|| Error::argument("the selector is missing"))?;
    let selected = draft.select(selector)?;
    match &edit.action {
        Action::Fill(value) => patch(draft, edit, &selected, report, |draft, i| {
            let element = element(*value, dtype_of(draft, i)?)?;
            let span = draft.span(i);
            Ok(Patch::Replace(Arc::new(Constant { element, size: span.end - span.start })))
        }),
        Action::Map(map) => patch(draft, edit, &selected, report, |draft, i| {
            let dtype = dtype_of(draft, i)?;
            map.check(dtype)?;
            Ok(Patch::Map(map.clone(), dtype))
        }),
        Action::Init(distribution, seed) => init(draft, edit, &selected, report, distribution, *seed),
        Action::Cast(to) => cast(draft, &edit.what, &selected, report, *to),
        Action::Copy(name) => {
            let source = draft.find(name).ok_or_else(|| missing(draft, name))?;
            let (values, from) = (draft.values(source)?, draft.slots[source].entry.clone());
            replace(draft, edit, &selected, report, |draft, i| {
                let to = &draft.slots[i].entry;
                same_shape(to.shape(), from.shape())?;
                recast(Arc::clone(&values), &from, to)
            })
        }
        Action::From(path) => take_from(draft, edit, &selected, report, path),
        Action::Tie(name) => {
            let source = draft.find(name).ok_or_else(|| missing(draft, name))?;
            for &i in selected.iter().filter(|&&i| i != source) {
                let (to, from) = (&draft.slots[i].entry, &draft.slots[source].entry);
                let place = || display_name(to.name());
                same_shape(to.shape(), from.shape()).context(place)?;
                if to.encoding() != from.encoding() {
                    let (a, b) = (to.encoding().name(), from.encoding().name());
                    return Err(Error::dtype(format!("{a} cannot be tied to {b}")).context(place()));
                }
                report.push(to.name(), &*edit.what, Vec::new());
                draft.tie(i, source);
            }
            Ok(())
        }
        Action::Untie => {
            let sharers = draft.sharers();
            for &i in &selected {
                let slot = &draft.slots[i];
                let span = draft.span(i);
                if sharers[&slot.bank].len() == 1 && span == (0..draft.bank(i).size()) {
                    continue;
                }
                report.push(slot.entry.name(), &*edit.what, Vec::new());
                let (values, encoding) = (draft.values(i)?, slot.entry.encoding());
                draft.rebase(&[i], values, encoding);
            }
            Ok(())
        }
        Action::Drop => {
            take_out(draft, &selected, report);
            Ok(())
        }
        Action::Keep => {
            let kept: HashSet<usize> = selected.into_iter().collect();
            let others: Vec<usize> = draft.alive().filter(|i| !kept.contains(i)).collect();
            take_out(draft, &others, report);
            Ok(())
        }
        Action::Rename(_) => Ok(()),
    }
}

/// The dtype of a tensor whose values can be edited.
pub(super) fn dtype_of(draft: &Draft<'_>, slot: usize) -> Result<DType> {
    let entry = &draft.slots[slot].entry;
    if entry.quantizer().is_some() {
        return Err(Error::unsupported("a quantised tensor"));
    }
    if entry.is_lazy() {
        return Err(Error::unsupported("a conjugated or negated view; untie it first"));
    }
    let packed =
        || Error::unsupported(format!("blocks of {}; cast them to float32 first", entry.encoding().name()));
    entry.encoding().dtype().ok_or_else(packed)
}

fn same_shape(to: &[usize], from: &[usize]) -> Result<()> {
    if to == from { Ok(()) } else { Err(Error::shape(format!("expected shape {to:?}, found {from:?}"))) }
}

fn missing(draft: &Draft<'_>, name: &str) -> Error {
    let names: Vec<&str> = draft.alive().map(|i| draft.slots[i].entry.name()).collect();
    let hint = near::did_you_mean_below(name, &names);
    Error::not_found(format!("no tensor is named {}{hint}", display_name(name)))
}

/// Patches each selected tensor where it lies, tensors of the same elements once.
fn patch(
    draft: &mut Draft<'_>,
    edit: &Edit,
    selected: &[usize],
    report: &mut Report,
    mut make: impl FnMut(&Draft<'_>, usize) -> Result<Patch>,
) -> Result<()> {
    let mut work = Vec::with_capacity(selected.len());
    for target in targets(draft, selected)? {
        let slot = target.slots[0];
        let name = draft.slots[slot].entry.name();
        let patch = make(draft, slot).context(|| display_name(name))?;
        if !target.others.is_empty() && !draft.is_dense(slot) {
            return Err(Error::unsupported(format!(
                "a view with gaps, in which {} lies; untie it first",
                display_name(draft.slots[target.others[0]].entry.name())
            ))
            .context(display_name(name)));
        }
        report.push(name, &*edit.what, target.also(draft));
        work.push((slot, target.span, patch));
    }
    for (slot, span, patch) in work {
        draft.patch(slot, span, patch);
    }
    Ok(())
}

/// Gives each selected tensor other values, in row-major order, tensors of the same elements once.
pub(super) fn replace(
    draft: &mut Draft<'_>,
    edit: &Edit,
    selected: &[usize],
    report: &mut Report,
    mut make: impl FnMut(&Draft<'_>, usize) -> Result<Arc<dyn ReadAt>>,
) -> Result<()> {
    let mut work = Vec::with_capacity(selected.len());
    for target in targets(draft, selected)? {
        let entry = &draft.slots[target.slots[0]].entry;
        let place = || display_name(entry.name());
        let bytes = make(draft, target.slots[0]).context(place)?;
        report.push(entry.name(), &*edit.what, target.also(draft));
        work.push((target, bytes));
    }
    work.into_iter().try_for_each(|(target, bytes)| put(draft, &target, bytes))
}

/// Puts values in the place of a target's.
pub(super) fn put(draft: &mut Draft<'_>, target: &Target, bytes: Arc<dyn ReadAt>) -> Result<()> {
    let slot = target.slots[0];
    let entry = &draft.slots[slot].entry;
    if entry.is_contiguous() && !entry.is_lazy() {
        draft.patch(slot, target.span.clone(), Patch::Replace(bytes));
    } else if target.others.is_empty() {
        let encoding = entry.encoding();
        draft.rebase(&target.slots, bytes, encoding);
    } else {
        return Err(Error::unsupported(format!(
            "a strided view that shares memory with {}; untie it first",
            display_name(draft.slots[target.others[0]].entry.name())
        ))
        .context(display_name(entry.name())));
    }
    Ok(())
}

/// Elements to be edited once.
pub(super) struct Target {
    /// The tensors that are these very elements, a selected one first.
    pub(super) slots: Vec<usize>,
    /// Other tensors that have some of them.
    pub(super) others: Vec<usize>,
    pub(super) span: Range<u64>,
    selected: usize,
}

impl Target {
    /// The names of tensors that change without being selected.
    pub(super) fn also(&self, draft: &Draft<'_>) -> Vec<String> {
        let names = self.slots[self.selected..].iter().chain(&self.others);
        names.map(|&i| draft.slots[i].entry.name().to_owned()).collect()
    }
}

/// The selected elements, each once.
pub(super) fn targets(draft: &Draft<'_>, selected: &[usize]) -> Result<Vec<Target>> {
    let sharers = draft.sharers();
    let is_selected: HashSet<usize> = selected.iter().copied().collect();
    let mut done = HashSet::new();
    let mut targets = Vec::new();
    for &slot in selected {
        if !done.insert(slot) {
            continue;
        }
        let span = draft.span(slot);
        let (mut tied, mut rest, mut others) = (vec![slot], Vec::new(), Vec::new());
        for &other in sharers[&draft.slots[slot].bank].iter().filter(|&&other| other != slot) {
            let theirs = draft.span(other);
            if draft.same_view(slot, other) {
                done.insert(other);
                if is_selected.contains(&other) { tied.push(other) } else { rest.push(other) }
            } else if theirs.start < span.end && span.start < theirs.end {
                if is_selected.contains(&other) {
                    let (a, b) = (draft.slots[slot].entry.name(), draft.slots[other].entry.name());
                    return Err(Error::unsupported(format!(
                        "it shares a part of its memory with {}, which is selected too; untie one or select one",
                        display_name(b)
                    ))
                    .context(display_name(a)));
                }
                others.push(other);
            }
        }
        let selected = tied.len();
        tied.extend(rest);
        targets.push(Target { slots: tied, others, span, selected });
    }
    Ok(targets)
}

fn init(
    draft: &mut Draft<'_>,
    edit: &Edit,
    selected: &[usize],
    report: &mut Report,
    distribution: &Distribution,
    seed: u64,
) -> Result<()> {
    let mut wanted = Vec::new();
    for target in targets(draft, selected)? {
        let entry = &draft.slots[target.slots[0]].entry;
        let one = || -> Result<Wanted> {
            let draw = distribution.resolve(entry.shape())?;
            Ok(Wanted { draw, dtype: dtype_of(draft, target.slots[0])?, numel: entry.numel() })
        };
        wanted.push(one().context(|| display_name(entry.name()))?);
    }
    let sequence = Sequence::new(seed, wanted)?;
    let mut drawn = sequence.tensors();
    replace(draft, edit, selected, report, |_, _| match drawn.next() {
        Some(bytes) => Ok(bytes),
        None => Err(Error::argument("no numbers are left")),
    })
}

fn take_from(
    draft: &mut Draft<'_>,
    edit: &Edit,
    selected: &[usize],
    report: &mut Report,
    path: &Path,
) -> Result<()> {
    let other = io::open(path)?;
    let source = Draft::new(&other)?;
    replace(draft, edit, selected, report, |draft, i| {
        let to = &draft.slots[i].entry;
        let from = source.find(to.name()).ok_or_else(|| missing(&source, to.name()).context(other.name()))?;
        let (values, entry) = (source.values(from)?, &source.slots[from].entry);
        same_shape(to.shape(), entry.shape())?;
        recast(values, entry, to)
    })
}

/// Values of a tensor in another's encoding.
fn recast(values: Arc<dyn ReadAt>, from: &Entry, to: &Entry) -> Result<Arc<dyn ReadAt>> {
    if from.quantizer().is_some() || to.quantizer().is_some() {
        return Err(Error::unsupported("a quantised tensor"));
    }
    if from.encoding() == to.encoding() {
        return Ok(values);
    }
    Ok(Arc::new(Cast::new(values, from.encoding(), to.encoding())?))
}

/// Converts storages: all tensors of a storage go together, so that ties last.
fn cast(
    draft: &mut Draft<'_>,
    what: &str,
    selected: &[usize],
    report: &mut Report,
    to: Encoding,
) -> Result<()> {
    let sharers = draft.sharers();
    let is_selected: HashSet<usize> = selected.iter().copied().collect();
    let mut done = HashSet::new();
    for &slot in selected {
        let entry = &draft.slots[slot].entry;
        let from = entry.encoding();
        if from == to || !done.insert(draft.slots[slot].bank) {
            continue;
        }
        let together = &sharers[&draft.slots[slot].bank];
        let place = || display_name(entry.name());
        if entry.quantizer().is_some() {
            return Err(Error::unsupported("a quantised tensor").context(place()));
        }
        if let (Some(from), Some(to)) = (from.dtype(), to.dtype()) {
            Tensor::zeros([1], from).and_then(|x| x.to(to)).context(place)?;
        }
        if let Some(&other) = together.iter().find(|&&i| draft.slots[i].entry.encoding() != from) {
            let (other, dtype) = (&draft.slots[other].entry, from.name());
            return Err(Error::unsupported(format!(
                "{dtype} in the memory of {}, which is {}; untie it first",
                display_name(other.name()),
                other.encoding().name()
            ))
            .context(place()));
        }
        let row = entry.shape().last().copied().unwrap_or(1) as u64;
        if !row.is_multiple_of(to.block().0) {
            return Err(Error::unsupported(format!("rows of {row} are no whole blocks of {}", to.name()))
                .context(place()));
        }
        let alone = together.iter().all(|&i| draft.same_view(slot, i));
        let also = together.iter().filter(|i| !is_selected.contains(i));
        let also = also.map(|&i| draft.slots[i].entry.name().to_owned()).collect();
        let base = if alone { draft.values(slot)? } else { draft.bank(slot) };
        let bytes = Arc::new(Cast::new(base, from, to).context(place)?);
        report.push(entry.name(), format!("{what} from {}", from.name()), also);
        if alone {
            draft.rebase(together, bytes, to);
        } else {
            draft.recode(together, bytes, to);
        }
    }
    Ok(())
}

fn take_out(draft: &mut Draft<'_>, slots: &[usize], report: &mut Report) {
    for &i in slots {
        report.push(draft.slots[i].entry.name(), "drop", Vec::new());
        draft.slots[i].alive = false;
    }
}

fn apply_rename(draft: &mut Draft<'_>, rename: &Rename, report: &mut Report) -> Result<()> {
    let mut found = false;
    for i in draft.alive().collect::<Vec<_>>() {
        let name = draft.slots[i].entry.name();
        let Some(new) = rename.apply(name) else { continue };
        found = true;
        if new != name {
            report.push(name, format!("rename to {}", display_name(&new)), Vec::new());
            draft.slots[i].entry = draft.slots[i].entry.clone().with_name(new);
        }
    }
    if found {
        return Ok(());
    }
    let names: Vec<&str> = draft.alive().map(|i| draft.slots[i].entry.name()).collect();
    let hint = near::did_you_mean_below(rename.pattern(), &names);
    Err(Error::selector(format!(
        "pattern `{}` matches none of {} names{hint}",
        rename.pattern(),
        names.len()
    )))
}
