//! Fused optimiser updates of adjacent arrays, in place, in the order of PyTorch's single-tensor implementations.

use crate::Float;
use crate::isa::versions;
use crate::par::{self, Shared};

/// Elements per task.
const GRAIN: usize = 64 * 1024;

/// Hyper-parameters of one [`sgd`] step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Factor of the momentum buffer; 0 takes none.
    pub momentum: f64,
    /// Part of the gradient that does not enter the momentum buffer.
    pub dampening: f64,
    /// Factor of the parameter that is added to the gradient.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
    /// Whether to ascend.
    pub maximize: bool,
    /// Whether this is the first step: the momentum buffer becomes the gradient.
    pub first: bool,
}

/// The tensors of one parameter: `n` elements each.
#[derive(Clone, Copy, Debug)]
pub struct SgdTensors<T> {
    /// Elements of each.
    pub n: usize,
    /// The parameter, updated.
    pub param: *mut T,
    /// Its gradient.
    pub grad: *const T,
    /// The momentum buffer, updated; needed if the momentum is not 0.
    pub momentum: Option<*mut T>,
}

/// Takes one step of stochastic gradient descent for each parameter.
///
/// ```
/// use sconce_kernels::{Sgd, SgdTensors, sgd};
/// let (mut param, grad) = ([1f32, 2.], [0.5f32, 0.5]);
/// let hyper = Sgd {
///     lr: 2.0, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false, first: true,
/// };
/// let tensors = SgdTensors { n: 2, param: param.as_mut_ptr(), grad: grad.as_ptr(), momentum: None };
/// // SAFETY: the arrays have two elements.
/// unsafe { sgd(hyper, &[tensors]) };
/// assert_eq!(param, [0., 1.]);
/// ```
///
/// # Safety
/// The pointers are valid for `n` elements each, from any thread; what is updated overlaps nothing else.
pub unsafe fn sgd<T: Float>(hyper: Sgd, tensors: &[SgdTensors<T>]) {
    for t in tensors {
        let momentum = t.momentum.filter(|_| hyper.momentum != 0.0).unwrap_or(std::ptr::null_mut());
        let (param, grad, momentum) = (Shared(t.param), Shared(t.grad.cast_mut()), Shared(momentum));
        par::for_ranges(t.n, GRAIN, |from, to| {
            let at = |p: Shared<T>| if p.get().is_null() { p.get() } else { p.get().wrapping_add(from) };
            // SAFETY: elements `from..to` of the caller's arrays, updated by this task alone.
            unsafe { sgd_range(hyper, to - from, at(param), at(grad), at(momentum)) };
        });
    }
}

versions! {
    /// # Safety
    /// The arrays that are not null have `n` elements and do not overlap.
    unsafe fn sgd_range[T: Float][T](hyper: Sgd, n: usize, param: *mut T, grad: *const T, momentum: *mut T) = sgd_body
}

#[inline(always)]
unsafe fn sgd_body<T: Float>(hyper: Sgd, n: usize, param: *mut T, grad: *const T, momentum: *mut T) {
    let lr = T::from_f64(-hyper.lr);
    let decay = T::from_f64(hyper.weight_decay);
    let sign = if hyper.maximize { -T::ONE } else { T::ONE };
    let (rate, keep) = (T::from_f64(hyper.momentum), T::from_f64(1.0 - hyper.dampening));
    // SAFETY: `i < n` throughout.
    unsafe {
        // Infinite parameters stay out of an update without decay.
        let slope = |i: usize| {
            let g = *grad.add(i) * sign;
            if hyper.weight_decay != 0.0 { g + *param.add(i) * decay } else { g }
        };
        if momentum.is_null() {
            for i in 0..n {
                *param.add(i) = *param.add(i) + slope(i) * lr;
            }
            return;
        }
        let first = hyper.first;
        for i in 0..n {
            let g = slope(i);
            let b = if first { g } else { *momentum.add(i) * rate + g * keep };
            *momentum.add(i) = b;
            let d = if hyper.nesterov { g + b * rate } else { b };
            *param.add(i) = *param.add(i) + d * lr;
        }
    }
}

/// Hyper-parameters of one [`adam`] step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the averages of the gradient and of its square.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether the decay shrinks the parameter (AdamW) instead of entering the gradient (Adam).
    pub decoupled: bool,
    /// Whether to ascend.
    pub maximize: bool,
    /// Steps taken, this one included.
    pub step: u64,
}

/// The tensors of one parameter: `n` elements each.
#[derive(Clone, Copy, Debug)]
pub struct AdamTensors<T> {
    /// Elements of each.
    pub n: usize,
    /// The parameter, updated.
    pub param: *mut T,
    /// Its gradient.
    pub grad: *const T,
    /// Average of the gradient, updated.
    pub exp_avg: *mut T,
    /// Average of the gradient's square, updated.
    pub exp_avg_sq: *mut T,
    /// Maximum of `exp_avg_sq`, updated; given for AMSGrad.
    pub max_exp_avg_sq: Option<*mut T>,
}

