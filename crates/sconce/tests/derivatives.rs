//! `autograd::functional` against PyTorch's numbers and closed forms.

use sconce::autograd::functional::{FunctionalOptions, hessian, hvp, jacobian, jvp, vhp, vjp};
use sconce::autograd::{GradCheck, gradcheck};
use sconce::{DType, Result, Tensor};

const PLAIN: FunctionalOptions = FunctionalOptions { create_graph: false, strict: false };
const STRICT: FunctionalOptions = FunctionalOptions { create_graph: false, strict: true };
const RECORDED: FunctionalOptions = FunctionalOptions { create_graph: true, strict: false };

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape).unwrap()
}

#[track_caller]
fn near(found: &Tensor, shape: &[usize], expected: &[f64], what: &str) {
    assert_eq!(found.shape(), shape, "{what}");
    assert!(!found.requires_grad(), "{what}");
    for (i, (a, b)) in found.to_vec::<f64>().unwrap().iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{what}, element {i}: {a}, PyTorch gives {b}");
    }
}

#[track_caller]
fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

fn refs(x: &[Tensor]) -> Vec<&Tensor> {
    x.iter().collect()
}

fn inputs() -> [Tensor; 2] {
    [tensor(&[0.5, -1.0], &[2]), tensor(&[2.0, -3.0, 0.5, 1.5, 1.0, 0.25], &[3, 2])]
}

fn vectors() -> [Tensor; 2] {
    [tensor(&[1.0, -2.0], &[2]), tensor(&[0.5, 1.0, -1.0, 2.0, 3.0, -0.5], &[3, 2])]
}

/// Two outputs, of which the second is no function of the second input.
fn two(x: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(vec![x[1].mv(&x[0])?.tanh()?, x[0].mul(&x[0])?.sum(())?.exp()?])
}

fn number(x: &[Tensor]) -> Result<Tensor> {
    let y = x[1].mv(&x[0])?.sigmoid()?.mul(&tensor(&[1.0, 2.0, 3.0], &[3]))?;
    y.sum(())?.mul(&x[0].select(0, 0)?)
}

#[test]
#[rustfmt::skip]
fn jacobians_are_pytorchs() {
    let found = jacobian(two, &refs(&inputs()), PLAIN).unwrap();
    near(&found[0][0], &[3, 2], &[0.00268190136605, -0.00402285204908, 0.14020743309, 0.420622299271, 0.940014848806, 0.235003712202], "tanh by x");
    near(&found[0][1], &[3, 3, 2], &[0.000670475341513, -0.00134095068303, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.14020743309, -0.28041486618, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.470007424403, -0.940014848806], "tanh by w");
    near(&found[1][0], &[2], &[3.49034295746, -6.98068591492], "exp by x");
    near(&found[1][1], &[3, 2], &[0.0; 6], "exp by w");
}

#[test]
#[rustfmt::skip]
fn products_are_pytorchs() {
    let v = [tensor(&[1.0, 2.0, -1.0], &[3]), tensor(&[3.0], &[])];
    let (outputs, found) = vjp(two, &refs(&inputs()), Some(&refs(&v)), PLAIN).unwrap();
    near(&outputs[0], &[3], &[0.999329299739, -0.848283639958, 0.244918662404], "tanh");
    near(&outputs[1], &[], &[3.49034295746], "exp");
    near(&found[0], &[2], &[9.81411079113, -20.3398397105], "vjp by x");
    near(&found[1], &[3, 2], &[0.000670475341513, -0.00134095068303, 0.28041486618, -0.560829732361, -0.470007424403, 0.940014848806], "vjp by w");

    let (_, found) = jvp(two, &refs(&inputs()), Some(&refs(&vectors())), PLAIN).unwrap();
    near(&found[0], &[3], &[0.00972189245194, -1.4020743309, 2.35003712202], "jvp of tanh");
    near(&found[1], &[], &[17.4517147873], "jvp of exp");

    let (x, v) = (inputs(), vectors());
    for (name, both) in [("vhp", vhp(number, &refs(&x), Some(&refs(&v)), PLAIN)), ("hvp", hvp(number, &refs(&x), Some(&refs(&v)), PLAIN))] {
        let (y, found) = both.unwrap();
        near(&y, &[], &[1.55697178517], name);
        near(&found[0], &[2], &[1.65052305758, 0.2578159041], name);
        near(&found[1], &[3, 2], &[-0.0131993401569, 0.0263986803138, 0.106199906977, -0.212399813953, 0.681013163163, -1.36202632633], name);
    }
}

