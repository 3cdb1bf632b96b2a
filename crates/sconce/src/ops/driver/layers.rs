//! From tensors to the kernels of layers, which take row-major arrays of one float type.
#![allow(unsafe_code)]

use sconce_kernels::{BatchNorm, Conv2d, Divisor, NormGrads, Pool2d, SoftmaxKind};

use super::{Fresh, address, lock, lock_reads};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// The dtype that kernels compute a float dtype in.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The tensor in row-major order and in the given compute dtype, to be read.
pub(super) fn dense(t: &Tensor, dtype: DType) -> Result<Tensor> {
    if t.dtype() == dtype { t.dense() } else { t.detach().to(dtype) }
}

fn dense_option(t: Option<&Tensor>, dtype: DType) -> Result<Option<Tensor>> {
    t.map(|t| dense(t, dtype)).transpose()
}

/// The address of a dense tensor's elements. Reading them needs a lock.
pub(super) fn read<T>(t: &Tensor) -> *const T {
    address(t).cast_const().cast()
}

fn read_option<T>(t: &Option<Tensor>) -> Option<*const T> {
    t.as_ref().map(read)
}

/// Runs a block with `$T` set to the compute type of `$dtype`.
macro_rules! with_float {
    ($dtype:expr, $T:ident => $block:expr) => {
        if $dtype == DType::F64 {
            type $T = f64;
            $block
        } else {
            type $T = f32;
            $block
        }
    };
}
pub(super) use with_float;

/// The sizes around a dimension: of the ones before it, its own, of the ones after it.
fn around(shape: &[usize], dim: usize) -> (usize, usize, usize) {
    let size = |range: &[usize]| range.iter().product();
    (
        size(&shape[..dim.min(shape.len())]),
        shape.get(dim).copied().unwrap_or(1),
        size(shape.get(dim + 1..).unwrap_or(&[])),
    )
}

/// Softmax, or its logarithm, along a dimension.
pub(crate) fn softmax(op: &str, kind: SoftmaxKind, x: &Tensor, dim: usize) -> Result<Tensor> {
    let dtype = wide(x.dtype());
    let x_dense = dense(x, dtype)?;
    let (outer, n, inner) = around(x.shape(), dim);
    let out = Fresh::new(op, x.shape(), dtype)?;
    if x.numel() > 0 {
        let _locks = lock_reads(op, &[&x_dense])?;
        // SAFETY: both arrays have `outer · n · inner` elements of the compute type; the input is locked, the output new.
        with_float!(dtype, T => unsafe {
            sconce_kernels::softmax::<T>(kind, outer, n, inner, read(&x_dense), out.ptr());
        });
    }
    out.tensor().to(x.dtype())
}

/// The gradient of [`softmax`]'s input, from its output.
pub(crate) fn softmax_backward(
    op: &str,
    kind: SoftmaxKind,
    y: &Tensor,
    grad: &Tensor,
    dim: usize,
) -> Result<Tensor> {
    assert_eq!(y.shape(), grad.shape(), "a gradient has its output's shape");
    let dtype = wide(y.dtype());
    let (y_dense, grad) = (dense(y, dtype)?, dense(grad, dtype)?);
    let (outer, n, inner) = around(y.shape(), dim);
    let out = Fresh::new(op, y.shape(), dtype)?;
    if y.numel() > 0 {
        let _locks = lock_reads(op, &[&y_dense, &grad])?;
        // SAFETY: as in `softmax`.
        with_float!(dtype, T => unsafe {
            sconce_kernels::softmax_backward::<T>(kind, outer, n, inner, read(&y_dense), read(&grad), out.ptr());
        });
    }
    out.tensor().to(y.dtype())
}

