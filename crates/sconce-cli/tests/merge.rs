//! `sconce merge`.

mod common;

use common::{Folder, archive, sconce};
use sconce::DType;
use sconce::io::{self, Archive, Entry};

/// The single-precision values of a tensor of a file.
fn values(path: &str, name: &str) -> Vec<f32> {
    let archive = io::open(path).unwrap();
    let bytes = archive.read(archive.get(name).unwrap()).unwrap();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn methods_are_their_formulas() {
    let folder = Folder::new("merge");
    let file = |name: &str, w: &[f32]| folder.save(name, &archive(&[("w", w)]));
    let base = file("base.safetensors", &[1.0, 1.0, 1.0, 1.0]);
    let a = file("a.safetensors", &[2.0, 1.0, 0.5, 1.1]);
    let b = file("b.pt", &[4.0, 0.0, 2.0, 1.0]);
    let x = file("x.safetensors", &[1.0, 0.0]);
    let y = file("y.safetensors", &[0.0, 2.0]);
    let root = std::f32::consts::FRAC_1_SQRT_2;
    let cases: &[(&[&str], &[f32])] = &[
        (&[&a, &b], &[3.0, 0.5, 1.25, 1.05]),
        (&[&a, &b, "-w", "3,1"], &[2.5, 0.75, 0.875, 1.075]),
        (&[&a, &b, "-w", "1,-0.5", "--no-normalize"], &[0.0, 1.0, -0.5, 0.6]),
        (&[&x, &y, "-m", "slerp"], &[root, 2.0 * root]),
        (&[&x, &y, "-m", "slerp", "--t", "1"], &[0.0, 2.0]),
        (&[&x, &x, "-m", "slerp", "--t", "0.25"], &[1.0, 0.0]),
        (&[&a, &b, "-m", "task", "--base", &base, "-w", "1,0.5"], &[3.5, 0.5, 1.0, 1.1]),
        // Differences (1, 0, -0.5, 0.1) and (3, -1, 1, 0): half of each stays, with what is as great as the least.
        (&[&a, &b, "-m", "ties", "--base", &base], &[3.0, 0.0, 2.0, 1.0]),
        (&[&a, &b, "-m", "ties", "--base", &base, "--density", "1", "--lambda", "2"], &[5.0, -1.0, 3.0, 1.2]),
        (&[&a, &b, "-m", "ties", "--base", &base, "--density", "0"], &[1.0, 1.0, 1.0, 1.0]),
    ];
    let out = folder.path("out.safetensors");
    let out = out.to_str().unwrap();
    for (arguments, expected) in cases {
        let output = sconce(&[&["merge", "--force", "-o", out], *arguments].concat());
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.err);
        let found = values(out, "w");
        let near = found.iter().zip(*expected).all(|(f, e)| (f - e).abs() < 1e-6);
        assert!(near && found.len() == expected.len(), "{arguments:?}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn large_tensors_are_merged_piece_by_piece() {
    let folder = Folder::new("merge-large");
    let n = 100_003;
    let (a, b): (Vec<f32>, Vec<f32>) = (0..n).map(|i| (i as f32, (i * 7 % n) as f32)).unzip();
    let a_path = folder.save("a.safetensors", &archive(&[("w", &a)]));
    let b_path = folder.save("b.safetensors", &archive(&[("w", &b)]));
    let base = folder.save("base.safetensors", &archive(&[("w", &vec![0.0; n])]));
    let out = folder.path("out.pt");
    let out = out.to_str().unwrap();
    let output = sconce(&["merge", &a_path, &b_path, "-o", out]);
    assert_eq!(output.code, 0, "{}", output.err);
    let mean = |i: usize| ((f64::from(a[i]) + f64::from(b[i])) / 2.0) as f32;
    assert!(values(out, "w").iter().enumerate().all(|(i, &w)| w == mean(i)));
    let again = ["merge", &a_path, "-m", "ties", "--density", "0.1", "--base", &base, "-o", out];
    let output = sconce(&again);
    assert_eq!(output.code, 2);
    assert!(output.err.ends_with("out.pt: the file exists; --force replaces it\n"), "{}", output.err);
    let output = sconce(&[again.as_slice(), &["--force"]].concat());
    assert_eq!(output.code, 0, "{}", output.err);
    let kept = values(out, "w").iter().filter(|&&w| w != 0.0).count();
    assert_eq!(kept, n / 10);
}

#[test]
fn what_is_no_float_is_copied_and_listed_and_ties_stay() {
    let folder = Folder::new("merge-copy");
    let model = |name: &str, x: f32, steps: i64| {
        let mut model = archive(&[("w", &[x, x])]);
        model.push(Entry::new("tied", DType::F32, [2]), 0).unwrap();
        let steps = steps.to_le_bytes().to_vec();
        model.push_bytes(Entry::new("steps", DType::I64, []), steps).unwrap();
        folder.save(name, &model)
    };
    let (a, b) = (model("a.pt", 1.0, 10), model("b.pt", 3.0, 20));
    let out = folder.path("out.pt");
    let out = out.to_str().unwrap();
    let output = sconce(&["merge", &a, &b, "-o", out, "--dtype", "float64"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(
        output.out.contains("2 tensors merged, 1 copied") && output.out.contains("copied steps"),
        "{}",
        output.out
    );
    let archive = io::open(out).unwrap();
    let (w, tied) = (archive.get("w").unwrap(), archive.get("tied").unwrap());
    assert_eq!((w.storage(), w.encoding().name()), (tied.storage(), "float64"));
    assert_eq!(archive.read(w).unwrap(), [2.0_f64.to_le_bytes(); 2].concat());
    assert_eq!(archive.read(archive.get("steps").unwrap()).unwrap(), 10_i64.to_le_bytes());
    let json = sconce(&["merge", "--json", &a, &b, "-o", out, "--force", "-s", "w"]).json();
    assert_eq!((json["merged"][0].as_str(), json["copied"].as_array().unwrap().len()), (Some("w"), 2));
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = Folder::new("merge-bad");
    let file = |name: &str, archive: &Archive| folder.save(name, archive);
    let a = file("a.safetensors", &archive(&[("w", &[1e5, 2.0])]));
    let other_shape = file("b.safetensors", &archive(&[("w", &[1.0])]));
    let other_name = file("c.safetensors", &archive(&[("v", &[1.0, 2.0])]));
    let out = folder.path("out.safetensors");
    let out = out.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[&a, &other_shape], "shapes differ: [2] and [1]"),
        (&[&a, &other_name], "it lacks w"),
        (&[&a, &a, "-w", "1"], "1 weights for 2 models"),
        (&[&a, &a, "-w", "1,-1"], "sum is 0"),
        (&[&a, "-m", "slerp"], "takes two models"),
        (&[&a, &a, "-m", "slerp", "-w", "1,2"], "not weights"),
        (&[&a, "-m", "ties"], "needs a base"),
        (&[&a, "-m", "ties", "--base", &a, "--density", "2"], "from 0 to 1"),
        (&[&a, "--base", &a], "no base"),
        (&[&a, "--dtype", "int8"], "not int8"),
        (&[&a, "--dtype", "float16"], "has no place in float16"),
        (&[&a, "--format", "none"], "no format is named"),
        (&[&a, "-s", "nothing"], "matches none"),
    ];
    for (arguments, says) in cases {
        let output = sconce(&[&["merge", "-o", out], *arguments].concat());
        assert_eq!((output.code, output.err.lines().count()), (2, 1), "{arguments:?}: {}", output.err);
        assert!(output.err.contains(says), "{arguments:?}: {}", output.err);
        assert!(!std::path::Path::new(out).exists());
    }
}
