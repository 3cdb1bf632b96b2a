//! Copies between views of any element types and strides, and fills.

use crate::compute::Compute;
use crate::map::{stream, stream_end};
use crate::par::Shared;
use crate::plan::{MAX_RANK, Plan, split_leading};
use crate::{Dst, Elem, Rows, Src, map, par};

/// A number to fill a view with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A floating-point number.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// Side of the square tiles that a transposed copy moves.
const TILE: usize = 32;
/// Bytes per task of a plain copy.
const GRAIN_BYTES: usize = 256 << 10;

/// Copies bytes past the caches: for large amounts that nobody reads soon.
///
/// ```
/// let mut to = [0; 3];
/// sconce_kernels::copy_past_caches(&mut to, &[1, 2, 3]);
/// assert_eq!(to, [1, 2, 3]);
/// ```
///
/// # Panics
/// If there is not as much room as there are bytes.
pub fn copy_past_caches(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len(), "as much room as bytes");
    // SAFETY: two slices of one length, of which one is borrowed exclusively, so that they do not overlap.
    unsafe { stream(to.as_mut_ptr(), from.as_ptr(), from.len()) };
    stream_end();
}

/// Copies `src` to `out`, converting the elements as PyTorch's `.to(dtype)` does on x86-64.
///
/// Floats truncate towards zero when they become integers and wrap as C does; what is not 0 becomes `true`; integers
/// wrap; an `i64` becomes the nearest float.
///
/// ```
/// use sconce_kernels::{Dst, Elem, Src, copy};
/// let (a, mut b) = ([1.9f32, -2.9, 3.0], [0i64; 3]);
/// // SAFETY: the views describe the arrays.
/// unsafe {
///     copy(
///         &[3],
///         Dst { ptr: b.as_mut_ptr().cast(), elem: Elem::I64, strides: &[1] },
///         Src { ptr: a.as_ptr().cast(), elem: Elem::F32, strides: &[1] },
///     )
/// };
/// assert_eq!(b, [1, -2, 3]);
/// ```
///
/// # Safety
/// As for [`map`].
pub unsafe fn copy(shape: &[usize], out: Dst<'_>, src: Src<'_>) {
    if out.elem == src.elem {
        // SAFETY: the caller's contract; the element types have the sizes of these integers.
        return unsafe {
            match out.elem.size() {
                1 => same::<u8>(shape, out, src),
                2 => same::<u16>(shape, out, src),
                4 => same::<u32>(shape, out, src),
                _ => same::<u64>(shape, out, src),
            }
        };
    }
    // SAFETY: the caller's contract.
    unsafe {
        match (src.elem, out.elem) {
            (Elem::F64, _) | (Elem::F32 | Elem::F16 | Elem::BF16, Elem::F64) => {
                convert::<f64>(shape, out, src)
            }
            (Elem::F32 | Elem::F16 | Elem::BF16, _) => convert::<f32>(shape, out, src),
            _ => convert::<i64>(shape, out, src),
        }
    }
}

unsafe fn convert<T: Compute>(shape: &[usize], out: Dst<'_>, src: Src<'_>) {
    // SAFETY: the caller's contract.
    unsafe { map::<T, 1>(shape, out, [src], Rows::new(&|[x]| x)) }
}

/// Sets every element of `out` to `value`, converted as [`copy`] does.
///
/// # Safety
/// As for [`map`].
pub unsafe fn fill(shape: &[usize], out: Dst<'_>, value: Scalar) {
    // SAFETY: the caller's contract.
    unsafe {
        match (value, out.elem) {
            (Scalar::Float(v), Elem::F32 | Elem::F16 | Elem::BF16) => {
                let v = v as f32;
                map::<f32, 0>(shape, out, [], Rows::new(&move |[]| v))
            }
            (Scalar::Float(v), _) => map::<f64, 0>(shape, out, [], Rows::new(&move |[]| v)),
            (Scalar::Int(v), Elem::F32 | Elem::F16 | Elem::BF16) => {
                let v = v as f32;
                map::<f32, 0>(shape, out, [], Rows::new(&move |[]| v))
            }
            (Scalar::Int(v), Elem::F64) => map::<f64, 0>(shape, out, [], Rows::new(&move |[]| v as f64)),
            (Scalar::Int(v), _) => map::<i64, 0>(shape, out, [], Rows::new(&move |[]| v)),
            (Scalar::Bool(v), _) => fill(shape, out, Scalar::Int(v as i64)),
        }
    }
}

