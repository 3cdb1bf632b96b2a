//! Modules: names and their order, ties, state dicts, conversion, modes.

use std::collections::BTreeMap;

use sconce::nn::{
    BatchNorm1d, BatchNorm2d, Buffer, Conv2d, Dropout, Linear, MaxPool2d, Mode, ModuleDict, Param, ReLU,
    Sequential, StateDict, Strictness,
};
use sconce::prelude::*;
use sconce::{ErrorKind, Result};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32).unwrap()
}

fn param(shape: &[usize]) -> Param {
    Param::new(&zeros(shape)).unwrap()
}

#[derive(Module)]
struct Attention {
    in_proj_weight: Param,
    out_proj: Linear,
    #[module(rename = "bias_k")]
    bias: Option<Param>,
    scale: f64,
    window: (usize, usize),
    kernel: [usize; 2],
}

#[derive(Module)]
struct Block {
    norm: BatchNorm2d,
    attention: Attention,
    // Own parameters come before those of children, wherever they are declared; buffers after parameters.
    mask: Buffer,
    cache: Buffer,
    gain: Param,
    downsample: Option<Linear>,
    shortcut: Option<Linear>,
}

#[derive(Module)]
struct Model {
    embed: Param,
    blocks: Vec<Block>,
    heads: BTreeMap<String, Linear>,
    named: ModuleDict<Linear>,
    head: Box<dyn Layer>,
    pair: (Linear, Param),
    scales: [Param; 2],
    mode: Mode,
    rate: f32,
}

fn block() -> Result<Block> {
    Ok(Block {
        norm: BatchNorm2d::new(2)?,
        attention: Attention {
            in_proj_weight: param(&[6, 2]),
            out_proj: Linear::new(2, 2)?,
            bias: None,
            scale: 0.5,
            window: (7, 7),
            kernel: [3, 3],
        },
        mask: Buffer::new(&zeros(&[2])),
        cache: Buffer::transient(&zeros(&[5])),
        gain: param(&[1]),
        downsample: None,
        shortcut: Some(Linear::new(2, 2)?),
    })
}

fn model() -> Result<Model> {
    let embed = param(&[4, 2]);
    let mut head = Linear::new(2, 4)?;
    head.weight = embed.clone();
    let mut heads = BTreeMap::new();
    heads.insert("z".to_owned(), Linear::new(1, 1)?);
    heads.insert("a".to_owned(), Linear::new(1, 1)?);
    let mut named = ModuleDict::new();
    named.insert("z", Linear::new(1, 1)?)?;
    named.insert("a", Linear::new(1, 1)?)?;
    Ok(Model {
        embed,
        blocks: vec![block()?, block()?],
        heads,
        named,
        head: Box::new(Sequential::new().add(ReLU).add_named("out", head)?),
        pair: (Linear::new(1, 1)?, param(&[3])),
        scales: [param(&[1]), param(&[2])],
        mode: Mode::Train,
        rate: 0.1,
    })
}

/// As PyTorch's `named_parameters()` of the same tree.
const PARAMETERS: &[&str] = &[
    "embed",
    "blocks.0.gain",
    "blocks.0.norm.weight",
    "blocks.0.norm.bias",
    "blocks.0.attention.in_proj_weight",
    "blocks.0.attention.out_proj.weight",
    "blocks.0.attention.out_proj.bias",
    "blocks.0.shortcut.weight",
    "blocks.0.shortcut.bias",
    "blocks.1.gain",
    "blocks.1.norm.weight",
    "blocks.1.norm.bias",
    "blocks.1.attention.in_proj_weight",
    "blocks.1.attention.out_proj.weight",
    "blocks.1.attention.out_proj.bias",
    "blocks.1.shortcut.weight",
    "blocks.1.shortcut.bias",
    "heads.a.weight",
    "heads.a.bias",
    "heads.z.weight",
    "heads.z.bias",
    "named.z.weight",
    "named.z.bias",
    "named.a.weight",
    "named.a.bias",
    "head.out.bias",
    "pair.1",
    "pair.0.weight",
    "pair.0.bias",
    "scales.0",
    "scales.1",
];

