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

type Row32 = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f64);
type Row64 = (&'static str, fn(f64) -> f64, fn(f64) -> f64, f64);

#[test]
fn single_precision() {
    let table: [Row32; 12] = [
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
        ("erfc", Float::erfc, libm::erfc, 0.6),
        ("rsqrt", Float::rsqrt, |x| 1.0 / x.sqrt(), 1.5),
    ];
    for (name, f, reference, most) in table {
        let mut worst = (0.0, 0.0);
        for bits in (0..=u32::MAX).step_by(4001) {
            let x = f32::from_bits(bits);
            // Reciprocals of subnormal results lose digits by definition.
            if name == "sigmoid" && x < -87.0 {
                continue;
            }
            let e = ulps32(f(x), reference(x as f64));
            if e > worst.0 || e.is_nan() {
                worst = (e, x);
            }
        }
        assert!(worst.0 <= most, "{name}: {} ulp at {} ({:e})", worst.0, worst.1, f(worst.1));
        for x in [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -1.0, 1.0, 1e-45] {
            let (got, want) = (f(x), reference(x as f64));
            assert!(ulps32(got, want) <= most, "{name}({x}) = {got}, not {want}");
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
        assert!(f32::NAN.exp_scaled(fused).is_nan() && f64::NAN.exp_scaled(fused).is_nan());
        assert_eq!(0f32.exp_scaled(fused), f32::EXP_SCALE);
    }
}

#[test]
fn double_precision() {
    let table: [Row64; 3] = [
        ("exp", Float::exp, f64::exp, 2.0),
        ("tanh", Float::tanh, f64::tanh, 3.5),
        ("sigmoid", Float::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 3.0),
    ];
    let step = (1u64 << 45) | 987_654_321;
    for (name, f, reference, most) in table {
        let mut bits = 0u64;
        loop {
            let x = f64::from_bits(bits);
            let e = ulps64(f(x), reference(x));
            assert!(e <= most || name == "sigmoid" && x < -700.0, "{name}: {e} ulp at {x}");
            match bits.checked_add(step) {
                Some(next) => bits = next,
                None => break,
            }
        }
        for i in -2000..2000 {
            let x = i as f64 * 0.011;
            assert!(ulps64(f(x), reference(x)) <= most, "{name} at {x}: {} {}", f(x), reference(x));
        }
    }
}

#[test]
fn gelu_and_its_derivatives() {
    for i in -60..60 {
        let x = i as f64 * 0.1;
        let h = 1e-5;
        let slope = (Float::gelu(x + h) - Float::gelu(x - h)) / (2.0 * h);
        assert!((Float::gelu_derivative(x) - slope).abs() < 1e-8);
        let slope = (Float::gelu_tanh(x + h) - Float::gelu_tanh(x - h)) / (2.0 * h);
        assert!((Float::gelu_tanh_derivative(x) - slope).abs() < 1e-8);
        assert!((Float::gelu(x) - Float::gelu_tanh(x)).abs() < 1e-3);
        assert!((Float::gelu(x as f32) as f64 - Float::gelu(x)).abs() < 1e-6);
    }
}
