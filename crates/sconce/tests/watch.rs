//! Gradients that are watched, and what is said of them.

use sconce::nn::{Linear, ModuleExt};
use sconce::optim::{GradientWatch, Problem, WatchRules};
use sconce::{DType, Result, Tensor};

/// A layer whose gradients are constants.
fn with_gradient(layer: &Linear, value: f64) -> Result<()> {
    for parameter in layer.parameters() {
        parameter.set_grad(Some(Tensor::full(parameter.shape(), value, DType::F32)?))?;
    }
    Ok(())
}

#[test]
fn findings_say_what_and_since_when() -> Result<()> {
    let layer = Linear::new(3, 2)?;
    let rules = WatchRules { memory: 3, ..WatchRules::default() };
    let mut watch = GradientWatch::new(rules);
    // The gradient at each step, and what is said of the weight.
    let steps = [
        (1.0, None),
        (2.0, None),
        (1.0, None),
        (500.0, Some("weight: gradient exploded since step 3 (norm 1.2e3, usually 3.3e0)")),
        (900.0, Some("weight: gradient exploded since step 3 (norm 2.2e3, usually 3.3e0)")),
        (f64::NAN, Some("weight: gradient has 6 NaN or infinite elements, since step 5")),
        (1.0, None),
        (1e-30, Some("weight: gradient vanished since step 7 (norm 2.4e-30)")),
        (0.0, Some("weight: gradient vanished since step 7 (all zeros)")),
    ];
    for (i, (value, expected)) in steps.into_iter().enumerate() {
        with_gradient(&layer, value)?;
        let seen = watch.observe(&layer)?;
        assert_eq!(seen.step, i as u64);
        let said = seen.findings.iter().find(|finding| finding.name == "weight").map(ToString::to_string);
        assert_eq!(said.as_deref(), expected, "step {i}");
    }

    layer.weight.zero_grad();
    with_gradient(&layer, 1.0)?;
    layer.weight.zero_grad();
    let seen = watch.observe(&layer)?;
    assert_eq!(seen.findings[0].problem, Problem::Missing);
    assert!(seen.gradient("weight").is_none());
    assert_eq!(seen.gradient("bias").map(|g| (g.max, g.mean, g.zeros)), Some((1.0, 1.0, 0.0)));

    layer.freeze("*")?;
    let error = watch.observe(&layer).unwrap_err().to_string();
    assert_eq!(error, "GradientWatch: none of 2 parameters requires a gradient");
    Ok(())
}
