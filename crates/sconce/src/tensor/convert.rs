//! Tensors to plain Rust values and back, and between dtypes.

#[cfg(feature = "ndarray")]
use super::Dims;
use super::dtype::{Category, Element};
use super::{DType, Tensor};
use crate::{Error, Result};

impl Tensor {
    /// The elements in row-major order.
    ///
    /// # Errors
    ///
    /// If `T` is not the tensor's dtype: convert with [`to`](Self::to) first.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.t()?.to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.with_slice(|elements: &[T]| elements.to_vec())
    }

    /// The elements in row-major order, without a copy if this is the last handle to a tensor that was
    /// [made of a vector](Self::from_vec).
    ///
    /// ```
    /// use sconce::Tensor;
    /// let elements = vec![1.0f32; 100];
    /// let address = elements.as_ptr();
    /// let x = Tensor::from_vec(elements, [10, 10])?;
    /// x.mul_(2.0)?;
    /// assert_eq!(x.into_vec::<f32>()?.as_ptr(), address);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `T` is not the tensor's dtype.
    pub fn into_vec<T: Element>(self) -> Result<Vec<T>> {
        let whole = T::DTYPE == self.dtype()
            && self.numel() * self.dtype().size() == self.storage().len()
            && self.is_contiguous()
            && self.is_unique();
        if !whole {
            return self.to_vec();
        }
        let (storage, n) = (self.storage().clone(), self.numel());
        drop(self);
        match storage.into_vec() {
            Ok(elements) => Ok(elements),
            Err(storage) => storage.with_elements("into_vec", 0, n, <[T]>::to_vec),
        }
    }

    /// Calls a function with the elements in row-major order, without a copy if the tensor is contiguous.
    ///
    /// The memory is locked for reading meanwhile: changing the tensor inside `f` is an error.
    ///
    /// # Errors
    ///
    /// If `T` is not the tensor's dtype.
    pub fn with_slice<T: Element, R>(&self, f: impl FnOnce(&[T]) -> R) -> Result<R> {
        if T::DTYPE != self.dtype() {
            return Err(Error::dtype(format!(
                "with_slice: the tensor is {}, not {}",
                self.dtype(),
                T::DTYPE
            )));
        }
        let dense = self.dense()?;
        dense.storage().with_elements("with_slice", dense.storage_offset(), dense.numel(), f)
    }

    /// The elements as little-endian bytes in row-major order.
    ///
    /// # Errors
    ///
    /// If the memory is locked by another thread.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let dense = self.dense()?;
        let size = self.dtype().size();
        let mut bytes = dense.storage().with_elements(
            "to_bytes",
            dense.storage_offset() * size,
            dense.numel() * size,
            |bytes: &[u8]| bytes.to_vec(),
        )?;
        if cfg!(target_endian = "big") {
            let part = if self.dtype().category() == Category::Complex { size / 2 } else { size };
            bytes.chunks_exact_mut(part).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    /// The one element as a number.
    ///
    /// # Errors
    ///
    /// If there is not exactly one element, or the dtype is only stored.
    ///
    /// ```
    /// use sconce::Tensor;
    /// assert_eq!(Tensor::from_vec(vec![7i64], [1, 1])?.item()?, 7.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn item(&self) -> Result<f64> {
        if self.numel() != 1 {
            return Err(Error::shape(format!(
                "item: a tensor of shape {:?} is not one element",
                self.shape()
            )));
        }
        let x = self.detach().to(DType::F64)?;
        x.with_slice(|x: &[f64]| x[0])
    }

    /// The one element as an integer.
    ///
    /// # Errors
    ///
    /// If there is not exactly one element, or the dtype is not an integer or bool.
    pub fn item_i64(&self) -> Result<i64> {
        if self.numel() != 1 {
            return Err(Error::shape(format!(
                "item_i64: a tensor of shape {:?} is not one element",
                self.shape()
            )));
        }
        if !matches!(self.dtype().category(), Category::Integer | Category::Bool) {
            return Err(Error::dtype(format!("item_i64: the tensor is {}", self.dtype())));
        }
        self.to(DType::I64)?.with_slice(|x: &[i64]| x[0])
    }

    /// The number of an integer tensor without dimensions, where an index is asked for.
    ///
    /// # Errors
    ///
    /// If it has dimensions or is not of integers.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![10i64, 20, 30], [3])?;
    /// assert_eq!(x.narrow(0, Tensor::scalar(1i32).item_index()?, 2)?.to_vec::<i64>()?, [20, 30]);
    /// assert!(x.item_index().is_err());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn item_index(&self) -> Result<isize> {
        if self.dim() != 0 || self.dtype().category() != Category::Integer {
            return Err(Error::argument(format!(
                "item_index: an index must be an integer tensor without dimensions, found {} of shape {:?}",
                self.dtype(),
                self.shape()
            )));
        }
        isize::try_from(self.item_i64()?)
            .map_err(|e| Error::argument("item_index: the index is too large").with_source(e))
    }
}

