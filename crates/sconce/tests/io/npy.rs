//! NumPy's files, made byte by byte.

use std::path::Path;

use sconce::io::{self, Archive, Entry, Options, Source};
use sconce::{DType, Result};

use crate::damage;

fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}   \n")
}

fn open(bytes: Vec<u8>) -> Result<Archive> {
    io::open_source(&Source::from_bytes("f", bytes), &Options::default())
}

#[test]
fn headers_that_are_read() -> Result<()> {
    let data: Vec<u8> = (1..=16).collect();
    let cases: [(String, u8, usize, DType, &[usize]); 12] = [
        (header("'<f4'", "(2, 1)"), 1, 8, DType::F32, &[2, 1]),
        (header("'|b1'", "(3,)"), 2, 3, DType::Bool, &[3]),
        (header("\"?\"", "( 3 , )"), 3, 3, DType::Bool, &[3]),
        (header("'i8'", "()"), 1, 8, DType::I64, &[]),
        (header("'=u2'", "(2,2)"), 1, 8, DType::U16, &[2, 2]),
        (header("'<c16'", "(1L,)"), 1, 16, DType::C128, &[1]),
        (header("'<c8'", "(2,)"), 1, 16, DType::C64, &[2]),
        (header("'<V2'", "(3,)"), 1, 6, DType::BF16, &[3]),
        (header("'<u8'", "(0, 4)"), 1, 0, DType::U64, &[0, 4]),
        ("{'shape':(1,),'fortran_order':True,'descr':'|i1'}".to_owned(), 1, 1, DType::I8, &[1]),
        ("{\n 'shape': (1,),\t'fortran_order': False, 'descr': '<f2'}".to_owned(), 1, 2, DType::F16, &[1]),
        (header("'<f8'", "(1, 1, 1,)"), 1, 8, DType::F64, &[1, 1, 1]),
    ];
    for (header, version, size, dtype, shape) in cases {
        let archive = open(npy(version, &header, &data[..size]))?;
        let entry = archive.get("").expect(&header);
        assert_eq!((entry.encoding().dtype(), entry.shape()), (Some(dtype), shape), "{header}");
        assert_eq!(archive.read(entry)?, data[..size], "{header}");
    }
    Ok(())
}

#[test]
fn headers_that_are_refused() {
    let keys = |text: &str| format!("{{{text}}}");
    let cases = [
        (header("'|O'", "(1,)"), "type \"|O\""),
        (header("'<U3'", "(1,)"), "type \"<U3\""),
        (header("'|V2'", "(1,)"), "type \"|V2\""),
        (header("[('a', '<f4')]", "(1,)"), "structured"),
        (header("'<f4'", "(-1,)"), "expected a size"),
        (header("'<f4'", "(1.5,)"), "expected ')'"),
        (header("'<f4'", "[2]"), "expected '('"),
        (header("'<f4'", "(2)"), "no tuple"),
        (header("'<f4'", "(99999999999999999999,)"), "too large"),
        (header("'<f4'", "(4294967296, 4294967296, 2)"), "overflows"),
        (header("'<f4'", "(1 + 1,)"), "expected ')'"),
        (header("'<f4'", "(3,)"), "takes 12 bytes, 8 are there"),
        (header("'<f4'", "(1,)"), "takes 4 bytes, 8 are there"),
        (keys("'descr': '<f4', 'shape': (2,)"), "no \"fortran_order\""),
        (keys("'descr': '<f4', 'descr': '<f4'"), "two values"),
        (keys("'descr': '<f4', 'more': 1"), "unknown key"),
        (keys("'descr': '<f4', 'fortran_order': 0, 'shape': (2,)"), "expected True or False"),
        (header("'<f4'", "(2,)") + "x", "text follows"),
        ("__import__('os')".to_owned(), "expected '{'"),
        ("{'descr".to_owned(), "no end"),
        (String::new(), "expected '{'"),
    ];
    for (header, reason) in cases {
        let error = open(npy(1, &header, &[0; 8])).expect_err(&header).to_string();
        assert!(error.starts_with("f: ") && error.contains(reason), "{header}: {error}");
    }
    assert!(open(npy(4, &header("'<f4'", "(2,)"), &[0; 8])).is_err());
    let mut minor = npy(1, &header("'<f4'", "(2,)"), &[0; 8]);
    assert!(open(minor.clone()).is_ok());
    minor[7] = 1;
    assert!(open(minor).is_err_and(|e| e.to_string().contains("version 1.1")));
}

