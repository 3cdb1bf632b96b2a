//! Scaled dot-product attention in blocks of queries and keys, and its gradients: the matrix of scores is never whole
//! in memory.
//!
//! Forward keeps the greatest score and the sum of exponentials of each query so far and rescales what it has when a
//! greater score comes (Dao et al. 2022); backward computes the weights again from that score and the logarithm of the
//! sum, which stay apart: beside a large score, as of a mask, the logarithm would be rounded away.

use crate::gemm::{Mat, MatMut, Product, Scratch, product, with_scratch};
use crate::isa::versions;
use crate::par::{self, Shared};
use crate::{Float, lanes};
use std::cell::RefCell;

/// Queries of a block.
const QUERIES: usize = 128;
/// Keys of a block.
const KEYS: usize = 128;
/// Tasks of a backward pass that are worth the sums of gradients that each but one needs.
const PARTS: usize = 8;

/// The sizes of an attention: for each of `batch` heads, `length` queries and `source` keys of `features` elements and
/// as many values of `values` elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Heads, of all elements of a batch together.
    pub batch: usize,
    /// Queries.
    pub length: usize,
    /// Keys and values.
    pub source: usize,
    /// Elements of a query and of a key.
    pub features: usize,
    /// Elements of a value.
    pub values: usize,
    /// The factor of the scores.
    pub scale: f64,
    /// Whether query `i` sees no key after `i`.
    pub causal: bool,
}

impl Attention {
    /// How many of the keys some query before `end` sees.
    fn seen(&self, end: usize) -> usize {
        if self.causal { end.min(self.source) } else { self.source }
    }

    /// The first query that sees key `j`.
    fn first(&self, j: usize) -> usize {
        if self.causal { j } else { 0 }
    }

    /// How many of `keys` keys from `j` on query `i` sees.
    fn keys(&self, i: usize, j: usize, keys: usize) -> usize {
        if self.causal { (i + 1).saturating_sub(j).min(keys) } else { keys }
    }
}

/// What is added to the scores.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a, T> {
    /// Address of the first element; those of a query's keys are adjacent.
    pub ptr: *const T,
    /// Elements before those of each head.
    pub heads: &'a [usize],
    /// Elements from one query to the next.
    pub row: usize,
}

// SAFETY: an address and its description; the callers of `attention` vouch for access from any thread.
unsafe impl<T> Sync for Mask<'_, T> {}

/// The addends of a query's scores, or null.
fn addends<T>(mask: Option<&Mask<'_, T>>, head: usize, query: usize, key: usize) -> *const T {
    mask.map_or(std::ptr::null(), |m| m.ptr.wrapping_add(m.heads[head] + query * m.row + key))
}

