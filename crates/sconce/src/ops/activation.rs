//! Activations of layers: rows of the table of [`unary`](super::unary).

use super::real::Real;
use super::unary::{Discrete, Formula, Unary, unary};
use crate::Result;
use crate::autograd::{Saves, apply, apply_inplace};
use crate::tensor::Tensor;
use crate::tensor::scalar::Operand;

/// Where the slope of `selu` and its scale come from: Klambauer et al., "Self-normalizing neural networks".
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// √(2 / π), and the weight of the cube in the approximation of GELU.
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBE: f64 = 0.044_715;

/// How [`Tensor::gelu`] is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gelu {
    /// By its definition, with the error function.
    #[default]
    Exact,
    /// With the hyperbolic tangent in its place; PyTorch's `approximate="tanh"`.
    Tanh,
}

/// α(e^(x/β) − 1) below 0, x above, times a scale.
#[inline(always)]
fn elu<R: Real>(x: R, alpha: f64, scale: f64, input_scale: f64) -> R {
    R::select(x.gt(x.constant(0.0)), x * scale, (x * input_scale).expm1() * (alpha * scale))
}

#[inline(always)]
fn elu_slope<R: Real>(g: R, x: R, alpha: f64, scale: f64, input_scale: f64) -> R {
    let below = (x * input_scale).exp() * (alpha * scale * input_scale);
    R::select(x.constant(0.0).ge(x), g * below, g * scale)
}

/// log(1 + eˣ), without overflow.
#[inline(always)]
fn softplus<R: Real>(x: R) -> R {
    x.masked(x.gt(x.constant(0.0))) + (-x.abs()).exp().log1p()
}

#[inline(always)]
fn clip<R: Real>(x: R, low: f64, high: f64) -> R {
    let (low, high) = (x.constant(low), x.constant(high));
    R::select(low.gt(x), low, R::select(x.gt(high), high, x))
}

/// 0 from two bounds outwards, g elsewhere, also for NaN.
#[inline(always)]
fn within<R: Real>(g: R, x: R, low: f64, high: f64) -> R {
    g.unless(x.constant(low).ge(x)).unless(x.ge(x.constant(high)))
}

