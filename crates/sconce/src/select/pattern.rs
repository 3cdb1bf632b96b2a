//! A pattern of paths, as a regular expression.
//!
//! `globset` was tried first: its separator is the file system's, so a path would have to be rewritten before every
//! match, and a name with a `/` in it could not be told from two segments. A translation to `regex` says what is meant,
//! matches in linear time whatever the pattern, and costs no more dependencies.

use std::fmt::Write;

use regex::Regex;

use crate::{Error, Result};

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

/// A regular expression may take this much memory, in bytes.
const REGEX_LIMIT: usize = 1 << 20;

impl Pattern {
    /// Translates a pattern; an error is the message and the number of the character where the fault is.
    pub(super) fn new(text: &str) -> Result<Self, (usize, String)> {
        let regex = Translation::new(text).run()?;
        let regex = regex::RegexBuilder::new(&regex)
            .size_limit(REGEX_LIMIT)
            .build()
            .map_err(|_| (0, "the pattern is too long".to_owned()))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::new(text).map_err(|(at, message)| {
            Error::selector(format!("pattern `{text}`: {message} at column {}", at + 1))
        })
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

struct Translation {
    chars: Vec<char>,
    at: usize,
    out: String,
    /// Open braces.
    depth: usize,
}

/// Braces may be nested this deep: the translation to an automaton recurses.
const DEPTH: usize = 16;

impl Translation {
    fn new(text: &str) -> Self {
        Self { chars: text.chars().collect(), at: 0, out: r"(?s)\A(?:".into(), depth: 0 }
    }

    fn run(mut self) -> Result<String, (usize, String)> {
        if self.chars.is_empty() {
            return Err((0, "an empty pattern".into()));
        }
        let mut segment_starts = true;
        let mut opened = Vec::new();
        while let Some(&c) = self.chars.get(self.at) {
            let start = self.at;
            self.at += 1;
            if c == '.' && segment_starts {
                return Err((start, "an empty segment".into()));
            }
            match c {
                '*' if self.peek() == Some('*') => self.any_segments(start, segment_starts)?,
                '*' => self.out.push_str("[^.]*"),
                '?' => self.out.push_str("[^.]"),
                '[' => self.set(start)?,
                '{' => {
                    opened.push(start);
                    self.depth += 1;
                    if self.depth > DEPTH {
                        return Err((start, format!("more than {DEPTH} braces in each other")));
                    }
                    self.out.push_str("(?:");
                }
                ',' if self.depth > 0 => self.out.push('|'),
                '}' if self.depth > 0 => {
                    opened.pop();
                    self.depth -= 1;
                    self.out.push(')');
                }
                '}' => return Err((start, "a `}` without `{`".into())),
                '\'' | '"' => self.quoted(start, c)?,
                // `.**` at the end also matches nothing, its dot included.
                '.' if self.depth == 0 && self.ends_with_any() => {
                    self.out.push_str(r"(?:\.[^.]*)*");
                    self.at += 2;
                }
                c => self.literal(c),
            }
            segment_starts = match self.chars[self.at - 1] {
                '.' => true,
                '{' | ',' => segment_starts && self.depth > 0,
                _ => false,
            };
        }
        if let Some(&start) = opened.last() {
            return Err((start, "a `{` without `}`".into()));
        }
        if segment_starts {
            return Err((self.chars.len(), "an empty segment".into()));
        }
        self.out.push_str(r")\z");
        Ok(self.out)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Whether what remains is `**`.
    fn ends_with_any(&self) -> bool {
        self.chars[self.at..] == ['*', '*']
    }

    /// `**` where no `.` was read for it: alone, or before a `.`.
    fn any_segments(&mut self, start: usize, segment_starts: bool) -> Result<(), (usize, String)> {
        self.at += 1;
        match self.peek() {
            _ if self.depth > 0 => Err((start, "`**` within braces".into())),
            _ if !segment_starts => Err((start, "`**` must be a whole segment".into())),
            None => {
                self.out.push_str(".*");
                Ok(())
            }
            Some('.') => {
                self.at += 1;
                self.out.push_str(r"(?:[^.]*\.)*");
                Ok(())
            }
            Some(_) => Err((start, "`**` must be a whole segment".into())),
        }
    }

    /// `[abc]`, `[a-c]`, `[!abc]`.
    fn set(&mut self, start: usize) -> Result<(), (usize, String)> {
        let unclosed = (start, "a `[` without `]`".to_owned());
        let negated = self.peek() == Some('!');
        self.at += usize::from(negated);
        let mut members = String::new();
        loop {
            let c = self.peek().ok_or_else(|| unclosed.clone())?;
            self.at += 1;
            if c == ']' {
                break;
            }
            let range = self.peek() == Some('-') && !matches!(self.chars.get(self.at + 1), None | Some(']'));
            if range {
                let end = self.chars[self.at + 1];
                if end < c {
                    return Err((self.at - 1, format!("the range `{c}-{end}` runs backwards")));
                }
                self.at += 2;
                let _ = write!(members, r"\x{{{:x}}}-\x{{{:x}}}", c as u32, end as u32);
            } else {
                let _ = write!(members, r"\x{{{:x}}}", c as u32);
            }
        }
        if members.is_empty() {
            return Err((start, "an empty set `[]`".into()));
        }
        let _ =
            if negated { write!(self.out, r"[^.{members}]") } else { write!(self.out, r"[{members}&&[^.]]") };
        Ok(())
    }

    /// What is between quotes, as it stands.
    fn quoted(&mut self, start: usize, quote: char) -> Result<(), (usize, String)> {
        loop {
            match self.peek() {
                None => return Err((start, format!("a {quote} without its end"))),
                Some(c) if c == quote => {
                    self.at += 1;
                    return Ok(());
                }
                Some(c) => {
                    self.at += 1;
                    self.literal(c);
                }
            }
        }
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() {
            self.out.push(c);
        } else {
            let _ = write!(self.out, r"\x{{{:x}}}", c as u32);
        }
    }
}
