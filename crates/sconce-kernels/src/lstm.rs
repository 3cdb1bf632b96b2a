//! All steps of an LSTM in one direction, and their gradients.
//!
//! The weight is packed once. A task computes a panel of hidden units in a step: their four gates, then their states;
//! so threads meet once per step.

use crate::Float;
use crate::gemm::{Mat, MatMut, Product, panels::Panels, product};
use crate::isa::versions;
use crate::par::{self, Shared};

/// Multiply-adds per task.
const GRAIN: usize = 1 << 19;

/// The sizes of an LSTM. Gates of a step are `[batch, 4 · hidden]`, in the order input, forget, cell, output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm {
    /// Steps.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Hidden units.
    pub hidden: usize,
}

impl Lstm {
    /// Elements of a state.
    fn state(&self) -> usize {
        self.batch * self.hidden
    }

    /// Runs `task(panel)` for all panels of hidden units, with as much work for each as `depth` multiply-adds per unit and
    /// sequence.
    fn each_panel<T: Float>(&self, depth: usize, task: impl Fn(usize) + Sync) {
        let panels = Panels::<T>::count(self.hidden);
        let work = self.batch * depth * self.hidden / panels.max(1);
        par::for_ranges(panels, GRAIN.div_ceil(work.max(1)), |from, to| (from..to).for_each(&task));
    }
}

/// The gates of hidden units in a row: four arrays, of the values of the gates.
struct Gates<T> {
    first: *mut T,
    hidden: usize,
}

impl<T> Gates<T> {
    fn get(&self, gate: usize, i: usize) -> *mut T {
        self.first.wrapping_add(gate * self.hidden + i)
    }
}

/// Computes the states of all steps.
///
/// `gates` holds what comes from the input, `[steps, batch, 4 · hidden]`, and is replaced by the values of the gates;
/// `weight` is `[4 · hidden, hidden]`; `states` is `[2, 1 + steps, batch, hidden]`, the hidden and the cell states, of
/// which the first ones are given.
///
/// # Safety
/// The arrays have these sizes and do not overlap; all are valid from any thread.
pub unsafe fn lstm<T: Float>(sizes: Lstm, gates: *mut T, weight: *const T, states: *mut T) {
    let Lstm { steps, batch, hidden } = sizes;
    let (state, wide) = (sizes.state(), 4 * hidden);
    let weight = Mat { ptr: weight, row: hidden as isize, col: 1 };
    let gate = |g: usize| {
        let rows = Mat { ptr: weight.at(g * hidden, 0), ..weight };
        // SAFETY: the rows of a gate, as columns.
        unsafe { Panels::new(rows.t(), hidden, hidden) }
    };
    let weights = [gate(0), gate(1), gate(2), gate(3)];
    let (gates, states) = (Shared(gates), Shared(states));
    for t in 0..steps {
        sizes.each_panel::<T>(wide, |panel| {
            let (first, n) = weights[0].columns(panel);
            // SAFETY: the gates and states of this panel's units in step `t`, which this task alone writes; the states
            // of the step before are complete.
            unsafe {
                let before = states.get().add(t * state);
                let a = Mat { ptr: before.cast_const(), row: hidden as isize, col: 1 };
                let gates = gates.get().add(t * batch * wide + first);
                for (g, weight) in weights.iter().enumerate() {
                    let c = MatMut { ptr: gates.add(g * hidden), row: wide as isize, col: 1 };
                    weight.multiply(panel, batch, a, T::ONE, c);
                }
                for b in 0..batch {
                    let at = b * hidden + first;
                    let c = states.get().add((1 + steps + t) * state + at);
                    let row = Gates { first: gates.add(b * wide), hidden };
                    cell(n, row, c, before.add(state + at), c.add(state));
                }
            }
        });
    }
}

versions! {
    /// One sequence's next states of `n` units, and their gates, from sums that enter these.
    ///
    /// # Safety
    /// All have `n` elements and do not overlap.
    unsafe fn cell[T: Float][T](n: usize, gates: Gates<T>, c: *const T, h_next: *mut T, c_next: *mut T) = cell_body, fused
}

#[inline(always)]
unsafe fn cell_body<T: Float>(
    n: usize,
    gates: Gates<T>,
    c: *const T,
    h_next: *mut T,
    c_next: *mut T,
    fused: bool,
) {
    for j in 0..n {
        // SAFETY: `j < n`.
        unsafe {
            let sum = |gate: usize| *gates.get(gate, j);
            let (i, f, g, o) =
                (sum(0).sigmoid(fused), sum(1).sigmoid(fused), sum(2).tanh(fused), sum(3).sigmoid(fused));
            let next = i * g + f * *c.add(j);
            *c_next.add(j) = next;
            *h_next.add(j) = o * next.tanh(fused);
            *gates.get(0, j) = i;
            *gates.get(1, j) = f;
            *gates.get(2, j) = g;
            *gates.get(3, j) = o;
        }
    }
}

/// What [`lstm_backward`] writes.
#[derive(Clone, Copy, Debug)]
pub struct LstmGrads<T> {
    /// Of what comes from the input, `[steps, batch, 4 · hidden]`.
    pub gates: *mut T,
    /// Of the weight, if it is wanted.
    pub weight: Option<*mut T>,
    /// Of the first hidden and cell states, `[2, batch, hidden]`.
    pub first: *mut T,
}

