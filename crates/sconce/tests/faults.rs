//! Nine ways in which training or loading goes wrong without an error in other Rust libraries, and what happens here.
//!
//! Each was reproduced with candle 0.11 or burn 0.22; the numbers are PyTorch's.

use sconce::autograd::{self, Backward};
use sconce::functional::{layer_norm, linear, rms_norm};
use sconce::nn::{ModuleExt, Param, StateDict, Strictness};
use sconce::optim::{ClipOptions, Optimizer, Outcome, Sgd, clip_grad_norm_};
use sconce::{DType, ErrorKind, Module, Result, Tensor, no_grad};

fn values(t: &Tensor) -> Vec<f64> {
    t.detach().to(DType::F64).unwrap().to_vec().unwrap()
}

fn gradient(t: &Tensor) -> Vec<f64> {
    values(&t.grad().expect("a gradient"))
}

/// Some numbers that are neither equal nor ordered.
fn numbers(shape: &[i64], seed: f64) -> Tensor {
    let n: i64 = shape.iter().product();
    Tensor::arange(0, n, 1, DType::F64)
        .unwrap()
        .mul(1.7)
        .unwrap()
        .add(seed)
        .unwrap()
        .sin()
        .unwrap()
        .view(shape)
        .unwrap()
}

fn param(shape: &[i64], seed: f64) -> Param {
    Param::new(&numbers(shape, seed)).unwrap()
}

#[derive(Module)]
struct Affine {
    weight: Param,
    bias: Param,
}

impl Affine {
    fn new(shape: &[i64], seed: f64) -> Self {
        Self { weight: param(shape, seed), bias: param(&shape[..1], seed + 0.5) }
    }
}

/// candle: a layer norm in front of a layer cuts the graph for contiguous input; 4 of 6 parameters, and all 3 of an
/// RMS norm's model, get no gradient.
#[test]
fn candle_1_layer_norm_gradients_reach_every_parameter() {
    #[derive(Module)]
    struct Block {
        norm: Affine,
        layer: Affine,
        last: Affine,
    }

    impl Block {
        fn forward(&self, x: &Tensor) -> Result<Tensor> {
            let x = layer_norm(x, &[4], Some(&self.norm.weight), Some(&self.norm.bias), 1e-5)?;
            let x = linear(&x, &self.layer.weight, Some(&self.layer.bias))?;
            layer_norm(&x, &[3], Some(&self.last.weight), Some(&self.last.bias), 1e-5)
        }
    }

    let block = Block {
        norm: Affine::new(&[4], 0.0),
        layer: Affine::new(&[3, 4], 1.0),
        last: Affine::new(&[3], 2.0),
    };
    let x = numbers(&[5, 4], 3.0).requires_grad_(true).unwrap();
    let y = block.forward(&x).unwrap();
    y.mul(&numbers(&[5, 3], 4.0)).unwrap().sum(()).unwrap().backward().unwrap();
    let parameters = block.named_parameters();
    assert_eq!(parameters.len(), 6);
    for (name, parameter) in &parameters {
        assert!(gradient(parameter).iter().all(|g| *g != 0.0), "{name}");
    }
    assert!(gradient(&x).iter().any(|g| *g != 0.0));
    let mut optimizer = Optimizer::new(&block, Sgd { lr: 0.1, ..Sgd::default() }).unwrap();
    let audit = optimizer.step_audited(&block).unwrap();
    assert!(audit.is_sound(), "{audit}");

    let (before, scale, after) = (param(&[4, 4], 0.0), param(&[4], 1.0), param(&[2, 4], 2.0));
    let hidden = linear(&numbers(&[5, 4], 3.0), &before, None).unwrap();
    let y = linear(&rms_norm(&hidden, &[4], Some(&scale), None).unwrap(), &after, None).unwrap();
    y.sum(()).unwrap().backward().unwrap();
    for (name, parameter) in [("before", &before), ("scale", &scale), ("after", &after)] {
        assert!(gradient(parameter).iter().any(|g| *g != 0.0), "{name}");
    }
}

