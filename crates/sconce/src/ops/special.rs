//! Elementwise functions that are computed in double precision: inverse and hyperbolic functions, gamma and its kin.

mod functions;

pub(crate) use self::functions::{Special, Special2};
use super::binary::{BOTH, NEITHER, X, binary};
use super::unary::unary;

unary! {
    static SPECIAL;

    /// The inverse sine, in radians.
    asin Asin, asin_ () {
        forward: |x| x.special(Special::Asin),
        backward: |g, x, y| g / (-(x * x) + 1.0).sqrt(),
        saves: INPUTS,
        domain: (-0.9, 0.9),
    }

    /// The inverse cosine, in radians.
    acos Acos, acos_ () {
        forward: |x| x.special(Special::Acos),
        backward: |g, x, y| -g / (-(x * x) + 1.0).sqrt(),
        saves: INPUTS,
        domain: (-0.9, 0.9),
    }

    /// The inverse tangent, in radians.
    atan Atan, atan_ () {
        forward: |x| x.special(Special::Atan),
        backward: |g, x, y| g / (x * x + 1.0),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// The inverse hyperbolic sine.
    asinh Asinh, asinh_ () {
        forward: |x| x.special(Special::Asinh),
        backward: |g, x, y| g / (x * x + 1.0).sqrt(),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// The inverse hyperbolic cosine; NaN below 1.
    acosh Acosh, acosh_ () {
        forward: |x| x.special(Special::Acosh),
        backward: |g, x, y| g / (x * x - 1.0).sqrt(),
        saves: INPUTS,
        domain: (1.2, 3.0),
    }

    /// The inverse hyperbolic tangent.
    atanh Atanh, atanh_ () {
        forward: |x| x.special(Special::Atanh),
        backward: |g, x, y| g / (-(x * x) + 1.0),
        saves: INPUTS,
        domain: (-0.9, 0.9),
    }

    /// 1 − [`erf`](Self::erf), without cancellation.
    erfc Erfc, erfc_ () {
        forward: |x| x.erfc(),
        backward: |g, x, y| g * ((-(x * x)).exp() * -std::f64::consts::FRAC_2_SQRT_PI),
        saves: INPUTS,
        domain: (-2.0, 2.0),
    }

    /// The inverse of the error function, on (−1, 1).
    erfinv Erfinv, erfinv_ () {
        forward: |x| x.special(Special::Erfinv),
        backward: |g, x, y| g * ((y * y).exp() / std::f64::consts::FRAC_2_SQRT_PI),
        saves: OUTPUT,
        domain: (-0.9, 0.9),
    }

    /// The logarithm of the magnitude of the gamma function.
    lgamma Lgamma, lgamma_ () {
        forward: |x| x.special(Special::Lgamma),
        backward: |g, x, y| g * x.special(Special::Digamma),
        saves: INPUTS,
        domain: (0.3, 5.0),
    }

    /// The derivative of [`lgamma`](Self::lgamma).
    digamma Digamma, digamma_ () {
        forward: |x| x.special(Special::Digamma),
        backward: |g, x, y| g * x.special(Special::Polygamma(1)),
        saves: INPUTS,
        domain: (0.3, 5.0),
    }

    /// The `n`-th derivative of [`digamma`](Self::digamma).
    polygamma Polygamma, polygamma_ (n: u32 = 2) {
        forward: |x| x.special(Special::Polygamma(n)),
        backward: |g, x, y| g * x.special(Special::Polygamma(n.saturating_add(1))),
        saves: INPUTS,
        domain: (0.8, 5.0),
    }

    /// The modified Bessel function of the first kind of order 0.
    i0 I0, i0_ () {
        forward: |x| x.special(Special::I0),
        backward: |g, x, y| g * x.special(Special::I1),
        saves: INPUTS,
        domain: (-3.0, 3.0),
    }

    /// The modified Bessel function of the first kind of order 1.
    i1 I1, i1_ () {
        forward: |x| x.special(Special::I1),
        backward: |g, x, y| {
            let at_zero = x.equal(x.constant(0.0));
            let safe = R::select(at_zero, x.constant(1.0), x);
            g * R::select(at_zero, x.constant(0.5), x.special(Special::I0) - y / safe)
        },
        saves: BOTH,
        domain: (0.5, 3.0),
    }

    /// log(x / (1 − x)), the inverse of the sigmoid; x is first clamped to [`eps`, 1 − `eps`] if that is given.
    logit Logit, logit_ (eps: Option<f64> = Some(1e-6)) {
        forward: |x| {
            let x = match eps {
                Some(eps) => {
                    let (low, high) = (x.constant(eps), x.constant(1.0 - eps));
                    R::select(low.gt(x), low, R::select(x.gt(high), high, x))
                }
                None => x,
            };
            (x / (-x + 1.0)).ln()
        },
        backward: |g, x, y| {
            let slope = g / (x * (-x + 1.0));
            let (low, high) = (x.constant(eps.unwrap_or(0.0)), x.constant(1.0 - eps.unwrap_or(0.0)));
            let outside = x.constant(if eps.is_some() { 0.0 } else { f64::NAN });
            // Not by what lies within: at NaN the slope is NaN, too.
            R::select(low.gt(x), outside, R::select(x.gt(high), outside, slope))
        },
        saves: INPUTS,
        domain: (0.1, 0.9),
    }

    /// sin(πx) / (πx), 1 at 0.
    sinc Sinc, sinc_ () {
        forward: |x| {
            let at_zero = x.equal(x.constant(0.0));
            let px = R::select(at_zero, x.constant(1.0), x * std::f64::consts::PI);
            R::select(at_zero, x.constant(1.0), px.sin() / px)
        },
        backward: |g, x, y| {
            // So small that the square vanishes, as in PyTorch.
            let at_zero = (x * std::f64::consts::PI * x).equal(x.constant(0.0));
            let x = R::select(at_zero, x.constant(1.0), x);
            let px = x * std::f64::consts::PI;
            (g * ((px * px.cos() - px.sin()) / (px * x))).unless(at_zero)
        },
        saves: INPUTS,
        periodic: true,
        domain: (0.2, 2.0),
    }

    /// What [`trunc`](Self::trunc) cuts off, with the sign of the whole.
    frac Frac, frac_ () {
        forward: |x| x - x.trunc(),
        backward: |g, x, y| g,
        saves: NONE,
        ints: Refuse,
        domain: (0.1, 0.9),
    }

    /// Degrees to radians.
    deg2rad Deg2rad, deg2rad_ () {
        forward: |x| x * (std::f64::consts::PI / 180.0),
        backward: |g, x, y| g * (std::f64::consts::PI / 180.0),
        saves: NONE,
        domain: (-90.0, 90.0),
    }

    /// Radians to degrees.
    rad2deg Rad2deg, rad2deg_ () {
        forward: |x| x * (180.0 / std::f64::consts::PI),
        backward: |g, x, y| g * (180.0 / std::f64::consts::PI),
        saves: NONE,
        domain: (-2.0, 2.0),
    }
}

binary! {
    static BINARY_SPECIAL;

    /// The angle of the point (other, self), from −π to π.
    atan2 Atan2, atan2_ {
        other: tensor,
        forward: |y, x| y.special2(x, Special2::Atan2),
        bool: false,
        grad_x: |g, y, x| R::select((x * x + y * y).equal(x.constant(0.0)), g * 0.0, g * (x / (x * x + y * y))), BOTH,
        grad_y: |g, y, x| R::select((x * x + y * y).equal(x.constant(0.0)), g * 0.0, g * (-y / (x * x + y * y))), BOTH,
        domain: (0.5, 3.0),
    }

    /// The rest of a division that truncates: it has this tensor's sign.
    fmod Fmod, fmod_ {
        forward: |x, y| x.special2(y, Special2::Fmod),
        int: |x, y| x.wrapping_rem(y),
        bool: false,
        divides: true,
        grad_x: |g, x, y| g, NEITHER,
        grad_y: |g, x, y| -g * (x / y).trunc(), BOTH,
        domain: (0.7, 0.9),
    }

    /// The rest of a division that rounds down: it has the other's sign; Python's `%`.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-3i64, 3], [2])?;
    /// assert_eq!(x.remainder(2)?.to_vec::<i64>()?, [1, 1]);
    /// assert_eq!(x.fmod(2)?.to_vec::<i64>()?, [-1, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    remainder Remainder, remainder_ {
        forward: |x, y| x.special2(y, Special2::Remainder),
        int: |x, y| {
            let rest = x.wrapping_rem(y);
            if rest != 0 && (rest < 0) != (y < 0) { rest.wrapping_add(y) } else { rest }
        },
        bool: false,
        divides: true,
        grad_x: |g, x, y| g, NEITHER,
        grad_y: |g, x, y| -g * (x / y).floor(), BOTH,
        domain: (0.7, 0.9),
    }

    /// √(x² + y²), without overflow.
    hypot Hypot, hypot_ {
        other: tensor,
        floats: true,
        forward: |x, y| x.special2(y, Special2::Hypot),
        bool: false,
        grad_x: |g, x, y| g * (x / x.special2(y, Special2::Hypot)), BOTH,
        grad_y: |g, x, y| g * (y / x.special2(y, Special2::Hypot)), BOTH,
        domain: (0.5, 3.0),
    }

    /// This magnitude with the other's sign.
    copysign Copysign, copysign_ {
        forward: |x, y| x.special2(y, Special2::Copysign),
        bool: false,
        grad_x: |g, x, y| (g * (x.special2(y, Special2::Copysign) / x)).unless(x.equal(x.constant(0.0))), BOTH,
        grad_y: |g, x, y| g * 0.0, NEITHER,
        domain: (0.5, 3.0),
    }

    /// log(eˣ + eʸ), without overflow.
    logaddexp Logaddexp, logaddexp_ {
        other: tensor,
        floats: true,
        forward: |x, y| {
            let (high, low) = (R::select(x.gt(y), x, y), R::select(x.gt(y), y, x));
            // Equal infinities have no difference.
            let difference = R::select(x.equal(y), x.constant(0.0), low - high);
            high + difference.exp().log1p()
        },
        bool: false,
        grad_x: |g, x, y| g * (x - y).sigmoid(), BOTH,
        grad_y: |g, x, y| g * (y - x).sigmoid(), BOTH,
        domain: (-3.0, 3.0),
    }

    /// log₂(2ˣ + 2ʸ), without overflow.
    logaddexp2 Logaddexp2, logaddexp2_ {
        other: tensor,
        floats: true,
        forward: |x, y| {
            let (high, low) = (R::select(x.gt(y), x, y), R::select(x.gt(y), y, x));
            let difference = R::select(x.equal(y), x.constant(0.0), low - high);
            high + difference.exp2().log1p() / std::f64::consts::LN_2
        },
        bool: false,
        grad_x: |g, x, y| g * ((x - y) * std::f64::consts::LN_2).sigmoid(), BOTH,
        grad_y: |g, x, y| g * ((y - x) * std::f64::consts::LN_2).sigmoid(), BOTH,
        domain: (-3.0, 3.0),
    }

    /// x · log y, 0 where x is 0 (unless y is NaN).
    xlogy Xlogy, xlogy_ {
        forward: |x, y| R::select(y.equal(y), R::select(x.equal(x.constant(0.0)), x.constant(0.0), x * y.ln()), y),
        bool: false,
        grad_x: |g, x, y| R::select(x.equal(x.constant(0.0)), R::select(x.constant(0.0).ge(y), g * 0.0, g * y.ln()), g * y.ln()), BOTH,
        grad_y: |g, x, y| g * (x / y), BOTH,
        domain: (0.5, 3.0),
    }

    /// The greater of both, or the other one of a NaN.
    fmax Fmax, fmax_ {
        other: tensor,
        forward: |x, y| R::select(x.ge(y), x, R::select(y.equal(y), y, x)),
        int: |x, y| x.max(y),
        bool: true,
        grad_x: |g, x, y| R::select(x.ge(y), g, R::select(y.equal(y), g * 0.0, g)), BOTH,
        grad_y: |g, x, y| R::select(x.ge(y), g * 0.0, R::select(y.equal(y), g, g * 0.0)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// The smaller of both, or the other one of a NaN.
    fmin Fmin, fmin_ {
        other: tensor,
        forward: |x, y| R::select(y.ge(x), x, R::select(y.equal(y), y, x)),
        int: |x, y| x.min(y),
        bool: true,
        grad_x: |g, x, y| R::select(y.ge(x), g, R::select(y.equal(y), g * 0.0, g)), BOTH,
        grad_y: |g, x, y| R::select(y.ge(x), g * 0.0, R::select(y.equal(y), g, g * 0.0)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// The quotient rounded down.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-7i64, 7], [2])?;
    /// assert_eq!(x.floor_divide(2)?.to_vec::<i64>()?, [-4, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    floor_divide FloorDivide, floor_divide_ {
        forward: |x, y| {
            let rest = x.special2(y, Special2::Fmod);
            let whole = (x - rest) / y;
            let zero = x.constant(0.0);
            let crosses = (rest.sign() * y.sign()).equal(x.constant(-1.0));
            let whole = R::select(crosses, whole - 1.0, whole);
            let floor = whole.floor();
            let near = R::select((whole - floor).gt(x.constant(0.5)), floor + 1.0, floor);
            R::select(y.equal(zero), x / y, R::select(whole.equal(zero), (x / y).sign() * 0.0, near))
        },
        int: |x, y| {
            let whole = x.wrapping_div(y);
            if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { whole.wrapping_sub(1) } else { whole }
        },
        bool: false,
        divides: true,
        grad_x: |g, x, y| g * 0.0, NEITHER,
        grad_y: |g, x, y| g * 0.0, NEITHER,
        domain: (0.7, 0.9),
    }

    /// The quotient rounded towards zero; PyTorch's `div(rounding_mode="trunc")`.
    trunc_divide TruncDivide, trunc_divide_ {
        forward: |x, y| (x / y).trunc(),
        int: |x, y| x.wrapping_div(y),
        bool: false,
        divides: true,
        grad_x: |g, x, y| g * 0.0, NEITHER,
        grad_y: |g, x, y| g * 0.0, NEITHER,
        domain: (0.7, 0.9),
    }

    /// 0 below 0, 1 above, and the other's value at 0.
    heaviside Heaviside, heaviside_ {
        other: tensor,
        same_dtype: true,
        forward: |x, y| {
            let zero = x.constant(0.0);
            R::select(x.equal(zero), y, x.constant(1.0).masked(x.gt(zero)))
        },
        int: |x, y| match x { 0 => y, x => i64::from(x > 0) },
        bool: true,
        grad_x: |g, x, y| g * 0.0, NEITHER,
        grad_y: |g, x, y| g.masked(x.equal(x.constant(0.0))), X,
        domain: (0.5, 3.0),
    }

    /// At least the other: NaN if either is. Unlike that of [`maximum`](Self::maximum), the gradient of a tie is all
    /// this tensor's.
    clamp_min ClampMin, clamp_min_ {
        forward: |x, y| R::select(x.gt(y), x, R::select(y.ge(x), y, x + y)),
        int: |x, y| x.max(y),
        bool: true,
        grad_x: |g, x, y| g.masked(x.ge(y)), BOTH,
        grad_y: |g, x, y| g.masked(y.gt(x)), BOTH,
        domain: (-3.0, 3.0),
    }

    /// At most the other: NaN if either is. Unlike that of [`minimum`](Self::minimum), the gradient of a tie is all
    /// this tensor's.
    clamp_max ClampMax, clamp_max_ {
        forward: |x, y| R::select(y.gt(x), x, R::select(x.ge(y), y, x + y)),
        int: |x, y| x.min(y),
        bool: true,
        grad_x: |g, x, y| g.masked(y.ge(x)), BOTH,
        grad_y: |g, x, y| g.masked(x.gt(y)), BOTH,
        domain: (-3.0, 3.0),
    }
}
