//! Parameters that are computed from others: pruned, parametrised, or given for one call.

use std::thread;

use sconce::compress::Amount;
use sconce::nn::parametrize::{self, LoraConfig, SpectralNormConfig};
use sconce::nn::{
    BatchNorm1d, GRU, Layer, Linear, ModuleExt, MultiheadAttention, ReLU, Sequential, Strictness, deepcopy,
    functional_call, prune,
};
use sconce::optim::{Optimizer, Sgd};
use sconce::prelude::*;
use sconce::{DType, Result, Tensor};

fn names<M: Module + ?Sized>(module: &M) -> Vec<String> {
    module.state_dict().names().map(str::to_owned).collect()
}

fn net() -> Result<Sequential> {
    Ok(Sequential::new().add(Linear::new(6, 4)?).add(BatchNorm1d::new(4)?).add(ReLU).add(Linear::new(4, 2)?))
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

#[test]
fn names_come_in_the_order_of_pytorch() -> Result<()> {
    let mut net = net()?;
    prune::identity(&mut net, "0.{weight,bias}")?;
    parametrize::weight_norm(&mut net, "3.weight", Some(0))?;
    assert_eq!(
        names(&net),
        [
            "0.weight_orig",
            "0.bias_orig",
            "0.weight_mask",
            "0.bias_mask",
            "1.weight",
            "1.bias",
            "1.running_mean",
            "1.running_var",
            "1.num_batches_tracked",
            "3.bias",
            "3.parametrizations.weight.original0",
            "3.parametrizations.weight.original1",
        ]
    );
    let modules: Vec<String> = net.named_modules().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "",
        "0",
        "1",
        "2",
        "3",
        "3.parametrizations",
        "3.parametrizations.weight",
        "3.parametrizations.weight.0",
    ];
    assert_eq!(modules, expected);

    prune::remove(&mut net, "0.weight")?;
    assert_eq!(names(&net)[..3], ["0.weight", "0.bias_orig", "0.bias_mask"]);
    Ok(())
}

#[test]
fn what_is_pruned_stays_zero_through_steps_and_files() -> Result<()> {
    let mut net = net()?;
    let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.5, momentum: 0.9, ..Sgd::default() })?;
    // The tensor that is pruned is the one that the optimiser holds, however often that is done.
    prune::global_unstructured(&mut net, "*.weight & ndim==2", prune::Score::L1, Amount::Count(4))?;
    prune::remove(&mut net, "*.weight & ndim==2")?;
    prune::l1_unstructured(&mut net, "*.weight & ndim==2", Amount::Fraction(0.25))?;
    prune::l1_unstructured(&mut net, "*.weight & ndim==2", Amount::Fraction(1.0 / 3.0))?;
    let zeros = |net: &Sequential| -> Result<Vec<bool>> {
        let state = net.state_dict();
        let weight = state.get("0.weight_orig")?.mul(state.get("0.weight_mask")?)?;
        weight.eq(0)?.to_vec::<bool>()
    };
    let (before, x) = (zeros(&net)?, Tensor::randn([5, 6], DType::F32)?);
    assert_eq!(before.iter().filter(|zero| **zero).count(), 12);
    let stored = values(net.get_parameter("0.weight_orig")?.tensor());
    for _ in 0..3 {
        optimizer.zero_grad();
        net.forward(&x)?.pow(2)?.sum(())?.backward()?;
        optimizer.step()?;
    }
    assert_eq!(zeros(&net)?, before);
    assert_ne!(values(net.get_parameter("0.weight_orig")?.tensor()), stored);

    let path = std::env::temp_dir().join(format!("sconce-parametrize-{}.safetensors", std::process::id()));
    net.save(&path)?;
    let mut again = self::net()?;
    prune::identity(&mut again, "*.weight & ndim==2")?;
    again.load(&path, Strictness::Strict)?;
    std::fs::remove_file(path)?;
    net.eval();
    again.eval();
    assert_eq!(values(&again.forward(&x)?), values(&net.forward(&x)?));

    prune::remove(&mut net, "*.weight & ndim==2")?;
    assert!(!prune::is_pruned(&net));
    assert_eq!(values(&again.forward(&x)?), values(&net.forward(&x)?));
    Ok(())
}

