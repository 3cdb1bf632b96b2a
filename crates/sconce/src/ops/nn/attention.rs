//! Attention, bilinear forms and gates.

use std::sync::OnceLock;

use crate::autograd::{Grads, Op, Saved, Saves, apply, is_grad_enabled};
use crate::ops::driver::attention as blocks;
use crate::ops::driver::layers::wide;
use crate::ops::nn::loss::dropout;
use crate::ops::reduce::float_dtype;
use crate::ops::registry::{OpInfo, Sample};
use crate::tensor::sizes::{count, keepdim};
use crate::tensor::{DType, Dims, Tensor};
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
    let x = Checked::new(query, key, value, options)?;
    if let Some(y) = x.fused(options.dropout_p)? {
        return y.to(query.dtype());
    }
    Ok(x.composed(options.dropout_p)?.0)
}

/// [`scaled_dot_product_attention`], with the weights that the values were averaged with.
pub(crate) fn attention_with_weights(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    options: AttentionOptions<'_>,
) -> Result<(Tensor, Tensor)> {
    Checked::new(query, key, value, options)?.composed(options.dropout_p)
}

const OP: &str = "scaled_dot_product_attention";

/// Inputs that fit each other, in the dtype that is computed in.
struct Checked<'a> {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Option<&'a Tensor>,
    causal: bool,
    scale: f64,
    /// The dtype of the result.
    dtype: DType,
}

impl<'a> Checked<'a> {
    fn new(query: &Tensor, key: &Tensor, value: &Tensor, options: AttentionOptions<'a>) -> Result<Self> {
        let AttentionOptions { mask, is_causal, scale, enable_gqa, .. } = options;
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
        let features = size(query, 1);
        if features != size(key, 1) || size(key, 2) != size(value, 2) {
            return Err(misfit());
        }
        let compute = wide(dtype);
        let repeated = |t: &Tensor| {
            if !enable_gqa {
                return Ok(t.clone());
            }
            if query.dim() < 3 || t.dim() < 3 || size(t, 3) == 0 || !size(query, 3).is_multiple_of(size(t, 3))
            {
                return Err(misfit());
            }
            t.repeat_interleave(size(query, 3) / size(t, 3), Some(-3))
        };
        Ok(Self {
            query: query.to(compute)?,
            key: repeated(&key.to(compute)?)?,
            value: repeated(&value.to(compute)?)?,
            mask,
            causal: is_causal,
            scale: scale.unwrap_or_else(|| 1.0 / (features as f64).sqrt()),
            dtype,
        })
    }

    /// The result and the weights, by way of all scores.
    fn composed(&self, dropout_p: f64) -> Result<(Tensor, Tensor)> {
        let mut weights = weights(&self.query, &self.key, self.mask, self.causal, self.scale)?;
        if dropout_p > 0.0 {
            weights = dropout(&weights, dropout_p, true)?;
        }
        let y = weights.matmul(&self.value).context(|| OP)?.to(self.dtype)?;
        Ok((y, weights.to(self.dtype)?))
    }

    /// The result block by block, if nothing needs the weights: neither dropout nor the gradient of a mask, and heads that
    /// need no broadcasting.
    fn fused(&self, dropout_p: f64) -> Result<Option<Tensor>> {
        let Self { query, key, value, causal, scale, .. } = self;
        let heads = |t: &Tensor| t.shape()[..t.dim() - 2].to_vec();
        let mut shape = heads(query);
        let same = shape == heads(key) && shape == heads(value);
        let empty = [query, key, value].iter().any(|t| t.numel() == 0);
        let learnt = self.mask.is_some_and(Tensor::requires_grad) && is_grad_enabled();
        if dropout_p > 0.0 || !same || empty || learnt {
            return Ok(None);
        }
        shape.extend([size(query, 2), size(key, 2)]);
        let mask = match self.mask {
            Some(mask) if mask.expand(shape.as_slice()).is_err() => return Ok(None),
            Some(mask) => Some(addends(mask, query.dtype(), size(key, 2))?),
            None => None,
        };
        let inputs = [query.contiguous()?, key.contiguous()?, value.contiguous()?];
        let inputs: Vec<&Tensor> = inputs.iter().chain(&mask).collect();
        let op = Attention { masked: mask.is_some(), causal: *causal, scale: *scale, logs: OnceLock::new() };
        apply(op, &inputs).map(Some)
    }
}

