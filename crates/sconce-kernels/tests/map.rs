//! `map`, `copy` and `fill` against naive loops, over random shapes, strides and element types.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::{CASES, ELEMS, Lcg, View, indices, random_shape};
use sconce_kernels::{
    Compute, Dst, Elem, Flat, Float, Inlined, Rows, Scalar, Src, copy, fill, map, map_flat, set_threads,
};

fn untouched_outside(before: &View, after: &View, shape: &[usize]) {
    let written: std::collections::HashSet<usize> = indices(shape).iter().map(|i| before.flat(i)).collect();
    let flat = View { offset: 0, strides: vec![1], ..before.clone() };
    let flat_after = View { offset: 0, strides: vec![1], ..after.clone() };
    for i in 0..before.memory.len() * 8 / before.elem.size() {
        if !written.contains(&i) {
            assert_eq!(flat.get(&[i]), flat_after.get(&[i]), "wrote outside the view at {i} of {shape:?}");
        }
    }
}

fn check_map<T: Compute>(
    rng: &mut Lcg,
    f: impl Fn([T; 2]) -> T + Sync + Copy,
    naive: impl Fn(f64, f64) -> f64,
) {
    let shape = random_shape(rng);
    let [e0, e1, e2] = [0; 3].map(|_| if rng.below(2) == 0 { T::ELEM } else { ELEMS[rng.below(10)] });
    let a = View::random(rng, e0, &shape, true);
    let b = View::random(rng, e1, &shape, true);
    let mut c = View::random(rng, e2, &shape, false);
    let before = c.clone();
    unsafe { map::<T, 2>(&shape, c.dst(), [a.src(), b.src()], Rows::new(&f)) };
    for i in indices(&shape) {
        let want = c.rounded(naive(a.get(&i), b.get(&i)));
        assert_eq!(
            c.get(&i),
            want,
            "{e0:?} {e1:?} -> {e2:?}, {shape:?} at {i:?}: {:?} {:?} {:?}",
            a.strides,
            b.strides,
            c.strides
        );
    }
    untouched_outside(&before, &c, &shape);
}

#[test]
fn two_inputs_of_any_type_and_stride() {
    let mut rng = Lcg(1);
    for _ in 0..CASES {
        check_map::<f32>(&mut rng, |[x, y]| x - y, |x, y| x - y);
        check_map::<f64>(&mut rng, |[x, y]| x + y, |x, y| x + y);
    }
}

#[test]
fn integers_wrap_and_truncate() {
    let mut rng = Lcg(2);
    for _ in 0..CASES {
        let shape = random_shape(&mut rng);
        let (e, o) = (ELEMS[4 + rng.below(6)], ELEMS[4 + rng.below(6)]);
        let a = View::random(&mut rng, e, &shape, true);
        let mut c = View::random(&mut rng, o, &shape, false);
        unsafe { map::<i64, 1>(&shape, c.dst(), [a.src()], Rows::new(&|[x]: [i64; 1]| x.wrapping_mul(100))) };
        for i in indices(&shape) {
            assert_eq!(c.get(&i), c.rounded(a.get(&i) * 100.0));
        }
    }
}

#[test]
fn in_place_is_the_same() {
    let mut rng = Lcg(3);
    for _ in 0..CASES {
        let shape = random_shape(&mut rng);
        let (e, o) = (ELEMS[rng.below(4)], ELEMS[rng.below(4)]);
        let b = View::random(&mut rng, e, &shape, true);
        let mut c = View::random(&mut rng, o, &shape, false);
        let before = c.clone();
        let out = c.dst();
        let this = Src { ptr: out.ptr, elem: out.elem, strides: out.strides };
        unsafe { map::<f32, 3>(&shape, out, [this, b.src(), this], Rows::new(&|[x, y, z]| x + y + z)) };
        for i in indices(&shape) {
            assert_eq!(c.get(&i), c.rounded(before.get(&i) * 2.0 + b.get(&i)));
        }
        untouched_outside(&before, &c, &shape);
    }
}

/// A view of all its memory, as [`map_flat`] takes it.
fn flat(view: &mut View, repeats: bool) -> Flat {
    Flat { ptr: view.memory.as_mut_ptr().cast(), elem: view.elem, repeats }
}

