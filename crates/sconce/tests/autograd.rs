//! Automatic differentiation against PyTorch's rules: accumulation, modes, hooks, in-place edits, views, higher orders.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sconce::autograd::{self, Backward, GradCheck, Grads, Op, Saved, Saves, gradcheck, gradgradcheck};
use sconce::{
    DType, ErrorKind, Index, Result, Tensor, enable_grad, is_grad_enabled, no_grad, set_grad_enabled,
};

const KEEP: Backward = Backward { retain_graph: true, create_graph: false };
const TWICE: Backward = Backward { retain_graph: false, create_graph: true };

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()]).unwrap()
}

fn leaf(values: &[f64]) -> Tensor {
    tensor(values).requires_grad_(true).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.detach().to(DType::F64).unwrap().to_vec().unwrap()
}

fn grad(t: &Tensor) -> Option<Vec<f64>> {
    t.grad().map(|g| values(&g))
}

/// Back-propagates ones.
fn ones(y: &Tensor) -> Result<()> {
    y.backward_with(Some(&y.detach().ones_like()?), Backward::default())
}

#[track_caller]
fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{what}, element {i}: {a}, PyTorch gives {b}");
    }
}

type Program = (
    &'static str,
    fn(&Tensor, &Tensor) -> Result<Tensor>,
    &'static [f64],
    Option<&'static [f64]>,
    Option<&'static [f64]>,
);

