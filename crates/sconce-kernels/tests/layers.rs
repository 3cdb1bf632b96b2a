//! Softmax, normalisation and pooling against naive code, and their gradients against finite differences.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::Lcg;
use sconce_kernels::*;

fn data(rng: &mut Lcg, n: usize) -> Vec<f64> {
    (0..n).map(|_| rng.unit() * 4.0 - 2.0).collect()
}

/// Checks `grad` against central differences of `Σ f(x) · g`.
fn slopes(x: &[f64], g: &[f64], grad: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) {
    let h = 1e-5;
    for i in (0..x.len()).step_by(if cfg!(miri) { 1 + x.len() / 3 } else { 1 }) {
        let at = |d: f64| {
            let mut x = x.to_vec();
            x[i] += d;
            f(&x).iter().zip(g).map(|(y, g)| y * g).sum::<f64>()
        };
        let slope = (at(h) - at(-h)) / (2.0 * h);
        assert!((grad[i] - slope).abs() < 1e-7 * (1.0 + slope.abs()), "{i}: {} {slope}", grad[i]);
    }
}

#[test]
fn softmax_and_its_gradient() {
    let mut rng = Lcg(31);
    for (outer, dim, inner) in
        [(1, 1, 1), (3, 5, 1), (2, 37, 1), (2, 3, 4), (1, 21, 70), (2, 133, 1), (0, 3, 1)]
    {
        for kind in [SoftmaxKind::Softmax, SoftmaxKind::LogSoftmax] {
            let n = outer * dim * inner;
            let (x, g) = (data(&mut rng, n), data(&mut rng, n));
            let f = |x: &[f64]| {
                let mut y = vec![0.0; n];
                unsafe { softmax(kind, outer, dim, inner, x.as_ptr(), y.as_mut_ptr()) };
                y
            };
            let y = f(&x);
            for o in 0..outer {
                for i in 0..inner {
                    let at = |d: usize| (o * dim + d) * inner + i;
                    let total: f64 = (0..dim).map(|d| x[at(d)].exp()).sum();
                    for d in 0..dim {
                        let p = x[at(d)].exp() / total;
                        let want = if kind == SoftmaxKind::Softmax { p } else { p.ln() };
                        assert!((y[at(d)] - want).abs() < 1e-14 * (1.0 + want.abs()));
                    }
                }
            }
            let mut gx = vec![0.0; n];
            unsafe { softmax_backward(kind, outer, dim, inner, y.as_ptr(), g.as_ptr(), gx.as_mut_ptr()) };
            slopes(&x, &g, &gx, f);
        }
    }
}

#[test]
fn softmax_of_large_numbers() {
    let (x, mut y) = ([1000f32, 1000., f32::NEG_INFINITY, 0.], [0f32; 4]);
    unsafe { softmax(SoftmaxKind::Softmax, 1, 4, 1, x.as_ptr(), y.as_mut_ptr()) };
    assert_eq!(y, [0.5, 0.5, 0.0, 0.0]);
}

/// Of a column whose first rows are all masked, of one that grows, of one of nothing but masks, and of one with a NaN.
#[test]
fn columns_whose_greatest_comes_late() {
    let (dim, inner) = (20, 4);
    let x: Vec<f32> = (0..dim * inner)
        .map(|i| match (i / inner, i % inner) {
            (0..18, 0) | (_, 2) => f32::NEG_INFINITY,
            (_, 0) => 1.0,
            (3, 3) => f32::NAN,
            (row, _) => 50.0 * row as f32,
        })
        .collect();
    for kind in [SoftmaxKind::Softmax, SoftmaxKind::LogSoftmax] {
        let mut y = vec![0f32; x.len()];
        unsafe { softmax(kind, 1, dim, inner, x.as_ptr(), y.as_mut_ptr()) };
        let (zero, half, one) = match kind {
            SoftmaxKind::Softmax => (0.0, 0.5, 1.0),
            SoftmaxKind::LogSoftmax => (f32::NEG_INFINITY, -std::f32::consts::LN_2, 0.0),
        };
        for row in 0..dim {
            let y = &y[row * inner..][..inner];
            assert_eq!(y[0], if row < 18 { zero } else { half });
            assert!(y[2].is_nan() && y[3].is_nan());
            if row == dim - 1 {
                assert_eq!(y[1], one);
            }
        }
    }
}

