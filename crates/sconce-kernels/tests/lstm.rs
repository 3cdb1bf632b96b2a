//! The steps of an LSTM against naive code, and their gradients against finite differences.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;
use common::Lcg;
use sconce_kernels::*;

struct Inputs {
    given: Vec<f64>,
    weight: Vec<f64>,
    /// The first hidden and cell states.
    first: Vec<f64>,
}

impl Inputs {
    fn new(s: Lstm) -> Self {
        let mut rng = Lcg(51);
        let mut list = |n: usize| (0..n).map(|_| rng.unit() * 2.0 - 1.0).collect::<Vec<f64>>();
        let Lstm { steps, batch, hidden } = s;
        Self {
            given: list(steps * batch * 4 * hidden),
            weight: list(4 * hidden * hidden),
            first: list(2 * batch * hidden),
        }
    }

    /// All states, `[2, 1 + steps, batch, hidden]`.
    fn naive(&self, s: Lstm) -> Vec<f64> {
        let Lstm { steps, batch, hidden } = s;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let size = batch * hidden;
        let (mut h, mut c) = (self.first[..size].to_vec(), self.first[size..].to_vec());
        for t in 0..steps {
            for b in 0..batch {
                for j in 0..hidden {
                    let sum = |gate: usize| {
                        let row = gate * hidden + j;
                        let before = &h[(t * batch + b) * hidden..][..hidden];
                        let weight = &self.weight[row * hidden..][..hidden];
                        let dot: f64 = before.iter().zip(weight).map(|(x, y)| x * y).sum();
                        self.given[(t * batch + b) * 4 * hidden + row] + dot
                    };
                    let (i, f, g, o) = (sigmoid(sum(0)), sigmoid(sum(1)), sum(2).tanh(), sigmoid(sum(3)));
                    c.push(i * g + f * c[(t * batch + b) * hidden + j]);
                    h.push(o * c[c.len() - 1].tanh());
                }
            }
        }
        h.extend(c);
        h
    }

    /// The gates and all states.
    fn run(&self, s: Lstm) -> (Vec<f64>, Vec<f64>) {
        let size = s.batch * s.hidden;
        let mut states = vec![0.0; 2 * (1 + s.steps) * size];
        states[..size].copy_from_slice(&self.first[..size]);
        states[(1 + s.steps) * size..][..size].copy_from_slice(&self.first[size..]);
        let mut gates = self.given.clone();
        unsafe { lstm(s, gates.as_mut_ptr(), self.weight.as_ptr(), states.as_mut_ptr()) };
        (gates, states)
    }

    /// The gradients of what is given, the weight and the first states.
    fn gradients(&self, s: Lstm, grad: &[f64]) -> [Vec<f64>; 3] {
        let (gates, states) = self.run(s);
        let mut grads = [vec![9.0; gates.len()], vec![9.0; self.weight.len()], vec![9.0; self.first.len()]];
        let [g, w, f] = [0, 1, 2].map(|i| grads[i].as_mut_ptr());
        let to = LstmGrads { gates: g, weight: Some(w), first: f };
        unsafe { lstm_backward(s, gates.as_ptr(), self.weight.as_ptr(), states.as_ptr(), grad.as_ptr(), to) };
        grads
    }
}

fn cases() -> Vec<Lstm> {
    let all = [(1, 1, 1), (3, 2, 3), (4, 9, 21)];
    let all = all.map(|(steps, batch, hidden)| Lstm { steps, batch, hidden });
    all[..if cfg!(miri) { 2 } else { 3 }].to_vec()
}

#[test]
fn states_of_all_steps() {
    for s in cases() {
        let x = Inputs::new(s);
        for (i, (y, want)) in x.run(s).1.iter().zip(x.naive(s)).enumerate() {
            assert!((y - want).abs() < 1e-13, "{s:?}: element {i} is {y}, expected {want}");
        }
    }
}

#[test]
fn gradients_of_an_lstm() {
    for s in cases() {
        let x = Inputs::new(s);
        let mut rng = Lcg(52);
        let grad: Vec<f64> = x.naive(s).iter().map(|_| rng.unit() - 0.5).collect();
        let h = 1e-5;
        for (which, grads) in x.gradients(s, &grad).iter().enumerate() {
            for i in (0..grads.len()).step_by(1 + grads.len() / 20) {
                let at = |d: f64| {
                    let (given, weight, first) = (x.given.clone(), x.weight.clone(), x.first.clone());
                    let mut x = Inputs { given, weight, first };
                    [&mut x.given, &mut x.weight, &mut x.first][which][i] += d;
                    x.naive(s).iter().zip(&grad).map(|(y, g)| y * g).sum::<f64>()
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                let near = (grads[i] - slope).abs() < 1e-7 * (1.0 + slope.abs());
                assert!(near, "{s:?}: input {which}, element {i}: {} {slope}", grads[i]);
            }
        }
    }
}

#[test]
fn an_lstm_does_not_depend_on_threads() {
    let s = Lstm { steps: 3, batch: 40, hidden: if cfg!(miri) { 3 } else { 130 } };
    let x = Inputs::new(s);
    let run = |threads: usize| {
        set_threads(threads);
        let states = x.run(s).1;
        (x.gradients(s, &states), states)
    };
    let one = run(1);
    assert!(one == run(4));
    set_threads(0);
}