unary! {
    static ACTIVATIONS;

    /// The Gaussian error linear unit x · Φ(x).
    ///
    /// ```
    /// use sconce::{Tensor, functional::Gelu};
    /// let x = Tensor::from_vec(vec![0.0f32, 1.0], [2])?;
    /// assert!((x.gelu(Gelu::Exact)?.to_vec::<f32>()?[1] - 0.8413447).abs() < 1e-6);
    /// assert!((x.gelu(Gelu::Tanh)?.to_vec::<f32>()?[1] - 0.841192).abs() < 1e-6);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    gelu GeluOp, gelu_ (approximate: Gelu = Gelu::Tanh) {
        forward: |x| match approximate {
            Gelu::Exact => x * 0.5 * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0),
            Gelu::Tanh => x * 0.5 * (((x + x * x * x * GELU_CUBE) * GELU_SCALE).tanh() + 1.0),
        },
        backward: |g, x, y| match approximate {
            Gelu::Exact => {
                let cdf = ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
                let pdf = (x * x * -0.5).exp() * 0.398_942_280_401_432_7;
                g * (cdf + x * pdf)
            }
            Gelu::Tanh => {
                let t = ((x + x * x * x * GELU_CUBE) * GELU_SCALE).tanh();
                let inner = (x * x * (3.0 * GELU_CUBE) + 1.0) * GELU_SCALE;
                g * ((t + 1.0) * 0.5 + x * 0.5 * (-(t * t) + 1.0) * inner)
            }
        },
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// log(1 + e^(`beta` x)) / `beta`, and x itself where `beta` x exceeds `threshold`; PyTorch's defaults are 1 and 20.
    softplus Softplus, softplus_ (beta: f64 = 2.0, threshold: f64 = 3.0) {
        forward: |x| {
            let z = x * beta;
            R::select(z.gt(x.constant(threshold)), x, softplus(z) / beta)
        },
        backward: |g, x, y| {
            let z = x * beta;
            R::select(z.gt(x.constant(threshold)), g, g * z.sigmoid())
        },
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// log of the sigmoid, without overflow.
    logsigmoid LogSigmoid, logsigmoid_ () {
        forward: |x| -softplus(-x),
        backward: |g, x, y| g * (-x).sigmoid(),
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x above 0, `alpha` · (eˣ − 1) below.
    elu Elu, elu_ (alpha: f64 = 0.7) {
        forward: |x| elu(x, alpha, 1.0, 1.0),
        backward: |g, x, y| elu_slope(g, x, alpha, 1.0, 1.0),
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x above 0, `alpha` · (e^(x / `alpha`) − 1) below.
    celu Celu, celu_ (alpha: f64 = 0.7) {
        forward: |x| elu(x, alpha, 1.0, 1.0 / alpha),
        backward: |g, x, y| elu_slope(g, x, alpha, 1.0, 1.0 / alpha),
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// The scaled exponential linear unit.
    selu Selu, selu_ () {
        forward: |x| elu(x, SELU_ALPHA, SELU_SCALE, 1.0),
        backward: |g, x, y| elu_slope(g, x, SELU_ALPHA, SELU_SCALE, 1.0),
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x · tanh(log(1 + eˣ)).
    mish Mish, mish_ () {
        forward: |x| x * softplus(x).tanh(),
        backward: |g, x, y| {
            let t = softplus(x).tanh();
            g * (t + x * x.sigmoid() * (-(t * t) + 1.0))
        },
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x clipped to [0, 6].
    relu6 Relu6, relu6_ () {
        forward: |x| clip(x, 0.0, 6.0),
        int: |x| x.clamp(0, 6),
        backward: |g, x, y| within(g, x, 0.0, 6.0),
        saves: INPUTS,
        domain: (-3.0, 9.0),
    }

    /// x clipped to [`min_val`, `max_val`]; the gradient at both is 0. PyTorch's defaults are −1 and 1.
    hardtanh Hardtanh, hardtanh_ (min_val: f64 = -1.0, max_val: f64 = 1.5) {
        forward: |x| clip(x, min_val, max_val),
        int: |x| x.max(min_val as i64).min(max_val as i64),
        backward: |g, x, y| within(g, x, min_val, max_val),
        saves: INPUTS,
        requires: min_val <= max_val, "min_val must not exceed max_val",
        domain: (-3.0, 3.0),
    }

    /// x / 6 + 1 / 2, clipped to [0, 1].
    hardsigmoid Hardsigmoid, hardsigmoid_ () {
        forward: |x| clip(x + 3.0, 0.0, 6.0) / 6.0,
        backward: |g, x, y| (g / 6.0).masked(x.gt(x.constant(-3.0))).masked(x.constant(3.0).gt(x)),
        saves: INPUTS,
        ints: Refuse,
        domain: (-5.0, 5.0),
    }

    /// x · [`hardsigmoid`](Self::hardsigmoid)(x).
    hardswish Hardswish, hardswish_ () {
        forward: |x| x * clip(x + 3.0, 0.0, 6.0) / 6.0,
        backward: |g, x, y| {
            let inside = R::select(x.ge(x.constant(3.0)), g, g * (x / 3.0 + 0.5));
            R::select(x.equal(x), inside, g).unless(x.constant(-3.0).ge(x))
        },
        saves: INPUTS,
        ints: Refuse,
        domain: (-5.0, 5.0),
    }

    /// x / (1 + |x|).
    softsign Softsign, softsign_ () {
        forward: |x| x / (x.abs() + 1.0),
        // By the quotient rule, which makes NaN of infinities, as PyTorch does.
        backward: |g, x, y| {
            let d = x.abs() + 1.0;
            g / d - g * (x / d / d) * x.sign()
        },
        saves: INPUTS,
        bools: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x − tanh x.
    tanhshrink Tanhshrink, tanhshrink_ () {
        forward: |x| x - x.tanh(),
        backward: |g, x, y| {
            let t = x.tanh();
            g * (t * t)
        },
        saves: INPUTS,
        bools: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x where |x| exceeds `lambd`, otherwise 0; PyTorch's default is 0.5.
    hardshrink Hardshrink, hardshrink_ (lambd: f64 = 0.7) {
        forward: |x| x.unless_within(lambd, x),
        backward: |g, x, y| x.unless_within(lambd, g),
        saves: INPUTS,
        ints: Refuse,
        domain: (-3.0, 3.0),
    }

    /// x brought nearer to 0 by `lambd`, 0 where it is no further than that; PyTorch's default is 0.5.
    softshrink Softshrink, softshrink_ (lambd: f64 = 0.7) {
        forward: |x| {
            let (low, high) = (x.constant(-lambd), x.constant(lambd));
            R::select(x.gt(high), x - lambd, R::select(low.gt(x), x + lambd, x * 0.0))
        },
        backward: |g, x, y| x.unless_within(lambd, g),
        saves: INPUTS,
        ints: Refuse,
        requires: lambd >= 0.0, "lambd must not be negative",
        domain: (-3.0, 3.0),
    }

    /// x where it exceeds `threshold`, otherwise `value`.
    threshold Threshold, threshold_ (threshold: f64 = 0.5, value: f64 = 2.0) {
        forward: |x| R::select(x.constant(threshold).ge(x), x.constant(value), x),
        int: |x| if x as f64 <= threshold { value as i64 } else { x },
        backward: |g, x, y| g.unless(x.constant(threshold).ge(x)),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }
}

/// A float between two numbers, in one pass.
#[derive(Clone, Copy, Debug)]
struct Clamp {
    low: f64,
    high: f64,
}

impl Clamp {
    /// `None` unless the tensor is one of floats and the bounds are numbers that do not cross.
    fn of(x: &Tensor, min: Operand<'_>, max: Operand<'_>) -> Option<Unary<Self>> {
        let (Operand::Scalar(min), Operand::Scalar(max)) = (min, max) else { return None };
        let (low, high) = (min.to_f64(), max.to_f64());
        (x.dtype().is_floating_point() && low <= high).then_some(Unary(Self { low, high }))
    }
}

impl Formula for Clamp {
    const NAME: &'static str = "clamp";
    const SAVES: Saves = Saves::INPUTS;
    const INTS: Discrete = Discrete::Refuse;
    const BOOLS: Discrete = Discrete::Refuse;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    #[inline(always)]
    fn forward<R: Real>(&self, x: R) -> R {
        clip(x, self.low, self.high)
    }

    fn int(&self, x: i64) -> i64 {
        x
    }

    #[inline(always)]
    fn backward<R: Real>(&self, g: R, x: R, _: R) -> R {
        g.masked(x.ge(x.constant(self.low))).masked(x.constant(self.high).ge(x))
    }
}

impl Tensor {
    /// Between two bounds, each a number or a tensor; where they cross the upper one holds.
    ///
    /// For one bound alone there are [`clamp_min`](Self::clamp_min) and [`clamp_max`](Self::clamp_max). The gradient at
    /// a bound is this tensor's.
    ///
    /// # Errors
    ///
    /// If the shapes do not broadcast or a dtype is bool or only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-2.0f32, 0.5, 3.0], [3])?;
    /// assert_eq!(x.clamp(-1, 1)?.to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn clamp<'a>(&self, min: impl Into<Operand<'a>>, max: impl Into<Operand<'a>>) -> Result<Tensor> {
        let (min, max) = (min.into(), max.into());
        match Clamp::of(self, min, max) {
            Some(op) => apply(op, &[self]),
            None => self.clamp_min(min)?.clamp_max(max),
        }
    }

    /// [`clamp`](Self::clamp) in place.
    ///
    /// # Errors
    ///
    /// As out of place; also if the result does not fit this tensor, or it may not be changed while recording.
    pub fn clamp_<'a>(&self, min: impl Into<Operand<'a>>, max: impl Into<Operand<'a>>) -> Result<()> {
        let (min, max) = (min.into(), max.into());
        if let Some(op) = Clamp::of(self, min, max) {
            return apply_inplace(op, self, &[]);
        }
        self.clamp_min_(min)?;
        self.clamp_max_(max)
    }

    /// x where positive, otherwise x times a learned `weight`: one, or one per channel (dimension 1).
    ///
    /// # Errors
    ///
    /// If the number of weights is neither 1 nor that of channels.
    pub fn prelu(&self, weight: &Tensor) -> Result<Tensor> {
        let channels = self.shape().get(1).copied().unwrap_or(1);
        if weight.dim() > 1 || weight.numel() != 1 && weight.numel() != channels {
            return Err(crate::Error::shape(format!(
                "prelu: needs 1 or {channels} weights for shape {:?}, found shape {:?}",
                self.shape(),
                weight.shape()
            )));
        }
        let weight = if weight.numel() == 1 {
            weight.reshape(())?
        } else {
            let mut shape = vec![1isize; self.dim()];
            shape[1] = -1;
            weight.reshape(shape)?
        };
        self.where_(&self.detach().gt(0)?, &self.mul(&weight)?)
    }
}
