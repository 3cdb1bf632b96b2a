//! Large products on several threads: `b` is packed once, by all threads, and read by all; blocks of rows of `a` are
//! packed and multiplied by whoever is free.

use super::{GRAIN, KC, MC, MatMut, NC, Product, Real, Scratch, kernel, scratch};
use crate::gemm::{DIRECT_A, DIRECT_B, Mat};
use crate::par::{self, Shared};
use std::cell::RefCell;

/// Multiply-adds from which sharing a packed `b` pays for two more rounds of waking threads per block of `k`.
const WORK: usize = 24 * GRAIN;

/// Panels of `b` that one task packs.
const PANELS: usize = 8;

/// Whether a product is for [`run`]: large, and packed on both sides anyway.
pub(super) fn pays<T: Real>(p: &Product<T>) -> bool {
    let kernel = T::kernel();
    par::threads() > 1
        && p.m * p.n * p.k >= WORK
        && p.m >= 4 * kernel.mr * par::threads()
        && p.n > DIRECT_A * kernel.nr
        && p.k.min(KC) * p.n * size_of::<T>() > DIRECT_B
}

thread_local! {
    /// The packed block of `b`; the one of `a` has a buffer of its own on each thread.
    static PANEL: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Computes the product.
///
/// # Safety
/// As for [`gemm`](super::gemm).
pub(super) unsafe fn run<T: Real>(p: Product<T>) {
    let kernel = T::kernel();
    let (mr, nr) = (kernel.mr, kernel.nr);
    // Blocks of rows of one size, a few per thread.
    let blocks = p.m.div_ceil(MC / 2).next_multiple_of(par::threads());
    let mc = p.m.div_ceil(blocks).next_multiple_of(mr);
    super::with_scratch(&PANEL, |buffer: &mut Scratch| {
        let b_pack = Shared(buffer.get::<T>(p.n.min(NC).next_multiple_of(nr) * p.k.min(KC)));
        for jc in (0..p.n).step_by(NC) {
            let nc = NC.min(p.n - jc);
            for pc in (0..p.k).step_by(KC) {
                let kc = KC.min(p.k - pc);
                let beta = if pc == 0 { p.beta } else { T::ONE };
                let step = PANELS * nr;
                par::for_each(nc.div_ceil(step), |t| {
                    let j = t * step;
                    let cols = step.min(nc - j);
                    // SAFETY: columns `j..j + cols` of the block of `b`, and their panels, which no other task writes.
                    unsafe {
                        let b = Mat { ptr: p.b.at(pc, jc + j), ..p.b };
                        kernel::pack(b_pack.get().add(j * kc), b.t(), cols, kc, nr);
                    }
                });
                par::for_each(p.m.div_ceil(mc), |t| {
                    let i = t * mc;
                    let rows = mc.min(p.m - i);
                    let part = Product {
                        m: rows,
                        n: nc,
                        k: kc,
                        alpha: p.alpha,
                        a: Mat { ptr: p.a.at(i, pc), ..p.a },
                        b: Mat { ptr: b_pack.get().cast_const(), row: nr as isize, col: 1 },
                        beta,
                        c: MatMut { ptr: p.c.at(i, jc), ..p.c },
                    };
                    // SAFETY: a block of the caller's operands; its rows of `c` are this task's.
                    unsafe { block(&part) }
                });
            }
        }
    });
}

/// One block of rows: packs `a` and multiplies it with the panels at `p.b`.
unsafe fn block<T: Real>(p: &Product<T>) {
    let kernel = T::kernel();
    let (mr, nr) = (kernel.mr, kernel.nr);
    scratch(|buffer: &mut Scratch| {
        let a_pack = buffer.get::<T>(p.m.next_multiple_of(mr) * p.k);
        // SAFETY: the buffer holds the block's panels.
        unsafe { kernel::pack(a_pack, p.a, p.m, p.k, mr) };
        for j in (0..p.n).step_by(nr) {
            for i in (0..p.m).step_by(mr) {
                let rows = mr.min(p.m - i);
                let a = Mat { ptr: a_pack.cast_const().wrapping_add(i * p.k), row: 1, col: mr as isize };
                let tile = kernel::Tile {
                    rows,
                    cols: nr.min(p.n - j),
                    k: p.k,
                    a: kernel::tile_rows(a, rows),
                    a_col: a.col,
                    b: p.b.ptr.wrapping_add(j * p.k),
                    b_row: p.b.row,
                    alpha: p.alpha,
                    beta: p.beta,
                    c: MatMut { ptr: p.c.at(i, j), ..p.c },
                };
                // SAFETY: the tile is in bounds; both panels are packed, `b`'s with `nr` columns per row.
                unsafe { kernel::tile(&kernel, &tile) };
            }
        }
    });
}
