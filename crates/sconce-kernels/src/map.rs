//! Elementwise kernels: `out[i] = f(a[i], b[i], …)` over strided views of any element types.
//!
//! The driver drops and merges dimensions, walks what is left as rectangles of rows, and brings each operand into the
//! form the loop wants: consecutive elements of the compute type. An operand that is so in memory is used in place;
//! any other is converted through a block on the stack that stays in the first-level cache. An op is only a closure,
//! inlined into one loop per instruction set; everything else here is compiled once per compute type and arity.

mod rows;

use self::rows::RowFn;
pub use self::rows::{Inlined, Rows};
use crate::compute::{Compute, Rect, load, store};
use crate::par;
use crate::plan::{MAX_RANK, Plan, split_leading};
use crate::{Dst, Elem, Src};
use std::mem::MaybeUninit;

/// Elements per block on the stack.
const BLOCK: usize = 256;
/// Below this many columns, several rows share a block.
const NARROW: usize = 64;
/// Elements per task, at least; waking a thread costs about as much as this many cheap elements.
const GRAIN: usize = 32 * 1024;
/// Outputs of at least this many bytes are written around the cache.
const STREAM_BYTES: usize = 32 << 20;

/// Computes `out[i] = f([ins[0][i], ins[1][i], …])` for each index `i` of `shape`.
///
/// Operands are converted to `T` when read and from `T` when written. Up to four inputs; broadcasting is a stride of 0.
///
/// ```
/// use sconce_kernels::{Dst, Elem, Rows, Src, map};
/// let (a, b, mut c) = ([1f32, 2., 3., 4.], [10i32, 20], [0f32; 4]);
/// let (a, b, out) = (
///     Src { ptr: a.as_ptr().cast(), elem: Elem::F32, strides: &[2, 1] },
///     Src { ptr: b.as_ptr().cast(), elem: Elem::I32, strides: &[0, 1] },
///     Dst { ptr: c.as_mut_ptr().cast(), elem: Elem::F32, strides: &[2, 1] },
/// );
/// // SAFETY: the views describe the arrays above.
/// unsafe { map::<f32, 2>(&[2, 2], out, [a, b], Rows::new(&|[x, y]| x * y)) };
/// assert_eq!(c, [10., 40., 30., 80.]);
/// ```
///
/// # Safety
/// - Each view has one stride per dimension of `shape`, its address is aligned for its element type, and every index
///   of `shape` is valid to read, for `out` to write, from any thread during the call.
/// - No two indices share an element of `out`.
/// - `out` is the very same view as an input, or disjoint from it.
pub unsafe fn map<T: Compute, const N: usize>(
    shape: &[usize],
    out: Dst<'_>,
    ins: [Src<'_>; N],
    rows: Rows<'_, T, N>,
) {
    if let Some(len) = dense_len(shape, &out, &ins)
        && len <= GRAIN
    {
        let flat = |ptr, elem| Flat { ptr, elem, repeats: false };
        let (out, ins) = (flat(out.ptr, out.elem), ins.map(|a| flat(a.ptr.cast_mut(), a.elem)));
        // SAFETY: `len` consecutive elements of each operand are the caller's views.
        return unsafe { map_flat::<T, N>(len, out, ins, rows) };
    }
    // SAFETY: the caller's contract.
    unsafe { drive::<T, N>(shape, out, ins, rows.row, rows.f) }
}

/// The most elements that [`map_flat`] takes.
pub const FLAT: usize = GRAIN;

/// An operand of [`map_flat`]: the address of adjacent elements and their type.
#[derive(Clone, Copy, Debug)]
pub struct Flat {
    /// The first element.
    pub ptr: *mut u8,
    /// The type of the elements.
    pub elem: Elem,
    /// Whether there is one element, which stands for all.
    pub repeats: bool,
}

impl Default for Flat {
    /// An operand of no elements.
    fn default() -> Self {
        Self { ptr: std::ptr::null_mut(), elem: Elem::U8, repeats: false }
    }
}

/// [`map`] over `n` ≤ [`FLAT`] adjacent elements per operand, or one that repeats.
///
/// ```
/// use sconce_kernels::{Elem, Flat, Rows, map_flat};
/// let (mut a, mut b, mut c) = ([1f32, 2., 3., 4.], [10i64], [0f32; 4]);
/// let [a, c] = [&mut a, &mut c].map(|x| Flat { ptr: x.as_mut_ptr().cast(), elem: Elem::F32, repeats: false });
/// let b = Flat { ptr: b.as_mut_ptr().cast(), elem: Elem::I64, repeats: true };
/// // SAFETY: the pointers are those of the arrays above.
/// let first = unsafe {
///     map_flat::<f32, 2>(4, c, [a, b], Rows::new(&|[x, y]| x * y));
///     c.ptr.cast::<f32>().read()
/// };
/// assert_eq!(first, 10.);
/// ```
///
/// # Safety
/// - The pointers are aligned and valid for `n` elements of their types, or for one if it repeats; that of `out`, which
///   does not repeat, for writing.
/// - An input is `out`, of the same type, or disjoint from it.
#[inline]
pub unsafe fn map_flat<T: Compute, const N: usize>(
    n: usize,
    out: Flat,
    ins: [Flat; N],
    Rows { row, f, .. }: Rows<'_, T, N>,
) {
    let mut direct = out.elem == T::ELEM && n > 0;
    for k in 0..N {
        direct &= ins[k].elem == T::ELEM && !ins[k].repeats && ins[k].ptr != out.ptr;
    }
    if direct {
        let args = ins.map(|a| a.ptr.cast_const().cast());
        // SAFETY: `n` adjacent elements of each operand are valid; `out` overlaps no input.
        unsafe { row(f, 1, n, out.ptr.cast(), 0, args, [0; N]) };
    } else {
        // SAFETY: the caller's contract.
        unsafe { in_blocks::<T, N>(n, out, ins, row, f) };
    }
}

/// The number of elements, if every operand is row-major without gaps.
#[inline]
fn dense_len<const N: usize>(shape: &[usize], out: &Dst<'_>, ins: &[Src<'_>; N]) -> Option<usize> {
    let mut len = 1;
    for (d, &size) in shape.iter().enumerate().rev() {
        if size != 1 && (out.strides[d] != len || ins.iter().any(|a| a.strides[d] != len)) {
            return shape.contains(&0).then_some(0);
        }
        len *= size;
    }
    Some(len)
}

