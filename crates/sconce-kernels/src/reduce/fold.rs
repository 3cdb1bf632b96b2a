//! The driver of reductions; the operation is a few closures.

use crate::compute::{Compute, Rect, load, store};
use crate::isa::versions;
use crate::par::{self, Shared};
use crate::plan::{MAX_RANK, Plan};
use crate::{Dst, Rows, Src, lanes, map};
use std::mem::MaybeUninit;

/// Elements of a leaf in rows.
const LEAF: usize = 2048;
/// How many elements ahead of those in use a leaf asks for memory: adjacent leaves follow each other.
const AHEAD: usize = 1024;
/// Accumulators side by side in a leaf of rows.
const LANES: usize = 32;
/// Rows of a leaf in columns.
const LEAF_ROWS: usize = 64;
/// Rows of a leaf in columns that are accumulated together: what they add to stays in registers meanwhile.
const TOGETHER: usize = 4;
/// Neighbouring results that are computed together.
const STRIP: usize = 512;
/// Elements of a chunk.
const CHUNK: usize = 16 * LEAF;
/// Results up to this number are computed without a plan, if each is made of less than [`LANES`] elements.
const FEW: usize = 16;
/// Rows up to this length are accumulated side by side, whatever their layout.
const SHORT: usize = 16;

/// A reduction: how an accumulator starts, takes an element, joins another, and becomes the result.
///
/// Elements are read as `T`; results are written from `U`. `step` is also given the element's row-major position in
/// the reduced dimensions, which is meaningful only if `ordered` is true; that forbids walking them in memory order.
/// `merge` must be associative up to rounding, and `init` neutral. Sums of a long row are merged like a cascade.
#[derive(Clone, Copy, Debug)]
pub struct Fold<A, S, M, F> {
    /// Whether positions are row-major in the reduced dimensions.
    pub ordered: bool,
    /// The accumulator of nothing.
    pub init: A,
    /// `step(accumulator, element, position)`.
    pub step: S,
    /// `merge(earlier, later)`.
    pub merge: M,
    /// The result of all elements.
    pub finish: F,
}

/// Reduces `src` over `reduced` for each index of `outer`; shapes and strides as for [`reduce`](crate::reduce()).
///
/// ```
/// use sconce_kernels::{Dst, Elem, Fold, Src, fold};
/// let (a, mut longest) = ([1f32, -7., 3., 4.], [0f32; 1]);
/// let op = Fold {
///     ordered: false,
///     init: 0f32,
///     step: |a: f32, x: f32, _| a.max(x.abs()),
///     merge: |a: f32, b: f32| a.max(b),
///     finish: |a: f32| a,
/// };
/// let src = Src { ptr: a.as_ptr().cast(), elem: Elem::F32, strides: &[1] };
/// let out = Dst { ptr: longest.as_mut_ptr().cast(), elem: Elem::F32, strides: &[] };
/// // SAFETY: the views describe the arrays above.
/// unsafe { fold(&[], &[4], out, src, op) };
/// assert_eq!(longest, [7.]);
/// ```
///
/// # Safety
/// As for [`reduce`](crate::reduce()).
pub unsafe fn fold<T, A, U, S, M, F>(
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
    op: Fold<A, S, M, F>,
) where
    T: Compute,
    A: Copy + Send + Sync,
    U: Compute,
    S: Fn(A, T, usize) -> A + Sync,
    M: Fn(A, A) -> A + Sync,
    F: Fn(A) -> U + Sync,
{
    let ops = Ops::<T, A, U> {
        init: op.init,
        step: (&raw const op.step).cast(),
        merge_fn: (&raw const op.merge).cast(),
        leaf: leaf::<T, A, S, M>,
        column: columns::<T, A, S, 1>,
        columns: columns::<T, A, S, TOGETHER>,
        merge_columns: merge_columns::<A, M>,
        merge: &op.merge,
        finish: &op.finish,
    };
    // SAFETY: the caller's contract; the pointers are to closures of the types that the functions expect.
    unsafe { drive(outer, reduced, out, src, &ops, op.ordered) }
}

