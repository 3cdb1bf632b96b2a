//! Matrix products.
//!
//! The general path is the usual one: blocks of the operands are packed into panels that fit the caches, and a
//! micro-kernel keeps a tile of the result in registers. Around it: packing is left out where the operand can be read
//! as it is and is not read often enough to pay; products whose operands both run along `k` and have few results are
//! tiles of dot products; vectors take paths that run at memory bandwidth.
//!
//! Threads take rectangles of the result, and every element is summed in an order that only depends on `k`: results
//! do not depend on the number of threads.

mod batch;
pub(crate) mod kernel;
pub(crate) mod panels;
mod shared;
mod vector;

pub use batch::{Operand, Output, batched};
pub use kernel::Real;
pub use vector::dot;

use crate::par::{self, Shared};
use std::alloc::Layout;
use std::cell::RefCell;
use std::thread::LocalKey;

/// Depth of a packed block; fixes the order of summation.
const KC: usize = 256;
/// Rows of `a` per packed block, at most; with `KC` it takes a part of the second-level cache.
const MC: usize = 144;
/// Columns of `b` per packed block, at most.
const NC: usize = 1536;
/// Multiply-adds below which no other thread is woken.
const GRAIN: usize = 1 << 20;
/// Bytes of `b` below which it is read in place.
const DIRECT_B: usize = 20 << 10;
/// Tiles along `b` up to which `a` is read in place.
const DIRECT_A: usize = 8;
/// Multiply-adds below which operands that both run along `k` are not packed.
const SMALL: usize = 32 * 32 * 32;

/// A matrix to read: element `(i, j)` is at `ptr + i·row + j·col`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<T> {
    pub(crate) ptr: *const T,
    pub(crate) row: isize,
    pub(crate) col: isize,
}

impl<T> Mat<T> {
    #[inline(always)]
    pub(crate) fn at(self, i: usize, j: usize) -> *const T {
        self.ptr.wrapping_offset(i as isize * self.row + j as isize * self.col)
    }

    /// The transposed matrix.
    pub(crate) fn t(self) -> Self {
        Self { ptr: self.ptr, row: self.col, col: self.row }
    }
}

/// A matrix to write, like [`Mat`].
#[derive(Clone, Copy)]
pub(crate) struct MatMut<T> {
    pub(crate) ptr: *mut T,
    pub(crate) row: isize,
    pub(crate) col: isize,
}

impl<T> MatMut<T> {
    #[inline(always)]
    pub(crate) fn at(self, i: usize, j: usize) -> *mut T {
        self.ptr.wrapping_offset(i as isize * self.row + j as isize * self.col)
    }
}

// SAFETY: addresses; the callers of `gemm` vouch for access from any thread.
unsafe impl<T> Sync for Mat<T> {}
// SAFETY: as above; threads write disjoint rectangles.
unsafe impl<T> Sync for MatMut<T> {}

/// Computes `c = alpha · a · b + beta · c` for `a` of `m × k`, `b` of `k × n` and `c` of `m × n` elements.
///
/// The pairs are the strides of rows and columns, in elements. If `beta` is 0, `c` is not read.
///
/// ```
/// let (a, b, mut c) = ([1f32, 2., 3., 4.], [5f32, 6., 7., 8.], [0f32; 4]);
/// // SAFETY: the pointers and strides describe the 2 × 2 matrices above.
/// unsafe {
///     sconce_kernels::gemm(
///         2, 2, 2, 1.0, a.as_ptr(), (2, 1), b.as_ptr(), (2, 1), 0.0, c.as_mut_ptr(), (2, 1),
///     )
/// };
/// assert_eq!(c, [19., 22., 43., 50.]);
/// ```
///
/// # Safety
/// - Every element of `a` and `b` is valid to read, of `c` to write (and read, if `beta` is not 0), from any thread.
/// - No two elements of `c` are the same, and `c` overlaps neither `a` nor `b`.
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm<T: Real>(
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: *const T,
    (a_rs, a_cs): (isize, isize),
    b: *const T,
    (b_rs, b_cs): (isize, isize),
    beta: T,
    c: *mut T,
    (c_rs, c_cs): (isize, isize),
) {
    let a = Mat { ptr: a, row: a_rs, col: a_cs };
    let b = Mat { ptr: b, row: b_rs, col: b_cs };
    let c = MatMut { ptr: c, row: c_rs, col: c_cs };
    // SAFETY: the caller's contract.
    unsafe { product(Product { m, n, k, alpha, a, b, beta, c }, true) }
}

/// The arguments of [`gemm`].
#[derive(Clone, Copy)]
pub(crate) struct Product<T> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) alpha: T,
    pub(crate) a: Mat<T>,
    pub(crate) b: Mat<T>,
    pub(crate) beta: T,
    pub(crate) c: MatMut<T>,
}

