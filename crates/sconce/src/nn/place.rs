//! Where in a model an error happened.

use super::leaf::Param;
use crate::Result;

/// Adds a layer's path to an error, as its parameter knows it if the model was ever listed by name, loaded or optimised.
pub(super) fn named<T>(result: Result<T>, parameter: Option<&Param>) -> Result<T> {
    result.map_err(|error| match parameter.and_then(|p| p.label()) {
        Some(path) => match path.rsplit_once('.') {
            Some((layer, _)) => error.at(layer),
            None => error,
        },
        None => error,
    })
}
