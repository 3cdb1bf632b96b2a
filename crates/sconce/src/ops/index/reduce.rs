//! Scattering that combines what meets at one place.

use smallvec::smallvec;

use super::elements::{Around, combine_at};
use super::gather::{leading, per_element};
use super::slices::{check_slices, per_slice};
use super::{index, same_dtype};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::{Kind, kind};
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// How [`scatter_reduce`](Tensor::scatter_reduce) combines what meets at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// The sum.
    Sum,
    /// The product.
    Prod,
    /// The arithmetic mean; of integers rounded down.
    Mean,
    /// The greatest, NaN if there is one.
    Amax,
    /// The least, NaN if there is one.
    Amin,
}

#[derive(Debug)]
struct ScatterReduce {
    name: &'static str,
    dim: usize,
    reduce: Reduce,
    include_self: bool,
}

/// `T`'s operations for [`combine_at`].
macro_rules! combine {
    ($T:ty, $self:ident, $x:ident, $add:expr, $mul:expr, $greater:expr, $low:expr, $high:expr) => {{
        let (add, mul, greater) = ($add, $mul, $greater);
        let start = match $self.reduce {
            Reduce::Sum | Reduce::Mean => 0 as $T,
            Reduce::Prod => 1 as $T,
            Reduce::Amax => $low,
            Reduce::Amin => $high,
        };
        let start = (!$self.include_self).then_some(start);
        let place =
            (Around::new($x[0].shape(), $self.dim), $x[2].shape().get($self.dim).copied().unwrap_or(1));
        match $self.reduce {
            Reduce::Sum | Reduce::Mean => combine_at::<$T>($self.name, $x, place, start, add),
            Reduce::Prod => combine_at::<$T>($self.name, $x, place, start, mul),
            Reduce::Amax => {
                combine_at::<$T>($self.name, $x, place, start, move |a, b| if greater(b, a) { b } else { a })
            }
            Reduce::Amin => {
                combine_at::<$T>(
                    $self.name,
                    $x,
                    place,
                    start,
                    move |a, b| {
                        if greater(a, b) || b != b { b } else { a }
                    },
                )
            }
        }
    }};
}

impl Op for ScatterReduce {
    fn name(&self) -> &'static str {
        self.name
    }

    #[allow(clippy::eq_op, reason = "NaN is what differs from itself")]
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let x: [&Tensor; 3] = [x[0], x[1], x[2]];
        let combined = match kind(self.name, x[0].dtype())? {
            Kind::F32 => combine!(
                f32,
                self,
                x,
                |a, b| a + b,
                |a, b| a * b,
                |b: f32, a: f32| b > a || b.is_nan() && !a.is_nan(),
                f32::NEG_INFINITY,
                f32::INFINITY
            ),
            Kind::F64 => combine!(
                f64,
                self,
                x,
                |a, b| a + b,
                |a, b| a * b,
                |b: f64, a: f64| b > a || b.is_nan() && !a.is_nan(),
                f64::NEG_INFINITY,
                f64::INFINITY
            ),
            Kind::I64 => combine!(
                i64,
                self,
                x,
                i64::wrapping_add,
                i64::wrapping_mul,
                |b: i64, a: i64| b > a,
                i64::MIN,
                i64::MAX
            ),
        }?;
        if self.reduce != Reduce::Mean {
            return combined.to(x[0].dtype());
        }
        let count = self.count(x[1], x[2], x[0].shape(), DType::I64)?;
        let mean = if x[0].dtype().is_floating_point() {
            combined.div(&count)?
        } else {
            combined.floor_divide(&count)?
        };
        mean.to(x[0].dtype())
    }

    fn saves(&self, _: &[bool]) -> Saves {
        match self.reduce {
            Reduce::Sum => Saves::input(1),
            Reduce::Mean => Saves::input(1).and(Saves::input(2)),
            _ => Saves::INPUTS.and(Saves::OUTPUT),
        }
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let index = saved.input(1)?;
        let at = |t: &Tensor| t.gather(self.dim as isize, &index);
        let (x, source) = match self.reduce {
            Reduce::Sum => (grad.clone(), at(grad)?),
            Reduce::Mean => {
                let count = self.count(&index, &saved.input(2)?, grad.shape(), grad.dtype())?;
                let share = grad.div(&count)?;
                (share.clone(), at(&share)?)
            }
            Reduce::Prod => self.product_backward(saved, grad, &index)?,
            Reduce::Amax | Reduce::Amin => {
                let (x, source, y) =
                    (saved.input(0)?.detach(), saved.input(2)?.detach(), saved.output()?.detach());
                let from_x = x.eq(&y)?.to(grad.dtype())?;
                let from_source = source.eq(&at(&y)?)?.to(grad.dtype())?;
                let count = from_x.scatter_add(self.dim as isize, &index, &from_source)?;
                let share = grad.div(&count)?;
                (from_x.mul(&share)?, from_source.mul(&at(&share)?)?)
            }
        };
        let x = if self.include_self { x } else { x.scatter(self.dim as isize, &index, 0)? };
        Ok(smallvec![saved.needs(0).then_some(x), None, saved.needs(2).then_some(source)])
    }
}

