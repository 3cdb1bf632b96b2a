//! Files for PyTorch to judge: `tests/oracle/check_pt.py` loads what this test writes.
//!
//! With `SCONCE_ORACLE` set the files stay in that folder; otherwise they are only read back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sconce::checkpoint::Checkpoint;
use sconce::io::{self, Archive, Entry, Tree, Value};
use sconce::nn::{BatchNorm2d, Conv2d, Flatten, Linear, Param, ReLU, Sequential, StateDict, Strictness};
use sconce::optim::{AdamW, Optimizer, OptimizerState, Rule, Sgd};
use sconce::prelude::*;
use sconce::{ErrorKind, Result, manual_seed};

fn folder() -> (PathBuf, bool) {
    match std::env::var_os("SCONCE_ORACLE") {
        Some(folder) => (folder.into(), true),
        None => (std::env::temp_dir().join(format!("sconce-oracle-{}", std::process::id())), false),
    }
}

/// Bytes that the script computes too.
fn pattern(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 + seed * 7 + 1) as u8).collect()
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn dtypes(skip: &[DType]) -> Result<Archive> {
    let mut archive = Archive::new();
    for (i, dtype) in DType::ALL.into_iter().filter(|d| !skip.contains(d)).enumerate() {
        let bytes = match dtype {
            DType::Bool => vec![1, 0, 1, 1, 0, 0],
            _ => pattern(6 * dtype.size(), i),
        };
        archive.push_bytes(Entry::new(dtype.name(), dtype, [2, 3]), bytes)?;
    }
    archive.push_bytes(Entry::new("empty", DType::F32, [2, 0]), Vec::new())?;
    archive.push_bytes(Entry::new("scalar", DType::I64, []), pattern(8, 50))?;
    Ok(archive)
}

/// The state dict of two tied `Linear(3, 3)`.
fn tied_model() -> Result<Archive> {
    let mut archive = Archive::new();
    let weight = archive.add_storage(Arc::new(floats((0..9).map(|i| i as f32 / 8.0))));
    let bias = archive.add_storage(Arc::new(floats([1.0, -2.0, 0.5])));
    for layer in ["0", "1"] {
        archive.push(Entry::new(format!("{layer}.weight"), DType::F32, [3, 3]), weight)?;
        archive.push(Entry::new(format!("{layer}.bias"), DType::F32, [3]), bias)?;
    }
    Ok(archive)
}

