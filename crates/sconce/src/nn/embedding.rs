//! Tables of vectors.

use super::form::realised;
use super::init;
use super::layer::Layer;
use super::leaf::{Param, Size, settings};
use super::place::named;
use crate::functional::{self, BagMode, EmbeddingBagOptions, EmbeddingOptions};
use crate::tensor::{DType, Tensor};
use crate::{Error, Module, Result, no_grad};

settings!(BagMode);

/// The options of an [`Embedding`].
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingConfig {
    /// The row that starts as zeros and gets no gradient; none. A negative one counts from the end.
    pub padding_idx: Option<isize>,
    /// Rows that are looked up are first scaled, in place, to at most this norm; not by default.
    pub max_norm: Option<f64>,
    /// The p of that norm; 2.
    pub norm_type: f64,
    /// Whether a row's gradient is divided by how often it was looked up; false.
    pub scale_grad_by_freq: bool,
    /// The dtype of the table; float32.
    pub dtype: DType,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        Self {
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
            dtype: DType::F32,
        }
    }
}

/// The row that is padding, counted from the start.
fn padding_row(layer: &str, padding_idx: Option<isize>, rows: usize) -> Result<Option<isize>> {
    match padding_idx {
        Some(i) if i >= rows as isize || i < -(rows as isize) => {
            Err(Error::argument(format!("{layer}: padding_idx {i} is out of range for {rows} embeddings")))
        }
        Some(i) => Ok(Some(i.rem_euclid(rows as isize))),
        None => Ok(None),
    }
}

/// A table with values drawn from N(0, 1), and zeros in the row that is padding.
fn table(rows: usize, columns: usize, padding: Option<isize>, dtype: DType) -> Result<Param> {
    let weight = Param::new(&Tensor::empty([rows, columns], dtype)?)?;
    init::normal_(&weight, 0.0, 1.0)?;
    if let Some(row) = padding {
        no_grad(|| Tensor::select(&weight, 0, row)?.fill_(0))?;
    }
    Ok(weight)
}

/// The rows of a table at indices; PyTorch's `Embedding`.
///
/// ```
/// use sconce::nn::{Embedding, Layer};
/// use sconce::Tensor;
/// let embedding = Embedding::new(10, 3)?;
/// let tokens = Tensor::from_vec(vec![1i64, 9, 1, 0], [2, 2])?;
/// assert_eq!(embedding.forward(&tokens)?.shape(), [2, 2, 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct Embedding {
    /// The table, `[num_embeddings, embedding_dim]`.
    pub weight: Param,
    num_embeddings: usize,
    embedding_dim: Size,
    padding_idx: Option<isize>,
    max_norm: Option<f64>,
    norm_type: f64,
    scale_grad_by_freq: bool,
}

impl Embedding {
    /// Makes a table with PyTorch's defaults; [`EmbeddingConfig`] has the options.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Result<Self> {
        Self::with(num_embeddings, embedding_dim, EmbeddingConfig::default())
    }

    /// Makes a table with options.
    ///
    /// # Errors
    ///
    /// If the padding index is out of range, the dtype is not floating point, or there is not enough memory.
    pub fn with(num_embeddings: usize, embedding_dim: usize, config: EmbeddingConfig) -> Result<Self> {
        let EmbeddingConfig { padding_idx, max_norm, norm_type, scale_grad_by_freq, dtype } = config;
        let padding_idx = padding_row("Embedding", padding_idx, num_embeddings)?;
        let weight = table(num_embeddings, embedding_dim, padding_idx, dtype)?;
        Ok(Self {
            weight,
            num_embeddings,
            embedding_dim: Size(embedding_dim),
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
        })
    }

    /// Makes a frozen table of vectors that are there already; PyTorch's `from_pretrained`.
    ///
    /// # Errors
    ///
    /// If they are no matrix.
    pub fn from_pretrained(vectors: &Tensor) -> Result<Self> {
        let &[num_embeddings, embedding_dim] = vectors.shape() else {
            return Err(Error::shape(format!(
                "Embedding: needs a matrix, found shape {:?}",
                vectors.shape()
            )));
        };
        Ok(Self {
            weight: Param::frozen(vectors),
            num_embeddings,
            embedding_dim: Size(embedding_dim),
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
        })
    }
}

