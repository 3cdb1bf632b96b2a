//! Attention with several heads.

use super::form::realised;
use super::init;
use super::leaf::{Mode, Param};
use super::linear::{Linear, LinearConfig};
use super::place::named;
use crate::functional::{AttentionOptions, linear, scaled_dot_product_attention};
use crate::ops::nn::attention::attention_with_weights;
use crate::tensor::{DType, Tensor};
use crate::{Context, Error, Module, Result};

/// The options of a [`MultiheadAttention`].
#[derive(Clone, Debug, PartialEq)]
pub struct MultiheadAttentionConfig {
    /// The share of the attention that is dropped in training; 0.
    pub dropout: f64,
    /// Whether there are biases; true.
    pub bias: bool,
    /// Whether keys and values get one more element that is learned; false.
    pub add_bias_kv: bool,
    /// Whether keys and values get one more element of zeros; false.
    pub add_zero_attn: bool,
    /// The features of keys; those of queries.
    pub kdim: Option<usize>,
    /// The features of values; those of queries.
    pub vdim: Option<usize>,
    /// Whether the batch is the first dimension rather than the second; false.
    pub batch_first: bool,
    /// The dtype of the parameters; float32.
    pub dtype: DType,
}

impl Default for MultiheadAttentionConfig {
    fn default() -> Self {
        Self {
            dropout: 0.0,
            bias: true,
            add_bias_kv: false,
            add_zero_attn: false,
            kdim: None,
            vdim: None,
            batch_first: false,
            dtype: DType::F32,
        }
    }
}

/// What a query may attend to, and what [`MultiheadAttention::forward`] returns.
#[derive(Clone, Copy, Debug)]
pub struct AttendOptions<'a> {
    /// Which keys of a sample do not count: bools `[batch, source]` (or `[source]`), or numbers that are added.
    pub key_padding_mask: Option<&'a Tensor>,
    /// Whether the weights are wanted; true.
    pub need_weights: bool,
    /// What a query does not attend to: bools `[target, source]` or `[batch · heads, target, source]`, or numbers that are
    /// added.
    pub attn_mask: Option<&'a Tensor>,
    /// Whether the weights are averaged over heads; true.
    pub average_attn_weights: bool,
}

impl Default for AttendOptions<'_> {
    fn default() -> Self {
        Self { key_padding_mask: None, need_weights: true, attn_mask: None, average_attn_weights: true }
    }
}

/// Attention with several heads; PyTorch's `MultiheadAttention`.
///
/// Queries are `[target, batch, features]`, keys and values `[source, batch, features]`; without a batch both lack it.
///
/// ```
/// use sconce::nn::{AttendOptions, MultiheadAttention};
/// use sconce::{DType, Tensor};
/// let attention = MultiheadAttention::new(8, 2)?;
/// let (q, k) = (Tensor::zeros([3, 5, 8], DType::F32)?, Tensor::zeros([4, 5, 8], DType::F32)?);
/// let (y, weights) = attention.forward(&q, &k, &k, AttendOptions::default())?;
/// assert_eq!(y.shape(), [3, 5, 8]);
/// assert_eq!(weights.unwrap().shape(), [5, 3, 4]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct MultiheadAttention {
    /// The projections of query, key and value, `[3 · embed_dim, embed_dim]`, where they share their features.
    pub in_proj_weight: Option<Param>,
    /// The projection of the query, where they do not.
    pub q_proj_weight: Option<Param>,
    /// The projection of the key, where they do not.
    pub k_proj_weight: Option<Param>,
    /// The projection of the value, where they do not.
    pub v_proj_weight: Option<Param>,
    /// What is added to the projections, `[3 · embed_dim]`.
    pub in_proj_bias: Option<Param>,
    /// One more key, `[1, 1, embed_dim]`.
    pub bias_k: Option<Param>,
    /// One more value, `[1, 1, embed_dim]`.
    pub bias_v: Option<Param>,
    /// The projection of what the heads make.
    pub out_proj: Linear,
    /// Whether attention is dropped.
    pub mode: Mode,
    embed_dim: usize,
    num_heads: usize,
    dropout: f64,
    add_zero_attn: bool,
    batch_first: bool,
}

