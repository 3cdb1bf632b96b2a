//! Text of tensors, recorded from PyTorch 2.13.

use sconce::{DType, PrintOptions, Result, Tensor};

fn numbers(values: &[f64], shape: &[i64], dtype: DType) -> Result<Tensor> {
    Tensor::from_slice(values, shape)?.to(dtype)
}

fn integers(values: &[i64], shape: &[i64], dtype: DType) -> Result<Tensor> {
    Tensor::from_slice(values, shape)?.to(dtype)
}

type Case = (&'static str, fn() -> Result<Tensor>, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("whole floats", || numbers(&[1.0, 2.0, 3.0, 4.0], &[2, 2], DType::F32), concat!(
        "tensor([[1., 2.],\n",
        "        [3., 4.]])",
    )),
    ("digits", || numbers(&[1.0, 2.5, -3.0], &[3], DType::F32), "tensor([ 1.0000,  2.5000, -3.0000])"),
    ("rounded", || numbers(&[0.12345, 0.99999, 2.00005], &[3], DType::F32), "tensor([0.1235, 1.0000, 2.0001])"),
    ("no dimensions", || numbers(&[3.25], &[], DType::F32), "tensor(3.2500)"),
    ("no dimensions, whole", || numbers(&[3.0], &[], DType::F32), "tensor(3.)"),
    ("large ratio", || numbers(&[1.0, 1001.5], &[2], DType::F32), "tensor([1.0000e+00, 1.0015e+03])"),
    ("ratio of a thousand", || numbers(&[1.5, 1500.0], &[2], DType::F32), "tensor([   1.5000, 1500.0000])"),
    ("large whole", || numbers(&[1.0, 200000000.0], &[2], DType::F32), "tensor([1.0000e+00, 2.0000e+08])"),
    ("whole with exponent in a column", || numbers(&[1.0, -20000.0], &[2], DType::F32), "tensor([ 1.0000e+00, -2.0000e+04])"),
    ("small", || numbers(&[1e-05, 2e-05], &[2], DType::F32), "tensor([1.0000e-05, 2.0000e-05])"),
    ("small beside zero", || numbers(&[0.0, 1e-05], &[2], DType::F32), "tensor([0.0000e+00, 1.0000e-05])"),
    ("exponent of three digits", || numbers(&[1e-200, 1.0], &[2], DType::F64), "tensor([1.0000e-200,  1.0000e+00], dtype=torch.float64)"),
    ("zeros", || numbers(&[0.0, 0.0, 0.0], &[3], DType::F32), "tensor([0., 0., 0.])"),
    ("many zeros", || numbers(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[30], DType::F32), concat!(
        "tensor([0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,\n",
        "        0., 0., 0., 0., 0., 0.])",
    )),
    ("negative zero", || numbers(&[-0.0, 1.0], &[2], DType::F32), "tensor([-0., 1.])"),
    ("nan and infinities", || numbers(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0], &[4], DType::F32), "tensor([nan, inf, -inf, 1.])"),
    ("nan with digits", || numbers(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5], &[4], DType::F32), "tensor([   nan,    inf,   -inf, 1.5000])"),
    ("only nan", || numbers(&[f64::NAN, f64::NAN], &[2], DType::F32), "tensor([nan, nan])"),
    ("nan with exponents", || numbers(&[f64::NAN, 10000000000.0, f64::NEG_INFINITY, 0.5], &[4], DType::F32), "tensor([       nan, 1.0000e+10,       -inf, 5.0000e-01])"),
    ("double", || numbers(&[1.5, 2.5], &[2], DType::F64), "tensor([1.5000, 2.5000], dtype=torch.float64)"),
    ("half", || numbers(&[0.1, 2.0], &[2], DType::F16), "tensor([0.1000, 2.0000], dtype=torch.float16)"),
    ("half that overflows", || numbers(&[65504.0, 1.0], &[2], DType::F16), "tensor([6.5504e+04, 1.0000e+00], dtype=torch.float16)"),
    ("bfloat16", || numbers(&[0.1, 2.0, 300.0], &[3], DType::BF16), "tensor([1.0010e-01, 2.0000e+00, 3.0000e+02], dtype=torch.bfloat16)"),
    ("integers", || integers(&[1, -20, 300], &[3], DType::I64), "tensor([  1, -20, 300])"),
    ("int32", || integers(&[1, 2], &[2], DType::I32), "tensor([1, 2], dtype=torch.int32)"),
    ("bytes", || integers(&[0, 255], &[2], DType::U8), "tensor([  0, 255], dtype=torch.uint8)"),
    ("int8", || integers(&[-128, 127], &[2], DType::I8), "tensor([-128,  127], dtype=torch.int8)"),
    ("int16", || integers(&[7], &[], DType::I16), "tensor(7, dtype=torch.int16)"),
    ("columns", || integers(&[1, 10, 100, -1000], &[2, 2], DType::I64), concat!(
        "tensor([[    1,    10],\n",
        "        [  100, -1000]])",
    )),
    ("bool", || Tensor::from_vec(vec![true, false], [2]), "tensor([ True, False])"),
    ("bool matrix", || Tensor::from_vec(vec![true, true, false, true], [2, 2]), concat!(
        "tensor([[ True,  True],\n",
        "        [False,  True]])",
    )),
    ("bool, no dimensions", || Ok(Tensor::scalar(true)), "tensor(True)"),
    ("empty", || Tensor::zeros([0], DType::F32), "tensor([])"),
    ("empty matrix", || Tensor::zeros([0, 3], DType::F32), "tensor([], size=(0, 3))"),
    ("empty int64", || Tensor::zeros([0], DType::I64), "tensor([], dtype=torch.int64)"),
    ("empty bool", || Tensor::zeros([2, 0], DType::Bool), "tensor([], size=(2, 0), dtype=torch.bool)"),
    ("empty double", || Tensor::zeros([2, 0, 1], DType::F64), "tensor([], size=(2, 0, 1), dtype=torch.float64)"),
    ("long line", || Tensor::arange(0, 30, 1, DType::F32), concat!(
        "tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,\n",
        "        14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25., 26., 27.,\n",
        "        28., 29.])",
    )),
    ("long line with digits", || Tensor::arange(0, 15, 0.5, DType::F32), concat!(
        "tensor([ 0.0000,  0.5000,  1.0000,  1.5000,  2.0000,  2.5000,  3.0000,  3.5000,\n",
        "         4.0000,  4.5000,  5.0000,  5.5000,  6.0000,  6.5000,  7.0000,  7.5000,\n",
        "         8.0000,  8.5000,  9.0000,  9.5000, 10.0000, 10.5000, 11.0000, 11.5000,\n",
        "        12.0000, 12.5000, 13.0000, 13.5000, 14.0000, 14.5000])",
    )),
    ("wide rows", || Tensor::arange(0, 50, 1, DType::I64)?.view([2, 25]), concat!(
        "tensor([[ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n",
        "         18, 19, 20, 21, 22, 23, 24],\n",
        "        [25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42,\n",
        "         43, 44, 45, 46, 47, 48, 49]])",
    )),
    ("three dimensions", || Tensor::arange(0, 8, 1, DType::F32)?.view([2, 2, 2]), concat!(
        "tensor([[[0., 1.],\n",
        "         [2., 3.]],\n",
        "\n",
        "        [[4., 5.],\n",
        "         [6., 7.]]])",
    )),
    ("four dimensions", || Tensor::arange(0, 4, 1, DType::I32)?.view([2, 1, 2, 1]), concat!(
        "tensor([[[[0],\n",
        "          [1]]],\n",
        "\n",
        "\n",
        "        [[[2],\n",
        "          [3]]]], dtype=torch.int32)",
    )),
    ("a thousand", || Tensor::arange(0, 1000, 1, DType::F32)?.view([1000])?.slice(0, 0, 1000, 250)?.view([4]), "tensor([  0., 250., 500., 750.])"),
    ("cut", || Tensor::arange(0, 1001, 1, DType::F32), "tensor([   0.,    1.,    2.,  ...,  998.,  999., 1000.])"),
    ("cut matrix", || Tensor::arange(0, 1100, 1, DType::F32)?.view([11, 100]), concat!(
        "tensor([[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 9.7000e+01, 9.8000e+01,\n",
        "         9.9000e+01],\n",
        "        [1.0000e+02, 1.0100e+02, 1.0200e+02,  ..., 1.9700e+02, 1.9800e+02,\n",
        "         1.9900e+02],\n",
        "        [2.0000e+02, 2.0100e+02, 2.0200e+02,  ..., 2.9700e+02, 2.9800e+02,\n",
        "         2.9900e+02],\n",
        "        ...,\n",
        "        [8.0000e+02, 8.0100e+02, 8.0200e+02,  ..., 8.9700e+02, 8.9800e+02,\n",
        "         8.9900e+02],\n",
        "        [9.0000e+02, 9.0100e+02, 9.0200e+02,  ..., 9.9700e+02, 9.9800e+02,\n",
        "         9.9900e+02],\n",
        "        [1.0000e+03, 1.0010e+03, 1.0020e+03,  ..., 1.0970e+03, 1.0980e+03,\n",
        "         1.0990e+03]])",
    )),
    ("cut, few rows", || Tensor::arange(0, 1200, 1, DType::I64)?.view([3, 400]), concat!(
        "tensor([[   0,    1,    2,  ...,  397,  398,  399],\n",
        "        [ 400,  401,  402,  ...,  797,  798,  799],\n",
        "        [ 800,  801,  802,  ..., 1197, 1198, 1199]])",
    )),
    ("cut, few columns", || Tensor::arange(0, 1200, 1, DType::I64)?.view([400, 3]), concat!(
        "tensor([[   0,    1,    2],\n",
        "        [   3,    4,    5],\n",
        "        [   6,    7,    8],\n",
        "        ...,\n",
        "        [1191, 1192, 1193],\n",
        "        [1194, 1195, 1196],\n",
        "        [1197, 1198, 1199]])",
    )),
    ("cut cube", || Tensor::arange(0, 1000, 0.5, DType::F64)?.view([20, 10, 10]), concat!(
        "tensor([[[0.0000e+00, 5.0000e-01, 1.0000e+00,  ..., 3.5000e+00,\n",
        "          4.0000e+00, 4.5000e+00],\n",
        "         [5.0000e+00, 5.5000e+00, 6.0000e+00,  ..., 8.5000e+00,\n",
        "          9.0000e+00, 9.5000e+00],\n",
        "         [1.0000e+01, 1.0500e+01, 1.1000e+01,  ..., 1.3500e+01,\n",
        "          1.4000e+01, 1.4500e+01],\n",
        "         ...,\n",
        "         [3.5000e+01, 3.5500e+01, 3.6000e+01,  ..., 3.8500e+01,\n",
        "          3.9000e+01, 3.9500e+01],\n",
        "         [4.0000e+01, 4.0500e+01, 4.1000e+01,  ..., 4.3500e+01,\n",
        "          4.4000e+01, 4.4500e+01],\n",
        "         [4.5000e+01, 4.5500e+01, 4.6000e+01,  ..., 4.8500e+01,\n",
        "          4.9000e+01, 4.9500e+01]],\n",
        "\n",
        "        [[5.0000e+01, 5.0500e+01, 5.1000e+01,  ..., 5.3500e+01,\n",
        "          5.4000e+01, 5.4500e+01],\n",
        "         [5.5000e+01, 5.5500e+01, 5.6000e+01,  ..., 5.8500e+01,\n",
        "          5.9000e+01, 5.9500e+01],\n",
        "         [6.0000e+01, 6.0500e+01, 6.1000e+01,  ..., 6.3500e+01,\n",
        "          6.4000e+01, 6.4500e+01],\n",
        "         ...,\n",
        "         [8.5000e+01, 8.5500e+01, 8.6000e+01,  ..., 8.8500e+01,\n",
        "          8.9000e+01, 8.9500e+01],\n",
        "         [9.0000e+01, 9.0500e+01, 9.1000e+01,  ..., 9.3500e+01,\n",
        "          9.4000e+01, 9.4500e+01],\n",
        "         [9.5000e+01, 9.5500e+01, 9.6000e+01,  ..., 9.8500e+01,\n",
        "          9.9000e+01, 9.9500e+01]],\n",
        "\n",
        "        [[1.0000e+02, 1.0050e+02, 1.0100e+02,  ..., 1.0350e+02,\n",
        "          1.0400e+02, 1.0450e+02],\n",
        "         [1.0500e+02, 1.0550e+02, 1.0600e+02,  ..., 1.0850e+02,\n",
        "          1.0900e+02, 1.0950e+02],\n",
        "         [1.1000e+02, 1.1050e+02, 1.1100e+02,  ..., 1.1350e+02,\n",
        "          1.1400e+02, 1.1450e+02],\n",
        "         ...,\n",
        "         [1.3500e+02, 1.3550e+02, 1.3600e+02,  ..., 1.3850e+02,\n",
        "          1.3900e+02, 1.3950e+02],\n",
        "         [1.4000e+02, 1.4050e+02, 1.4100e+02,  ..., 1.4350e+02,\n",
        "          1.4400e+02, 1.4450e+02],\n",
        "         [1.4500e+02, 1.4550e+02, 1.4600e+02,  ..., 1.4850e+02,\n",
        "          1.4900e+02, 1.4950e+02]],\n",
        "\n",
        "        ...,\n",
        "\n",
        "        [[8.5000e+02, 8.5050e+02, 8.5100e+02,  ..., 8.5350e+02,\n",
        "          8.5400e+02, 8.5450e+02],\n",
        "         [8.5500e+02, 8.5550e+02, 8.5600e+02,  ..., 8.5850e+02,\n",
        "          8.5900e+02, 8.5950e+02],\n",
        "         [8.6000e+02, 8.6050e+02, 8.6100e+02,  ..., 8.6350e+02,\n",
        "          8.6400e+02, 8.6450e+02],\n",
        "         ...,\n",
        "         [8.8500e+02, 8.8550e+02, 8.8600e+02,  ..., 8.8850e+02,\n",
        "          8.8900e+02, 8.8950e+02],\n",
        "         [8.9000e+02, 8.9050e+02, 8.9100e+02,  ..., 8.9350e+02,\n",
        "          8.9400e+02, 8.9450e+02],\n",
        "         [8.9500e+02, 8.9550e+02, 8.9600e+02,  ..., 8.9850e+02,\n",
        "          8.9900e+02, 8.9950e+02]],\n",
        "\n",
        "        [[9.0000e+02, 9.0050e+02, 9.0100e+02,  ..., 9.0350e+02,\n",
        "          9.0400e+02, 9.0450e+02],\n",
        "         [9.0500e+02, 9.0550e+02, 9.0600e+02,  ..., 9.0850e+02,\n",
        "          9.0900e+02, 9.0950e+02],\n",
        "         [9.1000e+02, 9.1050e+02, 9.1100e+02,  ..., 9.1350e+02,\n",
        "          9.1400e+02, 9.1450e+02],\n",
        "         ...,\n",
        "         [9.3500e+02, 9.3550e+02, 9.3600e+02,  ..., 9.3850e+02,\n",
        "          9.3900e+02, 9.3950e+02],\n",
        "         [9.4000e+02, 9.4050e+02, 9.4100e+02,  ..., 9.4350e+02,\n",
        "          9.4400e+02, 9.4450e+02],\n",
        "         [9.4500e+02, 9.4550e+02, 9.4600e+02,  ..., 9.4850e+02,\n",
        "          9.4900e+02, 9.4950e+02]],\n",
        "\n",
        "        [[9.5000e+02, 9.5050e+02, 9.5100e+02,  ..., 9.5350e+02,\n",
        "          9.5400e+02, 9.5450e+02],\n",
        "         [9.5500e+02, 9.5550e+02, 9.5600e+02,  ..., 9.5850e+02,\n",
        "          9.5900e+02, 9.5950e+02],\n",
        "         [9.6000e+02, 9.6050e+02, 9.6100e+02,  ..., 9.6350e+02,\n",
        "          9.6400e+02, 9.6450e+02],\n",
        "         ...,\n",
        "         [9.8500e+02, 9.8550e+02, 9.8600e+02,  ..., 9.8850e+02,\n",
        "          9.8900e+02, 9.8950e+02],\n",
        "         [9.9000e+02, 9.9050e+02, 9.9100e+02,  ..., 9.9350e+02,\n",
        "          9.9400e+02, 9.9450e+02],\n",
        "         [9.9500e+02, 9.9550e+02, 9.9600e+02,  ..., 9.9850e+02,\n",
        "          9.9900e+02, 9.9950e+02]]], dtype=torch.float64)",
    )),
    ("transposed", || Tensor::arange(0, 6, 1, DType::F32)?.view([2, 3])?.t(), concat!(
        "tensor([[0., 3.],\n",
        "        [1., 4.],\n",
        "        [2., 5.]])",
    )),
    ("expanded", || Tensor::arange(0, 2, 1, DType::F32)?.expand([3, 2]), concat!(
        "tensor([[0., 1.],\n",
        "        [0., 1.],\n",
        "        [0., 1.]])",
    )),
    ("leaf", || numbers(&[1.0], &[1], DType::F32)?.requires_grad_(true), "tensor([1.], requires_grad=True)"),
    ("result", || numbers(&[1.0], &[1], DType::F32)?.requires_grad_(true)?.mul(2.0), "tensor([2.], grad_fn=<MulBackward0>)"),
    ("double leaf", || numbers(&[1.0], &[1], DType::F64)?.requires_grad_(true), "tensor([1.], dtype=torch.float64, requires_grad=True)"),
    ("suffix on a line of its own", || numbers(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.5], &[6], DType::F64)?.requires_grad_(true)?.exp(), concat!(
        "tensor([  2.7183,   7.3891,  20.0855,  54.5982, 148.4132, 665.1416],\n",
        "       dtype=torch.float64, grad_fn=<ExpBackward0>)",
    )),
    ("suffixes after 9 elements", || numbers(&[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], &[9], DType::F64), concat!(
        "tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.5000, 3.0000, 3.5000, 4.0000],\n",
        "       dtype=torch.float64)",
    )),
    ("suffixes after 10 elements", || numbers(&[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], &[10], DType::F64), concat!(
        "tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.5000, 3.0000, 3.5000, 4.0000,\n",
        "        4.5000], dtype=torch.float64)",
    )),
    ("suffixes after 11 elements", || numbers(&[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0], &[11], DType::F64), concat!(
        "tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.5000, 3.0000, 3.5000, 4.0000,\n",
        "        4.5000, 5.0000], dtype=torch.float64)",
    )),
    ("suffixes after 12 elements", || numbers(&[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5], &[12], DType::F64), concat!(
        "tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.5000, 3.0000, 3.5000, 4.0000,\n",
        "        4.5000, 5.0000, 5.5000], dtype=torch.float64)",
    )),
    ("complex", || Tensor::from_bytes(&[1.5f32, -2.0, 0.0, 3.25].map(f32::to_le_bytes).concat(), DType::C64, [2]), "tensor([1.5000-2.0000j, 0.0000+3.2500j])"),
    ("uint16", || Tensor::from_bytes(&[1, 0, 255, 255], DType::U16, [2]), "tensor([    1, 65535], dtype=torch.uint16)"),
];