#[test]
fn every_kind_of_layer_reads_computed_parameters() -> Result<()> {
    let mut gru = GRU::new(3, 2)?;
    let x = Tensor::randn([4, 1, 3], DType::F32)?;
    let before = values(&gru.forward(&x, None)?.0);
    parametrize::weight_norm(&mut gru, "weight_*", Some(0))?;
    let after = gru.forward(&x, None)?.0;
    assert!(before.iter().zip(values(&after)).all(|(a, b)| (a - b).abs() < 1e-6));
    after.sum(())?.backward()?;
    assert!(gru.get_parameter("parametrizations.weight_hh_l0.original0")?.grad().is_some());

    let mut attention = MultiheadAttention::new(4, 2)?;
    prune::l1_unstructured(&mut attention, "{in_proj_weight,out_proj.weight}", Amount::Fraction(1.0))?;
    let x = Tensor::randn([3, 1, 4], DType::F32)?;
    let (y, _) = attention.forward(&x, &x, &x, Default::default())?;
    assert_eq!(values(&y), [0.0; 12]);
    Ok(())
}

#[test]
fn ties_are_kept_or_named() -> Result<()> {
    #[derive(Clone, Module)]
    struct Tied {
        a: Linear,
        b: Linear,
    }
    let mut tied = Tied { a: Linear::new(3, 3)?, b: Linear::new(3, 3)? };
    tied.b.weight = tied.a.weight.clone();
    let error = parametrize::weight_norm(&mut tied, "a.weight", Some(0)).unwrap_err();
    assert_eq!(error.to_string(), "weight_norm: `a.weight` is tied to `b.weight`, which is not picked");
    parametrize::weight_norm(&mut tied, "*.weight", Some(0))?;
    assert_eq!(tied.parameters().len(), 4);
    tied.to(DType::F64)?;
    assert_eq!(tied.parameters().len(), 4);
    assert_eq!(tied.a.weight.dtype(), DType::F64);
    parametrize::remove_parametrizations(&mut tied, "*.weight", true)?;
    assert!(tied.a.weight.is(&tied.b.weight));
    Ok(())
}

#[test]
fn an_optimiser_of_replaced_parameters_says_so() -> Result<()> {
    let mut layer = Linear::new(3, 2)?;
    let mut optimizer = Optimizer::new(&layer, Sgd::default())?;
    parametrize::weight_norm(&mut layer, "weight", None)?;
    layer.forward(&Tensor::ones([1, 3], DType::F32)?)?.sum(())?.backward()?;
    let error = optimizer.step().unwrap_err().to_string();
    assert!(error.starts_with("SGD: weight: the module holds another tensor"), "{error}");
    Ok(())
}

#[test]
fn copies_compute_for_themselves() -> Result<()> {
    let mut layer = Linear::new(3, 2)?;
    parametrize::spectral_norm(&mut layer, "weight", SpectralNormConfig::default())?;
    let mut copy = deepcopy(&layer)?;
    let u = values(layer.get_buffer("parametrizations.weight.0._u")?.tensor());
    copy.forward(&Tensor::ones([1, 3], DType::F32)?)?;
    assert_eq!(values(layer.get_buffer("parametrizations.weight.0._u")?.tensor()), u);
    copy.eval();
    let u = values(copy.get_buffer("parametrizations.weight.0._u")?.tensor());
    copy.forward(&Tensor::ones([1, 3], DType::F32)?)?;
    assert_eq!(values(copy.get_buffer("parametrizations.weight.0._u")?.tensor()), u);
    Ok(())
}

#[test]
fn many_threads_may_run_a_pruned_model() -> Result<()> {
    let mut net = net()?;
    prune::l1_unstructured(&mut net, "*.weight & ndim==2", Amount::Count(3))?;
    net.eval();
    let x = Tensor::ones([2, 6], DType::F32)?;
    let expected = values(&net.forward(&x)?);
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| net.forward(&x).map(|y| values(&y)))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap().unwrap(), expected);
        }
    });
    Ok(())
}

