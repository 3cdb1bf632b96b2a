//! Reductions: sums, products, extremes, and where they are.
//!
//! Dimensions are given as `()` for all, a number, or a list; [`keepdim`](crate::keepdim) around them keeps them with
//! size 1.

use sconce_kernels::Reduction;
use smallvec::smallvec;

use super::axes::Axes;
use super::driver::{self, Kind, kind};
use super::index::at_places;
use super::registry::{OpInfo, Sample};
use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::tensor::dtype::Category;
use crate::tensor::layout::wrap_dim;
use crate::tensor::sizes::{DimsArg, Sizes, keepdim};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// A reduction whose result is a number like its elements.
#[derive(Debug)]
struct Reduce {
    name: &'static str,
    kind: Reduction,
    axes: Axes,
    /// Whether no dimension was named.
    whole: bool,
    dtype: DType,
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        driver::reduce(self.name, self.kind, x[0], &self.axes, self.dtype)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        match self.kind {
            Reduction::Sum | Reduction::Mean => Saves::NONE,
            _ => Saves::INPUTS.and(Saves::OUTPUT),
        }
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let shape = saved.shape(0)?;
        let grad = self.axes.restore(grad, &shape)?;
        let gradient = match self.kind {
            Reduction::Sum => grad.expand(shape.as_slice())?,
            Reduction::Mean => grad.div(self.axes.count(&shape) as f64)?.expand(shape.as_slice())?,
            Reduction::Prod => self.product_backward(saved, &grad)?,
            _ => {
                let x = saved.input(0)?;
                let y = self.axes.restore(&saved.output()?, &shape)?;
                let extreme = self.same(&x.detach(), &y.detach())?.to(grad.dtype())?;
                let count = extreme.sum(keepdim(self.axes.dims().as_slice()))?;
                grad.div(&count)?.mul(&extreme)?
            }
        };
        Ok(smallvec![Some(gradient)])
    }
}

impl Reduce {
    /// Where an element is the extreme one. As in PyTorch NaN is itself only to `max` and `min` of a whole tensor; the
    /// others have no such element then, and a gradient of NaN.
    fn same(&self, x: &Tensor, extreme: &Tensor) -> Result<Tensor> {
        let same = x.eq(extreme)?;
        if matches!(self.name, "max" | "min") {
            return same.logical_or(&x.isnan()?.logical_and(&extreme.isnan()?)?);
        }
        Ok(same)
    }

    fn product_backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Tensor> {
        let x = saved.input(0)?;
        let y = self.axes.restore(&saved.output()?, x.shape())?;
        if x.detach().ne(0)?.all(())?.item()? != 0.0 {
            return grad.mul(&y)?.div(&x);
        }
        grad.mul(&others(&x, &self.axes, self.whole)?)
    }
}

/// For each element the product of all others, where there are zeros to divide by. Of a `whole` tensor two zeros make
/// every product 0, whatever else there is; along a dimension NaN and infinities prevail, as in PyTorch.
fn others(x: &Tensor, axes: &Axes, whole: bool) -> Result<Tensor> {
    let dims = axes.dims();
    let rank = x.dim();
    // The reduced dimensions last and merged to one.
    let order: Vec<usize> = (0..rank).filter(|d| !dims.contains(d)).chain(dims.iter().copied()).collect();
    let moved = x.permute(order.as_slice())?;
    let outer: usize = axes.outer(x.shape()).iter().product();
    let n = axes.count(x.shape());
    let rows = moved.reshape([outer, n])?;
    let products = if is_grad_enabled() {
        // Recorded: the derivative of this is found by the same rules. Takes n² elements.
        let diagonal = Tensor::eye(n, DType::Bool)?;
        rows.unsqueeze(1)?.expand([outer, n, n])?.masked_fill(&diagonal, 1)?.prod(2)?
    } else {
        let rows = rows.to(DType::F64)?.contiguous()?;
        rows.with_slice(|rows: &[f64]| {
            driver::build("prod", &[outer, n], |out: &mut [f64]| {
                for (x, out) in rows.chunks_exact(n.max(1)).zip(out.chunks_exact_mut(n.max(1))) {
                    if whole && x.iter().filter(|&&x| x == 0.0).count() > 1 {
                        out.fill(0.0);
                        continue;
                    }
                    let mut before = 1.0;
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = before;
                        before *= x;
                    }
                    let mut after = 1.0;
                    for (out, &x) in out.iter_mut().zip(x).rev() {
                        *out *= after;
                        after *= x;
                    }
                }
                Ok(())
            })
        })??
        .to(x.dtype())?
    };
    let mut inverse = vec![0usize; rank];
    for (i, &d) in order.iter().enumerate() {
        inverse[d] = i;
    }
    products.reshape(moved.shape())?.permute(inverse.as_slice())
}

