//! One edit, and its text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::draw::Distribution;
use super::map::Map;
use super::rename::Rename;
use crate::io::{Encoding, Packed};
use crate::select::{IntoSelector, Selector};
use crate::tensor::DType;
use crate::tensor::scalar::Scalar;
use crate::{Context, Error, Result};

/// A kind of edit, as help texts list it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// What follows the name.
    pub arguments: &'static str,
    /// What it does.
    pub help: &'static str,
    parse: fn(&mut Words) -> Result<Action>,
}

const fn verb(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    parse: fn(&mut Words) -> Result<Action>,
) -> Verb {
    Verb { name, arguments, help, parse }
}

/// Every kind of edit.
///
/// ```
/// assert!(sconce::compress::VERBS.iter().any(|verb| verb.name == "fill"));
/// ```
pub static VERBS: &[Verb] = &[
    verb("fill", "SELECTOR VALUE", "sets every element", |w| Ok(Action::Fill(w.number()?))),
    verb("scale", "SELECTOR FACTOR", "multiplies every element", |w| {
        Ok(Action::Map(Map::Scale(w.number()?)))
    }),
    verb("add", "SELECTOR VALUE", "adds to every element", |w| Ok(Action::Map(Map::Add(w.number()?)))),
    verb("clamp", "SELECTOR MIN MAX", "limits every element; `none` for no limit", clamp),
    verb(
        "nan-to-num",
        "SELECTOR [nan=0] [posinf=MAX] [neginf=MIN]",
        "replaces NaN and infinities, by 0 and the dtype's extremes unless said otherwise",
        nan_to_num,
    ),
    verb("cast", "SELECTOR DTYPE", "converts to another dtype, such as float16 or Q8_0", cast),
    verb(
        "init",
        "SELECTOR DISTRIBUTION [NAME=VALUE …] [seed=0]",
        "draws new values as torch.nn.init does after torch.manual_seed(seed), tensor after tensor",
        init,
    ),
    verb("copy", "SELECTOR SOURCE", "takes the values of the tensor named SOURCE", |w| {
        Ok(Action::Copy(w.name("SOURCE")?))
    }),
    verb("tie", "SELECTOR SOURCE", "shares the memory of the tensor named SOURCE", |w| {
        Ok(Action::Tie(w.name("SOURCE")?))
    }),
    verb("untie", "SELECTOR", "gives each tensor memory of its own", |_| Ok(Action::Untie)),
    verb("rename", "PATTERN NEW", "renames; the wildcards of NEW take what those of PATTERN matched", |w| {
        let new = w.name("NEW")?;
        Ok(Action::Rename(Rename::new(&w.rest(), &new)?))
    }),
    verb("drop", "SELECTOR", "takes tensors out", |_| Ok(Action::Drop)),
    verb("keep", "SELECTOR", "takes all other tensors out", |_| Ok(Action::Keep)),
    verb("from", "SELECTOR FILE", "takes the values of the same names in another file", |w| {
        Ok(Action::From(w.name("FILE")?.into()))
    }),
];

/// An edit of named tensors: what to do, and to which.
///
/// ```
/// use sconce::compress::Edit;
///
/// let edit = Edit::parse("clamp **.weight & ndim==2 none 0.5")?;
/// assert_eq!(edit.to_string(), "clamp **.weight & ndim==2 none 0.5");
/// let error = Edit::parse("fil **.bias 0").unwrap_err();
/// assert!(error.to_string().starts_with("edit `fil **.bias 0`: no edit is named `fil`; there are fill, scale"));
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Edit {
    pub(super) text: String,
    /// The part of the text after the selector, with the verb.
    pub(super) what: String,
    pub(super) selector: Option<Selector>,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Fill(Scalar),
    Map(Map),
    Cast(Encoding),
    Init(Distribution, u64),
    Copy(String),
    Tie(String),
    Untie,
    Rename(Rename),
    Drop,
    Keep,
    From(PathBuf),
}