impl<T: Real> Product<T> {
    /// The transposed product, `cᵀ = alpha · bᵀ · aᵀ + beta · cᵀ`.
    fn t(self) -> Self {
        let c = MatMut { ptr: self.c.ptr, row: self.c.col, col: self.c.row };
        Self { m: self.n, n: self.m, a: self.b.t(), b: self.a.t(), c, ..self }
    }

    /// Rows `i0..i1` and columns `j0..j1` of the result.
    fn part(self, (i0, i1): (usize, usize), (j0, j1): (usize, usize)) -> Self {
        Self {
            m: i1 - i0,
            n: j1 - j0,
            a: Mat { ptr: self.a.at(i0, 0), ..self.a },
            b: Mat { ptr: self.b.at(0, j0), ..self.b },
            c: MatMut { ptr: self.c.at(i0, j0), ..self.c },
            ..self
        }
    }
}

/// Computes a product, on several threads if `parallel`.
///
/// # Safety
/// As for [`gemm`].
pub(crate) unsafe fn product<T: Real>(p: Product<T>, parallel: bool) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    if p.k == 0 {
        // SAFETY: the caller's contract.
        return unsafe { scale(p) };
    }
    // The micro-kernel writes along rows of `c`.
    let p = if p.c.col != 1 && p.c.row == 1 { p.t() } else { p };
    // SAFETY: the caller's contract, for each path; parts are disjoint.
    unsafe {
        if p.m == 1 || p.n == 1 {
            return vector::vector(p, parallel);
        }
        let dots = kernel::dots_pay(&p);
        let work = p.m * p.n * p.k;
        let tasks = if parallel { (work / GRAIN).min(par::threads() * 4) } else { 1 };
        if tasks <= 1 || par::threads() == 1 {
            return if dots { kernel::dots(p) } else { blocked(p) };
        }
        if !dots && shared::pays(&p) {
            return shared::run(p);
        }
        let kernel = T::kernel();
        let (rows, cols) = grid(p.m, p.n, tasks.min(if work < 16 * GRAIN { par::threads() } else { tasks }));
        let cut = |len: usize, unit: usize, parts: usize, i: usize| {
            let units = len.div_ceil(unit);
            ((units * i / parts * unit).min(len), (units * (i + 1) / parts * unit).min(len))
        };
        par::for_each(rows * cols, |t| {
            let i = cut(p.m, kernel.mr, rows, t / cols);
            let j = cut(p.n, kernel.nr, cols, t % cols);
            let part = p.part(i, j);
            if part.m > 0 && part.n > 0 {
                if dots { kernel::dots(part) } else { blocked(part) }
            }
        });
    }
}

/// Cuts an `m × n` result into about `tasks` rectangles as square as possible.
fn grid(m: usize, n: usize, tasks: usize) -> (usize, usize) {
    let (mut best, mut cost) = ((1, tasks), f64::INFINITY);
    for rows in 1..=tasks {
        let cols = tasks / rows;
        if rows * cols == tasks {
            let c = m as f64 * cols as f64 + n as f64 * rows as f64;
            if c < cost {
                (best, cost) = ((rows, cols), c);
            }
        }
    }
    best
}

/// `c = beta · c`.
unsafe fn scale<T: Real>(p: Product<T>) {
    for i in 0..p.m {
        for j in 0..p.n {
            // SAFETY: an element of `c`, not read if `beta` is 0.
            unsafe {
                let c = p.c.at(i, j);
                *c = if p.beta == T::ZERO { T::ZERO } else { p.beta * *c };
            }
        }
    }
}

/// One thread's product by packing and micro-kernel.
unsafe fn blocked<T: Real>(p: Product<T>) {
    let kernel = T::kernel();
    let (mr, nr) = (kernel.mr, kernel.nr);
    // A first-level cache holds `b` as it is, or it is read too few times to pay for a copy.
    let pack_b = p.b.col != 1 || p.m > 2 * mr && p.k.min(KC) * p.n * size_of::<T>() > DIRECT_B;
    // Single elements of `a` are broadcast, so any layout does, until rows far apart cost too much.
    let pack_a = p.n > DIRECT_A * nr;
    scratch(|buffer: &mut Scratch| {
        let kc_most = p.k.min(KC);
        let b_len = if pack_b { p.n.min(NC).next_multiple_of(nr) * kc_most } else { nr * kc_most };
        let a_len = if pack_a { p.m.min(MC).next_multiple_of(mr) * kc_most } else { 0 };
        let b_pack = buffer.get::<T>(a_len + b_len);
        let a_pack = b_pack.wrapping_add(b_len);
        for jc in (0..p.n).step_by(NC) {
            let nc = NC.min(p.n - jc);
            for pc in (0..p.k).step_by(KC) {
                let kc = KC.min(p.k - pc);
                let beta = if pc == 0 { p.beta } else { T::ONE };
                let full = if pack_b { 0 } else { nc / nr * nr };
                // SAFETY: the block is in bounds and the buffer holds its panels.
                unsafe {
                    let b = Mat { ptr: p.b.at(pc, jc + full), ..p.b };
                    kernel::pack(b_pack, b.t(), nc - full, kc, nr);
                }
                for ic in (0..p.m).step_by(MC) {
                    let mc = MC.min(p.m - ic);
                    let mut a = Mat { ptr: p.a.at(ic, pc), ..p.a };
                    if pack_a {
                        // SAFETY: as above.
                        unsafe { kernel::pack(a_pack, a, mc, kc, mr) };
                        a = Mat { ptr: a_pack, row: 1, col: mr as isize };
                    }
                    for j in (0..nc).step_by(nr) {
                        let (b, b_row) = if j < full {
                            (p.b.at(pc, jc + j), p.b.row)
                        } else {
                            (b_pack.cast_const().wrapping_add((j - full) * kc), nr as isize)
                        };
                        for i in (0..mc).step_by(mr) {
                            let a_tile = if pack_a { a.ptr.wrapping_add(i * kc) } else { a.at(i, 0) };
                            let tile = kernel::Tile {
                                rows: mr.min(mc - i),
                                cols: nr.min(nc - j),
                                k: kc,
                                a: kernel::tile_rows(Mat { ptr: a_tile, ..a }, mr.min(mc - i)),
                                a_col: a.col,
                                b,
                                b_row,
                                alpha: p.alpha,
                                beta,
                                c: MatMut { ptr: p.c.at(ic + i, jc + j), ..p.c },
                            };
                            // SAFETY: the tile is in bounds; `b` has `nr` columns per row, in memory or packed.
                            unsafe { kernel::tile(&kernel, &tile) };
                        }
                    }
                }
            }
        }
    });
}

