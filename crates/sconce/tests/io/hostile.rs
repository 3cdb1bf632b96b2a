//! Damaged files: every truncation and every changed byte gives a result or an error, never a panic.
//!
//! The same properties are what the targets in `fuzz/` check on random input.

use std::path::Path;

use sconce::io::{self, Archive, Options, Source};

/// Small files that reach every part of the readers.
const FILES: &[&str] = &[
    "basic.safetensors",
    "dtypes.safetensors",
    "padded_header.safetensors",
    "torch_deflated.pt",
    "torch_module.pt",
    "torch_nested.pt",
    "torch_no_crc32.pt",
    "torch_numpy.pt",
    "torch_parameters.pt",
    "torch_protocol_4.pt",
    "torch_quantized.pt",
    "torch_sparse.pt",
    "torch_views.pt",
    "torchscript.pt",
];

/// Tensors larger than this are not read: a changed size may well be a valid one.
const READ_BYTES: u64 = 1 << 16;

fn load(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/corpus/files/good").join(name);
    std::fs::read(path).expect("a recorded file")
}

/// Opens a file and reads what it can; whether it could be opened.
fn exercise(bytes: Vec<u8>) -> bool {
    match io::open_source(&Source::from_bytes("f", bytes), &Options::default()) {
        Ok(archive) => {
            read_small(&archive);
            true
        }
        Err(error) => {
            let line = error.to_string();
            assert!(line.starts_with("f: ") && !line.contains('\n') && line.len() < 1000, "{line:?}");
            false
        }
    }
}

fn read_small(archive: &Archive) {
    for entry in archive.entries().iter().filter(|e| e.bytes() <= READ_BYTES) {
        if let Ok(bytes) = archive.read(entry) {
            assert_eq!(bytes.len() as u64, entry.bytes());
        }
    }
}

/// Sets the checksums of a zip archive to zero, which says that there are none, so that changes get further.
fn without_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for at in 0..bytes.len().saturating_sub(20) {
        if bytes[at..at + 4] == *b"PK\x01\x02" {
            bytes[at + 16..at + 20].fill(0);
        } else if bytes[at..at + 4] == *b"PK\x03\x04" {
            bytes[at + 14..at + 18].fill(0);
        }
    }
    bytes
}

#[test]
fn truncated_files_are_refused() {
    for name in FILES {
        let whole = load(name);
        for length in 0..whole.len() {
            assert!(!exercise(whole[..length].to_vec()), "{name}: {length} bytes are accepted");
        }
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    for name in FILES {
        let original = without_checksums(load(name));
        assert!(exercise(original.clone()), "{name}");
        for at in 0..original.len() {
            for value in [original[at] ^ 1, original[at] ^ 0x80, 0xff] {
                let mut changed = original.clone();
                changed[at] = value;
                exercise(changed);
            }
        }
    }
}

#[test]
fn removed_and_repeated_parts_do_no_harm() {
    for name in FILES {
        let original = without_checksums(load(name));
        for at in (0..original.len()).step_by(3) {
            for size in [1, 4, 9] {
                let end = (at + size).min(original.len());
                let mut shorter = original.clone();
                shorter.drain(at..end);
                exercise(shorter);
                let mut longer = original.clone();
                longer.splice(at..at, original[at..end].iter().copied());
                exercise(longer);
            }
        }
    }
}
