//! The example `digits` against PyTorch's run (`data/reference.json`).

#[expect(dead_code, reason = "the program itself is not called")]
#[path = "../../../examples/digits.rs"]
mod example;

use std::path::Path;

use example::{Digits, DigitsNet, along, fit, sgd, transfer};
use sconce::manual_seed;
use sconce::optim::{Optimizer, parameters_to_vector};
use sconce::prelude::*;
use serde_json::Value as Json;

fn floats(list: &Json) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn digits_trains_as_in_pytorch_and_transfers() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/reference.json");
    let reference: Json = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let (losses, accuracies) = (
        floats(&reference["digits"]["loss_per_step"]),
        floats(&reference["digits"]["test_accuracy_per_epoch"]),
    );

    let data = Digits::open()?.square()?;
    manual_seed(0);
    let mut model = DigitsNet::new()?;
    let start = no_grad(|| parameters_to_vector(&model))?;
    let mut optimizer = Optimizer::new(&model, sgd())?;
    let run = fit(&mut model, &mut optimizer, &data, DigitsNet::train)?;
    assert_eq!(run.losses.len(), losses.len());
    for (step, (found, expected)) in run.losses.iter().zip(&losses).enumerate() {
        let tolerance = if step < 10 { 1e-5 } else { 1e-3 };
        assert!(
            (found - expected).abs() <= tolerance * expected,
            "step {step}: {found}, expected {expected}"
        );
    }
    for (epoch, (found, expected)) in run.accuracies.iter().zip(&accuracies).enumerate() {
        assert!((found - expected).abs() < 1e-6, "epoch {epoch}: {found}, expected {expected}");
    }

    // The line from the first parameters ends where training did, and leaves the model there.
    let points = no_grad(|| along(&model, &start, &data))?;
    let trained = points.iter().find(|(part, _)| *part == 1.0).unwrap().1;
    assert!((trained - 100.0 * run.accuracies[4]).abs() < 1e-6 && points[0].1 < 50.0, "{points:?}");
    assert_eq!(data.accuracy(|x| model.forward(x))?, trained);

    let (run, moved, unmoved) = transfer(&mut model, &data)?;
    assert_eq!(moved, ["classifier.weight", "classifier.bias"]);
    assert!(unmoved.iter().all(|name| name.starts_with("features.")), "{unmoved:?}");
    assert_eq!(unmoved.len(), model.features.state_dict().len());
    assert!(run.accuracies[4] > 0.9, "{:?}", run.accuracies);
    Ok(())
}
