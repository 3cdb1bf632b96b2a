//! What losses of class indices have in common: checked targets, what is ignored, weights of classes.

use super::Reduction;
use crate::ops::reduce::float_dtype;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// Input `[N, C, …]` and target `[N, …]` of a classification; a batch of one is added where there is none.
pub(super) struct Classes {
    pub(super) input: Tensor,
    /// int64 `[N, 1, …]`; 0 where ignored.
    pub(super) target: Tensor,
    /// Where it does not count, and 1 where it does, as a float `[N, 1, …]`; `None` if everything does.
    ignored: Option<(Tensor, Tensor)>,
    batched: bool,
}

impl Classes {
    pub(super) fn new(op: &str, input: &Tensor, target: &Tensor, ignore_index: i64) -> Result<Self> {
        float_dtype(op, input)?;
        let batched = input.dim() > 1;
        let (input, target) = match input.dim() {
            0 => return Err(Error::shape(format!("{op}: the input needs a dimension of classes"))),
            1 => (input.unsqueeze(0)?, target.unsqueeze(0)?),
            _ => (input.clone(), target.clone()),
        };
        let mut expected = Dims::from_slice(input.shape());
        expected.remove(1);
        if target.shape() != expected.as_slice() {
            return Err(Error::shape(format!(
                "{op}: an input of shape {:?} needs targets of shape {:?}, found {:?}",
                input.shape(),
                &expected[usize::from(!batched)..],
                &target.shape()[usize::from(!batched)..]
            )));
        }
        if !matches!(target.dtype(), DType::I64 | DType::U8) {
            return Err(Error::dtype(format!(
                "{op}: class indices must be int64 or uint8, found {}",
                target.dtype()
            )));
        }
        let mut target = target.to(DType::I64)?.unsqueeze(1)?;
        let mut counting = None;
        if target.with_slice(|all: &[i64]| all.contains(&ignore_index))? {
            let ignored = target.eq(ignore_index)?;
            target = target.masked_fill(&ignored, 0)?;
            let counts = ignored.logical_not()?.to(input.dtype())?;
            counting = Some((ignored, counts));
        }
        let classes = input.shape()[1];
        crate::ops::index::checked(op, &target, classes).map_err(|e| e.context("target"))?;
        Ok(Self { input, target, ignored: counting, batched })
    }

    /// 1 where an element counts; `None` if everything does.
    pub(super) fn counts(&self) -> Option<&Tensor> {
        self.ignored.as_ref().map(|(_, counts)| counts)
    }

    /// What each element weighs, `[N, 1, …]`; `None` if all weigh 1.
    pub(super) fn weights(&self, op: &str, weight: Option<&Tensor>) -> Result<Option<Tensor>> {
        let Some(weight) = weight else { return Ok(self.counts().cloned()) };
        let each = weight_of_classes(op, weight, self.input.shape())?
            .index_select(0, &self.target.reshape([-1])?)?
            .reshape(self.target.shape())?;
        match self.counts() {
            Some(counts) => each.mul(counts).map(Some),
            None => Ok(Some(each)),
        }
    }

    /// Reduces weighted losses `[N, 1, …]`; the mean is that over the weights.
    pub(super) fn reduce(
        &self,
        losses: &Tensor,
        weights: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        let losses = match &self.ignored {
            // Not by the weight 0 alone: no gradient, not even NaN, may reach what does not count.
            Some((ignored, _)) => &losses.masked_fill(ignored, 0)?,
            None => losses,
        };
        match (reduction, weights) {
            (Reduction::None, _) if self.batched => losses.squeeze(1),
            (Reduction::None, _) => losses.reshape(()),
            (Reduction::Mean, Some(weights)) => losses.sum(())?.div(&weights.sum(())?),
            _ => reduction.apply(losses),
        }
    }
}

pub(super) fn weight_of_classes(op: &str, weight: &Tensor, input: &[usize]) -> Result<Tensor> {
    if weight.shape() != [input[1]] {
        return Err(Error::shape(format!(
            "{op}: {} classes need a weight of shape [{}], found {:?}",
            input[1],
            input[1],
            weight.shape()
        )));
    }
    Ok(weight.clone())
}

/// A weight is of the input's dtype, as in PyTorch.
pub(super) fn same_dtype(op: &str, input: &Tensor, weight: Option<&Tensor>) -> Result<()> {
    match weight {
        Some(weight) if weight.dtype() != input.dtype() => Err(Error::dtype(format!(
            "{op}: a weight of dtype {} for an input of dtype {}",
            weight.dtype(),
            input.dtype()
        ))),
        _ => Ok(()),
    }
}

/// A weight per class, broadcasting with `[N, C, …]`.
pub(super) fn along_classes(weight: &Tensor, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1isize; rank];
    shape[1] = -1;
    weight.reshape(shape)
}
