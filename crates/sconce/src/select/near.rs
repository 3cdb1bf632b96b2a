//! The name that was meant instead of one that does not exist.

/// Comparing with this many names is enough; more would let a hostile file buy time.
const CANDIDATES: usize = 20_000;
/// Longer names are not compared letter by letter.
const LONGEST: usize = 256;

/// The candidate nearest to `name`, if one is near enough to be worth mentioning.
///
/// Near are, in this order: the same name in another case or with other separators; a name of which the other is an
/// end or a beginning of whole segments; a few different letters.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let allowed = if length < 3 { 0 } else { 1 + length / 4 };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates.into_iter().take(CANDIDATES) {
        let limit = best.map_or(allowed, |(distance, _)| distance - 1);
        let distance = if same_letters(name, candidate) {
            0
        } else if part_of(name, candidate) || part_of(candidate, name) {
            1
        } else {
            match distance_within(name, candidate, limit) {
                Some(distance) => distance + 1,
                None => continue,
            }
        };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// As [`did_you_mean`] for a pattern: after a leading `**.`, only as many last segments as the pattern has are compared.
pub(crate) fn did_you_mean_below(pattern: &str, names: &[&str]) -> String {
    let Some(rest) = pattern.strip_prefix("**.") else {
        return did_you_mean(pattern, names.iter().copied());
    };
    let segments = rest.split('.').count();
    let end = |name: &&'_ str| {
        let cut = name.rmatch_indices('.').nth(segments - 1).map_or(0, |(dot, _)| dot + 1);
        name.split_at(cut).1.to_owned()
    };
    let ends: Vec<String> = names.iter().map(end).collect();
    let near = nearest(rest, ends.iter().map(String::as_str));
    let found = near.and_then(|near| ends.iter().position(|end| end == near));
    found.map_or_else(String::new, |i| format!("; did you mean `{}`?", names[i]))
}

fn same_letters(a: &str, b: &str) -> bool {
    let letters = |s: &'_ str| -> Vec<char> {
        s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    a.len().abs_diff(b.len()) <= 3 && letters(a) == letters(b)
}

/// Whether `part` is the first or the last segments of `whole`.
fn part_of(part: &str, whole: &str) -> bool {
    let rest = whole.strip_suffix(part).map(|rest| rest.ends_with('.'));
    let tail = whole.strip_prefix(part).map(|rest| rest.starts_with('.'));
    !part.is_empty() && (rest == Some(true) || tail == Some(true))
}

/// The number of letters to insert, delete, replace or swap with a neighbour, if it is at most `limit`.
fn distance_within(a: &str, b: &str, limit: usize) -> Option<usize> {
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: &Vec<usize> = &before_last;
                row[j] = row[j].min(swapped[j - 2] + 1);
            }
        }
        if row.iter().all(|&d| d > limit) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    let distance = last[b.len()];
    (distance <= limit).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["features.0.weight", "features.0.bias", "classifier.weight", "n"];
        for (name, near) in [
            ("feature.0.weight", Some("features.0.weight")),
            ("features.0.bais", Some("features.0.bias")),
            ("features_0_weight", Some("features.0.weight")),
            ("Features.0.Weight", Some("features.0.weight")),
            ("module.classifier.weight", Some("classifier.weight")),
            ("0.bias", Some("features.0.bias")),
            ("features", Some("features.0.weight")),
            ("embedding", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names), near, "{name}");
        }
    }

    #[test]
    fn counts_edits() {
        for (a, b, distance) in
            [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("kitten", "sitting", 3), ("ü", "u", 1)]
        {
            assert_eq!(distance_within(a, b, 9), Some(distance), "{a} {b}");
        }
        assert_eq!(distance_within("kitten", "sitting", 2), None);
    }
}
