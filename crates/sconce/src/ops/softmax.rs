//! Softmax and its logarithm.

use sconce_kernels::Reduction;
use smallvec::smallvec;

use super::axes::Axes;
use super::driver;
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::Result;
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::tensor::layout::wrap_dim;
use crate::tensor::sizes::keepdim;
use crate::tensor::{DType, Tensor};

#[derive(Debug)]
struct Softmax {
    dim: usize,
    log: bool,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let x = x[0];
        if x.numel() == 0 {
            return x.copy();
        }
        let name = self.name();
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let axes = Axes::one(self.dim, x.dim(), true);
        let greatest = driver::reduce(name, Reduction::Max, x, &axes, dtype)?;
        let y = x.to(dtype)?.sub(&greatest)?;
        if self.log {
            let sum = driver::reduce(name, Reduction::Sum, &y.exp()?, &axes, dtype)?;
            y.sub_(&sum.log()?)?;
        } else {
            y.exp_()?;
            y.div_(&driver::reduce(name, Reduction::Sum, &y, &axes, dtype)?)?;
        }
        y.to(x.dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::OUTPUT
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let y = saved.output()?;
        let dim = keepdim(self.dim);
        let gradient = if self.log {
            grad.sub(&y.exp()?.mul(&grad.sum(dim)?)?)?
        } else {
            let weighted = grad.mul(&y)?;
            weighted.sub(&y.mul(&weighted.sum(dim)?)?)?
        };
        Ok(smallvec![Some(gradient)])
    }
}

impl Tensor {
    /// eˣ / Σ eˣ along a dimension.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist or the dtype is not floating point.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![5.0f32, 5.0], [1, 2])?;
    /// assert_eq!(x.softmax(-1)?.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn softmax(&self, dim: isize) -> Result<Tensor> {
        float_dtype("softmax", self)?;
        apply(Softmax { dim: wrap_dim("softmax", dim, self.dim())?, log: false }, &[self])
    }

    /// The logarithm of [`softmax`](Self::softmax), without overflow.
    ///
    /// # Errors
    ///
    /// As [`softmax`](Self::softmax).
    pub fn log_softmax(&self, dim: isize) -> Result<Tensor> {
        float_dtype("log_softmax", self)?;
        apply(Softmax { dim: wrap_dim("log_softmax", dim, self.dim())?, log: true }, &[self])
    }
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (-2.0, 2.0))], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static SOFTMAXES: &[OpInfo] = &[
    OpInfo { name: "softmax", samples: || vec![sample(|x| x.softmax(1)), sample(|x| x.softmax(-1))] },
    OpInfo {
        name: "log_softmax",
        samples: || vec![sample(|x| x.log_softmax(0)), sample(|x| x.log_softmax(-1))],
    },
];