/// The class of each row of `x`, `[rows, classes]`.
///
/// # Safety
/// `targets` is locked for reading.
unsafe fn classes<'a>(x: &Tensor, targets: &'a Tensor) -> &'a [i64] {
    let &[rows, count] = x.shape() else { panic!("rows of classes, found {:?}", x.shape()) };
    assert!(targets.dtype() == DType::I64 && targets.is_contiguous(), "checked by the caller");
    // SAFETY: row-major elements of this type; the caller has locked them.
    let targets = unsafe { std::slice::from_raw_parts(read::<i64>(targets), targets.numel()) };
    let valid = |&i: &i64| (0..count as i64).contains(&i);
    assert!(targets.len() == rows && targets.iter().all(valid), "checked by the caller");
    targets
}

/// The cross entropy of each row of logits, `[rows, 1]`, at its class, and its greatest logit and logarithm of the sum of
/// exponentials under that, `[rows, 2]`.
pub(crate) fn cross_entropy(op: &str, x: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
    let dtype = wide(x.dtype());
    let (x_dense, targets) = (dense(x, dtype)?, targets.dense()?);
    let (rows, cols) = (x.shape()[0], x.shape()[1]);
    let (losses, logs) = (Fresh::new(op, &[rows, 1], dtype)?, Fresh::new(op, &[rows, 2], dtype)?);
    let locks = lock_reads(op, &[&x_dense, &targets])?;
    // SAFETY: the input has `rows · cols` elements of the compute type; inputs are locked, outputs new.
    with_float!(dtype, T => unsafe {
        let classes = classes(&x_dense, &targets);
        sconce_kernels::cross_entropy::<T>(rows, cols, read(&x_dense), classes, losses.ptr(), logs.ptr());
    });
    drop(locks);
    Ok((losses.tensor().to(x.dtype())?, logs.tensor()))
}

/// The gradient of [`cross_entropy`]'s input, from the logarithms that it returned.
pub(crate) fn cross_entropy_backward(
    op: &str,
    x: &Tensor,
    targets: &Tensor,
    logs: &Tensor,
    grad: &Tensor,
) -> Result<Tensor> {
    let dtype = wide(x.dtype());
    let (rows, cols) = (x.shape()[0], x.shape()[1]);
    assert!(grad.numel() == rows && logs.shape() == [rows, 2] && logs.dtype() == dtype, "those of each row");
    let (x_dense, targets, grad) = (dense(x, dtype)?, targets.dense()?, dense(grad, dtype)?);
    let out = Fresh::new(op, x.shape(), dtype)?;
    let locks = lock_reads(op, &[&x_dense, &targets, logs, &grad])?;
    // SAFETY: as in `cross_entropy`.
    with_float!(dtype, T => unsafe {
        let (classes, logs) = (classes(&x_dense, &targets), read(logs));
        sconce_kernels::cross_entropy_backward::<T>(rows, cols, read(&x_dense), classes, logs, read(&grad), out.ptr());
    });
    drop(locks);
    out.tensor().to(x.dtype())
}

/// Panics unless the sizes of a convolution are sound; what users give is checked before.
fn check_conv(c: &Conv2d, input: usize, weight: usize, output: usize) {
    let (rows, cols) = c.output().expect("checked by the caller");
    let steps = [c.stride.0, c.stride.1, c.dilation.0, c.dilation.1];
    assert!(
        c.groups > 0
            && c.c_in.is_multiple_of(c.groups)
            && c.c_out.is_multiple_of(c.groups)
            && !steps.contains(&0),
        "groups, steps"
    );
    assert_eq!(input, c.n * c.c_in * c.h * c.w, "input of a convolution");
    assert_eq!(weight, c.c_out * (c.c_in / c.groups) * c.kernel.0 * c.kernel.1, "weight of a convolution");
    assert_eq!(output, c.n * c.c_out * rows * cols, "output of a convolution");
}

/// So many elements of scratch memory every convolution may take.
const SCRATCH: usize = 1 << 26;