/// As PyTorch's `state_dict()` of one block.
const BLOCK_STATE: &[&str] = &[
    "gain",
    "mask",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "norm.num_batches_tracked",
    "attention.in_proj_weight",
    "attention.out_proj.weight",
    "attention.out_proj.bias",
    "shortcut.weight",
    "shortcut.bias",
];

const BLOCK_MODULES: &[(&str, &str)] = &[
    ("", "Block"),
    ("norm", "BatchNorm2d"),
    ("attention", "Attention"),
    ("attention.out_proj", "Linear"),
    ("shortcut", "Linear"),
];

#[test]
fn order_is_pytorchs() -> Result<()> {
    let model = model()?;
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, PARAMETERS);
    assert_eq!(model.parameters().len(), PARAMETERS.len());

    let block = &model.blocks[0];
    assert_eq!(block.state_dict().names().collect::<Vec<_>>(), BLOCK_STATE);
    let modules: Vec<_> = block.named_modules().into_iter().map(|(path, m)| (path, m.type_name())).collect();
    assert_eq!(modules, BLOCK_MODULES.map_owned());
    let children: Vec<String> = block.named_children().into_iter().map(|(name, _)| name).collect();
    assert_eq!(children, ["norm", "attention", "shortcut"]);
    let buffers: Vec<String> = block.named_buffers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        buffers,
        ["mask", "cache", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    );
    Ok(())
}

trait MapOwned {
    fn map_owned(&self) -> Vec<(String, &'static str)>;
}

impl MapOwned for &[(&str, &'static str)] {
    fn map_owned(&self) -> Vec<(String, &'static str)> {
        self.iter().map(|(path, name)| ((*path).to_owned(), *name)).collect()
    }
}

#[test]
fn trait_objects_list_like_their_types() -> Result<()> {
    let model = model()?;
    let names =
        |m: &dyn Module| -> Vec<String> { m.named_parameters().into_iter().map(|(n, _)| n).collect() };
    assert_eq!(names(&model), PARAMETERS);
    let layer: &dyn Layer = &*model.head;
    assert_eq!(layer.named_parameters()[0].0, "out.weight");
    assert_eq!(layer.named_modules().len(), 3);
    assert_eq!(model.head.named_modules()[0].1.type_name(), "Sequential");
    let mut boxed: Box<dyn Module> = Box::new(model);
    boxed.eval();
    boxed.to(DType::F64)?;
    assert_eq!(boxed.get_parameter("blocks.1.gain")?.dtype(), DType::F64);
    // A leaf is a module of no name.
    assert_eq!(param(&[2]).named_parameters()[0].0, "");
    Ok(())
}

#[test]
fn tied_parameters_are_one() -> Result<()> {
    let mut model = model()?;
    let count: usize = PARAMETERS.len();
    assert_eq!(model.named_parameters().len(), count);
    let state = model.state_dict();
    assert!(state.get("embed")?.shares_storage(state.get("head.out.weight")?));

    let elements = model.num_parameters();
    model.to(DType::F64)?;
    assert_eq!((model.num_parameters(), model.named_parameters().len()), (elements, count));
    let out = model.get_parameter("head.out.weight")?;
    assert!(out.is(&model.embed), "still one after a conversion");

    // One of its names picks it.
    model.freeze("head.out.weight")?;
    assert!(!model.embed.requires_grad());
    Ok(())
}

#[test]
fn conversion_keeps_what_belongs_to_a_parameter() -> Result<()> {
    let mut model = model()?;
    model.freeze("embed")?;
    let gain = &model.blocks[0].gain;
    gain.set_grad(Some(Tensor::full([1], 2.5, DType::F32)?))?;
    model.to(DType::BF16)?;
    let gain = &model.blocks[0].gain;
    assert!(gain.requires_grad() && gain.is_leaf());
    assert_eq!(gain.grad().unwrap().dtype(), DType::BF16);
    assert_eq!(gain.grad().unwrap().item()?, 2.5);
    assert!(!model.embed.requires_grad());
    let norm = &model.blocks[0].norm;
    assert_eq!(norm.running_mean.as_ref().unwrap().dtype(), DType::BF16);
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().dtype(), DType::I64);
    // The same dtype replaces nothing.
    let before = model.embed.clone();
    model.to(DType::BF16)?;
    assert!(before.is(&model.embed));
    for dtype in [DType::I64, DType::Bool, DType::F8E4M3, DType::C64] {
        assert_eq!(model.to(dtype).unwrap_err().kind(), ErrorKind::DType);
    }
    Ok(())
}

#[test]
fn modes_reach_every_level() -> Result<()> {
    let mut net = (vec![Some(Box::new(Dropout::new(0.5)?))], BatchNorm2d::new(1)?, Mode::Train);
    net.eval();
    assert_eq!((net.0[0].as_ref().unwrap().mode, net.1.mode, net.2), (Mode::Eval, Mode::Eval, Mode::Eval));
    net.1.mode = Mode::Train;
    assert_eq!(net.2, Mode::Eval);
    net.train();
    assert_eq!((net.0[0].as_ref().unwrap().mode, net.2), (Mode::Train, Mode::Train));
    Ok(())
}

#[test]
fn lookups_name_what_is_near() -> Result<()> {
    let model = model()?;
    assert!(model.get_parameter("blocks.1.norm.weight")?.is(model.blocks[1].norm.weight.as_ref().unwrap()));
    assert_eq!(model.get_buffer("blocks.0.mask")?.shape(), [2]);
    assert_eq!(model.get_submodule("blocks.1.attention")?.type_name(), "Attention");
    assert_eq!(model.get_submodule("")?.type_name(), "Model");
    let errors = [
        (
            model.get_parameter("blocks.1.norm.wieght").map(drop),
            "no parameter `blocks.1.norm.wieght`; did you mean `blocks.1.norm.weight`?",
        ),
        (
            model.get_parameter("blocks.0.mask").map(drop),
            "no parameter `blocks.0.mask`; did you mean `blocks.0.gain`?",
        ),
        (
            model.get_buffer("blocks.0.maks").map(drop),
            "no buffer `blocks.0.maks`; did you mean `blocks.0.mask`?",
        ),
        (model.get_submodule("block.0").map(drop), "no module `block.0`; did you mean `blocks.0`?"),
        (model.get_submodule("embed").map(drop), "no module `embed`"),
    ];
    for (result, message) in errors {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), message);
    }
    Ok(())
}

