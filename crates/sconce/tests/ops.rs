//! Every registered operation, on inputs of every layout and dtype, with every number of threads.

use sconce::autograd::{self, Backward, GradCheck, gradcheck, gradgradcheck};
use sconce::functional::{
    AttentionOptions, AvgPool2dOptions, Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions,
    CrossEntropyOptions, MaxPool2dOptions, avg_pool2d, conv_transpose2d, conv1d, conv2d, cross_entropy,
    max_pool2d, max_pool2d_with_indices, scaled_dot_product_attention,
};
use sconce::ops::OPS;
use sconce::ops::registry::{OpInfo, Sample};
use sconce::{DType, Result, Tensor, no_grad};

/// How an input lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Contiguous,
    Transposed,
    Offset,
    /// Every other element of a dimension.
    Strided,
    /// The first slice of each dimension 0, repeated.
    Expanded,
}

const PLACES: [Place; 5] =
    [Place::Contiguous, Place::Transposed, Place::Offset, Place::Strided, Place::Expanded];

fn samples() -> impl Iterator<Item = (&'static OpInfo, usize, Sample)> {
    OPS.iter()
        .copied()
        .flatten()
        .flat_map(|op| (op.samples)().into_iter().enumerate().map(move |(i, sample)| (op, i, sample)))
}

/// Numbers in a range that repeat from run to run and hardly from place to place.
fn numbers(n: usize, (low, high): (f64, f64), seed: usize) -> Vec<f64> {
    (0..n)
        .map(|i| {
            let x = ((i + 1) * 7919 + seed * 104_729) as f64 * 0.618_033_988_749_895;
            low + (high - low) * x.fract()
        })
        .collect()
}

fn input(shape: &[usize], domain: (f64, f64), seed: usize, dtype: DType) -> Result<Tensor> {
    Tensor::from_vec(numbers(shape.iter().product(), domain, seed), shape)?.to(dtype)
}

fn inputs(sample: &Sample, dtype: DType) -> Result<Vec<Tensor>> {
    sample.inputs.iter().enumerate().map(|(i, (shape, domain))| input(shape, *domain, i, dtype)).collect()
}

/// The same values (but for `Expanded`) in other places.
fn placed(x: &Tensor, place: Place) -> Result<Tensor> {
    if x.dim() == 0 {
        return x.copy();
    }
    let last = x.shape()[x.dim() - 1];
    match place {
        Place::Contiguous => x.copy(),
        Place::Transposed => {
            let reversed: Vec<usize> = (0..x.dim()).rev().collect();
            x.permute(reversed.as_slice())?.copy()?.permute(reversed.as_slice())
        }
        Place::Offset | Place::Strided => {
            let step = if place == Place::Offset { 1 } else { 2 };
            let mut shape = x.shape().to_vec();
            *shape.last_mut().unwrap() = last * step + 3;
            let room = Tensor::full(shape, f64::NAN, x.dtype())?;
            let part = room.slice(-1, 3, (3 + last * step) as isize, step)?;
            part.copy_(x)?;
            Ok(part)
        }
        Place::Expanded => x.narrow(0, 0, 1)?.copy()?.expand(x.shape()),
    }
}

fn list(x: &Tensor) -> Vec<f64> {
    x.detach().to(DType::F64).unwrap().to_vec().unwrap()
}

#[track_caller]
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape(), "{what}: shape");
    assert_eq!(found.dtype(), expected.dtype(), "{what}: dtype");
    for (i, (x, y)) in list(found).into_iter().zip(list(expected)).enumerate() {
        let near = (x - y).abs() <= tolerance * (1.0 + y.abs());
        assert!(near || x == y || x.is_nan() && y.is_nan(), "{what}: element {i} is {x}, expected {y}");
    }
}

/// Runs a check for every sample and reports all that fail.
fn for_every_sample(check: impl Fn(&OpInfo, usize, &Sample)) {
    let mut failed = Vec::new();
    for (op, i, sample) in samples() {
        let run = std::panic::AssertUnwindSafe(|| check(op, i, &sample));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(format!("{} (sample {i})", op.name));
        }
    }
    assert!(failed.is_empty(), "failed, with messages above: {}", failed.join(", "));
}