fn checkpoint() -> Result<Archive> {
    let mut archive = Archive::new();
    let storage = archive.add_storage(Arc::new(floats((0..24).map(|i| i as f32))));
    let w = archive.push(Entry::new("w", DType::F32, [4, 6]).with_parameter(true), storage)?;
    let t = archive.push(Entry::new("t", DType::F32, [6, 4]).with_view([1, 6], 0), storage)?;
    let e = archive.push(Entry::new("e", DType::F32, [2, 3]).with_view([0, 0], 5), storage)?;
    let frozen = Entry::new("f", DType::F32, [1]).with_parameter(true).with_requires_grad(false);
    let f = archive.push_bytes(frozen, floats([2.5]))?;
    let leaf =
        archive.push_bytes(Entry::new("l", DType::F32, [1]).with_requires_grad(true), floats([3.5]))?;
    let mut tree = Tree::new();
    let model = tree.ordered_dict(
        [("w", w), ("t", t), ("e", e), ("f", f), ("l", leaf)].map(|(k, i)| (k, Value::Tensor(i))),
    );
    let version = tree.dict([("version", 1_i64)]);
    let metadata = tree.ordered_dict([("", version)]);
    let attributes = tree.dict([("_metadata", metadata)]);
    tree.set_attributes(model, attributes);
    let betas = [tree.add(0.9), tree.add(0.999)];
    let group = [
        ("lr", Value::Float(1e-3)),
        ("betas", Value::Tuple(betas.to_vec())),
        ("foreach", Value::None),
        ("maximize", Value::Bool(false)),
    ];
    let group = tree.dict(group);
    let groups = tree.list([group]);
    let state = tree.dict([("exp_avg", Value::Tensor(w))]);
    let zero = tree.add(0_i64);
    let states = tree.add(Value::Dict(io::Dict { items: vec![(zero, state)], ..io::Dict::default() }));
    let optimizer = tree.dict([("state", states), ("param_groups", groups)]);
    let values = [
        ("epoch", Value::Int(5)),
        ("large", Value::Int(-(1 << 40))),
        ("wide", Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("nan", Value::Float(f64::NAN)),
        ("z", Value::Complex(1.0, -2.0)),
        ("text", Value::Str("ключ 名 \"q\"\n".to_owned())),
        ("bytes", Value::Bytes(vec![0, 127, 128, 255])),
        ("no bytes", Value::Bytes(Vec::new())),
        ("bytearray", Value::ByteArray(b"ab".to_vec())),
        ("size", Value::Size(vec![2, 3])),
        ("dtype", Value::from(DType::BF16)),
        ("device", Value::Device("cpu".to_owned())),
        ("set", Value::Set(betas.to_vec())),
        ("empty", Value::Tuple(Vec::new())),
    ];
    let mut items: Vec<(&str, io::NodeId)> = values.into_iter().map(|(k, v)| (k, tree.add(v))).collect();
    items.extend([("model", model), ("again", model), ("optimizer", optimizer)]);
    let root = tree.dict(items);
    tree.set_root(root);
    archive.set_tree(tree)?;
    Ok(archive)
}

/// A network with tied weights, as the script builds it too.
fn network() -> Result<Sequential> {
    let mut tied = Linear::new(8, 8)?;
    let first = Linear::new(8, 8)?;
    tied.weight = Param::clone(&first.weight);
    Ok(Sequential::new()
        .add(Conv2d::new(1, 2, 3)?)
        .add(BatchNorm2d::new(2)?)
        .add(ReLU)
        .add(Flatten::default())
        .add(first)
        .add(tied))
}

fn train<R: Rule>(model: &Sequential, optimizer: &mut Optimizer<R>, steps: usize) -> Result<Vec<f64>> {
    let x = Tensor::from_vec((0..32).map(|i| (i * 7 % 11) as f32 / 11.0).collect(), [2, 1, 4, 4])?;
    (0..steps)
        .map(|_| {
            optimizer.zero_grad();
            let y = model.forward(&x)?;
            let loss = y.mul(&y)?.mean(())?;
            loss.backward()?;
            optimizer.step()?;
            loss.item()
        })
        .collect()
}

/// What training needs to go on, and the losses of the three steps that follow.
fn resumable<R: Rule>(path: &Path, rule: R) -> Result<()> {
    manual_seed(0);
    let model = network()?;
    let mut optimizer = Optimizer::new(&model, rule.clone())?;
    train(&model, &mut optimizer, 2)?;
    let mut checkpoint = Checkpoint::new();
    checkpoint.insert("model", StateDict::from_iter(copies(&model)?))?;
    checkpoint.insert("optimizer", optimizer.state_dict()?)?;
    checkpoint.insert("epoch", 5)?;
    checkpoint.insert("losses", train(&model, &mut optimizer, 3)?)?;
    checkpoint.save(path)?;

    let checkpoint = Checkpoint::load(path)?;
    let again = network()?;
    let mut optimizer = Optimizer::new(&again, rule)?;
    again.load_state_dict(&checkpoint.get::<StateDict>("model")?, Strictness::Strict)?;
    optimizer.load_state_dict(&checkpoint.get::<OptimizerState>("optimizer")?)?;
    assert_eq!(train(&again, &mut optimizer, 3)?, checkpoint.get::<Vec<f64>>("losses")?);
    Ok(())
}

/// A state dict that training leaves alone, tied as the module is.
fn copies(model: &Sequential) -> Result<Vec<(String, Tensor)>> {
    let state = model.state_dict();
    let mut made: Vec<(Tensor, Tensor)> = Vec::new();
    let mut copies = Vec::new();
    for (name, tensor) in &state {
        let known = made.iter().find(|(of, _)| of.shares_storage(tensor)).map(|(_, copy)| copy.clone());
        let copy = known.map_or_else(|| Tensor::copy(tensor), Ok)?;
        made.push((tensor.clone(), copy.clone()));
        copies.push((name.to_owned(), copy));
    }
    Ok(copies)
}

#[test]
fn files_for_pytorch_are_written() -> Result<()> {
    let (folder, keep) = folder();
    std::fs::create_dir_all(folder.join("rewritten")).expect("a folder");
    dtypes(&[])?.save(folder.join("dtypes.pt"), "pytorch")?;
    dtypes(&[DType::C32, DType::C128])?.save(folder.join("dtypes.safetensors"), "safetensors")?;
    tied_model()?.save(folder.join("tied.pt"), "pytorch")?;
    tied_model()?.save(folder.join("tied.safetensors"), "safetensors")?;
    checkpoint()?.save(folder.join("checkpoint.pt"), "pytorch")?;
    resumable(&folder.join("resume_adamw.pt"), AdamW { lr: 0.01, amsgrad: true, ..AdamW::default() })?;
    resumable(&folder.join("resume_sgd.pt"), Sgd { lr: 0.01, momentum: 0.9, ..Sgd::default() })?;
    manual_seed(0);
    network()?.save(folder.join("network.pt"))?;
    manual_seed(0);
    network()?.save(folder.join("network.safetensors"))?;

    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/good");
    let mut rewritten = 0;
    for file in std::fs::read_dir(recorded).expect("the recorded files") {
        let path = file.expect("a file").path();
        // Shards, and the elements of an ONNX model.
        if path.is_dir() || path.extension().is_some_and(|e| e == "data") {
            continue;
        }
        let archive = io::open(&path)?;
        let format = archive.format().expect("a format");
        let target = folder.join("rewritten").join(path.file_name().expect("a name"));
        match archive.save(&target, format) {
            Ok(()) => rewritten += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
    }
    assert!(rewritten >= 25, "only {rewritten} recorded files could be written again");
    if !keep {
        std::fs::remove_dir_all(folder).expect("a folder that can be removed");
    }
    Ok(())
}
