//! What a backward accumulates, frees, needs and refuses; modes; higher orders.

use std::sync::{Arc, Mutex};

use sconce::autograd::{self, Backward};
use sconce::{DType, Tensor, enable_grad, is_grad_enabled, no_grad, set_grad_enabled};

use crate::{KEEP, TWICE, grad, leaf, message, near, ones, tensor, values};

#[test]
fn gradients_accumulate_until_they_are_dropped() {
    let x = leaf(&[1.0, 2.0]);
    for _ in 0..3 {
        ones(&x.mul(2.0).unwrap()).unwrap();
    }
    assert_eq!(grad(&x).unwrap(), [6.0, 6.0]);
    let held = x.grad().unwrap();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(values(&held), [7.0, 7.0], "as in PyTorch, `.grad` is added to in place");
    x.zero_grad();
    assert!(x.grad().is_none());
    ones(&x.mul(5.0).unwrap()).unwrap();
    assert_eq!((grad(&x).unwrap(), values(&held)), (vec![5.0, 5.0], vec![7.0, 7.0]));
    x.set_grad(Some(tensor(&[1.0, 1.0]))).unwrap();
    assert!(x.set_grad(Some(tensor(&[1.0]))).is_err());
    assert!(x.set_grad(Some(Tensor::zeros([2], DType::F32).unwrap())).is_err());
    assert!(message(x.set_grad(Some(x.clone()))).contains("its own gradient"));
    assert_eq!(grad(&x).unwrap(), [1.0, 1.0]);
}

#[test]
fn gradients_have_memory_of_their_own() {
    let (x, y) = (leaf(&[1.0]), leaf(&[2.0]));
    let cotangent = tensor(&[1.0]);
    let sum = x.add(&y).unwrap();
    sum.retain_grad().unwrap();
    sum.backward_with(Some(&cotangent), Backward::default()).unwrap();
    let all = [x.grad().unwrap(), y.grad().unwrap(), sum.grad().unwrap(), cotangent];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| !a.shares_storage(b)), "gradient {i}");
    }
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    let z = leaf(&[1.0]);
    z.register_hook(move |g| {
        *keep.lock().unwrap() = Some(g.clone());
        Ok(None)
    })
    .unwrap();
    ones(&z.mul(3.0).unwrap()).unwrap();
    ones(&z.mul(3.0).unwrap()).unwrap();
    assert_eq!(grad(&z).unwrap(), [6.0]);
    assert_eq!(values(seen.lock().unwrap().as_ref().unwrap()), [3.0], "what a hook keeps is not added to");
}

#[test]
fn modes_nest_and_are_restored_by_a_panic() {
    let x = leaf(&[1.0]);
    no_grad(|| {
        assert!(!is_grad_enabled() && !x.mul(2.0).unwrap().requires_grad());
        enable_grad(|| assert!(x.mul(2.0).unwrap().requires_grad()));
        set_grad_enabled(true, || no_grad(|| assert!(!is_grad_enabled())));
        assert!(!is_grad_enabled());
    });
    let panicked = std::panic::catch_unwind(|| no_grad(|| std::panic::resume_unwind(Box::new(()))));
    assert!(panicked.is_err() && is_grad_enabled());
    no_grad(|| std::thread::spawn(|| assert!(is_grad_enabled())).join()).unwrap();
}

#[test]
fn detach_shares_memory_and_version_but_not_history() {
    let x = leaf(&[1.0, 2.0]);
    let h = x.mul(1.0).unwrap();
    let d = h.detach();
    assert!(d.shares_storage(&h) && !d.requires_grad() && d.is_leaf() && d.grad_fn().is_none());
    let before = h.version();
    d.mul_(2.0).unwrap();
    assert_eq!((h.version(), values(&h)), (before + 1, vec![2.0, 4.0]));
    let y = h.exp().unwrap();
    y.detach().add_(1.0).unwrap();
    assert!(message(ones(&y)).contains("modified"), "an edit of a detached alias is noticed");
}

#[test]
fn a_second_backward_needs_the_graph() {
    let x = leaf(&[2.0]);
    let y = x.mul(&x).unwrap();
    y.backward_with(None, KEEP).unwrap();
    y.backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [8.0]);
    assert!(message(y.backward()).contains("a second time: its saved tensors were freed"));
    // Asking for the gradient of a result leaves the graph behind it alone.
    let h = x.exp().unwrap();
    let y = h.mul(&h).unwrap();
    autograd::grad(&[(&y, None)], &[&h], Backward::default()).unwrap();
    autograd::grad(&[(&h, None)], &[&x], Backward::default()).unwrap();
}