/// A size of a tensor, counted from the end.
fn size(t: &Tensor, from_end: usize) -> usize {
    t.shape()[t.dim() - from_end]
}

/// A mask as what is added to the scores, adjacent for the keys of a query.
fn addends(mask: &Tensor, dtype: DType, source: usize) -> Result<Tensor> {
    let mask = if mask.dtype() == DType::Bool {
        Tensor::zeros(mask.shape(), dtype)?.masked_fill(&mask.logical_not()?, f64::NEG_INFINITY)?
    } else {
        mask.detach().to(dtype)?
    };
    match (mask.shape().last(), mask.strides().last()) {
        // Nothing is adjacent to a single key.
        (Some(&n), Some(&step)) if n == source && (n == 1 || step == 1) => Ok(mask),
        _ => {
            let mut shape = mask.shape().to_vec();
            shape.pop();
            shape.push(source);
            mask.expand(shape)?.contiguous()
        }
    }
}

/// softmax(Q Kᵀ · scale + mask), with zeros for a query without anything to attend to.
fn weights(query: &Tensor, key: &Tensor, mask: Option<&Tensor>, causal: bool, scale: f64) -> Result<Tensor> {
    let mut scores = query.mul(scale)?.matmul(&key.transpose(-2, -1)?).context(|| OP)?;
    let ones = || Tensor::ones([size(query, 2), size(key, 2)], DType::Bool);
    let causal = if causal { Some(ones()?.tril(0)?) } else { None };
    let mut nothing = None;
    if let Some(mask) = mask.or(causal.as_ref()) {
        scores = if mask.dtype() == DType::Bool {
            scores.masked_fill(&mask.logical_not()?, f64::NEG_INFINITY).context(|| OP)?
        } else {
            scores.add(&mask.to(scores.dtype())?).context(|| OP)?
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
    let weights = scores.softmax(-1)?;
    match nothing {
        Some(empty) => weights.masked_fill(&empty, 0),
        None => Ok(weights),
    }
}

/// Attention without a matrix of scores; the inputs are query, key, value and perhaps what is added to the scores.
#[derive(Debug)]
struct Attention {
    masked: bool,
    causal: bool,
    scale: f64,
    /// Each query's greatest score and logarithm of the sum of exponentials under it, once they are known.
    logs: OnceLock<Tensor>,
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let (y, logs) = blocks::forward(OP, [x[0], x[1], x[2]], x.get(3).copied(), self.scale, self.causal)?;
        let _ = self.logs.set(logs);
        Ok(y)
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::BOTH
    }

    /// Those of all pairs, whether a mask leaves them out or not.
    fn mult_adds(&self, inputs: &[Option<Dims>], output: &[usize]) -> Option<u64> {
        let (query, key) = (inputs[0].as_ref()?, inputs[1].as_ref()?);
        let (pairs, features) =
            (count(&query[..query.len() - 1]) * key[key.len() - 2] as u64, *query.last()?);
        Some(pairs * (features + output.last()?) as u64)
    }

    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        let (q, k, v) = (saved.input(0)?, saved.input(1)?, saved.input(2)?);
        let mask = if self.masked { Some(saved.input(3)?) } else { None };
        let grads = if is_grad_enabled() {
            let weights = weights(&q, &k, mask.as_ref(), self.causal, self.scale)?;
            let of_weights = grad.matmul(&v.transpose(-2, -1)?)?;
            let shared = of_weights.mul(&weights)?.sum(keepdim(-1))?;
            let slopes = weights.mul(&of_weights.sub(&shared)?)?.mul(self.scale)?;
            [
                slopes.matmul(&k)?,
                slopes.transpose(-2, -1)?.matmul(&q)?,
                weights.transpose(-2, -1)?.matmul(grad)?,
            ]
        } else {
            let logs =
                self.logs.get().ok_or_else(|| Error::autograd("attention: backward before forward"))?;
            let y = saved.output()?;
            blocks::backward(OP, [&q, &k, &v], mask.as_ref(), (&y, logs, grad), self.scale, self.causal)?
        };
        let mut grads: Grads = grads.into_iter().map(Some).collect();
        grads.extend(mask.map(|_| None));
        Ok(grads)
    }
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
                Sample::new(shapes, move |x| call(x, AttentionOptions::default())),
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
