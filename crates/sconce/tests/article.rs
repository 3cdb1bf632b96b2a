//! The article's programs after `manual_seed(0)`: every number that PyTorch computed (`data/article.safetensors`).

use std::path::{Path, PathBuf};

use sconce::functional::{self, CrossEntropyOptions};
use sconce::nn::{Conv2d, Linear};
use sconce::optim::{Optimizer, Sgd};
use sconce::prelude::*;
use sconce::{Result, fork_rng, io, manual_seed};
use serde_json::Value as Json;

#[derive(Module)]
struct SimpleNet {
    conv1: Conv2d,
    fc1: Linear,
}

impl SimpleNet {
    fn new() -> Result<Self> {
        Ok(Self { conv1: Conv2d::new(3, 16, 3)?, fc1: Linear::new(16 * 26 * 26, 10)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc1.forward(&self.conv1.forward(x)?.view([-1, 16 * 26 * 26])?)
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

fn reference() -> Json {
    let text = std::fs::read_to_string(data("reference.json")).unwrap();
    serde_json::from_str::<Json>(&text).unwrap()["article"].clone()
}

/// A tensor of PyTorch's run.
fn recorded(archive: &io::Archive, name: &str) -> Result<Tensor> {
    let entry = archive.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
    Tensor::from_bytes(&archive.read(entry)?, entry.encoding().dtype().unwrap(), entry.shape())
}

/// Whether the difference is at most 1e-5 of the largest element.
fn assert_near(found: &Tensor, expected: &Tensor, what: &str) -> Result<()> {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let scale = expected.abs()?.max()?.item()?;
    let difference = (found - expected).abs()?.max()?.item()?;
    assert!(difference <= 1e-5 * scale, "{what}: differs by {difference} of {scale}");
    Ok(())
}

#[test]
fn shapes_and_names() -> Result<()> {
    let expected = &reference()["shapes"];
    let model = SimpleNet::new()?;
    let found = model.named_parameters();
    assert_eq!(found.len(), expected.as_object().unwrap().len());
    for (name, parameter) in &found {
        assert_eq!(serde_json::json!(parameter.shape()), expected[name], "{name}");
    }
    assert_eq!(
        model.parameters().iter().map(|p| p.shape().to_vec()).collect::<Vec<_>>(),
        [vec![16, 3, 3, 3], vec![16], vec![10, 10816], vec![10]]
    );
    Ok(())
}

#[test]
fn one_step_has_pytorchs_numbers() -> Result<()> {
    fork_rng(|| {
        let archive = io::open(data("article.safetensors"))?;
        manual_seed(0);
        let model = SimpleNet::new()?;
        for (name, parameter) in model.named_parameters() {
            assert!(parameter.equal(&recorded(&archive, &format!("initial.{name}"))?)?, "{name}");
        }

        let mut optimizer = Optimizer::new(&model, Sgd { lr: 0.01, ..Sgd::default() })?;
        let x = Tensor::randn([1, 3, 28, 28], DType::F32)?;
        let target = Tensor::randint(0, 10, [1], DType::I64)?;
        assert!(x.equal(&recorded(&archive, "input")?)?);
        assert!(target.equal(&recorded(&archive, "target")?)?);
        let logits = model.forward(&x)?;
        assert_near(&logits, &recorded(&archive, "logits")?, "logits")?;
        let loss = functional::cross_entropy(&logits, &target, CrossEntropyOptions::default())?;
        let expected = reference()["loss"].as_f64().unwrap();
        assert!((loss.item()? - expected).abs() <= 1e-5 * expected, "loss {}", loss.item()?);

        loss.backward()?;
        for (name, parameter) in model.named_parameters() {
            let grad = parameter.grad().expect("every parameter has a gradient");
            assert_near(&grad, &recorded(&archive, &format!("grad.{name}"))?, &name)?;
            let norm = grad.norm(2.0, ())?.item()?;
            let expected = reference()["grad_norms"][&name].as_f64().unwrap();
            assert!((norm - expected).abs() <= 1e-5 * expected, "norm of {name}: {norm}");
        }
        optimizer.step()?;
        for (name, parameter) in model.named_parameters() {
            assert_near(&parameter, &recorded(&archive, &format!("after_step.{name}"))?, &name)?;
        }
        Ok(())
    })
}

#[test]
fn zeroing_every_bias_leaves_the_weights() -> Result<()> {
    fork_rng(|| {
        let archive = io::open(data("article.safetensors"))?;
        manual_seed(0);
        let model = SimpleNet::new()?;
        for (name, parameter) in model.named_parameters() {
            if name.ends_with("bias") {
                no_grad(|| parameter.zero_())?;
            }
        }
        for (name, parameter) in model.named_parameters() {
            let initial = recorded(&archive, &format!("initial.{name}"))?;
            let expected = if name.ends_with("bias") { initial.zeros_like()? } else { initial };
            assert!(parameter.equal(&expected)?, "{name}");
            assert!(parameter.requires_grad(), "{name}");
        }
        Ok(())
    })
}
