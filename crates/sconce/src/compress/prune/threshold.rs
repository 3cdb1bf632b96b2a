//! Where scores are cut, found digit by digit in as many passes.

use std::sync::Arc;

use super::keys::Scores;
use super::mask::Mask;
use crate::{Error, Result};

const DIGIT_BITS: u32 = 16;

/// Cuts the `count` least scores of all tensors together off; of equal ones the first go.
pub(super) fn cut(scores: Vec<Scores>, count: usize) -> Result<Vec<Mask>> {
    if count == 0 {
        return Ok(scores.iter().map(|_| Mask::All).collect());
    }
    let digits = scores.first().map_or(0, |s| s.domain.digits());
    let random = scores.first().is_some_and(|s| !s.are_magnitudes());
    // The rest of a key that was complemented is ones.
    let (mut prefix, mut rest, mut below) = (0_u64, if random { u64::MAX } else { 0 }, 0_u64);
    let mut shift = u64::BITS;
    for _ in 0..digits {
        shift -= DIGIT_BITS;
        let mut counts = vec![0_u64; 1 << DIGIT_BITS];
        for scores in &scores {
            scores.for_each(|_, keys| {
                let wanted = prefix.checked_shr(shift + DIGIT_BITS).unwrap_or(0);
                let of_prefix = |key: &&u64| key.checked_shr(shift + DIGIT_BITS).unwrap_or(0) == wanted;
                keys.iter().filter(of_prefix).for_each(|key| counts[(key >> shift) as usize & 0xffff] += 1);
            })?;
        }
        let digit = counts.iter().position(|&n| {
            let here = below + n >= count as u64;
            below += if here { 0 } else { n };
            here
        });
        let digit = digit.ok_or_else(|| Error::format("the values changed while they were read"))?;
        prefix |= (digit as u64) << shift;
        rest = rest.checked_shr(DIGIT_BITS).unwrap_or(0);
    }
    let key = prefix | rest;
    let mut ties = count as u64 - below;
    scores
        .into_iter()
        .map(|scores| {
            // How far the equal scores of this tensor go.
            let mut end = 0;
            if ties > 0 {
                scores.for_each(|first, keys| {
                    for i in (0..keys.len()).filter(|&i| keys[i] == key) {
                        if ties > 0 {
                            ties -= 1;
                            end = first + i + 1;
                        }
                    }
                })?;
            }
            Ok(Mask::Threshold { scores: Arc::new(scores), key, end })
        })
        .collect()
}