impl MultiheadAttention {
    /// Makes a layer with PyTorch's defaults.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn new(embed_dim: usize, num_heads: usize) -> Result<Self> {
        Self::with(embed_dim, num_heads, MultiheadAttentionConfig::default())
    }

    /// Makes a layer with options.
    ///
    /// # Errors
    ///
    /// If a number is 0, the heads do not divide the features, or dropout is no probability.
    pub fn with(embed_dim: usize, num_heads: usize, config: MultiheadAttentionConfig) -> Result<Self> {
        if embed_dim == 0 || num_heads == 0 || !embed_dim.is_multiple_of(num_heads) {
            return Err(Error::argument(format!(
                "MultiheadAttention: {num_heads} heads do not divide {embed_dim} features"
            )));
        }
        if !(0.0..=1.0).contains(&config.dropout) {
            return Err(Error::argument(format!(
                "MultiheadAttention: the probability {} of dropout must lie in [0, 1]",
                config.dropout
            )));
        }
        let MultiheadAttentionConfig { bias, dtype, kdim, vdim, .. } = config;
        let (kdim, vdim) = (kdim.unwrap_or(embed_dim), vdim.unwrap_or(embed_dim));
        let out_proj = LinearConfig { bias, dtype }.build(embed_dim, embed_dim)?;
        let drawn = |shape: &[usize]| -> Result<Param> {
            let parameter = Param::new(&Tensor::empty(shape, dtype)?)?;
            init::xavier_uniform_(&parameter, 1.0)?;
            Ok(parameter)
        };
        let together = (kdim, vdim) == (embed_dim, embed_dim);
        let apart = |columns: usize| (!together).then(|| drawn(&[embed_dim, columns])).transpose();
        let in_proj_weight = together.then(|| drawn(&[3 * embed_dim, embed_dim])).transpose()?;
        let (q_proj_weight, k_proj_weight, v_proj_weight) = (apart(embed_dim)?, apart(kdim)?, apart(vdim)?);
        let in_proj_bias = bias.then(|| Param::new(&Tensor::zeros([3 * embed_dim], dtype)?)).transpose()?;
        if let Some(bias) = &out_proj.bias {
            init::zeros_(bias)?;
        }
        let learned = || -> Result<Option<Param>> {
            if !config.add_bias_kv {
                return Ok(None);
            }
            let parameter = Param::new(&Tensor::empty([1, 1, embed_dim], dtype)?)?;
            init::xavier_normal_(&parameter, 1.0)?;
            Ok(Some(parameter))
        };
        Ok(Self {
            in_proj_weight,
            q_proj_weight,
            k_proj_weight,
            v_proj_weight,
            in_proj_bias,
            bias_k: learned()?,
            bias_v: learned()?,
            out_proj,
            mode: Mode::Train,
            embed_dim,
            num_heads,
            dropout: config.dropout,
            add_zero_attn: config.add_zero_attn,
            batch_first: config.batch_first,
        })
    }

    /// What the heads make of the values, and if they are wanted the weights: `[batch, target, source]`, with heads as
    /// second dimension where they are not averaged.
    ///
    /// A query without anything to attend to gets zeros, where PyTorch may give NaN.
    ///
    /// # Errors
    ///
    /// If inputs and masks do not fit each other and the layer.
    pub fn forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttendOptions<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let own = [&self.in_proj_weight, &self.q_proj_weight, &self.k_proj_weight, &self.v_proj_weight];
        let others = [&self.in_proj_bias, &self.bias_k, &self.bias_v, &self.out_proj.bias];
        let all = own.into_iter().chain(others).map(Option::as_ref).chain([Some(&self.out_proj.weight)]);
        let result = realised(self, all).and_then(|this| this.compute(query, key, value, options));
        let result = result.context(|| "MultiheadAttention");
        named(result, self.in_proj_weight.as_ref().or(self.q_proj_weight.as_ref()))
    }

    fn compute(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttendOptions<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let batched = query.dim() == 3;
        let misfit = || {
            Error::shape(format!(
                "query {:?}, key {:?} and value {:?} do not fit each other",
                query.shape(),
                key.shape(),
                value.shape()
            ))
        };
        let rank = query.dim();
        if !(2..=3).contains(&rank) || key.dim() != rank || value.dim() != rank {
            return Err(misfit());
        }
        // [length, batch, features], as PyTorch computes.
        let ordered = |x: &Tensor| match (batched, self.batch_first) {
            (false, _) => x.unsqueeze(1),
            (true, true) => x.transpose(0, 1),
            (true, false) => Ok(x.clone()),
        };
        let (query, key, value) = (ordered(query)?, ordered(key)?, ordered(value)?);
        let (target, batch) = (query.shape()[0], query.shape()[1]);
        if key.shape()[..2] != value.shape()[..2] || key.shape()[1] != batch {
            return Err(misfit());
        }
        let (q, mut k, mut v) = self.projected(&query, &key, &value)?;
        let mut mask = self.mask(options, batch, target, key.shape()[0], &q)?;
        let mut append = |k_row: &Tensor, v_row: &Tensor| -> Result<()> {
            let row = [1, batch, self.embed_dim];
            k = Tensor::cat(&[k.clone(), k_row.expand(row)?], 0)?;
            v = Tensor::cat(&[v.clone(), v_row.expand(row)?], 0)?;
            if let Some(old) = &mask {
                let mut shape = old.shape().to_vec();
                if let Some(last) = shape.last_mut() {
                    *last = 1;
                }
                mask = Some(Tensor::cat(&[old.clone(), Tensor::zeros(&shape, old.dtype())?], -1)?);
            }
            Ok(())
        };
        if let (Some(bias_k), Some(bias_v)) = (&self.bias_k, &self.bias_v) {
            append(bias_k, bias_v)?;
        }
        if self.add_zero_attn {
            let zeros = Tensor::zeros([1, 1, self.embed_dim], q.dtype())?;
            append(&zeros, &zeros)?;
        }
        let features = self.embed_dim / self.num_heads;
        // [batch, heads, length, features].
        let heads =
            |x: &Tensor| x.reshape([x.shape()[0], batch, self.num_heads, features])?.permute([1, 2, 0, 3]);
        let attention = AttentionOptions {
            mask: mask.as_ref(),
            dropout_p: if self.mode.is_train() { self.dropout } else { 0.0 },
            ..AttentionOptions::default()
        };
        let (q, k, v) = (heads(&q)?, heads(&k)?, heads(&v)?);
        let (y, weights) = if options.need_weights {
            let (y, weights) = attention_with_weights(&q, &k, &v, attention)?;
            (y, Some(weights))
        } else {
            (scaled_dot_product_attention(&q, &k, &v, attention)?, None)
        };
        let y = y.permute([2, 0, 1, 3])?.reshape([target * batch, self.embed_dim])?;
        let y = linear(&y, &self.out_proj.weight, self.out_proj.bias.as_deref())?.reshape([
            target,
            batch,
            self.embed_dim,
        ])?;
        let y = match (batched, self.batch_first) {
            (false, _) => y.squeeze(1)?,
            (true, true) => y.transpose(0, 1)?,
            (true, false) => y,
        };
        let Some(weights) = weights else { return Ok((y, None)) };
        let weights = if options.average_attn_weights { weights.mean(1)? } else { weights };
        Ok((y, Some(if batched { weights } else { weights.squeeze(0)? })))
    }

    /// Query, key and value after their projections.
    fn projected(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let e = self.embed_dim;
        let part = |t: &Tensor, i: usize| t.narrow(0, (i * e) as isize, e);
        let weight = |i: usize| match (&self.in_proj_weight, i) {
            (Some(all), _) => part(all, i),
            (None, 0) => own(&self.q_proj_weight),
            (None, 1) => own(&self.k_proj_weight),
            (None, _) => own(&self.v_proj_weight),
        };
        if let Some(all) = &self.in_proj_weight
            && q.is(k)
            && k.is(v)
        {
            let y = linear(q, all, self.in_proj_bias.as_deref())?.chunk(3, -1)?;
            return Ok((y[0].clone(), y[1].clone(), y[2].clone()));
        }
        let project = |x: &Tensor, i: usize| {
            let bias = self.in_proj_bias.as_ref().map(|b| part(b, i)).transpose()?;
            linear(x, &weight(i)?, bias.as_ref())
        };
        Ok((project(q, 0)?, project(k, 1)?, project(v, 2)?))
    }

    /// Both masks as numbers to add, broadcasting with `[batch, heads, target, source]`.
    fn mask(
        &self,
        options: AttendOptions<'_>,
        batch: usize,
        target: usize,
        source: usize,
        like: &Tensor,
    ) -> Result<Option<Tensor>> {
        let of_queries = match options.attn_mask {
            Some(mask) if mask.shape() == [target, source] => Some(numbers(mask, like)?),
            Some(mask) if mask.shape() == [batch * self.num_heads, target, source] => {
                Some(numbers(mask, like)?.reshape([batch, self.num_heads, target, source])?)
            }
            Some(mask) => {
                return Err(Error::shape(format!(
                    "attn_mask must have shape {:?} or {:?}, found {:?}",
                    [target, source],
                    [batch * self.num_heads, target, source],
                    mask.shape()
                )));
            }
            None => None,
        };
        let of_keys = match options.key_padding_mask {
            Some(mask) if mask.numel() == batch * source && mask.shape().last() == Some(&source) => {
                Some(numbers(mask, like)?.reshape([batch, 1, 1, source])?)
            }
            Some(mask) => {
                return Err(Error::shape(format!(
                    "key_padding_mask must have shape {:?}, found {:?}",
                    [batch, source],
                    mask.shape()
                )));
            }
            None => None,
        };
        match (of_queries, of_keys) {
            (Some(queries), Some(keys)) => queries.add(&keys).map(Some),
            (queries, keys) => Ok(queries.or(keys)),
        }
    }
}

fn own(weight: &Option<Param>) -> Result<Tensor> {
    let weight = weight.as_ref().ok_or_else(|| Error::argument("a projection is missing"))?;
    Ok(weight.tensor().clone())
}

/// A mask as numbers to add: −∞ where a bool says that it does not count.
fn numbers(mask: &Tensor, like: &Tensor) -> Result<Tensor> {
    if mask.dtype() == DType::Bool {
        Tensor::zeros(mask.shape(), like.dtype())?.masked_fill(mask, f64::NEG_INFINITY)
    } else {
        mask.to(like.dtype())
    }
}