impl Edit {
    /// Parses an edit: a verb of [`VERBS`], a selector (which may have blanks in it), arguments.
    ///
    /// # Errors
    ///
    /// Fails when the verb is unknown, or the selector or an argument is missing or malformed.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_plain(text).context(|| format!("edit `{text}`"))
    }

    fn parse_plain(text: &str) -> Result<Self> {
        let mut words = Words::split(text)?;
        if words.0.is_empty() {
            return Err(Error::argument("expected a verb and a selector"));
        }
        let name = words.0.remove(0);
        let Some(verb) = VERBS.iter().find(|v| v.name == name) else {
            let names: Vec<_> = VERBS.iter().map(|v| v.name).collect();
            return Err(Error::argument(format!(
                "no edit is named `{name}`; there are {}",
                names.join(", ")
            )));
        };
        let all = words.0.clone();
        let usage = || format!("`{} {}`", verb.name, verb.arguments);
        let action = (verb.parse)(&mut words).context(usage)?;
        let arguments = &all[words.0.len()..];
        let selector = match (&action, words.rest()) {
            (_, rest) if rest.is_empty() => {
                return Err(Error::argument("the selector is missing").context(usage()));
            }
            (Action::Rename(_), _) => None,
            (_, rest) => Some(Selector::parse(&rest)?),
        };
        let mut what = verb.name.to_owned();
        let mut text = format!("{} {}", verb.name, selector.as_ref().map_or(words.rest(), |s| s.to_string()));
        for word in arguments {
            what.push_str(&format!(" {word}"));
            text.push_str(&format!(" {word}"));
        }
        Ok(Self { text, what, selector, action })
    }

    /// Takes the values of the same names in another file; the path need not be a text.
    ///
    /// # Errors
    ///
    /// Fails when the selector is malformed.
    pub fn from_file(selector: impl IntoSelector, path: impl Into<PathBuf>) -> Result<Self> {
        let (selector, path) = (selector.into_selector()?, path.into());
        let shown = path.display().to_string();
        Ok(Self {
            text: format!("from {selector} {shown}"),
            what: format!("from {shown}"),
            selector: Some(selector),
            action: Action::From(path),
        })
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Edit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// The words of an edit; arguments are taken from the end, what is left is the selector.
struct Words(Vec<String>);

impl Words {
    /// Splits at blanks outside quotes.
    fn split(text: &str) -> Result<Self> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in text.chars() {
            match quote {
                None if c.is_whitespace() => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    continue;
                }
                None if c == '\'' || c == '"' => quote = Some(c),
                Some(open) if c == open => quote = None,
                _ => {}
            }
            word.push(c);
        }
        if quote.is_some() {
            return Err(Error::argument("a quote is not closed"));
        }
        if !word.is_empty() {
            words.push(word);
        }
        Ok(Self(words))
    }

    fn rest(&self) -> String {
        self.0.join(" ")
    }

    fn last(&mut self, what: &str) -> Result<String> {
        self.0.pop().ok_or_else(|| Error::argument(format!("{what} is missing")))
    }

    fn name(&mut self, what: &str) -> Result<String> {
        let word = self.last(what)?;
        Ok(unquoted(&word).unwrap_or(&word).to_owned())
    }

    fn number(&mut self) -> Result<Scalar> {
        number(&self.last("a number")?)
    }

    /// A number, or `none`.
    fn limit(&mut self) -> Result<Option<Scalar>> {
        match self.last("a number or `none`")? {
            word if word == "none" => Ok(None),
            word => number(&word).map(Some),
        }
    }

    /// The `name=value` at the end, the last first.
    fn option(&mut self) -> Option<(String, String)> {
        let (name, value) = self.0.last()?.split_once('=')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || value.starts_with('=') {
            return None;
        }
        let option = (name.to_owned(), value.to_owned());
        self.0.pop();
        Some(option)
    }
}

/// What stands between quotes, if the whole word does.
fn unquoted(word: &str) -> Option<&str> {
    let inner = word.strip_prefix('\'').and_then(|w| w.strip_suffix('\''));
    let inner = inner.or_else(|| word.strip_prefix('"').and_then(|w| w.strip_suffix('"')))?;
    (!inner.contains(['\'', '"'])).then_some(inner)
}

