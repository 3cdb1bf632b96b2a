//! Compiles a kernel twice: for the build's baseline, and for AVX2 with FMA.
//!
//! Without the FMA feature `mul_add` is a call into the C library, some fifty times slower and with the same result.

/// A computation that contains its inner loops: everything that it calls in them is `#[inline(always)]`.
pub(crate) trait Kernel {
    /// Runs it. Implementations are `#[inline(always)]`, so that each wrapper compiles its own copy.
    fn run(self);
}

/// Runs a kernel with the best instructions that the CPU has.
pub(crate) fn dispatch(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has both features.
        return unsafe { with_avx2_fma(kernel) };
    }
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2_fma(kernel: impl Kernel) {
    kernel.run();
}
