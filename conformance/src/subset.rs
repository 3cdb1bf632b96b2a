//! Writes a smaller corpus: some cases of each group, with the tensors that they need.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::case::Case;
use crate::runner::Driver;
use crate::store::Store;

/// Copies up to `count` cases of each group of a suite, spread evenly over the group.
pub(crate) fn write(corpus: &Path, driver: &Driver, count: usize, out: &Path) -> Result<usize, String> {
    let (from, to) = (corpus.join(driver.name), out.join(driver.name));
    let manifest = from.join("manifest.jsonl");
    if !manifest.exists() {
        return Ok(0);
    }
    let mut store = Store::new(&from);
    let mut lines = Vec::new();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in BufReader::new(fs::File::open(&manifest).map_err(|e| at(&manifest, e))?).lines() {
        let line = line.map_err(|e| at(&manifest, e))?;
        let case = Case::parse(&line, &mut store).map_err(|e| at(&manifest, e))?;
        groups.entry((driver.group)(&case)).or_default().push(lines.len());
        lines.push(line);
    }
    let mut chosen: Vec<usize> = groups
        .values()
        .flat_map(|group| {
            let n = count.min(group.len());
            (0..n).map(move |i| group[i * group.len() / n])
        })
        .collect();
    chosen.sort_unstable();
    let mut keys: BTreeMap<String, BTreeMap<String, ()>> = BTreeMap::new();
    let mut text = String::new();
    for &i in &chosen {
        text.push_str(&lines[i]);
        text.push('\n');
        let case = Case::parse(&lines[i], &mut store).map_err(|e| at(&manifest, e))?;
        if let Some(file) = case.json["file"].as_str() {
            let used = case.json["tensors"].as_object().into_iter().flatten();
            let used = used.filter_map(|(_, entry)| entry["data"].as_str());
            keys.entry(file.to_owned()).or_default().extend(used.map(|key| (key.to_owned(), ())));
        }
        for field in ["path", "dequantized"] {
            if let Some(path) = case.json[field].as_str() {
                copy_file(&from.join(path), &to.join(path))?;
            }
        }
    }
    write_file(&to.join("manifest.jsonl"), text.as_bytes())?;
    for (path, keys) in keys.iter().filter(|(_, keys)| !keys.is_empty()) {
        let names: Vec<&str> = keys.keys().map(String::as_str).collect();
        write_tensors(&mut store, path, &names, &to.join(path))?;
    }
    let signatures = from.join("signatures.json");
    if signatures.exists() {
        copy_file(&signatures, &to.join("signatures.json"))?;
    }
    Ok(chosen.len())
}

/// Writes some tensors of a safetensors file to another.
fn write_tensors(store: &mut Store, path: &str, keys: &[&str], out: &Path) -> Result<(), String> {
    let file = store.file(path)?;
    let (mut header, mut data) = (Map::new(), Vec::new());
    for key in keys {
        let array = file.array(key)?;
        let start = data.len();
        data.extend_from_slice(&array.bytes);
        let entry =
            json!({"dtype": file.dtype_code(key), "shape": array.shape, "data_offsets": [start, data.len()]});
        header.insert((*key).to_owned(), entry);
    }
    let mut header = Json::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&data);
    write_file(out, &bytes)
}

/// Copies a file; of a sharded model's index, the files beside it too, and of an ONNX model, its data.
fn copy_file(from: &Path, to: &Path) -> Result<(), String> {
    if from.to_string_lossy().ends_with(".index.json")
        && let Some(folder) = from.parent()
    {
        for entry in fs::read_dir(folder).map_err(|e| at(folder, e))? {
            let path = entry.map_err(|e| at(folder, e))?.path();
            if path.is_file() {
                copy(&path, &to.with_file_name(path.file_name().unwrap_or_default()))?;
            }
        }
        return Ok(());
    }
    let data = from.with_extension("data");
    if data.is_file() {
        copy(&data, &to.with_extension("data"))?;
    }
    copy(from, to)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    write_file(to, &fs::read(from).map_err(|e| at(from, e))?)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| at(folder, e))?;
    }
    fs::write(path, bytes).map_err(|e| at(path, e))
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
