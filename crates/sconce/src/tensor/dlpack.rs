//! Memory shared with other libraries: DLPack's managed tensor, version 1.
//!
//! The structs are those of `dlpack.h`, so that a pointer to a [`ManagedTensor`] is what a "dltensor_versioned" capsule of
//! Python's array API holds, and what C and C++ libraries pass around.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use super::dtype::Category;
use super::layout::{Layout, checked_numel, contiguous_strides};
use super::storage::Storage;
use super::{DType, Dims, Tensor};
use crate::{Error, Result};

/// The version that is written, and the only major one that is read.
const VERSION: Version = Version { major: 1, minor: 0 };

/// `kDLCPU`.
const CPU: i32 = 1;

/// A tensor of more dimensions is refused.
const MOST_DIMS: i32 = 64;

/// `DLPACK_FLAG_BITMASK_READ_ONLY`: the memory must not be written to.
pub const READ_ONLY: u64 = 1;

/// `DLPackVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Version {
    /// Structs of another major version have another layout.
    pub major: u32,
    /// Later ones add values of enums and flags.
    pub minor: u32,
}

/// `DLDevice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Device {
    /// 1 for the CPU, the only one that there is here.
    pub device_type: i32,
    /// Which of several devices of a type.
    pub device_id: i32,
}

/// `DLDataType`: `lanes` numbers of `bits` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DataType {
    /// The kind of number: `DLDataTypeCode`.
    pub code: u8,
    /// The size of one, with both parts of a complex one.
    pub bits: u8,
    /// More than one for a vector type.
    pub lanes: u16,
}

/// `DLTensor`: memory and how it is laid out.
#[derive(Debug)]
#[repr(C)]
pub struct DlTensor {
    /// The memory; `byte_offset` bytes on lies the first element.
    pub data: *mut c_void,
    /// Where the memory is.
    pub device: Device,
    /// The number of dimensions.
    pub ndim: i32,
    /// The element type.
    pub dtype: DataType,
    /// `ndim` sizes.
    pub shape: *mut i64,
    /// `ndim` steps between neighbours, in elements; null for row-major order.
    pub strides: *mut i64,
    /// Bytes from `data` to the first element.
    pub byte_offset: u64,
}

/// `DLManagedTensorVersioned`: a tensor, and how its taker gives it back.
#[derive(Debug)]
#[repr(C)]
pub struct ManagedTensor {
    /// The version of this struct.
    pub version: Version,
    /// The maker's own.
    pub manager_ctx: *mut c_void,
    /// What the taker calls, once, when it no longer needs the tensor; may be null.
    pub deleter: Option<unsafe extern "C" fn(*mut ManagedTensor)>,
    /// A set of bits, of which [`READ_ONLY`] is one.
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DlTensor,
}

/// The element types that have a code: `kDLInt`, `kDLUInt`, `kDLFloat`, `kDLBfloat`, `kDLComplex`, `kDLBool`, and the
/// 8-bit floats.
const CODES: &[(DType, u8)] = &[
    (DType::I8, 0),
    (DType::I16, 0),
    (DType::I32, 0),
    (DType::I64, 0),
    (DType::U8, 1),
    (DType::U16, 1),
    (DType::U32, 1),
    (DType::U64, 1),
    (DType::F16, 2),
    (DType::F32, 2),
    (DType::F64, 2),
    (DType::BF16, 4),
    (DType::C32, 5),
    (DType::C64, 5),
    (DType::C128, 5),
    (DType::Bool, 6),
    (DType::F8E4M3, 10),
    (DType::F8E4M3FNUZ, 11),
    (DType::F8E5M2, 12),
    (DType::F8E5M2FNUZ, 13),
    (DType::F8E8M0, 14),
];

fn data_type(dtype: DType) -> Option<DataType> {
    let (_, code) = CODES.iter().find(|(d, _)| *d == dtype)?;
    Some(DataType { code: *code, bits: (dtype.size() * 8) as u8, lanes: 1 })
}

/// What an exported tensor keeps alive: its own struct, sizes and steps, and the memory.
struct Exported {
    managed: ManagedTensor,
    shape: Box<[i64]>,
    strides: Box<[i64]>,
    _tensor: Tensor,
}

/// Frees what [`Tensor::to_dlpack`] made.
unsafe extern "C" fn delete(managed: *mut ManagedTensor) {
    // SAFETY: `to_dlpack` leaked the box that this points to, and its taker calls this once.
    drop(unsafe { Box::from_raw((*managed).manager_ctx.cast::<Exported>()) });
}

/// A tensor that another library gave; its end gives it back.
struct Imported(NonNull<ManagedTensor>);

