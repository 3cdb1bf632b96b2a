//! Every fill, against values that PyTorch drew.

mod values;

use half::{bf16, f16};
use sconce_kernels::rng::{self, Generator, RandomElement, RandomFloat};
use std::num::NonZeroU64;

/// Elements of the largest case: Miri is slow.
const MOST: Option<usize> = if cfg!(miri) { Some(33) } else { None };

#[test]
fn draws_pytorchs_bits() {
    for &values::Exact(call, dtype, n, seed, first, last, sum, next) in values::EXACT {
        if MOST.is_some_and(|most| n > most) {
            continue;
        }
        let mut generator = Generator::new(seed);
        let drawn = draw(&mut generator, call, dtype, n);
        let case = format!("{call}, {dtype}, {n} elements, seed {seed}");
        let bits: Vec<u64> = drawn.iter().map(|&(bits, _)| bits).collect();
        assert_eq!(bits.len(), n, "{case}");
        assert_eq!((bits[0], bits[n - 1]), (first, last), "{case}");
        assert_eq!(fnv(bits), sum, "{case}");
        assert_eq!(next_of(&mut generator), next, "{case}: what follows");
    }
}

#[test]
fn draws_pytorchs_numbers_up_to_the_c_library() {
    for &values::Close(call, dtype, n, seed, first, last, next) in values::CLOSE {
        // Miri's functions are off by design.
        if MOST.is_some_and(|most| n > most) || cfg!(miri) {
            continue;
        }
        let mut generator = Generator::new(seed);
        let drawn = draw(&mut generator, call, dtype, n);
        let case = format!("{call}, {dtype}, {n} elements, seed {seed}");
        assert_eq!(drawn.len(), n, "{case}");
        // One unit in the last place, where the C library's error tips the rounding; a few of float64.
        let tolerance = match dtype {
            "f64" => 1e-14,
            "f32" => 1.2e-7,
            "f16" => 9.8e-4,
            "bf16" => 7.9e-3,
            _ => 0.0,
        };
        for (&(_, found), expected) in [(&drawn[0], first), (&drawn[n - 1], last)] {
            let close = (found - expected).abs() <= tolerance * expected.abs();
            assert!(close, "{case}: expected {expected}, found {found}");
        }
        assert_eq!(next_of(&mut generator), next, "{case}: what follows");
    }
}

/// The second normal of a pair outlives uniforms and blocks, and serves every dtype.
#[test]
#[cfg_attr(miri, ignore = "Miri's functions are off by design")]
fn keeps_the_cached_normal() {
    let mut generator = Generator::new(3);
    let close = |found: f64, expected: f64, tolerance: f64| {
        assert!((found - expected).abs() < tolerance, "expected {expected}, found {found}");
    };
    let mut one = [0.0_f64; 1];
    rng::normal(&mut generator, &mut one, 0.0, 1.0);
    close(one[0], 0.8032760780963507, 1e-14);
    let mut uniforms = [0.0_f64; 2];
    rng::uniform(&mut generator, &mut uniforms, 0.0, 1.0);
    assert_eq!(uniforms, [0.7729149443285843, 0.17492702928129467]);
    let mut block = [0.0_f32; 16];
    rng::normal(&mut generator, &mut block, 0.0, 1.0);
    assert_eq!(block[0].to_bits(), 1_058_732_269);
    let mut two = [0.0_f64; 2];
    rng::normal(&mut generator, &mut two, 0.0, 1.0);
    close(two[0], 0.17483339327910358, 1e-14);
    close(two[1], -0.864635562911604, 1e-14);
    let mut single = [0.0_f32; 1];
    rng::normal(&mut generator, &mut single, 0.0, 1.0);
    close(single[0].into(), 0.2989608347415924, 1e-7);
    assert_eq!(next_of(&mut generator), 85_920_406);
}

#[test]
fn writes_pytorchs_state() {
    let state = |seed, words| {
        let mut generator = Generator::new(seed);
        draw(&mut generator, "uniform(0, 1)", "f32", words);
        fnv(generator.state().map(u64::from))
    };
    assert_eq!(state(0, 0), 0xd383_c07a_b3df_60e4);
    assert_eq!(state(0, 624), 0x5b3f_0cbb_63c6_39c3);
    assert_eq!(state(0, 625), 0x05bf_c64e_a716_a7e7);
    assert_eq!(state(2_730_368_103_033_732_857, 3), 0x0980_8724_9ccf_5d12);
}

