//! Convolutions and their gradients against naive sums.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::Lcg;
use sconce_kernels::{
    Conv2d, Real, conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight, set_threads,
};

/// Calls `visit(output index, input index, weight index)` for every product of the convolution.
fn products(c: &Conv2d, mut visit: impl FnMut(usize, usize, usize)) {
    let (oh, ow) = c.output().expect("the kernel fits");
    let (ci, co) = (c.c_in / c.groups, c.c_out / c.groups);
    for (n, o) in (0..c.n).flat_map(|n| (0..c.c_out).map(move |o| (n, o))) {
        for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
            for i in 0..ci {
                for (ky, kx) in (0..c.kernel.0).flat_map(|ky| (0..c.kernel.1).map(move |kx| (ky, kx))) {
                    let sy = (y * c.stride.0 + ky * c.dilation.0) as isize - c.padding.0 as isize;
                    let sx = (x * c.stride.1 + kx * c.dilation.1) as isize - c.padding.1 as isize;
                    if sy < 0 || sx < 0 || sy as usize >= c.h || sx as usize >= c.w {
                        continue;
                    }
                    let channel = o / co * ci + i;
                    visit(
                        ((n * c.c_out + o) * oh + y) * ow + x,
                        ((n * c.c_in + channel) * c.h + sy as usize) * c.w + sx as usize,
                        ((o * ci + i) * c.kernel.0 + ky) * c.kernel.1 + kx,
                    );
                }
            }
        }
    }
}

fn check<T: Real>(c: Conv2d, rng: &mut Lcg, tolerance: f64) {
    let Some((oh, ow)) = c.output() else { return };
    let mut data = |n: usize| (0..n).map(|_| T::from_f64(rng.unit() - 0.5)).collect::<Vec<T>>();
    let x = data(c.n * c.c_in * c.h * c.w);
    let w = data(c.c_out * c.c_in / c.groups * c.kernel.0 * c.kernel.1);
    let (b, g) = (data(c.c_out), data(c.n * c.c_out * oh * ow));
    let run = |threads| {
        set_threads(threads);
        let nan = T::from_f64(f64::NAN);
        let (mut y, mut gx, mut gw, mut gb) =
            (vec![nan; g.len()], vec![nan; x.len()], vec![nan; w.len()], vec![nan; b.len()]);
        unsafe {
            conv2d(&c, x.as_ptr(), w.as_ptr(), Some(b.as_ptr()), y.as_mut_ptr());
            conv2d_backward_input(&c, g.as_ptr(), w.as_ptr(), gx.as_mut_ptr());
            conv2d_backward_weight(&c, g.as_ptr(), x.as_ptr(), gw.as_mut_ptr());
            conv2d_backward_bias(&c, g.as_ptr(), gb.as_mut_ptr());
        }
        set_threads(0);
        [y, gx, gw, gb]
    };
    let got = run(1);
    assert!(got == run(3), "depends on threads: {c:?}");
    let mut want = [vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; b.len()]];
    products(&c, |o, i, k| {
        want[0][o] += x[i].to_f64() * w[k].to_f64();
        want[1][i] += g[o].to_f64() * w[k].to_f64();
        want[2][k] += g[o].to_f64() * x[i].to_f64();
    });
    for o in 0..g.len() {
        let channel = o / (oh * ow) % c.c_out;
        want[0][o] += b[channel].to_f64();
        want[3][channel] += g[o].to_f64();
    }
    for (name, (got, want)) in ["output", "input", "weight", "bias"].iter().zip(got.iter().zip(&want)) {
        for (i, (a, b)) in got.iter().zip(want).enumerate() {
            let error = (a.to_f64() - b).abs();
            assert!(error <= tolerance * (1.0 + b.abs()), "{name} {i}: {} {b}, {c:?}", a.to_f64());
        }
    }
}

#[test]
fn random_convolutions() {
    let mut rng = Lcg(21);
    for _ in 0..if cfg!(miri) { 4 } else { 300 } {
        let most = if cfg!(miri) { 3 } else { 14 };
        let wide = if rng.below(8) == 0 { 3 * most } else { most };
        let groups = [1, 1, 1, 2, 3][rng.below(5)];
        let c = Conv2d {
            n: 1 + rng.below(3),
            c_in: groups * (1 + rng.below(5)),
            h: 1 + rng.below(most),
            w: 1 + rng.below(wide),
            c_out: groups * (1 + rng.below(8)),
            kernel: (1 + rng.below(4), 1 + rng.below(4)),
            stride: (1 + rng.below(3), 1 + rng.below(3)),
            padding: (rng.below(4), rng.below(4)),
            dilation: (1 + rng.below(2), 1 + rng.below(2)),
            groups,
        };
        check::<f32>(c, &mut rng, 2e-5);
        check::<f64>(c, &mut rng, 1e-12);
    }
}

#[test]
fn networks() {
    if cfg!(miri) {
        return;
    }
    let mut rng = Lcg(22);
    let square = |n, c_in, h, c_out, k, stride, padding| Conv2d {
        n,
        c_in,
        h,
        w: h,
        c_out,
        kernel: (k, k),
        stride: (stride, stride),
        padding: (padding, padding),
        dilation: (1, 1),
        groups: 1,
    };
    for c in [
        square(20, 3, 28, 16, 3, 1, 0),
        square(33, 1, 8, 16, 3, 1, 1),
        square(17, 16, 4, 32, 3, 1, 1),
        square(2, 40, 30, 20, 3, 2, 1),
        square(1, 3, 64, 8, 7, 2, 3),
        square(2, 24, 9, 40, 1, 1, 0),
    ] {
        check::<f32>(c, &mut rng, 1e-4);
    }
}
