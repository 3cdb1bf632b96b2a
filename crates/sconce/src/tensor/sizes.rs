//! What may be written where a shape or a list of dimensions is asked for.

use smallvec::SmallVec;

use super::Dims;
use crate::{Error, Result};

/// Sizes or dimensions that may be negative: `[2, -1]`, `&[usize]`, `Vec<i64>`, a single number, `()` for no dimensions.
///
/// Implemented for single integers and for arrays, slices and vectors of `i32`, `i64`, `isize` and `usize`.
pub trait Sizes {
    /// The numbers as signed integers.
    fn sizes(&self) -> SmallVec<[isize; 6]>;
}

/// How many elements a tensor of some sizes has.
pub(crate) fn count(sizes: &[usize]) -> u64 {
    sizes.iter().map(|&n| n as u64).product()
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

/// `N` sizes from signed numbers, of which one stands for all: what programs get from files, command lines and other
/// languages. `what` names the operation and its argument.
///
/// # Errors
///
/// If a number is negative, or they are neither `N` nor one.
///
/// ```
/// use sconce::sizes_of;
/// assert_eq!(sizes_of::<2>("conv2d: stride", [3i64])?, [3, 3]);
/// assert!(sizes_of::<2>("conv2d: stride", [-1i64, 1]).unwrap_err().to_string().contains("conv2d: stride"));
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn sizes_of<const N: usize>(what: &str, numbers: impl Sizes) -> Result<[usize; N]> {
    let sizes = sizes_from(what, numbers)?;
    match sizes[..] {
        [one] => Ok([one; N]),
        _ => <[usize; N]>::try_from(&sizes[..])
            .map_err(|_| Error::argument(format!("{what}: expected {N} sizes or one, found {sizes:?}"))),
    }
}

/// Any number of sizes from signed numbers, as [`sizes_of`].
///
/// # Errors
///
/// If a number is negative.
///
/// ```
/// assert_eq!(sconce::sizes_from("split: sections", [3i64, 0])?.as_slice(), [3, 0]);
/// assert!(sconce::sizes_from("split: sections", [-3i64]).is_err());
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn sizes_from(what: &str, numbers: impl Sizes) -> Result<Dims> {
    let numbers = numbers.sizes();
    if let Some(n) = numbers.iter().find(|&&n| n < 0) {
        return Err(Error::argument(format!(
            "{what}: expected no negative number, found {n} in {numbers:?}"
        )));
    }
    Ok(numbers.iter().map(|&n| n as usize).collect())
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
