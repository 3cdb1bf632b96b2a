//! In-place forms of operations that compute a new tensor first.

use super::index::Reduce;
use crate::tensor::Tensor;
use crate::tensor::scalar::{Operand, Scalar};
use crate::{Error, Result};

/// Writes the value of an operation over its first operand, if shape and dtype allow it.
///
/// What the operation keeps for its gradient is a copy of the operand, which then changes.
pub(super) fn over(op: &str, x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<()> {
    let result = if x.requires_grad() { f(&x.copy()?)? } else { f(x)? };
    if result.dtype().category() > x.dtype().category() {
        return Err(Error::dtype(format!(
            "{op}: the result is {}, which a {} tensor cannot hold",
            result.dtype(),
            x.dtype()
        )));
    }
    if result.shape() != x.shape() {
        return Err(Error::shape(format!(
            "{op}: the result of shape {:?} does not fit {:?}",
            result.shape(),
            x.shape()
        )));
    }
    x.copy_(&result)
}

macro_rules! in_place_forms {
    ($($op:ident, $inplace:ident ($($param:ident: $ty:ty),*);)*) => {
        impl Tensor {
            $(
                #[doc = concat!("[`", stringify!($op), "`](Self::", stringify!($op), ") in place.")]
                ///
                /// # Errors
                ///
                /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be
                /// changed while recording.
                pub fn $inplace(&self $(, $param: $ty)*) -> Result<()> {
                    over(stringify!($inplace), self, |x| x.$op($($param),*))
                }
            )*
        }
    };
}

macro_rules! scaled_forms {
    ($($op:ident, $inplace:ident;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("[`", stringify!($op), "`](Self::", stringify!($op), ") in place.")]
                ///
                /// # Errors
                ///
                /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be
                /// changed while recording.
                pub fn $inplace<'a>(&self, other: impl Into<Operand<'a>>, alpha: impl Into<Scalar>) -> Result<()> {
                    let (other, alpha) = (other.into(), alpha.into());
                    over(stringify!($inplace), self, |x| x.$op(other, alpha))
                }
            )*
        }
    };
}

scaled_forms! {
    add_scaled, add_scaled_;
    sub_scaled, sub_scaled_;
}

macro_rules! product_forms {
    ($($op:ident, $inplace:ident;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("[`", stringify!($op), "`](Self::", stringify!($op), ") in place.")]
                ///
                /// # Errors
                ///
                /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be
                /// changed while recording.
                pub fn $inplace(
                    &self,
                    a: &Tensor,
                    b: &Tensor,
                    beta: impl Into<Scalar>,
                    alpha: impl Into<Scalar>,
                ) -> Result<()> {
                    let (beta, alpha) = (beta.into(), alpha.into());
                    over(stringify!($inplace), self, |x| x.$op(a, b, beta, alpha))
                }
            )*
        }
    };
}

product_forms! {
    addmm, addmm_;
    addmv, addmv_;
    addr, addr_;
    baddbmm, baddbmm_;
}

macro_rules! in_place_forms_with_operand {
    ($($op:ident, $inplace:ident;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("[`", stringify!($op), "`](Self::", stringify!($op), ") in place.")]
                ///
                /// # Errors
                ///
                /// As out of place; also if the result does not fit this tensor's shape and dtype, or it may not be
                /// changed while recording.
                pub fn $inplace<'a>(&self, other: impl Into<Operand<'a>>) -> Result<()> {
                    let other = other.into();
                    over(stringify!($inplace), self, |x| x.$op(other))
                }
            )*
        }
    };
}

in_place_forms! {
    cumsum, cumsum_(dim: isize);
    cumprod, cumprod_(dim: isize);
    tril, tril_(diagonal: isize);
    triu, triu_(diagonal: isize);
    logical_and, logical_and_(other: &Tensor);
    logical_or, logical_or_(other: &Tensor);
    logical_xor, logical_xor_(other: &Tensor);
    logical_not, logical_not_();
    bitwise_not, bitwise_not_();
    sgn, sgn_();
    mvlgamma, mvlgamma_(p: usize);
    ldexp, ldexp_(other: &Tensor);
    nextafter, nextafter_(other: &Tensor);
    igamma, igamma_(x: &Tensor);
    igammac, igammac_(x: &Tensor);
    round_decimals, round_decimals_(decimals: i32);
    renorm, renorm_(p: f64, dim: isize, maxnorm: f64);
    nan_to_num, nan_to_num_(nan: f64, posinf: Option<f64>, neginf: Option<f64>);
    index_put, index_put_(indices: &[Option<Tensor>], values: &Tensor, accumulate: bool);
    masked_scatter, masked_scatter_(mask: &Tensor, source: &Tensor);
    put, put_(index: &Tensor, source: &Tensor, accumulate: bool);
    scatter_reduce, scatter_reduce_(dim: isize, index: &Tensor, source: &Tensor, reduce: Reduce, include_self: bool);
    index_reduce, index_reduce_(dim: isize, index: &Tensor, source: &Tensor, reduce: Reduce, include_self: bool);
}

in_place_forms_with_operand! {
    float_power, float_power_;
    eq, eq_;
    ne, ne_;
    lt, lt_;
    le, le_;
    gt, gt_;
    ge, ge_;
    bitwise_left_shift, bitwise_left_shift_;
    bitwise_right_shift, bitwise_right_shift_;
}
