//! Layers and initial values: PyTorch's numbers after `manual_seed`.

use sconce::functional::{AttentionOptions, scaled_dot_product_attention};
use sconce::nn::init::{
    Fan, Nonlinearity, constant_, dirac_, eye_, kaiming_normal_, kaiming_uniform_, normal_, trunc_normal_,
    uniform_, xavier_normal_, xavier_uniform_,
};
use sconce::nn::{
    BatchNorm1d, BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, CrossEntropyLoss, CrossMapLRN2d,
    Dropout, Flatten, Identity, LSTM, Linear, LinearConfig, MSELoss, MaxPool2d, Padding, ReLU,
    RecurrentConfig, Sequential, TransformerEncoderLayer,
};
use sconce::prelude::*;
use sconce::{Result, fork_rng, manual_seed};

fn values(t: &Tensor) -> Vec<f64> {
    t.to(DType::F64).unwrap().to_vec().unwrap()
}

/// Whether the values are those of PyTorch, printed with nine digits: for float32 that is every bit.
fn assert_same(found: &[f64], expected: &[f64], what: &str) {
    let same = |a: f64, b: f64| a as f32 == b as f32;
    assert!(
        found.iter().zip(expected).all(|(&a, &b)| same(a, b)),
        "{what}: {found:?}, expected {expected:?}"
    );
}

#[test]
fn initial_values_are_pytorchs() -> Result<()> {
    // The first two values, the last one, and the next number of the stream.
    type Row<'a> = (fn(&Tensor) -> Result<()>, &'a [usize], [f64; 4]);
    let table: &[Row<'_>] = &[
        (|t| uniform_(t, -1.0, 3.0), &[5, 7], [1.13969016, -0.204787254, 1.974931, 0.959216595]),
        (|t| normal_(t, 1.0, 2.0), &[5, 7], [-0.640269041, 1.79126239, 1.79148185, 0.899403989]),
        (|t| normal_(t, 1.0, 2.0), &[3], [0.706409812, 2.57228255, 2.89364314, 0.365316153]),
        (
            |t| kaiming_uniform_(t, Fan::In, Nonlinearity::default()),
            &[5, 7],
            [0.0646639764, -0.557708144, 0.45130536, 0.959216595],
        ),
        (
            |t| kaiming_uniform_(t, Fan::Out, Nonlinearity::Relu),
            &[4, 3, 3, 2],
            [0.0349225402, -0.301196814, -0.19449234, 0.77376157],
        ),
        (
            |t| kaiming_normal_(t, Fan::In, Nonlinearity::Tanh),
            &[4, 3, 3, 2],
            [-0.322179258, 0.155418605, -0.378391922, 0.527801752],
        ),
        (
            |t| kaiming_normal_(t, Fan::Out, Nonlinearity::Selu),
            &[5, 7],
            [-0.275081486, 0.13269873, 0.13273555, 0.899403989],
        ),
        (|t| xavier_uniform_(t, 1.0), &[5, 7], [0.0493879281, -0.425956607, 0.344690144, 0.959216595]),
        (|t| xavier_normal_(t, 1.5), &[4, 3, 3, 2], [-0.268452048, 0.129500702, -0.31529057, 0.527801752]),
        (
            |t| trunc_normal_(t, 0.0, 1.0, -2.0, 2.0),
            &[5, 7],
            [-0.820134521, 0.395631164, 0.395740926, 0.172114491],
        ),
        (
            |t| trunc_normal_(t, 0.5, 2.0, -1.0, 1.0),
            &[5, 7],
            [-0.267781973, 0.512698591, 0.677885771, 0.540565133],
        ),
        (
            |t| trunc_normal_(t, 0.0, 1.0, 1.5, 3.0),
            &[3, 4],
            [1.79342341, 1.79820478, 2.12034941, 0.876019835],
        ),
    ];
    for (i, (fill, shape, expected)) in table.iter().enumerate() {
        fork_rng(|| {
            manual_seed(7);
            let t = Tensor::zeros(*shape, DType::F32)?.requires_grad_(true)?;
            fill(&t)?;
            let next = Tensor::rand((), DType::F32)?.item()?;
            let v = values(&t.detach());
            assert_same(&[v[0], v[1], v[v.len() - 1], next], expected, &format!("row {i}"));
            Ok::<_, sconce::Error>(())
        })?;
    }
    Ok(())
}

