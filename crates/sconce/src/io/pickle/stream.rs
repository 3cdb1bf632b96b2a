//! Pickles that follow each other in one file, each ending where its program says.

use super::machine::run_start;
use super::{Permission, Pickle};
use crate::error::Result;
use crate::io::source::Source;

/// Bytes that are read at first, and how many times more when they were too few.
const FIRST_BYTES: u64 = 1 << 12;
const GROWTH: u64 = 8;

/// Runs the pickle that begins at byte `at` and has at most `limit` bytes; also returns where it ends.
pub(in crate::io) fn run_at(
    source: &Source,
    at: u64,
    limit: u64,
    permission: &dyn Fn(&str) -> Permission,
) -> Result<(Pickle, u64)> {
    let available = source.size().saturating_sub(at).min(limit);
    let mut window = FIRST_BYTES.min(available);
    loop {
        let bytes = source.read_vec(at, window)?;
        match run_start(&bytes, permission) {
            Ok((pickle, used)) => return Ok((pickle, at + used as u64)),
            Err(failure) if failure.ran_out && window < available => {
                window = (window * GROWTH).min(available);
            }
            Err(failure) => return Err(failure.error),
        }
    }
}
