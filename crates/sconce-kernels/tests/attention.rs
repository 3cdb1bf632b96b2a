//! Attention in blocks against naive code, and its gradients against finite differences.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::Lcg;
use sconce_kernels::*;

/// Query, key, value and mask, one after another.
struct Inputs {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    mask: Option<Vec<f64>>,
}

impl Inputs {
    fn new(a: &Attention, masked: bool) -> Self {
        let mut rng = Lcg(41);
        let mut list = |n: usize| (0..n).map(|_| rng.unit() * 4.0 - 2.0).collect::<Vec<f64>>();
        let (q, k) = (list(a.batch * a.length * a.features), list(a.batch * a.source * a.features));
        let v = list(a.batch * a.source * a.values);
        // One query of all heads sees nothing.
        let mask = masked.then(|| {
            let hidden = |i: usize| i / a.source == a.length / 2 || i % 5 == 3;
            let numbers = list(a.length * a.source).into_iter().enumerate();
            numbers.map(|(i, x)| if hidden(i) { f64::NEG_INFINITY } else { x }).collect()
        });
        Self { q, k, v, mask }
    }

    fn weights(&self, a: &Attention, head: usize, i: usize) -> Vec<f64> {
        let row = |x: &[f64], r: usize, n: usize| x[r * n..(r + 1) * n].to_vec();
        let q = row(&self.q, head * a.length + i, a.features);
        let score = |j: usize| {
            if a.causal && j > i {
                return f64::NEG_INFINITY;
            }
            let k = row(&self.k, head * a.source + j, a.features);
            let dot: f64 = q.iter().zip(&k).map(|(x, y)| x * y).sum();
            dot * a.scale + self.mask.as_ref().map_or(0.0, |m| m[i * a.source + j])
        };
        let exps: Vec<f64> = (0..a.source).map(|j| score(j).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|e| if sum == 0.0 { 0.0 } else { e / sum }).collect()
    }

    fn naive(&self, a: &Attention) -> Vec<f64> {
        let mut out = Vec::new();
        for head in 0..a.batch {
            for i in 0..a.length {
                let w = self.weights(a, head, i);
                let value = |j: usize, c: usize| self.v[(head * a.source + j) * a.values + c];
                out.extend((0..a.values).map(|c| (0..a.source).map(|j| w[j] * value(j, c)).sum::<f64>()));
            }
        }
        out
    }

    fn run(&self, a: &Attention) -> (Vec<f64>, Vec<f64>) {
        let rows = a.batch * a.length;
        let (mut out, mut logs) = (vec![0.0; rows * a.values], vec![0.0; 2 * rows]);
        let heads = vec![0; a.batch];
        let mask = self.mask.as_ref().map(|m| Mask { ptr: m.as_ptr(), heads: &heads, row: a.source });
        let (q, k, v) = (self.q.as_ptr(), self.k.as_ptr(), self.v.as_ptr());
        unsafe { attention(a, q, k, v, mask, out.as_mut_ptr(), logs.as_mut_ptr()) };
        (out, logs)
    }
}

fn cases() -> impl Iterator<Item = (Attention, bool)> {
    let sizes: &[(usize, usize, usize, usize, usize)] = if cfg!(miri) {
        &[(2, 3, 4, 2, 3)]
    } else {
        &[(2, 3, 4, 2, 3), (1, 150, 270, 5, 7), (9, 140, 20, 4, 4)]
    };
    sizes.iter().flat_map(|&(batch, length, source, features, values)| {
        [(false, false), (true, false), (false, true)].map(|(causal, masked)| {
            (Attention { batch, length, source, features, values, scale: 0.7, causal }, masked)
        })
    })
}

#[test]
fn attention_of_every_kind() {
    for (a, masked) in cases() {
        let x = Inputs::new(&a, masked);
        for (i, (y, want)) in x.run(&a).0.iter().zip(x.naive(&a)).enumerate() {
            assert!((y - want).abs() < 1e-13, "{a:?}, masked: {masked}: element {i} is {y}, expected {want}");
        }
    }
}