#[test]
fn freezing_says_what_it_matched() -> Result<()> {
    let model = model()?;
    let gain = &model.blocks[0].gain;
    gain.set_grad(Some(zeros(&[1])))?;
    let selection = model.freeze("blocks.*.{gain,norm.*} & !**.bias")?;
    assert_eq!(
        selection.names(),
        ["blocks.0.gain", "blocks.0.norm.weight", "blocks.1.gain", "blocks.1.norm.weight"]
    );
    assert!(!gain.requires_grad() && gain.grad().is_none());
    let error = model.freeze("blocks.2.**").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Selector);
    assert_eq!(model.unfreeze("!trainable")?.names().len(), 4);
    assert!(gain.requires_grad());
    assert!(model.freeze("kind==buffer").is_err(), "buffers are not trained");
    assert_eq!(model.select("kind==buffer & blocks.0.*")?.names(), ["blocks.0.mask", "blocks.0.cache"]);
    model.requires_grad_(false)?;
    assert!(model.parameters().iter().all(|p| !p.requires_grad()));
    Ok(())
}

#[test]
fn frozen_layers_match_whole_segments() -> Result<()> {
    let layers = (0..12).map(|_| Linear::new(1, 1)).collect::<Result<Vec<_>>>()?;
    let frozen = layers.freeze("1.**")?;
    assert_eq!(frozen.names(), ["1.weight", "1.bias"]);
    assert!(layers[10].weight.requires_grad() && layers[11].weight.requires_grad());
    Ok(())
}

#[test]
fn gradients_are_dropped_everywhere() -> Result<()> {
    let model = model()?;
    for p in model.parameters() {
        p.set_grad(Some(p.zeros_like()?))?;
    }
    model.zero_grad();
    assert!(model.parameters().iter().all(|p| p.grad().is_none()));
    Ok(())
}