#[test]
fn layers_start_as_in_pytorch() -> Result<()> {
    // The ends of the weight, those of the bias, and the next number of the stream.
    type Row = (fn() -> Result<Box<dyn Layer>>, [f64; 5]);
    let table: &[Row] = &[
        (
            || Ok(Box::new(Linear::new(4, 3)?)),
            [0.0349225402, 0.0509352088, -0.213160992, -0.0549098253, 0.359285951],
        ),
        (
            || Ok(Box::new(LinearConfig { dtype: DType::F64, ..Default::default() }.build(4, 3)?)),
            [-0.22061957, -0.442444167, -0.332559398, -0.377810158, 0.855942905],
        ),
        (
            || Ok(Box::new(Conv2d::new(2, 4, [3, 2])?)),
            [0.0201625377, -0.0372635797, 0.136752576, 0.230595991, 0.993620098],
        ),
        (
            || Ok(Box::new(Conv2dConfig { groups: 2, ..Default::default() }.build(2, 4, 3)?)),
            [0.0232816935, 0.306144416, -0.07417202, -0.20316124, 0.740523994],
        ),
        (|| Ok(Box::new(BatchNorm2d::new(3)?)), [1.0, 1.0, 0.0, 0.0, 0.53492254]),
    ];
    for (i, (make, expected)) in table.iter().enumerate() {
        fork_rng(|| {
            manual_seed(7);
            let layer = make()?;
            let (weight, bias) = (layer.get_parameter("weight")?, layer.get_parameter("bias")?);
            let (w, b) = (values(&weight), values(&bias));
            let next = Tensor::rand((), DType::F32)?.item()?;
            let found = [w[0], w[w.len() - 1], b[0], b[b.len() - 1], next];
            assert_same(&found, expected, &format!("row {i}"));
            Ok::<_, sconce::Error>(())
        })?;
    }
    Ok(())
}

#[test]
fn initial_values_without_draws() -> Result<()> {
    let t = Tensor::zeros([2, 3], DType::F32)?;
    eye_(&t)?;
    assert_eq!(values(&t), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let t = Tensor::ones([4, 2, 3], DType::F32)?;
    dirac_(&t, 2)?;
    let ones: Vec<usize> =
        values(&t).iter().enumerate().filter(|(_, x)| **x == 1.0).map(|(i, _)| i).collect();
    assert_eq!(ones, [1, 10, 13, 22]);
    // Nothing to fill is nothing to do.
    for shape in [[0, 3], [3, 0]] {
        let t = Tensor::zeros(shape, DType::F32)?;
        kaiming_uniform_(&t, Fan::In, Nonlinearity::Relu)?;
        kaiming_normal_(&t, Fan::Out, Nonlinearity::Relu)?;
        xavier_uniform_(&t, 1.0)?;
    }
    Ok(())
}

#[test]
fn initial_values_that_cannot_be() -> Result<()> {
    let vector = Tensor::zeros([3], DType::F32)?;
    let matrix = Tensor::zeros([3, 3], DType::F32)?;
    let fans = "fans: a weight needs at least 2 dimensions to have fan in and fan out, found [3]";
    let trunc = "trunc_normal_: expected std > 0 and a <= b, found";
    let table = [
        (kaiming_uniform_(&vector, Fan::In, Nonlinearity::Relu), fans.to_owned()),
        (xavier_normal_(&vector, 1.0), fans.to_owned()),
        (trunc_normal_(&matrix, 0.0, 0.0, -1.0, 1.0), format!("{trunc} mean 0, std 0, a -1, b 1")),
        (trunc_normal_(&matrix, 0.0, 1.0, 1.0, -1.0), format!("{trunc} mean 0, std 1, a 1, b -1")),
        (eye_(&vector), "eye_: expected 2 dimensions, found [3]".into()),
        (
            dirac_(&Tensor::zeros([3, 1, 1], DType::F32)?, 2),
            "dirac_: expected 3, 4 or 5 dimensions, the first divisible by 2 groups, found [3, 1, 1]".into(),
        ),
    ];
    for (result, message) in table {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    Ok(())
}

#[test]
fn same_padding_puts_the_odd_zero_at_the_end() -> Result<()> {
    let conv =
        Conv2dConfig { padding: Padding::Same, bias: false, ..Default::default() }.build(1, 1, [2, 3])?;
    no_grad(|| conv.weight.copy_(&Tensor::arange(1, 7, 1, DType::F32)?.view([1, 1, 2, 3])?))?;
    let x = Tensor::arange(1, 17, 1, DType::F32)?.view([1, 1, 4, 4])?;
    assert_eq!(
        values(&conv.forward(&x)?),
        [
            69.0, 106.0, 127.0, 79.0, 133.0, 190.0, 211.0, 127.0, 197.0, 274.0, 295.0, 175.0, 68.0, 86.0,
            92.0, 47.0
        ]
    );
    Ok(())
}

#[test]
fn batch_norm_without_momentum_averages_all_batches() -> Result<()> {
    let mut norm = BatchNorm1d::with(2, BatchNormConfig { momentum: None, ..Default::default() })?;
    let batches =
        [[1.0f32, 2.0, 3.0, 6.0], [5.0, 0.0, 7.0, 8.0]].map(|b| Tensor::from_slice(&b, [2, 2]).unwrap());
    for (batch, (mean, var)) in batches.iter().zip([([2.0, 4.0], [2.0, 8.0]), ([4.0, 4.0], [2.0, 20.0])]) {
        let y = values(&norm.forward(batch)?);
        assert!(y.iter().all(|y| (y.abs() - 1.0).abs() < 1e-5));
        assert_eq!(values(norm.running_mean.as_ref().unwrap()), mean);
        assert_eq!(values(norm.running_var.as_ref().unwrap()), var);
    }
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().item_i64()?, 2);
    norm.eval();
    let y = values(&norm.forward(&batches[0])?);
    let expected = [-2.1213150024414062, -0.4472135007381439, -0.7071049809455872, 0.4472135007381439];
    assert!(y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{y:?}");
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().item_i64()?, 2, "evaluation does not count");

    // Without running statistics those of the batch are used in evaluation too.
    let mut norm =
        BatchNorm1d::with(2, BatchNormConfig { track_running_stats: false, ..Default::default() })?;
    norm.eval();
    assert!(norm.state_dict().names().eq(["weight", "bias"]));
    assert!(values(&norm.forward(&batches[0])?).iter().all(|y| (y.abs() - 1.0).abs() < 1e-5));
    let bare = BatchNormConfig { affine: false, ..Default::default() };
    assert!(BatchNorm2d::with(2, bare)?.parameters().is_empty());
    Ok(())
}

fn network() -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(1, 2, 3)?)
        .add(BatchNorm2d::new(2)?)
        .add(ReLU)
        .add(MaxPool2d::new(2))
        .add(Flatten::default())
        .add(Dropout::new(0.25)?)
        .add(Identity)
        .add(Linear::new(18, 3)?))
}