/// candle: `softmax_last_dim` has no backward and drops the graph, so that attention does not train.
#[test]
fn candle_2_softmax_keeps_the_graph() {
    let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0], [1, 3]).unwrap().requires_grad_(true).unwrap();
    let p = x.softmax(-1).unwrap();
    p.select(1, 0).unwrap().sum(()).unwrap().backward().unwrap();
    let expected = [0.08192507, -0.02203304, -0.05989202];
    assert!(gradient(&x).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8), "{:?}", x.grad());

    let [q, k, v] = [0.0, 1.0, 2.0].map(|seed| param(&[4, 4], seed));
    let x = numbers(&[3, 4], 3.0);
    let [a, b, c] = [&q, &k, &v].map(|w| linear(&x, w, None).unwrap());
    let y = a.matmul(&b.t().unwrap()).unwrap().softmax(-1).unwrap().matmul(&c).unwrap();
    y.mul(&numbers(&[3, 4], 4.0)).unwrap().sum(()).unwrap().backward().unwrap();
    for (name, w) in [("q", &q), ("k", &k), ("v", &v)] {
        assert!(gradient(w).iter().any(|g| *g != 0.0), "{name}");
    }
}

/// candle: the second derivative of x⁴ at 3 is 36; it is 108.
#[test]
fn candle_3_second_derivatives_are_right() {
    let x = Tensor::scalar(3.0f64).requires_grad_(true).unwrap();
    for fourth in
        [|x: &Tensor| x.pow(4), |x: &Tensor| x.mul(x)?.mul(x)?.mul(x), |x: &Tensor| x.mul(x)?.pow(2.0)]
    {
        let y = fourth(&x).unwrap();
        let twice = Backward { create_graph: true, ..Backward::default() };
        let first = autograd::grad(&[(&y, None)], &[&x], twice).unwrap().remove(0).unwrap();
        let second =
            autograd::grad(&[(&first, None)], &[&x], Backward::default()).unwrap().remove(0).unwrap();
        assert!(
            (first.item().unwrap() - 108.0).abs() < 1e-9 && (second.item().unwrap() - 108.0).abs() < 1e-9
        );
    }
}

/// candle: a variable set between forward and backward gives the gradient of neither value: 200 for x² at 2.
#[test]
fn candle_4_an_edit_after_use_is_an_error() {
    let x = Tensor::scalar(2.0f64).requires_grad_(true).unwrap();
    let y = x.mul(&x).unwrap();
    no_grad(|| x.fill_(100.0)).unwrap();
    let error = y.backward().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Autograd);
    assert!(error.to_string().contains("mul: its input 0 [] was saved for backward"), "{error}");
    assert!(x.grad().is_none());
    no_grad(|| x.fill_(2.0)).unwrap();
    x.mul(&x).unwrap().backward().unwrap();
    assert_eq!(gradient(&x), [4.0]);
}

/// candle: the gradients of relu and abs at 0 are 1, and every tied maximum gets all of it. PyTorch: 0, and shares.
#[test]
fn candle_5_gradients_at_kinks_and_ties_are_pytorchs() {
    let gradient_of = |f: fn(&Tensor) -> Result<Tensor>, x: &[f64]| {
        let x = Tensor::from_slice(x, [x.len()]).unwrap().requires_grad_(true).unwrap();
        f(&x).unwrap().sum(()).unwrap().backward().unwrap();
        gradient(&x)
    };
    assert_eq!(gradient_of(Tensor::relu, &[-1.0, 0.0, 2.0]), [0.0, 0.0, 1.0]);
    assert_eq!(gradient_of(Tensor::abs, &[-1.0, 0.0, 2.0]), [-1.0, 0.0, 1.0]);
    assert_eq!(gradient_of(|x| x.amax(0), &[3.0, 1.0, 3.0]), [0.5, 0.0, 0.5]);
    assert_eq!(gradient_of(|x| x.amin(0), &[3.0, 1.0, 1.0]), [0.0, 0.5, 0.5]);
    assert_eq!(gradient_of(Tensor::max, &[3.0, 1.0, 3.0]), [0.5, 0.0, 0.5]);
    assert_eq!(gradient_of(|x| x.maximum(1.0), &[1.0, 2.0]), [0.5, 1.0]);
}

/// candle: loading into a map that has no variables yet succeeds and does nothing; keys that nobody asked for are
/// ignored.
#[test]
fn candle_6_loading_is_strict_and_reports() {
    let (from, to) = (Affine::new(&[3, 2], 0.0), Affine::new(&[3, 2], 9.0));
    let none: Vec<Affine> = Vec::new();
    assert!(
        none.load_state_dict(&from.state_dict(), Strictness::Lenient).is_err(),
        "a module without parameters"
    );
    assert!(to.load_state_dict(&StateDict::new(), Strictness::Lenient).is_err(), "nothing to load");

    let mut extra = from.state_dict();
    extra.insert("wieght", numbers(&[3, 2], 5.0));
    let error = to.load_state_dict(&extra, Strictness::Strict).unwrap_err();
    assert!(error.kind() == ErrorKind::Load && error.to_string().contains("wieght"), "{error}");
    assert_ne!(values(&to.weight), values(&from.weight), "a refused load changes nothing");
    let report = to.load_state_dict(&extra, Strictness::Lenient).unwrap();
    assert_eq!((report.loaded.len(), report.unexpected.len()), (2, 1));
    assert_eq!(values(&to.weight), values(&from.weight));

    let mut fewer = from.state_dict();
    fewer.remove("bias");
    assert!(to.load_state_dict(&fewer, Strictness::Strict).unwrap_err().to_string().contains("bias"));
}