#[test]
fn resumes_from_a_state() {
    for (words, normals) in [(0, 0), (1, 0), (623, 1), (624, 2), (625, 3)] {
        let mut generator = Generator::new(11);
        draw(&mut generator, "uniform(0, 1)", "f32", words);
        draw(&mut generator, "normal(0, 1)", "f32", normals);
        let mut other = Generator::default();
        other.set_state(&generator.state()).unwrap();
        assert_eq!(other, generator);
        assert_eq!(other.seed(), 11);
        let normals = [&mut other, &mut generator].map(|g| rng::normal_scalar(g, 0.0, 1.0));
        assert!((normals[0] - normals[1]).abs() < 1e-14, "{normals:?}");
        assert_eq!(rng::randperm(&mut other, 700), rng::randperm(&mut generator, 700));
        assert_eq!(other.next_u64(), generator.next_u64());
    }
}

#[test]
fn refuses_what_is_no_state() {
    let mut generator = Generator::new(5);
    generator.next_u32();
    let good = generator.state();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (Vec::new(), "expected 5056 bytes, found 0"),
        (good[..5055].to_vec(), "expected 5056 bytes, found 5055"),
        (with(8, 1), "513 words left and 1 as the next one exclude each other"),
        (with(12, 0), "expected 1 as the mark of a seeded generator, found 0"),
        (with(16, 0), "624 words left and 0 as the next one exclude each other"),
        (with(23, 1), "624 words left and 72057594037927937 as the next one exclude each other"),
        (with(5040, 2), "expected 0 or 1 as the mark of a cached normal, found 2"),
        (with(5052, 1), "expected no cached float32 normal, found one"),
    ];
    for (bytes, message) in cases {
        let before = generator.clone();
        let error = generator.set_state(bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("generator state: {message}"));
        assert_eq!(generator, before);
    }
    let error = generator.set_state(&with(31, 1)).unwrap_err().to_string();
    assert!(error.starts_with("generator state: word 0 exceeds 32 bits: 0x1000000"), "{error}");
}

#[test]
fn fills_nothing() {
    let mut generator = Generator::new(1);
    rng::uniform::<f32>(&mut generator, &mut [], 0.0, 1.0);
    rng::normal::<bf16>(&mut generator, &mut [], 0.0, 1.0);
    assert!(rng::randperm(&mut generator, 0).unwrap().is_empty());
    assert!(rng::multinomial::<f32>(&mut generator, &[], 0, 3, true).is_empty());
    assert_eq!(generator, Generator::new(1));
}

/// Parameters outside their domain give numbers of no meaning, but do give them.
#[test]
fn does_not_panic_outside_the_domain() {
    let mut generator = Generator::new(1);
    for p in [f64::NAN, f64::INFINITY, -1.0, 0.0, 2.0] {
        let mut x = [0.0_f32; 20];
        rng::uniform(&mut generator, &mut x, p, -p);
        rng::normal(&mut generator, &mut x, p, -p);
        rng::exponential(&mut generator, &mut x, p);
        rng::cauchy(&mut generator, &mut x, p, p);
        rng::log_normal(&mut generator, &mut x, p, p);
        rng::rrelu(&mut generator, &mut x, p, p);
        rng::geometric(&mut generator, &mut [0_u8; 20], p);
        rng::bernoulli_each(&mut generator, &mut x);
        for replacement in [false, true] {
            assert_eq!(rng::multinomial(&mut generator, &[p; 4], 4, 3, replacement).len(), 3);
        }
    }
}

/// An element as its bits and as a number.
type Drawn = (u64, f64);

trait Recorded: RandomElement + Default {
    fn recorded(self) -> Drawn;
}

macro_rules! recorded {
    ($($type:ty: $bits:expr, $value:expr;)*) => {
        $(
            impl Recorded for $type {
                fn recorded(self) -> Drawn {
                    ($bits(self), $value(self))
                }
            }
        )*
    };
}

recorded! {
    f64: f64::to_bits, |x| x;
    f32: |x: f32| x.to_bits().into(), f64::from;
    f16: |x: f16| x.to_bits().into(), f64::from;
    bf16: |x: bf16| x.to_bits().into(), f64::from;
    i64: |x| x as u64, |x| x as f64;
    i32: |x| x as u32 as u64, f64::from;
    i16: |x| x as u16 as u64, f64::from;
    i8: |x| x as u8 as u64, f64::from;
    u8: u64::from, f64::from;
    bool: u64::from, |x| u8::from(x).into();
}

