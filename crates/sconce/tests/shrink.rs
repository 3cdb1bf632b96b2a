//! Channels that are removed: layers get smaller, outputs stay.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sconce::compress::Amount;
use sconce::functional::{InterpolateOptions, Resize};
use sconce::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm1d, BatchNorm2d, Conv1d, Conv2d, Conv2dConfig, Conv3d,
    ConvTranspose2d, Embedding, Flatten, GELU, LayerNorm, Linear, LinearConfig, MaxPool2d, Mode, PReLU,
    Padding, ReLU, Sequential, SiLU, Tanh, Upsample, prune,
};
use sconce::optim::{AdamW, Optimizer, Rule, Sgd};
use sconce::prelude::*;
use sconce::{DType, Result, manual_seed};

fn conv(inputs: usize, outputs: usize, groups: usize) -> Result<Conv2d> {
    Conv2dConfig { padding: Padding::Explicit([1, 1]), groups, bias: groups == 1, ..Conv2dConfig::default() }
        .build(inputs, outputs, 3)
}

fn shape(model: &dyn Module, name: &str) -> Result<Vec<usize>> {
    Ok(model.get_parameter(name)?.shape().to_vec())
}

/// Masks half of the channels, compares the masked and the smaller model, and returns the shapes of the parameters.
fn halve<M: Module>(
    model: &mut M,
    selector: &str,
    forward: impl Fn(&M) -> Result<Tensor>,
) -> Result<Vec<(String, Vec<usize>)>> {
    // Running statistics that are not 0 and 1.
    model.train();
    forward(model)?;
    model.eval();
    prune::ln_channels(model, selector, Amount::Fraction(0.5), 2.0, &forward)?;
    let masked = no_grad(|| forward(model))?;
    let shrunk = prune::shrink(model, &forward)?;
    let after = no_grad(|| forward(model))?;
    assert!(!prune::is_pruned(model), "{shrunk}");
    let far = masked.sub(&after)?.abs()?.amax(())?.item()?;
    let greatest = masked.abs()?.amax(())?.item()?;
    assert!(far <= 1e-5 * greatest, "{far} of {greatest}: {shrunk}");
    assert!(greatest > 0.0);
    // Nothing that could go is left.
    let again = prune::shrink(model, &forward).unwrap_err().to_string();
    assert_eq!(again, "shrink: no channel that could go is 0");
    Ok(model.named_parameters().into_iter().map(|(name, p)| (name, p.shape().to_vec())).collect())
}

fn images() -> Result<Tensor> {
    Tensor::randn([2, 3, 8, 8], DType::F32)
}