/// [`map_flat`] by way of blocks, for operands of other types and because rows may not read what they write.
///
/// # Safety
/// As for [`map_flat`]; `f` is `row`'s closure.
unsafe fn in_blocks<T: Compute, const N: usize>(
    len: usize,
    out: Flat,
    ins: [Flat; N],
    row: RowFn<T, N>,
    f: *const (),
) {
    let mut block = Block::<T>::new();
    let mut blocks = [const { Block::<T>::new() }; N];
    let in_place = ins.iter().any(|a| a.ptr == out.ptr);
    let in_memory = out.elem == T::ELEM && !in_place;
    let mut i = 0;
    while i < len {
        let n = BLOCK.min(len - i);
        let place = |a: Flat| a.ptr.wrapping_add(if a.repeats { 0 } else { i * a.elem.size() });
        let mut args = [std::ptr::null::<T>(); N];
        for k in 0..N {
            let a = ins[k];
            if a.elem == T::ELEM && !a.repeats {
                args[k] = place(a).cast_const().cast();
                continue;
            }
            args[k] = blocks[k].ptr();
            // A repeated element fills its block once.
            if i == 0 || !a.repeats {
                let rect = Rect { rows: 1, cols: n, row: 0, col: if a.repeats { 0 } else { 1 } };
                // SAFETY: elements `i..i + n`, or the one that repeats; the block has room for `BLOCK`.
                unsafe { load(args[k].cast_mut(), place(a), a.elem, rect) };
            }
        }
        let to = place(out);
        let result = if in_memory { to.cast() } else { block.ptr() };
        // SAFETY: each argument has `n` elements; the result is no input, or the block, of which the `n` elements are
        // stored at `i..i + n` of the output.
        unsafe {
            row(f, 1, n, result, 0, args, [0; N]);
            if !in_memory {
                store(to, block.ptr().cast_const(), out.elem, Rect { rows: 1, cols: n, row: 0, col: 1 });
            }
        }
        i += n;
    }
}

/// An operand without its shape.
#[derive(Clone, Copy)]
struct Operand {
    ptr: *mut u8,
    elem: Elem,
}

// SAFETY: the callers of `map` vouch for access from any thread.
unsafe impl Send for Operand {}
// SAFETY: as above.
unsafe impl Sync for Operand {}

/// What is common to all rectangles of one call.
struct Job<T, const N: usize> {
    row: RowFn<T, N>,
    f: *const (),
    out: Operand,
    ins: [Operand; N],
    in_place: bool,
    stream: bool,
}

