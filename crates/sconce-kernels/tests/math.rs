//! Elementary functions against double precision, in units in the last place.
//!
//! Not under Miri: there is nothing unsafe in them, and Miri's own functions, the reference, are off by design.
#![cfg(not(miri))]

use sconce_kernels::Float;

fn ulps32(got: f32, want: f64) -> f64 {
    if got.is_nan() && want.is_nan() || got == want as f32 {
        return 0.0;
    }
    let exponent = (want.abs() as f32).max(f32::MIN_POSITIVE).to_bits() >> 23;
    (got as f64 - want).abs() / 2f64.powi(exponent as i32 - 127 - 23)
}

fn ulps64(got: f64, want: f64) -> f64 {
    if got.is_nan() && want.is_nan() || got == want {
        return 0.0;
    }
    (got - want).abs() / (want.abs().next_up() - want.abs())
}

type Row<T> = (&'static str, fn(T, bool) -> T, fn(f64) -> f64, f64);

#[test]
fn single_precision() {
    let table: [Row<f32>; 12] = [
        ("exp", Float::exp, f64::exp, 1.5),
        ("exp2", Float::exp2, f64::exp2, 0.6),
        ("expm1", Float::expm1, f64::exp_m1, 0.6),
        ("log", Float::log, f64::ln, 0.6),
        ("log1p", Float::log1p, f64::ln_1p, 0.6),
        ("log2", Float::log2, f64::log2, 0.6),
        ("log10", Float::log10, f64::log10, 0.6),
        ("tanh", Float::tanh, f64::tanh, 2.0),
        ("sigmoid", Float::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 2.5),
        ("erf", Float::erf, libm::erf, 1.6),
        ("erfc", |x, _| Float::erfc(x), libm::erfc, 0.6),
        ("rsqrt", |x, _| x.rsqrt(), |x| 1.0 / x.sqrt(), 1.5),
    ];
    for (row, fused) in table.iter().flat_map(|row| [(row, false), (row, true)]) {
        let &(name, f, reference, most) = row;
        // Reciprocals of subnormal results lose digits by definition.
        within(name, most, |x| f(x, fused), reference, |x| name != "sigmoid" || x >= -87.0);
        for x in [0.0, -0.0, 1e-45, -1e-45] {
            let (got, want) = (f(x, fused), reference(x as f64));
            assert!(
                want.is_nan() || got.is_sign_negative() == want.is_sign_negative(),
                "{name}({x:?}) = {got:?}"
            );
        }
    }
}

/// Checks a function at many of its arguments, and at the special ones.
fn within(
    name: &str,
    most: f64,
    f: impl Fn(f32) -> f32,
    reference: fn(f64) -> f64,
    domain: impl Fn(f32) -> bool,
) {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -1.0, 1.0, 1e-45].map(f32::to_bits);
    // NaN with digits must not reach an exponent.
    let special = special.into_iter().chain([0x7fc0_0001, 0xffff_ffff, 0x7fc0_01ff]);
    for bits in (0..=u32::MAX).step_by(4001).chain(special) {
        let x = f32::from_bits(bits);
        if domain(x) {
            let (got, want) = (f(x), reference(x as f64));
            let e = ulps32(got, want);
            assert!(e <= most, "{name}({x:e}) = {got:e}, not {want:e}: {e} ulp");
        }
    }
}

#[test]
fn periodic_functions() {
    let table: [Row<f32>; 3] = [
        ("sin", |x, _| x.sin_near(), f64::sin, 0.6),
        ("cos", |x, _| x.cos_near(), f64::cos, 0.6),
        ("tan", |x, _| x.tan_near(), f64::tan, 0.6),
    ];
    for (name, near, reference, most) in table {
        let f = |x| near(x, true);
        within(name, most, f, reference, |x| !f(x).is_nan());
        // The nearest to multiples of π/2 that are in reach.
        for i in 0..200_000 {
            let x = (i as f64 * std::f64::consts::FRAC_PI_2) as f32;
            assert!(ulps32(f(x), reference(x as f64)) <= most, "{name} at {x}");
        }
        assert!(f(f32::INFINITY).is_nan() && f(f32::NAN).is_nan() && f(1e30).is_nan());
        assert_eq!(f(-0.0).is_sign_negative(), reference(-0.0).is_sign_negative());
    }
}

