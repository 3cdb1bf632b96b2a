//! Absurd sizes, dimensions and positions: an error or a small result, in no time; never a panic, an abort or a wrapped
//! number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use sconce::functional::*;
use sconce::{DType, FftNorm, Index, MatrixNorm, Result, Sections, Tensor};

const F32: DType = DType::F32;

/// Sizes that no memory holds, and none at all.
const SIZES: [usize; 7] =
    [0, 1 << 50, (1 << 62) - 1, 1 << 62, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX];

/// Positions and dimensions out of any bounds.
const POSITIONS: [isize; 8] =
    [isize::MIN, isize::MIN + 1, -(1 << 50), -9, 9, 1 << 50, isize::MAX - 1, isize::MAX];

fn x() -> Tensor {
    Tensor::arange(0, 6, 1, F32).unwrap().view([2, 3]).unwrap()
}

fn square() -> Tensor {
    Tensor::eye(3, F32).unwrap()
}

fn empty() -> Tensor {
    Tensor::zeros([0, 3], F32).unwrap()
}

fn image() -> Tensor {
    Tensor::ones([1, 4, 5, 5], F32).unwrap()
}

fn positions(i: i64) -> Tensor {
    Tensor::from_slice(&[0, i], [2]).unwrap()
}

/// What a call made: all of it must be small.
trait Small {
    fn numel(&self) -> usize;
}

impl Small for () {
    fn numel(&self) -> usize {
        0
    }
}

impl Small for Tensor {
    fn numel(&self) -> usize {
        self.numel()
    }
}

impl Small for (Tensor, Tensor) {
    fn numel(&self) -> usize {
        self.0.numel() + self.1.numel()
    }
}

impl Small for Vec<Tensor> {
    fn numel(&self) -> usize {
        self.len() + self.iter().map(Tensor::numel).sum::<usize>()
    }
}

