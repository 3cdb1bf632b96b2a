//! Zip archives whose directory, local headers and records do not agree, made from one that is right.

use std::path::Path;

use sconce::io::{self, Archive, Entry, Options, Source};
use sconce::{DType, Result};

/// A PyTorch file of two tensors.
fn whole() -> Vec<u8> {
    let mut archive = Archive::new();
    for (name, size) in [("a", 48), ("b", 8)] {
        archive.push_bytes(Entry::new(name, DType::U8, [size]), vec![7; size]).expect("room");
    }
    let mut out = Vec::new();
    archive.write_to(&mut out, "pytorch").expect("a file");
    out
}

/// Opens a file and reads every tensor.
fn read(bytes: Vec<u8>) -> Result<()> {
    let archive = io::open_source(&Source::from_bytes("f", bytes), &Options::default())?;
    archive.entries().iter().try_for_each(|entry| archive.read(entry).map(drop))
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b))
}

/// Where the end of the directory is.
fn end(bytes: &[u8]) -> usize {
    bytes.windows(4).rposition(|w| w == b"PK\x05\x06").expect("an end")
}

/// Where a record is in the directory, and where its local header is.
fn record(bytes: &[u8], name: &str) -> (usize, usize) {
    let mut at = number(bytes, end(bytes) + 16, 4);
    while bytes[at..at + 4] == *b"PK\x01\x02" {
        let [n, extra, comment] = [28, 30, 32].map(|field| number(bytes, at + field, 2));
        if bytes[at + 46..at + 46 + n].ends_with(name.as_bytes()) {
            return (at, number(bytes, at + 42, 4));
        }
        at += 46 + n + extra + comment;
    }
    panic!("no record {name}");
}

/// Where the bytes behind a local header are.
fn data(bytes: &[u8], local: usize) -> usize {
    local + 30 + number(bytes, local + 26, 2) + number(bytes, local + 28, 2)
}

