//! Tensors in other hands: vectors, DLPack, and with the features of those names `serde` and `ndarray`.

#![allow(unsafe_code, reason = "memory of other libraries comes as pointers")]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;

use sconce::dlpack::{DataType, Device, DlTensor, ManagedTensor, READ_ONLY, Version};
use sconce::{DType, ErrorKind, Result, Tensor};

#[track_caller]
fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn a_vectors_memory_goes_in_and_out() {
    let elements: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let address = elements.as_ptr();
    let x = Tensor::from_vec(elements, [10, 10]).unwrap();
    assert_eq!(x.with_slice(|x: &[f32]| x.as_ptr()).unwrap(), address);
    x.add_(1.0).unwrap();
    let back: Vec<f32> = x.into_vec().unwrap();
    assert_eq!((back.as_ptr(), back[0], back[99]), (address, 1.0, 100.0));

    // Not the whole vector, not the last handle, not of a vector, small: copies.
    let whole = |n: usize| Tensor::from_vec((0..n as i64).collect(), [n]).unwrap();
    let x = whole(100);
    let (view, other) = (x.narrow(0, 1, 98).unwrap(), x.clone());
    assert_eq!(view.into_vec::<i64>().unwrap()[0], 1);
    assert_eq!(x.into_vec::<i64>().unwrap().len(), 100);
    assert_eq!(other.into_vec::<i64>().unwrap().len(), 100);
    let x = whole(100).view([10, 10]).unwrap().t().unwrap();
    assert_eq!(x.into_vec::<i64>().unwrap()[..3], [0, 10, 20]);
    assert_eq!(whole(100).neg().unwrap().into_vec::<i64>().unwrap()[99], -99);
    assert_eq!(whole(3).into_vec::<i64>().unwrap(), [0, 1, 2]);
    assert!(whole(0).into_vec::<i64>().unwrap().is_empty());
    assert!(message(whole(100).into_vec::<i32>()).contains("int64, not int32"));
    // A graph may still need it.
    let x = Tensor::from_vec(vec![2.0f64; 50], [50]).unwrap().requires_grad_(true).unwrap();
    let y = x.mul(&x).unwrap().sum(()).unwrap();
    let leaf = x.clone();
    x.into_vec::<f64>().unwrap();
    y.backward().unwrap();
    assert_eq!(leaf.grad().unwrap().into_vec::<f64>().unwrap(), [4.0; 50]);
    // More room than elements.
    let mut roomy = Vec::with_capacity(1000);
    roomy.extend([1.5f64; 20]);
    assert_eq!(Tensor::from_vec(roomy, [20]).unwrap().into_vec::<f64>().unwrap(), [1.5; 20]);
}

fn round_trip(x: &Tensor) -> Tensor {
    // SAFETY: the pointer is fresh and used once.
    unsafe { Tensor::from_dlpack(x.to_dlpack().unwrap()).unwrap() }
}

#[test]
fn dlpack_shares_memory() {
    for dtype in DType::ALL {
        let bytes: Vec<u8> = (0..6 * dtype.size()).map(|i| (i % 2) as u8).collect();
        for shape in [&[2usize, 3][..], &[6], &[0], &[1, 6, 1]] {
            let n = shape.iter().product::<usize>() * dtype.size();
            let x = Tensor::from_bytes(&bytes[..n], dtype, shape).unwrap();
            let y = round_trip(&x);
            assert_eq!((y.dtype(), y.shape(), y.strides()), (dtype, x.shape(), x.strides()), "{dtype}");
            assert_eq!(y.to_bytes().unwrap(), bytes[..n], "{dtype}");
        }
    }
    let x = Tensor::arange(0, 24, 1, DType::F32).unwrap().view([2, 3, 4]).unwrap();
    let part = x.transpose(0, 2).unwrap().narrow(0, 1, 2).unwrap();
    let y = round_trip(&part);
    assert_eq!((y.shape(), y.strides()), (part.shape(), part.strides()));
    x.fill_(7.0).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [7.0; 12]);
    y.fill_(3.0).unwrap();
    assert_eq!(x.sum(()).unwrap().item().unwrap(), 12.0 * 7.0 + 12.0 * 3.0);
    drop((x, part));
    assert_eq!(y.to_vec::<f32>().unwrap(), [3.0; 12]);
    // No dimensions, and an element in the middle.
    let x = Tensor::from_vec(vec![1i64, 2, 3], [3]).unwrap();
    assert_eq!(round_trip(&x.select(0, 1).unwrap()).item_i64().unwrap(), 2);
    let leaf = Tensor::scalar(1.0f32).requires_grad_(true).unwrap();
    assert_eq!(leaf.to_dlpack().unwrap_err().kind(), ErrorKind::Autograd);
    round_trip(&leaf.detach());
}