#[derive(Module)]
struct Own {
    features: Sequential,
    layers: Vec<Linear>,
    encoder: TransformerEncoderLayer,
}

impl Own {
    fn forward(&self, which: usize, x: &Tensor) -> Result<Tensor> {
        match which {
            0 => self.features.forward(x),
            1 => self.layers[0].forward(x),
            _ => self.encoder.forward(x),
        }
    }
}

#[test]
fn errors_name_the_place() -> Result<()> {
    let net = network()?;
    let message =
        |shape: &[usize]| net.forward(&Tensor::zeros(shape, DType::F32).unwrap()).unwrap_err().to_string();
    assert!(message(&[2, 3, 8, 8]).starts_with("0: conv2d: "), "{}", message(&[2, 3, 8, 8]));
    net.named_parameters();
    assert!(message(&[2, 3, 8, 8]).starts_with("0: conv2d: "), "{}", message(&[2, 3, 8, 8]));
    assert!(message(&[2, 1, 9, 12]).starts_with("7: linear: "), "{}", message(&[2, 1, 9, 12]));
    // Containers join what they know; a module of one's own knows once it was listed.
    let blocks =
        Sequential::new().add_named("block", Sequential::new().add_named("conv", Conv2d::new(1, 2, 3)?)?)?;
    let net = Sequential::new().add(ReLU).add(blocks);
    let x = Tensor::zeros([2, 3, 8, 8], DType::F32)?;
    let error = net.forward(&x).unwrap_err().to_string();
    assert!(error.starts_with("1.block.conv: conv2d: "), "{error}");

    let own =
        Own { features: net, layers: vec![Linear::new(2, 2)?], encoder: TransformerEncoderLayer::new(4, 2)? };
    let message = |i: usize| own.forward(i, &x).unwrap_err().to_string();
    assert!(message(0).starts_with("1.block.conv: conv2d: "), "{}", message(0));
    assert!(message(1).starts_with("linear: "), "{}", message(1));
    own.features.named_parameters();
    own.named_parameters();
    assert!(message(0).starts_with("features.1.block.conv: conv2d: "), "{}", message(0));
    assert!(message(1).starts_with("layers.0: linear: "), "{}", message(1));
    assert!(message(2).starts_with("encoder.self_attn: MultiheadAttention: "), "{}", message(2));

    let error = BatchNorm2d::new(3)?.forward(&Tensor::zeros([2, 4, 1, 1], DType::F32)?).unwrap_err();
    assert_eq!(error.to_string(), "BatchNorm2d: expected 4 dimensions with 3 channels, found [2, 4, 1, 1]");
    Ok(())
}

