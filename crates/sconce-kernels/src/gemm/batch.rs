//! Batches of products over any element types.

use super::kernel::Real;
use super::{Mat, MatMut, Product, gemm_i64, product};
use crate::compute::{Rect, load, store};
use crate::par::{self, Shared};
use crate::{Compute, Elem};

/// A batch of matrices to read: matrix `i` starts `i · batch` elements after `ptr`.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Address of the first element.
    pub ptr: *const u8,
    /// Type of the elements.
    pub elem: Elem,
    /// Elements from one matrix to the next; 0 repeats one.
    pub batch: usize,
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one column to the next.
    pub col: usize,
}

/// A batch of matrices to write, laid out like [`Operand`].
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Address of the first element.
    pub ptr: *mut u8,
    /// Type of the elements.
    pub elem: Elem,
    /// Elements from one matrix to the next.
    pub batch: usize,
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one column to the next.
    pub col: usize,
}

// SAFETY: an address and its description; the callers of `batched` vouch for access from any thread.
unsafe impl Sync for Operand {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// Multiply-adds from which one product is worth several threads.
const LARGE: usize = 64 * 64 * 64;

/// Computes `c[i] = a[i] · b[i]` for `batch` pairs of `m × k` and `k × n` matrices.
///
/// `a`, `b` and `c` have the same element type. Halves are summed in `f32` and rounded once; integers are summed in
/// `i64` and wrap; `bool` is true where the integer product is not 0.
///
/// ```
/// use sconce_kernels::{Elem, Operand, Output, batched};
/// let (a, mut c) = ([1i32, 2, 3, 4], [0i32; 4]);
/// let view = Operand { ptr: a.as_ptr().cast(), elem: Elem::I32, batch: 0, row: 2, col: 1 };
/// let out = Output { ptr: c.as_mut_ptr().cast(), elem: Elem::I32, batch: 4, row: 2, col: 1 };
/// // SAFETY: the views describe the arrays above.
/// unsafe { batched(1, 2, 2, 2, view, view, out) };
/// assert_eq!(c, [7, 10, 15, 22]);
/// ```
///
/// # Safety
/// As for [`gemm`](crate::gemm), for every matrix of the batch, and no two results overlap.
pub unsafe fn batched(batch: usize, m: usize, n: usize, k: usize, a: Operand, b: Operand, c: Output) {
    // SAFETY: the caller's contract.
    unsafe {
        match c.elem {
            Elem::F32 => real::<f32>(batch, m, n, k, a, b, c),
            Elem::F64 => real::<f64>(batch, m, n, k, a, b, c),
            Elem::F16 | Elem::BF16 => converted::<f32>(batch, m, n, k, a, b, c),
            Elem::I64 | Elem::I32 | Elem::I16 | Elem::I8 | Elem::U8 | Elem::Bool => {
                converted::<i64>(batch, m, n, k, a, b, c)
            }
        }
    }
}

unsafe fn real<T: Real>(batch: usize, m: usize, n: usize, k: usize, a: Operand, b: Operand, c: Output) {
    let one = |i: usize, parallel: bool| {
        let (a, b, c) = (&a, &b, &c);
        let mat = |x: &Operand| Mat {
            ptr: x.ptr.cast::<T>().wrapping_add(i * x.batch),
            row: x.row as isize,
            col: x.col as isize,
        };
        let c = MatMut {
            ptr: c.ptr.cast::<T>().wrapping_add(i * c.batch),
            row: c.row as isize,
            col: c.col as isize,
        };
        let p = Product { m, n, k, alpha: T::ONE, a: mat(a), b: mat(b), beta: T::ZERO, c };
        // SAFETY: matrix `i` of the batch, by the caller's contract.
        unsafe { product(p, parallel) }
    };
    let work = m * n * k;
    if batch == 1 || work >= LARGE && batch < par::threads() * 4 {
        (0..batch).for_each(|i| one(i, true));
    } else {
        par::for_ranges(batch, (LARGE / work.max(1)).max(1), |from, to| {
            (from..to).for_each(|i| one(i, false))
        });
    }
}

/// Copies the matrices to adjacent ones of type `T`, multiplies, and converts back.
unsafe fn converted<T: Inner>(batch: usize, m: usize, n: usize, k: usize, a: Operand, b: Operand, c: Output) {
    let a_count = if a.batch == 0 { 1 } else { batch };
    let b_count = if b.batch == 0 { 1 } else { batch };
    let mut a_copy = vec![T::default(); a_count * m * k];
    let mut b_copy = vec![T::default(); b_count * k * n];
    let mut sums = vec![T::default(); m * n];
    let convert = |to: &mut [T], x: &Operand, count: usize, rows: usize, cols: usize| {
        let to = Shared(to.as_mut_ptr());
        par::for_ranges(count * rows, (1 << 16) / cols.max(1), |from, until| {
            for r in from..until {
                let (i, r_in) = (r / rows, r % rows);
                let from = x.ptr.wrapping_add((i * x.batch + r_in * x.row) * x.elem.size());
                let rect = Rect { rows: 1, cols, row: 0, col: x.col };
                // SAFETY: row `r_in` of matrix `i`, and its place in the copy.
                unsafe { load(to.get().add(r * cols), from, x.elem, rect) };
            }
        });
    };
    convert(&mut a_copy, &a, a_count, m, k);
    convert(&mut b_copy, &b, b_count, k, n);
    for i in 0..batch {
        let a = &a_copy[if a.batch == 0 { 0 } else { i * m * k }..];
        let b = &b_copy[if b.batch == 0 { 0 } else { i * k * n }..];
        let to = c.ptr.wrapping_add(i * c.batch * c.elem.size());
        let rect = Rect { rows: m, cols: n, row: c.row, col: c.col };
        // SAFETY: the copies hold `m × k`, `k × n` and `m × n` elements; the result's matrix is the caller's.
        unsafe {
            T::multiply(m, n, k, a.as_ptr(), b.as_ptr(), sums.as_mut_ptr());
            store(to, sums.as_ptr(), c.elem, rect);
        }
    }
}

/// A type that `converted` multiplies in.
trait Inner: Compute {
    /// Row-major matrices without gaps.
    unsafe fn multiply(m: usize, n: usize, k: usize, a: *const Self, b: *const Self, c: *mut Self);
}

impl Inner for f32 {
    unsafe fn multiply(m: usize, n: usize, k: usize, a: *const f32, b: *const f32, c: *mut f32) {
        let (k_, n_) = (k as isize, n as isize);
        // SAFETY: the caller's contract.
        unsafe { super::gemm(m, n, k, 1.0, a, (k_, 1), b, (n_, 1), 0.0, c, (n_, 1)) }
    }
}

impl Inner for i64 {
    unsafe fn multiply(m: usize, n: usize, k: usize, a: *const i64, b: *const i64, c: *mut i64) {
        let (k_, n_) = (k as isize, n as isize);
        // SAFETY: the caller's contract.
        unsafe { gemm_i64(m, n, k, a, (k_, 1), b, (n_, 1), c, (n_, 1)) }
    }
}