// SAFETY: the contract of `from_dlpack` says that the deleter may be called on any thread, and nothing else is done with
// the struct.
unsafe impl Send for Imported {}
// SAFETY: as above; a shared `Imported` does nothing.
unsafe impl Sync for Imported {}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: the contract of `from_dlpack`: the struct is valid until its deleter was called, which happens here once.
        unsafe {
            if let Some(deleter) = self.0.as_ref().deleter {
                deleter(self.0.as_ptr());
            }
        }
    }
}

impl Tensor {
    /// This tensor's memory for another library, as a DLPack managed tensor of version 1.
    ///
    /// The taker calls the deleter once, on any thread; until then the memory stays. It is shared: what the taker writes is
    /// seen here, without a lock and without a new [`version`](Self::version), so only one side may be at work at a time.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// // SAFETY: the pointer is fresh and used once.
    /// let y = unsafe { Tensor::from_dlpack(x.t()?.to_dlpack()?)? };
    /// x.fill_(7.0)?;
    /// assert_eq!((y.strides(), y.to_vec::<f32>()?), (&[1, 2][..], vec![7.0; 4]));
    /// # Ok::<(), sconce::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the tensor requires grad: detach it.
    pub fn to_dlpack(&self) -> Result<NonNull<ManagedTensor>> {
        if self.requires_grad() {
            return Err(Error::autograd(format!(
                "to_dlpack: {} requires grad, which the taker would not know: detach it",
                self.describe()
            )));
        }
        let dtype = data_type(self.dtype())
            .ok_or_else(|| Error::dtype(format!("to_dlpack: DLPack has no {}", self.dtype())))?;
        let signed = |sizes: &[usize]| -> Box<[i64]> { sizes.iter().map(|&n| n as i64).collect() };
        let data = match self.numel() {
            // As DLPack asks for.
            0 => std::ptr::null_mut(),
            // Within the storage.
            _ => self.storage().ptr().wrapping_add(self.storage_offset() * self.dtype().size()),
        };
        let mut exported = Box::new(Exported {
            managed: ManagedTensor {
                version: VERSION,
                manager_ctx: std::ptr::null_mut(),
                deleter: Some(delete),
                flags: 0,
                dl_tensor: DlTensor {
                    data: data.cast(),
                    device: Device { device_type: CPU, device_id: 0 },
                    ndim: self.dim() as i32,
                    dtype,
                    shape: std::ptr::null_mut(),
                    strides: std::ptr::null_mut(),
                    byte_offset: 0,
                },
            },
            shape: signed(self.shape()),
            strides: signed(self.strides()),
            _tensor: self.clone(),
        });
        exported.managed.dl_tensor.shape = exported.shape.as_mut_ptr();
        exported.managed.dl_tensor.strides = exported.strides.as_mut_ptr();
        let exported = NonNull::from(Box::leak(exported));
        // SAFETY: the box was just leaked, and nobody else has its address.
        unsafe {
            (*exported.as_ptr()).managed.manager_ctx = exported.as_ptr().cast();
            Ok(NonNull::new_unchecked(&raw mut (*exported.as_ptr()).managed))
        }
    }