/// Programs that edit in place, on `x` [2, 3] and `w` [3]: the result, and the gradients of both for the cotangent
/// 1, 2, 3, …, as PyTorch 2.13 gives them.
#[rustfmt::skip]
const PROGRAMS: &[Program] = &[
    (
        "select",
        |x, w| { let b = x.mul(1.0)?; b.select(0, 0)?.mul_(w)?; Ok(b) },
        &[1.0, 3.0, 1.0, 1.5, 0.25, -0.75],
        Some(&[2.0, -6.0, 1.5, 4.0, 5.0, 6.0]),
        Some(&[0.5, -2.0, 6.0]),
    ),
    (
        "narrow",
        |x, w| { let b = x.mul(1.0)?; b.narrow(1, 1, 2)?.mul_(&w.narrow(0, 0, 2)?)?; b.mul(&b) },
        &[0.25, 4.0, 36.0, 2.25, 0.25, 5.0625],
        Some(&[1.0, -16.0, 108.0, 12.0, 10.0, -81.0]),
        Some(&[9.25, -92.25, 0.0]),
    ),
    (
        "transpose, then select",
        |x, w| { let b = x.mul(1.0)?; b.t()?.select(0, 1)?.mul_(3.0)?; b.mul(w) },
        &[1.0, 9.0, 1.0, 3.0, -2.25, -0.375],
        Some(&[2.0, -18.0, 1.5, 8.0, -45.0, 3.0]),
        Some(&[6.5, -2.25, 1.5]),
    ),
    (
        "every other column",
        |x, w| { let b = x.mul(1.0)?; b.slice(1, 0, 3, 2)?.mul_(&w.narrow(0, 0, 2)?)?; b.mul(&b) },
        &[1.0, 1.0, 36.0, 9.0, 0.0625, 5.0625],
        Some(&[4.0, -4.0, 108.0, 48.0, 2.5, -81.0]),
        Some(&[37.0, -92.25, 0.0]),
    ),
    (
        "views of views",
        |x, w| { let b = x.mul(1.0)?; let v = b.view([6])?.narrow(0, 2, 3)?; v.select(0, 1)?.mul_(5.0)?; v.mul_(w)?; Ok(b) },
        &[0.5, -1.0, 4.0, -22.5, 0.125, -0.75],
        Some(&[1.0, 2.0, 6.0, -60.0, 2.5, 6.0]),
        Some(&[6.0, 30.0, 1.25]),
    ),
    (
        "base changed after the view was made",
        |x, w| { let b = x.mul(1.0)?; let v = b.select(1, 0)?; b.mul_(w)?; v.mul(&v) },
        &[1.0, 9.0],
        Some(&[4.0, -0.0, 0.0, 24.0, -0.0, 0.0]),
        Some(&[19.0, 0.0, 0.0]),
    ),
    (
        "view changed, then the base used",
        |x, w| { let b = x.mul(1.0)?; let v = b.t()?; v.select(0, 2)?.copy_(&w.narrow(0, 0, 2)?)?; b.mul(&b) },
        &[0.25, 1.0, 4.0, 2.25, 0.0625, 9.0],
        Some(&[1.0, -4.0, 0.0, 12.0, 2.5, 0.0]),
        Some(&[12.0, -36.0, 0.0]),
    ),
    (
        "untracked base",
        |x, w| { let b = Tensor::zeros([2, 3], DType::F64)?; b.select(0, 1)?.copy_(w)?; b.mul(x) },
        &[0.0, -0.0, 0.0, 3.0, -0.75, -0.375],
        Some(&[0.0, 0.0, 0.0, 8.0, -15.0, 3.0]),
        Some(&[6.0, 1.25, -4.5]),
    ),
    (
        "sibling view",
        |x, w| { let b = x.mul(1.0)?; let (a, c) = (b.select(0, 0)?, b.select(0, 0)?); a.mul_(w)?; c.mul(&c) },
        &[1.0, 9.0, 1.0],
        Some(&[4.0, -36.0, 3.0, 0.0, 0.0, 0.0]),
        Some(&[1.0, -12.0, 12.0]),
    ),
    (
        "two edits",
        |x, w| { let b = x.mul(1.0)?; b.select(0, 0)?.mul_(w)?; b.select(1, 0)?.fill_(7.0)?; b.mul(w) },
        &[14.0, -9.0, 0.5, 14.0, -0.75, -0.375],
        Some(&[0.0, 18.0, 0.75, 0.0, -15.0, 3.0]),
        Some(&[35.0, 13.25, 1.5]),
    ),
    (
        "output saved by an edit of a view",
        |x, w| { let b = x.mul(1.0)?; b.select(0, 0)?.exp_()?; b.mul(w) },
        &[3.2974425414, -1.10363832351, 3.69452804947, 3.0, -0.75, -0.375],
        Some(&[3.2974425414, -2.20727664703, 11.0835841484, 8.0, -15.0, 3.0]),
        Some(&[7.6487212707, 1.98575888234, 17.6671682968]),
    ),
    (
        "in place on a result",
        |x, w| { let b = x.mul(2.0)?; b.mul_(w)?; b.add_(x)?; b.mul(&b) },
        &[6.25, 25.0, 16.0, 56.25, 1.5625, 2.25],
        Some(&[25.0, -100.0, 48.0, 300.0, 62.5, -36.0]),
        Some(&[185.0, -46.25, 123.0]),
    ),
    (
        "as_strided",
        |x, w| { let b = x.mul(1.0)?; b.as_strided([2, 2], [3, 2], 0)?.mul_(4.0)?; b.mul(w) },
        &[4.0, 3.0, 4.0, 12.0, -0.75, -1.5],
        Some(&[8.0, -6.0, 6.0, 32.0, -15.0, 12.0]),
        Some(&[26.0, -0.75, 6.0]),
    ),
    (
        "view of an untracked base, then the base",
        |x, w| { let b = Tensor::zeros([2, 3], DType::F64)?; let v = b.select(0, 0)?; v.copy_(w)?; b.mul_(x)?; v.mul(w) },
        &[2.0, -9.0, 0.5],
        Some(&[4.0, 18.0, 0.75, 0.0, 0.0, 0.0]),
        Some(&[2.0, 12.0, 6.0]),
    ),
    (
        "through a detached alias",
        |x, w| { let b = x.mul(1.0)?; b.detach().mul_(3.0)?; b.mul(w) },
        &[3.0, 9.0, 3.0, 9.0, -2.25, -1.125],
        Some(&[2.0, -6.0, 1.5, 8.0, -15.0, 3.0]),
        Some(&[19.5, -2.25, 4.5]),
    ),
    (
        "edited under no_grad",
        |x, w| { let b = x.mul(1.0)?; let v = b.select(0, 1)?; no_grad(|| b.mul_(3.0))?; v.mul(w) },
        &[9.0, -2.25, -1.125],
        Some(&[0.0, 0.0, 0.0, 2.0, -6.0, 1.5]),
        Some(&[4.5, 1.5, -6.75]),
    ),
    (
        "chain of edits",
        |x, w| { let b = x.mul(1.0)?; for i in 0..3 { b.select(0, 0)?.mul_(2.0)?; b.select(1, i)?.sub_(&w.select(0, 0)?.expand([2])?)?; } b.mul(&b) },
        &[16.0, 144.0, 196.0, 0.25, 3.0625, 7.5625],
        Some(&[-64.0, -384.0, 672.0, -4.0, -17.5, -33.0]),
        Some(&[98.5, 0.0, 0.0]),
    ),
    (
        "expanded view read after an edit",
        |x, w| { let b = w.mul(1.0)?; let e = b.expand([2, 3])?; b.mul_(w)?; e.mul(x) },
        &[2.0, -9.0, 0.5, 6.0, 2.25, -0.1875],
        Some(&[4.0, 18.0, 0.75, 16.0, 45.0, 1.5]),
        Some(&[26.0, 4.5, 1.5]),
    ),
    (
        "diamond",
        |x, w| { let a = x.mul(2.0)?; let (b, c) = (a.mul(w)?, a.exp()?); b.mul(&c)?.add(&a) },
        &[6.43656365692, -1.18798830058, 113.196300066, 123.513221539, -1.97308190605, -1.66734762011],
        Some(&[23.7462546277, 5.62402339884, 824.972250497, 1293.47436308, -64.1924571815, 11.3306095196]),
        Some(&[243.744724907, 3.5804620438, 653.169628956]),
    ),
    (
        "add to itself",
        |x, w| { let b = x.mul(1.0)?; b.add_(&b)?; b.mul(w) },
        &[2.0, 6.0, 2.0, 6.0, -1.5, -0.75],
        Some(&[4.0, -12.0, 3.0, 16.0, -30.0, 6.0]),
        Some(&[13.0, -1.5, 3.0]),
    ),
    (
        "reshape of a transposed copy, edited",
        |x, w| { let b = x.mul(1.0)?; let r = b.t()?.reshape([6])?; r.mul_(2.0)?; b.mul(w)?.add(&r.view([3, 2])?.t()?) },
        &[2.0, 1.0, 5.0, 6.0, -0.25, -1.875],
        Some(&[4.0, -2.0, 7.5, 16.0, -5.0, 15.0]),
        Some(&[6.5, -0.75, 1.5]),
    ),
    (
        "diagonal",
        |x, w| { let b = x.mul(1.0)?; b.diagonal(0, 0, 1)?.mul_(&w.narrow(0, 0, 2)?)?; b.mul(&b) },
        &[1.0, 1.0, 4.0, 2.25, 0.5625, 0.5625],
        Some(&[4.0, -4.0, 12.0, 12.0, 22.5, -9.0]),
        Some(&[1.0, -1.875, 0.0]),
    ),
    (
        "diagonal of a transpose, off the main one",
        |x, w| { let b = x.mul(1.0)?; b.t()?.diagonal(-1, 0, 1)?.copy_(&w.narrow(0, 1, 2)?)?; b.mul(&b)?.mul(w) },
        &[0.5, -27.0, 2.0, 4.5, -0.1875, 0.125],
        Some(&[2.0, 0.0, 6.0, 24.0, -7.5, 0.0]),
        Some(&[9.25, 54.3125, 16.5]),
    ),
    // PyTorch refuses to edit what `chunk` and `unbind` give; its numbers are those of the same slices.
    (
        "chunks",
        |x, w| { let b = x.mul(1.0)?; let parts = b.chunk(2, 1)?; parts[1].mul_(3.0)?; parts[0].mul_(&parts[1].mul(1.0)?)?; b.mul(w) },
        &[6.0, 18.0, 3.0, -6.75, 1.6875, -1.125],
        Some(&[12.0, -36.0, 25.5, -18.0, 33.75, 33.75]),
        Some(&[-10.5, -14.8125, 4.5]),
    ),
    (
        "unbind",
        |x, w| { let b = x.mul(1.0)?; let rows = b.unbind(0)?; rows[0].mul_(w)?; rows[1].add_(&rows[0])?; b.mul(&b) },
        &[1.0, 9.0, 1.0, 6.25, 10.5625, 0.0625],
        Some(&[44.0, -133.5, 4.5, 20.0, 32.5, 3.0]),
        Some(&[11.0, -44.5, 18.0]),
    ),
    (
        "movedim, squeeze, select",
        |x, w| { let b = x.mul(1.0)?.unsqueeze(0)?; b.movedim(2, 0)?.squeeze(1)?.select(0, 0)?.exp_()?; b.squeeze(0)?.mul(w) },
        &[3.2974425414, 3.0, 1.0, 8.96337814068, -0.75, -0.375],
        Some(&[3.2974425414, -6.0, 1.5, 35.8535125627, -15.0, 3.0]),
        Some(&[19.5754775521, -0.75, 1.5]),
    ),
    (
        "flatten with a step, then unflatten",
        |x, w| {
            let b = x.mul(1.0)?;
            b.flatten(0, -1)?.get(Index::Slice(Some(1), Some(5), 2))?.mul_(&w.narrow(0, 0, 2)?)?;
            b.unflatten(1, [1, 3])?.tanh_()?;
            b.mul(x)
        },
        &[0.23105857863, 0.964027580076, 1.92805516015, -1.49962981627, 0.0612296656009, 0.47636171429],
        Some(&[0.855341023743, -2.21065845956, 3.31598768935, -4.00789615658, 2.39961187303, -6.49552985159]),
        Some(&[0.141301649706, 0.00444165659154, 0.0]),
    ),
    (
        "assignment through a mask",
        |x, w| { let b = x.mul(1.0)?; b.set(&b.detach().gt(0.3)?, &w.select(0, 0)?)?; b.mul(w) },
        &[4.0, 3.0, 1.0, 4.0, -0.75, -0.375],
        Some(&[0.0, -6.0, 0.0, 0.0, -15.0, 3.0]),
        Some(&[21.5, -0.75, 1.5]),
    ),
    (
        "assignment through ranges and positions",
        |x, w| {
            let b = x.mul(1.0)?;
            b.set((1, 1..), &w.narrow(0, 0, 2)?)?;
            let ends = Tensor::from_vec(vec![0i64, 2], [2])?;
            b.set((.., &ends), &b.get((.., &ends))?.mul(2.0)?)?;
            b.mul(w)
        },
        &[2.0, 3.0, 2.0, 6.0, -6.0, -3.0],
        Some(&[4.0, -6.0, 3.0, 16.0, 0.0, 0.0]),
        Some(&[-2.0, 14.0, -24.0]),
    ),
];

