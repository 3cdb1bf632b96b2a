//! Sums, means and maxima of rows of a table.

use crate::ops::driver::build;
use crate::ops::index::{EmbeddingOptions, embedding};
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// What [`embedding_bag`] makes of the rows of a bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BagMode {
    /// Their sum.
    Sum,
    /// Their mean.
    #[default]
    Mean,
    /// The greatest of each feature.
    Max,
}

/// The options of [`embedding_bag`].
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingBagOptions<'a> {
    /// Where each bag starts in a vector of indices; not for a matrix, whose rows are the bags.
    pub offsets: Option<&'a Tensor>,
    /// What becomes of the rows of a bag; their mean.
    pub mode: BagMode,
    /// A factor for each index; with [`BagMode::Sum`] only.
    pub per_sample_weights: Option<&'a Tensor>,
    /// Whether the last offset is the end of the last bag, rather than the start of one more; false.
    pub include_last_offset: bool,
    /// The row that does not count, and gets no gradient; none. A negative one counts from the end.
    pub padding_idx: Option<isize>,
    /// Rows that are looked up are first scaled, in place, to at most this norm; not by default.
    pub max_norm: Option<f64>,
    /// The p of that norm; 2.
    pub norm_type: f64,
    /// Whether a row's gradient is divided by how often it was looked up; false.
    pub scale_grad_by_freq: bool,
}

impl Default for EmbeddingBagOptions<'_> {
    fn default() -> Self {
        Self {
            offsets: None,
            mode: BagMode::Mean,
            per_sample_weights: None,
            include_last_offset: false,
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
        }
    }
}

/// Looks up the rows of bags of indices and makes one row of each bag: `[bags, features]`. An empty bag gives zeros.
///
/// # Errors
///
/// If shapes, dtypes or offsets do not fit, an index is out of range, or options exclude each other.
///
/// ```
/// use sconce::{Tensor, functional::{BagMode, EmbeddingBagOptions, embedding_bag}};
/// let weight = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
/// let bags = Tensor::from_vec(vec![1i64, 0, 1, 1], [2, 2])?;
/// let options = EmbeddingBagOptions { mode: BagMode::Sum, ..Default::default() };
/// assert_eq!(embedding_bag(&bags, &weight, options)?.to_vec::<f32>()?, [4.0, 6.0, 6.0, 8.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn embedding_bag(input: &Tensor, weight: &Tensor, options: EmbeddingBagOptions<'_>) -> Result<Tensor> {
    const OP: &str = "embedding_bag";
    if weight.dim() != 2 {
        return Err(Error::shape(format!(
            "{OP}: the weight must be a matrix, found shape {:?}",
            weight.shape()
        )));
    }
    if let Some(factors) = options.per_sample_weights {
        if options.mode != BagMode::Sum {
            return Err(Error::argument(format!(
                "{OP}: per_sample_weights need the mode Sum, found {:?}",
                options.mode
            )));
        }
        if factors.shape() != input.shape() {
            return Err(Error::shape(format!(
                "{OP}: per_sample_weights of shape {:?} for indices of shape {:?}",
                factors.shape(),
                input.shape()
            )));
        }
    }
    if options.mode == BagMode::Max && options.scale_grad_by_freq {
        return Err(Error::argument(format!("{OP}: scale_grad_by_freq does not go with the mode Max")));
    }
    let starts = bag_starts(OP, input, &options)?;
    let (rows, features) = (weight.shape()[0], weight.shape()[1]);
    let padding = match options.padding_idx {
        Some(i) if i < -(rows as isize) || i >= rows as isize => {
            return Err(Error::index(format!("{OP}: padding_idx {i} is out of range for {rows} rows")));
        }
        Some(i) => Some(i.rem_euclid(rows as isize) as i64),
        None => None,
    };
    let flat = input.reshape([-1])?;
    let lookup = EmbeddingOptions {
        padding_idx: None,
        max_norm: options.max_norm,
        norm_type: options.norm_type,
        scale_grad_by_freq: options.scale_grad_by_freq,
    };
    let all = embedding(&flat, weight, lookup)?;
    let (mut members, mut bags) = (Vec::new(), Vec::new());
    let ids = flat.to(DType::I64)?.to_vec::<i64>()?;
    let mut counts = vec![0f64; starts.len() - 1];
    for (bag, ends) in starts.windows(2).enumerate() {
        for member in ends[0]..ends[1] {
            if padding != Some(ids[member]) {
                members.push(member as i64);
                bags.push(bag as i64);
                counts[bag] += 1.0;
            }
        }
    }
    let n = members.len();
    let everything = n == ids.len();
    let members = Tensor::from_vec(members, [n])?;
    let kept = if everything { all } else { all.index_select(0, &members)? };
    if options.mode == BagMode::Max {
        return greatest(OP, &kept, &bags, &counts);
    }
    let dtype = kept.dtype();
    // The products and sums of halves are rounded once.
    let kept = if matches!(dtype, DType::F16 | DType::BF16) { kept.to(DType::F32)? } else { kept };
    let kept = match options.per_sample_weights {
        Some(factors) => kept.mul(&factors.reshape([-1])?.index_select(0, &members)?.unsqueeze(1)?)?,
        None => kept,
    };
    let zeros = Tensor::zeros([counts.len(), features], kept.dtype())?;
    let sums = zeros.index_add(0, &Tensor::from_vec(bags, [n])?, &kept)?;
    if options.mode == BagMode::Sum {
        return sums.to(dtype);
    }
    let bags = counts.len();
    let counts = counts.into_iter().map(|n| n.max(1.0)).collect();
    sums.div(&Tensor::from_vec(counts, [bags, 1])?.to(sums.dtype())?)?.to(dtype)
}

