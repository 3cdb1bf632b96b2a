//! PyTorch's older formats: files that `tests/oracle/make_legacy.py` wrote.

use std::path::{Path, PathBuf};

use sconce::io::{self, Archive, Options, Quantizer, Source, Value};
use sconce::{DType, Result};

use crate::damage;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/legacy").join(name)
}

fn floats(archive: &Archive, name: &str) -> Vec<f32> {
    let bytes = archive.read(archive.get(name).expect(name)).expect(name);
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn every_kind_of_tensor() -> Result<()> {
    let archive = io::open(path("mixed.pt"))?;
    assert_eq!(archive.format(), Some("pytorch-legacy"));
    let names: Vec<(&str, &str)> =
        archive.entries().iter().map(|e| (e.name(), e.encoding().name())).collect();
    let expected = [
        ("a", "float32"),
        ("b", "float32"),
        ("float8", "float8_e4m3fn"),
        ("uint16", "uint16"),
        ("quantized", "quint8"),
        ("sparse.indices", "int64"),
        ("sparse.values", "float32"),
        ("parameter", "float32"),
        ("conjugate", "complex64"),
    ];
    assert_eq!(names, expected);
    let get = |name: &str| archive.get(name).expect(name);
    assert_eq!(floats(&archive, "b"), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(get("a").storage(), get("b").storage());
    assert!(get("parameter").parameter() && !get("a").parameter());
    assert_eq!(archive.read(get("float8"))?, [0x38, 0x40, 0xb0]);
    assert_eq!(archive.read(get("quantized"))?, [3, 5, 7, 9]);
    assert_eq!(get("quantized").quantizer(), Some(&Quantizer::PerTensor { scale: 0.5, zero_point: 3 }));
    assert_eq!(floats(&archive, "conjugate"), [1.0, -2.0]);
    let tree = archive.tree().expect("a structure");
    let step = tree.lookup(tree.root(), "step").expect("step");
    assert_eq!(tree.value(step), &Value::Int(5));
    Ok(())
}

#[test]
fn a_module_lists_its_state_dict() -> Result<()> {
    let archive = io::open(path("module.pt"))?;
    let names: Vec<&str> = archive.entries().iter().map(|e| e.name()).collect();
    let norm = ["1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"];
    assert_eq!(names, [&["0.weight", "0.bias"][..], &norm].concat());
    Ok(())
}

#[test]
fn newer_pickle_protocols_and_the_tar_format() -> Result<()> {
    let archive = io::open(path("protocol_4.pt"))?;
    assert_eq!(floats(&archive, "a"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let archive = io::open(path("first.tar"))?;
    assert_eq!(archive.format(), Some("pytorch-tar"));
    assert_eq!((floats(&archive, "v"), floats(&archive, "again").len()), (vec![3.0, 4.0], 6));
    let (w, v) = (archive.get("w").expect("w"), archive.get("v").expect("v"));
    assert_eq!((w.shape(), w.storage(), v.offset()), (&[2, 3][..], v.storage(), 3));
    Ok(())
}

#[test]
fn quantised_by_channel() -> Result<()> {
    let archive = io::open(path("channels.pt"))?;
    let q = archive.get("q").expect("q");
    let expected = Quantizer::PerChannel { scales: vec![0.1, 0.2], zero_points: vec![0.0, -1.0], axis: 0 };
    assert_eq!((q.quantizer(), q.encoding().name()), (Some(&expected), "qint8"));
    assert_eq!(archive.read(q)?, [0, 10, 20, 14, 19, 24]);
    Ok(())
}

#[test]
fn what_is_refused() {
    let whole = std::fs::read(path("protocol_4.pt")).expect("a file");
    let open = |bytes: Vec<u8>| {
        let error = io::open_source(&Source::from_bytes("f", bytes), &Options::default());
        error.map(|_| ()).expect_err("it is damaged").to_string()
    };
    let cases = [
        (b"\x80\x02}q\x00.".to_vec(), "no magic number"),
        (b"\x80\x02".to_vec(), "no magic number"),
        ([&whole[..], b"more"].concat(), "4 bytes follow the last storage"),
    ];
    for (bytes, reason) in cases {
        let error = open(bytes);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn damaged_files_do_no_harm() {
    for name in ["mixed.pt", "protocol_4.pt", "channels.pt"] {
        let whole = std::fs::read(path(name)).expect(name);
        damage::truncate(name, &whole, whole.len());
        damage::change(&whole, 1);
    }
    let whole = std::fs::read(path("first.tar")).expect("first.tar");
    // What follows the last member is only zeros.
    let end = whole.iter().rposition(|&b| b != 0).expect("a member") + 1;
    damage::truncate("first.tar", &whole, end);
    damage::change(&whole[..end], 3);
}

#[test]
fn they_are_not_written() -> Result<()> {
    let archive = io::open(path("protocol_4.pt"))?;
    for format in ["pytorch-legacy", "pytorch-tar"] {
        assert!(archive.write_to(&mut Vec::new(), format).is_err());
    }
    let mut out = Vec::new();
    archive.write_to(&mut out, "pytorch")?;
    let again = io::open_source(&Source::from_bytes("f", out), &Options::default())?;
    assert_eq!(again.get("a").map(|a| a.encoding()), Some(DType::F32.into()));
    Ok(())
}