/// A tensor that another library might give, of bytes that it owns.
struct Foreign {
    managed: ManagedTensor,
    bytes: Vec<u64>,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

thread_local! {
    /// How many this thread's test has had deleted.
    static DELETED: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C" fn delete(managed: *mut ManagedTensor) {
    DELETED.set(DELETED.get() + 1);
    // SAFETY: `foreign` leaked it.
    drop(unsafe { Box::from_raw((*managed).manager_ctx.cast::<Foreign>()) });
}

/// Six float32, 1 to 6, with some of the description changed.
fn foreign(
    shape: &[i64],
    strides: Option<&[i64]>,
    change: impl FnOnce(&mut ManagedTensor),
) -> NonNull<ManagedTensor> {
    let numbers: Vec<u32> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_bits).to_vec();
    let bytes = numbers.chunks(2).map(|p| u64::from(p[0]) | u64::from(p[1]) << 32).collect();
    let mut foreign = Box::new(Foreign {
        managed: ManagedTensor {
            version: Version { major: 1, minor: 7 },
            manager_ctx: std::ptr::null_mut(),
            deleter: Some(delete),
            flags: 0,
            dl_tensor: DlTensor {
                data: std::ptr::null_mut(),
                device: Device { device_type: 1, device_id: 0 },
                ndim: shape.len() as i32,
                dtype: DataType { code: 2, bits: 32, lanes: 1 },
                shape: std::ptr::null_mut(),
                strides: std::ptr::null_mut(),
                byte_offset: 0,
            },
        },
        bytes,
        shape: shape.to_vec(),
        strides: strides.unwrap_or_default().to_vec(),
    });
    foreign.managed.dl_tensor.data = foreign.bytes.as_mut_ptr().cast::<c_void>();
    foreign.managed.dl_tensor.shape = foreign.shape.as_mut_ptr();
    if strides.is_some() {
        foreign.managed.dl_tensor.strides = foreign.strides.as_mut_ptr();
    }
    change(&mut foreign.managed);
    let foreign = Box::into_raw(foreign);
    // SAFETY: just leaked.
    unsafe {
        (*foreign).managed.manager_ctx = foreign.cast();
        NonNull::new_unchecked(&raw mut (*foreign).managed)
    }
}

