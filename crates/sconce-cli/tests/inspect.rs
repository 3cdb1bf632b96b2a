//! The commands that only read.

mod common;

use common::{Folder, archive, push, sconce};
use sconce::DType;
use sconce::io::{Archive, Entry};

#[test]
fn diff_tells_what_differs() {
    let folder = Folder::new("diff");
    let base: &[(&str, &[f32])] = &[("a.weight", &[1.0, 2.0, -3.0]), ("a.bias", &[0.5])];
    let a = folder.save("a.safetensors", &archive(base));
    let cases: &[(&str, Archive, &[&str], i32, &str)] = &[
        ("same.pt", archive(base), &[], 0, "2 identical"),
        ("order.safetensors", archive(&[base[1], base[0]]), &[], 0, "2 identical"),
        (
            "near.pt",
            archive(&[("a.weight", &[1.0, 2.0, -3.000001]), base[1]]),
            &[],
            0,
            "1 within the tolerance",
        ),
        (
            "near.pt",
            archive(&[("a.weight", &[1.0, 2.0, -3.000001]), base[1]]),
            &["--exact"],
            1,
            "1 different",
        ),
        ("far.pt", archive(&[("a.weight", &[1.0, 4.0, -3.0]), base[1]]), &[], 1, "2.000  [1]"),
        ("far.pt", archive(&[("a.weight", &[1.0, 4.0, -3.0]), base[1]]), &["--atol", "2"], 0, "1 within"),
        ("far.pt", archive(&[("a.weight", &[1.0, 4.0, -3.0]), base[1]]), &["**.bias"], 0, "1 identical"),
        (
            "nan.pt",
            archive(&[("a.weight", &[1.0, f32::NAN, -3.0]), base[1]]),
            &["--atol", "9"],
            1,
            "NaN or Inf",
        ),
        ("less.pt", archive(&[base[0]]), &[], 1, "- a.bias  float32 [1]"),
        ("more.pt", archive(&[base[0], base[1], ("c", &[7.0])]), &[], 1, "+ c  float32 [1]"),
        ("renamed.pt", archive(&[("b.weight", base[0].1), base[1]]), &[], 1, "a.weight -> b.weight"),
    ];
    for (name, archive, options, code, says) in cases {
        let b = folder.save(name, archive);
        let output = sconce(&[&["diff", &a, &b], *options].concat());
        assert_eq!(output.code, *code, "{name} {options:?}: {}{}", output.out, output.err);
        assert!(output.out.contains(says), "{name} {options:?}: {}", output.out);
        let quiet = sconce(&[&["diff", "-q", &a, &b], *options].concat());
        assert_eq!((quiet.code, quiet.out.as_str()), (*code, ""));
        let json = sconce(&[&["diff", "--json", &a, &b], *options].concat()).json();
        assert_eq!(json["same"], *code == 0, "{name}");
    }
}

#[test]
fn diff_compares_types_shapes_and_ties() {
    let folder = Folder::new("diff-types");
    let mut a = Archive::new();
    push(&mut a, "w", &[2, 2], &[1.0, 2.0, 3.0, 0.1]);
    let mut b = Archive::new();
    let halves: Vec<u8> = [0x3c00_u16, 0x4000, 0x4200, 0x2e66].iter().flat_map(|h| h.to_le_bytes()).collect();
    b.push_bytes(Entry::new("w", DType::F16, [4]), halves).unwrap();
    let (a, b) = (folder.save("a.safetensors", &a), folder.save("b.safetensors", &b));
    let output = sconce(&["diff", &a, &b]);
    assert!(output.out.contains("float32 -> float16  [2, 2] -> [4]  close"), "{}", output.out);
    assert_eq!(output.code, 1);

    let mut tied = archive(&[("x", &[1.0, 2.0])]);
    tied.push(Entry::new("y", DType::F32, [2]), 0).unwrap();
    let tied_pt = folder.save("tied.pt", &tied);
    let loose_pt = folder.save("loose.pt", &archive(&[("x", &[1.0, 2.0]), ("y", &[1.0, 2.0])]));
    let output = sconce(&["diff", &tied_pt, &loose_pt]);
    assert!(output.code == 1 && output.out.contains("tied in"), "{}", output.out);
    assert_eq!(sconce(&["diff", &tied_pt, &tied_pt]).code, 0);

    // 2^53 and 2^53 + 1 are one number in double precision.
    let wide = |x: i64| {
        let mut archive = Archive::new();
        archive.push_bytes(Entry::new("n", DType::I64, []), x.to_le_bytes().to_vec()).unwrap();
        archive
    };
    let a = folder.save("n.safetensors", &wide(1 << 53));
    let b = folder.save("m.safetensors", &wide((1 << 53) + 1));
    let json = sconce(&["diff", "--json", &a, &b]).json();
    assert_eq!(json["tensors"][0]["difference"]["max_abs"], 1.0);
    let error = sconce(&["diff", &a, "/no/such/file"]);
    assert_eq!((error.code, error.err.lines().count(), error.out.as_str()), (2, 1, ""));
    assert_eq!(sconce(&["diff", &a, &b, "nothing.**"]).code, 2);
    assert_eq!(sconce(&["diff", &a, &b, "--rtol", "-1"]).code, 2);
}

