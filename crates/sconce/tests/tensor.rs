//! Tensors as data: creation, conversion, strides, views, broadcasting, promotion, and what is refused.

use half::{bf16, f16};
use sconce::{DType, ErrorKind, Operand, Result, Scalar, Tensor, promote_types, result_type};

#[track_caller]
fn refused<T>(result: Result<T>, kind: ErrorKind, text: &str) {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => {
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        }
    }
}

fn count(shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    Tensor::arange(0, n, 1, DType::I64).unwrap().view(shape).unwrap()
}

fn ints(t: &Tensor) -> Vec<i64> {
    t.to_vec().unwrap()
}

/// The dtypes of the tables below, each with its letter.
const LETTERS: [(char, DType); 16] = [
    ('0', DType::F64),
    ('1', DType::F32),
    ('2', DType::F16),
    ('3', DType::BF16),
    ('4', DType::I64),
    ('5', DType::I32),
    ('6', DType::I16),
    ('7', DType::I8),
    ('8', DType::U8),
    ('9', DType::Bool),
    ('a', DType::U16),
    ('b', DType::U32),
    ('c', DType::U64),
    ('d', DType::C32),
    ('e', DType::C64),
    ('f', DType::C128),
];

/// `torch.promote_types` of row and column; `-` where PyTorch has none.
const PROMOTED: [&str; 16] = [
    "0000000000000fff",
    "0111111111111eef",
    "0121222222222def",
    "0113333333333eef",
    "0123444444---def",
    "0123455555---def",
    "0123456666---def",
    "0123456767---def",
    "0123456688---def",
    "0123456789---def",
    "0123------a-----",
    "0123-------b----",
    "0123--------c---",
    "fededddddd---def",
    "feeeeeeeee---eef",
    "ffffffffff---fff",
];

/// `torch.result_type` of a tensor with dimensions (row) and one without (column).
const WITH_ZERO_DIM: [&str; 16] = [
    "0000000000000fff",
    "1111111111111eee",
    "2222222222222ddd",
    "3333333333333eee",
    "0123444444444def",
    "0123555555555def",
    "0123666666666def",
    "0123777777777def",
    "0123888888888def",
    "0123456789---def",
    "0123aaaaaaaaadef",
    "0123bbbbbbbbbdef",
    "0123cccccccccdef",
    "dddddddddddddddd",
    "eeeeeeeeeeeeeeee",
    "ffffffffffffffff",
];

/// `torch.result_type` of a tensor and a float, an int and a bool, whether or not the tensor has dimensions.
const WITH_NUMBER: [&str; 16] = [
    "000", "111", "222", "333", "144", "155", "166", "177", "188", "149", "1aa", "1bb", "1cc", "ddd", "eee",
    "fff",
];

#[test]
fn promotion_is_pytorchs() {
    let dtype_of = |letter: char| LETTERS.iter().find(|(l, _)| *l == letter).map(|(_, d)| *d);
    let tensor = |dtype: DType, shape: &[i64]| Tensor::zeros(shape, dtype).unwrap();
    // An interpreter takes minutes for all of them.
    let step = if cfg!(miri) { 4 } else { 1 };
    for (i, (_, a)) in LETTERS.into_iter().enumerate().step_by(step) {
        for (j, (_, b)) in LETTERS.into_iter().enumerate() {
            let letter = |table: &[&str; 16]| table[i].chars().nth(j).and_then(dtype_of);
            if let Some(expected) = letter(&PROMOTED) {
                assert_eq!(promote_types(a, b), expected, "{a} and {b}");
                assert_eq!(result_type(&tensor(a, &[2]), &tensor(b, &[1, 1])), expected, "{a} and {b}");
                assert_eq!(result_type(&tensor(a, &[]), &tensor(b, &[])), expected, "{a} and {b}");
                // An operation gives what is promised, where the dtypes are not only stored.
                if let Ok(product) = tensor(a, &[2]).mul(&tensor(b, &[1])) {
                    assert_eq!(product.dtype(), expected, "{a} times {b}");
                }
            }
            if let Some(expected) = letter(&WITH_ZERO_DIM) {
                let (x, y) = (tensor(a, &[2]), tensor(b, &[]));
                assert_eq!(result_type(&x, &y), expected, "{a} with dimensions and {b} without");
                assert_eq!(result_type(&y, &x), expected, "{b} without dimensions and {a} with");
            }
        }
        let numbers = [Scalar::Float(1.5), Scalar::Int(1), Scalar::Bool(true)];
        for (number, letter) in numbers.into_iter().zip(WITH_NUMBER[i].chars()) {
            for shape in [&[2][..], &[]] {
                let found = result_type(&tensor(a, shape), Operand::Scalar(number));
                assert_eq!(Some(found), dtype_of(letter), "{a} {shape:?} and {number:?}");
            }
        }
    }
    assert_eq!(result_type(1, 2.5), DType::F32);
}