#[test]
#[rustfmt::skip]
fn hessians_are_pytorchs() {
    let found = hessian(number, &refs(&inputs()), PLAIN).unwrap();
    near(&found[0][0], &[2, 2], &[1.83769992207, 0.762533895269, 0.762533895269, 0.136516234377], "x, x");
    near(&found[0][1], &[2, 3, 2], &[0.0091490382491, -0.000635370284902, 0.370210540686, -0.394211507387, 0.715446614193, -0.692490980173, 0.0127705019463, -0.0167096507859, 0.0720029001025, 0.0290989867874, -0.00573890850501, 0.380678941116], "x, w");
    near(&found[1][0], &[3, 2, 2], &[0.0091490382491, 0.0127705019463, -0.000635370284902, -0.0167096507859, 0.370210540686, 0.0720029001025, -0.394211507387, 0.0290989867874, 0.715446614193, -0.00573890850501, -0.692490980173, 0.380678941116], "w, x");
    near(&found[1][1], &[3, 2, 3, 2], &[-0.00212841699105, 0.0042568339821, 0.0, 0.0, 0.0, 0.0, 0.0042568339821, -0.00851366796419, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0240009667008, -0.0480019334017, 0.0, 0.0, 0.0, 0.0, -0.0480019334017, 0.0960038668034, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.01147781701, 0.02295563402, 0.0, 0.0, 0.0, 0.0, 0.02295563402, -0.0459112680401], "w, w");
}

#[test]
fn closed_forms() {
    // Of a matrix product with a vector, of a quadratic form, and of nothing.
    let (a, x) = (tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2]), tensor(&[0.5, -1.0], &[2]));
    let matrix = a.clone();
    let found = jacobian(move |x| matrix.mv(&x[0]), &[&x], PLAIN).unwrap();
    near(&found[0], &[2, 2], &[1.0, 2.0, 3.0, 4.0], "A x");
    let matrix = a.clone();
    let found = hessian(move |x| x[0].dot(&matrix.mv(&x[0])?), &[&x], PLAIN).unwrap();
    near(&found[0][0], &[2, 2], &[2.0, 5.0, 5.0, 8.0], "x A x");
    let empty = Tensor::zeros([0], DType::F64).unwrap();
    let found = jacobian(|x| x[0].exp(), &[&empty], PLAIN).unwrap();
    near(&found[0], &[0, 0], &[], "nothing");
    // One element needs no vector.
    let one = tensor(&[2.0], &[]);
    let (_, found) = jvp(|x| x[0].mul(&x[0]), &[&one], None, PLAIN).unwrap();
    near(&found, &[], &[4.0], "2 x");
    let (_, found) = vjp(|x| x[0].mul(&x[0]), &[&one], None, PLAIN).unwrap();
    near(&found[0], &[], &[4.0], "2 x");
}

