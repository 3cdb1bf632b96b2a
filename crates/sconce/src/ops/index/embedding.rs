//! Looking up rows of a table.

use smallvec::smallvec;

use super::slices::{IndexAdd, IndexSelect};
use super::{checked, index};
use crate::autograd::{Grads, Op, Saved, Saves, apply};
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{Dims, Tensor};
use crate::{Error, Result};

/// How [`embedding`] treats some of its rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingOptions {
    /// The row that gets no gradient; none by default. A negative one counts from the end.
    pub padding_idx: Option<isize>,
    /// Rows that are looked up are first scaled, in place, to at most this norm; not by default.
    pub max_norm: Option<f64>,
    /// The p of that norm, 2 by default.
    pub norm_type: f64,
    /// Whether a row's gradient is divided by how often it was looked up; not by default.
    pub scale_grad_by_freq: bool,
}

impl Default for EmbeddingOptions {
    fn default() -> Self {
        Self { padding_idx: None, max_norm: None, norm_type: 2.0, scale_grad_by_freq: false }
    }
}

#[derive(Debug)]
struct Embedding {
    padding: Option<usize>,
    by_frequency: bool,
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        IndexSelect { dim: 0 }.cpu(x)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::input(1)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (index, shape) = (saved.input(1)?, saved.shape(0)?);
        let zeros = Tensor::zeros(shape.as_slice(), grad.dtype())?;
        let mut gradient = apply(IndexAdd { dim: 0 }, &[&zeros, &index, grad])?;
        if self.by_frequency {
            let ones = Tensor::ones([index.numel(), 1], grad.dtype())?;
            let count = Tensor::zeros([shape[0], 1], grad.dtype())?.index_add(0, &index, &ones)?;
            gradient = gradient.div(&count.maximum(1)?)?;
        }
        if let Some(row) = self.padding {
            gradient = gradient.index_fill(0, &Tensor::from_vec(vec![row as i64], [1])?, 0)?;
        }
        Ok(smallvec![Some(gradient), None])
    }
}

/// The rows of `weight`, `[count, features]`, at indices of any shape: `[…, features]`.
///
/// # Errors
///
/// If an index or the padding index is out of range, indices are no integers, or the weight is no matrix.
///
/// ```
/// use sconce::{Tensor, functional};
/// let weight = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let tokens = Tensor::from_vec(vec![1i64, 0, 1], [3])?;
/// let y = functional::embedding(&tokens, &weight, Default::default())?;
/// assert_eq!(y.to_vec::<f32>()?, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn embedding(indices: &Tensor, weight: &Tensor, options: EmbeddingOptions) -> Result<Tensor> {
    const OP: &str = "embedding";
    if weight.dim() != 2 {
        return Err(Error::shape(format!(
            "{OP}: the weight must be a matrix, found shape {:?}",
            weight.shape()
        )));
    }
    let rows = weight.shape()[0];
    let padding = match options.padding_idx {
        Some(i) if i < -(rows as isize) || i >= rows as isize => {
            return Err(Error::index(format!("{OP}: padding_idx {i} is out of range for {rows} rows")));
        }
        Some(i) => Some(if i < 0 { i + rows as isize } else { i } as usize),
        None => None,
    };
    let index = checked(OP, &indices.reshape([-1])?, rows)?;
    if let Some(most) = options.max_norm {
        crate::no_grad(|| renormalise(weight, &index, most, options.norm_type))?;
    }
    let op = Embedding { padding, by_frequency: options.scale_grad_by_freq };
    let mut shape = Dims::from_slice(indices.shape());
    shape.push(weight.shape()[1]);
    apply(op, &[weight, &index])?.reshape(shape.as_slice())
}

/// Scales the rows at indices to at most a norm, in place.
fn renormalise(weight: &Tensor, index: &Tensor, most: f64, p: f64) -> Result<()> {
    let mut rows = index.to_vec::<i64>()?;
    rows.sort_unstable();
    rows.dedup();
    for row in rows {
        let row = weight.select(0, row as isize)?;
        let norm = row.norm(p, ())?.item()?;
        if norm > most {
            row.mul_(most / (norm + 1e-7))?;
        }
    }
    Ok(())
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static EMBEDDINGS: &[OpInfo] = &[OpInfo {
    name: "embedding",
    samples: || {
        vec![
            Sample::new(&[(&[3, 2], D)], |x| {
                embedding(&index(&[2, 0, 2, 1], &[2, 2])?, &x[0], EmbeddingOptions::default())
            }),
            Sample::new(&[(&[3, 2], D)], |x| {
                let options = EmbeddingOptions { scale_grad_by_freq: true, ..Default::default() };
                embedding(&index(&[2, 0, 2, 1], &[4])?, &x[0], options)
            })
            // The gradient is scaled, so it is not the derivative.
            .without_gradient(),
        ]
    },
}];
