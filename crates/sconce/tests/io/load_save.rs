//! Files to tensors, modules and optimisers, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sconce::checkpoint::Checkpoint;
use sconce::io::{self, Archive, Entry};
use sconce::nn::{DTypes, Linear, LoadOptions, Param, StateDict, Strictness};
use sconce::optim::{AdamW, Optimizer, OptimizerState, Sgd, Value};
use sconce::prelude::*;
use sconce::{ErrorKind, Result};

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sconce-load-save-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/good").join(name)
}

fn range(n: usize, shape: impl sconce::Sizes) -> Tensor {
    Tensor::from_vec((0..n).map(|i| i as f32).collect(), shape).unwrap()
}

/// Without the folder of the file, which differs from run to run.
fn message(error: sconce::Error) -> String {
    let text = error.to_string();
    match text.split_once(": ") {
        Some((file, rest)) if file.contains("sconce-load-save-") => rest.to_owned(),
        _ => text,
    }
}

#[test]
fn every_dtype_comes_back_from_every_format() -> Result<()> {
    let folder = Folder::new("dtypes");
    for file in ["all.pt", "all.safetensors"] {
        let dtypes: Vec<DType> = DType::ALL
            .into_iter()
            .filter(|dtype| file.ends_with("pt") || !matches!(dtype, DType::C32 | DType::C128))
            .collect();
        let tensors: Vec<(String, Tensor)> = dtypes
            .iter()
            .map(|&dtype| {
                let bytes: Vec<u8> = (0..6 * dtype.size()).map(|i| (i * 37 + 5) as u8).collect();
                Ok((dtype.name().to_owned(), Tensor::from_bytes(&bytes, dtype, [2, 3])?))
            })
            .collect::<Result<_>>()?;
        io::save(folder.file(file), tensors.iter().map(|(n, t)| (n.as_str(), t)))?;
        let read: StateDict = io::load(folder.file(file))?;
        assert_eq!(read.len(), dtypes.len(), "{file}");
        for (name, tensor) in &tensors {
            let found = read.get(name)?;
            assert_eq!((found.dtype(), found.shape()), (tensor.dtype(), tensor.shape()), "{file}: {name}");
            assert_eq!(found.to_bytes()?, tensor.to_bytes()?, "{file}: {name}");
        }
    }
    Ok(())
}

