//! The loop over rows that a function is inlined into, once per instruction set.

use super::BLOCK;
use crate::compute::Compute;
use crate::isa::versions;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A function of `N` elements as the loop over rows that is compiled for it.
///
/// What calls the loop is compiled once per element type and number of operands, not once per function.
#[derive(Clone, Copy)]
pub struct Rows<'f, T, const N: usize> {
    pub(super) row: RowFn<T, N>,
    pub(super) f: *const (),
    borrow: PhantomData<&'f ()>,
}

impl<'f, T: Compute, const N: usize> Rows<'f, T, N> {
    /// Returns the loop over `out[i] = f(ins[..][i])`.
    #[inline(always)]
    pub fn new<F: Fn([T; N]) -> T + Sync>(f: &'f F) -> Self {
        Self { row: rows::<T, N, F>, f: (&raw const *f).cast(), borrow: PhantomData }
    }

    /// [`Rows::new`] for a function that is inlined however long it is: a call in the loop would be one into code without
    /// vector instructions, per element.
    #[inline(always)]
    pub fn inlined<F: Inlined<T, N>>(f: &'f F) -> Self {
        Self { row: inlined_rows::<T, N, F>, f: (&raw const *f).cast(), borrow: PhantomData }
    }
}

/// A function for [`Rows::inlined`].
pub trait Inlined<T, const N: usize>: Copy + Sync {
    /// Whether a fused call may give NaN where an argument is too large for it. Elements that are NaN are then computed
    /// again by a call that is not.
    const PERIODIC: bool = false;

    /// Computes one element; marked `#[inline(always)]`, as is what it calls. `FUSED` says that the machine adds a product
    /// in one instruction.
    fn call<const FUSED: bool>(&self, args: [T; N]) -> T;
}

/// `rows` times `out[j] = f(ins[..][j])` for `j < cols`; the operands' rows are so many elements apart.
pub(super) type RowFn<T, const N: usize> = unsafe fn(
    f: *const (),
    rows: usize,
    cols: usize,
    out: *mut T,
    out_row: usize,
    ins: [*const T; N],
    in_rows: [usize; N],
);

versions! {
    /// # Safety
    /// `f` points to an `F`; the operands' rows are valid; `out` overlaps no input.
    unsafe fn rows[T: Compute, const N: usize, F: Fn([T; N]) -> T + Sync][T, N, F](
        f: *const (), rows: usize, cols: usize, out: *mut T, out_row: usize, ins: [*const T; N], in_rows: [usize; N],
    ) = rows_body
}

versions! {
    /// # Safety
    /// As for [`rows`].
    unsafe fn inlined_rows[T: Compute, const N: usize, F: Inlined<T, N>][T, N, F](
        f: *const (), rows: usize, cols: usize, out: *mut T, out_row: usize, ins: [*const T; N], in_rows: [usize; N],
    ) = inlined_rows_body; const FUSED
}

#[inline(always)]
unsafe fn inlined_rows_body<T: Compute, const N: usize, F: Inlined<T, N>, const FUSED: bool>(
    f: *const (),
    rows: usize,
    cols: usize,
    out: *mut T,
    out_row: usize,
    ins: [*const T; N],
    in_rows: [usize; N],
) {
    // SAFETY: the caller passes an `F`. A copy, which no write to `out` can change.
    let f = unsafe { *f.cast::<F>() };
    // SAFETY: the caller's contract.
    unsafe { each_row::<_, _, _, FUSED>(f, rows, cols, out, out_row, ins, in_rows) }
}

/// A closure as what [`each_row`] calls.
struct Closure<'f, F>(&'f F);

impl<F> Clone for Closure<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Closure<'_, F> {}

impl<T, const N: usize, F: Fn([T; N]) -> T + Sync> Inlined<T, N> for Closure<'_, F> {
    #[inline(always)]
    fn call<const FUSED: bool>(&self, args: [T; N]) -> T {
        (self.0)(args)
    }
}

#[inline(always)]
unsafe fn rows_body<T: Compute, const N: usize, F: Fn([T; N]) -> T + Sync>(
    f: *const (),
    rows: usize,
    cols: usize,
    out: *mut T,
    out_row: usize,
    ins: [*const T; N],
    in_rows: [usize; N],
) {
    // SAFETY: the caller passes an `F`; the rest is its contract.
    unsafe { each_row::<_, _, _, false>(Closure(&*f.cast::<F>()), rows, cols, out, out_row, ins, in_rows) }
}

/// No closure stands between the loop and `F::call`: it would be inlined only if it is short, and a call in the loop is one
/// into code without vector instructions.
///
/// # Safety
/// The operands' rows are valid; `out` overlaps no input.
#[inline(always)]
unsafe fn each_row<T: Compute, const N: usize, F: Inlined<T, N>, const FUSED: bool>(
    f: F,
    rows: usize,
    cols: usize,
    out: *mut T,
    out_row: usize,
    ins: [*const T; N],
    in_rows: [usize; N],
) {
    for r in 0..rows {
        // SAFETY: row `r` of each operand is valid, and `out` overlaps no input.
        unsafe {
            let out = std::slice::from_raw_parts_mut(out.add(r * out_row).cast::<MaybeUninit<T>>(), cols);
            let mut row = ins;
            for k in 0..N {
                row[k] = ins[k].add(r * in_rows[k]);
            }
            row_body::<_, _, _, FUSED>(f, out, row);
        }
    }
}

/// One row.
///
/// # Safety
/// Each of `ins` has as many elements as `out`.
#[inline(always)]
unsafe fn row_body<T: Compute, const N: usize, F: Inlined<T, N>, const FUSED: bool>(
    f: F,
    out: &mut [MaybeUninit<T>],
    ins: [*const T; N],
) {
    if !(FUSED && F::PERIODIC) {
        for (j, out) in out.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            out.write(f.call::<FUSED>(unsafe { gather(ins, j) }));
        }
        return;
    }
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut lost = false;
        for (j, out) in out.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            let y = f.call::<FUSED>(unsafe { gather(ins, block * BLOCK + j) });
            lost |= y.partial_cmp(&y).is_none();
            out.write(y);
        }
        if lost {
            for (j, out) in out.iter_mut().enumerate() {
                // SAFETY: written above.
                let y = unsafe { out.assume_init() };
                if y.partial_cmp(&y).is_none() {
                    // SAFETY: the caller's contract.
                    out.write(f.call::<false>(unsafe { gather(ins, block * BLOCK + j) }));
                }
            }
        }
    }
}

/// The arguments of element `j`, by a plain loop: `array::from_fn` is not inlined here in every build.
///
/// # Safety
/// Each of `ins` has more than `j` elements.
#[inline(always)]
unsafe fn gather<T: Compute, const N: usize>(ins: [*const T; N], j: usize) -> [T; N] {
    let mut args = [T::default(); N];
    for k in 0..N {
        // SAFETY: the caller's contract.
        args[k] = unsafe { *ins[k].add(j) };
    }
    args
}