#[test]
fn batch_norm_and_its_gradients() {
    let mut rng = Lcg(32);
    for (n, c, l) in [(4, 3, 5), (2, 1, 40), (6, 4, 1)] {
        let size = BatchNorm { n, c, l };
        let (x, g, w, b) =
            (data(&mut rng, n * c * l), data(&mut rng, n * c * l), data(&mut rng, c), data(&mut rng, c));
        let stats = |x: &[f64]| {
            let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
            unsafe { batch_norm_stats(size, x.as_ptr(), mean.as_mut_ptr(), var.as_mut_ptr()) };
            let invstd: Vec<f64> = var.iter().map(|v| 1.0 / (v + 1e-5f64).sqrt()).collect();
            (mean, invstd)
        };
        let forward = |x: &[f64], w: &[f64], b: &[f64], (mean, invstd): (Vec<f64>, Vec<f64>)| {
            let mut y = vec![0.0; x.len()];
            let (w, b) = (Some(w.as_ptr()), Some(b.as_ptr()));
            unsafe { batch_norm(size, x.as_ptr(), mean.as_ptr(), invstd.as_ptr(), w, b, y.as_mut_ptr()) };
            y
        };
        let (mean, invstd) = stats(&x);
        for ch in 0..c {
            let v: Vec<f64> = (0..n * l).map(|i| x[(i / l * c + ch) * l + i % l]).collect();
            let m = v.iter().sum::<f64>() / v.len() as f64;
            assert!((mean[ch] - m).abs() < 1e-14);
        }
        for train in [true, false] {
            let (mut gx, mut gw, mut gb) = (vec![0.0; x.len()], vec![0.0; c], vec![0.0; c]);
            let grads = NormGrads {
                x: Some(gx.as_mut_ptr()),
                weight: Some(gw.as_mut_ptr()),
                bias: Some(gb.as_mut_ptr()),
            };
            let (m, s, wp) = (mean.as_ptr(), invstd.as_ptr(), Some(w.as_ptr()));
            unsafe { batch_norm_backward(size, x.as_ptr(), g.as_ptr(), m, s, wp, train, grads) };
            let fixed = (mean.clone(), invstd.clone());
            slopes(&x, &g, &gx, |x| forward(x, &w, &b, if train { stats(x) } else { fixed.clone() }));
            slopes(&w, &g, &gw, |w| forward(&x, w, &b, fixed.clone()));
            slopes(&b, &g, &gb, |b| forward(&x, &w, b, fixed.clone()));
        }
    }
}

#[test]
fn variances_far_from_zero() {
    let l = if cfg!(miri) { 400 } else { 4000 };
    let x: Vec<f32> = (0..l).map(|i| 10000.0 + (i % 2) as f32).collect();
    let (mut mean, mut var) = ([0f32], [0f32]);
    let size = BatchNorm { n: 1, c: 1, l };
    unsafe { batch_norm_stats(size, x.as_ptr(), mean.as_mut_ptr(), var.as_mut_ptr()) };
    assert!((mean[0] - 10000.5).abs() < 1e-3 && (var[0] - 0.25).abs() < 1e-6, "{mean:?} {var:?}");
    let x = vec![f32::NAN; l];
    unsafe { batch_norm_stats(size, x.as_ptr(), mean.as_mut_ptr(), var.as_mut_ptr()) };
    assert!(mean[0].is_nan() && var[0].is_nan());
}

#[test]
fn layer_norm_and_its_gradients() {
    let mut rng = Lcg(33);
    for (rows, cols, affine) in [(3, 7, true), (20, 33, true), (2, 4, false), (1, 1, true)] {
        let (x, g) = (data(&mut rng, rows * cols), data(&mut rng, rows * cols));
        let (w, b) = (data(&mut rng, cols), data(&mut rng, cols));
        let forward = |x: &[f64], w: &[f64], b: &[f64]| {
            let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
            let (w, b) = (affine.then_some(w.as_ptr()), affine.then_some(b.as_ptr()));
            let (m, s) = (mean.as_mut_ptr(), rstd.as_mut_ptr());
            unsafe { layer_norm(rows, cols, x.as_ptr(), w, b, 1e-3, y.as_mut_ptr(), m, s) };
            (y, mean, rstd)
        };
        let (_, mean, rstd) = forward(&x, &w, &b);
        let (mut gx, mut gw, mut gb) = (vec![0.0; x.len()], vec![0.0; cols], vec![0.0; cols]);
        let grads = NormGrads {
            x: Some(gx.as_mut_ptr()),
            weight: Some(gw.as_mut_ptr()),
            bias: Some(gb.as_mut_ptr()),
        };
        let wp = affine.then_some(w.as_ptr());
        unsafe {
            layer_norm_backward(rows, cols, x.as_ptr(), g.as_ptr(), mean.as_ptr(), rstd.as_ptr(), wp, grads)
        };
        slopes(&x, &g, &gx, |x| forward(x, &w, &b).0);
        if affine {
            slopes(&w, &g, &gw, |w| forward(&x, w, &b).0);
            slopes(&b, &g, &gb, |b| forward(&x, &w, b).0);
        }
    }
}