#[test]
fn a_network_learns() -> Result<()> {
    use sconce::optim::{Optimizer, Sgd};
    fork_rng(|| {
        manual_seed(1);
        let net = network()?;
        let x = Tensor::randn([6, 1, 8, 8], DType::F32)?;
        let y = Tensor::from_vec(vec![0i64, 1, 2, 0, 1, 2], [6])?;
        let loss = CrossEntropyLoss::default();
        let rule = Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() };
        let mut optimizer = Optimizer::new(&net, rule)?;
        let mut losses = Vec::new();
        for _ in 0..30 {
            optimizer.zero_grad();
            let l = loss.forward(&net.forward(&x)?, &y)?;
            l.backward()?;
            assert!(optimizer.step_audited(&net)?.is_sound());
            losses.push(l.item()?);
        }
        assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
        let l = MSELoss::default().forward(&net.forward(&x)?, &Tensor::zeros([6, 3], DType::F32)?)?;
        assert!(l.item()? > 0.0);
        Ok(())
    })
}

#[test]
fn constants_fill_parameters() -> Result<()> {
    let layer = LinearConfig { dtype: DType::BF16, ..Default::default() }.build(2, 2)?;
    constant_(&layer.weight, 0.5)?;
    assert_eq!(values(&layer.weight), [0.5; 4]);
    Ok(())
}

/// Projections of one input that attend to each other, of different sizes.
#[derive(Module)]
struct Attending {
    query: Linear,
    key: Linear,
    value: Linear,
}

#[test]
fn products_within_operations_are_counted() -> Result<()> {
    // Five steps of a batch of two, in both directions: what comes from the input and from the hidden state.
    let x = Tensor::ones([5, 2, 3], DType::F32)?;
    let mut lstm = LSTM::with(3, 4, RecurrentConfig { bidirectional: true, ..RecurrentConfig::default() })?;
    let summary = lstm.summary_of(|lstm| Ok(lstm.forward(&x, None)?.0))?;
    assert_eq!(summary.mult_adds, Some(2 * 5 * 2 * 16 * (3 + 4)));

    let mut model =
        Attending { query: Linear::new(6, 4)?, key: Linear::new(6, 4)?, value: Linear::new(6, 7)? };
    let (x, y) = (Tensor::ones([2, 3, 6], DType::F32)?, Tensor::ones([2, 5, 6], DType::F32)?);
    let mask = Tensor::zeros([3, 5], DType::F32)?;
    for mask in [None, Some(&mask)] {
        let options = AttentionOptions { mask, ..AttentionOptions::default() };
        let summary = model.summary_of(|m| {
            let (key, value) = (m.key.forward(&y)?, m.value.forward(&y)?);
            scaled_dot_product_attention(&m.query.forward(&x)?, &key, &value, options)
        })?;
        let projected = 2 * 3 * 6 * 4 + 2 * 5 * 6 * (4 + 7);
        assert_eq!(summary.mult_adds, Some(projected + 2 * 3 * 5 * (4 + 7)));
    }
    Ok(())
}

/// Values of PyTorch's layer, whose first channel stays in all sums after it.
#[test]
fn cross_map_lrn_is_pytorchs() -> Result<()> {
    let x: Vec<f32> = (0..12).map(|i| i as f32 / 4.0 - 1.0).collect();
    let x = Tensor::from_vec(x, [1, 6, 1, 2])?;
    let table = [
        (
            1,
            [
                -0.5029734, -0.4040467, -0.2424505, -0.1333149, 0.0, 0.1333149, 0.2424505, 0.3703082,
                0.4386913, 0.5399492, 0.5709660, 0.6414025,
            ],
        ),
        (
            3,
            [
                -0.5520158, -0.4292904, -0.2760079, -0.1425678, 0.0, 0.1380040, 0.2613499, 0.3820153,
                0.4682745, 0.5541466, 0.7105010, 0.7947709,
            ],
        ),
        (
            4,
            [
                -0.5619862, -0.4333188, -0.2809931, -0.1440337, 0.0, 0.1404965, 0.2693645, 0.3959386,
                0.4937443, 0.5903819, 0.7474635, 0.8429382,
            ],
        ),
    ];
    for (size, expected) in table {
        let norm = CrossMapLRN2d { alpha: 0.5, beta: 0.75, k: 2.0, ..CrossMapLRN2d::new(size) };
        for (found, expected) in values(&norm.forward(&x)?).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "size {size}: {found}, expected {expected}");
        }
    }
    let error = CrossMapLRN2d::new(3).forward(&x.squeeze(0)?).unwrap_err().to_string();
    assert_eq!(error, "CrossMapLRN2d: needs [N, C, H, W] and a size of at least 1, found [6, 1, 2] and 3");
    assert!(CrossMapLRN2d::new(0).forward(&x).is_err());
    Ok(())
}
