//! Draws of categories by weight.

use super::distribution::exponential;
use super::element::RandomFloat;
use super::generator::Generator;

/// Draws `draws` categories from each row of `weights`, like `torch.multinomial`, and returns their indices row by row.
///
/// A row has `categories` weights, which need not sum to one. Without replacement, or for a single draw, every weight
/// of every row draws an exponential number and the categories with the greatest ratio win; of equal ratios the first,
/// where PyTorch does not say (it matters for narrow weights). With replacement each draw
/// takes two words. The caller sees to it that weights are finite, not negative and not all zero, and that `draws` is
/// at most `categories` where nothing is replaced; more are not returned.
///
/// ```
/// use sconce_kernels::rng::{Generator, multinomial};
///
/// let weights = [0.0_f32, 3.0, 0.0, 1.0];
/// let mut drawn = multinomial(&mut Generator::new(0), &weights, 4, 2, false);
/// drawn.sort();
/// assert_eq!(drawn, [1, 3]);
/// ```
pub fn multinomial<T: RandomFloat>(
    generator: &mut Generator,
    weights: &[T],
    categories: usize,
    draws: usize,
    replacement: bool,
) -> Vec<i64> {
    if categories == 0 {
        return Vec::new();
    }
    if replacement && draws > 1 {
        weights.chunks_exact(categories).flat_map(|row| with_replacement(generator, row, draws)).collect()
    } else {
        let mut scores = vec![T::default(); weights.len()];
        exponential(generator, &mut scores, 1.0);
        for (score, weight) in scores.iter_mut().zip(weights) {
            *score = T::from_f64(weight.to_f64() / score.to_f64());
        }
        scores.chunks_exact(categories).flat_map(|row| greatest(row, draws)).collect()
    }
}

/// The indices of the `n` greatest, in descending order; of equal ones the first comes first.
fn greatest<T: RandomFloat>(scores: &[T], n: usize) -> Vec<i64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let descending = |a: &usize, b: &usize| {
        let (x, y) = (scores[*a].to_f64(), scores[*b].to_f64());
        // NaN counts as greatest: 0/0, where a weight and its exponential are both zero.
        y.partial_cmp(&x).unwrap_or_else(|| y.is_nan().cmp(&x.is_nan())).then(a.cmp(b))
    };
    if n < order.len() {
        order.select_nth_unstable_by(n, descending);
        order.truncate(n);
    }
    order.sort_unstable_by(descending);
    order.into_iter().map(|i| i as i64).collect()
}

fn with_replacement<T: RandomFloat>(generator: &mut Generator, weights: &[T], draws: usize) -> Vec<i64> {
    let mut sum = 0.0;
    let mut cumulative: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum = T::compute(sum + weight.to_f64());
            sum
        })
        .collect();
    cumulative.iter_mut().for_each(|x| *x = T::compute(*x / sum));
    // The last category is what remains, whatever the rounding of the sum.
    cumulative.pop();
    (0..draws)
        .map(|_| {
            let u = generator.next_f64();
            cumulative.partition_point(|&x| x < u) as i64
        })
        .collect()
}