#[test]
fn views_and_ties_last() -> Result<()> {
    let folder = Folder::new("ties");
    let base = range(24, [4, 6]);
    let tensors = [
        ("base", base.clone()),
        ("turned", base.t()?),
        ("row", base.select(0, 2)?),
        ("spread", Tensor::scalar(7.0_f32).expand([3, 2])?),
        ("empty", range(0, [0, 5])),
        ("scalar", Tensor::scalar(3_i64)),
    ];
    io::save(folder.file("t.pt"), tensors.iter().map(|(n, t)| (*n, t)))?;
    let read: StateDict = io::load(folder.file("t.pt"))?;
    for (name, tensor) in &tensors {
        let found = read.get(name)?;
        assert_eq!((found.shape(), found.to_bytes()?), (tensor.shape(), tensor.to_bytes()?), "{name}");
        assert!(tensor.numel() == 0 || found.strides() == tensor.strides(), "{name}");
    }
    read.get("row")?.fill_(-1.0)?;
    assert_eq!(read.get("turned")?.select(1, 2)?.to_vec::<f32>()?, [-1.0; 6]);
    assert!(!read.get("base")?.shares_storage(read.get("spread")?));

    // One tensor alone takes only its own elements of a storage.
    let archive = io::open(folder.file("t.pt"))?;
    let row = archive.tensor(archive.get("row").expect("row"))?;
    assert_eq!((row.storage_offset(), row.to_vec::<f32>()?), (0, (12..18).map(|i| i as f32).collect()));

    // safetensors has no ties: values are written under each name.
    io::save(folder.file("t.safetensors"), &read)?;
    let again: StateDict = io::load(folder.file("t.safetensors"))?;
    assert!(!again.get("base")?.shares_storage(again.get("row")?));
    assert_eq!(again.get("turned")?.to_vec::<f32>()?, read.get("turned")?.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn files_of_pytorch_become_tensors() -> Result<()> {
    let state: StateDict = io::load(recorded("torch_big_endian.pt"))?;
    let little: StateDict = io::load(recorded("torch_deflated.pt"))?;
    for name in ["w", "h", "i"] {
        assert_eq!(state.get(name)?.to_bytes()?, little.get(name)?.to_bytes()?, "{name}");
    }
    let marks: Vec<(String, Tensor)> =
        io::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/marks.pt"))?;
    let negated = marks.iter().find(|(name, _)| name == "neg").expect("neg");
    assert_eq!(negated.1.to_vec::<f32>()?, [-2.0, 4.0]);

    let error = io::load::<StateDict>(recorded("torch_quantized.pt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().ends_with("torch_quantized.pt: q: no tensor holds quint8 elements"), "{error}");
    Ok(())
}

#[test]
fn hostile_views_become_sound_tensors() -> Result<()> {
    let mut archive = Archive::new();
    let storage = archive.add_storage(Arc::new(vec![0, 2, 255, 1]));
    archive.push(Entry::new("bits", DType::Bool, [4]), storage)?;
    archive.push(Entry::new("bytes", DType::U8, [4]), storage)?;
    archive.push(Entry::new("far", DType::U8, [1, 4, 1]).with_view([usize::MAX, 1, 1 << 62], 0), storage)?;
    archive
        .push(Entry::new("nothing", DType::F32, [3, 0]).with_view([1 << 62, 1 << 61], 1 << 60), storage)?;
    let read: Vec<Tensor> = archive.tensors(archive.entries())?;
    assert_eq!(read[0].to_vec::<bool>()?, [false, true, true, true]);
    assert_eq!(read[1].to_vec::<u8>()?, [0, 2, 255, 1]);
    assert!(!read[0].shares_storage(&read[1]), "a byte that is written must not become a bool");
    assert_eq!(read[2].view([2, 2])?.t()?.contiguous()?.to_vec::<u8>()?, [0, 255, 2, 1]);
    assert_eq!(read[3].reshape([0])?.numel(), 0);

    let wide = Entry::new("wide", DType::U8, [1 << 40]).with_view([0], 0);
    archive.push(wide, storage)?;
    let error = archive.tensor(archive.get("wide").expect("wide")).unwrap_err();
    assert!(error.to_string().starts_with("wide: 1099511627776 bytes when expanded"), "{error}");
    Ok(())
}

#[test]
fn the_extension_names_the_format() {
    let folder = Folder::new("extensions");
    let save = |name: &str| io::save(folder.file(name), [("x", range(2, [2]))]);
    for name in ["a.safetensors", "a.pt", "a.pth", "a.bin", "a.ckpt", "A.PT"] {
        assert!(save(name).is_ok(), "{name}");
    }
    for (name, expected) in [
        ("a.txt", "no format has the extension `txt`; there are .safetensors, "),
        ("a", "no extension names a format; there are .safetensors, "),
    ] {
        let error = save(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        let text = message(error);
        assert!(text.starts_with(expected) && text.contains(".pt, .pth"), "{text}");
        assert!(!folder.file(name).exists());
    }
    let twice = io::save(folder.file("b.pt"), [("x", range(1, [1])), ("x", range(2, [2]))]).unwrap_err();
    assert_eq!(message(twice), "x: two tensors have this name");
}

/// Two layers, the first of them called as the test wants.
#[derive(Module)]
struct Net {
    features: Linear,
    head: Linear,
}

fn net() -> Result<Net> {
    Ok(Net { features: Linear::new(3, 2)?, head: Linear::new(2, 2)? })
}

fn options(prefix: &str, rename: &[(&str, &str)], strictness: Strictness) -> LoadOptions {
    let rename = rename.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    LoadOptions { prefix: prefix.into(), rename, strictness, ..LoadOptions::default() }
}

#[test]
fn names_are_fitted_to_the_module() -> Result<()> {
    use Strictness::{Lenient, Strict};
    let folder = Folder::new("names");
    let given = net()?;
    let file = folder.file("m.pt");
    let mut state = StateDict::new();
    for (name, tensor) in &given.state_dict() {
        let name = name.replace("features", "backbone.stem");
        state.insert(format!("model.module.{name}"), tensor.clone());
    }
    state.insert("model.module.backbone2.x", range(1, [1]));
    io::save(&file, &state)?;

    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Strictness, std::result::Result<usize, &'a str>);
    let stem = ("backbone.stem", "features");
    let cases: &[Case<'_>] = &[
        ("model.module", &[stem, ("backbone2", "head.extra")], Lenient, Ok(4)),
        ("model.module", &[], Lenient, Ok(2)),
        ("", &[("model.module.backbone.stem", "features"), ("model.module", "")], Lenient, Ok(4)),
        ("model.module", &[stem], Strict, Err("load_state_dict: 1 unexpected: backbone2.x")),
        ("modle", &[], Lenient, Err("the prefix `modle` fits none of 5 names; did you mean `model`?")),
        (
            "model.module",
            &[stem, ("backbon", "x")],
            Lenient,
            Err("the path to rename `backbon` fits none of 5 names"),
        ),
        (
            "model.module",
            &[("backbone.stem", "head")],
            Lenient,
            Err("two tensors are named `head.weight` after renaming"),
        ),
        ("model", &[], Lenient, Err("load_state_dict: no name of the state dict fits the module")),
    ];
    for (prefix, rename, strictness, expected) in cases {
        let module = net()?;
        let before = module.state_dict();
        let copies: Vec<Vec<u8>> = before.iter().map(|(_, t)| t.to_bytes()).collect::<Result<_>>()?;
        match (module.load(&file, options(prefix, rename, *strictness)), expected) {
            (Ok(report), Ok(loaded)) => {
                assert_eq!(report.loaded.len(), *loaded, "{prefix} {rename:?}: {report}")
            }
            (Err(error), Err(expected)) => {
                assert_eq!(error.kind(), ErrorKind::Load);
                assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
                let text = message(error);
                assert!(text.starts_with(expected), "{text}");
                let after: Vec<Vec<u8>> = before.iter().map(|(_, t)| t.to_bytes()).collect::<Result<_>>()?;
                assert_eq!(copies, after, "nothing is changed");
            }
            (found, _) => panic!("{prefix} {rename:?}: {found:?}"),
        }
    }
    let module = net()?;
    module.load(&file, options("model.module", &[stem], Lenient))?;
    assert_eq!(module.features.weight.to_vec::<f32>()?, given.features.weight.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn other_dtypes_are_converted_or_refused() -> Result<()> {
    let folder = Folder::new("policy");
    let mut given = Linear::new(2, 2)?;
    given.to(DType::F64)?;
    given.save(folder.file("m.safetensors"))?;
    let module = Linear::new(2, 2)?;
    let report = module.load(folder.file("m.safetensors"), Strictness::Strict)?;
    assert_eq!((report.converted.len(), module.weight.dtype()), (2, DType::F32));
    let exact = LoadOptions { dtypes: DTypes::Exact, ..LoadOptions::default() };
    let error = module.load(folder.file("m.safetensors"), exact).unwrap_err();
    let expected =
        "load_state_dict: 2 of another shape or dtype: weight (here [2, 2] float32, given [2, 2] float64)";
    assert!(message(error).starts_with(expected));

    let error = Vec::<Linear>::new().save(folder.file("none.pt")).unwrap_err();
    assert_eq!(message(error), "the module Vec has no parameters or buffers to save");
    Ok(())
}

fn trained() -> Result<(Vec<Linear>, Optimizer<AdamW>)> {
    let model = vec![Linear::new(3, 4)?, Linear::new(4, 2)?];
    let mut optimizer = Optimizer::new(&model, AdamW { amsgrad: true, ..AdamW::default() })?
        .group("**.bias", |rule| rule.weight_decay = 0.0)?;
    step(&model, &mut optimizer)?;
    Ok((model, optimizer))
}

fn step(model: &[Linear], optimizer: &mut Optimizer<AdamW>) -> Result<()> {
    optimizer.zero_grad();
    let x = range(6, [2, 3]).mul(0.1)?;
    let y = model[1].forward(&model[0].forward(&x)?.relu()?)?;
    y.mul(&y)?.mean(())?.backward()?;
    optimizer.step()
}

fn values(model: &Vec<Linear>) -> Result<Vec<Vec<f32>>> {
    model.parameters().iter().map(|p| p.to_vec()).collect()
}

#[test]
fn training_goes_on_from_a_checkpoint() -> Result<()> {
    let folder = Folder::new("resume");
    let (model, mut optimizer) = trained()?;
    let mut checkpoint = Checkpoint::new();
    checkpoint.insert("model", model.state_dict())?;
    checkpoint.insert("optimizer", optimizer.state_dict()?)?;
    checkpoint.insert("epoch", 5)?;
    checkpoint.insert("best", 0.25)?;
    checkpoint.insert("note", "ключ")?;
    checkpoint.insert("losses", vec![2.5, 1.0])?;
    checkpoint.insert("ema", None::<f64>)?;
    checkpoint.insert("seed", Tensor::scalar(7_i64))?;
    checkpoint.save(folder.file("c.pt"))?;
    step(&model, &mut optimizer)?;

    let checkpoint = Checkpoint::load(folder.file("c.pt"))?;
    let keys: Vec<&str> = checkpoint.keys().collect();
    assert_eq!(keys, ["model", "optimizer", "epoch", "best", "note", "losses", "ema", "seed"]);
    let (resumed, mut again) = trained()?;
    resumed.load_state_dict(&checkpoint.get::<StateDict>("model")?, Strictness::Strict)?;
    again.load_state_dict(&checkpoint.get::<OptimizerState>("optimizer")?)?;
    step(&resumed, &mut again)?;
    assert_eq!(values(&resumed)?, values(&model)?, "bit for bit");
    assert_eq!(checkpoint.get::<i64>("epoch")?, 5);
    assert_eq!(checkpoint.get::<f64>("epoch")?, 5.0);
    assert_eq!(checkpoint.get::<f64>("best")?, 0.25);
    assert_eq!(checkpoint.get::<String>("note")?, "ключ");
    assert_eq!(checkpoint.get::<Vec<f64>>("losses")?, [2.5, 1.0]);
    assert_eq!(checkpoint.get::<Option<f64>>("ema")?, None);
    assert_eq!(checkpoint.get::<Tensor>("seed")?.item_i64()?, 7);

    // The model alone is found below its key.
    let alone = vec![Linear::new(3, 4)?, Linear::new(4, 2)?];
    let options = LoadOptions { prefix: "model".into(), ..LoadOptions::default() };
    assert!(alone.load(folder.file("c.pt"), options)?.is_complete());

    for (error, expected) in [
        (checkpoint.get::<i64>("epochs").unwrap_err(), "no item `epochs`; did you mean `epoch`?"),
        (checkpoint.get::<StateDict>("epoch").unwrap_err(), "epoch: expected dict, found int"),
        (checkpoint.get::<i64>("best").unwrap_err(), "best: expected int, found float"),
        (checkpoint.get::<Vec<i64>>("losses").unwrap_err(), "losses.0: expected int, found float"),
        (checkpoint.get::<OptimizerState>("model").unwrap_err(), "model: no key `state`"),
        (
            checkpoint.get::<StateDict>("optimizer").unwrap_err(),
            "optimizer.state: expected tensor, found dict",
        ),
    ] {
        assert!(error.to_string().contains("c.pt: "), "{error}");
        assert_eq!(message(error), expected);
    }
    Ok(())
}

#[test]
fn a_checkpoint_is_changed_and_written_over_itself() -> Result<()> {
    let folder = Folder::new("rewrite");
    let file = folder.file("c.pt");
    let shared = range(1000, [1000]);
    let mut checkpoint = Checkpoint::new();
    checkpoint
        .insert("model", [("w", &shared)].into_iter().map(|(n, t)| (n, t.clone())).collect::<StateDict>())?;
    checkpoint.insert("ema", &shared)?;
    checkpoint.insert("big", range(100_000, [100_000]))?;
    checkpoint.insert("epoch", 1)?;
    checkpoint.save(&file)?;
    let before = std::fs::metadata(&file)?.len();

    let mut checkpoint = Checkpoint::load(&file)?;
    checkpoint.insert("epoch", 2)?;
    checkpoint.insert("big", Tensor::scalar(1.0_f32))?;
    checkpoint.save(&file)?;
    let after = std::fs::metadata(&file)?.len();
    assert!(before > 404_000 && after < 8_000, "{before} {after}: what was replaced is not written");

    let archive = io::open(&file)?;
    let (w, ema) = (archive.get("model.w").expect("w"), archive.get("ema").expect("ema"));
    assert_eq!(w.storage(), ema.storage(), "ties last across items, and twice");
    let checkpoint = Checkpoint::load(&file)?;
    assert_eq!(checkpoint.get::<i64>("epoch")?, 2);
    assert_eq!(checkpoint.get::<Tensor>("big")?.item()?, 1.0);
    assert_eq!(checkpoint.get::<Tensor>("ema")?.to_vec::<f32>()?, shared.to_vec::<f32>()?);

    let error = checkpoint.save(folder.file("c.safetensors")).unwrap_err();
    assert_eq!(message(error), "safetensors files hold no nested checkpoints; use the extension .pt");
    Ok(())
}

#[test]
fn tied_parameters_stay_tied() -> Result<()> {
    let folder = Folder::new("tied");
    let tied = || -> Result<Vec<Linear>> {
        let mut layers = vec![Linear::new(3, 3)?, Linear::new(3, 3)?];
        layers[1].weight = Param::clone(&layers[0].weight);
        Ok(layers)
    };
    let (model, other) = (tied()?, tied()?);
    for file in ["m.pt", "m.safetensors"] {
        model.save(folder.file(file))?;
        let report = other.load(folder.file(file), Strictness::Strict)?;
        assert_eq!(report.loaded.len(), 4, "{file}");
        assert!(other[0].weight.is(&other[1].weight) && other.parameters().len() == 3);
    }
    let state: StateDict = io::load(folder.file("m.pt"))?;
    assert!(state.get("0.weight")?.shares_storage(state.get("1.weight")?));

    let mut checkpoint = Checkpoint::new();
    checkpoint.insert("model", model.state_dict())?;
    checkpoint.save(folder.file("c.pt"))?;
    let state: StateDict = Checkpoint::load(folder.file("c.pt"))?.get("model")?;
    assert!(state.get("0.weight")?.shares_storage(state.get("1.weight")?));
    Ok(())
}

#[test]
fn checkpoints_of_pytorch_are_read() -> Result<()> {
    let checkpoint = Checkpoint::load(recorded("torch_checkpoint_adamw_amsgrad.pt"))?;
    let state: StateDict = checkpoint.get("model")?;
    let parameters: Vec<Tensor> =
        state.into_iter().filter(|(_, t)| t.dtype().is_floating_point()).map(|(_, t)| t).collect();
    let saved: OptimizerState = checkpoint.get("optimizer")?;
    assert_eq!(saved.param_groups[0].option("amsgrad"), Some(&Value::Bool(true)));
    assert_eq!(
        saved.state[0].1.names().collect::<Vec<_>>(),
        ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    );
    let numbers: Vec<usize> = saved.param_groups.iter().flat_map(|g| g.params.clone()).collect();
    let taken: Vec<Tensor> = saved
        .state
        .iter()
        .map(|(_, s)| s.get("exp_avg").and_then(|t| t.zeros_like()?.requires_grad_(true)))
        .collect::<Result<_>>()?;
    assert_eq!(taken.len(), numbers.len());
    assert!(!parameters.is_empty());

    // Read, written and read again it is the same.
    let folder = Folder::new("torch");
    let mut again = Checkpoint::new();
    again.insert("optimizer", &saved)?;
    again.save(folder.file("o.pt"))?;
    let again: OptimizerState = Checkpoint::load(folder.file("o.pt"))?.get("optimizer")?;
    assert_eq!(again.param_groups, saved.param_groups);
    for ((a, left), (b, right)) in again.state.iter().zip(&saved.state) {
        assert_eq!(a, b);
        for ((name, x), (_, y)) in left.iter().zip(right.iter()) {
            assert_eq!((x.dtype(), x.to_bytes()?), (y.dtype(), y.to_bytes()?), "{name}");
        }
    }

    for (file, expected) in [
        ("torch_list_of_tensors.pt", "expected a dict, found list"),
        ("torch_single_tensor.pt", "expected a dict, found tensor"),
        ("torch_nested.pt", "expected keys that are str, found int 3"),
        ("basic.safetensors", "a safetensors file holds tensors only, no nested checkpoint"),
    ] {
        let error = Checkpoint::load(recorded(file)).unwrap_err().to_string();
        assert!(error.ends_with(&format!("{file}: {expected}")), "{error}");
    }
    Ok(())
}

#[test]
fn states_of_old_optimisers_are_read() -> Result<()> {
    use sconce::io::{Dict, Tree, Value as V};
    // PyTorch before 1.12 counted steps in an int, and wrote `None` where SGD had no momentum yet.
    let mut archive = Archive::new();
    let moment = archive.push_tensor("m", &range(2, [2]))?;
    let mut tree = Tree::new();
    let zero = tree.add(0_i64);
    let state =
        tree.dict([("step", V::Int(3)), ("momentum_buffer", V::None), ("exp_avg", V::Tensor(moment))]);
    let states = tree.add(V::Dict(Dict { items: vec![(zero, state)], ..Dict::default() }));
    let params = tree.list([0_i64]);
    let lr = tree.add(0.5);
    let group = tree.dict([("lr", lr), ("params", params)]);
    let groups = tree.list([group]);
    let optimizer = tree.dict([("state", states), ("param_groups", groups)]);
    let root = tree.dict([("optimizer", optimizer)]);
    tree.set_root(root);
    archive.set_tree(tree)?;
    let folder = Folder::new("old");
    archive.save(folder.file("old.pt"), "pytorch")?;
    let saved: OptimizerState = Checkpoint::load(folder.file("old.pt"))?.get("optimizer")?;
    let (number, state) = &saved.state[0];
    assert_eq!((*number, state.names().collect::<Vec<_>>()), (0, vec!["step", "exp_avg"]));
    assert_eq!((state.get("step")?.dtype(), state.get("step")?.item()?), (DType::F32, 3.0));
    assert_eq!(saved.param_groups[0].option("lr"), Some(&Value::Float(0.5)));

    let p = range(2, [2]).requires_grad_(true)?;
    let mut optimizer = Optimizer::new(vec![p], Sgd::default())?;
    assert!(optimizer.load_state_dict(&saved).is_err(), "those are not SGD's");
    Ok(())
}

#[test]
fn parts_that_hold_each_other_are_not_followed_for_ever() -> Result<()> {
    use sconce::io::{Dict, Tree, Value as V};
    // 300 groups that are one and the same group of 300 parameters.
    let mut tree = Tree::new();
    let one = tree.add(1_i64);
    let params = tree.add(V::List(vec![one; 300]));
    let group = tree.dict([("params", params)]);
    let groups = tree.add(V::List(vec![group; 300]));
    let states = tree.add(V::Dict(Dict::default()));
    let optimizer = tree.dict([("state", states), ("param_groups", groups)]);
    let root = tree.dict([("optimizer", optimizer)]);
    tree.set_root(root);
    let mut archive = Archive::new();
    archive.set_tree(tree)?;
    let folder = Folder::new("laughs");
    archive.save(folder.file("l.pt"), "pytorch")?;
    let error = Checkpoint::load(folder.file("l.pt"))?.get::<OptimizerState>("optimizer").unwrap_err();
    assert!(message(error).ends_with("its parts hold each other too often"));
    Ok(())
}