#[test]
fn views_share_memory_and_have_pytorchs_strides() {
    type Case = (&'static str, fn(&Tensor) -> Result<Tensor>, &'static [usize], &'static [usize], usize);
    // Of `torch.arange(24).view(2, 3, 4)`: shape, strides, offset.
    let cases: &[Case] = &[
        ("view", |x| x.view([4, -1]), &[4, 6], &[6, 1], 0),
        ("permute", |x| x.permute([2, 0, 1]), &[4, 2, 3], &[1, 12, 4], 0),
        ("transpose", |x| x.transpose(0, -1), &[4, 3, 2], &[1, 4, 12], 0),
        ("select", |x| x.select(1, -1), &[2, 4], &[12, 1], 8),
        ("narrow", |x| x.narrow(2, -3, 2), &[2, 3, 2], &[12, 4, 1], 1),
        ("slice", |x| x.slice(1, -2, isize::MAX, 2), &[2, 1, 4], &[12, 8, 1], 4),
        ("slice to nothing", |x| x.slice(1, 2, 1, 1), &[2, 0, 4], &[12, 4, 1], 8),
        ("unsqueeze", |x| x.unsqueeze(1), &[2, 1, 3, 4], &[12, 12, 4, 1], 0),
        ("unsqueeze at the end", |x| x.unsqueeze(-1), &[2, 3, 4, 1], &[12, 4, 1, 1], 0),
        ("squeeze", |x| x.narrow(0, 1, 1)?.squeeze(()), &[3, 4], &[4, 1], 12),
        ("squeeze of what is larger", |x| x.squeeze(0), &[2, 3, 4], &[12, 4, 1], 0),
        ("expand", |x| x.narrow(1, 0, 1)?.expand([5, -1, 7, -1]), &[5, 2, 7, 4], &[0, 12, 0, 1], 0),
        ("flatten", |x| x.flatten(0, 1), &[6, 4], &[4, 1], 0),
        ("unflatten", |x| x.unflatten(-1, [2, -1]), &[2, 3, 2, 2], &[12, 4, 2, 1], 0),
        ("as_strided", |x| x.as_strided([2, 2], [5, 7], 3), &[2, 2], &[5, 7], 3),
        ("view of a part", |x| x.narrow(0, 1, 1)?.view([2, 6]), &[2, 6], &[6, 1], 12),
        ("view that splits", |x| x.transpose(0, 1)?.view([3, 2, 2, 2]), &[3, 2, 2, 2], &[4, 12, 2, 1], 0),
    ];
    for (name, view, shape, strides, offset) in cases {
        let x = count(&[2, 3, 4]);
        let v = view(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((v.shape(), v.strides(), v.storage_offset()), (*shape, *strides, *offset), "{name}");
        assert!(v.shares_storage(&x) && !v.is(&x), "{name}");
        if let Ok(()) = v.fill_(-1) {
            // An element that a view repeats is written once.
            let moving = v.shape().iter().zip(v.strides()).filter(|(_, stride)| **stride > 0);
            let written: usize = moving.map(|(size, _)| size).product();
            assert_eq!(ints(&x).iter().filter(|&&i| i == -1).count(), written, "{name}");
        }
    }
}

#[test]
fn reshape_copies_only_where_it_must() {
    let x = count(&[2, 3, 4]);
    assert!(x.reshape([6, 4]).unwrap().shares_storage(&x));
    let t = x.transpose(0, 1).unwrap();
    let r = t.reshape([-1]).unwrap();
    assert!(!r.shares_storage(&x) && r.is_contiguous());
    assert_eq!(ints(&r)[..6], [0, 1, 2, 3, 12, 13]);
    assert!(t.reshape([3, 2, 4]).unwrap().shares_storage(&x));
    assert!(x.contiguous().unwrap().is(&x));
    assert!(!t.contiguous().unwrap().shares_storage(&x));
    assert!(Tensor::zeros([0, 3], DType::F32).unwrap().reshape([3, -1]).is_ok());
    assert_eq!(Tensor::scalar(1i64).reshape([1, 1]).unwrap().reshape(()).unwrap().dim(), 0);
}

#[test]
fn what_views_refuse() {
    use ErrorKind::{Argument, Index, Shape};
    let x = count(&[2, 3]);
    refused(x.view([4]), Shape, "view: shape [4] does not hold 6 elements");
    refused(x.view([-1, -1]), Shape, "view: only one size of [-1, -1] can be inferred");
    refused(x.view([-2, -3]), Shape, "view: shape [-2, -3] has a negative size");
    refused(x.view([-1, 4]), Shape, "view: shape [-1, 4] does not hold 6 elements");
    refused(
        x.view([isize::MAX, isize::MAX]),
        Shape,
        &format!("view: shape [{0}, {0}] does not hold 6 elements", isize::MAX),
    );
    refused(
        Tensor::zeros([0], DType::F32).unwrap().view([-1, 0]),
        Shape,
        "view: the size -1 of [-1, 0] is ambiguous: 0 elements",
    );
    refused(
        x.t().unwrap().view([6]),
        Shape,
        "view: shape [3, 2] with strides [1, 3] cannot be seen as [6] without a copy; use reshape",
    );
    refused(x.transpose(0, 2), Index, "transpose: dimension 2 is out of range [-2, 1]");
    refused(x.permute([0, 0]), Index, "permute: [0, 0] does not name each of 2 dimensions once");
    refused(x.permute([0]), Index, "permute: [0] does not name each of 2 dimensions once");
    refused(x.select(0, 2), Index, "select: index 2 is out of range for dimension 0 of shape [2, 3]");
    refused(x.select(0, -3), Index, "select: index -3 is out of range for dimension 0 of shape [2, 3]");
    refused(Tensor::scalar(1i64).select(0, 0), Index, "select: a tensor without dimensions");
    refused(x.narrow(1, 2, 2), Index, "narrow: 2 elements from 2 do not lie in dimension 1 of shape [2, 3]");
    refused(
        x.narrow(1, isize::MIN, 1),
        Index,
        &format!("narrow: 1 elements from {} do not lie in dimension 1 of shape [2, 3]", isize::MIN),
    );
    refused(
        x.narrow(1, 0, usize::MAX),
        Index,
        &format!("narrow: {} elements from 0 do not lie in dimension 1 of shape [2, 3]", usize::MAX),
    );
    refused(x.slice(0, 0, 2, 0), Argument, "slice: the step must be positive, found 0");
    refused(x.expand([3, 3]), Shape, "expand: shape [2, 3] cannot be expanded to [3, 3]");
    refused(x.expand([3]), Shape, "expand: shape [2, 3] cannot be expanded to [3]");
    refused(x.expand([-1, 2, 3]), Shape, "expand: shape [2, 3] cannot be expanded to [-1, 2, 3]");
    refused(x.flatten(1, 0), Index, "flatten: start 1 comes after end 0");
    refused(x.size(2), Index, "size: dimension 2 is out of range [-2, 1]");
    assert!(x.expand([isize::MAX, 2, 3]).is_err());
    assert!(x.unflatten(0, [3]).is_err() && x.unflatten(0, [0i64; 0]).is_err());
    assert!(count(&[1, 2, 3]).t().is_err());
}

#[test]
fn as_strided_stays_within_the_storage() {
    let x = count(&[6]);
    assert_eq!(ints(&x.as_strided([2, 2], [2, 3], 0).unwrap()), [0, 3, 2, 5]);
    // Offsets count from the start of the storage, also for a view.
    assert_eq!(ints(&x.narrow(0, 2, 2).unwrap().as_strided([2], [1], 0).unwrap()), [0, 1]);
    refused(
        x.as_strided([2, 2], [3, 3], 0),
        ErrorKind::Index,
        "as_strided: leaves the storage of 6 elements: shape [2, 2], strides [3, 3], offset 0",
    );
    for (shape, strides, offset) in [
        (vec![1isize], vec![1isize], 6usize),
        (vec![1], vec![1], usize::MAX),
        (vec![2], vec![isize::MAX], 5),
        (vec![isize::MAX], vec![isize::MAX], 0),
        (vec![-1], vec![1], 0),
        (vec![1], vec![-1], 0),
        (vec![1, 1], vec![1], 0),
        (vec![isize::MAX, isize::MAX, 0], vec![0, 0, 0], 0),
        (vec![isize::MAX, isize::MAX], vec![0, 0], 0),
    ] {
        assert!(x.as_strided(&shape[..], &strides[..], offset).is_err(), "{shape:?} {strides:?} {offset}");
    }
    assert!(ints(&x.as_strided([0], [1], usize::MAX).unwrap()).is_empty());
    let repeated = x.as_strided([3, 2], [0, 1], 0).unwrap();
    assert_eq!(ints(&repeated), [0, 1, 0, 1, 0, 1]);
    refused(
        repeated.add_(1),
        ErrorKind::Argument,
        "add_: the target of shape [3, 2] and strides [0, 1] refers to one element more than once; clone it first",
    );
}

#[test]
fn views_of_nothing_are_empty() {
    let x = Tensor::zeros([3, 0], DType::F32).unwrap();
    for view in [x.select(0, 2), x.narrow(0, 3, 0), x.slice(0, 2, 3, 1), x.t(), x.unsqueeze(0)] {
        let view = view.unwrap();
        assert_eq!((view.numel(), view.to_vec::<f32>().unwrap()), (0, vec![]));
        view.add_(1).unwrap();
        assert_eq!(view.add(1).unwrap().shape(), view.shape());
        assert!(view.to_bytes().unwrap().is_empty());
    }
    let x = Tensor::zeros([5], DType::Bool).unwrap().narrow(0, 5, 0).unwrap();
    assert!(x.to_vec::<bool>().unwrap().is_empty());
    assert_eq!(x.with_slice(|b: &[bool]| b.len()).unwrap(), 0);
}

#[test]
fn shapes_broadcast_or_say_why_not() {
    type Case = (&'static [i64], &'static [i64], Option<&'static [usize]>);
    let cases: &[Case] = &[
        (&[2, 1], &[3], Some(&[2, 3])),
        (&[], &[4], Some(&[4])),
        (&[0], &[1], Some(&[0])),
        (&[5, 1, 0], &[5, 3, 1], Some(&[5, 3, 0])),
        (&[2], &[3], None),
        (&[2, 3], &[2], None),
        (&[0], &[2], None),
    ];
    for (a, b, expected) in cases {
        let (x, y) = (Tensor::zeros(*a, DType::F32).unwrap(), Tensor::ones(*b, DType::F32).unwrap());
        match (x.add(&y), expected) {
            (Ok(z), Some(shape)) => assert_eq!(z.shape(), *shape),
            (Err(e), None) => {
                assert_eq!(e.to_string(), format!("add: shapes {a:?} and {b:?} do not broadcast"))
            }
            (found, _) => panic!("{a:?} and {b:?}: {found:?}"),
        }
    }
    let x = Tensor::zeros([3], DType::F32).unwrap();
    refused(
        x.add_(&Tensor::zeros([2, 3], DType::F32).unwrap()),
        ErrorKind::Shape,
        "add: shape [2, 3] does not broadcast to the target's [3]",
    );
    refused(
        x.copy_(&Tensor::zeros([2], DType::F32).unwrap()),
        ErrorKind::Shape,
        "copy_: shape [2] does not broadcast to the target's [3]",
    );
}

#[test]
fn values_go_in_and_out() {
    fn round_trip<T: sconce::Element>(values: Vec<T>) {
        let n = values.len();
        let x = Tensor::from_vec(values.clone(), [n]).unwrap();
        assert_eq!((x.dtype(), x.to_vec::<T>().unwrap()), (T::DTYPE, values.clone()));
        let bytes = x.to_bytes().unwrap();
        assert_eq!(bytes.len(), n * T::DTYPE.size());
        let y = Tensor::from_bytes(&bytes, T::DTYPE, [n]).unwrap();
        assert_eq!(y.to_vec::<T>().unwrap(), values);
        assert_eq!(Tensor::scalar(values[0]).to_vec::<T>().unwrap(), values[..1]);
    }
    round_trip(vec![1.5f64, -0.0, f64::INFINITY]);
    round_trip(vec![1.5f32, f32::MIN_POSITIVE, -3.0]);
    round_trip(vec![f16::from_f32(0.1), f16::MAX]);
    round_trip(vec![bf16::from_f32(0.1), bf16::MAX]);
    round_trip(vec![i64::MIN, i64::MAX, 0]);
    round_trip(vec![i32::MIN, 7]);
    round_trip(vec![i16::MIN, 7]);
    round_trip(vec![i8::MIN, 7]);
    round_trip((0..=255u8).collect());
    round_trip(vec![true, false, true]);

    let strided = count(&[3, 4]).t().unwrap().narrow(0, 1, 2).unwrap();
    assert_eq!(ints(&strided), [1, 5, 9, 2, 6, 10]);
    assert_eq!(strided.with_slice(|x: &[i64]| x[3]).unwrap(), 2);
    assert_eq!(strided.to_bytes().unwrap()[8], 5);
    refused(strided.to_vec::<f32>(), ErrorKind::DType, "with_slice: the tensor is int64, not float32");
    refused(
        Tensor::from_vec(vec![1i64, 2, 3], [2, 2]),
        ErrorKind::Shape,
        "from_vec: 3 elements do not fill shape [2, 2]",
    );
    refused(
        Tensor::from_bytes(&[0; 7], DType::F64, [1]),
        ErrorKind::Shape,
        "from_bytes: 7 bytes do not fill shape [1] of float64",
    );
    refused(strided.item(), ErrorKind::Shape, "item: a tensor of shape [2, 3] is not one element");
    assert_eq!(Tensor::scalar(i64::MAX).item_i64().unwrap(), i64::MAX);
    refused(Tensor::scalar(1.5f32).item_i64(), ErrorKind::DType, "item_i64: the tensor is float32");
}

#[test]
fn any_byte_is_a_valid_bool() {
    let x = Tensor::from_bytes(&[0, 1, 2, 255], DType::Bool, [4]).unwrap();
    assert_eq!(x.to_vec::<bool>().unwrap(), [false, true, true, true]);
    assert_eq!(x.to_bytes().unwrap(), [0, 1, 1, 1]);
    let y = Tensor::zeros([4], DType::Bool).unwrap();
    y.copy_(&Tensor::from_vec(vec![0.0f32, 0.5, f32::NAN, -2.0], [4]).unwrap()).unwrap();
    assert_eq!(y.to_bytes().unwrap(), [0, 1, 1, 1]);
    y.fill_(7).unwrap();
    assert_eq!(y.to_bytes().unwrap(), [1; 4]);
    assert_eq!(x.add(&x).unwrap().to_bytes().unwrap(), [0, 1, 1, 1]);
}

#[test]
fn dtypes_that_are_only_stored_are_carried_byte_for_byte() {
    for dtype in DType::ALL {
        let bytes: Vec<u8> =
            (0..6 * dtype.size()).map(|i| if dtype == DType::Bool { 1 } else { i as u8 }).collect();
        let x = Tensor::from_bytes(&bytes, dtype, [2, 3]).unwrap();
        assert_eq!(x.to_bytes().unwrap(), bytes, "{dtype}");
        let t = x.t().unwrap().copy().unwrap();
        assert_eq!(t.t().unwrap().to_bytes().unwrap(), bytes, "{dtype}");
        let y = Tensor::zeros([2, 3], dtype).unwrap();
        y.copy_(&x).unwrap();
        assert_eq!(y.to_bytes().unwrap(), bytes, "{dtype}");
        let computes = DType::ALL.iter().position(|d| *d == dtype).unwrap() < 10;
        let converts = computes || matches!(dtype, DType::U16 | DType::U32 | DType::U64);
        assert_eq!((x.add(&x).is_ok(), x.to(DType::F32).is_ok()), (computes, converts), "{dtype}");
    }
    let x = Tensor::from_bytes(&[0; 4], DType::U32, [1]).unwrap();
    refused(x.add(1), ErrorKind::DType, "add: not implemented for uint32");
}

#[test]
fn conversions_are_pytorchs() {
    let x = Tensor::from_vec(vec![1.9f64, -1.9, 300.0, 0.0], [4]).unwrap();
    assert_eq!(x.to(DType::I64).unwrap().to_vec::<i64>().unwrap(), [1, -1, 300, 0]);
    assert_eq!(x.to(DType::U8).unwrap().to_vec::<u8>().unwrap(), [1, 255, 44, 0]);
    assert_eq!(x.to(DType::Bool).unwrap().to_vec::<bool>().unwrap(), [true, true, true, false]);
    assert_eq!(x.to(DType::F16).unwrap().to_vec::<f16>().unwrap()[0], f16::from_f32(1.9));
    assert!(x.to(DType::F64).unwrap().is(&x));
    let big = Tensor::from_vec(vec![70000.0f32, 1e39f64 as f32], [2]).unwrap();
    assert!(big.to(DType::F16).unwrap().to_vec::<f16>().unwrap().iter().all(|x| x.is_infinite()));
}

#[test]
fn ranges() {
    let of = |start, end, step| Tensor::arange(start, end, step, DType::I64);
    assert_eq!(ints(&of(5, -1, -2).unwrap()), [5, 3, 1]);
    assert!(ints(&of(3, 3, 1).unwrap()).is_empty());
    assert_eq!(ints(&of(i64::MAX - 1, i64::MAX, 1).unwrap()), [i64::MAX - 1]);
    assert!(of(0, 5, 0).is_err() && of(0, 5, -1).is_err());
    assert!(of(i64::MIN, i64::MAX, 1).is_err());
    assert!(Tensor::arange(0.0, f64::INFINITY, 1.0, DType::F32).is_err());
    assert!(Tensor::arange(0.0, 1e300, 1e-300, DType::F32).is_err());
    assert_eq!(
        Tensor::arange(0, 1, 0.25, DType::F64).unwrap().to_vec::<f64>().unwrap(),
        [0.0, 0.25, 0.5, 0.75]
    );
    assert_eq!(ints(&Tensor::eye(2, DType::I64).unwrap()), [1, 0, 0, 1]);
    assert_eq!(Tensor::eye(0, DType::F32).unwrap().shape(), [0, 0]);
}

#[test]
fn absurd_shapes_are_errors() {
    let huge = isize::MAX;
    refused(Tensor::zeros([-1], DType::F32), ErrorKind::Shape, "zeros: negative size in shape [-1]");
    refused(
        Tensor::zeros([huge, huge], DType::F32),
        ErrorKind::Shape,
        &format!("shape [{huge}, {huge}] has too many elements"),
    );
    assert!(Tensor::zeros([huge, 0, huge], DType::F32).is_err());
    assert!(Tensor::from_bytes(&[], DType::F32, [huge]).is_err());
    if cfg!(miri) {
        // Which ends the program where an allocator would give null.
        return;
    }
    refused(
        Tensor::zeros([1i64 << 55], DType::F32),
        ErrorKind::Argument,
        &format!("zeros: cannot allocate {} bytes", 1u64 << 57),
    );
    assert!(Tensor::full([1i64 << 55], 1, DType::F64).is_err());
    assert!(Tensor::eye(1 << 30, DType::F64).is_err());
    assert!(Tensor::arange(0, 1i64 << 50, 1, DType::I64).is_err(), "8 PiB");
    assert!(Tensor::arange(0.0, 1e13, 0.1, DType::F32).is_err(), "800 TB");
    let small = Tensor::scalar(1.0f32).expand([1i64 << 50]).unwrap();
    assert!(small.copy().is_err() && small.add(1).is_err() && small.to_vec::<f32>().is_err());
    assert!(small.expand([1i64 << 20, 1 << 50]).is_err());
}

#[test]
fn handles_are_identities() {
    let x = count(&[2]);
    let (same, view) = (x.clone(), x.view([2]).unwrap());
    assert!(x.is(&same) && !x.is(&view) && x.shares_storage(&view));
    assert!(!x.shares_storage(&x.copy().unwrap()));
    same.fill_(9).unwrap();
    assert_eq!((ints(&view), x.version()), (vec![9, 9], 1));
}

#[test]
fn flatten_of_one_dimension_is_the_tensor_itself() {
    let x = count(&[2, 3]);
    assert!(x.flatten(1, 1).unwrap().is(&x) && x.flatten(0, -2).unwrap().is(&x));
    assert!(!x.flatten(0, 1).unwrap().is(&x));
}

#[test]
fn unsqueeze_of_huge_strides_does_not_overflow() {
    let x = count(&[6]).as_strided([0, 3], [isize::MAX, isize::MAX], 0).unwrap();
    assert_eq!(x.unsqueeze(1).unwrap().unsqueeze(1).unwrap().shape(), [0, 1, 1, 3]);
}

#[test]
fn random_integers_outside_the_dtype_are_refused() {
    for (low, high, dtype) in [
        (0, 257, DType::U8),
        (-1, 2, DType::U8),
        (0, 3, DType::Bool),
        (-129, 0, DType::I8),
        (0, 1 << 40, DType::I32),
    ] {
        assert!(Tensor::randint(low, high, [3], dtype).is_err(), "{low} {high} {dtype}");
        assert!(Tensor::zeros([3], dtype).unwrap().random_range_(low, high).is_err(), "{low} {high} {dtype}");
    }
    for (low, high, dtype) in [(0, 256, DType::U8), (0, 2, DType::Bool), (-128, 128, DType::I8)] {
        Tensor::randint(low, high, [3], dtype).unwrap();
    }
}

#[test]
fn a_convolution_whose_padded_input_overflows_is_refused() {
    use sconce::functional::{Conv2dOptions, conv2d};
    let (x, w) =
        (Tensor::ones([1, 2, 4, 4], DType::F32).unwrap(), Tensor::ones([3, 2, 3, 3], DType::F32).unwrap());
    let options = Conv2dOptions { padding: [1 << 40; 2], stride: [1 << 41; 2], ..Default::default() };
    assert!(conv2d(&x, &w, None, options).is_err());
}

/// Strides were multiplied without a check.
#[test]
fn a_view_of_nothing_may_not_have_strides_that_overflow() {
    let x = Tensor::zeros([0], DType::F32).unwrap();
    for shape in [[0, isize::MAX, 4], [isize::MAX, 0, isize::MAX], [0, 1 << 62, 1 << 62]] {
        for result in [x.view(shape), x.reshape(shape), x.reshape(shape).and_then(|x| x.unsqueeze(0))] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Shape, "{shape:?}");
        }
    }
    assert_eq!(x.view([0, 5, 4]).unwrap().strides(), [20, 4, 1]);
}

/// Took memory without bounds: a dimension without elements has as many chunks as are asked for.
#[test]
fn chunks_of_nothing_are_limited() {
    let x = Tensor::zeros([0, 2], DType::F32).unwrap();
    assert_eq!(x.chunk(3, 0).unwrap().len(), 3);
    assert!(x.chunk(usize::MAX / 2, 0).unwrap_err().to_string().contains("chunk"));
    assert_eq!(x.chunk(usize::MAX / 2, 1).unwrap().len(), 2);
}

/// The stack overflowed: gradients and hooks were dropped recursively.
#[test]
fn a_long_chain_of_gradients_or_hooks_is_dropped_iteratively() {
    let mut gradients = Tensor::zeros((), DType::F32).unwrap();
    let mut hooks = gradients.copy().unwrap();
    for _ in 0..if cfg!(miri) { 100 } else { 300_000 } {
        let next = Tensor::zeros((), DType::F32).unwrap();
        next.set_grad(Some(gradients)).unwrap();
        gradients = next;
        let next = Tensor::zeros((), DType::F32).unwrap().requires_grad_(true).unwrap();
        next.register_hook(move |_| Ok(Some(hooks.clone()))).unwrap();
        hooks = next;
    }
    drop((gradients, hooks));
}

#[test]
fn unsigned_integers_that_are_only_stored_convert() {
    let u16s = |list: [u16; 4]| {
        let bytes: Vec<u8> = list.iter().flat_map(|x| x.to_ne_bytes()).collect();
        Tensor::from_bytes(&bytes, DType::U16, [4]).unwrap()
    };
    let u64s = |list: [u64; 4]| {
        let bytes: Vec<u8> = list.iter().flat_map(|x| x.to_ne_bytes()).collect();
        Tensor::from_bytes(&bytes, DType::U64, [4]).unwrap()
    };
    let (narrow, wide) = (u16s([0, 1, 32768, 65535]), u64s([0, 1 << 63, u64::MAX, (1 << 63) + 1025]));
    // What PyTorch makes of them.
    let table: &[(&Tensor, DType, [f64; 4])] = &[
        (&narrow, DType::F64, [0.0, 1.0, 32768.0, 65535.0]),
        (&narrow, DType::F16, [0.0, 1.0, 32768.0, f64::INFINITY]),
        (&narrow, DType::I64, [0.0, 1.0, 32768.0, 65535.0]),
        (&narrow, DType::I16, [0.0, 1.0, -32768.0, -1.0]),
        (&narrow, DType::U8, [0.0, 1.0, 0.0, 255.0]),
        (&narrow, DType::Bool, [0.0, 1.0, 1.0, 1.0]),
        (&wide, DType::F64, [0.0, 9.223372036854776e18, 1.8446744073709552e19, 9.223372036854778e18]),
        (&wide, DType::F32, [0.0, 9.223372036854776e18, 1.8446744073709552e19, 9.223372036854776e18]),
    ];
    for (x, dtype, expected) in table {
        let y = x.to(*dtype).unwrap();
        assert_eq!(y.dtype(), *dtype);
        let found: Vec<f64> = y.to(DType::F64).unwrap().to_vec().unwrap();
        assert_eq!(found, expected, "{} to {dtype}", x.dtype());
    }
    assert_eq!(ints(&wide.to(DType::I64).unwrap()), [0, i64::MIN, -1, i64::MIN + 1025]);
    // Views, and other unsigned integers.
    let every_other = narrow.as_strided([2], [2], 1).unwrap().to(DType::U32).unwrap();
    assert_eq!(
        (every_other.dtype(), ints(&every_other.to(DType::I64).unwrap())),
        (DType::U32, vec![1, 65535])
    );
    let low = wide.to(DType::U16).unwrap();
    assert_eq!(ints(&low.to(DType::I64).unwrap()), [0, 0, 65535, 1025]);
    // Back: floats are cut off, and what does not fit wraps.
    let floats = Tensor::from_vec(vec![1.9f32, 65536.0, -1.0, 1e6], [4]).unwrap();
    assert_eq!(ints(&floats.to(DType::U16).unwrap().to(DType::I64).unwrap()), [1, 0, 65535, 16960]);
    let doubles = Tensor::from_vec(vec![9.223372036854776e18, 3.7, 4.6e18, 1.8e19], [4]).unwrap();
    let back: Vec<f64> = doubles.to(DType::U64).unwrap().to(DType::F64).unwrap().to_vec().unwrap();
    assert_eq!(back, [9.223372036854776e18, 3.0, 4.6e18, 1.8e19]);
    refused(narrow.add(1), ErrorKind::DType, "add: not implemented for uint16");
}