thread_local! {
    /// Scores of a block; the products in between have buffers of their own.
    static SCORES: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Adjacent rows of so many elements.
fn rows<T>(ptr: *const T, width: usize) -> Mat<T> {
    Mat { ptr, row: width as isize, col: 1 }
}

fn rows_mut<T>(ptr: *mut T, width: usize) -> MatMut<T> {
    MatMut { ptr, row: width as isize, col: 1 }
}

/// Computes `out = softmax(q · kᵀ · scale + mask) · v` and, for [`attention_backward`], each query's greatest score and the
/// logarithm of its sum of exponentials under that. A query whose scores are all minus infinity gets zeros.
///
/// ```
/// use sconce_kernels::{Attention, attention};
/// let sizes = Attention { batch: 1, length: 1, source: 2, features: 1, values: 1, scale: 1.0, causal: false };
/// let (q, k, v, mut out, mut logs) = ([0f32], [1f32, 2.], [1f32, 3.], [0f32], [9f32; 2]);
/// // SAFETY: the arrays have the sizes above.
/// unsafe { attention(&sizes, q.as_ptr(), k.as_ptr(), v.as_ptr(), None, out.as_mut_ptr(), logs.as_mut_ptr()) };
/// assert_eq!((out, logs), ([2.0], [0.0, 2f32.ln()]));
/// ```
///
/// # Safety
/// The arrays are row-major and valid for `batch` times their rows and columns from any thread; `out` has the shape of
/// the queries with `values` columns, `logs` two elements for each query; the mask has an offset for each head and is valid
/// for all of their scores; what is written overlaps nothing else.
pub unsafe fn attention<T: Float>(
    sizes: &Attention,
    q: *const T,
    k: *const T,
    v: *const T,
    mask: Option<Mask<'_, T>>,
    out: *mut T,
    logs: *mut T,
) {
    let (a, blocks) = (*sizes, sizes.length.div_ceil(QUERIES));
    let [q, k, v, out, logs] = [q.cast_mut(), k.cast_mut(), v.cast_mut(), out, logs].map(Shared);
    par::for_each(a.batch * blocks, |task| {
        let (head, first) = (task / blocks, task % blocks * QUERIES);
        let (row, queries) = (head * a.length + first, QUERIES.min(a.length - first));
        // SAFETY: this head's keys and values, and queries `first..first + queries` of it, which this task alone writes.
        unsafe {
            forward(
                &a,
                (head, first, queries),
                q.get().add(row * a.features),
                k.get().add(head * a.source * a.features),
                v.get().add(head * a.source * a.values),
                mask.as_ref(),
                out.get().add(row * a.values),
                logs.get().add(2 * row),
            );
        }
    });
}

/// One block of a head's queries against all keys.
#[allow(clippy::too_many_arguments)]
unsafe fn forward<T: Float>(
    a: &Attention,
    (head, first, queries): (usize, usize, usize),
    q: *const T,
    k: *const T,
    v: *const T,
    mask: Option<&Mask<'_, T>>,
    out: *mut T,
    logs: *mut T,
) {
    let (mut most, mut sums) = ([T::NEG_INFINITY; QUERIES], [T::ZERO; QUERIES]);
    with_scratch(&SCORES, |buffer| {
        let scores = buffer.get::<T>(QUERIES * KEYS);
        // SAFETY: the block's rows; the buffer has room for its scores.
        unsafe {
            std::slice::from_raw_parts_mut(out, queries * a.values).fill(T::ZERO);
            for j in (0..a.seen(first + queries)).step_by(KEYS) {
                let keys = KEYS.min(a.source - j);
                products(
                    (queries, keys, a.features),
                    T::from_f64(a.scale),
                    rows(q, a.features),
                    rows(k.add(j * a.features), a.features).t(),
                    T::ZERO,
                    rows_mut(scores, KEYS),
                );
                for i in 0..queries {
                    let seen = a.keys(first + i, j, keys);
                    let (most, sum) = (&mut most[i], &mut sums[i]);
                    let (mask, out) = (addends(mask, head, first + i, j), out.add(i * a.values));
                    weigh(seen, keys, scores.add(i * KEYS), mask, most, sum, a.values, out);
                }
                products(
                    (queries, a.values, keys),
                    T::ONE,
                    rows(scores, KEYS),
                    rows(v.add(j * a.values), a.values),
                    T::ONE,
                    rows_mut(out, a.values),
                );
            }
            for i in 0..queries {
                let none = sums[i] == T::ZERO;
                let scale = if none { T::ZERO } else { T::ONE / sums[i] };
                for x in std::slice::from_raw_parts_mut(out.add(i * a.values), a.values) {
                    *x = *x * scale;
                }
                // Weights that are computed again under plus infinity are 0.
                let (most, log) =
                    if none { (T::ZERO, -T::NEG_INFINITY) } else { (most[i], sums[i].log(false)) };
                *logs.add(2 * i) = most;
                *logs.add(2 * i + 1) = log;
            }
        }
    });
}

/// `c = alpha · a · b + beta · c` on this thread; the sizes are the rows and columns of `c` and the depth.
#[inline]
unsafe fn products<T: Float>(
    (m, n, k): (usize, usize, usize),
    alpha: T,
    a: Mat<T>,
    b: Mat<T>,
    beta: T,
    c: MatMut<T>,
) {
    // SAFETY: the caller's contract.
    unsafe { product(Product { m, n, k, alpha, a, b, beta, c }, false) }
}

versions! {
    /// Turns a query's scores into weights under the greatest score so far, and rescales what was summed under the
    /// greatest before.
    ///
    /// # Safety
    /// `scores` has `keys` elements, of which the first `seen` count, `mask` has as many or is null, `out` has `values`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn weigh[T: Float][T](
        seen: usize, keys: usize, scores: *mut T, mask: *const T, most: &mut T, sum: &mut T, values: usize, out: *mut T,
    ) = weigh_body, fused
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn weigh_body<T: Float>(
    seen: usize,
    keys: usize,
    scores: *mut T,
    mask: *const T,
    most: &mut T,
    sum: &mut T,
    values: usize,
    out: *mut T,
    fused: bool,
) {
    // SAFETY: indices below `keys` and `values`.
    unsafe {
        add_mask(seen, scores, mask);
        let before = *most;
        let greatest = lanes::max(seen, |j| *scores.add(j));
        let now = if greatest > before { greatest } else { before };
        // Under minus infinity the differences would be NaN; all weights are 0 then.
        let base = if now == T::NEG_INFINITY { T::ZERO } else { now };
        for j in 0..seen {
            *scores.add(j) = (*scores.add(j) - base).exp_down(fused);
        }
        for j in seen..keys {
            *scores.add(j) = T::ZERO;
        }
        let part = lanes::sum(seen, |j| *scores.add(j));
        if now == before {
            *sum += part;
            return;
        }
        let shrink = (before - base).exp_down(fused);
        *sum = *sum * shrink + part;
        *most = now;
        for i in 0..values {
            *out.add(i) = *out.add(i) * shrink;
        }
    }
}

#[inline(always)]
unsafe fn add_mask<T: Float>(n: usize, scores: *mut T, mask: *const T) {
    if !mask.is_null() {
        for j in 0..n {
            // SAFETY: both have `n` elements.
            unsafe { *scores.add(j) += *mask.add(j) };
        }
    }
}

/// What [`attention_backward`] writes: the gradients of queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct AttentionGrads<T> {
    /// Of the queries.
    pub q: *mut T,
    /// Of the keys.
    pub k: *mut T,
    /// Of the values.
    pub v: *mut T,
}

