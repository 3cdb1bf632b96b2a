//! How a case ends.

use std::fmt;

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The library has no such function, or no such form of it.
    Unsupported(String),
    /// The library returned an error.
    Refused(sconce::Error),
    /// A result is not the recorded one, or the case cannot be read.
    Wrong(String),
}

/// Ends a case as not supported.
pub(crate) fn unsupported<T>(what: String) -> Result<T, Stop> {
    Err(Stop::Unsupported(what))
}

/// Ends a case as failed.
pub(crate) fn wrong<T>(what: String) -> Result<T, Stop> {
    Err(Stop::Wrong(what))
}

impl From<sconce::Error> for Stop {
    fn from(error: sconce::Error) -> Self {
        Self::Refused(error)
    }
}

/// Malformed cases are failures: a runner that cannot read a case has not passed it.
impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Refused(error) => write!(f, "error: {error}"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

impl Stop {
    /// Says where it happened.
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        match self {
            Self::Unsupported(what) => Self::Unsupported(format!("{place}: {what}")),
            Self::Refused(error) => Self::Refused(error.context(place.to_string())),
            Self::Wrong(what) => Self::Wrong(format!("{place}: {what}")),
        }
    }
}

/// Adds the place to the reason of a case that ended.
pub(crate) trait At<T> {
    /// Says where it happened; the place is only written down if it did.
    fn at(self, place: impl fmt::Display) -> Result<T, Stop>;
}

impl<T, E: Into<Stop>> At<T> for Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T, Stop> {
        self.map_err(|e| e.into().at(place))
    }
}
