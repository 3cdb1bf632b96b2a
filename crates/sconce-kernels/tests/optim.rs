//! Optimiser steps and statistics against plain code.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::{ELEMS, Lcg, View};
use sconce_kernels::*;

#[test]
fn sgd_of_every_kind() {
    let mut rng = Lcg(41);
    for case in 0..32u32 {
        let bit = |i: u32| case >> i & 1 == 1;
        let n = 37;
        let mut hyper = Sgd {
            lr: 0.1,
            momentum: if bit(0) { 0.9 } else { 0.0 },
            dampening: if bit(1) && !bit(3) { 0.5 } else { 0.0 },
            weight_decay: if bit(2) { 0.01 } else { 0.0 },
            nesterov: bit(0) && bit(3),
            maximize: bit(4),
            first: true,
        };
        let mut p: Vec<f64> = (0..n).map(|_| rng.value()).collect();
        let (mut want, mut buffer, mut buffer_want) = (p.clone(), vec![0.0; n], vec![0.0; n]);
        for _ in 0..3 {
            let g: Vec<f64> = (0..n).map(|_| rng.value()).collect();
            let momentum = (hyper.momentum != 0.0).then_some(buffer.as_mut_ptr());
            let tensors = SgdTensors { n, param: p.as_mut_ptr(), grad: g.as_ptr(), momentum };
            unsafe { sgd(hyper, &[tensors]) };
            for i in 0..n {
                let mut d = if hyper.maximize { -g[i] } else { g[i] };
                d += hyper.weight_decay * want[i];
                if hyper.momentum != 0.0 {
                    let b = &mut buffer_want[i];
                    *b = if hyper.first { d } else { hyper.momentum * *b + (1.0 - hyper.dampening) * d };
                    d = if hyper.nesterov { d + hyper.momentum * *b } else { *b };
                }
                want[i] -= hyper.lr * d;
                assert!((p[i] - want[i]).abs() < 1e-13, "{hyper:?}");
            }
            hyper.first = false;
        }
    }
}

#[test]
fn adam_of_every_kind() {
    let mut rng = Lcg(42);
    for case in 0..16u32 {
        let bit = |i: u32| case >> i & 1 == 1;
        let n = 37;
        let mut hyper = Adam {
            lr: 0.01,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: if bit(0) { 0.1 } else { 0.0 },
            decoupled: bit(1),
            maximize: bit(2),
            step: 0,
        };
        let mut p: Vec<f64> = (0..n).map(|_| rng.value()).collect();
        let mut want = p.clone();
        let [mut m, mut v, mut most, mut m_, mut v_, mut most_] = [(); 6].map(|_| vec![0.0; n]);
        for step in 1..4 {
            hyper.step = step;
            let g: Vec<f64> = (0..n).map(|_| rng.value()).collect();
            let tensors = AdamTensors {
                n,
                param: p.as_mut_ptr(),
                grad: g.as_ptr(),
                exp_avg: m.as_mut_ptr(),
                exp_avg_sq: v.as_mut_ptr(),
                max_exp_avg_sq: bit(3).then_some(most.as_mut_ptr()),
            };
            unsafe { adam(hyper, &[tensors]) };
            for i in 0..n {
                let mut d = if hyper.maximize { -g[i] } else { g[i] };
                if hyper.decoupled {
                    want[i] *= 1.0 - hyper.lr * hyper.weight_decay;
                } else {
                    d += hyper.weight_decay * want[i];
                }
                m_[i] = 0.9 * m_[i] + 0.1 * d;
                v_[i] = 0.999 * v_[i] + 0.001 * d * d;
                most_[i] = f64::max(most_[i], v_[i]);
                let root = if bit(3) { most_[i] } else { v_[i] };
                let hat = root / (1.0 - 0.999f64.powi(step as i32));
                want[i] -= hyper.lr * (m_[i] / (1.0 - 0.9f64.powi(step as i32))) / (hat.sqrt() + 1e-8);
                assert!((p[i] - want[i]).abs() < 1e-9, "{hyper:?}: {} {}", p[i], want[i]);
            }
        }
    }
}

fn bytes(view: &View) -> &[u8] {
    let len = view.memory.len() * 8;
    unsafe { std::slice::from_raw_parts(view.memory.as_ptr().cast(), len) }
}