    /// A tensor on the memory of another library, given as a DLPack managed tensor; the deleter is called when the last
    /// tensor on the memory is dropped.
    ///
    /// Read-only memory is copied, because nothing here keeps a tensor from being written to; so are elements that are not
    /// aligned to their size.
    ///
    /// # Errors
    ///
    /// If the version or the device is another, the element type is unknown, a size or step is negative, or they overflow.
    /// The deleter is then not called, and the pointer stays the caller's.
    ///
    /// # Safety
    ///
    /// - The pointer is valid and leads to a valid tensor of the memory of this process. Nobody else calls its deleter, which
    ///   may be called on any thread.
    /// - All bytes from the first element to the last, also those between elements that steps leave out, are one allocation's
    ///   and initialised; of dtype bool, they are 0 or 1.
    /// - While a tensor on the memory is read here, nobody else writes to any of these bytes; while one is written, nobody
    ///   else touches them.
    pub unsafe fn from_dlpack(managed: NonNull<ManagedTensor>) -> Result<Tensor> {
        const NAME: &str = "from_dlpack";
        // SAFETY: the caller's contract.
        let ManagedTensor { version, flags, dl_tensor, .. } = unsafe { managed.as_ref() };
        if version.major != VERSION.major {
            return Err(Error::unsupported(format!(
                "{NAME}: version {}.{}, expected {}.x",
                version.major, version.minor, VERSION.major
            )));
        }
        let DlTensor { data, device, ndim, dtype, shape, strides, byte_offset } = dl_tensor;
        if device.device_type != CPU {
            return Err(Error::unsupported(format!(
                "{NAME}: a device of type {}, expected {CPU}, the CPU",
                device.device_type
            )));
        }
        if !(0..=MOST_DIMS).contains(ndim) {
            return Err(Error::shape(format!("{NAME}: {ndim} dimensions, expected 0 to {MOST_DIMS}")));
        }
        let Some((element, _)) = CODES.iter().find(|(d, _)| data_type(*d) == Some(*dtype)) else {
            return Err(Error::dtype(format!("{NAME}: an unknown element type {dtype:?}")));
        };
        // SAFETY: the caller's contract: `ndim` numbers each, or null.
        let (shape, strides) =
            unsafe { (numbers(*shape, *ndim as usize), numbers(*strides, *ndim as usize)) };
        let layout = layout(NAME, shape.unwrap_or_default(), strides, *ndim as usize)?;
        let bytes = end(&layout).and_then(|n| n.checked_mul(element.size()));
        let offset = usize::try_from(*byte_offset).ok();
        let last = bytes.zip(offset).and_then(|(n, offset)| n.checked_add(offset));
        let ends = last.filter(|&n| n <= isize::MAX as usize).and_then(|n| data.addr().checked_add(n));
        let (Some(bytes), Some(offset), Some(_)) = (bytes, offset, ends) else {
            return Err(Error::shape(format!(
                "{NAME}: shape {shape:?} with strides {strides:?} and byte_offset {byte_offset} overflows"
            )));
        };
        let first =
            NonNull::new(data.cast::<u8>()).and_then(|data| NonNull::new(data.as_ptr().wrapping_add(offset)));
        let part = if element.category() == Category::Complex { element.size() / 2 } else { element.size() };
        let owner = || Imported(managed);
        let storage = match first {
            // Nothing is ever read.
            _ if bytes == 0 => {
                drop(owner());
                Storage::try_zeroed(NAME, 0)?
            }
            None => return Err(Error::argument(format!("{NAME}: no memory for {bytes} bytes"))),
            Some(first) if flags & READ_ONLY != 0 || !first.addr().get().is_multiple_of(part) => {
                // SAFETY: the caller's contract; `bytes` reach to the last element.
                let elements = unsafe { std::slice::from_raw_parts(first.as_ptr(), bytes) };
                let storage = Storage::from_bytes(NAME, elements, |_| {})?;
                drop(owner());
                storage
            }
            // SAFETY: the caller's contract; the address was just checked, and `bytes` reach to the last element.
            Some(first) => unsafe { Storage::foreign(first, bytes, Box::new(owner())) },
        };
        Ok(Tensor::new(storage, layout, *element))
    }
}

/// `n` numbers, or none.
///
/// # Safety
///
/// The pointer is null or leads to `n` numbers that live as long as `'a`.
unsafe fn numbers<'a>(ptr: *const i64, n: usize) -> Option<&'a [i64]> {
    // SAFETY: the caller's contract.
    (!ptr.is_null()).then(|| unsafe { std::slice::from_raw_parts(ptr, n) })
}

fn layout(op: &str, shape: &[i64], strides: Option<&[i64]>, ndim: usize) -> Result<Layout> {
    let unsigned = |what: &str, numbers: &[i64]| -> Result<Dims> {
        let each = numbers.iter().map(|&n| {
            usize::try_from(n).map_err(|_| Error::shape(format!("{op}: a negative {what} in {numbers:?}")))
        });
        each.collect()
    };
    if shape.len() != ndim {
        return Err(Error::shape(format!("{op}: {ndim} dimensions without a shape")));
    }
    let shape = unsigned("size", shape)?;
    checked_numel(&shape)?;
    let mut steps = contiguous_strides(&shape);
    if let Some(strides) = strides.filter(|_| !shape.contains(&0)) {
        // The step of a single element leads nowhere, so it may be any number.
        let matters: Vec<i64> =
            strides.iter().zip(&shape).map(|(&s, &n)| if n == 1 { 0 } else { s }).collect();
        let given = unsigned("stride", &matters)?;
        for (d, step) in steps.iter_mut().enumerate().filter(|&(d, _)| shape[d] != 1) {
            *step = given[d];
        }
    }
    Ok(Layout { shape, strides: steps, offset: 0 })
}

/// One past the last element that a layout reaches; `None` if that overflows.
fn end(layout: &Layout) -> Option<usize> {
    if layout.shape.contains(&0) {
        return Some(0);
    }
    layout
        .shape
        .iter()
        .zip(&layout.strides)
        .try_fold(1usize, |end, (&n, &s)| end.checked_add((n - 1).checked_mul(s)?))
}
