//! Prints how fast the kernels are: `cargo bench -p sconce-kernels [-- FILTER]`.
//!
//! The best of several runs, per kernel and number of threads; elementwise kernels and reductions in GB/s next to a
//! plain copy, products in GFLOP/s.
#![allow(clippy::undocumented_unsafe_blocks)]

use sconce_kernels::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Seconds per call, the best of several runs.
fn seconds(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < Duration::from_millis(5) {
        f();
        calls += 1;
    }
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        (0..calls).for_each(|_| f());
        best = best.min(start.elapsed().as_secs_f64() / calls as f64);
    }
    best
}

fn line(name: &str, threads: usize, seconds: f64, work: f64, unit: &str) {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    if filter.is_none_or(|f| name.contains(&f)) {
        println!("{name:42} {threads} threads {:12.2} us {:8.1} {unit}", seconds * 1e6, work / seconds / 1e9);
    }
}

fn src<'a>(x: &'a [f32], strides: &'a [usize]) -> Src<'a> {
    Src { ptr: black_box(x.as_ptr()).cast(), elem: Elem::F32, strides }
}

fn dst<'a>(x: &'a mut [f32], strides: &'a [usize]) -> Dst<'a> {
    Dst { ptr: x.as_mut_ptr().cast(), elem: Elem::F32, strides }
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

/// Reads two arrays and writes one.
type Kernel<'a> = &'a mut dyn FnMut(&[f32], &[f32], &mut [f32]);

fn elementwise(threads: usize) {
    for n in [4, 1024, 1 << 18, 16 << 20] {
        let (a, b, mut c) = (numbers(n), numbers(n), numbers(n));
        let bytes = 4.0 * n as f64;
        let mut run = |name: &str, arrays: f64, f: Kernel<'_>| {
            let t = seconds(|| f(&a, &b, &mut c));
            line(&format!("{name} {n}"), threads, t, arrays * bytes, "GB/s");
        };
        run("memcpy", 2.0, &mut |a, _, c| c.copy_from_slice(black_box(a)));
        run("copy", 2.0, &mut |a, _, c| unsafe { copy(&[n], dst(c, &[1]), src(a, &[1])) });
        run("add", 3.0, &mut |a, b, c| unsafe {
            map::<f32, 2>(&[n], dst(c, &[1]), [src(a, &[1]), src(b, &[1])], Rows::new(&|[x, y]| x + y))
        });
        run("mul", 3.0, &mut |a, b, c| unsafe {
            map::<f32, 2>(&[n], dst(c, &[1]), [src(a, &[1]), src(b, &[1])], Rows::new(&|[x, y]| x * y))
        });
        run("relu", 2.0, &mut |a, _, c| unsafe {
            map::<f32, 1>(&[n], dst(c, &[1]), [src(a, &[1])], Rows::new(&|[x]| if x > 0.0 { x } else { 0.0 }))
        });
        run("add in place", 3.0, &mut |a, _, c| unsafe {
            let this = Src { ptr: c.as_ptr().cast(), elem: Elem::F32, strides: &[1] };
            map::<f32, 2>(&[n], dst(c, &[1]), [this, src(a, &[1])], Rows::new(&|[x, y]| x + y * 1e-9))
        });
        run("add scalar", 2.0, &mut |a, b, c| unsafe {
            map::<f32, 2>(&[n], dst(c, &[1]), [src(a, &[1]), src(b, &[0])], Rows::new(&|[x, y]| x + y))
        });
        type Unary = (&'static str, fn(&[f32], &mut [f32], usize));
        macro_rules! unary {
            ($f:ident) => {
                (stringify!($f), |a, c, n| unsafe {
                    #[derive(Clone, Copy)]
                    struct Function;
                    impl Inlined<f32, 1> for Function {
                        #[inline(always)]
                        fn call<const FUSED: bool>(&self, [x]: [f32; 1]) -> f32 {
                            Float::$f(x, FUSED)
                        }
                    }
                    map::<f32, 1>(&[n], dst(c, &[1]), [src(a, &[1])], Rows::inlined(&Function))
                })
            };
        }
        let unaries: [Unary; 6] =
            [unary!(exp), unary!(log), unary!(tanh), unary!(erf), unary!(sigmoid), unary!(gelu)];
        for (name, f) in unaries {
            run(name, 2.0, &mut |a, _, c| f(a, c, n));
        }
    }
}

fn reductions(threads: usize) {
    for n in [10, 1024, 1 << 18, 16 << 20] {
        let (a, mut c) = (numbers(n), [0f32]);
        for kind in [Reduction::Sum, Reduction::Max, Reduction::SumSquares, Reduction::ArgMax] {
            let t = seconds(|| unsafe { reduce(kind, &[], &[n], dst(&mut c, &[]), src(&a, &[1])) });
            line(&format!("{kind:?} {n}"), threads, t, 4.0 * n as f64, "GB/s");
        }
    }
    for (r, c) in [(64, 10), (64, 1024), (4096, 4096), (1 << 20, 10)] {
        let (a, mut out) = (numbers(r * c), vec![0f32; r.max(c)]);
        let bytes = 4.0 * (r * c) as f64;
        let t =
            seconds(|| unsafe { reduce(Reduction::Sum, &[r], &[c], dst(&mut out, &[1]), src(&a, &[c, 1])) });
        line(&format!("Sum rows {r}x{c}"), threads, t, bytes, "GB/s");
        let t =
            seconds(|| unsafe { reduce(Reduction::Sum, &[c], &[r], dst(&mut out, &[1]), src(&a, &[1, c])) });
        line(&format!("Sum columns {r}x{c}"), threads, t, bytes, "GB/s");
        let mut y = vec![0f32; r * c];
        let t = seconds(|| unsafe { softmax(SoftmaxKind::Softmax, r, c, 1, a.as_ptr(), y.as_mut_ptr()) });
        line(&format!("softmax {r}x{c}"), threads, t, 2.0 * bytes, "GB/s");
    }
    let x = numbers(16 << 20);
    for elem in [Elem::F32, Elem::F16, Elem::BF16] {
        let mut bytes = vec![0u64; x.len() * elem.size() / 8];
        let out = Dst { ptr: bytes.as_mut_ptr().cast(), elem, strides: &[1] };
        unsafe { copy(&[x.len()], out, src(&x, &[1])) };
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), x.len() * elem.size()) };
        let t = seconds(|| {
            black_box(Stats::of(elem, black_box(bytes)));
        });
        line(&format!("stats {elem:?}"), threads, t, bytes.len() as f64, "GB/s");
        let t = seconds(|| histogram(elem, black_box(bytes), -1.0, 1.0, black_box(&mut [0; 32])));
        line(&format!("histogram {elem:?}"), threads, t, bytes.len() as f64, "GB/s");
    }
}