/// Refuses a convolution whose padding, stride or dilation would take far more memory than its arrays.
fn check_scratch(op: &str, c: &Conv2d, arrays: [&Tensor; 2]) -> Result<()> {
    let room = arrays.iter().fold(SCRATCH, |n, t| n.saturating_add(t.numel().saturating_mul(8)));
    if c.scratch().is_some_and(|n| n <= room) {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{op}: stride {:?}, padding {:?} and dilation {:?} are too large for [{}, {}] images and a [{}, {}] kernel: they \
         would take more than {room} elements of scratch memory",
        c.stride, c.padding, c.dilation, c.h, c.w, c.kernel.0, c.kernel.1
    )))
}

/// A convolution.
pub(crate) fn conv2d(
    op: &str,
    c: &Conv2d,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    check_scratch(op, c, [x, weight])?;
    let dtype = wide(x.dtype());
    let (rows, cols) = c.output().expect("checked by the caller");
    let out = Fresh::new(op, &[c.n, c.c_out, rows, cols], dtype)?;
    check_conv(c, x.numel(), weight.numel(), c.n * c.c_out * rows * cols);
    assert!(bias.is_none_or(|b| b.numel() == c.c_out), "bias of a convolution");
    let (input, weight, bias) = (dense(x, dtype)?, dense(weight, dtype)?, dense_option(bias, dtype)?);
    let locked = [Some(&input), Some(&weight), bias.as_ref()];
    let _locks = lock(op, &locked.into_iter().flatten().collect::<Vec<_>>(), None)?;
    // SAFETY: the arrays have the sizes checked above; inputs are locked, the output is new.
    with_float!(dtype, T => unsafe {
        sconce_kernels::conv2d::<T>(c, read(&input), read(&weight), read_option(&bias), out.ptr());
    });
    drop(_locks);
    out.tensor().to(x.dtype())
}

/// The gradient of a convolution's input, which is the transposed convolution of `grad`.
pub(crate) fn conv2d_backward_input(op: &str, c: &Conv2d, grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check_scratch(op, c, [grad, weight])?;
    let dtype = wide(grad.dtype());
    let out = Fresh::new(op, &[c.n, c.c_in, c.h, c.w], dtype)?;
    check_conv(c, c.n * c.c_in * c.h * c.w, weight.numel(), grad.numel());
    let (g, weight) = (dense(grad, dtype)?, dense(weight, dtype)?);
    let _locks = lock_reads(op, &[&g, &weight])?;
    // SAFETY: as in `conv2d`.
    with_float!(dtype, T => unsafe {
        sconce_kernels::conv2d_backward_input::<T>(c, read(&g), read(&weight), out.ptr());
    });
    drop(_locks);
    out.tensor().to(grad.dtype())
}

/// The gradient of a convolution's weight.
pub(crate) fn conv2d_backward_weight(op: &str, c: &Conv2d, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    check_scratch(op, c, [grad, x])?;
    let dtype = wide(grad.dtype());
    let shape = [c.c_out, c.c_in / c.groups, c.kernel.0, c.kernel.1];
    let out = Fresh::new(op, &shape, dtype)?;
    check_conv(c, x.numel(), shape.iter().product(), grad.numel());
    let (g, x) = (dense(grad, dtype)?, dense(x, dtype)?);
    let _locks = lock_reads(op, &[&g, &x])?;
    // SAFETY: as in `conv2d`.
    with_float!(dtype, T => unsafe {
        sconce_kernels::conv2d_backward_weight::<T>(c, read(&g), read(&x), out.ptr());
    });
    drop(_locks);
    out.tensor().to(grad.dtype())
}

/// Panics unless the steps of a pooling are sound.
fn check_pool(p: &Pool2d) {
    let steps = [p.stride.0, p.stride.1, p.dilation.0, p.dilation.1];
    assert!(!steps.contains(&0), "steps of a pooling");
}