#[test]
fn loading_copies_in_place() -> Result<()> {
    let (from, to) = (model()?, model()?);
    for p in from.parameters() {
        no_grad(|| p.fill_(3))?;
    }
    let embed = to.embed.clone();
    let report = to.load_state_dict(&from.state_dict(), Strictness::Strict)?;
    assert!(report.is_complete());
    assert_eq!(report.loaded.len(), from.state_dict().len());
    assert_eq!(report.to_string(), format!("{} loaded", from.state_dict().len()));
    assert!(embed.is(&to.embed) && to.embed.requires_grad());
    assert_eq!(to.embed.to_vec::<f32>()?, [3.0; 8]);

    // Another dtype is converted, and said to be.
    let mut double = model()?;
    double.to(DType::F64)?;
    let report = to.load_state_dict(&double.state_dict(), Strictness::Strict)?;
    assert_eq!(to.embed.dtype(), DType::F32);
    assert_eq!(report.converted.len(), report.loaded.len() - 2, "all but two counters");

    // One of a tied parameter's names is enough.
    let mut state = from.state_dict();
    state.remove("embed");
    assert!(to.load_state_dict(&state, Strictness::Strict)?.is_complete());
    assert_eq!(to.embed.to_vec::<f32>()?, [3.0; 8]);
    Ok(())
}

fn linears() -> Result<Vec<Linear>> {
    Ok(vec![Linear::new(2, 3)?, Linear::new(3, 1)?])
}

#[test]
fn loading_names_every_fault_and_changes_nothing() -> Result<()> {
    let strict = |state: &[(&str, &[usize])]| -> String {
        let net = linears().unwrap();
        let before =
            net.state_dict().into_iter().map(|(_, t)| t.to_vec::<f32>().unwrap()).collect::<Vec<_>>();
        let state: StateDict = state.iter().map(|(name, shape)| (*name, zeros(shape))).collect();
        let error = net.load_state_dict(&state, Strictness::Strict).unwrap_err();
        let after = net.state_dict().into_iter().map(|(_, t)| t.to_vec::<f32>().unwrap()).collect::<Vec<_>>();
        assert_eq!(before, after);
        assert_eq!(error.kind(), ErrorKind::Load);
        error.to_string()
    };
    let all: &[(&str, &[usize])] =
        &[("0.weight", &[3, 2]), ("0.bias", &[3]), ("1.weight", &[1, 3]), ("1.bias", &[1])];
    let renamed = |f: &dyn Fn(&str) -> String| -> String {
        let names: Vec<String> = all.iter().map(|(name, _)| f(name)).collect();
        strict(&names.iter().zip(all).map(|(name, (_, shape))| (name.as_str(), *shape)).collect::<Vec<_>>())
    };

    assert_eq!(
        strict(&[
            ("0.weight", &[3, 2]),
            ("0.bais", &[3]),
            ("1.weight", &[3, 1]),
            ("1.bias", &[1]),
            ("epoch", &[])
        ]),
        "load_state_dict: 1 missing: 0.bias (near `0.bais`); 2 unexpected: 0.bais (near `0.bias`), epoch; \
         1 of another shape or dtype: 1.weight (here [1, 3] float32, given [3, 1] float32)"
    );
    assert_eq!(
        renamed(&|name| format!("module.{name}")),
        "load_state_dict: no name of the state dict fits the module; \
         4 missing: 0.weight, 0.bias, 1.weight, 1.bias; \
         4 unexpected: module.0.weight, module.0.bias, module.1.weight, module.1.bias; \
         the names of the state dict begin with `module.`, those of the module do not"
    );
    assert_eq!(
        strict(&[]),
        "load_state_dict: no name of the state dict fits the module: is it of another architecture?; 4 missing: 0.weight, 0.bias, 1.weight, 1.bias"
    );
    Ok(())
}

#[test]
fn lenient_loading_reports() -> Result<()> {
    let net = linears()?;
    let state: StateDict =
        [("1.bias", Tensor::full([1], 7, DType::F32)?), ("2.bias", zeros(&[1]))].into_iter().collect();
    let report = net.load_state_dict(&state, Strictness::Lenient)?;
    assert_eq!(report.loaded, ["1.bias"]);
    assert_eq!(report.missing.len(), 3);
    assert_eq!(report.unexpected[0].name, "2.bias");
    assert!(!report.is_complete());
    assert_eq!(net[1].bias.as_ref().unwrap().item()?, 7.0);

    let wrong: StateDict = [("1.bias", zeros(&[2]))].into_iter().collect();
    assert!(net.load_state_dict(&wrong, Strictness::Lenient).is_err(), "a shape never fits leniently");
    let other: StateDict = [("fc.bias", zeros(&[2]))].into_iter().collect();
    assert!(net.load_state_dict(&other, Strictness::Lenient).is_err(), "nothing loaded is an error");
    Ok(())
}

