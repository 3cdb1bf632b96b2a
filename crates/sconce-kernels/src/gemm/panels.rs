//! A matrix that is packed once and multiplied many times.

use super::kernel::{self, Tile};
use super::{KC, Mat, MatMut, Real};

/// A `k × n` matrix in panels of neighbouring columns.
pub(crate) struct Panels<T> {
    k: usize,
    n: usize,
    width: usize,
    memory: Vec<T>,
}

impl<T: Real> Panels<T> {
    /// Packs a matrix.
    ///
    /// # Safety
    /// `b` is valid over `k × n`.
    pub(crate) unsafe fn new(b: Mat<T>, k: usize, n: usize) -> Self {
        let width = T::kernel().nr;
        let mut memory = vec![T::ZERO; n.next_multiple_of(width) * k];
        // SAFETY: the memory holds the panels; the rest is the caller's contract.
        unsafe { kernel::pack(memory.as_mut_ptr(), b.t(), n, k, width) };
        Self { k, n, width, memory }
    }

    /// How many panels a matrix of `n` columns has.
    pub(crate) fn count(n: usize) -> usize {
        n.div_ceil(T::kernel().nr)
    }

    /// The columns of a panel: the first one, and how many.
    pub(crate) fn columns(&self, panel: usize) -> (usize, usize) {
        (panel * self.width, self.width.min(self.n - panel * self.width))
    }

    /// `c = a · b + beta · c` for the columns of one panel, which `c` begins with; sums are in the order of
    /// [`gemm`](crate::gemm()).
    ///
    /// # Safety
    /// `a` is valid over `m × k`, `c` over `m` rows of the panel's columns, and they do not overlap.
    pub(crate) unsafe fn multiply(&self, panel: usize, m: usize, a: Mat<T>, beta: T, c: MatMut<T>) {
        let kernel = T::kernel();
        let cols = self.columns(panel).1;
        for pc in (0..self.k).step_by(KC) {
            let from = panel * self.width * self.k + pc * self.width;
            for i in (0..m).step_by(kernel.mr) {
                let rows = kernel.mr.min(m - i);
                let t = Tile {
                    rows,
                    cols,
                    k: KC.min(self.k - pc),
                    a: kernel::tile_rows(Mat { ptr: a.at(i, pc), ..a }, rows),
                    a_col: a.col,
                    b: self.memory[from..].as_ptr(),
                    b_row: self.width as isize,
                    alpha: T::ONE,
                    beta: if pc == 0 { beta } else { T::ONE },
                    c: MatMut { ptr: c.at(i, 0), ..c },
                };
                // SAFETY: the tile is in bounds; the panel is packed, with `width` columns per row.
                unsafe { kernel::tile(&kernel, &t) };
            }
        }
    }
}
