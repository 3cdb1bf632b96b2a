//! Optimisers: PyTorch's trajectories, groups, checkpoints, audits and clipping.

use sconce::nn::{Linear, Param};
use sconce::optim::{
    Adam, AdamW, ClipOptions, GradScaler, Optimizer, OptimizerState, Outcome, Rule, Sgd, Value,
    clip_grad_norm_, clip_grad_value_,
};
use sconce::prelude::*;
use sconce::{Error, ErrorKind, Result};

const START: [f32; 3] = [1.0, -2.0, 3.0];
/// Of each step; in the third there is none.
const GRADIENTS: [Option<[f32; 3]>; 4] =
    [Some([0.5, -1.0, 2.0]), Some([0.25, 1.0, -4.0]), None, Some([1.0, 0.0, 0.125])];

fn vector(values: [f32; 3]) -> Tensor {
    Tensor::from_vec(values.to_vec(), [3]).unwrap()
}

fn start() -> Tensor {
    vector(START).requires_grad_(true).unwrap()
}

fn steps<R: Rule>(
    optimizer: &mut Optimizer<R>,
    p: &Tensor,
    steps: &[Option<[f32; 3]>],
) -> Result<Vec<Vec<f32>>> {
    steps
        .iter()
        .map(|grad| {
            p.set_grad(grad.map(vector))?;
            optimizer.step()?;
            p.to_vec()
        })
        .collect()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 2e-7 * b.abs().max(1.0), "{what}: {found:?}, expected {expected:?}");
    }
}

/// The values after the first, second and fourth step; the third changes nothing.
fn matches<R: Rule>(rule: R, expected: [[f32; 3]; 3]) -> Result<()> {
    let what = format!("{rule:?}");
    let p = start();
    let mut optimizer = Optimizer::new(vec![p.clone()], rule.clone())?;
    let found = steps(&mut optimizer, &p, &GRADIENTS)?;
    assert_eq!(found[1], found[2], "{what}: without a gradient nothing moves");
    for (found, expected) in [&found[0], &found[1], &found[3]].into_iter().zip(&expected) {
        assert_close(found, expected, &what);
    }

    // Stopped after two steps and resumed by another optimiser, it ends at the same place, bit for bit.
    let p = start();
    let mut first = Optimizer::new(vec![p.clone()], rule.clone())?;
    steps(&mut first, &p, &GRADIENTS[..2])?;
    let saved = first.state_dict()?;
    let mut second = Optimizer::new(vec![p.clone()], R::clone(&rule))?;
    second.load_state_dict(&saved)?;
    let resumed = steps(&mut second, &p, &GRADIENTS[2..])?;
    assert_eq!(resumed[1], found[3], "{what}: resumed");

    // The saved state is a copy.
    let again = first.state_dict()?;
    assert_eq!(again.state.len(), saved.state.len());
    for ((_, a), (_, b)) in again.state.iter().zip(&saved.state) {
        for ((name, a), (_, b)) in a.iter().zip(b.iter()) {
            assert!(!a.shares_storage(b), "{what}: {name}");
        }
    }
    Ok(())
}

