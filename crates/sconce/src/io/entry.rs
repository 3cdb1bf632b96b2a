//! A named tensor of a file: what it is, and where its bytes are.

use super::encoding::Encoding;
use super::limits::MAX_DIMS;
use crate::error::{Error, Result};

/// A named tensor of an [`Archive`](super::Archive).
///
/// It is a view of a storage, as in PyTorch: element (i, j, …) is at `offset + i·strides[0] + j·strides[1] + …`.
/// Sizes, strides and offset count elements.
///
/// ```
/// use sconce::{DType, io::Entry};
///
/// let entry = Entry::new("weight", DType::F32, [2, 3]).with_parameter(true);
/// assert_eq!(entry.numel(), 6);
/// assert_eq!(entry.strides(), [3, 1]);
/// assert!(entry.is_contiguous() && entry.parameter() && entry.requires_grad());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub(super) name: String,
    pub(super) encoding: Encoding,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) offset: usize,
    pub(super) storage: usize,
    pub(super) parameter: bool,
    pub(super) requires_grad: bool,
    pub(super) conjugate: bool,
    pub(super) negative: bool,
    pub(super) quantizer: Option<Box<Quantizer>>,
}

/// How the integers of a quantised tensor stand for numbers: `(q - zero_point) · scale`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Quantizer {
    /// One scale for the whole tensor.
    PerTensor {
        /// The step between two integers.
        scale: f64,
        /// The integer that stands for zero.
        zero_point: i64,
    },
    /// A scale for each index of one dimension.
    PerChannel {
        /// The step between two integers, for each index.
        scales: Vec<f64>,
        /// What stands for zero, for each index; of some schemes no integer.
        zero_points: Vec<f64>,
        /// The dimension.
        axis: usize,
    },
}

impl Entry {
    /// Describes a contiguous tensor that begins at the start of its storage.
    pub fn new(name: impl Into<String>, encoding: impl Into<Encoding>, shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        Self {
            name: name.into(),
            encoding: encoding.into(),
            strides: contiguous_strides(&shape),
            shape,
            offset: 0,
            storage: 0,
            parameter: false,
            requires_grad: false,
            conjugate: false,
            negative: false,
            quantizer: None,
        }
    }

    /// Makes it a view: strides and offset in elements.
    #[must_use]
    pub fn with_view(mut self, strides: impl Into<Vec<usize>>, offset: usize) -> Self {
        self.strides = strides.into();
        self.offset = offset;
        self
    }

    /// Marks it as an `nn.Parameter`, which requires a gradient unless [`with_requires_grad`](Self::with_requires_grad)
    /// says otherwise.
    #[must_use]
    pub fn with_parameter(mut self, parameter: bool) -> Self {
        self.parameter = parameter;
        self.requires_grad = parameter;
        self
    }

    /// Says whether it requires a gradient.
    #[must_use]
    pub fn with_requires_grad(mut self, requires_grad: bool) -> Self {
        self.requires_grad = requires_grad;
        self
    }

    /// Gives it another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Gives it another encoding; the bytes are the caller's business.
    #[must_use]
    pub(crate) fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Makes it begin at the start of a storage, row by row.
    #[must_use]
    pub(crate) fn made_contiguous(mut self) -> Self {
        self.strides = contiguous_strides(&self.shape);
        self.offset = 0;
        (self.conjugate, self.negative) = (false, false);
        self
    }

    /// The name: in nested files, keys and indices joined by dots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the elements are stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The step of each dimension, in elements.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// The first element's position in the storage, in elements.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The storage's index in the archive; entries that share memory share a storage.
    pub fn storage(&self) -> usize {
        self.storage
    }

    /// Whether the file says that it is an `nn.Parameter`.
    pub fn parameter(&self) -> bool {
        self.parameter
    }

    /// Whether the file says that it requires a gradient.
    pub fn requires_grad(&self) -> bool {
        self.requires_grad
    }

    /// How integers stand for numbers, if the tensor is quantised.
    pub fn quantizer(&self) -> Option<&Quantizer> {
        self.quantizer.as_deref()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().fold(1, |n: usize, &d| n.saturating_mul(d))
    }