/// [`columns`] of one row, or of [`TOGETHER`].
type Columns<T, A> =
    unsafe fn(step: *const (), sums: *mut A, x: *const T, n: usize, row: usize, position: usize);

/// A [`Fold`] with its loops compiled and its closures' types forgotten.
struct Ops<'a, T, A, U> {
    init: A,
    step: *const (),
    merge_fn: *const (),
    leaf: unsafe fn(step: *const (), merge: *const (), init: A, x: *const T, n: usize, position: usize) -> A,
    column: Columns<T, A>,
    columns: Columns<T, A>,
    merge_columns: unsafe fn(merge: *const (), sums: *mut A, later: *const A, n: usize),
    merge: &'a (dyn Fn(A, A) -> A + Sync),
    finish: &'a (dyn Fn(A) -> U + Sync),
}

// SAFETY: the pointers are to `Sync` closures.
unsafe impl<T, A: Sync, U> Sync for Ops<'_, T, A, U> {}

versions! {
    /// Accumulates `n <= LEAF` adjacent elements.
    ///
    /// # Safety
    /// `step` points to an `S`, `merge` to an `M`, `x` to `n` elements.
    unsafe fn leaf[T: Compute, A: Copy, S: Fn(A, T, usize) -> A, M: Fn(A, A) -> A][T, A, S, M](
        step: *const (), merge: *const (), init: A, x: *const T, n: usize, position: usize,
    ) -> A = leaf_body
}

#[inline(always)]
unsafe fn leaf_body<T: Compute, A: Copy, S: Fn(A, T, usize) -> A, M: Fn(A, A) -> A>(
    step: *const (),
    merge: *const (),
    init: A,
    x: *const T,
    n: usize,
    position: usize,
) -> A {
    // SAFETY: the caller's contract.
    let (step, merge, x) =
        unsafe { (&*step.cast::<S>(), &*merge.cast::<M>(), std::slice::from_raw_parts(x, n)) };
    let whole = n / LANES * LANES;
    let rest = |mut sum: A| {
        for (i, &x) in x.iter().enumerate().skip(whole) {
            sum = step(sum, x, position + i);
        }
        sum
    };
    if whole == 0 {
        return rest(init);
    }
    let mut sums = [init; LANES];
    for (i, x) in x[..whole].chunks_exact(LANES).enumerate() {
        lanes::prefetch(LANES, x.as_ptr().wrapping_add(AHEAD));
        for l in 0..LANES {
            sums[l] = step(sums[l], x[l], position + i * LANES + l);
        }
    }
    for width in [16, 8, 4, 2, 1] {
        for l in 0..width {
            sums[l] = merge(sums[l], sums[l + width]);
        }
    }
    rest(sums[0])
}

versions! {
    /// Lets `n` neighbouring accumulators take an element of each of `R` rows, which are `row` elements apart.
    ///
    /// # Safety
    /// `step` points to an `S`, `sums` to `n` accumulators and the rows to `n` elements, which do not overlap them.
    unsafe fn columns[T: Compute, A: Copy, S: Fn(A, T, usize) -> A, const R: usize][T, A, S, R](
        step: *const (), sums: *mut A, x: *const T, n: usize, row: usize, position: usize,
    ) = columns_body
}

#[inline(always)]
unsafe fn columns_body<T: Compute, A: Copy, S: Fn(A, T, usize) -> A, const R: usize>(
    step: *const (),
    sums: *mut A,
    x: *const T,
    n: usize,
    row: usize,
    position: usize,
) {
    // SAFETY: the caller's contract.
    let (step, sums) = unsafe { (&*step.cast::<S>(), std::slice::from_raw_parts_mut(sums, n)) };
    lanes::prefetch(n, x.wrapping_add(R * row));
    for (i, sum) in sums.iter_mut().enumerate() {
        let mut a = *sum;
        for r in 0..R {
            // SAFETY: element `i` of row `r`.
            a = step(a, unsafe { *x.add(r * row + i) }, position + r);
        }
        *sum = a;
    }
}