/// Computes the gradients of [`lstm`] from what it wrote and the gradient of the states.
///
/// # Safety
/// As for [`lstm`]; `grad` has the size of the states.
pub unsafe fn lstm_backward<T: Float>(
    sizes: Lstm,
    gates: *const T,
    weight: *const T,
    states: *const T,
    grad: *const T,
    grads: LstmGrads<T>,
) {
    let Lstm { steps, batch, hidden } = sizes;
    let (state, wide) = (sizes.state(), 4 * hidden);
    // SAFETY: the caller's array.
    let weight = unsafe { Panels::new(Mat { ptr: weight, row: hidden as isize, col: 1 }, wide, hidden) };
    let [of_gates, of_first] = [grads.gates, grads.first].map(Shared);
    let [gates, states, grad] = [gates, states, grad].map(|p| Shared(p.cast_mut()));
    // SAFETY: the two first states' gradients, which carry the ones of the states of each step until then.
    unsafe { std::slice::from_raw_parts_mut(of_first.get(), 2 * state).fill(T::ZERO) };
    for t in (0..=steps).rev() {
        sizes.each_panel::<T>(wide, |panel| {
            let (first, n) = weight.columns(panel);
            // SAFETY: this panel's units in step `t`, which this task alone writes; the gates' gradients of the step after
            // are complete.
            unsafe {
                let of_hidden = MatMut { ptr: of_first.get().add(first), row: hidden as isize, col: 1 };
                if t < steps {
                    let after = of_gates.get().add(t * batch * wide).cast_const();
                    let a = Mat { ptr: after, row: wide as isize, col: 1 };
                    weight.multiply(panel, batch, a, T::ZERO, of_hidden);
                }
                for b in 0..batch {
                    let at = b * hidden + first;
                    let (of_h, of_c) = (of_first.get().add(at), of_first.get().add(state + at));
                    let of_h_t = grad.get().add(t * state + at);
                    add(n, of_h, of_h_t);
                    add(n, of_c, of_h_t.add((1 + steps) * state));
                    if t > 0 {
                        let row = ((t - 1) * batch + b) * wide + first;
                        let gates = Gates { first: gates.get().add(row), hidden };
                        let slopes = Gates { first: of_gates.get().add(row), hidden };
                        let c = states.get().add((steps + t) * state + at);
                        cell_backward(n, gates, slopes, c, c.add(state), of_h, of_c);
                    }
                }
            }
        });
    }
    if let Some(of_weight) = grads.weight {
        let slopes = Mat { ptr: of_gates.get().cast_const(), row: wide as isize, col: 1 };
        let before = Mat { ptr: states.get().cast_const(), row: hidden as isize, col: 1 };
        let p = Product {
            m: wide,
            n: hidden,
            k: steps * batch,
            alpha: T::ONE,
            a: slopes.t(),
            b: before,
            beta: T::ZERO,
            c: MatMut { ptr: of_weight, row: hidden as isize, col: 1 },
        };
        // SAFETY: the gates' gradients and the hidden states before each step, row by row; the result is the caller's.
        unsafe { product(p, true) };
    }
}

versions! {
    /// # Safety
    /// Both have `n` elements and do not overlap.
    unsafe fn add[T: Float][T](n: usize, to: *mut T, from: *const T) = add_body
}

#[inline(always)]
unsafe fn add_body<T: Float>(n: usize, to: *mut T, from: *const T) {
    for j in 0..n {
        // SAFETY: `j < n`.
        unsafe { *to.add(j) += *from.add(j) };
    }
}

versions! {
    /// The gradients of the sums that enter the gates; that of the cell state becomes the one of the state before.
    ///
    /// # Safety
    /// All have `n` elements and do not overlap.
    #[allow(clippy::too_many_arguments)]
    unsafe fn cell_backward[T: Float][T](
        n: usize, gates: Gates<T>, slopes: Gates<T>, c: *const T, c_next: *const T, of_h: *const T, of_c: *mut T,
    ) = cell_backward_body, fused
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn cell_backward_body<T: Float>(
    n: usize,
    gates: Gates<T>,
    slopes: Gates<T>,
    c: *const T,
    c_next: *const T,
    of_h: *const T,
    of_c: *mut T,
    fused: bool,
) {
    for j in 0..n {
        // SAFETY: `j < n`.
        unsafe {
            let value = |gate: usize| *gates.get(gate, j);
            let (i, f, g, o) = (value(0), value(1), value(2), value(3));
            let bent = (*c_next.add(j)).tanh(fused);
            let of_h = *of_h.add(j);
            let slope = *of_c.add(j) + of_h * o * (T::ONE - bent * bent);
            *slopes.get(0, j) = slope * g * i * (T::ONE - i);
            *slopes.get(1, j) = slope * *c.add(j) * f * (T::ONE - f);
            *slopes.get(2, j) = slope * i * (T::ONE - g * g);
            *slopes.get(3, j) = of_h * bent * o * (T::ONE - o);
            *of_c.add(j) = slope * f;
        }
    }
}
