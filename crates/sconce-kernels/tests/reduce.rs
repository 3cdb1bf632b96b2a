//! Reductions against naive loops, over random shapes, strides and element types.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use Reduction::*;
use common::{CASES, ELEMS, Lcg, View, indices, random_shape};
use sconce_kernels::{Dst, Elem, Reduction, Src, reduce, set_threads};

fn naive(kind: Reduction, x: &[f64]) -> f64 {
    let best = |beats: fn(f64, f64) -> bool| {
        (0..x.len()).reduce(|a, b| if beats(x[b], x[a]) { b } else { a }).unwrap_or(0) as f64
    };
    match kind {
        Sum => x.iter().sum(),
        Mean => x.iter().sum::<f64>() / x.len() as f64,
        Prod => x.iter().product(),
        Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Min => x.iter().copied().fold(f64::INFINITY, f64::min),
        Any => x.iter().any(|&v| v != 0.0) as u8 as f64,
        All => x.iter().all(|&v| v != 0.0) as u8 as f64,
        ArgMax => best(|x, y| x > y),
        ArgMin => best(|x, y| x < y),
        SumSquares => x.iter().map(|v| v * v).sum(),
        SumAbs => x.iter().map(|v| v.abs()).sum(),
        _ => unreachable!("all kinds are listed"),
    }
}

#[test]
fn every_kind_over_any_dimensions() {
    let mut rng = Lcg(11);
    let kinds = [Sum, Mean, Max, Min, Any, All, ArgMax, ArgMin, SumSquares, SumAbs];
    for case in 0..CASES * 2 {
        let shape = random_shape(&mut rng);
        let from = ELEMS[rng.below(10)];
        let kind = kinds[case % kinds.len()];
        let to = match kind {
            Any | All => Elem::Bool,
            ArgMax | ArgMin => Elem::I64,
            Max | Min => from,
            Sum | SumSquares | SumAbs if rng.below(2) == 0 => Elem::I64,
            _ => [Elem::F64, Elem::F32][rng.below(2)],
        };
        let cut = rng.below(shape.len() + 1);
        let (outer, reduced) = shape.split_at(cut);
        if reduced.contains(&0) && !matches!(kind, Sum | Any | All) {
            continue;
        }
        let a = View::random(&mut rng, from, &shape, true);
        let mut c = View::random(&mut rng, to, outer, false);
        unsafe { reduce(kind, outer, reduced, c.dst(), a.src()) };
        for i in indices(outer) {
            let x: Vec<f64> = indices(reduced)
                .into_iter()
                .map(|j| {
                    let v = a.get(&[i.clone(), j].concat());
                    if to == Elem::I64 && !matches!(kind, ArgMax | ArgMin) { v.trunc() } else { v }
                })
                .collect();
            let (got, want) = (c.get(&i), naive(kind, &x));
            let scale = 1.0 + x.iter().map(|v| v.abs().max(v * v)).sum::<f64>();
            let ok = if to == Elem::F32 {
                (got - want).abs() <= 3e-7 * scale
            } else {
                (got - want).abs() <= 1e-14 * scale
            };
            assert!(ok, "{kind:?} {from:?} -> {to:?} {shape:?}/{cut} {:?} at {i:?}: {got} {want}", a.strides);
        }
    }
}

fn over(kind: Reduction, x: &[f32], outer: &[usize], reduced: &[usize], strides: &[usize]) -> Vec<f32> {
    let mut out = vec![0f32; outer.iter().product()];
    let dst = Dst { ptr: out.as_mut_ptr().cast(), elem: Elem::F32, strides: &[1][..outer.len()] };
    unsafe { reduce(kind, outer, reduced, dst, Src { ptr: x.as_ptr().cast(), elem: Elem::F32, strides }) };
    out
}

#[test]
fn nan_wins() {
    let x = [1.0, f32::NAN, 3.0, f32::NAN, -1.0];
    assert!(over(Max, &x, &[], &[5], &[1])[0].is_nan());
    assert!(over(Min, &x, &[], &[5], &[1])[0].is_nan());
    let mut at = [0i64; 2];
    for (i, kind) in [ArgMax, ArgMin].into_iter().enumerate() {
        let out = Dst { ptr: (&raw mut at[i]).cast(), elem: Elem::I64, strides: &[] };
        unsafe {
            reduce(kind, &[], &[5], out, Src { ptr: x.as_ptr().cast(), elem: Elem::F32, strides: &[1] })
        };
    }
    assert_eq!(at, [1, 1]);
    let worst = [f32::NEG_INFINITY; 3];
    let out = Dst { ptr: (&raw mut at[0]).cast(), elem: Elem::I64, strides: &[] };
    unsafe {
        reduce(ArgMax, &[], &[3], out, Src { ptr: worst.as_ptr().cast(), elem: Elem::F32, strides: &[1] })
    };
    assert_eq!(at[0], 0);
}

#[test]
fn products() {
    assert_eq!(over(Prod, &[2.0, 3.0, 4.0, 0.5, 1.0, 8.0], &[2], &[3], &[3, 1]), [24.0, 4.0]);
    assert_eq!(over(Prod, &[], &[], &[0], &[1]), [1.0]);
}

#[test]
fn large_sums_are_accurate_and_the_same_on_any_number_of_threads() {
    let n = if cfg!(miri) { 4000 } else { 3_000_000 };
    let mut rng = Lcg(12);
    let x: Vec<f32> = (0..n).map(|_| rng.unit() as f32 + 0.1).collect();
    let cols = 10;
    let layouts: [(&[usize], &[usize], &[usize]); 3] =
        [(&[], &[n], &[1]), (&[cols], &[n / cols], &[1, cols]), (&[cols], &[n / cols], &[n / cols, 1])];
    for (outer, reduced, strides) in layouts {
        let run = |threads| {
            set_threads(threads);
            let sums = over(Sum, &x, outer, reduced, strides);
            set_threads(0);
            sums
        };
        let one = run(1);
        assert_eq!(one, run(4));
        for (j, &got) in one.iter().enumerate() {
            let start = if outer.is_empty() { 0 } else { j * strides[0] };
            let want: f64 = (0..reduced[0]).map(|i| x[start + i * strides[strides.len() - 1]] as f64).sum();
            assert!((got as f64 / want - 1.0).abs() < 3e-7, "{got} {want}");
        }
    }
}
