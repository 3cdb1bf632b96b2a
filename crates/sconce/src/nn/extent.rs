//! Sizes of windows, one per dimension.

/// Sizes in `N` dimensions: `3` for all of them, or `[3, 5]`.
pub trait Extent<const N: usize> {
    /// One size per dimension.
    fn extent(self) -> [usize; N];
}

impl<const N: usize> Extent<N> for usize {
    fn extent(self) -> [usize; N] {
        [self; N]
    }
}

impl<const N: usize> Extent<N> for [usize; N] {
    fn extent(self) -> [usize; N] {
        self
    }
}