fn program_inputs() -> (Tensor, Tensor) {
    let x = Tensor::from_vec(vec![0.5, -1.0, 2.0, 1.5, 0.25, -0.75], [2, 3]).unwrap();
    (x.requires_grad_(true).unwrap(), leaf(&[2.0, -3.0, 0.5]))
}

#[test]
fn edits_in_place_give_pytorchs_gradients() {
    for (name, program, result, x_grad, w_grad) in PROGRAMS {
        let (x, w) = program_inputs();
        let y = program(&x, &w).unwrap_or_else(|e| panic!("{name}: {e}"));
        near(&values(&y), result, name);
        let cotangent = Tensor::arange(1, y.numel() as i64 + 1, 1, DType::F64).unwrap();
        let cotangent = cotangent.view(y.shape()).unwrap();
        y.backward_with(Some(&cotangent), Backward::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (which, found, expected) in [("x", grad(&x), x_grad), ("w", grad(&w), w_grad)] {
            assert_eq!(found.is_some(), expected.is_some(), "{name}: gradient of {which}");
            if let (Some(found), Some(expected)) = (found, expected) {
                near(&found, expected, &format!("{name}: gradient of {which}"));
            }
        }
    }
}

#[test]
fn edits_in_place_pass_gradcheck_to_the_second_order() {
    for (name, program, ..) in PROGRAMS {
        // A detached edit is no function of the inputs that differences could see.
        if ["through a detached alias", "edited under no_grad"].contains(name) {
            continue;
        }
        let (x, w) = program_inputs();
        let f = |x: &[Tensor]| program(&x[0], &x[1]);
        gradcheck(&f, &[x.clone(), w.clone()], GradCheck::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        gradgradcheck(&f, &[x, w], GradCheck::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

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
fn an_edit_after_use_is_an_error_that_names_the_operation_and_the_tensor() {
    let x = leaf(&[1.0, 2.0]);
    let h = x.mul(1.0).unwrap();
    let y = h.mul(&h).unwrap();
    h.add_(1.0).unwrap();
    assert_eq!(
        message(ones(&y)),
        "backward of mul: mul: its input 0 [2] was saved for backward at version 0 and is now at version 1: \
         something modified it in place"
    );
    // Through a view, the other way round, and for a saved output.
    let h = x.mul(1.0).unwrap();
    let y = h.select(0, 0).unwrap().mul(&x.select(0, 0).unwrap()).unwrap();
    h.select(0, 1).unwrap().fill_(0.0).unwrap();
    assert!(message(ones(&y)).contains("version"));
    let y = x.tanh().unwrap();
    y.mul_(2.0).unwrap();
    assert!(message(ones(&y)).starts_with("backward of tanh: tanh: its output [2] was saved"));
    // What no derivative reads may be edited.
    let h = x.mul(1.0).unwrap();
    let y = h.add(1.0).unwrap();
    h.mul_(7.0).unwrap();
    ones(&y).unwrap();
    assert_eq!(grad(&x).unwrap(), [1.0, 1.0]);
    // Under no_grad as well: the version counts, not the history.
    let w = leaf(&[3.0]);
    let y = w.mul(&w).unwrap();
    no_grad(|| w.mul_(0.5)).unwrap();
    assert_eq!(ones(&y).unwrap_err().kind(), ErrorKind::Autograd);
}

#[test]
fn leaves_and_their_views_are_edited_only_under_no_grad() {
    let w = leaf(&[1.0, 2.0]);
    assert_eq!(message(w.mul_(2.0)), "mul_: [2] is a leaf that requires grad: change it under no_grad");
    assert_eq!(
        message(w.select(0, 0).unwrap().fill_(0.0)),
        "fill_: the target is a view of [2], a leaf that requires grad: change it under no_grad"
    );
    no_grad(|| w.select(0, 0).unwrap().fill_(5.0)).unwrap();
    no_grad(|| w.mul_(2.0)).unwrap();
    assert_eq!((values(&w), w.is_leaf()), (vec![10.0, 4.0], true));

    let h = w.mul(1.0).unwrap();
    let frozen = no_grad(|| h.select(0, 0)).unwrap();
    assert!(!frozen.requires_grad());
    assert!(message(frozen.mul_(&leaf(&[1.0]).select(0, 0).unwrap())).contains("made under no_grad"));
    no_grad(|| frozen.mul_(2.0)).unwrap();

    // A view that requires grad of its own, and a view of it, over a base that does not.
    let base = tensor(&[1.0, 2.0]);
    let own = base.view([2]).unwrap().requires_grad_(true).unwrap();
    assert!(own.is_leaf() && own.mul_(2.0).is_err() && own.view([2]).unwrap().mul_(2.0).is_err());
    // An integer tensor cannot take a result that requires grad.
    let counts = Tensor::zeros([2], DType::I64).unwrap();
    assert!(counts.copy_(&w).is_err());
    assert!(counts.copy_(&w.detach()).is_ok());
}

#[test]
fn a_tracked_value_written_into_a_plain_tensor_tracks_it() {
    let (base, w) = (Tensor::zeros([2, 2], DType::F64).unwrap(), leaf(&[3.0, 4.0]));
    let other = base.select(0, 1).unwrap();
    base.select(0, 0).unwrap().copy_(&w).unwrap();
    assert!(base.requires_grad() && !base.is_leaf());
    assert!(other.requires_grad(), "a view made before shares the new history");
    ones(&base.mul(&base).unwrap()).unwrap();
    assert_eq!(grad(&w).unwrap(), [6.0, 8.0]);
}

#[test]
fn an_operand_may_be_the_target_itself() {
    let x = leaf(&[3.0, -2.0]);
    let y = x.mul(1.0).unwrap();
    y.mul_(&y).unwrap();
    ones(&y).unwrap();
    assert_eq!((values(&y), grad(&x).unwrap()), (vec![9.0, 4.0], vec![6.0, -4.0]));
    // A leaf read under another name while its memory is written: also to the second order.
    let x = leaf(&[3.0]);
    let f = |x: &[Tensor]| {
        let y = x[0].mul(1.0)?;
        y.mul_(&y)?;
        y.mul_(&x[0])?;
        Ok(y)
    };
    gradgradcheck(&f, &[x], GradCheck::default()).unwrap();
}

#[test]
fn hooks_see_replace_and_stop() {
    let x = leaf(&[1.0, 2.0]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let handle = x
        .register_hook(move |g| {
            counter.fetch_add(1, Ordering::Relaxed);
            g.mul(10.0).map(Some)
        })
        .unwrap();
    let h = x.mul(2.0).unwrap();
    h.register_hook(|g| g.add(1.0).map(Some)).unwrap();
    h.register_hook(|_| Ok(None)).unwrap();
    ones(&h.mul(3.0).unwrap()).unwrap();
    assert_eq!(grad(&x).unwrap(), [80.0, 80.0]);
    // Contributions are summed before the hook sees them.
    x.zero_grad();
    ones(&x.add(&x).unwrap()).unwrap();
    assert_eq!((grad(&x).unwrap(), calls.load(Ordering::Relaxed)), (vec![20.0, 20.0], 2));
    // `grad` runs them as well.
    let found = autograd::grad(&[(&x.mul(1.0).unwrap(), Some(&tensor(&[1.0, 1.0])))], &[&x], KEEP).unwrap();
    assert_eq!(values(found[0].as_ref().unwrap()), [10.0, 10.0]);
    handle.remove();
    x.zero_grad();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(grad(&x).unwrap(), [1.0, 1.0]);

    let wrong = leaf(&[1.0, 2.0]);
    wrong.register_hook(|g| g.select(0, 0).map(Some)).unwrap();
    assert!(
        message(ones(&wrong.mul(1.0).unwrap()))
            .contains("hook returned shape [] for a gradient of shape [2]")
    );
    let wrong = leaf(&[1.0]);
    wrong.register_hook(|g| g.to(DType::F32).map(Some)).unwrap();
    assert!(message(ones(&wrong.mul(1.0).unwrap())).contains("hook returned float32"));
    let failing = leaf(&[1.0]);
    failing.register_hook(|_| Err(sconce::Error::argument("enough"))).unwrap();
    assert!(message(ones(&failing.mul(1.0).unwrap())).contains("enough"));
    assert!(tensor(&[1.0]).register_hook(|_| Ok(None)).is_err());
}

#[test]
fn results_keep_their_gradient_on_request() {
    // Numbers from PyTorch: hooks come first whenever they were added; an edit in place takes the request along.
    let a = leaf(&[1.0, 1.0]);
    let x = a.mul(2.0).unwrap();
    x.retain_grad().unwrap();
    x.retain_grad().unwrap();
    x.register_hook(|g| g.mul(10.0).map(Some)).unwrap();
    ones(&x.mul(3.0).unwrap()).unwrap();
    assert_eq!(grad(&x).unwrap(), [30.0, 30.0]);

    let a = leaf(&[1.0]);
    let x = a.mul(2.0).unwrap();
    x.retain_grad().unwrap();
    x.mul_(5.0).unwrap();
    ones(&x).unwrap();
    assert_eq!((grad(&x).unwrap(), grad(&a).unwrap()), (vec![1.0], vec![10.0]));

    a.retain_grad().unwrap();
    assert!(tensor(&[1.0]).retain_grad().is_err());
    let plain = a.mul(2.0).unwrap();
    ones(&plain).unwrap();
    assert!(plain.grad().is_none());
}

#[test]
fn hooks_after_accumulation_see_the_sum_and_may_step() {
    let (x, seen) = (leaf(&[1.0, 2.0]), Arc::new(Mutex::new(Vec::new())));
    let log = seen.clone();
    let handle = x
        .register_post_accumulate_grad_hook(move |x| {
            assert!(!is_grad_enabled());
            log.lock().unwrap().push(values(&x.grad().expect("just added")));
            Ok(())
        })
        .unwrap();
    // After hooks on the gradient, once per pass however often the leaf is used.
    x.register_hook(|g| g.mul(10.0).map(Some)).unwrap();
    ones(&x.add(&x).unwrap()).unwrap();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(*seen.lock().unwrap(), [[20.0, 20.0], [30.0, 30.0]]);
    // Not where nothing is accumulated.
    autograd::grad(&[(&x.sum(()).unwrap(), None)], &[&x], KEEP).unwrap();
    handle.remove();
    ones(&x.mul(1.0).unwrap()).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);

    let (a, b) = (leaf(&[1.0]), leaf(&[2.0]));
    for p in [&a, &b] {
        p.register_post_accumulate_grad_hook(|p| {
            p.sub_(&p.grad().expect("just added"))?;
            p.zero_grad();
            Ok(())
        })
        .unwrap();
    }
    a.mul(3.0).unwrap().mul(&b).unwrap().backward().unwrap();
    assert_eq!((values(&a), grad(&a)), (vec![-5.0], None));

    let h = a.mul(2.0).unwrap();
    let refused = message(h.register_post_accumulate_grad_hook(|_| Ok(())));
    assert_eq!(refused, "register_post_accumulate_grad_hook: the tensor [1] is no leaf: mul made it");
    assert!(tensor(&[1.0]).register_post_accumulate_grad_hook(|_| Ok(())).is_err());
    let failing = leaf(&[1.0]);
    failing.register_post_accumulate_grad_hook(|_| Err(sconce::Error::argument("enough"))).unwrap();
    assert!(message(failing.mul(1.0).unwrap().backward()).ends_with("in a hook after accumulation: enough"));
}

#[test]
fn detach_in_place_makes_a_leaf() {
    let x = leaf(&[2.0, 3.0]);
    let alive = Arc::new(AtomicUsize::new(0));
    let y = autograd::apply(Scale::new(2.0, &alive, Saves::BOTH), &[&x]).unwrap();
    y.retain_grad().unwrap();
    let z = y.mul(&y).unwrap();
    y.detach_().unwrap();
    assert!(y.is_leaf() && !y.requires_grad() && y.grad_fn().is_none());
    // What was computed from it keeps the old history.
    ones(&z).unwrap();
    assert_eq!((grad(&x).unwrap(), grad(&y)), (vec![16.0, 24.0], None));
    drop(z);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "the history is freed");
    y.requires_grad_(true).unwrap();
    y.mul(3.0).unwrap().sum(()).unwrap().backward().unwrap();
    assert_eq!((grad(&y).unwrap(), grad(&x).unwrap()), (vec![3.0, 3.0], vec![16.0, 24.0]));
    y.detach_().unwrap();
    assert!(!y.requires_grad() && y.grad().is_some());
    let view = x.mul(1.0).unwrap();
    let found = message(view.view([2, 1]).unwrap().detach_());
    assert!(found.starts_with("detach_: [2, 1] is a view of [2]"), "{found}");
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

/// `x · scale`, counting how many of it are alive.
#[derive(Debug)]
struct Scale {
    scale: f64,
    alive: Arc<AtomicUsize>,
    saves: Saves,
}

impl Scale {
    fn new(scale: f64, alive: &Arc<AtomicUsize>, saves: Saves) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { scale, alive: alive.clone(), saves }
    }
}

impl Drop for Scale {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].mul(self.scale)
    }
    fn saves(&self, _: &[bool]) -> Saves {
        self.saves
    }
    fn backward(&self, saved: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        if self.saves == Saves::OUTPUT {
            saved.output()?;
        }
        Ok([Some(grad.mul(self.scale)?)].into_iter().collect())
    }
}

#[test]
fn graphs_are_freed_whatever_they_saved() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = || alive.load(Ordering::Relaxed);
    let x = leaf(&[1.0, 2.0]);
    for saves in [Saves::NONE, Saves::INPUTS, Saves::OUTPUT, Saves::INPUTS.and(Saves::OUTPUT)] {
        // Without a backward, with one, and in place.
        drop(autograd::apply(Scale::new(2.0, &alive, saves), &[&x]).unwrap());
        let y = autograd::apply(Scale::new(2.0, &alive, saves), &[&x]).unwrap();
        ones(&y).unwrap();
        autograd::apply_inplace(Scale::new(2.0, &alive, saves), &y, &[]).unwrap();
        autograd::apply_inplace(Scale::new(2.0, &alive, saves), &y.select(0, 0).unwrap(), &[]).unwrap();
        assert_eq!(count(), 3, "{saves:?}");
        drop(y);
        assert_eq!(count(), 0, "{saves:?}");
    }
    // A part of a tensor computed from another part of it: the saved view must not keep the tensor alive.
    let state = Tensor::ones([3], DType::F64).unwrap();
    for i in 1..3 {
        let before = state.select(0, i - 1).unwrap();
        let next = autograd::apply(
            Scale::new(2.0, &alive, Saves::INPUTS),
            &[&before.mul(&x.select(0, 0).unwrap()).unwrap()],
        );
        state.select(0, i).unwrap().copy_(&next.unwrap()).unwrap();
    }
    assert_eq!((values(&state), count()), (vec![1.0, 2.0, 4.0], 2));
    drop(state);
    assert_eq!(count(), 0);
    // Backward frees what it went through, and with it the operations that only those kept.
    let y = autograd::apply(Scale::new(2.0, &alive, Saves::OUTPUT), &[&x]).unwrap();
    let g = autograd::grad(&[(&y, Some(&y.detach()))], &[&x], TWICE).unwrap();
    drop((y, g));
    assert_eq!(count(), 0);
}

/// A user's operations that return what they must not keep to themselves.
#[derive(Debug)]
enum Careless {
    Input,
    View,
    Constant(Tensor),
}

impl Op for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        match self {
            Self::Input => Ok(x[0].clone()),
            Self::View => x[0].mul(1.0)?.view([2, 1]),
            Self::Constant(constant) => Ok(constant.clone()),
        }
    }
    fn backward(&self, _: &Saved<'_>, grad: &Tensor) -> Result<Grads> {
        Ok([Some(grad.reshape([2])?)].into_iter().collect())
    }
}

