//! Softmax and its logarithm.

use sconce_kernels::SoftmaxKind;
use smallvec::smallvec;

use super::driver::layers;
use super::reduce::float_dtype;
use super::registry::{OpInfo, Sample};
use crate::Result;
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::tensor::Tensor;
use crate::tensor::layout::wrap_dim;
use crate::tensor::sizes::keepdim;

#[derive(Debug)]
struct Softmax {
    dim: usize,
    log: bool,
}

impl Softmax {
    fn kind(&self) -> SoftmaxKind {
        if self.log { SoftmaxKind::LogSoftmax } else { SoftmaxKind::Softmax }
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        layers::softmax(self.name(), self.kind(), x[0], self.dim)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::OUTPUT
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let y = saved.output()?;
        if !is_grad_enabled() {
            return Ok(smallvec![Some(layers::softmax_backward(
                self.name(),
                self.kind(),
                &y,
                grad,
                self.dim
            )?)]);
        }
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