/// Makes a recorded call.
fn draw(generator: &mut Generator, call: &str, dtype: &str, n: usize) -> Vec<Drawn> {
    let (name, arguments) = call.trim_end_matches(')').split_once('(').unwrap_or((call, ""));
    let arguments: Vec<&str> = arguments.split(", ").collect();
    match dtype {
        "f64" => float::<f64>(generator, name, &arguments, n),
        "f32" => float::<f32>(generator, name, &arguments, n),
        "f16" => float::<f16>(generator, name, &arguments, n),
        "bf16" => float::<bf16>(generator, name, &arguments, n),
        "i64" => element::<i64>(generator, name, &arguments, n),
        "i32" => element::<i32>(generator, name, &arguments, n),
        "i16" => element::<i16>(generator, name, &arguments, n),
        "i8" => element::<i8>(generator, name, &arguments, n),
        "u8" => element::<u8>(generator, name, &arguments, n),
        "bool" => element::<bool>(generator, name, &arguments, n),
        _ => unreachable!("{dtype}"),
    }
}

fn float<T: RandomFloat + Recorded>(
    g: &mut Generator,
    name: &str,
    arguments: &[&str],
    n: usize,
) -> Vec<Drawn> {
    let argument = |i: usize| arguments[i].parse::<f64>().unwrap();
    let ramp = |g: &mut Generator, from: i64, step: f64| -> Vec<T> {
        // The element type's own conversion, through a call that draws what is not used.
        let mut x = vec![T::default(); 100];
        let seed = g.clone();
        for (i, x) in x.iter_mut().enumerate() {
            let value = (from + i as i64) as f64 * step;
            rng::uniform(g, std::slice::from_mut(x), value, value);
        }
        *g = seed;
        x
    };
    let mut out = vec![T::default(); n];
    match name {
        "uniform" => rng::uniform(g, &mut out, argument(0), argument(1)),
        "normal" => rng::normal(g, &mut out, argument(0), argument(1)),
        "normal_each" => rng::normal_each(g, &mut out, argument(0), argument(1)),
        "exponential" => rng::exponential(g, &mut out, argument(0)),
        "cauchy" => rng::cauchy(g, &mut out, argument(0), argument(1)),
        "log_normal" => rng::log_normal(g, &mut out, argument(0), argument(1)),
        "bernoulli_each" => {
            out = ramp(g, 0, 1.0 / 128.0);
            rng::bernoulli_each(g, &mut out);
        }
        "rrelu" => {
            out = ramp(g, -60, 1.0 / 8.0);
            rng::rrelu(g, &mut out, argument(0), argument(1));
        }
        "multinomial" => {
            let weights = ramp(g, 1, 1.0);
            let drawn = rng::multinomial(g, &weights, 100, n, arguments[1].parse().unwrap());
            return drawn.into_iter().map(Recorded::recorded).collect();
        }
        _ => return element::<T>(g, name, arguments, n),
    }
    out.into_iter().map(Recorded::recorded).collect()
}

fn element<T: Recorded>(g: &mut Generator, name: &str, arguments: &[&str], n: usize) -> Vec<Drawn> {
    let mut out = vec![T::default(); n];
    match name {
        "random" => rng::random(g, &mut out),
        "bernoulli" => rng::bernoulli(g, &mut out, arguments[0].parse().unwrap()),
        "geometric" => rng::geometric(g, &mut out, arguments[0].parse().unwrap()),
        "randint" => {
            let (low, high): (i64, i64) = (arguments[0].parse().unwrap(), arguments[1].parse().unwrap());
            let span = NonZeroU64::new(high.wrapping_sub(low) as u64).unwrap();
            rng::randint(g, &mut out, low, span);
        }
        "randperm" => return rng::randperm(g, n).unwrap().into_iter().map(Recorded::recorded).collect(),
        _ => unreachable!("{name}"),
    }
    out.into_iter().map(Recorded::recorded).collect()
}

/// What `randint(2²⁷)` draws.
fn next_of(generator: &mut Generator) -> i64 {
    let mut next = [0];
    rng::randint(generator, &mut next, 0, NonZeroU64::new(1 << 27).unwrap());
    next[0]
}

fn fnv(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0xcbf2_9ce4_8422_2325, |sum, x| (sum ^ x).wrapping_mul(0x100_0000_01b3))
}