#[test]
fn trajectories_are_pytorchs() -> Result<()> {
    matches(
        Sgd { lr: 0.1, ..Sgd::default() },
        [[0.95, -1.9, 2.8], [0.925, -2.0, 3.2], [0.825, -2.0, 3.1875]],
    )?;
    matches(
        Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() },
        [[0.95, -1.9, 2.8], [0.88, -1.91, 3.02], [0.717, -1.9189999, 3.2055]],
    )?;
    matches(
        Sgd { lr: 0.1, momentum: 0.9, dampening: 0.5, weight_decay: 0.01, ..Sgd::default() },
        [[0.949, -1.898, 2.797], [0.8901255, -1.855251, 2.8129015], [0.7866934, -1.8158492, 2.8195565]],
    )?;
    matches(
        Sgd { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.1, ..Sgd::default() },
        [[0.886, -1.772, 2.563], [0.773066, -1.8311319, 3.088003], [0.49721113, -1.7755072, 3.1411505]],
    )?;
    matches(
        Sgd { lr: 0.1, momentum: 0.5, maximize: true, ..Sgd::default() },
        [[1.05, -2.1, 3.2], [1.0999999, -2.05, 2.9], [1.2249999, -2.0249999, 2.7625]],
    )?;
    matches(
        Adam { ..Adam::default() },
        [[0.999, -1.999, 2.999], [0.99806786, -1.9990526, 2.9993663], [0.99715877, -1.9990933, 2.9996314]],
    )?;
    matches(
        Adam { lr: 0.1, betas: (0.8, 0.9), weight_decay: 0.1, ..Adam::default() },
        [[0.9, -1.9, 2.9], [0.8052914, -1.8917786, 2.9332712], [0.71158445, -1.8761991, 2.950985]],
    )?;
    matches(
        Adam { lr: 0.1, amsgrad: true, maximize: true, ..Adam::default() },
        [[1.1, -2.1, 3.1], [1.193218, -2.0947368, 3.0633895], [1.2841266, -2.0906703, 3.0368896]],
    )?;
    matches(
        AdamW { lr: 0.1, ..AdamW::default() },
        [
            [0.89900005, -1.898, 2.897],
            [0.80488306, -1.9013653, 2.9307134],
            [0.7131695, -1.9035324, 2.9542856],
        ],
    )?;
    matches(
        AdamW { lr: 0.1, weight_decay: 0.5, amsgrad: true, eps: 0.1, ..AdamW::default() },
        [
            [0.8666667, -1.8090909, 2.7547617],
            [0.7489387, -1.723421, 2.6525118],
            [0.63251925, -1.6408727, 2.5453987],
        ],
    )?;
    matches(
        AdamW { lr: 0.01, betas: (0.5, 0.6), maximize: true, ..AdamW::default() },
        [[1.0099, -2.0098, 3.0097], [1.0189456, -2.0062656, 3.0035012], [1.0282613, -2.0040235, 2.9998925]],
    )?;
    Ok(())
}

#[test]
fn float64_is_computed_in_float64() -> Result<()> {
    let p = Tensor::scalar(1.0f64).requires_grad_(true)?;
    let mut optimizer = Optimizer::new(vec![p.clone()], AdamW { lr: 0.1, ..AdamW::default() })?;
    p.set_grad(Some(Tensor::scalar(0.3f64)))?;
    optimizer.step()?;
    // 1 * (1 - 0.1 * 0.01) - 0.1 * 0.3 / (0.3 + 1e-8)
    assert!((p.item()? - (0.999 - 0.1 * (0.3 / (0.3 + 1e-8)))).abs() < 1e-15);
    Ok(())
}

fn layers() -> Result<Vec<Linear>> {
    vec![Linear::new(2, 2), Linear::new(2, 1)].into_iter().collect()
}

fn groups<R: Rule>(optimizer: &Optimizer<R>) -> Vec<Vec<&str>> {
    optimizer.groups().iter().map(|group| group.parameters().map(|(name, _)| name).collect()).collect()
}

#[test]
fn groups_are_picked_by_selectors() -> Result<()> {
    let net = layers()?;
    let optimizer = Optimizer::new(&net, Sgd { lr: 0.1, ..Sgd::default() })?
        .group("**.bias", |rule| rule.weight_decay = 0.5)?
        .group("1.weight", |rule| rule.lr = 0.2)?;
    assert_eq!(groups(&optimizer), [vec!["0.weight"], vec!["0.bias", "1.bias"], vec!["1.weight"]]);
    let options: Vec<_> = optimizer.groups().iter().map(|g| (g.rule.lr, g.rule.weight_decay)).collect();
    assert_eq!(options, [(0.1, 0.0), (0.1, 0.5), (0.2, 0.0)]);

    // What is left over is a group only if something is.
    let optimizer =
        Optimizer::new(&net, Sgd::default())?.group("** & ndim==1", |_| {})?.group("** & ndim==2", |_| {})?;
    assert_eq!(groups(&optimizer), [["0.bias", "1.bias"], ["0.weight", "1.weight"]]);
    Ok(())
}

