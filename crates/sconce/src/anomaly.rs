//! What is odd about the tensors of a model, ranked.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::Result;
use crate::io::{Archive, ContentHash, Entry};
use crate::stats::Stats;

/// A root mean square below this is near zero.
const NEAR_ZERO: f64 = 1e-6;

/// Tensors of one role that a scale is compared with, at least.
const PEERS: usize = 4;

/// How many times greater or less than the median of its peers a scale is odd.
const SCALE: f64 = 10.0;

/// How many median deviations from the median, in logarithms, a scale is odd.
const DEVIATIONS: f64 = 6.0;

/// How many times its root mean square a tensor's greatest magnitude is odd.
const EXTREME: f64 = 100.0;

/// How odd something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Often as intended: fresh biases are zero, fresh scales one.
    Note,
    /// Worth a look.
    Warning,
    /// Broken for nearly every use.
    Error,
}

/// A kind of oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Values that are NaN.
    NaN,
    /// Values that are infinite.
    Infinite,
    /// All values are 0.
    Dead,
    /// All values are the same, and not 0.
    Constant,
    /// All values are next to 0.
    NearZero,
    /// Another scale than that of tensors of the same role.
    Scale,
    /// Single values far greater than the rest.
    Extreme,
    /// The same content as another tensor that it does not share memory with.
    Duplicate,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NaN => "NaN",
            Self::Infinite => "infinite",
            Self::Dead => "dead",
            Self::Constant => "constant",
            Self::NearZero => "near zero",
            Self::Scale => "outlier scale",
            Self::Extreme => "extreme values",
            Self::Duplicate => "duplicated",
        })
    }
}

/// Something odd about a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// The tensor's name.
    pub name: String,
    /// What is odd.
    pub kind: Kind,
    /// How odd it is.
    pub severity: Severity,
    /// One sentence, with numbers.
    pub explanation: String,
}

/// Finds what is odd about tensors with known statistics: the worst first, and otherwise in their order.
///
/// Tensors whose statistics are equal are read again, to find those that are duplicated.
///
/// ```
/// use sconce::{DType, anomaly::{self, Kind}, io::{Archive, Entry}, stats};
///
/// let mut archive = Archive::new();
/// archive.push_bytes(Entry::new("fc.weight", DType::F32, [2, 2]), vec![0; 16])?;
/// let summary = stats::of_entry(&archive, &archive.entries()[0], 0)?;
/// let found = anomaly::find(&archive, &[(&archive.entries()[0], summary.stats)])?;
/// assert_eq!((found[0].name.as_str(), found[0].kind), ("fc.weight", Kind::Dead));
/// # Ok::<(), sconce::Error>(())
/// ```
///
/// # Errors
///
/// Fails when a tensor cannot be read.
pub fn find(archive: &Archive, tensors: &[(&Entry, Stats)]) -> Result<Vec<Anomaly>> {
    let mut found = Vec::new();
    for (entry, stats) in tensors {
        alone(entry, stats, &mut found);
    }
    scales(tensors, &mut found);
    duplicates(archive, tensors, &mut found)?;
    found.sort_by_key(|a| (std::cmp::Reverse(a.severity), a.kind));
    Ok(found)
}

fn rms(stats: &Stats) -> f64 {
    stats.norm() / (stats.finite() as f64).sqrt()
}

fn is_float(entry: &Entry) -> bool {
    entry.encoding().dtype().is_none_or(|d| d.is_floating_point())
}

/// What a tensor's own statistics tell.
fn alone(entry: &Entry, stats: &Stats, found: &mut Vec<Anomaly>) {
    let mut add = |kind, severity, explanation| {
        found.push(Anomaly { name: entry.name().to_owned(), kind, severity, explanation });
    };
    let (count, finite) = (stats.count, stats.finite());
    if stats.nan > 0 {
        add(Kind::NaN, Severity::Error, format!("{} of {count} values are NaN", stats.nan));
    }
    let infinite = stats.pos_inf + stats.neg_inf;
    if infinite > 0 {
        add(Kind::Infinite, Severity::Error, format!("{infinite} of {count} values are infinite"));
    }
    if finite == 0 || finite < count || !is_float(entry) {
        return;
    }
    let matrix = if entry.shape().len() > 1 { Severity::Warning } else { Severity::Note };
    let (rms, greatest) = (rms(stats), stats.abs_max());
    if stats.zeros == count {
        add(Kind::Dead, matrix, format!("all {count} values are 0"));
    } else if count > 1 && stats.min == stats.max {
        add(Kind::Constant, matrix, format!("all {count} values are {}", stats.min));
    } else if rms < NEAR_ZERO {
        let explanation = format!("its root mean square is {rms:.1e}, its greatest magnitude {greatest:.1e}");
        add(Kind::NearZero, Severity::Warning, explanation);
    } else if greatest > EXTREME * rms {
        let times = greatest / rms;
        let explanation =
            format!("its greatest magnitude {greatest:.3e} is {times:.0} times its root mean square");
        add(Kind::Extreme, Severity::Warning, explanation);
    }
}