fn label(op: &OpInfo, i: usize, dtype: DType, place: Place) -> String {
    format!("{} (sample {i}, {dtype}, {place:?})", op.name)
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-11 } else { 1e-5 }
}

/// The output and the gradients of all inputs from a cotangent.
fn run(sample: &Sample, x: &[Tensor]) -> Result<(Tensor, Vec<Option<Tensor>>)> {
    let leaves: Vec<Tensor> =
        x.iter().map(|t| t.detach().requires_grad_(sample.differentiable)).collect::<Result<_>>()?;
    let y = (sample.call)(&leaves)?;
    if !y.requires_grad() {
        return Ok((y, Vec::new()));
    }
    let cotangent = input(y.shape(), (0.5, 1.5), 99, y.dtype())?;
    y.backward_with(Some(&cotangent), Default::default())?;
    let grads = leaves.iter().map(Tensor::grad).collect();
    Ok((y, grads))
}

#[test]
fn names_are_distinct() {
    let mut names: Vec<&str> = OPS.iter().copied().flatten().map(|op| op.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "an operation is listed twice");
    }
}

#[test]
fn layouts_do_not_matter() {
    for_every_sample(|op, i, sample| {
        for dtype in [DType::F32, DType::F64] {
            for place in PLACES {
                let what = label(op, i, dtype, place);
                let x = inputs(sample, dtype).unwrap();
                let x: Vec<Tensor> = x.iter().map(|t| placed(t, place).unwrap()).collect();
                let dense: Vec<Tensor> = x.iter().map(|t| t.copy().unwrap()).collect();
                let (y, grads) = run(sample, &x).unwrap_or_else(|e| panic!("{what}: {e}"));
                let (expected, expected_grads) =
                    run(sample, &dense).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_close(&what, &y, &expected, tolerance(dtype));
                for (k, (g, e)) in grads.iter().zip(&expected_grads).enumerate() {
                    assert_eq!(g.is_some(), e.is_some(), "{what}: gradient {k}");
                    if let (Some(g), Some(e)) = (g, e) {
                        assert_close(&format!("{what}: gradient {k}"), g, e, tolerance(dtype));
                    }
                }
            }
        }
    });
}

#[test]
fn threads_do_not_matter() {
    for_every_sample(|op, i, sample| {
        let what = label(op, i, DType::F32, Place::Contiguous);
        let x = inputs(sample, DType::F32).unwrap();
        let mut results = Vec::new();
        for threads in [1, 3] {
            sconce_kernels::set_threads(threads);
            let (y, grads) = run(sample, &x).unwrap();
            results.push((list(&y), grads.iter().map(|g| g.as_ref().map(list)).collect::<Vec<_>>()));
        }
        sconce_kernels::set_threads(0);
        assert!(
            format!("{:?}", results[0]) == format!("{:?}", results[1]),
            "{what}: threads change the result"
        );
    });
}

#[test]
fn in_place_equals_out_of_place() {
    for_every_sample(|op, i, sample| {
        let Some(inplace) = &sample.inplace else { return };
        for dtype in [DType::F32, DType::F64] {
            for place in [Place::Contiguous, Place::Transposed, Place::Offset, Place::Strided] {
                let what = label(op, i, dtype, place);
                let mut x = inputs(sample, dtype).unwrap();
                let expected = (sample.call)(&x).unwrap();
                x[0] = placed(&x[0], place).unwrap();
                inplace(&x).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_close(&what, &x[0], &expected, tolerance(dtype));
            }
        }
        // The gradient through a changed tensor is that of the function.
        let x = inputs(sample, DType::F64).unwrap();
        let (_, expected) = run(sample, &x).unwrap();
        let leaves: Vec<Tensor> = x.iter().map(|t| t.detach().requires_grad_(true).unwrap()).collect();
        let mut changed = leaves.clone();
        changed[0] = leaves[0].mul(1.0).unwrap();
        inplace(&changed).unwrap();
        let cotangent = input(changed[0].shape(), (0.5, 1.5), 99, DType::F64).unwrap();
        let what = label(op, i, DType::F64, Place::Contiguous);
        if changed[0].requires_grad() {
            let backward = changed[0].backward_with(Some(&cotangent), Default::default());
            backward.unwrap_or_else(|e| panic!("{what}: backward of the in-place form: {e}"));
        }
        for (leaf, expected) in leaves.iter().zip(&expected) {
            if let (Some(found), Some(expected)) = (leaf.grad(), expected) {
                assert_close(&format!("{what}: gradient of the in-place form"), &found, expected, 1e-11);
            }
        }
    });
}

