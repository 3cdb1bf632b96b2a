//! Order, running sums, moves of elements and places of extremes against naive code.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::Lcg;
use sconce_kernels::*;

fn shapes() -> Vec<Lines> {
    let all = [(1, 1, 1), (3, 7, 1), (2, 5, 3), (1, 9, 70), (5, 2000, 1), (2, 300, 130)];
    let all = all.map(|(outer, n, inner)| Lines { outer, n, inner });
    all[..if cfg!(miri) { 3 } else { all.len() }].to_vec()
}

/// Few different numbers, with NaN and both zeros.
fn floats(rng: &mut Lcg, n: usize) -> Vec<f32> {
    let special = [f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY];
    (0..n)
        .map(|_| special.get(rng.below(40)).copied().unwrap_or_else(|| rng.below(50) as f32 - 25.0))
        .collect()
}

/// The elements of each line, with their places in the array.
fn each_line(l: Lines, mut f: impl FnMut(usize, usize, &dyn Fn(usize) -> usize)) {
    for o in 0..l.outer {
        for i in 0..l.inner {
            f(o, i, &|j| (o * l.n + j) * l.inner + i);
        }
    }
}

fn check_order<T: Copy>(l: Lines, elem: Elem, x: &[T], less: impl Fn(T, T) -> bool) {
    for descending in [false, true] {
        for k in [l.n, l.n / 2, l.n / 8, 1, 0] {
            let mut places = vec![-1; l.outer * k * l.inner];
            unsafe { order(l, elem, x.as_ptr().cast(), k, descending, places.as_mut_ptr()) };
            each_line(l, |o, i, at| {
                let mut expected: Vec<usize> = (0..l.n).collect();
                expected.sort_by(|&a, &b| {
                    let (a, b) = (x[at(a)], x[at(b)]);
                    let (a, b) = if descending { (b, a) } else { (a, b) };
                    less(b, a).cmp(&less(a, b))
                });
                let found: Vec<usize> = (0..k).map(|j| places[(o * k + j) * l.inner + i] as usize).collect();
                assert_eq!(found, expected[..k], "{l:?} {elem:?} k {k}, descending {descending}");
            });
        }
    }
}

#[test]
fn order_of_lines() {
    let mut rng = Lcg(61);
    for l in shapes() {
        let n = l.outer * l.n * l.inner;
        let x = floats(&mut rng, n);
        check_order(l, Elem::F32, &x, |a: f32, b: f32| a < b || !a.is_nan() && b.is_nan());
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        check_order(l, Elem::F64, &x, |a: f64, b: f64| a < b || !a.is_nan() && b.is_nan());
        let x: Vec<i64> = (0..n).map(|_| rng.below(9) as i64 - 4).collect();
        check_order(l, Elem::I64, &x, |a: i64, b: i64| a < b);
        let x: Vec<i16> = x.into_iter().map(|x| x as i16).collect();
        check_order(l, Elem::I16, &x, |a: i16, b: i16| a < b);
    }
}

#[test]
fn a_long_line_on_several_threads() {
    let n = if cfg!(miri) { 50 } else { 70_000 };
    let x = floats(&mut Lcg(62), n);
    let run = |threads: usize| {
        set_threads(threads);
        let mut places = vec![0; n];
        unsafe {
            order(
                Lines { outer: 1, n, inner: 1 },
                Elem::F32,
                x.as_ptr().cast(),
                n,
                false,
                places.as_mut_ptr(),
            )
        };
        places
    };
    assert!(run(1) == run(4));
    set_threads(0);
}

#[test]
fn running_sums_of_no_lines_do_not_divide_by_zero() {
    let (x, mut y) = ([1f32], [9f32]);
    unsafe { cumsum(Lines { outer: 2, n: 3, inner: 0 }, false, x.as_ptr(), y.as_mut_ptr()) };
    assert_eq!(y, [9.0]);
}

#[test]
fn running_sums() {
    let mut rng = Lcg(63);
    for l in shapes() {
        let n = l.outer * l.n * l.inner;
        let x: Vec<f32> = (0..n).map(|_| rng.below(100) as f32).collect();
        for backwards in [false, true] {
            let mut y = vec![-1f32; n];
            unsafe { cumsum(l, backwards, x.as_ptr(), y.as_mut_ptr()) };
            each_line(l, |_, _, at| {
                let mut sum = 0.0;
                for j in 0..l.n {
                    let place = at(if backwards { l.n - 1 - j } else { j });
                    sum += x[place];
                    assert_eq!(y[place], sum, "{l:?}, backwards {backwards}");
                }
            });
        }
    }
}

