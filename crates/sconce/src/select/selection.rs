//! What a selector picked.

use std::fmt;

/// The names that a selector picked, at least one, in the order of the module or file.
///
/// Printed, it says what was picked:
///
/// ```
/// use sconce::nn::{Linear, ModuleExt};
///
/// let layer = Linear::new(4, 3)?;
/// let frozen = layer.freeze("bias")?;
/// assert_eq!(frozen.to_string(), "`bias` selects 1 of 2 names, 3 elements: bias");
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    selector: String,
    names: Vec<String>,
    numel: u64,
    total: usize,
}

/// A printed selection names at most this many at each end.
const SHOWN: usize = 10;

impl Selection {
    pub(super) fn new(selector: String) -> Self {
        Self { selector, names: Vec::new(), numel: 0, total: 0 }
    }

    pub(super) fn push(&mut self, name: &str, numel: u64) {
        self.names.push(name.to_owned());
        self.numel = self.numel.saturating_add(numel);
    }

    pub(super) fn seen(&mut self) {
        self.total += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a name is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// The number of elements of all of them.
    pub fn numel(&self) -> u64 {
        self.numel
    }

    /// The selector, in its normal form.
    pub fn selector(&self) -> &str {
        &self.selector
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, total) = (self.names.len(), self.total);
        write!(f, "`{}` selects {n} of {total} names, {} elements: ", self.selector, self.numel)?;
        if n <= 2 * SHOWN {
            f.write_str(&self.names.join(", "))
        } else {
            let (first, last) = (self.names[..SHOWN].join(", "), self.names[n - SHOWN..].join(", "));
            write!(f, "{first}, … ({} more), {last}", n - 2 * SHOWN)
        }
    }
}