fn number(word: &str) -> Result<Scalar> {
    if let Ok(i) = word.parse::<i64>() {
        return Ok(Scalar::Int(i));
    }
    word.parse::<f64>()
        .map(Scalar::Float)
        .map_err(|_| Error::argument(format!("expected a number, found `{word}`")))
}

fn float(word: &str) -> Result<f64> {
    word.parse().map_err(|_| Error::argument(format!("expected a number, found `{word}`")))
}

fn clamp(words: &mut Words) -> Result<Action> {
    let max = words.limit()?;
    let min = words.limit()?;
    if min.is_none() && max.is_none() {
        return Err(Error::argument("at least one limit is needed"));
    }
    Ok(Action::Map(Map::Clamp { min, max }))
}

fn nan_to_num(words: &mut Words) -> Result<Action> {
    let (mut nan, mut posinf, mut neginf) = (0.0, None, None);
    while let Some((name, value)) = words.option() {
        match name.as_str() {
            "nan" => nan = float(&value)?,
            "posinf" => posinf = Some(float(&value)?),
            "neginf" => neginf = Some(float(&value)?),
            _ => return Err(Error::argument(format!("no argument is named `{name}`"))),
        }
    }
    Ok(Action::Map(Map::NanToNum { nan, posinf, neginf }))
}

fn cast(words: &mut Words) -> Result<Action> {
    encoding(&words.last("DTYPE")?).map(Action::Cast)
}

/// The encoding of a name: PyTorch's dtypes, their short names, and blocks that can be made.
pub(super) fn encoding(name: &str) -> Result<Encoding> {
    let short = match name {
        "double" => "float64",
        "float" => "float32",
        "half" => "float16",
        "long" => "int64",
        "int" => "int32",
        "short" => "int16",
        other => other,
    };
    let plain = DType::from_name(short).map(Encoding::Plain);
    let packed = || Packed::named(short).filter(Packed::can_encode).map(Encoding::Packed);
    let to = plain.or_else(packed);
    to.ok_or_else(|| Error::argument(format!("no dtype is named `{name}`")))
}

fn init(words: &mut Words) -> Result<Action> {
    let (mut options, mut seed) = (Vec::new(), 0);
    while let Some((name, value)) = words.option() {
        if name == "seed" {
            seed = value.parse().map_err(|_| Error::argument(format!("expected a seed, found `{value}`")))?;
        } else {
            options.push((name, value));
        }
    }
    let name = words.last("DISTRIBUTION")?;
    Ok(Action::Init(Distribution::parse(&name, &options)?, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_may_have_blanks_and_arguments_come_last() -> Result<()> {
        let cases = [
            ("fill **.bias 0", "fill **.bias 0"),
            ("  fill  **.bias & ndim == 1   -1.5", "fill **.bias & ndim==1 -1.5"),
            ("fill 'a name (1)' 0", "fill 'a name (1)' 0"),
            ("nan-to-num ** & ndim==2 nan=1", "nan-to-num ** & ndim==2 nan=1"),
            ("init ** normal std=0.02 seed=7", "init ** normal std=0.02 seed=7"),
            ("untie a | b", "untie a | b"),
            ("rename a.** b.**", "rename a.** b.**"),
        ];
        for (text, shown) in cases {
            assert_eq!(Edit::parse(text)?.to_string(), shown);
        }
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "expected a verb and a selector"),
            ("fill", "a number is missing"),
            ("fill 0", "the selector is missing"),
            ("fill ** x", "expected a number, found `x`"),
            ("clamp ** none none", "at least one limit is needed"),
            ("cast ** float33", "no dtype is named `float33`"),
            ("init ** gauss", "no distribution is named `gauss`"),
            ("init ** normal sd=1", "normal takes no `sd`"),
            ("fill 'a 0", "a quote is not closed"),
            ("nan-to-num ** inf=3", "no argument is named `inf`"),
        ];
        for (text, expected) in cases {
            let error = Edit::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