/// The dtype of sums: integers become int64.
fn sum_dtype(op: &str, x: &Tensor) -> Result<DType> {
    Ok(if kind(op, x.dtype())? == Kind::I64 { DType::I64 } else { x.dtype() })
}

/// The dtype of a reduction that only floats have.
pub(crate) fn float_dtype(op: &str, x: &Tensor) -> Result<DType> {
    match x.dtype().category() {
        Category::Float => kind(op, x.dtype()).map(|_| x.dtype()),
        _ => Err(Error::dtype(format!("{op}: needs a floating point dtype, found {}", x.dtype()))),
    }
}

impl Tensor {
    fn reduced(
        &self,
        name: &'static str,
        kind: Reduction,
        dims: &impl DimsArg,
        dtype: DType,
    ) -> Result<Tensor> {
        let axes = Axes::new(name, self, dims)?;
        if matches!(kind, Reduction::Max | Reduction::Min) {
            axes.require_elements(name, self.shape())?;
        }
        apply(Reduce { name, kind, axes, whole: dims.dims().is_none(), dtype }, &[self])
    }

    /// The sum; integers and bools are summed as int64.
    ///
    /// # Errors
    ///
    /// If a dimension does not exist or is named twice, or the dtype is only stored.
    ///
    /// ```
    /// use sconce::{Tensor, keepdim};
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.sum(())?.item()?, 10.0);
    /// assert_eq!(x.sum(-1)?.to_vec::<f32>()?, [3.0, 7.0]);
    /// assert_eq!(x.sum(keepdim([0]))?.shape(), [1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn sum(&self, dims: impl DimsArg) -> Result<Tensor> {
        self.reduced("sum", Reduction::Sum, &dims, sum_dtype("sum", self)?)
    }

    /// The arithmetic mean; NaN of no elements.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum); also for dtypes that are not floating point.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 2.0, 6.0], [3])?;
    /// assert_eq!(x.mean(())?.item()?, 3.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn mean(&self, dims: impl DimsArg) -> Result<Tensor> {
        self.reduced("mean", Reduction::Mean, &dims, float_dtype("mean", self)?)
    }

    /// The product; integers and bools are multiplied as int64.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![2i64, 3, 4], [3])?;
    /// assert_eq!(x.prod(())?.item_i64()?, 24);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn prod(&self, dims: impl DimsArg) -> Result<Tensor> {
        self.reduced("prod", Reduction::Prod, &dims, sum_dtype("prod", self)?)
    }

    /// The greatest elements, NaN where there is one; equal ones share the gradient.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum); also where there are no elements.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 7.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.amax(0)?.to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn amax(&self, dims: impl DimsArg) -> Result<Tensor> {
        self.reduced("amax", Reduction::Max, &dims, self.dtype())
    }

    /// The least elements, NaN where there is one; equal ones share the gradient.
    ///
    /// # Errors
    ///
    /// As [`amax`](Self::amax).
    pub fn amin(&self, dims: impl DimsArg) -> Result<Tensor> {
        self.reduced("amin", Reduction::Min, &dims, self.dtype())
    }

    /// The least and the greatest elements.
    ///
    /// # Errors
    ///
    /// As [`amax`](Self::amax).
    pub fn aminmax(&self, dims: impl DimsArg) -> Result<(Tensor, Tensor)> {
        Ok((
            self.reduced("aminmax", Reduction::Min, &dims, self.dtype())?,
            self.reduced("aminmax", Reduction::Max, &dims, self.dtype())?,
        ))
    }

    /// The greatest element of all; PyTorch's `max()`. Of two tensors: [`maximum`](Self::maximum).
    ///
    /// # Errors
    ///
    /// If there are no elements.
    pub fn max(&self) -> Result<Tensor> {
        self.reduced("max", Reduction::Max, &(), self.dtype())
    }

    /// The least element of all; PyTorch's `min()`.
    ///
    /// # Errors
    ///
    /// If there are no elements.
    pub fn min(&self) -> Result<Tensor> {
        self.reduced("min", Reduction::Min, &(), self.dtype())
    }

    /// The greatest elements along a dimension and their indices; PyTorch's `max(dim)`.
    ///
    /// Of equal ones the first counts, and has the gradient.
    ///
    /// # Errors
    ///
    /// If it is not one dimension, does not exist, or has no elements.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 7.0, 3.0, 4.0], [2, 2])?;
    /// let (values, indices) = x.max_dim(1)?;
    /// assert_eq!(values.to_vec::<f32>()?, [7.0, 4.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 1]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn max_dim(&self, dim: impl DimsArg) -> Result<(Tensor, Tensor)> {
        self.extreme("max", Reduction::ArgMax, &dim)
    }

    /// The least elements along a dimension and their indices; PyTorch's `min(dim)`.
    ///
    /// # Errors
    ///
    /// As [`max_dim`](Self::max_dim).
    pub fn min_dim(&self, dim: impl DimsArg) -> Result<(Tensor, Tensor)> {
        self.extreme("min", Reduction::ArgMin, &dim)
    }

    fn extreme(&self, op: &str, kind: Reduction, dim: &impl DimsArg) -> Result<(Tensor, Tensor)> {
        let d = match dim.dims().as_deref() {
            Some([d]) => wrap_dim(op, *d, self.dim())?,
            other => return Err(Error::argument(format!("{op}: needs one dimension, found {other:?}"))),
        };
        let axes = Axes::new(op, self, dim)?;
        axes.require_elements(op, self.shape())?;
        let indices = driver::reduce(op, kind, self, &axes, DType::I64)?;
        Ok((at_places(self, d, &indices)?, indices))
    }

    /// The index of the first greatest (or NaN) element along a dimension, or of all, flattened, for `()`; int64.
    ///
    /// # Errors
    ///
    /// If there is more than one dimension, or no elements.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![1.0f32, 7.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.argmax(())?.item_i64()?, 1);
    /// assert_eq!(x.argmax(0)?.to_vec::<i64>()?, [1, 0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn argmax(&self, dim: impl DimsArg) -> Result<Tensor> {
        self.index_of("argmax", Reduction::ArgMax, &dim)
    }

    /// The index of the first least (or NaN) element.
    ///
    /// # Errors
    ///
    /// As [`argmax`](Self::argmax).
    pub fn argmin(&self, dim: impl DimsArg) -> Result<Tensor> {
        self.index_of("argmin", Reduction::ArgMin, &dim)
    }

    fn index_of(&self, op: &str, kind: Reduction, dim: &impl DimsArg) -> Result<Tensor> {
        if let Some(dims) = dim.dims()
            && dims.len() != 1
        {
            return Err(Error::argument(format!("{op}: needs one dimension or (), found {dims:?}")));
        }
        let axes = Axes::new(op, self, dim)?;
        axes.require_elements(op, self.shape())?;
        driver::reduce(op, kind, self, &axes, DType::I64)
    }

    /// Whether any element is true or not 0; NaN is not 0. The result is bool, or uint8 for uint8 as in PyTorch.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![0i64, 2], [2])?;
    /// assert!(x.any(())?.to_vec::<bool>()? == [true] && x.all(())?.to_vec::<bool>()? == [false]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn any(&self, dims: impl DimsArg) -> Result<Tensor> {
        driver::reduce("any", Reduction::Any, self, &Axes::new("any", self, &dims)?, truth(self))
    }

    /// Whether every element is true or not 0, which holds of none. The result is as [`any`](Self::any)'s.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    pub fn all(&self, dims: impl DimsArg) -> Result<Tensor> {
        driver::reduce("all", Reduction::All, self, &Axes::new("all", self, &dims)?, truth(self))
    }

    /// How many elements are not 0; int64.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    pub fn count_nonzero(&self, dims: impl DimsArg) -> Result<Tensor> {
        self.detach().ne(0)?.sum(dims)
    }

    /// The sum of everything that broadcasting this shape to the tensor's had repeated.
    ///
    /// # Errors
    ///
    /// If the shape does not broadcast to the tensor's.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let x = Tensor::ones([4, 2, 3], DType::F32)?;
    /// assert_eq!(x.sum_to_size([2, 1])?.to_vec::<f32>()?, [12.0, 12.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn sum_to_size(&self, shape: impl Sizes) -> Result<Tensor> {
        let shape = shape.sizes();
        if shape.is_empty() {
            return self.sum(());
        }
        let wrong =
            || Error::shape(format!("sum_to_size: shape {shape:?} does not broadcast to {:?}", self.shape()));
        let lead = self.dim().checked_sub(shape.len()).ok_or_else(wrong)?;
        let mut dims: Vec<usize> = (0..lead).collect();
        for (i, &n) in shape.iter().enumerate() {
            let size = self.shape()[lead + i] as isize;
            if n == 1 && size != 1 {
                dims.push(lead + i);
            } else if n != size {
                return Err(wrong());
            }
        }
        if dims.is_empty() {
            return Ok(self.clone());
        }
        self.sum(keepdim(dims))?.reshape(shape.as_slice())
    }
}