#[test]
fn a_users_operation_cannot_tie_knots() {
    let x = leaf(&[1.0, 2.0]);
    let y = autograd::apply(Careless::Input, &[&x]).unwrap();
    assert!(x.is_leaf() && !y.shares_storage(&x));
    ones(&y).unwrap();
    assert_eq!(grad(&x).unwrap(), [1.0, 1.0]);

    let y = autograd::apply(Careless::View, &[&x]).unwrap();
    y.mul_(3.0).unwrap();
    x.zero_grad();
    ones(&y).unwrap();
    assert_eq!(grad(&x).unwrap(), [3.0, 3.0], "an edit of the result keeps its history");

    let constant = tensor(&[5.0, 6.0]);
    let y = autograd::apply(Careless::Constant(constant.clone()), &[&x]).unwrap();
    assert!(y.requires_grad() && !constant.requires_grad() && !y.shares_storage(&constant));
}

/// Rounds, without a derivative.
#[derive(Debug)]
struct Round;

impl Op for Round {
    fn name(&self) -> &'static str {
        "my_round"
    }
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].round()
    }
    fn differentiable(&self) -> bool {
        false
    }
    fn backward(&self, _: &Saved<'_>, _: &Tensor) -> Result<Grads> {
        unreachable!("refused before")
    }
}

