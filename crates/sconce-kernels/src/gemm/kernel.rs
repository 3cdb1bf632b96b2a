//! Micro-kernels: a tile of the result in registers, per instruction set; packing; tiles of dot products.

use super::{Mat, MatMut, Product};
use crate::isa::{Isa, isa, versions};
use std::mem::MaybeUninit;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A floating-point type that kernels compute in: `f32` or `f64`.
pub trait Real:
    crate::Compute
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Minus infinity.
    const NEG_INFINITY: Self;
    /// Rounds a double to this type.
    fn from_f64(v: f64) -> Self;
    /// Widens to a double.
    fn to_f64(self) -> f64;
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
    #[doc(hidden)]
    fn kernel() -> Kernel<Self>;
}

/// The micro-kernels of a type for one instruction set.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)]
pub struct Kernel<T> {
    /// Rows of a tile.
    pub(crate) mr: usize,
    /// Columns of a tile.
    pub(crate) nr: usize,
    tile: unsafe fn(&Tile<T>),
    /// Rows and columns of a tile of dot products.
    dots: (usize, usize),
    dot_tile: unsafe fn(usize, usize, usize, *const T, isize, *const T, isize, *mut T),
}

/// `c = alpha · a · b + beta · c` for `a` of `rows × k` elements and `b` of `k × nr`, adjacent along its rows.
///
/// The rows of `a` may be anywhere; its columns are `a_col` apart.
pub(crate) struct Tile<T> {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) k: usize,
    pub(crate) a: [*const T; MR_MAX],
    pub(crate) a_col: isize,
    pub(crate) b: *const T,
    pub(crate) b_row: isize,
    pub(crate) alpha: T,
    pub(crate) beta: T,
    pub(crate) c: MatMut<T>,
}

/// Rows and elements of the largest tile.
pub(crate) const MR_MAX: usize = 12;
const TILE_MAX: usize = MR_MAX * 32;

/// The first `n` rows of a matrix, for [`Tile::a`].
#[inline(always)]
pub(crate) fn tile_rows<T: Copy>(a: Mat<T>, n: usize) -> [*const T; MR_MAX] {
    let mut rows = [a.ptr; MR_MAX];
    for (i, row) in rows.iter_mut().enumerate().take(n) {
        *row = a.at(i, 0);
    }
    rows
}

/// Computes a tile; one that is narrower than the kernel or not adjacent along rows goes through the stack.
///
/// # Safety
/// `a` is valid over `rows × k`, `b` over `k × nr` even if `cols < nr`, `c` over `rows × cols`.
#[inline]
pub(crate) unsafe fn tile<T: Real>(kernel: &Kernel<T>, t: &Tile<T>) {
    // SAFETY: the caller's contract; the local tile has room for all columns.
    unsafe {
        if t.cols == kernel.nr && t.c.col == 1 {
            return (kernel.tile)(t);
        }
        let mut local = [const { MaybeUninit::<T>::uninit() }; TILE_MAX];
        let local = local.as_mut_ptr().cast::<T>();
        let c = MatMut { ptr: local, row: kernel.nr as isize, col: 1 };
        (kernel.tile)(&Tile { beta: T::ZERO, c, a: t.a, ..*t });
        for i in 0..t.rows {
            for j in 0..t.cols {
                let (v, c) = (*local.add(i * kernel.nr + j), t.c.at(i, j));
                *c = if t.beta == T::ZERO { v } else { v + t.beta * *c };
            }
        }
    }
}

/// Whether to compute `p` as dot products: both operands run along `k`, and it is long, or not worth packing.
pub(crate) fn dots_pay<T: Real>(p: &Product<T>) -> bool {
    let few = p.m.min(p.n) <= 16 || p.m * p.n * p.k <= super::SMALL;
    p.a.col == 1 && p.b.row == 1 && p.k >= 32 && few
}

