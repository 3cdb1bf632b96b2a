//! Where in a model an error happened.

use super::leaf::Param;
use crate::Result;

/// Adds the path of a layer's parameter to an error, if the model was ever listed by name.
pub(super) fn named<T>(result: Result<T>, parameter: Option<&Param>) -> Result<T> {
    result.map_err(|error| match parameter.and_then(|p| p.label()) {
        Some(path) => error.context(format!("`{path}`")),
        None => error,
    })
}