#[test]
fn an_operation_without_a_derivative_refuses_what_needs_one() {
    let x = leaf(&[1.2]);
    assert_eq!(
        message(autograd::apply(Round, &[&x])),
        "my_round: has no derivative, but its input 0 [1] requires grad: detach it, or call this under no_grad"
    );
    let h = x.mul(1.0).unwrap();
    assert!(message(autograd::apply_inplace(Round, &h, &[])).contains("has no derivative"));
    assert_eq!(values(&no_grad(|| autograd::apply(Round, &[&x])).unwrap()), [1.0]);
    assert_eq!(values(&autograd::apply(Round, &[&x.detach()]).unwrap()), [1.0]);
}

/// Gives a number of gradients of a shape.
#[derive(Debug)]
struct Wrong(usize, &'static [i64]);

impl Op for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn cpu(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].mul(1.0)
    }
    fn backward(&self, _: &Saved<'_>, _: &Tensor) -> Result<Grads> {
        (0..self.0).map(|_| Tensor::ones(self.1, DType::F64).map(Some)).collect()
    }
}

#[test]
fn gradients_that_do_not_fit_are_refused() {
    let x = leaf(&[1.0, 2.0]);
    let run = |op| ones(&autograd::apply(op, &[&x]).unwrap());
    assert!(message(run(Wrong(2, &[2]))).contains("backward of wrong: 2 gradients for 1 inputs"));
    assert!(message(run(Wrong(1, &[3]))).contains("a gradient of shape [3] for an input of shape [2]"));
    assert!(message(run(Wrong(1, &[]))).contains("a gradient of shape [] for an input of shape [2]"));
    run(Wrong(1, &[5, 2])).unwrap();
    assert_eq!(grad(&x).unwrap(), [5.0, 5.0]);
}