#[test]
fn loading_into_nothing_is_an_error() {
    let state: StateDict = [("weight", zeros(&[1]))].into_iter().collect();
    for how in [Strictness::Strict, Strictness::Lenient] {
        let error = Sequential::new().add(ReLU).load_state_dict(&state, how).unwrap_err();
        assert_eq!(
            error.to_string(),
            "load_state_dict: the module Sequential has no parameters or buffers to load into"
        );
    }
}

#[test]
fn tied_parameters_that_differ_in_a_file_are_an_error() -> Result<()> {
    let mut net = linears()?;
    net[1] = Linear::new(2, 3)?;
    net[1].weight = net[0].weight.clone();
    let mut state: StateDict =
        net.state_dict().into_iter().map(|(n, t)| (n, t.zeros_like().unwrap())).collect();
    assert!(net.load_state_dict(&state, Strictness::Strict)?.is_complete());
    state.insert("1.weight", Tensor::ones([3, 2], DType::F32)?);
    let error = net.load_state_dict(&state, Strictness::Strict).unwrap_err();
    assert_eq!(error.to_string(), "load_state_dict: 1 tied here but different there: 0.weight and 1.weight");
    assert_eq!(net.load_state_dict(&state, Strictness::Lenient)?.conflicting.len(), 1);
    Ok(())
}

#[test]
fn state_dicts_keep_their_order() -> Result<()> {
    let mut state: StateDict = ["b", "a", "c"].into_iter().map(|name| (name, zeros(&[1]))).collect();
    state.rename("a", "z")?;
    assert_eq!(state.names().collect::<Vec<_>>(), ["b", "z", "c"]);
    assert!(state.rename("z", "c").is_err() && state.rename("y", "x").is_err());
    state.remove("b");
    state.insert("z", zeros(&[2]));
    assert_eq!(state.iter().map(|(n, t)| (n, t.numel())).collect::<Vec<_>>(), [("z", 2), ("c", 1)]);
    assert_eq!(state.select("numel==2")?.names(), ["z"]);
    assert!(state.select("trainable").is_err(), "a state dict does not know");
    Ok(())
}

#[test]
fn sequential_names_and_replaces() -> Result<()> {
    let mut net = Sequential::new().add(Linear::new(2, 2)?).add_named("act", ReLU)?.add(Linear::new(2, 1)?);
    let names: Vec<String> = net.named_parameters().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]);
    net.replace(2, Linear::new(2, 5)?)?;
    assert_eq!(net.get_parameter("2.weight")?.shape(), [5, 2]);
    assert!(net.replace(3, ReLU).is_err());
    for name in ["", "a.b", "act"] {
        let other = Sequential::new().add_named("act", ReLU)?;
        assert!(other.add_named(name, ReLU).is_err(), "{name:?}");
    }
    assert_eq!(net.len(), 3);
    Ok(())
}

#[test]
fn apply_visits_children_first() -> Result<()> {
    let block = block()?;
    let mut visited = Vec::new();
    block.apply(|path, module| {
        visited.push(format!("{path}:{}", module.type_name()));
        Ok(())
    })?;
    assert_eq!(
        visited,
        ["norm:BatchNorm2d", "attention.out_proj:Linear", "attention:Attention", "shortcut:Linear", ":Block"]
    );
    let error = block
        .apply(|path, _| if path == "shortcut" { Err(sconce::Error::argument("stop")) } else { Ok(()) })
        .unwrap_err();
    assert_eq!(error.to_string(), "shortcut: stop");
    Ok(())
}