// SAFETY: `f` points to a `Sync` closure, the operands are `Sync`.
unsafe impl<T, const N: usize> Sync for Job<T, N> {}

unsafe fn drive<T: Compute, const N: usize>(
    shape: &[usize],
    out: Dst<'_>,
    ins: [Src<'_>; N],
    row: RowFn<T, N>,
    f: *const (),
) {
    let mut strides = [out.strides; 5];
    for (s, a) in strides[1..].iter_mut().zip(&ins) {
        *s = a.strides;
    }
    let Some(plan) = Plan::new(shape, &strides[..=N]) else {
        let sizes: [usize; 5] = std::array::from_fn(|k| match k {
            0 => out.elem.size(),
            k if k <= N => ins[k - 1].elem.size(),
            _ => 0,
        });
        return split_leading(shape, &strides[..=N], |shape, offsets, from| {
            let out = Dst {
                ptr: out.ptr.wrapping_add(offsets[0] * sizes[0]),
                elem: out.elem,
                strides: &out.strides[from..],
            };
            let ins = std::array::from_fn(|k| Src {
                ptr: ins[k].ptr.wrapping_add(offsets[k + 1] * sizes[k + 1]),
                elem: ins[k].elem,
                strides: &ins[k].strides[from..],
            });
            // SAFETY: a part of the caller's views.
            unsafe { drive::<T, N>(shape, out, ins, row, f) }
        });
    };
    if plan.len() == 0 {
        return;
    }
    let out_op = Operand { ptr: out.ptr, elem: out.elem };
    let in_place = ins.iter().any(|a| a.ptr == out.ptr.cast_const());
    let job = Job {
        row,
        f,
        out: out_op,
        ins: ins.map(|a| Operand { ptr: a.ptr.cast_mut(), elem: a.elem }),
        in_place,
        stream: !in_place && can_stream(&plan, out_op),
    };
    let (rows, cols) = (plan.rows(), plan.cols());
    let run = |r: (usize, usize), c: (usize, usize)| {
        plan.slabs(r.0, r.1, |offsets, slab_rows| {
            // SAFETY: a rectangle of the caller's views, written by this task alone.
            unsafe { slab(&job, &plan, offsets, slab_rows, c.0, c.1 - c.0) }
        });
    };
    let tasks = rows * cols / GRAIN;
    if tasks <= 1 {
        run((0, rows), (0, cols));
    } else if rows >= 64 {
        par::for_ranges(rows, rows.div_ceil(tasks), |a, b| run((a, b), (0, cols)));
    } else {
        // Whole blocks, so that cache lines are not shared between tasks.
        let blocks = cols.div_ceil(BLOCK);
        par::for_ranges(blocks, blocks.div_ceil(tasks), |a, b| {
            run((0, rows), (a * BLOCK, (b * BLOCK).min(cols)));
        });
    }
}

fn can_stream(plan: &Plan, out: Operand) -> bool {
    cfg!(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))
        && plan.stride(0, MAX_RANK - 1) == 1
        && plan.cols() >= BLOCK
        && plan.len() * out.elem.size() >= STREAM_BYTES
}

