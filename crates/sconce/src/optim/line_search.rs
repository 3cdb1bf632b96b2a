//! A line search for the strong Wolfe conditions: Nocedal and Wright, "Numerical optimization", section 3.5.

use crate::Result;
use crate::tensor::{DType, Tensor};

/// How much of the decrease that the slope promises a step must bring.
const DECREASE: f64 = 1e-4;

/// How much of the slope may be left at the end of a step.
const CURVATURE: f64 = 0.9;

/// A point of the line: how far out it is, the loss there, its gradient, and the slope along the line.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) step: f64,
    pub(super) loss: f64,
    pub(super) gradient: Tensor,
    pub(super) slope: f64,
}

/// When a search ends.
pub(super) struct Limits {
    /// The greatest element of the direction.
    pub(super) reach: f64,
    /// Below which change of a parameter there is no point in going on.
    pub(super) tolerance: f64,
    /// How many more steps than the first may be tried.
    pub(super) tries: usize,
    /// The dtype of the parameters.
    pub(super) dtype: DType,
}

/// A number in the precision of the parameters. PyTorch's slopes are tensors, so all that is computed with them is
/// rounded: near a minimum this decides whether a loss counts as too high.
pub(super) fn rounded(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::F64 => x,
        DType::F16 => half::f16::from_f64(x).to_f64(),
        DType::BF16 => half::bf16::from_f64(x).to_f64(),
        _ => f64::from(x as f32),
    }
}

/// Finds a point that satisfies the conditions, or the best that was seen; with the number of points evaluated.
pub(super) fn strong_wolfe(
    start: Point,
    step: f64,
    limits: &Limits,
    mut at: impl FnMut(f64) -> Result<Point>,
) -> Result<(Point, usize)> {
    let round = |x: f64| rounded(limits.dtype, x);
    let too_high = |p: &Point| p.loss > round(start.loss + round(round(DECREASE * p.step) * start.slope));
    let flat = |p: &Point| p.slope.abs() <= round(round(-CURVATURE) * start.slope);
    let minimum = |a: &Point, b: &Point, bounds| minimum(a, b, bounds, round);

    // Goes out until a minimum lies between the last two points.
    let mut previous = start.clone();
    let mut new = at(step)?;
    let mut tries = 0;
    let mut bracket = loop {
        if tries >= limits.tries {
            break [start.clone(), new];
        }
        if too_high(&new) || (tries > 1 && new.loss >= previous.loss) {
            break [previous, new];
        }
        if flat(&new) {
            return Ok((new, tries + 1));
        }
        if new.slope >= 0.0 {
            break [previous, new];
        }
        let bounds = (new.step + 0.01 * (new.step - previous.step), new.step * 10.0);
        let next = at(minimum(&previous, &new, Some(bounds)))?;
        previous = std::mem::replace(&mut new, next);
        tries += 1;
    };

    // Halves the bracket, more or less, until a point in it will do.
    let lower = |b: &[Point; 2]| usize::from(b[0].loss > b[1].loss || b[0].loss.is_nan());
    let mut low = lower(&bracket);
    let mut close_before = false;
    while tries < limits.tries {
        let (left, right) = (bracket[0].step.min(bracket[1].step), bracket[0].step.max(bracket[1].step));
        if (right - left) * limits.reach < limits.tolerance {
            break;
        }
        let mut step = minimum(&bracket[0], &bracket[1], None);
        let margin = 0.1 * (right - left);
        if (right - step).min(step - left) < margin {
            // The second time in a row, or on the edge itself, nothing is gained: move inwards.
            if close_before || step >= right || step <= left {
                let nearer_right = (step - right).abs() < (step - left).abs();
                step = if nearer_right { right - margin } else { left + margin };
                close_before = false;
            } else {
                close_before = true;
            }
        } else {
            close_before = false;
        }
        let new = at(step)?;
        tries += 1;
        if too_high(&new) || new.loss >= bracket[low].loss {
            bracket[1 - low] = new;
            low = lower(&bracket);
        } else {
            let done = flat(&new);
            if !done && new.slope * (bracket[1 - low].step - bracket[low].step) >= 0.0 {
                bracket[1 - low] = bracket[low].clone();
            }
            bracket[low] = new;
            if done {
                break;
            }
        }
    }
    let [first, second] = bracket;
    Ok((if low == 0 { first } else { second }, tries + 1))
}

/// Where the cubic through two points with their slopes is least, within bounds: those of the points if none are given.
fn minimum(a: &Point, b: &Point, bounds: Option<(f64, f64)>, round: impl Fn(f64) -> f64) -> f64 {
    let (a, b) = if a.step <= b.step { (a, b) } else { (b, a) };
    let (low, high) = bounds.unwrap_or((a.step, b.step));
    let width = round(b.step - a.step);
    let secant = round(3.0 * (b.loss - a.loss) / width);
    let d = round(round(a.slope + b.slope) - secant);
    let square = round(round(d * d) - round(a.slope * b.slope));
    if square >= 0.0 {
        let root = round(square.sqrt());
        let part = round(round(b.slope + root) - d) / round(round(b.slope - a.slope) + 2.0 * root);
        let least = round(b.step - round(width * round(part)));
        least.max(low).min(high)
    } else {
        (low + high) / 2.0
    }
}
