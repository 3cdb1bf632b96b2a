//! Files written by PyTorch and safetensors, and hostile ones, against what their manifest says.
//!
//! The manifest has one file a line. A good file must list exactly the recorded tensors, bit for bit; a bad one must
//! be refused in one line. `SCONCE_FILES` names another folder of the same layout to check instead of the committed
//! subset.

use std::path::{Path, PathBuf};

use sconce::io::{self, Archive, DictKind, NodeId, Tree, Value};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// The formats of the manifest that the library reads.
const FORMATS: &[&str] = &["safetensors", "torch_zip", "torchscript", "torch"];

fn folder() -> PathBuf {
    match std::env::var_os("SCONCE_FILES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/files"),
    }
}

fn manifest() -> Vec<Json> {
    let text = std::fs::read_to_string(folder().join("manifest.jsonl")).expect("the manifest");
    let lines = text.lines().map(|line| serde_json::from_str::<Json>(line).expect("a JSON line"));
    lines.filter(|case| FORMATS.contains(&case["format"].as_str().expect("a format"))).collect()
}

fn text(case: &Json, key: &str) -> String {
    case[key].as_str().unwrap_or_default().to_owned()
}

#[test]
fn good_files_list_what_was_recorded() {
    let mut failures = Vec::new();
    let mut read = 0;
    for case in manifest().iter().filter(|c| c["verdict"] == "load") {
        let path = text(case, "path");
        match io::open(folder().join(&path)) {
            Ok(archive) => {
                read += 1;
                if let Err(reason) = check(&archive, case) {
                    failures.push(format!("{path}: {reason}"));
                }
            }
            Err(error) if case["optional"] == true => {
                eprintln!("refused, as allowed: {error}");
                assert!(!error.to_string().contains('\n'));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(read > 20, "only {read} files were read");
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let mut failures = Vec::new();
    let mut refused = 0;
    for case in manifest().iter().filter(|c| c["verdict"] == "refuse") {
        let path = folder().join(text(case, "path"));
        match io::open(&path).and_then(|archive| read_all(&archive)) {
            Ok(()) => failures.push(format!("{} was accepted: {}", path.display(), text(case, "why"))),
            Err(error) => {
                let line = error.to_string();
                eprintln!("{line}");
                let clear = line.starts_with(&*path.display().to_string())
                    && !line.contains('\n')
                    && line.len() < 500;
                if !clear {
                    failures.push(format!("unclear: {line:?}"));
                }
                refused += 1;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(refused > 50, "only {refused} files were refused");
}

#[test]
fn odd_files_do_no_harm() {
    for case in manifest().iter().filter(|c| c["verdict"] == "no_harm") {
        match io::open(folder().join(text(case, "path"))) {
            Ok(archive) => match read_all(&archive) {
                Ok(()) => eprintln!("{}: read", text(case, "path")),
                Err(error) => eprintln!("{error}"),
            },
            Err(error) => eprintln!("{error}"),
        }
    }
}

fn read_all(archive: &Archive) -> sconce::Result<()> {
    archive.entries().iter().try_for_each(|entry| archive.for_each_chunk(entry, 1 << 16, |_| Ok(())))
}

fn check(archive: &Archive, case: &Json) -> Result<(), String> {
    let mut expected = Vec::new();
    for tensor in case["tensors"].as_array().ok_or("no tensors are recorded")? {
        let parts = tensor["sparse"].as_array().or(tensor["sparse_csr"].as_array());
        match parts {
            Some(parts) => expected.extend(parts.iter()),
            None => expected.push(tensor),
        }
    }
    if archive.entries().len() != expected.len() {
        return Err(format!("{} tensors, {} are recorded", archive.entries().len(), expected.len()));
    }
    for tensor in expected {
        let name = tensor["name"].as_str().ok_or("no name")?;
        let entry = archive.get(name).ok_or_else(|| format!("no tensor {name:?}"))?;
        let whole = archive.read(entry).map_err(|e| e.to_string())?;
        let mut streamed = Sha256::new();
        let chunks = archive.for_each_chunk(entry, 40, |bytes| {
            streamed.update(bytes);
            Ok(())
        });
        chunks.map_err(|e| e.to_string())?;
        let found = json!({
            "dtype": entry.encoding().name(),
            "shape": entry.shape(),
            "sha256": hex(&Sha256::digest(&whole)),
            "streamed": hex(&streamed.finalize()),
            "parameter": entry.parameter(),
            "requires_grad": entry.requires_grad(),
            "storage_offset": entry.offset(),
        });
        // TorchScript keeps no parameters, and a module saved whole is recorded as its state dict.
        let marks = case["format"] == "torch_zip" && case["structure"].get("module").is_none();
        let mut wanted = json!({
            "dtype": tensor["dtype"],
            "shape": tensor["shape"],
            "sha256": tensor["sha256"],
            "streamed": tensor["sha256"],
            "parameter": tensor.get("parameter").cloned().unwrap_or(json!(false)),
            "requires_grad": tensor.get("requires_grad").cloned().unwrap_or(json!(false)),
            "storage_offset": tensor.get("storage_offset").cloned().unwrap_or(json!(0)),
        });
        if !marks {
            wanted["parameter"] = found["parameter"].clone();
            wanted["requires_grad"] = found["requires_grad"].clone();
        }
        if found != wanted {
            return Err(format!("{name:?}: found {found}, recorded {wanted}"));
        }
        if let Some(strides) = tensor.get("strides")
            && json!(entry.strides()) != *strides
        {
            return Err(format!("{name:?}: strides {:?}, recorded {strides}", entry.strides()));
        }
    }
    if let Some(metadata) = case.get("metadata") {
        let pairs = archive.metadata().iter().map(|(k, v)| (k.clone(), json!(v)));
        let found = Json::Object(pairs.collect());
        let wanted = if metadata.is_null() { json!({}) } else { metadata.clone() };
        if found != wanted {
            return Err(format!("metadata {found}, recorded {wanted}"));
        }
    }
    if let Some(structure) = case.get("structure") {
        let tree = archive.tree().ok_or("no structure")?;
        let found = structure_of(tree, tree.root(), "");
        if found != *structure {
            return Err(format!("structure {found}, recorded {structure}"));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The structure as the manifest writes it. Recorded files are shallow, so recursion is fine here.
fn structure_of(tree: &Tree, id: NodeId, path: &str) -> Json {
    let child = |key: &str, id: NodeId| {
        structure_of(tree, id, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") })
    };
    let items = |items: &[NodeId]| -> Vec<Json> {
        items.iter().enumerate().map(|(i, &id)| child(&i.to_string(), id)).collect()
    };
    match tree.value(id) {
        Value::None => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(i) => json!(i),
        Value::BigInt(bytes) => json!({"int": decimal(bytes)}),
        Value::Float(x) if x.is_finite() => json!(x),
        Value::Float(x) if x.is_nan() => json!({"float": "nan"}),
        Value::Float(x) => json!({"float": if *x > 0.0 { "inf" } else { "-inf" }}),
        Value::Str(s) => json!(s),
        Value::Bytes(bytes) => json!({"bytes": hex(bytes)}),
        Value::List(list) => json!(items(list)),
        Value::Tuple(list) => json!({"tuple": items(list)}),
        Value::Set(list) => json!({"set": items(list)}),
        Value::Size(sizes) => json!({"size": sizes}),
        Value::DType(name) => json!({"dtype": name}),
        Value::Tensor(_) | Value::Sparse(_) => json!({"tensor": path}),
        Value::Array(_) => json!({"numpy": path}),
        Value::Object(object) => json!({"module": object.class.rsplit('.').next()}),
        Value::Dict(dict) => {
            let kind = match dict.kind {
                DictKind::Ordered => "ordered_dict",
                DictKind::Counter => "counter",
                _ => "dict",
            };
            let pairs = dict.items.iter().map(|&(k, v)| {
                let key = structure_of(tree, k, "");
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                json!([key, child(&name, v)])
            });
            let mut found = json!({kind: pairs.collect::<Vec<_>>()});
            if let Some(metadata) = dict.attributes.and_then(|a| tree.lookup(a, "_metadata")) {
                found["_metadata"] = structure_of(tree, metadata, "");
            }
            found
        }
        other => panic!("{other:?} at {path}"),
    }
}

/// A little-endian two's complement integer in decimal; positive ones are enough here.
fn decimal(bytes: &[u8]) -> String {
    bytes.iter().rev().fold(0_u128, |n, &b| (n << 8) | u128::from(b)).to_string()
}