versions! {
    /// Joins `n` neighbouring accumulators with later ones.
    ///
    /// # Safety
    /// `merge` points to an `M`, `sums` and `later` to `n` accumulators each, which do not overlap.
    unsafe fn merge_columns[A: Copy, M: Fn(A, A) -> A][A, M](
        merge: *const (), sums: *mut A, later: *const A, n: usize,
    ) = merge_columns_body
}

#[inline(always)]
unsafe fn merge_columns_body<A: Copy, M: Fn(A, A) -> A>(
    merge: *const (),
    sums: *mut A,
    later: *const A,
    n: usize,
) {
    // SAFETY: the caller's contract.
    let (merge, sums, later) = unsafe {
        (&*merge.cast::<M>(), std::slice::from_raw_parts_mut(sums, n), std::slice::from_raw_parts(later, n))
    };
    sums.iter_mut().zip(later).for_each(|(sum, &later)| *sum = merge(*sum, later));
}

/// What all tasks of one call share.
struct Job<'a, T, A, U> {
    ops: &'a Ops<'a, T, A, U>,
    src: Src<'a>,
    out: Dst<'a>,
    /// Views: `out`, `src`.
    outer: Plan,
    /// View 1: `src`.
    inner: Plan,
    /// Whether memory is adjacent along results rather than along what makes one.
    vertical: bool,
}

unsafe fn drive<T: Compute, A: Copy + Send + Sync, U: Compute>(
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
    ops: &Ops<'_, T, A, U>,
    ordered: bool,
) {
    // SAFETY: the caller's contract.
    if unsafe { few(outer, reduced, out, src, ops) } {
        return;
    }
    let (outer_strides, inner_strides) = src.strides.split_at(outer.len());
    let mut row_major = Vec::new();
    let order = if ordered && reduced.len() > 1 {
        row_major = vec![1; reduced.len()];
        for d in (0..reduced.len() - 1).rev() {
            row_major[d] = row_major[d + 1] * reduced[d + 1].max(1);
        }
        &row_major[..]
    } else {
        inner_strides
    };
    let plans =
        (Plan::new(outer, &[out.strides, outer_strides]), Plan::new(reduced, &[order, inner_strides]));
    drop(row_major);
    let (Some(outer_plan), Some(inner_plan)) = plans else {
        // SAFETY: the caller's contract.
        return unsafe { by_copy(outer, reduced, out, src, ops) };
    };
    let (results, len) = (outer_plan.len(), inner_plan.len());
    if results == 0 {
        return;
    }
    let last = MAX_RANK - 1;
    let vertical = outer_plan.cols() > 1
        && len > 0
        && (outer_plan.stride(1, last) < inner_plan.stride(1, last) || len <= SHORT);
    let job = Job { ops, src, out, outer: outer_plan, inner: inner_plan, vertical };

    let strips = job.outer.cols().div_ceil(STRIP);
    let groups = job.outer.rows() * strips;
    let group_results = job.outer.cols().min(STRIP);
    let chunk = if vertical { (CHUNK / group_results).next_multiple_of(LEAF_ROWS) } else { CHUNK };
    let chunks = len.div_ceil(chunk).max(1);
    let tasks = (results.saturating_mul(len) / CHUNK).max(1);
    let place = |group: usize| (group / strips, group % strips * STRIP);
    if chunks == 1 {
        par::for_ranges(groups, groups.div_ceil(tasks), |from, to| {
            for group in from..to {
                let (row, col) = place(group);
                let n = STRIP.min(job.outer.cols() - col);
                let mut sums = [const { MaybeUninit::uninit() }; STRIP];
                let sums = filled(&mut sums[..n], ops.init);
                // SAFETY: `n` results of the caller's views, written by this task alone.
                unsafe {
                    job.accumulate(row, col, sums, 0, len);
                    job.write(row, col, sums);
                }
            }
        });
        return;
    }
    // Accumulators of every chunk of every result; there is one for some tens of thousands of elements.
    let width = group_results;
    let mut partial = vec![ops.init; groups * chunks * width];
    let shared = Shared(partial.as_mut_ptr());
    par::for_each(groups * chunks, |task| {
        let (row, col) = place(task / chunks);
        let n = STRIP.min(job.outer.cols() - col);
        let from = task % chunks * chunk;
        // SAFETY: the accumulators of this task, `width` of them.
        unsafe {
            let sums = std::slice::from_raw_parts_mut(shared.get().add(task * width), n);
            job.accumulate(row, col, sums, from, (from + chunk).min(len));
        }
    });
    for group in 0..groups {
        let (row, col) = place(group);
        let n = STRIP.min(job.outer.cols() - col);
        let sums = &mut partial[group * chunks * width..][..chunks * width];
        let mut step = 1;
        while step < chunks {
            for c in (0..chunks - step).step_by(2 * step) {
                let (earlier, later) = sums.split_at_mut((c + step) * width);
                let (earlier, later) = (&mut earlier[c * width..][..n], &later[..n]);
                // SAFETY: `n` accumulators each, and the closure of this reduction.
                unsafe { (ops.merge_columns)(ops.merge_fn, earlier.as_mut_ptr(), later.as_ptr(), n) };
            }
            step *= 2;
        }
        // SAFETY: `n` results of the caller's views.
        unsafe { job.write(row, col, &sums[..n]) };
    }
}

