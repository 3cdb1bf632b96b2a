//! The selector's language as Rust functions.

use std::ops::{Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive};

use super::expr::{Comparison, Expr, Quantity};
use super::pattern::Pattern;
use super::{IntoSelector, Kind, Selector};
use crate::Result;
use crate::tensor::DType;

/// A selector in the making; it keeps the first error until [`build`](Self::build).
///
/// ```
/// use sconce::select::{Kind, kind, path};
/// let weights = path("**.weight").and(kind(Kind::Param)).and("!head.**");
/// assert_eq!(weights.build()?.to_string(), "**.weight & kind==param & !head.**");
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder(Result<Expr>);

impl Builder {
    /// What both pick.
    pub fn and(self, other: impl IntoSelector) -> Self {
        self.combine(other, Expr::and)
    }

    /// What either picks.
    pub fn or(self, other: impl IntoSelector) -> Self {
        self.combine(other, Expr::or)
    }

    /// What this does not pick.
    #[expect(clippy::should_implement_trait, reason = "the same word as `and` and `or`")]
    pub fn not(self) -> Self {
        Self(self.0.map(Expr::not))
    }

    /// The selector.
    ///
    /// # Errors
    ///
    /// If a string on the way could not be parsed.
    pub fn build(self) -> Result<Selector> {
        self.0.map(Selector)
    }

    fn combine(self, other: impl IntoSelector, how: fn(Expr, Expr) -> Expr) -> Self {
        Self(self.0.and_then(|this| Ok(how(this, other.into_selector()?.0))))
    }
}

/// Whole paths that match a pattern.
pub fn path(pattern: &str) -> Builder {
    Builder(Pattern::parse(pattern).map(Expr::Path))
}

/// Parameters, or buffers.
pub fn kind(kind: Kind) -> Builder {
    Builder(Ok(Expr::Kind(kind)))
}

/// Tensors of a dtype.
pub fn dtype(dtype: DType) -> Builder {
    Builder(Ok(Expr::DType(dtype)))
}

/// Tensors with so many dimensions: `ndim(1)`, `ndim(2..)`.
pub fn ndim(n: impl Numbers) -> Builder {
    numbers(Quantity::Ndim, n)
}

/// Tensors with so many elements: `numel(1)`, `numel(1000..)`.
pub fn numel(n: impl Numbers) -> Builder {
    numbers(Quantity::Numel, n)
}

/// Parameters that require a gradient.
pub fn trainable() -> Builder {
    Builder(Ok(Expr::Trainable))
}

fn numbers(quantity: Quantity, n: impl Numbers) -> Builder {
    let mut parts =
        n.bounds().into_iter().flatten().map(|(sign, n)| Expr::Number(quantity, sign.0, n as u64));
    // `Numbers` is sealed, and each implementation gives at least one bound.
    let all = Expr::Number(quantity, Comparison::AtLeast, 0);
    Builder(Ok(match parts.next() {
        None => all,
        Some(first) => parts.fold(first, Expr::and),
    }))
}

/// A comparison that a user cannot name.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Sign(Comparison);

/// A number or a range of numbers.
pub trait Numbers {
    /// At most two comparisons, all of which hold.
    #[doc(hidden)]
    fn bounds(self) -> [Option<(Sign, usize)>; 2];
}

macro_rules! numbers {
    ($($type:ty, $self:ident => $($sign:ident $n:expr),+;)*) => {
        $(impl Numbers for $type {
            fn bounds($self) -> [Option<(Sign, usize)>; 2] {
                let mut bounds = [None; 2];
                for (slot, bound) in bounds.iter_mut().zip([$((Sign(Comparison::$sign), $n)),+]) {
                    *slot = Some(bound);
                }
                bounds
            }
        })*
    };
}

numbers! {
    usize, self => Equal self;
    Range<usize>, self => AtLeast self.start, Less self.end;
    RangeFrom<usize>, self => AtLeast self.start;
    RangeInclusive<usize>, self => AtLeast *self.start(), AtMost *self.end();
    RangeTo<usize>, self => Less self.end;
    RangeToInclusive<usize>, self => AtMost self.end;
}