#[test]
fn gradcheck_finds_what_is_wrong() {
    let x = leaf(&[0.5, 1.5]);
    let check = |f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
        message(gradcheck(f, std::slice::from_ref(&x), GradCheck::default()))
    };
    assert!(
        check(&|x| x[0].detach().exp())
            .starts_with("gradcheck: input 0 [2], element 0: analytic 0, numerical ")
    );
    assert!(
        check(&|x| autograd::apply(Wrong(1, &[2]), &[&x[0]])).contains("element 0: analytic 1, numerical ")
    );
    assert!(check(&|x| x[0].to(DType::F32)).contains("float32"));
    let calls = AtomicUsize::new(0);
    let unsteady = |x: &[Tensor]| x[0].slice(0, 0, 1 + calls.fetch_add(1, Ordering::Relaxed) as isize, 1);
    assert!(check(&unsteady).contains("change shape"));
    assert!(check(&|_| Err(sconce::Error::argument("no"))).contains("gradcheck: no"));
    assert_eq!((values(&x), x.grad().is_none()), (vec![0.5, 1.5], true), "inputs are put back");

    let single = Tensor::ones([1], DType::F32).unwrap().requires_grad_(true).unwrap();
    let f = |x: &[Tensor]| x[0].mul(2.0);
    assert!(message(gradcheck(&f, &[single], GradCheck::default())).contains("float32"));
    assert!(
        message(gradcheck(&f, &[tensor(&[1.0])], GradCheck::default())).contains("no input requires grad")
    );
    let overlapping = leaf(&[1.0]).expand([3]).unwrap();
    assert!(message(gradcheck(&f, &[overlapping], GradCheck::default())).contains("more than once"));
    // Views and other strides are inputs like any other.
    let strided = Tensor::from_vec(vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [3, 2]).unwrap().t().unwrap();
    let strided = strided.requires_grad_(true).unwrap();
    gradcheck(&|x| x[0].exp()?.mul(&x[0]), std::slice::from_ref(&strided), GradCheck::default()).unwrap();
    gradgradcheck(&|x| x[0].exp()?.mul(&x[0]), &[strided], GradCheck::default()).unwrap();
}