/// Reduces one dimension of a few elements between two others, for which a plan costs more than they do: whether it did.
///
/// Elements are accumulated one by one, as leaves and columns of so few are.
unsafe fn few<T: Compute, A: Copy, U: Compute>(
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
    ops: &Ops<'_, T, A, U>,
) -> bool {
    let (&[before, after], &[n]) = (outer, reduced) else { return false };
    let (&[row, col], &[src_row, src_col, step]) = (out.strides, src.strides) else { return false };
    if n >= LANES || before.saturating_mul(after) > FEW {
        return false;
    }
    let mut line = [T::default(); LANES];
    for i in 0..before {
        for j in 0..after {
            // SAFETY: an element of the result, and the elements that make it.
            unsafe {
                let at = |k: usize| i * src_row + j * src_col + k * step;
                if src.elem == T::ELEM {
                    for (k, x) in line[..n].iter_mut().enumerate() {
                        *x = *src.ptr.cast::<T>().add(at(k));
                    }
                } else {
                    let rect = Rect { rows: 1, cols: n, row: 0, col: step };
                    load(line.as_mut_ptr(), src.ptr.add(at(0) * src.elem.size()), src.elem, rect);
                }
                let sum = (ops.leaf)(ops.step, ops.merge_fn, ops.init, line.as_ptr(), n, 0);
                let (result, place) = ((ops.finish)(sum), (i * row + j * col) * out.elem.size());
                let rect = Rect { rows: 1, cols: 1, row: 0, col: 1 };
                store(out.ptr.add(place), &raw const result, out.elem, rect);
            }
        }
    }
    true
}

/// Sets all elements.
fn filled<A: Copy>(to: &mut [MaybeUninit<A>], value: A) -> &mut [A] {
    for v in to.iter_mut() {
        v.write(value);
    }
    // SAFETY: all were just written.
    unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<A>(), to.len()) }
}

