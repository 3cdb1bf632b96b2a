//! Files of the tools that own the formats: shards as transformers writes them, llama.cpp's blocks, ONNX graphs, NumPy's
//! archives, a training run's checkpoint. `tests/oracle/make_interchange.py` writes them and what those tools read back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sconce::DType;
use sconce::io::{self, Archive, Encoding, Entry, Numbers};
use serde_json::Value as Json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/interchange")
}

/// The numbers that JSON holds: complex ones are pairs, what JSON lacks is a text.
fn numbers(json: &Json, out: &mut Vec<f64>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| numbers(item, out)),
        Json::Bool(flag) => out.push(f64::from(u8::from(*flag))),
        Json::String(text) => out.push(text.parse().expect("a number")),
        other => out.push(other.as_f64().expect("a number")),
    }
}

fn decoded(archive: &Archive, entry: &Entry) -> Vec<f64> {
    let mut values = Vec::new();
    let bytes = archive.read(entry).expect("bytes");
    Numbers::of(entry).and_then(|n| n.decode(&bytes, &mut values)).expect("numbers");
    values
}

fn same(entry: &Entry, found: f64, expected: f64) -> bool {
    // What is no double is recorded in the fewest digits that single precision tells apart.
    let wide = matches!(entry.encoding(), Encoding::Plain(dtype) if matches!(dtype, DType::F64 | DType::I64 | DType::U64 | DType::C128));
    found == expected || (!wide && found as f32 == expected as f32) || (found.is_nan() && expected.is_nan())
}

#[test]
fn files_of_other_tools_hold_what_those_tools_read() {
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("the record");
    let record: serde_json::Map<String, Json> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(record.len(), 7);
    for (file, expected) in &record {
        let archive = io::open(folder().join(file)).expect("a file that opens");
        let tensors = expected["tensors"].as_object().expect("tensors");
        let names = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(
            names(archive.entries().iter().map(Entry::name).collect()),
            names(tensors.keys().map(String::as_str).collect()),
            "{file}"
        );
        for entry in archive.entries() {
            let recorded = &tensors[entry.name()];
            let shape: Vec<u64> = entry.shape().iter().map(|&d| d as u64).collect();
            assert_eq!(serde_json::json!(shape), recorded["shape"], "{file}: {}", entry.name());
            let (found, mut wanted) = (decoded(&archive, entry), Vec::new());
            numbers(&recorded["values"], &mut wanted);
            assert_eq!(found.len(), wanted.len(), "{file}: {}", entry.name());
            for (i, (&found, &wanted)) in found.iter().zip(&wanted).enumerate() {
                assert!(same(entry, found, wanted), "{file}: {}: {i}: {found} and {wanted}", entry.name());
            }
        }
        if let Some(metadata) = expected.get("metadata").and_then(Json::as_object) {
            assert_eq!(archive.metadata().len(), metadata.len(), "{file}: {:?}", archive.metadata());
            for (key, value) in archive.metadata() {
                // What is no text is written as JSON, a list with its spaces.
                let wanted = &metadata[key];
                let alike = wanted.as_str().is_some_and(|text| text == value)
                    || serde_json::from_str::<Json>(value).is_ok_and(|found| alike(&found, wanted));
                assert!(alike, "{file}: {key}: {value} and {wanted}");
            }
        }
    }
}

/// Whether two values are equal, numbers to single precision.
fn alike(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Json::Number(a), Json::Number(b)) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b || a as f32 == b as f32)
        }
        (a, b) => a == b,
    }
}
