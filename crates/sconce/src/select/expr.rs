//! A selector as a tree.

use std::fmt;

use super::pattern::Pattern;
use super::{Candidate, Kind};
use crate::tensor::DType;
use crate::{Error, Result};

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Path(Pattern),
    Kind(Kind),
    DType(DType),
    Number(Quantity, Comparison, u64),
    Trainable,
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Quantity {
    Ndim,
    Numel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Less => a < b,
            Self::AtMost => a <= b,
            Self::Greater => a > b,
            Self::AtLeast => a >= b,
        }
    }
}

impl Expr {
    pub(super) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self::And(match self {
            Self::And(mut parts) => {
                parts.push(other);
                parts
            }
            first => vec![first, other],
        })
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self::Or(match self {
            Self::Or(mut parts) => {
                parts.push(other);
                parts
            }
            first => vec![first, other],
        })
    }

    pub(super) fn matches(&self, c: &Candidate<'_>) -> Result<bool> {
        let unknown = |what: &str| Error::selector(format!("the {what} of `{}` is not known here", c.path));
        Ok(match self {
            Self::Path(pattern) => pattern.matches(c.path),
            Self::Kind(kind) => c.kind.ok_or_else(|| unknown("kind"))? == *kind,
            Self::DType(dtype) => c.dtype == *dtype,
            Self::Number(Quantity::Ndim, comparison, n) => comparison.holds(c.shape.len() as u64, *n),
            Self::Number(Quantity::Numel, comparison, n) => comparison.holds(c.numel(), *n),
            Self::Trainable => c.trainable.ok_or_else(|| unknown("`trainable` property"))?,
            Self::Not(part) => !part.matches(c)?,
            Self::And(parts) => {
                for part in parts {
                    if !part.matches(c)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Or(parts) => {
                for part in parts {
                    if part.matches(c)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }

    /// The patterns that something has to match, without those under a `!`.
    pub(super) fn paths(&self) -> Vec<&Pattern> {
        match self {
            Self::Path(pattern) => vec![pattern],
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::paths).collect(),
            _ => Vec::new(),
        }
    }

    /// How tightly the outermost operator binds.
    fn precedence(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            Self::Not(_) => 2,
            _ => 3,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, part: &Expr, least: u8| {
            if part.precedence() < least { write!(f, "({part})") } else { write!(f, "{part}") }
        };
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Expr], sign: &str, least: u8| {
            for (i, expr) in parts.iter().enumerate() {
                if i > 0 {
                    write!(f, " {sign} ")?;
                }
                part(f, expr, least)?;
            }
            Ok(())
        };
        match self {
            Self::Path(pattern) => f.write_str(pattern.text()),
            Self::Kind(Kind::Param) => f.write_str("kind==param"),
            Self::Kind(Kind::Buffer) => f.write_str("kind==buffer"),
            Self::DType(dtype) => write!(f, "dtype=={dtype}"),
            Self::Number(Quantity::Ndim, comparison, n) => write!(f, "ndim{}{n}", comparison.sign()),
            Self::Number(Quantity::Numel, comparison, n) => write!(f, "numel{}{n}", comparison.sign()),
            Self::Trainable => f.write_str("trainable"),
            Self::Not(expr) => {
                f.write_str("!")?;
                part(f, expr, 2)
            }
            Self::And(parts) => list(f, parts, "&", 2),
            Self::Or(parts) => list(f, parts, "|", 1),
        }
    }
}