#[test]
fn groups_that_cannot_be_are_errors() -> Result<()> {
    let net = layers()?;
    let new = || Optimizer::new(&net, Sgd::default());
    let table = [
        (new()?.group("2.**", |_| {}), ErrorKind::Selector, "selector `2.**` matches none of 4 names"),
        (
            new()?.group("**.bias", |_| {})?.group("1.*", |_| {}),
            ErrorKind::Selector,
            "selector `1.*` picks `1.bias`, which is in another group already",
        ),
        (
            new()?.group("**", |_| {})?.group("1.bias", |_| {}),
            ErrorKind::Selector,
            "selector `1.bias` picks `1.bias`, which is in another group already",
        ),
        (
            new()?.group("**.bias", |rule| rule.lr = -1.0),
            ErrorKind::Argument,
            "group `**.bias`: SGD: lr must be at least 0, found -1.0",
        ),
        (
            new()?.group("(", |_| {}),
            ErrorKind::Selector,
            "selector `(`: expected a pattern or a predicate, found the end at column 2",
        ),
    ];
    for (result, kind, message) in table {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    }
    Ok(())
}

#[test]
fn options_are_checked_as_in_pytorch() {
    fn message<R: Rule>(rule: R) -> String {
        Optimizer::new(vec![start()], rule).map(drop).unwrap_err().to_string()
    }
    let sgd = Sgd::default;
    assert_eq!(message(Sgd { lr: -0.1, ..sgd() }), "SGD: lr must be at least 0, found -0.1");
    assert_eq!(message(Sgd { lr: f64::NAN, ..sgd() }), "SGD: lr must be at least 0, found NaN");
    assert_eq!(message(Sgd { momentum: -0.5, ..sgd() }), "SGD: momentum must be at least 0, found -0.5");
    assert_eq!(
        message(Sgd { weight_decay: -1.0, ..sgd() }),
        "SGD: weight_decay must be at least 0, found -1.0"
    );
    let nesterov = "SGD: (momentum, dampening) must be (more than 0, 0) with nesterov, found";
    assert_eq!(message(Sgd { nesterov: true, ..sgd() }), format!("{nesterov} (0.0, 0.0)"));
    let damped = Sgd { nesterov: true, momentum: 0.9, dampening: 0.1, ..sgd() };
    assert_eq!(message(damped), format!("{nesterov} (0.9, 0.1)"));
    let betas = "betas must be at least 0 and less than 1, found";
    assert_eq!(message(Adam { betas: (1.0, 0.0), ..Adam::default() }), format!("Adam: {betas} (1.0, 0.0)"));
    assert_eq!(
        message(AdamW { betas: (0.9, -0.1), ..AdamW::default() }),
        format!("AdamW: {betas} (0.9, -0.1)")
    );
    assert_eq!(message(AdamW { eps: -1.0, ..AdamW::default() }), "AdamW: eps must be at least 0, found -1.0");
}

#[test]
fn parameter_lists_are_checked() -> Result<()> {
    let message = |parameters: Vec<Tensor>| {
        Optimizer::new(parameters, Sgd::default()).map(drop).unwrap_err().to_string()
    };
    let p = start();
    assert_eq!(message(vec![]), "SGD: got an empty parameter list");
    assert_eq!(message(vec![p.clone(), p.clone()]), "SGD: `1` is given twice");
    assert_eq!(message(vec![p.mul(2.0)?]), "SGD: `0` is a result of other tensors, not a parameter");
    assert_eq!(
        message(vec![p.detach()]),
        "SGD: all 1 parameters are frozen: unfreeze what is to be trained first"
    );
    let mut optimizer = Optimizer::new(vec![p.clone()], Sgd::default())?;
    assert!(optimizer.add_param_group(vec![p], |_| {}).is_err());
    assert!(optimizer.add_param_group(Vec::<Tensor>::new(), |_| {}).is_err());
    Ok(())
}

