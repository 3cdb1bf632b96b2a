//! `--shard-size`: a model in several files.

mod common;

use common::{Folder, archive, sconce};
use sconce::io;

#[test]
fn every_command_that_writes_can_write_shards() {
    let folder = Folder::new("shards");
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    let file =
        folder.save("a.safetensors", &archive(&[("a", &[1.0; 4]), ("b", &[2.0; 4]), ("c", &[3.0; 4])]));
    let cases: &[(&[&str], &str)] = &[
        (&["convert", &file], "converted.safetensors.index.json"),
        (&["edit", &file, "scale a 2", "-o"], "edited.safetensors"),
        (&["prune", &file, "**", "--amount", "1", "-o"], "pruned.safetensors.index.json"),
        (&["merge", &file, &file, "-o"], "merged.safetensors"),
    ];
    for (arguments, name) in cases {
        let target = path(name);
        let mut all = arguments.to_vec();
        all.extend([target.as_str(), "--shard-size", "32B"]);
        let output = sconce(&all);
        assert_eq!(output.code, 0, "{name}: {}", output.err);
        let stem = name.split('.').next().unwrap();
        let index = path(&format!("{stem}.safetensors.index.json"));
        let names: Vec<_> = io::open(&index).unwrap().entries().iter().map(|e| e.name().to_owned()).collect();
        assert_eq!(names, ["a", "b", "c"], "{name}");
        assert_eq!(io::open(path(&format!("{stem}-00001-of-00002.safetensors"))).unwrap().entries().len(), 2);
        // None of the files is replaced unasked, not even when the index is gone.
        std::fs::remove_file(&index).unwrap();
        let again = sconce(&all);
        assert!(
            again.code == 2 && again.err.contains("the file exists; --force replaces it"),
            "{}",
            again.err
        );
        all.push("--force");
        assert_eq!(sconce(&all).code, 0);
    }
}

#[test]
fn sizes_are_numbers_of_bytes() {
    let folder = Folder::new("shard-sizes");
    let file = folder.save("a.safetensors", &archive(&[("a", &[1.0])]));
    let target = folder.path("b.safetensors");
    for (size, why) in [
        ("0", "at least one byte"),
        ("5XB", "unknown unit XB"),
        ("GB", "a whole number"),
        ("99999999999GB", "fewer than 2^64"),
    ] {
        let output = sconce(&["convert", &file, target.to_str().unwrap(), "--shard-size", size]);
        assert!(output.code == 2 && output.err.contains(why), "{size}: {}", output.err);
    }
    let other = folder.path("b.pt");
    let output =
        sconce(&["convert", &file, other.to_str().unwrap(), "--shard-size", "1GB", "--format", "pytorch"]);
    assert!(
        output.code == 2 && output.err.contains("--shard-size writes safetensors-sharded"),
        "{}",
        output.err
    );
}

#[test]
fn convert_writes_what_a_selector_picks_and_names_the_rest() {
    let folder = Folder::new("convert-select");
    let file = folder.save("a.safetensors", &archive(&[("fc.weight", &[1.0]), ("fc.bias", &[2.0])]));
    let target = folder.path("b.npz");
    let output = sconce(&["convert", &file, target.to_str().unwrap(), "--select", "**.bias"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("fc.weight"), "{}", output.out);
    let names: Vec<_> = io::open(target).unwrap().entries().iter().map(|e| e.name().to_owned()).collect();
    assert_eq!(names, ["fc.bias"]);
}
