//! Names to names, by patterns with wildcards.

use regex::{Captures, Regex};

use crate::{Error, Result};

/// A pattern of whole names, and what they become.
///
/// `**` stands for any number of segments, `*` for a part of one, `?` for a character of one. The wildcards of the new
/// name take, in order, what those of the pattern matched; `$2` takes the second whatever its place.
#[derive(Clone, Debug)]
pub(super) struct Rename {
    pattern: String,
    regex: Regex,
    new: Vec<Vec<Piece>>,
}

/// A part of a segment of the new name.
#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// What the wildcard of this number matched.
    Match(usize),
}

impl Rename {
    pub(super) fn new(pattern: &str, new: &str) -> Result<Self> {
        let pattern = pattern.trim_matches(['\'', '"']);
        if pattern.is_empty() || new.is_empty() {
            return Err(Error::argument("expected a pattern and a new name"));
        }
        let (regex, wildcards) = translate(pattern);
        let regex = Regex::new(&regex).map_err(|_| Error::argument("the pattern is too long"))?;
        let mut used = 0;
        let new = new.split('.').map(|segment| pieces(segment, &mut used)).collect::<Result<Vec<_>>>()?;
        let most =
            new.iter().flatten().map(|p| if let Piece::Match(n) = p { *n } else { 0 }).max().unwrap_or(0);
        if most > wildcards {
            return Err(Error::argument(format!(
                "the new name has a wildcard number {most}, the pattern has {wildcards}"
            )));
        }
        Ok(Self { pattern: pattern.to_owned(), regex, new })
    }

    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The new name, if the pattern matches.
    pub(super) fn apply(&self, name: &str) -> Option<String> {
        let found = self.regex.captures(name)?;
        let segments = self.new.iter().map(|segment| fill(segment, &found));
        Some(segments.filter(|s| !s.is_empty()).collect::<Vec<_>>().join("."))
    }
}

fn fill(segment: &[Piece], found: &Captures<'_>) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Match(n) => found.get(*n).map_or("", |m| m.as_str()).to_owned(),
    };
    segment.iter().map(piece).collect()
}

/// A regular expression with a group for each wildcard, and how many there are.
fn translate(pattern: &str) -> (String, usize) {
    let (mut regex, mut wildcards) = (r"(?s)\A".to_owned(), 0);
    // Whether a dot is due before the next segment.
    let mut dot = false;
    for segment in pattern.split('.') {
        if segment == "**" {
            wildcards += 1;
            // The dot belongs to the segments: with none of them it goes as well.
            regex.push_str(if dot { r"(?:\.(.+))?" } else { r"(?:(.+?)(?:\.|\z))?" });
            continue;
        }
        if dot {
            regex.push_str(r"\.");
        }
        dot = true;
        for c in segment.chars() {
            match c {
                '*' => regex.push_str("([^.]*)"),
                '?' => regex.push_str("([^.])"),
                c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
            wildcards += usize::from(c == '*' || c == '?');
        }
    }
    regex.push_str(r"\z");
    (regex, wildcards)
}

fn pieces(segment: &str, used: &mut usize) -> Result<Vec<Piece>> {
    let mut out = Vec::new();
    if segment == "**" {
        *used += 1;
        return Ok(vec![Piece::Match(*used)]);
    }
    let mut chars = segment.chars().peekable();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        let number = match c {
            '*' | '?' => {
                *used += 1;
                *used
            }
            '$' => {
                let mut digits = String::new();
                while let Some(d) = chars.next_if(char::is_ascii_digit) {
                    digits.push(d);
                }
                let number = digits.parse().ok().filter(|&n| n > 0);
                number.ok_or_else(|| Error::argument("expected the number of a wildcard after `$`"))?
            }
            c => {
                text.push(c);
                continue;
            }
        };
        if !text.is_empty() {
            out.push(Piece::Text(std::mem::take(&mut text)));
        }
        out.push(Piece::Match(number));
    }
    if !text.is_empty() {
        out.push(Piece::Text(text));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_carry_over() -> Result<()> {
        let cases = [
            ("encoder.**", "model.encoder.**", "encoder.0.weight", Some("model.encoder.0.weight")),
            ("encoder.**", "model.encoder.**", "encoder", Some("model.encoder")),
            ("encoder.**", "x.**", "encoders.0", None),
            ("module.**", "**", "module.fc.bias", Some("fc.bias")),
            ("**", "module.**", "fc.bias", Some("module.fc.bias")),
            ("**.weight", "**.w", "a.b.weight", Some("a.b.w")),
            ("**.weight", "**.w", "weight", Some("w")),
            ("a.**.b", "c.**.d", "a.b", Some("c.d")),
            ("a.**.b", "c.**.d", "a.x.y.b", Some("c.x.y.d")),
            ("layer*.weight", "layers.*.weight", "layer12.weight", Some("layers.12.weight")),
            ("*.*.w", "$2.$1.w", "a.b.w", Some("b.a.w")),
            ("h.?.w", "h.x?.w", "h.7.w", Some("h.x7.w")),
            ("fc.(1)", "fc1", "fc.(1)", Some("fc1")),
        ];
        for (pattern, new, name, expected) in cases {
            let rename = Rename::new(pattern, new)?;
            assert_eq!(rename.apply(name).as_deref(), expected, "{pattern} {new} {name}");
        }
        assert!(Rename::new("a.*", "b.*.*").is_err() && Rename::new("a", "$1").is_err());
        Ok(())
    }
}
