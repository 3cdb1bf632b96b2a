//! Anomaly mode.

use sconce::autograd;
use sconce::{Result, Tensor};

use crate::{TWICE, grad, leaf, message};

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
        assert!(found.contains("anomaly.rs:") && found.contains("ANOMALIES"), "{name}: {found}");
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
    assert!(found.starts_with("backward of exp, called at ") && found.contains("anomaly.rs:"), "{found}");
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
    assert!(found.contains(expected) && found.contains("anomaly.rs:"), "{found}");
}