/// The greatest element of each window and its index in its plane.
pub(crate) fn max_pool2d(op: &str, p: &Pool2d, x: &Tensor, shape: &[usize]) -> Result<(Tensor, Tensor)> {
    check_pool(p);
    let dtype = wide(x.dtype());
    let (out, indices) = (Fresh::new(op, shape, dtype)?, Fresh::new(op, shape, DType::I64)?);
    assert!(
        x.numel() == p.planes * p.h * p.w && shape.iter().product::<usize>() == p.planes * p.oh * p.ow,
        "planes"
    );
    let input = dense(x, dtype)?;
    let _locks = lock_reads(op, &[&input])?;
    // SAFETY: the arrays have the sizes checked above; the input is locked, the outputs are new.
    with_float!(dtype, T => unsafe {
        sconce_kernels::max_pool2d::<T>(p, read(&input), out.ptr(), indices.ptr());
    });
    drop(_locks);
    Ok((out.tensor().to(x.dtype())?, indices.tensor()))
}

/// The gradient of [`max_pool2d`]'s input, of shape `shape`. `indices` are those that it returned.
pub(crate) fn max_pool2d_backward(
    op: &str,
    p: &Pool2d,
    grad: &Tensor,
    indices: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    check_pool(p);
    let dtype = wide(grad.dtype());
    let out = Fresh::new(op, shape, dtype)?;
    let (g, indices) = (dense(grad, dtype)?, dense(indices, DType::I64)?);
    let sizes = (p.planes * p.oh * p.ow, p.planes * p.h * p.w);
    assert!(
        g.numel() == sizes.0 && indices.numel() == sizes.0 && shape.iter().product::<usize>() == sizes.1,
        "planes"
    );
    let plane = p.h * p.w;
    let inside = indices.with_slice(|i: &[i64]| i.iter().all(|&i| (0..plane as i64).contains(&i)))?;
    assert!(inside, "indices of a pooling lie in its planes");
    let _locks = lock_reads(op, &[&g, &indices])?;
    // SAFETY: the arrays have the sizes, and the indices the range, checked above; the output is new.
    with_float!(dtype, T => unsafe {
        sconce_kernels::max_pool2d_backward::<T>(p, read(&g), read(&indices), out.ptr());
    });
    drop(_locks);
    out.tensor().to(grad.dtype())
}

/// The average of each window, or with `backward` the gradient of its input.
pub(crate) fn avg_pool2d(
    op: &str,
    p: &Pool2d,
    divisor: Divisor,
    x: &Tensor,
    shape: &[usize],
    backward: bool,
) -> Result<Tensor> {
    check_pool(p);
    let dtype = wide(x.dtype());
    let out = Fresh::new(op, shape, dtype)?;
    let (large, small) = (p.planes * p.h * p.w, p.planes * p.oh * p.ow);
    let sizes = (x.numel(), shape.iter().product::<usize>());
    assert_eq!(sizes, if backward { (small, large) } else { (large, small) }, "planes of a pooling");
    let input = dense(x, dtype)?;
    let _locks = lock_reads(op, &[&input])?;
    // SAFETY: as in `max_pool2d`.
    with_float!(dtype, T => unsafe {
        if backward {
            sconce_kernels::avg_pool2d_backward::<T>(p, divisor, read(&input), out.ptr());
        } else {
            sconce_kernels::avg_pool2d::<T>(p, divisor, read(&input), out.ptr());
        }
    });
    drop(_locks);
    out.tensor().to(x.dtype())
}

/// The sizes of `[n, c, …]`.
fn batch_norm_size(x: &Tensor) -> BatchNorm {
    let (n, c, l) = around(x.shape(), 1);
    BatchNorm { n, c, l }
}