#[test]
fn flat_operands_of_any_type() {
    let mut rng = Lcg(5);
    for n in [0, 1, 4, 255, 256, 257, if cfg!(miri) { 300 } else { 1000 }] {
        for case in 0..20 {
            let mut line = |n| {
                let elem = if case == 0 || rng.below(3) == 0 { Elem::F32 } else { ELEMS[rng.below(10)] };
                View { offset: 0, strides: vec![1], ..View::random(&mut rng, elem, &[n], false) }
            };
            let (mut a, mut b, mut c) = (line(n), line(1), line(n));
            let before = c.clone();
            let product = |i| a.get(&[i]) * b.get(&[0]);
            let products: Vec<f64> = (0..n).map(product).collect();
            let (x, y) = (flat(&mut a, false), flat(&mut b, true));
            unsafe { map_flat::<f32, 2>(n, flat(&mut c, false), [x, y], Rows::new(&|[x, y]| x * y)) };
            for i in 0..n {
                assert_eq!(
                    c.get(&[i]),
                    c.rounded(products[i]),
                    "{:?} · {:?} -> {:?}",
                    a.elem,
                    b.elem,
                    c.elem
                );
            }
            untouched_outside(&before, &c, &[n]);
            let mut c = before.clone();
            let out = flat(&mut c, false);
            unsafe { map_flat::<f32, 3>(n, out, [out, x, y], Rows::new(&|[c, x, y]| c + x * y)) };
            for i in 0..n {
                let want = c.rounded(before.get(&[i]) + products[i]);
                assert_eq!(c.get(&[i]), want, "{:?} += {:?} · {:?}", c.elem, a.elem, b.elem);
            }
            untouched_outside(&before, &c, &[n]);
        }
    }
}

#[test]
fn copies_between_all_types_and_strides() {
    let mut rng = Lcg(4);
    for case in 0..CASES.max(100) {
        let shape = random_shape(&mut rng);
        let (from, to) = (ELEMS[case % 10], ELEMS[case / 10 % 10]);
        let a = View::random(&mut rng, from, &shape, true);
        let mut c = View::random(&mut rng, to, &shape, false);
        let before = c.clone();
        unsafe { copy(&shape, c.dst(), a.src()) };
        for i in indices(&shape) {
            assert_eq!(c.get(&i), c.rounded(a.get(&i)), "{from:?} -> {to:?}");
        }
        untouched_outside(&before, &c, &shape);
    }
}

#[test]
fn transposes_are_exact() {
    let (rows, cols) = if cfg!(miri) { (9, 40) } else { (777, 1234) };
    let a: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
    let mut b = vec![0f32; rows * cols];
    let out = Dst { ptr: b.as_mut_ptr().cast(), elem: Elem::F32, strides: &[rows, 1] };
    unsafe { copy(&[cols, rows], out, Src { ptr: a.as_ptr().cast(), elem: Elem::F32, strides: &[1, cols] }) };
    for r in 0..rows {
        for c in 0..cols {
            assert_eq!(b[c * rows + r], a[r * cols + c]);
        }
    }
}

fn convert_one<A, B: Copy + Default>(from: Elem, a: A, to: Elem) -> B {
    let mut b = B::default();
    let out = Dst { ptr: (&raw mut b).cast(), elem: to, strides: &[] };
    unsafe { copy(&[], out, Src { ptr: (&raw const a).cast(), elem: from, strides: &[] }) };
    b
}

#[test]
fn conversions_are_those_of_pytorch() {
    use Elem::*;
    assert_eq!(convert_one::<f32, u8>(F32, -1.5, U8), 255);
    assert_eq!(convert_one::<f32, u8>(F32, 300.0, U8), 44);
    assert_eq!(convert_one::<f32, i8>(F32, 200.0, I8), -56);
    assert_eq!(convert_one::<f32, i16>(F32, 40000.0, I16), -25536);
    assert_eq!(convert_one::<f32, i32>(F32, f32::NAN, I32), i32::MIN);
    assert_eq!(convert_one::<f64, i64>(F64, f64::INFINITY, I64), i64::MIN);
    assert_eq!(convert_one::<f64, i32>(F64, -2147483648.9, I32), i32::MIN);
    assert_eq!(convert_one::<f32, u8>(F32, f32::NAN, Bool), 1);
    assert_eq!(convert_one::<f32, u8>(F32, 0.25, Bool), 1);
    assert_eq!(convert_one::<f32, u8>(F32, -0.0, Bool), 0);
    assert_eq!(convert_one::<i64, u8>(I64, 256, Bool), 1);
    assert_eq!(convert_one::<i64, f32>(I64, 16777217, F32), 16777216.0);
    assert_eq!(convert_one::<i64, f32>(I64, (1 << 40) + (1 << 16) + 1, F32), 1099511758848.0);
}