/// A state dict that PyTorch's reader would run: one name, called with one text.
fn hostile(folder: &Folder) -> String {
    let path = folder.path("hostile.pt");
    std::fs::write(&path, b"\x80\x02cposix\nsystem\nU\x02ls\x85R.").unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn verify_hashes_content_whatever_the_format() {
    let folder = Folder::new("verify");
    let tensors: &[(&str, &[f32])] = &[("a.weight", &[1.0, 2.0, -3.0]), ("a.bias", &[0.5])];
    let mut views = Archive::new();
    let storage = [9.0_f32, 1.0, 2.0, -3.0, 0.5].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let storage = views.add_storage(std::sync::Arc::new(storage));
    views.push(Entry::new("a.bias", DType::F32, [1]).with_view([1], 4), storage).unwrap();
    views.push(Entry::new("a.weight", DType::F32, [3]).with_view([1], 1), storage).unwrap();
    let files = [
        folder.save("a.safetensors", &archive(tensors)),
        folder.save("a.pt", &archive(tensors)),
        folder.save("a.gguf", &archive(tensors)),
        folder.save("views.pt", &views),
    ];
    let mut arguments = vec!["verify", "--json", "--finite"];
    arguments.extend(files.iter().map(String::as_str));
    let output = sconce(&arguments);
    let json = output.json();
    assert_eq!(output.code, 0, "{}", output.err);
    let hash = json[0]["hash"].as_str().unwrap();
    assert!(json.as_array().unwrap().iter().all(|f| f["hash"] == hash && f["checked"] == 2), "{json:#}");
    assert_eq!(sconce(&["verify", &files[0], "--expect", hash]).code, 0);
    let other = folder.save("b.pt", &archive(&tensors[..1]));
    assert_eq!(sconce(&["verify", &other, "--expect", hash]).code, 1);
    let text = sconce(&["verify", &files[1]]).out;
    assert!(text.contains("2 of 2 tensors checked, 0 NaN, 0 Inf"), "{text}");
}

#[test]
fn verify_fails_closed() {
    let folder = Folder::new("verify-bad");
    let bad = archive(&[("w", &[1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY])]);
    let not_finite = folder.save("nan.safetensors", &bad);
    let empty = folder.save("empty.safetensors", &Archive::new());
    let whole = std::fs::read(&not_finite).unwrap();
    let cut = folder.path("cut.safetensors");
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    // A flipped bit of a zip archive's data is found by the checksum only.
    let flipped = folder.save("flipped.pt", &archive(&[("w", &[1.25; 64])]));
    let mut bytes = std::fs::read(&flipped).unwrap();
    let pattern = 1.25_f32.to_le_bytes();
    let at = bytes.windows(4).position(|w| w == pattern).unwrap();
    bytes[at + 2] ^= 1;
    std::fs::write(&flipped, bytes).unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&not_finite], 0, "1 NaN, 2 Inf"),
        (&[&not_finite, "--finite"], 1, "FAILED"),
        (&[&empty], 1, "FAILED: it has no tensors"),
        (&[&empty, "--allow-empty"], 0, "0 of 0"),
        (&[cut.to_str().unwrap()], 2, ""),
        (&[&flipped], 2, ""),
        (&[&flipped, &not_finite], 2, "1 NaN"),
        (&["/no/such/file"], 2, ""),
        (&[&not_finite, "-s", "nothing"], 2, ""),
        (&[&not_finite, "-s", "w"], 0, "1 of 1"),
    ];
    for (arguments, code, says) in cases {
        let output = sconce(&[&["verify"], *arguments].concat());
        assert_eq!(output.code, *code, "{arguments:?}: {}{}", output.out, output.err);
        assert!(output.out.contains(says), "{arguments:?}: {}", output.out);
        assert_eq!(output.err.lines().count(), usize::from(*code == 2), "{}", output.err);
    }
}

