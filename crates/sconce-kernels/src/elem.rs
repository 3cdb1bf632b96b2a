//! Element types and the raw strided views that kernels take.

/// The element type of a raw view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    BF16,
    /// Signed 64 bits.
    I64,
    /// Signed 32 bits.
    I32,
    /// Signed 16 bits.
    I16,
    /// Signed 8 bits.
    I8,
    /// Unsigned 8 bits.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl Elem {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// A view to read: element `(i, j, …)` of a shape is at `ptr + (i·strides[0] + j·strides[1] + …)·elem.size()`.
#[derive(Clone, Copy, Debug)]
pub struct Src<'a> {
    /// Address of the element at index 0.
    pub ptr: *const u8,
    /// Type of the elements.
    pub elem: Elem,
    /// Strides in elements, one per dimension; 0 repeats an element.
    pub strides: &'a [usize],
}

/// A view to write, laid out like [`Src`]; no two indices share an element.
#[derive(Clone, Copy, Debug)]
pub struct Dst<'a> {
    /// Address of the element at index 0.
    pub ptr: *mut u8,
    /// Type of the elements.
    pub elem: Elem,
    /// Strides in elements, one per dimension.
    pub strides: &'a [usize],
}

// SAFETY: a view is an address and a description; only the kernels' `unsafe fn`s read or write through it, and their
// callers vouch that the memory may be used from any thread for the duration of the call.
unsafe impl Send for Src<'_> {}
// SAFETY: as above.
unsafe impl Sync for Src<'_> {}
// SAFETY: as above.
unsafe impl Send for Dst<'_> {}
// SAFETY: as above.
unsafe impl Sync for Dst<'_> {}
