//! An archive while it is edited.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::bytes::{Gathered, Part, Patch, Patched};
use super::map::Map;
use crate::io::{Archive, Encoding, Entry, Fate, ReadAt, display_name, replant};
use crate::select::{Candidate, Selector};
use crate::tensor::DType;
use crate::{Context, Error, Result};

/// The tensors of an archive, to be edited one by one; their bytes are little-endian.
pub(super) struct Draft<'a> {
    base: &'a Archive,
    pub(super) slots: Vec<Slot>,
    banks: Vec<Bank>,
}

/// A tensor. Its entry's own storage index is that of the archive it came from.
pub(super) struct Slot {
    pub(super) entry: Entry,
    pub(super) bank: usize,
    /// The index in the archive, or that of the tensor which it joined.
    origin: Origin,
    pub(super) alive: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Entry(usize),
    Joined(usize),
}

/// A storage and what was done to it.
struct Bank {
    base: Arc<dyn ReadAt>,
    patches: Vec<(Range<u64>, Patch)>,
}

impl Bank {
    fn bytes(&self) -> Arc<dyn ReadAt> {
        if self.patches.is_empty() {
            return Arc::clone(&self.base);
        }
        Arc::new(Patched { base: Arc::clone(&self.base), patches: self.patches.clone() })
    }

    /// What is patched, ascending and without overlap.
    fn places(&self) -> Vec<Range<u64>> {
        let mut places: Vec<Range<u64>> = self.patches.iter().map(|(place, _)| place.clone()).collect();
        places.retain(|place| !place.is_empty());
        places.sort_by_key(|place| place.start);
        places.dedup_by(|next, last| {
            let meets = next.start <= last.end;
            if meets {
                last.end = last.end.max(next.end);
            }
            meets
        });
        places
    }
}