/// A product as tiles of dot products.
///
/// # Safety
/// As for `gemm`; `a` is adjacent along rows and `b` along columns.
pub(crate) unsafe fn dots<T: Real>(p: Product<T>) {
    let kernel = T::kernel();
    let (mr, nr) = kernel.dots;
    // Long sums are cut so that the tile's operands stay in the first-level cache while it is computed.
    for i in (0..p.m).step_by(mr) {
        for j in (0..p.n).step_by(nr) {
            let (rows, cols) = (mr.min(p.m - i), nr.min(p.n - j));
            let mut sums = [T::ZERO; 16];
            // SAFETY: the tile's rows of `a` and columns of `b` are in bounds.
            unsafe {
                (kernel.dot_tile)(
                    rows,
                    cols,
                    p.k,
                    p.a.at(i, 0),
                    p.a.row,
                    p.b.at(0, j),
                    p.b.col,
                    sums.as_mut_ptr(),
                );
                for r in 0..rows {
                    for s in 0..cols {
                        let (v, c) = (p.alpha * sums[r * nr + s], p.c.at(i + r, j + s));
                        *c = if p.beta == T::ZERO { v } else { v + p.beta * *c };
                    }
                }
            }
        }
    }
}

versions! {
    /// Packs `rows × k` elements into panels of `r` rows, `k`-major, the last one filled up with zeros.
    ///
    /// # Safety
    /// `a` is valid over `rows × k`, `to` over `rows` rounded up to `r`, times `k`.
    pub(crate) unsafe fn pack[T: Real][T](to: *mut T, a: Mat<T>, rows: usize, k: usize, r: usize) = pack_body
}

#[inline(always)]
unsafe fn pack_body<T: Real>(to: *mut T, a: Mat<T>, rows: usize, k: usize, r: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        match r {
            4 => pack_panels::<T, 4>(to, a, rows, k),
            6 => pack_panels::<T, 6>(to, a, rows, k),
            8 => pack_panels::<T, 8>(to, a, rows, k),
            12 => pack_panels::<T, 12>(to, a, rows, k),
            16 => pack_panels::<T, 16>(to, a, rows, k),
            _ => pack_panels::<T, 32>(to, a, rows, k),
        }
    }
}

#[inline(always)]
unsafe fn pack_panels<T: Real, const R: usize>(to: *mut T, a: Mat<T>, rows: usize, k: usize) {
    for i in (0..rows).step_by(R) {
        let n = R.min(rows - i);
        let to = to.wrapping_add(i * k);
        let from = a.at(i, 0);
        // SAFETY: panel `i / R` has `R * k` elements; the source's are in bounds.
        unsafe {
            if n < R {
                for p in 0..k {
                    for l in 0..R {
                        *to.add(p * R + l) = if l < n { *a.at(i + l, p) } else { T::ZERO };
                    }
                }
            } else if a.row == 1 {
                for p in 0..k {
                    let column = from.offset(p as isize * a.col).cast::<[T; R]>().read();
                    to.add(p * R).cast::<[T; R]>().write(column);
                }
            } else {
                // Eight columns at a time: whole cache lines are used of each row.
                let whole = k / 8 * 8;
                for p0 in (0..whole).step_by(8) {
                    for l in 0..R {
                        let row = from.offset(l as isize * a.row + p0 as isize * a.col);
                        for q in 0..8 {
                            *to.add((p0 + q) * R + l) = *row.offset(q as isize * a.col);
                        }
                    }
                }
                for p in whole..k {
                    for l in 0..R {
                        *to.add(p * R + l) = *from.offset(l as isize * a.row + p as isize * a.col);
                    }
                }
            }
        }
    }
}