#[test]
fn groups_can_be_added_later() -> Result<()> {
    let net = layers()?;
    let mut optimizer = Optimizer::new(&net[0], Sgd { lr: 0.5, ..Sgd::default() })?;
    optimizer.add_param_group(&net[1], |rule| rule.lr = 0.25)?;
    let before = net[1].weight.to_vec::<f32>()?;
    net[1].weight.set_grad(Some(Tensor::ones([1, 2], DType::F32)?))?;
    optimizer.step()?;
    assert_eq!(net[1].weight.to_vec::<f32>()?, [before[0] - 0.25, before[1] - 0.25]);
    assert_eq!(optimizer.state_dict()?.param_groups[1].params, [2, 3]);
    optimizer.set_lr(0.125);
    assert_eq!((optimizer.lr(), optimizer.groups()[1].rule.lr), (0.125, 0.125));
    optimizer.groups_mut()[1].rule.lr = -1.0;
    assert!(optimizer.step().is_err(), "options are checked again");
    Ok(())
}

#[test]
fn tied_parameters_step_once() -> Result<()> {
    let mut net = vec![Linear::new(2, 2)?, Linear::new(2, 2)?];
    net[1].weight = net[0].weight.clone();
    let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.5, ..Sgd::default() })?;
    assert_eq!(groups(&optimizer), [["0.weight", "0.bias", "1.bias"]]);
    let before = net[0].weight.to_vec::<f32>()?;
    net[0].weight.set_grad(Some(Tensor::ones([2, 2], DType::F32)?))?;
    optimizer.step()?;
    let after = net[1].weight.to_vec::<f32>()?;
    assert_eq!(after[0], before[0] - 0.5);
    // Any of its names picks it.
    let optimizer = Optimizer::new(&net, Sgd::default())?.group("1.weight", |_| {})?;
    assert_eq!(groups(&optimizer)[1], ["0.weight"]);
    Ok(())
}

fn names(state: &OptimizerState, parameter: usize) -> Vec<&str> {
    state.state.iter().find(|(i, _)| *i == parameter).map(|(_, s)| s.names().collect()).unwrap_or_default()
}

#[test]
fn state_has_pytorchs_structure() -> Result<()> {
    let (p, q) = (start(), start());
    let mut optimizer =
        Optimizer::new(vec![p.clone(), q.clone()], AdamW { amsgrad: true, ..AdamW::default() })?;
    q.set_grad(Some(vector([1.0; 3])))?;
    optimizer.step()?;
    let state = optimizer.state_dict()?;
    assert_eq!(state.state.len(), 1, "a parameter that was never updated has no state");
    assert_eq!(names(&state, 1), ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]);
    let step = state.state[0].1.get("step")?;
    assert_eq!((step.shape(), step.dtype(), step.item()?), (&[][..], DType::F32, 1.0));
    let group = &state.param_groups[0];
    assert_eq!(group.params, [0, 1]);
    let options: Vec<&str> = group.options.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        options,
        [
            "lr",
            "betas",
            "eps",
            "weight_decay",
            "amsgrad",
            "maximize",
            "decoupled_weight_decay",
            "foreach",
            "capturable",
            "differentiable",
            "fused"
        ]
    );
    assert_eq!(group.option("betas"), Some(&Value::Tuple(vec![Value::Float(0.9), Value::Float(0.999)])));

    // Without momentum there is nothing to keep.
    let mut optimizer = Optimizer::new(vec![q.clone()], Sgd::default())?;
    optimizer.step()?;
    assert!(optimizer.state_dict()?.state.is_empty());
    optimizer.groups_mut()[0].rule.momentum = 0.9;
    optimizer.step()?;
    assert_eq!(names(&optimizer.state_dict()?, 0), ["momentum_buffer"]);
    Ok(())
}