/// Mean and biased variance of each channel (dimension 1), in the compute dtype.
pub(crate) fn batch_norm_stats(op: &str, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let dtype = wide(x.dtype());
    let size = batch_norm_size(x);
    let (mean, var) = (Fresh::new(op, &[size.c], dtype)?, Fresh::new(op, &[size.c], dtype)?);
    let input = dense(x, dtype)?;
    let _locks = lock_reads(op, &[&input])?;
    // SAFETY: the input has `n · c · l` elements and is locked; the outputs are new, of `c` elements.
    with_float!(dtype, T => unsafe {
        sconce_kernels::batch_norm_stats::<T>(size, read(&input), mean.ptr(), var.ptr());
    });
    drop(_locks);
    Ok((mean.tensor(), var.tensor()))
}

/// The statistics and parameters of a normalisation, dense and in one compute dtype.
struct Affine {
    mean: Tensor,
    scale: Tensor,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

impl Affine {
    fn new(
        dtype: DType,
        (mean, scale): (&Tensor, &Tensor),
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        (stats, params): (usize, usize),
    ) -> Result<Self> {
        assert!(mean.numel() == stats && scale.numel() == stats, "statistics of a normalisation");
        let fits = |t: Option<&Tensor>| t.is_none_or(|t| t.numel() == params);
        assert!(fits(weight) && fits(bias), "parameters of a normalisation");
        Ok(Self {
            mean: dense(mean, dtype)?,
            scale: dense(scale, dtype)?,
            weight: dense_option(weight, dtype)?,
            bias: dense_option(bias, dtype)?,
        })
    }