impl ScatterReduce {
    /// How many elements make each mean, at least 1.
    fn count(&self, index: &Tensor, source: &Tensor, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let start = Tensor::full(shape, i64::from(self.include_self), dtype)?;
        let ones = Tensor::ones(source.shape(), dtype)?;
        start.scatter_add(self.dim as isize, index, &ones)?.clamp_min(1)
    }

    /// The gradients of a product: where a factor is 0 it cannot be divided out.
    fn product_backward(&self, saved: &Saved<'_>, grad: &Tensor, index: &Tensor) -> Result<(Tensor, Tensor)> {
        let (x, source, y) = (saved.input(0)?, saved.input(2)?, saved.output()?);
        let d = self.dim as isize;
        let product = |x: &Tensor, source: &Tensor| {
            let op = Self { name: self.name, ..*self };
            apply(op, &[x, index, source])
        };
        let x_filled = x.masked_fill(&x.detach().eq(0)?, 1)?;
        let x_grad = grad.mul(&product(&x_filled, &source)?)?.div(&x_filled)?;
        let zero = source.detach().eq(0)?;
        let zeros = x.detach().zeros_like()?.scatter_add(d, index, &zero.to(x.dtype())?)?.gather(d, index)?;
        let single = zero.logical_and(&zeros.eq(1)?)?;
        if is_grad_enabled() && zeros.gt(1)?.any(())?.item()? != 0.0 {
            return Err(Error::unsupported(format!(
                "{}: no second derivative of a product with more than one zero",
                self.name
            )));
        }
        let without_zeros = product(&x, &source.masked_fill(&single, 1)?)?;
        let beside_zero = grad.mul(&without_zeros)?.gather(d, index)?;
        let divided = grad.mul(&y)?.gather(d, index)?.div(&source.masked_fill(&zero, 1)?)?;
        Ok((x_grad, beside_zero.where_(&single, &divided)?))
    }
}

impl Tensor {
    /// A copy in which the elements of `source` are combined with those at indices along a dimension.
    ///
    /// Without `include_self` an element that meets others does not count itself. The index may be smaller than both
    /// tensors. Elements equal to a greatest or least one share its gradient.
    ///
    /// # Errors
    ///
    /// As [`scatter`](Self::scatter).
    ///
    /// ```
    /// use sconce::{Reduce, Tensor};
    /// let x = Tensor::from_vec(vec![1i64, 2], [2])?;
    /// let index = Tensor::from_vec(vec![0i64, 0, 1], [3])?;
    /// let source = Tensor::from_vec(vec![5i64, 3, -4], [3])?;
    /// assert_eq!(x.scatter_reduce(0, &index, &source, Reduce::Amax, true)?.to_vec::<i64>()?, [5, 2]);
    /// assert_eq!(x.scatter_reduce(0, &index, &source, Reduce::Mean, false)?.to_vec::<i64>()?, [4, -4]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn scatter_reduce(
        &self,
        dim: isize,
        index: &Tensor,
        source: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<Tensor> {
        const OP: &str = "scatter_reduce";
        let (d, index) = per_element(OP, self, dim, index)?;
        same_dtype(OP, self, source)?;
        if index.numel() == 0 {
            return self.copy();
        }
        if source.dim().max(1) != index.dim().max(1) {
            return Err(Error::shape(format!(
                "{OP}: a source of shape {:?} must have as many dimensions as the index {:?}",
                source.shape(),
                index.shape()
            )));
        }
        let source = leading(OP, source, &index, None)?.reshape(index.shape())?;
        self.with_leading(d, &index, |part| {
            apply(ScatterReduce { name: OP, dim: d, reduce, include_self }, &[part, &index, &source])
        })
    }