fn pools(rng: &mut Lcg) -> Pool2d {
    let kernel = (1 + rng.below(3), 1 + rng.below(3));
    let dilation = (1 + rng.below(2), 1 + rng.below(2));
    let padding = (rng.below(kernel.0 / 2 + 1), rng.below(kernel.1 / 2 + 1));
    let stride = (1 + rng.below(3), 1 + rng.below(3));
    let (h, w) = (5 + rng.below(6), 5 + rng.below(6));
    let size = |len: usize, k: usize, s: usize, p: usize, d: usize, up: usize| {
        let n = (len + 2 * p - d * (k - 1) - 1 + up * (s - 1)) / s + 1;
        if up > 0 && (n - 1) * s >= len + p { n - 1 } else { n }
    };
    let up = rng.below(2);
    let oh = size(h, kernel.0, stride.0, padding.0, dilation.0, up);
    let ow = size(w, kernel.1, stride.1, padding.1, dilation.1, up);
    Pool2d { planes: 1 + rng.below(3), h, w, oh, ow, kernel, stride, padding, dilation }
}

/// The positions of a window, row and column, outside ones included.
fn window(p: &Pool2d, oy: usize, ox: usize) -> Vec<(isize, isize)> {
    let row = |i: usize| (oy * p.stride.0 + i * p.dilation.0) as isize - p.padding.0 as isize;
    let col = |j: usize| (ox * p.stride.1 + j * p.dilation.1) as isize - p.padding.1 as isize;
    (0..p.kernel.0).flat_map(|i| (0..p.kernel.1).map(move |j| (row(i), col(j)))).collect()
}

#[test]
fn max_pooling() {
    let mut rng = Lcg(34);
    for _ in 0..if cfg!(miri) { 3 } else { 100 } {
        let p = pools(&mut rng);
        let x: Vec<f64> = (0..p.planes * p.h * p.w).map(|_| rng.below(9) as f64).collect();
        let n = p.planes * p.oh * p.ow;
        let (mut y, mut at) = (vec![0.0; n], vec![0i64; n]);
        unsafe { max_pool2d(&p, x.as_ptr(), y.as_mut_ptr(), at.as_mut_ptr()) };
        let mut want = vec![0.0; x.len()];
        for o in 0..n {
            let plane = o / (p.oh * p.ow) * p.h * p.w;
            let best = window(&p, o / p.ow % p.oh, o % p.ow)
                .into_iter()
                .filter(|&(r, c)| r >= 0 && c >= 0 && (r as usize) < p.h && (c as usize) < p.w)
                .map(|(r, c)| r as usize * p.w + c as usize)
                .reduce(|a, b| if x[plane + b] > x[plane + a] { b } else { a });
            let best = best.expect("padding is at most half the kernel");
            assert_eq!((y[o], at[o]), (x[plane + best], best as i64), "{p:?}");
            want[plane + best] += o as f64;
        }
        let g: Vec<f64> = (0..n).map(|o| o as f64).collect();
        let mut gx = vec![f64::NAN; x.len()];
        unsafe { max_pool2d_backward(&p, g.as_ptr(), at.as_ptr(), gx.as_mut_ptr()) };
        assert_eq!(gx, want);
    }
}

#[test]
fn average_pooling() {
    let mut rng = Lcg(35);
    for _ in 0..if cfg!(miri) { 3 } else { 100 } {
        let mut p = pools(&mut rng);
        p.dilation = (1, 1);
        for divisor in [Divisor::Padded, Divisor::Inside, Divisor::Fixed(3)] {
            let x = data(&mut rng, p.planes * p.h * p.w);
            let g = data(&mut rng, p.planes * p.oh * p.ow);
            let f = |x: &[f64]| {
                let mut y = vec![0.0; g.len()];
                unsafe { avg_pool2d(&p, divisor, x.as_ptr(), y.as_mut_ptr()) };
                y
            };
            let y = f(&x);
            for (o, &got) in y.iter().enumerate() {
                let plane = o / (p.oh * p.ow) * p.h * p.w;
                let all = window(&p, o / p.ow % p.oh, o % p.ow);
                let within = |extra: (usize, usize)| {
                    let (h, w) = ((p.h + extra.0) as isize, (p.w + extra.1) as isize);
                    let (top, left) = (-(extra.0 as isize), -(extra.1 as isize));
                    all.iter().filter(move |&&(r, c)| r >= top && c >= left && r < h && c < w)
                };
                let count = match divisor {
                    Divisor::Padded => within(p.padding).count() as f64,
                    Divisor::Inside => within((0, 0)).count() as f64,
                    Divisor::Fixed(n) => n as f64,
                };
                if count == 0.0 {
                    continue;
                }
                let sum: f64 = within((0, 0)).map(|&(r, c)| x[plane + r as usize * p.w + c as usize]).sum();
                assert!((got - sum / count).abs() < 1e-14, "{p:?} {divisor:?}");
            }
            let mut gx = vec![0.0; x.len()];
            unsafe { avg_pool2d_backward(&p, divisor, g.as_ptr(), gx.as_mut_ptr()) };
            let dot: f64 = y.iter().zip(&g).filter(|(y, _)| y.is_finite()).map(|(y, g)| y * g).sum();
            let adjoint: f64 = gx.iter().zip(&x).map(|(a, b)| a * b).sum();
            assert!((dot - adjoint).abs() < 1e-11, "{p:?} {divisor:?}: {dot} {adjoint}");
        }
    }
}