#[test]
fn sequences_of_layers_shrink_together() -> Result<()> {
    manual_seed(0);
    let no_bias = || LinearConfig { bias: false, ..LinearConfig::default() }.build(6, 4);
    type Case =
        (&'static str, Sequential, Vec<usize>, &'static str, &'static [(&'static str, &'static [usize])]);
    let cases: Vec<Case> = vec![
        (
            "convolution, norm, convolution",
            Sequential::new().add(conv(3, 8, 1)?).add(BatchNorm2d::new(8)?).add(ReLU).add(conv(8, 4, 1)?),
            vec![2, 3, 8, 8],
            "0.weight",
            &[("0.weight", &[4, 3, 3, 3]), ("1.bias", &[4]), ("3.weight", &[4, 4, 3, 3])],
        ),
        (
            "flattened into a linear layer, through pooling",
            Sequential::new()
                .add(conv(3, 8, 1)?)
                .add(SiLU)
                .add(MaxPool2d::new(2))
                .add(Flatten::default())
                .add(Linear::new(128, 5)?),
            vec![2, 3, 8, 8],
            "0.weight",
            &[("0.weight", &[4, 3, 3, 3]), ("4.weight", &[5, 64])],
        ),
        (
            "averaged over an image, resized on the way",
            Sequential::new()
                .add(conv(3, 8, 1)?)
                .add(Tanh)
                .add(Upsample { resize: Resize::Scale(vec![2.0]), options: InterpolateOptions::default() })
                .add(AvgPool2d::new(3))
                .add(AdaptiveAvgPool2d::new(1))
                .add(Flatten::default())
                .add(Linear::new(8, 5)?),
            vec![2, 3, 8, 8],
            "0.weight",
            &[("0.weight", &[4, 3, 3, 3]), ("6.weight", &[5, 4])],
        ),
        (
            "a depthwise convolution between two others",
            Sequential::new()
                .add(conv(3, 8, 1)?)
                .add(ReLU)
                .add(conv(8, 8, 8)?)
                .add(BatchNorm2d::new(8)?)
                .add(ReLU)
                .add(conv(8, 4, 1)?),
            vec![2, 3, 8, 8],
            "2.weight",
            &[("0.weight", &[4, 3, 3, 3]), ("2.weight", &[4, 1, 3, 3]), ("5.weight", &[4, 4, 3, 3])],
        ),
        (
            "a transposed convolution",
            Sequential::new()
                .add(conv(3, 8, 1)?)
                .add(ReLU)
                .add(ConvTranspose2d::new(8, 6, 2)?)
                .add(ReLU)
                .add(conv(6, 2, 1)?),
            vec![2, 3, 8, 8],
            "{0,2}.weight",
            &[
                ("0.weight", &[4, 3, 3, 3]),
                ("2.weight", &[4, 3, 2, 2]),
                ("2.bias", &[3]),
                ("4.weight", &[2, 3, 3, 3]),
            ],
        ),
        (
            "a chain of linear layers, one without bias",
            Sequential::new()
                .add(Linear::new(4, 6)?)
                .add(GELU::default())
                .add(no_bias()?)
                .add(BatchNorm1d::new(4)?)
                .add(ReLU)
                .add(Linear::new(4, 2)?),
            vec![7, 4],
            "{0,2}.weight",
            &[("0.weight", &[3, 4]), ("2.weight", &[2, 3]), ("3.weight", &[2]), ("5.weight", &[2, 2])],
        ),
        (
            "linear layers over more dimensions",
            Sequential::new().add(Linear::new(4, 6)?).add(PReLU::new()?).add(Linear::new(6, 2)?),
            vec![3, 5, 4],
            "0.weight",
            &[("0.weight", &[3, 4]), ("2.weight", &[2, 3])],
        ),
        (
            "convolutions in one dimension",
            Sequential::new().add(Conv1d::new(3, 8, 3)?).add(ReLU).add(Conv1d::new(8, 4, 3)?),
            vec![2, 3, 9],
            "0.weight",
            &[("0.weight", &[4, 3, 3]), ("2.weight", &[4, 4, 3])],
        ),
        (
            "convolutions in three dimensions",
            Sequential::new().add(Conv3d::new(2, 6, 2)?).add(ReLU).add(Conv3d::new(6, 4, 2)?),
            vec![2, 2, 4, 4, 4],
            "0.weight",
            &[("0.weight", &[3, 2, 2, 2, 2]), ("2.weight", &[4, 3, 2, 2, 2])],
        ),
    ];
    for (what, mut net, input, selector, expected) in cases {
        let x = Tensor::randn(&input[..], DType::F32)?;
        let shapes = halve(&mut net, selector, |net| net.forward(&x)).map_err(|error| error.context(what))?;
        for (name, expected) in expected {
            let found = shapes.iter().find(|(n, _)| n == name);
            assert_eq!(found.map(|(_, shape)| shape.as_slice()), Some(*expected), "{what}: {name}");
        }
    }
    Ok(())
}

/// A residual network with a projection, a concatenation and a gate as of squeeze and excitation.
#[derive(Module)]
struct Net {
    stem: Conv2d,
    norm: BatchNorm2d,
    a: Conv2d,
    a_norm: BatchNorm2d,
    b: Conv2d,
    squeeze: Linear,
    excite: Linear,
    joined: Conv2d,
    head: Linear,
}

impl Net {
    fn new() -> Result<Self> {
        Ok(Self {
            stem: conv(3, 8, 1)?,
            norm: BatchNorm2d::new(8)?,
            a: conv(8, 6, 1)?,
            a_norm: BatchNorm2d::new(6)?,
            b: conv(6, 8, 1)?,
            squeeze: Linear::new(8, 4)?,
            excite: Linear::new(4, 8)?,
            joined: conv(8 + 6, 6, 1)?,
            head: Linear::new(6, 3)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.norm.forward(&self.stem.forward(x)?)?.relu()?;
        let inner = self.a_norm.forward(&self.a.forward(&x)?)?.relu()?;
        let y = self.b.forward(&inner)?;
        let gate = self.squeeze.forward(&y.mean([2, 3])?)?.relu()?;
        let gate = self.excite.forward(&gate)?.sigmoid()?.unsqueeze(-1)?.unsqueeze(-1)?;
        let sum = x.add(&y.mul(&gate)?)?;
        let joined = Tensor::cat(&[sum, inner], 1)?;
        let last = self.joined.forward(&joined)?.relu()?.amax([2, 3])?;
        self.head.forward(&last)
    }
}

#[test]
fn branches_shrink_together() -> Result<()> {
    manual_seed(1);
    let x = images()?;
    let mut net = Net::new()?;
    let groups = prune::channels(&mut net, |net| net.forward(&x))?;
    let shown: Vec<String> = groups.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "8 channels of stem.weight, stem.bias, norm.weight, norm.bias, b.weight, b.bias, excite.weight, excite.bias, \
             read by a.weight, squeeze.weight, joined.weight",
            "6 channels of a.weight, a.bias, a_norm.weight, a_norm.bias, read by b.weight, joined.weight",
            "4 channels of squeeze.weight, squeeze.bias, read by excite.weight",
            "6 channels of joined.weight, joined.bias, read by head.weight",
            "3 channels of head.weight, head.bias; they stay: they are the output",
        ]
    );
    let shapes = halve(&mut net, "{stem,a,squeeze,joined}.weight", |net| net.forward(&x))?;
    let expected: &[(&str, &[usize])] = &[
        ("stem.weight", &[4, 3, 3, 3]),
        ("a.weight", &[3, 4, 3, 3]),
        ("b.weight", &[4, 3, 3, 3]),
        ("squeeze.weight", &[2, 4]),
        ("excite.weight", &[4, 2]),
        ("joined.weight", &[3, 7, 3, 3]),
        ("head.weight", &[3, 3]),
    ];
    for (name, expected) in expected {
        assert!(shapes.iter().any(|(n, shape)| n == name && shape == expected), "{name}: {shapes:?}");
    }
    assert!(net.summary().to_string().contains("Conv2d(in_channels=4, out_channels=3"), "{}", net.summary());
    assert_eq!(net.norm.running_var.as_ref().unwrap().shape(), [4]);
    // The smaller model saves and loads, and trains.
    net.train();
    net.forward(&x)?.sum(())?.backward()?;
    assert!(net.a.weight.grad().is_some());
    Ok(())
}

/// A head that is the table of the embedding.
#[derive(Module)]
struct Tied {
    embedding: Embedding,
    hidden: Linear,
    head: Linear,
}

/// A convolution back with the weight of the one before.
#[derive(Module)]
struct Mirror {
    there: Conv2d,
    back: ConvTranspose2d,
}

#[test]
fn all_layers_of_a_tied_parameter_get_smaller() -> Result<()> {
    manual_seed(5);
    let x = Tensor::from_vec(vec![1i64, 5, 9], [3])?;
    let mut model =
        Tied { embedding: Embedding::new(10, 6)?, hidden: Linear::new(6, 6)?, head: Linear::new(6, 10)? };
    model.head.weight = model.embedding.weight.clone();
    halve(&mut model, "hidden.weight", |m| {
        m.head.forward(&m.hidden.forward(&m.embedding.forward(&x)?)?.relu()?)
    })?;
    assert!(model.head.weight.is(&model.embedding.weight));
    let shown = model.summary().to_string();
    for layer in ["embedding_dim=3", "in_features=3, out_features=3", "in_features=3, out_features=10"] {
        assert!(shown.contains(layer), "{layer}: {shown}");
    }

    // The weight's first dimension is the output of one layer and the input of the other.
    let x = images()?;
    let mut model = Mirror { there: Conv2d::new(3, 8, 3)?, back: ConvTranspose2d::new(8, 3, 3)? };
    model.back.weight = model.there.weight.clone();
    let forward = |m: &Mirror| m.back.forward(&m.there.forward(&x)?.relu()?);
    no_grad(|| {
        model.there.weight.narrow(0, 0, 4)?.zero_()?;
        model.get_parameter("there.bias")?.narrow(0, 0, 4)?.zero_()
    })?;
    assert_eq!(
        prune::shrink(&mut model, forward).unwrap_err().to_string(),
        "shrink: `there.in_channels` would be 4 less by dimension 0 of `there.weight`, and 0 less by dimension 1 of \
         `there.weight`: a parameter is used in ways that do not go together"
    );
    assert_eq!(shape(&model, "there.weight")?, [8, 3, 3, 3]);
    Ok(())
}

/// Modules whose channels have to stay, or that do not fit when they are smaller.
#[derive(Module)]
struct Odd {
    embedding: Embedding,
    hidden: Linear,
    norm: LayerNorm,
    output: Linear,
    kind: u32,
}

impl Odd {
    fn new(kind: u32) -> Result<Self> {
        Ok(Self {
            embedding: Embedding::new(10, 6)?,
            hidden: Linear::new(6, 4)?,
            norm: LayerNorm::new(4usize)?,
            output: Linear::new(4, 2)?,
            kind,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.hidden.forward(&self.embedding.forward(x)?)?;
        self.output.forward(&match self.kind {
            0 => self.norm.forward(&y)?,
            1 => y.sigmoid()?,
            2 => y.add(1.0)?,
            3 => y.softmax(-1)?,
            4 => y.relu()?.view([3, 4])?,
            _ => y.mul(&y.sum(())?)?,
        })
    }
}

#[test]
fn what_cannot_be_removed_is_an_error_that_says_why() -> Result<()> {
    manual_seed(2);
    let x = Tensor::from_vec(vec![1i64, 5, 9], [3])?;
    let half = Amount::Fraction(0.5);
    let cases = [
        (
            0,
            "hidden.weight",
            half,
            "ln_channels: `hidden.weight`: its 4 channels stay: `layer_norm` mixes them or is not followed",
        ),
        (
            1,
            "hidden.weight",
            half,
            "ln_channels: `hidden.weight`: its 4 channels stay: `sigmoid` makes something else of their zeros",
        ),
        (
            2,
            "hidden.weight",
            half,
            "ln_channels: `hidden.weight`: its 4 channels stay: `add` makes something else of their zeros",
        ),
        (
            3,
            "hidden.weight",
            half,
            "ln_channels: `hidden.weight`: its 4 channels stay: `softmax` mixes them or is not followed",
        ),
        (4, "output.weight", half, "ln_channels: `output.weight`: its 2 channels stay: they are the output"),
        (
            4,
            "hiden.weight",
            half,
            "ln_channels: selector `hiden.weight` matches none of 7 names; did you mean `hidden.weight`?",
        ),
        (4, "hidden.weight", Amount::Fraction(1.0), "ln_channels: `hidden.weight`: all 4 channels would go"),
        (4, "hidden.weight", Amount::Count(5), "ln_channels: `hidden.weight`: cannot prune 5 of 4"),
    ];
    for (kind, selector, amount, expected) in cases {
        let mut model = Odd::new(kind)?;
        let before = model.state_dict();
        let error = prune::ln_channels(&mut model, selector, amount, 2.0, |m| m.forward(&x)).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(model.state_dict().names().collect::<Vec<_>>(), before.names().collect::<Vec<_>>());
    }

    // A size that the forward repeats.
    let mut model = Odd::new(4)?;
    prune::ln_channels(&mut model, "hidden.weight", half, 2.0, |m| m.forward(&x))?;
    let masked = model.forward(&x)?.to_vec::<f32>()?;
    let error = prune::shrink(&mut model, |m| m.forward(&x)).unwrap_err().to_string();
    assert!(error.starts_with("shrink: the smaller model: "), "{error}");
    assert_eq!(model.forward(&x)?.to_vec::<f32>()?, masked);
    assert!(prune::is_pruned(&model));

    // The table of an embedding.
    let mut model = Odd::new(0)?;
    halve(&mut model, "embedding.weight", |m| m.forward(&x))?;
    assert_eq!(
        (shape(&model, "embedding.weight")?, shape(&model, "hidden.weight")?),
        (vec![10, 3], vec![4, 3])
    );

    // A frozen model stays frozen.
    let mut model = Odd::new(0)?;
    model.freeze("**")?;
    halve(&mut model, "embedding.weight", |m| m.forward(&x))?;
    assert!(model.parameters().iter().all(|p| !p.requires_grad()));
    Ok(())
}

#[test]
fn only_what_is_zero_goes() -> Result<()> {
    manual_seed(3);
    let x = images()?;
    let mut net =
        Sequential::new().add(conv(3, 8, 1)?).add(BatchNorm2d::new(8)?).add(ReLU).add(conv(8, 4, 1)?);
    // A convolution whose rows are masked, but not what follows it: the norm's bias is still there.
    prune::ln_structured(&mut net, "0.weight", Amount::Count(4), 2.0, 0)?;
    no_grad(|| net.get_parameter("1.bias")?.fill_(0.25))?;
    assert!(prune::shrink(&mut net, |net| net.forward(&x)).is_err());
    // Single elements stay masked in the smaller layer.
    prune::ln_channels(&mut net, "0.weight", Amount::Count(4), 2.0, |net| net.forward(&x))?;
    prune::l1_unstructured(&mut net, "3.weight", Amount::Count(200))?;
    let masked = net.eval_forward(&x)?;
    prune::shrink(&mut net, |net| net.forward(&x))?;
    assert!(net.eval_forward(&x)?.allclose(&masked, 1e-4, 1e-5, false)?);
    let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"0.weight".to_owned()) && names.contains(&"3.weight_orig".to_owned()),
        "{names:?}"
    );
    Ok(())
}

trait EvalForward {
    fn eval_forward(&mut self, x: &Tensor) -> Result<Tensor>;
}

impl EvalForward for Sequential {
    fn eval_forward(&mut self, x: &Tensor) -> Result<Tensor> {
        self.eval();
        no_grad(|| self.forward(x))
    }
}

fn follows<R: Rule>(rule: R) -> Result<()> {
    manual_seed(4);
    let x = Tensor::randn([5, 4], DType::F32)?;
    let mut net = Sequential::new()
        .add(LinearConfig { bias: false, ..LinearConfig::default() }.build(4, 8)?)
        .add(ReLU)
        .add(LinearConfig { bias: false, ..LinearConfig::default() }.build(8, 2)?);
    prune::ln_channels(&mut net, "0.weight", Amount::Count(3), 2.0, |net| net.forward(&x))?;
    let mut optimizer = Optimizer::new(&net, rule)?;
    let step = |net: &Sequential, optimizer: &mut Optimizer<R>| -> Result<Vec<f32>> {
        optimizer.zero_grad();
        net.forward(&x)?.square()?.sum(())?.backward()?;
        optimizer.step()?;
        net.forward(&x)?.to_vec()
    };
    step(&net, &mut optimizer)?;
    let saved = (
        net.state_dict().into_iter().map(|(n, t)| Ok((n, t.copy()?))).collect::<Result<Vec<_>>>()?,
        optimizer.state_dict()?,
    );
    let masked = step(&net, &mut optimizer)?;
    net.load_state_dict(&saved.0.into_iter().collect(), sconce::nn::Strictness::Strict)?;
    optimizer.load_state_dict(&saved.1)?;

    let shrunk = prune::shrink(&mut net, |net| net.forward(&x))?;
    assert!(optimizer.step().unwrap_err().to_string().contains("the module holds another tensor by now"));
    optimizer.follow(&shrunk)?;
    let smaller = step(&net, &mut optimizer)?;
    for (a, b) in masked.iter().zip(&smaller) {
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{}: {masked:?} {smaller:?}", R::NAME);
    }
    Ok(())
}

#[test]
fn optimisers_go_on_with_the_smaller_parameters() -> Result<()> {
    follows(Sgd { lr: 0.01, momentum: 0.9, ..Sgd::default() })?;
    follows(AdamW { lr: 0.01, ..AdamW::default() })?;
    Ok(())
}

#[derive(Module)]
struct Normed {
    first: Linear,
    norm: BatchNorm1d,
    last: Linear,
}

#[test]
fn modes_and_frozen_parameters_come_back_after_a_panic() -> Result<()> {
    type Run = fn(&mut Normed, &dyn Fn(&Normed) -> Result<Tensor>) -> Result<()>;
    let table: &[(&str, Run)] = &[
        ("shrink", |net, run| prune::shrink(net, run).map(drop)),
        ("channels", |net, run| prune::channels(net, run).map(drop)),
        ("ln_channels", |net, run| {
            prune::ln_channels(net, "first.weight", Amount::Fraction(0.5), 2.0, run).map(drop)
        }),
        ("summary_of", |net, run| net.summary_of(run).map(drop)),
    ];
    let mut net = Normed { first: Linear::new(3, 4)?, norm: BatchNorm1d::new(4)?, last: Linear::new(4, 2)? };
    net.freeze("first.**")?;
    let x = Tensor::randn([5, 3], DType::F32)?;
    for (name, run) in table {
        for whole in [false, true] {
            let forward = |net: &Normed| -> Result<Tensor> {
                assert_eq!(net.norm.mode, Mode::Eval);
                assert!(net.first.weight.requires_grad(), "what is frozen is recorded");
                if whole {
                    net.last.forward(&net.norm.forward(&net.first.forward(&x)?)?)?;
                }
                panic!("a forward that panics")
            };
            let caught = catch_unwind(AssertUnwindSafe(|| run(&mut net, &forward)));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"a forward that panics"), "{name}");
            let trainable: Vec<bool> = net.parameters().iter().map(|p| p.requires_grad()).collect();
            assert_eq!(trainable, [false, false, true, true, true, true], "{name}");
            assert_eq!(net.norm.mode, Mode::Train, "{name}");
        }
    }
    Ok(())
}
