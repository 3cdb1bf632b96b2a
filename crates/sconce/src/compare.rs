//! What differs between two model files, or two archives in memory, whatever their formats.
//!
//! Tensors are paired by name; those that only one side names are paired by content, so a renamed tensor is found. The
//! values of each pair are compared in one pass that streams both sides in bounded memory.

mod values;

use std::collections::{BTreeSet, HashMap};

use crate::io::{Archive, ContentHash, Encoding, Entry, by_storage};
use crate::tensor::DType;
use crate::{Error, ErrorKind, Result};

pub use values::Difference;

/// How much two values may differ: `|a - b| <= atol + rtol·|b|`, as in `torch.testing.assert_close`.
///
/// NaN equals NaN, and an infinity equals itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative to the second value's magnitude.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
}

impl Tolerance {
    /// None at all.
    pub const EXACT: Self = Self { rtol: 0.0, atol: 0.0 };

    /// PyTorch's default for an element type; exact for integers, and 0 for what is only stored.
    ///
    /// ```
    /// use sconce::{DType, compare::Tolerance};
    ///
    /// assert_eq!(Tolerance::of(DType::F16), Tolerance { rtol: 1e-3, atol: 1e-5 });
    /// assert_eq!(Tolerance::of(DType::I64), Tolerance::EXACT);
    /// ```
    pub const fn of(dtype: DType) -> Self {
        let (rtol, atol) = match dtype {
            DType::F16 | DType::C32 => (1e-3, 1e-5),
            DType::BF16 => (1.6e-2, 1e-5),
            DType::F32 | DType::C64 => (1.3e-6, 1e-5),
            DType::F64 | DType::C128 => (1e-7, 1e-7),
            _ => (0.0, 0.0),
        };
        Self { rtol, atol }
    }
}

/// What counts as the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// The relative tolerance; by default the greater one of both element types, see [`Tolerance::of`].
    pub rtol: Option<f64>,
    /// The absolute tolerance, likewise.
    pub atol: Option<f64>,
}

impl Options {
    /// The tolerance for a pair of tensors.
    pub fn tolerance(&self, a: &Entry, b: &Entry) -> Tolerance {
        let of = |e: &Entry| e.encoding().dtype().map_or(Tolerance::EXACT, Tolerance::of);
        let (a, b) = (of(a), of(b));
        Tolerance {
            rtol: self.rtol.unwrap_or(a.rtol.max(b.rtol)),
            atol: self.atol.unwrap_or(a.atol.max(b.atol)),
        }
    }
}

/// Two tensors that stand for each other, and what differs between them.
#[derive(Clone, Debug)]
pub struct Pair<'a> {
    /// The tensor of the first archive.
    pub a: &'a Entry,
    /// The tensor of the second archive.
    pub b: &'a Entry,
    /// How the values differ.
    pub values: Values,
}

impl Pair<'_> {
    /// Whether the content is the same under another name.
    pub fn renamed(&self) -> bool {
        self.a.name() != self.b.name()
    }

    /// Whether the elements are stored in another way, or their numbers are scaled in another way.
    pub fn retyped(&self) -> bool {
        self.a.encoding() != self.b.encoding() || self.a.quantizer() != self.b.quantizer()
    }

    /// Whether the shapes differ.
    pub fn reshaped(&self) -> bool {
        self.a.shape() != self.b.shape()
    }

    /// Whether nothing differs but values within the tolerance.
    pub fn is_same(&self) -> bool {
        !self.renamed() && !self.retyped() && !self.reshaped() && self.values.is_same()
    }
}

/// How the values of two tensors differ.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Bit for bit the same.
    Identical,
    /// Compared as numbers, one by one.
    Compared(Difference),
    /// Not the same, and not comparable as numbers, for this reason.
    Incomparable(String),
}

impl Values {
    /// Whether they are identical, or all within the tolerance.
    pub fn is_same(&self) -> bool {
        match self {
            Self::Identical => true,
            Self::Compared(difference) => difference.beyond == 0,
            Self::Incomparable(_) => false,
        }
    }
}