/// Computes `rows` rows of `cols` columns, starting at column `first`, the operands at `offsets` elements.
unsafe fn slab<T: Compute, const N: usize>(
    job: &Job<T, N>,
    plan: &Plan,
    offsets: [usize; 5],
    rows: usize,
    first: usize,
    cols: usize,
) {
    let step = |k: usize| (plan.stride(k, MAX_RANK - 2), plan.stride(k, MAX_RANK - 1));
    let at = |k: usize, op: Operand| op.ptr.wrapping_add((offsets[k] + first * step(k).1) * op.elem.size());
    let out = at(0, job.out);
    let ins: [*mut u8; N] = std::array::from_fn(|k| at(k + 1, job.ins[k]));
    let direct = |k: usize, op: Operand| op.elem == T::ELEM && step(k).1 == 1;
    let out_direct = direct(0, job.out) && !job.in_place && !job.stream;
    if out_direct && (0..N).all(|k| direct(k + 1, job.ins[k])) {
        let in_rows = std::array::from_fn(|k| step(k + 1).0);
        // SAFETY: the caller's rectangle, of type `T`, columns adjacent; `out` is not one of the inputs.
        unsafe {
            (job.row)(job.f, rows, cols, out.cast(), step(0).0, ins.map(|p| p.cast_const().cast()), in_rows)
        };
        return;
    }
    let mut in_blocks = [const { Block::<T>::new() }; N];
    let mut out_block = Block::<T>::new();
    let mut filled = [false; N];
    let (rows_at_once, cols_at_once) =
        if cols < NARROW { (BLOCK / cols, cols) } else { (1, cols.min(BLOCK)) };
    let most = (rows_at_once.min(rows)) * cols_at_once;
    let mut r = 0;
    while r < rows {
        let nr = rows_at_once.min(rows - r);
        let mut c = 0;
        while c < cols {
            let nc = cols_at_once.min(cols - c);
            let place = |k: usize, p: *mut u8, op: Operand| {
                p.wrapping_add((r * step(k).0 + c * step(k).1) * op.elem.size())
            };
            let rect = |k: usize| Rect { rows: nr, cols: nc, row: step(k).0, col: step(k).1 };
            let adjacent = |k: usize| nr == 1 || step(k).0 == nc;
            let mut args = [std::ptr::null::<T>(); N];
            for k in 0..N {
                let (op, p) = (job.ins[k], place(k + 1, ins[k], job.ins[k]));
                if direct(k + 1, op) && adjacent(k + 1) {
                    args[k] = p.cast_const().cast();
                    continue;
                }
                args[k] = in_blocks[k].ptr();
                // A repeated scalar fills its block once, one of a long row once for the row.
                let constant = step(k + 1) == (0, 0);
                let same_row = rows_at_once == 1 && step(k + 1).1 == 0 && c > 0;
                if (constant && filled[k]) || same_row {
                    continue;
                }
                filled[k] = constant;
                let rect = if constant { Rect { rows: 1, cols: most, row: 0, col: 0 } } else { rect(k + 1) };
                // SAFETY: the rectangle is part of the caller's view; it has at most `BLOCK` elements.
                unsafe { load(args[k].cast_mut(), p, op.elem, rect) };
            }
            let p = place(0, out, job.out);
            let in_memory = out_direct && adjacent(0);
            let result = if in_memory { p.cast() } else { out_block.ptr() };
            // SAFETY: each argument has `nr * nc` consecutive elements; the result is one of the caller's rectangle
            // that is no input, or the block.
            unsafe { (job.row)(job.f, 1, nr * nc, result, 0, args, [0; N]) };
            if !in_memory {
                // SAFETY: the rectangle is part of the caller's view; the block holds its values.
                unsafe {
                    if job.stream && job.out.elem == T::ELEM {
                        stream(p, result.cast_const().cast(), nr * nc * size_of::<T>());
                    } else {
                        store(p, result.cast_const(), job.out.elem, rect(0));
                    }
                }
            }
            c += nc;
        }
        r += nr;
    }
    if job.stream {
        stream_end();
    }
}

/// Room for [`BLOCK`] values, on cache lines of its own.
#[repr(align(64))]
struct Block<T>([MaybeUninit<T>; BLOCK]);

impl<T: Copy> Block<T> {
    const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; BLOCK])
    }

    fn ptr(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }
}

/// Copies bytes with non-temporal stores, which do not read the destination's cache lines first.
///
/// # Safety
/// As for `copy_nonoverlapping` of bytes; ended by [`stream_end`] on the same thread.
#[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
pub(crate) unsafe fn stream(dst: *mut u8, src: *const u8, bytes: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    let head = dst.align_offset(16).min(bytes);
    // SAFETY: in bounds by the caller's contract; after `head` bytes `dst` is aligned to 16.
    unsafe {
        std::ptr::copy_nonoverlapping(src, dst, head);
        let mut i = head;
        while i + 16 <= bytes {
            _mm_stream_si128(dst.add(i).cast::<__m128i>(), _mm_loadu_si128(src.add(i).cast()));
            i += 16;
        }
        std::ptr::copy_nonoverlapping(src.add(i), dst.add(i), bytes - i);
    }
}

/// Makes this thread's non-temporal stores visible to whoever it synchronises with.
#[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
pub(crate) fn stream_end() {
    // SAFETY: SSE is part of x86-64.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

#[cfg(not(all(target_arch = "x86_64", not(feature = "portable"), not(miri))))]
pub(crate) unsafe fn stream(dst: *mut u8, src: *const u8, bytes: usize) {
    // SAFETY: the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(src, dst, bytes) }
}

#[cfg(not(all(target_arch = "x86_64", not(feature = "portable"), not(miri))))]
pub(crate) fn stream_end() {}
