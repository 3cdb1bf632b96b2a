//! Which dimensions an operation reduces.

use std::ops::Range;

use smallvec::SmallVec;

use crate::tensor::layout::wrap_dim;
use crate::tensor::sizes::DimsArg;
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// The most dimensions that a reduction takes, as in PyTorch.
const MAX_RANK: usize = 64;

/// The dimensions that a reduction takes of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct Axes {
    reduced: SmallVec<[bool; 6]>,
    keepdim: bool,
}

impl Axes {
    /// The dimensions that were asked for; as in PyTorch, an empty list means all.
    pub(crate) fn new(op: &str, x: &Tensor, asked: &impl DimsArg) -> Result<Self> {
        if x.dim() > MAX_RANK {
            return Err(Error::shape(format!(
                "{op}: takes at most {MAX_RANK} dimensions, found {}",
                x.dim()
            )));
        }
        let dims = asked.dims().filter(|dims| !dims.is_empty());
        let Some(dims) = dims else {
            return Ok(Self { reduced: SmallVec::from_elem(true, x.dim()), keepdim: asked.keeps() });
        };
        let mut seen = SmallVec::<[bool; 6]>::from_elem(false, x.dim().max(1));
        for &d in &dims {
            if std::mem::replace(&mut seen[wrap_dim(op, d, x.dim())?], true) {
                return Err(Error::index(format!("{op}: dimension {d} is named more than once in {dims:?}")));
            }
        }
        seen.truncate(x.dim());
        Ok(Self { reduced: seen, keepdim: asked.keeps() })
    }

    /// The same with the reduced dimensions kept.
    pub(crate) fn kept(&self) -> Self {
        Self { keepdim: true, ..self.clone() }
    }

    /// The dimensions that go, if they are neighbours.
    pub(crate) fn range(&self) -> Option<Range<usize>> {
        let start = self.reduced.iter().position(|&reduced| reduced)?;
        let n = self.reduced[start..].iter().take_while(|reduced| **reduced).count();
        let more = self.reduced[start + n..].contains(&true);
        (!more).then_some(start..start + n)
    }

    /// The sizes (or strides) of the dimensions that stay.
    pub(crate) fn outer(&self, sizes: &[usize]) -> Dims {
        sizes.iter().zip(&self.reduced).filter(|(_, reduced)| !**reduced).map(|(&n, _)| n).collect()
    }

    /// The sizes (or strides) of the dimensions that go.
    pub(crate) fn inner(&self, sizes: &[usize]) -> Dims {
        sizes.iter().zip(&self.reduced).filter(|(_, reduced)| **reduced).map(|(&n, _)| n).collect()
    }

    /// The shape with reduced dimensions of size 1.
    pub(crate) fn ones(&self, shape: &[usize]) -> Dims {
        shape.iter().zip(&self.reduced).map(|(&n, &reduced)| if reduced { 1 } else { n }).collect()
    }

    /// The shape of the result.
    pub(crate) fn result(&self, shape: &[usize]) -> Dims {
        if self.keepdim { self.ones(shape) } else { self.outer(shape) }
    }

    /// How many elements make one of the result.
    pub(crate) fn count(&self, shape: &[usize]) -> usize {
        self.inner(shape).iter().product()
    }

    /// A tensor of the result's shape, seen so that it broadcasts with the input.
    pub(crate) fn restore(&self, t: &Tensor, shape: &[usize]) -> Result<Tensor> {
        if self.keepdim { Ok(t.clone()) } else { t.reshape(self.ones(shape).as_slice()) }
    }

    /// Refuses to reduce nothing where there is no neutral element.
    pub(crate) fn require_elements(&self, op: &str, shape: &[usize]) -> Result<()> {
        let nothing = self.inner(shape).contains(&0);
        let full = self.reduced.iter().all(|&reduced| reduced);
        if nothing || full && shape.contains(&0) {
            return Err(Error::shape(format!("{op}: has no value for no elements: shape {shape:?}")));
        }
        Ok(())
    }

    /// The dimensions that go, in order.
    pub(crate) fn dims(&self) -> SmallVec<[usize; 6]> {
        self.reduced.iter().enumerate().filter(|(_, reduced)| **reduced).map(|(d, _)| d).collect()
    }
}