/// Memory that a thread keeps for packing, aligned to a cache line.
pub(crate) struct Scratch {
    ptr: *mut u8,
    bytes: usize,
}

const LINE: usize = 64;

impl Scratch {
    pub(crate) const fn new() -> Self {
        Self { ptr: std::ptr::null_mut(), bytes: 0 }
    }

    /// Room for `len` values, not initialised.
    pub(crate) fn get<T: Real>(&mut self, len: usize) -> *mut T {
        let bytes = len * size_of::<T>();
        if bytes > self.bytes {
            self.release();
            let bytes = bytes.next_multiple_of(4096);
            let layout =
                Layout::from_size_align(bytes, LINE).expect("a scratch buffer is smaller than its operands");
            // SAFETY: the size is not 0.
            self.ptr = unsafe { std::alloc::alloc(layout) };
            if self.ptr.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            self.bytes = bytes;
        }
        self.ptr.cast()
    }

    fn release(&mut self) {
        if self.bytes > 0 {
            // SAFETY: allocated in `get` with this layout.
            unsafe { std::alloc::dealloc(self.ptr, Layout::from_size_align_unchecked(self.bytes, LINE)) };
            self.bytes = 0;
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.release();
    }
}

/// Runs `work` with this thread's packing memory, or with fresh memory if that is in use further up the stack.
pub(crate) fn scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static BUFFER: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
    }
    with_scratch(&BUFFER, work)
}

/// [`scratch`] with other memory of the thread, for work that calls products in between.
pub(crate) fn with_scratch<R>(
    key: &'static LocalKey<RefCell<Scratch>>,
    work: impl FnOnce(&mut Scratch) -> R,
) -> R {
    key.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => work(&mut buffer),
        Err(_) => work(&mut Scratch::new()),
    })
}

/// Computes `c = a · b` for `i64`, wrapping; arguments as for [`gemm`].
///
/// # Safety
/// As for [`gemm`].
#[allow(clippy::too_many_arguments)]
pub unsafe fn gemm_i64(
    m: usize,
    n: usize,
    k: usize,
    a: *const i64,
    (a_rs, a_cs): (isize, isize),
    b: *const i64,
    (b_rs, b_cs): (isize, isize),
    c: *mut i64,
    (c_rs, c_cs): (isize, isize),
) {
    let a = Mat { ptr: a, row: a_rs, col: a_cs };
    let b = Mat { ptr: b, row: b_rs, col: b_cs };
    let c = Shared(MatMut { ptr: c, row: c_rs, col: c_cs }.ptr);
    let (a, b) = (Shared((&raw const a).cast_mut()), Shared((&raw const b).cast_mut()));
    par::for_ranges(m, (GRAIN / (n * k).max(1)).max(1), |from, to| {
        // SAFETY: the matrices outlive the call.
        let (a, b) = unsafe { (*a.get(), *b.get()) };
        let c = MatMut { ptr: c.get(), row: c_rs, col: c_cs };
        for i in from..to {
            for j in 0..n {
                // SAFETY: elements of the caller's matrices; each of `c` is written by one task.
                unsafe { *c.at(i, j) = 0 };
            }
            for p in 0..k {
                // SAFETY: as above.
                let x = unsafe { *a.at(i, p) };
                for j in 0..n {
                    // SAFETY: as above.
                    unsafe {
                        let y = c.at(i, j);
                        *y = (*y).wrapping_add(x.wrapping_mul(*b.at(p, j)));
                    }
                }
            }
        }
    });
}