#[test]
fn derivatives_are_right() {
    for_every_sample(|op, i, sample| {
        if !sample.differentiable {
            return;
        }
        for place in [Place::Contiguous, Place::Transposed] {
            let what = label(op, i, DType::F64, place);
            let x: Vec<Tensor> = inputs(sample, DType::F64)
                .unwrap()
                .iter()
                .map(|t| placed(t, place).unwrap().detach().requires_grad_(true).unwrap())
                .collect();
            gradcheck(&sample.call, &x, GradCheck::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
            if place == Place::Contiguous {
                gradgradcheck(&sample.call, &x, GradCheck::default())
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
            }
        }
    });
}

#[test]
fn without_a_derivative_inputs_that_require_grad_are_refused() {
    for_every_sample(|op, i, sample| {
        if sample.differentiable {
            return;
        }
        let x: Vec<Tensor> =
            inputs(sample, DType::F64).unwrap().iter().map(|t| t.requires_grad_(true).unwrap()).collect();
        if let Ok(y) = (sample.call)(&x) {
            let silent = y.dtype().is_floating_point() && !y.requires_grad();
            assert!(!silent, "{} (sample {i}) cuts the graph without a word", op.name);
        }
        no_grad(|| (sample.call)(&x)).unwrap_or_else(|e| panic!("{} (sample {i}): {e}", op.name));
    });
}

#[test]
fn half_types_follow_float32() {
    for_every_sample(|op, i, sample| {
        for (dtype, tolerance) in [(DType::F16, 0.02), (DType::BF16, 0.12)] {
            let x = inputs(sample, dtype).unwrap();
            let wide: Vec<Tensor> = x.iter().map(|t| t.to(DType::F32).unwrap()).collect();
            let what = label(op, i, dtype, Place::Contiguous);
            let y = no_grad(|| (sample.call)(&x)).unwrap_or_else(|e| panic!("{what}: {e}"));
            let expected = no_grad(|| (sample.call)(&wide)).unwrap();
            if expected.dtype().is_floating_point() {
                assert_eq!(y.dtype(), dtype, "{what}");
                assert_close(&what, &y.to(DType::F32).unwrap(), &expected, tolerance);
            }
        }
    });
}

/// Other shapes than a sample was written for are computed or refused, never worse.
#[test]
fn empty_and_0d_inputs_do_not_panic() {
    for_every_sample(|_, _, sample| {
        for shape in [&[][..], &[0], &[2, 0, 4], &[0, 3, 4], &[2, 3, 0], &[1, 1, 1]] {
            let x: Vec<Tensor> = sample
                .inputs
                .iter()
                .enumerate()
                .map(|(i, (_, domain))| {
                    input(shape, *domain, i, DType::F64).unwrap().requires_grad_(true).unwrap()
                })
                .collect();
            if let Ok(y) = (sample.call)(&x)
                && y.requires_grad()
            {
                let cotangent = y.ones_like().unwrap();
                y.backward_with(Some(&cotangent), Default::default()).unwrap();
            }
        }
    });
}

#[test]
fn errors_say_what_was_expected_and_found() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
    let message = |result: Result<Tensor>| result.unwrap_err().to_string();
    let index = Tensor::from_vec(vec![0i64, 5], [2]).unwrap();
    let cases = [
        (message(zeros(&[2, 3]).matmul(&zeros(&[4, 5]))), "matmul: inner dimensions differ: [2, 3] @ [4, 5]"),
        (message(zeros(&[2]).sum([0, 0])), "sum: dimension 0 is named more than once in [0, 0]"),
        (message(zeros(&[2]).sum(3)), "sum: dimension 3 is out of range [-1, 0]"),
        (message(zeros(&[0]).amax(())), "amax: has no value for no elements: shape [0]"),
        (message(index.mean(())), "mean: needs a floating point dtype, found int64"),
        (message(zeros(&[2]).add(&zeros(&[3]))), "add: shapes [2] and [3] do not broadcast"),
        (message(zeros(&[2]).index_select(0, &index)), "index_select: index 5 is out of range for size 2"),
        (message(index.remainder(0)), "remainder: division of an integer by 0"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

/// Operations that are piecewise linear, but whose gradient PyTorch computes from the input.
const PIECEWISE_LINEAR: &[&str] = &["abs", "relu", "leaky_relu", "max_pool2d", "avg_pool2d"];

/// PyTorch gives zeros; the gradient was said not to depend on the input, so that this was an error.
#[test]
fn the_gradient_of_a_piecewise_linear_operation_can_be_differentiated() {
    let twice = Backward { create_graph: true, ..Default::default() };
    let found = std::cell::RefCell::new(std::collections::BTreeSet::new());
    for_every_sample(|op, _, sample| {
        if !PIECEWISE_LINEAR.contains(&op.name) {
            return;
        }
        found.borrow_mut().insert(op.name);
        let x = inputs(sample, DType::F64).unwrap().remove(0).requires_grad_(true).unwrap();
        let y = (sample.call)(std::slice::from_ref(&x)).unwrap().sum(()).unwrap();
        let first = autograd::grad(&[(&y, None)], &[&x], twice).unwrap().remove(0).unwrap();
        let second = autograd::grad(&[(&first.sum(()).unwrap(), None)], &[&x], twice).unwrap();
        let second = second[0].as_ref().expect("a gradient").abs().unwrap().sum(()).unwrap();
        assert_eq!(second.item().unwrap(), 0.0, "{}", op.name);
    });
    assert_eq!(found.borrow().len(), PIECEWISE_LINEAR.len());
}

/// Aborted the process: a table of the kernel's size was allocated.
#[test]
fn a_window_far_larger_than_its_input_costs_no_more_than_the_input() {
    const HUGE: usize = 1 << 40;
    let x = Tensor::arange(0, 16, 1, DType::F32).unwrap().view([1, 1, 4, 4]).unwrap();
    let max = MaxPool2dOptions { padding: [HUGE / 2; 2], ..MaxPool2dOptions::new([HUGE; 2]) };
    let average = AvgPool2dOptions { padding: [HUGE / 2; 2], ..AvgPool2dOptions::new([HUGE; 2]) };
    for dtype in [DType::F32, DType::I64] {
        let x = x.to(dtype).unwrap();
        let (values, indices) = max_pool2d_with_indices(&x, max).unwrap();
        assert_eq!((values.item().unwrap(), indices.item().unwrap()), (15.0, 15.0));
        let found = avg_pool2d(&x, average).unwrap().item().unwrap();
        assert!((0.0..1e-20).contains(&found), "{found}");
    }
    // Windows that see the first and the last columns of theirs.
    let options = MaxPool2dOptions { stride: [HUGE / 2; 2], ceil_mode: true, ..max };
    let leaf = x.detach().requires_grad_(true).unwrap();
    let y = max_pool2d(&leaf, options).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [15.0; 4]);
    y.sum(()).unwrap().backward().unwrap();
    assert_eq!(leaf.grad().unwrap().sum(()).unwrap().item().unwrap(), 4.0);

    let weight = Tensor::ones([1, 1, 2, 2], DType::F32).unwrap();
    let (line, taps) = (x.view([1, 1, 16]).unwrap(), weight.view([1, 1, 4]).unwrap());
    let integers = |t: &Tensor| t.to(DType::I64).unwrap();
    for (stride, padding, dilation) in [
        (HUGE / 2, HUGE / 2, 1),
        (1, HUGE, HUGE),
        (HUGE, HUGE, HUGE),
        (1, usize::MAX / 4, 1),
        (1, usize::MAX, 1),
        (usize::MAX, usize::MAX / 2, usize::MAX / 2),
    ] {
        let plane =
            Conv2dOptions { stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], groups: 1 };
        let options = Conv1dOptions { stride: [stride], padding: [padding], dilation: [dilation], groups: 1 };
        assert!(conv2d(&x, &weight, None, plane).is_err(), "conv2d {plane:?}");
        assert!(conv1d(&line, &taps, None, options).is_err(), "conv1d {options:?}");
        assert!(
            conv2d(&integers(&x), &integers(&weight), None, plane).is_err(),
            "conv2d of integers {plane:?}"
        );
    }
    for (stride, padding, output_padding, dilation) in [
        (HUGE, 0, 0, 1),
        (1, HUGE / 2, 5, HUGE),
        (usize::MAX, 0, 0, 1),
        (1, usize::MAX, 0, 1),
        (usize::MAX / 2, usize::MAX / 2, 0, 1),
        (1, 2, 0, 1),
        (1, 3, 0, 1),
    ] {
        let options = ConvTranspose2dOptions {
            stride: [stride; 2],
            padding: [padding; 2],
            output_padding: [output_padding; 2],
            dilation: [dilation; 2],
            groups: 1,
        };
        let x = x.narrow(2, 0, 2).unwrap().narrow(3, 0, 2).unwrap();
        let found = conv_transpose2d(&x, &weight, None, options);
        let integer = conv_transpose2d(&integers(&x), &integers(&weight), None, options);
        if padding == 0 || padding > 2 {
            assert!(found.is_err() && integer.is_err(), "{options:?}");
        }
    }
    // Only one element of the input is seen.
    let options = Conv1dOptions { stride: [usize::MAX], ..Default::default() };
    assert_eq!(conv1d(&line, &taps, None, options).unwrap().to_vec::<f32>().unwrap(), [6.0]);
}

/// Panicked: the step of a dimension of one key was taken to mean something.
#[test]
fn a_mask_of_a_single_key_may_have_any_steps() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
    let masks = [
        ("no dimensions", zeros(&[])),
        ("turned", zeros(&[1, 3]).t().unwrap()),
        ("heads turned", zeros(&[1, 3, 2]).transpose(0, 2).unwrap()),
        ("one for all", zeros(&[1, 1])),
        ("bool", Tensor::ones((), DType::Bool).unwrap()),
    ];
    for (what, mask) in masks {
        let (q, k) = (zeros(&[2, 3, 4]), zeros(&[2, 1, 4]));
        let v = Tensor::from_vec(vec![5.0f32, 7.0], [2, 1, 1]).unwrap().requires_grad_(true).unwrap();
        let options = AttentionOptions { mask: Some(&mask), ..Default::default() };
        let y = scaled_dot_product_attention(&q, &k, &v, options).unwrap();
        assert_eq!(list(&y), [5.0, 5.0, 5.0, 7.0, 7.0, 7.0], "{what}");
        y.sum(()).unwrap().backward().unwrap();
        assert_eq!(list(&v.grad().unwrap()), [3.0, 3.0], "{what}");
    }
}