#[test]
fn verify_scans_pickles() {
    let folder = Folder::new("scan");
    let good = folder.save("good.pt", &archive(&[("w", &[1.0])]));
    let plain = folder.save("plain.safetensors", &archive(&[("w", &[1.0])]));
    let hostile = hostile(&folder);
    let cases: &[(&str, i32, &str)] = &[
        (&good, 0, "torch._utils._rebuild_tensor_v2"),
        (&plain, 0, "0 pickles"),
        (&hostile, 1, "dangerous  byte 0: posix.system"),
        ("/no/such/file", 2, ""),
    ];
    for (file, code, says) in cases {
        let output = sconce(&["verify", "--scan", file]);
        assert_eq!(output.code, *code, "{file}: {}{}", output.out, output.err);
        assert!(output.out.contains(says), "{file}: {}", output.out);
    }
    // Every hostile file of the library's tests is told apart from a clean one.
    let bad = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/bad");
    let mut seen = 0;
    for file in std::fs::read_dir(bad).unwrap().map(|e| e.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("torch_code_") {
            let output = sconce(&["verify", "--scan", file.to_str().unwrap()]);
            assert_ne!(output.code, 0, "{name}: {}", output.out);
            seen += 1;
        }
    }
    assert!(seen > 10);
}

#[test]
fn stats_are_rows() {
    let folder = Folder::new("stats");
    let a = folder.save("a.safetensors", &archive(&[("w", &[1.0, 3.0, f32::NAN]), ("none", &[])]));
    let mut small = Archive::new();
    small.push_bytes(Entry::new("f8", DType::F8E5M2, [2]), vec![0x3c, 0x44]).unwrap();
    let b = folder.save("b.safetensors", &small);
    let output = sconce(&["stats", &a, "/no/such/file", &b, "--bins", "2", "--hash"]);
    assert_eq!((output.code, output.err.lines().count()), (2, 1), "{}", output.err);
    let rows: Vec<serde_json::Value> = output.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    let row = |name: &str| rows.iter().find(|r| r["name"] == name).unwrap();
    let (w, none, f8) = (row("w"), row("none"), row("f8"));
    assert_eq!((&w["mean"], &w["nan"], &w["histogram"][1]), (&2.0.into(), &1.into(), &1.into()));
    assert!(none["mean"].is_null() && none["count"] == 0);
    assert_eq!((&f8["min"], &f8["max"], &f8["dtype"]), (&1.0.into(), &4.0.into(), &"float8_e5m2".into()));
    assert!(f8["hash"].as_str().unwrap().starts_with("blake3:"));
    let header = sconce(&["stats", "--header-only", "-s", "w", &a]);
    assert!(
        header.code == 0 && header.out.lines().count() == 1 && !header.out.contains("mean"),
        "{}",
        header.out
    );
}

#[test]
fn hist_draws() {
    let folder = Folder::new("hist");
    let hostile = "<script>alert('x')</script>";
    let a = folder.save("a.safetensors", &archive(&[("w", &[-1.0, 0.0, 0.0, 1.0]), (hostile, &[f32::NAN])]));
    let output = sconce(&["hist", &a, "w", "--bins", "2"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("     -1.000  1  "), "{}", output.out);
    assert!(output.out.contains("mean 0, std 0.8165, 2 zeros, 0 NaN, 0 Inf"), "{}", output.out);
    let json = sconce(&["hist", "--json", &a, "w", "--bins", "2"]).json();
    assert_eq!(json["tensors"][0]["histogram"], serde_json::json!([1, 3]));
    let picture = folder.path("a.svg");
    assert_eq!(sconce(&["hist", &a, "--svg", picture.to_str().unwrap()]).code, 0);
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("&lt;script&gt;") && !svg.contains("<script"), "{svg}");
    assert_eq!(sconce(&["hist", &a, "--svg", "/no/such/folder/a.svg"]).code, 2);
    assert_eq!(sconce(&["hist", &a, "--bins", "0"]).code, 2);
}
