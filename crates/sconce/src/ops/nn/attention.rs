//! Attention, bilinear forms and gates.

use crate::ops::driver::layers::wide;
use crate::ops::loss::dropout;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::sizes::keepdim;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Result};

/// The options of [`scaled_dot_product_attention`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionOptions<'a> {
    /// What is added to the scores, or with bools where there is attention at all; broadcasts to `[…, L, S]`.
    pub mask: Option<&'a Tensor>,
    /// The share of the attention that is dropped; 0.
    pub dropout_p: f64,
    /// Whether an element attends to none after it; false.
    pub is_causal: bool,
    /// The factor of the scores; 1 / √E.
    pub scale: Option<f64>,
    /// Whether several heads of the query share one of key and value; false.
    pub enable_gqa: bool,
}

/// softmax(Q Kᵀ · scale + mask) V, with Q `[…, L, E]`, K `[…, S, E]` and V `[…, S, Ev]`.
///
/// A query without anything to attend to gets zeros.
///
/// # Errors
///
/// If shapes or dtypes do not fit, or both a mask and `is_causal` are given.
///
/// ```
/// use sconce::{DType, Tensor, functional::scaled_dot_product_attention};
/// let (q, k) = (Tensor::zeros([1, 2, 4], DType::F32)?, Tensor::zeros([1, 2, 4], DType::F32)?);
/// let v = Tensor::from_vec(vec![1.0f32, 3.0], [1, 2, 1])?;
/// let y = scaled_dot_product_attention(&q, &k, &v, Default::default())?;
/// assert_eq!(y.to_vec::<f32>()?, [2.0, 2.0]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn scaled_dot_product_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    options: AttentionOptions<'_>,
) -> Result<Tensor> {
    Ok(attention_with_weights(query, key, value, options)?.0)
}

/// [`scaled_dot_product_attention`], with the weights that the values were averaged with.
pub(crate) fn attention_with_weights(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    options: AttentionOptions<'_>,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "scaled_dot_product_attention";
    let AttentionOptions { mask, dropout_p, is_causal, scale, enable_gqa } = options;
    let dtype = float_dtype(OP, query)?;
    if key.dtype() != dtype || value.dtype() != dtype {
        return Err(Error::dtype(format!(
            "{OP}: dtypes differ: query {dtype}, key {}, value {}",
            key.dtype(),
            value.dtype()
        )));
    }
    let shapes = [query, key, value].map(Tensor::shape);
    let misfit = || Error::shape(format!("{OP}: query, key and value {shapes:?} do not fit each other"));
    if shapes.iter().any(|s| s.len() < 2) {
        return Err(misfit());
    }
    if mask.is_some() && is_causal {
        return Err(Error::argument(format!("{OP}: a mask and is_causal exclude each other")));
    }
    let size = |t: &Tensor, from_end: usize| t.shape()[t.dim() - from_end];
    let (length, source, features) = (size(query, 2), size(key, 2), size(query, 1));
    if features != size(key, 1) || source != size(value, 2) {
        return Err(misfit());
    }
    let compute = wide(dtype);
    let repeated = |t: &Tensor| {
        if !enable_gqa {
            return Ok(t.clone());
        }
        if query.dim() < 3 || t.dim() < 3 || size(t, 3) == 0 || size(query, 3) % size(t, 3) != 0 {
            return Err(misfit());
        }
        t.repeat_interleave(size(query, 3) / size(t, 3), Some(-3))
    };
    let (key, value) = (repeated(&key.to(compute)?)?, repeated(&value.to(compute)?)?);
    let scale = scale.unwrap_or_else(|| 1.0 / (features as f64).sqrt());
    let query = query.to(compute)?.mul(scale)?;
    let mut scores = query.matmul(&key.transpose(-2, -1)?).context(|| OP)?;
    let causal = if is_causal { Some(Tensor::ones([length, source], DType::Bool)?.tril(0)?) } else { None };
    let mut nothing = None;
    if let Some(mask) = mask.or(causal.as_ref()) {
        scores = if mask.dtype() == DType::Bool {
            scores.masked_fill(&mask.logical_not()?, f64::NEG_INFINITY).context(|| OP)?
        } else {
            scores.add(&mask.to(compute)?).context(|| OP)?
        };
        if scores.numel() > 0 {
            let empty = scores.detach().amax(keepdim(-1))?.eq(f64::NEG_INFINITY)?;
            if empty.any(())?.item()? != 0.0 {
                // No NaN may come of them, in either direction.
                scores = scores.masked_fill(&empty, 0)?;
                nothing = Some(empty);
            }
        }
    }
    let mut weights = scores.softmax(-1)?;
    if let Some(empty) = nothing {
        weights = weights.masked_fill(&empty, 0)?;
    }
    if dropout_p > 0.0 {
        weights = dropout(&weights, dropout_p, true)?;
    }
    let y = weights.matmul(&value).context(|| OP)?.to(dtype)?;
    Ok((y, weights.to(dtype)?))
}

