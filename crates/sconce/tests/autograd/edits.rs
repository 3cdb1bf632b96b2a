//! Edits in place: of tracked tensors, of leaves, and through views.

use sconce::autograd::{Backward, GradCheck, gradcheck, gradgradcheck};
use sconce::{DType, ErrorKind, Index, Result, Tensor, no_grad};

use crate::{grad, leaf, message, near, ones, tensor, values};

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
