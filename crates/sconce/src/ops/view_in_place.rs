//! Handles that become another view of their own memory: PyTorch's `squeeze_`, `t_` and their like.

use super::forms::over;
use crate::autograd::is_grad_enabled;
use crate::tensor::layout::{checked_numel, contiguous_strides, infer_shape};
use crate::tensor::scalar::Scalar;
use crate::tensor::sizes::{DimsArg, Sizes};
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// Refuses what may not become a view of itself while recording.
fn check_free(op: &str, x: &Tensor) -> Result<()> {
    if x.requires_grad() && x.is_leaf() && is_grad_enabled() {
        return Err(Error::autograd(format!(
            "{op}: {} is a leaf that requires grad: change it under no_grad",
            x.describe()
        )));
    }
    Ok(())
}

macro_rules! becoming {
    ($($(#[$doc:meta])* $inplace:ident $op:ident ($($param:ident: $ty:ty),*);)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// Only this handle changes: others of the same tensor keep their shape and see the same memory.
                ///
                /// # Errors
                ///
                #[doc = concat!("As [`", stringify!($op), "`](Self::", stringify!($op),
                    "); also if this is a leaf that requires grad and the change would be recorded.")]
                pub fn $inplace(&mut self $(, $param: $ty)*) -> Result<()> {
                    check_free(stringify!($inplace), self)?;
                    *self = self.$op($($param),*)?;
                    Ok(())
                }
            )*
        }
    };
}

becoming! {
    /// [`squeeze`](Self::squeeze) of this handle itself.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let mut x = Tensor::zeros([1, 3, 1], DType::F32)?;
    /// x.squeeze_(0)?;
    /// assert_eq!(x.shape(), [3, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    squeeze_ squeeze(dims: impl DimsArg);

    /// [`unsqueeze`](Self::unsqueeze) of this handle itself.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let mut x = Tensor::zeros([3], DType::F32)?;
    /// x.unsqueeze_(0)?;
    /// assert_eq!(x.shape(), [1, 3]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    unsqueeze_ unsqueeze(dim: isize);

    /// [`transpose`](Self::transpose) of this handle itself.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let mut x = Tensor::zeros([2, 3, 4], DType::F32)?;
    /// x.transpose_(0, -1)?;
    /// assert_eq!(x.shape(), [4, 3, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    transpose_ transpose(a: isize, b: isize);

    /// [`t`](Self::t) of this handle itself.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let mut x = Tensor::zeros([2, 3], DType::F32)?;
    /// x.t_()?;
    /// assert_eq!(x.shape(), [3, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    t_ t();

    /// [`as_strided`](Self::as_strided) of this handle itself.
    ///
    /// ```
    /// let mut x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4], [4])?;
    /// x.as_strided_([2, 2], [1, 1], 1)?;
    /// assert_eq!(x.to_vec::<i64>()?, [2, 3, 3, 4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    as_strided_ as_strided(shape: impl Sizes, strides: impl Sizes, offset: usize);
}

impl Tensor {
    /// [`addbmm`](Self::addbmm) in place; a tensor that broadcasts becomes as large as the sum, as in PyTorch.
    ///
    /// # Errors
    ///
    /// As [`addbmm`](Self::addbmm); also if this may not be changed while recording.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let mut x = Tensor::ones([1], DType::F32)?;
    /// let a = Tensor::ones([3, 2, 2], DType::F32)?;
    /// x.addbmm_(&a, &a, 1, 1)?;
    /// assert_eq!((x.shape(), x.to_vec::<f32>()?), (&[2, 2][..], vec![7.0; 4]));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn addbmm_(
        &mut self,
        a: &Tensor,
        b: &Tensor,
        beta: impl Into<Scalar>,
        alpha: impl Into<Scalar>,
    ) -> Result<()> {
        const OP: &str = "addbmm_";
        let (beta, alpha) = (beta.into(), alpha.into());
        if let ([_, m, _], [_, _, n]) = (a.shape(), b.shape())
            && self.shape() != [*m, *n]
        {
            check_free(OP, self)?;
            *self = self.addbmm(a, b, beta, alpha)?;
            return Ok(());
        }
        over(OP, self, |x| x.addbmm(a, b, beta, alpha))
    }

    /// Gives this handle another shape over its memory from its first element on, whatever its strides were, and more
    /// memory if that is too small: the new elements are 0. PyTorch's `resize_`.
    ///
    /// Only this handle changes; other handles of the same tensor keep their shape, and their memory if more was needed.
    ///
    /// # Errors
    ///
    /// If a size is negative, the tensor requires grad, or there is not enough memory.
    ///
    /// ```
    /// let mut x = sconce::Tensor::from_vec(vec![1i64, 2, 3, 4], [4])?;
    /// x.resize_([2, 1])?;
    /// assert_eq!((x.shape(), x.to_vec::<i64>()?), (&[2, 1][..], vec![1, 2]));
    /// x.resize_([6])?;
    /// assert_eq!(x.to_vec::<i64>()?, [1, 2, 3, 4, 0, 0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn resize_(&mut self, shape: impl Sizes) -> Result<()> {
        const OP: &str = "resize_";
        let sizes = shape.sizes();
        if self.requires_grad() {
            return Err(Error::autograd(format!("{OP}: {} requires grad: detach it", self.describe())));
        }
        if let Some(n) = sizes.iter().find(|&&n| n < 0) {
            return Err(Error::shape(format!("{OP}: sizes must not be negative, found {n} in {sizes:?}")));
        }
        let shape: Dims = sizes.iter().map(|&n| n as usize).collect();
        let wanted = checked_numel(&shape)?;
        let held = self.storage().len() / self.dtype().size();
        let start = self.storage_offset().min(held);
        if wanted > held - start {
            let memory = Tensor::zeros([wanted], self.dtype())?;
            let old = self.as_strided([held - start], [1], start)?;
            memory.narrow(0, 0, held - start)?.copy_(&old)?;
            *self = memory.view(infer_shape(OP, &sizes, wanted)?.as_slice())?;
            return Ok(());
        }
        *self = self.as_strided(shape.as_slice(), contiguous_strides(&shape).as_slice(), start)?;
        Ok(())
    }
}
