//! Integers and permutations.

use super::element::RandomElement;
use super::generator::{CHUNK, Generator};
use std::collections::TryReserveError;
use std::num::NonZeroU64;

/// Fills `out` with integers in [`low`, `low + span`), like `torch.randint(low, high)` where `span` is `high − low`.
///
/// An element takes one word, from a span of 2²⁸ on two, whatever the element type. The integers are made as `i64` and
/// then converted.
///
/// ```
/// use sconce_kernels::rng::{Generator, randint};
/// use std::num::NonZeroU64;
///
/// let mut x = [0_i64; 5];
/// randint(&mut Generator::new(0), &mut x, 0, NonZeroU64::new(10).unwrap());
/// assert_eq!(x, [4, 9, 3, 0, 3]); // torch.manual_seed(0); torch.randint(10, (5,))
/// ```
pub fn randint<T: RandomElement>(generator: &mut Generator, out: &mut [T], low: i64, span: NonZeroU64) {
    if span.get() >= 1 << 28 {
        out.fill_with(|| T::from_i64(low.wrapping_add((generator.next_u64() % span) as i64)));
    } else {
        let span = span.get() as u32;
        map_u32(generator, out, |word| T::from_i64(low.wrapping_add(i64::from(word % span))));
    }
}

/// Fills `out` with integers from 0 to the greatest of the element type, like `torch.Tensor.random_()`.
///
/// For floating types the greatest is the end of the range in which every integer has a representation: 2²⁴ for `f32`,
/// 2⁵³ for `f64`, 2¹¹ for `f16`, 2⁸ for `bf16`.
///
/// ```
/// use sconce_kernels::rng::{Generator, random};
///
/// let mut x = [0_i8; 100];
/// random(&mut Generator::new(0), &mut x);
/// assert!(x.iter().all(|&x| x >= 0));
/// ```
pub fn random<T: RandomElement>(generator: &mut Generator, out: &mut [T]) {
    if T::WIDE {
        out.fill_with(|| T::from_i64((generator.next_u64() % T::LIMIT) as i64));
    } else {
        map_u32(generator, out, |word| T::from_i64((u64::from(word) % T::LIMIT) as i64));
    }
}

/// Returns a random permutation of the integers from 0 to `n − 1`, like `torch.randperm`; the caller bounds `n`.
///
/// Each swap takes one word, from 214,748,364 integers on two.
///
/// ```
/// use sconce_kernels::rng::{Generator, randperm};
///
/// // torch.manual_seed(0); torch.randperm(5)
/// assert_eq!(randperm(&mut Generator::new(0), 5)?, [4, 0, 1, 3, 2]);
/// # Ok::<(), std::collections::TryReserveError>(())
/// ```
///
/// # Errors
///
/// If there is no memory for `n` integers.
pub fn randperm(generator: &mut Generator, n: usize) -> Result<Vec<i64>, TryReserveError> {
    let mut order: Vec<i64> = Vec::new();
    order.try_reserve_exact(n)?;
    order.extend(0..n as i64);
    if n < u32::MAX as usize / 20 {
        for i in 0..n.saturating_sub(1) {
            let ahead = generator.next_u32() as usize % (n - i);
            order.swap(i, i + ahead);
        }
    } else {
        // A single word has too few values for a permutation of this length to be uniform.
        for i in 0..n {
            let before = generator.next_u64() % (i as u64 + 1);
            order.swap(i, before as usize);
        }
    }
    Ok(order)
}

/// Fills `out` with `f` of one word each.
fn map_u32<T>(generator: &mut Generator, out: &mut [T], f: impl Fn(u32) -> T) {
    let mut words = [0; CHUNK];
    for out in out.chunks_mut(CHUNK) {
        let words = &mut words[..out.len()];
        generator.fill_u32(words);
        for (out, &word) in out.iter_mut().zip(&*words) {
            *out = f(word);
        }
    }
}
