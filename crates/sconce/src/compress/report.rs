//! What edits changed, by name.

use std::fmt;

/// One tensor that an edit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The tensor's name before the edit.
    pub name: String,
    /// What happened to it.
    pub what: String,
    /// Tensors that were not selected but share memory with it, and so changed as well.
    pub also: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)?;
        match self.also.as_slice() {
            [] => Ok(()),
            also => write!(f, " (and so {}, in the same memory)", also.join(", ")),
        }
    }
}

/// Every change, in the order of the edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// One for each selected tensor of each edit; tensors with the same memory count once.
    pub changes: Vec<Change>,
}

impl Report {
    pub(super) fn push(&mut self, name: &str, what: impl Into<String>, also: Vec<String>) {
        self.changes.push(Change { name: name.to_owned(), what: what.into(), also });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}