/// Copies between views of one element type, as bits.
unsafe fn same<U: Copy + Send + Sync>(shape: &[usize], out: Dst<'_>, src: Src<'_>) {
    if out.ptr.cast_const() == src.ptr && out.strides == src.strides {
        return;
    }
    if let Some(len) = dense_len(shape, out.strides, src.strides)
        && len * size_of::<U>() <= GRAIN_BYTES
    {
        // SAFETY: `len` consecutive elements of both views, which are disjoint.
        return unsafe { std::ptr::copy_nonoverlapping(src.ptr.cast::<U>(), out.ptr.cast::<U>(), len) };
    }
    let Some(plan) = Plan::new(shape, &[out.strides, src.strides]) else {
        let size = out.elem.size();
        return split_leading(shape, &[out.strides, src.strides], |shape, offsets, from| {
            let out = Dst {
                ptr: out.ptr.wrapping_add(offsets[0] * size),
                elem: out.elem,
                strides: &out.strides[from..],
            };
            let src = Src {
                ptr: src.ptr.wrapping_add(offsets[1] * size),
                elem: src.elem,
                strides: &src.strides[from..],
            };
            // SAFETY: a part of the caller's views.
            unsafe { same::<U>(shape, out, src) }
        });
    };
    if plan.len() == 0 {
        return;
    }
    let (rows, cols) = (plan.rows(), plan.cols());
    let steps = [0, 1].map(|k| (plan.stride(k, MAX_RANK - 2), plan.stride(k, MAX_RANK - 1)));
    let (out, src) = (Shared(out.ptr.cast::<U>()), Shared(src.ptr.cast_mut().cast::<U>()));
    let run = |r: (usize, usize), c: (usize, usize)| {
        plan.slabs(r.0, r.1, |offsets, n| {
            let dst = out.get().wrapping_add(offsets[0] + c.0 * steps[0].1);
            let src = src.get().wrapping_add(offsets[1] + c.0 * steps[1].1);
            // SAFETY: a rectangle of the caller's views, written by this task alone.
            unsafe { rectangle(dst, steps[0], src, steps[1], n, c.1 - c.0) }
        });
    };
    let grain = GRAIN_BYTES / size_of::<U>();
    if rows >= 64 {
        // Whole tiles, so that a transposed source's cache lines are not read twice.
        let bands = rows.div_ceil(TILE);
        par::for_ranges(bands, (grain / (cols * TILE).max(1)).max(1), |a, b| {
            run((a * TILE, (b * TILE).min(rows)), (0, cols));
        });
    } else {
        let bands = cols.div_ceil(TILE);
        par::for_ranges(bands, (grain / (rows * TILE)).max(1), |a, b| {
            run((0, rows), (a * TILE, (b * TILE).min(cols)));
        });
    }
}

/// The number of elements, if both views are row-major without gaps.
fn dense_len(shape: &[usize], a: &[usize], b: &[usize]) -> Option<usize> {
    let mut len = 1;
    for (d, &size) in shape.iter().enumerate().rev() {
        if size > 1 && (a[d] != len || b[d] != len) {
            return None;
        }
        len *= size;
    }
    Some(len)
}