#[test]
fn halves_convert_like_the_half_crate() {
    let step = if cfg!(miri) { 641 } else { 1 };
    for bits in (0..=u16::MAX).step_by(step) {
        let h = half::f16::from_bits(bits);
        let got: f32 = convert_one(Elem::F16, h, Elem::F32);
        assert!(got.to_bits() == h.to_f32().to_bits() || h.is_nan() && got.is_nan(), "{bits:#x}");
        let b = half::bf16::from_bits(bits);
        let got: f32 = convert_one(Elem::BF16, b, Elem::F32);
        assert!(got.to_bits() == b.to_f32().to_bits() || b.is_nan() && got.is_nan());
    }
    for bits in (0..=u32::MAX).step_by(if cfg!(miri) { 1 << 24 | 4097 } else { 40961 }) {
        let v = f32::from_bits(bits);
        let got: u16 = convert_one(Elem::F32, v, Elem::F16);
        assert!(v.is_nan() || got == half::f16::from_f32(v).to_bits(), "{v}");
        let got: u16 = convert_one(Elem::F32, v, Elem::BF16);
        assert!(v.is_nan() || got == half::bf16::from_f32(v).to_bits(), "{v}");
    }
}

#[test]
fn fills() {
    let mut rng = Lcg(5);
    for _ in 0..CASES {
        let shape = random_shape(&mut rng);
        let elem = ELEMS[rng.below(10)];
        let mut c = View::random(&mut rng, elem, &shape, false);
        let before = c.clone();
        let (value, want) = match rng.below(3) {
            0 => (Scalar::Float(3.5), 3.5),
            1 => (Scalar::Int(-3), -3.0),
            _ => (Scalar::Bool(true), 1.0),
        };
        unsafe { fill(&shape, c.dst(), value) };
        for i in indices(&shape) {
            assert_eq!(c.get(&i), c.rounded(want));
        }
        untouched_outside(&before, &c, &shape);
    }
}

#[test]
fn large_outputs_are_the_same_on_any_number_of_threads() {
    let n = if cfg!(miri) { 1000 } else { 9 << 20 };
    let a: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
    let run = |threads| {
        set_threads(threads);
        let mut b = vec![0f32; n];
        let view = |p: *const f32| Src { ptr: p.cast(), elem: Elem::F32, strides: &[1] };
        let out = Dst { ptr: b.as_mut_ptr().cast(), elem: Elem::F32, strides: &[1] };
        unsafe {
            map::<f32, 2>(&[n], out, [view(a.as_ptr()), view(a.as_ptr())], Rows::new(&|[x, y]| x * y + 1.0))
        };
        set_threads(0);
        b
    };
    let one = run(1);
    assert!(one.iter().zip(&a).all(|(&y, &x)| y == x * x + 1.0));
    assert!(one == run(3));
}

/// A function that is longer than what a compiler inlines by itself would be.
#[derive(Clone, Copy)]
struct Gelu;

impl<T: Float> Inlined<T, 1> for Gelu {
    #[inline(always)]
    fn call<const FUSED: bool>(&self, [x]: [T; 1]) -> T {
        x.gelu(false)
    }
}

#[test]
fn inlined_functions_are_the_same() {
    let x: Vec<f32> = (0..300).map(|i| i as f32 / 50.0 - 3.0).collect();
    let (mut y, mut z) = (vec![0f32; x.len()], vec![0f32; x.len()]);
    for rows in [Rows::new(&|[x]: [f32; 1]| x.gelu(false)), Rows::inlined(&Gelu)] {
        let [from, out] = [x.as_ptr().cast_mut(), y.as_mut_ptr()].map(|p| Flat {
            ptr: p.cast(),
            elem: Elem::F32,
            repeats: false,
        });
        unsafe { map_flat(x.len(), out, [from], rows) };
        if z[0] == 0.0 {
            z.clone_from(&y);
        }
    }
    for (y, z) in y.iter().zip(&z) {
        assert!((y - z).abs() <= 1e-6 * z.abs().max(1e-3), "{y} {z}");
    }
}
