//! Suite `files`: checkpoint files to load, and files to refuse.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sconce::io::{self, Archive, DictKind, Encoding, NodeId, Tree, Value as Node};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::case::{Case, array_of, str_of};
use crate::footprint::{Footprint, measure};
use crate::outcome::{At, Stop, unsupported, wrong};
use crate::runner::Context;
use crate::store::unsigned;

/// What a file may take beside a multiple of its own size.
const MEMORY: u64 = 64 << 20;
const MEMORY_PER_BYTE: u64 = 16;
const TIME: Duration = Duration::from_secs(10);

/// Bytes of a tensor that are hashed at once: so few of a small one that its rows and blocks are cut.
const CHUNK: usize = 1 << 20;
const SMALL_CHUNK: usize = 40;

/// What an error may be long, beside the path that it begins with.
const LINE: usize = 300;

/// The library's name of each format of the corpus.
const FORMATS: &[(&str, &str)] = &[
    ("safetensors", "safetensors"),
    ("safetensors_sharded", "safetensors-sharded"),
    ("torch", "pytorch"),
    ("torch_zip", "pytorch"),
    ("torchscript", "pytorch"),
    ("torch_legacy", "pytorch-legacy"),
    ("npy", "npy"),
    ("npz", "npz"),
    ("gguf", "gguf"),
    ("onnx", "onnx"),
];

/// The library's name of the types that GGUF files share with PyTorch.
const GGML_TYPES: &[(&str, &str)] = &[
    ("F64", "float64"),
    ("F32", "float32"),
    ("F16", "float16"),
    ("BF16", "bfloat16"),
    ("I64", "int64"),
    ("I32", "int32"),
    ("I16", "int16"),
    ("I8", "int8"),
];

/// Runs a case.
pub(super) fn run(context: &Context, case: &Case) -> Result<(), Stop> {
    let format = case.str("format")?;
    let name = FORMATS.iter().find(|(f, _)| *f == format).map_or(format, |(_, name)| name);
    if !io::FORMATS.iter().any(|f| f.name() == name) {
        return unsupported("no such format".into());
    }
    let path = context.folder.join(case.str("path")?);
    let (loaded, footprint) = measure(|| load(&path));
    check_footprint(&path, footprint)?;
    if let Err(Stop::Refused(error)) = &loaded {
        check_line(&path, &error.to_string())?;
    }
    match (case.str("verdict")?, loaded) {
        ("refuse", Err(Stop::Refused(_))) | ("no_harm", Ok(_) | Err(Stop::Refused(_))) => Ok(()),
        ("refuse", Ok(_)) => wrong(format!("loaded: {}", case.json["why"])),
        ("load", Err(Stop::Refused(_))) if case.json["optional"] == true => Ok(()),
        ("load", Ok(file)) => {
            check(&file, case)?;
            match case.json["dequantized"].as_str() {
                Some(path) => check_numbers(&file.archive, &context.folder.join(path)),
                None => Ok(()),
            }
        }
        (_, Err(stop)) => Err(stop),
        (verdict, _) => wrong(format!("unknown verdict {verdict}")),
    }
}

/// An opened file and the hash of each tensor's bytes.
struct Loaded {
    archive: Archive,
    hashes: Vec<String>,
}

