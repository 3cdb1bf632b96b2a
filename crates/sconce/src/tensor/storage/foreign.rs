//! Storages of memory that something else allocated: a vector, another library.

#![allow(unsafe_code)]

use std::any::Any;
use std::ptr::NonNull;

use super::{Block, Counted, Data, INLINE, Storage};
use crate::Result;
use crate::tensor::dtype::{DType, Element};

/// Memory, and what frees it when it is dropped.
pub(super) struct Foreign {
    ptr: NonNull<u8>,
    owner: Box<dyn Any + Send + Sync>,
}

impl Foreign {
    pub(super) fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
}

impl Block {
    pub(super) fn takes_any_bytes(&self, dtype: DType) -> bool {
        dtype != DType::Bool && !matches!(self.data, Data::Foreign(_))
    }
}

impl Storage {
    /// Whether all that matters to its tensors, which are of this dtype, is that only one thread writes it: not of bools,
    /// which are not any bytes, nor of what another library gave, which may be the memory of a second storage too.
    pub(crate) fn takes_any_bytes(&self, dtype: DType) -> bool {
        self.0.takes_any_bytes(dtype)
    }

    /// A new storage of the memory of a vector: its allocation, unless that is small.
    pub(crate) fn from_vec<T: Element>(op: &str, mut elements: Vec<T>) -> Result<Self> {
        let len = std::mem::size_of_val(elements.as_slice());
        let Some(ptr) = NonNull::new(elements.as_mut_ptr()).filter(|_| len > INLINE) else {
            return Self::from_elements(op, &elements);
        };
        // SAFETY: the vector's allocation holds `len` initialised bytes, stays where it is while the vector is moved, and is
        // reached by nothing else: the vector is used again only by `into_vec`, when the storage is no more.
        Ok(unsafe { Self::foreign(ptr.cast(), len, Box::new(elements)) })
    }

    /// The vector that the storage was made of, if it was and this is the only handle.
    pub(crate) fn into_vec<T: Element>(mut self) -> std::result::Result<Vec<T>, Self> {
        let Some(block) = self.0.get_mut() else { return Err(self) };
        let is_vector = matches!(&block.data, Data::Foreign(foreign) if foreign.owner.is::<Vec<T>>());
        if !is_vector {
            return Err(self);
        }
        match std::mem::replace(&mut block.data, Data::Heap(None)) {
            Data::Foreign(foreign) => Ok(*foreign.owner.downcast().expect("just asked")),
            _ => Err(self),
        }
    }

    /// A storage of memory that `owner` frees when it is dropped, on any thread.
    ///
    /// # Safety
    ///
    /// - `ptr` points to `len` initialised bytes that stay there until `owner` is dropped, at an address that is a multiple of
    ///   the alignment of the elements that they are used as.
    /// - Bytes used as `bool` are 0 or 1.
    /// - Until then nobody else writes to them while a tensor on the storage is read, or touches them while one is written.
    pub(in crate::tensor) unsafe fn foreign(
        ptr: NonNull<u8>,
        len: usize,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self::block(Counted::room(), len, Data::Foreign(Foreign { ptr, owner }))
    }
}