#[test]
fn prints_as_pytorch_does() {
    for (name, tensor, expected) in CASES {
        let tensor = tensor().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tensor.to_string(), *expected, "{name}");
        assert_eq!(format!("{tensor:?}"), *expected, "{name}");
    }
}

const DEFAULT: PrintOptions =
    PrintOptions { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };

type WithOptions = (&'static str, fn() -> Result<Tensor>, PrintOptions, &'static str);

/// With options as of `torch.set_printoptions`.
#[rustfmt::skip]
const WITH_OPTIONS: &[WithOptions] = &[
    ("precision", || Tensor::arange(0, 4, 1, DType::F32)?.div(3), PrintOptions { precision: 2, ..DEFAULT }, "tensor([0.00, 0.33, 0.67, 1.00])"),
    ("no digits", || numbers(&[0.5, 1.5, 2.25], &[3], DType::F64), PrintOptions { precision: 0, ..DEFAULT }, "tensor([0, 2, 2], dtype=torch.float64)"),
    ("many digits", || numbers(&[0.1, 1.0], &[2], DType::F32), PrintOptions { precision: 12, ..DEFAULT }, "tensor([0.100000001490, 1.000000000000])"),
    ("threshold", || Tensor::arange(0, 20, 1, DType::I64)?.view([4, 5]), PrintOptions { threshold: 19, edgeitems: 1, ..DEFAULT }, concat!(
        "tensor([[ 0,  ...,  4],\n",
        "        ...,\n",
        "        [15,  ..., 19]])"
    )),
    ("two at each end", || Tensor::arange(0, 100, 1, DType::F32)?.view([10, 10]), PrintOptions { threshold: 50, edgeitems: 2, ..DEFAULT }, concat!(
        "tensor([[ 0.,  1.,  ...,  8.,  9.],\n",
        "        [10., 11.,  ..., 18., 19.],\n",
        "        ...,\n",
        "        [80., 81.,  ..., 88., 89.],\n",
        "        [90., 91.,  ..., 98., 99.]])"
    )),
    ("no entries", || Tensor::arange(0, 100, 1, DType::F32)?.view([10, 10]), PrintOptions { threshold: 50, edgeitems: 0, ..DEFAULT }, "tensor([...], size=(10, 10))"),
    ("no entries of a vector", || Tensor::arange(0, 100, 1, DType::F32), PrintOptions { threshold: 50, edgeitems: 0, ..DEFAULT }, "tensor([...], size=(100,))"),
    ("never cut", || Tensor::arange(0, 1001, 1, DType::I64)?.view([1001])?.narrow(0, 0, 30), PrintOptions { threshold: usize::MAX, ..DEFAULT }, concat!(
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n",
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    )),
    ("narrow", || Tensor::arange(0, 12, 1, DType::F32)?.div(4), PrintOptions { linewidth: 40, ..DEFAULT }, concat!(
        "tensor([0.0000, 0.2500, 0.5000, 0.7500,\n",
        "        1.0000, 1.2500, 1.5000, 1.7500,\n",
        "        2.0000, 2.2500, 2.5000, 2.7500])"
    )),
    ("narrower than a number", || Tensor::arange(0, 3, 1, DType::F32)?.div(4), PrintOptions { linewidth: 5, ..DEFAULT }, concat!(
        "tensor([0.0000,\n",
        "        0.2500,\n",
        "        0.5000])"
    )),
    ("wide", || Tensor::arange(0, 24, 1, DType::F64)?.div(4), PrintOptions { linewidth: 200, ..DEFAULT }, concat!(
        "tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000, 1.2500, 1.5000, 1.7500, 2.0000, 2.2500, 2.5000, 2.7500, 3.0000, 3.2500, 3.5000, 3.7500, 4.0000, 4.2500, 4.5000, 4.7500, 5.0000, 5.2500, 5.5000, 5.7500],\n",
        "       dtype=torch.float64)"
    )),
    ("always exponents", || numbers(&[1.0, 2.5, -3.0], &[3], DType::F32), PrintOptions { sci_mode: Some(true), ..DEFAULT }, "tensor([ 1.0000e+00,  2.5000e+00, -3.0000e+00])"),
    ("whole with exponents", || numbers(&[1.0, 20.0, -3.0], &[3], DType::F32), PrintOptions { sci_mode: Some(true), precision: 1, ..DEFAULT }, "tensor([ 1.0e+00,  2.0e+01, -3.0e+00])"),
    ("never exponents", || numbers(&[1e-6, 1.0, 1e9], &[3], DType::F64), PrintOptions { sci_mode: Some(false), ..DEFAULT }, concat!(
        "tensor([         0.0000,          1.0000, 1000000000.0000],\n",
        "       dtype=torch.float64)"
    )),
    ("exponents beside no numbers", || numbers(&[1.0, f64::NAN, f64::INFINITY], &[3], DType::F32), PrintOptions { sci_mode: Some(true), ..DEFAULT }, "tensor([1.0000e+00,        nan,        inf])"),
    ("integers have none", || integers(&[1, -20], &[2], DType::I64), PrintOptions { sci_mode: Some(true), precision: 1, ..DEFAULT }, "tensor([  1, -20])"),
    ("complex", || Tensor::from_bytes(&[1.5f32, -2.0, 0.0, 3.25].map(f32::to_le_bytes).concat(), DType::C64, [2]), PrintOptions { precision: 1, ..DEFAULT }, "tensor([1.5-2.0j, 0.0+3.2j])"),
];