/// The loss was 0 and the gradient that of a certain mistake: the logarithm of the sum was added to the greatest logit.
#[test]
fn large_logits_do_not_round_the_cross_entropy_away() {
    for shape in [&[1usize, 2][..], &[1, 2, 1]] {
        let x = Tensor::from_vec(vec![1e8f32; 2], shape).unwrap().requires_grad_(true).unwrap();
        let target = Tensor::zeros(vec![1; shape.len() - 1], DType::I64).unwrap();
        let loss = cross_entropy(&x, &target, CrossEntropyOptions::default()).unwrap();
        assert!((loss.item().unwrap() - 2f64.ln()).abs() < 1e-6, "{shape:?}: {loss}");
        loss.backward().unwrap();
        let grad = list(&x.grad().unwrap());
        assert!(grad.iter().zip([-0.5, 0.5]).all(|(g, e)| (g - e).abs() < 1e-6), "{shape:?}: {grad:?}");
    }
}

/// Each key of the row weighed 1 in the gradients: the logarithm of the sum was added to the greatest score.
#[test]
fn a_row_of_the_least_number_in_a_mask_weighs_keys_alike_in_both_directions() {
    let mask = Tensor::full([2, 4], f64::from(f32::MIN), DType::F32).unwrap();
    let options = AttentionOptions { mask: Some(&mask), ..Default::default() };
    let [q, k] = [2, 4].map(|n| Tensor::ones([1, n, 3], DType::F32).unwrap());
    let v = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 6.0], [1, 4, 1]).unwrap().requires_grad_(true).unwrap();
    let y = scaled_dot_product_attention(&q, &k, &v, options).unwrap();
    assert_eq!(list(&y), [3.0, 3.0]);
    y.sum(()).unwrap().backward().unwrap();
    assert_eq!(list(&v.grad().unwrap()), [0.5; 4]);
}