/// Where each bag starts, and where the last one ends.
fn bag_starts(op: &str, input: &Tensor, options: &EmbeddingBagOptions<'_>) -> Result<Vec<usize>> {
    let n = input.numel();
    match (input.dim(), options.offsets) {
        (2, None) => Ok((0..=input.shape()[0]).map(|i| i * input.shape()[1]).collect()),
        (1, Some(offsets)) if offsets.dim() == 1 => {
            let given = offsets.to(DType::I64)?.to_vec::<i64>()?;
            let mut starts: Vec<usize> = given.iter().filter_map(|&o| usize::try_from(o).ok()).collect();
            if options.include_last_offset {
                // What lies behind the last offset belongs to no bag.
            } else {
                starts.push(n);
            }
            let sorted = starts.windows(2).all(|pair| pair[0] <= pair[1]);
            let whole = starts.len() == given.len() + usize::from(!options.include_last_offset);
            if !whole || !sorted || starts.first().is_some_and(|&s| s != 0) || starts.iter().any(|&s| s > n) {
                return Err(Error::argument(format!(
                    "{op}: offsets must rise from 0 to at most the number of indices, {n}, found {given:?}"
                )));
            }
            if starts.is_empty() {
                return Err(Error::argument(format!("{op}: include_last_offset needs an offset")));
            }
            Ok(starts)
        }
        _ => Err(Error::shape(format!(
            "{op}: needs a matrix of indices, or a vector and a vector of offsets, found indices of shape {:?} and \
             offsets {:?}",
            input.shape(),
            options.offsets.map(Tensor::shape)
        ))),
    }
}

/// The greatest of each feature over the rows of each bag.
fn greatest(op: &str, rows: &Tensor, bags: &[i64], counts: &[f64]) -> Result<Tensor> {
    let features = rows.shape()[1];
    let empty: Vec<bool> = counts.iter().map(|&n| n == 0.0).collect();
    let shape = [counts.len(), features];
    if bags.is_empty() {
        return rows.sum(0)?.expand(shape)?.contiguous();
    }
    let values = rows.detach().to(DType::F64)?.contiguous()?;
    let places = values.with_slice(|x: &[f64]| {
        build(op, &shape, |out: &mut [i64]| {
            let mut seen = vec![false; counts.len()];
            for (row, &bag) in bags.iter().enumerate() {
                let first = !std::mem::replace(&mut seen[bag as usize], true);
                for (f, best) in out[bag as usize * features..][..features].iter_mut().enumerate() {
                    if first || x[row * features + f] > x[*best as usize * features + f] {
                        *best = row as i64;
                    }
                }
            }
            Ok(())
        })
    })??;
    let greatest = rows.gather(0, &places)?;
    if empty.contains(&true) {
        greatest.masked_fill(&Tensor::from_vec(empty, [counts.len(), 1])?, 0)
    } else {
        Ok(greatest)
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static BAGS: &[OpInfo] = &[OpInfo {
    name: "embedding_bag",
    samples: || {
        let call = |x: &[Tensor], mode: BagMode, per_sample_weights: Option<&Tensor>| {
            let indices = Tensor::from_vec(vec![2i64, 0, 2, 1, 3], [5])?;
            let offsets = Tensor::from_vec(vec![0i64, 2, 2], [3])?;
            let options = EmbeddingBagOptions {
                offsets: Some(&offsets),
                mode,
                per_sample_weights,
                padding_idx: Some(-1),
                ..Default::default()
            };
            embedding_bag(&indices, &x[0], options)
        };
        vec![
            Sample::new(&[(&[4, 2], D), (&[5], D)], move |x| call(x, BagMode::Sum, Some(&x[1]))),
            Sample::new(&[(&[4, 2], D)], move |x| call(x, BagMode::Mean, None)),
            Sample::new(&[(&[4, 2], D)], move |x| call(x, BagMode::Max, None)),
        ]
    },
}];
