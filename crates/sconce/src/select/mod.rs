//! The selector: one small language that picks parameters by path and by what they are.
//!
//! It is the same in [`ModuleExt::freeze`](crate::nn::ModuleExt::freeze), in the groups of an optimiser and on the
//! command line. A string is accepted wherever a [`Selector`] is. What a selector picks is a [`Selection`], which says
//! so when printed; picking nothing is an error that names what is near.
//!
//! # Paths
//!
//! A pattern describes a **whole** path, segment by segment; segments are separated by `.`.
//!
//! | in a pattern | matches |
//! |---|---|
//! | `*` | any part of one segment, or all of it |
//! | `?` | one character of a segment |
//! | `[0-3]`, `[ab]`, `[!ab]` | one character of a segment, in the set or (`!`) outside it |
//! | `**` | any number of whole segments, also none |
//! | `{a,b}` | either of several patterns, which may have several segments |
//! | `'…'` or `"…"` | exactly what is between the quotes |
//!
//! So `layers.1` never matches `layers.10`, and `layers.1.**` is everything below `layers.1`.
//!
//! # Predicates
//!
//! | predicate | |
//! |---|---|
//! | `kind==param`, `kind==buffer` | `!=` as well |
//! | `dtype==float16` | PyTorch's names; `!=` as well |
//! | `ndim==1` | the number of dimensions; also `!=`, `<`, `<=`, `>`, `>=` |
//! | `numel>1000` | the number of elements, likewise |
//! | `trainable` | whether the parameter requires a gradient (quote it to mean a path) |
//!
//! # Combinations
//!
//! `!a` (not), `a & b` (and), `a | b` (or), in this order of precedence, and parentheses. Blanks mean nothing.
//!
//! # Examples
//!
//! | selector | picks |
//! |---|---|
//! | `**` | everything |
//! | `fc1.weight` | that one |
//! | `*.weight` | `fc1.weight`, not `features.0.weight` |
//! | `**.bias` | every bias, at any depth |
//! | `features.**` | everything below `features` |
//! | `features.[02].*` | what `features.0` and `features.2` hold themselves |
//! | `{fc1,features.*}.bias` | `fc1.bias`, `features.0.bias` |
//! | `features.** & !**.bias` | everything below `features` but the biases |
//! | `** & ndim==1` | all vectors: biases and scales |
//! | `**.weight & (ndim==4 \| ndim==2)` | the weights of convolutions and linear layers |
//! | `** & dtype==float16 & numel>1000` | large tensors of half precision |
//! | `kind==buffer` | running statistics and the like |
//! | `!trainable` | what is frozen, and buffers |
//! | `'a name (1)'` | the name with these very characters |
//!
//! # In Rust
//!
//! The functions of this module build the same selectors from the same words:
//!
//! ```
//! use sconce::select::{Selector, dtype, ndim, numel, path};
//! use sconce::DType;
//!
//! let built = path("**.bias").or(ndim(1)).and(numel(10..).not());
//! assert_eq!(built.build()?.to_string(), "(**.bias | ndim==1) & !numel>=10");
//! assert_eq!(Selector::parse("(**.bias|ndim==1)&!numel>=10")?.to_string(), "(**.bias | ndim==1) & !numel>=10");
//! assert_eq!(dtype(DType::F16).build()?.to_string(), "dtype==float16");
//! # Ok::<(), sconce::Error>(())
//! ```

mod build;
mod expr;
pub(crate) mod near;
mod parse;
mod pattern;
mod selection;

pub use build::{Builder, Numbers, dtype, kind, ndim, numel, path, trainable};
pub use selection::Selection;

use std::fmt;
use std::str::FromStr;

use crate::tensor::DType;
use crate::{Error, Result};
use expr::Expr;

/// What kind of tensor of a module something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A trained tensor.
    Param,
    /// A tensor that is state.
    Buffer,
}

