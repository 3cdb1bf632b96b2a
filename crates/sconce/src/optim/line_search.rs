//! A line search for the strong Wolfe conditions: Nocedal and Wright, "Numerical optimization", section 3.5.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Sub};

use crate::Result;
use crate::tensor::{DType, Tensor};

/// How much of the decrease that the slope promises a step must bring.
const DECREASE: Number = Number::plain(1e-4);

/// How much of the slope may be left at the end of a step.
const CURVATURE: Number = Number::plain(0.9);

/// A number as PyTorch's search has it: a plain one in double precision, or one of a tensor, which rounds what it meets and
/// what comes of it to the tensor's precision. Near a minimum this decides whether a loss is too high.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) value: f64,
    dtype: Option<DType>,
}

impl Number {
    pub(super) const fn plain(value: f64) -> Self {
        Self { value, dtype: None }
    }

    /// The element of a tensor of a dtype.
    pub(super) fn of(dtype: DType, value: f64) -> Self {
        Self { value: rounded(dtype, value), dtype: Some(dtype) }
    }

    /// The number as it is computed with beside a tensor: a plain one is rounded to what the dtype is computed in.
    fn beside(self, dtype: DType) -> f64 {
        match (self.dtype, dtype) {
            (None, DType::F64) | (Some(_), _) => self.value,
            (None, _) => rounded(DType::F32, self.value),
        }
    }

    fn with(self, other: Self, compute: impl Fn(f64, f64) -> f64) -> Self {
        match self.dtype.or(other.dtype) {
            Some(dtype) => Self::of(dtype, compute(self.beside(dtype), other.beside(dtype))),
            None => Self::plain(compute(self.value, other.value)),
        }
    }

    pub(super) fn abs(self) -> Self {
        Self { value: self.value.abs(), ..self }
    }

    fn sqrt(self) -> Self {
        self.with(self, |x, _| x.sqrt())
    }

    /// The lesser; `self` unless the other one is less, as where one is NaN.
    pub(super) fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    /// The greater; `self` unless the other one is greater.
    fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

impl Add for Number {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.with(other, |x, y| x + y)
    }
}

impl Sub for Number {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.with(other, |x, y| x - y)
    }
}

impl Mul for Number {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.with(other, |x, y| x * y)
    }
}

impl Div for Number {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        match (self.dtype, other.dtype) {
            // PyTorch multiplies a plain number with the reciprocal of a tensor.
            (None, Some(dtype)) => self * Self::of(dtype, 1.0 / other.value),
            _ => self.with(other, |x, y| x / y),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.dtype.or(other.dtype) {
            Some(dtype) => self.beside(dtype).partial_cmp(&other.beside(dtype)),
            None => self.value.partial_cmp(&other.value),
        }
    }
}

/// A number in a precision.
pub(super) fn rounded(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::F64 => x,
        DType::F16 => half::f16::from_f64(x).to_f64(),
        DType::BF16 => half::bf16::from_f64(x).to_f64(),
        _ => f64::from(x as f32),
    }
}

/// A point of the line: how far out it is, the loss there, its gradient, and the slope along the line.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) step: Number,
    pub(super) loss: f64,
    pub(super) gradient: Tensor,
    pub(super) slope: Number,
}

/// When a search ends.
pub(super) struct Limits {
    /// The greatest element of the direction.
    pub(super) reach: Number,
    /// Below which change of a parameter there is no point in going on.
    pub(super) tolerance: f64,
    /// How many more steps than the first may be tried.
    pub(super) tries: usize,
}

/// Finds a point that satisfies the conditions, or the best that was seen; with the number of points evaluated.
pub(super) fn strong_wolfe(
    start: Point,
    step: Number,
    limits: &Limits,
    mut at: impl FnMut(Number) -> Result<Point>,
) -> Result<(Point, usize)> {
    let plain = Number::plain;
    let too_high = |p: &Point| plain(p.loss) > plain(start.loss) + DECREASE * p.step * start.slope;
    let flat = |p: &Point| p.slope.abs() <= plain(-CURVATURE.value) * start.slope;

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
        if new.slope.value >= 0.0 {
            break [previous, new];
        }
        let bounds = (new.step + plain(0.01) * (new.step - previous.step), new.step * plain(10.0));
        let next = at(minimum(&previous, &new, Some(bounds)))?;
        previous = std::mem::replace(&mut new, next);
        tries += 1;
    };

    // Halves the bracket, more or less, until a point in it will do.
    let lower = |b: &[Point; 2]| usize::from(!(b[0].loss <= b[1].loss));
    let mut low = lower(&bracket);
    let mut close_before = false;
    while tries < limits.tries {
        let (first, second) = (bracket[0].step, bracket[1].step);
        let (left, right) = (first.min(second), first.max(second));
        if (second - first).abs() * limits.reach < plain(limits.tolerance) {
            break;
        }
        let mut step = minimum(&bracket[0], &bracket[1], None);
        let margin = plain(0.1) * (right - left);
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
            let away = new.slope * (bracket[1 - low].step - bracket[low].step);
            if !done && away.value >= 0.0 {
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
fn minimum(a: &Point, b: &Point, bounds: Option<(Number, Number)>) -> Number {
    let (a, b) = if a.step <= b.step { (a, b) } else { (b, a) };
    let (low, high) = bounds.unwrap_or((a.step, b.step));
    let secant = Number::plain(3.0 * (b.loss - a.loss)) / (b.step - a.step);
    let d = a.slope + b.slope - secant;
    let square = d * d - a.slope * b.slope;
    if square.value >= 0.0 {
        let root = square.sqrt();
        let part = (b.slope + root - d) / (b.slope - a.slope + Number::plain(2.0) * root);
        (b.step - (b.step - a.step) * part).max(low).min(high)
    } else {
        (low + high) / Number::plain(2.0)
    }
}