#[test]
fn powers() {
    let special =
        [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 1e-3, 1e-45, 1e30, 127.0, 16_777_215.0, 16_777_216.0, 33_554_432.0];
    let special = special.into_iter().chain([f32::INFINITY, f32::NAN, 1.0f32.next_up(), 1.0f32.next_down()]);
    let spread = (0..300u32).map(|i| f32::from_bits(i.wrapping_mul(7_158_278)).abs()).filter(|x| !x.is_nan());
    let values: Vec<f32> = special.chain(spread).flat_map(|x| [x, -x]).collect();
    for &x in &values {
        for &y in &values {
            for got in [x.pow(y, true), x.pow(y, false)] {
                let want = (x as f64).powf(y as f64);
                assert!(ulps32(got, want) <= 1.0, "{x:e} ^ {y:e} = {got:e}, not {want:e}");
                assert!(got.is_nan() || got.is_sign_negative() == want.is_sign_negative(), "{x:e} ^ {y:e}");
            }
        }
    }
}

/// Not above 0, with its factor and without; subnormal results included.
#[test]
fn exponentials_that_shrink() {
    for fused in [false, true] {
        for bits in (0x8000_0000..=0xff80_0000u32).step_by(4001) {
            let x = f32::from_bits(bits);
            let scaled = (x as f64).max(-131.0).exp() * f32::EXP_SCALE as f64;
            let e = ulps32(x.exp_scaled(fused), scaled);
            assert!(e <= 1.5, "exp_scaled({x}): {e} ulp");
            let e = ulps32(x.exp_down(fused), (x as f64).exp());
            assert!(e <= 1.5, "exp_down({x}): {e} ulp");
        }
        assert_eq!(f32::NEG_INFINITY.exp_down(fused), 0.0);
        let digits = f32::from_bits(0x7fc0_0001);
        assert!(digits.exp_scaled(fused).is_nan());
        assert!(f32::NAN.exp_scaled(fused).is_nan() && f64::NAN.exp_scaled(fused).is_nan());
        assert_eq!(0f32.exp_scaled(fused), f32::EXP_SCALE);
    }
}

#[test]
fn double_precision() {
    let table: [Row<f64>; 3] = [
        ("exp", Float::exp, f64::exp, 2.0),
        ("tanh", Float::tanh, f64::tanh, 3.5),
        ("sigmoid", Float::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 3.0),
    ];
    let step = (1u64 << 45) | 987_654_321;
    for (row, fused) in table.iter().flat_map(|row| [(row, false), (row, true)]) {
        let &(name, f, reference, most) = row;
        let mut bits = 0u64;
        loop {
            let x = f64::from_bits(bits);
            let e = ulps64(f(x, fused), reference(x));
            assert!(e <= most || name == "sigmoid" && x < -700.0, "{name}: {e} ulp at {x}");
            match bits.checked_add(step) {
                Some(next) => bits = next,
                None => break,
            }
        }
        for i in -2000..2000 {
            let x = i as f64 * 0.011;
            assert!(
                ulps64(f(x, fused), reference(x)) <= most,
                "{name} at {x}: {} {}",
                f(x, fused),
                reference(x)
            );
        }
    }
}

#[test]
fn gelu_and_its_derivatives() {
    for i in -60..60 {
        let x = i as f64 * 0.1;
        let h = 1e-5;
        let slope = (Float::gelu(x + h, true) - Float::gelu(x - h, true)) / (2.0 * h);
        assert!((Float::gelu_derivative(x, true) - slope).abs() < 1e-8);
        let slope = (Float::gelu_tanh(x + h, true) - Float::gelu_tanh(x - h, true)) / (2.0 * h);
        assert!((Float::gelu_tanh_derivative(x, true) - slope).abs() < 1e-8);
        assert!((Float::gelu(x, true) - Float::gelu_tanh(x, true)).abs() < 1e-3);
        assert!((Float::gelu(x as f32, true) as f64 - Float::gelu(x, true)).abs() < 1e-6);
    }
}