#[test]
fn dlpack_takes_what_others_give_and_refuses_what_it_cannot() {
    let import = |managed| {
        // SAFETY: `foreign` makes valid ones, but for what is refused before it is used.
        unsafe { Tensor::from_dlpack(managed) }
    };
    let deleted = || DELETED.get();
    let before = deleted();
    let x = import(foreign(&[2, 3], None, |_| {})).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let view = x.select(1, 2).unwrap();
    drop(x);
    assert_eq!((view.to_vec::<f32>().unwrap(), deleted()), (vec![3.0, 6.0], before), "a view keeps it");
    drop(view);
    assert_eq!(deleted(), before + 1);
    let strided = import(foreign(&[3, 2], Some(&[1, 3]), |_| {})).unwrap();
    assert_eq!(strided.to_vec::<f32>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let offset = import(foreign(&[2], None, |m| m.dl_tensor.byte_offset = 12)).unwrap();
    assert_eq!(offset.to_vec::<f32>().unwrap(), [4.0, 5.0]);
    drop((strided, offset));
    // Copied at once: read-only, not aligned, nothing.
    for change in [
        (|m| m.flags = READ_ONLY) as fn(&mut ManagedTensor),
        |m| m.dl_tensor.byte_offset = 2,
        // SAFETY: there is one size.
        |m| unsafe { *m.dl_tensor.shape = 0 },
    ] {
        let before = deleted();
        let x = import(foreign(&[5], None, change)).unwrap();
        assert_eq!(deleted(), before + 1);
        x.fill_(1.0).unwrap();
    }
    let before = deleted();
    let most = i64::MAX;
    let table: Vec<(NonNull<ManagedTensor>, &str)> = vec![
        (foreign(&[6], None, |m| m.version.major = 2), "from_dlpack: version 2.7, expected 1.x"),
        (foreign(&[6], None, |m| m.dl_tensor.device.device_type = 2), "a device of type 2, expected 1"),
        (foreign(&[6], None, |m| m.dl_tensor.ndim = -1), "-1 dimensions, expected 0 to 64"),
        (foreign(&[6], None, |m| m.dl_tensor.ndim = i32::MAX), "dimensions, expected 0 to 64"),
        (foreign(&[6], None, |m| m.dl_tensor.dtype.lanes = 4), "an unknown element type"),
        (foreign(&[6], None, |m| m.dl_tensor.dtype.bits = 31), "an unknown element type"),
        (foreign(&[6], None, |m| m.dl_tensor.dtype.code = 99), "an unknown element type"),
        (foreign(&[6], None, |m| m.dl_tensor.data = std::ptr::null_mut()), "no memory for 24 bytes"),
        (foreign(&[6], None, |m| m.dl_tensor.shape = std::ptr::null_mut()), "1 dimensions without a shape"),
        (foreign(&[-6], None, |_| {}), "a negative size in [-6]"),
        (foreign(&[6], Some(&[-1]), |_| {}), "a negative stride in [-1]"),
        (foreign(&[most], None, |_| {}), "too many elements"),
        (foreign(&[most, most], None, |_| {}), "too many elements"),
        (foreign(&[2, 2], Some(&[most, most]), |_| {}), "overflows"),
        (foreign(&[2], Some(&[most / 4]), |_| {}), "overflows"),
    ];
    for (managed, expected) in table {
        let found = message(import(managed));
        assert!(found.contains(expected), "{found}\nlacks\n{expected}");
        // It stays the caller's.
        // SAFETY: `foreign` made it, and nobody deleted it.
        unsafe { delete(managed.as_ptr()) };
    }
    assert_eq!(deleted(), before + 15);
}

/// Elements were copied as integers of their size, at addresses that are not multiples of it.
#[test]
fn complex_numbers_that_are_aligned_to_their_halves_are_copied_as_such() {
    let import = |shape: &[i64], strides: &[i64]| {
        let change = |m: &mut ManagedTensor| {
            m.dl_tensor.dtype = DataType { code: 5, bits: 64, lanes: 1 };
            m.dl_tensor.byte_offset = 4;
        };
        // SAFETY: two complex numbers from the second of six float32 on.
        unsafe { Tensor::from_dlpack(foreign(shape, Some(strides), change)).unwrap() }
    };
    let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let x = import(&[2], &[1]);
    assert_eq!(x.dtype(), DType::C64);
    let again = x.to_dlpack().unwrap();
    // SAFETY: it is fresh.
    assert_eq!(unsafe { again.as_ref() }.dl_tensor.data.addr() % 8, 4);
    // SAFETY: as above, and used once.
    drop(unsafe { Tensor::from_dlpack(again) });
    assert_eq!(x.copy().unwrap().to_bytes().unwrap(), bytes(&[2.0, 3.0, 4.0, 5.0]));
    assert_eq!(x.expand([3, 2]).unwrap().t().unwrap().copy().unwrap().numel(), 6);
    x.copy_(&x.flip([0]).unwrap()).unwrap();
    assert_eq!(x.to_bytes().unwrap(), bytes(&[4.0, 5.0, 2.0, 3.0]));
}

/// The input was read while the target was written: they are two storages.
#[test]
fn two_imports_of_one_buffer_are_seen_to_overlap() {
    for n in [6, if cfg!(miri) { 600 } else { 100_000usize }] {
        let x = Tensor::arange(0, n as i64, 1, DType::F32).unwrap();
        let (a, b) = (round_trip(&x), round_trip(&x));
        for (to, from) in [(&x, &a), (&a, &b)] {
            let part = |t: &Tensor, start: isize| t.narrow(0, start, n - 1).unwrap();
            for found in
                [message(part(to, 1).add_(&part(from, 0))), message(part(to, 1).copy_(&part(from, 0)))]
            {
                assert!(found.contains("share some of their memory"), "{found}");
            }
            // Another order of the same elements is copied first.
            let turned = from.view([2, n / 2]).unwrap().t().unwrap();
            let wanted = turned.to_vec::<f32>().unwrap();
            to.view([n / 2, 2]).unwrap().copy_(&turned).unwrap();
            assert_eq!(to.to_vec::<f32>().unwrap(), wanted);
            // The very same view needs no copy; other parts do not meet.
            to.add_(from).unwrap();
            assert!(to.to_vec::<f32>().unwrap().iter().zip(&wanted).all(|(x, w)| *x == 2.0 * w));
            to.narrow(0, 0, n / 2).unwrap().copy_(&from.narrow(0, n as isize / 2, n / 2).unwrap()).unwrap();
        }
    }
}

/// An offset made an address of a null pointer, and steps of single elements were refused or believed.
#[test]
fn dlpack_descriptions_at_the_edge_are_read_as_they_are_meant() {
    // SAFETY: `foreign` makes valid ones, but for what is refused before it is used.
    let import = |managed| unsafe { Tensor::from_dlpack(managed) };
    for (change, expected) in [
        (
            (|m| (m.dl_tensor.data, m.dl_tensor.byte_offset) = (std::ptr::null_mut(), 64))
                as fn(&mut ManagedTensor),
            "no memory for 24 bytes",
        ),
        (|m| m.dl_tensor.byte_offset = u64::MAX, "byte_offset 18446744073709551615 overflows"),
        (|m| m.dl_tensor.byte_offset = u64::MAX / 2, "byte_offset 9223372036854775807 overflows"),
    ] {
        let managed = foreign(&[6], None, change);
        let found = message(import(managed));
        assert!(found.contains(expected), "{found}\nlacks\n{expected}");
        // SAFETY: `foreign` made it, and nobody deleted it.
        unsafe { delete(managed.as_ptr()) };
    }
    for step in [-7, 0, 99, i64::MIN, i64::MAX] {
        let x = import(foreign(&[1, 3, 1, 2], Some(&[step, 2, step, 1]), |_| {})).unwrap();
        assert_eq!((x.strides(), x.is_contiguous()), (&[6, 2, 2, 1][..], true), "{step}");
        assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
    let managed = Tensor::ones([100], DType::F32).unwrap().narrow(0, 50, 0).unwrap().to_dlpack().unwrap();
    // SAFETY: it is fresh.
    assert!(unsafe { managed.as_ref() }.dl_tensor.data.is_null());
    assert_eq!(import(managed).unwrap().numel(), 0);
}

#[cfg(feature = "serde")]
mod serialized {
    use super::*;

    fn again(x: &Tensor) -> Tensor {
        serde_json::from_str(&serde_json::to_string(x).unwrap()).unwrap()
    }

    #[test]
    fn every_number_survives() {
        let floats = [0.0, -0.0, 1.5, -2.25, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-3, 240.0];
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let x = Tensor::from_slice(&floats, [3, 3]).unwrap().to(dtype).unwrap().t().unwrap();
            let y = again(&x);
            assert_eq!((y.dtype(), y.shape()), (dtype, x.shape()));
            assert_eq!(y.to_bytes().unwrap(), x.to_bytes().unwrap(), "{dtype}");
        }
        for dtype in [DType::I64, DType::I32, DType::I16, DType::I8, DType::U8, DType::Bool] {
            let x = Tensor::from_slice(&[0i64, 1, 100, 1, 0, 7], [2, 1, 3]).unwrap().to(dtype).unwrap();
            assert!(again(&x).equal(&x).unwrap(), "{dtype}");
        }
        for x in
            [Tensor::scalar(i64::MIN), Tensor::scalar(i64::MAX), Tensor::zeros([0, 4], DType::F32).unwrap()]
        {
            assert_eq!(again(&x).to_bytes().unwrap(), x.to_bytes().unwrap());
        }
        let tracked = Tensor::scalar(1.0f32).requires_grad_(true).unwrap();
        assert!(!again(&tracked).requires_grad());
        let text = serde_json::to_string(&Tensor::from_slice(&[0.1f32, f32::NAN], [2]).unwrap()).unwrap();
        assert_eq!(text, r#"{"dtype":"float32","shape":[2],"data":[0.1,"nan"]}"#);
        let x: Tensor =
            serde_json::from_str(r#"{"data": [1, 2.5], "shape": [2], "dtype": "float64"}"#).unwrap();
        assert_eq!(x.to_vec::<f64>().unwrap(), [1.0, 2.5]);
        assert!(serde_json::to_string(&Tensor::from_bytes(&[0; 8], DType::C64, [1]).unwrap()).is_err());
    }

    #[test]
    fn what_is_exported_is_read() {
        use sconce::nn::{Buffer, ModuleExt};
        let path = std::env::temp_dir().join(format!("sconce-exported-{}.json", std::process::id()));
        let floats = [0.0, -0.0, 1.5, 1e-30, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 7.0];
        let x = Tensor::from_slice(&floats, [4, 2]).unwrap();
        let dtypes = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::Bool];
        let tensors = dtypes.map(|dtype| x.narrow(0, 0, 2).unwrap().to(dtype).unwrap());
        let model: Vec<Buffer> = tensors.iter().chain([&x]).map(Buffer::new).collect();
        model.export("**", &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: std::collections::HashMap<String, Tensor> = serde_json::from_str(&text).unwrap();
        for (i, buffer) in model.iter().enumerate() {
            let y = &read[&i.to_string()];
            assert_eq!((y.dtype(), y.shape()), (buffer.dtype(), buffer.shape()));
            assert_eq!(y.to_bytes().unwrap(), buffer.to_bytes().unwrap(), "{}", y.dtype());
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_does_not_add_up_is_an_error() {
        let table = [
            (r#"{"dtype":"float99","shape":[1],"data":[1]}"#, "there is no dtype `float99`"),
            (r#"{"dtype":"float32","shape":[2],"data":[1]}"#, "1 elements do not fill shape [2]"),
            (r#"{"dtype":"float32","shape":[18446744073709551615],"data":[]}"#, "too many elements"),
            (r#"{"dtype":"float32","shape":[4294967296,4294967296],"data":[]}"#, "too many elements"),
            (r#"{"dtype":"float32","shape":[9223372036854775807,0],"data":[]}"#, "too many elements"),
            (r#"{"dtype":"float32","shape":[-1],"data":[]}"#, "invalid value: integer `-1`"),
            (r#"{"dtype":"uint8","shape":[1],"data":[256]}"#, "Int(256) is no uint8"),
            (r#"{"dtype":"int64","shape":[1],"data":[1.5]}"#, "Float(1.5) is no int64"),
            (r#"{"dtype":"bool","shape":[1],"data":[1]}"#, "Int(1) is no bool"),
            (r#"{"dtype":"float32","shape":[1],"data":["one"]}"#, "invalid value: string \"one\""),
            (r#"{"dtype":"complex64","shape":[1],"data":[1]}"#, "elements of complex64 have no text"),
            (r#"{"dtype":"float32","shape":[1]}"#, "missing field `data`"),
            (r#"{"dtype":"float32","shape":[1],"shape":[1],"data":[1]}"#, "`shape` is there twice"),
            (r#"{"dtype":"float32","shape":[1],"data":[1],"device":"cpu"}"#, "unknown field `device`"),
        ];
        for (text, expected) in table {
            let found = serde_json::from_str::<Tensor>(text).unwrap_err().to_string();
            assert!(found.contains(expected), "{text}: {found}\nlacks\n{expected}");
        }
    }
}

#[cfg(feature = "ndarray")]
mod arrays {
    use super::*;
    use ndarray::{Array, Array2, s};

    #[test]
    fn an_arrays_memory_goes_in_and_out() {
        let array = Array2::from_shape_fn((20, 10), |(i, j)| (10 * i + j) as f32);
        let address = array.as_ptr();
        let x = Tensor::from_ndarray_owned(array).unwrap();
        assert_eq!(x.with_slice(|x: &[f32]| x.as_ptr()).unwrap(), address);
        let back = x.into_ndarray::<f32>().unwrap();
        assert_eq!((back.as_ptr(), back.shape()), (address, &[20, 10][..]));
        assert_eq!(back[[3, 4]], 34.0);
    }

    #[test]
    fn strides_are_kept_unless_negative() {
        let array = || Array2::from_shape_fn((20, 10), |(i, j)| (10 * i + j) as i64);
        let x = Tensor::from_ndarray_owned(array().reversed_axes()).unwrap();
        assert_eq!((x.shape(), x.strides()), (&[10, 20][..], &[1, 10][..]));
        let sliced = array().slice_move(s![2.., 1..;3]);
        let expected: Vec<i64> = sliced.iter().copied().collect();
        let x = Tensor::from_ndarray_owned(sliced).unwrap();
        assert_eq!((x.shape(), x.strides()), (&[18, 3][..], &[10, 3][..]));
        assert_eq!(x.to_vec::<i64>().unwrap(), expected);
        let x = Tensor::from_ndarray_owned(array().slice_move(s![..;-1, ..])).unwrap();
        assert_eq!(x.to_vec::<i64>().unwrap()[..2], [190, 191]);
        let x = Tensor::from_ndarray_owned(Array::<f64, _>::zeros((0, 3))).unwrap();
        assert_eq!(x.shape(), [0, 3]);
        assert_eq!(x.into_ndarray::<f64>().unwrap().shape(), [0, 3]);
    }
}