/// What a selector looks at: a parameter of a live module, or a tensor in a file.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The segments, joined by `.`.
    pub path: &'a str,
    /// Its kind, where that is known: a file does not tell.
    pub kind: Option<Kind>,
    /// The element type.
    pub dtype: DType,
    /// The size of each dimension.
    pub shape: &'a [usize],
    /// Whether it requires a gradient, where that is known.
    pub trainable: Option<bool>,
}

impl Candidate<'_> {
    fn numel(&self) -> u64 {
        self.shape.iter().fold(1u64, |product, &n| product.saturating_mul(n as u64))
    }
}

/// A parsed selector; the [module](self) documents the language.
///
/// ```
/// use sconce::select::{Candidate, Selector};
/// use sconce::DType;
///
/// let biases = Selector::parse("features.** & !**.weight")?;
/// let bias = Candidate {
///     path: "features.0.bias",
///     kind: None,
///     dtype: DType::F32,
///     shape: &[16],
///     trainable: None,
/// };
/// assert!(biases.matches(&bias)?);
/// assert!(!biases.matches(&Candidate { path: "features.0.weight", ..bias })?);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Selector(Expr);

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    ///
    /// If the text does not follow the language; the message says where.
    ///
    /// ```
    /// use sconce::select::Selector;
    /// let error = Selector::parse("**.bias & ndim=1").unwrap_err();
    /// assert_eq!(error.to_string(), "selector `**.bias & ndim=1`: expected `==`, found `=` at column 15");
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text).map(Self)
    }

    /// Whether a candidate is picked.
    ///
    /// # Errors
    ///
    /// If the selector asks for something that is not known of the candidate.
    pub fn matches(&self, candidate: &Candidate<'_>) -> Result<bool> {
        self.0.matches(candidate).map_err(|e| e.context(format!("selector `{self}`")))
    }

    /// The paths of the candidates that are picked, in their order.
    ///
    /// # Errors
    ///
    /// If none is, or as [`matches`](Self::matches).
    pub fn select<'a>(&self, candidates: impl IntoIterator<Item = Candidate<'a>>) -> Result<Selection> {
        let mut selection = Selection::new(self.to_string());
        let mut others = Vec::new();
        for candidate in candidates {
            if self.matches(&candidate)? {
                selection.push(candidate.path, candidate.numel());
            } else if selection.is_empty() {
                others.push(candidate.path);
            }
            selection.seen();
        }
        if selection.is_empty() { Err(self.nothing(&others)) } else { Ok(selection) }
    }

    fn nothing(&self, names: &[&str]) -> Error {
        let all = names.len();
        let hint = match self.0.paths().into_iter().find(|p| !names.iter().any(|n| p.matches(n))) {
            _ if names.is_empty() => String::new(),
            None => "; each part matches something, but no name matches all".into(),
            Some(pattern) => {
                let text = pattern.text();
                let below = format!("{text}.");
                if names.iter().any(|name| name.starts_with(&below)) {
                    format!("; for all below `{text}` write `{text}.**`")
                } else {
                    near::did_you_mean_below(text, names)
                }
            }
        };
        Error::selector(format!("selector `{self}` matches none of {all} names{hint}"))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// What is accepted where a selector is wanted: a [`Selector`], a [`Builder`] or a string to parse.
pub trait IntoSelector {
    /// The selector.
    ///
    /// # Errors
    ///
    /// If a string does not follow the language.
    fn into_selector(self) -> Result<Selector>;
}

impl IntoSelector for Selector {
    fn into_selector(self) -> Result<Selector> {
        Ok(self)
    }
}

impl IntoSelector for &Selector {
    fn into_selector(self) -> Result<Selector> {
        Ok(self.clone())
    }
}

impl IntoSelector for Builder {
    fn into_selector(self) -> Result<Selector> {
        self.build()
    }
}

impl IntoSelector for &str {
    fn into_selector(self) -> Result<Selector> {
        Selector::parse(self)
    }
}

impl IntoSelector for &String {
    fn into_selector(self) -> Result<Selector> {
        Selector::parse(self)
    }
}

impl IntoSelector for String {
    fn into_selector(self) -> Result<Selector> {
        Selector::parse(&self)
    }
}