#[test]
fn adapters_train_alone_and_merge() -> Result<()> {
    let mut net = net()?;
    let frozen = values(net.get_parameter("3.weight")?.tensor());
    parametrize::lora(&mut net, "{0,3}.weight", LoraConfig { rank: 2, alpha: 2.0 })?;
    let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.1, ..Sgd::default() })?;
    let x = Tensor::randn([5, 6], DType::F32)?;
    for _ in 0..2 {
        optimizer.zero_grad();
        net.forward(&x)?.pow(2)?.sum(())?.backward()?;
        optimizer.step()?;
    }
    assert_eq!(values(net.get_parameter("3.parametrizations.weight.original")?.tensor()), frozen);
    net.eval();
    let before = values(&net.forward(&x)?);
    parametrize::remove_parametrizations(&mut net, "{0,3}.weight", true)?;
    assert_eq!(values(&net.forward(&x)?), before);
    assert_ne!(values(net.get_parameter("3.weight")?.tensor()), frozen);
    Ok(())
}

#[test]
fn faults_change_nothing() -> Result<()> {
    let mut net = net()?;
    let before = names(&net);
    let faults: [(&str, Result<Vec<String>>); 6] = [
        ("selector `0.wieght`", parametrize::weight_norm(&mut net, "0.wieght", None)),
        ("weight_norm: `0.bias`: no dimension 1", parametrize::weight_norm(&mut net, "0.*", Some(1))),
        ("remove: `0.weight`: the parameter is not pruned", prune::remove(&mut net, "0.weight")),
        ("l1_unstructured: `0.weight`: cannot prune 25 of 24", {
            prune::l1_unstructured(&mut net, "0.weight", Amount::Count(25))
        }),
        ("ln_structured: `0.bias`: slices of a tensor of shape [4]: expected 2", {
            prune::ln_structured(&mut net, "0.bias", Amount::Count(1), 2.0, 0)
        }),
        ("l1_unstructured: `0.weight`: expected a fraction from 0 to 1, found 1.5", {
            prune::l1_unstructured(&mut net, "0.weight", Amount::Fraction(1.5))
        }),
    ];
    for (expected, result) in faults {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(names(&net), before);

    prune::identity(&mut net, "0.weight")?;
    let error = net.get_parameter("0.weight").unwrap_err().to_string();
    assert!(error.starts_with("`0.weight` is computed from other parameters"), "{error}");
    let error = parametrize::weight_norm(&mut net, "0.weight", None).unwrap_err().to_string();
    assert!(error.ends_with("the parameter is pruned or parametrised in another way already"), "{error}");
    parametrize::weight_norm(&mut net, "3.weight", None)?;
    let error = prune::identity(&mut net, "3.weight").unwrap_err().to_string();
    assert!(error.ends_with("the parameter is parametrised, so it cannot be pruned"), "{error}");
    Ok(())
}

#[test]
fn a_call_with_other_parameters_leaves_the_module_alone() -> Result<()> {
    let layer = Linear::new(2, 1)?;
    let x = Tensor::from_vec(vec![1.0f32, 2.0], [1, 2])?;
    let before = values(&layer.forward(&x)?);
    let ensemble: Vec<f32> = [1.0f32, 10.0]
        .into_iter()
        .map(|scale| {
            let weight = Tensor::full([1, 2], f64::from(scale), DType::F32)?;
            let bias = Tensor::zeros([1], DType::F32)?;
            functional_call(&layer, [("weight", weight), ("bias", bias)], |layer| layer.forward(&x)?.item())
        })
        .map(|y: Result<f64>| y.map(|y| y as f32))
        .collect::<Result<_>>()?;
    assert_eq!(ensemble, [3.0, 30.0]);
    assert_eq!(values(&layer.forward(&x)?), before);
    let wrong = functional_call(&layer, [("weight", x.t()?)], |layer| layer.forward(&x));
    assert_eq!(wrong.unwrap_err().to_string(), "functional_call: `weight` has shape [1, 2], given [2, 1]");
    Ok(())
}