#[test]
fn what_backward_cannot_start_from() {
    let x = leaf(&[1.0, 2.0]);
    let y = x.mul(2.0).unwrap();
    assert!(message(y.backward()).contains("needs a gradient; only single elements start from 1"));
    assert!(message(tensor(&[1.0]).backward()).contains("does not require grad"));
    assert!(message(y.backward_with(Some(&tensor(&[1.0])), KEEP)).contains("a gradient of shape [1]"));
    let y32 = Tensor::ones([2], DType::F32).unwrap();
    y.backward_with(Some(&y32), Backward::default()).unwrap();
    assert_eq!(grad(&x).unwrap(), [2.0, 2.0]);
    assert!(Tensor::zeros([1], DType::I64).unwrap().requires_grad_(true).is_err());
    assert!(x.mul(2.0).unwrap().requires_grad_(false).is_err());
}

#[test]
fn grad_touches_nothing_and_tells_what_is_unused() {
    let (x, unused) = (leaf(&[3.0]), leaf(&[1.0]));
    let h = x.mul(&x).unwrap();
    let y = h.mul(&x).unwrap();
    let found = autograd::grad(&[(&y, None)], &[&x, &unused, &h, &x], Backward::default()).unwrap();
    let found: Vec<_> = found.iter().map(|g| g.as_ref().map(values)).collect();
    assert_eq!(found, [Some(vec![27.0]), None, Some(vec![3.0]), Some(vec![27.0])]);
    assert!(x.grad().is_none() && unused.grad().is_none());
    let plain = tensor(&[1.0]);
    let y = x.mul(&plain).unwrap();
    assert_eq!(
        message(autograd::grad(&[(&y, None)], &[&x, &plain], Backward::default())),
        "grad: input 1 [1] does not require grad"
    );
    assert!(autograd::grad(&[(&y, None)], &[], Backward::default()).is_err());
}

#[test]
fn several_outputs_at_once() {
    let x = leaf(&[2.0]);
    let (a, b) = (x.mul(3.0).unwrap(), x.mul(&x).unwrap());
    autograd::backward(&[(&a, None), (&b, Some(&tensor(&[10.0]))), (&x, None)], Backward::default()).unwrap();
    assert_eq!(grad(&x).unwrap(), [3.0 + 40.0 + 1.0]);
    // One output behind another is passed once.
    let x = leaf(&[2.0]);
    let a = x.mul(3.0).unwrap();
    let b = a.mul(&a).unwrap();
    autograd::backward(&[(&a, None), (&b, None), (&a, None)], Backward::default()).unwrap();
    assert_eq!(grad(&x).unwrap(), [3.0 * (12.0 + 1.0 + 1.0)]);
}

#[test]
fn gradients_are_summed_over_what_was_broadcast() {
    let x = Tensor::from_vec(vec![1.0, 2.0], [2, 1]).unwrap().requires_grad_(true).unwrap();
    let y = Tensor::from_vec(vec![3.0, 4.0, 5.0], [3]).unwrap().requires_grad_(true).unwrap();
    let z = Tensor::scalar(2.0f64).requires_grad_(true).unwrap();
    ones(&x.mul(&y).unwrap().mul(&z).unwrap()).unwrap();
    assert_eq!((x.grad().unwrap().shape(), grad(&x).unwrap()), (&[2, 1][..], vec![24.0, 24.0]));
    assert_eq!(grad(&y).unwrap(), [6.0, 6.0, 6.0]);
    assert_eq!((z.grad().unwrap().shape(), grad(&z).unwrap()), (&[][..], vec![36.0]));
    let e = leaf(&[1.0]);
    ones(&e.expand([4, 3]).unwrap()).unwrap();
    assert_eq!(grad(&e).unwrap(), [12.0]);
}

