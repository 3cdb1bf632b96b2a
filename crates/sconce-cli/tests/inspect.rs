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