/// Micro-kernels from the names of a vector type and its operations.
#[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
macro_rules! vector_kernels {
    ($name:ident, $features:literal, $t:ty, $v:ty, $lanes:literal, [$($m:literal)*], $tail:literal,
     $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $mul:ident) => {
        pub(super) mod $name {
            use crate::gemm::kernel::Tile;
            use std::arch::x86_64::*;

            #[target_feature(enable = $features)]
            pub(in crate::gemm) unsafe fn tile(t: &Tile<$t>) {
                // SAFETY: the caller's contract.
                unsafe {
                    match t.rows {
                        $($m => rows::<$m>(t),)*
                        _ => rows::<$tail>(t),
                    }
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn rows<const M: usize>(t: &Tile<$t>) {
                // SAFETY: `a` is valid over `M × k`, `b` over `k` rows of two vectors, `c` over `M` of them.
                unsafe {
                    let mut sums = [[$zero(); 2]; M];
                    let mut a = [t.b; M];
                    a.copy_from_slice(&t.a[..M]);
                    let (mut at, mut b) = (0, t.b);
                    for _ in 0..t.k {
                        let b0 = $load(b);
                        let b1 = $load(b.add($lanes));
                        for i in 0..M {
                            let x = $splat(*a[i].wrapping_offset(at));
                            sums[i][0] = $fma(x, b0, sums[i][0]);
                            sums[i][1] = $fma(x, b1, sums[i][1]);
                        }
                        at += t.a_col;
                        b = b.wrapping_offset(t.b_row);
                    }
                    let (alpha, beta) = ($splat(t.alpha), $splat(t.beta));
                    for i in 0..M {
                        for v in 0..2 {
                            let c = t.c.at(i, v * $lanes);
                            let mut sum = $mul(alpha, sums[i][v]);
                            if t.beta != 0.0 {
                                sum = $fma(beta, $load(c), sum);
                            }
                            $store(c, sum);
                        }
                    }
                }
            }

            #[allow(clippy::too_many_arguments)]
            #[target_feature(enable = $features)]
            pub(in crate::gemm) unsafe fn dot_tile(
                rows: usize, cols: usize, k: usize,
                a: *const $t, a_row: isize, b: *const $t, b_col: isize, out: *mut $t,
            ) {
                // SAFETY: the caller's contract.
                unsafe {
                    match (rows, cols) {
                        (3, 4) => dots::<3, 4>(k, a, a_row, b, b_col, out),
                        _ => {
                            for i in 0..rows {
                                let a = a.wrapping_offset(i as isize * a_row);
                                for j in 0..cols {
                                    let b = b.wrapping_offset(j as isize * b_col);
                                    dots::<1, 1>(k, a, 0, b, 0, out.add(i * 4 + j));
                                }
                            }
                        }
                    }
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn dots<const M: usize, const N: usize>(
                k: usize, a: *const $t, a_row: isize, b: *const $t, b_col: isize, out: *mut $t,
            ) {
                // SAFETY: `a` has `M` rows and `b` `N` columns of `k` elements; `out` has rows of four.
                unsafe {
                    let mut sums = [[$zero(); N]; M];
                    let whole = k / $lanes * $lanes;
                    let mut p = 0;
                    while p < whole {
                        let mut bs = [$zero(); N];
                        for j in 0..N {
                            bs[j] = $load(b.wrapping_offset(j as isize * b_col).add(p));
                        }
                        for i in 0..M {
                            let x = $load(a.wrapping_offset(i as isize * a_row).add(p));
                            for j in 0..N {
                                sums[i][j] = $fma(x, bs[j], sums[i][j]);
                            }
                        }
                        p += $lanes;
                    }
                    for i in 0..M {
                        for j in 0..N {
                            let mut lanes = [0.0; $lanes];
                            $store(lanes.as_mut_ptr(), sums[i][j]);
                            let mut width = $lanes / 2;
                            while width > 0 {
                                for l in 0..width {
                                    lanes[l] += lanes[l + width];
                                }
                                width /= 2;
                            }
                            let mut sum = lanes[0];
                            for q in whole..k {
                                sum += *a.wrapping_offset(i as isize * a_row).add(q)
                                    * *b.wrapping_offset(j as isize * b_col).add(q);
                            }
                            *out.add(i * 4 + j) = sum;
                        }
                    }
                }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
mod x86 {
    vector_kernels!(avx2_f32, "avx2,fma", f32, __m256, 8, [6 5 4 3 2], 1,
        _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_mul_ps);
    vector_kernels!(avx2_f64, "avx2,fma", f64, __m256d, 4, [6 5 4 3 2], 1,
        _mm256_setzero_pd, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, _mm256_mul_pd);
    vector_kernels!(avx512_f32, "avx512f", f32, __m512, 16, [12 11 10 9 8 7 6 5 4 3 2], 1,
        _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_mul_ps);
    vector_kernels!(avx512_f64, "avx512f", f64, __m512d, 8, [12 11 10 9 8 7 6 5 4 3 2], 1,
        _mm512_setzero_pd, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd, _mm512_mul_pd);
}

/// Rows and columns of the portable tile.
const PORTABLE: (usize, usize) = (4, 8);

/// `x · y + z`, fused where the baseline has the instruction.
#[inline(always)]
fn mul_add<T: Real>(x: T, y: T, z: T) -> T {
    x * y + z
}

unsafe fn portable_tile<T: Real>(t: &Tile<T>) {
    let mut sums = [[T::ZERO; PORTABLE.1]; PORTABLE.0];
    for p in 0..t.k {
        // SAFETY: `b` has `k` rows of eight.
        let b: [T; PORTABLE.1] = unsafe { t.b.wrapping_offset(p as isize * t.b_row).cast::<[T; 8]>().read() };
        for (i, row) in sums.iter_mut().enumerate().take(t.rows) {
            // SAFETY: `a` is valid over `rows × k`.
            let x = unsafe { *t.a[i].wrapping_offset(p as isize * t.a_col) };
            for (s, &y) in row.iter_mut().zip(&b) {
                *s = mul_add(x, y, *s);
            }
        }
    }
    for (i, row) in sums.iter().enumerate().take(t.rows) {
        for (j, &s) in row.iter().enumerate() {
            // SAFETY: `c` is valid over `rows × 8`.
            unsafe {
                let c = t.c.at(i, j);
                let v = t.alpha * s;
                *c = if t.beta == T::ZERO { v } else { v + t.beta * *c };
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
unsafe fn portable_dots<T: Real>(
    rows: usize,
    cols: usize,
    k: usize,
    a: *const T,
    a_row: isize,
    b: *const T,
    b_col: isize,
    out: *mut T,
) {
    for i in 0..rows {
        for j in 0..cols {
            let (a, b) = (a.wrapping_offset(i as isize * a_row), b.wrapping_offset(j as isize * b_col));
            let mut lanes = [T::ZERO; 8];
            // SAFETY: `k` elements each; `out` has rows of four.
            unsafe {
                let (a, b) = (std::slice::from_raw_parts(a, k), std::slice::from_raw_parts(b, k));
                for (x, y) in a.chunks(8).zip(b.chunks(8)) {
                    for ((s, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
                        *s = mul_add(x, y, *s);
                    }
                }
                let [p, q, r, s, t, u, v, w] = lanes;
                *out.add(i * 4 + j) = ((p + t) + (r + v)) + ((q + u) + (s + w));
            }
        }
    }
}

fn portable<T: Real>() -> Kernel<T> {
    Kernel { mr: PORTABLE.0, nr: PORTABLE.1, tile: portable_tile, dots: (3, 4), dot_tile: portable_dots }
}

macro_rules! real {
    ($t:ty, $avx2:ident, $avx512:ident, $lanes:literal) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = <$t>::NEG_INFINITY;
            #[inline(always)]
            fn from_f64(v: f64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline]
            fn kernel() -> Kernel<Self> {
                match isa() {
                    #[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
                    Isa::Avx512 => Kernel {
                        mr: 12,
                        nr: 4 * $lanes,
                        tile: x86::$avx512::tile,
                        dots: (3, 4),
                        dot_tile: x86::$avx512::dot_tile,
                    },
                    #[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
                    Isa::Avx2 => Kernel {
                        mr: 6,
                        nr: 2 * $lanes,
                        tile: x86::$avx2::tile,
                        dots: (3, 4),
                        dot_tile: x86::$avx2::dot_tile,
                    },
                    _ => portable(),
                }
            }
        }
    };
}
real!(f32, avx2_f32, avx512_f32, 8);
real!(f64, avx2_f64, avx512_f64, 4);