fn truth(x: &Tensor) -> DType {
    if x.dtype() == DType::U8 { DType::U8 } else { DType::Bool }
}

fn sample(call: fn(&Tensor) -> Result<Tensor>) -> Sample {
    Sample::new(&[(&[2, 3, 4], (0.5, 2.0))], move |x| call(&x[0]))
}

/// For the generic tests.
pub(crate) static REDUCTIONS: &[OpInfo] = &[
    OpInfo { name: "sum", samples: || vec![sample(|x| x.sum(())), sample(|x| x.sum(keepdim([0, -1])))] },
    OpInfo { name: "mean", samples: || vec![sample(|x| x.mean(())), sample(|x| x.mean(1))] },
    OpInfo {
        name: "prod",
        samples: || {
            vec![
                sample(|x| x.prod(1)),
                sample(|x| x.prod(())),
                // One zero, then two, among what is multiplied.
                sample(|x| {
                    x.mul(&Tensor::from_vec(vec![0.0, 1.0, 1.0], [3, 1])?.to(x.dtype())?)?.prod([1, 2])
                }),
                sample(|x| x.mul(&Tensor::from_vec(vec![0.0, 1.0, 0.0], [3, 1])?.to(x.dtype())?)?.prod(1)),
            ]
        },
    },
    OpInfo { name: "amax", samples: || vec![sample(|x| x.amax([0, 2])), sample(|x| x.amax(keepdim(1)))] },
    OpInfo { name: "amin", samples: || vec![sample(|x| x.amin(()))] },
    OpInfo {
        name: "max",
        samples: || {
            vec![
                sample(Tensor::max),
                sample(|x| Ok(x.max_dim(1)?.0)),
                sample(|x| Ok(x.max_dim(keepdim(-1))?.0)),
            ]
        },
    },
    OpInfo { name: "min", samples: || vec![sample(Tensor::min), sample(|x| Ok(x.min_dim(0)?.0))] },
    OpInfo { name: "argmax", samples: || vec![sample(|x| x.argmax(1)).without_gradient()] },
    OpInfo { name: "argmin", samples: || vec![sample(|x| x.argmin(())).without_gradient()] },
    OpInfo { name: "any", samples: || vec![sample(|x| x.gt(1)?.any(2)).without_gradient()] },
    OpInfo { name: "all", samples: || vec![sample(|x| x.gt(1)?.all(())).without_gradient()] },
    OpInfo { name: "sum_to_size", samples: || vec![sample(|x| x.sum_to_size([3, 1]))] },
];