#[test]
fn statistics_of_every_type() {
    let mut rng = Lcg(43);
    for elem in ELEMS {
        let n = if cfg!(miri) { 1100 } else { 3000 };
        let mut view = View::random(&mut rng, elem, &[n], false);
        (view.offset, view.strides) = (0, vec![1]);
        let all = bytes(&view);
        let len = all.len() / elem.size();
        let x: Vec<f64> = (0..len).map(|i| view.get(&[i])).collect();
        let stats = Stats::of(elem, all);
        let mean = x.iter().sum::<f64>() / len as f64;
        let m2: f64 = x.iter().map(|v| (v - mean).powi(2)).sum();
        assert_eq!(stats.count, len as u64);
        assert_eq!(stats.zeros, x.iter().filter(|&&v| v == 0.0).count() as u64);
        assert_eq!(stats.min, x.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(stats.max, x.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        let scale = stats.abs_max();
        assert!((stats.mean - mean).abs() <= 1e-6 * scale, "{elem:?}: {} {mean}", stats.mean);
        assert!((stats.m2 / m2 - 1.0).abs() < 1e-5, "{elem:?}: {} {m2}", stats.m2);
        let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((stats.norm() / norm - 1.0).abs() < 1e-5);
        let odd: Vec<u8> = [0].iter().chain(all).copied().collect();
        assert_eq!(Stats::of(elem, &odd[1..]), stats, "unaligned");
        let cut = 700 * elem.size();
        let merged = Stats::of(elem, &all[..cut]).merge(Stats::of(elem, &all[cut..]));
        assert!((merged.m2 / stats.m2 - 1.0).abs() < 1e-5 && merged.zeros == stats.zeros);
        let mut counts = [0u64; 7];
        histogram(elem, all, stats.min, stats.max, &mut counts);
        assert_eq!(counts.iter().sum::<u64>(), len as u64);
        for (bin, &got) in counts.iter().enumerate() {
            let place = |v: f64| (((v - stats.min) / (stats.max - stats.min) * 7.0) as usize).min(6);
            let want = x.iter().filter(|&&v| place(v) == bin).count() as i64;
            assert!((want - got as i64).abs() <= 1 + len as i64 / 500, "{elem:?} bin {bin}: {got} {want}");
        }
    }
}

fn of(x: &[f32]) -> Stats {
    Stats::of(Elem::F32, &x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

#[test]
fn what_is_not_finite_is_counted_apart() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let s = of(&[1.0, nan, -inf, 3.0, inf, inf, -0.0, nan]);
    assert_eq!((s.count, s.nan, s.pos_inf, s.neg_inf, s.zeros, s.finite()), (8, 2, 2, 1, 1, 3));
    assert_eq!((s.min, s.max), (0.0, 3.0));
    assert!((s.mean - 4.0 / 3.0).abs() < 1e-12);
    let s = of(&[nan, nan]);
    assert_eq!((s.finite(), s.abs_max(), s.norm()), (0, 0.0, 0.0));
    assert!(s.std(0).is_nan());
    let s = of(&[f32::MAX, f32::MIN, f32::MAX, 0.0]);
    assert_eq!((s.nan, s.max, s.zeros), (0, f32::MAX as f64, 1));
    assert!((s.norm() / (3f64.sqrt() * f32::MAX as f64) - 1.0).abs() < 1e-12);
    assert_eq!(Stats::of(Elem::F32, &[]).count, 0);
}

#[test]
fn offsets_do_not_hide_the_spread() {
    let n = if cfg!(miri) { 500 } else { 5000 };
    let x: Vec<f32> = (0..n).map(|i| 1e6 + (i % 2) as f32).collect();
    let s = of(&x);
    assert!((s.mean - 1000000.5).abs() < 1e-6 && (s.std(0) - 0.5).abs() < 1e-9, "{s:?}");
}

#[test]
fn norms() {
    let x = [3f32, 4.0];
    assert_eq!(unsafe { sum_squares(2, x.as_ptr()) }, 25.0);
    let n = if cfg!(miri) { 100 } else { 300_001 };
    let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 2.5).collect();
    let sum = |threads| {
        set_threads(threads);
        let sum = unsafe { sum_squares(n, x.as_ptr()) };
        set_threads(0);
        sum
    };
    assert_eq!(sum(1), x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>());
    assert_eq!(sum(1), sum(3));
}
