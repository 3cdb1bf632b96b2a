//! Distinct elements and slices.

use std::cmp::Ordering;

use super::driver::{Kind, kind};
use crate::Result;
use crate::tensor::layout::wrap_dim;
use crate::tensor::{DType, Tensor};

/// What [`Tensor::unique`] finds.
#[derive(Clone, Debug)]
pub struct Unique {
    /// The distinct elements, or slices along the dimension.
    pub values: Tensor,
    /// For each element or slice the index of its value; int64.
    pub inverse: Tensor,
    /// How often each value occurs; int64.
    pub counts: Tensor,
}

/// The rows of a matrix that begin each run of equal ones in an order: the order, and for each place whether it begins.
fn runs(op: &str, rows: &Tensor, sorted: bool) -> Result<(Vec<usize>, Vec<bool>)> {
    fn find<T: Copy>(
        x: &[T],
        n: usize,
        width: usize,
        sorted: bool,
        compare: impl Fn(T, T) -> Ordering,
        same: impl Fn(T, T) -> bool,
    ) -> (Vec<usize>, Vec<bool>) {
        let row = |i: usize| &x[i * width..(i + 1) * width];
        let mut order: Vec<usize> = (0..n).collect();
        if sorted {
            order.sort_by(|&i, &j| {
                let pairs = row(i).iter().zip(row(j));
                pairs.map(|(&a, &b)| compare(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
            });
        }
        let begins = (0..n)
            .map(|k| k == 0 || !row(order[k - 1]).iter().zip(row(order[k])).all(|(&a, &b)| same(a, b)))
            .collect();
        (order, begins)
    }
    let (n, width) = (rows.shape()[0], rows.shape()[1]);
    match kind(op, rows.dtype())? {
        Kind::I64 => rows
            .detach()
            .to(DType::I64)?
            .with_slice(|x: &[i64]| find(x, n, width, sorted, |a, b| a.cmp(&b), |a, b| a == b)),
        _ => rows.detach().to(DType::F64)?.with_slice(|x: &[f64]| {
            let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
            find(x, n, width, sorted, compare, |a, b| a == b)
        }),
    }
}

impl Tensor {
    /// The distinct elements in order, or with a dimension its distinct slices; every NaN is distinct.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist, or the dtype is only stored.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![3i64, 1, 3], [3])?;
    /// let unique = x.unique(None)?;
    /// assert_eq!(unique.values.to_vec::<i64>()?, [1, 3]);
    /// assert_eq!(unique.inverse.to_vec::<i64>()?, [1, 0, 1]);
    /// assert_eq!(unique.counts.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn unique(&self, dim: Option<isize>) -> Result<Unique> {
        self.distinct("unique", dim, true)
    }

    /// The elements, or slices, without those that equal the one before.
    ///
    /// # Errors
    ///
    /// As [`unique`](Self::unique).
    pub fn unique_consecutive(&self, dim: Option<isize>) -> Result<Unique> {
        self.distinct("unique_consecutive", dim, false)
    }

    fn distinct(&self, op: &str, dim: Option<isize>, sorted: bool) -> Result<Unique> {
        let d = dim.map(|d| wrap_dim(op, d, self.dim())).transpose()?.filter(|_| self.dim() > 0);
        let x = self.detach();
        let rows = match d {
            Some(d) => {
                let n = x.shape()[d];
                x.movedim(d, 0)?.reshape([n, x.numel().checked_div(n).unwrap_or(0)])?
            }
            None => x.reshape([-1, 1])?,
        };
        let (order, begins) = runs(op, &rows, sorted)?;
        let (mut firsts, mut counts) = (Vec::new(), Vec::new());
        let mut inverse = vec![0i64; order.len()];
        for (&at, begins) in order.iter().zip(begins) {
            if begins {
                firsts.push(at as i64);
                counts.push(0i64);
            }
            inverse[at] = counts.len() as i64 - 1;
            if let Some(count) = counts.last_mut() {
                *count += 1;
            }
        }
        let n = firsts.len();
        let firsts = Tensor::from_vec(firsts, [n])?;
        let values = match d {
            Some(d) => x.index_select(d as isize, &firsts)?,
            None => x.reshape([-1])?.index_select(0, &firsts)?,
        };
        let inverse = Tensor::from_slice(&inverse, [inverse.len()])?;
        let inverse = if d.is_some() { inverse } else { inverse.reshape(self.shape())? };
        Ok(Unique { values, inverse, counts: Tensor::from_vec(counts, [n])? })
    }
}
