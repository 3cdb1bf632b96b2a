//! Random numbers: PyTorch's CPU generator, bit for bit.
//!
//! After the same [`manual_seed`], every function here draws the numbers that PyTorch 2.13 draws on a CPU, in the same
//! order. There is one default generator per process, as in PyTorch; [`fork_rng`] gives the current thread its own.

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::sync::{LazyLock, Mutex};

use half::{bf16, f16};
use sconce_kernels::rng::{self, Generator};
use smallvec::smallvec;

use crate::autograd::{Grads, Op, Saved, Saves, apply_inplace, no_grad};
use crate::ops::driver;
use crate::tensor::scalar::Operand;
use crate::tensor::sizes::Sizes;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static DEFAULT: LazyLock<Mutex<Generator>> = LazyLock::new(Mutex::default);

thread_local! {
    static FORKED: RefCell<Option<Generator>> = const { RefCell::new(None) };
}

fn with_generator<R>(f: impl FnOnce(&mut Generator) -> R) -> R {
    FORKED.with_borrow_mut(|forked| match forked {
        Some(generator) => f(generator),
        None => f(&mut DEFAULT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())),
    })
}

/// Seeds the generator; PyTorch's `torch.manual_seed`.
///
/// ```
/// use sconce::{DType, Tensor, manual_seed};
///
/// sconce::fork_rng(|| {
///     manual_seed(0);
///     let x = Tensor::rand([2], DType::F32)?;
///     assert_eq!(x.to_vec::<f32>()?, [0.49625659, 0.7682218]);
///     Ok::<(), sconce::Error>(())
/// })?;
/// # Ok::<(), sconce::Error>(())
/// ```
pub fn manual_seed(seed: u64) {
    with_generator(|g| *g = Generator::new(seed));
}

/// The seed of the generator; PyTorch's `torch.initial_seed`.
pub fn initial_seed() -> u64 {
    with_generator(|g| g.seed())
}

/// The state of the generator in PyTorch's format of 5056 bytes; `torch.get_rng_state`.
pub fn get_rng_state() -> Vec<u8> {
    with_generator(|g| g.state().to_vec())
}

/// Restores a state from [`get_rng_state`] or from PyTorch.
///
/// # Errors
///
/// If the bytes are not such a state.
pub fn set_rng_state(state: &[u8]) -> Result<()> {
    with_generator(|g| g.set_state(state))
        .map_err(|e| Error::argument(format!("set_rng_state: {e}")).with_source(e))
}

/// Runs a closure with a generator of its own, a copy of the present one; what it draws or seeds is forgotten after.
///
/// PyTorch's `torch.random.fork_rng`; here the fork belongs to the calling thread, so other threads do not draw from it.
pub fn fork_rng<R>(f: impl FnOnce() -> R) -> R {
    /// Puts the outer generator back, also when a panic unwinds.
    struct Restore(Option<Generator>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let outer = self.0.take();
            FORKED.with_borrow_mut(|forked| *forked = outer);
        }
    }
    let fork = with_generator(|g| g.clone());
    let _restore = Restore(FORKED.with_borrow_mut(|forked| forked.replace(fork)));
    f()
}

/// Calls a closure with the elements of a tensor in the order of memory, as the element type of its dtype.
macro_rules! fill_float {
    ($op:expr, $out:expr, |$slice:ident: &mut [$t:ident], $contiguous:ident| $body:expr) => {
        match $out.dtype() {
            DType::F64 => fill_float!(@one $op, $out, f64, |$slice, $t, $contiguous| $body),
            DType::F32 => fill_float!(@one $op, $out, f32, |$slice, $t, $contiguous| $body),
            DType::F16 => fill_float!(@one $op, $out, f16, |$slice, $t, $contiguous| $body),
            DType::BF16 => fill_float!(@one $op, $out, bf16, |$slice, $t, $contiguous| $body),
            other => Err(Error::dtype(format!("{}: needs a floating point tensor, found {other}", $op))),
        }
    };
    (@one $op:expr, $out:expr, $type:ty, |$slice:ident, $t:ident, $contiguous:ident| $body:expr) => {{
        #[allow(dead_code, reason = "not every distribution names the type")]
        type $t = $type;
        let $contiguous = $out.is_contiguous();
        driver::fill_in_memory_order::<$type>($op, $out, |$slice| {
            let _ = $contiguous;
            $body
        })
    }};
}

