//! The instruction set in use: detected once, matched on in one macro.
//!
//! Kernels are written as plain generic loops marked `#[inline(always)]`; [`versions!`] wraps one in a function per
//! instruction set, so that the compiler vectorises the same source for each, and picks at run time.

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What every machine of the target architecture has (SSE2 on x86-64, NEON on aarch64).
    Baseline,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, on top of [`Isa::Avx2`].
    Avx512,
}

/// Returns the best instruction set of this machine that this build has code for.
///
/// ```
/// use sconce_kernels::{Isa, isa};
/// assert_eq!(isa(), isa());
/// assert!([Isa::Baseline, Isa::Avx2, Isa::Avx512].contains(&isa()));
/// ```
#[inline]
pub fn isa() -> Isa {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
    {
        use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
        static FOUND: AtomicU8 = AtomicU8::new(0);
        match FOUND.load(Relaxed) {
            3 => Isa::Avx512,
            2 => Isa::Avx2,
            1 => Isa::Baseline,
            _ => {
                let found = detect();
                FOUND.store(1 + found as u8, Relaxed);
                found
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(feature = "portable"), not(miri))))]
    Isa::Baseline
}

#[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
#[cold]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Isa::Avx512,
        (true, false) => Isa::Avx2,
        _ => Isa::Baseline,
    }
}

/// Defines an unsafe function that runs `body` compiled for the machine's instruction set.
///
/// `versions! { unsafe fn name[T: Bound][T](x: X) -> R = body }` expands to
///
/// ```text
/// unsafe fn name<T: Bound>(x: X) -> R {
///     #[target_feature(enable = "avx2,fma,f16c")]
///     unsafe fn avx2<T: Bound>(x: X) -> R { body::<T>(x) }
///     …
///     match isa() { Isa::Avx2 => avx2::<T>(x), …, Isa::Baseline => body::<T>(x) }
/// }
/// ```
///
/// where `body` is an `#[inline(always)] unsafe fn` with the same parameters. With `= body, fused` it has one more:
/// whether a product and a sum may be one instruction, a constant in each version; with `= body; const FUSED` it
/// is instead the last of the body's generic parameters.
macro_rules! versions {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident [$($def:tt)*] [$($par:tt)*]
     ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident $(, $fused:ident)?
     $(; const $known:ident)?) => {
        $(#[$meta])*
        $vis unsafe fn $name<$($def)*>($($arg: $ty),*) $(-> $ret)? {
            #[cfg(all(target_arch = "x86_64", not(feature = "portable"), not(miri)))]
            {
                #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
                unsafe fn avx2<$($def)*>($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: the caller's contract is the one of the body.
                    unsafe {
                        $body::<$($par)* $(, { $crate::isa::flag!($known true) })?>(
                            $($arg,)* $($crate::isa::flag!($fused true))?
                        )
                    }
                }
                #[target_feature(
                    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt"
                )]
                unsafe fn avx512<$($def)*>($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: the caller's contract is the one of the body.
                    unsafe {
                        $body::<$($par)* $(, { $crate::isa::flag!($known true) })?>(
                            $($arg,)* $($crate::isa::flag!($fused true))?
                        )
                    }
                }
                match $crate::isa::isa() {
                    // SAFETY: `isa` found these features on this machine.
                    $crate::isa::Isa::Avx512 => return unsafe { avx512::<$($par)*>($($arg),*) },
                    // SAFETY: as above.
                    $crate::isa::Isa::Avx2 => return unsafe { avx2::<$($par)*>($($arg),*) },
                    $crate::isa::Isa::Baseline => {}
                }
            }
            // SAFETY: the caller's contract is the one of the body.
            unsafe {
                $body::<$($par)* $(, { $crate::isa::flag!($known $crate::isa::BASELINE_FMA) })?>(
                    $($arg,)* $($crate::isa::flag!($fused $crate::isa::BASELINE_FMA))?
                )
            }
        }
    };
}
pub(crate) use versions;

/// Whether every machine of the target can add a product in one instruction.
pub(crate) const BASELINE_FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// The value, where a word asks for it.
macro_rules! flag {
    ($word:ident $value:expr) => {
        $value
    };
}
pub(crate) use flag;

/// A computation that contains its inner loops, for [`dispatch`]: everything that it calls in them is
/// `#[inline(always)]`.
pub(crate) trait Kernel {
    /// Runs it. Implementations are `#[inline(always)]`, so that each version compiles its own copy.
    fn run(self);
}

/// Runs a kernel compiled for the machine's instruction set.
///
/// Without the FMA feature `mul_add` is a call into the C library, some fifty times slower and with the same result.
pub(crate) fn dispatch(kernel: impl Kernel) {
    // SAFETY: the body asks for nothing.
    unsafe { run(kernel) }
}

versions! {
    unsafe fn run[K: Kernel][K](kernel: K) = run_body
}

#[inline(always)]
unsafe fn run_body<K: Kernel>(kernel: K) {
    kernel.run();
}
