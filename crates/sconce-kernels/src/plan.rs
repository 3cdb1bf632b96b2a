//! Iteration order for several strided views of one shape.
//!
//! Dimensions of size 1 are dropped, the rest is sorted so that the first view (the output) is walked along its
//! smallest stride, and dimensions that are adjacent in every view are merged. What is left is seen as rows (the last
//! but one dimension) of columns (the last), in slabs (all others).

/// Dimensions that a plan holds after merging.
pub(crate) const MAX_RANK: usize = 8;
/// Views that a plan walks together.
pub(crate) const MAX_VIEWS: usize = 5;

/// A shape and the strides of up to five views; unused leading dimensions have size 1.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    shape: [usize; MAX_RANK],
    strides: [[usize; MAX_VIEWS]; MAX_RANK],
    first: usize,
}

impl Plan {
    /// Plans the walk, or returns `None` if too many dimensions are left.
    pub(crate) fn new(shape: &[usize], strides: &[&[usize]]) -> Option<Self> {
        let mut plan = Self { shape: [1; MAX_RANK], strides: [[0; MAX_VIEWS]; MAX_RANK], first: MAX_RANK };
        // From the innermost outwards; each dimension is inserted where the output's strides stay in descending order.
        for d in (0..shape.len()).rev() {
            let size = shape[d];
            if size == 1 {
                continue;
            }
            let mut step = [0; MAX_VIEWS];
            for (s, view) in step.iter_mut().zip(strides) {
                *s = view[d];
            }
            if plan.merge_outside(plan.first, size, &step) {
                continue;
            }
            if plan.first == 0 {
                return None;
            }
            let mut at = plan.first - 1;
            while at + 1 < MAX_RANK && step[0] < plan.strides[at + 1][0] {
                plan.shape[at] = plan.shape[at + 1];
                plan.strides[at] = plan.strides[at + 1];
                at += 1;
            }
            plan.shape[at] = size;
            plan.strides[at] = step;
            plan.first -= 1;
        }
        plan.merge_neighbours();
        Some(plan)
    }

    /// Merges a dimension into dimension `at`, if it continues it in every view.
    fn merge_outside(&mut self, at: usize, size: usize, step: &[usize; MAX_VIEWS]) -> bool {
        if at == MAX_RANK
            || (0..MAX_VIEWS).any(|k| step[k] != self.strides[at][k].wrapping_mul(self.shape[at]))
        {
            return false;
        }
        self.shape[at] *= size;
        true
    }

    /// Merges what sorting made adjacent.
    fn merge_neighbours(&mut self) {
        let mut at = MAX_RANK - 1;
        for d in (self.first..MAX_RANK.saturating_sub(1)).rev() {
            let (size, step) = (self.shape[d], self.strides[d]);
            if !self.merge_outside(at, size, &step) {
                at -= 1;
                self.shape[at] = size;
                self.strides[at] = step;
            }
        }
        let new_first = if self.first == MAX_RANK { MAX_RANK } else { at };
        for d in self.first..new_first.min(MAX_RANK) {
            self.shape[d] = 1;
            self.strides[d] = [0; MAX_VIEWS];
        }
        self.first = new_first;
    }

    /// Elements in all.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of the innermost dimension.
    pub(crate) fn cols(&self) -> usize {
        self.shape[MAX_RANK - 1]
    }

    /// Product of all dimensions but the innermost.
    pub(crate) fn rows(&self) -> usize {
        self.shape[..MAX_RANK - 1].iter().product()
    }

    /// Stride of view `k` along dimension `d`, counted so that `MAX_RANK - 1` is the innermost.
    pub(crate) fn stride(&self, k: usize, d: usize) -> usize {
        self.strides[d][k]
    }

    /// Calls `visit(offsets, rows)` for runs of rows that are equally spaced in every view, covering the flat row
    /// numbers `from..to`; offsets are in elements, of the first row.
    pub(crate) fn slabs(&self, from: usize, to: usize, mut visit: impl FnMut([usize; MAX_VIEWS], usize)) {
        let mut row = from;
        let slab_rows = self.shape[MAX_RANK - 2];
        while row < to {
            let mut rest = row / slab_rows;
            let inside = row % slab_rows;
            let mut offsets = self.strides[MAX_RANK - 2].map(|s| s * inside);
            for d in (self.first.min(MAX_RANK - 2)..MAX_RANK - 2).rev() {
                let i = rest % self.shape[d];
                rest /= self.shape[d];
                for (o, s) in offsets.iter_mut().zip(self.strides[d]) {
                    *o += s * i;
                }
            }
            let n = (slab_rows - inside).min(to - row);
            visit(offsets, n);
            row += n;
        }
    }
}

/// Walks the dimensions that exceed [`MAX_RANK`], calling `visit(inner_shape, offsets, first_inner_dim)` for each of
/// their indices, offsets in elements.
pub(crate) fn split_leading(
    shape: &[usize],
    strides: &[&[usize]],
    mut visit: impl FnMut(&[usize], [usize; MAX_VIEWS], usize),
) {
    let from = shape.len() - MAX_RANK;
    if shape.contains(&0) {
        return;
    }
    for flat in 0..shape[..from].iter().product() {
        let mut rest: usize = flat;
        let mut offsets = [0; MAX_VIEWS];
        for d in (0..from).rev() {
            let i = rest % shape[d];
            rest /= shape[d];
            for (o, s) in offsets.iter_mut().zip(strides) {
                *o += i * s[d];
            }
        }
        visit(&shape[from..], offsets, from);
    }
}