macro_rules! fill_any {
    ($op:expr, $out:expr, |$slice:ident| $body:expr) => {
        match $out.dtype() {
            DType::I64 => driver::fill_in_memory_order::<i64>($op, $out, |$slice| $body),
            DType::I32 => driver::fill_in_memory_order::<i32>($op, $out, |$slice| $body),
            DType::I16 => driver::fill_in_memory_order::<i16>($op, $out, |$slice| $body),
            DType::I8 => driver::fill_in_memory_order::<i8>($op, $out, |$slice| $body),
            DType::U8 => driver::fill_in_memory_order::<u8>($op, $out, |$slice| $body),
            DType::Bool => driver::fill_in_memory_order::<bool>($op, $out, |$slice| $body),
            _ => fill_float!($op, $out, |$slice: &mut [T], contiguous| $body),
        }
    };
}

/// A distribution to fill a tensor from.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Uniform { from: f64, to: f64 },
    Normal { mean: f64, std: f64 },
    Bernoulli { p: f64 },
    Exponential { rate: f64 },
    Integers { low: i64, span: NonZeroU64 },
    AnyInteger,
    Cauchy { median: f64, sigma: f64 },
    LogNormal { mean: f64, std: f64 },
    Geometric { p: f64 },
}

impl Op for Draw {
    fn name(&self) -> &'static str {
        match self {
            Self::Uniform { .. } => "uniform",
            Self::Normal { .. } => "normal",
            Self::Bernoulli { .. } => "bernoulli",
            Self::Exponential { .. } => "exponential",
            Self::Integers { .. } | Self::AnyInteger => "random",
            Self::Cauchy { .. } => "cauchy",
            Self::LogNormal { .. } => "log_normal",
            Self::Geometric { .. } => "geometric",
        }
    }

    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        let out = x[0].zeros_like()?;
        self.cpu_into(x, &out)?;
        Ok(out)
    }

    fn cpu_into(&self, _: &[&Tensor], out: &Tensor) -> Result<()> {
        let op = self.name();
        with_generator(|g| match *self {
            Self::Uniform { from, to } => {
                fill_float!(op, out, |slice: &mut [T], contiguous| rng::uniform(g, slice, from, to))
            }
            Self::Normal { mean, std } => fill_float!(op, out, |slice: &mut [T], contiguous| {
                if contiguous {
                    rng::normal(g, slice, mean, std)
                } else {
                    rng::normal_each(g, slice, mean, std)
                }
            }),
            Self::Bernoulli { p } => fill_any!(op, out, |slice| rng::bernoulli(g, slice, p)),
            Self::Exponential { rate } => {
                fill_float!(op, out, |slice: &mut [T], contiguous| rng::exponential(g, slice, rate))
            }
            Self::Integers { low, span } => fill_any!(op, out, |slice| rng::randint(g, slice, low, span)),
            Self::AnyInteger => fill_any!(op, out, |slice| rng::random(g, slice)),
            Self::Cauchy { median, sigma } => {
                fill_float!(op, out, |slice: &mut [T], contiguous| rng::cauchy(g, slice, median, sigma))
            }
            Self::LogNormal { mean, std } => {
                fill_float!(op, out, |slice: &mut [T], contiguous| rng::log_normal(g, slice, mean, std))
            }
            Self::Geometric { p } => fill_any!(op, out, |slice| rng::geometric(g, slice, p)),
        })
    }

    fn saves(&self, _: &[bool]) -> Saves {
        Saves::NONE
    }

    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        // The new values do not depend on the old ones.
        Ok(smallvec![Some(grad.zeros_like()?)])
    }
}

fn check_probability(op: &str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        Ok(())
    } else {
        Err(Error::argument(format!("{op}: the probability must lie in [0, 1], found {p}")))
    }
}

fn check_std(op: &str, std: f64) -> Result<()> {
    if std >= 0.0 {
        Ok(())
    } else {
        Err(Error::argument(format!("{op}: std must not be negative, found {std}")))
    }
}

/// The number of integers in `low..high`.
fn span(op: &str, low: i64, high: i64) -> Result<NonZeroU64> {
    if low < high {
        NonZeroU64::new(high.wrapping_sub(low) as u64)
            .ok_or_else(|| Error::argument(format!("{op}: low {low} must be less than high {high}")))
    } else {
        Err(Error::argument(format!("{op}: low {low} must be less than high {high}")))
    }
}