#[test]
fn a_state_that_does_not_fit_changes_nothing() -> Result<()> {
    let p = start();
    let mut optimizer = Optimizer::new(vec![p.clone()], Adam::default())?;
    steps(&mut optimizer, &p, &GRADIENTS[..1])?;
    let good = optimizer.state_dict()?;

    type Spoil = fn(&mut OptimizerState);
    let table: [(Spoil, &str); 9] = [
        (|s| s.param_groups.clear(), "expected 1 groups, found 0"),
        (|s| s.param_groups[0].params.push(1), "group 0: expected 1 parameters, found 2"),
        (|s| s.param_groups[0].params[0] = 7, "1 states, of which 0 belong to a parameter of a group"),
        (|s| s.param_groups[0].options[0].1 = Value::None, "group 0: lr: expected a number, found None"),
        (
            |s| s.param_groups[0].options[0].1 = Value::Float(-1.0),
            "group 0: Adam: lr must be at least 0, found -1.0",
        ),
        (
            |s| s.param_groups[0].options[1].1 = Value::Float(0.9),
            "group 0: betas: expected two numbers, found Float(0.9)",
        ),
        (|s| drop(s.state[0].1.remove("exp_avg")), "0: load_state_dict: 1 missing: exp_avg"),
        (
            |s| drop(s.state[0].1.insert("exp_avg", Tensor::zeros([4], DType::F32).unwrap())),
            "0: load_state_dict: 1 of another shape or dtype: exp_avg (here [3] float32, given [4] float32)",
        ),
        (
            |s| drop(s.state[0].1.insert("velocity", Tensor::zeros([3], DType::F32).unwrap())),
            "0: load_state_dict: 1 unexpected: velocity",
        ),
    ];
    for (spoil, message) in table {
        let mut state = good.clone();
        spoil(&mut state);
        let error = optimizer.load_state_dict(&state).unwrap_err();
        assert_eq!(error.to_string(), format!("load_state_dict: Adam: {message}"));
        assert_eq!(optimizer.state_dict()?.param_groups, good.param_groups);
    }
    Ok(())
}

#[test]
fn unknown_options_survive() -> Result<()> {
    let p = start();
    let mut optimizer = Optimizer::new(vec![p], Sgd::default())?;
    let mut state = optimizer.state_dict()?;
    state.param_groups[0].options.push(("initial_lr".into(), Value::Float(0.5)));
    state.param_groups[0].options[0].1 = Value::Int(2);
    optimizer.load_state_dict(&state)?;
    assert_eq!(optimizer.lr(), 2.0);
    let again = optimizer.state_dict()?;
    assert_eq!(again.param_groups[0].option("initial_lr"), Some(&Value::Float(0.5)));
    Ok(())
}

#[test]
fn an_audit_says_what_became_of_each() -> Result<()> {
    #[derive(Module)]
    struct Net {
        moved: Param,
        still: Param,
        frozen: Param,
        cut: Param,
        nan: Param,
        new: Param,
        huge: Param,
    }
    let param = || Param::new(&Tensor::ones([2], DType::F32).unwrap()).unwrap();
    let mut net = Net {
        moved: param(),
        still: param(),
        frozen: param(),
        cut: param(),
        nan: param(),
        new: param(),
        huge: param(),
    };
    net.freeze("frozen")?;
    let mut optimizer = Optimizer::new(&net, Sgd { lr: 0.5, ..Sgd::default() })?
        .group("huge", |rule| rule.lr = f64::from(f32::MAX))?;
    net.new = param();
    let grad = |p: &Param, x: f32| p.set_grad(Some(Tensor::full([2], x, DType::F32).unwrap()));
    grad(&net.moved, 0.5)?;
    grad(&net.still, 0.0)?;
    grad(&net.nan, f32::NAN)?;
    grad(&net.new, 1.0)?;
    grad(&net.huge, -2.0)?;
    let audit = optimizer.step_audited(&net)?;
    let outcomes: Vec<_> = audit.iter().map(|(name, outcome)| (name, *outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("moved", Outcome::Updated { change: 0.25 }),
            ("still", Outcome::Unmoved),
            ("frozen", Outcome::Frozen),
            ("cut", Outcome::NoGradient),
            ("nan", Outcome::NonFiniteGradient),
            ("new", Outcome::NotInOptimizer),
            ("huge", Outcome::NonFinite),
        ]
    );
    assert!(!audit.is_sound());
    assert_eq!(
        audit.to_string(),
        "1 updated: moved\n1 frozen: frozen\n1 not moved by their gradient: still\n1 without gradient: cut\n\
         1 with NaN or infinite gradient: nan\n1 NaN or infinite: huge\n1 not in the optimiser: new"
    );
    Ok(())
}

