//! Matrix products against naive sums, over random shapes and strides.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::Lcg;
use sconce_kernels::{Elem, Operand, Output, Real, batched, dot, gemm, set_threads};

fn case<T: Real>(rng: &mut Lcg, m: usize, n: usize, k: usize, tolerance: f64) {
    let layout = |rng: &mut Lcg, rows: usize, cols: usize| {
        let gap = rng.below(3) as isize;
        match rng.below(5) {
            0 | 1 => (cols as isize + gap, 1),
            2 | 3 => (1, rows as isize + gap),
            _ => (2 * (cols as isize + gap), 2),
        }
    };
    let size = |rows: usize, cols: usize, (r, c): (isize, isize)| {
        rows.saturating_sub(1) * r as usize + cols.saturating_sub(1) * c as usize + 1
    };
    let (la, lb, lc) = (layout(rng, m, k), layout(rng, k, n), layout(rng, m, n));
    let mut data = |len: usize| (0..len).map(|_| T::from_f64(rng.unit() - 0.5)).collect::<Vec<T>>();
    let (a, b, c0) = (data(size(m, k, la)), data(size(k, n, lb)), data(size(m, n, lc)));
    let (alpha, beta) = [(1.0, 0.0), (0.5, 1.0), (-1.0, 2.0)][rng.below(3)];
    let run = |threads| {
        set_threads(threads);
        let mut c = c0.clone();
        if beta == 0.0 {
            c.iter_mut().for_each(|v| *v = T::from_f64(f64::NAN));
        }
        let (x, y) = (T::from_f64(alpha), T::from_f64(beta));
        unsafe { gemm(m, n, k, x, a.as_ptr(), la, b.as_ptr(), lb, y, c.as_mut_ptr(), lc) };
        set_threads(0);
        c
    };
    let c = run(1);
    let at = |(r, s): (isize, isize), i: usize, j: usize| i * r as usize + j * s as usize;
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|p| a[at(la, i, p)].to_f64() * b[at(lb, p, j)].to_f64()).sum();
            let start = if beta == 0.0 { 0.0 } else { beta * c0[at(lc, i, j)].to_f64() };
            let (got, want) = (c[at(lc, i, j)].to_f64(), alpha * sum + start);
            assert!(
                (got - want).abs() <= tolerance,
                "{m}x{n}x{k} {la:?} {lb:?} {lc:?} ({i}, {j}): {got} {want}"
            );
        }
    }
    let again = run(3);
    for i in 0..m {
        for j in 0..n {
            assert!(c[at(lc, i, j)] == again[at(lc, i, j)], "depends on threads: {m}x{n}x{k}");
        }
    }
}

#[test]
fn random_shapes_and_strides() {
    let mut rng = Lcg(7);
    let most = if cfg!(miri) { 14 } else { 90 };
    for _ in 0..if cfg!(miri) { 6 } else { 250 } {
        let (m, n, k) = (rng.below(most), rng.below(most), rng.below(most));
        case::<f32>(&mut rng, m, n, k, 1e-5);
        case::<f64>(&mut rng, m, n, k, 1e-13);
    }
}

#[test]
fn vectors_and_blocks() {
    let mut rng = Lcg(8);
    let shapes: &[(usize, usize, usize)] = if cfg!(miri) {
        &[(1, 5, 40), (5, 1, 40), (2, 17, 33)]
    } else {
        &[
            (1, 10, 10816),
            (1, 700, 300),
            (700, 1, 300),
            (64, 10, 1000),
            (10, 1000, 64),
            (300, 270, 520),
            (2, 2, 5000),
        ]
    };
    for &(m, n, k) in shapes {
        for _ in 0..4 {
            case::<f32>(&mut rng, m, n, k, 2e-4);
            case::<f64>(&mut rng, m, n, k, 1e-11);
        }
    }
}

#[test]
fn batches_of_every_type() {
    let mut rng = Lcg(9);
    for elem in common::ELEMS {
        let (batch, m, n, k) = (3, 4, 5, 6);
        let a = common::View::random(&mut rng, elem, &[batch, m, k], false);
        let b = common::View::random(&mut rng, elem, &[k, n], false);
        let mut c = common::View::random(&mut rng, elem, &[batch, m, n], false);
        let (ra, rb) = (a.src(), b.src());
        let strides = c.strides.clone();
        let out = c.dst();
        unsafe {
            batched(
                batch,
                m,
                n,
                k,
                Operand { ptr: ra.ptr, elem, batch: ra.strides[0], row: ra.strides[1], col: ra.strides[2] },
                Operand { ptr: rb.ptr, elem, batch: 0, row: rb.strides[0], col: rb.strides[1] },
                Output { ptr: out.ptr, elem, batch: strides[0], row: strides[1], col: strides[2] },
            )
        };
        for i in common::indices(&[batch, m, n]) {
            let sum: f64 = (0..k).map(|p| a.get(&[i[0], i[1], p]) * b.get(&[p, i[2]])).sum();
            assert_eq!(c.get(&i), c.rounded(sum), "{elem:?}");
        }
    }
}

#[test]
fn integer_products_keep_64_bits() {
    let a = [(1i64 << 62) + 1, 3];
    let mut c = [0i64];
    let view = |row, col| Operand { ptr: a.as_ptr().cast(), elem: Elem::I64, batch: 0, row, col };
    let out = Output { ptr: c.as_mut_ptr().cast(), elem: Elem::I64, batch: 1, row: 1, col: 1 };
    unsafe { batched(1, 1, 1, 2, view(2, 1), view(1, 2), out) };
    assert_eq!(c[0], a[0].wrapping_mul(a[0]).wrapping_add(9));
}

#[test]
fn long_dots_do_not_drift() {
    let n = if cfg!(miri) { 1000 } else { 1 << 20 };
    let a = vec![0.1f32; n];
    let got = unsafe { dot(n, a.as_ptr(), 1, [1.0f32].as_ptr(), 0) } as f64;
    assert!((got / (n as f64 * 0.1f32 as f64) - 1.0).abs() < 3e-6, "{got}");
}