#[test]
fn fortran_order_and_big_endian() -> Result<()> {
    let text = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3)}";
    let data: Vec<u8> = (0..6_u16).flat_map(u16::to_be_bytes).collect();
    let archive = open(npy(1, text, &data))?;
    let entry = archive.get("").expect("the array");
    assert_eq!(entry.strides(), [1, 2]);
    let rows: Vec<u8> = [0, 2, 4, 1, 3, 5_u16].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(archive.read(entry)?, rows);
    let mut out = Vec::new();
    archive.write_to(&mut out, "npy")?;
    let again = open(out)?;
    assert_eq!(again.read(&again.entries()[0])?, rows);
    Ok(())
}

#[test]
fn a_file_is_laid_out_as_by_numpy() -> Result<()> {
    for (shape, text) in [
        (vec![2, 3], "(2, 3)"),
        (vec![6], "(6,)"),
        (vec![], "()"),
        (vec![10_000_000_000_000_000, 0], "(10000000000000000, 0)"),
    ] {
        let mut archive = Archive::new();
        let entry = Entry::new("x", DType::F32, shape);
        let size = entry.bytes() as usize;
        archive.push_bytes(entry, vec![9; size])?;
        let mut out = Vec::new();
        archive.write_to(&mut out, "npy")?;
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}");
        let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        expected.extend(format!("{text:117}\n").as_bytes());
        expected.resize(expected.len() + size, 9);
        assert_eq!(out, expected);
    }
    Ok(())
}

#[test]
fn archives_of_arrays() -> Result<()> {
    let mut archive = Archive::new();
    let names = ["w", "layer/0/w", "dense/kernel:0", "with space", "имя", "scalar", "empty"];
    for (i, name) in names.into_iter().enumerate() {
        let shape = match name {
            "scalar" => vec![],
            "empty" => vec![3, 0],
            _ => vec![2, 2],
        };
        let entry = Entry::new(name, DType::F64, shape);
        let size = entry.bytes() as usize;
        archive.push_bytes(entry, vec![i as u8; size])?;
    }
    let mut out = Vec::new();
    archive.write_to(&mut out, "npz")?;
    let again = open(out.clone())?;
    assert_eq!(again.format(), Some("npz"));
    let read: Vec<&str> = again.entries().iter().map(|e| e.name()).collect();
    assert_eq!(read, names);
    for entry in archive.entries() {
        let other = again.get(entry.name()).expect("it was written");
        assert_eq!((entry.shape(), archive.read(entry)?), (other.shape(), again.read(other)?));
    }
    // A changed byte of an array does not pass its checksum.
    let at = out.windows(32).position(|w| w == [1; 32]).expect("layer/0/w");
    out[at] = 0;
    let damaged = open(out)?;
    assert!(damaged.read(damaged.get("layer/0/w").expect("it")).is_err());
    assert!(damaged.read(damaged.get("w").expect("it")).is_ok());
    Ok(())
}

#[test]
fn what_is_not_written() -> Result<()> {
    let with = |name: &str, dtype: DType| -> Result<Archive> {
        let mut archive = Archive::new();
        archive.push_bytes(Entry::new(name, dtype, [1]), vec![0; dtype.size()])?;
        Ok(archive)
    };
    let mut two = with("a", DType::F32)?;
    two.push_bytes(Entry::new("b", DType::U8, [1]), vec![0])?;
    let mut noted = with("a", DType::F32)?;
    noted.set_metadata("note", "x");
    let cases = [
        (two, "npy", "one array, not 2"),
        (noted.clone(), "npz", "no metadata (note)"),
        (noted, "npy", "no metadata (note)"),
        (with("a", DType::F8E4M3)?, "npy", "no type for float8_e4m3fn"),
        (with("../a", DType::F32)?, "npz", "leaves the archive"),
    ];
    for (archive, format, reason) in cases {
        let error = archive.write_to(&mut Vec::new(), format).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    Ok(())
}

#[test]
fn damaged_files_do_no_harm() {
    let whole = npy(1, &header("'>f4'", "(2, 3)"), &[5; 24]);
    damage::truncate("npy", &whole, whole.len());
    damage::change(&whole, 1);
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/good/compressed.npz");
    let whole = std::fs::read(path).expect("compressed.npz");
    damage::truncate("compressed.npz", &whole, whole.len());
    damage::change(&whole, 1);
}