fn with_grads(grads: &[&[f32]]) -> Result<Vec<Tensor>> {
    grads
        .iter()
        .map(|grad| {
            let p = Tensor::zeros([grad.len()], DType::F32)?.requires_grad_(true)?;
            p.set_grad(Some(Tensor::from_slice(grad, [grad.len()])?))?;
            Ok(p)
        })
        .collect()
}

fn grads(parameters: &[Tensor]) -> Vec<f32> {
    parameters.iter().flat_map(|p| p.grad().unwrap().to_vec::<f32>().unwrap()).collect()
}

#[test]
fn the_norm_is_taken_over_all_parameters() -> Result<()> {
    let inf = f64::INFINITY;
    // Order, norm; of order 0 it is the number of parameters whose norm is not 0, as in PyTorch.
    for (order, norm) in
        [(2.0, 13.0), (1.0, 19.0), (inf, 12.0), (-inf, 3.0), (0.0, 2.0), (3.0, 1819f64.cbrt())]
    {
        let parameters = with_grads(&[&[3.0, 4.0], &[-12.0]])?;
        let options = ClipOptions { norm_type: order, ..Default::default() };
        let found = clip_grad_norm_(parameters.clone(), 1.0, options)?;
        assert!((found - norm).abs() < 1e-5, "order {order}: {found}");
        let scale = (1.0 / (norm + 1e-6)) as f32;
        assert_close(&grads(&parameters), &[3.0 * scale, 4.0 * scale, -12.0 * scale], "scaled");
    }
    // Gradients that are small enough stay.
    let parameters = with_grads(&[&[3.0, 4.0], &[-12.0], &[]])?;
    clip_grad_norm_(parameters.clone(), 20.0, ClipOptions::default())?;
    assert_eq!(grads(&parameters), [3.0, 4.0, -12.0]);
    assert_eq!(clip_grad_norm_(vec![start()], 1.0, ClipOptions::default())?, 0.0);
    Ok(())
}

#[test]
fn norms_that_are_not_finite() -> Result<()> {
    let strict = ClipOptions { error_if_nonfinite: true, ..Default::default() };
    let parameters = with_grads(&[&[1.0], &[f32::NAN], &[2.0]])?;
    let error = clip_grad_norm_(parameters.clone(), 1.0, strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "clip_grad_norm_: the norm of order 2 of all gradients is NaN, of which `1` has a part"
    );
    assert_eq!(grads(&parameters)[2], 2.0, "an error changes nothing");
    assert!(clip_grad_norm_(parameters.clone(), 1.0, ClipOptions::default())?.is_nan());
    assert!(grads(&parameters).iter().all(|x| x.is_nan()), "as in PyTorch");
    let infinite = ClipOptions { norm_type: f64::INFINITY, ..strict };
    assert!(clip_grad_norm_(with_grads(&[&[f32::NAN, 1.0]])?, 1.0, infinite).is_err());
    Ok(())
}

#[test]
fn values_are_clipped() -> Result<()> {
    let parameters = with_grads(&[&[0.5, -3.0, f32::NAN], &[7.0, f32::NEG_INFINITY]])?;
    clip_grad_value_(parameters.clone(), 1.0)?;
    let found = grads(&parameters);
    assert!(found[2].is_nan());
    assert_eq!([found[0], found[1], found[3], found[4]], [0.5, -1.0, 1.0, -1.0]);
    assert!(clip_grad_value_(parameters, -1.0).is_err());
    Ok(())
}

#[test]
fn a_module_converted_under_an_optimiser_is_noticed() -> Result<()> {
    let mut layer = Linear::new(2, 1)?;
    let mut optimizer = Optimizer::new(&layer, Sgd::default())?;
    layer.to(DType::F64)?;
    layer.weight.set_grad(Some(layer.weight.ones_like()?))?;
    let error = optimizer.step().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert_eq!(
        error.to_string(),
        "SGD: weight: the module holds another tensor by now, since it was converted to another dtype \
         or parametrised: do that first, then make the optimiser"
    );

    let before = layer.weight.to_vec::<f64>()?;
    let mut optimizer = Optimizer::new(&layer, Sgd { lr: 0.5, ..Sgd::default() })?;
    optimizer.step()?;
    assert_eq!(layer.weight.to_vec::<f64>()?[0], before[0] - 0.5);

    // To its own dtype: the tensors stay, and so does the optimiser.
    layer.to(DType::F64)?;
    optimizer.step()
}