/// x₁ᵀ W x₂ + b for each output, of `[…, in1]` and `[…, in2]` with a weight `[out, in1, in2]`.
///
/// # Errors
///
/// If shapes do not fit.
///
/// ```
/// use sconce::{DType, Tensor, functional::bilinear};
/// let (x, y) = (Tensor::ones([5, 2], DType::F32)?, Tensor::ones([5, 3], DType::F32)?);
/// let weight = Tensor::ones([4, 2, 3], DType::F32)?;
/// assert_eq!(bilinear(&x, &y, &weight, None)?.to_vec::<f32>()?, [6.0; 20]);
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn bilinear(input1: &Tensor, input2: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let rank = input1.dim();
    let fits = weight.dim() == 3
        && rank > 0
        && input2.dim() == rank
        && input1.shape()[..rank - 1] == input2.shape()[..rank - 1]
        && input1.shape()[rank - 1] == weight.shape()[1]
        && input2.shape()[rank - 1] == weight.shape()[2]
        && bias.is_none_or(|b| b.shape() == [weight.shape()[0]]);
    if !fits {
        return Err(Error::shape(format!(
            "bilinear: inputs {:?} and {:?}, weight {:?} and bias {:?} do not fit each other",
            input1.shape(),
            input2.shape(),
            weight.shape(),
            bias.map(Tensor::shape)
        )));
    }
    let [out, in1, in2] = [0, 1, 2].map(|i| weight.shape()[i]);
    let batch: usize = input1.shape()[..rank - 1].iter().product();
    let left = input1.reshape([batch, in1])?;
    let right = input2.reshape([batch, in2])?;
    let half = left.matmul(&weight.permute([1, 0, 2])?.reshape([in1, out * in2])?)?;
    let y = half.reshape([batch, out, in2])?.matmul(&right.unsqueeze(2)?)?.squeeze(2)?;
    let y = bias.map_or(Ok(y.clone()), |b| y.add(b))?;
    let mut shape = crate::tensor::Dims::from_slice(&input1.shape()[..rank - 1]);
    shape.push(out);
    y.reshape(shape.as_slice())
}

impl Tensor {
    /// The first half along a dimension times the sigmoid of the second.
    ///
    /// # Errors
    ///
    /// If the dimension does not exist, or its size is odd.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![4.0f32, 0.0], [2])?;
    /// assert_eq!(x.glu(-1)?.to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn glu(&self, dim: isize) -> Result<Tensor> {
        if self.dim() == 0 {
            return Err(Error::shape("glu: needs a dimension to halve, found a scalar"));
        }
        let size = self.size(dim).context(|| "glu")?;
        if size % 2 != 0 {
            return Err(Error::shape(format!(
                "glu: a size of {size}, which is odd, in dimension {dim} of {:?}",
                self.shape()
            )));
        }
        let gate = self.narrow(dim, (size / 2) as isize, size / 2)?;
        self.narrow(dim, 0, size / 2)?.mul(&gate.sigmoid()?)
    }

    /// [`softmax`](Self::softmax) of the negative.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn softmin(&self, dim: isize) -> Result<Tensor> {
        self.neg()?.softmax(dim).context(|| "softmin")
    }

    /// x where positive, otherwise x times a slope: in training one between `lower` and `upper` drawn per element, else
    /// the middle. PyTorch's defaults are 1/8 and 1/3.
    ///
    /// # Errors
    ///
    /// If `lower` exceeds `upper`, or the dtype is not floating point.
    ///
    /// ```
    /// let x = sconce::Tensor::from_vec(vec![-4.0f32, 2.0], [2])?;
    /// assert_eq!(x.rrelu(0.25, 0.75, false)?.to_vec::<f32>()?, [-2.0, 2.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn rrelu(&self, lower: f64, upper: f64, training: bool) -> Result<Tensor> {
        if !(lower <= upper) {
            return Err(Error::argument(format!("rrelu: lower {lower} must not exceed upper {upper}")));
        }
        let dtype = float_dtype("rrelu", self)?;
        if !training {
            return self.leaky_relu((lower + upper) / 2.0);
        }
        let low = self.detach().contiguous()?.reshape([-1])?.le(0)?;
        let places = low.nonzero()?.reshape([-1])?;
        // Of a narrow dtype only the product is rounded.
        let wide = wide(dtype);
        let round = |x: f64| Tensor::full((), x, wide)?.item();
        let (lower, upper) = (round(lower)?, round(upper)?);
        let drawn = Tensor::rand([places.numel()], DType::F64)?.mul(upper - lower)?.add(lower)?.to(wide)?;
        let slopes = Tensor::ones([self.numel()], wide)?.index_copy(0, &places, &drawn)?;
        self.to(wide)?.mul(&slopes.reshape(self.shape())?)?.to(dtype)
    }
}

const D: (f64, f64) = (-2.0, 2.0);

/// For the generic tests.
pub(in crate::ops) static ATTENTION: &[OpInfo] = &[
    OpInfo {
        name: "scaled_dot_product_attention",
        samples: || {
            let shapes: &[(&[usize], _)] = &[(&[2, 3, 4], D), (&[2, 5, 4], D), (&[2, 5, 2], D)];
            let call = |x: &[Tensor], options: AttentionOptions<'_>| {
                scaled_dot_product_attention(&x[0], &x[1], &x[2], options)
            };
            vec![
                Sample::new(shapes, move |x| {
                    call(x, AttentionOptions { is_causal: true, ..Default::default() })
                }),
                Sample::new(shapes, move |x| {
                    let mask = Tensor::ones([3, 5], DType::Bool)?.triu(3)?;
                    call(x, AttentionOptions { mask: Some(&mask), scale: Some(0.5), ..Default::default() })
                }),
            ]
        },
    },
    OpInfo {
        name: "bilinear",
        samples: || {
            vec![Sample::new(&[(&[2, 3], D), (&[2, 2], D), (&[4, 3, 2], D), (&[4], D)], |x| {
                bilinear(&x[0], &x[1], &x[2], Some(&x[3]))
            })]
        },
    },
    OpInfo { name: "glu", samples: || vec![Sample::new(&[(&[2, 4, 3], D)], |x| x[0].glu(1))] },
    OpInfo { name: "softmin", samples: || vec![Sample::new(&[(&[2, 4, 3], D)], |x| x[0].softmin(1))] },
    OpInfo { name: "rrelu", samples: || vec![Sample::new(&[(&[2, 3], D)], |x| x[0].rrelu(0.1, 0.3, false))] },
];