/// Takes one step of Adam or AdamW for each parameter.
///
/// # Safety
/// The pointers are valid for `n` elements each, from any thread; what is updated overlaps nothing else.
pub unsafe fn adam<T: Float>(hyper: Adam, tensors: &[AdamTensors<T>]) {
    for t in tensors {
        let [param, grad, avg, sq] = [t.param, t.grad.cast_mut(), t.exp_avg, t.exp_avg_sq].map(Shared);
        let max = Shared(t.max_exp_avg_sq.unwrap_or(std::ptr::null_mut()));
        par::for_ranges(t.n, GRAIN / 2, |from, to| {
            let at = |p: Shared<T>| if p.get().is_null() { p.get() } else { p.get().wrapping_add(from) };
            // SAFETY: elements `from..to` of the caller's arrays, updated by this task alone.
            unsafe { adam_range(hyper, to - from, at(param), at(grad), at(avg), at(sq), at(max)) };
        });
    }
}

versions! {
    /// # Safety
    /// The arrays that are not null have `n` elements and do not overlap.
    #[allow(clippy::too_many_arguments)]
    unsafe fn adam_range[T: Float][T](
        hyper: Adam, n: usize, param: *mut T, grad: *const T, avg: *mut T, sq: *mut T, max: *mut T,
    ) = adam_body
}

#[inline(always)]
unsafe fn adam_body<T: Float>(
    hyper: Adam,
    n: usize,
    param: *mut T,
    grad: *const T,
    avg: *mut T,
    sq: *mut T,
    max: *mut T,
) {
    let (beta1, beta2) = hyper.betas;
    let step = hyper.step as f64;
    let (correction1, correction2) = (1.0 - beta1.powf(step), 1.0 - beta2.powf(step));
    let number = T::from_f64;
    let step_size = number(-hyper.lr / correction1);
    let root = number(correction2.sqrt());
    let (blend, keep, add) = (number(1.0 - beta1), number(beta2), number(1.0 - beta2));
    let (decay, shrink) = (number(hyper.weight_decay), number(1.0 - hyper.lr * hyper.weight_decay));
    let sign = if hyper.maximize { -T::ONE } else { T::ONE };
    let decays = hyper.weight_decay != 0.0;
    // SAFETY: `i < n` throughout.
    unsafe {
        for i in 0..n {
            let (mut p, mut g) = (*param.add(i), *grad.add(i) * sign);
            if decays {
                if hyper.decoupled {
                    p = p * shrink;
                } else {
                    g += p * decay;
                }
            }
            let m = *avg.add(i) + (g - *avg.add(i)) * blend;
            let v = *sq.add(i) * keep + add * g * g;
            *avg.add(i) = m;
            *sq.add(i) = v;
            let v = if max.is_null() {
                v
            } else {
                let most = (*max.add(i)).maximum(v);
                *max.add(i) = most;
                most
            };
            *param.add(i) = p + step_size * m / (v.sqrt() / root + number(hyper.eps));
        }
    }
}

/// Returns the sum of the squares of `n` adjacent elements, taken in `f64` and in an order that does not depend on the
/// number of threads, as `clip_grad_norm_` needs it.
///
/// ```
/// let x = [3f32, 4.];
/// // SAFETY: the array has two elements.
/// assert_eq!(unsafe { sconce_kernels::sum_squares(2, x.as_ptr()) }, 25.0);
/// ```
///
/// # Safety
/// `ptr` is valid for `n` elements from any thread.
pub unsafe fn sum_squares<T: Float>(n: usize, ptr: *const T) -> f64 {
    let blocks = n.div_ceil(GRAIN);
    let mut sums = vec![0f64; blocks];
    let (from, to) = (Shared(ptr.cast_mut()), Shared(sums.as_mut_ptr()));
    par::for_ranges(blocks, 1, |first, last| {
        for b in first..last {
            // SAFETY: a block of the caller's elements, and its own sum.
            unsafe {
                let start = b * GRAIN;
                *to.get().add(b) = squares(GRAIN.min(n - start), from.get().add(start));
            }
        }
    });
    sums.iter().sum()
}

versions! {
    /// # Safety
    /// `ptr` has `n` elements.
    unsafe fn squares[T: Float][T](n: usize, ptr: *const T) -> f64 = squares_body
}

#[inline(always)]
unsafe fn squares_body<T: Float>(n: usize, ptr: *const T) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    // SAFETY: `n` elements.
    let x = unsafe { std::slice::from_raw_parts(ptr, n) };
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for l in 0..LANES {
            let v = chunk[l].to_f64();
            sums[l] += v * v;
        }
    }
    for (sum, v) in sums.iter_mut().zip(chunks.remainder()) {
        *sum += v.to_f64() * v.to_f64();
    }
    sums.iter().sum()
}