/// The bounds of integers to draw for a floating point dtype: where it cannot tell the outermost ones from those beside
/// them, PyTorch draws in by one step of the dtype.
fn drawn_in(low: i64, high: i64, dtype: DType) -> (i64, i64) {
    let (digits, rounded): (u32, fn(i64) -> i64) = match dtype {
        DType::F64 => (53, |i| i as f64 as i64),
        DType::F32 => (24, |i| i as f32 as i64),
        DType::F16 => (11, |i| f16::from_f32(i as f32).to_f32() as i64),
        DType::BF16 => (8, |i| bf16::from_f32(i as f32).to_f32() as i64),
        _ => return (low, high),
    };
    let step = |bound: i64| 1i64 << (bound.unsigned_abs().max(1).ilog2() + 1).saturating_sub(digits);
    let (first, last) = (low.saturating_add(1), high.saturating_sub(1));
    let low = if rounded(first) < low { rounded(first).saturating_add(step(first)) } else { low };
    let high = if rounded(last) >= high { rounded(last).saturating_sub(step(last)) } else { high };
    (low, high)
}

/// Refuses bounds of which the least or greatest value is none of an integer dtype.
fn check_range(op: &str, low: i64, high: i64, dtype: DType) -> Result<()> {
    let (least, greatest) = match dtype {
        DType::Bool => (0, 1),
        DType::U8 => (0, u8::MAX.into()),
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        _ => return Ok(()),
    };
    if low >= least && high - 1 <= greatest {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{op}: the integers from {low} to {high}, exclusive, do not all fit {dtype}"
    )))
}

impl Tensor {
    /// Uniform random numbers in [0, 1).
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    pub fn rand(shape: impl Sizes, dtype: DType) -> Result<Tensor> {
        let x = Tensor::zeros(shape, dtype)?;
        x.uniform_(0.0, 1.0)?;
        Ok(x)
    }