/// Computes the gradients of [`attention`] from its inputs, what it wrote, and the gradient of its result.
///
/// # Safety
/// As for [`attention`]; the gradients have the shapes of what they are gradients of.
#[allow(clippy::too_many_arguments)]
pub unsafe fn attention_backward<T: Float>(
    sizes: &Attention,
    q: *const T,
    k: *const T,
    v: *const T,
    mask: Option<Mask<'_, T>>,
    out: *const T,
    logs: *const T,
    grad: *const T,
    grads: AttentionGrads<T>,
) {
    let a = *sizes;
    let blocks = a.source.div_ceil(KEYS);
    // A few heads are cut along their keys; each part sums gradients of queries of its own, which depends on sizes only.
    let parts = PARTS.div_ceil(a.batch.max(1)).min(blocks).max(1);
    let size = a.length * a.features;
    let mut others = vec![T::ZERO; a.batch * (parts - 1) * size];
    // One block of keys has all weights of a query, and sums their products itself.
    let mut dots = vec![T::ZERO; if blocks > 1 { a.batch * a.length } else { 0 }];
    let others_ptr = Shared(others.as_mut_ptr());
    let [q, k, v, out, logs, grad] = [q, k, v, out, logs, grad].map(|p| Shared(p.cast_mut()));
    let [gq, gk, gv] = [grads.q, grads.k, grads.v].map(Shared);
    let rows = dots.len();
    let dots = Shared(dots.as_mut_ptr());
    par::for_ranges(rows, (1 << 15) / a.values.max(1), |from, to| {
        for r in from..to {
            // SAFETY: row `r` of the result and its gradient.
            unsafe {
                *dots.get().add(r) =
                    row_dot(a.values, out.get().add(r * a.values), grad.get().add(r * a.values));
            }
        }
    });
    par::for_each(a.batch * parts, |task| {
        let (head, part) = (task / parts, task % parts);
        let range = |i: usize| (blocks * i / parts * KEYS).min(a.source);
        // SAFETY: this head's arrays; this task alone writes its keys' gradients and its sums of the queries' ones.
        unsafe {
            let gq = match part {
                0 => gq.get().add(head * size),
                part => others_ptr.get().add((head * (parts - 1) + part - 1) * size),
            };
            let inputs = Inputs {
                q: q.get().add(head * size),
                k: k.get().add(head * a.source * a.features),
                v: v.get().add(head * a.source * a.values),
                logs: logs.get().add(2 * head * a.length),
                dots: (blocks > 1).then(|| dots.get().add(head * a.length).cast_const()),
                grad: grad.get().add(head * a.length * a.values),
            };
            let grads = AttentionGrads {
                q: gq,
                k: gk.get().add(head * a.source * a.features),
                v: gv.get().add(head * a.source * a.values),
            };
            std::slice::from_raw_parts_mut(gq, size).fill(T::ZERO);
            for j in (range(part)..range(part + 1)).step_by(KEYS) {
                backward(&a, (head, j), inputs, mask.as_ref(), grads);
            }
        }
    });
    if parts > 1 {
        par::for_ranges(a.batch * size, 1 << 15, |from, to| {
            for i in from..to {
                for part in 0..parts - 1 {
                    let other = others[(i / size * (parts - 1) + part) * size + i % size];
                    // SAFETY: an element of the queries' gradients, which this task alone writes.
                    unsafe { *gq.get().add(i) += other };
                }
            }
        });
    }
}

/// One head, for a backward pass.
#[derive(Clone, Copy)]
struct Inputs<T> {
    q: *const T,
    k: *const T,
    v: *const T,
    /// Each query's greatest score and logarithm of the sum.
    logs: *const T,
    /// Each query's product of the result and its gradient, if its keys are of several blocks.
    dots: Option<*const T>,
    grad: *const T,
}