/// Fast and slow elements in one row: each is right, and the same as alone.
#[test]
fn periodic_functions_of_large_arguments() {
    let numbers: Vec<f32> =
        (0..700).map(|i| 1.3f32.powi(i % 331) * if i % 2 == 0 { -1.0 } else { 1.0 }).collect();
    type Row = (fn(&Tensor) -> sconce::Result<Tensor>, fn(f64) -> f64, fn(f64) -> f64);
    let table: [Row; 3] = [
        (Tensor::sin, f64::sin, f64::cos),
        (Tensor::cos, f64::cos, |x| -x.sin()),
        (Tensor::tan, f64::tan, |x| 1.0 + x.tan().powi(2)),
    ];
    for (f, exact, slope) in table {
        let x = Tensor::from_vec(numbers.clone(), [700]).unwrap().requires_grad_(true).unwrap();
        let y = f(&x).unwrap();
        y.sum(()).unwrap().backward().unwrap();
        let (y, grad) = (y.to_vec::<f32>().unwrap(), x.grad().unwrap().to_vec::<f32>().unwrap());
        for (i, &x) in numbers.iter().enumerate() {
            let close = |got: f32, want: f64| {
                assert!((got as f64 - want).abs() <= 4e-7 * want.abs(), "at {x}: {got}, not {want}");
            };
            close(y[i], exact(x as f64));
            close(grad[i], slope(x as f64));
            let alone = f(&Tensor::from_vec(vec![x], [1]).unwrap()).unwrap().item().unwrap();
            assert_eq!(alone as f32, y[i], "at {x}");
        }
    }
}