/// Reduces an adjacent copy, for views with more dimensions than a plan holds.
unsafe fn by_copy<T: Compute, A: Copy + Send + Sync, U: Compute>(
    outer: &[usize],
    reduced: &[usize],
    out: Dst<'_>,
    src: Src<'_>,
    ops: &Ops<'_, T, A, U>,
) {
    let (results, len) = (outer.iter().product::<usize>(), reduced.iter().product::<usize>());
    let shape: Vec<usize> = outer.iter().chain(reduced).copied().collect();
    let adjacent = |shape: &[usize]| {
        let mut strides = vec![1; shape.len()];
        for d in (0..shape.len().saturating_sub(1)).rev() {
            strides[d] = strides[d + 1] * shape[d + 1];
        }
        strides
    };
    let (mut copy, mut reduced_copy) = (vec![T::default(); results * len], vec![U::default(); results]);
    let (copy_strides, reduced_strides) = (adjacent(&shape), adjacent(outer));
    let (p, q) = (copy.as_mut_ptr().cast::<u8>(), reduced_copy.as_mut_ptr().cast::<u8>());
    // SAFETY: the caller's views, and the vectors above.
    unsafe {
        map::<T, 1>(
            &shape,
            Dst { ptr: p, elem: T::ELEM, strides: &copy_strides },
            [src],
            Rows::new(&|[x]| x),
        );
        let from = Src { ptr: p, elem: T::ELEM, strides: &[len, 1] };
        drive(&[results], &[len], Dst { ptr: q, elem: U::ELEM, strides: &[1] }, from, ops, false);
        map::<U, 1>(
            outer,
            out,
            [Src { ptr: q, elem: U::ELEM, strides: &reduced_strides }],
            Rows::new(&|[x]| x),
        );
    }
}

