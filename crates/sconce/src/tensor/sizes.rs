//! What may be written where a shape or a list of dimensions is asked for.

use smallvec::SmallVec;

/// Sizes or dimensions that may be negative: `[2, -1]`, `&[usize]`, `Vec<i64>`, a single number, `()` for no dimensions.
///
/// Implemented for single integers and for arrays, slices and vectors of `i32`, `i64`, `isize` and `usize`.
pub trait Sizes {
    /// The numbers as signed integers.
    fn sizes(&self) -> SmallVec<[isize; 6]>;
}

/// Dimensions to reduce: `()` for all of them, or [`Sizes`]; in [`keepdim`] to keep them with size 1.
pub trait DimsArg {
    /// The dimensions, or `None` for all.
    fn dims(&self) -> Option<SmallVec<[isize; 6]>>;

    /// Whether the reduced dimensions stay, with size 1.
    fn keeps(&self) -> bool {
        false
    }
}

/// Dimensions that are reduced to size 1 instead of dropped; made by [`keepdim`].
#[derive(Clone, Copy, Debug)]
pub struct Keepdim<D>(D);

/// Reduces dimensions to size 1 instead of dropping them; PyTorch's argument `keepdim=True`.
///
/// ```
/// use sconce::{DType, Tensor, keepdim};
/// let x = Tensor::ones([2, 3], DType::F32)?;
/// assert_eq!(x.sum(1)?.shape(), [2]);
/// assert_eq!(x.sum(keepdim(1))?.shape(), [2, 1]);
/// assert_eq!(x.sum(keepdim(()))?.shape(), [1, 1]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn keepdim<D: DimsArg>(dims: D) -> Keepdim<D> {
    Keepdim(dims)
}

impl<D: DimsArg> DimsArg for Keepdim<D> {
    fn dims(&self) -> Option<SmallVec<[isize; 6]>> {
        self.0.dims()
    }

    fn keeps(&self) -> bool {
        true
    }
}

/// The shape of a scalar.
impl Sizes for () {
    fn sizes(&self) -> SmallVec<[isize; 6]> {
        SmallVec::new()
    }
}

impl DimsArg for () {
    fn dims(&self) -> Option<SmallVec<[isize; 6]>> {
        None
    }
}

impl<T: DimsArg> DimsArg for Option<T> {
    fn dims(&self) -> Option<SmallVec<[isize; 6]>> {
        self.as_ref().and_then(T::dims)
    }
}

macro_rules! sizes {
    ($([$($generic:tt)*] $t:ty, $self:ident => $list:expr;)*) => {
        $(impl<$($generic)*> Sizes for $t {
            fn sizes(&$self) -> SmallVec<[isize; 6]> {
                $list.iter().map(|&n| isize::try_from(n).unwrap_or(isize::MAX)).collect()
            }
        }

        impl<$($generic)*> DimsArg for $t {
            fn dims(&self) -> Option<SmallVec<[isize; 6]>> {
                Some(self.sizes())
            }
        })*
    };
}

macro_rules! sizes_of {
    ($($i:ty),*) => {
        $(sizes! {
            [] $i, self => [*self];
            [] [$i], self => self;
            [] &[$i], self => self;
            [const N: usize] [$i; N], self => self;
            [const N: usize] &[$i; N], self => self;
            [] Vec<$i>, self => self;
            [] &Vec<$i>, self => self;
        })*
    };
}

sizes_of!(i32, i64, isize, usize);