    fn tensors<'a>(&'a self, more: &[&'a Tensor]) -> Vec<&'a Tensor> {
        let own = [Some(&self.mean), Some(&self.scale), self.weight.as_ref(), self.bias.as_ref()];
        own.into_iter().flatten().chain(more.iter().copied()).collect()
    }
}

/// `(x − mean) · invstd · weight + bias` per channel.
pub(crate) fn batch_norm(
    op: &str,
    x: &Tensor,
    stats: (&Tensor, &Tensor),
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let (dtype, size) = (wide(x.dtype()), batch_norm_size(x));
    let out = Fresh::new(op, x.shape(), dtype)?;
    let (input, a) = (dense(x, dtype)?, Affine::new(dtype, stats, weight, bias, (size.c, size.c))?);
    let _locks = lock(op, &a.tensors(&[&input]), None)?;
    // SAFETY: the input and the output have `n · c · l` elements, the others `c`; inputs are locked, the output is new.
    with_float!(dtype, T => unsafe {
        let (weight, bias) = (read_option(&a.weight), read_option(&a.bias));
        sconce_kernels::batch_norm::<T>(size, read(&input), read(&a.mean), read(&a.scale), weight, bias, out.ptr());
    });
    drop(_locks);
    out.tensor().to(x.dtype())
}

/// The gradients of input, weight and bias of a normalisation.
pub(crate) type NormGradients = [Option<Tensor>; 3];

/// The gradients of [`batch_norm`], those that are wanted.
pub(crate) fn batch_norm_backward(
    op: &str,
    x: &Tensor,
    grad: &Tensor,
    stats: (&Tensor, &Tensor),
    weight: Option<&Tensor>,
    train: bool,
    wanted: [bool; 3],
) -> Result<NormGradients> {
    assert_eq!(x.shape(), grad.shape(), "a gradient has its output's shape");
    let (dtype, size) = (wide(x.dtype()), batch_norm_size(x));
    let (input, g) = (dense(x, dtype)?, dense(grad, dtype)?);
    let a = Affine::new(dtype, stats, weight, None, (size.c, size.c))?;
    let outs = norm_outputs(op, x.shape(), size.c, dtype, wanted)?;
    let _locks = lock(op, &a.tensors(&[&input, &g]), None)?;
    // SAFETY: as in `batch_norm`; the outputs that are wanted are new.
    with_float!(dtype, T => unsafe {
        let grads = norm_grads::<T>(&outs);
        let weight = read_option(&a.weight);
        sconce_kernels::batch_norm_backward::<T>(
            size, read(&input), read(&g), read(&a.mean), read(&a.scale), weight, train, grads,
        );
    });
    drop(_locks);
    Ok(outs.map(|out| out.map(Fresh::tensor)))
}

fn norm_outputs(
    op: &str,
    shape: &[usize],
    params: usize,
    dtype: DType,
    wanted: [bool; 3],
) -> Result<[Option<Fresh>; 3]> {
    let new = |wanted: bool, shape: &[usize]| wanted.then(|| Fresh::new(op, shape, dtype)).transpose();
    Ok([new(wanted[0], shape)?, new(wanted[1], &[params])?, new(wanted[2], &[params])?])
}

fn norm_grads<T>(outs: &[Option<Fresh>; 3]) -> NormGrads<T> {
    let ptr = |i: usize| outs[i].as_ref().map(Fresh::ptr);
    NormGrads { x: ptr(0), weight: ptr(1), bias: ptr(2) }
}

/// Normalises rows of `cols` elements; also returns the rows' means and reciprocal standard deviations.
pub(crate) fn layer_norm(
    op: &str,
    x: &Tensor,
    cols: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (dtype, rows) = (wide(x.dtype()), x.numel() / cols);
    assert!(rows * cols == x.numel(), "whole rows");
    let fits = |t: Option<&Tensor>| t.is_none_or(|t| t.numel() == cols);
    assert!(fits(weight) && fits(bias), "parameters of a normalisation");
    let out = Fresh::new(op, x.shape(), dtype)?;
    let (mean, rstd) = (Fresh::new(op, &[rows], dtype)?, Fresh::new(op, &[rows], dtype)?);
    let (input, weight, bias) = (dense(x, dtype)?, dense_option(weight, dtype)?, dense_option(bias, dtype)?);
    let or_input = |t| Option::unwrap_or(t, &input);
    let _locks = lock_reads(op, &[&input, or_input(weight.as_ref()), or_input(bias.as_ref())])?;
    // SAFETY: input and output have `rows · cols` elements, parameters `cols`, statistics `rows`; the outputs are new.
    with_float!(dtype, T => unsafe {
        let (weight, bias) = (read_option(&weight), read_option(&bias));
        sconce_kernels::layer_norm::<T>(
            rows, cols, read(&input), weight, bias, eps, out.ptr(), mean.ptr(), rstd.ptr(),
        );
    });
    drop(_locks);
    Ok((out.tensor().to(x.dtype())?, mean.tensor(), rstd.tensor()))
}

/// The gradients of [`layer_norm`], those that are wanted.
pub(crate) fn layer_norm_backward(
    op: &str,
    x: &Tensor,
    grad: &Tensor,
    cols: usize,
    stats: (&Tensor, &Tensor),
    weight: Option<&Tensor>,
    wanted: [bool; 3],
) -> Result<NormGradients> {
    assert_eq!(x.shape(), grad.shape(), "a gradient has its output's shape");
    let (dtype, rows) = (wide(x.dtype()), x.numel() / cols);
    assert!(rows * cols == x.numel(), "whole rows");
    let (input, g) = (dense(x, dtype)?, dense(grad, dtype)?);
    let a = Affine::new(dtype, stats, weight, None, (rows, cols))?;
    let outs = norm_outputs(op, x.shape(), cols, dtype, wanted)?;
    let _locks = lock(op, &a.tensors(&[&input, &g]), None)?;
    // SAFETY: as in `layer_norm`; the outputs that are wanted are new.
    with_float!(dtype, T => unsafe {
        let (grads, weight) = (norm_grads::<T>(&outs), read_option(&a.weight));
        sconce_kernels::layer_norm_backward::<T>(
            rows, cols, read(&input), read(&g), read(&a.mean), read(&a.scale), weight, grads,
        );
    });
    drop(_locks);
    Ok(outs.map(|out| out.map(Fresh::tensor)))
}
