//! Reductions.
use crate::tensor::Tensor;
use crate::tensor::sizes::{DimsArg, Sizes};
use crate::{Error, Result};
impl Tensor {
    /// .
    pub fn sum(&self, _d: impl DimsArg) -> Result<Tensor> {
        Err(Error::unsupported("sum"))
    }
    /// .
    pub fn all(&self, _d: impl DimsArg) -> Result<Tensor> {
        Err(Error::unsupported("sum"))
    }
    /// .
    pub fn sum_to_size(&self, _d: impl Sizes) -> Result<Tensor> {
        Err(Error::unsupported("sum"))
    }
    /// .
    pub fn index_add(&self, _d: isize, _i: &Tensor, _s: &Tensor) -> Result<Tensor> {
        Err(Error::unsupported("sum"))
    }
    /// .
    pub fn clamp_min(&self, _d: i32) -> Result<Tensor> {
        Err(Error::unsupported("sum"))
    }
}
