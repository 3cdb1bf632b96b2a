//! The command as a whole: exit codes, what is written where, and machine-readable output.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sconce::{DType, Tensor, io};
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sconce"));
    command.args(arguments);
    // The machine's own wishes must not decide the tests.
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "CI"] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn recorded(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files").join(kind)
}

fn good(name: &str) -> String {
    recorded("good").join(name).to_str().expect("a path that is text").to_owned()
}

/// A file of one's own, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, tensors: &[(&str, Tensor)]) -> Self {
        let path = std::env::temp_dir().join(format!("sconce-cli-{}-{name}", std::process::id()));
        io::save(&path, tensors.iter().map(|(name, tensor)| (*name, tensor))).expect("a file");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path that is text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn vector(values: Vec<f32>) -> Tensor {
    let n = values.len();
    Tensor::from_vec(values, [n]).expect("a vector")
}

/// Asserts exit code 2, nothing on stdout, one line on stderr; returns the line.
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
    assert!(out.is_empty(), "{arguments:?}: {out}");
    assert!(err.starts_with("sconce: ") && err.ends_with('\n') && err.lines().count() == 1, "{err:?}");
    assert!(!err.contains('\u{1b}') && err.len() < 2000, "{err:?}");
    err
}

#[test]
fn without_arguments_a_trained_network_is_shown() {
    let output = run(&[]);
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(0), true));
    let out = text(&output.stdout);
    for expected in ["name", "dtype", "shape", "histogram", "float32", " tensors, ", "NaN"] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[test]
fn usage_errors_and_help_have_their_codes() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["show", "--help"], 0),
        (&["--version"], 0),
        (&["show"], 2),
        (&["sow"], 2),
        (&["show", "--jsn", "x"], 2),
        (&["show", "a", "b", "c"], 2),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), code == 2, "{arguments:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{arguments:?}");
        if arguments.contains(&"--help") {
            let out = text(&output.stdout);
            for line in ["Exit codes:", "  0  done", "  1  the answer is no", "  2  wrong usage"] {
                assert!(out.contains(line), "{arguments:?}: {out}");
            }
        }
    }
}

#[test]
fn every_file_that_is_refused_gives_one_line_and_code_2() {
    // Odd, but valid: views that overlap, a structure that holds itself, bits that nothing reads, many zeros in few bytes.
    let valid = [
        "torch_big_expand.pt",
        "torch_bomb_honest.pt",
        "torch_cycle.pt",
        "torch_deep.pt",
        "torch_laughs.pt",
        "torch_overlap_views.pt",
    ];
    let mut refusals = 0;
    for entry in std::fs::read_dir(recorded("bad")).expect("the recorded files") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        if path.is_dir() || name.contains("bit_flip") || valid.contains(&name.as_str()) {
            continue;
        }
        let path = path.to_str().expect("a path that is text");
        let line = refused(&["show", path]);
        assert!(line.starts_with(&format!("sconce: {path}: ")), "{line}");
        refusals += 1;
    }
    assert!(refusals > 70, "{refusals}");
    for name in valid {
        let path = recorded("bad").join(name);
        let output = run(&["show", path.to_str().expect("a path that is text")]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn a_truncated_file_names_the_place() {
    let whole = std::fs::read(good("torch_state_dict.pt")).expect("a recorded file");
    let path = std::env::temp_dir().join(format!("sconce-cli-{}-cut.pt", std::process::id()));
    for size in [1, 4, 30, 500, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..size]).expect("a file");
        let line = refused(&["show", "--json", path.to_str().expect("a path that is text")]);
        assert!(line.contains("-cut.pt: "), "{line}");
    }
    std::fs::remove_file(&path).expect("a file that can be removed");

    assert!(refused(&["show", "no-such-file.pt"]).starts_with("sconce: no-such-file.pt: No such file"));
    assert_eq!(refused(&["show", "a\u{1b}[31m\nb.pt"]).matches("\\u{1b}[31m\\nb.pt: ").count(), 1);
    assert!(refused(&["show", recorded("good").to_str().expect("a path")]).contains("not a regular file"));
}