#[test]
fn sinc_of_large_arguments_is_a_number() {
    let numbers: Vec<f32> = (0..120).map(|i| 1.7f32.powi(i)).collect();
    let x = Tensor::from_vec(numbers.clone(), [120]).unwrap().requires_grad_(true).unwrap();
    let y = x.sinc().unwrap();
    y.sum(()).unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().isnan().unwrap().any(()).unwrap().item().unwrap(), 0.0);
    for (x, y) in numbers.iter().zip(y.to_vec::<f32>().unwrap()) {
        let px = (x * std::f32::consts::PI) as f64;
        assert!((y as f64 - px.sin() / px).abs() <= 4e-7 * y.abs() as f64, "at {x}: {y}");
    }
}

#[test]
fn whole_powers_are_products() {
    let x = Tensor::from_vec(vec![-1.7f32, 0.0, -0.0, 3.1, f32::INFINITY, f32::NAN], [6]).unwrap();
    for n in -2..=3 {
        let all = Tensor::from_vec(vec![n as f32; 6], [6]).unwrap();
        let (number, tensor) = (x.pow(n).unwrap(), x.pow(&all).unwrap());
        for (a, b) in number.to_vec::<f32>().unwrap().iter().zip(tensor.to_vec::<f32>().unwrap()) {
            let close = (a - b).abs() <= 2e-7 * b.abs();
            assert!(close || a.is_nan() && b.is_nan() || *a == b, "power {n}: {a} and {b}");
        }
        let y = x.copy().unwrap();
        y.pow_(n as f64).unwrap();
        assert_eq!(format!("{y}"), format!("{number}"));
    }
    let whole = Tensor::from_vec(vec![2i64, -3], [2]).unwrap();
    assert_eq!(whole.pow(2).unwrap().to_vec::<i64>().unwrap(), [4, 9]);
    assert_eq!(whole.pow(3.0).unwrap().dtype(), DType::F32);
}