#[test]
fn summary_is_a_tree() -> Result<()> {
    let block = block()?;
    block.freeze("gain")?;
    let summary = block.summary();
    assert_eq!(summary.parameters, block.num_parameters());
    assert_eq!(summary.parameters - summary.trainable, 1);
    assert_eq!(
        summary.to_string(),
        "\
Block
├─ gain                    [1]     float32   1  frozen
├─ mask                    [2]     float32   2  buffer
├─ cache                   [5]     float32   5  buffer
├─ norm: BatchNorm2d(num_features=2, eps=1e-5, momentum=0.1)
│  ├─ weight               [2]     float32   2
│  ├─ bias                 [2]     float32   2
│  ├─ running_mean         [2]     float32   2  buffer
│  ├─ running_var          [2]     float32   2  buffer
│  └─ num_batches_tracked  []      int64     1  buffer
├─ attention: Attention(scale=0.5, window=(7, 7), kernel=(3, 3))
│  ├─ in_proj_weight       [6, 2]  float32  12
│  └─ out_proj: Linear(in_features=2, out_features=2)
│     ├─ weight            [2, 2]  float32   4
│     └─ bias              [2]     float32   2
└─ shortcut: Linear(in_features=2, out_features=2)
   ├─ weight               [2, 2]  float32   4
   └─ bias                 [2]     float32   2
parameters: 29 (28 trainable, 1 frozen), buffers: 12, bytes: 168
"
    );
    Ok(())
}

#[test]
fn parameters_must_be_floating_point() {
    let error = Param::new(&Tensor::zeros([2], DType::I64).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Autograd);
    assert!(!Param::frozen(&Tensor::zeros([2], DType::I64).unwrap()).requires_grad());
}

#[test]
fn layers_check_their_options() {
    use sconce::nn::{Conv2dConfig, Padding};
    let default = Conv2dConfig::default;
    let errors = [
        (
            Conv2dConfig { groups: 2, ..default() }.build(3, 4, 3).map(drop),
            "Conv2d: 2 groups do not divide 3 input and 4 output channels",
        ),
        (
            Conv2dConfig { groups: 0, ..default() }.build(3, 4, 3).map(drop),
            "Conv2d: 0 groups do not divide 3 input and 4 output channels",
        ),
        (
            Conv2dConfig { stride: [0, 1], ..default() }.build(3, 4, 3).map(drop),
            "Conv2d: the stride must not be 0, found [0, 1]",
        ),
        (Conv2d::new(3, 4, [3, 0]).map(drop), "Conv2d: the kernel size must not be 0, found [3, 0]"),
        (
            Conv2dConfig { padding: Padding::Same, stride: [2, 2], ..default() }.build(3, 4, 3).map(drop),
            "Conv2d: padding `Same` needs a stride of 1, found [2, 2]",
        ),
        (Dropout::new(1.5).map(drop), "Dropout: the probability 1.5 must lie in [0, 1]"),
        (Dropout::new(f64::NAN).map(drop), "Dropout: the probability NaN must lie in [0, 1]"),
    ];
    for (result, message) in errors {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    assert_eq!(MaxPool2d::new(3).kernel_size, [3, 3]);
}

#[test]
fn threads_may_share_a_module() {
    fn check<T: Send + Sync>() {}
    check::<Model>();
    check::<Box<dyn Module>>();
    check::<Sequential>();
}

/// A state dict from before `num_batches_tracked` was refused. PyTorch keeps the module's value.
#[test]
fn a_batch_norm_loads_a_state_dict_without_the_count_of_batches() {
    let model = (BatchNorm1d::new(2).unwrap(), BatchNorm1d::new(2).unwrap());
    no_grad(|| model.1.num_batches_tracked.as_ref().unwrap().fill_(7)).unwrap();
    let mut state = model.state_dict();
    for name in ["0.num_batches_tracked", "1.num_batches_tracked"] {
        state.remove(name).unwrap();
    }
    let report = model.load_state_dict(&state, Strictness::Strict).unwrap();
    assert_eq!(report.kept, ["0.num_batches_tracked", "1.num_batches_tracked"]);
    assert!(report.is_complete() && report.missing.is_empty());
    assert!(report.to_string().contains("2 kept, not in the state dict: 0.num_batches_tracked"), "{report}");
    assert_eq!(model.1.num_batches_tracked.as_ref().unwrap().item_i64().unwrap(), 7);

    state.remove("0.running_var").unwrap();
    let error = model.load_state_dict(&state, Strictness::Strict).unwrap_err().to_string();
    assert!(error.contains("1 missing: 0.running_var") && !error.contains("tracked"), "{error}");
}
