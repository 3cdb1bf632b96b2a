//! GGUF: a file of ggml's own library, files made here, and damaged ones.

use std::path::Path;

use sconce::io::{self, Archive, Encoding, Entry, MetaArray, MetaValue, Options, Packed, Source};
use sconce::{DType, Result};

use crate::damage;

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/good").join(name);
    std::fs::read(path).expect(name)
}

fn open(bytes: Vec<u8>) -> Result<Archive> {
    io::open_source(&Source::from_bytes("f", bytes), &Options::default())
}

/// A file made field by field, in either byte order.
struct File {
    bytes: Vec<u8>,
    big: bool,
}

impl File {
    fn new(version: u32, tensors: u64, values: u64, big: bool) -> Self {
        Self { bytes: b"GGUF".to_vec(), big }.u32(version).u64(tensors).u64(values)
    }

    fn put(mut self, mut bytes: Vec<u8>) -> Self {
        if self.big {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
        self
    }

    fn u32(self, x: u32) -> Self {
        self.put(x.to_le_bytes().to_vec())
    }

    fn u64(self, x: u64) -> Self {
        self.put(x.to_le_bytes().to_vec())
    }

    fn text(mut self, text: &str) -> Self {
        self = self.u64(text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self
    }

    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let file = self.text(name).u32(dims.len() as u32);
        dims.iter().fold(file, |file, &d| file.u64(d)).u32(kind).u64(offset)
    }

    fn data(mut self, alignment: usize, size: usize) -> Vec<u8> {
        let start = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(start, 0);
        self.bytes.extend((0..size).map(|i| i as u8));
        self.bytes
    }
}

fn file(tensors: u64, values: u64) -> File {
    File::new(3, tensors, values, false)
}

#[test]
fn a_file_is_written_back_byte_for_byte() -> Result<()> {
    let whole = recorded("types.gguf");
    let archive = open(whole.clone())?;
    assert_eq!(archive.metadata_value("sconce.u32"), Some(MetaValue::U32(7)));
    assert_eq!(archive.metadata_value("sconce.i64"), Some(MetaValue::I64(-5)));
    assert_eq!(archive.metadata_value("general.name"), Some(MetaValue::from("tiny")));
    let numbers = MetaValue::Array(MetaArray::I32(vec![1, 2, 3]));
    assert_eq!(archive.metadata_value("sconce.numbers"), Some(numbers));
    let mut out = Vec::new();
    archive.write_to(&mut out, "gguf")?;
    assert!(out == whole, "{} bytes, {} were read", out.len(), whole.len());
    Ok(())
}

#[test]
fn blocks_become_numbers_and_blocks_again() -> Result<()> {
    let archive = open(recorded("types.gguf"))?;
    let expected = open(recorded("types.dequantized.safetensors"))?;
    let mut kinds = 0;
    for entry in archive.entries() {
        let Encoding::Packed(packed) = entry.encoding() else { continue };
        let name = entry.name();
        let blocks = archive.read(entry)?;
        let mut numbers = vec![0.0; entry.numel()];
        packed.decode(&blocks, &mut numbers)?;
        let wanted = expected.read(expected.get(name).expect(name))?;
        for (actual, wanted) in numbers.iter().zip(wanted.as_chunks().0) {
            let wanted = f32::from_le_bytes(*wanted);
            assert!((actual - wanted).abs() <= 1e-6 * wanted.abs(), "{name}: {actual}, expected {wanted}");
        }
        if packed.can_encode() {
            // What a block stands for has its own scale again.
            let mut again = vec![0; blocks.len()];
            packed.encode(&numbers, &mut again)?;
            assert_eq!(again, blocks, "{name}");
        }
        kinds += 1;
    }
    assert_eq!(kinds, 10);
    Ok(())
}

#[test]
fn either_byte_order_and_version() -> Result<()> {
    for (version, big) in [(2, false), (3, false), (3, true)] {
        let bytes = File::new(version, 2, 2, big)
            .text("general.alignment")
            .u32(4)
            .u32(64)
            .text("x")
            .u32(9)
            .u32(2)
            .u64(0)
            .tensor("scalar", &[], 0, 0)
            .tensor("matrix", &[3, 2], 25, 64)
            .data(64, 64 + 12);
        let archive = open(bytes)?;
        assert_eq!(archive.is_big_endian(), big);
        assert_eq!(archive.metadata_value("x"), Some(MetaValue::Array(MetaArray::U16(Vec::new()))));
        let matrix = archive.get("matrix").expect("matrix");
        assert_eq!((matrix.shape(), matrix.encoding()), (&[2, 3][..], Encoding::Plain(DType::I16)));
        let bytes = archive.read(matrix)?;
        assert_eq!(&bytes[..4], if big { &[65, 64, 67, 66] } else { &[64, 65, 66, 67] });
    }
    Ok(())
}

#[test]
fn what_is_refused() {
    let u32_value = |key: &str, kind: u32, value: u32| file(0, 1).text(key).u32(kind).u32(value).data(32, 0);
    let twice = file(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1).data(32, 0);
    let cases = [
        (File::new(1, 0, 0, false).data(32, 0), "version 1"),
        (file(0, 1 << 40).data(1, 0), "key 0 of 1099511627776"),
        (u32_value("k", 13, 0), "unknown type 13"),
        (u32_value("general.alignment", 4, 0), "no power of two"),
        (u32_value("general.alignment", 5, 32), "type u32"),
        (twice, "two values"),
        (file(0, 1).text("k").u32(9).u32(9).u64(1).data(32, 64), "an array of arrays"),
        (file(0, 1).text("k").u32(9).u32(10).u64(1 << 61).data(32, 64), "an array of"),
        (file(1, 0).tensor("t", &[1; 5], 0, 0).data(32, 32), "5 dimensions"),
        (file(1, 0).tensor("t", &[32], 4, 0).data(32, 32), "unknown tensor type 4"),
        (file(1, 0).tensor("t", &[16, 2], 8, 0).data(32, 34), "not whole blocks"),
        (file(1, 0).tensor("t", &[8], 0, 32).data(32, 64), "expected 0"),
        (file(1, 0).tensor("t", &[u64::MAX], 0, 0).data(32, 64), "too large"),
        (file(1, 0).tensor("t", &[1 << 40, 1 << 40], 0, 0).data(32, 64), "overflows"),
        (file(1, 0).tensor("t", &[8], 0, 0).data(32, 31), "lie beyond the end"),
        (file(1, 0).tensor("t", &[8], 0, 0).data(32, 33), "belong to none"),
        (
            file(2, 0).tensor("t", &[8], 0, 0).tensor("t", &[8], 0, 32).data(32, 64),
            "two tensors have this name",
        ),
        (File::new(3, 1, 0, true).tensor("t", &[32], 8, 0).data(32, 34), "big-endian"),
    ];
    for (bytes, reason) in cases {
        let error = open(bytes).expect_err(reason).to_string();
        assert!(error.starts_with("f: ") && error.contains(reason), "{error}, expected {reason:?}");
    }
}

#[test]
fn other_archives_are_written() -> Result<()> {
    let q4 = Packed::named("Q4_0").expect("Q4_0");
    let mut archive = Archive::new();
    let floats: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let storage = archive.add_storage(std::sync::Arc::new(floats));
    archive.push(Entry::new("transposed", DType::F32, [3, 2]).with_view([1, 3], 0), storage)?;
    archive.push_bytes(Entry::new("half", DType::BF16, [1, 1, 1, 3]), vec![1; 6])?;
    archive.push_bytes(Entry::new("blocks", q4, [2, 32]), vec![7; 36])?;
    archive.push_bytes(Entry::new("empty", DType::F16, [0]), Vec::new())?;
    archive.set_metadata("text", "ü");
    archive.set_metadata_value("general.alignment", 8_u32);
    let mut out = Vec::new();
    archive.write_to(&mut out, "gguf")?;
    let again = open(out)?;
    assert_eq!(again.metadata(), archive.metadata());
    for entry in archive.entries() {
        let read = again.get(entry.name()).expect("it was written");
        assert_eq!((read.shape(), read.encoding()), (entry.shape(), entry.encoding()));
        assert_eq!(again.read(read)?, archive.read(entry)?);
    }

    let refused = [
        (Entry::new("byte", DType::U8, [1]), "gguf has no type for uint8"),
        (Entry::new("n".repeat(64), DType::I8, [1]), "names of less than 64 bytes"),
        (Entry::new("deep", DType::I8, [1; 5]), "at most 4 dimensions"),
        (Entry::new("rows", q4, [2, 16]), "not whole blocks"),
    ];
    for (entry, reason) in refused {
        let mut archive = Archive::new();
        let size = entry.bytes() as usize;
        archive.push_bytes(entry, vec![0; size])?;
        let error = archive.write_to(&mut Vec::new(), "gguf").expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    Ok(())
}

#[test]
fn damaged_files_do_no_harm() {
    let whole = recorded("types.gguf");
    // The rest is padding, which may be missing.
    let end = whole.iter().rposition(|&b| b != 0).expect("a tensor") + 1;
    damage::truncate("types.gguf", &whole, end);
    damage::change(&whole[..1100], 2);
}
