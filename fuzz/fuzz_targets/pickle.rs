//! The input is the pickle inside an otherwise sound archive with two storages.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let storage = [7; 48];
    sconce_fuzz::exercise(zip(&[("a/data.pkl", data), ("a/data/0", &storage), ("a/data/1", &storage[..8])]));
});

/// A zip archive of stored records without checksums.
fn zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in records {
        let (offset, size, length) = (out.len() as u32, bytes.len() as u32, name.len() as u16);
        out.extend(b"PK\x03\x04");
        out.extend([0; 22]);
        out.extend(length.to_le_bytes());
        out.extend([0; 2]);
        out.extend(name.as_bytes());
        out.extend(*bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 16]);
        directory.extend([size, size].map(u32::to_le_bytes).concat());
        directory.extend(length.to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (offset, size, count) = (out.len() as u32, directory.len() as u32, records.len() as u16);
    out.extend(directory);
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend([count, count].map(u16::to_le_bytes).concat());
    out.extend([size, offset].map(u32::to_le_bytes).concat());
    out.extend([0; 2]);
    out
}