#[test]
fn clipping_without_gradients_finds_a_norm_of_zero_in_every_order() -> Result<()> {
    for norm_type in [f64::NEG_INFINITY, 0.0, 2.0, f64::INFINITY] {
        let options = ClipOptions { norm_type, error_if_nonfinite: true };
        assert_eq!(clip_grad_norm_(vec![start()], 1.0, options)?, 0.0, "{norm_type}");
    }
    Ok(())
}

#[test]
fn hooks_run_around_a_step() -> Result<()> {
    use std::sync::{Arc, Mutex};
    let x = Tensor::ones([2], DType::F32)?.requires_grad_(true)?;
    let mut optimizer = Optimizer::new(vec![x.clone()], Sgd { lr: 1.0, ..Sgd::default() })?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |word: &'static str| {
        let (seen, x) = (seen.clone(), x.clone());
        move |_: &mut Optimizer<Sgd>| {
            seen.lock().unwrap().push((word, x.to_vec::<f32>()?[0]));
            Ok(())
        }
    };
    optimizer.register_step_pre_hook(note("before"));
    let after = optimizer.register_step_post_hook(note("after"));
    optimizer.register_step_pre_hook(|optimizer| {
        optimizer.set_lr(0.5);
        Ok(())
    });
    x.set_grad(Some(x.ones_like()?))?;
    optimizer.step()?;
    assert!(optimizer.remove_step_hook(after) && !optimizer.remove_step_hook(after));
    optimizer.step()?;
    assert_eq!(*seen.lock().unwrap(), [("before", 1.0), ("after", 0.5), ("before", 0.5)]);

    // A hook that fails ends the step, and stays.
    optimizer.register_step_pre_hook(|_| Err(Error::argument("no")));
    let before = x.to_vec::<f32>()?;
    assert_eq!(optimizer.step().unwrap_err().to_string(), "no");
    assert_eq!(x.to_vec::<f32>()?, before);
    assert!(optimizer.step().is_err());
    Ok(())
}

#[test]
fn scaled_steps_are_left_out_when_gradients_overflow() -> Result<()> {
    let x = Tensor::ones([1], DType::F32)?.requires_grad_(true)?;
    let mut optimizer = Optimizer::new(vec![x.clone()], Sgd { lr: 1.0, ..Sgd::default() })?;
    let mut scaler = GradScaler::new(8.0);
    scaler.growth_interval = 2;
    // The gradient, whether there is a step, and PyTorch's scale and tracker afterwards.
    let cases = [
        (0.25, true, 8.0, 1),
        (0.25, true, 16.0, 0),
        (f64::INFINITY, false, 8.0, 0),
        (f64::NAN, false, 4.0, 0),
        (0.25, true, 4.0, 1),
        (f64::NAN, false, 2.0, 0),
    ];
    for (gradient, steps, scale, tracker) in cases {
        let before = x.item()?;
        optimizer.zero_grad();
        scaler.scale(&x.mul(gradient)?.sum(())?)?.backward()?;
        assert_eq!(scaler.step(&mut optimizer)?, steps, "{gradient}");
        scaler.update();
        assert_eq!((scaler.get_scale(), scaler.growth_tracker), (scale, tracker), "{gradient}");
        assert_eq!(x.item()?, if steps { before - gradient } else { before });
    }
    optimizer.zero_grad();
    scaler.scale(&x.mul(3.0)?.sum(())?)?.backward()?;
    assert!(scaler.unscale_(&optimizer)?);
    assert_eq!(x.grad().unwrap().item()?, 3.0);
    let message = |result: Result<bool>| result.unwrap_err().to_string();
    assert_eq!(message(scaler.unscale_(&optimizer)), "GradScaler: unscale_ a second time: call update first");
    assert!(scaler.step(&mut optimizer)?);
    assert_eq!(message(scaler.step(&mut optimizer)), "GradScaler: a second step: call update first");
    assert_eq!(message(scaler.unscale_(&optimizer)), "GradScaler: unscale_ after a step: call update first");
    Ok(())
}