#[test]
fn results_are_differentiable_on_request() {
    let x = inputs().map(|x| x.requires_grad_(true).unwrap());
    type Checked = fn(&[Tensor]) -> Result<Tensor>;
    let table: &[(&str, Checked)] = &[
        ("jacobian", |x| jacobian(two, &refs(x), RECORDED)?[0][1].sin()?.sum(())),
        ("vjp", |x| vjp(number, &refs(x), None, RECORDED)?.1[1].sin()?.sum(())),
        ("jvp", |x| jvp(number, &refs(x), Some(&refs(&vectors())), RECORDED)?.1.sin()),
        ("hessian", |x| hessian(number, &refs(x), RECORDED)?[0][1].sin()?.sum(())),
        ("vhp", |x| vhp(number, &refs(x), Some(&refs(&vectors())), RECORDED)?.1[1].sin()?.sum(())),
        ("hvp", |x| hvp(number, &refs(x), Some(&refs(&vectors())), RECORDED)?.1[1].sin()?.sum(())),
    ];
    for (name, f) in table {
        gradcheck(f, &x, GradCheck::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(x.iter().all(|x| x.grad().is_none()));
}

#[test]
fn strict_refuses_what_does_not_depend() {
    let x = inputs();
    let found = message(jacobian(two, &refs(&x), STRICT));
    assert_eq!(found, "jacobian: strict: output 1 does not depend on input 1");
    let first = |x: &[Tensor]| x[0].sin();
    let linear = |x: &[Tensor]| x[0].sum(())?.add(&x[1].sum(())?);
    assert_eq!(
        message(vjp(first, &refs(&x), Some(&[&vectors()[0]]), STRICT)),
        "vjp: strict: the outputs do not depend on input 1"
    );
    assert_eq!(
        message(jvp(first, &refs(&x), Some(&refs(&vectors())), STRICT)),
        "jvp: strict: the outputs do not depend on input 1"
    );
    let constant = "strict: the first derivative with respect to input 0 does not depend on the inputs";
    assert_eq!(message(hessian(linear, &refs(&x), STRICT)), format!("hessian: {constant}"));
    assert_eq!(message(vhp(linear, &refs(&x), Some(&refs(&vectors())), STRICT)), format!("vhp: {constant}"));
    assert_eq!(message(hvp(linear, &refs(&x), Some(&refs(&vectors())), STRICT)), format!("hvp: {constant}"));
    // Zeros without.
    for found in [
        vhp(linear, &refs(&x), Some(&refs(&vectors())), PLAIN),
        hvp(linear, &refs(&x), Some(&refs(&vectors())), PLAIN),
    ] {
        near(&found.unwrap().1[1], &[3, 2], &[0.0; 6], "linear");
    }
    near(&hessian(linear, &refs(&x), PLAIN).unwrap()[1][0], &[3, 2, 2], &[0.0; 12], "linear");
    near(&jacobian(|x| x[0].ones_like(), &refs(&x), PLAIN).unwrap()[0], &[2, 2], &[0.0; 4], "constant");
}

#[test]
fn what_does_not_fit_is_named() {
    let x = inputs();
    let table = [
        (
            message(jvp(number, &refs(&x), None, PLAIN)),
            "jvp: `v` can be left out for one input of one element only, found 2",
        ),
        (message(vjp(two, &refs(&x), None, PLAIN)), "vjp: `v` can be left out for one output"),
        (message(vhp(number, &refs(&x), Some(&[&x[0]]), PLAIN)), "vhp: `v` has 1 tensors for 2 inputs"),
        (
            message(hvp(number, &refs(&x), Some(&[&x[1], &x[0]]), PLAIN)),
            "hvp: `v[0]` has shape [3, 2] for input 0 of shape [2]",
        ),
        (
            message(hessian(|x| x[0].exp(), &refs(&x), PLAIN)),
            "hessian: the output must have one element, found shape [2]",
        ),
        (
            message(jacobian(|x| x[0].exp(), &[&Tensor::zeros([2], DType::I64).unwrap()], PLAIN)),
            "jacobian: requires_grad_: only floating point",
        ),
        (message(jacobian(|x| x[0].view([7]), &refs(&x), PLAIN)), "jacobian: "),
    ];
    for (found, expected) in table {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}