fn products(threads: usize) {
    let shapes = [(64, 64, 64), (256, 256, 256), (1024, 1024, 1024), (64, 10, 10816), (10, 10816, 64)];
    for (m, n, k) in shapes.into_iter().chain([(64, 10816, 10), (1, 10, 10816), (1, 4096, 4096)]) {
        let (a, b, mut c) = (numbers(m * k), numbers(k * n), numbers(m * n));
        for (name, strides) in [("", (n as isize, 1)), (" b transposed", (1, k as isize))] {
            let (rows, out) = ((k as isize, 1), (n as isize, 1));
            let (pa, pb) = (a.as_ptr(), b.as_ptr());
            let t =
                seconds(|| unsafe { gemm(m, n, k, 1.0, pa, rows, pb, strides, 0.0, c.as_mut_ptr(), out) });
            line(&format!("gemm {m}x{n}x{k}{name}"), threads, t, 2.0 * (m * n * k) as f64, "GFLOP/s");
        }
    }
}

fn convolutions(threads: usize) {
    let shapes = [
        (1, 3, 28, 16, 0),
        (64, 3, 28, 16, 0),
        (64, 1, 8, 16, 1),
        (64, 16, 4, 32, 1),
        (1, 64, 56, 64, 1),
        (1, 256, 14, 256, 1),
    ];
    for (n, c_in, h, c_out, padding) in shapes {
        let conv = Conv2d {
            n,
            c_in,
            h,
            w: h,
            c_out,
            kernel: (3, 3),
            stride: (1, 1),
            padding: (padding, padding),
            dilation: (1, 1),
            groups: 1,
        };
        let (oh, ow) = conv.output().expect("the kernel fits");
        let (x, w) = (numbers(n * c_in * h * h), numbers(c_out * c_in * 9));
        let (mut y, mut gx, mut gw) = (numbers(n * c_out * oh * ow), x.clone(), w.clone());
        let flops = 2.0 * (y.len() * c_in * 9) as f64;
        let name = format!("{n}x{c_in}x{h}x{h} to {c_out}");
        let t = seconds(|| unsafe { conv2d(&conv, x.as_ptr(), w.as_ptr(), None, y.as_mut_ptr()) });
        line(&format!("conv {name}"), threads, t, flops, "GFLOP/s");
        let t = seconds(|| unsafe { conv2d_backward_input(&conv, y.as_ptr(), w.as_ptr(), gx.as_mut_ptr()) });
        line(&format!("conv input {name}"), threads, t, flops, "GFLOP/s");
        let t = seconds(|| unsafe { conv2d_backward_weight(&conv, y.as_ptr(), x.as_ptr(), gw.as_mut_ptr()) });
        line(&format!("conv weight {name}"), threads, t, flops, "GFLOP/s");
        let (mut gb, mut at) = (numbers(c_out), vec![0i64; y.len()]);
        let t = seconds(|| unsafe { conv2d_backward_bias(&conv, y.as_ptr(), gb.as_mut_ptr()) });
        line(&format!("conv bias {name}"), threads, t, 4.0 * y.len() as f64, "GB/s");
        let pool = Pool2d {
            planes: n * c_out,
            h: oh,
            w: ow,
            oh: oh / 2,
            ow: ow / 2,
            kernel: (2, 2),
            stride: (2, 2),
            padding: (0, 0),
            dilation: (1, 1),
        };
        let mut pooled = numbers(n * c_out * (oh / 2) * (ow / 2));
        let t = seconds(|| unsafe { max_pool2d(&pool, y.as_ptr(), pooled.as_mut_ptr(), at.as_mut_ptr()) });
        line(&format!("max pool {name}"), threads, t, 4.0 * y.len() as f64, "GB/s");
        let size = BatchNorm { n, c: c_out, l: oh * ow };
        let (mut m, mut v) = (numbers(c_out), numbers(c_out));
        let t = seconds(|| unsafe { batch_norm_stats(size, y.as_ptr(), m.as_mut_ptr(), v.as_mut_ptr()) });
        line(&format!("batch norm stats {name}"), threads, t, 4.0 * y.len() as f64, "GB/s");
    }
}

fn main() {
    for threads in [1, 2] {
        set_threads(threads);
        elementwise(threads);
        reductions(threads);
        products(threads);
        convolutions(threads);
    }
}