#[cfg(feature = "ndarray")]
impl Tensor {
    /// An `ndarray` with a copy of the elements.
    ///
    /// # Errors
    ///
    /// If `T` is not the tensor's dtype.
    pub fn to_ndarray<T: Element>(&self) -> Result<ndarray::ArrayD<T>> {
        ndarray_of("to_ndarray", self.shape(), self.to_vec()?)
    }

    /// An `ndarray` with the elements, without a copy where [`into_vec`](Self::into_vec) makes none.
    ///
    /// # Errors
    ///
    /// If `T` is not the tensor's dtype.
    pub fn into_ndarray<T: Element>(self) -> Result<ndarray::ArrayD<T>> {
        let shape = Dims::from_slice(self.shape());
        ndarray_of("into_ndarray", &shape, self.into_vec()?)
    }

    /// A tensor with a copy of an `ndarray`, whatever its memory order.
    ///
    /// # Errors
    ///
    /// If the array has too many elements.
    ///
    /// ```
    /// let a = ndarray::array![[1.0f32, 2.0], [3.0, 4.0]];
    /// let x = sconce::Tensor::from_ndarray(&a.t())?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn from_ndarray<T: Element, D: ndarray::Dimension>(
        array: &ndarray::ArrayBase<impl ndarray::Data<Elem = T>, D>,
    ) -> Result<Self> {
        match array.as_slice() {
            Some(elements) => Self::from_slice(elements, array.shape()),
            None => Self::from_vec(array.iter().copied().collect(), array.shape()),
        }
    }

    /// A tensor in the memory of an `ndarray`, with its strides; a copy if one of them is negative.
    ///
    /// # Errors
    ///
    /// If the array has too many elements.
    ///
    /// ```
    /// let a = ndarray::Array::from_elem([8, 16], 1.5f32).reversed_axes();
    /// let address = a.as_ptr();
    /// let x = sconce::Tensor::from_ndarray_owned(a)?;
    /// assert_eq!((x.shape(), x.strides()), (&[16, 8][..], &[1, 16][..]));
    /// assert_eq!(x.t()?.with_slice(|x: &[f32]| x.as_ptr())?, address);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn from_ndarray_owned<T: Element, D: ndarray::Dimension>(
        array: ndarray::Array<T, D>,
    ) -> Result<Self> {
        let strides: Option<Dims> = array.strides().iter().map(|&s| usize::try_from(s).ok()).collect();
        let Some(strides) = strides else { return Self::from_ndarray(&array) };
        let shape = Dims::from_slice(array.shape());
        let (elements, offset) = array.into_raw_vec_and_offset();
        let n = elements.len();
        // No view of what nobody else holds.
        Ok(Self::from_vec(elements, n)?.as_strided(&*shape, &*strides, offset.unwrap_or(0))?.detach())
    }
}

#[cfg(feature = "ndarray")]
fn ndarray_of<T>(op: &str, shape: &[usize], elements: Vec<T>) -> Result<ndarray::ArrayD<T>> {
    ndarray::ArrayD::from_shape_vec(shape, elements)
        .map_err(|e| Error::shape(format!("{op}: {e}")).with_source(e))
}