/// Runs calls with every argument of a list, and tells all that go wrong.
macro_rules! all {
    ($arguments:expr, |$i:ident: $t:ty| { $($call:expr;)* }) => {{
        let mut wrong: Vec<String> = Vec::new();
        for $i in $arguments {
            let $i: $t = $i;
            $({
                let start = Instant::now();
                let call = || -> Result<usize> { $call.map(|made| Small::numel(&made)) };
                let run = catch_unwind(AssertUnwindSafe(call));
                let what = match run {
                    Err(_) => Some("panics".to_owned()),
                    Ok(Ok(n)) if n > 1 << 16 => Some(format!("makes {n} elements")),
                    Ok(_) if start.elapsed() > Duration::from_secs(5) => Some("takes long".to_owned()),
                    Ok(_) => None,
                };
                wrong.extend(what.map(|what| format!("{} with {}: {what}", stringify!($call), $i)));
            })*
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }};
}

#[test]
fn sizes() {
    all!(SIZES, |n: usize| {
        Tensor::zeros([n], F32);
        Tensor::zeros([n, n], F32);
        Tensor::zeros([n, 0, n], F32);
        Tensor::ones([n, 2], DType::U8);
        Tensor::full([2, n], 1.5, F32);
        Tensor::empty([n], F32);
        Tensor::eye(n, F32);
        Tensor::eye_of(n, 2, F32);
        Tensor::eye_of(2, n, F32);
        Tensor::rand([n], F32);
        Tensor::randn([n, 2], F32);
        Tensor::randint(0, 9, [n], DType::I64);
        Tensor::randperm(n);
        Tensor::linspace(0.0, 1.0, n, F32);
        Tensor::logspace(0.0, 1.0, n, 10.0, F32);
        Tensor::from_slice(&[1.0f32], [n]);
        Tensor::from_bytes(&[0; 4], F32, [n, n]);
        Tensor::tril_indices(n, n, 0);
        Tensor::tril_indices(n, 2, 0);
        Tensor::triu_indices(2, n, 0);
        x().view([n, 2]);
        x().view([n, n]);
        x().reshape([n, 6]);
        x().expand([n, 2, 3]).and_then(|y| y.copy());
        x().expand([n, n, 2, 3]).and_then(|y| y.sum(()));
        x().unflatten(0, [n, 2]);
        x().unflatten(0, [n, n]);
        x().narrow(0, 0, n);
        x().narrow(0, 1, n);
        x().slice(0, 0, 2, n);
        x().as_strided([n], [1], 0);
        x().as_strided([2], [n], 0);
        x().as_strided([2, n], [n, 1], 0);
        x().as_strided([1], [1], n);
        x().as_strided([n], [0], 0).and_then(|y| y.copy());
        x().unfold(0, n, 1);
        x().unfold(0, 1, n);
        x().unfold(0, n, n);
        x().split(n, 0);
        empty().split(n, 0);
        x().chunk(n, 0);
        empty().chunk(n, 0);
        x().split_with_sizes(&[n, n], 0);
        x().tensor_split(Sections::Count(n), 0);
        x().repeat([n, 1]);
        x().repeat([n, n]);
        empty().repeat([n, n]);
        x().tile([n, n]);
        x().repeat_interleave(n, Some(0));
        x().repeat_interleave(n, None);
        x().topk(n, 0, true);
        x().kthvalue(n, 0);
        x().view(-1)?.combinations(n, true);
        x().view(-1)?.combinations(n, false);
        x().view(-1)?.vander(n);
        x().add(9)?.mvlgamma(n);
        x().nonzero_static(n, 0);
        x().view(-1)?.histc(n, 0.0, 1.0);
        x().view(-1)?.histogram_edges(n, None);
        x().to(DType::I64)?.view(-1)?.bincount(None, n);
        x().multinomial(n, true);
        x().multinomial(n, false);
        x().tensorinv(n);
        x().fft(Some(n), 0, FftNorm::Backward);
        x().rfft(Some(n), 0, FftNorm::Backward);
        x().ifft(Some(n), 1, FftNorm::Backward);
        x().irfft(Some(n), 0, FftNorm::Backward);
        x().fftn(Some([n, n]), (), FftNorm::Backward);
        x().sum_to_size([n]);
        positions(1).unravel_index([n, n]);
        one_hot(&positions(1), Some(n));
        channel_shuffle(&image(), n);
        pixel_shuffle(&image(), n);
        pixel_unshuffle(&image(), n);
        adaptive_avg_pool1d(&x(), n);
        adaptive_avg_pool2d(&image(), [n, 2]);
        adaptive_avg_pool3d(&image(), [n, n, n]);
        adaptive_max_pool2d_with_indices(&image(), [n, n]);
        affine_grid(&Tensor::ones([1, 2, 3], F32)?, &[1, 1, n, n], true);
        local_response_norm(&image(), n, 1.0, 1.0, 1.0);
        avg_pool2d(&image(), AvgPool2dOptions::new([n, n]));
        avg_pool2d(&image(), AvgPool2dOptions { stride: [n, n], ..AvgPool2dOptions::new([2, 2]) });
        avg_pool2d(&image(), AvgPool2dOptions { padding: [n, n], ..AvgPool2dOptions::new([2, 2]) });
        avg_pool1d(&x(), AvgPool1dOptions { padding: [n], ceil_mode: true, ..AvgPool1dOptions::new([n]) });
        max_pool2d(&image(), MaxPool2dOptions::new([n, n]));
        max_pool2d(
            &image(),
            MaxPool2dOptions { stride: [n, n], ceil_mode: true, ..MaxPool2dOptions::new([2, 2]) },
        );
        max_pool2d(&image(), MaxPool2dOptions { dilation: [n, n], ..MaxPool2dOptions::new([2, 2]) });
        max_pool2d(&image(), MaxPool2dOptions { padding: [n, n], ..MaxPool2dOptions::new([n, n]) });
        max_pool3d(&image(), MaxPool3dOptions::new([n, n, n]));
        lp_pool(&image(), LpPoolOptions::new(2.0, [n, n]));
        max_unpool(&image(), &image().to(DType::I64)?, [n, n]);
        Ok(unpooled_size([n], [n], [n], [0])).map(|_| ());
        fractional_max_pool(&image(), [n, n], [2, 2], None);
        fractional_max_pool(&image(), [2, 2], [n, n], None);
        interpolate(&image(), Resize::Size(vec![n]), InterpolateOptions::default());
        interpolate(&image(), Resize::Scale(vec![n as f64]), InterpolateOptions::default());
        unfold(&image(), UnfoldOptions::new([n, n]));
        unfold(&image(), UnfoldOptions { padding: [n, n], ..UnfoldOptions::new([2, 2]) });
        unfold(&image(), UnfoldOptions { dilation: [n, n], ..UnfoldOptions::new([2, 2]) });
        unfold(&image(), UnfoldOptions { stride: [n, n], ..UnfoldOptions::new([2, 2]) });
        fold(&Tensor::ones([1, 4, 16], F32)?, [n, n], UnfoldOptions::new([2, 2]));
        fold(&Tensor::ones([1, 4, 16], F32)?, [5, 5], UnfoldOptions::new([n, n]));
        pad_same(&image(), [n, n], [n, n]);
        pad_same(&image(), [n, 1], [1, 1]);
        conv2d(&image(), &image(), None, Conv2dOptions { stride: [n, n], ..Default::default() });
        conv2d(&image(), &image(), None, Conv2dOptions { padding: [n, n], ..Default::default() });
        conv2d(&image(), &image(), None, Conv2dOptions { dilation: [n, n], ..Default::default() });
        conv2d(&image(), &image(), None, Conv2dOptions { groups: n, ..Default::default() });
        conv1d(
            &x().unsqueeze(0)?,
            &x().unsqueeze(0)?,
            None,
            Conv1dOptions { padding: [n], ..Default::default() },
        );
        conv3d(&image(), &image(), None, Conv3dOptions { padding: [n; 3], ..Default::default() });
        conv_transpose2d(
            &image(),
            &image(),
            None,
            ConvTranspose2dOptions { stride: [n, n], ..Default::default() },
        );
        conv_transpose2d(
            &image(),
            &image(),
            None,
            ConvTranspose2dOptions { padding: [n, n], ..Default::default() },
        );
        conv_transpose2d(
            &image(),
            &image(),
            None,
            ConvTranspose2dOptions { output_padding: [n, n], ..Default::default() },
        );
        conv_transpose2d(
            &image(),
            &image(),
            None,
            ConvTranspose2dOptions { dilation: [n, n], ..Default::default() },
        );
        conv_transpose2d(
            &image(),
            &image(),
            None,
            ConvTranspose2dOptions { groups: n, ..Default::default() },
        );
        conv_transpose1d(
            &x().unsqueeze(0)?,
            &x().view([1, 2, 3])?.transpose(0, 1)?,
            None,
            ConvTranspose1dOptions { stride: [n], ..Default::default() },
        );
        x().get(n);
        x().get(n..);
        x().get(..n);
        x().get((.., n));
        x().get(0..=n);
    });
}

#[test]
fn positions_and_dimensions() {
    all!(POSITIONS, |i: isize| {
        Tensor::zeros([i], F32);
        Tensor::zeros([i, i, 0], F32);
        Tensor::arange(i as i64, 3, 1, DType::I64);
        Tensor::arange(0, i as i64, 1, DType::I64);
        Tensor::arange(0, i as i64, i as i64, DType::I64);
        Tensor::arange(i64::MIN, i64::MAX, i as i64, DType::I64);
        Tensor::randint(i as i64, i64::MAX, [2], DType::I64);
        Tensor::randint(i64::MIN, i as i64, [2], DType::I64);
        x().size(i).map(drop);
        x().select(0, i);
        x().select(i, 0);
        x().narrow(i, 0, 1);
        x().narrow(0, i, 1);
        x().slice(i, 0, 1, 1);
        x().slice(0, i, isize::MAX, 1);
        x().slice(0, isize::MIN, i, usize::MAX);
        x().transpose(i, 0);
        x().transpose(i, i);
        x().permute([i, 0]);
        x().movedim(i, 0);
        x().movedim(0, i);
        x().unsqueeze(i);
        x().squeeze(i);
        x().flatten(i, i);
        x().flatten(0, i);
        x().unflatten(i, [1, 2]);
        x().unflatten(0, [i, -1]);
        x().unbind(i);
        x().view([i, -1]);
        x().expand([i, 2, 3]).and_then(|y| y.copy());
        x().expand([2, i]);
        x().diagonal(i, 0, 1);
        x().diagonal(0, i, 1);
        x().diag(i);
        x().view(-1)?.diag(i);
        x().view(-1)?.diagflat(i);
        x().diag_embed(i, 0, 1);
        x().diag_embed(0, i, 1);
        x().tril(i);
        x().triu(i);
        Tensor::tril_indices(2, 3, i);
        Tensor::triu_indices(2, 3, i);
        x().as_strided([i], [1], 0);
        x().as_strided([2], [i], 0);
        x().roll(i, 0);
        x().roll(1, i);
        x().roll(i, i);
        x().flip(i);
        x().rot90(i as i64, [0, 1]);
        x().rot90(1, [0, i]);
        x().repeat([i, 1]);
        x().repeat_interleave(2, Some(i));
        x().repeat_interleave_each(&positions(i as i64), Some(0));
        x().sum(i);
        x().sum([0, i]);
        x().mean(i);
        x().var(i, 1.0);
        x().amax(i);
        x().argmax(i);
        x().prod(i);
        x().norm(2.0, i);
        x().logsumexp(i);
        x().cumsum(i);
        x().cumprod(i);
        x().cummax(i);
        x().logcumsumexp(i);
        x().softmax(i);
        x().log_softmax(i);
        x().sort(i, false);
        x().argsort(i, false);
        x().topk(1, i, true);
        x().median_dim(i);
        x().mode(i);
        x().kthvalue(1, i);
        x().glu(i);
        x().renorm(2.0, i, 1.0);
        x().cross(&x(), i);
        x().vecdot(&x(), i);
        x().trapezoid(1.0, i);
        x().unfold(i, 1, 1);
        x().split(1, i);
        x().chunk(2, i);
        x().tensor_split(Sections::At(vec![i, i]), 0);
        x().tensor_split(Sections::Count(2), i);
        Tensor::cat(&[x(), x()], i);
        Tensor::stack(&[x(), x()], i);
        x().gather(i, &x().to(DType::I64)?);
        x().gather(0, &positions(i as i64).unsqueeze(0)?);
        x().index_select(i, &positions(0));
        x().index_select(0, &positions(i as i64));
        x().index_add(0, &positions(i as i64), &x());
        x().index_copy(0, &positions(i as i64), &x());
        x().index_fill_(0, &positions(i as i64), 1.0);
        x().scatter(0, &positions(i as i64).unsqueeze(0)?, 1.0);
        x().scatter_add(0, &positions(i as i64).unsqueeze(0)?, &x());
        x().select_scatter(&x(), 0, i);
        x().take_along_dim(&positions(i as i64).unsqueeze(0)?, Some(0));
        x().take_along_dim(&positions(i as i64), None);
        positions(i as i64).unravel_index([2, 3]);
        positions(0).unravel_index([i, i]);
        positions(i as i64).bincount(None, 0);
        one_hot(&positions(i as i64), None);
        embedding(&positions(i as i64), &x(), EmbeddingOptions::default());
        embedding(&positions(0), &x(), EmbeddingOptions { padding_idx: Some(i), ..Default::default() });
        square().matrix_power(i as i64);
        square().matrix_norm(MatrixNorm::Frobenius, [i, 0], false);
        x().tensordot(&x(), i, 0);
        x().fft(None, i, FftNorm::Backward);
        x().fftshift(i);
        x().nonzero_static(2, i as i64);
        cosine_similarity(&x(), &x(), i, 1e-8);
        pad(&x(), &[i, 0], PadMode::default());
        pad(&x(), &[i, i], PadMode::default());
        pad(&image(), &[i, i, 0, 0], PadMode::Reflect);
        pad(&image(), &[i, 0, 0, 0], PadMode::Circular);
        pad(&image(), &[0, i, 0, 0], PadMode::Replicate);
        pad(&image(), &[isize::MIN, i, 0, 0], PadMode::Replicate);
        pad(&image(), &[isize::MIN, i, 0, 0], PadMode::default());
        x().get(i);
        x().get((.., i));
        x().get(i..);
        x().get(..=i);
        x().get(Index::Slice(Some(i), None, i));
        x().get(positions(i as i64));
        x().set(i, 1.0);
        x().set(positions(i as i64), 1.0);
        x().to(DType::I64)?.add(i as i64);
        x().to(DType::I8)?.mul(i as i64);
        x().to(DType::I64)?.pow(i as i64);
        x().to(DType::I32)?.add(1)?.remainder(i as i64);
        Tensor::full([2], i as i64, DType::I64)?.neg();
        Tensor::full([2], i as i64, DType::I64)?.abs();
        Tensor::full([2], i as i64, DType::I64)?.sum(());
        Tensor::full([2], i as i64, DType::I64)?.prod(());
        Tensor::full([2], i as i64, DType::I64)?.floor_divide(-1);
        Tensor::full([2], i as i64, DType::I64)?.remainder(-1);
    });
}