#[test]
fn options_are_pytorchs() {
    assert_eq!(PrintOptions::default(), DEFAULT);
    for (name, tensor, how, expected) in WITH_OPTIONS {
        let tensor = tensor().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tensor.display(*how).to_string(), *expected, "{name}");
    }
    let x = numbers(&[1.0, 2.5], &[2], DType::F32).unwrap();
    assert_eq!(format!("{x:.1} {x:.2?}"), "tensor([1.0, 2.5]) tensor([1.00, 2.50])");
    // No option can do harm.
    let most = usize::MAX;
    for how in [
        PrintOptions { precision: most, ..DEFAULT },
        PrintOptions { threshold: 0, edgeitems: most, linewidth: 0, ..DEFAULT },
        PrintOptions { threshold: most, linewidth: most, ..DEFAULT },
    ] {
        assert!(x.display(how).to_string().starts_with("tensor([1."), "{how:?}");
    }
}

#[test]
fn what_has_no_text_says_so() {
    let nothing = Tensor::zeros([0, 1i64 << 40], DType::F32).unwrap();
    assert_eq!(nothing.to_string(), "tensor([], size=(0, 1099511627776))");
    let eight_bits = Tensor::from_bytes(&[0, 1], DType::F8E4M3, [2]).unwrap();
    assert_eq!(eight_bits.to_string(), "tensor(..., size=(2,), dtype=torch.float8_e4m3fn)");
    let vast = Tensor::scalar(1.0f32).expand([2i64; 50]).unwrap();
    assert!(vast.to_string().starts_with("tensor(...,\n       size=(2, 2, "));
    let deep = Tensor::scalar(1i64).expand([1i64; 100_000]).unwrap();
    assert!(deep.to_string().starts_with("tensor(...,\n       size=(1, 1, "));
}

#[test]
fn the_operation_is_named_as_pytorch_names_it() {
    let x = Tensor::scalar(0.5f32).requires_grad_(true).unwrap();
    assert_eq!(x.view([1]).unwrap().to_string(), "tensor([0.5000], grad_fn=<ViewBackward0>)");
    assert_eq!(
        x.as_strided([1], [1], 0).unwrap().to_string(),
        "tensor([0.5000], grad_fn=<AsStridedBackward0>)"
    );
}