fn load(path: &Path) -> Result<Loaded, Stop> {
    let archive = io::open(path)?;
    let mut hashes = Vec::with_capacity(archive.entries().len());
    for entry in archive.entries() {
        let mut hash = Sha256::new();
        let chunk = if entry.bytes() < CHUNK as u64 { SMALL_CHUNK } else { CHUNK };
        archive.for_each_chunk(entry, chunk, |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        hashes.push(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
    }
    Ok(Loaded { archive, hashes })
}

/// A file is refused in one line that begins with its path.
fn check_line(path: &Path, line: &str) -> Result<(), Stop> {
    let rest = line.strip_prefix(&*path.display().to_string()).and_then(|rest| rest.strip_prefix(": "));
    match rest {
        Some(rest) if !rest.contains('\n') && rest.len() <= LINE => Ok(()),
        _ => wrong(format!("an unclear error: {line:?}")),
    }
}

fn check_footprint(path: &Path, footprint: Footprint) -> Result<(), Stop> {
    let size = fs::metadata(path).map_or(0, |m| m.len());
    if footprint.time > TIME {
        return wrong(format!("took {:?}", footprint.time));
    }
    match footprint.peak {
        Some(peak) if peak > MEMORY + MEMORY_PER_BYTE * size => {
            wrong(format!("took {peak} bytes of memory for a file of {size}"))
        }
        _ => Ok(()),
    }
}

fn check(file: &Loaded, case: &Case) -> Result<(), Stop> {
    // The parts of a sparse tensor are entries of their own.
    let mut expected = Vec::new();
    for tensor in array_of(&case.json, "tensors")? {
        match tensor.get("sparse").or_else(|| tensor.get("sparse_csr")) {
            Some(parts) => expected.extend(parts.as_array().into_iter().flatten()),
            None => expected.push(tensor),
        }
    }
    // A module saved whole is listed by its state dict, which says nothing of parameters.
    let is_module = case.json["structure"].get("module").is_some();
    for tensor in &expected {
        let name = str_of(tensor, "name")?;
        check_tensor(file, name, tensor, !is_module).at(format_args!("tensor {name:?}"))?;
    }
    let names: Vec<_> = file.archive.entries().iter().map(|e| e.name()).collect();
    if names.len() != expected.len() {
        return wrong(format!("{} tensors, expected {}: {names:?}", names.len(), expected.len()));
    }
    if let Some(metadata) = case.json.get("metadata").filter(|m| !m.is_null()) {
        check_metadata(&file.archive, metadata).at("metadata")?;
    }
    match (case.json.get("structure"), file.archive.tree()) {
        (None, _) => Ok(()),
        (Some(structure), Some(tree)) => check_structure(&file.archive, tree, tree.root(), structure),
        (Some(_), None) if is_module => Ok(()),
        (Some(_), None) => wrong("no structure".into()),
    }
}

fn check_tensor(file: &Loaded, name: &str, expected: &Json, flags: bool) -> Result<(), Stop> {
    let entries = file.archive.entries();
    let Some(index) = entries.iter().position(|e| e.name() == name) else {
        return wrong(format!(
            "missing; there are {:?}",
            entries.iter().map(|e| e.name()).collect::<Vec<_>>()
        ));
    };
    let entry = &entries[index];
    let dtype = expected.get("ggml_type").or_else(|| expected.get("dtype")).and_then(Json::as_str);
    let dtype = dtype.map(|d| GGML_TYPES.iter().find(|(ggml, _)| *ggml == d).map_or(d, |(_, name)| name));
    if dtype.is_none_or(|d| !d.eq_ignore_ascii_case(entry.encoding().name())) {
        return wrong(format!("dtype {}, expected {dtype:?}", entry.encoding().name()));
    }
    let shape = unsigned(&expected["shape"]).ok_or_else(|| Stop::Wrong("malformed shape".into()))?;
    if entry.shape() != shape {
        return wrong(format!("shape {:?}, expected {shape:?}", entry.shape()));
    }
    if expected["sha256"] != file.hashes[index].as_str() {
        return wrong("other bytes".into());
    }
    if let Some(strides) = expected.get("strides")
        && unsigned(strides).as_deref() != Some(entry.strides())
    {
        return wrong(format!("strides {:?}, expected {strides}", entry.strides()));
    }
    let offset = expected["storage_offset"].as_u64().unwrap_or(0);
    if entry.offset() as u64 != offset && expected.get("strides").or(expected.get("storage_offset")).is_some()
    {
        return wrong(format!("storage offset {}, expected {offset}", entry.offset()));
    }
    for (field, actual) in [("parameter", entry.parameter()), ("requires_grad", entry.requires_grad())] {
        let expected = expected[field] == true;
        if flags && actual != expected {
            return wrong(format!("{field} is {actual}, expected {expected}"));
        }
    }
    Ok(())
}

/// Compares the numbers that blocks stand for with those of a safetensors file.
fn check_numbers(archive: &Archive, path: &Path) -> Result<(), Stop> {
    let expected = io::open(path)?;
    for numbers in expected.entries() {
        let name = numbers.name();
        let Some(entry) = archive.get(name) else {
            return wrong(format!("no {name:?} to compare numbers of"));
        };
        let Encoding::Packed(packed) = entry.encoding() else { continue };
        let mut actual = vec![0.0; entry.numel()];
        packed.decode(&archive.read(entry)?, &mut actual)?;
        let bytes = expected.read(numbers)?;
        let wanted: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let close = |(a, e): (&f32, &f32)| a == e || (a - e).abs() <= 1e-6 * e.abs();
        if actual.len() != wanted.len() || !actual.iter().zip(&wanted).all(close) {
            return wrong(format!("tensor {name:?}: other numbers"));
        }
    }
    Ok(())
}

fn check_metadata(archive: &Archive, expected: &Json) -> Result<(), Stop> {
    let Some(expected) = expected.as_object() else { return wrong("not an object".into()) };
    if archive.metadata().len() != expected.len() {
        return wrong(format!("{} entries, expected {}", archive.metadata().len(), expected.len()));
    }
    for (key, value) in archive.metadata() {
        let same = match expected.get(key) {
            Some(Json::String(text)) => text == value,
            // What is no text has JSON for its text.
            Some(other) => serde_json::from_str::<Json>(value).is_ok_and(|json| json == *other),
            None => false,
        };
        if !same {
            return wrong(format!("{key:?} is {value:?}, expected {:?}", expected.get(key)));
        }
    }
    Ok(())
}

/// Compares a node with its description; the depth is that of the description.
fn check_structure(archive: &Archive, tree: &Tree, id: NodeId, expected: &Json) -> Result<(), Stop> {
    let node = tree.value(id);
    let mismatch = || wrong(format!("{node:?}, expected {expected}"));
    let all = |items: &[NodeId], expected: &[Json]| {
        if items.len() != expected.len() {
            return wrong(format!("{} items, expected {}", items.len(), expected.len()));
        }
        let mut pairs = items.iter().zip(expected).enumerate();
        pairs.try_for_each(|(i, (id, e))| check_structure(archive, tree, *id, e).at(i))
    };
    let items_of = |key: &str| expected.get(key).and_then(Json::as_array);
    let plain = match (node, expected) {
        (Node::List(items), Json::Array(expected)) => return all(items, expected),
        (Node::None, Json::Null) => true,
        (Node::Bool(a), Json::Bool(e)) => a == e,
        (Node::Int(a), Json::Number(e)) => e.as_i64() == Some(*a),
        (Node::Float(a), Json::Number(e)) => e.is_f64() && e.as_f64() == Some(*a),
        (Node::Float(a), Json::Object(_)) => {
            let text = if a.is_nan() { "nan".to_owned() } else { a.to_string() };
            expected["float"] == text.as_str()
        }
        (Node::Str(a), Json::String(e)) => a == e,
        (Node::BigInt(bytes), Json::Object(_)) => expected["int"] == decimal(bytes).as_str(),
        (Node::Bytes(bytes) | Node::ByteArray(bytes), Json::Object(_)) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            expected["bytes"] == hex.as_str()
        }
        (Node::DType(d), Json::Object(_)) => expected["dtype"] == d.as_str(),
        (Node::Size(size), Json::Object(_)) => {
            let sizes = items_of("size").map(|s| s.iter().map(Json::as_i64).collect::<Vec<_>>());
            sizes == Some(size.iter().copied().map(Some).collect())
        }
        (Node::Complex(re, im), Json::Object(_)) => {
            expected["complex"][0].as_f64() == Some(*re) && expected["complex"][1].as_f64() == Some(*im)
        }
        (Node::Tensor(index), Json::Object(_)) => is_named(archive, *index, &expected["tensor"]),
        (Node::Array(index), Json::Object(_)) => is_named(archive, *index, &expected["numpy"]),
        // Its parts are compared as tensors.
        (Node::Sparse(_), Json::Object(_)) => expected.get("tensor").is_some(),
        (Node::Object(object), Json::Object(_)) => {
            let class = expected.get("module").or_else(|| expected.get("object")).and_then(Json::as_str);
            class.is_some_and(|c| object.class == c || object.class.ends_with(&format!(".{c}")))
        }
        (Node::Tuple(items), Json::Object(_)) => match items_of("tuple") {
            Some(expected) => return all(items, expected),
            None => false,
        },
        (Node::Set(items), Json::Object(_)) => match items_of("set") {
            Some(expected) => return all(items, expected),
            None => false,
        },
        (Node::Dict(dict), Json::Object(_)) => {
            let key = match dict.kind {
                DictKind::Ordered => "ordered_dict",
                DictKind::Counter => "counter",
                _ => "dict",
            };
            let Some(pairs) = items_of(key) else { return mismatch() };
            if pairs.len() != dict.items.len() {
                return wrong(format!("{} items, expected {}", dict.items.len(), pairs.len()));
            }
            for ((k, v), pair) in dict.items.iter().zip(pairs) {
                check_structure(archive, tree, *k, &pair[0]).at("key")?;
                check_structure(archive, tree, *v, &pair[1]).at(&pair[0])?;
            }
            let metadata = dict.attributes.and_then(|a| tree.lookup(a, "_metadata"));
            return match (metadata, expected.get("_metadata")) {
                (None, None) => Ok(()),
                (Some(id), Some(e)) => check_structure(archive, tree, id, e).at("_metadata"),
                (None, Some(_)) => wrong("no _metadata".into()),
                (Some(_), None) => wrong("an unexpected _metadata".into()),
            };
        }
        _ => false,
    };
    if plain { Ok(()) } else { mismatch() }
}

/// Whether the tensor of an index has a name; one object under two names is one tensor.
fn is_named(archive: &Archive, index: usize, name: &Json) -> bool {
    let place = |e: &io::Entry| (e.storage(), e.offset(), e.shape().to_vec(), e.strides().to_vec());
    let named = name.as_str().and_then(|name| archive.get(name));
    let found = archive.entries().get(index);
    found
        .zip(named)
        .is_some_and(|(found, named)| found.name() == named.name() || place(found) == place(named))
}

/// A two's complement integer, little-endian, in decimal.
fn decimal(bytes: &[u8]) -> String {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|b| *b != 0) {
        let mut remainder = 0u16;
        for byte in magnitude.iter_mut().rev() {
            let value = remainder << 8 | u16::from(*byte);
            *byte = (value / 10) as u8;
            remainder = value % 10;
        }
        digits.push(b'0' + remainder as u8);
    }
    if digits.is_empty() {
        digits.push(b'0');
    }
    if negative {
        digits.push(b'-');
    }
    digits.iter().rev().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_integers() {
        let table: [(&[u8], &str); 5] = [
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "1208925819614629174706176"),
            (&[0xff], "-1"),
            (&[0, 0x80], "-32768"),
            (&[0], "0"),
            (&[0x7b], "123"),
        ];
        for (bytes, text) in table {
            assert_eq!(decimal(bytes), text);
        }
    }
}