#[test]
fn a_clamp_passes_the_gradient_from_bound_to_bound() {
    let nan = f64::NAN;
    let x = [-2.0, -1.0, 0.5, 1.0, 3.0, nan];
    // Bounds, values and gradients of PyTorch.
    let cases = [
        ((-1.0, 1.0), [-1.0, -1.0, 0.5, 1.0, 1.0, nan], [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
        ((0.5, 0.5), [0.5, 0.5, 0.5, 0.5, 0.5, nan], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        ((2.0, -2.0), [-2.0, -2.0, -2.0, -2.0, -2.0, nan], [0.0; 6]),
        ((nan, 1.0), [nan; 6], [0.0; 6]),
        ((1.0, nan), [nan; 6], [0.0; 6]),
    ];
    for ((min, max), result, gradient) in cases {
        for dtype in [DType::F64, DType::F32, DType::F16] {
            let what = format!("{dtype} between {min} and {max}");
            let leaf = tensor(&x).to(dtype).unwrap().requires_grad_(true).unwrap();
            let inplace = leaf.mul(1).unwrap();
            inplace.clamp_(min, max).unwrap();
            for y in [leaf.clamp(min, max).unwrap(), inplace] {
                assert_eq!(y.dtype(), dtype, "{what}");
                assert_eq!(format!("{:?}", values(&y)), format!("{result:?}"), "{what}");
                leaf.zero_grad();
                ones(&y).unwrap();
                assert_eq!(grad(&leaf).unwrap(), gradient, "{what}");
            }
        }
    }
}

#[test]
fn gradients_have_the_dtype_of_what_they_belong_to() {
    let half = tensor(&[1.5, 2.0]).to(DType::F16).unwrap().requires_grad_(true).unwrap();
    let single = tensor(&[3.0, 4.0]).to(DType::F32).unwrap().requires_grad_(true).unwrap();
    let y = half.mul(&single).unwrap();
    assert_eq!(y.dtype(), DType::F32);
    ones(&y).unwrap();
    assert_eq!((half.grad().unwrap().dtype(), grad(&half).unwrap()), (DType::F16, vec![3.0, 4.0]));
    assert_eq!((single.grad().unwrap().dtype(), grad(&single).unwrap()), (DType::F32, vec![1.5, 2.0]));
    let brain = tensor(&[1.5, 2.0]).to(DType::BF16).unwrap().requires_grad_(true).unwrap();
    let number = Tensor::scalar(3.0f64).requires_grad_(true).unwrap();
    let y = brain.mul(&number).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    ones(&y).unwrap();
    assert_eq!((number.grad().unwrap().dtype(), grad(&number).unwrap()), (DType::F64, vec![3.5]));
}

#[test]
fn third_derivatives() {
    let x = leaf(&[2.0]);
    let mut y = x.mul(&x).unwrap().mul(&x).unwrap().mul(&x).unwrap();
    for expected in [32.0, 48.0, 48.0, 24.0] {
        y = autograd::grad(&[(&y, None)], &[&x], TWICE).unwrap().remove(0).unwrap();
        near(&values(&y), &[expected], "derivative of x⁴ at 2");
    }
    // Into `.grad`: sums are recorded as well.
    let x = leaf(&[3.0]);
    x.mul(&x).unwrap().backward_with(None, TWICE).unwrap();
    let first = x.grad().unwrap();
    x.zero_grad();
    first.mul(&first).unwrap().backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [24.0], "d(2x)²/dx = 8x");
}

#[test]
fn a_leaf_frozen_between_forward_and_backward_gets_no_gradient() {
    let (x, w) = (leaf(&[2.0]), leaf(&[3.0]));
    let y = x.mul(&w).unwrap();
    w.requires_grad_(false).unwrap();
    y.backward().unwrap();
    assert_eq!((grad(&x), grad(&w)), (Some(vec![3.0]), None));
}

#[test]
fn joined_tensors_without_elements_keep_their_history() {
    let x = leaf(&[]);
    let matrix = Tensor::zeros([0, 3], DType::F64).unwrap().requires_grad_(true).unwrap();
    for (y, of) in [
        (Tensor::cat(&[&x, &x], 0).unwrap(), &x),
        (Tensor::stack(&[&x, &x], 0).unwrap(), &x),
        (Tensor::stack(&[&matrix, &matrix], 1).unwrap(), &matrix),
    ] {
        of.zero_grad();
        assert!(y.requires_grad(), "{:?}", y.shape());
        ones(&y).unwrap();
        assert_eq!(of.grad().unwrap().shape(), of.shape());
    }
}
