//! `sconce stats --parquet`.
#![cfg(feature = "parquet")]

mod common;

use std::fs::File;

use common::{Folder, archive, sconce};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use sconce::DType;
use sconce::io::{Archive, Entry};
use serde_json::{Value, json};

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => json!(text),
        Field::Long(n) => json!(n),
        Field::Double(x) => json!(x),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => panic!("{other:?}"),
    }
}

/// The rows of a Parquet file as JSON.
fn rows(path: &std::path::Path) -> Vec<Value> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let object =
        |row: parquet::record::Row| row.get_column_iter().map(|(k, f)| (k.clone(), value(f))).collect();
    reader.get_row_iter(None).unwrap().map(|row| Value::Object(object(row.unwrap()))).collect()
}

#[test]
fn rows_are_those_of_json() {
    let folder = Folder::new("parquet");
    let a = folder.save("a.safetensors", &archive(&[("w", &[1.0, 3.0, f32::NAN, 0.1]), ("none", &[])]));
    let mut small = Archive::new();
    small.push_bytes(Entry::new("f8", DType::F8E5M2, [2, 1]), vec![0x3c, 0x44]).unwrap();
    small.push_bytes(Entry::new("scalar", DType::I64, []), vec![7; 8]).unwrap();
    let b = folder.save("b.safetensors", &small);
    let path = folder.path("rows.parquet");
    let target = path.to_str().unwrap();
    for options in [&["--bins", "3", "--hash"][..], &["--header-only"], &["-s", "** & ndim>0"]] {
        let lines = sconce(&[&["stats", &a, &b][..], options].concat());
        let output = sconce(&[&["stats", &a, &b, "--parquet", target][..], options].concat());
        assert_eq!((lines.code, output.code), (0, 0), "{}", output.err);
        let expected: Vec<Value> =
            lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(output.out.ends_with(&format!(": {} rows\n", expected.len())), "{}", output.out);
        let found = rows(&path);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            for (key, value) in found.as_object().unwrap() {
                let wanted = expected.get(key).unwrap_or(&Value::Null);
                assert_eq!(value, wanted, "{key}");
            }
            assert!(expected.as_object().unwrap().keys().all(|key| found.get(key).is_some()), "{expected}");
        }
    }
}

#[test]
fn a_failure_leaves_no_file_and_no_model_is_replaced() {
    let folder = Folder::new("parquet-bad");
    let a = folder.save("a.safetensors", &archive(&[("w", &[1.0])]));
    let before = std::fs::read(&a).unwrap();
    assert_eq!(sconce(&["stats", &a, "--parquet", &a]).code, 2);
    assert_eq!(std::fs::read(&a).unwrap(), before);
    assert_eq!(sconce(&["stats", &a, "--parquet", "/no/such/folder/rows.parquet"]).code, 2);
    let path = folder.path("rows.parquet");
    // A file that cannot be read is told of, and the others' rows are there.
    let output = sconce(&["stats", "/no/such/file", &a, "--parquet", path.to_str().unwrap()]);
    assert_eq!((output.code, rows(&path).len()), (2, 1), "{}", output.err);
}