/// One block of a head's keys, from `j` on, against all queries that see it.
unsafe fn backward<T: Float>(
    a: &Attention,
    (head, j): (usize, usize),
    x: Inputs<T>,
    mask: Option<&Mask<'_, T>>,
    grads: AttentionGrads<T>,
) {
    let keys = KEYS.min(a.source - j);
    let (features, values) = (a.features, a.values);
    let scale = T::from_f64(a.scale);
    with_scratch(&SCORES, |buffer| {
        let weights = buffer.get::<T>(2 * QUERIES * KEYS);
        let slopes = weights.wrapping_add(QUERIES * KEYS);
        // SAFETY: blocks of the head's arrays; the buffer has room for both matrices.
        unsafe {
            let (k, v) = (rows(x.k.add(j * features), features), rows(x.v.add(j * values), values));
            let (gk, gv) = (grads.k.add(j * features), grads.v.add(j * values));
            std::slice::from_raw_parts_mut(gk, keys * features).fill(T::ZERO);
            std::slice::from_raw_parts_mut(gv, keys * values).fill(T::ZERO);
            for i in (a.first(j) / QUERIES * QUERIES..a.length).step_by(QUERIES) {
                let queries = QUERIES.min(a.length - i);
                let q = rows(x.q.add(i * features), features);
                let grad = rows(x.grad.add(i * values), values);
                let (w, s) = (rows_mut(weights, KEYS), rows_mut(slopes, KEYS));
                products((queries, keys, features), scale, q, k.t(), T::ZERO, w);
                products((queries, keys, values), T::ONE, grad, v.t(), T::ZERO, s);
                for r in 0..queries {
                    let seen = a.keys(i + r, j, keys);
                    let (w, s) = (weights.add(r * KEYS), slopes.add(r * KEYS));
                    let mask = addends(mask, head, i + r, j);
                    let logs = (*x.logs.add(2 * (i + r)), *x.logs.add(2 * (i + r) + 1));
                    slope(seen, keys, w, s, mask, logs, x.dots.map(|dots| *dots.add(i + r)), scale);
                }
                let (w, s) = (rows(weights, KEYS), rows(slopes, KEYS));
                products((keys, values, queries), T::ONE, w.t(), grad, T::ONE, rows_mut(gv, values));
                products((keys, features, queries), T::ONE, s.t(), q, T::ONE, rows_mut(gk, features));
                let gq = rows_mut(grads.q.add(i * features), features);
                products((queries, features, keys), T::ONE, s, k, T::ONE, gq);
            }
        }
    });
}

versions! {
    /// # Safety
    /// Both arrays have `n` elements.
    unsafe fn row_dot[T: Float][T](n: usize, x: *const T, y: *const T) -> T = row_dot_body
}

#[inline(always)]
unsafe fn row_dot_body<T: Float>(n: usize, x: *const T, y: *const T) -> T {
    // SAFETY: `i < n`.
    lanes::sum(n, |i| unsafe { *x.add(i) * *y.add(i) })
}

versions! {
    /// Turns a query's scores into weights, and the gradients of weights into those of the products of query and key.
    ///
    /// `dot` is the sum of the products of weights and their gradients. Without it the row has all of them, and sums what
    /// it subtracts from: where one weight is nearly 1, nearly all of its gradient cancels, and its rounding with it.
    ///
    /// # Safety
    /// `weights` and `slopes` have `keys` elements, of which the first `seen` count, and do not overlap; `mask` has as many
    /// or is null.
    #[allow(clippy::too_many_arguments)]
    unsafe fn slope[T: Float][T](
        seen: usize, keys: usize, weights: *mut T, slopes: *mut T, mask: *const T, logs: (T, T), dot: Option<T>,
        scale: T,
    ) = slope_body, fused
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn slope_body<T: Float>(
    seen: usize,
    keys: usize,
    weights: *mut T,
    slopes: *mut T,
    mask: *const T,
    (most, log): (T, T),
    dot: Option<T>,
    scale: T,
    fused: bool,
) {
    // SAFETY: indices below `keys`.
    unsafe {
        add_mask(seen, weights, mask);
        for j in 0..seen {
            *weights.add(j) = (*weights.add(j) - most - log).exp_down(fused);
        }
        let dot = dot.unwrap_or_else(|| lanes::sum(seen, |j| *weights.add(j) * *slopes.add(j)));
        for j in 0..seen {
            *slopes.add(j) = *weights.add(j) * (*slopes.add(j) - dot) * scale;
        }
        for j in seen..keys {
            *weights.add(j) = T::ZERO;
            *slopes.add(j) = T::ZERO;
        }
    }
}