/// burn: two fields that hold one parameter are two after the first step: one moves, the other does not.
#[test]
fn burn_7_tied_weights_stay_tied() {
    #[derive(Module)]
    struct Tied {
        embed: Param,
        head: Param,
    }

    let weight = param(&[5, 4], 0.0);
    let model = Tied { embed: weight.clone(), head: weight };
    assert_eq!((model.num_parameters(), model.parameters().len(), model.state_dict().len()), (20, 1, 2));
    let before = values(&model.head);
    let mut optimizer = Optimizer::new(&model, Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() }).unwrap();
    for _ in 0..3 {
        optimizer.zero_grad();
        let hidden = model.embed.select(0, 1).unwrap();
        model.head.mul(&hidden).unwrap().sum(()).unwrap().backward().unwrap();
        optimizer.step().unwrap();
        assert!(model.embed.is(&model.head));
    }
    assert_ne!(values(&model.embed), before);
    assert_eq!(values(&model.embed), values(&model.head));

    let other = param(&[5, 4], 7.0);
    let other = Tied { embed: other.clone(), head: other };
    other.load_state_dict(&model.state_dict(), Strictness::Strict).unwrap();
    assert!(other.embed.is(&other.head) && values(&other.head) == values(&model.head));
    let mut torn = model.state_dict();
    torn.insert("head", numbers(&[5, 4], 1.0));
    let error = other.load_state_dict(&torn, Strictness::Strict).unwrap_err();
    assert!(error.to_string().contains("head"), "one parameter cannot hold two values: {error}");
}

/// burn: clipping by norm limits each parameter by itself. PyTorch limits the norm of all gradients together.
#[test]
fn burn_8_gradients_are_clipped_by_their_common_norm() {
    let model = vec![param(&[1], 0.0), param(&[1], 0.0)];
    for (parameter, gradient) in model.iter().zip([3.0f64, 4.0]) {
        parameter.set_grad(Some(Tensor::from_vec(vec![gradient], [1]).unwrap())).unwrap();
    }
    assert_eq!(clip_grad_norm_(&model, 1.0, ClipOptions::default()).unwrap(), 5.0);
    let clipped: Vec<f64> = model.iter().flat_map(|p| gradient(p)).collect();
    assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6, "{clipped:?}");
    assert_eq!(clip_grad_norm_(&model, 10.0, ClipOptions::default()).unwrap().round(), 1.0);
    assert!((gradient(&model[0])[0] - 0.6).abs() < 1e-6, "what is below the limit stays");
}

/// burn: the predicate `layers.1` is a substring, and freezes layers 10 and 11 as well.
#[test]
fn burn_9_a_selector_takes_whole_segments() {
    #[derive(Module)]
    struct Deep {
        layers: Vec<Affine>,
    }

    let model = Deep { layers: (0..12).map(|i| Affine::new(&[2, 2], f64::from(i))).collect() };
    let error = model.freeze("layers.1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Selector);
    assert!(error.to_string().contains("layers.1.**"), "what was probably meant: {error}");
    let frozen = model.freeze("layers.1.**").unwrap();
    assert_eq!(frozen.names(), ["layers.1.weight", "layers.1.bias"]);
    for (name, parameter) in model.named_parameters() {
        assert_eq!(parameter.requires_grad(), !name.starts_with("layers.1."), "{name}");
    }

    let mut loss = Tensor::scalar(0.0f64);
    for layer in &model.layers {
        loss = loss.add(&layer.weight.sum(()).unwrap()).unwrap().add(&layer.bias.sum(()).unwrap()).unwrap();
    }
    loss.backward().unwrap();
    let mut optimizer = Optimizer::new(&model, Sgd { lr: 0.1, ..Sgd::default() }).unwrap();
    let audit = optimizer.step_audited(&model).unwrap();
    assert_eq!(audit.names(|outcome| *outcome == Outcome::Frozen), ["layers.1.weight", "layers.1.bias"]);
    assert!(audit.is_sound(), "{audit}");
}
