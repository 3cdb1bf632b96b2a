//! Runs the committed part of the corpus against its floor.

use std::path::Path;
use std::process::Command;

#[test]
fn committed_cases_stay_above_the_floor() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
        .arg(&corpus)
        .arg("--floor")
        .arg(corpus.join("floor.json"))
        .output()
        .expect("the runner starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
}

#[test]
fn exit_codes() {
    let folder = std::env::temp_dir().join(format!("sconce-conformance-{}", std::process::id()));
    let suite = folder.join("ops");
    std::fs::create_dir_all(&suite).unwrap();
    let run = |args: &[&Path]| Command::new(env!("CARGO_BIN_EXE_conformance")).args(args).output().unwrap();
    // No suite at all.
    assert_eq!(run(&[&folder]).status.code(), Some(2));
    // A failing case is counted, and fatal only under a floor.
    let case = r#"{"id": "x/0", "op": "zeros", "args": [[2]], "kwargs": {}, "out": true, "tensors": {}}"#;
    std::fs::write(suite.join("manifest.jsonl"), case).unwrap();
    std::fs::write(suite.join("signatures.json"), r#"{"zeros": [["size", "*", "dtype=None"]]}"#).unwrap();
    let json = folder.join("counts.json");
    let output = run(&[&folder, Path::new("--json"), &json]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAIL ops x/0: out: "));
    let counts: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(counts, serde_json::json!({"ops": {"passed": 0, "failed": 1, "unsupported": 0}}));
    let floor = folder.join("floor.json");
    std::fs::write(&floor, r#"{"ops": {"passed": 1}}"#).unwrap();
    assert_eq!(run(&[&folder, Path::new("--floor"), &floor]).status.code(), Some(1));
    std::fs::remove_dir_all(folder).unwrap();
}