    /// The bytes of all elements in row-major order.
    pub fn bytes(&self) -> u64 {
        self.encoding.bytes_for(self.numel() as u64).unwrap_or(u64::MAX)
    }

    /// Whether the elements follow each other in row-major order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1_usize;
        self.numel() == 0
            || self.shape.iter().zip(&self.strides).rev().all(|(&d, &s)| {
                let fits = d == 1 || s == expected;
                expected = expected.saturating_mul(d);
                fits
            })
    }

    /// The same tensor with its values stored as they are, contiguous, at the start of a storage of its own.
    ///
    /// ```
    /// use sconce::{DType, io::Entry};
    ///
    /// let view = Entry::new("w", DType::F32, [2, 3]).with_view([1, 2], 5).with_parameter(true);
    /// let entry = view.to_contiguous();
    /// assert!(entry.is_contiguous() && entry.parameter());
    /// assert_eq!((entry.offset(), entry.shape()), (0, &[2, 3][..]));
    /// ```
    pub fn to_contiguous(&self) -> Self {
        Self {
            strides: contiguous_strides(&self.shape),
            offset: 0,
            conjugate: false,
            negative: false,
            ..self.clone()
        }
    }

    /// The same tensor with elements of another dtype, contiguous and unscaled; its bytes are not converted.
    #[must_use]
    pub fn with_dtype(&self, dtype: crate::DType) -> Self {
        Self { encoding: Encoding::Plain(dtype), quantizer: None, ..self.to_contiguous() }
    }

    /// Whether a stored sign or conjugation bit makes the values differ from the bytes.
    pub(crate) fn is_lazy(&self) -> bool {
        self.conjugate || self.negative
    }

    /// Checks it against the bytes of its storage.
    ///
    /// After this no size, offset or reach overflows, and every element lies in the storage.
    pub(super) fn check(&self, storage_bytes: u64) -> Result<()> {
        let Self { shape, strides, .. } = self;
        if shape.len() > MAX_DIMS {
            return Err(Error::format(format!("{} dimensions, at most {MAX_DIMS} are allowed", shape.len())));
        }
        if shape.len() != strides.len() {
            let (sizes, steps) = (shape.len(), strides.len());
            return Err(Error::format(format!("{sizes} sizes but {steps} strides")));
        }
        let nonzero = shape.iter().filter(|&&d| d != 0).try_fold(1_u64, |n, &d| n.checked_mul(d as u64));
        let fits = nonzero.and_then(|n| n.checked_mul(16)).is_some_and(|n| i64::try_from(n).is_ok());
        if !fits {
            return Err(Error::format(format!("the product of the shape {shape:?} overflows")));
        }
        let numel = self.numel() as u64;
        if self.encoding.bytes_for(numel).is_none() {
            let name = self.encoding.name();
            return Err(Error::format(format!("shape {shape:?} of {name} is not a whole number of blocks")));
        }
        let (elements, bytes) = self.encoding.block();
        if elements > 1 && (!self.is_contiguous() || !(self.offset as u64).is_multiple_of(elements)) {
            return Err(Error::format(format!(
                "strides {strides:?} cut the blocks of {}",
                self.encoding.name()
            )));
        }
        if numel == 0 {
            return Ok(());
        }
        let last = shape.iter().zip(strides).try_fold(self.offset as u64, |reach, (&d, &s)| {
            (d as u64 - 1).checked_mul(s as u64).and_then(|step| reach.checked_add(step))
        });
        let end = last.and_then(|last| (last / elements).checked_add(1)).and_then(|n| n.checked_mul(bytes));
        match end {
            Some(end) if end <= storage_bytes => Ok(()),
            _ => {
                let offset = self.offset;
                let name = self.encoding.name();
                Err(Error::format(format!(
                    "shape {shape:?} with strides {strides:?} and offset {offset} of {name} reaches beyond the \
                     storage of {storage_bytes} bytes"
                )))
            }
        }
    }
}

/// Row-major strides; they wrap on overflow, which [`Entry::check`] refuses.
pub(super) fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].wrapping_mul(shape[i].max(1));
    }
    strides
}