/// A storage as it was, as it is, and the ranges that may differ.
pub(super) type Touched = (Arc<dyn ReadAt>, Arc<dyn ReadAt>, Vec<Range<u64>>);

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a Archive) -> Result<Self> {
        let mut banks: Vec<Bank> = Vec::new();
        while let Some(bytes) = base.storage(banks.len()) {
            banks.push(Bank { base: Arc::clone(bytes), patches: Vec::new() });
        }
        let slots: Vec<Slot> = base
            .entries()
            .iter()
            .enumerate()
            .map(|(i, entry)| Slot {
                entry: entry.clone(),
                bank: entry.storage(),
                origin: Origin::Entry(i),
                alive: true,
            })
            .collect();
        if base.is_big_endian() {
            let mut sizes = vec![None; banks.len()];
            for slot in &slots {
                let size = slot.entry.encoding().number_size();
                if sizes[slot.bank].replace(size).is_some_and(|other| other != size) {
                    return Err(Error::unsupported("a big-endian storage of numbers of several sizes")
                        .context(display_name(slot.entry.name())));
                }
            }
            for (bank, size) in banks.iter_mut().zip(sizes) {
                let whole = 0..bank.base.size();
                bank.patches.extend(size.map(|n| (whole, Patch::Map(Map::Swap(n), DType::U8))));
            }
        }
        Ok(Self { base, slots, banks })
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.slots.len()).filter(|&i| self.slots[i].alive)
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.alive().find(|&i| self.slots[i].entry.name() == name)
    }

    /// The tensors that a selector picks, at least one.
    pub(super) fn select(&self, selector: &Selector) -> Result<Vec<usize>> {
        let candidates = self.alive().map(|i| Candidate::from(&self.slots[i].entry));
        let selection = selector.select(candidates)?;
        let names: HashSet<&str> = selection.names().iter().map(String::as_str).collect();
        Ok(self.alive().filter(|&i| names.contains(self.slots[i].entry.name())).collect())
    }

    /// The tensors of each storage.
    pub(super) fn sharers(&self) -> HashMap<usize, Vec<usize>> {
        let mut sharers: HashMap<usize, Vec<usize>> = HashMap::new();
        self.alive().for_each(|i| sharers.entry(self.slots[i].bank).or_default().push(i));
        sharers
    }

    /// Whether two tensors are the same elements of the same storage.
    pub(super) fn same_view(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.slots[a], &self.slots[b]);
        let (x, y) = (&a.entry, &b.entry);
        a.bank == b.bank
            && (x.encoding(), x.shape(), x.strides(), x.offset(), x.is_lazy())
                == (y.encoding(), y.shape(), y.strides(), y.offset(), y.is_lazy())
    }

    /// The range of bytes from a tensor's first element to its last.
    pub(super) fn span(&self, slot: usize) -> Range<u64> {
        let entry = &self.slots[slot].entry;
        let (elements, bytes) = entry.encoding().block();
        let start = entry.offset() as u64 / elements * bytes;
        if entry.numel() == 0 {
            return start..start;
        }
        let reach = entry.shape().iter().zip(entry.strides()).map(|(&d, &s)| (d - 1) as u64 * s as u64);
        start..(reach.sum::<u64>() + entry.offset() as u64) / elements * bytes + bytes
    }

    /// Whether a tensor's elements leave no gap between its first and its last.
    pub(super) fn is_dense(&self, slot: usize) -> bool {
        let entry = &self.slots[slot].entry;
        let distinct = entry.shape().iter().zip(entry.strides()).filter(|(_, s)| **s != 0);
        let distinct = distinct.fold(1_u64, |n, (&d, _)| n.saturating_mul(d as u64));
        let span = self.span(slot);
        entry.encoding().bytes_for(distinct) == Some(span.end - span.start)
    }

    /// The bytes of a storage as they are now.
    pub(super) fn bank(&self, slot: usize) -> Arc<dyn ReadAt> {
        self.banks[self.slots[slot].bank].bytes()
    }

    /// A tensor's values as they are now, in row-major order.
    pub(super) fn values(&self, slot: usize) -> Result<Arc<dyn ReadAt>> {
        let entry = &self.slots[slot].entry;
        let base = self.bank(slot);
        if entry.is_contiguous() && !entry.is_lazy() {
            let span = self.span(slot);
            return Ok(if span == (0..base.size()) {
                base
            } else {
                Arc::new(Part { base, start: span.start, size: span.end - span.start })
            });
        }
        let one = Archive::new().with_parts(vec![base], [(entry.clone(), 0)], None)?;
        Ok(Arc::new(Gathered::new(one)?))
    }

    /// Adds a patch to a tensor's storage.
    pub(super) fn patch(&mut self, slot: usize, place: Range<u64>, patch: Patch) {
        self.banks[self.slots[slot].bank].patches.push((place, patch));
    }

    /// Gives a tensor other bytes, in row-major order, as all its storage.
    pub(super) fn rebase(&mut self, slots: &[usize], bytes: Arc<dyn ReadAt>, encoding: Encoding) {
        self.banks.push(Bank { base: bytes, patches: Vec::new() });
        for &i in slots {
            let slot = &mut self.slots[i];
            slot.bank = self.banks.len() - 1;
            slot.entry = slot.entry.clone().with_encoding(encoding).made_contiguous();
        }
    }

    /// Gives a storage other bytes in which the elements have the same places.
    pub(super) fn recode(&mut self, slots: &[usize], bytes: Arc<dyn ReadAt>, encoding: Encoding) {
        self.banks.push(Bank { base: bytes, patches: Vec::new() });
        for &i in slots {
            let slot = &mut self.slots[i];
            slot.bank = self.banks.len() - 1;
            slot.entry = slot.entry.clone().with_encoding(encoding);
        }
    }

    /// Makes a tensor the same elements as another.
    pub(super) fn tie(&mut self, slot: usize, to: usize) {
        let (entry, bank) = (self.slots[to].entry.clone(), self.slots[to].bank);
        let slot = &mut self.slots[slot];
        let name = slot.entry.name().to_owned();
        let (parameter, requires_grad) = (slot.entry.parameter(), slot.entry.requires_grad());
        slot.entry = entry.with_name(name).with_parameter(parameter).with_requires_grad(requires_grad);
        slot.bank = bank;
    }

    /// Adds a contiguous tensor right behind another, in the same dict of a nested structure.
    pub(super) fn join(&mut self, slot: usize, entry: Entry, bytes: Arc<dyn ReadAt>) {
        self.banks.push(Bank { base: bytes, patches: Vec::new() });
        let origin = match self.slots[slot].origin {
            Origin::Entry(i) | Origin::Joined(i) => Origin::Joined(i),
        };
        let joined = Slot { entry, bank: self.banks.len() - 1, origin, alive: true };
        self.slots.insert(slot + 1, joined);
    }

    /// The storages that were patched: as they were, as they are, and the ranges that may differ, ascending.
    ///
    /// # Errors
    ///
    /// Fails, naming a tensor, when more than values changed.
    pub(super) fn touched(&self) -> Result<Vec<Touched>> {
        let mut untouched = self.base.entries().iter().enumerate();
        for slot in &self.slots {
            let Some((index, old)) = untouched.next() else { break };
            let changed = if slot.origin != Origin::Entry(index) {
                "an edit adds a tensor before it"
            } else if !slot.alive {
                "an edit takes it out"
            } else if slot.entry.name() != old.name() {
                "an edit changes its name"
            } else if slot.bank != old.storage() || slot.entry != *old {
                "an edit changes its dtype, shape or memory"
            } else {
                continue;
            };
            return Err(Error::unsupported(format!("{changed}, which cannot be done in place"))
                .context(display_name(old.name())));
        }
        if self.slots.len() != self.base.entries().len() {
            return Err(Error::unsupported("an edit adds tensors, which cannot be done in place"));
        }
        if self.base.is_big_endian() {
            return Err(Error::unsupported("a big-endian file cannot be edited in place"));
        }
        let patched = self.banks.iter().filter(|bank| !bank.patches.is_empty());
        Ok(patched.map(|bank| (Arc::clone(&bank.base), bank.bytes(), bank.places())).collect())
    }

    /// The archive as edited.
    pub(super) fn finish(self) -> Result<Archive> {
        let alive: Vec<usize> = self.alive().collect();
        let mut names = HashSet::new();
        for &i in &alive {
            let name = self.slots[i].entry.name();
            if !names.insert(name) {
                return Err(Error::argument("two tensors would have this name").context(display_name(name)));
            }
        }
        let tree = match self.base.tree() {
            Some(tree) => Some(replant(tree, &self.fates(&alive)).context(|| self.base.name().to_owned())?),
            None => None,
        };
        // Only storages that are still used go on.
        let mut places = HashMap::new();
        let mut storages = Vec::new();
        let mut entries = Vec::with_capacity(alive.len());
        for &i in &alive {
            let slot = &self.slots[i];
            let place = *places.entry(slot.bank).or_insert_with(|| {
                storages.push(self.banks[slot.bank].bytes());
                storages.len() - 1
            });
            entries.push((slot.entry.clone(), place));
        }
        self.base.with_parts(storages, entries, tree)
    }

    fn fates(&self, alive: &[usize]) -> Vec<Fate<'_>> {
        let fate =
            |entry: &'a Entry| Fate { old: entry.name(), new: None, joined: Vec::new(), like: usize::MAX };
        let mut fates: Vec<Fate<'_>> = self.base.entries().iter().map(fate).collect();
        let mut views = HashMap::new();
        for (index, &i) in alive.iter().enumerate() {
            let Slot { entry, bank, origin, .. } = &self.slots[i];
            let view =
                (bank, entry.encoding(), entry.shape(), entry.strides(), entry.offset(), entry.is_lazy());
            let next = views.len();
            match *origin {
                Origin::Entry(old) => {
                    fates[old].new = Some((entry.name(), index));
                    fates[old].like = *views.entry(view).or_insert(next);
                }
                Origin::Joined(old) => fates[old].joined.push((entry.name(), index)),
            }
        }
        fates
    }
}

/// A tensor in a file: whether it is a parameter, and of what, is not known.
impl<'a> From<&'a Entry> for Candidate<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            path: entry.name(),
            kind: None,
            // Packed elements have no dtype; their bytes are what a selector can ask for.
            dtype: entry.encoding().dtype().unwrap_or(DType::U8),
            shape: entry.shape(),
            trainable: None,
        }
    }
}