/// A chain this long, walked or dropped by recursion, would overflow the small stack below many times over.
const CHAIN: usize = if cfg!(miri) { 300 } else { 200_000 };

fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 << 10).spawn(f).unwrap().join().unwrap();
}

#[test]
fn long_chains_need_no_stack() {
    on_a_small_stack(|| {
        let x = leaf(&[1.0]);
        let mut y = x.clone();
        for _ in 0..CHAIN {
            y = y.add(1.0).unwrap();
        }
        drop(y.clone());
        y.backward().unwrap();
        assert_eq!(grad(&x).unwrap(), [1.0]);
        drop(y);
        // Dropped without a backward, with everything that it saved.
        let mut y = x.mul(1.0).unwrap();
        for _ in 0..CHAIN {
            y = y.mul(&y).unwrap();
        }
        drop(y);
        // Edits in place.
        let y = x.mul(1.0).unwrap();
        for _ in 0..CHAIN {
            y.add_(1.0).unwrap();
        }
        y.backward().unwrap();
    });
}

#[test]
fn a_graph_in_a_thread_local_value_is_dropped_without_stack() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Tensor>> = const { std::cell::RefCell::new(None) };
    }
    on_a_small_stack(|| {
        let mut y = leaf(&[1.0]);
        for _ in 0..CHAIN {
            y = y.add(1.0).unwrap();
        }
        KEPT.set(Some(y));
    });
}

#[test]
fn wide_graphs_are_walked_once_per_node() {
    // 2^40 paths.
    let x = leaf(&[1.0]);
    let mut y = x.clone();
    for _ in 0..40 {
        y = y.add(&y).unwrap();
    }
    y.backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [(1u64 << 40) as f64]);
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

