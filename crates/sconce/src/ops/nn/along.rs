//! Sparse matrices applied along a dimension: interpolation and windows of unequal size.

use std::sync::Arc;

use smallvec::smallvec;

use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::driver::{build, layers};
use crate::tensor::dtype::Element;
use crate::tensor::layout::checked_numel;
use crate::tensor::{DType, Dims, Tensor};
use crate::{Error, Result};

/// A matrix by rows: the columns of the elements that are not 0, and those elements.
#[derive(Debug)]
pub(super) struct Sparse {
    columns: usize,
    /// Where each row starts; one more at the end.
    starts: Vec<usize>,
    elements: Vec<(usize, f64)>,
}

impl Sparse {
    /// Makes a matrix of rows of (column, element); an error instead of an abort if there is no memory for so many rows.
    pub(super) fn new(
        columns: usize,
        rows: impl ExactSizeIterator<Item = Vec<(usize, f64)>>,
    ) -> Result<Self> {
        let mut this = Self { columns, starts: Vec::new(), elements: Vec::new() };
        let n = rows.len();
        this.starts
            .try_reserve_exact(n.saturating_add(1))
            .map_err(|e| Error::argument(format!("cannot allocate {n} rows of weights")).with_source(e))?;
        this.starts.push(0);
        for row in rows {
            debug_assert!(row.iter().all(|&(column, _)| column < columns), "columns of the matrix");
            this.elements.extend(row);
            this.starts.push(this.elements.len());
        }
        Ok(this)
    }

    /// Averages of as many nearly equal windows as there are rows.
    pub(super) fn averages(len: usize, windows: usize) -> Result<Self> {
        checked_numel(&[len, windows])?;
        Self::new(
            len,
            (0..windows).map(|i| {
                let (start, end) = super::adaptive::adaptive_window(len, windows, i);
                (start..end).map(|j| (j, 1.0 / (end - start) as f64)).collect()
            }),
        )
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn row(&self, i: usize) -> &[(usize, f64)] {
        &self.elements[self.starts[i]..self.starts[i + 1]]
    }

    fn transposed(&self) -> Result<Self> {
        let mut rows = vec![Vec::new(); self.columns];
        for i in 0..self.rows() {
            for &(column, element) in self.row(i) {
                rows[column].push((i, element));
            }
        }
        Self::new(self.rows(), rows.into_iter())
    }

    /// The product with each vector of `x` along a dimension.
    pub(super) fn apply(self, op: &'static str, x: &Tensor, dim: usize) -> Result<Tensor> {
        let wide = layers::wide(x.dtype());
        apply(Along { op, dim, matrix: Arc::new(self) }, &[&x.to(wide)?])?.to(x.dtype())
    }
}

#[derive(Debug)]
struct Along {
    op: &'static str,
    dim: usize,
    matrix: Arc<Sparse>,
}

/// What a product is computed in.
trait Number: Element + std::ops::AddAssign + std::ops::Mul<Output = Self> {
    fn from_f64(x: f64) -> Self;
}

impl Number for f32 {
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Number for f64 {
    fn from_f64(x: f64) -> Self {
        x
    }
}

impl Along {
    fn run<T: Number>(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = Dims::from_slice(x.shape());
        shape[self.dim] = self.matrix.rows();
        let inner: usize = x.shape()[self.dim + 1..].iter().product();
        let (from, to) = (self.matrix.columns * inner, self.matrix.rows() * inner);
        x.contiguous()?.with_slice(|x: &[T]| {
            build(self.op, &shape, |out: &mut [T]| {
                if from == 0 || to == 0 {
                    return Ok(());
                }
                for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
                    for (i, out) in out.chunks_exact_mut(inner).enumerate() {
                        for &(column, element) in self.matrix.row(i) {
                            let element = T::from_f64(element);
                            let x = &x[column * inner..][..inner];
                            out.iter_mut().zip(x).for_each(|(out, &x)| *out += element * x);
                        }
                    }
                }
                Ok(())
            })
        })?
    }
}

impl Op for Along {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        assert_eq!(x[0].shape()[self.dim], self.matrix.columns, "columns of the matrix");
        if x[0].dtype() == DType::F64 { self.run::<f64>(x[0]) } else { self.run::<f32>(x[0]) }
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let matrix = Arc::new(self.matrix.transposed()?);
        Ok(smallvec![Some(apply(Self { op: self.op, dim: self.dim, matrix }, &[grad])?)])
    }
}