fn put(bytes: &mut [u8], at: usize, value: usize, size: usize) {
    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

type Change = fn(&mut Vec<u8>, usize, usize, usize);

/// What is changed, given the record of `a` in the directory, its local header and the end, and why that is refused.
const CASES: &[(&str, Change, &str)] = &[
    ("crc", |b, c, _, _| put(b, c + 16, 0x1234, 4), "checksum"),
    (
        "data",
        |b, _, l, _| {
            let at = data(b, l);
            b[at] ^= 1;
        },
        "checksum",
    ),
    ("encrypted", |b, c, _, _| put(b, c + 8, 1, 2), "encrypted"),
    ("encrypted locally", |b, _, l, _| put(b, l + 6, 1, 2), "encrypted"),
    ("method", |b, c, _, _| put(b, c + 10, 12, 2), "compression method 12"),
    ("method locally", |b, _, l, _| put(b, l + 8, 8, 2), "no matching local header"),
    ("another disk", |b, c, _, _| put(b, c + 34, 1, 2), "several parts"),
    ("disks", |b, _, _, e| put(b, e + 4, 1, 2), "several parts"),
    ("records of this disk", |b, _, _, e| put(b, e + 8, 3, 2), "several parts"),
    ("size", |b, c, _, _| put(b, c + 24, 40, 4), "stored, but"),
    (
        "both sizes",
        |b, c, _, _| [20, 24].into_iter().for_each(|at| put(b, c + at, 40, 4)),
        "the record has 40",
    ),
    ("no 64-bit sizes", |b, c, _, _| put(b, c + 24, 0xffff_ffff, 4), ""),
    ("size locally", |b, _, l, _| put(b, l + 22, 47, 4), "disagree"),
    ("checksum locally", |b, _, l, _| put(b, l + 14, 47, 4), "disagree"),
    ("name locally", |b, _, l, _| b[l + 30] = b'X', "another name"),
    ("local header", |b, _, l, _| b[l] = 0, "no matching local header"),
    ("offset", |b, c, _, _| put(b, c + 42, 3, 4), "no matching local header"),
    ("offset far", |b, c, _, _| put(b, c + 42, 1 << 30, 4), "beyond the records"),
    ("extra", |b, c, _, _| put(b, c + 30, 60_000, 2), "ends early"),
    ("directory", |b, c, _, _| b[c] = 0, "no record is there"),
    ("directory's size", |b, _, _, e| put(b, e + 12, 46, 4), "two ends of the zip directory disagree"),
    ("directory's offset", |b, _, _, e| put(b, e + 16, 0, 4), "two ends of the zip directory disagree"),
    (
        "count",
        |b, _, _, e| [8, 10].into_iter().for_each(|at| put(b, e + at, 2, 2)),
        "two ends of the zip directory disagree",
    ),
    ("appended", |b, _, _, _| b.extend(b"rest"), "no end of a zip directory"),
    ("name", |b, c, _, _| b[c + 46] = b'/', "leaves the archive"),
    ("name's text", |b, c, _, _| b[c + 46] = 0xff, "not UTF-8"),
];

#[test]
fn what_does_not_agree_is_refused() {
    assert!(read(whole()).is_ok());
    for (what, change, reason) in CASES {
        let mut bytes = whole();
        let (central, local) = record(&bytes, "data/0");
        let end = end(&bytes);
        change(&mut bytes, central, local, end);
        let error = read(bytes).expect_err(what).to_string();
        assert!(
            error.starts_with("f: ") && error.contains(reason) && !error.contains('\n'),
            "{what}: {error}"
        );
    }
}

#[test]
fn versions_are_those_of_pytorch() {
    for (version, reason) in
        [("3\n", None), ("1 ", None), ("0\n", Some("version 0 of")), ("9x", Some("is no number"))]
    {
        let mut bytes = without_checksums(whole());
        let (central, local) = record(&bytes, "/version");
        let at = data(&bytes, local);
        assert_eq!(number(&bytes, central + 24, 4), version.len());
        bytes[at..at + version.len()].copy_from_slice(version.as_bytes());
        let found = read(bytes).err().map(|e| e.to_string());
        assert_eq!(found.is_some(), reason.is_some(), "{version:?}: {found:?}");
        assert!(reason.is_none_or(|reason| found.is_some_and(|f| f.contains(reason))), "{version:?}");
    }
    let mut bytes = whole();
    let (central, local) = record(&bytes, "/version");
    for at in [central + 46, local + 30] {
        let name = at + number(&bytes, central + 28, 2);
        bytes[name - 1] = b'm';
    }
    assert!(read(bytes).is_err_and(|e| e.to_string().contains("no version in the archive")));
}

/// Sets every checksum to zero, which says that there are none.
fn without_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for at in 0..bytes.len() - 20 {
        if bytes[at..at + 4] == *b"PK\x01\x02" {
            bytes[at + 16..at + 20].fill(0);
        }
    }
    bytes
}

/// Indices that point out of a sparse tensor are found when the file is opened.
#[test]
fn sparse_indices_stay_in_the_shape() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/good/torch_sparse.pt");
    let good = without_checksums(std::fs::read(path).expect("a recorded file"));
    assert!(read(good.clone()).is_ok());
    for (name, index, value, reason) in [
        ("data/0", 1, 9_i64, "index 9 is out of range"),
        ("data/0", 5, -1, "index -1 is out of range"),
        ("data/2", 0, 1, "compressed index 1 after 0"),
        ("data/2", 2, 0, "compressed index 0 after 1"),
        ("data/2", 3, 4, "compressed index 4"),
    ] {
        let mut bytes = good.clone();
        let (_, local) = record(&bytes, name);
        let at = data(&bytes, local) + 8 * index;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let error = read(bytes).expect_err(reason).to_string();
        assert!(error.contains(reason), "{name}[{index}]: {error}");
    }
}

/// Opening a pipe would wait for who writes to it.
#[cfg(unix)]
#[test]
fn pipes_and_folders_are_refused_at_once() {
    let folder = std::env::temp_dir().join(format!("sconce-pipe-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let pipe = folder.join("model.pt");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(io::open(&pipe).is_err_and(|e| e.to_string().ends_with("not a regular file")));
    }
    assert!(io::open(&folder).is_err_and(|e| e.to_string().ends_with("not a regular file")));
    std::fs::remove_dir_all(folder).expect("a folder");
}