impl Layer for Embedding {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self { padding_idx, max_norm, norm_type, scale_grad_by_freq, .. } = *self;
        let options = EmbeddingOptions { padding_idx, max_norm, norm_type, scale_grad_by_freq };
        let compute = || functional::embedding(x, &realised(self, [Some(&self.weight)])?.weight, options);
        named(compute(), Some(&self.weight))
    }
}

/// The options of an [`EmbeddingBag`].
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingBagConfig {
    /// What becomes of the rows of a bag; their mean.
    pub mode: BagMode,
    /// Whether the last offset is the end of the last bag; false.
    pub include_last_offset: bool,
    /// The row that does not count; none. A negative one counts from the end.
    pub padding_idx: Option<isize>,
    /// Rows that are looked up are first scaled, in place, to at most this norm; not by default.
    pub max_norm: Option<f64>,
    /// The p of that norm; 2.
    pub norm_type: f64,
    /// Whether a row's gradient is divided by how often it was looked up; false.
    pub scale_grad_by_freq: bool,
    /// The dtype of the table; float32.
    pub dtype: DType,
}

impl Default for EmbeddingBagConfig {
    fn default() -> Self {
        Self {
            mode: BagMode::Mean,
            include_last_offset: false,
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
            dtype: DType::F32,
        }
    }
}

/// Sums, means or maxima of rows of a table; PyTorch's `EmbeddingBag`.
///
/// ```
/// use sconce::nn::EmbeddingBag;
/// use sconce::Tensor;
/// let bags = EmbeddingBag::new(10, 3)?;
/// let tokens = Tensor::from_vec(vec![1i64, 9, 1, 0], [4])?;
/// let offsets = Tensor::from_vec(vec![0i64, 3], [2])?;
/// assert_eq!(bags.forward(&tokens, Some(&offsets), None)?.shape(), [2, 3]);
/// # Ok::<(), sconce::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
pub struct EmbeddingBag {
    /// The table, `[num_embeddings, embedding_dim]`.
    pub weight: Param,
    num_embeddings: usize,
    embedding_dim: usize,
    bag_mode: BagMode,
    include_last_offset: bool,
    padding_idx: Option<isize>,
    max_norm: Option<f64>,
    norm_type: f64,
    scale_grad_by_freq: bool,
}

impl EmbeddingBag {
    /// Makes a table with PyTorch's defaults; [`EmbeddingBagConfig`] has the options.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Result<Self> {
        Self::with(num_embeddings, embedding_dim, EmbeddingBagConfig::default())
    }

    /// Makes a table with options.
    ///
    /// # Errors
    ///
    /// If the padding index is out of range, the dtype is not floating point, or there is not enough memory.
    pub fn with(num_embeddings: usize, embedding_dim: usize, config: EmbeddingBagConfig) -> Result<Self> {
        let EmbeddingBagConfig {
            mode,
            include_last_offset,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            dtype,
        } = config;
        let padding_idx = padding_row("EmbeddingBag", padding_idx, num_embeddings)?;
        let weight = table(num_embeddings, embedding_dim, padding_idx, dtype)?;
        Ok(Self {
            weight,
            num_embeddings,
            embedding_dim,
            bag_mode: mode,
            include_last_offset,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
        })
    }

    /// One row per bag: of a matrix of indices, or of a vector and the offsets at which bags start.
    ///
    /// # Errors
    ///
    /// As [`functional::embedding_bag`].
    pub fn forward(
        &self,
        x: &Tensor,
        offsets: Option<&Tensor>,
        per_sample_weights: Option<&Tensor>,
    ) -> Result<Tensor> {
        let options = EmbeddingBagOptions {
            offsets,
            mode: self.bag_mode,
            per_sample_weights,
            include_last_offset: self.include_last_offset,
            padding_idx: self.padding_idx,
            max_norm: self.max_norm,
            norm_type: self.norm_type,
            scale_grad_by_freq: self.scale_grad_by_freq,
        };
        let compute = || functional::embedding_bag(x, &realised(self, [Some(&self.weight)])?.weight, options);
        named(compute(), Some(&self.weight))
    }
}