impl<T: Compute, A: Copy + Send + Sync, U: Compute> Job<'_, T, A, U> {
    /// Accumulates elements `from..to` of the results from `(row, col)` on.
    unsafe fn accumulate(&self, row: usize, col: usize, sums: &mut [A], from: usize, to: usize) {
        let step = self.outer.stride(1, MAX_RANK - 1);
        self.outer.slabs(row, row + 1, |offsets, _| {
            let base = offsets[1] + col * step;
            // SAFETY: the caller's contract.
            unsafe {
                if self.vertical {
                    self.down(base, sums, from, to);
                } else {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = self.along(base + j * step, from, to);
                    }
                }
            }
        });
    }

    /// Accumulates the elements `from..to` of one result whose first is `base` elements into the source.
    unsafe fn along(&self, base: usize, from: usize, to: usize) -> A {
        let ops = self.ops;
        let (cols, step) = (self.inner.cols(), self.inner.stride(1, MAX_RANK - 1));
        let direct = self.src.elem == T::ELEM && step == 1;
        let mut sum = ops.init;
        let mut block = [const { MaybeUninit::<T>::uninit() }; LEAF];
        let mut at = from;
        while at < to {
            let n = LEAF.min(to - at);
            let (row, col) = (at / cols, at % cols);
            // SAFETY: elements `at..at + n` of this result, in place or copied to the block.
            let leaf = unsafe {
                let x = if direct && col + n <= cols {
                    let mut offset = 0;
                    self.inner.slabs(row, row + 1, |offsets, _| offset = offsets[1]);
                    self.src.ptr.cast::<T>().add(base + offset + col)
                } else {
                    self.gather(block.as_mut_ptr().cast(), base, at, n);
                    block.as_ptr().cast::<T>()
                };
                (ops.leaf)(ops.step, ops.merge_fn, ops.init, x, n, at)
            };
            sum = if at == from { leaf } else { (ops.merge)(sum, leaf) };
            at += n;
        }
        sum
    }

    /// Copies elements `at..at + n` of one result to `block`.
    unsafe fn gather(&self, block: *mut T, base: usize, at: usize, n: usize) {
        let (cols, step) = (self.inner.cols(), self.inner.stride(1, MAX_RANK - 1));
        let mut done = 0;
        while done < n {
            let (row, col) = ((at + done) / cols, (at + done) % cols);
            let left = n - done;
            let rows = if col == 0 { (left / cols).max(1) } else { 1 };
            let width = left.min(cols - col);
            self.inner.slabs(row, row + rows, |offsets, slab| {
                let rect =
                    Rect { rows: slab, cols: width, row: self.inner.stride(1, MAX_RANK - 2), col: step };
                let from = base + offsets[1] + col * step;
                // SAFETY: the rows are in the caller's view; the block has room for `n` elements.
                unsafe {
                    load(block.add(done), self.src.ptr.add(from * self.src.elem.size()), self.src.elem, rect);
                }
                done += slab * width;
            });
        }
    }

    /// Accumulates the elements `from..to` of neighbouring results, the first of which starts at `base`.
    unsafe fn down(&self, base: usize, sums: &mut [A], from: usize, to: usize) {
        let ops = self.ops;
        let n = sums.len();
        let (step, size) = (self.outer.stride(1, MAX_RANK - 1), self.src.elem.size());
        let (cols, col_step) = (self.inner.cols(), self.inner.stride(1, MAX_RANK - 1));
        let direct = self.src.elem == T::ELEM && step == 1;
        let mut block = [const { MaybeUninit::<T>::uninit() }; STRIP];
        for start in (from..to).step_by(LEAF_ROWS) {
            let mut leaf = [const { MaybeUninit::uninit() }; STRIP];
            let leaf = filled(&mut leaf[..n], ops.init);
            let end = (start + LEAF_ROWS).min(to);
            let mut at = start;
            while at < end {
                let (row, col) = (at / cols, at % cols);
                let mut offset = 0;
                self.inner.slabs(row, row + 1, |offsets, _| offset = offsets[1]);
                let count = (cols - col).min(end - at);
                let place = base + offset + col * col_step;
                // SAFETY: elements `at..at + count` of `n` results, in place or copied to the block.
                unsafe {
                    let x = self.src.ptr.add(place * size);
                    let whole = if direct { count / TOGETHER * TOGETHER } else { 0 };
                    for i in (0..whole).step_by(TOGETHER) {
                        let x = x.cast::<T>().add(i * col_step);
                        (ops.columns)(ops.step, leaf.as_mut_ptr(), x, n, col_step, at + i);
                    }
                    for i in whole..count {
                        let mut x = x.add(i * col_step * size).cast::<T>();
                        if !direct {
                            let rect = Rect { rows: 1, cols: n, row: 0, col: step };
                            load(block.as_mut_ptr().cast::<T>(), x.cast(), self.src.elem, rect);
                            x = block.as_ptr().cast();
                        }
                        (ops.column)(ops.step, leaf.as_mut_ptr(), x, n, 0, at + i);
                    }
                }
                at += count;
            }
            if start == from {
                sums.copy_from_slice(leaf);
            } else {
                // SAFETY: `n` accumulators each, and the closure of this reduction.
                unsafe { (ops.merge_columns)(ops.merge_fn, sums.as_mut_ptr(), leaf.as_ptr(), n) };
            }
        }
    }

    /// Writes the results from `(row, col)` on.
    unsafe fn write(&self, row: usize, col: usize, sums: &[A]) {
        let mut results = [const { MaybeUninit::<U>::uninit() }; STRIP];
        for (r, &a) in results.iter_mut().zip(sums) {
            r.write((self.ops.finish)(a));
        }
        let step = self.outer.stride(0, MAX_RANK - 1);
        self.outer.slabs(row, row + 1, |offsets, _| {
            let rect = Rect { rows: 1, cols: sums.len(), row: 0, col: step };
            let place = (offsets[0] + col * step) * self.out.elem.size();
            // SAFETY: the caller's results.
            unsafe { store(self.out.ptr.add(place), results.as_ptr().cast::<U>(), self.out.elem, rect) };
        });
    }
}
