//! `sconce edit`, `convert` and `prune` as users run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sconce::io::{self, Archive, Entry, Tree, Value};
use sconce::{DType, Result};

/// A folder of its own that goes away with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sconce-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file of a matrix and a bias, with metadata.
    fn model(&self, name: &str) -> PathBuf {
        let (path, mut archive) = (self.path(name), Archive::new());
        let numbers = |n: u8| (0..n).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        archive.push_bytes(Entry::new("fc.weight", DType::F32, [4, 3]), numbers(12)).expect("room");
        archive.push_bytes(Entry::new("fc.bias", DType::F32, [4]), numbers(4)).expect("room");
        if name.ends_with("safetensors") {
            archive.set_metadata("note", "kept");
        }
        let format = io::format_for_path(&path).expect("a format");
        archive.save(&path, format.name()).expect("a file");
        path
    }

    /// A checkpoint `{"model": {"weight": …}, "epoch": 3}`.
    fn checkpoint(&self) -> PathBuf {
        let (path, mut archive) = (self.path("checkpoint.pt"), Archive::new());
        archive.push_bytes(Entry::new("model.weight", DType::F32, [1]), vec![0; 4]).expect("room");
        let mut tree = Tree::new();
        let model = tree.dict([("weight", Value::Tensor(0))]);
        let epoch = tree.add(3_i64);
        let root = tree.dict([("model", model), ("epoch", epoch)]);
        tree.set_root(root);
        archive.set_tree(tree).expect("a tree");
        archive.save(&path, "pytorch").expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sconce(arguments: &[&str], files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce"));
    // `@0`, `@1`, … stand for the files.
    for argument in arguments {
        match argument.strip_prefix('@').and_then(|n| n.parse::<usize>().ok()) {
            Some(n) => command.arg(files[n]),
            None => command.arg(argument),
        };
    }
    command.output().expect("the command runs")
}

fn done(arguments: &[&str], files: &[&Path]) -> String {
    let output = sconce(arguments, files);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(arguments: &[&str], files: &[&Path], why: &str) {
    let output = sconce(arguments, files);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert!(error.contains(why) && error.lines().count() == 1, "{arguments:?}: {error}");
}

fn read(path: &Path, name: &str) -> Vec<u8> {
    let archive = io::open(path).expect("a file");
    archive.read(archive.get(name).unwrap_or_else(|| panic!("{name} is missing"))).expect("bytes")
}

#[test]
fn edits_go_to_a_new_file() -> Result<()> {
    let folder = Folder::new("edit");
    let (from, to) = (folder.model("m.safetensors"), folder.path("out.safetensors"));
    let files = [from.as_path(), to.as_path()];
    let said = done(&["edit", "@0", "fill **.bias 0", "rename fc.** head.**", "-o", "@1"], &files);
    assert!(
        said.starts_with("fc.bias: fill 0\nfc.bias: rename to head.bias\nfc.weight: rename to head.weight\n"),
        "{said}"
    );
    assert!(said.ends_with("3 changes, written\n"), "{said}");
    assert_eq!(read(&to, "head.bias"), [0; 16]);
    assert_eq!(io::open(&to)?.metadata(), [("note".to_owned(), "kept".to_owned())]);

    refused(&["edit", "@0", "drop **.bias", "-o", "@1"], &files, "the file exists; --force replaces it");
    done(&["edit", "@0", "drop **.bias", "-o", "@1", "--force"], &files);
    assert_eq!(io::open(&to)?.entries().len(), 1);
    done(&["edit", "@0", "scale ** 2", "-o", "@0", "--force"], &files);
    assert_eq!(read(&from, "fc.bias")[4..8], 2_f32.to_le_bytes());
    Ok(())
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = Folder::new("dry");
    let (from, to) = (folder.model("m.safetensors"), folder.path("out.safetensors"));
    let said = done(&["edit", "@0", "cast **.bias float16", "--dry-run"], &[&from]);
    assert!(
        said.starts_with("fc.bias: cast float16 from float32\n") && said.ends_with("1 change, not written\n")
    );
    let said = done(&["edit", "@0", "drop fc.bias", "-o", "@1", "--dry-run", "--json"], &[&from, &to]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&said["dry_run"], &said["changes"][0]["name"]), (&true.into(), &"fc.bias".into()));
    assert!(!to.exists());
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let folder = Folder::new("wrong");
    let (from, to) = (folder.model("m.safetensors"), folder.path("out.safetensors"));
    let files = [from.as_path(), to.as_path()];
    let cases: &[(&[&str], &str)] = &[
        (
            &["edit", "@0", "fill **.bias", "-o", "@1"],
            "`fill SELECTOR VALUE`: expected a number, found `**.bias`",
        ),
        (&["edit", "@0", "zero **.bias", "-o", "@1"], "no edit is named `zero`"),
        (&["edit", "@0", "fill **.bia 0", "-o", "@1"], "matches none of 2 names"),
        (
            &["edit", "@0", "fill ** 0"],
            "name the file to write with --output, or change this one with --in-place",
        ),
        (
            &["edit", "@0", "fill ** 0", "-o", "model.txt"],
            "model.txt: the extension is that of no known format",
        ),
        (&["edit", "@0", "fill ** 0", "-o", "@1", "--format", "tiff"], "no format is named `tiff`"),
        (&["edit", "no-such-file.pt", "fill ** 0", "-o", "@1"], "no-such-file.pt: "),
    ];
    for (arguments, why) in cases {
        refused(arguments, &files, why);
        assert!(!to.exists(), "{arguments:?}");
    }
}

#[test]
fn formats_become_each_other() -> Result<()> {
    let folder = Folder::new("convert");
    let names = ["m.safetensors", "m.pt", "m.gguf"];
    let files: Vec<PathBuf> = names.iter().map(|name| folder.model(name)).collect();
    for (i, from) in files.iter().enumerate() {
        for name in names {
            let to = folder.path(&format!("from-{i}-{name}"));
            done(&["convert", "@0", "@1", "--no-metadata"], &[from, &to]);
            for tensor in ["fc.weight", "fc.bias"] {
                assert_eq!(read(&to, tensor), read(from, tensor), "{from:?} {to:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_a_format_cannot_hold_is_refused_or_named() -> Result<()> {
    let folder = Folder::new("lossy");
    let (checkpoint, model) = (folder.checkpoint(), folder.model("m.safetensors"));
    let (to, pt) = (folder.path("out.safetensors"), folder.path("out.pt"));
    refused(&["convert", "@0", "@1"], &[&checkpoint, &to], "--flat leaves out what is no tensor");
    let said = done(&["convert", "@0", "@1", "--flat"], &[&checkpoint, &to]);
    assert!(said.contains("left out: epoch\n"), "{said}");
    assert_eq!(io::open(&to)?.entries()[0].name(), "model.weight");
    refused(&["convert", "@0", "@1"], &[&model, &pt], "pytorch files hold no metadata (note)");
    let said = done(&["convert", "@0", "@1", "--no-metadata", "--dtype", "half"], &[&model, &pt]);
    assert!(said.contains("left out: metadata note\n"), "{said}");
    assert_eq!(read(&pt, "fc.bias").len(), 8);

    let tied = folder.path("tied.pt");
    done(
        &["edit", "@0", "add fc.bias 1", "tie fc.weight fc.weight", "-o", "@1", "--force", "--no-metadata"],
        &[&model, &tied],
    );
    let mut archive = Archive::new();
    let storage = archive.add_storage(std::sync::Arc::new(vec![0_u8; 8]));
    for name in ["a", "b"] {
        archive.push(Entry::new(name, DType::F32, [2]), storage)?;
    }
    archive.save(&tied, "pytorch")?;
    let said = done(&["convert", "@0", "@1", "--force"], &[&tied, &to]);
    assert!(said.contains("no longer tied: a, b\n"), "{said}");
    Ok(())
}

#[test]
fn pruning_reports_sparsity() -> Result<()> {
    let folder = Folder::new("prune");
    let (from, to) = (folder.model("m.pt"), folder.path("out.pt"));
    let files = [from.as_path(), to.as_path()];
    let said = done(&["prune", "@0", "--amount", "25%", "-o", "@1"], &files);
    let last = said.lines().find(|line| line.starts_with("all")).expect("totals").to_owned();
    assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["all", "12", "3", "3", "25.00%"], "{said}");
    assert_eq!(read(&to, "fc.weight")[8..16], [0_f32.to_le_bytes(), 3_f32.to_le_bytes()].concat());

    let said = done(&["prune", "@0", "--method", "2:3", "--layout", "mask", "--dry-run", "--json"], &files);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (&said["totals"]["pruned"], &said["tensors"][0]["sparsity"]),
        (&4.into(), &(4.0 / 12.0).into())
    );
    done(&["prune", "@0", "--method", "2:3", "--layout", "mask", "-o", "@1", "--force"], &files);
    let names: Vec<_> = io::open(&to)?.entries().iter().map(|e| e.name().to_owned()).collect();
    assert_eq!(names, ["fc.weight_orig", "fc.weight_mask", "fc.bias"]);

    refused(
        &["prune", "@0", "--amount", "13", "-o", "@1", "--force"],
        &files,
        "fc.weight: cannot prune 13 of 12",
    );
    refused(&["prune", "@0", "-o", "@1", "--force"], &files, "say how much with --amount");
    refused(&["prune", "@0", "--method", "magic", "-o", "@1"], &files, "no method is named `magic`");
    Ok(())
}

#[test]
fn files_change_in_place() -> Result<()> {
    let folder = Folder::new("in-place");
    for name in ["m.safetensors", "m.pt", "m.gguf"] {
        let path = folder.model(name);
        let size = path.metadata()?.len();
        let said = done(&["edit", "@0", "fill **.bias 0", "--in-place"], &[&path]);
        let bytes = if name == "m.pt" { 24 } else { 16 };
        assert!(said.ends_with(&format!("1 change, {bytes} bytes written in place\n")), "{said}");
        assert_eq!((read(&path, "fc.bias"), path.metadata()?.len()), (vec![0; 16], size));
        assert_eq!(read(&path, "fc.weight")[4..8], 1_f32.to_le_bytes());
        let said = done(&["prune", "@0", "fc.weight", "--amount", "2", "--in-place", "--json"], &[&path]);
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["totals"]["zeros"], 2);
        assert_eq!(read(&path, "fc.weight")[4..8], 0_f32.to_le_bytes());
        refused(&["edit", "@0", "cast ** float16", "--in-place"], &[&path], "cannot be done in place");
        assert_eq!(done(&["edit", "@0", "--recover"], &[&path]), "nothing was interrupted\n");
    }
    Ok(())
}

#[test]
fn an_interrupted_change_in_place_is_never_passed_over() {
    let folder = Folder::new("interrupted");
    let (path, to) = (folder.model("m.safetensors"), folder.path("out.safetensors"));
    let files = [path.as_path(), to.as_path()];
    std::fs::write(folder.path("m.safetensors.sconce-undo"), b"sconundo, but cut off").expect("a journal");
    let commands: &[(&[&str], &str)] = &[
        (&["show", "@0"], "was interrupted; `sconce edit FILE --recover` puts the old file back"),
        (&["edit", "@0", "fill ** 0", "-o", "@1"], "was interrupted"),
        (&["edit", "@0", "fill ** 0", "--in-place"], "m.safetensors.sconce-undo: "),
        (&["prune", "@0", "--amount", "1", "--in-place"], "m.safetensors.sconce-undo: "),
        (&["edit", "@0", "--recover"], "m.safetensors.sconce-undo: "),
    ];
    for (arguments, why) in commands {
        refused(arguments, &files, why);
        assert!(!to.exists() && folder.path("m.safetensors.sconce-undo").exists(), "{arguments:?}");
    }
}

#[test]
fn the_help_of_a_command_keeps_its_own_end() {
    let help = done(&["edit", "--help"], &[]);
    for part in ["Edits:\n  fill ", "Exit codes:\n  0  done"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
