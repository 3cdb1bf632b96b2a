//! A user's own operations, and the checks of their gradients.

use std::sync::atomic::{AtomicUsize, Ordering};

use sconce::autograd::{self, GradCheck, Grads, Op, Saved, gradcheck, gradgradcheck};
use sconce::{DType, Result, Tensor, no_grad};

use crate::{grad, leaf, message, ones, tensor, values};

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