#[test]
fn gradients_of_attention() {
    for (a, masked) in cases() {
        let x = Inputs::new(&a, masked);
        let (out, logs) = x.run(&a);
        let mut rng = Lcg(42);
        let grad: Vec<f64> = out.iter().map(|_| rng.unit() - 0.5).collect();
        let mut grads = [vec![9.0; x.q.len()], vec![9.0; x.k.len()], vec![9.0; x.v.len()]];
        let heads = vec![0; a.batch];
        let mask = x.mask.as_ref().map(|m| Mask { ptr: m.as_ptr(), heads: &heads, row: a.source });
        let [q, k, v] = [0, 1, 2].map(|i| grads[i].as_mut_ptr());
        unsafe {
            attention_backward(
                &a,
                x.q.as_ptr(),
                x.k.as_ptr(),
                x.v.as_ptr(),
                mask,
                out.as_ptr(),
                logs.as_ptr(),
                grad.as_ptr(),
                AttentionGrads { q, k, v },
            );
        }
        let h = 1e-5;
        for (which, grads) in grads.iter().enumerate() {
            for i in (0..grads.len()).step_by(1 + grads.len() / if cfg!(miri) { 2 } else { 4 }) {
                let at = |d: f64| {
                    let mut x =
                        Inputs { q: x.q.clone(), k: x.k.clone(), v: x.v.clone(), mask: x.mask.clone() };
                    [&mut x.q, &mut x.k, &mut x.v][which][i] += d;
                    x.naive(&a).iter().zip(&grad).map(|(y, g)| y * g).sum::<f64>()
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                let near = (grads[i] - slope).abs() < 1e-7 * (1.0 + slope.abs());
                assert!(near, "{a:?}, masked: {masked}: input {which}, element {i}: {} {slope}", grads[i]);
            }
        }
    }
}

#[test]
fn attention_does_not_depend_on_threads() {
    let a = Attention {
        batch: 3,
        length: if cfg!(miri) { 5 } else { 300 },
        source: if cfg!(miri) { 4 } else { 290 },
        features: 8,
        values: 8,
        scale: 0.3,
        causal: true,
    };
    let x = Inputs::new(&a, false);
    let run = |threads: usize| {
        set_threads(threads);
        let (out, logs) = x.run(&a);
        let mut grads = [vec![0.0; x.q.len()], vec![0.0; x.k.len()], vec![0.0; x.v.len()]];
        let [q, k, v] = [0, 1, 2].map(|i| grads[i].as_mut_ptr());
        let grads_to = AttentionGrads { q, k, v };
        let (q, k, v) = (x.q.as_ptr(), x.k.as_ptr(), x.v.as_ptr());
        unsafe { attention_backward(&a, q, k, v, None, out.as_ptr(), logs.as_ptr(), out.as_ptr(), grads_to) };
        (out, grads)
    };
    let one = run(1);
    assert!(one == run(4));
    set_threads(0);
}

/// What a row subtracts is summed from what it subtracts from, so that their rounding cancels, too.
#[test]
fn a_query_that_attends_to_one_key_alone_has_no_gradient() {
    let a = Attention { batch: 1, length: 5, source: 3, features: 2, values: 33, scale: 1.0, causal: false };
    let mut rng = Lcg(43);
    let mut list = |n: usize| (0..n).map(|_| (rng.unit() - 0.5) as f32).collect::<Vec<f32>>();
    let (v, grad) = (list(a.source * a.values), list(a.length * a.values));
    let q = vec![20f32; a.length * a.features];
    let k = [-5f32, -5.0, 5.0, 5.0, 0.0, 0.0];
    let (mut out, mut logs) = (vec![0f32; a.length * a.values], vec![0f32; 2 * a.length]);
    let (mut gq, mut gk, mut gv) = (vec![9f32; q.len()], vec![9f32; k.len()], vec![9f32; v.len()]);
    let grads = AttentionGrads { q: gq.as_mut_ptr(), k: gk.as_mut_ptr(), v: gv.as_mut_ptr() };
    let inputs = [q.as_ptr(), k.as_ptr(), v.as_ptr()];
    unsafe {
        let [q, k, v] = inputs;
        attention(&a, q, k, v, None, out.as_mut_ptr(), logs.as_mut_ptr());
        attention_backward(&a, q, k, v, None, out.as_ptr(), logs.as_ptr(), grad.as_ptr(), grads);
    }
    assert_eq!((gq, gk), (vec![0.0; 10], vec![0.0; 6]));
}