#[test]
fn moves_of_elements() {
    let mut rng = Lcg(64);
    for l in shapes() {
        let (n, k) = (l.outer * l.n * l.inner, l.n / 2 + 1);
        let x: Vec<u32> = (0..n as u32).collect();
        let from = x.as_ptr().cast();
        let mut index: Vec<i64> = (0..k).map(|_| rng.below(l.n) as i64).collect();
        let mut y = vec![u32::MAX; l.outer * k * l.inner];
        assert!(unsafe { take_slices(l, 4, &index, from, y.as_mut_ptr().cast()) });
        each_line(Lines { n: k, ..l }, |o, i, at| {
            for j in 0..k {
                assert_eq!(y[at(j)] as usize, (o * l.n + index[j] as usize) * l.inner + i, "{l:?}");
            }
        });
        index[k - 1] = l.n as i64;
        assert!(!unsafe { take_slices(l, 4, &index, from, y.as_mut_ptr().cast()) });

        let mut index: Vec<i64> = (0..y.len()).map(|_| rng.below(l.n) as i64).collect();
        assert!(unsafe { gather(l, 4, k, &index, from, y.as_mut_ptr().cast()) });
        each_line(Lines { n: k, ..l }, |o, i, at| {
            for j in 0..k {
                assert_eq!(y[at(j)] as usize, (o * l.n + index[at(j)] as usize) * l.inner + i, "{l:?}");
            }
        });
        index[0] = -1;
        assert!(!unsafe { gather(l, 4, k, &index, from, y.as_mut_ptr().cast()) });

        let mut y = vec![0u32; n];
        for turned in [[true, false, false], [false, true, true], [true, true, true]] {
            unsafe { flip(&[l.outer, l.n, l.inner], &turned, 4, from, y.as_mut_ptr().cast()) };
            let side = |d: usize, i: usize, n: usize| if turned[d] { n - 1 - i } else { i };
            each_line(l, |o, i, at| {
                for j in 0..l.n {
                    let row = side(0, o, l.outer) * l.n + side(1, j, l.n);
                    assert_eq!(y[at(j)] as usize, row * l.inner + side(2, i, l.inner), "{l:?} {turned:?}");
                }
            });
        }
    }
}

#[test]
fn sums_at_indices() {
    let mut rng = Lcg(66);
    for l in shapes() {
        let (n, k) = (l.outer * l.n * l.inner, l.n / 2 + 1);
        let lines = Lines { n: k, ..l };
        let start: Vec<i64> = (0..n as i64).collect();
        let from: Vec<i64> = (0..l.outer * k * l.inner).map(|i| 1000 * i as i64).collect();
        for (per_slice, with_start) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut index: Vec<i64> =
                (0..if per_slice { k } else { from.len() }).map(|_| rng.below(l.n) as i64).collect();
            let mut expected = if with_start { start.clone() } else { vec![0; n] };
            each_line(lines, |o, i, at| {
                for j in 0..k {
                    let slice = index[if per_slice { j } else { at(j) }] as usize;
                    expected[(o * l.n + slice) * l.inner + i] += from[at(j)];
                }
            });
            let run = |index: &[i64]| {
                let (start, mut y) = (with_start.then_some(start.as_ptr()), vec![-1; n]);
                let add = |a: i64, b: i64| a + b;
                (unsafe { scatter_add(l, k, index, from.as_ptr(), start, y.as_mut_ptr(), add) }, y)
            };
            assert_eq!(run(&index), (true, expected), "{l:?}, per slice {per_slice}");
            for wrong in [-1, l.n as i64] {
                index[0] = wrong;
                assert!(!run(&index).0, "{l:?}, per slice {per_slice}");
            }
        }
    }
}

#[test]
fn places_of_flags() {
    let mut rng = Lcg(67);
    for n in [0, 1, 700, if cfg!(miri) { 900 } else { 200_000 }] {
        let flags: Vec<u8> = (0..n).map(|_| (rng.below(3) as u8).saturating_sub(1)).collect();
        let expected: Vec<i64> = (0..n as i64).filter(|&i| flags[i as usize] != 0).collect();
        let counts = count_flags(&flags);
        assert_eq!(counts.iter().sum::<usize>(), expected.len());
        let mut found = vec![-1; expected.len()];
        unsafe { places(&flags, &counts, found.as_mut_ptr()) };
        assert_eq!(found, expected);
    }
}

#[test]
fn places_of_extremes() {
    let mut rng = Lcg(65);
    for l in shapes() {
        for nans in [true, false] {
            let mut x = floats(&mut rng, l.outer * l.n * l.inner);
            if !nans {
                x.iter_mut().for_each(|x| *x = if x.is_nan() { 1.0 } else { *x });
            }
            for kind in [Reduction::ArgMax, Reduction::ArgMin] {
                let mut places = vec![-1i64; l.outer * l.inner];
                let src =
                    Src { ptr: x.as_ptr().cast(), elem: Elem::F32, strides: &[l.n * l.inner, 1, l.inner] };
                let out = Dst { ptr: places.as_mut_ptr().cast(), elem: Elem::I64, strides: &[l.inner, 1] };
                unsafe { reduce(kind, &[l.outer, l.inner], &[l.n], out, src) };
                each_line(l, |o, i, at| {
                    let mut best = 0;
                    for j in 0..l.n {
                        let (v, b) = (x[at(j)], x[at(best)]);
                        let better = if kind == Reduction::ArgMax { v > b } else { v < b };
                        if better || v.is_nan() && !b.is_nan() {
                            best = j;
                        }
                    }
                    assert_eq!(places[o * l.inner + i], best as i64, "{l:?} {kind:?}");
                });
            }
        }
    }
}