    /// Random numbers of the standard normal distribution.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    pub fn randn(shape: impl Sizes, dtype: DType) -> Result<Tensor> {
        let x = Tensor::zeros(shape, dtype)?;
        x.normal_(0.0, 1.0)?;
        Ok(x)
    }

    /// Random integers from `low` up to, but not including, `high`.
    ///
    /// # Errors
    ///
    /// If `low` is not less than `high`.
    pub fn randint(low: i64, high: i64, shape: impl Sizes, dtype: DType) -> Result<Tensor> {
        let (low, high) = drawn_in(low, high, dtype);
        let span = span("randint", low, high)?;
        check_range("randint", low, high, dtype)?;
        let x = Tensor::zeros(shape, dtype)?;
        apply_inplace(Draw::Integers { low, span }, &x, &[])?;
        Ok(x)
    }

    /// A random permutation of 0 … `n` − 1, as int64.
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub fn randperm(n: usize) -> Result<Tensor> {
        crate::tensor::layout::checked_numel(&[n])?;
        let order = with_generator(|g| rng::randperm(g, n))
            .map_err(|e| Error::argument(format!("randperm: cannot allocate {n} integers")).with_source(e))?;
        Tensor::from_vec(order, [n])
    }

    /// Uniform random numbers in [0, 1) with this tensor's shape and dtype.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    pub fn rand_like(&self) -> Result<Tensor> {
        Tensor::rand(self.shape(), self.dtype())
    }

    /// Standard normal random numbers with this tensor's shape and dtype.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point.
    pub fn randn_like(&self) -> Result<Tensor> {
        Tensor::randn(self.shape(), self.dtype())
    }

    /// 1 with the probability that each element gives, otherwise 0.
    ///
    /// # Errors
    ///
    /// If the dtype is not floating point, or an element lies outside [0, 1].
    pub fn bernoulli(&self) -> Result<Tensor> {
        let p = self.detach().copy()?;
        if p.ge(0)?.logical_and(&p.le(1)?)?.all(())?.item()? == 0.0 {
            return Err(Error::argument("bernoulli: every probability must lie in [0, 1]"));
        }
        with_generator(|g| {
            fill_float!("bernoulli", &p, |slice: &mut [T], contiguous| rng::bernoulli_each(g, slice))
        })?;
        Ok(p)
    }

    /// Normal random numbers, each with a mean and a standard deviation of its own; PyTorch's `torch.normal`.
    ///
    /// Either may be a number; of two tensors the result has the broadcast shape, and the dtype is that of `mean` if
    /// it is a tensor.
    ///
    /// # Errors
    ///
    /// If neither is a tensor, the shapes do not broadcast, a deviation is negative, or the dtype is not floating point.
    ///
    /// ```
    /// use sconce::{DType, Tensor};
    /// let mean = Tensor::from_vec(vec![-100.0f32, 100.0], [2])?;
    /// let drawn = Tensor::normal(&mean, 1.0)?.to_vec::<f32>()?;
    /// assert!(drawn[0] < -90.0 && drawn[1] > 90.0);
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn normal<'a>(mean: impl Into<Operand<'a>>, std: impl Into<Operand<'a>>) -> Result<Tensor> {
        let (mean, std) = (mean.into(), std.into());
        let (shape, dtype) = match (&mean, &std) {
            (Operand::Tensor(m), Operand::Tensor(s)) => {
                (crate::tensor::layout::broadcast("normal", m.shape(), s.shape())?, m.dtype())
            }
            (Operand::Tensor(t), _) | (_, Operand::Tensor(t)) => {
                (crate::Dims::from_slice(t.shape()), t.dtype())
            }
            _ => return Err(Error::argument("normal: needs a tensor of means or deviations")),
        };
        match &std {
            Operand::Tensor(s) if s.numel() > 0 && s.lt(0)?.any(())?.item()? != 0.0 => {
                return Err(Error::argument("normal: a standard deviation is negative"));
            }
            Operand::Scalar(s) => check_std("normal", s.to_f64())?,
            Operand::Tensor(_) => {}
        }
        no_grad(|| Tensor::randn(&shape[..], dtype)?.mul(std)?.add(mean)?.to(dtype))
    }

    /// Draws `num_samples` indices from each row, which holds the weights of its elements; PyTorch's
    /// `torch.multinomial`. The result is int64, `[num_samples]` or `[rows, num_samples]`.
    ///
    /// Without `replacement` no index is drawn twice from a row.
    ///
    /// # Errors
    ///
    /// If there are not one or two dimensions, the dtype is not floating point, no sample or more samples than there are
    /// are asked for, or the weights of a row are negative, not finite or all zero.
    ///
    /// ```
    /// use sconce::Tensor;
    /// let weights = Tensor::from_vec(vec![0.0f32, 3.0, 0.0, 1.0], [4])?;
    /// let mut drawn = weights.multinomial(2, false)?.to_vec::<i64>()?;
    /// drawn.sort();
    /// assert_eq!(drawn, [1, 3]);
    /// assert!(weights.multinomial(5, false).is_err());
    /// # Ok::<(), sconce::Error>(())
    /// ```
    pub fn multinomial(&self, num_samples: usize, replacement: bool) -> Result<Tensor> {
        let (mut shape, categories) = match self.shape() {
            &[categories] => (Vec::new(), categories),
            &[rows, categories] => (vec![rows], categories),
            other => {
                return Err(Error::shape(format!(
                    "multinomial: expected 1 or 2 dimensions, found {other:?}"
                )));
            }
        };
        if num_samples == 0 || (!replacement && num_samples > categories) {
            return Err(Error::argument(format!(
                "multinomial: cannot draw {num_samples} samples of {categories}{}",
                if replacement { "" } else { " without replacement" }
            )));
        }
        let weights = self.detach().to(DType::F64)?;
        let sound = weights.isfinite()?.logical_and(&weights.ge(0)?)?.all(())?.item()? != 0.0;
        if !sound || weights.sum(-1)?.le(0)?.any(())?.item()? != 0.0 {
            return Err(Error::argument(
                "multinomial: the weights of a row must be finite, not negative and not all zero",
            ));
        }
        let op = "multinomial";
        shape.push(num_samples);
        // An error here, where the kernel could only abort.
        drop(Tensor::empty(&shape[..], DType::I64)?);
        let copy = self.detach().copy()?.contiguous()?;
        let mut drawn = Vec::new();
        with_generator(|g| {
            fill_float!(op, &copy, |slice: &mut [T], contiguous| {
                drawn = rng::multinomial(g, slice, categories, num_samples, replacement);
            })
        })?;
        Tensor::from_vec(drawn, shape)
    }

    /// Fills the tensor with uniform random numbers in [`from`, `to`).
    ///
    /// # Errors
    ///
    /// If `from` is greater than `to`, the dtype is not floating point, or the tensor may not be changed while
    /// recording.
    pub fn uniform_(&self, from: f64, to: f64) -> Result<()> {
        if !(from <= to && (to - from).is_finite()) {
            return Err(Error::argument(format!("uniform_: [{from}, {to}) is not a finite range")));
        }
        apply_inplace(Draw::Uniform { from, to }, self, &[])
    }

    /// Fills the tensor with normal random numbers.
    ///
    /// # Errors
    ///
    /// If `std` is negative, the dtype is not floating point, or the tensor may not be changed while recording.
    pub fn normal_(&self, mean: f64, std: f64) -> Result<()> {
        check_std("normal_", std)?;
        apply_inplace(Draw::Normal { mean, std }, self, &[])
    }

    /// Fills the tensor with 1 with probability `p`, otherwise 0.
    ///
    /// # Errors
    ///
    /// If `p` lies outside [0, 1], or the tensor may not be changed while recording.
    pub fn bernoulli_(&self, p: f64) -> Result<()> {
        check_probability("bernoulli_", p)?;
        apply_inplace(Draw::Bernoulli { p }, self, &[])
    }

    /// Fills the tensor with numbers of the exponential distribution of this rate.
    ///
    /// # Errors
    ///
    /// If `rate` is not positive, the dtype is not floating point, or the tensor may not be changed while recording.
    pub fn exponential_(&self, rate: f64) -> Result<()> {
        if rate.is_nan() || rate <= 0.0 {
            return Err(Error::argument(format!("exponential_: the rate must be positive, found {rate}")));
        }
        apply_inplace(Draw::Exponential { rate }, self, &[])
    }

    /// Fills the tensor with numbers of the Cauchy distribution.
    ///
    /// # Errors
    ///
    /// If `sigma` is not positive, the dtype is not floating point, or the tensor may not be changed while recording.
    pub fn cauchy_(&self, median: f64, sigma: f64) -> Result<()> {
        if sigma.is_nan() || sigma <= 0.0 {
            return Err(Error::argument(format!("cauchy_: sigma must be positive, found {sigma}")));
        }
        apply_inplace(Draw::Cauchy { median, sigma }, self, &[])
    }

    /// Fills the tensor with exponentials of normal numbers.
    ///
    /// # Errors
    ///
    /// If `std` is not positive, the dtype is not floating point, or the tensor may not be changed while recording.
    pub fn log_normal_(&self, mean: f64, std: f64) -> Result<()> {
        if std.is_nan() || std <= 0.0 {
            return Err(Error::argument(format!("log_normal_: std must be positive, found {std}")));
        }
        apply_inplace(Draw::LogNormal { mean, std }, self, &[])
    }

    /// Fills the tensor with the number of trials until the first success of probability `p`.
    ///
    /// # Errors
    ///
    /// If `p` does not lie in (0, 1), the dtype is bool, or the tensor may not be changed while recording.
    pub fn geometric_(&self, p: f64) -> Result<()> {
        if !(p > 0.0 && p < 1.0) {
            return Err(Error::argument(format!(
                "geometric_: the probability must lie in (0, 1), found {p}"
            )));
        }
        apply_inplace(Draw::Geometric { p }, self, &[])
    }

    /// Fills the tensor with random integers from `low` up to, but not including, `high`.
    ///
    /// # Errors
    ///
    /// If `low` is not less than `high`, or the tensor may not be changed while recording.
    pub fn random_range_(&self, low: i64, high: i64) -> Result<()> {
        let (low, high) = drawn_in(low, high, self.dtype());
        let span = span("random_", low, high)?;
        check_range("random_", low, high, self.dtype())?;
        apply_inplace(Draw::Integers { low, span }, self, &[])
    }

    /// Fills the tensor with random integers over the whole range that its dtype holds exactly, from 0 on.
    ///
    /// # Errors
    ///
    /// If the tensor may not be changed while recording.
    pub fn random_(&self) -> Result<()> {
        apply_inplace(Draw::AnyInteger, self, &[])
    }
}