/// The view silently went from not requiring grad to requiring it. An error, as in PyTorch.
#[test]
fn a_no_grad_view_is_refused_once_its_base_has_changed() {
    let w = leaf(&[1.0, 2.0, 3.0]);
    let v = no_grad(|| w.narrow(0, 1, 2)).unwrap();
    let u = v.narrow(0, 1, 1).unwrap();
    assert!(!v.requires_grad() && !v.mul(2.0).unwrap().requires_grad());
    no_grad(|| w.mul_(2.0)).unwrap();
    let of_view = v.narrow(0, 0, 1).unwrap();
    for (name, error) in [
        ("mul", v.mul(2.0).unwrap_err()),
        ("mul", w.narrow(0, 0, 2).unwrap().mul(&v).unwrap_err()),
        ("exp", u.exp().unwrap_err()),
        ("exp", of_view.exp().unwrap_err()),
        ("backward", u.backward().unwrap_err()),
        ("mul", v.mul_(2.0).unwrap_err()),
    ] {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Autograd);
        assert!(text.starts_with(name) && text.contains("made under no_grad"), "{text}");
    }
    assert_eq!(v.to_vec::<f64>().unwrap(), [4.0, 6.0]);
    assert_eq!(v.detach().mul(2.0).unwrap().to_vec::<f64>().unwrap(), [8.0, 12.0]);
    assert_eq!(no_grad(|| v.mul(2.0)).unwrap().to_vec::<f64>().unwrap(), [8.0, 12.0]);
    assert!(format!("{v}").contains('6'), "{v}");

    // A base that comes to require grad by the change.
    let base = Tensor::zeros([3], DType::F64).unwrap();
    let (early, v) = (base.narrow(0, 0, 1).unwrap(), no_grad(|| base.narrow(0, 0, 1)).unwrap());
    base.add_(&leaf(&[1.0, 2.0, 3.0])).unwrap();
    assert!(early.mul(2.0).unwrap().requires_grad());
    assert!(v.mul(2.0).is_err() && v.add_(1.0).is_err());
}

type Anomaly = (&'static str, fn(&Tensor) -> Result<Tensor>, &'static str, &'static str);

/// What the backward of each gives, on inputs chosen so: the operation that is blamed, and the end of the message.
#[rustfmt::skip]
const ANOMALIES: &[Anomaly] = &[
    ("its own", |x| x.sqrt()?.mul(0.0)?.sum(()), "sqrt", "NaN in 1 of 3 elements of the gradient of input 0 [3]"),
    ("first of two", |x| x.log()?.mul(x)?.sqrt()?.mul(0.0)?.sum(()), "sqrt", "NaN in 2 of 3 elements of the gradient of input 0 [3]"),
    ("second input", |x| x.ones_like()?.div(&x.mul(1.0)?)?.mul(0.0)?.sum(()), "div", "NaN in 1 of 3 elements of the gradient of input 1 [3]"),
    ("in place", |x| { let y = x.mul(1.0)?; y.sqrt_()?; y.mul(0.0)?.sum(()) }, "sqrt", "NaN in 1 of 3 elements of the gradient of input 0 [3]"),
    ("a view in place", |x| { let y = x.mul(1.0)?; y.narrow(0, 0, 2)?.sqrt_()?; y.mul(0.0)?.sum(()) }, "sqrt", "NaN in 1 of 3 elements of the gradient of input 0 [3]"),
];

#[test]
fn anomaly_mode_names_the_operation_and_where_it_was_called() {
    for (name, f, op, end) in ANOMALIES {
        let x = leaf(&[0.0, 1.0, 4.0]);
        let (f, found) = (*f, x.clone());
        let found = message(autograd::detect_anomaly(|| f(&found)?.backward()));
        assert!(found.starts_with(&format!("backward of {op}, called at ")), "{name}: {found}");
        assert!(found.contains("autograd.rs:") && found.contains("ANOMALIES"), "{name}: {found}");
        assert!(found.ends_with(end), "{name}: {found}");
        // Off, nobody looks.
        f(&x).unwrap().backward().unwrap();
        assert!(grad(&x).unwrap()[0].is_nan(), "{name}");
    }
    let x = leaf(&[0.0]);
    let y = x.sqrt().unwrap().mul(0.0).unwrap();
    let found = message(autograd::detect_anomaly(|| y.backward()));
    assert!(
        found.starts_with("backward of sqrt, recorded outside of detect_anomaly: NaN in 1 of 1"),
        "{found}"
    );
    assert!(!autograd::is_anomaly_enabled());
    // Other errors tell the place as well, and infinities are none.
    let found = message(autograd::detect_anomaly(|| {
        let y = x.exp()?;
        y.add_(1.0)?;
        y.backward()
    }));
    assert!(found.starts_with("backward of exp, called at ") && found.contains("autograd.rs:"), "{found}");
    autograd::detect_anomaly(|| x.sqrt()?.sum(())?.backward()).unwrap();
    assert!(grad(&x).unwrap()[0].is_infinite());
}

#[test]
fn anomaly_mode_tells_whose_backward_recorded_an_operation() {
    let x = leaf(&[0.0]);
    let found = message(autograd::detect_anomaly(|| {
        // The slope of x^1.5 is 1.5·√x, whose slope is infinite at 0.
        let slope = autograd::grad(&[(&x.pow(1.5)?, None)], &[&x], TWICE)?[0].clone().expect("a gradient");
        slope.mul(0.0)?.backward()
    }));
    let expected = "recorded by the backward of pow, called at ";
    assert!(found.contains(expected) && found.contains("autograd.rs:"), "{found}");
}