/// A value beside the tensors that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataChange {
    /// Its key.
    pub key: String,
    /// The first archive's text, if it has one.
    pub a: Option<String>,
    /// The second archive's text, if it has one.
    pub b: Option<String>,
}

/// All that differs between two archives.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// Tensors of both, in the first archive's order; renamed ones come last.
    pub pairs: Vec<Pair<'a>>,
    /// Tensors of the first archive only.
    pub only_a: Vec<&'a Entry>,
    /// Tensors of the second archive only.
    pub only_b: Vec<&'a Entry>,
    /// Names that share memory in the first archive, but not in the second.
    ///
    /// Ties are compared if both formats have them.
    pub tied_a: Vec<Vec<&'a str>>,
    /// Names that share memory in the second archive, but not in the first.
    pub tied_b: Vec<Vec<&'a str>>,
    /// Metadata that differ. They have no part in [`is_same`](Self::is_same): most formats cannot hold them.
    pub metadata: Vec<MetadataChange>,
}

impl Comparison<'_> {
    /// Whether both hold the same names with the same types, shapes and ties, and values within the tolerance.
    pub fn is_same(&self) -> bool {
        self.only_a.is_empty()
            && self.only_b.is_empty()
            && self.tied_a.is_empty()
            && self.tied_b.is_empty()
            && self.pairs.iter().all(Pair::is_same)
    }
}

/// Compares the tensors of two archives that `pick` picks.
///
/// ```
/// use sconce::{DType, compare, io::{Archive, Entry}};
///
/// let archive = |name: &str, x: f32| -> sconce::Result<Archive> {
///     let mut archive = Archive::new();
///     archive.push_bytes(Entry::new(name, DType::F32, [1]), x.to_le_bytes().to_vec())?;
///     Ok(archive)
/// };
/// let (a, b, c) = (archive("w", 1.0)?, archive("w", 1.5)?, archive("v", 1.0)?);
/// let changed = compare::archives(&a, &b, &Default::default(), |_| true)?;
/// let compare::Values::Compared(difference) = &changed.pairs[0].values else { panic!() };
/// assert_eq!((changed.is_same(), difference.max_abs), (false, 0.5));
/// let renamed = compare::archives(&a, &c, &Default::default(), |_| true)?;
/// assert!(renamed.pairs[0].renamed() && renamed.only_a.is_empty() && !renamed.is_same());
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails when a tensor cannot be read.
pub fn archives<'a>(
    a: &'a Archive,
    b: &'a Archive,
    options: &Options,
    pick: impl Fn(&Entry) -> bool,
) -> Result<Comparison<'a>> {
    if let Some(bad) = [options.rtol, options.atol].into_iter().flatten().find(|x| x.is_nan() || *x < 0.0) {
        return Err(Error::argument(format!("a tolerance must be at least 0, found {bad}")));
    }
    let picked = |archive: &'a Archive| archive.entries().iter().filter(|e| pick(e)).collect::<Vec<_>>();
    let (all_a, all_b) = (picked(a), picked(b));
    let mut pairs = Vec::new();
    let (mut only_a, mut only_b) = (Vec::new(), Vec::new());
    for &entry in &all_a {
        match b.get(entry.name()) {
            Some(other) => pairs.push(pair(a, entry, b, other, options)?),
            None => only_a.push(entry),
        }
    }
    only_b.extend(all_b.iter().copied().filter(|e| a.get(e.name()).is_none()));
    pairs.extend(take_renamed(a, &mut only_a, b, &mut only_b)?);
    let (tied_a, tied_b) = ties(a, b, &pairs);
    let metadata = metadata(a, b);
    Ok(Comparison { pairs, only_a, only_b, tied_a, tied_b, metadata })
}

fn pair<'a>(
    a: &Archive,
    entry_a: &'a Entry,
    b: &Archive,
    entry_b: &'a Entry,
    options: &Options,
) -> Result<Pair<'a>> {
    let values = if entry_a.numel() != entry_b.numel() {
        Values::Incomparable("the shapes have different numbers of elements".to_owned())
    } else {
        match values::compare((a, entry_a), (b, entry_b), options.tolerance(entry_a, entry_b)) {
            Ok(None) => Values::Identical,
            Ok(Some(difference)) => Values::Compared(difference),
            Err(error) if error.kind() == ErrorKind::Unsupported => Values::Incomparable(error.to_string()),
            Err(error) => return Err(error),
        }
    };
    Ok(Pair { a: entry_a, b: entry_b, values })
}