/// Compares the scales of tensors whose names end alike and that have as many dimensions.
fn scales(tensors: &[(&Entry, Stats)], found: &mut Vec<Anomaly>) {
    let mut roles: BTreeMap<(&str, usize), Vec<(usize, f64)>> = BTreeMap::new();
    for (i, (entry, stats)) in tensors.iter().enumerate() {
        let rms = rms(stats);
        if is_float(entry) && stats.finite() == stats.count && rms >= NEAR_ZERO {
            let role = entry.name().rsplit('.').next().unwrap_or_default();
            roles.entry((role, entry.shape().len())).or_default().push((i, rms.log10()));
        }
    }
    for ((role, dims), peers) in roles.iter().filter(|(_, peers)| peers.len() >= PEERS) {
        let middle = median(peers.iter().map(|p| p.1));
        let spread = median(peers.iter().map(|p| (p.1 - middle).abs()));
        for &(i, scale) in peers {
            let away = (scale - middle).abs();
            if away <= SCALE.log10() || away <= DEVIATIONS * spread {
                continue;
            }
            let (ratio, word) = (10_f64.powf(away), if scale > middle { "times" } else { "times less than" });
            let explanation = format!(
                "its root mean square {:.3e} is {ratio:.0} {word} the median of {} tensors `{role}` of {dims} \
                 dimensions",
                10_f64.powf(scale),
                peers.len()
            );
            let name = tensors[i].0.name().to_owned();
            found.push(Anomaly { name, kind: Kind::Scale, severity: Severity::Warning, explanation });
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

/// Tensors of equal content with memory of their own; those of one repeated value are no news.
fn duplicates(archive: &Archive, tensors: &[(&Entry, Stats)], found: &mut Vec<Anomaly>) -> Result<()> {
    let mut alike: HashMap<_, Vec<&Entry>> = HashMap::new();
    for (entry, s) in tensors.iter().filter(|(_, s)| s.min < s.max) {
        let numbers = [s.min, s.max, s.mean, s.m2].map(f64::to_bits);
        alike.entry((entry.encoding(), entry.shape(), numbers, s.zeros)).or_default().push(entry);
    }
    for (entry, s) in tensors.iter().filter(|(_, s)| s.min < s.max) {
        let numbers = [s.min, s.max, s.mean, s.m2].map(f64::to_bits);
        let Some(group) = alike.remove(&(entry.encoding(), entry.shape(), numbers, s.zeros)) else {
            continue;
        };
        let mut first_of: HashMap<ContentHash, &Entry> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for entry in group.iter().filter(|_| group.len() > 1) {
            if !seen.insert((entry.storage(), entry.offset())) {
                continue;
            }
            let first = *first_of.entry(ContentHash::of_tensor(archive, entry)?).or_insert(entry);
            if first.name() != entry.name() {
                found.push(Anomaly {
                    name: entry.name().to_owned(),
                    kind: Kind::Duplicate,
                    severity: Severity::Warning,
                    explanation: format!("its content is that of {}", first.name()),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Entry;
    use crate::{DType, stats};

    #[test]
    fn each_kind_is_found_where_it_is() {
        let wave = |scale: f32| -> Vec<f32> { (0..64).map(|i| scale * (i as f32 * 0.7).sin()).collect() };
        let mut spike = vec![1e-3; 40_000];
        (spike[0], spike[1]) = (5.0, 2e-3);
        let tensors: &[(&str, &[usize], Vec<f32>)] = &[
            ("a.weight", &[8, 8], wave(1.0)),
            ("b.weight", &[8, 8], wave(1.1)),
            ("c.weight", &[8, 8], wave(0.9)),
            ("d.weight", &[8, 8], wave(1.2)),
            ("loud.weight", &[8, 8], wave(500.0)),
            ("copy.weight", &[8, 8], wave(1.1)),
            ("zero.weight", &[2, 2], vec![0.0; 4]),
            ("zero.bias", &[2], vec![0.0; 2]),
            ("one.scale", &[2], vec![1.0; 2]),
            ("small.bias", &[2], vec![1e-8, -1e-8]),
            ("spike", &[40_000], spike),
            ("bad", &[2], vec![f32::NAN, f32::INFINITY]),
            ("none", &[0], vec![]),
        ];
        let mut archive = Archive::new();
        for (name, shape, values) in tensors {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            archive.push_bytes(Entry::new(*name, DType::F32, *shape), bytes).expect("fits");
        }
        archive.push(Entry::new("tied.weight", DType::F32, [8, 8]), 0).expect("fits");
        let known: Vec<_> = archive
            .entries()
            .iter()
            .map(|e| (e, stats::of_entry(&archive, e, 0).expect("plain numbers").stats))
            .collect();
        let found = find(&archive, &known).expect("readable");
        let found: Vec<_> = found.iter().map(|a| (a.name.as_str(), a.kind, a.severity)).collect();
        use Severity::*;
        assert_eq!(
            found,
            [
                ("bad", Kind::NaN, Error),
                ("bad", Kind::Infinite, Error),
                ("zero.weight", Kind::Dead, Warning),
                ("small.bias", Kind::NearZero, Warning),
                ("loud.weight", Kind::Scale, Warning),
                ("spike", Kind::Extreme, Warning),
                ("copy.weight", Kind::Duplicate, Warning),
                ("zero.bias", Kind::Dead, Note),
                ("one.scale", Kind::Constant, Note),
            ]
        );
    }
}
