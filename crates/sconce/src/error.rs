//! The one error type of the library.

use std::error::Error as StdError;
use std::fmt;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes do not fit each other or the operation.
    Shape,
    /// An element type that the operation does not take.
    DType,
    /// An index, dimension or range outside its bounds.
    Index,
    /// Any other argument outside its domain.
    Argument,
    /// A rule of automatic differentiation is broken.
    Autograd,
    /// Another thread kept a tensor's storage locked too long.
    Busy,
    /// A parameter, tensor or file of that name does not exist.
    NotFound,
    /// A selector that cannot be parsed, or that matches nothing.
    Selector,
    /// A state dict that does not fit the module.
    Load,
    /// A file that does not follow its format, or exceeds a limit.
    Format,
    /// The operating system refused to read or write.
    Io,
    /// Something that this build does not implement.
    Unsupported,
}

/// An error: a kind to match on, a message for people, and where it happened.
///
/// The message names the operation, what was expected and what was found. `Display` prints it on one line after its
/// context, outermost first.
///
/// ```
/// use sconce::{DType, ErrorKind, Tensor};
///
/// let a = Tensor::zeros([2, 3], DType::F32)?;
/// let error = a.matmul(&Tensor::zeros([4, 5], DType::F32)?).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Shape);
/// assert_eq!(error.to_string(), "matmul: inner dimensions differ: [2, 3] @ [4, 5]");
/// # Ok::<(), sconce::Error>(())
/// ```
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    message: String,
    /// Innermost first.
    context: Vec<Place>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Where an error happened.
enum Place {
    /// Words.
    Words(String),
    /// The path of a part of a model, from a module that an outer one may say the path of.
    Path(String),
    /// The path of a part of a model, from the whole.
    Whole(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Words(text) | Self::Path(text) | Self::Whole(text)) = self;
        f.write_str(text)
    }
}

impl Error {
    /// Creates an error of a kind with a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Repr { kind, message: message.into(), context: Vec::new(), source: None }))
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Adds where the error happened: a file, a parameter's path, an operation.
    #[must_use]
    pub fn context(mut self, place: impl Into<String>) -> Self {
        self.0.context.push(Place::Words(place.into()));
        self
    }

    /// Adds the path of the part of a model that failed, as its container knows it: paths of nested parts are joined.
    ///
    /// ```
    /// use sconce::{Context, Error};
    ///
    /// let inner: Result<(), Error> = Err(Error::shape("conv2d: 3 channels"));
    /// let outer = inner.within("conv").within("features.0").unwrap_err();
    /// assert_eq!(outer.to_string(), "features.0.conv: conv2d: 3 channels");
    /// ```
    #[must_use]
    pub fn within(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        match self.0.context.last_mut() {
            Some(Place::Path(inner)) => *inner = format!("{path}.{inner}"),
            Some(Place::Whole(_)) => {}
            _ => self.0.context.push(Place::Path(path)),
        }
        self
    }

    /// Adds the path of the part of a model that failed, as the model's parameters know it.
    #[must_use]
    pub(crate) fn at(mut self, path: &str) -> Self {
        match self.0.context.last_mut() {
            Some(Place::Whole(_)) => {}
            Some(place @ Place::Path(_)) => *place = Place::Whole(format!("{path}.{place}")),
            _ => self.0.context.push(Place::Whole(path.to_owned())),
        }
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// An error of kind [`ErrorKind::Shape`].
    shape => Shape;
    /// An error of kind [`ErrorKind::DType`].
    dtype => DType;
    /// An error of kind [`ErrorKind::Index`].
    index => Index;
    /// An error of kind [`ErrorKind::Argument`].
    argument => Argument;
    /// An error of kind [`ErrorKind::Autograd`].
    autograd => Autograd;
    /// An error of kind [`ErrorKind::NotFound`].
    not_found => NotFound;
    /// An error of kind [`ErrorKind::Selector`].
    selector => Selector;
    /// An error of kind [`ErrorKind::Load`].
    load => Load;
    /// An error of kind [`ErrorKind::Format`].
    format => Format;
    /// An error of kind [`ErrorKind::Unsupported`].
    unsupported => Unsupported;
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.0.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, error.to_string()).with_source(error)
    }
}

/// Adds context to the error of a `Result`.
pub trait Context<T> {
    /// Adds where an error happened; the closure runs only on an error.
    fn context<S: Into<String>>(self, place: impl FnOnce() -> S) -> Result<T>;

    /// Adds the path of the part of a model that failed; see [`Error::within`].
    fn within(self, path: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, place: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.into().context(place()))
    }

    fn within(self, path: impl Into<String>) -> Result<T> {
        self.map_err(|e| e.into().within(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<Box<u8>>>(), 2 * size_of::<usize>());
    }

    #[test]
    fn prints_context_outermost_first() {
        let error = Error::format("bad magic").context("record 1").context("a.pt");
        assert_eq!(error.to_string(), "a.pt: record 1: bad magic");
    }
}