#[test]
fn code_in_a_pickle_is_refused_by_its_name() {
    for (file, name) in [
        ("torch_code_os_system.pt", "posix.system"),
        ("torch_code_eval.pt", "builtins.eval"),
        ("torch_code_build.pt", "types.SimpleNamespace"),
    ] {
        let path = recorded("bad").join(file);
        let line = refused(&["show", path.to_str().expect("a path that is text")]);
        assert!(line.contains(&format!("it asks for {name}, which is not on the list")), "{line}");
    }
    // PyTorch's own modules are listed as data.
    let output = run(&["show", &good("torch_module.pt")]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn selectors_pick_or_complain() {
    let file = good("torch_state_dict.pt");
    let names = |selector: &str| -> Vec<String> {
        let output = run(&["show", &file, selector, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let tensors = document["tensors"].as_array().expect("a list");
        tensors.iter().map(|t| t["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("conv.*"), ["conv.weight", "conv.bias"]);
    assert_eq!(names("**.bias & ndim==1 & !norm.**").len(), 2);
    for (selector, expected) in
        [("convv.*", "torch_state_dict.pt: selector `convv.*` matches none of"), ("(a", "selector `(a`: ")]
    {
        let line = refused(&["show", &file, selector]);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn json_has_every_field() {
    let values = vec![-1.0, 0.0, 3.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let file = Scratch::new(
        "fields.pt",
        &[
            ("a.weight", vector(values)),
            ("nothing", vector(Vec::new())),
            ("stored", Tensor::from_bytes(&[1, 2, 3, 4], DType::U16, [2]).expect("two elements")),
            ("flags", Tensor::from_vec(vec![true, false, true], [3]).expect("flags")),
        ],
    );
    let output = run(&["show", file.path(), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["file"], file.path());
    assert_eq!(document["format"], "pytorch");
    assert!(document["metadata"].is_object());
    let tensors = document["tensors"].as_array().expect("a list");
    assert_eq!(tensors.len(), 4);
    let fields = "name dtype shape count bytes min max mean std norm zeros nan inf histogram";
    for tensor in tensors {
        let found: Vec<&str> = tensor.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), fields);
    }
    let first = &tensors[0];
    assert_eq!((&first["dtype"], &first["shape"]), (&"float32".into(), &serde_json::json!([6])));
    for (field, expected) in [("count", 6.0), ("bytes", 24.0), ("min", -1.0), ("max", 3.0), ("zeros", 1.0)] {
        assert_eq!(first[field].as_f64(), Some(expected), "{field}");
    }
    assert_eq!((first["nan"].as_u64(), first["inf"].as_u64()), (Some(1), Some(2)));
    let close = |field: &str, expected: f64| {
        let found = first[field].as_f64().expect(field);
        assert!((found - expected).abs() < 1e-12, "{field}: {found}");
    };
    close("mean", 2.0 / 3.0);
    close("norm", 10f64.sqrt());
    close("std", (10f64 / 2.0 - 4.0 / 6.0).sqrt());
    let counts: u64 = first["histogram"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
    assert_eq!(counts, 3);
    assert!(tensors[1]["min"].is_null() && tensors[1]["count"] == 0);
    assert_eq!((&tensors[2]["dtype"], &tensors[2]["min"]), (&"uint16".into(), &513.0.into()));
    assert_eq!(tensors[3]["zeros"], 1);
    let totals = serde_json::json!({"tensors": 4, "count": 11, "bytes": 31, "zeros": 2, "nan": 1, "inf": 2});
    assert_eq!(document["totals"], totals);
}

#[test]
fn piped_output_is_plain_unless_colour_is_forced() {
    let file = Scratch::new("colour.safetensors", &[("a\u{1b}[31mb", vector(vec![1.0, f32::NAN]))]);
    let output = |variables: &[(&str, &str)]| {
        let mut command = command(&["show", file.path()]);
        command.envs(variables.iter().copied());
        text(&command.output().expect("the command starts").stdout)
    };
    let plain = output(&[]);
    assert!(!plain.contains('\u{1b}') && plain.contains("a\\u{1b}[31mb"), "{plain:?}");
    assert!(plain.lines().all(|line| line == line.trim_end()), "{plain:?}");
    let forced = output(&[("CLICOLOR_FORCE", "1")]);
    assert!(forced.contains("\u{1b}["), "{forced:?}");
    assert_eq!(anstream::adapter::strip_str(&forced).to_string(), plain);
    assert_eq!(output(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), plain);
    assert_eq!(output(&[("NO_COLOR", "1")]), plain);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let names: Vec<String> = (0..5000).map(|i| format!("layer.{i}.weight")).collect();
    let one = vector(vec![1.0]);
    let tensors: Vec<(&str, Tensor)> = names.iter().map(|name| (name.as_str(), one.clone())).collect();
    let file = Scratch::new("many.safetensors", &tensors);
    let mut child = command(&["show", file.path()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    assert!(line.contains("many.safetensors"), "{line}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_code_2() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let output = command(&[]).stdout(full).output().expect("the command starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("sconce: writing the output: "));
}

#[test]
fn rows_are_sorted_nested_or_without_values() {
    let file = Scratch::new(
        "order.pt",
        &[
            ("net.0.weight", vector(vec![5.0, 6.0])),
            ("net.0.bias", vector(vec![1.0])),
            ("net.1.weight", vector(vec![-3.0, 2.0, 4.0])),
            ("scale", vector(vec![f32::NAN])),
        ],
    );
    let show = |arguments: &[&str]| {
        let output = run(&[&["show", file.path()], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let names = |arguments: &[&str]| -> Vec<String> {
        let document: Value = serde_json::from_str(&show(&[arguments, &["--json"]].concat())).expect("JSON");
        let tensors = document["tensors"].as_array().expect("a list");
        tensors.iter().map(|t| t["name"].as_str().expect("a name").to_owned()).collect()
    };
    let (zero, bias, one) = ("net.0.weight", "net.0.bias", "net.1.weight");
    for (arguments, expected) in [
        (&[][..], [zero, bias, one, "scale"]),
        (&["--sort", "name"], [bias, zero, one, "scale"]),
        (&["--sort", "count", "--reverse"], [one, zero, "scale", bias]),
        // Nothing has no least value, so it comes last.
        (&["--sort", "min"], [one, bias, zero, "scale"]),
        (&["--sort", "mean"], [bias, one, zero, "scale"]),
    ] {
        let found = names(arguments);
        assert_eq!(found, expected, "{arguments:?}");
    }

    let plain = show(&["--no-stats"]);
    assert!(plain.contains("bytes") && !plain.contains("mean"), "{plain}");
    assert!(plain.ends_with("4 tensors, 7 elements, 28 bytes; --stats reads the values\n"), "{plain}");
    let document: Value = serde_json::from_str(&show(&["--no-stats", "--json"])).expect("JSON");
    assert!(document["totals"]["nan"].is_null() && document["tensors"][0]["min"].is_null());
    refused(&["show", file.path(), "--no-stats", "--sort", "norm"]);

    let tree = show(&["--tree", "--no-stats"]);
    let lines: Vec<Vec<&str>> = tree.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
    let expected: [&[&str]; 6] = [
        &["net", "6", "24"],
        &["0", "3", "12"],
        &["weight", "float32", "[2]", "2", "8"],
        &["bias", "float32", "[1]", "1", "4"],
        &["1", "3", "12"],
        &["weight", "float32", "[3]", "3", "12"],
    ];
    assert_eq!(lines[..6], expected, "{tree}");
    assert!(tree.contains("\n  0 ") && tree.contains("\n    weight "), "{tree}");
}