/// Copies `rows` by `cols` elements; the pairs are the strides of rows and columns.
unsafe fn rectangle<U: Copy>(
    dst: *mut U,
    (dst_row, dst_col): (usize, usize),
    src: *const U,
    (src_row, src_col): (usize, usize),
    rows: usize,
    cols: usize,
) {
    if dst_col == 1 && src_col == 1 {
        for r in 0..rows {
            // SAFETY: row `r` of both views is in bounds, and they are disjoint.
            unsafe { std::ptr::copy_nonoverlapping(src.add(r * src_row), dst.add(r * dst_row), cols) };
        }
        return;
    }
    if src_col > src_row && rows > 1 {
        // The source runs along the rows: tiles keep its cache lines until all of them is used.
        for r0 in (0..rows).step_by(TILE) {
            for c0 in (0..cols).step_by(TILE) {
                let (rows, cols) = (TILE.min(rows - r0), TILE.min(cols - c0));
                let (dst, src) = (
                    dst.wrapping_add(r0 * dst_row + c0 * dst_col),
                    src.wrapping_add(r0 * src_row + c0 * src_col),
                );
                // SAFETY: the tile lies in the caller's rectangle.
                unsafe {
                    if size_of::<U>() == 4 && (rows, cols, dst_col, src_row) == (TILE, TILE, 1, 1) {
                        transpose(dst.cast(), dst_row, src.cast(), src_col);
                    } else {
                        each(dst, (dst_row, dst_col), src, (src_row, src_col), rows, cols);
                    }
                }
            }
        }
        return;
    }
    // SAFETY: the caller's contract.
    unsafe { each(dst, (dst_row, dst_col), src, (src_row, src_col), rows, cols) }
}

/// [`rectangle`], element by element.
#[inline(always)]
unsafe fn each<U: Copy>(
    dst: *mut U,
    (dst_row, dst_col): (usize, usize),
    src: *const U,
    (src_row, src_col): (usize, usize),
    rows: usize,
    cols: usize,
) {
    for r in 0..rows {
        for c in 0..cols {
            // SAFETY: `(r, c)` is in the caller's rectangle.
            unsafe { *dst.add(r * dst_row + c * dst_col) = *src.add(r * src_row + c * src_col) };
        }
    }
}

/// `dst[r * dst_row + c] = src[r + c * src_col]` of a whole tile of numbers of four bytes, by way of the stack: lines that
/// are a power of two apart would fall out of the cache before the next row needs them.
///
/// # Safety
/// The elements are valid to read and to write, and no element is both.
#[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
unsafe fn transpose(dst: *mut f32, dst_row: usize, src: *const f32, src_col: usize) {
    use std::arch::x86_64::{
        _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    let mut lines = [[0f32; TILE]; TILE];
    for (c, line) in lines.iter_mut().enumerate() {
        // SAFETY: adjacent elements of the caller's.
        unsafe { std::ptr::copy_nonoverlapping(src.add(c * src_col), line.as_mut_ptr(), TILE) };
    }
    for r in (0..TILE).step_by(4) {
        for c in (0..TILE).step_by(4) {
            let load = |k: usize| {
                let four: &[f32] = &lines[c + k][r..r + 4];
                // SAFETY: four elements; SSE is part of x86-64.
                unsafe { _mm_loadu_ps(four.as_ptr()) }
            };
            let [a, b, d, e] = [load(0), load(1), load(2), load(3)];
            // SAFETY: SSE is part of x86-64; four rows of four elements of the caller's are written.
            unsafe {
                let [low, more] = [_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(d, e)];
                let [high, most] = [_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(d, e)];
                let to = |k: usize| dst.add((r + k) * dst_row + c);
                _mm_storeu_ps(to(0), _mm_movelh_ps(low, more));
                _mm_storeu_ps(to(1), _mm_movehl_ps(more, low));
                _mm_storeu_ps(to(2), _mm_movelh_ps(high, most));
                _mm_storeu_ps(to(3), _mm_movehl_ps(most, high));
            }
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(feature = "portable"), not(miri))))]
unsafe fn transpose(dst: *mut f32, dst_row: usize, src: *const f32, src_col: usize) {
    // SAFETY: the caller's contract.
    unsafe { each(dst, (dst_row, 1), src, (1, src_col), TILE, TILE) }
}