/// Pairs tensors of equal type, shape and content; of several with equal content, those whose names end alike.
fn take_renamed<'a>(
    a: &Archive,
    only_a: &mut Vec<&'a Entry>,
    b: &Archive,
    only_b: &mut Vec<&'a Entry>,
) -> Result<Vec<Pair<'a>>> {
    fn like(e: &Entry) -> (Encoding, Vec<usize>) {
        (e.encoding(), e.shape().to_vec())
    }
    let wanted: BTreeSet<_> = only_a.iter().map(|e| (e.encoding().name(), e.shape())).collect();
    let mut by_content: HashMap<ContentHash, Vec<&'a Entry>> = HashMap::new();
    let mut kinds = std::collections::HashSet::new();
    for &entry in only_b.iter().filter(|e| wanted.contains(&(e.encoding().name(), e.shape()))) {
        by_content.entry(ContentHash::of_tensor(b, entry)?).or_default().push(entry);
        kinds.insert(like(entry));
    }
    let mut pairs = Vec::new();
    let mut left = Vec::new();
    for &entry in only_a.iter() {
        if !kinds.contains(&like(entry)) {
            left.push(entry);
            continue;
        }
        let equal = by_content.get_mut(&ContentHash::of_tensor(a, entry)?);
        let best = equal.and_then(|equal| {
            let alike = |i: &usize| common_end(entry.name(), equal[*i].name());
            let best = (0..equal.len()).rev().max_by_key(alike)?;
            Some(equal.remove(best))
        });
        match best {
            Some(other) => pairs.push(Pair { a: entry, b: other, values: Values::Identical }),
            None => left.push(entry),
        }
    }
    let taken: std::collections::HashSet<&str> = pairs.iter().map(|p| p.b.name()).collect();
    only_b.retain(|e| !taken.contains(e.name()));
    *only_a = left;
    Ok(pairs)
}

/// How many segments two names have in common at their ends.
fn common_end(a: &str, b: &str) -> usize {
    a.rsplit('.').zip(b.rsplit('.')).take_while(|(a, b)| a == b).count()
}

type Groups<'a> = Vec<Vec<&'a str>>;

/// The groups of names that share memory on one side only; names of pairs, as the first archive has them.
fn ties<'a>(a: &Archive, b: &Archive, pairs: &[Pair<'a>]) -> (Groups<'a>, Groups<'a>) {
    if !holds_ties(a) || !holds_ties(b) {
        return (Vec::new(), Vec::new());
    }
    let groups = |storage: fn(&Pair<'a>) -> usize| {
        let mut groups: Groups<'a> = by_storage(pairs.iter().map(|pair| (storage(pair), pair.a.name())));
        groups.retain(|names| names.len() > 1);
        groups
    };
    let (in_a, in_b) = (groups(|p| p.a.storage()), groups(|p| p.b.storage()));
    let not_in = |of: &Groups<'a>, other: &Groups<'a>| {
        of.iter().filter(|group| !other.contains(group)).cloned().collect::<Groups<'a>>()
    };
    (not_in(&in_a, &in_b), not_in(&in_b, &in_a))
}

/// Whether an archive can say that tensors share memory.
fn holds_ties(archive: &Archive) -> bool {
    archive.format().is_none_or(|name| name.starts_with("pytorch"))
}

fn metadata(a: &Archive, b: &Archive) -> Vec<MetadataChange> {
    let of = |archive: &Archive| archive.metadata().iter().cloned().collect::<HashMap<String, String>>();
    let (in_a, in_b) = (of(a), of(b));
    let keys = a.metadata().iter().chain(b.metadata().iter().filter(|(key, _)| !in_a.contains_key(key)));
    keys.filter(|(key, _)| in_a.get(key) != in_b.get(key))
        .map(|(key, _)| MetadataChange {
            key: key.clone(),
            a: in_a.get(key).cloned(),
            b: in_b.get(key).cloned(),
        })
        .collect()
}