    /// A copy in which the slices of `source` are combined with those of a dimension at a vector of indices.
    ///
    /// See [`scatter_reduce`](Self::scatter_reduce).
    ///
    /// # Errors
    ///
    /// As [`index_add`](Self::index_add); also for [`Reduce::Sum`], which that is.
    ///
    /// ```
    /// use sconce::{Reduce, Tensor};
    /// let x = Tensor::from_vec(vec![1i64, 2], [2])?;
    /// let index = Tensor::from_vec(vec![0i64, 0], [2])?;
    /// let source = Tensor::from_vec(vec![5i64, 3], [2])?;
    /// assert_eq!(x.index_reduce(0, &index, &source, Reduce::Prod, true)?.to_vec::<i64>()?, [15, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn index_reduce(
        &self,
        dim: isize,
        index: &Tensor,
        source: &Tensor,
        reduce: Reduce,
        include_self: bool,
    ) -> Result<Tensor> {
        const OP: &str = "index_reduce";
        if reduce == Reduce::Sum {
            return Err(Error::argument(format!(
                "{OP}: expected prod, mean, amax or amin, found sum: use index_add"
            )));
        }
        let (d, index) = per_slice(OP, self, dim, index)?;
        check_slices(OP, self, d, &index, source)?;
        if index.numel() == 0 {
            return self.copy();
        }
        let source =
            if source.dim() == self.dim() { source.clone() } else { source.reshape(index.shape())? };
        let mut apart = Dims::from_elem(1, self.dim());
        if let Some(size) = apart.get_mut(d) {
            *size = index.numel();
        }
        let index = index.reshape(apart.as_slice())?.expand(source.shape())?.contiguous()?;
        apply(ScatterReduce { name: OP, dim: d, reduce, include_self }, &[self, &index, &source])
    }
}

const D: (f64, f64) = (0.5, 2.0);

fn scattered(reduce: Reduce, include_self: bool) -> Sample {
    Sample::new(&[(&[3, 4], D), (&[3, 3], D)], move |x| {
        x[0].scatter_reduce(0, &index(&[0, 2, 2, 1, 2, 0], &[2, 3])?, &x[1], reduce, include_self)
    })
    .with_inplace(move |x| {
        x[0].scatter_reduce_(0, &index(&[0, 2, 2, 1, 2, 0], &[2, 3])?, &x[1], reduce, include_self)
    })
}

fn combined(reduce: Reduce, include_self: bool) -> Sample {
    Sample::new(&[(&[2, 3, 4], D), (&[2, 3, 4], D)], move |x| {
        x[0].index_reduce(1, &index(&[2, 0, 2], &[3])?, &x[1], reduce, include_self)
    })
}

/// For the generic tests.
pub(in crate::ops) static INDEX_REDUCTIONS: &[OpInfo] = &[
    OpInfo {
        name: "scatter_reduce",
        samples: || {
            let all = [Reduce::Sum, Reduce::Prod, Reduce::Mean, Reduce::Amax, Reduce::Amin];
            all.into_iter().flat_map(|r| [scattered(r, true), scattered(r, false)]).collect()
        },
    },
    OpInfo {
        name: "index_reduce",
        samples: || {
            let all = [Reduce::Prod, Reduce::Mean, Reduce::Amax, Reduce::Amin];
            all.into_iter().flat_map(|r| [combined(r, true), combined(r, false)]).collect()
        },
    },
];
